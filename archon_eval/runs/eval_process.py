"""The program that `run_eval` starts: Inspect's command line, which also writes to a file how far its eval is.

    python -m archon_eval.runs.eval_process progress.jsonl eval archon_eval/math --solver archon ...

The file gets a line when the questions are known, `{"total": 40}`, then one per answer: calls, how many of them were
reused, dollars paid (null: unknown), and whether the answer failed. Calls of judges are the scorer's and are not in it.

When its standard input ends, the eval is interrupted as by Ctrl-C, writes the log of the answers it has, and ends.
"""

import _thread
import json
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from inspect_ai.hooks import Hooks, SampleEnd, TaskStart, hooks

from archon_eval._notes import print_notes_plainly
from archon_eval._signals import interrupt_on_sigterm
from archon_eval.models.usage_totals import UsageTotals
from archon_eval.runs.answer_usage import read_answer_usage
from archon_eval.runs.child_process import LOG_GRACE_SECONDS, follow_parent


def register_progress_hook(on_event: Callable[[Mapping[str, Any]], None]) -> None:
    """Register with Inspect, for this process, the hook that tells how far an eval is."""

    def write(**event: Any) -> None:
        on_event(event)

    @hooks("archon_progress", "")
    class ProgressHook(Hooks):
        async def on_task_start(self, data: TaskStart) -> None:
            ids, epochs = data.spec.dataset.sample_ids or (), data.spec.config.epochs or 1
            write(total=len(ids) * epochs)

        async def on_sample_end(self, data: SampleEnd) -> None:
            accounts = read_answer_usage(data.sample, data.sample.events or ()).accounts
            usage = UsageTotals.add_up(account.usage for account in accounts)
            paid, failed = usage.paid_dollars, data.sample.error is not None
            write(calls=usage.calls, reused=usage.reused_calls, dollars=paid, failed=failed)


def append_event(path: str, event: Mapping[str, Any]) -> None:
    """Write an event into the file."""
    with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123  called often, and writes a line at a time
        file.write(json.dumps(event) + "\n")


def interrupt_main_thread() -> None:
    """Ends an eval whose parent is gone."""
    _thread.interrupt_main()
    time.sleep(LOG_GRACE_SECONDS)  # a main thread that hears nothing, e.g. within a download
    os._exit(130)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # started in the background, it is ignored
    interrupt_on_sigterm()
    follow_parent(interrupt_main_thread)
    register_progress_hook(partial(append_event, sys.argv[1]))
    sys.argv = ["inspect", *sys.argv[2:]]
    with print_notes_plainly():
        runpy.run_module("inspect_ai", run_name="__main__")
