"""Results that earlier processes left in a search's journal, with scores as this version reads them.

    earlier = list_results(journal, folder)

Versions before `SCORING_VERSION` took a score that is no number ("N/A") for 0.0. Only the log tells the two apart.
"""

from pathlib import Path
from typing import Any

from archon_eval.errors import DataError, SearchError
from archon_eval.runs.eval_worker import EvalResult, reread_scores
from archon_eval.search.journal import Journal

SCORING_VERSION = 2
"""Of what a result's scores mean. Lines without a number are of the first."""


def list_results(journal: Journal, folder: Path) -> list[EvalResult]:
    """All results in the order of the journal; those with zeros of an older version are read again from their logs.

    Raises:
        SearchError: the journal is of another version, and cannot be read or lacks a log.
    """
    try:
        return [_read_line(line, folder) for line in journal.list_entries("result")]
    except (KeyError, TypeError) as exc:
        why = f"it was written by another version ({exc}): finish it with that one, or choose another -o"
        raise SearchError(f"{journal.path}: {why}") from exc
    except DataError as exc:
        raise SearchError(
            f'{journal.path}: it was written by another version, which took a score that is no number ("N/A") for 0, '
            f"and a log that tells the two apart cannot be read ({exc}): bring the logs back, finish the search with "
            "that version, or choose another -o"
        ) from exc


def _read_line(line: dict[str, Any], folder: Path) -> EvalResult:
    result, version = EvalResult(**line["result"]), line.get("scoring", 1)
    if version > SCORING_VERSION:
        raise TypeError(f"scoring {version}")
    if version == SCORING_VERSION or not any(0.0 in by_epoch.values() for by_epoch in result.scores.values()):
        return result
    log = Path(result.log)
    if not log.is_file():  # the folder was moved
        log = folder / "logs" / log.name
    return reread_scores(result, log)
