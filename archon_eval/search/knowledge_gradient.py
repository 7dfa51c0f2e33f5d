"""What a trial would teach, per call: how far it is expected to raise the best posterior mean of all.

    choices = choose_by_gain(surrogate, penalty, open=untried, unpaid={1: calls_with_set_1, 2: ...}, last_calls=ones)

A trial is an architecture, a set of draws and a number of draws of the last layer. A set that others share is cheap,
and tells less: their luck is shared too. Draws of the last layer cost a call each, and tell less the more there are.
The surrogate knows all of these variances from the trials so far, so how many sets and draws pay is not a setting.

Source: P. Frazier, W. Powell, S. Dayanik, The knowledge-gradient policy for correlated normal beliefs, INFORMS Journal
on Computing 21, 2009.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm

from archon_eval.search.space import Array
from archon_eval.search.surrogate import Surrogate

CANDIDATES = 64
"""Architectures whose gain is computed: those that promise the most improvement per root of calls."""
RIVALS = 48
"""Further architectures that a trial may show to be the best: those with the highest means."""
LAST_DRAWS = (1, 2, 4)
"""Draws of the last layer to choose between."""
TIE_SHARE = 1e-6
"""Of its expected improvement, what counts as gain of any trial: where no single one can change the best, those that
promise most go first."""
_POINTS = norm.ppf((np.arange(11) + 0.5) / 11)
"""Standard normal values of equal weight, at which a gain is averaged."""


class Choice(NamedTuple):
    """A trial that could be next."""

    number: int
    draws: int
    last_draws: int
    gain: float
    """Performance, standardised, per call."""


def choose_by_gain(
    surrogate: Surrogate,
    penalty: Array,
    *,
    open: Any,
    unpaid: Mapping[int, Array],
    last_calls: Array,
    last_draws: Sequence[int] = LAST_DRAWS,
) -> list[Choice]:
    """The best trial of each promising architecture, in no order.

    Args:
        penalty: [configurations], what the objective takes off for cost.
        open: [configurations], whether it may be tried.
        unpaid: of each set of draws that may be taken, the calls per question that a trial would pay [configurations].
        last_calls: [configurations], calls per question of another draw of the last layer.
        last_draws: to choose between.
    """
    objective = (surrogate.mean - penalty) / surrogate.scale
    deviation = surrogate.deviation / surrogate.scale
    if not unpaid:
        return []
    cheapest = np.minimum.reduce(list(unpaid.values()))
    numbers, rivals, promise = _find_promising(surrogate, objective, deviation, open=open, calls=cheapest)
    if not len(numbers):
        return []
    all_numbers = np.concatenate([numbers, rivals])
    count, posterior = len(numbers), surrogate.posterior
    worth = posterior.compute_covariances(all_numbers, numbers)
    own = worth[np.arange(count), np.arange(count)]
    start = objective[all_numbers]
    best: list[Choice | None] = [None] * count
    by_draws = posterior.compute_draw_covariances(all_numbers, numbers, list(unpaid))
    for (draws, calls), (shared, variance) in zip(unpaid.items(), by_draws, strict=True):
        told = worth + shared
        spread = own + 2 * shared[np.arange(count), np.arange(count)] + variance + surrogate.noise
        for times in last_draws:
            slopes = told / np.sqrt(np.maximum(spread + surrogate.last_noise / times, 1e-12))
            reached = np.zeros(count)
            for point in _POINTS:
                reached += (start[:, None] + point * slopes).max(axis=0)
            paid = np.maximum(calls[numbers] + (times - 1) * last_calls[numbers], 1.0)
            gains = (reached / len(_POINTS) - start.max() + TIE_SHARE * promise) / paid
            for place, gain in enumerate(gains.tolist()):
                known = best[place]
                if known is None or gain > known.gain:
                    best[place] = Choice(int(numbers[place]), draws, times, gain)
    return [choice for choice in best if choice is not None]


def _find_promising(
    surrogate: Surrogate, objective: Array, deviation: Array, *, open: Any, calls: Array
) -> tuple[Array, Array, Array]:
    """The architectures to try, by expected improvement per root of calls; others that may be the best; and that
    improvement of the first."""
    tried = np.unique(np.array(surrogate.posterior.numbers))
    gain = objective - (objective[tried].max() if len(tried) else 0.0)
    score = gain / deviation
    improvement = gain * norm.cdf(score) + deviation * norm.pdf(score)
    promise = np.where(open, improvement / np.sqrt(np.maximum(calls, 1.0)), -np.inf)
    numbers = _find_largest(promise, min(CANDIDATES, int(np.sum(open))))
    others = _find_largest(objective, min(RIVALS + len(numbers), len(objective)))
    known = set(numbers.tolist())
    rivals = np.array([number for number in others if number not in known][:RIVALS], dtype=int)
    return numbers, rivals, improvement[numbers]


def _find_largest(values: Array, count: int) -> Any:
    return np.argsort(-values, kind="stable")[:count]
