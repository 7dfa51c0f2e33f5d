"""Confirms finalists on fresh draws: who they are, with how many draws, and which of them wins.

    confirmation = Confirmation(settings, scheduler, space, journal=journal, model="openai/gpt-4o")
    confirmed = confirmation.confirm(optimizer, tried)   # best first

What finalists score with fresh draws is told to the optimizer, and the choice is by the mean of its posterior. The best
single model is confirmed with the same draws.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from statistics import fmean
from typing import NamedTuple

from archon_eval.errors import BudgetSpentError, SearchError
from archon_eval.search.config import SearchSettings
from archon_eval.search.controls import Control
from archon_eval.search.finalist_costs import FinalistCosts, add
from archon_eval.search.journal import Journal
from archon_eval.search.optimizer import Optimizer
from archon_eval.search.prepare import PlannedSpace
from archon_eval.search.requests import build_single_model, make_confirm_key
from archon_eval.search.scheduler import StepCallback, TrialScheduler
from archon_eval.search.task_facts import TaskFacts
from archon_eval.search.trial import Trial, TrialRequest

CONFIRM_BUDGET_SHARE = 0.2
"""Of the budget less the report's part: what confirming may be expected to take, or else all that is left by then."""
MIN_FINALISTS = 3
"""So many finalists are worth more than a second set of fresh draws for fewer."""
SINGLE = "single"
"""Stands for the best single model where a trial's key is asked for."""


class Confirmed(NamedTuple):
    """A finalist with what it scored."""

    key: str
    """Of its trial in the search stage, or `single`."""
    trial: Trial
    """On fresh draws."""
    value: float
    """By which it is chosen: the objective."""


class _Finalist(NamedTuple):
    key: str
    request: TrialRequest
    number: int | None
    """In the space's list; None for a single model that the space does not have."""


class Confirmation:
    """Knows what the end of the search takes, and confirms the finalists."""

    def __init__(
        self,
        settings: SearchSettings,
        scheduler: TrialScheduler,
        space: PlannedSpace,
        *,
        journal: Journal,
        model: str,
        facts: Mapping[str, TaskFacts] = {},
        baselines: Mapping[str, Control] = {},
    ) -> None:
        """
        Args:
            model: the best single one.
            facts: of each task, by which the winner's controls are chosen.
            baselines: name -> an architecture that needs no search, and is a finalist in any case; in an order in which
                later ones share calls with earlier ones.
        """
        self._settings, self._scheduler, self._space, self._journal = settings, scheduler, space, journal
        self._baselines = baselines
        self._costs = FinalistCosts(settings, scheduler.ledger, space, model=model, facts=facts)
        single = build_single_model(model).fingerprint
        matching = (n for n, option in enumerate(space.options) if option.architecture.fingerprint == single)
        self._single_number = next(matching, None)
        self.notes: list[str] = []

    def rank_by_lower_bound(self, optimizer: Optimizer, tried: Mapping[int, Trial], caution: float = 1.0) -> list[int]:
        """Trials that have a score, best first: by mean less `caution` deviations where there is a model."""
        estimate = optimizer.estimate()

        def compute_value(number: int) -> float:
            known = tried[number].performance
            assert known is not None
            low = known if estimate is None else float(estimate[0][number] - caution * estimate[1][number])
            return self._settings.compute_objective(low, float(self._space.cost[number]))

        usable = [number for number, trial in tried.items() if trial.performance is not None]
        return sorted(usable, key=lambda number: (-compute_value(number), number))

    def compute_reserve(
        self, optimizer: Optimizer, tried: Mapping[int, Trial], asked: int | None = None
    ) -> tuple[float, float]:
        """Calls and dollars that a further trial must leave for the end: the report whole, as the dearest of the
        finalists to be would have it, and confirming as far as half of what that leaves allows.

        Args:
            asked: the option of the trial, of which the first trial must leave the end.
        """
        budget = self._settings.budget
        if min(budget.calls, budget.dollars) == inf:
            return 0, 0
        best = self._costs.drop_unaffordable(self.rank_by_lower_bound(optimizer, tried))
        if not best:
            return (0, 0) if asked is None else self._costs.compute_end_cost(asked)
        finalists, epochs = self._choose_finalists(best)
        reserve = []
        for most, report, least, expected in zip(
            (budget.calls, budget.dollars),
            self._costs.compute_report_reserve(finalists),
            self._costs.compute_end_cost(best[0]),
            add(
                self._costs.estimate_confirm_cost(finalists, epochs),
                self._costs.estimate_baseline_cost(self._baselines, epochs),
                self._costs.min_cost_to_start(finalists, epochs),
            ),
            strict=True,
        ):
            kept = report + min(expected, (most - report) / 2)
            reserve.append(max(kept, least) if most < inf else 0.0)
        return reserve[0], reserve[1]

    def _choose_finalists(
        self,
        best: Sequence[int],
        left: tuple[float, float] = (0, 0),
        is_confirmed: Callable[[int, int], bool] = lambda number, epochs: False,
    ) -> tuple[list[int], int]:
        """How many of the best are confirmed, with how many sets of fresh draws each: what a share of the budget is
        expected to pay for, or what is left when trials are over and the report is provided for.

        Args:
            is_confirmed: whether an option is, with so many sets, and so takes nothing.
        """
        most, epochs = min(self._settings.finalists, len(best)), self._settings.confirm_epochs
        given = self._settings.budget
        plans = [(n, epochs) for n in range(most, min(MIN_FINALISTS, most), -1)]
        plans += [(n, e) for n in range(min(MIN_FINALISTS, most), 0, -1) for e in range(epochs, 0, -1)]
        for count, times in plans:
            new = [number for number in best[:count] if not is_confirmed(number, times)]
            if not new:
                return list(best[:count]), times
            expected, begin = self._costs.estimate_confirm_cost(new, times), self._costs.min_cost_to_start(new, times)
            kept = self._costs.compute_report_reserve(best[:count])
            needed = add(expected, begin, kept, self._costs.estimate_baseline_cost(self._baselines, times))
            if all(
                a <= CONFIRM_BUDGET_SHARE * (whole - report) or need <= have
                for a, need, whole, have, report in zip(
                    expected, needed, (given.calls, given.dollars), left, kept, strict=True
                )
            ):
                return list(best[:count]), times
        return list(best[:1]), 1

    def _make_key(self, name: str, epochs: int) -> str:
        return make_confirm_key(name, epochs, self._settings.confirm_last_draws)

    def _decide_finalists(self, best: Sequence[int], tried: Mapping[int, Trial]) -> tuple[list[int], int]:
        """Who is confirmed and how often, as when the search first came here: by then what is left had not yet been
        spent on them. Where more or other is wanted, those who are confirmed by then take nothing."""

        def is_confirmed(number: int, times: int) -> bool:
            if number == self._single_number:
                return self._scheduler.is_finished(self._costs.build_baseline_request(SINGLE, times).key)
            return self._scheduler.is_finished(self._make_key(tried[number].key, times))

        settings, budget = self._settings, self._settings.budget
        asked = [len(best), settings.finalists, settings.confirm_epochs, budget.calls, budget.dollars]
        question = " ".join(map(str, asked))
        for line in reversed(self._journal.list_entries("confirm")):
            if line["asked"] == question:
                return list(best[: line["finalists"]]), line["epochs"]
        finalists, epochs = self._choose_finalists(best, self._scheduler.ledger.remaining(), is_confirmed)
        self._journal.add("confirm", {"asked": question, "finalists": len(finalists), "epochs": epochs})
        return finalists, epochs

    def _drop_unaffordable(self, best: Sequence[int], tried: Mapping[int, Trial]) -> list[int]:
        """Those that what is left can confirm and report, as when the search first came here, and those that are
        confirmed."""
        budget = self._settings.budget
        question = f"{len(best)} {budget.calls} {budget.dollars}"
        lines = [line for line in self._journal.list_entries("affordable") if line["asked"] == question]
        if lines:
            dropped = set(lines[-1]["dropped"])
        else:
            keys = [line["key"].partition("@")[0] for line in self._journal.list_entries("start")]
            begun = {key.rpartition("/")[0] for key in keys}
            affordable = self._costs.drop_unaffordable(best)
            dropped = {
                tried[number].key
                for number in best
                if number not in affordable and f"confirm/{tried[number].key}" not in begun
            }
            self._journal.add("affordable", {"asked": question, "dropped": sorted(dropped)})
        kept = [number for number in best if tried[number].key not in dropped]
        if dropped:
            self.notes.append(
                f"{len(dropped)} of {len(best)} tried architectures could be no finalists: what was left of the budget "
                "would not have paid for their report"
            )
        return kept

    def confirm(
        self,
        optimizer: Optimizer,
        tried: Mapping[int, Trial],
        on_progress: StepCallback = lambda done, total: None,
    ) -> list[Confirmed]:
        """Run finalists and the best single model on fresh draws of all dev questions; best first.

        Raises:
            SearchError: none of them could be run.
        """
        best = self._drop_unaffordable(self.rank_by_lower_bound(optimizer, tried), tried)
        numbers, epochs = self._decide_finalists(best, tried)
        wanted = min(self._settings.finalists, len(best))
        if len(numbers) < wanted or epochs < self._settings.confirm_epochs:
            self.notes.append(
                f"{len(numbers)} of {wanted} finalists were to be confirmed, with {epochs} of "
                f"{self._settings.confirm_epochs} sets of fresh draws: all would take more than a fifth of "
                "the budget, and than is left"
            )
        finalists = [_Finalist(SINGLE, self._costs.build_baseline_request(SINGLE, epochs), self._single_number)]
        for number in numbers:
            if number != self._single_number:
                request = self._costs.build_request(self._make_key(tried[number].key, epochs), number, epochs)
                finalists.append(_Finalist(tried[number].key, request, number))
        for name, baseline in self._baselines.items():
            finalists.append(_Finalist(name, self._costs.build_baseline_request(name, epochs, baseline), None))
        scored = []
        for finalist in self._run_finalists(finalists, numbers, on_progress):
            trial = self._scheduler.build_trial(finalist.request)
            if trial.performance is None:
                self.notes.append(f"{finalist.key} failed when confirmed: {trial.error}")
                continue
            if trial.note:
                self.notes.append(f"{finalist.key}, when confirmed: {trial.note}")
            scored.append((finalist, trial))
            for epoch, performance in trial.by_epoch.items():
                if finalist.number is not None:
                    fresh, times = self._settings.trial_draws + epoch, self._settings.confirm_last_draws
                    optimizer.tell_fresh_score(finalist.number, performance, fresh, last_draws=times)
        if not scored:
            raise SearchError("no finalist could be confirmed: " + "; ".join(self.notes[-3:]))
        confirmed = [self._value_finalist(optimizer, finalist, trial) for finalist, trial in scored]
        return sorted(confirmed, key=lambda entry: (-entry.value, entry.trial.cost))

    def _value_finalist(self, optimizer: Optimizer, finalist: _Finalist, trial: Trial) -> Confirmed:
        assert trial.performance is not None
        performance, estimate = trial.performance, optimizer.estimate()
        if estimate is not None and finalist.number is not None:
            performance = float(estimate[0][finalist.number])
        elif estimate is not None:  # what these draws gave to all is not its own
            effects = [optimizer.estimate_draw_effect(self._settings.trial_draws + epoch) for epoch in trial.by_epoch]
            performance -= fmean(effects)
        return Confirmed(finalist.key, trial, self._settings.compute_objective(performance, trial.cost))

    def _run_finalists(
        self, finalists: Sequence[_Finalist], numbers: Sequence[int], on_progress: StepCallback
    ) -> list[_Finalist]:
        """Run what the budget allows, the most promising first, keeping enough for the report of whichever wins.

        Each is tried by itself: a cheaper one may fit where the one before it does not.
        """
        begun: list[_Finalist] = []
        dropped: list[_Finalist] = []
        on_progress(0, len(finalists))
        for finalist in finalists:
            finalist = self._take_shared_calls(finalist, begun, dropped)
            gone = {each.number for each in dropped}
            options = [number for number in numbers if number not in gone]
            baselines = [each.request for each in (*begun, finalist) if each.key in self._baselines]
            keep = self._costs.compute_report_reserve(options if options or baselines else numbers, baselines)
            while finalist.request.shared_calls and self._scheduler.count_running():
                self._scheduler.wait_for_finished()  # what it shares is to be in the call store
            (begun if self._start_when_affordable(finalist.request, keep) else dropped).append(finalist)
        while self._scheduler.count_running():
            self._scheduler.wait_for_finished()
            on_progress(len(begun) - self._scheduler.count_running(), len(begun))
        if dropped:
            names = ", ".join(each.key for each in dropped)
            self.notes.append(f"the budget allowed {len(begun)} of {len(finalists)} finalists, without {names}")
        return begun

    def _start_when_affordable(self, request: TrialRequest, keep: tuple[float, float]) -> bool:
        """Begin a request, at the latest when nothing else is under way; whether the budget allowed it."""
        while True:
            try:
                self._scheduler.start(request, keep, self._scheduler.judging.compute_report_reserve())
            except BudgetSpentError:
                if not self._scheduler.count_running():
                    return False
                self._scheduler.wait_for_finished()  # what these do not need of their worst case is free again
            else:
                return True

    def _take_shared_calls(
        self, finalist: _Finalist, begun: Sequence[_Finalist], dropped: Sequence[_Finalist]
    ) -> _Finalist:
        """The finalist, with no more shared calls than the finalists that were begun pay for: where another baseline
        was dropped, the single model's one."""
        if not any(each.key in self._baselines for each in dropped) or not finalist.request.shared_calls:
            return finalist
        paid = min(finalist.request.shared_calls, float(any(each.key == SINGLE for each in begun)))
        return finalist._replace(request=replace(finalist.request, shared_calls=paid))
