"""The methods that `search.py` compares, each on one search of a replayed table."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from search_tables import Table

from archon_eval.search.confirm import CONFIRM_BUDGET_SHARE, MIN_FINALISTS
from archon_eval.search.optimizer import INITIAL_DESIGN_SIZE
from archon_eval.search.optimizers import build_optimizer
from archon_eval.search.smac_optimizer import SmacOptimizer
from archon_eval.search.space import compute_features
from archon_eval.search.surrogate import Observation, Surrogate, compute_matern

DEV = 100
BUDGETS = (25_000, 50_000, 75_000, 100_000, 125_000, 150_000, 185_000)
PAPER_TRIALS, PAPER_RANDOM = 501, 240
TPE_ASKS = 400
"""It repeats itself, at no calls, but ever slower."""
FINALISTS, DRAWS, FRESH = 10, 3, 2
"""The product's defaults; the last two epochs of a table are draws that no trial took."""
BLOCK = DEV // 2
"""Questions after which a race may stop a trial."""
HOPELESS = 1.28
"""Deviations by which a trial must be behind the best to be stopped: one in ten would yet be better."""


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
        self.calls = self.trials = self.stopped = 0
        self._seen: set[tuple[int, int, int]] = set()
        self._answers: dict[tuple[int, int], Any] = {}
        self.picks: dict[int, int] = {}
        """Budget -> the configuration that a search of so many calls would recommend."""
        self.final = -1
        """The last one, and what it took to get there."""
        self.spent = 0
        self.overhead: list[float] = []

    def answers(self, place: int, epoch: int) -> Any:
        """Right or wrong on each dev question, with the draws of an epoch."""
        if (place, epoch) not in self._answers:
            chance = self.table.right[epoch, self.dev, place] / 255
            self._answers[place, epoch] = np.random.default_rng([self.seed, place, epoch]).random(DEV) < chance
        return self._answers[place, epoch]

    def pay(self, place: int, epoch: int, blocks: tuple[int, ...] = (0, 1)) -> None:
        for node, calls in self.table.nodes[place]:
            for block in blocks:
                if not self.shared or (node, epoch, block) not in self._seen:
                    self.calls += BLOCK * calls
                    self._seen.add((node, epoch, block))

    def trial(self, place: int, epoch: int = 0) -> float:
        self.pay(place, epoch)
        self.tried[place] = float(self.answers(place, epoch).mean())
        return self.tried[place]

    def winner(self) -> int:
        return max(self.tried, key=self.tried.__getitem__)

    def step(self) -> None:
        """Note what would be recommended after this trial: its dev winner, for methods that confirm nothing."""
        self.trials, self.spent, self.final = len(self.tried), self.calls, self.winner()
        for budget in BUDGETS:
            if self.calls <= budget:
                self.picks[budget] = self.final


@dataclass
class State:
    """Where a search of ours was after a trial."""

    calls: int
    seen: list[Observation]
    mean: Any
    deviation: Any


def run_ours(run: Run, race: bool = False) -> None:
    """The product's search; each budget keeps what its finalists on fresh draws take."""
    table = run.table
    calls = table.calls.tolist()
    rows = compute_features(table.configurations, calls)
    optimizer = build_optimizer("smac", table.configurations, calls, penalty=np.zeros(len(calls)), seed=run.seed)
    assert isinstance(optimizer, SmacOptimizer)
    budgets, before = list(BUDGETS), None
    while budgets:
        start = time.perf_counter()
        epoch = len(optimizer.observations) % DRAWS
        place = optimizer.ask({}, epoch)
        took = time.perf_counter() - start
        if place is None:
            return
        value, share = race_trial(run, optimizer, place, epoch=epoch) if race else (run.trial(place, epoch), 1.0)
        start = time.perf_counter()
        optimizer.tell(place, value, epoch, share=share)
        estimate = optimizer.estimate()
        run.overhead.append(took + time.perf_counter() - start)
        assert estimate is not None
        state = State(run.calls, list(optimizer.observations), *estimate)
        while budgets and state.calls + choose_finalists(run, state, budgets[0])[1] > budgets[0]:
            budget = budgets.pop(0)
            if before is not None:
                run.picks[budget] = run.final = choose_winner(run, before, budget, rows=rows)
                run.trials, run.spent = len(before.seen), before.calls + choose_finalists(run, before, budget)[1]
        before = state


def race_trial(run: Run, optimizer: SmacOptimizer, place: int, *, epoch: int) -> tuple[float, float]:
    """The score of a trial that is stopped half-way when it is hopeless, and the share of questions it answered.

    The half is corrected by what the other half brought to earlier trials with the same draws.
    """
    right, seen = run.answers(place, epoch), optimizer.observations
    same = [run.answers(trial.number, epoch) for trial in seen if trial.draws == epoch and trial.share == 1]
    run.pay(place, epoch, (0,))
    if same and len(seen) >= INITIAL_DESIGN_SIZE:
        value = float(right[:BLOCK].mean() + np.mean([other.mean() - other[:BLOCK].mean() for other in same]))
        optimizer.surrogate.fit(seen, [Observation(place, epoch, value, share=0.5)])
        mean, deviation = optimizer.surrogate.mean, optimizer.surrogate.deviation
        best = max(float(mean[trial.number]) for trial in seen)
        if mean[place] + HOPELESS * deviation[place] < best:
            run.stopped += 1
            run.tried[place] = value
            return value, 0.5
    run.pay(place, epoch, (1,))
    run.tried[place] = float(right.mean())
    return run.tried[place], 1.0


def choose_finalists(run: Run, state: State, budget: int) -> tuple[list[int], int, int]:
    """Who is confirmed, what that takes, and with how many fresh sets of draws: as `Confirmation`, by lower bound."""
    table, numbers = run.table, dict.fromkeys(trial.number for trial in state.seen)
    best = sorted(numbers, key=lambda n: (state.deviation[n] - state.mean[n], n))[:FINALISTS]
    plans = [(n, FRESH) for n in range(len(best), MIN_FINALISTS, -1)]
    plans += [(n, e) for n in range(min(MIN_FINALISTS, len(best)), 0, -1) for e in range(FRESH, 0, -1)]
    paid: list[int] = []
    seen: set[int] = set()
    for place in best:
        paid.append(sum(calls for node, calls in table.nodes[place] if node not in seen))
        seen |= {node for node, _ in table.nodes[place]}
    for count, times in plans:
        if (total := DEV * times * sum(paid[:count])) <= CONFIRM_BUDGET_SHARE * budget:
            break
    return best[:count], total, times


def choose_winner(run: Run, state: State, budget: int, *, rows: Any) -> int:
    """The choice if the search ended here: the best of the finalists by all scores, those on fresh draws too."""
    chosen, _, times = choose_finalists(run, state, budget)
    fresh = [Observation(n, e, float(run.answers(n, e).mean())) for n in chosen for e in range(DRAWS, DRAWS + times)]
    surrogate = Surrogate(rows)
    surrogate.fit([*state.seen, *fresh])
    return max(chosen, key=lambda n: float(surrogate.mean[n]))


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
    "racing": (partial(run_ours, race=True), True),
    "papers": (run_papers, False),
    "random": (partial(run_baseline, algorithm="random"), True),
    "greedy": (partial(run_baseline, algorithm="greedy"), True),
    "tpe": (run_tpe, True),
    "smac-stock": (partial(run_baseline, algorithm="smac-stock"), True),
}
