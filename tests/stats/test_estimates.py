"""Statistics against closed forms and values computed by hand."""

import random
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_eval.errors import DataError
from archon_eval.stats.estimates import Estimate, bootstrap, estimate_mean, estimate_proportion, estimate_score


def test_mean_without_repeats_is_the_textbook_t_interval() -> None:
    result = estimate_mean([1.0, 2.0, 3.0, 4.0])
    assert result.value == 2.5
    assert result.stderr == pytest.approx(sqrt(5 / 3) / 2)
    assert result.high == pytest.approx(2.5 + 3.182446305284 * sqrt(5 / 3) / 2)  # t(0.975, 3)
    assert result.n == 4


@pytest.mark.parametrize(
    ("n", "t"),
    [
        (2, 12.7062047362),
        (3, 4.3026527297),
        (5, 2.7764451052),
        (10, 2.2621571628),
        (80, 1.9904502102),
        (3000, 1.9607553192),
    ],
)
def test_t_quantiles(n: int, t: float) -> None:
    result = estimate_mean([0.0, 1.0] + [0.5] * (n - 2))
    assert result.stderr is not None and result.high is not None
    assert (result.high - result.value) / result.stderr == pytest.approx(t, rel=1e-9)


def test_repeating_every_sample_does_not_shrink_a_clustered_error() -> None:
    scores, questions = [0.0, 1.0, 1.0, 0.0, 1.0], ["a", "b", "c", "d", "e"]
    once, often = estimate_mean(scores, questions), estimate_mean(scores * 10, questions * 10)
    assert often.stderr == pytest.approx(once.stderr)
    naive = estimate_mean(scores * 10)
    assert naive.stderr is not None and once.stderr is not None and naive.stderr < once.stderr / 2


def test_clustered_error_by_hand() -> None:
    # mean 0.5; cluster sums of residuals +1 and -1; sqrt(2/1 * 2) / 4
    assert estimate_mean([1, 1, 0, 0], ["a", "a", "b", "b"]).stderr == pytest.approx(0.5)
    assert estimate_mean([1, 0, 1, 0], ["a", "a", "b", "b"]).stderr == 0.0


@pytest.mark.parametrize(
    "result", [estimate_mean([0.7]), estimate_mean([1, 0], ["a", "a"]), bootstrap([1.0]), estimate_proportion(1, 1)]
)
def test_one_question_has_no_interval(result: Estimate) -> None:
    assert (result.stderr, result.low, result.high, result.n) == (None, None, None, 1)


def test_wilson_interval_is_widened_only_next_to_its_gaps() -> None:
    result = estimate_proportion(9, 10)
    assert result.low == pytest.approx(0.59585, abs=1e-5)  # Wilson's
    assert result.high == pytest.approx(
        1 - (1 - 0.93 ** (1 / 10)), abs=1e-4
    )  # Blaker's at 93%: p^10 = 0.93; Wilson's 0.98212
    none = estimate_proportion(0, 20)
    assert none.low == 0.0 and none.high == pytest.approx(0.16113, abs=1e-5)
    middle = estimate_proportion(100, 200)
    assert (middle.low, middle.high) == (pytest.approx(0.43136, abs=1e-5), pytest.approx(0.56864, abs=1e-5))


def test_a_mean_of_right_and_wrong_is_the_proportion_on_any_scale() -> None:
    share = estimate_proportion(7, 9)
    assert estimate_score({i: (float(i < 7), 1.0) for i in range(9)}) == share
    ten = estimate_score({i: (3.0 * (10 if i < 7 else 1), 3.0) for i in range(9)}, bounds=(1, 10))
    assert (ten.value, ten.low, ten.high) == pytest.approx((8.0, 1 + 9 * (share.low or 0), 1 + 9 * (share.high or 0)))
    assert ten.stderr == pytest.approx(9 * (share.stderr or 0))


def test_ratio_by_hand() -> None:
    # ratio 5/8; residuals 2 - 3 * 5/8 = 1/8 and 3 - 5 * 5/8 = -1/8; sqrt(2/1 * 2/64) / 8
    result = estimate_score({"a": (2.0, 3.0), "b": (3.0, 5.0)})
    assert result.value == 0.625 and result.n == 2
    assert result.stderr == pytest.approx(0.25 / 8)
    assert result.low is not None and result.high is not None and 0 <= result.low < 0.625 < result.high <= 1


def test_strata_by_hand() -> None:
    questions = {f"{name}{i}": (float(i < right), 1.0) for name, right in (("a", 8), ("b", 3)) for i in range(10)}
    strata = {question: question[0] for question in questions}
    result = estimate_score(questions, strata=strata, shares={"a": 3.0, "b": 1.0, "unused": 9.0})
    a, b = estimate_proportion(8, 10), estimate_proportion(3, 10)
    assert result.value == pytest.approx(0.75 * 0.8 + 0.25 * 0.3)
    assert result.stderr == pytest.approx(sqrt((0.75 * (a.stderr or 0)) ** 2 + (0.25 * (b.stderr or 0)) ** 2))
    assert result.low is not None and a.low is not None and b.low is not None
    assert result.low <= result.value - sqrt((0.75 * (0.8 - a.low)) ** 2 + (0.25 * (0.3 - b.low)) ** 2) + 1e-12
    with pytest.raises(DataError, match="no stratum"):
        estimate_score(questions, strata={"a0": "a"})
    with pytest.raises(DataError, match="stratum b has the share"):
        estimate_score(questions, strata=strata, shares={"a": 1.0})


def test_equal_values_on_a_scale_without_ends_have_no_interval() -> None:
    result = estimate_score(dict.fromkeys(range(5), (7.0, 1.0)), bounds=None)
    assert (result.value, result.stderr, result.low, result.high, result.n) == (7.0, 0.0, None, None, 5)
    some = estimate_score({i: (float(i), 1.0) for i in range(1, 5)}, bounds=None)
    assert some == estimate_mean([1.0, 2.0, 3.0, 4.0])


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 9)), min_size=2, max_size=40),
    st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_an_interval_has_width_and_stays_within_the_bounds(rows: list[tuple[float, float]], confidence: float) -> None:
    result = estimate_score({i: (value * w, w) for i, (value, w) in enumerate(rows)}, confidence=confidence)
    assert result.low is not None and result.high is not None
    assert -1e-9 <= result.low <= result.value <= result.high <= 1 + 1e-9
    assert result.high > result.low


@given(st.integers(2, 500), st.data())
def test_wilson_interval_stays_in_range_and_holds_the_share(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    result = estimate_proportion(successes, n)
    assert result.low is not None and result.high is not None
    assert 0 <= result.low <= result.value + 1e-12 and result.value - 1e-12 <= result.high <= 1
    assert result.high > result.low


def test_bootstrap_is_seeded_and_blind_to_row_order() -> None:
    rows = [(float(i % 3 == 0), i // 2) for i in range(60)]
    scores, questions = [s for s, _ in rows], [q for _, q in rows]
    one = bootstrap(scores, questions, seed=1)
    assert one == bootstrap(scores, questions, seed=1)
    assert one != bootstrap(scores, questions, seed=2)
    random.Random(0).shuffle(rows)
    assert bootstrap([s for s, _ in rows], [q for _, q in rows], seed=1) == one


def test_bootstrap_agrees_with_the_clustered_error() -> None:
    generator = random.Random(3)
    scores = [generator.random() for _ in range(400)]
    questions = [i // 4 for i in range(400)]
    analytic, sampled = estimate_mean(scores, questions), bootstrap(scores, questions, draws=4000)
    assert sampled.stderr == pytest.approx(analytic.stderr, rel=0.1)
    assert sampled.low == pytest.approx(analytic.low, abs=0.01)


def test_bootstrap_by_question_is_wider_than_by_row_when_games_agree() -> None:
    scores = [float(i % 2) for i in range(100) for _ in range(4)]
    questions = [i for i in range(100) for _ in range(4)]
    by_question, by_row = bootstrap(scores, questions), bootstrap(scores)
    assert by_question.stderr is not None and by_row.stderr is not None
    assert by_question.stderr == pytest.approx(2 * by_row.stderr, rel=0.15)


def test_bad_input_is_an_error() -> None:
    for call in (lambda: estimate_mean([]), lambda: bootstrap([])):
        with pytest.raises(DataError, match="no scores"):
            call()
    with pytest.raises(DataError, match="finite"):
        estimate_mean([1.0, float("nan")])
    with pytest.raises(DataError, match="2 scores but 1"):
        estimate_mean([1.0, 0.0], ["a"])
    with pytest.raises(DataError, match="5 successes of 3"):
        estimate_proportion(5, 3)
    with pytest.raises(DataError, match="legal is a number between 0 and 1"):
        estimate_mean([1.0, 0.0], confidence=95)
    with pytest.raises(DataError, match=r"question b has the value 1\.5: legal is 0 to 1"):
        estimate_score({"a": (1.0, 1.0), "b": (3.0, 2.0)})
    with pytest.raises(DataError, match="question b has the weight 0"):
        estimate_score({"a": (1.0, 1.0), "b": (0.0, 0.0)})
