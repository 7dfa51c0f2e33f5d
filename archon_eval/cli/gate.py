"""`archon gate`: is a run worse than the baseline? Imports happen inside the command that needs them."""

import argparse
import os
import sys
import traceback
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any

from archon_eval.cli.commands import add_command
from archon_eval.cli.eval_options import add_eval_options, add_metric_option, add_prompts_option, build_eval
from archon_eval.cli.progress import EvalSeries, ProgressDisplay, ProgressUpdate
from archon_eval.errors import ArchonError, DataError, sanitize_text


def add(commands: Any) -> None:
    """Add the command."""
    gate = add_command(commands, "gate", "exit code 0: no regression, 1: regression, 2: cannot decide", run=_run_gate)
    gate.add_argument("log", nargs="?", type=Path, help="a finished log, of lm-eval too; or run one now with --task")
    gate.add_argument("--baseline", type=Path, required=True, metavar="FILE", help="what the run is held against")
    gate.add_argument("--save-baseline", action="store_true", help="make the baseline file of this run instead")
    add_eval_options(gate)
    gate.add_argument("--scorer", metavar="NAME", help="which score counts (default: the baseline's)")
    add_metric_option(gate, "the baseline's")
    add_prompts_option(gate)
    gate.add_argument("--margin", type=float, default=0.0, help="points of drop that are tolerated (%(default)s)")
    gate.add_argument("--detect", type=float, help="points beyond it that must be found (5 where scores lie in 0 to 1)")
    gate.add_argument("--confidence", type=float, default=0.95, help="one-sided, of an alarm (%(default)s)")
    gate.add_argument("--power", type=float, default=0.8, help="chance to find a drop of --detect (%(default)s)")
    gate.add_argument("--name", help="what the summary calls it (default: the task)")
    gate.add_argument("--summary", type=Path, help="append Markdown here (default: $GITHUB_STEP_SUMMARY where set)")
    gate.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    gate.add_argument("--json", action="store_true", help="everything, as JSON")


def _run_gate(options: argparse.Namespace) -> int:
    """Whatever fails here is exit code 2: code 1 says regression, and would be Python's own for a crash."""
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
        on_progress = _create_progress_callback(progress, source)
        return run_gate(
            options.baseline,
            source,
            options.log_dir,
            limits=limits,
            scorer=options.scorer,
            metric=options.metric,
            ignore_prompts=options.ignore_prompts,
            on_progress=on_progress,
        )


def _create_progress_callback(progress: ProgressDisplay, source: Any) -> Any:
    if not isinstance(source, Path):
        return EvalSeries(progress, 1, source.epochs).start_eval(source.task, source)
    progress(ProgressUpdate(f"reading {source}"))
    return lambda progress: None


def _parse_gate_options(options: argparse.Namespace) -> tuple[Any, Any]:
    """A log, or an eval to run, and the thresholds."""
    from archon_eval.report.gate import GateThresholds

    if (options.log is None) == (options.task is None):
        raise DataError("give a finished log, or --task to run one")
    run = options.task_args, options.solver_args, options.model_role, options.door, options.epochs, options.time_limit
    if options.log is not None and (*run, options.harness, options.shards) != (
        [],
        [],
        [],
        "auto",
        1,
        inf,
        "inspect",
        1,
    ):
        raise DataError(
            "-T, -S, --model-role, --door, --epochs, --time-limit, --shards, --dask and --harness are of a run with "
            "--task, not of a finished log"
        )
    limits = GateThresholds(
        margin=options.margin, detect=options.detect, confidence=options.confidence, power=options.power
    )
    return options.log or build_eval(options), limits


def _save_baseline(source: Any, options: argparse.Namespace) -> int:
    from archon_eval.report.baseline import save_baseline
    from archon_eval.report.report_data import describe_score
    from archon_eval.runs.read_log import find_single_log, read_run
    from archon_eval.runs.run_lm_eval import run_plan

    door = ""
    with ProgressDisplay("gate", options.json) as progress:
        on_progress = _create_progress_callback(progress, source)
        if not isinstance(source, Path):
            source, choice = source.choose_door()
            door = choice.sentence
        log = find_single_log(source) if isinstance(source, Path) else run_plan(source, options.log_dir, on_progress)
        run = read_run(log, options.scorer, missing="drop", metric=options.metric)
    if run.missing:
        question, why = next(iter(run.missing.items()))
        raise DataError(f"{log}: a baseline needs every score; {len(run.missing)} have none; {question}: {why}")
    save_baseline(run, options.baseline)
    from archon_eval.report.formatting import dump_json

    warnings = run.health.sentences  # a gate compares with this run, also where a layer of it never worked
    for warning in warnings:
        _print_error(f"warning: {warning}")
    summary = {"baseline": str(options.baseline), "questions": len(run.scored), "task": run.task, "name": run.name}
    summary |= {"metric": run.metric.name, "value": run.estimate.value, "warnings": list(warnings), "door": door}
    print(
        dump_json(summary)
        if options.json
        else sanitize_text(
            f"{options.baseline}: {len(run.scored)} questions of {run.task}, {run.name}, {describe_score(run)}"
            f"{f'{chr(10)}note: {door}' if door else ''}"
        )
    )
    return 0


def _write_outcome(outcome: Any, options: argparse.Namespace) -> int:
    """Write it wherever CI looks for it. A place that cannot be written turns exit code 0 into 2."""
    from archon_eval.report import ci_output as ci
    from archon_eval.report.formatting import dump_json

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
            dump_json(ci.dump_outcome(outcome, name)) if options.json else ci.format_text(outcome),
            flush=True,
        )
    except BrokenPipeError:  # a reader who has seen enough changes nothing
        pass
    except OSError as exc:
        _print_error(f"archon gate: cannot write to stdout: {exc.strerror or exc}")
        code = code or 2
    return code
