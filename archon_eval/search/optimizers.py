"""Which architecture is tried next: one face for SMAC3 with our surrogate, its stock facade, random and greedy.

    optimiser = build_optimizer("smac", configurations, calls, penalty, seed=0)
    number = optimiser.ask(frozenset(), draws=1) # the place of a configuration in the list; None when all are tried
    optimiser.tell(number, 0.71, draws=1)        # its performance; None for a trial that failed
    optimiser.tell_fresh_score(number, 0.68, draws=4)       # a finalist's, on other draws
    optimiser.estimate()                         # what it believes of every configuration, or None

An answer depends on the seed and on what was told, and on nothing else: a search that is resumed goes on as it would
have.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from operator import ne
from typing import Any

import numpy as np

from archon_eval.errors import SearchError
from archon_eval.search.prefix_sharing import PaidCallTracker
from archon_eval.search.space import Array, Configuration, compute_features
from archon_eval.search.surrogate import Observation, Surrogate

INITIAL_DESIGN_SIZE = 10
"""Configurations spread over the space that are tried before the surrogate is asked."""


class Optimizer(ABC):
    """What all have: the list, what was told, and what the objective takes off for cost."""

    def __init__(self, configurations: Sequence[Configuration], penalty: Array, seed: int) -> None:
        self._configurations, self._penalty, self._seed = list(configurations), penalty, seed
        self.outcomes: dict[int, float | None] = {}

    def ask(self, pending: frozenset[int], draws: int = 1) -> int | None:
        """The configuration to try next with a set of draws, none of those told or pending; None if none is left."""
        free = np.ones(len(self._configurations), dtype=bool)
        free[[*self.outcomes, *pending]] = False
        return self._choose(free, pending, draws) if free.any() else None

    @abstractmethod
    def _choose(self, free: Any, pending: frozenset[int], draws: int) -> int: ...

    def tell(self, number: int, performance: float | None, draws: int = 1, share: float = 1.0) -> None:
        """What came of a trial: performance from 0 to 1 without cost, or None when it failed.

        Args:
            share: of the questions that have a score.
        """
        self.outcomes[number] = performance

    def tell_fresh_score(self, number: int, performance: float, draws: int) -> None:  # noqa: B027 (no model, nothing to learn)
        """What a finalist scored with draws that no trial took."""

    def estimate(self) -> tuple[Array, Array] | None:
        """Mean and deviation of every configuration's performance; None from those that have no model."""
        return None

    def estimate_draw_effect(self, draws: int) -> float:
        """What a set of draws probably added to every score made with it; 0 from those that have no model."""
        return 0.0

    @property
    def _values(self) -> dict[int, float]:
        return {number: value for number, value in self.outcomes.items() if value is not None}

    def _shuffle_order(self) -> Any:
        return np.random.default_rng(self._seed).permutation(len(self._configurations))


class RandomSearch(Optimizer):
    """Each configuration at most once, in a seeded order."""

    def _choose(self, free: Any, pending: frozenset[int], draws: int) -> int:
        order = self._shuffle_order()
        return int(order[free[order]][0])


class GreedySearch(Optimizer):
    """From a random start, one axis at a time: all neighbours of the best, then on from the best of them; restarts."""

    def __init__(self, configurations: Sequence[Configuration], penalty: Array, seed: int) -> None:
        super().__init__(configurations, penalty, seed)
        self._points = [_make_point(one) for one in configurations]
        self._neighbour_cache: dict[int, list[int]] = {}

    def _choose(self, free: Any, pending: frozenset[int], draws: int) -> int:
        order = self._shuffle_order()
        values = {number: value - float(self._penalty[number]) for number, value in self._values.items()}
        for start in order:
            here = int(start)
            if here not in values:
                if free[here]:
                    return here
                continue  # failed, or under way
            while True:
                near = self._find_neighbours(here)
                if untried := [number for number in near if free[number]]:
                    return untried[0]
                best = max((number for number in near if number in values), key=values.__getitem__, default=here)
                if values[best] <= values[here]:
                    break
                here = best
        return int(order[free[order]][0])

    def _find_neighbours(self, here: int) -> list[int]:
        if here not in self._neighbour_cache:
            mine = self._points[here]
            self._neighbour_cache[here] = [
                number
                for number, other in enumerate(self._points)
                if sum(map(ne, mine, other)) == 1 and _is_one_step(mine[2], other[2])
            ]
        return self._neighbour_cache[here]


def _make_point(one: Configuration) -> tuple[Any, ...]:
    return (
        one.generators,
        one.samples,
        one.fusers,
        one.critic_ranker,
        one.evaluation,
        one.temperature,
        one.pool,
    )


def _is_one_step(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether fusion layers differ in one layer at most: another width, one more or one less."""
    if len(first) == len(second):
        return sum(a != b for a, b in zip(first, second, strict=True)) <= 1
    longer, shorter = sorted((first, second), key=len, reverse=True)
    return len(longer) == len(shorter) + 1 and any(
        longer[:place] + longer[place + 1 :] == shorter for place in range(len(longer))
    )


class SmacOptimizer(Optimizer):
    """SMAC3 by ask and tell, with a Gaussian process on features and every configuration's improvement computed.

    The improvement is divided by the square root of the calls that the trial would have to pay, which those that share
    most of their calls with earlier trials have fewest of.
    """

    def __init__(
        self, configurations: Sequence[Configuration], rows: Array, calls: Sequence[float], penalty: Array, seed: int
    ) -> None:
        from archon_eval.search.smac_optimizer import build_facade

        super().__init__(configurations, penalty, seed)
        self._rows, self.surrogate, self._shared = rows, Surrogate(rows), PaidCallTracker(configurations, calls)
        self.observations: list[Observation] = []
        """All scores, those of finalists too."""
        self._smac, self._acquisition_inputs = build_facade(
            len(configurations), self._choose_initial(), seed, self._predict
        )
        self._asked: dict[int, tuple[int, Any]] = {}

    def _choose_initial(self) -> list[int]:
        """The first few: a seeded one, then always the one farthest from all before."""
        chosen = [int(self._shuffle_order()[0])]
        apart = np.square(self._rows - self._rows[chosen[0]]).sum(axis=1)
        while len(chosen) < min(INITIAL_DESIGN_SIZE, len(self._configurations)):
            chosen.append(int(apart.argmax()))
            apart = np.minimum(apart, np.square(self._rows - self._rows[chosen[-1]]).sum(axis=1))
        return chosen

    def _predict(self, pending: frozenset[int]) -> tuple[Array, Array]:
        """Posterior of the objective to minimise; trials under way count as if they came out as expected."""
        self.surrogate.fit(self.observations)
        if pending:
            drawn = [(number, self._asked.get(number, (1, None))[0]) for number in sorted(pending)]
            mean, shift = self.surrogate.mean, self.surrogate.draw_effects
            self.surrogate.fit(
                self.observations, [Observation(n, d, float(mean[n]) + shift.get(d, 0.0)) for n, d in drawn]
            )
        return self._penalty - self.surrogate.mean, np.square(self.surrogate.deviation)

    def _choose(self, free: Any, pending: frozenset[int], draws: int) -> int:
        self._acquisition_inputs.free, self._acquisition_inputs.pending = free, pending
        self._acquisition_inputs.cost_scale = self._compute_cost_scale(draws)
        info = self._smac.ask()
        number = int(info.config["number"])
        if free[number]:
            self._asked[number] = (draws, info)
        else:  # more trials under way than SMAC3 has first ones for: it drew a number at random
            order = self._shuffle_order()
            number = int(order[free[order]][0])
        self._shared.mark_paid(number, draws)
        return number

    def _compute_cost_scale(self, draws: int) -> Any:
        """What the improvement by each configuration is divided by."""
        return np.sqrt(np.maximum(self._shared.count_unpaid(draws), 1.0))

    def tell(self, number: int, performance: float | None, draws: int = 1, share: float = 1.0) -> None:
        from archon_eval.search.smac_optimizer import tell_smac

        super().tell(number, performance, draws, share)
        self._shared.mark_paid(number, draws)
        if performance is not None:
            self.observations.append(Observation(number, draws, performance, share))
        _, info = self._asked.pop(number, (draws, None))
        tell_smac(self._smac, info, number, performance, float(self._penalty[number]))

    def tell_fresh_score(self, number: int, performance: float, draws: int) -> None:
        self.observations.append(Observation(number, draws, performance))

    def estimate(self) -> tuple[Array, Array] | None:
        if not self.observations:
            return None
        self.surrogate.fit(self.observations)
        return self.surrogate.mean, self.surrogate.deviation

    def estimate_draw_effect(self, draws: int) -> float:
        return self.surrogate.draw_effects.get(draws, 0.0)


class ParetoOptimizer(SmacOptimizer):
    """The same, with another weight of cost at every ask, so that the whole front is looked for."""

    def __init__(
        self, configurations: Sequence[Configuration], rows: Array, calls: Sequence[float], cost: Array, seed: int
    ) -> None:
        super().__init__(configurations, rows, calls, np.zeros(len(cost)), seed)
        self._cost = (cost - cost.min()) / max(float(np.ptp(cost)), 1e-9)

    def _choose(self, free: Any, pending: frozenset[int], draws: int) -> int:
        # one ask in three looks for the best at any cost, the others at up to all performance for the whole cost range
        turn = len(self.outcomes) + len(pending)
        weight = np.random.default_rng([self._seed, turn]).uniform(-0.5, 1) ** 3
        self._penalty = max(0.0, float(weight)) * self._cost
        return super()._choose(free, pending, draws)

    def _compute_cost_scale(self, draws: int) -> Any:
        return 1.0  # or only the cheap end of the front would be looked at


def build_optimizer(
    algorithm: str,
    configurations: Sequence[Configuration],
    calls: Sequence[float],
    penalty: Array,
    seed: int = 0,
    pareto: Array | None = None,
) -> Optimizer:
    """An optimiser by its name in `settings.ALGORITHMS`.

    Args:
        calls: expected calls per question of each configuration.
        penalty: what the objective takes off each one's performance for its cost.
        pareto: cost of each, to look for the front instead of the best.

    Raises:
        SearchError: SMAC3 is not installed.
    """
    if algorithm == "random":
        return RandomSearch(configurations, penalty, seed)
    if algorithm == "greedy":
        return GreedySearch(configurations, penalty, seed)
    if find_spec("smac") is None:
        raise SearchError(
            f"--algorithm {algorithm} needs: pip install 'archon-eval[search]' (random and greedy do not)"
        )
    if algorithm == "smac-stock":
        from archon_eval.search.smac_optimizer import StockSmacOptimizer

        return StockSmacOptimizer(configurations, penalty, seed)
    rows = compute_features(configurations, calls)
    if pareto is None:
        return SmacOptimizer(configurations, rows, calls, penalty, seed)
    return ParetoOptimizer(configurations, rows, calls, pareto, seed)
