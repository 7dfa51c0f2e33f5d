"""Reads the journal of a search (`search.jsonl`), also while another process writes it and without its lock.

    reader = JournalReader(Path("out/search.jsonl"))
    reader.read_new()      # the lines that are whole, and were not there before

A line that is being written, or was cut short by a crash, can only be the last; it is read when it is whole.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archon_eval.runs.eval_worker import EvalResult, TaskReference, reread_scores
from archon_eval.runs.log_folder import fetch_log, is_address

JOURNAL_NAME = "search.jsonl"
SCORING_VERSION = 3
"""Of what a result's scores mean. Lines without a number are of the first."""


class JournalReader:
    """Follows one journal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        """Lines that cannot be read, and why."""
        self.restarted = False
        """Whether the last `read_new` found another file in its place, and began anew."""
        self._offset, self._lines = 0, 0

    def read_new(self) -> list[dict[str, Any]]:
        """The mappings on the lines that were not read before; none where there is no file, or nothing new."""
        self.restarted = False
        try:
            with self.path.open("rb") as stream:
                if stream.seek(0, 2) < self._offset:  # a half line is cut off, whole ones never are
                    self.restarted, self._offset, self._lines, self.problems = True, 0, 0, []
                stream.seek(self._offset)
                raw = stream.read()
        except OSError:
            return []
        whole = raw[: raw.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [entry for line in whole.splitlines() if (entry := self._parse(line)) is not None]

    def _parse(self, line: bytes) -> dict[str, Any] | None:
        self._lines += 1
        try:
            entry = json.loads(line)
            if isinstance(entry, dict):
                return entry
            why = "no mapping"
        except ValueError as exc:
            why = str(exc)
        self.problems.append(f"{self.path}, line {self._lines} is damaged ({why})")
        return None


def read_result_line(line: dict[str, Any], folder: Path, tasks: Sequence[TaskReference] = ()) -> EvalResult:
    """The result on a line, with scores as this version reads them.

    The first version took a score that is no number ("N/A") for 0.0; only the log tells the two apart. The second had
    plain scores and not what the benchmark's metric reads besides; where the log is gone, their figure is the mean.

    Raises:
        KeyError, TypeError: it is of another version.
        DataError: the log, which is needed, cannot be read.
    """
    result, version = EvalResult(**line["result"]), line.get("scoring", 1)
    if version > SCORING_VERSION:
        raise TypeError(f"scoring {version}")
    if version == SCORING_VERSION or not result.scores:
        return result
    log = find_log(result.log, folder)
    has_zeros = any(0.0 in by_epoch.values() for by_epoch in result.scores.values())
    if not log.is_file() and (version > 1 or not has_zeros):
        return result
    task = next((task for task in tasks if result.key.endswith(f"@{getattr(task, 'key', task.name)}")), None)
    return reread_scores(result, log, task)


def find_log(log: str, folder: Path) -> Path:
    """The path of an eval's log, in the search's folder where that was moved; of one at an address, of a copy.

    Raises:
        DataError: a log at an address cannot be read.
    """
    if is_address(log):
        return fetch_log(log)
    places = (folder / log, Path(log), folder / "logs" / Path(log).name)
    return next((place for place in places if place.is_file()), places[-1])
