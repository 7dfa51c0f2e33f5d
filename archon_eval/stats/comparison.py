"""Two systems on the same questions: differences with intervals, exact tests, and what it takes to decide.

>>> paired = compare({"a": 1, "b": 1, "c": 0}, {"a": 0, "b": 1, "c": 0})
>>> paired.wins, paired.losses, paired.ties
(1, 0, 2)
>>> decide_verdict(paired)
'cannot tell'
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, comb, sqrt
from statistics import NormalDist

import numpy as np

from archon_eval.errors import DataError
from archon_eval.stats.estimates import (
    Estimate,
    FloatArray,
    QuestionT,
    combine_strata,
    compute_z_quantile,
    estimate_linear,
    read_questions,
    split_strata,
    validate_share,
)

MAX_EXACT_FLIPS = 20
"""Up to this many questions that differ, the permutation test enumerates every exchange: 2^20 sums are quick."""
MIN_DIFFERENCE = 1e-12
"""Means of equal scores may differ in the last bit; below this, two scores count as equal."""


@dataclass(frozen=True)
class PairedComparison:
    """Two systems on the same questions; positive differences favour the first."""

    difference: Estimate
    """The difference of the two values, with its interval."""
    wins: int
    """Questions where the first system scores higher."""
    losses: int
    """Questions where it scores lower."""
    ties: int
    """Questions with equal scores; the sign test leaves them out."""
    sign_p: float
    """Two-sided exact sign test; for right/wrong scores this is McNemar's exact test."""
    permutation_p: float
    """Two-sided test of the difference under random exchange of the two systems per question."""
    exact: bool
    """Whether `permutation_p` enumerates all exchanges (else it is a seeded sample of them)."""


def compare_scores(
    first: Mapping[QuestionT, tuple[float, float]],
    second: Mapping[QuestionT, tuple[float, float]],
    *,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    strata: Mapping[QuestionT, str] | None = None,
    shares: Mapping[str, float] | None = None,
    draws: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> PairedComparison:
    """Paired comparison of two systems by the metric of `estimate_score`, with the same arguments.

    The interval is that of `estimate_score` for the difference, from minus to plus the scale's width: each
    question adds the difference of its parts in the two values. The permutation test exchanges the two systems per
    question, sums and weights together, and computes the metric's difference anew: all 2^k exchanges of the k questions
    that differ if k <= 20 (exact), else `draws` seeded ones with p = (1 + as extreme) / (1 + draws). The sign test is
    `min(1, 2 * P(Binomial(wins + losses, 1/2) <= min(wins, losses)))`.

    Raises:
        DataError: as `estimate_score`, or questions that only one run has (named in the message).
    """
    if alone := first.keys() ^ second.keys():
        some = ", ".join(sorted(map(str, alone))[:5])
        raise DataError(f"the two runs do not share their questions: {len(alone)} are in one only ({some}, ...)")
    parts = split_strata(first, strata, shares)
    range_ = None if bounds is None else (bounds[0] - bounds[1], bounds[1] - bounds[0])
    estimates, exchanges, wins, losses = [], [], 0, 0
    for share, keys in parts:
        one, other = (read_questions(side, keys, bounds) for side in (first, second))
        estimates.append(_estimate_difference(one, other, range_, confidence))
        exchanges.append((share, one, other))
        ups, downs = count_moves(one[0] / one[1] - other[0] / other[1])
        wins, losses = wins + ups, losses + downs
    permutation_p, exact = _exchange(exchanges, draws, seed)
    return PairedComparison(
        difference=combine_strata([share for share, _ in parts], estimates, confidence),
        wins=wins,
        losses=losses,
        ties=len(first) - wins - losses,
        sign_p=run_sign_test(wins, losses),
        permutation_p=permutation_p,
        exact=exact,
    )


def compare(
    first: Mapping[QuestionT, Sequence[float] | float],
    second: Mapping[QuestionT, Sequence[float] | float],
    *,
    draws: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> PairedComparison:
    """`compare_scores` of two runs whose metric is a mean: question -> its score, or the scores of its epochs.

    The scale is 0 to 1 where all scores lie in it, else unknown.

    Raises:
        DataError: no question, one without a score, or questions that only one run has (named in the message).
    """
    one, other = ({key: (_average(scores), 1.0) for key, scores in side.items()} for side in (first, second))
    within = all(0 <= mean <= 1 for side in (one, other) for mean, _ in side.values())
    bounds = (0.0, 1.0) if within else None
    return compare_scores(one, other, bounds=bounds, draws=draws, seed=seed, confidence=confidence)


def decide_verdict(paired: PairedComparison) -> str:
    """`better` or `worse` (the first than the second) where the interval and the exact test agree, else `cannot tell`.

    `explain_doubt` says where they do not.
    """
    low, high = get_interval(paired)
    if low is None or high is None or low <= 0 <= high or paired.permutation_p > 1 - paired.difference.confidence:
        return "cannot tell"
    return "better" if low > 0 else "worse"


def get_interval(paired: PairedComparison) -> tuple[float | None, float | None]:
    """The ends of the difference's interval, as far as a verdict needs them.

    Where all questions moved alike on a scale of unknown ends, both are the difference itself: it is no interval, but
    the test alone decides there.
    """
    difference = paired.difference
    if difference.low is None and difference.stderr == 0 and paired.wins + paired.losses > 0:
        return difference.value, difference.value
    return difference.low, difference.high


def explain_doubt(paired: PairedComparison) -> str:
    """Where interval and permutation test disagree about zero, in words; empty where they agree."""
    low, high, alpha = paired.difference.low, paired.difference.high, 1 - paired.difference.confidence
    if low is None or high is None:
        return ""
    leaves_out_zero, significant = not low <= 0 <= high, paired.permutation_p <= alpha
    if leaves_out_zero == significant:
        return ""
    digits = 3  # as many as show on which side of alpha p is
    while digits < 9 and f"{paired.permutation_p:.{digits}f}" == f"{alpha:.{digits}f}":
        digits += 2
    p = f"permutation test: p {paired.permutation_p:.{digits}f}, where {alpha:.{digits}f} is asked"
    return p if leaves_out_zero else f"{p}, but the interval holds zero"


def compute_detectable_effect(paired: PairedComparison, power: float = 0.8, unseen: int = 0) -> float | None:
    """The smallest true difference that this many questions show with the given power; None if unknown.

    `(z(1 - alpha/2) + z(power)) * se`, two-sided at the comparison's confidence.

    Args:
        unseen: as if so many more questions had moved, each by the size (root mean square) of those that did, or by 1
            where none did: few moves say little about spread. At least 1 where none did, whose spread is not zero.
    """
    stderr, n = paired.difference.stderr, paired.difference.n
    if stderr is None:
        return None
    unseen = unseen if paired.wins + paired.losses else max(1, unseen)
    spread = sqrt(stderr**2 + unseen * _compute_mean_square(paired, stderr) / n**2)
    return _add_quantiles(paired, power) * spread


def _add_quantiles(paired: PairedComparison, power: float) -> float:
    return compute_z_quantile(paired.difference.confidence) + NormalDist().inv_cdf(validate_share(power))


def _compute_mean_square(paired: PairedComparison, stderr: float) -> float:
    """Of the differences of the questions that moved; 1 where none did."""
    n, moved = paired.difference.n, paired.wins + paired.losses
    return (n * (n - 1) * stderr**2 + n * paired.difference.value**2) / moved if moved else 1.0


def estimate_more_questions(
    paired: PairedComparison, effect: float | None = None, *, power: float = 0.8, unseen: int = 0
) -> int | None:
    """How many more questions show `effect` (default: the difference seen) with the given power.

    `n * (detectable / effect)^2 - n`, at least 0; None where no number would do or the spread is unknown. Where fewer
    questions moved than the effect itself would move, the spread is that of so many, all one way: a difference of 3
    points takes at least 3 questions of 100 that moved by 1.
    """
    reach, stderr = compute_detectable_effect(paired, power, unseen), paired.difference.stderr
    size = abs(paired.difference.value if effect is None else effect)
    if reach is None or stderr is None or size < MIN_DIFFERENCE:
        return None
    n = paired.difference.n
    least = _add_quantiles(paired, power) ** 2 * (sqrt(_compute_mean_square(paired, stderr)) / size - 1)
    return max(0, ceil(max(n * (reach / size) ** 2, least) - 1e-9) - n)


def bonferroni_confidence(comparisons: int, confidence: float = 0.95) -> float:
    """The confidence of each of several comparisons at which all of them hold together (Bonferroni)."""
    return 1 - (1 - confidence) / max(1, comparisons)


def count_moves(differences: FloatArray) -> tuple[int, int]:
    """How many differences are above and below zero."""
    return int((differences > MIN_DIFFERENCE).sum()), int((differences < -MIN_DIFFERENCE).sum())


def run_sign_test(wins: int, losses: int) -> float:
    """Two-sided p of the exact sign test."""
    n = wins + losses
    tail: float = sum(comb(n, k) for k in range(min(wins, losses) + 1)) / (1 << n)
    return min(1.0, 2 * tail)


def _estimate_difference(
    first: tuple[FloatArray, FloatArray],
    second: tuple[FloatArray, FloatArray],
    bounds: tuple[float, float] | None,
    confidence: float,
) -> Estimate:
    """The difference of two ratios of sums over the same questions, each given as sums and weights."""
    values, parts, weights = [], [], []
    for sums, own in (first, second):
        total = own.sum()
        value = float(sums.sum() / total)
        values.append(value)
        parts.append((sums - value * own) / total)
        weights.append(own / total)
    size = 1 / float(np.square((weights[0] + weights[1]) / 2).sum())
    return estimate_linear(
        values[0] - values[1], size * (parts[0] - parts[1]), size, bounds, confidence=confidence, paired=True
    )


def _exchange(
    strata: Sequence[tuple[float, tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]], draws: int, seed: int
) -> tuple[float, bool]:
    """`run_permutation_test` of strata: (share, first's sums and weights, second's sums and weights).

    With signs s per question, a system's sum in a stratum is A + s.a and its weight B + s.b; the other's have minus.
    """
    halves, fixed = [], []
    for share, (sums, weights), (other_sums, other_weights) in strata:
        moves = np.stack([sums - other_sums, weights - other_weights], axis=1) / 2
        moves[np.abs(moves) < MIN_DIFFERENCE] = 0.0
        halves.append(moves[moves.any(axis=1)])
        fixed.append((share, float((sums + other_sums).sum()) / 2, float((weights + other_weights).sum()) / 2))
    if not any(moves[:, 1].any() for moves in halves):  # equal weights: the difference is a sum over the questions
        parts = [2 * share / weight * moves[:, :1] for moves, (share, _, weight) in zip(halves, fixed, strict=True)]
        return run_permutation_test(np.concatenate(parts), draws, seed)

    def compute_differences(sums: FloatArray) -> FloatArray:
        result = np.zeros(len(sums))
        for place, (share, total, weight) in enumerate(fixed):
            a, b = sums[:, 2 * place], sums[:, 2 * place + 1]
            result += share * ((total + a) / (weight + b) - (total - a) / (weight - b))
        return result

    table, start = np.zeros((sum(map(len, halves)), 2 * len(halves))), 0
    for place, moves in enumerate(halves):
        table[start : start + len(moves), 2 * place : 2 * place + 2] = moves
        start += len(moves)
    return run_permutation_test(table, draws, seed, compute_differences)


def run_permutation_test(
    moves: FloatArray,
    draws: int,
    seed: int,
    compute_statistic: Callable[[FloatArray], FloatArray] = lambda sums: sums[:, 0],
) -> tuple[float, bool]:
    """The two-sided p of what was seen among all signs of the rows, and whether it is exact.

    Args:
        moves: one row per question that differs; signs multiply rows, and the rows are added up.
        draws: seeded signs beyond `MAX_EXACT_FLIPS` rows; rows of one column and size are exact at any number.
        compute_statistic: of the sums, one row per choice of signs.
    """
    if not moves.any():
        return 1.0, True
    if moves.shape[1] == 1 and np.ptp(np.abs(moves)) < MIN_DIFFERENCE:  # the sign test is the same test
        ups = int((moves > 0).sum())
        return run_sign_test(ups, len(moves) - ups), True
    observed = abs(float(compute_statistic(moves.sum(axis=0)[None])[0])) * (1 - 1e-9)  # equal up to the last bits
    if len(moves) <= MAX_EXACT_FLIPS:
        sums: FloatArray = np.zeros((1, moves.shape[1]))
        for row in moves:
            sums = np.concatenate([sums + row, sums - row])
        return float((np.abs(compute_statistic(sums)) >= observed).mean()), True
    generator, total = np.random.default_rng(seed), moves.sum(axis=0)
    extreme, at_once = 0, max(1, 1_000_000 // len(moves))
    for start in range(0, draws, at_once):
        rows = min(at_once, draws - start)
        bits = np.frombuffer(generator.bytes(rows * len(moves) // 8 + 1), dtype=np.uint8)
        raised = np.unpackbits(bits, count=rows * len(moves)).reshape(rows, len(moves)).astype(np.float64)
        extreme += int((np.abs(compute_statistic(2 * (raised @ moves) - total)) >= observed).sum())
    return (1 + extreme) / (1 + draws), False


def _average(scores: Sequence[float] | float) -> float:
    if not isinstance(scores, Sequence):
        return float(scores)
    if not scores:
        raise DataError("a question without a score")
    return float(np.mean(scores))
