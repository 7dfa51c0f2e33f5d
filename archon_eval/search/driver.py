"""Goes through the stages of a search: rank models, try architectures, confirm finalists, report on the held-out rest.

    outcome = search(Settings(tasks=..., models=...), Path("out"), run)

Every finished eval is in the folder's journal before anything is decided from it, and decisions depend on the journal
and the seed alone: the same command after a crash goes on where it stopped. The 80% that the search may not see are
asked once, by the winner, the best single model and the best of n samples.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import numpy as np

from archon_eval.architecture import Architecture
from archon_eval.loading import load_architecture
from archon_eval.models.prices import load_prices
from archon_eval.plan import plan
from archon_eval.report.evals import Spent
from archon_eval.search.evaluations import BudgetSpent, Evaluations, Order, Trial
from archon_eval.search.journal import Journal
from archon_eval.search.optimisers import Optimiser, build
from archon_eval.search.preparation import Option, expected_cost, options, prepare
from archon_eval.search.runners import Run
from archon_eval.search.settings import Settings
from archon_eval.search.space import SearchError

FUSED = 10
"""Random models whose candidates a fuser is ranked on (v6 section 3.3)."""
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
    if settings.budget.dollars < inf:
        table = load_prices(settings.prices)
        if unpriced := [model for model in settings.models if table.price_of(model) is None]:
            raise SearchError(f"a budget in dollars needs a price of {unpriced[0]}: name it in a price file (--prices)")
    journal = Journal(folder)
    try:
        parts, digest = prepare(settings)
        _same_search(journal, settings, digest, folder)
        return _Stages(settings, Evaluations(settings, folder, journal, run, parts), journal, workers, watch).all()
    finally:
        journal.close()


def _same_search(journal: Journal, settings: Settings, digest: str, folder: Path) -> None:
    mine = {"settings": settings.identity, "data": digest}
    for line in journal.entries("search"):
        others = {"settings": "other settings (space, models, tasks, objective, seed)", "data": "other data"}
        for name, what in others.items():
            if line[name] != mine[name]:
                raise SearchError(f"{folder} holds a search with {what}: choose another -o, or remove it")
        return
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
        self.notes: list[str] = []

    def all(self) -> Found:
        self._show("ranking models")
        generators, fusers = self._ranked()
        self._show("planning the space")
        self.options = options(self.settings, generators, fusers)
        self._single = self._order("confirm/single", _single(generators[0]), "dev", *self._fresh)
        self._cost = np.array([expected_cost(self.settings, option.plan) for option in self.options])
        optimiser = self._optimiser()
        tried = self._try(optimiser)
        finalists = self._confirm(optimiser, tried)
        winner = finalists[0][0]
        report = self._report(winner, finalists[0][1].architecture, generators[0])
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

    @property
    def _fresh(self) -> tuple[int, int]:
        """How many epochs of draws that no trial took, and the first of them."""
        return self.settings.confirm_epochs, self.settings.draws + 1

    def _order(self, key: str, architecture: Architecture, part: str, epochs: int = 1, first: int = 1) -> Order:
        key = f"{key}/{architecture.fingerprint[:8]}"  # what a name stands for may change when a search goes on
        return Order(key, architecture, plan(architecture, prices=self._prices), part, epochs, first)

    def _show(self, stage: str, **more: Any) -> None:
        paid, reused = self.evaluations.calls, self.evaluations.reused
        share = reused / max(1, paid + reused)
        calls, dollars = (None if one == inf else max(0.0, one) for one in self.evaluations.left())
        self._watch(
            Progress(
                stage, Spent(paid, calls, self.evaluations.dollars, dollars, share, self.evaluations.failed), **more
            )
        )

    # ranking

    def _ranked(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        models = self.settings.models
        if self.settings.given_order:
            return models, models
        generators = self._rank("generator", {model: _single(model) for model in models})
        if len(generators) == 1:
            return generators, generators
        some = Random(self.settings.seed).sample(sorted(generators), min(FUSED, len(generators)))
        fused = {m: _of(m, {"generator": some}, {"fuser": m}) for m in generators}
        return generators, self._rank("fuser", fused)

    def _rank(self, role: str, architectures: Mapping[str, Architecture]) -> tuple[str, ...]:
        stage = f"ranking models as {role}s"
        orders = [self._order(f"rank/{role}/{model}", arch, "dev") for model, arch in architectures.items()]
        try:
            found = self.evaluations.all(orders, lambda done, total: self._show(stage, done=done, total=total))
            trials = dict(zip(architectures, found, strict=True))
        except BudgetSpent:
            raise SearchError(
                f"the budget is spent while ranking models as {role}s; raise it, or name models best first and "
                "use --given-order"
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
        calls = [fmean(option.plan.calls) for option in self.options]
        listed = [option.configuration for option in self.options]
        penalty = settings.cost_weight * self._cost
        return build(settings.algorithm, listed, calls, penalty, settings.seed, self._cost if settings.pareto else None)

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
        asked, spent = len(self._journal.entries("ask")), False
        while True:
            while not spent and len(pending) < self._workers:
                if not open_orders:
                    if asked >= self.settings.budget.trials or self._out_of_time():
                        break
                    chosen = optimiser.ask(frozenset(pending.values()))
                    if chosen is None:
                        break
                    fingerprint = self.options[chosen].architecture.fingerprint
                    self._journal.add("ask", {"number": asked, "fingerprint": fingerprint})
                    open_orders.append((chosen, self._trial_order(asked, chosen)))
                    asked += 1
                number, order = open_orders.pop(0)
                try:
                    self.evaluations.start(order, self._for_later(tried))
                except BudgetSpent:
                    spent = True
                else:
                    pending[order.key] = number
            if not pending:
                return self._usable(tried)
            for order in self.evaluations.finished():
                self._tell(optimiser, tried, pending.pop(order.key), order)

    def _trial_order(self, asked: int, number: int) -> Order:
        option = self.options[number]
        key, epoch = f"search/{asked}/{option.architecture.fingerprint[:6]}", 1 + asked % self.settings.draws
        return Order(key, option.architecture, option.plan, "trial", first_epoch=epoch)

    def _tell(self, optimiser: Optimiser, tried: dict[int, Trial], number: int, order: Order) -> None:
        trial = tried[number] = self.evaluations.trial(order)
        optimiser.tell(number, trial.performance)
        if trial.performance is None:
            self.notes.append(f"{order.key} ({self.options[number].configuration.key}) failed: {trial.error}")
        failed = [one for one in tried.values() if one.performance is None]
        if len(failed) == len(tried) >= HOPELESS:
            raise SearchError(f"the first {HOPELESS} trials failed; the last: {trial.error}")
        best = max(tried, key=lambda n: self._value(n, tried[n].performance))
        estimate = optimiser.estimate()
        if estimate:
            best = max(
                tried, key=lambda n: self._value(n, None if tried[n].performance is None else float(estimate[0][n]))
            )
        mean = float(estimate[0][best]) if estimate else tried[best].performance
        deviation = float(estimate[1][best]) if estimate else None
        took = time.monotonic() - self._began
        more = self._trials - len(tried)
        self._show(
            "searching",
            done=len(tried),
            total=self._trials,
            trials=len(tried),
            options=len(self.options),
            incumbent=self.options[best].configuration.key,
            value=mean,
            deviation=deviation,
            seconds_left=took / len(tried) * more,
        )

    @property
    def _trials(self) -> int:
        """As many as there may be."""
        return int(min(self.settings.budget.trials, len(self.options)))

    def _value(self, number: int, performance: float | None) -> float:
        return -inf if performance is None else self.settings.value(performance, float(self._cost[number]))

    def _usable(self, tried: dict[int, Trial]) -> dict[int, Trial]:
        if not any(trial.performance is not None for trial in tried.values()):
            raise SearchError("the budget allows no single trial with confirmation and report: raise it")
        return tried

    def _out_of_time(self) -> bool:
        return time.monotonic() - self._began > self.settings.budget.seconds

    def _for_later(self, tried: Mapping[int, Trial]) -> tuple[float, float]:
        """Calls and dollars to keep for finalists and the report: what the most promising would take, at most half."""
        limited = (self.settings.budget.calls, self.settings.budget.dollars)
        if min(limited) == inf:
            return 0, 0
        best = sorted(tried, key=lambda n: -self._value(n, tried[n].performance))[: self.settings.finalists]
        plans = [self.options[n].plan for n in best or range(min(3, len(self.options)))]
        orders = [Order("", self._single.architecture, p, "dev", self.settings.confirm_epochs) for p in plans]
        orders += [Order("", self._single.architecture, max(plans, key=lambda p: p.calls), "test")] * 2
        worst = [self.evaluations.worst(order) for order in [*orders, replace(self._single, part="test")]]
        calls, dollars = sum(c for c, _ in worst), sum(d for _, d in worst)
        return min(calls, limited[0] / 2), min(dollars, limited[1] / 2)

    # confirming

    def _confirm(self, optimiser: Optimiser, tried: Mapping[int, Trial]) -> list[tuple[str, Trial, float]]:
        """Finalists and the best single model on fresh draws of all dev questions, best first.

        Finalists are those with the best lower bound, mean less deviation, where there is a surrogate.
        """
        self._show("confirming finalists")
        estimate = optimiser.estimate()
        low = None if estimate is None else estimate[0] - estimate[1]

        def promise(number: int) -> float:
            performance = tried[number].performance
            known = performance if low is None or performance is None else float(low[number])
            return self._value(number, known)

        best = sorted((n for n in tried if tried[n].performance is not None), key=lambda n: (-promise(n), n))
        orders: dict[str, tuple[Order, int | None]] = {"single": (self._single, None)}
        for number in best[: self.settings.finalists]:
            option = self.options[number]
            key = tried[number].key
            orders[key] = (Order(f"confirm/{key}", option.architecture, option.plan, "dev", *self._fresh), number)
        keep = self._for_report(orders)
        confirmed = []
        for key, order, place in self._affordable(orders, keep):
            trial = self.evaluations.trial(order)
            if trial.performance is None:
                self.notes.append(f"{key} failed when confirmed: {trial.error}")
                continue
            prior = None if place is None or not estimate else (float(estimate[0][place]), float(estimate[1][place]))
            value = self.settings.value(_combined(trial, prior), trial.cost)
            confirmed.append((key, trial, value))
        if not confirmed:
            raise SearchError("no finalist could be confirmed: " + "; ".join(self.notes[-3:]))
        return sorted(confirmed, key=lambda item: (-item[2], item[1].cost))

    def _for_report(self, orders: Mapping[str, tuple[Order, int | None]]) -> tuple[float, float]:
        worst = [self.evaluations.worst(replace(order, part="test", epochs=1)) for order, _ in orders.values()]
        budget = self.settings.budget
        calls, dollars = 2 * max(calls for calls, _ in worst), 2 * max(dollars for _, dollars in worst)
        return (calls if budget.calls < inf else 0), (dollars if budget.dollars < inf else 0)

    def _affordable(
        self, orders: Mapping[str, tuple[Order, int | None]], keep: tuple[float, float]
    ) -> list[tuple[str, Order, int | None]]:
        """Run what the budget allows, the most promising first, keeping enough for the report while there are two."""
        begun: list[tuple[str, Order, int | None]] = []
        for key, (order, number) in orders.items():
            try:
                self.evaluations.start(order, keep if len(begun) > 1 else (0, 0))
            except BudgetSpent:
                self.notes.append(f"the budget allowed {len(begun)} of {len(orders)} finalists")
                break
            begun.append((key, order, number))
        while waiting := self.evaluations.under_way():
            self._show("confirming finalists", done=len(begun) - waiting, total=len(begun))
            self.evaluations.finished()
        return begun

    # reporting

    def _report(self, winner: str, architecture: Architecture, model: str) -> dict[str, Trial]:
        calls = plan(architecture, prices=self._prices).calls[1]
        samples = min(self.settings.space.max_candidates, max(2, calls - 1))
        best_of_n = _of(
            f"{model} x {samples}, ranked",
            {"generator": {"model": model, "samples": samples}},
            {"ranker": {"model": model, "top_k": 1}},
        )
        wanted = {"winner": architecture, "single": _single(model), "best-of-n": best_of_n}
        self._count_winners(architecture.fingerprint)
        if winner == "single":
            del wanted["winner"]
        found: dict[str, Trial] = {}
        for name, one in wanted.items():
            self._show("reporting on the held-out questions", done=len(found), total=len(wanted))
            try:
                [found[name]] = self.evaluations.all([self._order(f"report/{name}", one, "test")])
            except BudgetSpent:
                self.notes.append(f"the budget did not allow {name} on the held-out questions")
        return {"winner": found["single"], **found} if winner == "single" and "single" in found else found

    def _count_winners(self, mine: str) -> None:
        """Note when the held-out questions were asked for other winners before this one."""
        winners = {line["fingerprint"] for line in self._journal.entries("winner")}
        if mine not in winners:
            self._journal.add("winner", {"fingerprint": mine})
        begun = [line["key"].partition("@")[0] for line in self._journal.entries("start")]
        asked = {key.rpartition("/")[2] for key in begun if key.startswith(("report/winner/", "report/single/"))}
        if others := sum(one[:8] in asked for one in winners - {mine}):
            self.notes.append(
                f"the held-out questions were asked for {others} other winner{'' if others == 1 else 's'} before: "
                "choosing between winners by these scores makes them too high"
            )


def _of(name: str, *layers: Mapping[str, Any]) -> Architecture:
    return load_architecture({"name": name, "layers": list(layers)})


def _single(model: str) -> Architecture:
    return _of(model, {"generator": model})


def _combined(trial: Trial, prior: tuple[float, float] | None) -> float:
    """Fresh draws and what the surrogate expected, each by its precision; performance from 0 to 1."""
    fresh = trial.performance
    assert fresh is not None
    if prior is None:
        return fresh
    noise = trial.draw_variance
    weight = prior[1] ** 2 / max(prior[1] ** 2 + noise, 1e-12)
    return weight * fresh + (1 - weight) * prior[0]
