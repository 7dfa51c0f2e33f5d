"""Whether what is left of a search's budget has room for a request.

free = require_budget_left(ledger, request, ["math"], keep=(0, 0))
require_judging_left(ledger, judging, request, ["math"], keep=None)
"""

from collections.abc import Sequence

from archon_eval.errors import BudgetSpentError
from archon_eval.search.budget import BudgetLedger
from archon_eval.search.judging import JudgeCosts
from archon_eval.search.trial import TrialRequest


def require_budget_left(
    ledger: BudgetLedger, request: TrialRequest, tasks: Sequence[str], keep: tuple[float, float]
) -> tuple[float, float]:
    """Calls and dollars that a request's evals of these tasks may take together, when these are enough to begin.

    Args:
        keep: calls and dollars to leave for later.

    Raises:
        BudgetSpentError: they are not.
    """
    keys = [f"{request.key}@{task}" for task in tasks]
    earlier = [reservation for key in keys if (reservation := ledger.get_reservation(key))]
    whole = [reservation for reservation in earlier if reservation.whole]
    calls, dollars = ledger.remaining()
    free = (
        calls + sum(reservation.calls for reservation in whole) - keep[0],
        dollars + sum(reservation.dollars for reservation in whole) - keep[1],
    )
    needed = ledger.min_cost_to_start(request, tasks)
    for need, have, kept, words in zip(needed, free, keep, ("{:,.0f} calls", "${:,.2f}"), strict=True):
        _require_left(request.key, need, have, kept, words)
    return free


def require_judging_left(
    ledger: BudgetLedger,
    judging: JudgeCosts,
    request: TrialRequest,
    tasks: Sequence[str],
    keep: tuple[float, float] | None,
) -> None:
    """Require that judging a request's answers to these tasks fits into what is left for judges.

    Args:
        keep: judges' calls and dollars to leave; None for what trials must leave to judge the end.

    Raises:
        BudgetSpentError: it does not.
    """
    if not judging.is_limited:
        return
    if keep is None:
        keep = judging.compute_end_reserve() if request.part == "trial" else (0, 0)
    earlier = [ledger.get_reservation(f"{request.key}@{task}") for task in tasks]
    again = [reservation for reservation in earlier if reservation is not None]
    left = ledger.remaining_judging()
    free = (
        left[0] + sum(reservation.judge_calls for reservation in again) - keep[0],
        left[1] + sum(reservation.judge_dollars for reservation in again) - keep[1],
    )
    needed = judging.estimate_cost(request, tasks)
    for need, have, kept, words in zip(needed, free, keep, ("{:,.0f} judge calls", "${:,.2f} for judges"), strict=True):
        _require_left(request.key, need, have, kept, words)


def _require_left(key: str, need: float, have: float, kept: float, words: str) -> None:
    """Raise BudgetSpentError where a request needs more than there is besides what is kept."""
    if need > have:
        later = f" besides {words.format(kept)} kept for the end" if kept else ""
        left = words.format(max(0.0, have))
        raise BudgetSpentError(f"{key} may take {words.format(need)}, and {left} are left{later}")
