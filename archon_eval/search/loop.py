"""Goes through the stages of a search: rank models, try architectures, confirm finalists, report on the held-out rest.

    outcome = search(SearchSettings(tasks=..., models=...), Path("out"), run)

Every finished eval is in the folder's journal before anything is decided from it, and decisions depend on the journal
and the seed alone: the same command after a crash goes on where it stopped. The 80% that the search may not see are
asked once, by the winner, the best single model and the best of n samples.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import numpy as np

from archon_eval.architecture.spec import Architecture
from archon_eval.errors import BudgetSpentError, SearchError
from archon_eval.models.prices import load_prices
from archon_eval.runs.run_eval import Spend
from archon_eval.search.config import SearchSettings
from archon_eval.search.confirm import Confirmation, build_from_layers, build_request, build_single_model
from archon_eval.search.executors import SubmitEval
from archon_eval.search.journal import Journal
from archon_eval.search.optimizer import Optimizer
from archon_eval.search.optimizers import build_optimizer
from archon_eval.search.prepare import PlannedArchitecture, estimate_cost, plan_space, prepare_questions
from archon_eval.search.scheduler import Trial, TrialRequest, TrialScheduler

FUSER_RANKING_MODELS = 10
"""Random models whose candidates a fuser is ranked on (v6 section 3.3)."""
OUTPUT_FILES = ("best.yaml", "trials.csv", "summary.json")
"""What a search writes at its end."""
MAX_INITIAL_FAILURES = 5
"""So many failed trials before the first that succeeds end a search."""


@dataclass(frozen=True, slots=True)
class SearchProgress:
    """Where a search is, for whoever watches."""

    stage: str
    spent: Spend
    done: int = 0
    """Evals of architectures that are finished in this stage."""
    total: int | None = None
    """None: as many as it takes."""
    trials: int = 0
    options: int = 0
    incumbent: str = ""
    value: float | None = None
    deviation: float | None = None
    seconds_left: float | None = None
    note: str = ""
    """The last thing to know, e.g. a model that is left out."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What the stages found; `outcome` makes files and words of it."""

    settings: SearchSettings
    generators: tuple[str, ...]
    fusers: tuple[str, ...]
    options: tuple[PlannedArchitecture, ...]
    tried: tuple[tuple[PlannedArchitecture, Trial], ...]
    """In the order told."""
    estimate: Mapping[str, tuple[float, float]]
    """Trial key -> the surrogate's mean and deviation of its performance."""
    finalists: tuple[tuple[str, Trial, float], ...]
    """(trial key or `build_single_model`, trial on fresh draws, the value it is chosen by), best first."""
    winner: str
    """A trial's key, or `build_single_model`: no architecture beats the best single model."""
    report: Mapping[str, Trial]
    """`winner`, `build_single_model` and `best-of-n` on the held-out questions; empty where the budget was spent."""
    scheduler: TrialScheduler
    notes: tuple[str, ...]


def search(
    settings: SearchSettings,
    folder: Path,
    run: SubmitEval,
    *,
    workers: int = 1,
    watch: Callable[[SearchProgress], None] = lambda progress: None,
) -> SearchResult:
    """SubmitEval a search in a folder, or go on with the one that is there.

    Args:
        run: where evals run (`runners.local`, `runners.dask`).
        workers: how many trials are under way at once.
        watch: told of every step.

    Raises:
        SearchError: it cannot be run as asked, or the folder holds another search.
    """
    parts, digest = prepare_questions(settings)
    journal = Journal(folder)
    try:
        _check_same_search(journal, settings, digest, folder)
        return SearchRun(settings, TrialScheduler(settings, folder, journal, run, parts), journal, workers, watch).run()
    finally:
        journal.close()


def _check_same_search(journal: Journal, settings: SearchSettings, digest: str, folder: Path) -> None:
    mine = {"settings": settings.identity, "data": digest, "each": settings.digests}
    for line in journal.list_entries("search"):
        changed = [name for name, value in settings.digests.items() if value != line.get("each", {}).get(name)]
        others = {"settings": f"other settings ({', '.join(changed)})", "data": "other data"}
        for name, what in others.items():
            if line[name] != mine[name]:
                raise SearchError(f"{folder} holds a search with {what}: choose another -o, or remove it")
        return
    for name in OUTPUT_FILES:
        if (folder / name).exists():
            raise SearchError(f"{folder} has a {name}, and no search of its own: choose another -o, or move it")
    journal.add("search", mine)


class SearchRun:
    def __init__(
        self,
        settings: SearchSettings,
        evaluations: TrialScheduler,
        journal: Journal,
        workers: int,
        watch: Callable[[SearchProgress], None],
    ) -> None:
        self.settings, self.scheduler, self._journal = settings, evaluations, journal
        self._workers, self._on_progress = workers, watch
        self._prices = load_prices(settings.prices)
        self._began = time.monotonic()
        self._pace: tuple[float, int, int] | None = None
        """When this process had its first trial to run, and how many were tried and calls paid by then."""
        self._reserved_calls = 0.0
        """Calls that the last trial had to leave for the end."""
        self.notes: list[str] = []

    def run(self) -> SearchResult:
        self._report_progress("ranking models")
        generators, fusers = self._rank_models()
        self._report_progress("planning the space")
        self.options = plan_space(self.settings, generators, fusers)
        self._calls = [fmean(option.plan.calls) for option in self.options]
        turns = self.scheduler.turns
        self._cost = turns * np.array([estimate_cost(self.settings, option.plan) for option in self.options])
        optimiser = self._build_optimizer()
        self._confirmation = Confirmation(
            self.settings, self.scheduler, self.options, self._calls, self._cost, generators[0]
        )
        tried = self._run_trials(optimiser)
        finalists = self._confirmation.confirm(
            optimiser, tried, self._journal, partial(self._report_step, "confirming finalists")
        )
        winner = finalists[0][0]
        step = partial(self._report_step, "reporting on the held-out questions")
        report = self._confirmation.report(winner, finalists[0][1].architecture, self._journal, step)
        self.notes += self._confirmation.notes
        tried_list = tuple((self.options[n], trial) for n, trial in tried.items())
        estimate = optimiser.estimate()
        means = {t.key: (float(estimate[0][n]), float(estimate[1][n])) for n, t in tried.items()} if estimate else {}
        return SearchResult(
            self.settings,
            generators,
            fusers,
            tuple(self.options),
            tried_list,
            means,
            tuple(finalists),
            winner,
            report,
            self.scheduler,
            tuple(self.notes),
        )

    def _report_progress(self, stage: str, **more: Any) -> None:
        paid, reused = self.scheduler.calls, self.scheduler.reused
        calls, dollars = (None if one == inf else max(0.0, one) for one in self.scheduler.remaining())
        share, failed = reused / max(1, paid + reused), self.scheduler.failed
        spent, note = Spend(paid, calls, self.scheduler.dollars, dollars, share, failed), "".join(self.notes[-1:])
        self._on_progress(SearchProgress(stage, spent, note=note, **more))

    def _report_step(self, stage: str, done: int, total: int) -> None:
        self._report_progress(stage, done=done, total=total)

    # ranking

    def _rank_models(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        models = self.settings.models
        if self.settings.given_order:
            return models, models
        generators = self._rank_role("generator", {model: build_single_model(model) for model in models})
        if len(generators) == 1:
            return generators, generators
        some = Random(self.settings.seed).sample(sorted(generators), min(FUSER_RANKING_MODELS, len(generators)))
        fused = {m: build_from_layers(m, {"generator": some}, {"fuser": m}) for m in generators}
        return generators, self._rank_role("fuser", fused)

    def _rank_role(self, role: str, architectures: Mapping[str, Architecture]) -> tuple[str, ...]:
        step = partial(self._report_step, f"ranking models as {role}s")
        orders = [
            build_request(self.settings, f"rank/{role}/{model}", arch, "dev") for model, arch in architectures.items()
        ]
        try:
            found = self.scheduler.run_all(orders, step)
            trials = dict(zip(architectures, found, strict=True))
        except BudgetSpentError as exc:
            raise SearchError(
                f"the budget is spent while ranking models as {role}s ({exc}); raise it, or name models best first "
                "and use --given-order"
            ) from None
        for model, trial in trials.items():
            if trial.performance is None:
                self.notes.append(f"{model} is left out as a {role}: {trial.error}")
        kept = {model: trial.performance for model, trial in trials.items() if trial.performance is not None}
        if not kept:
            first = next(iter(trials.values())).error
            raise SearchError(f"no model can be used as a {role} on {self.settings.tasks[0].name}; the first: {first}")
        return tuple(sorted(kept, key=lambda model: -kept[model]))

    # trying

    def _build_optimizer(self) -> Optimizer:
        settings = self.settings
        listed = [option.configuration for option in self.options]
        penalty = settings.cost_weight * self._cost
        pareto = self._cost if settings.pareto else None
        return build_optimizer(
            settings.algorithm, listed, self._calls, penalty=penalty, seed=settings.seed, pareto=pareto
        )

    def _run_trials(self, optimiser: Optimizer) -> dict[int, Trial]:
        """Ask, evaluate, tell, until the budget for it is spent; configuration number -> its trial, in order."""
        self._report_progress("searching", total=self._max_trials)
        tried: dict[int, Trial] = {}
        pending: dict[str, tuple[int, int]] = {}
        places = {option.architecture.fingerprint: place for place, option in enumerate(self.options)}
        open_orders = []
        for line in self._journal.list_entries("ask"):
            number = places.get(line["fingerprint"])
            if number is None:  # models are ranked otherwise than when it was asked for
                self.notes.append(f"trial {line['number']} is left out: its architecture is no longer in the space")
                continue
            order = self._build_request(line["number"], number)
            if all(f"{order.key}@{task.key}" in self.scheduler.results for task in self.settings.tasks):
                self._record_trial(optimiser, tried, number, order)
            else:
                open_orders.append((number, order))
        asked, spent = len(self._journal.list_entries("ask")), ""
        self._pace = (time.monotonic(), len(tried), self.scheduler.calls)
        while True:
            while not spent and len(pending) < self._workers:
                if not open_orders:
                    if asked >= self.settings.budget.trials or self._is_out_of_time():
                        break
                    chosen = optimiser.ask(dict(pending.values()), self._pick_draw_set(asked))
                    if chosen is None:
                        break
                    fingerprint = self.options[chosen].architecture.fingerprint
                    self._journal.add("ask", {"number": asked, "fingerprint": fingerprint})
                    open_orders.append((chosen, self._build_request(asked, chosen)))
                    asked += 1
                number, order = open_orders.pop(0)
                reserve = self._confirmation.compute_reserve(optimiser, tried)
                self._reserved_calls = reserve[0]
                try:
                    self.scheduler.start(order, reserve)
                except BudgetSpentError as exc:
                    open_orders.insert(0, (number, order))
                    if not pending:  # or what these do not need of their worst case is free again
                        spent = str(exc)
                    break
                pending[order.key] = (number, order.first_epoch)
            if not pending:
                return self._require_success(tried, spent)
            for order in self.scheduler.wait_for_finished():
                self._record_trial(optimiser, tried, pending.pop(order.key)[0], order)

    def _build_request(self, asked: int, number: int) -> TrialRequest:
        option = self.options[number]
        key = f"search/{asked}/{option.architecture.fingerprint[:6]}"
        return TrialRequest(key, option.architecture, option.plan, "trial", first_epoch=self._pick_draw_set(asked))

    def _pick_draw_set(self, asked: int) -> int:
        """Trials take the sets of draws in turn."""
        return 1 + asked % self.settings.draws

    def _record_trial(self, optimiser: Optimizer, tried: dict[int, Trial], number: int, order: TrialRequest) -> None:
        trial = tried[number] = self.scheduler.build_trial(order)
        share = len(trial.scores) / self.scheduler.count_questions(order)
        optimiser.tell(number, trial.performance, order.first_epoch, share=share or 1.0)
        if trial.performance is None:
            self.notes.append(f"{order.key} ({self.options[number].configuration.key}) failed: {trial.error}")
        failed = [one for one in tried.values() if one.performance is None]
        if len(failed) == len(tried) >= MAX_INITIAL_FAILURES:
            raise SearchError(f"the first {MAX_INITIAL_FAILURES} trials failed; the last: {trial.error}")
        best = self._confirmation.rank_by_lower_bound(optimiser, tried, caution=0)[:1]
        estimate = optimiser.estimate()
        mean = None if not best else float(estimate[0][best[0]]) if estimate else tried[best[0]].performance
        deviation = float(estimate[1][best[0]]) if best and estimate else None
        self._report_progress(
            "searching",
            done=len(tried),
            total=self._max_trials,
            trials=len(tried),
            options=len(self.options),
            incumbent=self.options[best[0]].configuration.key if best else "",
            value=mean,
            deviation=deviation,
            seconds_left=self._estimate_seconds_left(len(tried)),
        )

    def _estimate_seconds_left(self, tried: int) -> float | None:
        """At this process's pace, until all are tried or the calls or the time for trials are spent."""
        if self._pace is None or tried == self._pace[1]:
            return None
        since, before, paid_before = self._pace
        took, new, paid = time.monotonic() - since, tried - before, self.scheduler.calls - paid_before
        calls = max(0.0, self.scheduler.remaining()[0] - self._reserved_calls)
        time_left = self.settings.budget.seconds - (time.monotonic() - self._began)
        return max(0.0, min(took / new * (self._max_trials - tried), took / max(1, paid) * calls, time_left))

    @property
    def _max_trials(self) -> int:
        """As many as there may be."""
        return int(min(self.settings.budget.trials, len(self.options)))

    def _require_success(self, tried: dict[int, Trial], spent: str) -> dict[int, Trial]:
        if not any(trial.performance is not None for trial in tried.values()):
            if tried:
                raise SearchError(f"all {len(tried)} trials failed; the last: {[*tried.values()][-1].error}")
            late = "its seconds were over before the first" if self._is_out_of_time() else ""
            why = f" ({spent or late})" if spent or late else ""
            raise SearchError(f"the budget allows no single trial with confirmation and report{why}: raise it")
        return tried

    def _is_out_of_time(self) -> bool:
        return time.monotonic() - self._began > self.settings.budget.seconds
