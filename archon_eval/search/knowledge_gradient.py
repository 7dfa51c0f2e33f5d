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
EXACT = 16
"""Architectures of these whose gain is computed for every set of draws and number of last draws."""
RIVALS = 48
"""Further architectures that a trial may show to be the best: those with the highest means."""
LAST_DRAWS = (1, 2, 4)
"""Draws of the last layer to choose between."""
TIE_SHARE = 1e-6
"""Of its expected improvement, what counts as gain of any trial: where no single one can change the best, those that
promise most go first."""
_POINTS = norm.ppf((np.arange(11) + 0.5) / 11)
"""Standard normal values of equal weight, at which a gain is averaged."""


class TrialChoice(NamedTuple):
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
) -> list[TrialChoice]:
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
    everyone = np.concatenate([numbers, rivals])
    posterior, start = surrogate.posterior, objective[everyone]
    worth = posterior.compute_covariances(everyone, numbers)
    own = np.diag(worth).copy()
    # at first as if every set of draws were new: what draws share is dear to compute
    luck = posterior.kernel.common + posterior.kernel.local + surrogate.noise + surrogate.last_noise
    rough = _average_best(start, worth / np.sqrt(own + luck)) + TIE_SHARE * promise
    kept = _find_largest(rough / np.maximum(cheapest[numbers], 1.0), EXACT)
    numbers, worth, own, promise = numbers[kept], worth[:, kept], own[kept], promise[kept]
    best: dict[int, TrialChoice] = {}
    by_draws = posterior.compute_draw_covariances(everyone, numbers, list(unpaid))
    for (draws, calls), (shared, variance) in zip(unpaid.items(), by_draws, strict=True):
        told = worth + shared
        spread = own + 2 * shared[kept, np.arange(len(kept))] + variance + surrogate.noise
        for times in last_draws:
            slopes = told / np.sqrt(np.maximum(spread + surrogate.last_noise / times, 1e-12))
            paid = np.maximum(calls[numbers] + (times - 1) * last_calls[numbers], 1.0)
            gains = (_average_best(start, slopes) + TIE_SHARE * promise) / paid
            for number, gain in zip(numbers.tolist(), gains.tolist(), strict=True):
                if number not in best or gain > best[number].gain:
                    best[number] = TrialChoice(number, draws, times, gain)
    return list(best.values())


def _average_best(start: Array, slopes: Array) -> Array:
    """By how much the best of all means is expected to rise, for each trial [trials].

    Args:
        start: [architectures], means before.
        slopes: [architectures, trials], what a trial's score moves each mean by, per standard deviation.
    """
    reached = np.zeros(slopes.shape[1])
    for point in _POINTS:
        reached += (start[:, None] + point * slopes).max(axis=0)
    return np.asarray(reached / len(_POINTS) - start.max())


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
