"""`archon store stats | verify | prune | export | import`: looking after a call store."""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from archon_eval.cli.commands import add_command
from archon_eval.cli.progress import ProgressDisplay, ProgressUpdate
from archon_eval.errors import StoreError


def add(commands: Any) -> None:
    """Add this group's commands."""
    store = add_command(commands, "store", "look after a call store")
    actions = store.add_subparsers(metavar="ACTION", required=True)

    def action(name: str, help: str, run: Any) -> Any:
        found = add_command(actions, name, help, run)
        found.add_argument("store", nargs="?", help="path of the store (default: the environment's ARCHON_STORE)")
        found.add_argument("--json", action="store_true", help="the result as JSON, progress as JSON on stderr")
        return found

    action("stats", "what is in it", _show_stats)
    action("verify", "whether all of it is whole", _verify)
    prune = action("prune", "delete replies and give the space back", _prune)
    prune.add_argument("--older-than", type=float, metavar="DAYS")
    prune.add_argument("--endpoint", help="only those whose endpoint contains this, e.g. openai/gpt-4o")
    prune.add_argument("--damaged", action="store_true", help="only those that are damaged")
    action("export", "write all replies as lines of JSON", _export).add_argument("--to", required=True, metavar="FILE")
    read = action("import", "add the replies of an export", _import)
    read.add_argument("--from", required=True, dest="source", metavar="FILE")
    read.add_argument("--replace", action="store_true", help="in place of those that are there")


def _open_store(options: argparse.Namespace, read_only: bool, new: bool = False) -> Any:
    from archon_eval.models.client import STORE_VARIABLE
    from archon_eval.models.store import CallStore
    from archon_eval.models.store_damage import open_read_only

    path = options.store or os.environ.get(STORE_VARIABLE)
    if not path:
        raise StoreError(f"which store? give its path, or set {STORE_VARIABLE}")
    if not new and not Path(path).is_file():
        raise StoreError(f"there is no call store {path}")
    return open_read_only(path) if read_only else CallStore(path)


def _create_progress_callback(progress: ProgressDisplay, stage: str) -> Callable[[int, int], None]:
    def watch(done: int, total: int) -> None:
        progress(ProgressUpdate(stage, done, total, "replies"))

    return watch


def _print_result(options: argparse.Namespace, found: dict[str, Any], *lines: str) -> None:
    print(json.dumps(found, indent=2) if options.json else "\n".join(lines))


def _show_stats(options: argparse.Namespace) -> int:
    from archon_eval.models.store_admin import compute_stats

    with _open_store(options, True) as store:
        found = compute_stats(store)
    lines = [f"{found.replies:,} replies, {found.bytes / 1e6:.1f} MB"]
    lines += [f"{found.unreadable:,} replies cannot be read: see `archon store verify`"] if found.unreadable else []
    lines += [f"{found.failures:,} calls that failed, for replays"] if found.failures else []
    lines += [f"{found.input_tokens:,} input tokens and {found.output_tokens:,} output tokens, paid once"]
    lines += [f"made {_format_date(found.oldest)} to {_format_date(found.newest)}"] if found.replies else []
    lines += [f"{count:>10,}  {endpoint}" for endpoint, count in found.endpoints.items()]
    _print_result(options, asdict(found), *lines)
    return 0


def _format_date(unix: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(unix))


def _verify(options: argparse.Namespace) -> int:
    from archon_eval.models.store_damage import verify

    with _open_store(options, True) as store:
        with ProgressDisplay("store verify", options.json) as progress:
            wrong = verify(store, _create_progress_callback(progress, "checking"))
        try:
            replies = store.count()
        except StoreError:  # what makes them uncountable is among what is wrong
            replies = None
    lines = [*wrong, f"{'' if replies is None else f'{replies:,} replies, '}{len(wrong)} things wrong"]
    if wrong:
        lines += [
            "`archon store prune --damaged` drops damaged replies; if the file is damaged, `export` saves the others"
        ]
    _print_result(options, {"replies": replies, "wrong": wrong}, *lines)
    return 1 if wrong else 0


def _prune(options: argparse.Namespace) -> int:
    from archon_eval.models.store_admin import prune

    with _open_store(options, False) as store:
        gone = prune(store, days=options.older_than, endpoint=options.endpoint, damaged=options.damaged)
    _print_result(options, {"deleted": gone}, f"{gone:,} replies deleted")
    return 0


def _export(options: argparse.Namespace) -> int:
    from archon_eval.models.store_admin import export

    with _open_store(options, True) as store, ProgressDisplay("store export", options.json) as progress:
        written, damaged = export(store, options.to, _create_progress_callback(progress, "writing"))
    line = f"{written:,} replies written to {options.to}" + (f"; at least {damaged:,} damaged" if damaged else "")
    _print_result(options, {"written": written, "damaged": damaged}, line)
    return 0


def _import(options: argparse.Namespace) -> int:
    from archon_eval.models.store_admin import import_

    with _open_store(options, False, new=True) as store, ProgressDisplay("store import", options.json) as progress:
        added = import_(
            store,
            options.source,
            replace=options.replace,
            on_progress=_create_progress_callback(progress, "reading"),
        )
    _print_result(options, {"added": added}, f"{added:,} replies added")
    return 0
