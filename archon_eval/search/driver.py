"""Goes through the stages of a search: rank models, try architectures, confirm finalists, report on the held-out rest.

    outcome = search(Settings(tasks=..., models=...), Path("out"), run)

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

from archon_eval.architecture import Architecture
from archon_eval.models.prices import load_prices
from archon_eval.report.evals import Spent
from archon_eval.search.evaluations import BudgetSpent, Evaluations, Order, Trial
from archon_eval.search.finals import Finals, named, order, single
from archon_eval.search.journal import Journal
from archon_eval.search.optimisers import Optimiser, build
from archon_eval.search.preparation import Option, expected_cost, options, prepare
from archon_eval.search.runners import Run
from archon_eval.search.settings import Settings
from archon_eval.search.space import SearchError

FUSED = 10
"""Random models whose candidates a fuser is ranked on (v6 section 3.3)."""
FILES = ("best.yaml", "trials.csv", "summary.json")
"""What a search writes at its end."""
HOPELESS = 5
"""So many failed trials before the first that succeeds end a search."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a search is, for whoever watches."""

    stage: str
    spent: Spent
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
class Found:
    """What the stages found; `outcome` makes files and words of it."""

    settings: Settings
    generators: tuple[str, ...]
    fusers: tuple[str, ...]
    options: tuple[Option, ...]
    tried: tuple[tuple[Option, Trial], ...]
    """In the order told."""
    estimate: Mapping[str, tuple[float, float]]
    """Trial key -> the surrogate's mean and deviation of its performance."""
    finalists: tuple[tuple[str, Trial, float], ...]
    """(trial key or `single`, trial on fresh draws, the value it is chosen by), best first."""
    winner: str
    """A trial's key, or `single`: no architecture beats the best single model."""
    report: Mapping[str, Trial]
    """`winner`, `single` and `best-of-n` on the held-out questions; empty where the budget was spent."""
    evaluations: Evaluations
    notes: tuple[str, ...]


def search(
    settings: Settings,
    folder: Path,
    run: Run,
    *,
    workers: int = 1,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Found:
    """Run a search in a folder, or go on with the one that is there.

    Args:
        run: where evals run (`runners.local`, `runners.dask`).
        workers: how many trials are under way at once.
        watch: told of every step.

    Raises:
        SearchError: it cannot be run as asked, or the folder holds another search.
    """
    parts, digest = prepare(settings)
    journal = Journal(folder)
    try:
        _same_search(journal, settings, digest, folder)
        return _Stages(settings, Evaluations(settings, folder, journal, run, parts), journal, workers, watch).all()
    finally:
        journal.close()


def _same_search(journal: Journal, settings: Settings, digest: str, folder: Path) -> None:
    mine = {"settings": settings.identity, "data": digest, "each": settings.digests}
    for line in journal.entries("search"):
        changed = [name for name, value in settings.digests.items() if value != line.get("each", {}).get(name)]
        others = {"settings": f"other settings ({', '.join(changed)})", "data": "other data"}
        for name, what in others.items():
            if line[name] != mine[name]:
                raise SearchError(f"{folder} holds a search with {what}: choose another -o, or remove it")
        return
    for name in FILES:
        if (folder / name).exists():
            raise SearchError(f"{folder} has a {name}, and no search of its own: choose another -o, or move it")
    journal.add("search", mine)


class _Stages:
    def __init__(
        self,
        settings: Settings,
        evaluations: Evaluations,
        journal: Journal,
        workers: int,
        watch: Callable[[Progress], None],
    ) -> None:
        self.settings, self.evaluations, self._journal = settings, evaluations, journal
        self._workers, self._watch = workers, watch
        self._prices = load_prices(settings.prices)
        self._began = time.monotonic()
        self._pace: tuple[float, int, int] | None = None
        """When this process had its first trial to run, and how many were tried and calls paid by then."""
        self._kept = 0.0
        """Calls that the last trial had to leave for the end."""
        self.notes: list[str] = []

    def all(self) -> Found:
        self._show("ranking models")
        generators, fusers = self._ranked()
        self._show("planning the space")
        self.options = options(self.settings, generators, fusers)
        self._calls = [fmean(option.plan.calls) for option in self.options]
        turns = self.evaluations.turns
        self._cost = turns * np.array([expected_cost(self.settings, option.plan) for option in self.options])
        optimiser = self._optimiser()
        self._finals = Finals(self.settings, self.evaluations, self.options, self._calls, self._cost, generators[0])
        tried = self._try(optimiser)
        finalists = self._finals.confirm(optimiser, tried, self._journal, partial(self._step, "confirming finalists"))
        winner = finalists[0][0]
        step = partial(self._step, "reporting on the held-out questions")
        report = self._finals.report(winner, finalists[0][1].architecture, self._journal, step)
        self.notes += self._finals.notes
        tried_list = tuple((self.options[n], trial) for n, trial in tried.items())
        estimate = optimiser.estimate()
        means = {t.key: (float(estimate[0][n]), float(estimate[1][n])) for n, t in tried.items()} if estimate else {}
        return Found(
            self.settings,
            generators,
            fusers,
            tuple(self.options),
            tried_list,
            means,
            tuple(finalists),
            winner,
            report,
            self.evaluations,
            tuple(self.notes),
        )

    def _show(self, stage: str, **more: Any) -> None:
        paid, reused = self.evaluations.calls, self.evaluations.reused
        calls, dollars = (None if one == inf else max(0.0, one) for one in self.evaluations.left())
        share, failed = reused / max(1, paid + reused), self.evaluations.failed
        spent, note = Spent(paid, calls, self.evaluations.dollars, dollars, share, failed), "".join(self.notes[-1:])
        self._watch(Progress(stage, spent, note=note, **more))

    def _step(self, stage: str, done: int, total: int) -> None:
        self._show(stage, done=done, total=total)

    # ranking

    def _ranked(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        models = self.settings.models
        if self.settings.given_order:
            return models, models
        generators = self._rank("generator", {model: single(model) for model in models})
        if len(generators) == 1:
            return generators, generators
        some = Random(self.settings.seed).sample(sorted(generators), min(FUSED, len(generators)))
        fused = {m: named(m, {"generator": some}, {"fuser": m}) for m in generators}
        return generators, self._rank("fuser", fused)

    def _rank(self, role: str, architectures: Mapping[str, Architecture]) -> tuple[str, ...]:
        step = partial(self._step, f"ranking models as {role}s")
        orders = [order(self.settings, f"rank/{role}/{model}", arch, "dev") for model, arch in architectures.items()]
        try:
            found = self.evaluations.all(orders, step)
            trials = dict(zip(architectures, found, strict=True))
        except BudgetSpent as exc:
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

    def _optimiser(self) -> Optimiser:
        settings = self.settings
        listed = [option.configuration for option in self.options]
        penalty = settings.cost_weight * self._cost
        pareto = self._cost if settings.pareto else None
        return build(settings.algorithm, listed, self._calls, penalty, settings.seed, pareto)

    def _try(self, optimiser: Optimiser) -> dict[int, Trial]:
        """Ask, evaluate, tell, until the budget for it is spent; configuration number -> its trial, in order."""
        self._show("searching", total=self._trials)
        tried: dict[int, Trial] = {}
        pending: dict[str, int] = {}
        places = {option.architecture.fingerprint: place for place, option in enumerate(self.options)}
        open_orders = []
        for line in self._journal.entries("ask"):
            number = places.get(line["fingerprint"])
            if number is None:  # models are ranked otherwise than when it was asked for
                self.notes.append(f"trial {line['number']} is left out: its architecture is no longer in the space")
                continue
            order = self._trial_order(line["number"], number)
            if all(f"{order.key}@{task.key}" in self.evaluations.results for task in self.settings.tasks):
                self._tell(optimiser, tried, number, order)
            else:
                open_orders.append((number, order))
        asked, spent = len(self._journal.entries("ask")), ""
        self._pace = (time.monotonic(), len(tried), self.evaluations.calls)
        while True:
            while not spent and len(pending) < self._workers:
                if not open_orders:
                    if asked >= self.settings.budget.trials or self._out_of_time():
                        break
                    chosen = optimiser.ask(frozenset(pending.values()), self._draws(asked))
                    if chosen is None:
                        break
                    fingerprint = self.options[chosen].architecture.fingerprint
                    self._journal.add("ask", {"number": asked, "fingerprint": fingerprint})
                    open_orders.append((chosen, self._trial_order(asked, chosen)))
                    asked += 1
                number, order = open_orders.pop(0)
                reserve = self._finals.reserve(optimiser, tried)
                self._kept = reserve[0]
                try:
                    self.evaluations.start(order, reserve)
                except BudgetSpent as exc:
                    open_orders.insert(0, (number, order))
                    if not pending:  # or what these do not need of their worst case is free again
                        spent = str(exc)
                    break
                pending[order.key] = number
            if not pending:
                return self._usable(tried, spent)
            for order in self.evaluations.finished():
                self._tell(optimiser, tried, pending.pop(order.key), order)

    def _trial_order(self, asked: int, number: int) -> Order:
        option = self.options[number]
        key = f"search/{asked}/{option.architecture.fingerprint[:6]}"
        return Order(key, option.architecture, option.plan, "trial", first_epoch=self._draws(asked))

    def _draws(self, asked: int) -> int:
        """Trials take the sets of draws in turn."""
        return 1 + asked % self.settings.draws

    def _tell(self, optimiser: Optimiser, tried: dict[int, Trial], number: int, order: Order) -> None:
        trial = tried[number] = self.evaluations.trial(order)
        share = len(trial.scores) / self.evaluations.questions(order)
        optimiser.tell(number, trial.performance, order.first_epoch, share or 1.0)
        if trial.performance is None:
            self.notes.append(f"{order.key} ({self.options[number].configuration.key}) failed: {trial.error}")
        failed = [one for one in tried.values() if one.performance is None]
        if len(failed) == len(tried) >= HOPELESS:
            raise SearchError(f"the first {HOPELESS} trials failed; the last: {trial.error}")
        best = self._finals.promising(optimiser, tried, caution=0)[:1]
        estimate = optimiser.estimate()
        mean = None if not best else float(estimate[0][best[0]]) if estimate else tried[best[0]].performance
        deviation = float(estimate[1][best[0]]) if best and estimate else None
        self._show(
            "searching",
            done=len(tried),
            total=self._trials,
            trials=len(tried),
            options=len(self.options),
            incumbent=self.options[best[0]].configuration.key if best else "",
            value=mean,
            deviation=deviation,
            seconds_left=self._seconds_left(len(tried)),
        )

    def _seconds_left(self, tried: int) -> float | None:
        """At this process's pace, until all are tried or the calls or the time for trials are spent."""
        if self._pace is None or tried == self._pace[1]:
            return None
        since, before, paid_before = self._pace
        took, new, paid = time.monotonic() - since, tried - before, self.evaluations.calls - paid_before
        calls = max(0.0, self.evaluations.left()[0] - self._kept)
        time_left = self.settings.budget.seconds - (time.monotonic() - self._began)
        return max(0.0, min(took / new * (self._trials - tried), took / max(1, paid) * calls, time_left))

    @property
    def _trials(self) -> int:
        """As many as there may be."""
        return int(min(self.settings.budget.trials, len(self.options)))

    def _usable(self, tried: dict[int, Trial], spent: str) -> dict[int, Trial]:
        if not any(trial.performance is not None for trial in tried.values()):
            if tried:
                raise SearchError(f"all {len(tried)} trials failed; the last: {[*tried.values()][-1].error}")
            late = "its seconds were over before the first" if self._out_of_time() else ""
            why = f" ({spent or late})" if spent or late else ""
            raise SearchError(f"the budget allows no single trial with confirmation and report{why}: raise it")
        return tried

    def _out_of_time(self) -> bool:
        return time.monotonic() - self._began > self.settings.budget.seconds
