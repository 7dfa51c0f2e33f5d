"""Uncertainty of benchmark scores, as pure functions: a win rate without its interval says little about two systems.

The unit of chance is the question: samples (epochs, swapped games) of one question depend on each other and count as
one cluster. Scores stay on the caller's scale.

    >>> estimate_mean([1, 0, 1, 1], ["q1", "q1", "q2", "q2"]).value
    0.75
    >>> estimate_proportion(9, 10).low > 0.5
    True

One question (or run) tells nothing about spread: `stderr`, `low` and `high` are then None, never zero.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, comb, sqrt
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from archon_eval.errors import DataError
from archon_eval.stats.student_t import compute_t_quantile

MAX_EXACT_FLIPS = 20
"""Up to this many questions that differ, the permutation test enumerates every assignment (2^20 sums)."""

FloatArray = NDArray[np.float64]
QuestionT = TypeVar("QuestionT", bound=Hashable)


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


@dataclass(frozen=True)
class PairedComparison:
    """Two systems on the same questions; positive differences favour the first."""

    difference: Estimate
    """Mean of the differences per question, with a paired t interval."""
    wins: int
    """Questions where the first system scores higher."""
    losses: int
    """Questions where it scores lower."""
    ties: int
    """Questions with equal scores; the sign test leaves them out."""
    sign_p: float
    """Two-sided exact sign test; for right/wrong scores this is McNemar's exact test."""
    permutation_p: float
    """Two-sided test of the mean difference under random exchange of the two systems per question."""
    exact: bool
    """Whether `permutation_p` enumerates all exchanges (else it is a seeded sample of them)."""


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
        return Estimate(mean, None, None, None, 1, confidence)
    residuals = np.bincount(cluster, weights=values - mean, minlength=groups)
    stderr = sqrt(groups / (groups - 1) * float(np.square(residuals).sum())) / len(values)
    if stderr < 1e-12 * max(1.0, abs(mean)):  # equal scores, whose mean may be off in the last bit
        stderr = 0.0
    return _build_t_estimate(mean, stderr, groups, confidence)


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
        return Estimate(share, None, None, None, 1, confidence)
    z = NormalDist().inv_cdf(0.5 + _validate_confidence(confidence) / 2)
    centre = share + z * z / (2 * n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = (centre - half) / scale if successes else 0.0
    high = (centre + half) / scale if successes < n else 1.0
    return Estimate(share, sqrt(share * (1 - share) / (n - 1)), low, high, n, confidence)


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
        return Estimate(mean, None, None, None, 1, confidence)
    totals, counts = np.bincount(cluster, weights=values), np.bincount(cluster)
    order = np.lexsort((counts, totals))  # the interval does not depend on the order of the rows
    totals, counts = totals[order], counts[order]
    generator = np.random.default_rng(seed)
    means = np.empty(draws)
    for draw in range(draws):
        chosen = generator.integers(groups, size=groups)
        means[draw] = totals[chosen].sum() / counts[chosen].sum()
    tail = (1 - _validate_confidence(confidence)) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(mean, float(means.std(ddof=1)), float(low), float(high), groups, confidence)


def compare(
    first: Mapping[QuestionT, Sequence[float] | float],
    second: Mapping[QuestionT, Sequence[float] | float],
    *,
    draws: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> PairedComparison:
    """Paired comparison of two runs: question -> its score, or the scores of its epochs (averaged first).

    The sign test is `min(1, 2 * P(Binomial(wins + losses, 1/2) <= min(wins, losses)))`. The permutation test exchanges
    the two systems per question: all 2^k exchanges of the k questions that differ if k <= 20 (exact), else `draws`
    seeded ones with p = (1 + as extreme) / (1 + draws).

    Raises:
        DataError: no question, or questions that only one run has (named in the message).
    """
    if alone := first.keys() ^ second.keys():
        some = ", ".join(sorted(map(str, alone))[:5])
        raise DataError(f"the two runs do not share their questions: {len(alone)} are in one only ({some}, ...)")
    differences = np.array([_average(first[key]) - _average(second[key]) for key in first], dtype=np.float64)
    # Means of equal scores may differ in the last bit; below this they count as ties.
    differences[np.abs(differences) < 1e-12] = 0.0
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    moved = differences[differences != 0]
    return PairedComparison(
        difference=estimate_mean([float(d) for d in differences], None, confidence),
        wins=wins,
        losses=losses,
        ties=len(differences) - wins - losses,
        sign_p=_run_sign_test(wins, losses),
        permutation_p=_run_permutation_test(moved, draws, seed),
        exact=len(moved) <= MAX_EXACT_FLIPS,
    )


def format_score(score: float, scale: float, sign: str = "") -> str:
    """A score in print, as long as a table holds: tenths of points, hundredths on a scale of its own.

    Args:
        scale: what a score of 1 is shown as, 100 or 1.
        sign: `+` for differences.
    """
    return f"{scale * score:{sign}.{1 if scale == 100 else 2}f}"


def decide_verdict(found: PairedComparison) -> str:
    """`better` or `worse` (the first than the second) where the interval and the exact test agree, else `cannot tell`.

    The t interval alone calls a few one-sided flips among many ties significant; the permutation test does not.
    """
    low, high = found.difference.low, found.difference.high
    if low is None or high is None or low <= 0 <= high or found.permutation_p > 1 - found.difference.confidence:
        return "cannot tell"
    return "better" if low > 0 else "worse"


def compute_detectable_effect(found: PairedComparison, power: float = 0.8, unseen: int = 0) -> float | None:
    """The smallest true difference that this many questions show with the given power; None if unknown.

    `(z(1 - alpha/2) + z(power)) * se`, two-sided at the comparison's confidence.

    Args:
        unseen: as if so many more questions had moved, each by the size (root mean square) of those that did, or by 1
            where none did: few moves say little about spread. At least 1 where none did, whose spread is not zero.
    """
    stderr, n, moved = found.difference.stderr, found.difference.n, found.wins + found.losses
    if stderr is None:
        return None
    size = (n * (n - 1) * stderr**2 + n * found.difference.value**2) / moved if moved else 1.0
    unseen = unseen if moved else max(1, unseen)
    return _sum_z_quantiles(found.difference.confidence, power) * sqrt(stderr**2 + unseen * size / n**2)


def estimate_more_questions(
    found: PairedComparison, effect: float | None = None, power: float = 0.8, unseen: int = 0
) -> int | None:
    """How many more questions show `effect` (default: the difference seen) with the given power.

    `n * (detectable / effect)^2 - n`, at least 0; None where no number would do or the spread is unknown.
    """
    reach, size = (
        compute_detectable_effect(found, power, unseen),
        abs(found.difference.value if effect is None else effect),
    )
    if reach is None or size < 1e-12:
        return None
    n = found.difference.n
    return max(0, ceil(n * (reach / size) ** 2 - 1e-9) - n)


def _sum_z_quantiles(confidence: float, power: float) -> float:
    normal = NormalDist()
    return normal.inv_cdf(0.5 + _validate_confidence(confidence) / 2) + normal.inv_cdf(_validate_confidence(power))


def _run_sign_test(wins: int, losses: int) -> float:
    n = wins + losses
    tail: float = sum(comb(n, k) for k in range(min(wins, losses) + 1)) / (1 << n)
    return min(1.0, 2 * tail)


def _run_permutation_test(moved: FloatArray, draws: int, seed: int) -> float:
    observed = abs(float(moved.sum())) * (1 - 1e-9)  # equal sums may differ in the last bits
    if len(moved) <= MAX_EXACT_FLIPS:
        sums = np.zeros(1)
        for difference in moved:
            sums = np.concatenate([sums + difference, sums - difference])
        return float((np.abs(sums) >= observed).mean())
    generator = np.random.default_rng(seed)
    extreme, at_once = 0, max(1, 1_000_000 // len(moved))
    for start in range(0, draws, at_once):
        signs = generator.integers(2, size=(min(at_once, draws - start), len(moved))) * 2 - 1
        extreme += int((np.abs(signs @ moved) >= observed).sum())
    return (1 + extreme) / (1 + draws)


def _average(scores: Sequence[float] | float) -> float:
    if not isinstance(scores, Sequence):
        return float(scores)
    if not scores:
        raise DataError("a question without a score")
    return float(np.mean(scores))


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


def _build_t_estimate(mean: float, stderr: float, n: int, confidence: float) -> Estimate:
    half = compute_t_quantile(_validate_confidence(confidence), n - 1) * stderr
    return Estimate(mean, stderr, mean - half, mean + half, n, confidence)


def _validate_confidence(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise DataError(f"confidence {confidence}: legal is a number between 0 and 1, such as 0.95")
    return confidence
