"""Which architecture is tried next: SMAC3 with our surrogate, its stock facade, random and greedy.

optimizer = build_optimizer("smac", configurations, calls, penalty=penalty, seed=0)
number = optimizer.ask({}, draws=1)               # a place in the list of configurations; None when all are tried
optimizer.tell(number, 0.71, draws=1)             # its performance; None for a trial that failed
optimizer.tell_fresh_score(number, 0.68, draws=4) # a finalist's, with other draws
optimizer.estimate()                              # mean and deviation of every configuration, or None
"""

from collections.abc import Sequence
from importlib.util import find_spec
from operator import ne
from typing import Any

from archon_eval.errors import SearchError
from archon_eval.search.optimizer import DEFAULT_CHOICES, ListOptimizer, Optimizer, SmacChoices
from archon_eval.search.space import Array, Configuration, extract_axes
from archon_eval.search.user_optimizers import ALGORITHMS, build_user_optimizer


class RandomSearch(ListOptimizer):
    """Each configuration at most once, in a seeded order."""

    def _choose(self, free: Any) -> int:
        return self._choose_at_random(free)


class GreedySearch(ListOptimizer):
    """From a random start, one axis at a time: all neighbours of the best, then on from the best of them; restarts."""

    def __init__(self, configurations: Sequence[Configuration], penalty: Array, seed: int) -> None:
        super().__init__(configurations, penalty, seed)
        self._points = [_make_point(configuration) for configuration in configurations]
        self._neighbour_cache: dict[int, list[int]] = {}

    def _choose(self, free: Any) -> int:
        scores = {n: score - float(self._penalty[n]) for n, score in self._outcomes.items() if score is not None}
        for start in self._shuffle_order():
            here = int(start)
            if here not in scores:
                if free[here]:
                    return here
                continue  # failed, or under way
            while True:
                near = self._find_neighbours(here)
                if untried := [number for number in near if free[number]]:
                    return untried[0]
                best = max((number for number in near if number in scores), key=scores.__getitem__, default=here)
                if scores[best] <= scores[here]:
                    break
                here = best
        return self._choose_at_random(free)

    def _find_neighbours(self, here: int) -> list[int]:
        if here not in self._neighbour_cache:
            point = self._points[here]
            self._neighbour_cache[here] = [
                number
                for number, other in enumerate(self._points)
                if sum(map(ne, point, other)) == 1 and _is_one_step(point[0], other[0])
            ]
        return self._neighbour_cache[here]


def _make_point(configuration: Configuration) -> tuple[Any, ...]:
    axes = {name: value for name, value in extract_axes(configuration).items() if not name.startswith("width")}
    del axes["layers"]
    return (configuration.fusers, *axes.values())


def _is_one_step(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether fusion layers differ in one layer at most: another width, one more or one less."""
    if len(first) == len(second):
        return sum(a != b for a, b in zip(first, second, strict=True)) <= 1
    longer, shorter = sorted((first, second), key=len, reverse=True)
    return len(longer) == len(shorter) + 1 and any(
        longer[:place] + longer[place + 1 :] == shorter for place in range(len(longer))
    )


def build_optimizer(
    algorithm: str,
    configurations: Sequence[Configuration],
    calls: Sequence[float],
    *,
    penalty: Array,
    seed: int = 0,
    pareto: Array | None = None,
    last_calls: Sequence[float] | None = None,
    choices: SmacChoices = DEFAULT_CHOICES,
) -> Optimizer:
    """An optimizer by its name: one of `ALGORITHMS`, or a user's own (`user_optimizers`).

    Args:
        calls: expected calls per question of each configuration.
        penalty: what the objective takes off each one's performance for its cost.
        pareto: cost of each, to look for the front instead of the best.
        last_calls: of the expected calls, those of the last layer.
        choices: of SMAC3's initial design, acquisition and draws.

    Raises:
        SearchError: SMAC3 is not installed, or a user's own optimizer cannot be built.
    """
    if algorithm not in ALGORITHMS:
        return build_user_optimizer(algorithm, configurations=configurations, calls=calls, penalty=penalty, seed=seed)
    if algorithm == "random":
        return RandomSearch(configurations, penalty, seed)
    if algorithm == "greedy":
        return GreedySearch(configurations, penalty, seed)
    if find_spec("smac") is None:
        raise SearchError(
            f"--algorithm {algorithm} needs: pip install 'archon-eval[search]' (random and greedy do not)"
        )
    if algorithm == "smac-stock":
        from archon_eval.search.smac_stock import StockSmacOptimizer

        return StockSmacOptimizer(configurations, penalty, seed, initial_points=choices.initial_points)
    from archon_eval.search.smac_optimizer import ParetoOptimizer, SmacOptimizer

    if pareto is None:
        return SmacOptimizer(configurations, penalty, seed, calls=calls, last_calls=last_calls, choices=choices)
    return ParetoOptimizer(configurations, pareto, seed, calls=calls, choices=choices)
