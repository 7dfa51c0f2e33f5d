"""Metrics that are no mean, such as the length-controlled win rate: intervals from leaving groups of questions out.

The metric is computed anew without each of about `GROUPS` groups of questions. Groups go by the question's id, so two
systems share them, and their values are paired by subtracting:

    rate, left_out = compute_lc_leave_outs(rows, calibration, groups)      # groups = [assign_group(id) for id in ids]
    estimate_jackknife(rate, left_out, Counter(groups), bounds=(0, 100))
"""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from math import sqrt

import numpy as np

from archon_eval.errors import DataError
from archon_eval.stats.comparison import PairedComparison, count_moves, run_permutation_test, run_sign_test
from archon_eval.stats.estimates import MIN_SPREAD, Estimate, FloatArray, compute_score_ends

GROUPS = 20
"""So many groups give t with 19 degrees of freedom, within 7% of z."""


def assign_group(question: Hashable, groups: int = GROUPS) -> int:
    """The group of a question, 0 to groups - 1; the same on every machine."""
    return int.from_bytes(hashlib.sha256(str(question).encode()).digest()[:8], "big") % groups


def estimate_jackknife(
    value: float,
    left_out: Mapping[Hashable, float],
    sizes: Mapping[Hashable, int],
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    least_stderr: float = 0.0,
    confidence: float = 0.95,
) -> Estimate:
    """An estimate from the metric without each group of questions.

    With N questions, G groups of m_g questions, h_g = N / m_g and the metric's values T and, without g, T_g, the
    pseudo-values are `P_g = h_g T - (h_g - 1) T_g`, and `se^2 = sum_g (P_g - mean)^2 / (h_g - 1) / G` with their mean
    weighted by m_g (F. Busing, E. Meijer, R. van der Leeden, Statistics and Computing 9, 1999). The interval is
    `compute_score_ends` with that error and t of G-1 degrees: of equal values it is not of zero width.

    Args:
        value: the metric of all questions.
        left_out: group -> the metric without it.
        sizes: group -> its number of questions.
        least_stderr: the standard error is at least this, for metrics that fewer questions may leave where they are.

    Raises:
        DataError: groups that differ, an empty one, a value that is not finite, or out of bounds.
    """
    pseudo, shares = _compute_pseudo_values(value, left_out, sizes)
    n = sum(sizes.values())
    return _estimate_pseudo(value, pseudo, shares, n, bounds, least_stderr=least_stderr, confidence=confidence)


def compare_jackknife(
    first: tuple[float, Mapping[Hashable, float]],
    second: tuple[float, Mapping[Hashable, float]],
    sizes: Mapping[Hashable, int],
    differences: Sequence[float],
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    least_stderr: float = 0.0,
    draws: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> PairedComparison:
    """Two systems with the same groups of questions; the permutation test flips the signs of groups.

    Args:
        first: the metric, and group -> the metric without it.
        second: of the other system.
        sizes: group -> its number of questions.
        differences: per question, what the first has more than the second (in wins and losses only its sign counts).
        least_stderr: as for `estimate_jackknife`, of the difference.

    Raises:
        DataError: as `estimate_jackknife`.
    """
    (one, own), (other, _) = (_compute_pseudo_values(*system, sizes) for system in (first, second))
    width, n = bounds[1] - bounds[0], sum(sizes.values())
    if n != len(differences):
        raise DataError(f"{len(differences)} differences of {n} questions")
    estimate = _estimate_pseudo(
        first[0] - second[0],
        one - other,
        own,
        n,
        (-width, width),
        least_stderr=least_stderr,
        confidence=confidence,
        paired=True,
    )
    wins, losses = count_moves(np.asarray(differences, dtype=np.float64))
    permutation_p, exact = run_permutation_test(((one - other) * own)[:, None], draws, seed)
    return PairedComparison(
        difference=estimate,
        wins=wins,
        losses=losses,
        ties=n - wins - losses,
        sign_p=run_sign_test(wins, losses),
        permutation_p=permutation_p,
        exact=exact,
    )


def _compute_pseudo_values(
    value: float, left_out: Mapping[Hashable, float], sizes: Mapping[Hashable, int]
) -> tuple[FloatArray, FloatArray]:
    """The groups' pseudo-values, and their shares of the questions."""
    if left_out.keys() != sizes.keys() or len(sizes) < 2 or min(sizes.values()) < 1:
        raise DataError("a jackknife needs two groups of questions, each with its size and the metric without it")
    without = np.array([left_out[group] for group in sizes], dtype=np.float64)
    if not (np.isfinite(without).all() and np.isfinite(value)):
        raise DataError("a metric is not a finite number")
    shares = np.array(list(sizes.values()), dtype=np.float64) / sum(sizes.values())
    return value / shares - (1 / shares - 1) * without, shares


def _estimate_pseudo(
    value: float,
    pseudo: FloatArray,
    shares: FloatArray,
    n: int,
    bounds: tuple[float, float],
    *,
    least_stderr: float,
    confidence: float,
    paired: bool = False,
) -> Estimate:
    if not bounds[0] <= value <= bounds[1]:
        raise DataError(f"the metric is {value:g}: legal is {bounds[0]:g} to {bounds[1]:g}")
    groups, scale = len(pseudo), bounds[1] - bounds[0]
    mean = float((shares * pseudo).sum())
    stderr = max(least_stderr, sqrt(float((np.square(pseudo - mean) / (1 / shares - 1)).mean())))
    stderr = 0.0 if stderr < MIN_SPREAD * scale else stderr
    second = (groups - 1) / groups * (n * stderr / scale) ** 2
    place = (value - bounds[0]) / scale
    inside = 0.0 if paired or not 0 < place < 1 else second / n / (place * (1 - place))
    moments = (second, second * inside * (1 - 2 * place), second**2 / n)  # as skewed as right/wrong of that spread
    ends = compute_score_ends(place, moments, n, n=groups, confidence=confidence, paired=paired)
    low, high = (bounds[0] + scale * float(end) for end in ends)
    return Estimate(value, stderr, min(low, value), max(high, value), n=n, confidence=confidence)
