"""Which calls of an architecture earlier trials have paid for already: architectures share all up to where they differ.

>>> configurations = [Configuration(generators=2), Configuration(generators=3)]
>>> tracker = PaidCallTracker(configurations, calls=[5.0, 6.0])
>>> tracker.mark_paid(0, draws=1)
>>> tracker.count_unpaid(draws=1).tolist()  # a third generator, then critic, ranker and fuser on other candidates
[0.0, 4.0]
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from archon_eval.search.space import Array, Configuration


def group_calls(configuration: Configuration, calls: float) -> Iterator[tuple[Any, float]]:
    """What a configuration's calls are, in groups: (key, calls per question); equal keys are the same calls.

    Args:
        calls: of the whole, from its plan; what no other group takes is the evaluation before the last fuser.
    """
    base = (configuration.pool, configuration.temperature)
    for model in range(configuration.generators):
        for sample in range(configuration.samples):
            yield (base, model, sample), 1.0
    rest = calls - configuration.candidates
    stem = (base, configuration.generators, configuration.samples, configuration.critic_ranker)
    for place, width in enumerate(configuration.fusers):
        before = (stem, configuration.fusers[:place])
        last = place == len(configuration.fusers) - 1
        if configuration.critic_ranker:
            judged = (
                2.0 if (configuration.fusers[place - 1] if place else configuration.candidates) > 1 else 1.0
            )  # no ranking of one
            rest -= judged
            yield (before, "critic_ranker"), judged
        for fuser in range(width):
            rest -= 1
            yield (before, configuration.evaluation if last else "", fuser), 1.0
    if rest > 0:
        yield (stem, configuration.fusers, configuration.evaluation), rest


class PaidCallTracker:
    """Keeps account for a list of configurations; the call store is what really answers."""

    def __init__(self, configurations: Sequence[Configuration], calls: Sequence[float]) -> None:
        numbers: dict[Any, int] = {}
        groups = [list(group_calls(*pair)) for pair in zip(configurations, calls, strict=True)]
        self._ids = np.array([numbers.setdefault(key, len(numbers)) for group in groups for key, _ in group])
        self._calls = np.array([count for group in groups for _, count in group])
        sizes = [len(group) for group in groups]
        self._starts = np.cumsum([0, *sizes])
        self._size = len(numbers)
        self._paid: dict[int, Any] = {}

    def count_unpaid(self, draws: int) -> Array:
        """Calls per question that each configuration would still take with a set of draws."""
        unpaid = np.where(self._get_paid_mask(draws)[self._ids], 0.0, self._calls)
        totals: Array = np.add.reduceat(unpaid, self._starts[:-1])
        return totals

    def mark_paid(self, number: int, draws: int) -> None:
        """The configuration is tried with these draws."""
        self._get_paid_mask(draws)[self._ids[self._starts[number] : self._starts[number + 1]]] = True

    def _get_paid_mask(self, draws: int) -> Any:
        return self._paid.setdefault(draws, np.zeros(self._size, dtype=bool))
