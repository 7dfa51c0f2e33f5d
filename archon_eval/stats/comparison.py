"""Two systems on the same questions: differences with intervals, exact tests, and what it takes to decide.

>>> paired = compare({"a": 1, "b": 1, "c": 0}, {"a": 0, "b": 1, "c": 0})
>>> paired.wins, paired.losses, paired.ties
(1, 0, 2)
>>> decide_verdict(paired)
'cannot tell'
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, comb, sqrt
from statistics import NormalDist
from typing import TypeVar

import numpy as np

from archon_eval.errors import DataError
from archon_eval.stats.estimates import Estimate, FloatArray, compute_z_quantile, estimate_mean, validate_share

MAX_EXACT_FLIPS = 20
"""Up to this many questions that differ, the permutation test enumerates every exchange: 2^20 sums are quick."""
MIN_DIFFERENCE = 1e-12
"""Means of equal scores may differ in the last bit; below this, two scores count as equal."""

QuestionT = TypeVar("QuestionT", bound=Hashable)


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
    differences[np.abs(differences) < MIN_DIFFERENCE] = 0.0
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


def decide_verdict(paired: PairedComparison) -> str:
    """`better` or `worse` (the first than the second) where the interval and the exact test agree, else `cannot tell`.

    The t interval alone calls a few one-sided flips among many ties significant; the permutation test does not.
    """
    low, high = paired.difference.low, paired.difference.high
    if low is None or high is None or low <= 0 <= high or paired.permutation_p > 1 - paired.difference.confidence:
        return "cannot tell"
    return "better" if low > 0 else "worse"


def compute_detectable_effect(paired: PairedComparison, power: float = 0.8, unseen: int = 0) -> float | None:
    """The smallest true difference that this many questions show with the given power; None if unknown.

    `(z(1 - alpha/2) + z(power)) * se`, two-sided at the comparison's confidence.

    Args:
        unseen: as if so many more questions had moved, each by the size (root mean square) of those that did, or by 1
            where none did: few moves say little about spread. At least 1 where none did, whose spread is not zero.
    """
    stderr, n, moved = paired.difference.stderr, paired.difference.n, paired.wins + paired.losses
    if stderr is None:
        return None
    size = (n * (n - 1) * stderr**2 + n * paired.difference.value**2) / moved if moved else 1.0
    unseen = unseen if moved else max(1, unseen)
    quantiles = compute_z_quantile(paired.difference.confidence) + NormalDist().inv_cdf(validate_share(power))
    return quantiles * sqrt(stderr**2 + unseen * size / n**2)


def estimate_more_questions(
    paired: PairedComparison, effect: float | None = None, *, power: float = 0.8, unseen: int = 0
) -> int | None:
    """How many more questions show `effect` (default: the difference seen) with the given power.

    `n * (detectable / effect)^2 - n`, at least 0; None where no number would do or the spread is unknown.
    """
    reach = compute_detectable_effect(paired, power, unseen)
    size = abs(paired.difference.value if effect is None else effect)
    if reach is None or size < MIN_DIFFERENCE:
        return None
    n = paired.difference.n
    return max(0, ceil(n * (reach / size) ** 2 - 1e-9) - n)


def bonferroni_confidence(comparisons: int, confidence: float = 0.95) -> float:
    """The confidence of each of several comparisons at which all of them hold together (Bonferroni)."""
    return 1 - (1 - confidence) / max(1, comparisons)


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
