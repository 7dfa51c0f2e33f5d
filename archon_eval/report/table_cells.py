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


def list_columns(bench: BenchmarkReport, name: str) -> Iterable[TableColumn]:
    """The benchmark's metric, and the figures that belong beside it.

    Args:
        name: the benchmark's, unique in the table.
    """
    yield TableColumn(name, bench.metric, bench.scale, bench.digits, beside=False)
    for figure in bench.beside:
        values = [system.beside[figure] for system in bench.systems if figure in system.beside]
        is_share = all(value.low is not None or 0 <= value.value <= 1 for value in values)
        yield TableColumn(name, figure, bench.scale if is_share else 1.0, bench.digits, beside=True)


def build_cells(column: TableColumn, runs: Mapping[str, Run | None]) -> tuple[list[TableCell | None], list[str]]:
    """The column's cells with their marks, and notes on what could not be compared.

    Args:
        runs: system -> its run on the column's benchmark; None where there is none.
    """
    cells = {system: None if run is None else _build_cell(column, run) for system, run in runs.items()}
    marks, notes = _mark_best(column, {system: run for system, run in runs.items() if run and cells[system]}, cells)
    return [cell and replace(cell, mark=marks.get(system, "")) for system, cell in cells.items()], notes


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


def _mark_best(
    column: TableColumn, runs: Mapping[str, Run], cells: Mapping[str, TableCell | None]
) -> tuple[dict[str, str], list[str]]:
    """System -> mark: of the highest figure, and of those not shown worse than it.

    Each is compared with the highest, at a confidence that holds for all together (Bonferroni). So the truly best
    system is among the marked with that confidence: to be missed, it must be shown worse than one that is no better.
    """
    values = {system: cell.estimate.value for system, cell in cells.items() if cell is not None}
    if len(values) < 2:
        return {}, []
    notes = []
    if len({frozenset(run.scored) for run in runs.values()}) > 1 and not column.beside:
        notes.append(f"{column.benchmark}: not all systems have scores of the same questions.")
    high = max(values.values())
    marks = {system: "best" for system, value in values.items() if value == high}
    best = next(iter(marks))
    compared = []
    for system, run in runs.items():
        if system in marks or _find_metric(column, run) is None:
            continue
        if why := find_incompatibility(run, runs[best]):
            notes.append(f"{column.benchmark}: {system} and {best} are not compared: {why}.")
        else:
            compared.append(system)
    confidence = bonferroni_confidence(len(compared), CONFIDENCE)
    for system in compared:
        if _decide(column, runs[system], runs[best], confidence=confidence) != "worse":
            marks[system] = "near"
    return marks, notes


def _decide(column: TableColumn, first: Run, second: Run, *, confidence: float) -> str:
    """The verdict on the first, on the questions that both have."""
    metric = _find_metric(column, first)
    if metric is None:
        return ""
    shared = [question for question in first.scored if question in second.scored]
    one, other = ({question: run.scored[question] for question in shared} for run in (first, second))
    return decide_verdict(metric.widen(other).compare(one, other, confidence))
