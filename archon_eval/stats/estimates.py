"""A system's score with its uncertainty, as pure functions: a mean without an interval says little.

The unit of chance is the question: answers to one question (epochs, swapped games) depend on each other and count as
one cluster. Scores stay on the caller's scale. Two systems on the same questions: `archon_eval.stats.comparison`.

    >>> estimate_score({"q1": (1.0, 1.0), "q2": (0.5, 1.0)}).value
    0.75
    >>> round(estimate_score(dict.fromkeys(range(96), (1.0, 1.0))).low, 3)
    0.962

One question (or run) tells nothing about spread: `stderr`, `low` and `high` are then None, never zero.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot, inf, sqrt
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from archon_eval.errors import DataError

FloatArray = NDArray[np.float64]
QuestionT = TypeVar("QuestionT", bound=Hashable)
"""A question's id."""
PSEUDO_QUESTIONS = 0.7
"""So many questions not seen, with the scale's worst or best value, count in the estimate of the skewness."""
MIN_SPREAD = 1e-12
"""Sums of equal scores may differ in the last bits; spread below this share of the scale is none."""


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


def estimate_score(
    questions: Mapping[QuestionT, tuple[float, float]],
    *,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    strata: Mapping[QuestionT, str] | None = None,
    shares: Mapping[str, float] | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """A metric that is a mean, a ratio of sums, or a weighted mean of those, with an interval that keeps its word.

    `value = sum_s share_s * (sum of sums / sum of weights)` over the strata s. `stderr` is clustered by question. The
    interval is `compute_score_ends` within each stratum; the strata's arms are added in squares (G. Zou, A. Donner,
    Statistics in Medicine 27, 2008). It lies within the bounds and is never of zero width.

    Args:
        questions: question -> (sum of its values, its weight). Mean over questions of epoch means: (mean, 1.0).
        bounds: the least and the greatest value a question can have. None if the scale is unknown: the interval is by
            t, and unknown (None) where every question has the same value.
        strata: question -> its stratum; None if there is one.
        shares: stratum -> its share of the metric, normalised over the strata that have questions; None: equal.
        confidence: coverage of the interval, in (0, 1).

    Raises:
        DataError: no question, a sum or weight that is not finite, a weight that is not positive, a value out of
            bounds, or a question without a stratum or share.
    """
    parts = split_strata(questions, strata, shares)
    ends = []
    for _, keys in parts:
        sums, weights = read_questions(questions, keys, bounds)
        ends.append(_estimate_part(sums, weights, bounds, confidence))
    return combine_strata([share for share, _ in parts], ends, confidence)


def _estimate_part(
    sums: FloatArray, weights: FloatArray, bounds: tuple[float, float] | None, confidence: float
) -> Estimate:
    """The ratio of sums of one stratum."""
    total = float(weights.sum())
    value = float(sums.sum()) / total
    size = total**2 / float(np.square(weights).sum())
    return estimate_linear(value, (sums - value * weights) * (size / total), size, bounds, confidence=confidence)


def estimate_linear(
    value: float, residuals: FloatArray, size: float, bounds: tuple[float, float] | None, *, confidence: float
) -> Estimate:
    """An estimate from each question's part in it.

    Args:
        residuals: one per question, in units of the value: `size * (what the question adds to the estimate's error)`.
            For a mean that is the value's distance from the mean.
        size: how many questions of equal weight say as much, `(sum w)^2 / sum w^2`.
        bounds: of the value; None if unknown.
    """
    n = len(residuals)
    if n == 1:
        return _build_single(value, confidence)
    scale = max(1.0, abs(value)) if bounds is None else bounds[1] - bounds[0]
    residuals = np.where(np.abs(residuals) < MIN_SPREAD * scale, 0.0, residuals)
    squares = np.square(residuals)
    second = float(squares.sum())
    stderr = sqrt(n / (n - 1) * second) / size
    if bounds is None:
        if second == 0:
            return Estimate(value, 0.0, None, None, n=n, confidence=confidence)
        return _build_t_estimate(value, stderr, n, confidence=confidence)
    third = float((squares * residuals).sum())
    low, high = compute_score_ends(
        min(1.0, max(0.0, (value - bounds[0]) / scale)),
        second / scale**2,
        third / scale**3,
        size,
        n=n,
        confidence=confidence,
    )
    low, high = (bounds[0] + scale * float(end) for end in (low, high))
    return Estimate(value, stderr, min(low, value), max(high, value), n=n, confidence=confidence)


def combine_strata(shares: Sequence[float], parts: Sequence[Estimate], confidence: float) -> Estimate:
    """The weighted sum of independent estimates, their arms and standard errors added in squares."""
    if len(parts) == 1:
        return parts[0]
    n = sum(part.n for part in parts)
    value = sum(share * part.value for share, part in zip(shares, parts, strict=True))
    errors, below, above = [], [], []
    for share, part in zip(shares, parts, strict=True):
        if part.stderr is not None:
            errors.append(share * part.stderr)
        if part.low is not None and part.high is not None:
            below.append(share * (part.value - part.low))
            above.append(share * (part.high - part.value))
    stderr = hypot(*errors) if len(errors) == len(parts) else None
    if len(below) < len(parts):
        return Estimate(value, stderr, None, None, n=n, confidence=confidence)
    return Estimate(value, stderr, value - hypot(*below), value + hypot(*above), n=n, confidence=confidence)


def split_strata(
    questions: Mapping[QuestionT, object], strata: Mapping[QuestionT, str] | None, shares: Mapping[str, float] | None
) -> list[tuple[float, list[QuestionT]]]:
    """The share of each stratum that has questions, adding up to 1, and its questions.

    Raises:
        DataError: no question, a question without a stratum, or a stratum without a positive share.
    """
    if not questions:
        raise DataError("no scores: there is nothing to estimate")
    if strata is None:
        return [(1.0, list(questions))]
    if lacking := [question for question in questions if question not in strata]:
        raise DataError(f"{len(lacking)} questions have no stratum: {lacking[0]}, ...")
    keys: dict[str, list[QuestionT]] = {}
    for question in questions:
        keys.setdefault(strata[question], []).append(question)
    own = {name: 1.0 if shares is None else shares.get(name, 0.0) for name in keys}
    if bad := [name for name, share in own.items() if not 0 < share < inf]:
        raise DataError(f"stratum {bad[0]} has the share {own[bad[0]]}: legal is a positive number")
    total = sum(own.values())
    return [(share / total, keys[name]) for name, share in own.items()]


def read_questions(
    questions: Mapping[QuestionT, tuple[float, float]], keys: Sequence[QuestionT], bounds: tuple[float, float] | None
) -> tuple[FloatArray, FloatArray]:
    """The sums and the weights of some questions.

    Raises:
        DataError: one is not finite, a weight is not positive, or a value is out of bounds.
    """
    sums, weights = np.array([questions[key] for key in keys], dtype=np.float64).T
    if not (np.isfinite(sums).all() and np.isfinite(weights).all()):
        raise DataError("a score is not a finite number: drop or mend failed samples first")
    if not (weights > 0).all():
        raise DataError(
            f"question {keys[int(np.argmin(weights))]} has the weight {weights.min()}: legal is more than 0"
        )
    if bounds is not None:
        slack = 1e-9 * (bounds[1] - bounds[0])
        outside = (sums < (bounds[0] - slack) * weights) | (sums > (bounds[1] + slack) * weights)
        if outside.any():
            worst = int(np.argmax(outside))
            raise DataError(
                f"question {keys[worst]} has the value {sums[worst] / weights[worst]:g}: "
                f"legal is {bounds[0]:g} to {bounds[1]:g}"
            )
    return sums, weights


def compute_score_ends(
    value: ArrayLike, second: ArrayLike, third: ArrayLike, size: ArrayLike, *, n: int, confidence: float
) -> tuple[FloatArray, FloatArray]:
    """The ends of a score interval for a mean of values in 0 to 1; arrays of any one shape give arrays.

    All means mu are in it whose distance from the value is at most z standard errors *under mu*. As in Wilson's interval
    (1927), which it is for right/wrong values, the variance depends on mu. Below the value m

        V(mu) = (mu/m) (s^2 + g m (m - mu)),   g = (b + s^2/m) / m

    with the variance s^2 of the questions' values and the mean size b of their falls below m, weighted by variance:
    b = -sum e^3 / sum e^2 over residuals e. `PSEUDO_QUESTIONS` of value 0 are added to b, the fewer the more alike to
    right/wrong the values are: without them equal values say that no question can ever be worse. Where all are equal, b
    is m: questions not seen may be wholly wrong, and at most z^2/(n + z^2) of them are. Above the value the same holds
    with 1 - mu. As far as values are not right/wrong, s^2 is estimated, and t takes the place of z.

    No end is nearer than the exact one-sided bound at 1 - confidence: next to 0 and 1 Wilson's coverage has gaps without
    (L. Brown, T. Cai, A. DasGupta, Statistical Science 16, 2001, mend them likewise, by Poisson's bound).

    Args:
        value: the estimate.
        second: sum of the squared residuals, in units of the value.
        third: sum of their cubes.
        size: how many questions of equal weight say as much.
        n: questions.
    """
    m, second, third, size = (np.asarray(x, dtype=np.float64) for x in (value, second, third, size))
    z = compute_z_quantile(confidence)
    spread, whole = second / size, m * (1 - m)
    with np.errstate(divide="ignore", invalid="ignore"):
        binary = np.where(whole > 0, np.minimum(1.0, spread / whole), 1.0)
        small_sample = (compute_t_quantile(confidence, n - 1) / z) ** 2 * n / (n - 1)
        variance = spread * (1 + (1 - binary) * (small_sample - 1))
        pseudo = PSEUDO_QUESTIONS * (1 - binary)
        ends = []
        for reach, falls in ((m, -third), (1 - m, third)):
            fall = np.where(second > 0, (falls + pseudo * reach**3) / (second + pseudo * reach**2), reach)
            growth = np.maximum(0.0, fall + spread / reach) / reach
            q = z * z / size
            half = q * (variance / reach - growth * reach) / 2
            curve = 1 + q * growth
            arm = (np.sqrt(half * half + curve * q * variance) - half) / curve
            arm = np.where(reach > 0, np.minimum(arm, reach), 0.0)
            exact = reach * np.where(spread > 0, 1.0, 0.0) - _compute_exact_bound(reach, size / binary, 1 - confidence)
            ends.append(np.maximum(arm, exact))
    return m - ends[0], m + ends[1]


def _compute_exact_bound(share: FloatArray, size: FloatArray, alpha: float) -> FloatArray:
    """Clopper and Pearson's one-sided lower bound at level alpha for a share of so many; 0 of equal values."""
    from scipy.special import betaincinv  # here: its import takes longer than most commands

    known = (share > 0) & np.isfinite(size)
    a, b = np.where(known, size * share, 1.0), np.where(known, size * (1 - share) + 1, 1.0)
    return np.where(known, betaincinv(a, b, alpha), 0.0)


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
    values, cluster, _ = _assign_clusters(scores, questions)
    sums = np.bincount(cluster, weights=values)
    return _estimate_part(sums, np.bincount(cluster).astype(np.float64), None, confidence)


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
    residuals = np.concatenate([np.full(round(successes), 1 - share), np.full(n - round(successes), -share)])
    return estimate_linear(share, residuals, n, (0.0, 1.0), confidence=confidence)


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


def format_score(score: float, scale: float, sign: str = "", *, digits: int | None = None) -> str:
    """A score in print, as long as a table holds: tenths of points, hundredths on a scale of its own.

    Args:
        scale: what a score of 1 is shown as, 100 or 1.
        sign: `+` for differences.
        digits: how many after the point, where not the usual ones.
    """
    return f"{scale * score:{sign}.{digits if digits is not None else 1 if scale == 100 else 2}f}"


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
