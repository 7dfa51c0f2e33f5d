"""`archon compare | report`: what runs scored and took. Imports happen inside the command that needs them."""

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from archon_eval.cli.commands import add_command
from archon_eval.cli.eval_options import add_prompts_option, add_scoring_options
from archon_eval.cli.gate import add as add_gate
from archon_eval.cli.progress import ProgressDisplay, ProgressUpdate
from archon_eval.cli.report_table import write_table
from archon_eval.cli.report_watch import add_watch_options, watch_search
from archon_eval.cli.tables import create_table, print_table
from archon_eval.errors import DataError, sanitize_text
from archon_eval.runs.log_folder import fetch_logs, parse_place

MOST_REASONS = 5
"""So many of the questions without a score are listed with the reason."""


def add(commands: Any) -> None:
    """Add this group's commands."""
    compare = add_command(
        commands, "compare", "two systems on the same questions: better, worse or cannot tell", run=_compare
    )
    compare.add_argument("first", type=parse_place, help="a log, or a folder of logs of one system; or an address")
    compare.add_argument("second", type=parse_place, help="the same, of the system it is compared with")
    add_scoring_options(compare)
    add_prompts_option(compare)
    compare.add_argument("--confidence", type=float, default=0.95, help="of intervals and verdict (%(default)s)")
    compare.add_argument("--json", action="store_true", help="everything, as JSON")

    add_gate(commands)

    report = add_command(
        commands, "report", "one page about runs and searches: scores, costs, questions", run=_write_report
    )
    report.add_argument(
        "paths",
        nargs="+",
        type=parse_place,
        metavar="LOGS|SEARCH",
        help="logs, folders of logs, also at an address (s3://bucket/logs); or searches",
    )
    report.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: report.html; md and json to stdout")
    report.add_argument(
        "--format",
        choices=("html", "md", "json", "png", "csv", "latex"),
        help="default: by the name of the output; csv and latex for --table",
    )
    report.add_argument("--table", action="store_true", help="one table of systems by benchmarks instead, to stdout")
    report.add_argument("--by-part", action="store_true", help="sub-benchmarks in the table too")
    add_watch_options(report)
    report.add_argument("--cost", choices=("dollars", "tokens", "calls", "seconds"), default="calls", help="for png")
    report.add_argument(
        "--json", action="store_true", help="progress as JSON on stderr; for JSON itself: --format json"
    )
    add_scoring_options(report, "drop")
    add_prompts_option(report)


def _compare(options: argparse.Namespace) -> int:
    from archon_eval.report.compare import compare_paths, dump_comparison, list_warnings, summarize_comparison
    from archon_eval.report.formatting import dump_json
    from archon_eval.report.report_data import describe_score
    from archon_eval.report.standard_errors import describe_standard_errors

    with ProgressDisplay("compare", options.json) as progress:
        pairs = compare_paths(
            fetch_logs(options.first),
            fetch_logs(options.second),
            scorer=options.scorer,
            missing=options.missing,
            metric=options.metric,
            ignore_prompts=options.ignore_prompts,
            confidence=options.confidence,
            on_progress=lambda done, total: progress(ProgressUpdate("reading logs", done, total, unit="logs")),
        )
    if options.json:
        print(dump_json([dump_comparison(pair) for pair in pairs]))
        return 0
    for number, pair in enumerate(pairs):
        print(sanitize_text(f"{'' if number == 0 else chr(10)}{pair.first.task}, {pair.first.scorer}"))
        print_warnings(list_warnings(pair))
        if pair.parts:
            _print_parts(pair)
        for run in (pair.first, pair.second):
            print(sanitize_text(f"{run.name}: {describe_score(run)}"))
        for note in dict.fromkeys(run.metric_note for run in (pair.first, pair.second) if run.metric_note):
            print(sanitize_text(note))
        print(sanitize_text(summarize_comparison(pair)))
        if pair.prompt_note:
            print(sanitize_text(pair.prompt_note))
        _print_costs(pair)
        if pair.unpaired:
            print(f"Left out of the difference: {pair.unpaired} questions that only one of the two has a score of.")
        for run in (pair.first, pair.second):
            print_unscored(run, options.missing)
            if run.merge_note:
                print(sanitize_text(f"Logs of {run.name}: {run.merge_note}"))
            if errors := describe_standard_errors(run):
                print(sanitize_text(errors))
            if run.stage_note:
                print(sanitize_text(f"Stages of {run.name}: {run.stage_note}"))
            if run.notes:
                notes = ", ".join(f"{count} {word}" for word, count in run.notes.items())
                print(sanitize_text(f"Notes on {run.name}: {notes}"))
    return 0


def _print_costs(pair: Any) -> None:
    from archon_eval.report.formatting import format_cost
    from archon_eval.runs.benchmark_run import COST_COLUMNS

    rows = create_table("cost per question", *COST_COLUMNS.values(), numbers=",".join(COST_COLUMNS.values()))
    for run in (pair.first, pair.second):
        rows.add_row(run.name, *(format_cost(run.cost.get(name)) for name in COST_COLUMNS))
    ratios = (pair.cost_ratio[name] for name in COST_COLUMNS)
    rows.add_row("ratio", *("" if ratio is None else f"{ratio:.2g}x" for ratio in ratios))
    print_table(rows)
    print_unknown_costs(pair.first, pair.second)


def print_unknown_costs(*runs: Any) -> None:
    """Say which costs of the runs are unknown, and why."""
    from archon_eval.report.formatting import explain_unknown_costs

    for run in runs:
        if why := explain_unknown_costs(run.unknown_costs):
            print(sanitize_text(f"Cost of {run.name}: {why}"))


def print_warnings(warnings: Iterable[str]) -> None:
    """What a reader must know before the scores: layers that never worked, replies that were cut or lost."""
    for warning in warnings:
        print(sanitize_text(f"Warning: {warning}"))


def print_doubts(rows: Mapping[str, Any]) -> None:
    """Say of each row of a table where its interval and its test disagree."""
    from archon_eval.stats.comparison import explain_doubt

    for name, paired in rows.items():
        if doubt := explain_doubt(paired):
            print(sanitize_text(f"{name}: {doubt}"))


def print_unscored(run: Any, missing: str) -> None:
    """Say how many questions have no score, what was done with them, and why the first of them have none."""
    if run.missing:
        treatment = "count as wrong" if missing == "zero" else "left out"
        print(sanitize_text(f"Without a score: {len(run.missing)} questions of {run.name}, {treatment}."))
        for question, why in list(run.missing.items())[:MOST_REASONS]:
            print(sanitize_text(f"  {question}: {why}"))


def _print_parts(pair: Any) -> None:
    from archon_eval.stats.estimates import format_score

    rows = create_table(
        "", pair.first.name, pair.second.name, "difference", "interval", "p", "n", "verdict", numbers="n,p"
    )
    for part in (*pair.parts, pair.overall):
        difference, scale = part.paired.difference, pair.points
        interval = "unknown"
        if difference.low is not None and difference.high is not None and difference.low != difference.high:
            interval = " to ".join(format_score(end, scale, "+") for end in (difference.low, difference.high))
        means = (format_score(part.first, scale), format_score(part.second, scale))
        shown = format_score(difference.value, scale, "+")
        style = "bold" if part is pair.overall else None
        p = f"{part.paired.permutation_p:.3f}"
        rows.add_row(part.name, *means, shown, interval, p, str(difference.n), part.verdict, style=style)
    print_table(rows)
    print_doubts({part.name: part.paired for part in (*pair.parts, pair.overall)})
    confidence = 100 * pair.parts[0].paired.difference.confidence
    print(
        f"Rows of parts are by {pair.parts[0].metric.name} at {confidence:.1f}%, which holds for all {len(pair.parts)} "
        "together; p: permutation test"
    )


def _write_report(options: argparse.Namespace) -> int:
    if options.watch:
        return watch_search(options)
    if options.port is not None:
        raise DataError("--port is for --watch")
    options.paths = [fetch_logs(place) for place in options.paths]
    if options.table:
        return write_table(options)
    if options.by_part or options.format in ("csv", "latex"):
        raise DataError(f"{'--by-part' if options.by_part else f'--format {options.format}'} needs --table")
    from archon_eval.report.ci_output import write_file
    from archon_eval.report.formatting import dump_json
    from archon_eval.report.html.vega import require_plotting
    from archon_eval.report.report_data import dump_report, list_undrawn, read_report_data

    form = options.format or (options.output.suffix.lstrip(".") if options.output else "html")
    if form not in ("html", "md", "json", "png"):
        raise DataError(f"{options.output}: the ending says no format: .html, .md, .json or .png, or give --format")
    output = options.output or (Path(f"report.{form}") if form in ("html", "png") else None)
    if form in ("html", "png"):
        require_plotting()  # before anything is read
    with ProgressDisplay("report", options.json) as progress:
        data = read_report_data(
            options.paths,
            options.scorer,
            options.missing,
            metric=options.metric,
            ignore_prompts=options.ignore_prompts,
            on_progress=lambda done, total: progress(ProgressUpdate("reading logs", done, total, unit="logs")),
        )
        progress(ProgressUpdate("writing the report"))
        content: str | bytes
        if form == "html":
            from archon_eval.report.html.page import render_page

            content = render_page(data)
        elif form == "png":
            from archon_eval.report.html.page import render_chart_png

            content = render_chart_png(data, options.cost)
        elif form == "md":
            from archon_eval.report.markdown import render_markdown

            content = render_markdown(data)
        else:
            content = dump_json(dump_report(data)) + "\n"
    if output is None:
        print(content, end="")
        return 0
    write_file(output, content)
    print_warnings(data.warnings)
    for problem in data.problems:
        print(sanitize_text(f"left out: {problem}"), file=sys.stderr)
    if form == "png" and data.benchmarks:  # the picture is of the first
        for sentence in list_undrawn(data.benchmarks[0], [options.cost]):
            print(sanitize_text(sentence), file=sys.stderr)
    print(f"{output}: {sum(len(bench.systems) for bench in data.benchmarks)} runs, {len(data.searches)} searches")
    return 0
