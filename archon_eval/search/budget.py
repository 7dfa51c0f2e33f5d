"""The budget of a search: what is paid, what evals under way may yet take, and what is left.

    ledger = BudgetLedger(settings.budget, splits)
    ledger.reserve("search/3/archon_eval/math", Reservation(calls=400, dollars=1.0, whole=True))
    ledger.remaining()          # calls and dollars that are neither spent nor reserved
    ledger.settle(result)       # an eval is finished: its reservation ends, what it paid counts

Calls that nobody accounted for (of a question that failed, or that a died process had stored) count as paid. Calls on
their way when a process was killed, at most as many as its connections, are in no account.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import fmean

from archon_eval.engine.plan import LayerPlan, Plan
from archon_eval.models.usage_totals import sum_dollars
from archon_eval.runs.eval_worker import EvalResult
from archon_eval.search.config import SearchBudget
from archon_eval.search.trial import QuestionSplits, TrialRequest

DOLLAR_SLACK = 4.0
"""Dollars are estimated, not known, before: an eval may take so many times the estimate, if that much is left. Plans
estimate tokens within a factor of 2 or 3."""

RESERVED_REASK_SHARE = 0.25
"""Of all re-asks that there may be: what must fit into the budget before an eval begins. Few replies are asked for
again; to keep all re-asks free would leave a small budget unused."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What an eval that was begun may take."""

    calls: int
    dollars: float
    whole: bool
    """Whether that is its worst case, which it and another attempt at it do not exceed together."""

    def merge(self, later: "Reservation") -> "Reservation":
        """What two attempts at the same eval may take: what the first paid for is in the call store."""
        if self.whole or later.whole:
            return Reservation(max(self.calls, later.calls), max(self.dollars, later.dollars), whole=True)
        return Reservation(self.calls + later.calls, self.dollars + later.dollars, whole=False)


class BudgetLedger:
    """Paid, reserved and remaining calls and dollars, and what requests would take."""

    def __init__(self, budget: SearchBudget, splits: QuestionSplits, failed: Sequence[EvalResult] = ()) -> None:
        """
        Args:
            failed: results of earlier processes without any score, whose evals are run again; what they paid counts.
        """
        self._budget = budget
        self.splits = splits
        """Question -> how many answers it takes."""
        self._results = list(failed)
        self._failed_before = len(failed)
        self._reservations: dict[str, Reservation] = {}

    @property
    def calls(self) -> int:
        """Paid so far."""
        return sum(result.calls for result in self._results)

    @property
    def reused(self) -> int:
        """Calls answered from the call store."""
        return sum(result.reused for result in self._results[self._failed_before :])

    @property
    def failed(self) -> int:
        """Questions without a score."""
        return sum(len({*result.failed, *result.unscored}) for result in self._results)

    @property
    def judges(self) -> int:
        """Tokens of models in roles, which no budget holds."""
        return sum(result.judges for result in self._results)

    @property
    def dollars(self) -> float | None:
        """Paid so far; None where a price is unknown."""
        return sum_dollars(result.dollars for result in self._results)

    def remaining(self) -> tuple[float, float]:
        """Calls and dollars that are neither spent nor reserved for what is under way."""
        calls = sum(reservation.calls for reservation in self._reservations.values())
        dollars = sum(reservation.dollars for reservation in self._reservations.values())
        return self._budget.calls - self.calls - calls, self._budget.dollars - (self.dollars or 0.0) - dollars

    def record(self, result: EvalResult) -> None:
        """Count a result of an earlier process."""
        self._results.append(result)

    def reserve(self, key: str, reservation: Reservation) -> None:
        """Set aside what the eval `key` may take, with what an earlier attempt at it may have taken."""
        earlier = self._reservations.get(key)
        self._reservations[key] = earlier.merge(reservation) if earlier else reservation

    def release(self, key: str) -> None:
        """The eval `key` is over."""
        self._reservations.pop(key, None)

    def get_reservation(self, key: str) -> Reservation | None:
        """What is set aside for an eval."""
        return self._reservations.get(key)

    def list_reserved(self) -> set[str]:
        """Keys of the evals that are under way, or were when a process ended."""
        return set(self._reservations)

    def settle(self, result: EvalResult, request: TrialRequest) -> EvalResult:
        """Count a finished eval in place of its reservation.

        Returns:
            The result with all calls that count as paid.
        """
        reservation = self._reservations.pop(result.key)
        if result.lost or result.error:
            result = self._count_lost_calls(result, reservation, request)
        self._results.append(result)
        return result

    def _count_lost_calls(self, result: EvalResult, reservation: Reservation, request: TrialRequest) -> EvalResult:
        """The result with the calls that nobody accounted for, as far as the reservation allows them."""
        unknown = max(0, reservation.calls - result.calls)
        if not result.error:
            turns = max(answers for parts in self.splits.values() for answers in parts[request.part].values())
            unknown = min(unknown, result.lost * turns * (request.plan.calls[1] + request.plan.reasks))
        dollars = result.dollars
        if dollars is not None:
            more = reservation.dollars * unknown / max(1, reservation.calls)
            dollars = max(dollars, min(reservation.dollars, dollars + more))
        return replace(result, calls=result.calls + unknown, dollars=dollars)

    @property
    def turns(self) -> float:
        """Answers per dev question, in the mean."""
        return fmean(answers for parts in self.splits.values() for answers in parts["dev"].values())

    def count_answers(self, request: TrialRequest) -> int:
        """Answers that a request asks for with each set of draws, all last draws together: as many as questions, where
        none has further turns and the last layer is drawn once."""
        return request.last_draws * sum(
            sum(request.select_questions(self.splits, task).values()) for task in self.splits
        )

    def worst_case_cost(self, request: TrialRequest, tasks: Collection[str] | None = None) -> tuple[int, float]:
        """Calls it can take at most, re-asks included, and the dollars these may cost by the plan's estimate.

        Args:
            tasks: for these alone, instead of all that it asks.
        """
        return self._estimate_cost(request, 1.0, tasks)

    def min_cost_to_start(self, request: TrialRequest, tasks: Collection[str] | None = None) -> tuple[int, float]:
        """Calls and estimated dollars that must be left before it begins: with few re-asks it takes no more."""
        return self._estimate_cost(request, RESERVED_REASK_SHARE, tasks)

    def _estimate_cost(
        self, request: TrialRequest, reask_share: float, tasks: Collection[str] | None
    ) -> tuple[int, float]:
        """The first answers to a question share all layers but the last among the last draws; the answers to further
        turns do not, as what they answer differs."""
        asked = [request.select_questions(self.splits, task) for task in (self.splits if tasks is None else tasks)]
        first = request.epochs * sum(map(len, asked))
        further = request.epochs * sum(answers - 1 for questions in asked for answers in questions.values())
        plan, last = request.plan, request.plan.last_layer
        whole = (first + request.last_draws * further) * (plan.calls[1] + reask_share * plan.reasks)
        calls, dollars = ceil(whole), ceil(whole) * _compute_call_price(plan)
        if request.last_draws > 1 and last is not None:
            more = ceil((request.last_draws - 1) * first * (last.calls[1] + reask_share * last.reasks))
            calls, dollars = calls + more, dollars + more * _compute_call_price(last)
        return calls, dollars


def _compute_call_price(planned: Plan | LayerPlan) -> float:
    """Dollars of one call in the mean, by the plan's most; 0 where a price is unknown."""
    return planned.dollars[1] / max(1, planned.calls[1]) if planned.dollars else 0.0
