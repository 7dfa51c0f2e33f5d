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
from dataclasses import dataclass, replace
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
"""So many questions not seen, at the worst or best value, count among those seen; twice as many for two systems."""
FEW_MOVERS = 4.0
"""Where more questions than these carry the spread, the pseudo questions count the less."""
FEW_PAIRED_MOVERS = 1.7
"""The same of differences, whose spread two discordant questions show better than failures of one system do."""
SKEWED_MOVERS = 15.0
"""Differences of so few questions that carry the spread are too few to show skewness."""
BLAKER_STEPS = 48
"""The ends of Blaker's interval are searched in so many steps."""
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
    interval is `compute_score_ends` within each stratum (`estimate_proportion` of right/wrong values). The arms of the
    strata are added in squares (G. Zou, A. Donner, Statistics in Medicine 27, 2008), which is too short next to a few
    failures in several strata; so the interval also holds that of all questions at once. It lies within the bounds and
    is never of zero width.

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
    parts, loads, residuals = split_strata(questions, strata, shares), [], []
    estimates: list[Estimate] = []
    for share, keys in parts:
        sums, weights = read_questions(questions, keys, bounds)
        estimates.append(_estimate_part(sums, weights, bounds, confidence))
        residuals.append(share * (sums - estimates[-1].value * weights) / weights.sum())
        loads.append(share * weights / weights.sum())
    combined = combine_strata([share for share, _ in parts], estimates, confidence)
    if len(parts) == 1 or bounds is None or combined.low is None or combined.high is None:
        return combined
    size = 1 / float(np.square(np.concatenate(loads)).sum())
    whole = estimate_linear(combined.value, size * np.concatenate(residuals), size, bounds, confidence=confidence)
    assert whole.low is not None and whole.high is not None
    return replace(combined, low=min(combined.low, whole.low), high=max(combined.high, whole.high))


def _estimate_part(
    sums: FloatArray, weights: FloatArray, bounds: tuple[float, float] | None, confidence: float
) -> Estimate:
    """The ratio of sums of one stratum."""
    total = float(weights.sum())
    value = float(sums.sum()) / total
    size = total**2 / float(np.square(weights).sum())
    if bounds is not None and len(sums) > 1 and np.ptp(weights) < MIN_SPREAD * total:
        values = (sums / weights - bounds[0]) / (bounds[1] - bounds[0])
        if (np.minimum(np.abs(values), np.abs(1 - values)) < MIN_SPREAD).all():
            share = estimate_proportion(round(float(values.sum())), len(values), confidence)
            return _rescale(share, bounds)
    return estimate_linear(value, (sums - value * weights) * (size / total), size, bounds, confidence=confidence)


def estimate_linear(
    value: float,
    residuals: FloatArray,
    size: float,
    bounds: tuple[float, float] | None,
    *,
    confidence: float,
    paired: bool = False,
) -> Estimate:
    """An estimate from each question's part in it.

    Args:
        residuals: one per question, in units of the value: `size * (what the question adds to the estimate's error)`.
            For a mean that is the value's distance from the mean.
        size: how many questions of equal weight say as much, `(sum w)^2 / sum w^2`.
        bounds: of the value; None if unknown.
        paired: whether it is a difference of two systems.
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
        (second / scale**2, third / scale**3, float((squares * squares).sum()) / scale**4),
        size,
        n=n,
        confidence=confidence,
        paired=paired,
    )
    own_low, own_high = (bounds[0] + scale * float(end) for end in (low, high))
    return Estimate(value, stderr, min(own_low, value), max(own_high, value), n=n, confidence=confidence)


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
    value: ArrayLike,
    moments: Sequence[ArrayLike],
    size: ArrayLike,
    *,
    n: int,
    confidence: float,
    paired: bool = False,
) -> tuple[FloatArray, FloatArray]:
    """The ends of a score interval for a mean of values in 0 to 1; arrays of one shape give arrays.

    The interval holds all means mu whose distance from the value m is at most z standard errors *under mu*. As in
    Wilson's interval (1927), which it is for right/wrong values, the variance depends on mu. Below m it is

        V(mu) = (mu/m) (s^2 + g m (m - mu)),   g = (b + s^2/m) / m

    with the variance s^2 of the questions' values, times (t/z)^2 n/(n-1) as it is estimated, and b = -sum e^3 / sum e^2
    over the residuals e: the size of the falls that the values show. To these sums a part of a question is added that
    was not seen and is wholly wrong, e = -m (`PSEUDO_QUESTIONS`). So equal values leave the doubt of n questions, of
    which z^2/(n + z^2) may be wholly wrong, and few slips in many epochs do not make it less. Above m the same holds
    with 1 - mu. The exact one-sided bound at 1 - confidence is the least arm, where failures are few (as L. Brown,
    T. Cai, A. DasGupta, Statistical Science 16, 2001, do with Poisson's).

    Differences of two systems are mapped to 0 to 1, which is where they can lie, not where they thin out. So while few
    questions differ their arms are at least those by t, and skewness never shortens one.

    Args:
        value: the estimate.
        moments: sums of the squares, cubes and fourth powers of the residuals, in units of the value.
        size: how many questions of equal weight say as much.
        n: questions.
        paired: whether these are differences of two systems.
    """
    from scipy.special import betaincinv  # here: its import takes longer than most commands

    m, second, third, fourth, size = (np.asarray(x, dtype=np.float64) for x in (value, *moments, size))
    z = compute_z_quantile(confidence)
    spread, q = second / size, z * z / size
    variance = spread * (compute_t_quantile(confidence, n - 1) / z) ** 2 * n / (n - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        movers = np.where(second > 0, second**2 / fourth, 0.0)  # so many questions carry the spread
        pseudo = PSEUDO_QUESTIONS * (
            2 * np.minimum(1, (FEW_PAIRED_MOVERS / movers) ** 2) if paired else np.minimum(1, FEW_MOVERS / movers)
        )
        arms = []
        for reach, falls in ((m, -third), (1 - m, third)):
            fall = np.where(second > 0, (falls + pseudo * reach**3) / (second + pseudo * reach**2), reach)
            if paired:
                fall = np.maximum(fall, reach * np.minimum(0.0, SKEWED_MOVERS / movers - 1))
                least = np.where(movers <= SKEWED_MOVERS, np.sqrt(q * variance), 0.0)
            else:
                fall = np.maximum(fall, -spread / reach)
                failures = size * m * (1 - m) / spread  # of equal size, as many as have this spread
                known = (spread > 0) & (m > 0) & (m < 1)
                a, b = (np.where(known, failures * part, 1.0) for part in (reach, 1 - reach))
                least = np.where(known, reach - betaincinv(a, b + 1, 1 - confidence), 0.0)
            growth = (fall + spread / reach) / reach
            half, curve = q * (variance / reach - growth * reach) / 2, 1 + q * growth
            arm = np.maximum(least, (np.sqrt(half * half + curve * q * variance) - half) / curve)
            arms.append(np.where(reach > 0, np.minimum(arm, reach), 0.0))
    return m - arms[0], m + arms[1]


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
    sums = np.asarray(np.bincount(cluster, weights=values), dtype=np.float64)
    return _estimate_part(sums, np.bincount(cluster).astype(np.float64), None, confidence)


def estimate_proportion(successes: float, n: int, confidence: float = 0.95) -> Estimate:
    """Share of successes among n questions, with Wilson's score interval (1927), widened where it is too short.

    Wilson's is `(p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)`. Its coverage has gaps, down to 83% of 95%
    for shares near 0 and 1. So the interval also holds all shares of Blaker's exact one (H. Blaker, Canadian Journal of
    Statistics 28, 2000) at `1 - 1.4 (1 - confidence)`, which is 93% for 95%: no true share is left out more often.
    The standard error is sqrt(p(1-p)/(n-1)).

    Raises:
        DataError: n < 1, or successes outside 0..n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise DataError(f"proportion: {successes} successes of {n}; legal is n >= 1 and 0 <= successes <= n")
    share = successes / n
    if n == 1:
        return _build_single(share, confidence)
    low, high = (_compute_proportion_arm_end(k, n, confidence) for k in (round(successes), n - round(successes)))
    stderr = sqrt(share * (1 - share) / (n - 1))
    return Estimate(share, stderr, low=low, high=1 - high, n=n, confidence=confidence)


def _compute_proportion_arm_end(successes: int, n: int, confidence: float) -> float:
    """The lower end of `estimate_proportion`."""
    if successes == 0:
        return 0.0
    from scipy.special import bdtr, bdtrc, bdtrik, betaincinv

    z, share, alpha = compute_z_quantile(confidence), successes / n, 1.4 * (1 - confidence)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    wilson = (share + z * z / (2 * n) - half) / (1 + z * z / n)
    exact = float(betaincinv(successes, n - successes + 1, alpha / 2))  # Clopper and Pearson's, below Blaker's
    if exact >= wilson:
        return wilson
    shares = np.linspace(exact, wilson, BLAKER_STEPS)
    upper = bdtrc(successes - 1, n, shares)
    below = np.maximum(0, np.floor(bdtrik(upper, n, shares) + 1e-9))
    lower = bdtr(below, n, shares)  # the other tail, as far as it is no likelier than this one
    lower = np.where(
        lower <= upper * (1 + 1e-9), lower, np.where(below > 0, bdtr(np.maximum(0, below - 1), n, shares), 0.0)
    )
    held = np.flatnonzero(upper + lower > alpha)
    return float(shares[max(0, held[0] - 1)]) if len(held) else wilson


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


def _rescale(share: Estimate, bounds: tuple[float, float]) -> Estimate:
    """An estimate on 0 to 1 (of two questions or more), on another scale."""
    if bounds == (0.0, 1.0):
        return share
    scale = bounds[1] - bounds[0]
    ends = [bounds[0] + scale * end for end in (share.value, share.low, share.high) if end is not None]
    return replace(share, value=ends[0], stderr=scale * (share.stderr or 0.0), low=ends[1], high=ends[2])


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
