"""The report as Markdown, for places that show text: the same tables, without the charts.

print(markdown(gather(["logs"])))
"""

from collections.abc import Iterable, Sequence

from archon_eval.report.ci import cell
from archon_eval.report.contents import Bench, Contents, frontier, interval
from archon_eval.report.runs import COSTS, UNSCORED
from archon_eval.report.searches import Search


def markdown(found: Contents) -> str:
    """The whole report."""
    lines = ["# Report", "", *(f"Left out: {cell(problem)}\n" for problem in found.problems)]
    for search in found.searches:
        lines += _search(search)
    for bench in found.benches:
        lines += _bench(bench)
    return "\n".join(lines)


def _bench(bench: Bench) -> Iterable[str]:
    first, best = bench.systems[0].label, frontier(bench.systems, "calls")
    rows = []
    for system in bench.systems:
        pair = bench.pairs.get(system.label)
        cost = [_figure(system.run.cost.get(name)) for name in COSTS]
        verdict = pair.whole.verdict if pair else bench.apart.get(system.label, "")
        difference = interval(pair.whole.paired.difference, bench.scale, "+") if pair else ""
        mark = "yes" if system.label in best else ""
        rows.append([system.label, interval(system.score, bench.scale), *cost, mark, difference, verdict])
    yield from (f"## {cell(bench.task)}", "")
    yield from _table(["system", "score (95%)", *COSTS, "on the frontier of calls", f"against {first}", ""], rows)
    if bench.together:
        yield from (bench.together, "")
    layers = [
        [s.label, f"{n} {layer.kind}", f"{layer.calls:.3g}", f"{layer.tokens:,.0f}", f"{layer.candidates:.3g}"]
        for s in bench.systems
        for n, layer in enumerate(s.run.layers, 1)
    ]
    if layers:
        yield from _table(["system", "layer", "calls", "tokens", "candidates after"], layers)
    notes = [[s.label, what, str(count)] for s in bench.systems for what, count in s.run.notes.items()]
    notes += [[s.label, f"no score ({UNSCORED})", str(len(s.run.missing))] for s in bench.systems if s.run.missing]
    if notes:
        yield from _table(["system", "what fell back or was dropped", "times"], notes)


def _search(search: Search) -> Iterable[str]:
    yield from (f"## Search in {cell(search.folder)}", "", cell(search.outcome), "")
    best = sorted(search.trials, key=lambda trial: -(trial.expected or trial.performance or -1.0))[:10]
    rows = [[t.name, t.layers, _figure(t.performance), _figure(t.expected), f"{t.calls:.1f}", t.error] for t in best]
    yield from _table(["architecture", "layers", "dev score", "surrogate", "calls", "problem"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [[cell(one) for one in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
