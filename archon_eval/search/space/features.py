"""What the surrogate sees of configurations: numbers, in which similar architectures are near each other."""

from collections.abc import Iterator, Sequence
from math import log2

import numpy as np
from numpy.typing import NDArray

from archon_eval.search.space.axes import EVALUATIONS
from archon_eval.search.space.configuration import AFTER_GENERATORS, BEFORE_LAST, END, Configuration

Array = NDArray[np.float64]


def compute_features(configurations: Sequence[Configuration], calls: Sequence[float]) -> Array:
    """A row of standardised features per configuration, in which similar architectures are near each other.

    An axis that does not move has no column, so that a new axis changes nothing for spaces without it.

    Args:
        calls: expected calls per question of each.
    """
    pools = sorted({c.pool for c in configurations})[1:]
    inserts = sorted({c.insert for c in configurations})[1:]
    wordings = sorted({c.prompts for c in configurations})[1:]
    roles = sorted({pair for c in configurations for pair in c.roles})
    first = sorted({name for c in configurations for name, _ in c.cascade})
    rules = sorted({c.sampling for c in configurations})[1:]
    ranks = max((len(c.proposers) for c in configurations), default=0)
    rows = []
    for configuration, count in zip(configurations, calls, strict=True):
        inner = configuration.inner_fusers
        rows.append(
            [
                configuration.generators,
                log2(configuration.samples),
                log2(configuration.candidates),
                len(configuration.fusers),
                log2(1 + sum(inner)),
                log2(inner[0]) if inner else 0.0,
                log2(inner[-1]) if inner else 0.0,
                log2(inner[-1] / inner[0]) if inner else 0.0,
                log2(1 + count),
                float(configuration.critic_ranker),
                configuration.temperature,
                *(float(configuration.evaluation == name) for name in EVALUATIONS[1:]),
                *(float(configuration.pool == name) for name in pools),
                float(configuration.evaluation_place == AFTER_GENERATORS),
                log2(configuration.tests or 10),
                float(configuration.vote == BEFORE_LAST),
                float(configuration.vote == END),
                *(float(configuration.insert == name) for name in inserts),
                *(float(configuration.prompts == name) for name in wordings),
                *(float(pair in configuration.roles) for pair in roles),
                *(float(configuration.sampling == rule) for rule in rules),
                *(_compute_multiplicities(configuration, ranks) if ranks else ()),
                *(
                    next((agreement for each, agreement in configuration.cascade if each == name), -1.0)
                    for name in first
                ),
            ]
        )
    table = np.array(rows, dtype=np.float64)
    spread = table.std(axis=0)
    moving = spread > 1e-9
    scaled: Array = (table[:, moving] - table[:, moving].mean(axis=0)) / spread[moving]
    return scaled if scaled.shape[1] else np.zeros((len(rows), 1))


def _compute_multiplicities(configuration: Configuration, ranks: int) -> Iterator[float]:
    """How often each of the best models proposes, as a logarithm."""
    counts = configuration.proposers or (configuration.samples,) * configuration.generators
    for rank in range(ranks):
        yield log2(1 + (counts[rank] if rank < len(counts) else 0))
