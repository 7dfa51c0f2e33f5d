"""Thresholds and rows are chosen off-line from what stages did: the best within the limit, the cheapest of equals."""

from math import inf, nan

import numpy as np
import pytest

from archon_eval.architecture.routing import extract_features
from archon_eval.errors import SearchError
from archon_eval.search.cascade_fit import StageRecord, Start, fit_cascade, simulate


def record(
    name: str, scores: list[float], cost: float, measured: list[float] | None = None, **more: object
) -> StageRecord:
    n = len(scores)
    return StageRecord(
        name,
        np.array(scores, dtype=float),
        np.full((n, 1), cost),
        np.zeros((n, 1)),
        np.array(measured if measured else [nan] * n),
        has_rule=measured is not None,
        **more,  # type: ignore[arg-type]
    )


CHEAP = record("cheap", [1, 1, 0, 0], 1.0, [1.0, 0.8, 0.6, nan])
STRONG = record("strong", [1, 1, 1, 0], 10.0)


def test_the_best_within_the_limit_is_the_cheapest_of_equals() -> None:
    fitted = fit_cascade([CHEAP, STRONG], [11.0])
    assert fitted.thresholds["cheap"] == 0.8 and fitted.score == 0.75 and fitted.costs == (6.0,)
    assert fitted.shares == {"cheap": 0.5, "strong": 0.5}
    tight = fit_cascade([CHEAP, STRONG], [4.0])  # the unmeasured one goes on whatever the threshold is
    assert tight.thresholds["cheap"] == 0.6 and tight.score == 0.5 and tight.costs == (3.5,)


def test_a_stage_that_brings_nothing_is_left_out() -> None:
    useless = record("useless", [0, 0, 0, 0], 1.0, [1.0, 1.0, 0.0, 0.0])
    fitted = fit_cascade([useless, STRONG], [20.0])
    assert fitted.thresholds["useless"] == inf and fitted.costs == (10.0,)
    kept = fit_cascade([record("useless", [0, 0, 0, 0], 1.0, [1.0, 1.0, 0.0, 0.0], droppable=False), STRONG], [20.0])
    assert kept.thresholds["useless"] == 1.0 and kept.costs[0] < 10


def test_a_limit_that_nothing_keeps_says_what_the_cheapest_takes() -> None:
    with pytest.raises(SearchError, match=r"within 0.5 per question: on the dev questions the cheapest takes 3.5"):
        fit_cascade([CHEAP, STRONG], [0.5])


def test_simulated_answers_are_those_of_the_cascade() -> None:
    scores, costs, places = simulate([CHEAP, STRONG], [0.8, 0.0], Start(np.zeros(4, dtype=int)))
    assert (
        scores.tolist() == [1, 1, 1, 0] and costs[:, 0].tolist() == [1, 1, 11, 11] and places.tolist() == [0, 0, 1, 1]
    )
    _, costs, places = simulate([CHEAP, STRONG], [0.8, 0.0], Start(np.array([1, 0, 1, 0]), costs=np.full((4, 1), 0.5)))
    assert places.tolist() == [1, 0, 1, 1] and costs[:, 0].tolist() == [10.5, 1.5, 10.5, 11.5]
    _, costs, places = simulate([CHEAP, STRONG], [0.0, 0.0], Start(np.array([1, 0, 1, 0]), only=True))
    assert places.tolist() == [1, 0, 1, 0] and costs.sum() == 22


def test_rows_are_learnt_where_a_feature_tells_the_stages_apart() -> None:
    texts = [
        "short one",
        "short two",
        "a very long question with many words in it",
        "another long question of many words",
    ]
    cheap = record("cheap", [1, 1, 0, 0], 1.0)
    strong = record("strong", [1, 1, 1, 1], 10.0)
    fitted = fit_cascade(
        [cheap, strong],
        [6.0],
        start=Start(np.zeros(4, dtype=int), only=True),
        features=[extract_features(text) for text in texts],
        targets=["cheap", "strong"],
    )
    assert fitted.score == 1.0 and fitted.costs == (5.5,) and len(fitted.rows) == 1


def test_rows_that_bring_nothing_are_not_learnt() -> None:
    fitted = fit_cascade([CHEAP, STRONG], [20.0], features=[extract_features("same")] * 4, targets=["cheap", "strong"])
    assert fitted.rows == () and fitted.default == "cheap"
