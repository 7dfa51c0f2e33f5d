"""The columns of the table of systems x benchmarks, their figures, and which of them are marked.

column = TableColumn("math", "accuracy", 100.0, 1, beside=False)
cells, notes = build_cells(column, {"moa": moa, "single": single, "none": None})
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from archon_eval.report.compare import find_incompatibility
from archon_eval.report.report_data import BenchmarkReport
from archon_eval.runs.benchmark_run import Run
from archon_eval.stats.comparison import bonferroni_confidence, decide_verdict
from archon_eval.stats.estimates import Estimate
from archon_eval.stats.metrics import Metric
from archon_eval.stats.over_runs import RunsSpread, estimate_over_runs

CONFIDENCE = 0.95
OWN_DIGITS = 4
"""Digits after the point that are shown of a log's own figure."""


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A figure of a benchmark."""

    benchmark: str
    metric: str
    scale: float
    """What a value of 1 is shown as: 100 (percent) or 1."""
    digits: int
    """Digits after the point that are shown."""
    beside: bool
    """Whether it only stands beside the benchmark's own metric: it is not in the averages."""

    @property
    def heading(self) -> str:
        """Benchmark and metric."""
        return self.benchmark if self.benchmark.endswith(f", {self.metric}") else f"{self.benchmark}, {self.metric}"


@dataclass(frozen=True, slots=True)
class TableCell:
    """A system's figure on a benchmark."""

    estimate: Estimate
    """On the metric's scale. Without an interval where the log has only the figure."""
    over_runs: RunsSpread
    repeats: int
    """How many runs there are."""
    mark: str = ""
    """`best`: the highest figure; `near`: not shown worse than it; empty: worse, or not comparable."""
    comparable: bool = True
    """Whether it may be compared with the highest figure: the same judge, version, scorer and questions in common."""


def list_columns(bench: BenchmarkReport, name: str) -> Iterable[TableColumn]:
    """The benchmark's metric, and the figures that belong beside it.

    Args:
        name: the benchmark's, unique in the table.
    """
    yield TableColumn(name, bench.metric, bench.scale, bench.digits, beside=False)
    for figure in bench.beside:
        computed = any(metric.name == figure for s in bench.systems for metric in s.run.metric.companions)
        scale = bench.scale if computed else 1.0  # the log's own figure may be of any kind, and stays as it is there
        yield TableColumn(name, figure, scale, bench.digits if computed else OWN_DIGITS, beside=True)


def build_cells(column: TableColumn, runs: Mapping[str, Run | None]) -> tuple[list[TableCell | None], list[str]]:
    """The column's cells with their marks, and notes on what could not be compared.

    Args:
        runs: system -> its run on the column's benchmark; None where there is none.
    """
    cells = {system: None if run is None else _build_cell(column, run) for system, run in runs.items()}
    present = {system: run for system, run in runs.items() if run and cells[system]}
    group, notes = _find_comparable(column, present, cells)
    marks = _mark_best(column, {system: present[system] for system in group}, cells)
    marked = {
        system: replace(cell, mark=marks.get(system, ""), comparable=system in group)
        for system, cell in cells.items()
        if cell
    }
    return [marked.get(system) for system in cells], notes


def _find_comparable(
    column: TableColumn, runs: Mapping[str, Run], cells: Mapping[str, TableCell | None]
) -> tuple[list[str], list[str]]:
    """The systems that may be compared with one of them, most of all; and notes on the others.

    Of several such groups it is the one with the highest figure.
    """
    if not runs:
        return [], []
    reasons = {name: {other: find_incompatibility(runs[other], run) for other in runs} for name, run in runs.items()}
    values = {name: cell.estimate.value for name, cell in cells.items() if cell is not None}
    chosen = max(runs, key=lambda name: (sum(not why for why in reasons[name].values()), values[name]))
    group = [other for other in runs if not reasons[chosen][other] or other == chosen]
    best = max(group, key=lambda name: values[name])
    group = [other for other in group if not reasons[best][other] or other == best]
    notes = []
    if len({frozenset(run.scored) for run in runs.values()}) > 1 and not column.beside:
        notes.append(f"{column.benchmark}: not all systems have scores of the same questions.")
    for other in runs:
        is_compared = other in group and other != best and not column.beside
        if is_compared and (note := runs[best].describe_prompt_check(runs[other])):
            notes.append(f"{column.benchmark}, {other}: {note}")
        if other not in group:
            notes.append(f"{column.benchmark}: {other} and {best} are not compared: {reasons[best][other]}.")
    return group, notes


def _build_cell(column: TableColumn, run: Run) -> TableCell | None:
    metric, repeats = _find_metric(column, run), len(run.repeats)
    if metric is run.metric:
        return TableCell(run.estimate, run.over_runs, repeats)
    if metric is not None:
        return TableCell(metric.estimate(run.scored), estimate_over_runs(metric, run.repeats), repeats)
    if figure := run.estimate_companions().get(column.metric):
        return TableCell(figure, RunsSpread((), None, "the log has only the figure"), repeats)
    return None


def _find_metric(column: TableColumn, run: Run) -> Metric | None:
    """The metric of a column; None for the log's own figure, which no metric here computes."""
    if not column.beside:
        return run.metric
    return next((metric for metric in run.metric.companions if metric.name == column.metric), None)


def _mark_best(column: TableColumn, runs: Mapping[str, Run], cells: Mapping[str, TableCell | None]) -> dict[str, str]:
    """System -> mark: of the highest figure, and of those not shown worse than it.

    Each is compared with the highest, at a confidence that holds for all together (Bonferroni). So the truly best
    system is among the marked with that confidence: to be missed, it must be shown worse than one that is no better.
    """
    values = {system: cell.estimate.value for system, cell in cells.items() if cell is not None and system in runs}
    if len(values) < 2:
        return {}
    high = max(values.values())
    marks = {system: "best" for system, value in values.items() if value == high}
    best = next(iter(marks))
    compared = [system for system, run in runs.items() if system not in marks and _find_metric(column, run) is not None]
    confidence = bonferroni_confidence(len(compared), CONFIDENCE)
    for system in compared:
        if _decide(column, runs[system], runs[best], confidence=confidence) != "worse":
            marks[system] = "near"
    return marks


def _decide(column: TableColumn, first: Run, second: Run, *, confidence: float) -> str:
    """The verdict on the first, on the questions that both have."""
    metric = _find_metric(column, first)
    if metric is None:
        return ""
    shared = [question for question in first.scored if question in second.scored]
    one, other = ({question: run.scored[question] for question in shared} for run in (first, second))
    return decide_verdict(metric.widen(other).compare(one, other, confidence))
