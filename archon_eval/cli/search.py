"""`archon search`: the best architecture for a benchmark, under limits and a budget.

$ archon search --task archon_eval/math -T sample=true --models sim/pool --space small --trials 20 -o out
"""

import argparse
import json
import logging
import sys
import warnings
from contextlib import chdir
from pathlib import Path
from typing import Any

from archon_eval._notes import show_note
from archon_eval.cli.commands import add_command
from archon_eval.cli.progress import ProgressDisplay as Bar
from archon_eval.cli.progress import ProgressUpdate
from archon_eval.cli.search_options import add_search_options, build_settings
from archon_eval.cli.search_output import print_forecast, print_summary


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
        print(json.dumps(expected, indent=1)) if options.json else print_forecast(expected)
        return 0
    _silence_smac()
    console = Console(stderr=options.json)
    folder = options.output.absolute()
    try:
        processes = max(options.workers, options.shards)
        with dask(options.dask) if options.dask else local(processes) as runs, Bar("search", options.json) as bar:
            result = search(
                settings,
                folder,
                runs,
                workers=options.workers,
                log_dir=options.log_dir,
                shards=options.shards,
                on_progress=lambda step: bar(convert_progress(step)),
            )
    except KeyboardInterrupt:
        print("archon: stopped; the same command goes on where it was", file=sys.stderr)
        raise
    commands = [
        build_eval_command(settings, task, options.output, door=result.doors[task.key].door, start=start)
        for task in settings.tasks
    ]
    summary = write_results(result, folder, commands=commands)
    if options.json:
        print(json.dumps(summary, indent=1))
    else:
        print_summary(summary, console)
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
