"""The budget of a search: what is paid, what evals under way may yet take, and what is left; judges' calls apart.

    ledger = BudgetLedger(settings.budget, splits)
    ledger.reserve("search/3/archon_eval/math", Reservation(calls=400, dollars=1.0, whole=True))
    ledger.remaining()          # calls and dollars that are neither spent nor reserved
    ledger.settle(result)       # an eval is finished: its reservation ends, what it paid counts

Calls that nobody accounted for (of a question that failed, or that a died process had stored) count as paid. Calls on
their way when a process was killed, at most as many as its connections, are in no account.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf
from statistics import fmean
from typing import Any

from archon_eval.engine.plan import LayerPlan, Plan
from archon_eval.errors import SearchError
from archon_eval.models.usage_totals import sum_dollars
from archon_eval.runs.eval_worker import EvalResult
from archon_eval.search.config import SearchBudget
from archon_eval.search.judging import JudgeCosts
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
    judge_calls: int = 0
    """Calls of judges that its answers are expected to take, where judges have a budget."""
    judge_dollars: float = 0.0

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> "Reservation":
        """What a line of the journal says was reserved; earlier versions have less in it."""
        return cls(
            calls=int(line["calls"]),
            dollars=float(line["dollars"]),
            whole=bool(line.get("whole", True)),
            judge_calls=int(line.get("judge_calls", 0)),
            judge_dollars=float(line.get("judge_dollars", 0.0)),
        )

    def merge(self, later: "Reservation") -> "Reservation":
        """What two attempts at the same eval may take: what the first paid for is in the call store."""
        is_whole = self.whole or later.whole
        return Reservation(
            calls=max(self.calls, later.calls) if is_whole else self.calls + later.calls,
            dollars=max(self.dollars, later.dollars) if is_whole else self.dollars + later.dollars,
            whole=is_whole,
            judge_calls=self.judge_calls + later.judge_calls,  # judges of other packages are paid again
            judge_dollars=self.judge_dollars + later.judge_dollars,
        )


class BudgetLedger:
    """Paid, reserved and remaining calls and dollars, and what requests would take."""

    def __init__(
        self,
        budget: SearchBudget,
        splits: QuestionSplits,
        failed: Sequence[EvalResult] = (),
        *,
        judging: JudgeCosts | None = None,
    ) -> None:
        """
        Args:
            failed: results of earlier processes without any score, whose evals are run again; what they paid counts.
            judging: what judges take; needed where they have a budget.
        """
        self._budget, self.judging = budget, judging
        self._splits = splits
        self._counts: dict[tuple[str, tuple[str, ...]], tuple[int, int]] = {}
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
        self._splits, self._counts = splits, {}

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
        ratio = self.cost_ratio
        return 1.0 if ratio is None else min(DOLLAR_SLACK, DOLLAR_CAUTION * ratio)

    @property
    def cost_ratio(self) -> float | None:
        """What evals so far cost against the plan's estimate; None before the first."""
        spent, planned = (sum(pair[n] for pair in self._costs.values()) for n in (0, 1))
        return spent / planned if spent > 0 and planned > 0 else None

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
        """Tokens of models in roles."""
        return sum(result.judges for result in self._results)

    @property
    def judge_calls(self) -> int | None:
        """Judges' calls paid so far; None where those of an eval are unknown."""
        counts = [result.judge_calls for result in self._results]
        return None if None in counts else sum(count for count in counts if count is not None)

    @property
    def judge_dollars(self) -> float | None:
        """Paid so far for judges; None where those of an eval are unknown."""
        return sum_dollars(result.judge_dollars for result in self._results)

    @property
    def judge_unknown(self) -> str:
        """Why judges' calls or dollars are None, with the number of evals; empty where both are known."""
        untold = [result for result in self._results if None in (result.judge_calls, result.judge_dollars)]
        reasons = Counter(_explain_untold_judges(result) for result in untold)
        many = f"of {len(self._results)} evals"
        return "; ".join(f"{reason} (in {count} {many})" for reason, count in sorted(reasons.items()))

    @property
    def dollars(self) -> float | None:
        """Paid so far; None where a price is unknown."""
        return sum_dollars(result.dollars for result in self._results)

    def remaining(self) -> tuple[float, float]:
        """Calls and dollars that are neither spent nor reserved for what is under way."""
        calls = sum(reservation.calls for reservation in self._reservations.values())
        dollars = sum(reservation.dollars for reservation in self._reservations.values())
        return self._budget.calls - self.calls - calls, self._budget.dollars - (self.dollars or 0.0) - dollars

    def remaining_judging(self) -> tuple[float, float]:
        """Judges' calls and dollars that are neither spent nor reserved.

        Raises:
            SearchError: judges have a budget in dollars, and what an eval's judges took is unknown.
        """
        reserved = self._reservations.values()
        calls = self._count_judge_calls() + sum(reservation.judge_calls for reservation in reserved)
        dollars = sum(reservation.judge_dollars for reservation in reserved)
        if self._budget.judge_dollars < inf:
            dollars += self._count_judge_dollars()
        return self._budget.judge_calls - calls, self._budget.judge_dollars - dollars

    def _count_judge_calls(self) -> float:
        """Judges' calls paid; of evals that do not say, what their answers are expected to take."""
        total = 0.0
        for result in self._results:
            if result.judge_calls is not None:
                total += result.judge_calls
            elif self.judging is not None:
                total += self.judging.estimate_calls(result)
        return total

    def _count_judge_dollars(self) -> float:
        for result in self._results:
            if result.judge_dollars is None and result.scores:
                why = _explain_untold_judges(result)
                raise SearchError(f"a budget of judge_dollars cannot be held: {result.key}: {why}")
        return sum(result.judge_dollars or 0.0 for result in self._results)

    def record(self, result: EvalResult, planned_per_call: float = 0.0) -> None:
        """Count a result of an earlier process.

        Args:
            planned_per_call: dollars that the plan estimated of each of its calls; 0 where that is unknown.
        """
        self._results.append(result)
        self._compare_cost(result, planned_per_call)
        if self.judging is not None:
            self.judging.record(result)

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
        if result.judge_calls is None and self.judging is not None and self.judging.is_limited:
            result = replace(result, judge_calls=reservation.judge_calls)
        if result.judge_dollars is None and not result.scores and self._budget.judge_dollars < inf:
            result = replace(result, judge_dollars=reservation.judge_dollars)
        self.record(result, self.plan_per_call(request))
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
        return request.last_draws * sum(self._count_asked(request, None))

    def count_shared(self, request: TrialRequest) -> int:
        """Calls of a request that evals before it have paid for."""
        questions, further = self._count_asked(request, None)
        return int(request.shared_calls * request.epochs * (questions + request.last_draws * further))

    def _count_asked(self, request: TrialRequest, tasks: Collection[str] | None) -> tuple[int, int]:
        """Questions that a request asks, of these tasks or all, and answers to their further turns."""
        chosen = tuple(self._splits if tasks is None else tasks)
        if request.questions is None and (known := self._counts.get((request.part, chosen))):
            return known
        asked = [request.select_questions(self._splits, task) for task in chosen]
        counts = sum(map(len, asked)), sum(answers - 1 for questions in asked for answers in questions.values())
        if request.questions is None:
            self._counts[request.part, chosen] = counts
        return counts

    def worst_case_cost(self, request: TrialRequest, tasks: Collection[str] | None = None) -> tuple[int, float]:
        """Calls it can take at most, re-asks included, and the dollars these may cost by the plan's estimate.

        Args:
            tasks: for these alone, instead of all that it asks.
        """
        return self._estimate_cost(request, 1.0, tasks)

    def count_worst_calls(self, request: TrialRequest, tasks: Collection[str] | None = None) -> int:
        """The same calls without those that evals before it have paid for, which the call store answers."""
        return self._estimate_cost(request, 1.0, tasks, shared=request.shared_calls)[0]

    def min_cost_to_start(self, request: TrialRequest, tasks: Collection[str] | None = None) -> tuple[int, float]:
        """Calls and estimated dollars that must be left before it begins: with few re-asks it takes no more."""
        return self._estimate_cost(request, RESERVED_REASK_SHARE, tasks, shared=request.shared_calls)

    def plan_per_call(self, request: TrialRequest) -> float:
        """Dollars of one of its calls in the mean, by the plan at most; 0 where a price is unknown."""
        if request.last_draws == 1:
            return _compute_call_price(request.plan)
        calls, dollars = self._plan_cost(request, 0.0, None)
        return dollars / max(1, calls)

    def _estimate_cost(
        self, request: TrialRequest, reask_share: float, tasks: Collection[str] | None, *, shared: float = 0
    ) -> tuple[int, float]:
        calls, dollars = self._plan_cost(request, reask_share, tasks, shared=shared)
        return calls, dollars * self.dollar_correction

    def _plan_cost(
        self, request: TrialRequest, reask_share: float, tasks: Collection[str] | None, *, shared: float = 0
    ) -> tuple[int, float]:
        """The first answers to a question share all layers but the last among the last draws; the answers to further
        turns do not, as what they answer differs."""
        questions, further = self._count_asked(request, tasks)
        plan, last, first = request.plan, request.plan.last_layer, request.epochs * questions
        new = 1 - shared / max(1, plan.calls[1])  # what the call store answers is not asked for again either
        times = new * (first + request.epochs * request.last_draws * further)
        calls = ceil(times * (plan.calls[1] + reask_share * plan.reasks))
        dollars = calls * _compute_call_price(plan)
        if request.last_draws > 1 and last is not None:
            more = ceil((request.last_draws - 1) * first * (last.calls[1] + reask_share * last.reasks))
            calls, dollars = calls + more, dollars + more * _compute_call_price(last)
        return calls, dollars


def _explain_untold_judges(result: EvalResult) -> str:
    """Why an eval does not say what its judges took."""
    return result.judge_unknown or ("the eval has no result" if result.error else "an earlier version did not count it")


def _compute_call_price(planned: Plan | LayerPlan) -> float:
    """Dollars of one call in the mean, by the plan's most; 0 where a price is unknown."""
    return planned.dollars[1] / max(1, planned.calls[1]) if planned.dollars else 0.0
