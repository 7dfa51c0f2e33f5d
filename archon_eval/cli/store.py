"""`archon store stats | verify | prune | export | import`: looks after a call store."""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from archon_eval.cli.commands import RunCommand, add_command
from archon_eval.cli.progress import ProgressDisplay, ProgressUpdate
from archon_eval.errors import StoreError


def add(commands: Any) -> None:
    """Add this group's commands."""
    store = add_command(commands, "store", "look after a call store")
    actions = store.add_subparsers(metavar="ACTION", required=True)

    def add_action(name: str, summary: str, run: RunCommand) -> argparse.ArgumentParser:
        action = add_command(actions, name, summary, run=run)
        action.add_argument("store", nargs="?", help="path or address (default: the environment's ARCHON_STORE)")
        action.add_argument("--json", action="store_true", help="the result as JSON, progress as JSON on stderr")
        return action

    add_action("stats", "what is in it", _show_stats)
    add_action("verify", "whether all of it is whole", _verify)
    prune = add_action("prune", "delete replies and give the space back", _prune)
    prune.add_argument("--older-than", type=float, metavar="DAYS")
    prune.add_argument("--endpoint", help="only those whose endpoint contains this, e.g. openai/gpt-4o")
    prune.add_argument("--damaged", action="store_true", help="only those that are damaged")
    export = add_action("export", "write all replies as lines of JSON", _export)
    export.add_argument("--to", required=True, metavar="FILE")
    imported = add_action("import", "add the replies of an export", _import)
    imported.add_argument("--from", required=True, dest="source", metavar="FILE")
    imported.add_argument("--replace", action="store_true", help="in place of those that are there")


def _open_store(options: argparse.Namespace, *, read_only: bool, create: bool = False) -> Any:
    """The store that the options or the environment name; StoreError if there is none."""
    from archon_eval.models.open_store import open_store, open_to_inspect
    from archon_eval.models.store_address import STORE_VARIABLE, is_server, refuse_password

    if options.store:
        refuse_password(options.store)
    address = options.store or os.environ.get(STORE_VARIABLE)
    if not address:
        raise StoreError(f"which store? give its path or address, or set {STORE_VARIABLE}")
    if read_only:
        _refuse_missing(address)
        return open_to_inspect(address)
    if not create:
        if is_server(address):
            open_store(address, read_only=True).close()  # or it would be made
        _refuse_missing(address)
    return open_store(address)


def _refuse_missing(address: str) -> None:
    from archon_eval.models.store_address import is_server

    if not is_server(address) and not Path(address).is_file():
        raise StoreError(f"there is no call store {address}")


def _create_progress_callback(progress: ProgressDisplay, stage: str) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        progress(ProgressUpdate(stage, done, total, unit="replies"))

    return show


def _print_result(options: argparse.Namespace, result: dict[str, Any], *lines: str) -> None:
    print(json.dumps(result, indent=2) if options.json else "\n".join(lines))


def _show_stats(options: argparse.Namespace) -> int:
    from archon_eval.models.store_admin import compute_stats

    with _open_store(options, read_only=True) as store:
        stats = compute_stats(store)
    lines = [f"{stats.replies:,} replies, {stats.bytes / 1e6:.1f} MB"]
    lines += [f"{stats.unreadable:,} replies cannot be read: see `archon store verify`"] if stats.unreadable else []
    lines += [f"{stats.failures:,} calls that failed, for replays"] if stats.failures else []
    lines += [f"{stats.input_tokens:,} input tokens and {stats.output_tokens:,} output tokens, paid once"]
    lines += [f"made {_format_date(stats.oldest)} to {_format_date(stats.newest)}"] if stats.replies else []
    lines += [f"{count:>10,}  {endpoint}" for endpoint, count in stats.endpoints.items()]
    _print_result(options, asdict(stats), *lines)
    return 0


def _format_date(unix: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(unix))


def _verify(options: argparse.Namespace) -> int:
    from archon_eval.models.store_admin import verify

    with _open_store(options, read_only=True) as store:
        with ProgressDisplay("store verify", options.json) as progress:
            problems = verify(store, _create_progress_callback(progress, "checking"))
        try:
            replies = store.count()
        except StoreError:  # the reason is among the problems
            replies = None
    lines = [*problems, f"{'' if replies is None else f'{replies:,} replies, '}{len(problems)} things wrong"]
    if problems:
        lines += [
            "`archon store prune --damaged` drops damaged replies; if the file is damaged, `export` saves the others"
        ]
    _print_result(options, {"replies": replies, "wrong": problems}, *lines)
    return 1 if problems else 0


def _prune(options: argparse.Namespace) -> int:
    from archon_eval.models.store_admin import prune

    with _open_store(options, read_only=False) as store:
        gone = prune(store, days=options.older_than, endpoint=options.endpoint, damaged=options.damaged)
    _print_result(options, {"deleted": gone}, f"{gone:,} replies deleted")
    return 0


def _export(options: argparse.Namespace) -> int:
    from archon_eval.models.store_admin import export

    with _open_store(options, read_only=True) as store, ProgressDisplay("store export", options.json) as progress:
        written, damaged = export(store, options.to, _create_progress_callback(progress, "writing"))
    line = f"{written:,} replies written to {options.to}" + (f"; at least {damaged:,} damaged" if damaged else "")
    _print_result(options, {"written": written, "damaged": damaged}, line)
    return 0


def _import(options: argparse.Namespace) -> int:
    from archon_eval.models.store_admin import import_

    with (
        _open_store(options, read_only=False, create=True) as store,
        ProgressDisplay("store import", options.json) as progress,
    ):
        on_progress = _create_progress_callback(progress, "reading")
        added = import_(store, options.source, replace=options.replace, on_progress=on_progress)
    _print_result(options, {"added": added}, f"{added:,} replies added")
    return 0
