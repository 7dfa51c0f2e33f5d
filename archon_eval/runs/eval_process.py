"""Inspect's own command line, which also says in a file how far its eval is: `evals.run_eval` starts it.

    python -m archon_eval.runs.eval_process told.jsonl eval archon_eval/math --solver archon ...

A line when the questions are known, `{"total": 40}`, then one per answer: calls, how many of them were reused, dollars
paid (null: unknown), and whether it failed. Calls of judges are the scorer's and are not in it.

It lives no longer than whoever holds its standard input open: at its end it is interrupted as by Ctrl-C, writes the log
of what it has, and ends. So nothing is paid for after a parent that was killed.
"""

import _thread
import json
import os
import runpy
import signal
import sys
import threading
import time
from typing import Any

from inspect_ai.hooks import Hooks, SampleEnd, TaskStart, hooks

from archon_eval.runs.read_log import get_accounts
from archon_eval.runs.run_eval import LOG_GRACE_SECONDS


def register_progress_hook(path: str) -> None:
    """Register with Inspect, for this process, what writes the file."""

    def write(**said: Any) -> None:
        with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123  told of often, and a line at a time
            file.write(json.dumps(said) + "\n")

    @hooks("archon_progress", "")
    class Told(Hooks):
        async def on_task_start(self, data: TaskStart) -> None:
            asked, epochs = data.spec.dataset.sample_ids or (), data.spec.config.epochs or 1
            write(total=len(asked) * epochs)

        async def on_sample_end(self, data: SampleEnd) -> None:
            accounts = get_accounts(data.sample)
            again = [account.get("reused", {}) for account in accounts]
            dollars = [one.get("dollars", 0.0) for one in (*accounts, *again)]
            paid = None if None in dollars else sum(dollars[: len(accounts)]) - sum(dollars[len(accounts) :])
            calls = (sum(one.get("calls", 0) for one in each) for each in (accounts, again))
            write(calls=next(calls), reused=next(calls), dollars=paid, failed=data.sample.error is not None)


def interrupt_on_eof() -> None:
    """Watch standard input, which is empty for all that runs here."""
    held = os.dup(0)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)

    def wait() -> None:
        while os.read(held, 1):
            pass
        _thread.interrupt_main()
        time.sleep(LOG_GRACE_SECONDS)  # a main thread that hears nothing, e.g. within a download
        os._exit(130)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # started in the background, it is ignored
    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    interrupt_on_eof()
    register_progress_hook(sys.argv[1])
    sys.argv = ["inspect", *sys.argv[2:]]
    runpy.run_module("inspect_ai", run_name="__main__")
