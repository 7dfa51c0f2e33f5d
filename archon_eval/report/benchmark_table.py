"""One table of systems x benchmarks, as the papers lay it out, before it takes the form of text.

table = build_benchmark_table(read_report_data(["logs"], merge=True), by_part=True)
table.rows[0].system, table.rows[0].average, table.rows[0].cost["calls"]
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from archon_eval.errors import DataError, sanitize_text
from archon_eval.report.formatting import truncate
from archon_eval.report.report_data import MAX_LABEL_CHARACTERS, NO_NAME, BenchmarkReport, ReportData, rank_cost
from archon_eval.report.table_cells import TableCell, TableColumn, build_cells, list_columns
from archon_eval.runs.benchmark_run import COST_COLUMNS, UNSCORED_MEANING, Run
from archon_eval.stats.over_runs import estimate_over_runs

TABLE_COSTS: Mapping[str, str] = {**COST_COLUMNS, "dollars": "dollars"}
"""Names of `Run.cost` that the table shows -> their headings."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A system."""

    system: str
    """Its name, made unique."""
    fingerprint: str
    runs: Mapping[str, Run]
    """Benchmark -> run."""
    cells: tuple[TableCell | None, ...]
    """One per column; None where the system has no such figure."""
    average: float | None
    """The mean over the benchmarks; None where it lacks one, or they are on different scales."""
    share_of_best: float | None
    """The mean over the benchmarks of its figure over the highest one; None where it lacks one, or its figure
    cannot be compared with that."""
    cost: Mapping[str, float | None]
    """A name of TABLE_COSTS -> cost per question, each of its benchmarks counting the same; None is unknown."""


@dataclass(frozen=True, slots=True)
class PartFigure:
    """A system's figure on a sub-benchmark."""

    system: str
    benchmark: str
    part: str
    metric: str
    scale: float
    """What a value of 1 is shown as."""
    digits: int
    """Digits after the point that are shown."""
    cell: TableCell


@dataclass(frozen=True, slots=True)
class BenchmarkTable:
    """Systems x benchmarks."""

    columns: tuple[TableColumn, ...]
    rows: tuple[TableRow, ...]
    """Cheapest first."""
    parts: tuple[PartFigure, ...] | None
    """By benchmark, part and system; None where they were not asked for."""
    warnings: tuple[str, ...]
    """Which layers never worked, and which replies were not whole."""
    notes: tuple[str, ...]
    """What a reader must know to read it rightly."""
    left_out: tuple[str, ...]
    """Logs that could not be used, and why."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A row while runs are put into it."""

    system: str
    fingerprint: str
    runs: dict[str, Run]


def build_benchmark_table(report: ReportData, by_part: bool = False) -> BenchmarkTable:
    """The table of all runs.

    A row is a system: one name, fingerprint and setup. Two runs of a system on a benchmark that are not further epochs
    of each other (other judges, say) make two rows.

    Args:
        by_part: whether sub-benchmarks are in it.

    Raises:
        DataError: no run.
    """
    if not report.benchmarks:
        raise DataError("no log with scores, so there is nothing to put into a table")
    names = _name_benchmarks(report.benchmarks)
    rows, notes = _sort_into_rows(report.benchmarks, names)
    columns = [
        column for bench, name in zip(report.benchmarks, names, strict=True) for column in list_columns(bench, name)
    ]
    cells: list[list[TableCell | None]] = []
    for column in columns:
        marked, remarks = build_cells(column, {row.system: row.runs.get(column.benchmark) for row in rows})
        cells.append(marked)
        notes += remarks
    main = [place for place, column in enumerate(columns) if not column.beside]
    averages, shares, remarks = _average_figures([columns[n] for n in main], [cells[n] for n in main], rows)
    notes += remarks
    costs = []
    for row in rows:
        cost, remarks = _average_costs(row)
        costs.append(cost)
        notes += remarks
    notes += [remark for row in rows for remark in _list_remarks(row)]
    finished = [
        TableRow(
            row.system,
            row.fingerprint,
            row.runs,
            tuple(column[n] for column in cells),
            averages[n],
            shares[n],
            costs[n],
        )
        for n, row in enumerate(rows)
    ]
    parts: list[PartFigure] = []
    if by_part:
        for name in names:
            found = list(_build_parts(name, rows))
            parts += found
            notes += [] if found else [f"{name} has no parts."]
    warnings = [warning for row in rows for warning in _list_warnings(row)]
    texts = [tuple(dict.fromkeys(map(sanitize_text, group))) for group in (warnings, notes)]
    return BenchmarkTable(
        columns=tuple(columns),
        rows=tuple(finished),
        parts=tuple(parts) if by_part else None,
        warnings=texts[0],
        notes=texts[1],
        left_out=report.problems,
    )


def _name_benchmarks(benchmarks: Sequence[BenchmarkReport]) -> list[str]:
    """The task's name; with the scorer, and the metric, where a task has several."""
    forms = [[bench.systems[0].run.task, bench.task, f"{bench.task}, {bench.metric}"] for bench in benchmarks]
    names = []
    for own in forms:
        unique = [form for place, form in enumerate(own) if sum(other[place] == form for other in forms) == 1]
        names.append(unique[0] if unique else own[-1])
    return names


def _sort_into_rows(benchmarks: Sequence[BenchmarkReport], names: Sequence[str]) -> tuple[list[_Row], list[str]]:
    """A row per system, cheapest first, under unique names; and notes on those of one name."""
    by_system: dict[tuple[str, str, str], list[dict[str, Run]]] = {}
    for name, bench in zip(names, benchmarks, strict=True):
        for run in (system.run for system in bench.systems):
            rows = by_system.setdefault((run.name, run.fingerprint, run.setup), [])
            free = next((row for row in rows if name not in row), None)
            if free is None:
                rows.append(free := {})
            free[name] = run
    found = sorted((row for rows in by_system.values() for row in rows), key=lambda row: rank_cost(*row.values()))
    result, notes, taken = [], [], dict[str, int]()
    full = (sanitize_text(next(iter(row.values())).name) for row in found)
    shown = [truncate(name, MAX_LABEL_CHARACTERS) or NO_NAME for name in full]
    for row, name in zip(found, shown, strict=True):
        run, label = next(iter(row.values())), name
        if shown.count(name) > 1:
            while label in taken or (label in shown and label != name):
                taken[name] = taken.get(name, 1) + 1
                label = f"{name} ({taken[name]})"
            system = f"fingerprint {run.fingerprint or 'none'}, setup {run.setup or 'none'}"
            sources = "; ".join(
                f"{bench} in {own.source}" + (f", judged by {', '.join(own.judges)}" if own.judges else "")
                for bench, own in row.items()
            )
            notes.append(f"{label} is one of {shown.count(name)} rows of this name: {system}; {sources}.")
        taken.setdefault(label, 1)
        result.append(_Row(label, run.fingerprint, row))
    return result, notes


def _average_figures(
    columns: Sequence[TableColumn], cells: Sequence[Sequence[TableCell | None]], rows: Sequence[_Row]
) -> tuple[list[float | None], list[float | None], list[str]]:
    """Each row's average and share of the best, and why some have none."""
    notes = []
    scales = [_find_bounds(rows, column.benchmark) for column in columns]
    if mixed := len(columns) > 1 and (len(set(scales)) > 1 or None in scales):
        notes.append(f"No average: the scales of the benchmarks differ or are unknown ({_join(columns)}).")
    highest = [max(cell.estimate.value for cell in column if cell and cell.comparable) for column in cells]
    lowest = [min(cell.estimate.value for cell in column if cell is not None) for column in cells]
    unshared = [c for c, high, low in zip(columns, highest, lowest, strict=True) if high <= 0 or low < 0]
    if unshared:
        notes.append(f"No share of the best: figures below zero, or none above it ({_join(unshared)}).")
    averages: list[float | None] = []
    shares: list[float | None] = []
    for n, row in enumerate(rows):
        own = [column[n] for column in cells]
        values = [cell.estimate.value for cell in own if cell is not None]
        if len(values) < len(own):
            lacking = _join([column for column, cell in zip(columns, own, strict=True) if cell is None])
            notes.append(
                f"{row.system} has no average and no share of the best, and its costs are over fewer benchmarks: "
                f"it lacks {lacking}."
            )
        complete, is_compared = len(values) == len(own), all(cell.comparable for cell in own if cell is not None)
        averages.append(fmean(values) if complete and not mixed else None)
        ratios = zip(values, highest, strict=False)
        has_share = complete and is_compared and not unshared
        shares.append(fmean(value / high for value, high in ratios) if has_share else None)
    return averages, shares, notes


def _join(columns: Sequence[TableColumn]) -> str:
    return "; ".join(column.heading for column in columns)


def _find_bounds(rows: Sequence[_Row], benchmark: str) -> tuple[float, float] | None:
    """The scale that all runs of a benchmark have; None where it is unknown of one."""
    bounds = {row.runs[benchmark].metric.bounds for row in rows if benchmark in row.runs}
    return bounds.pop() if len(bounds) == 1 else None


def _average_costs(row: _Row) -> tuple[dict[str, float | None], list[str]]:
    """Means over the row's benchmarks, and what is unknown where."""
    costs: dict[str, float | None] = {}
    unknown: dict[tuple[str, str], list[str]] = {}
    for name, heading in TABLE_COSTS.items():
        values = {bench: run.cost.get(name) for bench, run in row.runs.items()}
        known = [value for value in values.values() if value is not None]
        costs[name] = fmean(known) if len(known) == len(values) else None
        for bench in (bench for bench, value in values.items() if value is None):
            why = row.runs[bench].unknown_costs.get(name, "")
            unknown.setdefault((bench, why), []).append(heading)
    notes = [
        f"{row.system} on {bench}: unknown {', '.join(headings)}{': ' if why else ''}{why}."
        for (bench, why), headings in unknown.items()
    ]
    return costs, notes


def _list_warnings(row: _Row) -> Iterable[str]:
    return (f"{row.system} on {bench}: {text}" for bench, run in row.runs.items() for text in run.health.sentences)


def _list_remarks(row: _Row) -> Iterable[str]:
    for bench, run in row.runs.items():
        if run.metric_note:
            yield f"{row.system} on {bench}: {run.metric_note}."
        if run.merge_note:
            yield f"{row.system} on {bench}: {run.merge_note}"
        if run.missing:
            yield f"{row.system} on {bench}: {len(run.missing)} without a score ({UNSCORED_MEANING})."


def _build_parts(benchmark: str, rows: Sequence[_Row]) -> Iterable[PartFigure]:
    """The figures of every system on each part, by the metric for parts."""
    by_row = [row.runs[benchmark].list_parts() if benchmark in row.runs else {} for row in rows]
    for part in sorted({part for parts in by_row for part in parts}):
        for row, parts in zip(rows, by_row, strict=True):
            if part not in parts:
                continue
            run = row.runs[benchmark]
            metric, questions = run.metric.part_metric, set(parts[part])
            scored = {question: run.scored[question] for question in parts[part]}
            repeats = [{q: answers for q, answers in each.items() if q in questions} for each in run.repeats]
            cell = TableCell(metric.estimate(scored), estimate_over_runs(metric, repeats), len(run.repeats))
            yield PartFigure(row.system, benchmark, part, metric.name, metric.points, metric.digits, cell)
