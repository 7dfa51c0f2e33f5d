"""The program of a `WorkerProcess`: it answers calls on its standard input with results, each a line of JSON.

Inspect's evals cannot run in threads, and the first in a process takes seconds to start, so it stays warm.
"""

import json
import os
import queue
import threading
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Any

from archon_eval._notes import print_notes_plainly
from archon_eval.runs.child_process import follow_parent


class Channel:
    """Messages, mappings of what JSON can hold, between a function that runs here and whoever called it."""

    def __init__(self) -> None:
        self.send: Callable[[Mapping[str, Any]], None] = lambda message: None
        """Tell whoever called."""
        self.receive: Callable[[Mapping[str, Any]], None] = lambda message: None
        """Called with what the other end says, in a thread of its own; a function that listens puts its own here."""


CHANNEL = Channel()
"""Of this process."""


def answer_calls() -> None:
    """Answer lines until there are no more; what evals print goes to standard error.

    A line with `function` names one, and its mapping of arguments; it is answered with a line that has its `value`.
    Lines with `message` go to and from `CHANNEL` meanwhile.
    """
    answers, lock = os.fdopen(os.dup(1), "w", encoding="utf-8"), threading.Lock()
    os.dup2(2, 1)
    calls: queue.Queue[Mapping[str, Any]] = queue.Queue()

    def write(line: Mapping[str, Any]) -> None:
        with lock:
            answers.write(json.dumps(line) + "\n")
            answers.flush()

    def take(text: str) -> None:
        line = json.loads(text)
        if "message" in line:
            loop.CHANNEL.receive(line["message"])
        else:
            calls.put(line)

    from archon_eval.runs import worker_loop as loop  # this program's own name is __main__

    loop.CHANNEL.send = lambda message: write({"message": message})
    # once the parent is gone nobody waits for the eval under way, and the call store has what it paid for
    follow_parent(on_end=lambda: os._exit(1), on_line=take)
    while True:
        call = calls.get()
        write({"value": resolve_name(call["function"])(call["args"])})


if __name__ == "__main__":
    with print_notes_plainly():
        answer_calls()
