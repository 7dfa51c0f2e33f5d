"""What the end of a search takes: finalists with fresh draws, and the report on the held-out questions.

The report asks the held-out questions of the best single model, of the winner, and of its controls at equal calls
(`controls.py`). What it takes depends on the winner's calls, so it is kept free for the dearest that may still win.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from math import inf
from statistics import fmean

from archon_eval.architecture.spec import Architecture
from archon_eval.engine.plan import plan
from archon_eval.search.budget import BudgetLedger
from archon_eval.search.config import SearchSettings
from archon_eval.search.controls import Control, ControlBuilder
from archon_eval.search.optimizer import INITIAL_DESIGN_SIZE
from archon_eval.search.prefix_sharing import PaidCallTracker
from archon_eval.search.prepare import PlannedArchitecture, PlannedSpace
from archon_eval.search.requests import build_request, build_single_model, make_confirm_key
from archon_eval.search.task_facts import TaskFacts
from archon_eval.search.trial import TrialRequest

END_BUDGET_SHARE = 0.5
"""Of what ranking leaves: what the end may take of an architecture that is tried. Of dearer ones hardly another could
be tried before the budget is gone."""

Amount = tuple[float, float]
"""Calls and dollars."""


class FinalistCosts:
    """Requests of the end, and estimates of what they take, in calls and dollars; options by their number."""

    def __init__(
        self,
        settings: SearchSettings,
        ledger: BudgetLedger,
        space: PlannedSpace,
        *,
        model: str,
        facts: Mapping[str, TaskFacts] = {},
    ) -> None:
        """
        Args:
            model: the best single one.
            facts: of each task, by which the winner's controls are chosen.
        """
        self._settings, self._ledger, self._space, self._model = settings, ledger, space, model
        self._end = EndCosts(settings, ledger, model=model, facts=facts)

    def build_request(self, key: str, number: int, epochs: int, *, part: str = "dev") -> TrialRequest:
        """An option on fresh draws."""
        option = self._space.options[number]
        return TrialRequest(
            key=key,
            architecture=option.architecture,
            plan=option.plan,
            part=part,
            epochs=epochs,
            first_epoch=self._settings.trial_draws + 1,
            last_draws=self._settings.confirm_last_draws,
        )

    def build_baseline_request(self, name: str, epochs: int, baseline: Control | None = None) -> TrialRequest:
        """An architecture that is not an option, or else the best single model, on the same draws; a search that goes
        on with more budget may want more of them."""
        architecture, shared = baseline or (build_single_model(self._model), 0)
        times = choose_last_draws(self._settings, architecture)
        return build_request(
            self._settings,
            make_confirm_key(name, epochs, times),
            architecture,
            part="dev",
            epochs=epochs,
            first_epoch=self._settings.trial_draws + 1,
            last_draws=times,
            shared_calls=shared,
        )

    def estimate_baseline_cost(self, baselines: Mapping[str, Control], epochs: int) -> Amount:
        """What confirming these may be expected to take."""
        asked = [self.build_baseline_request(name, epochs, baseline) for name, baseline in baselines.items()]
        return add(*map(self._ledger.min_cost_to_start, asked))

    def min_cost_to_start(self, numbers: Sequence[int], epochs: int) -> Amount:
        """What must be left to begin the dearest of these."""
        costs = [self._ledger.min_cost_to_start(self.build_request("", number, epochs)) for number in numbers]
        return max(calls for calls, _ in costs), max(dollars for _, dollars in costs)

    def estimate_confirm_cost(self, numbers: Sequence[int], epochs: int) -> Amount:
        """What confirming these may be expected to take, and the single model's call: they share calls."""
        options = [self._space.options[number] for number in numbers]
        calls = [self._space.calls[number] for number in numbers]
        tracker, paid, dollars = PaidCallTracker([option.configuration for option in options], calls), 0.0, 0.0
        for place, option in enumerate(options):
            more = float(tracker.count_unpaid(0)[place])
            tracker.mark_paid(place, 0)
            more += (self._settings.confirm_last_draws - 1) * self._space.last_calls[numbers[place]]
            paid += more
            dollars += more * fmean(option.plan.dollars or (0.0,)) / max(1.0, calls[place])
        single = replace(self.build_baseline_request("", epochs), last_draws=1)
        times = self._ledger.count_answers(single) * epochs
        return times * (paid + self._settings.confirm_last_draws), times * dollars * self._ledger.dollar_correction

    def compute_report_reserve(self, numbers: Sequence[int], others: Sequence[TrialRequest] = ()) -> Amount:
        """What must be left for the report if the dearest of these wins: single model, winner and its controls.

        Args:
            others: of architectures that are no options.
        """
        budget = self._settings.budget
        costs = [self._end.compute_report_cost(self._space.options[number]) for number in numbers]
        costs += map(self._end.compute_report_cost, others)
        calls, dollars = max(calls for calls, _ in costs), max(dollars for _, dollars in costs)
        return (calls if budget.calls < inf else 0), (dollars if budget.dollars < inf else 0)

    def compute_end_cost(self, number: int) -> Amount:
        """What must be left of the budget for an option to be confirmed once, beside the single model, and reported."""
        return self._end.compute_end_cost(self._space.options[number])

    def drop_unaffordable(self, numbers: Sequence[int]) -> list[int]:
        """Those of which what is left pays for the end, in their order; the cheapest where it pays for none."""
        left = self._ledger.remaining()
        costs = {number: self.compute_end_cost(number) for number in numbers}
        kept = [number for number in numbers if fits(costs[number], left)]
        return kept or sorted(numbers, key=costs.__getitem__)[:1]


class EndCosts:
    """What the end takes of an architecture: being confirmed once beside the single model, and the report."""

    def __init__(
        self, settings: SearchSettings, ledger: BudgetLedger, *, model: str, facts: Mapping[str, TaskFacts]
    ) -> None:
        self._settings, self._ledger = settings, ledger
        self._controls = ControlBuilder(settings, model, facts)
        self._list_controls = cache(self._build_control_requests)
        self._single = {part: self._build_request(build_single_model(model), part) for part in ("dev", "test")}
        self._single["dev"] = replace(self._single["dev"], last_draws=settings.confirm_last_draws)

    def compute_report_cost(self, option: PlannedArchitecture | TrialRequest) -> Amount:
        """Of the single model, the option and its controls on the held-out questions, with few re-asks."""
        asked = [self._single["test"], _request(option, "test"), *self._list_controls(option.plan.calls[1])]
        return add(*map(self._ledger.min_cost_to_start, asked))

    def compute_end_cost(self, option: PlannedArchitecture) -> Amount:
        """The same with one set of fresh draws of the dev questions."""
        asked = [self._single["dev"], _request(option, "dev", self._settings.confirm_last_draws)]
        return add(self.compute_report_cost(option), *map(self._ledger.min_cost_to_start, asked))

    def compute_trial_cost(self, option: PlannedArchitecture) -> Amount:
        """Of a trial of the option, if it is one of the first."""
        return self._ledger.min_cost_to_start(_request(option, "trial", self._settings.initial_last_draws))

    def _build_control_requests(self, calls: int) -> list[TrialRequest]:
        return [self._build_request(each, "test", shared) for each, shared in self._controls.build(calls).values()]

    def _build_request(self, architecture: Architecture, part: str, shared: int = 0) -> TrialRequest:
        return build_request(self._settings, "", architecture, part=part, shared_calls=shared)


def choose_last_draws(settings: SearchSettings, baseline: Architecture) -> int:
    """Draws of the last layer of a baseline; one where that layer has several calls, as those of a vote are."""
    last = plan(baseline).last_layer
    return 1 if last is not None and last.calls[1] > 1 else settings.confirm_last_draws


def select_affordable(
    options: Sequence[PlannedArchitecture], costs: EndCosts, left: Amount, *, least: int = INITIAL_DESIGN_SIZE
) -> list[PlannedArchitecture]:
    """The options whose end takes at most `END_BUDGET_SHARE` of what is left, in their order; where these are fewer
    than `least`, the cheapest of those that can be tried and reported at all.

    Args:
        left: after ranking.
    """
    ends = [costs.compute_end_cost(option) for option in options]
    possible = [n for n, option in enumerate(options) if fits(add(ends[n], costs.compute_trial_cost(option)), left)]
    half = (END_BUDGET_SHARE * left[0], END_BUDGET_SHARE * left[1])
    chosen = {n for n in possible if fits(ends[n], half)}
    chosen.update(sorted(possible, key=ends.__getitem__)[:least])
    return [options[n] for n in sorted(chosen)]


def _request(option: PlannedArchitecture | TrialRequest, part: str, last_draws: int = 1) -> TrialRequest:
    return TrialRequest(key="", architecture=option.architecture, plan=option.plan, part=part, last_draws=last_draws)


def add(*amounts: Amount) -> Amount:
    """The sum."""
    return sum(calls for calls, _ in amounts), sum(dollars for _, dollars in amounts)


def fits(amount: Amount, left: Amount) -> bool:
    """Whether what is left pays for it, in calls and in dollars."""
    return amount[0] <= left[0] and amount[1] <= left[1]
