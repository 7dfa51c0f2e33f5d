"""Where a search is, for whoever watches."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

from archon_eval.runs.progress import Spend
from archon_eval.search.budget import BudgetLedger
from archon_eval.search.scheduler import StepCallback


@dataclass(frozen=True, slots=True)
class SearchProgress:
    """One step of a search."""

    stage: str
    spent: Spend
    done: int = 0
    """Evals of architectures that are finished in this stage."""
    total: int | None = None
    """None: as many as it takes."""
    trials: int = 0
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

    def __init__(self, ledger: BudgetLedger, on_progress: Callable[[SearchProgress], None]) -> None:
        self._ledger, self._on_progress = ledger, on_progress
        self.notes: list[str] = []

    def report(self, stage: str, **more: Any) -> None:
        """Tell where the search is; `more` are fields of `SearchProgress`."""
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
        self._on_progress(SearchProgress(stage, spent, note="".join(self.notes[-1:]), **more))

    def make_step(self, stage: str) -> StepCallback:
        """A callback for steps of a stage."""
        return partial(self._report_step, stage)

    def _report_step(self, stage: str, done: int, total: int) -> None:
        self.report(stage, done=done, total=total)
