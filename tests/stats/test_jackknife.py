"""The jackknife over groups of questions, against the mean, whose error is known."""

from collections import Counter
from math import sqrt

import numpy as np
import pytest

from archon_eval.errors import DataError
from archon_eval.stats.jackknife import assign_group, compare_jackknife, estimate_jackknife
from archon_eval.stats.length_control import compute_least_stderr


def leave_out(values: np.ndarray, groups: list[int]) -> tuple[float, dict[int, float]]:
    """The mean, and the mean without each group."""
    own = np.array(groups)
    return float(values.mean()), {g: float(values[own != g].mean()) for g in dict.fromkeys(groups)}


def test_of_a_mean_it_is_the_error_of_the_groups_means() -> None:
    values, groups = np.random.default_rng(1).random(40), [i % 8 for i in range(40)]
    mean, left_out = leave_out(values, groups)
    result = estimate_jackknife(mean, left_out, Counter(groups))
    means = values.reshape(5, 8).mean(axis=0)
    assert result.stderr == pytest.approx(means.std(ddof=1) / sqrt(8))
    assert result.n == 40 and result.low is not None and result.high is not None
    half = 2.364624 * means.std(ddof=1) / sqrt(8)  # t(0.975, 7)
    assert result.high - result.low == pytest.approx(2 * half, rel=0.1)


def test_equal_values_have_an_interval_of_some_width() -> None:
    sizes = dict.fromkeys(range(20), 40)
    base = estimate_jackknife(50.0, dict.fromkeys(sizes, 50.0), sizes, bounds=(0, 100))
    assert base.stderr == 0.0
    assert (base.low, base.high) == (pytest.approx(50 - 50 * 3.841459 / 803.841459), pytest.approx(50.239, abs=1e-3))


def test_the_standard_error_is_at_least_what_the_caller_knows() -> None:
    sizes = dict.fromkeys(range(20), 8)
    pinned = (50.0, dict.fromkeys(sizes, 50.0))
    result = estimate_jackknife(*pinned, sizes, bounds=(0, 100), least_stderr=3.0)
    assert result.stderr == 3.0 and result.low is not None and result.high is not None
    assert result.high - result.low == pytest.approx(2 * 2.093024 * 3.0, rel=0.05)  # t(0.975, 19)
    paired = compare_jackknife(pinned, pinned, sizes, [0.0] * 160, bounds=(0, 100), least_stderr=4.0).difference
    assert paired.stderr == 4.0 and paired.low is not None and paired.low < -8.0
    moved = (50.0, {group: 50.0 + group for group in sizes})
    assert estimate_jackknife(*moved, sizes, bounds=(0, 100), least_stderr=3.0) == estimate_jackknife(
        *moved, sizes, bounds=(0, 100)
    )


def test_the_least_error_of_a_length_controlled_rate_follows_the_raw_one() -> None:
    assert compute_least_stderr(0.03, [(0.5, 0.5)]) == pytest.approx(0.027)
    assert compute_least_stderr(0.03, [(0.5, 0.9)]) == pytest.approx(0.027)  # never more than the raw one
    assert compute_least_stderr(0.03, [(0.98, 0.9)]) == pytest.approx(0.027 * 0.98 * 0.02 / 0.09)
    assert compute_least_stderr(0.03, [(0.98, 0.9), (0.5, 0.5)]) == pytest.approx(0.027)  # a difference's
    assert compute_least_stderr(None, [(0.5, 0.5)]) == compute_least_stderr(0.0, [(1.0, 1.0)]) == 0.0


def test_pairs_share_the_groups_noise() -> None:
    draw = np.random.default_rng(2)
    noise, groups = draw.random(200), [assign_group(f"q{i}") for i in range(200)]
    first, second = 0.8 * noise + 0.2, 0.8 * noise + 0.1 * draw.random(200)
    systems, sizes = [leave_out(values, groups) for values in (first, second)], Counter(groups)
    paired = compare_jackknife(
        systems[0], systems[1], sizes, [float(a - b) for a, b in zip(first, second, strict=True)]
    )
    single = estimate_jackknife(*systems[0], sizes)
    assert paired.difference.value == pytest.approx(float((first - second).mean()))
    assert paired.difference.stderr is not None and single.stderr is not None
    assert paired.difference.stderr < single.stderr / 5
    assert (paired.wins, paired.losses, paired.ties) == (200, 0, 0)
    assert paired.permutation_p < 0.001 and paired.exact  # 20 groups that all moved up
    with pytest.raises(DataError, match="199 differences of 200"):
        compare_jackknife(systems[0], systems[1], sizes, [0.0] * 199)


def test_coverage_for_means() -> None:
    draw, groups, covered = np.random.default_rng(3), [i % 20 for i in range(160)], 0
    for _ in range(1000):
        result = estimate_jackknife(*leave_out((draw.random(160) < 0.8).astype(float), groups), Counter(groups))
        assert result.low is not None and result.high is not None
        covered += result.low <= 0.8 <= result.high
    assert covered > 0.93 * 1000


def test_groups_are_the_same_everywhere_and_of_like_size() -> None:
    assert [assign_group(f"q{i}") for i in range(4)] == [assign_group(f"q{i}", 20) for i in range(4)]
    sizes = Counter(assign_group(i) for i in range(805))
    assert set(sizes) == set(range(20)) and max(sizes.values()) < 65 and min(sizes.values()) > 20


def test_bad_input() -> None:
    with pytest.raises(DataError, match="two groups"):
        estimate_jackknife(0.5, {1: 0.5}, {1: 3})
    with pytest.raises(DataError, match="legal is 0 to 1"):
        estimate_jackknife(50.0, {1: 50.0, 2: 50.0}, {1: 3, 2: 3})
    with pytest.raises(DataError, match="finite"):
        estimate_jackknife(0.5, {1: float("nan"), 2: 0.5}, {1: 3, 2: 3})
