"""The program of a `WorkerProcess`: it answers calls on its standard input with results, each a line of JSON.

Inspect's evals cannot run in threads, and the first in a process takes seconds to start, so it stays warm.
"""

import json
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Any

from archon_eval._notes import print_notes_plainly
from archon_eval.runs.child_process import follow_parent

END_SECONDS = 5.0
"""How long a process that does nothing has to end."""


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
    calls: queue.Queue[Mapping[str, Any] | None] = queue.Queue()
    taken = answered = 0

    def write(line: Mapping[str, Any]) -> None:
        with lock:
            answers.write(json.dumps(line) + "\n")
            answers.flush()

    def take(text: str) -> None:
        nonlocal taken
        line = json.loads(text)
        if "message" in line:
            loop.CHANNEL.receive(line["message"])
        else:
            taken += 1
            calls.put(line)

    def end() -> None:
        """End at once while something runs: nobody waits for it, and the call store has what it paid for. While nothing
        does, end as a program does: what is open is closed, so that no part of a store is left beside it."""
        if taken == answered:
            calls.put(None)
            time.sleep(END_SECONDS)
        os._exit(1)

    from archon_eval.runs import worker_loop as loop  # this program's own name is __main__

    loop.CHANNEL.send = lambda message: write({"message": message})
    follow_parent(on_end=end, on_line=take)
    while (call := calls.get()) is not None:
        value = resolve_name(call["function"])(call["args"])
        answered += 1  # before whoever asked may end this process for having the answer
        write({"value": value})


if __name__ == "__main__":
    with print_notes_plainly():
        answer_calls()
