"""The program that `run_lm_eval` starts: lm-eval's command line, which also writes to a file how far it is.

    python -m archon_eval.integrations.lm_eval_process progress.jsonl --model archon --tasks gsm8k ...

The file has the lines that `archon_eval.runs.eval_process` writes. What this package refuses is one line of print,
not lm-eval's traceback. When its standard input ends, it ends: lm-eval writes results only when all answers are there,
and what was paid is in the call store, if there is one.
"""

import json
import os
import runpy
import sys
from itertools import pairwise
from typing import Any

from archon_eval._notes import print_notes_plainly
from archon_eval.errors import ArchonError
from archon_eval.integrations.lm_eval_model import ArchonLM
from archon_eval.integrations.lm_eval_tasks import check_task
from archon_eval.models.usage_totals import UsageTotals
from archon_eval.runs.child_process import follow_parent


def register_progress(path: str) -> None:
    """Have the model write the file, in this process."""

    def write(**event: Any) -> None:
        with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123  called often, and writes a line at a time
            file.write(json.dumps(event) + "\n")

    def tell(usage: UsageTotals) -> None:
        write(calls=usage.calls, reused=usage.reused_calls, dollars=usage.paid_dollars, failed=False)

    ArchonLM.on_requests = staticmethod(lambda count: write(total=count))
    ArchonLM.on_answer = staticmethod(tell)


def main(words: list[str]) -> None:
    """Check the task, then run lm-eval."""
    options = dict(pairwise(words))
    try:
        check_task(options["--tasks"], options.get("--include_path"))
        sys.argv = ["lm_eval", *words]
        runpy.run_module("lm_eval", run_name="__main__")
    except (ArchonError, NotImplementedError) as exc:
        print(f"archon: {exc}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


if __name__ == "__main__":
    follow_parent(lambda: os._exit(130))
    register_progress(sys.argv[1])
    with print_notes_plainly():
        main(sys.argv[2:])
