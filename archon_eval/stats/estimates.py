"""A system's score with its uncertainty, as pure functions: a mean without an interval says little.

The unit of chance is the question: answers to one question (epochs, swapped games) depend on each other and count as
one cluster. Scores stay on the caller's scale. Two systems on the same questions: `archon_eval.stats.comparison`.

    >>> estimate_mean([1, 0, 1, 1], ["q1", "q1", "q2", "q2"]).value
    0.75
    >>> estimate_proportion(9, 10).low > 0.5
    True

One question (or run) tells nothing about spread: `stderr`, `low` and `high` are then None, never zero.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from archon_eval.errors import DataError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A score with its uncertainty, on the scale of the scores it was computed from."""

    value: float
    """The point estimate."""
    stderr: float | None
    """Standard error; None if there is only one cluster to learn it from."""
    low: float | None
    """Lower end of the interval; None if unknown."""
    high: float | None
    """Upper end of the interval; None if unknown."""
    n: int
    """Number of independent units: questions, or repeated runs."""
    confidence: float = 0.95
    """Coverage the interval aims at."""


def estimate_mean(
    scores: Sequence[float], questions: Sequence[Hashable] | None = None, confidence: float = 0.95
) -> Estimate:
    """Mean of all scores with a standard error clustered by question.

    With x_gi the i-th score of question g, N scores, G questions and mean m:
    `se = sqrt(G/(G-1) * sum_g (sum_i (x_gi - m))^2) / N`, which is sd/sqrt(N) if no question repeats.
    The interval is `m +- t(G-1) * se`.

    Args:
        scores: any real scores, one per sample.
        questions: the question of each score; None if every score is a question of its own.
        confidence: coverage of the interval, in (0, 1).

    Raises:
        DataError: no score, a score that is not finite, or lengths that differ.
    """
    values, cluster, groups = _assign_clusters(scores, questions)
    mean = float(values.mean())
    if groups == 1:
        return _build_single(mean, confidence)
    residuals = np.bincount(cluster, weights=values - mean, minlength=groups)
    stderr = sqrt(groups / (groups - 1) * float(np.square(residuals).sum())) / len(values)
    if stderr < 1e-12 * max(1.0, abs(mean)):  # equal scores, whose mean may be off in the last bit
        stderr = 0.0
    return _build_t_estimate(mean, stderr, groups, confidence=confidence)


def estimate_proportion(successes: float, n: int, confidence: float = 0.95) -> Estimate:
    """Share of successes among n questions, with Wilson's score interval.

    `(p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)`, within [0, 1] and of positive width at 0 and 1.
    The standard error is sqrt(p(1-p)/(n-1)).

    Raises:
        DataError: n < 1, or successes outside 0..n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise DataError(f"proportion: {successes} successes of {n}; legal is n >= 1 and 0 <= successes <= n")
    share = successes / n
    if n == 1:
        return _build_single(share, confidence)
    z = compute_z_quantile(confidence)
    centre = share + z * z / (2 * n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = (centre - half) / scale if successes else 0.0
    high = (centre + half) / scale if successes < n else 1.0
    stderr = sqrt(share * (1 - share) / (n - 1))
    return Estimate(share, stderr, low=low, high=high, n=n, confidence=confidence)


def bootstrap(
    scores: Sequence[float],
    questions: Sequence[Hashable] | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """Mean of all scores with a percentile interval from resampling whole questions with replacement.

    Each draw takes G of the G questions with all their scores; the same seed gives the same interval, whatever the
    order of the scores.
    With `questions=None` single rows are resampled. `stderr` is the standard deviation of the draws.

    Raises:
        DataError: as `estimate_mean`, or draws < 2.
    """
    values, cluster, groups = _assign_clusters(scores, questions)
    if draws < 2:
        raise DataError(f"bootstrap: {draws} draws; at least 2 are needed")
    mean = float(values.mean())
    if groups == 1:
        return _build_single(mean, confidence)
    totals, counts = np.bincount(cluster, weights=values), np.bincount(cluster)
    order = np.lexsort((counts, totals))  # the interval does not depend on the order of the rows
    totals, counts = totals[order], counts[order]
    generator = np.random.default_rng(seed)
    means = np.empty(draws)
    for draw in range(draws):
        chosen = generator.integers(groups, size=groups)
        means[draw] = totals[chosen].sum() / counts[chosen].sum()
    tail = (1 - validate_share(confidence)) / 2
    low, high = map(float, np.quantile(means, [tail, 1 - tail]))
    return Estimate(mean, float(means.std(ddof=1)), low=low, high=high, n=groups, confidence=confidence)


def format_score(score: float, scale: float, sign: str = "") -> str:
    """A score in print, as long as a table holds: tenths of points, hundredths on a scale of its own.

    Args:
        scale: what a score of 1 is shown as, 100 or 1.
        sign: `+` for differences.
    """
    return f"{scale * score:{sign}.{1 if scale == 100 else 2}f}"


def _assign_clusters(
    scores: Sequence[float], questions: Sequence[Hashable] | None
) -> tuple[FloatArray, NDArray[np.int64], int]:
    """The scores as an array, the number 0..G-1 of each score's question, and G."""
    values = np.asarray(scores, dtype=np.float64)
    if not len(values):
        raise DataError("no scores: there is nothing to estimate")
    if not np.isfinite(values).all():
        raise DataError("a score is not a finite number: drop or mend failed samples first")
    if questions is None:
        return values, np.arange(len(values)), len(values)
    if len(questions) != len(values):
        raise DataError(f"{len(values)} scores but {len(questions)} questions: one question per score is needed")
    number: dict[Hashable, int] = {}
    cluster = np.array([number.setdefault(question, len(number)) for question in questions])
    return values, cluster, len(number)


def _build_single(value: float, confidence: float) -> Estimate:
    """Of one question, which tells nothing about spread."""
    return Estimate(value, stderr=None, low=None, high=None, n=1, confidence=confidence)


def _build_t_estimate(mean: float, stderr: float, n: int, *, confidence: float) -> Estimate:
    half = compute_t_quantile(confidence, n - 1) * stderr
    return Estimate(mean, stderr, low=mean - half, high=mean + half, n=n, confidence=confidence)


def compute_t_quantile(confidence: float, freedom: int) -> float:
    """t with P(|T| < t) = confidence, for Student's t with that many degrees of freedom.

    >>> round(compute_t_quantile(0.95, 9), 4)
    2.2622
    """
    from scipy.special import stdtrit  # here: its import takes longer than most commands

    return float(stdtrit(freedom, 0.5 + validate_share(confidence) / 2))


def compute_z_quantile(confidence: float) -> float:
    """z with P(|Z| < z) = confidence, for the standard normal distribution."""
    return NormalDist().inv_cdf(0.5 + validate_share(confidence) / 2)


def validate_share(share: float) -> float:
    """The confidence or power, where it is one.

    Raises:
        DataError: it is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise DataError(f"confidence {share}: legal is a number between 0 and 1, such as 0.95")
    return share
