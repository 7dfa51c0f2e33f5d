"""Results that earlier processes left in a search's journal, with scores as this version reads them.

earlier = list_results(journal, folder)
"""

from collections.abc import Sequence
from pathlib import Path

from archon_eval.errors import DataError, SearchError
from archon_eval.runs.eval_worker import EvalResult
from archon_eval.runs.search_journal import SCORING_VERSION, read_result_line
from archon_eval.search.config import TaskSpec
from archon_eval.search.journal import Journal

__all__ = ["SCORING_VERSION", "list_results"]


def list_results(journal: Journal, folder: Path, tasks: Sequence[TaskSpec] = ()) -> list[EvalResult]:
    """All results in the order of the journal; those of an older version are read again from their logs.

    Raises:
        SearchError: the journal is of another version, and cannot be read or lacks a log.
    """
    try:
        return [read_result_line(line, folder, tasks) for line in journal.list_entries("result")]
    except (KeyError, TypeError) as exc:
        why = f"it was written by another version ({exc}): finish it with that one, or choose another -o"
        raise SearchError(f"{journal.path}: {why}") from exc
    except DataError as exc:
        raise SearchError(
            f'{journal.path}: it was written by another version, which took a score that is no number ("N/A") for 0, '
            f"and a log that tells the two apart cannot be read ({exc}): bring the logs back, finish the search with "
            "that version, or choose another -o"
        ) from exc
