"""The report as Markdown, for places that show text: the same tables, without the charts.

print(render_markdown(read_report_data(["logs"])))
"""

from collections.abc import Iterable, Sequence

from archon_eval.report.ci_output import escape_markdown
from archon_eval.report.report_data import BenchmarkReport, ReportData, find_frontier, format_interval
from archon_eval.report.search_results import Search
from archon_eval.runs.run import COST_NAMES, UNSCORED_MEANING


def render_markdown(data: ReportData) -> str:
    """The whole report."""
    lines = ["# Report", "", *(f"Left out: {escape_markdown(problem)}\n" for problem in data.problems)]
    for search in data.searches:
        lines += _render_search(search)
    for bench in data.benchmarks:
        lines += _render_benchmark(bench)
    return "\n".join(lines)


def _render_benchmark(bench: BenchmarkReport) -> Iterable[str]:
    first, best = bench.systems[0].label, find_frontier(bench.systems, "calls")
    rows = []
    for system in bench.systems:
        pair = bench.pairs.get(system.label)
        cost = [_format_cost(system.run.cost.get(name)) for name in COST_NAMES]
        verdict = pair.overall.verdict if pair else bench.not_compared.get(system.label, "")
        difference = format_interval(pair.overall.paired.difference, bench.scale, "+") if pair else ""
        mark = "yes" if system.label in best else ""
        rows.append([system.label, format_interval(system.score, bench.scale), *cost, mark, difference, verdict])
    yield from (f"## {escape_markdown(bench.task)}", "")
    yield from _render_table(
        ["system", "score (95%)", *COST_NAMES, "on the frontier of calls", f"against {first}", ""], rows
    )
    if bench.confidence_note:
        yield from (bench.confidence_note, "")
    layers = [
        [s.label, f"{n} {layer.kind}", f"{layer.calls:.3g}", f"{layer.tokens:,.0f}", f"{layer.candidates:.3g}"]
        for s in bench.systems
        for n, layer in enumerate(s.run.layers, 1)
    ]
    if layers:
        yield from _render_table(["system", "layer", "calls", "tokens", "candidates after"], layers)
    notes = [[s.label, word, str(count)] for s in bench.systems for word, count in s.run.notes.items()]
    notes += [
        [s.label, f"no score ({UNSCORED_MEANING})", str(len(s.run.missing))] for s in bench.systems if s.run.missing
    ]
    if notes:
        yield from _render_table(["system", "what fell back or was dropped", "times"], notes)


def _render_search(search: Search) -> Iterable[str]:
    yield from (f"## Search in {escape_markdown(search.folder)}", "", escape_markdown(search.outcome), "")
    best = sorted(search.trials, key=lambda trial: -(trial.expected or trial.performance or -1.0))[:10]
    rows = [
        [t.name, t.layers, _format_cost(t.performance), _format_cost(t.expected), f"{t.calls:.1f}", t.error]
        for t in best
    ]
    yield from _render_table(["architecture", "layers", "dev score", "surrogate", "calls", "problem"], rows)


def _render_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [[escape_markdown(cell) for cell in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def _format_cost(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
