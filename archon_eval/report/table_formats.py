"""The table of systems x benchmarks as Markdown, CSV, LaTeX and JSON.

print(TABLE_FORMATS["md"](build_benchmark_table(read_report_data(["logs"]))))

Markdown and LaTeX show percent; CSV and JSON have all digits on the metric's own scale.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from archon_eval.errors import sanitize_text
from archon_eval.report.benchmark_table import TABLE_COSTS, BenchmarkTable, PartFigure, TableRow
from archon_eval.report.ci_output import escape_markdown
from archon_eval.report.formatting import dump_json, format_cost, format_error
from archon_eval.report.report_data import format_interval
from archon_eval.report.standard_errors import STANDARD_ERROR_NOTE, describe_runs, format_over_runs
from archon_eval.report.table_cells import TableCell, TableColumn
from archon_eval.runs.benchmark_run import Run
from archon_eval.stats.estimates import format_score

ABSENT = "-"
"""What stands where a system has no figure; `unknown` is a figure that there is, but nobody knows."""
LEGEND = (
    "Figures with their 95% interval over questions. The highest of a column is bold; † is not shown worse than it "
    "(paired comparison, Bonferroni over the column): with 95% confidence the best of those compared is marked.",
    "Average: the mean over the benchmarks. Share of the best: the mean over the benchmarks of the system's figure "
    "divided by the highest in the table. Both only for systems that have all benchmarks.",
    "Costs per question, reused calls included, judges left out: the mean over the system's benchmarks, each counting "
    "the same.",
)
LATEX_CHARACTERS = {
    **{character: f"\\{character}" for character in "{}$&#%_"},
    "\\": "\\textbackslash{}",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "{\\char34}",
    "'": "{'}",
    "`": "{`}",
    "-": "{-}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "†": "\\textdagger{}",
    "\ufffd": "?",
}
"""What each character is in LaTeX; `[` and `*` because they are options of a line's end before them."""
FORMULA_STARTS = ("=", "+", "-", "@")
"""A spreadsheet runs a cell that begins so."""


def render_markdown(table: BenchmarkTable) -> str:
    """Tables in text."""
    lines = ["# Systems by benchmark", "", *(f"**{escape_markdown(warning)}**\n" for warning in table.warnings)]
    rows = [[_format_text(text, escape_markdown, "**{}**", " †") for text in row] for row in _list_main_rows(table)]
    lines += _render_markdown_table([escape_markdown(text) for text in _list_headings(table)], rows)
    for heading, head, texts in _list_further_tables(table):
        lines += [f"## {escape_markdown(heading)}", ""]
        body = [[_format_text(text, escape_markdown, "**{}**", " †") for text in row] for row in texts]
        lines += _render_markdown_table([escape_markdown(text) for text in head], body)
    for note in (*_list_legend(table), *table.notes, *(f"Left out: {problem}" for problem in table.left_out)):
        lines.append(f"- {escape_markdown(note)}")
    return "\n".join([*lines, ""])


def _render_markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [*(f"| {' | '.join(line)} |" for line in (head, rule, *rows)), ""]


def render_latex(table: BenchmarkTable) -> str:
    """Tables in the style of the package booktabs, with the notes beneath."""
    lines = ["% needs \\usepackage{booktabs} and, for names beyond Latin letters, XeLaTeX or LuaLaTeX"]
    lines += [f"\\par{{\\textbf{{{escape_latex(warning)}}}\\par}}" for warning in table.warnings]
    bodies = [(_list_headings(table), _list_main_rows(table))]
    bodies += [(head, rows) for _, head, rows in _list_further_tables(table)]
    for head, rows in bodies:
        lines += ["\\begin{tabular}{l" + "r" * (len(head) - 1) + "}", "\\toprule"]
        lines += [f"{' & '.join(map(escape_latex, head))} \\\\", "\\midrule"]
        for row in rows:
            texts = (_format_text(text, escape_latex, "\\textbf{{{}}}", "$^{\\dagger}$") for text in row)
            lines.append(f"{' & '.join(texts)} \\\\")
        lines += ["\\bottomrule", "\\end{tabular}", ""]
    notes = (*_list_legend(table), *table.notes, *(f"Left out: {problem}" for problem in table.left_out))
    lines += [f"\\par{{\\footnotesize {escape_latex(note)}\\par}}" for note in notes]
    return "\n".join([*lines, ""])


def escape_latex(text: str) -> str:
    """Text that came from elsewhere, without power over the document."""
    return re.sub(".", lambda match: LATEX_CHARACTERS.get(match[0], match[0]), sanitize_text(" ".join(text.split())))


def render_csv(table: BenchmarkTable) -> str:
    """A row per system; with parts a row per system, benchmark and part, where an empty part is the whole benchmark.

    A figure that is unknown is `unknown`; one that there is not is empty.
    """
    head, *rows = _list_system_records(table) if table.parts is None else _list_part_records(table)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for row in (head, *rows):
        writer.writerow([_guard_formula(cell) if isinstance(cell, str) else cell for cell in row])
    return stream.getvalue()


def _list_system_records(table: BenchmarkTable) -> Iterable[list[Any]]:
    figures = [f"{c.heading}{part}" for c in table.columns for part in ("", *(f", {name}" for name in _CELL_FIELDS))]
    yield ["system", "fingerprint", *figures, "average", "share of the best", *TABLE_COSTS.values()]
    for row in table.rows:
        cells = [value for cell in row.cells for value in _list_cell_values(cell)]
        summary = ["" if value is None else value for value in (row.average, row.share_of_best)]
        yield [row.system, row.fingerprint, *cells, *summary, *_list_costs(row.cost)]


_CELL_FIELDS = (
    "low",
    "high",
    "standard error over questions",
    "questions",
    "standard error over runs",
    "runs",
    "runs left out",
    "mark",
)
"""What follows a figure in a CSV."""


def _list_cell_values(cell: TableCell | None) -> list[Any]:
    """The figure, and `_CELL_FIELDS`."""
    if cell is None:
        return [""] * (1 + len(_CELL_FIELDS))
    estimate, spread = cell.estimate, cell.over_runs
    known = [estimate.value, estimate.low, estimate.high, estimate.stderr, estimate.n, spread.stderr]
    return [*("unknown" if value is None else value for value in known), *_count_runs(cell), cell.mark]


def _count_runs(cell: TableCell) -> tuple[int, int]:
    """The runs behind the error over runs, and those that lack too many questions to count."""
    left_out = cell.over_runs.left_out_runs
    return cell.repeats - left_out, left_out


def _list_costs(costs: Mapping[str, float | None]) -> list[Any]:
    return ["unknown" if costs.get(name) is None else costs[name] for name in TABLE_COSTS]


def _list_part_records(table: BenchmarkTable) -> Iterable[list[Any]]:
    yield ["system", "fingerprint", "benchmark", "part", "metric", "figure", *_CELL_FIELDS, *TABLE_COSTS.values()]
    fingerprints = {row.system: row.fingerprint for row in table.rows}
    for place, column in enumerate(table.columns):
        for row in table.rows:
            if (cell := row.cells[place]) is not None:
                names = [row.system, row.fingerprint, column.benchmark, "", column.metric]
                yield [*names, *_list_cell_values(cell), *_list_costs(row.runs[column.benchmark].cost)]
    for part in table.parts or ():
        names = [part.system, fingerprints[part.system], part.benchmark, part.part, part.metric]
        yield [*names, *_list_cell_values(part.cell), *[""] * len(TABLE_COSTS)]


def _guard_formula(text: str) -> str:
    """A name in one line, which no spreadsheet takes for a formula."""
    text = sanitize_text(" ".join(text.split()))
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def render_json(table: BenchmarkTable) -> str:
    """Everything, with the costs of each benchmark."""
    result = {
        "columns": [{**asdict(column), "heading": column.heading} for column in table.columns],
        "systems": [_dump_row(row, table.columns) for row in table.rows],
        "parts": [_dump_part(part) for part in table.parts or ()],
        "warnings": list(table.warnings),
        "notes": [*_list_legend(table), *table.notes],
        "left_out": list(table.left_out),
    }
    return dump_json(result) + "\n"


def _dump_row(row: TableRow, columns: Sequence[TableColumn]) -> dict[str, Any]:
    return {
        "system": row.system,
        "fingerprint": row.fingerprint,
        "cells": {
            column.heading: None if cell is None else asdict(cell)
            for column, cell in zip(columns, row.cells, strict=True)
        },
        "average": row.average,
        "share_of_best": row.share_of_best,
        "cost": dict(row.cost),
        "benchmarks": {name: _dump_run(run) for name, run in row.runs.items()},
    }


def _dump_run(run: Run) -> dict[str, Any]:
    cost = {name: run.cost.get(name) for name in TABLE_COSTS}
    return {"log": run.source, "judges": list(run.judges), "cost": cost, "missing": dict(run.missing)}


def _dump_part(part: PartFigure) -> dict[str, Any]:
    names = {"system": part.system, "benchmark": part.benchmark, "part": part.part, "metric": part.metric}
    return {**names, **asdict(part.cell)}


TABLE_FORMATS: Mapping[str, Callable[[BenchmarkTable], str]] = {
    "md": render_markdown,
    "csv": render_csv,
    "latex": render_latex,
    "json": render_json,
}
"""What `--format` names."""

Text = str | tuple[str, str]
"""A cell's text, or a figure with its mark, `best` or `near`."""


def _format_text(text: Text, escape: Callable[[str], str], bold: str, dagger: str) -> str:
    if isinstance(text, str):
        return escape(text)
    figure, mark = escape(text[0]), text[1]
    return bold.format(figure) if mark == "best" else f"{figure}{dagger}" if mark == "near" else figure


def _list_headings(table: BenchmarkTable) -> list[str]:
    shown = [f"{column.heading}{', %' if column.scale == 100 else ''}" for column in table.columns]
    return ["system", *shown, "average", "share of the best, %", *TABLE_COSTS.values()]


def _list_main_rows(table: BenchmarkTable) -> list[list[Text]]:
    main = [column for column in table.columns if not column.beside]
    scale, digits = main[0].scale, max(column.digits for column in main)  # averages are of one scale
    rows: list[list[Text]] = []
    for row in table.rows:
        figures = [_format_cell(cell, column) for cell, column in zip(row.cells, table.columns, strict=True)]
        average = ABSENT if row.average is None else format_score(row.average, scale, digits=digits)
        share = ABSENT if row.share_of_best is None else format_score(row.share_of_best, 100)
        costs = [format_cost(row.cost[name]) for name in TABLE_COSTS]
        rows.append([row.system, *figures, average, share, *costs])
    return rows


def _format_cell(cell: TableCell | None, shown: TableColumn | PartFigure) -> Text:
    """The figure with its interval, on the scale and in the digits of its column or part."""
    if cell is None:
        return ABSENT
    return format_interval(cell.estimate, shown.scale, digits=shown.digits), cell.mark


def _list_further_tables(table: BenchmarkTable) -> Iterable[tuple[str, list[str], list[list[Text]]]]:
    """Heading, columns and rows: the standard errors, and the parts of each benchmark."""
    head = ["system", "benchmark", "standard error over questions", "standard error over runs", "runs"]
    errors: list[list[Text]] = [
        [
            row.system,
            column.heading,
            format_error(cell.estimate.stderr, column.scale),
            format_over_runs(cell.over_runs, column.scale),
            describe_runs(cell.over_runs, cell.repeats),
        ]
        for place, column in enumerate(table.columns)
        for row in table.rows
        if (cell := row.cells[place]) is not None
    ]
    yield "Standard errors", head, errors
    for benchmark in dict.fromkeys(part.benchmark for part in table.parts or ()):
        own = [part for part in table.parts or () if part.benchmark == benchmark]
        systems = list(dict.fromkeys(row.system for row in table.rows if benchmark in row.runs))
        unit = f"{own[0].metric}{', %' if own[0].scale == 100 else ''}"
        rows: list[list[Text]] = []
        for name in dict.fromkeys(part.part for part in own):
            cells = {part.system: part for part in own if part.part == name}
            counts = sorted({part.cell.estimate.n for part in cells.values()})
            questions = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
            figures = [_format_cell(cells[s].cell, cells[s]) if s in cells else ABSENT for s in systems]
            rows.append([name, questions, *figures])
        yield f"Parts of {benchmark}: {unit}", ["part", "questions", *systems], rows


def _list_legend(table: BenchmarkTable) -> list[str]:
    return [*LEGEND, f"Standard errors, of each figure. {STANDARD_ERROR_NOTE}"]
