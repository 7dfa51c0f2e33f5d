"""`archon compare | gate | report`: what runs say. Imports happen inside the command that needs them."""

import argparse
import json
import os
import sys
import traceback
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any

from archon_eval.cli.commands import add_command
from archon_eval.cli.progress import EvalSeries, ProgressDisplay, ProgressUpdate
from archon_eval.cli.tables import create_table, print_table
from archon_eval.errors import ArchonError, DataError, sanitize_text


def add(commands: Any) -> None:
    """Add this group's commands."""
    compare = add_command(
        commands, "compare", "two systems on the same questions: better, worse or cannot tell", run=_compare
    )
    compare.add_argument("first", type=Path, help="a log, or a folder of logs of one system")
    compare.add_argument("second", type=Path, help="the same, of the system it is compared with")
    add_scoring_options(compare)
    compare.add_argument("--confidence", type=float, default=0.95, help="of intervals and verdict (%(default)s)")
    compare.add_argument("--json", action="store_true", help="everything, as JSON")

    gate = add_command(commands, "gate", "exit code 0: no regression, 1: regression, 2: cannot decide", run=_run_gate)
    gate.add_argument("log", nargs="?", type=Path, help="a finished log; or run one now with --task")
    gate.add_argument("--baseline", type=Path, required=True, metavar="FILE", help="what the run is held against")
    gate.add_argument("--save-baseline", action="store_true", help="make the baseline file of this run instead")
    add_eval_options(gate)
    gate.add_argument("--scorer", metavar="NAME", help="which score counts (default: the baseline's)")
    gate.add_argument("--margin", type=float, default=0.0, help="points of drop that are tolerated (%(default)s)")
    gate.add_argument("--detect", type=float, help="points beyond it that must be found (5 where scores lie in 0 to 1)")
    gate.add_argument("--confidence", type=float, default=0.95, help="one-sided, of an alarm (%(default)s)")
    gate.add_argument("--power", type=float, default=0.8, help="chance to find a drop of --detect (%(default)s)")
    gate.add_argument("--name", help="what the summary calls it (default: the task)")
    gate.add_argument("--summary", type=Path, help="append Markdown here (default: $GITHUB_STEP_SUMMARY where set)")
    gate.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    gate.add_argument("--json", action="store_true", help="everything, as JSON")

    report = add_command(
        commands, "report", "one page about runs and searches: scores, costs, questions", run=_write_report
    )
    report.add_argument("paths", nargs="+", type=Path, metavar="LOGS|SEARCH", help="logs, folders of logs or searches")
    report.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: report.html; md and json to stdout")
    report.add_argument("--format", choices=("html", "md", "json", "png"), help="default: by the name of the output")
    report.add_argument("--cost", choices=("dollars", "tokens", "calls", "seconds"), default="calls", help="for png")
    report.add_argument(
        "--json", action="store_true", help="progress as JSON on stderr; for JSON itself: --format json"
    )
    add_scoring_options(report, "drop")


def add_eval_options(command: argparse.ArgumentParser, folder: Path = Path("logs")) -> None:
    """The options that say what an eval runs."""
    command.add_argument("--task", help="benchmark as Inspect finds it")
    for letter, what in (("T", "task"), ("S", "solver")):
        text = f"{what} parameter; repeat for several"
        command.add_argument(f"-{letter}", dest=f"{what}_args", action="append", default=[], metavar="N=V", help=text)
    command.add_argument("--model-role", action="append", default=[], metavar="ROLE=MODEL", help="e.g. a judge")
    command.add_argument("--epochs", type=_parse_count, default=1, help="answers per question (%(default)s)")
    command.add_argument("--time-limit", type=_parse_seconds, default=inf, metavar="SECONDS", help="of an eval (none)")
    command.add_argument("--log-dir", type=Path, default=folder, help="where logs go (%(default)s)")


def _parse_count(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return value


def _parse_seconds(text: str) -> float:
    if not (value := float(text)) > 0:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0")
    return value


def add_scoring_options(command: argparse.ArgumentParser, missing: str = "error") -> None:
    command.add_argument("--scorer", metavar="NAME", help="which score counts, NAME or NAME/KEY (default: the first)")
    command.add_argument(
        "--missing",
        choices=("error", "drop", "zero"),
        default=missing,
        help="questions without a score: an error, left out, or wrong (%(default)s)",
    )


def _compare(options: argparse.Namespace) -> int:
    from archon_eval.report.compare import compare_paths, dump_comparison, summarize_comparison

    with ProgressDisplay("compare", options.json) as progress:
        pairs = compare_paths(
            options.first,
            options.second,
            scorer=options.scorer,
            missing=options.missing,
            confidence=options.confidence,
            watch=lambda done, total: progress(ProgressUpdate("reading logs", done, total, "logs")),
        )
    if options.json:
        print(json.dumps([dump_comparison(pair) for pair in pairs], indent=2))
        return 0
    for number, pair in enumerate(pairs):
        print(sanitize_text(f"{'' if number == 0 else chr(10)}{pair.first.task}, {pair.first.scorer}"))
        if pair.parts:
            _print_parts(pair)
        print(sanitize_text(summarize_comparison(pair)))
        ratios = [f"{value:.2g}x {name}" for name, value in pair.cost_ratio.items() if value is not None]
        print(sanitize_text(f"Cost of {pair.first.name} per question: {', '.join(ratios) or 'unknown'}"))
        if pair.unpaired:
            print(f"Left out: {pair.unpaired} questions that only one of the two has a score of.")
        for run in (pair.first, pair.second):
            print_unscored(run, options.missing)
            if run.notes:
                notes = ", ".join(f"{count} {what}" for what, count in run.notes.items())
                print(sanitize_text(f"Notes on {run.name}: {notes}"))
    return 0


def print_unscored(run: Any, missing: str) -> None:
    """What became of questions without a score."""
    if run.missing:
        what = "count as wrong" if missing == "zero" else "left out"
        print(sanitize_text(f"Without a score: {len(run.missing)} questions of {run.name}, {what}."))


def _print_parts(pair: Any) -> None:
    from archon_eval.stats.estimates import format_score

    rows = create_table(
        "", pair.first.name, pair.second.name, "difference", "interval", "p", "n", "verdict", numbers="n,p"
    )
    for part in (*pair.parts, pair.overall):
        found, scale = part.paired.difference, pair.points
        interval = (
            "unknown"
            if found.low in (None, found.high)
            else f"{format_score(found.low, scale, '+')} to {format_score(found.high, scale, '+')}"
        )
        means = (
            format_score(part.first, scale),
            format_score(part.second, scale),
            format_score(found.value, scale, "+"),
        )
        style = "bold" if part is pair.overall else None
        p = f"{part.paired.permutation_p:.3f}"
        rows.add_row(part.name, *means, interval, p, str(found.n), part.verdict, style=style)
    print_table(rows)
    confidence = 100 * pair.parts[0].paired.difference.confidence
    print(
        f"Rows of parts at {confidence:.1f}%, which holds for all {len(pair.parts)} together; p: exact permutation test"
    )


def _run_gate(options: argparse.Namespace) -> int:
    """Exit code 1 is a regression, and Python's own for a crash is 1 as well: whatever fails here is a 2."""
    from archon_eval.report.gate import GateOutcome

    try:
        source, limits = _parse_gate_options(options)
        if options.save_baseline:
            return _save_baseline(source, options)
        try:
            outcome = _check_with_progress(source, limits, options)
        except Exception as exc:  # noqa: BLE001
            _print_error(traceback.format_exc())
            outcome = GateOutcome(2, (f"the gate itself failed: {type(exc).__name__}: {exc}",), limits)
        return _write_outcome(outcome, options)
    except ArchonError as exc:
        _print_error(f"archon gate: {exc}")
    except Exception:  # noqa: BLE001
        _print_error(traceback.format_exc())
    return 2


def _print_error(text: str) -> None:
    with suppress(OSError):  # nobody reads it
        print(sanitize_text(text), file=sys.stderr)


def _check_with_progress(source: Any, limits: Any, options: argparse.Namespace) -> Any:
    from archon_eval.report.run_gate import run_gate

    with ProgressDisplay("gate", options.json) as progress:
        watch = _create_progress_callback(progress, source)
        return run_gate(options.baseline, source, options.log_dir, limits, options.scorer, watch)


def _create_progress_callback(progress: ProgressDisplay, source: Any) -> Any:
    if not isinstance(source, Path):
        return EvalSeries(progress, 1, source.epochs).start_eval(source.task, source)
    progress(ProgressUpdate(f"reading {source}"))
    return lambda sofar: None


def _parse_gate_options(options: argparse.Namespace) -> tuple[Any, Any]:
    """What is held against the baseline, a log or an eval to run, and the limits."""
    from archon_eval.report.gate import GateThresholds
    from archon_eval.runs.run_eval import Eval

    if (options.log is None) == (options.task is None):
        raise DataError("give a finished log, or --task to run one")
    run = options.task_args, options.solver_args, options.model_role, options.epochs, options.time_limit
    if options.log is not None and run != ([], [], [], 1, inf):
        raise DataError(
            "-T, -S, --model-role, --epochs and --time-limit are of a run with --task, not of a finished log"
        )
    limits = GateThresholds(options.margin, options.detect, options.confidence, options.power)
    given = (
        tuple(options.task_args),
        tuple(options.solver_args),
        tuple(options.model_role),
        options.epochs,
        options.time_limit,
    )
    return options.log or Eval(options.task, *given), limits


def _save_baseline(source: Any, options: argparse.Namespace) -> int:
    from archon_eval.report.gate import save_baseline
    from archon_eval.runs.read_log import find_single_log, read_run
    from archon_eval.runs.run_eval import run_eval

    with ProgressDisplay("gate", options.json) as progress:
        watch = _create_progress_callback(progress, source)
        log = find_single_log(source) if isinstance(source, Path) else run_eval(source, options.log_dir, watch)
        run = read_run(log, options.scorer, missing="drop")
    if run.missing:
        question, why = next(iter(run.missing.items()))
        raise DataError(f"{log}: a baseline needs every score; {len(run.missing)} have none; {question}: {why}")
    save_baseline(run, options.baseline)
    said = {"baseline": str(options.baseline), "questions": len(run.scores), "task": run.task, "name": run.name}
    print(
        json.dumps(said, indent=2)
        if options.json
        else sanitize_text(f"{options.baseline}: {len(run.scores)} questions of {run.task}, {run.name}")
    )
    return 0


def _write_outcome(outcome: Any, options: argparse.Namespace) -> int:
    """Wherever CI looks for it; a place that cannot be written is said, and turns green into undecided."""
    from archon_eval.report import ci_output as ci

    code, name = int(outcome.code), options.name or options.task or outcome.task or str(options.log)
    summary = options.summary or os.environ.get("GITHUB_STEP_SUMMARY")
    for path, content, mode in ((summary, ci.format_markdown, "a"), (options.junit, ci.format_junit, "w")):
        try:
            if path:
                ci.write_file(path, content(outcome, name), mode)
        except ArchonError as exc:
            _print_error(f"archon gate: {exc}")
            code = code or 2
    try:
        print(
            json.dumps(ci.dump_outcome(outcome, name), indent=2) if options.json else ci.format_text(outcome),
            flush=True,
        )
    except BrokenPipeError:  # a reader who has seen enough changes nothing
        pass
    except OSError as exc:
        _print_error(f"archon gate: cannot write to stdout: {exc.strerror or exc}")
        code = code or 2
    return code


def _write_report(options: argparse.Namespace) -> int:
    from archon_eval.report.ci_output import write_file
    from archon_eval.report.html import charts
    from archon_eval.report.report_data import dump_report, read_report_data

    form = options.format or (options.output.suffix.lstrip(".") if options.output else "html")
    if form not in ("html", "md", "json", "png"):
        raise DataError(f"{options.output}: the ending says no format: .html, .md, .json or .png, or give --format")
    output = options.output or (Path(f"report.{form}") if form in ("html", "png") else None)
    if form in ("html", "png"):
        charts.require_plotting()  # before anything is read
    with ProgressDisplay("report", options.json) as progress:
        found = read_report_data(
            options.paths,
            options.scorer,
            options.missing,
            lambda done, total: progress(ProgressUpdate("reading logs", done, total, "logs")),
        )
        progress(ProgressUpdate("writing the report"))
        content: str | bytes
        if form == "html":
            from archon_eval.report.html.page import render_page

            content = render_page(found)
        elif form == "png":
            from archon_eval.report.html.page import render_chart_png

            content = render_chart_png(found, options.cost)
        elif form == "md":
            from archon_eval.report.markdown import render_markdown

            content = render_markdown(found)
        else:
            content = json.dumps(dump_report(found), indent=2) + "\n"
    if output is None:
        print(content, end="")
        return 0
    write_file(output, content)
    for problem in found.problems:
        print(sanitize_text(f"left out: {problem}"), file=sys.stderr)
    print(f"{output}: {sum(len(bench.systems) for bench in found.benchmarks)} runs, {len(found.searches)} searches")
    return 0
