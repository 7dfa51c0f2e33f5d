"""`archon report OUT --watch`: a page that follows a running search."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from archon_eval.cli.progress import ProgressDisplay, ProgressUpdate
from archon_eval.errors import DataError, sanitize_text
from archon_eval.runs.log_folder import hide_user, is_address

POLL_SECONDS = 1.0
"""How often the search's folder is looked at."""


def add_watch_options(command: Any) -> None:
    """Add the options."""
    command.add_argument(
        "--watch", action="store_true", help="follow a running search: serve its page here, or rewrite it with -o FILE"
    )
    command.add_argument("--port", type=int, metavar="N", help="for --watch without -o (default: a free one)")


def watch_search(options: argparse.Namespace) -> int:
    """Show the page until the search ends, or Ctrl-C.

    Raises:
        DataError: options that do not fit, no search, or a port that cannot be had.
    """
    from archon_eval.report.html.vega import require_plotting
    from archon_eval.report.watch import WatchedSearch, check_folder

    folder = _check_options(options)
    check_folder(folder)
    require_plotting()
    names = ("scorer", "missing", "metric", "ignore_prompts")
    watched = WatchedSearch(folder, {name: getattr(options, name) for name in names})
    try:
        with ProgressDisplay("report", options.json) as progress:
            if options.output:
                _rewrite_page(watched, options.output, progress)
            else:
                _serve_page(watched, options.port or 0, progress)
    except KeyboardInterrupt:
        print("archon: no longer watching; the search itself goes on", file=sys.stderr)
        return 0
    where = f"{options.output} is its report" if options.output else f"archon report {folder} makes its page again"
    print(sanitize_text(f"The search in {folder} has ended: {where}."))
    return 0


def _check_options(options: argparse.Namespace) -> Path:
    """The folder to watch.

    Raises:
        DataError: options that do not fit together.
    """
    if len(options.paths) != 1:
        raise DataError(f"--watch follows one search, and {len(options.paths)} paths are given")
    if is_address(options.paths[0]):
        raise DataError(f"--watch follows a search in a folder of this machine, not {hide_user(options.paths[0])}")
    if options.table or options.by_part or options.format not in (None, "html"):
        raise DataError("--watch makes an HTML page: leave out --table, --by-part and --format")
    if options.output and options.port is not None:
        raise DataError("--port is for a page that is served, and -o rewrites a file: leave one out")
    if options.port is not None and not 0 <= options.port <= 65535:
        raise DataError(f"--port {options.port}: must be from 0 (a free one) to 65535")
    return Path(options.paths[0])


def _rewrite_page(watched: Any, output: Path, progress: ProgressDisplay) -> None:
    from archon_eval.report.ci_output import write_file

    version = 0
    while True:
        state = watched.refresh()
        if state.version != version:
            version = state.version
            write_file(output, watched.render_file())
            if version == 1 and not state.finished:
                print(sanitize_text(f"{output} follows the search in {watched.folder}; Ctrl-C ends that."), flush=True)
        if state.finished:
            return
        _report_state(progress, state, str(output))
        time.sleep(POLL_SECONDS)


def _serve_page(watched: Any, port: int, progress: ProgressDisplay) -> None:
    from archon_eval.report.watch import WatchServer

    state = watched.refresh()
    if state.finished:  # there is nothing to follow, and the page would be gone with this command
        return
    with WatchServer(watched, port) as server:
        with progress.pause():
            print(sanitize_text(f"{server.url} follows the search in {watched.folder}; Ctrl-C ends that."), flush=True)
        while not state.finished:
            _report_state(progress, state, server.url)
            time.sleep(POLL_SECONDS)
            state = watched.refresh()
        server.wait_for_viewers()


def _report_state(progress: ProgressDisplay, state: Any, where: str) -> None:
    total = int(state.max_trials) if state.max_trials else None
    progress(ProgressUpdate(f"watching: {state.stage}", state.trials, total, unit="trials", note=where))
