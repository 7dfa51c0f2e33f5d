"""What the end of a search takes: finalists with fresh draws, and the report on the held-out questions."""

from collections.abc import Sequence
from math import inf
from statistics import fmean

from archon_eval.search.budget import BudgetLedger
from archon_eval.search.config import SearchSettings
from archon_eval.search.prefix_sharing import PaidCallTracker
from archon_eval.search.prepare import PlannedSpace
from archon_eval.search.requests import build_request, build_single_model
from archon_eval.search.trial import TrialRequest


class FinalistCosts:
    """Requests of the end, and estimates of what they take, in calls and dollars; options by their number."""

    def __init__(self, settings: SearchSettings, ledger: BudgetLedger, space: PlannedSpace, *, model: str) -> None:
        """
        Args:
            model: the best single one.
        """
        self._settings, self._ledger, self._space, self._model = settings, ledger, space, model
        self._single = build_request(settings, "report/single", build_single_model(model), part="test")

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
        )

    def build_single_request(self, epochs: int) -> TrialRequest:
        """The best single model on the same draws; a search that goes on with more budget may want more of them."""
        return build_request(
            self._settings,
            f"confirm/single/{epochs}",
            build_single_model(self._model),
            part="dev",
            epochs=epochs,
            first_epoch=self._settings.trial_draws + 1,
        )

    def min_cost_to_start(self, numbers: Sequence[int], epochs: int) -> tuple[float, float]:
        """What must be left to begin the dearest of these."""
        costs = [self._ledger.min_cost_to_start(self.build_request("", number, epochs)) for number in numbers]
        return max(calls for calls, _ in costs), max(dollars for _, dollars in costs)

    def estimate_confirm_cost(self, numbers: Sequence[int], epochs: int) -> tuple[float, float]:
        """What confirming these may be expected to take, and the single model's call: they share calls."""
        options = [self._space.options[number] for number in numbers]
        calls = [self._space.calls[number] for number in numbers]
        tracker, paid, dollars = PaidCallTracker([option.configuration for option in options], calls), 0.0, 0.0
        for place, option in enumerate(options):
            more = float(tracker.count_unpaid(0)[place])
            tracker.mark_paid(place, 0)
            paid += more
            dollars += more * fmean(option.plan.dollars or (0.0,)) / max(1.0, calls[place])
        times = self._ledger.count_answers(self.build_single_request(epochs)) * epochs
        return times * (paid + 1), times * dollars

    def compute_report_reserve(self, numbers: Sequence[int]) -> tuple[float, float]:
        """What must be left for the report if the dearest of these wins: winner, best of n, single model."""
        costs = [self._ledger.min_cost_to_start(self.build_request("", n, 1, part="test")) for n in numbers]
        single, budget = self._ledger.min_cost_to_start(self._single), self._settings.budget
        calls = 2 * max(calls for calls, _ in costs) + single[0]
        dollars = 2 * max(dollars for _, dollars in costs) + single[1]
        return (calls if budget.calls < inf else 0), (dollars if budget.dollars < inf else 0)
