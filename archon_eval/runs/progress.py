"""How far an eval is, and what its model calls took so far.

>>> EvalProgress(done=3, calls=4).add(EvalProgress(done=1, calls=2, dollars=None)).calls
6
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from archon_eval.models.usage_totals import sum_dollars


@dataclass(frozen=True, slots=True)
class Spend:
    """What model calls took so far."""

    calls: int = 0
    """Paid."""
    calls_left: float | None = None
    """None: no limit."""
    dollars: float | None = 0.0
    """Paid; None: unknown."""
    dollars_left: float | None = None
    """None: no limit, or unknown."""
    reused: float = 0.0
    """Share of all calls, 0 to 1."""
    failed: int = 0
    """Answers that ended in an error."""

    @property
    def text(self) -> str:
        """`$0.21 paid, $4.79 left; 230 calls paid, 770 left; 51% reused`."""
        dollars = "dollars unknown" if self.dollars is None else f"${self.dollars:,.2f} paid"
        dollars += "" if self.dollars_left is None else f", ${self.dollars_left:,.2f} left"
        calls = f"{self.calls:,} calls paid" + ("" if self.calls_left is None else f", {self.calls_left:,.0f} left")
        parts = [dollars, calls, f"{self.reused:.0%} reused"]
        return "; ".join([*parts, *([f"{self.failed:,} failed"] if self.failed else [])])


@dataclass(frozen=True, slots=True)
class EvalProgress:
    """How far an eval is."""

    done: int = 0
    """Answers, one per question and epoch."""
    total: int | None = None
    """None until the questions are known."""
    failed: int = 0
    """Answers that ended in an error."""
    calls: int = 0
    """Of the architecture, reused ones too; judges' are not counted."""
    reused: int = 0
    dollars: float | None = 0.0
    """Paid; None is unknown."""

    def add(self, other: "EvalProgress") -> "EvalProgress":
        """Both together, with this one's total."""
        return EvalProgress(
            done=self.done + other.done,
            total=self.total,
            failed=self.failed + other.failed,
            calls=self.calls + other.calls,
            reused=self.reused + other.reused,
            dollars=sum_dollars((self.dollars, other.dollars)),
        )

    def apply_event(self, line: str) -> "EvalProgress":
        """With one more line of `archon_eval.runs.eval_process`."""
        event = json.loads(line)
        return replace(self, total=event["total"]) if "total" in event else self.add(EvalProgress(done=1, **event))


EvalProgressCallback = Callable[[EvalProgress], None]
