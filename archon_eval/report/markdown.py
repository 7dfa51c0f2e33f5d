"""The report as Markdown, for places that show text: the page's tables without the charts.

print(render_markdown(read_report_data(["logs"])))
"""

from collections.abc import Iterable, Sequence

from archon_eval.report.ci_output import escape_markdown
from archon_eval.report.formatting import explain_unknown_costs, format_cost
from archon_eval.report.progress_cells import FINALIST_COLUMNS, list_finalist_cells, list_progress_facts
from archon_eval.report.ranking_cells import RANKING_COLUMNS, RANKING_NOTE, list_ranking_cells
from archon_eval.report.report_data import BenchmarkReport, ReportData, find_frontier, format_beside, format_interval
from archon_eval.report.search_results import Search
from archon_eval.report.standard_errors import STANDARD_ERROR_COLUMNS, STANDARD_ERROR_NOTE, list_standard_errors
from archon_eval.runs.benchmark_run import COST_COLUMNS, UNSCORED_MEANING

MAX_TOP_TRIALS = 10
"""Trials of a search that are listed."""


def render_markdown(report: ReportData) -> str:
    """The whole report."""
    lines = ["# Report", "", *(f"Left out: {escape_markdown(problem)}\n" for problem in report.problems)]
    lines += [f"**Warning:** {escape_markdown(warning)}\n" for warning in report.warnings]
    for search in report.searches:
        lines += _render_search(search)
    for benchmark in report.benchmarks:
        lines += _render_benchmark(benchmark)
    return "\n".join(lines)


def _render_benchmark(benchmark: BenchmarkReport) -> Iterable[str]:
    first, best = benchmark.systems[0].label, find_frontier(benchmark.systems, "calls")
    rows = []
    for system in benchmark.systems:
        pair = benchmark.pairs.get(system.label)
        cost = [format_cost(system.run.cost.get(name)) for name in COST_COLUMNS]
        verdict = pair.overall.explained_verdict if pair else benchmark.not_compared.get(system.label, "")
        difference = format_interval(pair.overall.paired.difference, benchmark.scale, "+") if pair else ""
        mark = "yes" if system.label in best else ""
        score = [
            format_interval(system.score, benchmark.scale, digits=benchmark.digits),
            *format_beside(benchmark, system),
        ]
        rows.append([system.label, *score, *cost, mark, difference, verdict])
    yield from (f"## {escape_markdown(benchmark.task)}", "")
    yield from _render_table(
        [
            "system",
            f"{benchmark.metric} (95%)",
            *benchmark.beside,
            *COST_COLUMNS.values(),
            "on the frontier of calls",
            f"against {first}",
            "",
        ],
        rows,
    )
    for note in dict.fromkeys(system.run.metric_note for system in benchmark.systems if system.run.metric_note):
        yield from (escape_markdown(note), "")
    for system in benchmark.systems:
        if why := explain_unknown_costs(system.run.unknown_costs):
            yield from (escape_markdown(f"{system.label}: {why}"), "")
    for system in benchmark.systems:
        if system.run.stage_note:
            yield from (escape_markdown(f"{system.label}: {system.run.stage_note}."), "")
    if benchmark.confidence_note:
        yield from (benchmark.confidence_note, "")
    if benchmark.prompt_note:
        yield from (escape_markdown(benchmark.prompt_note), "")
    if errors := list_standard_errors(((s.label, s.run) for s in benchmark.systems), benchmark.scale):
        yield from _render_table(STANDARD_ERROR_COLUMNS, errors)
        yield from (STANDARD_ERROR_NOTE, "")
    layers = [
        [
            s.label,
            f"{layer.number or n} {layer.kind}",
            f"{layer.calls:.3g}",
            "unknown" if layer.tokens is None else f"{layer.tokens:,.0f}",
            f"{layer.candidates:.3g}",
        ]
        for s in benchmark.systems
        for n, layer in enumerate(s.run.layers, 1)
    ]
    if layers:
        yield from _render_table(["system", "layer", "calls", "tokens", "candidates after"], layers)
    notes = [[s.label, event, str(count)] for s in benchmark.systems for event, count in s.run.notes.items()]
    notes += [
        [s.label, f"no score ({UNSCORED_MEANING})", str(len(s.run.missing))] for s in benchmark.systems if s.run.missing
    ]
    if notes:
        yield from _render_table(["system", "what fell back or was dropped", "times"], notes)


def _render_search(search: Search) -> Iterable[str]:
    yield from (f"## Search in {escape_markdown(search.folder)}", "", escape_markdown(search.outcome), "")
    for command in search.commands:
        yield from (f"    {command}", "")
    if search.progress:
        yield from _render_table(["what", "now"], list_progress_facts(search.progress))
        if evals := (*search.progress.finalists, *search.progress.held_out):
            yield from _render_table(FINALIST_COLUMNS, list_finalist_cells(evals))
        if search.progress.failures:
            yield from _render_table(["failed", "why"], search.progress.failures)
    if search.ranking:
        yield from (RANKING_NOTE, "")
        yield from _render_table(RANKING_COLUMNS, list_ranking_cells(search.ranking))
    best = sorted(search.trials, key=lambda trial: -(trial.expected or trial.performance or -1.0))[:MAX_TOP_TRIALS]
    rows = [
        [t.name, t.layers, format_cost(t.performance), format_cost(t.expected), f"{t.calls:.1f}", t.drawn, t.error]
        for t in best
    ]
    if not rows and search.progress:
        return
    yield from _render_table(["architecture", "layers", "dev score", "surrogate", "calls", "draws", "problem"], rows)


def _render_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [[escape_markdown(text) for text in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]
