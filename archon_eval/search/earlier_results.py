"""Results that earlier processes left in a search's journal, with scores as this version reads them.

    earlier = list_results(journal, folder)

The first version took a score that is no number ("N/A") for 0.0; only the log tells the two apart. The second had plain
scores and not what the benchmark's metric reads besides; where the log is gone, their figure is the mean of scores.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archon_eval.errors import DataError, SearchError
from archon_eval.runs.eval_worker import EvalResult, reread_scores
from archon_eval.search.config import TaskSpec
from archon_eval.search.journal import Journal

SCORING_VERSION = 3
"""Of what a result's scores mean. Lines without a number are of the first."""


def list_results(journal: Journal, folder: Path, tasks: Sequence[TaskSpec] = ()) -> list[EvalResult]:
    """All results in the order of the journal; those of an older version are read again from their logs.

    Raises:
        SearchError: the journal is of another version, and cannot be read or lacks a log.
    """
    try:
        return [_read_line(line, folder, tasks) for line in journal.list_entries("result")]
    except (KeyError, TypeError) as exc:
        why = f"it was written by another version ({exc}): finish it with that one, or choose another -o"
        raise SearchError(f"{journal.path}: {why}") from exc
    except DataError as exc:
        raise SearchError(
            f'{journal.path}: it was written by another version, which took a score that is no number ("N/A") for 0, '
            f"and a log that tells the two apart cannot be read ({exc}): bring the logs back, finish the search with "
            "that version, or choose another -o"
        ) from exc


def _read_line(line: dict[str, Any], folder: Path, tasks: Sequence[TaskSpec]) -> EvalResult:
    result, version = EvalResult(**line["result"]), line.get("scoring", 1)
    if version > SCORING_VERSION:
        raise TypeError(f"scoring {version}")
    if version == SCORING_VERSION or not result.scores:
        return result
    log = Path(result.log)
    if not log.is_file():  # the folder was moved
        log = folder / "logs" / log.name
    has_zeros = any(0.0 in by_epoch.values() for by_epoch in result.scores.values())
    if not log.is_file() and (version > 1 or not has_zeros):
        return result
    task = next((task for task in tasks if result.key.endswith(f"@{task.key}")), None)
    return reread_scores(result, log, task)
