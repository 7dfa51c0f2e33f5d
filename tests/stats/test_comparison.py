"""Paired comparisons against exact tests and values computed by hand."""

from math import comb, sqrt

import pytest

from archon_eval.errors import DataError
from archon_eval.stats.comparison import compare, compute_detectable_effect


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


def test_sampled_permutation_test_is_seeded_and_near_the_exact_one() -> None:
    first = {i: float(i < 16) for i in range(25)}
    second = {i: float(i >= 16) for i in range(25)}
    result = compare(first, second, seed=5)
    exact = 2 * sum(comb(25, k) for k in range(10)) / 2**25
    assert not result.exact
    assert result.permutation_p == pytest.approx(exact, abs=0.02)
    assert result == compare(first, second, seed=5)


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
