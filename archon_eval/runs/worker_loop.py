"""The program of a `WorkerProcess`: it answers calls on its standard input with results, each a line of JSON.

Inspect's evals cannot run in threads, and the first in a process takes seconds to start, so it stays warm.
"""

import json
import os
import queue
from pkgutil import resolve_name

from archon_eval._notes import print_notes_plainly
from archon_eval.runs.child_process import follow_parent


def answer_calls() -> None:
    """Answer lines until there are no more; what evals print goes to standard error.

    A line names a function and its mapping of arguments, and is answered with what the function returns.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lines: queue.Queue[str] = queue.Queue()
    # once the parent is gone nobody waits for the eval under way, and the call store has what it paid for
    follow_parent(on_end=lambda: os._exit(1), on_line=lines.put)
    while True:
        call = json.loads(lines.get())
        answers.write(json.dumps(resolve_name(call["function"])(call["args"])) + "\n")
        answers.flush()


if __name__ == "__main__":
    with print_notes_plainly():
        answer_calls()
