"""`archon search`: the best architecture for a benchmark, under limits and a budget.

$ archon search --task archon_eval/math -T sample=true --models sim/pool --space small --trials 20 -o out
"""

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

from archon_eval._notes import show_note
from archon_eval.cli.commands import add_command
from archon_eval.cli.progress import ProgressDisplay as Bar
from archon_eval.cli.progress import ProgressUpdate
from archon_eval.cli.search_options import add_search_options, build_settings


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(commands, "search", "find the best architecture for a benchmark under a budget", run=run)
    add_search_options(command)


def run(options: argparse.Namespace) -> int:
    """Run the search and print what came of it."""
    from archon_eval.search.journal import find_start

    start = find_start(options.output)
    if start is None or start == Path.cwd():
        return _run_here(options)
    if not start.is_dir():
        show_note(f"{options.output} was begun in {start}, which is gone: relative paths are taken from {Path.cwd()}")
        return _run_here(options)
    show_note(f"{options.output} was begun in {start}: relative paths of tasks, data and stores are taken from there")
    options.output = options.output.resolve()
    options.file = options.file and options.file.resolve()
    with chdir(start):
        return _run_here(options, start)


def _run_here(options: argparse.Namespace, start: Path | None = None) -> int:
    """Run the search.

    Args:
        start: the working directory, where it is not the user's.
    """
    from rich.console import Console

    from archon_eval.search import dask, local, search, write_results
    from archon_eval.search.eval_command import build_eval_command

    settings = build_settings(options)
    if options.dry_run:
        from archon_eval.search.forecast import forecast

        expected = forecast(settings, options.call_seconds, options.workers)
        print(json.dumps(expected, indent=1) if options.json else _format_forecast(expected))
        return 0
    _silence_smac()
    console = Console(stderr=options.json)
    folder = options.output.absolute()
    try:
        with dask(options.dask) if options.dask else local(options.workers) as runs, Bar("search", options.json) as bar:
            result = search(
                settings, folder, runs, workers=options.workers, on_progress=lambda step: bar(convert_progress(step))
            )
    except KeyboardInterrupt:
        print("archon: stopped; the same command goes on where it was", file=sys.stderr)
        raise
    summary = write_results(result, folder)
    if options.json:
        print(json.dumps(summary, indent=1))
    else:
        _print_summary(summary, console)
        for task in settings.tasks:
            door = summary["doors"][task.key]["door"]
            command = build_eval_command(settings, task, options.output, door=door, start=start)
            console.print(command, soft_wrap=True, highlight=False, markup=False)
    return 0


def _silence_smac() -> None:
    """SMAC3 logs and warns of what is normal here, in the middle of the progress bar."""
    warnings.filterwarnings("ignore", module="smac.*")
    logging.getLogger("smac").setLevel(logging.CRITICAL)


def convert_progress(progress: Any) -> ProgressUpdate:
    """The search's own account of where it is, as every command shows it; the best so far is a note."""
    note = ""
    if progress.value is not None:
        spread = f" ± {196 * progress.deviation:.1f}" if progress.deviation is not None else ""
        note = f"best of {progress.options} so far: {progress.incumbent} {100 * progress.value:.1f}{spread}%"
    note = "\n".join(filter(None, [note, progress.note]))
    unit = "trials" if progress.stage == "searching" else "evals" if progress.total else ""
    return ProgressUpdate(
        progress.stage,
        progress.done,
        progress.total,
        unit=unit,
        spent=progress.spent,
        seconds_left=progress.seconds_left,
        note=note,
    )


def _format_forecast(expected: Mapping[str, Any]) -> str:
    """A line per value, `calls, ranking: 690`; what is not known before is left out."""
    parts = [(name, value if isinstance(value, Mapping) else {"": value}) for name, value in expected.items()]
    rows = [(f"{name}, {part}" if part else name, value) for name, values in parts for part, value in values.items()]
    return "\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in rows if value is not None)


def _describe_judging(summary: Mapping[str, Any]) -> str:
    """A sentence on what judges took; empty where there were none."""
    if not summary["judge_calls"] and not summary["judge_tokens_on_top"]:
        return ""
    calls = "an unknown number of" if summary["judge_calls"] is None else f"{summary['judge_calls']:,}"
    dollars = "unknown" if summary["judge_dollars"] is None else f"${summary['judge_dollars']:.2f}"
    roles = ", ".join(f"{role}={model}" for role, model in summary["settings"]["model_roles"])
    tokens = f"{summary['judge_tokens_on_top']:,} tokens of models in roles" + (f" ({roles})" if roles else "")
    why = f" Not known: {summary['judge_unknown']}." if summary["judge_unknown"] else ""
    return f"Judges, on top of these: {calls} calls paid ({dollars}), {tokens}.{why}"


def _print_summary(summary: Mapping[str, Any], console: Any) -> None:
    from rich.table import Table

    from archon_eval.errors import sanitize_text
    from archon_eval.search.summary import format_percent

    for warning in summary["warnings"]:
        console.print(sanitize_text(f"Warning: {warning}"), highlight=False, markup=False, soft_wrap=True)
    table = Table(title="On the held-out questions", title_justify="left")
    for column in ("system", f"{summary['metric']} (95%)", "calls", "winner against it"):
        table.add_column(column, no_wrap=True)
    for name, shown in summary["held_out"].items():
        other = summary["winner_against"].get(name)
        verdict = f"{100 * other['value']:+.1f}, {other['verdict']}" if other else ""
        table.add_row(name, format_percent(shown), f"{shown['calls_per_question']:.1f}", verdict)
    console.print(table)
    for name, shown in summary["held_out"].items():
        console.print(f"{name}: {shown['architecture']}", highlight=False)
    for name, other in summary["winner_against"].items():
        if other["doubt"]:
            console.print(f"The winner against {name}: {other['doubt']}", highlight=False)
    if summary["verdict"]:
        console.print(summary["verdict"], style="bold")
    if summary["optimism"] is not None:
        optimism = f"{100 * summary['optimism']:+.1f} points of optimism"
        console.print(f"Its score in the search was {100 * summary['dev']:.1f}%: {optimism}.", highlight=False)
    paid, reused = summary["calls_paid"], summary["calls_reused"]
    dollars = "unknown" if summary["dollars_paid"] is None else f"${summary['dollars_paid']:.2f}"
    console.print(
        f"{summary['trials']} of {summary['space']} architectures tried; {paid:,} calls paid ({dollars}), "
        f"{reused / max(1, paid + reused):.0%} of all calls reused.",
        highlight=False,
    )
    if text := _describe_judging(summary):
        console.print(sanitize_text(text), highlight=False, markup=False, soft_wrap=True)
    for note in summary["notes"]:
        console.print(f"- {note}", highlight=False, markup=False)
    for task, choice in summary["doors"].items():
        text = sanitize_text(f"{task}, door: {choice['door']} ({choice['reason']})")
        console.print(text, highlight=False, markup=False, soft_wrap=True)
