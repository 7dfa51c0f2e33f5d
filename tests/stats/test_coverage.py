"""Whether intervals keep their word: exact counts, and simulations with a fixed seed."""

from itertools import pairwise
from math import comb

import numpy as np
import pytest
from scipy.stats import binom

from archon_eval.stats.comparison import compare_scores
from archon_eval.stats.estimates import compute_score_ends, estimate_proportion, estimate_score

AIM = 0.93


@pytest.mark.parametrize("n", [10, 15, 27, 40, 161])
def test_right_or_wrong_is_covered_at_every_truth(n: int) -> None:
    """Exact sums, also right beside the ends of the intervals, where coverage jumps. Wilson's alone falls to 83%."""
    right = np.arange(n + 1)
    estimates = [estimate_proportion(k, n) for k in right.tolist()]
    low, high = (np.array([getattr(e, end) for e in estimates]) for end in ("low", "high"))
    ends = np.concatenate([low, high])
    ends = ends[(ends > 0.002) & (ends < 0.998)]
    truths = np.concatenate([np.linspace(0.005, 0.995, 397), ends - 1e-9, ends + 1e-9])
    covered = (low[:, None] <= truths) & (truths <= high[:, None])
    assert (covered * binom.pmf(right[:, None], n, truths)).sum(axis=0).min() > AIM - 1e-4
    z2 = 3.841459
    wilson = 2 * np.sqrt(z2 * (right / n * (1 - right / n) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    assert ((high - low) / wilson).max() < 1.07  # and no data set pays much for it


def cover_counts(counts: np.ndarray, values: np.ndarray, truth: float, *, paired: bool = False) -> float:
    """Coverage over data sets, each row of counts how many questions have each value in 0 to 1."""
    n = int(counts[0].sum())
    mean = counts @ values / n
    residuals = values - mean[:, None]
    moments = [(counts * residuals**power).sum(axis=1) for power in (2, 3, 4)]
    low, high = compute_score_ends(mean, moments, n, n=n, confidence=0.95, paired=paired)
    assert (high > low).all()
    return float(((low <= truth + 1e-12) & (truth - 1e-12 <= high)).mean())


@pytest.mark.parametrize("n", [10, 40, 200])
@pytest.mark.parametrize("truth", [0.5, 0.9, 0.95, 0.98, 0.995])
@pytest.mark.parametrize("always_wrong", [0.0, 0.7])
def test_four_epochs_are_covered(n: int, truth: float, always_wrong: float) -> None:
    """Equally hard questions, or 70% of the failures in questions that are always wrong. t alone covers 79 to 95%."""
    lost = always_wrong * (1 - truth)
    chances = (1 - lost) * binom.pmf(np.arange(5), 4, truth / (1 - lost))
    chances[0] += lost
    counts = np.random.default_rng(5).multinomial(n, chances / chances.sum(), size=5000)
    assert cover_counts(counts, np.arange(5) / 4, truth) > AIM


@pytest.mark.parametrize("n", [10, 40, 200])
@pytest.mark.parametrize(
    ("won", "lost"), [(0.0, 0.01), (0.0, 0.05), (0.0, 0.2), (0.02, 0.05), (0.1, 0.1), (0.02, 0.02)]
)
def test_differences_are_covered_also_where_one_side_is_always_right(n: int, won: float, lost: float) -> None:
    """t alone covers 10% of the truths at 10 questions of which 1% differ, and 87% at 200."""
    counts = np.random.default_rng(6).multinomial(n, [lost, 1 - won - lost, won], size=5000)
    assert cover_counts(counts, np.array([0.0, 0.5, 1.0]), (1 + won - lost) / 2, paired=True) > AIM


@pytest.mark.parametrize("n", [10, 40, 160])
def test_a_slip_in_many_epochs_does_not_raise_the_lower_end(n: int) -> None:
    """k questions with one wrong answer of four: no k has a higher lower end than none."""
    ends = [estimate_score({i: (0.75 if i < k else 1.0, 1.0) for i in range(n)}).low for k in range(n // 2)]
    assert ends[0] is not None
    assert all(end is not None and end <= ends[0] for end in ends)
    rises = [b - a for a, b in pairwise(ends) if a is not None and b is not None]
    assert max(rises) < 1e-3


def test_equal_rows_leave_doubt() -> None:
    """Arena-Hard where all rows are losses, ties or wins: of n questions z^2/(n + z^2) may be wholly otherwise."""
    z2 = 3.841459
    for rate in (0.0, 0.5, 1.0):
        result = estimate_score(dict.fromkeys(range(40), (2 * rate, 2.0)))
        assert result.stderr == 0.0
        assert result.low == pytest.approx(rate * 40 / (40 + z2), abs=5e-4)
        assert result.high == pytest.approx(1 - (1 - rate) * 40 / (40 + z2), abs=5e-4)
    ties = compare_scores(dict.fromkeys(range(40), (1.0, 1.0)), dict.fromkeys(range(40), (1.0, 1.0))).difference
    assert (ties.low, ties.high) == (pytest.approx(-z2 / (40 + z2)), pytest.approx(z2 / (40 + z2)))


def test_ratios_of_weighted_rows_are_covered() -> None:
    """Two games of 1 or 3 rows each: a question's rows agree more often than not."""
    draw, covered = np.random.default_rng(8), 0
    chances, truth = np.array([0.03, 0.05, 0.12, 0.3, 0.5]), (0.06 + 0.3 + 1.5) / (0.09 + 0.05 + 0.12 + 0.3 + 1.5)
    verdicts = [(0.0, 3.0), (0.0, 1.0), (0.5, 1.0), (1.0, 1.0), (3.0, 3.0)]
    for _ in range(1000):
        games = draw.choice(5, size=(30, 2), p=chances)
        games[:, 1] = np.where(draw.random(30) < 0.5, games[:, 0], games[:, 1])
        rows = {i: tuple(map(sum, zip(*(verdicts[g] for g in pair), strict=True))) for i, pair in enumerate(games)}
        result = estimate_score({i: (float(s), float(w)) for i, (s, w) in rows.items()})
        assert result.low is not None and result.high is not None and result.low < result.high
        covered += result.low <= truth <= result.high
    assert covered >= 1000 * AIM


def test_equal_systems_are_rarely_called_different() -> None:
    """The exact rate of verdicts, counted over wins and losses of 60 questions of which a tenth differ."""
    rate = 0.0
    for wins in range(21):
        for losses in range(21):
            chance = comb(60, wins) * comb(60 - wins, losses) * 0.05 ** (wins + losses) * 0.9 ** (60 - wins - losses)
            if chance > 1e-7:
                first = {i: (float(i < wins), 1.0) for i in range(60)}
                second = {i: (float(wins <= i < wins + losses), 1.0) for i in range(60)}
                paired = compare_scores(first, second)
                low, high = paired.difference.low, paired.difference.high
                assert low is not None and high is not None
                rate += chance * (paired.permutation_p <= 0.05 and not low <= 0 <= high)
    assert 0.01 < rate <= 0.05
