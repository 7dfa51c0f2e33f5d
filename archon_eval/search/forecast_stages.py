"""The stages of a forecast: how many evals each has, and what they take.

Trials share calls, the more of them the more. How many is counted on architectures spread over the space, as their
prefixes say; a search that follows its surrogate tries architectures that are nearer to each other, which share more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from random import Random
from statistics import fmean

from archon_eval.engine.plan import plan
from archon_eval.search.config import SearchSettings
from archon_eval.search.confirm import CONFIRM_BUDGET_SHARE
from archon_eval.search.controls import Control, ControlBuilder
from archon_eval.search.finalist_costs import choose_last_draws
from archon_eval.search.informative import INFORMATIVE_AFTER
from archon_eval.search.minimal_budget import MinimalBudget
from archon_eval.search.prefix_sharing import PaidCallTracker
from archon_eval.search.prepare import PlannedArchitecture
from archon_eval.search.ranking import RANKED_FUSER, build_baselines, list_ranking_requests
from archon_eval.search.task_facts import TaskFacts
from archon_eval.search.token_forecast import DollarRates
from archon_eval.search.trial import QuestionSplits

MAX_COUNTED_TRIALS = 400
"""Trials of which the shared calls are counted; of further ones as much is shared as of the last."""
NEARNESS = 1.4
"""By how much more of their calls a search's trials share than random ones do (docs/search.md: 45% and 61% where random
ones share 30% and 43%)."""
BUDGET_USE = 0.96
"""Of a budget, what a search takes that could try more."""

DRAW_SETS = 5
"""Sets of draws that trials take, and ..."""
LAST_DRAWS = 2.0
"""... draws of the last layer of a trial, where the search chooses them: 1.6 in a search of 61 architectures on the
simulated pool, 2.5 in the mean of benchmarks/search.py."""
CHEAPEST_OF = 8
"""Where a trial is chosen by what it teaches per call, it is taken to be the cheapest of so many random ones."""
INFORMATIVE_SHARE = 0.4
"""Dev questions that a trial still asks after the first 12 with `--questions informative`; benchmarks/search.py has a
quarter after some 700 trials, and a half after 100."""


@dataclass(frozen=True, slots=True)
class StageForecast:
    """What one stage is expected to take."""

    stage: str
    evals: int
    calls: float
    """Paid."""
    dollars: float | None
    """None where a price is unknown."""
    hours: float
    answers: int
    """To score."""


@dataclass(frozen=True, slots=True)
class StageForecasts:
    """All of them."""

    rows: tuple[StageForecast, ...]
    """Ranking, trials, confirming, report."""
    unshared_trial_calls: float
    """What the trials would take without a call store."""
    short: str
    """What the budget does not allow, or nothing."""
    informative_trials: int = 0
    """With `--questions informative`, trials for the same calls, as many as are wanted at most."""
    informative_calls: float = 0.0
    """With it, calls that the trials would take that are expected now."""

    @property
    def ranking(self) -> StageForecast:
        return self.rows[0]

    @property
    def trials(self) -> StageForecast:
        return self.rows[1]

    @property
    def confirming(self) -> StageForecast:
        return self.rows[2]

    @property
    def report(self) -> StageForecast:
        return self.rows[3]

    @property
    def total(self) -> StageForecast:
        """The sum."""
        dollars = [row.dollars for row in self.rows if row.dollars is not None]
        return StageForecast(
            "in all",
            sum(row.evals for row in self.rows),
            sum(row.calls for row in self.rows),
            sum(dollars) if len(dollars) == len(self.rows) else None,
            sum(row.hours for row in self.rows),
            sum(row.answers for row in self.rows),
        )

    @property
    def reuse_share(self) -> float:
        """Of the trials' calls, how many the call store answers."""
        return 1 - self.trials.calls / self.unshared_trial_calls if self.unshared_trial_calls else 0.0


class StagePlanner:
    """Plans the stages of one search."""

    def __init__(
        self,
        settings: SearchSettings,
        options: Sequence[PlannedArchitecture],
        splits: QuestionSplits,
        rates: DollarRates | None,
    ) -> None:
        """
        Args:
            options: what the budget can try.
            rates: None where a price is unknown.
        """
        self._settings, self._options, self._rates = settings, options, rates
        self._answers = {
            part: sum(sum(parts[part].values()) for parts in splits.values()) for part in ("trial", "dev", "test")
        }
        self._questions = {part: sum(len(parts[part]) for parts in splits.values()) for part in self._answers}
        self._mean = fmean(fmean(option.plan.calls) for option in options)
        budget = settings.budget
        in_calls = budget.dollars / rates.architecture if rates and budget.dollars < inf else inf
        self._budget = min(budget.calls, in_calls)

    def plan(
        self, least: MinimalBudget, *, call_seconds: float, workers: int, facts: Mapping[str, TaskFacts]
    ) -> StageForecasts:
        """
        Args:
            least: what the search takes at least.
            facts: of each task.
        """
        settings = self._settings
        # the cheapest that is not shown worse wins, so it is one of the cheaper ones
        winner = sorted(fmean(option.plan.calls) for option in self._options)[len(self._options) // 4]
        builder = ControlBuilder(settings, settings.models[0], facts)
        controls = builder.build(round(winner))
        ranking_requests = [request for request, _ in list_ranking_requests(settings)]
        fuses = len(settings.fuser_models) > 1 and bool(ranking_requests)
        baselines = build_baselines(builder, settings, ranking_requests[-1].architecture if fuses else None)
        beside = 1.0 + sum(fmean(plan(each).calls) - shared for each, shared in controls.values())
        report = self._answers["test"] * (winner + beside)
        ranking, ranked = least.ranking[0], len(ranking_requests)
        most = int(min(settings.budget.trials, len(self._options)))
        finalists = min(settings.finalists, most)
        times, drawn = settings.confirm_last_draws, self._last_draws
        confirm = self._answers["dev"] * settings.confirm_epochs * (times + finalists * (self._mean * 0.7 + times - 1))
        extra = {
            name: self._answers["dev"] * _count_calls(each, choose_last_draws(settings, each.architecture))
            for name, each in baselines.items()
        }
        beside_finalists = sum(extra.values())
        alone_confirmed = beside_finalists - extra.get(RANKED_FUSER, 0.0) + self._answers["dev"] * times
        sums = self._count_paid(most)
        most = len(sums)
        trials, short, further = most, "", 0.0
        if self._budget == inf:
            confirm += settings.confirm_epochs * beside_finalists
        else:
            confirm = beside_finalists + min(confirm, CONFIRM_BUDGET_SHARE * max(0.0, self._budget - report))
            begin = self._answers["dev"] * settings.confirm_epochs * self._mean
            fit = sum(paid <= BUDGET_USE * self._budget - ranking - report - confirm - begin for paid, _ in sums)
            if fit < most:  # what is left in the end pays for further draws of the winner and the single model
                trials = max(1, fit)
                short = f"it is expected to pay for about {trials} of {most} trials"
                further = max(0.0, BUDGET_USE * self._budget - ranking - report - confirm - sums[trials - 1][0])
        paid, unshared = sums[trials - 1]
        chain = fmean(option.plan.sequential for option in self._options) * call_seconds / workers / 3600
        chain *= self._answers["dev"] / self._questions["dev"]
        dev, test = self._questions["dev"], self._questions["test"]
        confirmed = min(finalists, trials) + 1 + len(baselines)
        spend = [
            ("ranking", ranked, ranking, ranked * dev, 0.0),
            ("trials", trials, paid, round(trials * self._questions["trial"] * drawn), 0.0),
            ("confirming", confirmed, confirm, confirmed * dev * settings.confirm_epochs * times, alone_confirmed),
            (
                "report",
                2 + len(controls),
                report + further,
                round((2 + len(controls)) * test + 2 * further / (1 + winner)),
                (self._answers["test"] + further / (winner + beside)) * beside,
            ),
        ]
        rows = [
            StageForecast(name, evals, calls, self._price(calls, alone), evals * chain, answers)
            for name, evals, calls, answers, alone in spend
        ]
        cheaper = self._count_informative(sums)
        more = sum(calls <= paid for calls in cheaper)
        return StageForecasts(tuple(rows), unshared, short, more, cheaper[trials - 1])

    @property
    def _last_draws(self) -> float:
        """Draws of the last layer per trial."""
        chooses = self._settings.chooses_draws and self._settings.last_draws is None
        return LAST_DRAWS if chooses else float(self._settings.last_draws or 1)

    def _count_informative(self, sums: Sequence[tuple[float, float]]) -> list[float]:
        """After each trial, the calls paid so far if only informative questions were asked."""
        whole = [calls for calls, _ in sums[: INFORMATIVE_AFTER[0]]]
        return whole + [whole[-1] + INFORMATIVE_SHARE * (calls - whole[-1]) for calls, _ in sums[len(whole) :]]

    def _price(self, calls: float, alone: float) -> float | None:
        """Dollars of so many calls, of which `alone` are of the best single model."""
        if self._rates is None:
            return None
        return alone * self._rates.single + (calls - alone) * self._rates.architecture

    def _count_paid(self, trials: int) -> list[tuple[float, float]]:
        """After each trial, the calls paid so far, and what they would be if nothing were shared.

        Trials all of whose calls are paid by then are not counted where the search chooses draws.
        """
        settings = self._settings
        chooses, whole = settings.chooses_draws, len(self._options)
        counted = min(whole if chooses else trials, MAX_COUNTED_TRIALS)
        some = Random(0).sample(list(self._options), counted)
        calls = [fmean(option.plan.calls) for option in some]
        lasts = [option.plan.last_layer.calls[1] if option.plan.last_layer else 0 for option in some]
        tracker = PaidCallTracker([option.configuration for option in some], calls)
        nearness = 1 + (NEARNESS - 1) * (1 - counted / whole)
        left = list(range(counted))
        sums: list[tuple[float, float]] = []
        paid = unshared = 0.0
        for place in range(trials):
            draws = 1 + place % (settings.draws or DRAW_SETS)
            choices = CHEAPEST_OF if chooses and place >= settings.initial_points else 1
            if left:
                open_calls = tracker.count_unpaid(draws)
                n = min(left[:choices], key=lambda each: open_calls[each])
                left.remove(n)
                tracker.mark_paid(n, draws)
                new = calls[n] - min(0.9 * calls[n], nearness * (calls[n] - float(open_calls[n])))
                if chooses:  # what is paid for by now is tried besides
                    open_calls = tracker.count_unpaid(draws)
                    left = [each for each in left if open_calls[each] > 0]
            elif counted == whole:
                break
            else:
                n = place % counted
                new = (sums[-1][0] - sums[-counted // 2][0]) / self._answers["trial"] / max(1, counted // 2 - 1)
            further = (self._last_draws - 1) * lasts[n]
            paid += new + further
            unshared += calls[n] + further
            sums.append((self._answers["trial"] * paid, self._answers["trial"] * unshared))
        return sums


def _count_calls(baseline: Control, last_draws: int) -> float:
    """Calls per question of a baseline, with one set of draws."""
    planned = plan(baseline.architecture)
    last = planned.last_layer.calls[1] if planned.last_layer else 0
    return fmean(planned.calls) - baseline.shared_calls + (last_draws - 1) * last
