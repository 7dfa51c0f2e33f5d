"""The end of a search: finalists on fresh draws, and the winner on the questions that the search has not seen.

    finals = Confirmation(settings, evaluations, options, calls, cost, model)
    confirmed = finals.confirm(optimiser, tried, journal)    # best first
    report = finals.report(confirmed[0][0], confirmed[0][1].architecture, journal)

What finalists score with fresh draws is told to the surrogate, which then knows all there is to know; the choice is by
its posterior. The best single model is confirmed with the same draws.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from statistics import fmean
from typing import Any

from archon_eval.architecture.load import load_architecture
from archon_eval.architecture.spec import Architecture
from archon_eval.engine.plan import plan
from archon_eval.errors import BudgetSpentError, SearchError
from archon_eval.models.prices import load_prices
from archon_eval.search.config import SearchSettings
from archon_eval.search.journal import Journal
from archon_eval.search.optimizer import Optimizer
from archon_eval.search.prefix_sharing import PaidCallTracker
from archon_eval.search.prepare import PlannedArchitecture
from archon_eval.search.scheduler import Trial, TrialRequest, TrialScheduler
from archon_eval.search.space import Array

CONFIRM_BUDGET_SHARE = 1 / 3
"""Of the budget less the report's part: what confirming may be expected to take."""
StepCallback = Callable[[int, int], None]
MIN_FINALISTS = 3
"""So many finalists are worth more than a second set of fresh draws for fewer."""


def build_request(
    settings: SearchSettings, key: str, architecture: Architecture, part: str, epochs: int = 1, first: int = 1
) -> TrialRequest:
    """An order of an architecture that is not in the space's list."""
    planned = plan(architecture, prices=load_prices(settings.prices))
    key = f"{key}/{architecture.fingerprint[:8]}"  # what a name stands for may change when a search goes on
    return TrialRequest(key, architecture, planned, part, epochs, first)


def build_from_layers(name: str, *layers: Mapping[str, Any]) -> Architecture:
    """An architecture from its layers."""
    return load_architecture({"name": name, "layers": list(layers)})


def build_single_model(model: str) -> Architecture:
    """One call of one model."""
    return build_from_layers(model, {"generator": model})


def _make_confirm_key(trial: Trial, epochs: int) -> str:
    return f"confirm/{trial.key}/{epochs}"


class Confirmation:
    """Knows what the end will take, and does it."""

    def __init__(
        self,
        settings: SearchSettings,
        evaluations: TrialScheduler,
        options: Sequence[PlannedArchitecture],
        calls: Sequence[float],
        cost: Array,
        model: str,
    ) -> None:
        """
        Args:
            calls, cost: of each option, per question, expected; cost in the objective's unit.
            model: the best single one.
        """
        self.settings, self.scheduler, self.options = settings, evaluations, options
        self._calls, self._cost, self._model = calls, cost, model
        self._single_request = build_request(settings, "report/single", build_single_model(model), "test")
        mine = build_single_model(model).fingerprint
        self._single_index = next((n for n, one in enumerate(options) if one.architecture.fingerprint == mine), None)
        """Where the single model is in the list, if the space has it."""
        self.notes: list[str] = []

    def rank_by_lower_bound(self, optimiser: Optimizer, tried: Mapping[int, Trial], caution: float = 1.0) -> list[int]:
        """Trials that have a score, best first: by mean less `caution` deviations where there is a model."""
        estimate = optimiser.estimate()

        def value(number: int) -> float:
            known = tried[number].performance
            assert known is not None
            low = known if estimate is None else float(estimate[0][number] - caution * estimate[1][number])
            return self.settings.compute_objective(low, float(self._cost[number]))

        usable = [number for number, trial in tried.items() if trial.performance is not None]
        return sorted(usable, key=lambda number: (-value(number), number))

    def compute_reserve(self, optimiser: Optimizer, tried: Mapping[int, Trial]) -> tuple[float, float]:
        """Calls and dollars that a further trial must leave for the end.

        The report gets at most half of the budget, and confirming at most half of what that leaves; of the first trial,
        all together at most half.
        """
        budget = self.settings.budget
        if min(budget.calls, budget.dollars) == inf:
            return 0, 0
        best = self.rank_by_lower_bound(optimiser, tried) or list(range(min(MIN_FINALISTS, len(self.options))))
        finalists, epochs = self._choose_finalists(best)
        found = []
        for most, report, expected, begin in zip(
            (budget.calls, budget.dollars),
            self._compute_report_reserve(finalists),
            self._estimate_confirm_cost(finalists, epochs),
            self._compute_start_cost(finalists, epochs),
            strict=True,
        ):
            kept = min(report, most / 2)
            kept += min(expected + begin, (most - kept) / 2)
            found.append(kept if tried else min(kept, most / 2))
        return found[0], found[1]

    def _compute_start_cost(self, numbers: Sequence[int], epochs: int) -> tuple[float, float]:
        """What must be left to begin the dearest of these."""
        each = [self.scheduler.min_cost_to_start(self._build_request("", number, epochs)) for number in numbers]
        return max(calls for calls, _ in each), max(dollars for _, dollars in each)

    def _choose_finalists(
        self,
        best: Sequence[int],
        left: tuple[float, float] = (0, 0),
        confirmed: Callable[[int, int], bool] = lambda number, epochs: False,
    ) -> tuple[list[int], int]:
        """How many of the best are confirmed, with how many sets of fresh draws each: what a share of the budget is
        expected to pay for, or what is left when trials are over and the report is provided for.

        Args:
            confirmed: whether an option is, with so many sets, and so takes nothing.
        """
        most, epochs = min(self.settings.finalists, len(best)), self.settings.confirm_epochs
        kept = self._compute_report_reserve(best[:most])
        budget = (self.settings.budget.calls - kept[0], self.settings.budget.dollars - kept[1])
        plans = [(n, epochs) for n in range(most, min(MIN_FINALISTS, most), -1)]
        plans += [(n, e) for n in range(min(MIN_FINALISTS, most), 0, -1) for e in range(epochs, 0, -1)]
        for count, times in plans:
            new = [number for number in best[:count] if not confirmed(number, times)]
            if not new:
                return list(best[:count]), times
            expected, begin = self._estimate_confirm_cost(new, times), self._compute_start_cost(new, times)
            if all(
                a <= CONFIRM_BUDGET_SHARE * share or a + b <= have - report
                for a, b, share, have, report in zip(expected, begin, budget, left, kept, strict=True)
            ):
                return list(best[:count]), times
        return list(best[:1]), 1

    def _estimate_confirm_cost(self, numbers: Sequence[int], epochs: int) -> tuple[float, float]:
        """Calls and dollars that confirming these may be expected to take: they share calls among themselves."""
        picked = [self.options[number] for number in numbers]
        calls = [self._calls[number] for number in numbers]
        shared, paid, dollars = PaidCallTracker([one.configuration for one in picked], calls), 0.0, 0.0
        for place, option in enumerate(picked):
            more = float(shared.count_unpaid(0)[place])
            shared.mark_paid(place, 0)
            paid += more
            dollars += more * fmean(option.plan.dollars or (0.0,)) / max(1.0, calls[place])
        times = self.scheduler.count_answers(self._build_single_request(epochs)) * epochs
        return times * (paid + 1), times * dollars

    def _compute_report_reserve(self, numbers: Sequence[int]) -> tuple[float, float]:
        """What must be left for the report, if the dearest wins: winner, best of n, single model."""
        each = [self.scheduler.min_cost_to_start(self._build_request("", number, 1, "test")) for number in numbers]
        one, budget = self.scheduler.min_cost_to_start(self._single_request), self.settings.budget
        calls, dollars = 2 * max(c for c, _ in each) + one[0], 2 * max(d for _, d in each) + one[1]
        return (calls if budget.calls < inf else 0), (dollars if budget.dollars < inf else 0)

    def _build_request(self, key: str, number: int, epochs: int, part: str = "dev") -> TrialRequest:
        option = self.options[number]
        return TrialRequest(key, option.architecture, option.plan, part, epochs, self.settings.draws + 1)

    def _build_single_request(self, epochs: int) -> TrialRequest:
        key = f"confirm/single/{epochs}"  # a search that goes on with more budget may want more of them
        return build_request(
            self.settings, key, build_single_model(self._model), "dev", epochs, self.settings.draws + 1
        )

    def _decide_finalists(
        self, best: Sequence[int], tried: Mapping[int, Trial], journal: Journal
    ) -> tuple[list[int], int]:
        """Who is confirmed and how often, as when the search first came here: by then what is left had not yet been
        spent on them. Where more or other is wanted, those who are confirmed by then take nothing."""

        def confirmed(number: int, times: int) -> bool:
            key = (
                self._build_single_request(times).key
                if number == self._single_index
                else _make_confirm_key(tried[number], times)
            )
            return all(f"{key}@{task.key}" in self.scheduler.results for task in self.settings.tasks)

        budget = self.settings.budget
        asked = [len(best), self.settings.finalists, self.settings.confirm_epochs, budget.calls, budget.dollars]
        words = " ".join(map(str, asked))
        for line in reversed(journal.list_entries("confirm")):
            if line["asked"] == words:
                return list(best[: line["finalists"]]), line["epochs"]
        finalists, epochs = self._choose_finalists(best, self.scheduler.remaining(), confirmed)
        journal.add("confirm", {"asked": words, "finalists": len(finalists), "epochs": epochs})
        return finalists, epochs

    def confirm(
        self,
        optimiser: Optimizer,
        tried: Mapping[int, Trial],
        journal: Journal,
        watch: StepCallback = lambda done, total: None,
    ) -> list[tuple[str, Trial, float]]:
        """Finalists and the best single model on fresh draws of all dev questions, best first.

        Args:
            watch: told how many are done, of how many.

        Returns:
            (trial key or `build_single_model`, its trial on fresh draws, the value it is chosen by).

        Raises:
            SearchError: none of them could be run.
        """
        best = self.rank_by_lower_bound(optimiser, tried)
        finalists, epochs = self._decide_finalists(best, tried, journal)
        wanted = min(self.settings.finalists, len(best))
        if len(finalists) < wanted or epochs < self.settings.confirm_epochs:
            self.notes.append(
                f"{len(finalists)} of {wanted} finalists were to be confirmed, with {epochs} of "
                f"{self.settings.confirm_epochs} sets of fresh draws: all would take more than a third of "
                "the budget, and than is left"
            )
        orders: list[tuple[str, TrialRequest, int | None]] = [
            ("single", self._build_single_request(epochs), self._single_index)
        ]
        for number in finalists:
            if number != self._single_index:
                one = self._build_request(_make_confirm_key(tried[number], epochs), number, epochs)
                orders.append((tried[number].key, one, number))
        confirmed = []
        for key, one, place in self._run_requests(orders, self._compute_report_reserve(finalists), watch):
            trial = self.scheduler.build_trial(one)
            if trial.performance is None:
                self.notes.append(f"{key} failed when confirmed: {trial.error}")
                continue
            confirmed.append((key, trial, place))
            for epoch, performance in trial.by_epoch.items():
                if place is not None:
                    optimiser.tell_fresh_score(place, performance, self.settings.draws + epoch)
        if not confirmed:
            raise SearchError("no finalist could be confirmed: " + "; ".join(self.notes[-3:]))
        estimate = optimiser.estimate()
        found = []
        for key, trial, place in confirmed:
            assert trial.performance is not None
            known = trial.performance
            if estimate is not None and place is not None:
                known = float(estimate[0][place])
            elif estimate is not None:  # what these draws gave to all is not the single model's own
                known -= fmean(optimiser.estimate_draw_effect(self.settings.draws + epoch) for epoch in trial.by_epoch)
            found.append((key, trial, self.settings.compute_objective(known, trial.cost)))
        return sorted(found, key=lambda item: (-item[2], item[1].cost))

    def _run_requests(
        self, orders: Sequence[tuple[str, TrialRequest, int | None]], keep: tuple[float, float], watch: StepCallback
    ) -> list[tuple[str, TrialRequest, int | None]]:
        """Run what the budget allows, the most promising first, keeping enough for the report while there are two."""
        begun: list[tuple[str, TrialRequest, int | None]] = []
        watch(0, len(orders))
        for one in orders:
            while True:
                try:
                    self.scheduler.start(one[1], keep if len(begun) > 1 else (0, 0))
                except BudgetSpentError:
                    if self.scheduler.count_running():  # what these do not need of their worst case is free again
                        self.scheduler.wait_for_finished()
                        continue
                    self.notes.append(f"the budget allowed {len(begun)} of {len(orders)} finalists")
                    return begun
                begun.append(one)
                break
        while self.scheduler.count_running():
            self.scheduler.wait_for_finished()
            watch(len(begun) - self.scheduler.count_running(), len(begun))
        return begun

    def report(
        self, winner: str, architecture: Architecture, journal: Journal, watch: StepCallback
    ) -> dict[str, Trial]:
        """Winner, single model and best of n on the held-out questions, as far as the budget goes."""
        calls = plan(architecture, prices=load_prices(self.settings.prices)).calls[1]
        samples = min(self.settings.space.max_candidates, max(2, calls - 1))
        best_of_n = build_from_layers(
            f"{self._model} x {samples}, ranked",
            {"generator": {"model": self._model, "samples": samples}},
            {"ranker": {"model": self._model, "top_k": 1}},
        )
        wanted = {"winner": architecture, "single": build_single_model(self._model), "best-of-n": best_of_n}
        self._count_winners(architecture.fingerprint, journal)
        if winner == "single":
            del wanted["winner"]
        found: dict[str, Trial] = {}
        for name, one in wanted.items():
            watch(len(found), len(wanted))
            try:
                [found[name]] = self.scheduler.run_all([build_request(self.settings, f"report/{name}", one, "test")])
            except BudgetSpentError as exc:
                self.notes.append(f"the budget did not allow {name} on the held-out questions: {exc}")
        watch(len(found), len(wanted))
        return {"winner": found["single"], **found} if winner == "single" and "single" in found else found

    def _count_winners(self, mine: str, journal: Journal) -> None:
        """Note when the held-out questions were asked for other winners before this one."""
        winners = {line["fingerprint"] for line in journal.list_entries("winner")}
        if mine not in winners:
            journal.add("winner", {"fingerprint": mine})
        begun = [line["key"].partition("@")[0] for line in journal.list_entries("start")]
        asked = {key.rpartition("/")[2] for key in begun if key.startswith(("report/winner/", "report/single/"))}
        if others := sum(one[:8] in asked for one in winners - {mine}):
            self.notes.append(
                f"the held-out questions were asked for {others} other winner{'' if others == 1 else 's'} before: "
                "choosing between winners by these scores makes them too high"
            )
