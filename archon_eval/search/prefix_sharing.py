"""Which calls of an architecture earlier trials have paid for already: architectures share all up to where they differ.

shared = PaidCallTracker(configurations, calls)
shared.mark_paid(3, draws=1)
shared.count_unpaid(draws=1)[141]      # calls per question that 141 would still take with the same draws
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from archon_eval.search.space import Array, Configuration


def group_calls(one: Configuration, calls: float) -> Iterator[tuple[Any, float]]:
    """What a configuration's calls are, in groups: (key, calls per question); equal keys are the same calls.

    Args:
        calls: of the whole, from its plan; what no other group takes is the evaluation before the last fuser.
    """
    base = (one.pool, one.temperature)
    for model in range(one.generators):
        for sample in range(one.samples):
            yield (base, model, sample), 1.0
    rest = calls - one.candidates
    stem = (base, one.generators, one.samples, one.critic_ranker)
    for place, width in enumerate(one.fusers):
        before = (stem, one.fusers[:place])
        last = place == len(one.fusers) - 1
        if one.critic_ranker:
            judged = 2.0 if (one.fusers[place - 1] if place else one.candidates) > 1 else 1.0  # no ranking of one
            rest -= judged
            yield (before, "critic_ranker"), judged
        for fuser in range(width):
            rest -= 1
            yield (before, one.evaluation if last else "", fuser), 1.0
    if rest > 0:
        yield (stem, one.fusers, one.evaluation), rest


class PaidCallTracker:
    """Keeps account for a list of configurations; the call store is what really answers."""

    def __init__(self, configurations: Sequence[Configuration], calls: Sequence[float]) -> None:
        numbers: dict[Any, int] = {}
        groups = [list(group_calls(one, count)) for one, count in zip(configurations, calls, strict=True)]
        self._ids = np.array([numbers.setdefault(key, len(numbers)) for group in groups for key, _ in group])
        self._calls = np.array([count for group in groups for _, count in group])
        sizes = [len(group) for group in groups]
        self._starts = np.cumsum([0, *sizes])
        self._size = len(numbers)
        self._paid: dict[int, Any] = {}

    def count_unpaid(self, draws: int) -> Array:
        """Calls per question that each configuration would still take with a set of draws."""
        open_ = np.where(self._get_paid_mask(draws)[self._ids], 0.0, self._calls)
        found: Array = np.add.reduceat(open_, self._starts[:-1])
        return found

    def mark_paid(self, number: int, draws: int) -> None:
        """The configuration is tried with these draws."""
        self._get_paid_mask(draws)[self._ids[self._starts[number] : self._starts[number + 1]]] = True

    def _get_paid_mask(self, draws: int) -> Any:
        return self._paid.setdefault(draws, np.zeros(self._size, dtype=bool))
