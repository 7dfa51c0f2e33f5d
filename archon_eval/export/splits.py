"""Which questions of a log are held out: a model that was trained on them could not be tested by them any more.

A log tells it by the first of these that it has:

- a search made it: what it asked for its report is held out, all else is the search's dev split;
- the task was asked for a part of the benchmark by name (`-T split=dev`, `-T split=test`);
- the sample names its side, as those of this package's tasks do: a fifth is `dev`, the rest `test`.

Other logs do not say; whoever exports is told so.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archon_eval.errors import DataError
from archon_eval.runs.eval_worker import SEARCH_TAG
from archon_eval.runs.log_folder import is_address
from archon_eval.runs.search_journal import JOURNAL_NAME, JournalReader, find_log
from archon_eval.tasks._data import SIDE_KEY

SIDES = DEV, HELD_OUT = ("dev", "test")
REPORT_STAGE = "report/"
"""What the keys begin with of a search's evals on held-out questions."""
MAX_DEPTH = 4
"""Folders that a log of a search lies below the journal, at most."""


def find_side(spec: Any, metadata: Mapping[str, Any] | None) -> str:
    """The side of a sample of an Inspect log; empty where nothing says.

    Args:
        spec: the log's `eval`.
        metadata: the sample's.
    """
    if SEARCH_TAG in (tags := spec.tags or ()):
        return HELD_OUT if any(tag.startswith(REPORT_STAGE) for tag in tags) else DEV
    asked = (spec.task_args or {}).get("split")
    side = asked if asked in SIDES else (metadata or {}).get(SIDE_KEY)
    return side if side in SIDES else ""


def find_side_of_file(file: Path) -> str:
    """The side of all documents of a file of lm-eval: by the journal of the search that made it, if one did."""
    for folder in list(file.resolve().parents)[:MAX_DEPTH]:
        for line in JournalReader(folder / JOURNAL_NAME).read_new():
            result = line.get("result")
            if not isinstance(result, dict) or not isinstance(log := result.get("log"), str) or is_address(log):
                continue
            try:
                is_same = find_log(log, folder).resolve() == file.resolve()
            except DataError:
                continue
            if is_same:
                return HELD_OUT if str(result.get("key", "")).startswith(REPORT_STAGE) else DEV
    return ""
