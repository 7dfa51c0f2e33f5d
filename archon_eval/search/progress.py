"""Where a search is, for whoever watches: told to a callback, and written to the journal.

The journal's lines of a `session` (a process begins), of `progress`, a `stop` and an `end` decide nothing. They are for
`archon report --watch`, and for the report of a search that has not finished.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from math import inf
from typing import Any

from archon_eval.errors import SearchError
from archon_eval.runs.progress import Spend
from archon_eval.search.budget import BudgetLedger
from archon_eval.search.config import SearchSettings
from archon_eval.search.journal import Journal
from archon_eval.search.scheduler import StepCallback


@dataclass(frozen=True, slots=True)
class SearchProgress:
    """One step of a search."""

    stage: str
    spent: Spend
    done: int = 0
    """Evals of architectures that are finished in this stage; of trials those that count in the budget's number."""
    total: int | None = None
    """None: as many as it takes."""
    trials: int = 0
    """All that are tried, with those whose calls others had paid for."""
    options: int = 0
    """Architectures of the space."""
    incumbent: str = ""
    """The best so far."""
    value: float | None = None
    """Its performance, as the surrogate sees it."""
    deviation: float | None = None
    """Of that, with the sampling error of questions and draws (`estimate_value`)."""
    seconds_left: float | None = None
    note: str = ""
    """The last thing to know, e.g. a model that is left out."""


class ProgressReporter:
    """Tells every step, with what is spent and the last note."""

    def __init__(self, ledger: BudgetLedger, on_progress: Callable[[SearchProgress], None], journal: Journal) -> None:
        self._ledger, self._on_progress, self._journal = ledger, on_progress, journal
        self.notes: list[str] = []
        self._written_steps = {
            (line["stage"], line["done"], line["trials"]) for line in journal.list_entries("progress")
        }
        self._stage, self._written_notes = "", 0

    def report(self, stage: str, *, note: str = "", **more: Any) -> None:
        """Tell where the search is; `more` are fields of `SearchProgress`.

        Args:
            note: to be told at this step alone, in place of the last one.
        """
        ledger = self._ledger
        calls, dollars = (None if left == inf else max(0.0, left) for left in ledger.remaining())
        spent = Spend(
            calls=ledger.calls,
            calls_left=calls,
            dollars=ledger.dollars,
            dollars_left=dollars,
            reused=ledger.reused / max(1, ledger.calls + ledger.reused),
            failed=ledger.failed,
        )
        progress = SearchProgress(stage, spent, note=note or "".join(self.notes[-1:]), **more)
        self._on_progress(progress)
        self._write(progress)

    def _write(self, progress: SearchProgress) -> None:
        """Add the step to the journal, unless it is one that an earlier process came through too."""
        step = (progress.stage, progress.done, progress.trials)
        if step in self._written_steps and progress.stage == self._stage:
            return
        self._written_steps.add(step)
        self._stage = progress.stage
        line = {name: value for name, value in asdict(progress).items() if name not in ("spent", "note")}
        new, self._written_notes = self.notes[self._written_notes :], len(self.notes)
        self._journal.add("progress", {"at": time.time(), **line, **asdict(progress.spent), "notes": new})

    def make_step(self, stage: str) -> StepCallback:
        """A callback for steps of a stage."""
        return partial(self._report_step, stage)

    def _report_step(self, stage: str, done: int, total: int) -> None:
        self.report(stage, done=done, total=total)


@contextmanager
def record_session(journal: Journal, settings: SearchSettings) -> Iterator[None]:
    """Write down who goes on with a search, with what, and how that ends."""
    tasks = [{name: getattr(task, name) for name in ("name", "key", "weight", "scale")} for task in settings.tasks]
    budget = {name: None if most == inf else most for name, most in asdict(settings.budget).items()}
    session = {
        "tasks": tasks,
        "budget": budget,
        "cost_unit": settings.cost_unit,
        "algorithm": settings.algorithm,
        "skip_ranking": settings.skip_ranking,
    }
    journal.add("session", {"at": time.time(), "pid": os.getpid(), "host": socket.gethostname(), **session})
    try:
        yield
    except BaseException as exc:
        why = "interrupted" if isinstance(exc, KeyboardInterrupt) else f"{exc}" or type(exc).__name__
        with suppress(SearchError):  # it is the journal that cannot be written
            journal.add("stop", {"at": time.time(), "why": why})
        raise
    journal.add("end", {"at": time.time()})
