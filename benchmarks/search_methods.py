"""The methods that `search.py` compares, each on one search of a replayed table."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from search_tables import EPOCHS, Table

from archon_eval.search.config import CONFIRM_LAST_DRAWS
from archon_eval.search.confirm import CONFIRM_BUDGET_SHARE
from archon_eval.search.informative import DULL_VARIANCE, MIN_INFORMATIVE
from archon_eval.search.optimizer import MAX_DRAW_SETS, Suggestion
from archon_eval.search.optimizers import build_optimizer
from archon_eval.search.posterior import compute_matern
from archon_eval.search.smac_optimizer import SmacOptimizer
from archon_eval.search.surrogate import Observation, Surrogate

DEV = 100
BUDGETS = (25_000, 50_000, 75_000, 100_000, 125_000, 150_000, 185_000)
PAPER_TRIALS, PAPER_RANDOM = 501, 240
TPE_ASKS = 400
"""It repeats itself, at no calls, but ever slower."""
FINALISTS = 10
"""The product's default; the last epochs of a table, from `MAX_DRAW_SETS` on, are draws that no trial took."""
INFORMATIVE_AFTER = (12, 30, 80)
"""Trials after which questions that tell architectures apart no more are asked no more."""


@dataclass
class Run:
    """One search on a table: what it paid and what it would recommend, budget by budget."""

    table: Table
    seed: int
    shared: bool = True

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, 7])
        self.dev = rng.choice(self.table.right.shape[1], DEV, replace=False)
        self.tried: dict[int, float] = {}
        self.calls = self.trials = self.free = 0
        self.asked = DEV
        """Dev questions that trials are asked at the end."""
        self._seen: set[tuple[int, int]] = set()
        self.picks: dict[int, int] = {}
        """Budget -> the configuration that a search of so many calls would recommend."""
        self.final = -1
        """The last one, and what it took to get there."""
        self.spent = 0
        self.overhead: list[float] = []

    def draw(self, place: int, epoch: int, times: int = 1) -> Any:
        """Right or wrong on each dev question, with the draws of an epoch and draws of the last layer [times, DEV]."""
        chance = self.table.right[epoch, self.dev, place] / 255
        return np.random.default_rng([self.seed, place, epoch]).random((times, DEV)) < chance

    def answers(self, place: int, epoch: int) -> Any:
        """With one draw of the last layer [DEV]."""
        return self.draw(place, epoch)[0]

    def pay(self, place: int, epoch: int, *, last_draws: int = 1, share: float = 1.0) -> None:
        """Count the calls of a trial that no earlier one paid.

        Args:
            share: of the dev questions that are asked; from one trial to the next it only falls.
        """
        self.calls += round(DEV * share * (last_draws - 1))
        for node, calls in self.table.nodes[place]:
            if not self.shared or (node, epoch) not in self._seen:
                self.calls += round(DEV * share * calls)
                self._seen.add((node, epoch))

    def trial(self, place: int, epoch: int = 0) -> float:
        self.pay(place, epoch)
        self.tried[place] = float(self.answers(place, epoch).mean())
        return self.tried[place]

    def forget_table(self) -> None:
        """Keep what came out alone: a table is large, and another process has its own."""
        self.table, self._seen = None, set()  # type: ignore[assignment]

    def winner(self) -> int:
        return max(self.tried, key=self.tried.__getitem__)

    def step(self) -> None:
        """Note what would be recommended after this trial: its dev winner, for methods that confirm nothing."""
        self.trials, self.spent, self.final = len(self.tried), self.calls, self.winner()
        for budget in BUDGETS:
            if self.calls <= budget:
                self.picks[budget] = self.final


class Questions:
    """Which dev questions trials still ask, and what counts for the others."""

    def __init__(self) -> None:
        self.asked = np.ones(DEV, dtype=bool)
        self._carried = np.zeros(DEV)
        self._scores: list[Any] = []

    def add(self, scores: Any) -> float:
        """The performance of a trial [DEV], in which the carried scores stand for the questions that are not asked."""
        self._scores.append(np.where(self.asked, scores, self._carried))
        return float(self._scores[-1].mean())

    def drop(self, trials: int) -> None:
        """Ask no more what every trial got right, or none; after more trials, what nearly all did."""
        if trials in INFORMATIVE_AFTER:
            mean = np.array(self._scores).mean(axis=0)
            told = mean * (1 - mean)
            dull = self.asked & (told < (DULL_VARIANCE if trials > INFORMATIVE_AFTER[0] else 1e-9))
            if (self.asked & ~dull).sum() >= MIN_INFORMATIVE:
                self._carried[dull] = mean[dull]
                self.asked &= ~dull


def run_ours(run: Run, informative: bool = False) -> None:
    """The product's search; each budget keeps what its finalists on fresh draws take."""
    table = run.table
    calls = table.calls.tolist()
    optimizer = build_optimizer("smac", table.configurations, calls, penalty=np.zeros(len(calls)), seed=run.seed)
    assert isinstance(optimizer, SmacOptimizer)
    budgets, questions, before = list(BUDGETS), Questions(), None
    while budgets:
        start = time.perf_counter()
        asked = optimizer.suggest({}, 1 + run.trials % 3)
        if asked is None:
            return
        took = time.perf_counter() - start
        tell_trial(run, optimizer, asked, questions)
        for number in optimizer.list_paid(asked.draws):
            tell_trial(run, optimizer, Suggestion(number, asked.draws), questions)
            run.free += 1
        run.trials += 1
        if informative:
            questions.drop(run.trials)
            run.asked = int(questions.asked.sum())
        start = time.perf_counter()
        estimate = optimizer.estimate()
        run.overhead.append(took + time.perf_counter() - start)
        assert estimate is not None
        while budgets and run.calls > budgets[0] * (1 - CONFIRM_BUDGET_SHARE):
            budget = budgets.pop(0)
            if before is not None:
                pick, run.spent = confirm(run, optimizer.surrogate, before, budget=budget)
                run.picks[budget] = run.final = pick
        before = optimizer.observations


def tell_trial(run: Run, optimizer: SmacOptimizer, asked: Suggestion, questions: Questions) -> None:
    """One trial, paid and told."""
    number, draws, times = asked
    drawn = run.draw(number, draws - 1, times)
    run.pay(number, draws - 1, last_draws=times, share=float(questions.asked.mean()))
    value = run.tried[number] = questions.add(drawn.mean(axis=0))
    variance = None
    if times > 1:
        variance = float((drawn.var(axis=0, ddof=1) * questions.asked).mean()) / DEV
    optimizer.tell(number, value, draws, last_draws=times, last_draw_variance=variance)


def confirm(run: Run, surrogate: Surrogate, seen: list[Observation], *, budget: int) -> tuple[int, int]:
    """The choice if the search ended here, and its calls: finalists on fresh draws while the budget lasts, then the
    highest mean."""
    surrogate.fit(seen)
    table, mean, deviation = run.table, surrogate.mean, surrogate.deviation
    numbers = list(dict.fromkeys(trial.number for trial in seen))
    finalists = sorted(numbers, key=lambda n: (deviation[n] - mean[n], n))[:FINALISTS]
    left, is_over = budget - run.calls, False
    fresh: list[Observation] = []
    for epoch in range(MAX_DRAW_SETS, EPOCHS):
        paid: set[int] = set()
        for place in finalists:
            new = sum(c for node, c in table.nodes[place] if node not in paid)
            if (calls := DEV * (CONFIRM_LAST_DRAWS - 1 + new)) > left:
                is_over = True
                break
            left -= calls
            paid |= {node for node, _ in table.nodes[place]}
            value = float(run.draw(place, epoch, CONFIRM_LAST_DRAWS).mean())
            fresh.append(Observation(place, epoch + 1, value, last_draws=CONFIRM_LAST_DRAWS))
        surrogate.fit([*seen, *fresh])
        finalists = sorted(finalists, key=lambda n: -float(surrogate.mean[n]))
        if is_over:
            break
        if epoch > MAX_DRAW_SETS:
            finalists = finalists[: max(2, len(finalists) // 2)]
    return finalists[0], budget - left


def run_baseline(run: Run, algorithm: str) -> None:
    """An optimizer of the product without a model of ours; its dev winner is taken."""
    table = run.table
    calls = table.calls.tolist()
    optimizer = build_optimizer(algorithm, table.configurations, calls, penalty=np.zeros(len(calls)), seed=run.seed)
    while run.calls < BUDGETS[-1]:
        start = time.perf_counter()
        place = optimizer.ask({})
        if place is None:
            return
        optimizer.tell(place, run.trial(place))
        run.overhead.append(time.perf_counter() - start)
        run.step()


def run_papers(run: Run) -> None:
    """240 random trials, then a GP on the axes by expected improvement; the dev winner is taken; nothing is shared."""
    table = run.table
    rows = np.array(
        [
            [c.generators / 10, c.samples / 5, *[w / 8 for w in (*c.fusers[:-1], 0, 0)][:3], len(c.evaluation) / 10]
            for c in table.configurations
        ]
    )
    rng = np.random.default_rng([run.seed, 3])
    order = rng.permutation(len(rows))
    size, noise = 0.5, 1e-3
    halves = np.zeros((PAPER_TRIALS, len(rows)))
    chosen: list[int] = []
    variance = np.ones(len(rows))
    for number in range(PAPER_TRIALS):
        if number < PAPER_RANDOM:
            place = int(order[number])
        else:
            y = np.array([run.tried[p] for p in chosen])
            centre, scale = y.mean(), y.std()
            weights = np.linalg.solve(_compute_lower(halves, chosen, noise), (y - centre) / scale)
            mean = halves[:number].T @ weights
            deviation = np.sqrt(np.maximum(variance, 1e-9))
            gain = mean - ((y - centre) / scale).max()
            z = gain / deviation
            cdf = 1 / (1 + np.exp(-1.702 * z))
            improvement = gain * cdf + deviation * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
            improvement[chosen] = -np.inf
            place = int(improvement.argmax())
        run.trial(place)
        k = compute_matern(np.square(rows - rows[place]).sum(axis=1) / size**2)
        pivot = np.sqrt(max(variance[place] + noise, 1e-9))
        halves[number] = (k - halves[:number, place] @ halves[:number]) / pivot
        variance = variance - np.square(halves[number])
        chosen.append(place)
        run.step()


def _compute_lower(halves: Any, chosen: list[int], noise: float) -> Any:
    """Cholesky factor of the tried ones' covariance with noise, from the rows kept for all."""
    n = len(chosen)
    lower = np.tril(halves[:n, chosen].T)
    for row in range(n):
        lower[row, row] += noise / lower[row, row]
    return lower


def run_tpe(run: Run) -> None:
    """Optuna's TPE on the axes."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    places = {(c.generators, c.samples, c.fusers, c.evaluation): n for n, c in enumerate(run.table.configurations)}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=run.seed))
    for _ in range(TPE_ASKS):
        if run.calls >= BUDGETS[-1]:
            return
        trial = study.ask()
        layers = trial.suggest_int("layers", 1, 3)
        fusers = (*(trial.suggest_int(f"fusers{n}", 2, 8, step=2) for n in range(layers)), 1)
        key = (trial.suggest_int("generators", 1, 10), trial.suggest_int("samples", 1, 5), fusers)
        place = places.get((*key, trial.suggest_categorical("evaluation", ["none", "verifier", "unit_tests"])))
        if place is None:
            study.tell(trial, 0.0)
            continue
        study.tell(trial, run.tried[place] if place in run.tried else run.trial(place))
        run.step()


METHODS: dict[str, tuple[Callable[[Run], None], bool]] = {
    "ours": (run_ours, True),
    "informative": (partial(run_ours, informative=True), True),
    "papers": (run_papers, False),
    "random": (partial(run_baseline, algorithm="random"), True),
    "greedy": (partial(run_baseline, algorithm="greedy"), True),
    "tpe": (run_tpe, True),
    "smac-stock": (partial(run_baseline, algorithm="smac-stock"), True),
}
