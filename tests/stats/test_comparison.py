"""Paired comparisons against exact tests and values computed by hand."""

from dataclasses import replace
from itertools import product
from math import comb, sqrt

import numpy as np
import pytest
from scipy.stats import binom

from archon_eval.errors import DataError
from archon_eval.stats.comparison import (
    compare,
    compare_scores,
    compute_detectable_effect,
    decide_verdict,
    estimate_more_questions,
    explain_doubt,
)


def test_sign_test_is_exact() -> None:
    first = {i: float(i < 9) for i in range(12)}
    second = {i: float(i >= 9 and i < 11) for i in range(12)}
    result = compare(first, second)
    assert (result.wins, result.losses, result.ties) == (9, 2, 1)
    assert result.sign_p == pytest.approx(2 * (1 + 11 + 55) / 2**11)
    assert result.permutation_p == pytest.approx(result.sign_p) and result.exact  # the same test on right/wrong scores
    assert result.difference.value == pytest.approx(7 / 12)


def test_permutation_test_uses_sizes() -> None:
    first = dict(enumerate([0.9, 0.8, 0.7, 0.6]))
    second = dict(enumerate([0.5, 0.7, 0.65, 0.58]))
    assert compare(first, second).permutation_p == pytest.approx(2 / 16)


def test_moves_of_one_size_are_exact_at_any_number() -> None:
    first = {i: float(i < 16) for i in range(25)}
    second = {i: float(i >= 16) for i in range(25)}
    result = compare(first, second)
    assert result.exact
    assert result.permutation_p == pytest.approx(2 * sum(comb(25, k) for k in range(10)) / 2**25)


def test_sampled_permutation_test_is_seeded_and_near_the_exact_one() -> None:
    first = {i: (0.9 if i % 2 else 0.8) * (i < 16) for i in range(25)}
    second = {i: (0.9 if i % 2 else 0.8) * (i >= 16) for i in range(25)}
    result = compare(first, second, seed=5)
    exact = 2 * sum(comb(25, k) for k in range(10)) / 2**25  # about, as the sizes are alike
    assert not result.exact
    assert result.permutation_p == pytest.approx(exact, abs=0.06)
    assert result == compare(first, second, seed=5) != compare(first, second, seed=6)


def test_permutation_of_ratios_exchanges_sums_with_their_weights() -> None:
    first = {"a": (2.0, 3.0), "b": (1.0, 1.0), "c": (0.0, 2.0)}
    second = {"a": (1.0, 1.0), "b": (1.0, 4.0), "c": (1.0, 2.0)}

    def gap(one: list[tuple[float, float]], other: list[tuple[float, float]]) -> float:
        ratios = [sum(s for s, _ in side) / sum(w for _, w in side) for side in (one, other)]
        return ratios[0] - ratios[1]

    gaps = []
    for choice in product([False, True], repeat=3):
        pairs = [
            (second[q], first[q]) if swap else (first[q], second[q]) for q, swap in zip("abc", choice, strict=True)
        ]
        gaps.append(abs(gap([one for one, _ in pairs], [other for _, other in pairs])))
    result = compare_scores(first, second)
    assert result.difference.value == pytest.approx(3 / 6 - 3 / 7)
    assert result.permutation_p == pytest.approx(sum(g >= gaps[0] - 1e-12 for g in gaps) / 8) and result.exact
    assert (result.wins, result.losses, result.ties) == (1, 2, 0)


def test_strata_weigh_in_value_and_test() -> None:
    first = {"a1": (1.0, 1.0), "a2": (1.0, 1.0), "b1": (0.0, 1.0), "b2": (0.0, 1.0), "b3": (0.0, 1.0)}
    second = {"a1": (0.0, 1.0), "a2": (0.5, 1.0), "b1": (0.0, 1.0), "b2": (0.0, 1.0), "b3": (0.3, 1.0)}
    strata = {question: question[0] for question in first}
    result = compare_scores(first, second, strata=strata, shares={"a": 1.0, "b": 3.0})
    moves = [0.25 / 2, 0.25 / 4, -0.75 * 0.1]
    assert result.difference.value == pytest.approx(sum(moves))
    sums = [abs(sum(s * m for s, m in zip(signs, moves, strict=True))) for signs in product([1, -1], repeat=3)]
    assert result.permutation_p == pytest.approx(sum(x >= sums[0] - 1e-12 for x in sums) / 8)


def test_doubt_is_said_in_both_directions() -> None:
    flips = compare({i: float(i < 4) for i in range(200)}, dict.fromkeys(range(200), 0.0))
    assert flips.difference.low is not None and flips.difference.low > 0  # but a fair coin does it one time in eight
    assert decide_verdict(flips) == "cannot tell"
    assert explain_doubt(flips) == "permutation test: p 0.125, where 0.050 is asked"
    close = replace(flips, permutation_p=0.0500004)
    assert explain_doubt(close) == "permutation test: p 0.0500004, where 0.0500000 is asked"
    held = replace(flips, permutation_p=0.04, difference=replace(flips.difference, low=-0.01))
    assert decide_verdict(held) == "cannot tell"
    assert explain_doubt(held) == "permutation test: p 0.040, where 0.050 is asked, but the interval holds zero"
    agreed = [replace(flips, permutation_p=0.01), replace(held, permutation_p=0.5)]
    assert [explain_doubt(paired) for paired in agreed] == ["", ""]


def test_moves_alike_on_a_scale_without_ends_are_decided_by_the_test() -> None:
    paired = compare(dict.fromkeys(range(9), 8.0), dict.fromkeys(range(9), 9.0))
    assert (paired.difference.low, paired.difference.high) == (None, None)
    assert decide_verdict(paired) == "worse"
    assert decide_verdict(compare(dict.fromkeys(range(4), 8.0), dict.fromkeys(range(4), 9.0))) == "cannot tell"


def test_equal_runs_and_epochs_are_averaged() -> None:
    same = compare({"a": [1, 0], "b": [1, 1]}, {"a": 0.5, "b": 1.0})
    assert (same.wins, same.losses, same.ties, same.sign_p, same.permutation_p) == (0, 0, 2, 1.0, 1.0)


def test_few_moves_say_little_about_spread() -> None:
    same = compare(dict.fromkeys(range(50), 1.0), dict.fromkeys(range(50), 1.0))
    reach = 1.959964 + 0.841621
    assert compute_detectable_effect(same) == compute_detectable_effect(same, unseen=1) == pytest.approx(reach / 50)
    one = compare({i: float(i > 0) for i in range(50)}, dict.fromkeys(range(50), 1.0))
    assert compute_detectable_effect(one) == pytest.approx(reach / 50)  # the standard error of one flip is 1/n
    assert compute_detectable_effect(one, unseen=1) == pytest.approx(reach * sqrt(2) / 50)


def test_comparison_needs_the_same_questions() -> None:
    with pytest.raises(DataError, match="q9"):
        compare({"q1": 1.0, "q9": 0.0}, {"q1": 1.0})
    with pytest.raises(DataError, match="no scores"):
        compare({}, {})
    with pytest.raises(DataError, match="without a score"):
        compare({"a": []}, {"a": [1.0]})


def test_the_number_of_further_questions_shows_the_effect_four_times_out_of_five() -> None:
    """Also where hardly any question moved by then. Simulated from the numbers of wins and losses: a gain of 3 points,
    with ever more questions that move; the verdict by the interval and McNemar's exact test."""
    effect, rng = 0.03, np.random.default_rng(1)

    def draw(questions: int, moving: float, times: int) -> tuple[np.ndarray, np.ndarray]:
        wins = rng.binomial(questions, (moving + effect) / 2, times)
        return wins, rng.binomial(questions - wins, (moving - effect) / 2 / (1 - (moving + effect) / 2))

    def measure_power(questions: int, moving: float) -> float:
        wins, losses = draw(questions, moving, 1500)
        mean, moved = (wins - losses) / questions, wins + losses
        low = mean - 1.97 * np.sqrt((moved / questions - mean**2) / (questions - 1))
        return float(np.mean((low > 0) & (2 * binom.cdf(np.minimum(wins, losses), moved, 0.5) <= 0.05)))

    def count_questions(questions: int, wins: int, losses: int) -> int:
        first = {i: float(i < wins) for i in range(questions)}
        second = {i: float(wins <= i < wins + losses) for i in range(questions)}
        more = estimate_more_questions(compare(first, second, draws=10), effect, unseen=1)
        assert more is not None
        return questions + more

    for seen in (50, 77, 100, 200):
        for moving in (0.03, 0.05, 0.1, 0.2):
            counts = [count_questions(seen, *each) for each in zip(*draw(seen, moving, 40), strict=True)]
            assert 0.7 <= np.mean([measure_power(count, moving) for count in counts]) <= 0.95, (seen, moving)
        for moved in (0, 1, 2):  # no fewer than where the least moves that such a gain takes
            assert measure_power(count_questions(seen, moved, 0), effect) >= 0.7, (seen, moved)
    assert measure_power(count_questions(100, 0, 0), effect) <= 0.95
