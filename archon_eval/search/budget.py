"""The budget of a search: what is paid, what evals under way may yet take, and what is left.

    ledger = BudgetLedger(settings.budget, splits)
    ledger.reserve("search/3/archon_eval/math", Reservation(calls=400, dollars=1.0, whole=True))
    ledger.remaining()          # calls and dollars that are neither spent nor reserved
    ledger.settle(result)       # an eval is finished: its reservation ends, what it paid counts

Calls that nobody accounted for (of a question that failed, or that a died process had stored) count as paid. Calls on
their way when a process was killed, at most as many as its connections, are in no account.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import fmean

from archon_eval.models.usage_totals import sum_dollars
from archon_eval.runs.eval_worker import EvalResult
from archon_eval.search.config import SearchBudget
from archon_eval.search.trial import QuestionSplits, TrialRequest

DOLLAR_SLACK = 4.0
"""Dollars are estimated, not known, before: an eval may take so many times the estimate, if that much is left. Plans
estimate tokens within a factor of 2 or 3."""

DOLLAR_CAUTION = 1.25
"""By how much more than what evals so far cost, against the plan's estimate, the next are taken to cost: between
architectures of one search that ratio differs by a fifth or so."""

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
        self._splits = splits
        self._answer_counts: dict[str, int] = {}
        self._results = list(failed)
        self._failed_before = len(failed)
        self._reservations: dict[str, Reservation] = {}
        self._costs: dict[str, tuple[float, float]] = {}
        """Of each eval, what its calls cost, reused ones too, and what the plan estimated of so many."""

    @property
    def splits(self) -> QuestionSplits:
        """Question -> how many answers it takes."""
        return self._splits

    @splits.setter
    def splits(self, splits: QuestionSplits) -> None:
        self._splits, self._answer_counts = splits, {}

    def select(self, prefix: str, budget: SearchBudget) -> "BudgetLedger":
        """A budget of which only the evals whose keys begin so have taken anything."""
        selected = BudgetLedger(budget, self._splits)
        selected._results = [result for result in self._results if result.key.startswith(prefix)]
        selected._costs = {key: pair for key, pair in self._costs.items() if key.startswith(prefix)}
        return selected

    @property
    def dollar_correction(self) -> float:
        """What evals are taken to cost against the plan's estimate: as those so far did, and a little more; 1 before
        the first. Plans only assume how long prompts and replies are."""
        spent, planned = (sum(pair[n] for pair in self._costs.values()) for n in (0, 1))
        return min(DOLLAR_SLACK, DOLLAR_CAUTION * spent / planned) if spent > 0 and planned > 0 else 1.0

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

    def record(self, result: EvalResult, planned_per_call: float = 0.0) -> None:
        """Count a result of an earlier process.

        Args:
            planned_per_call: dollars that the plan estimated of each of its calls; 0 where that is unknown.
        """
        self._results.append(result)
        self._compare_cost(result, planned_per_call)

    def _compare_cost(self, result: EvalResult, planned_per_call: float) -> None:
        calls = result.calls + result.reused
        if result.cost is not None and calls and planned_per_call and not (result.lost or result.error):
            self._costs[result.key] = result.cost, calls * planned_per_call

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
        self.record(result, plan_per_call(request))
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
        """Answers that a request asks for per epoch: as many as questions, where none has further turns."""
        part = request.part
        if part not in self._answer_counts:
            self._answer_counts[part] = sum(sum(parts[part].values()) for parts in self._splits.values())
        return self._answer_counts[part]

    def worst_case_cost(self, request: TrialRequest, answers: int | None = None) -> tuple[int, float]:
        """Calls it can take at most, re-asks included, and the dollars these may cost by the plan's estimate.

        Args:
            answers: for so many instead of all that it asks for.
        """
        return self._estimate_cost(request, 1.0, answers)

    def count_worst_calls(self, request: TrialRequest, answers: int) -> int:
        """Calls it can take at most for so many answers, without those that the call store has."""
        return self._estimate_cost(request, 1.0, answers, shared=request.shared_calls)[0]

    def min_cost_to_start(self, request: TrialRequest, answers: int | None = None) -> tuple[int, float]:
        """Calls and estimated dollars that must be left before it begins: with few re-asks it takes no more."""
        return self._estimate_cost(request, RESERVED_REASK_SHARE, answers, shared=request.shared_calls)

    def _estimate_cost(
        self, request: TrialRequest, reask_share: float, answers: int | None, *, shared: float = 0
    ) -> tuple[int, float]:
        plan = request.plan
        times = (self.count_answers(request) if answers is None else answers) * request.epochs
        new = 1 - shared / max(1, plan.calls[1])  # what the call store answers is not asked for again either
        calls = ceil(times * new * (plan.calls[1] + reask_share * plan.reasks))
        return calls, calls * plan_per_call(request) * self.dollar_correction


def plan_per_call(request: TrialRequest) -> float:
    """Dollars of one of its calls, by the plan at most; 0 where a price is unknown."""
    return request.plan.dollars[1] / max(1, request.plan.calls[1]) if request.plan.dollars else 0.0
