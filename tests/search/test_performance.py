"""The performance of a trial over one and several tasks."""

import pytest

from archon_eval.errors import SearchError
from archon_eval.runs.metrics import MEAN_GRADE, MIXEVAL_OVERALL, WIN_RATE
from archon_eval.search.config import TaskSpec
from archon_eval.search.performance import (
    TaskAnswers,
    compare_performance,
    compute_performance,
    estimate_performance,
)
from archon_eval.search.summary import format_percent
from archon_eval.stats.metrics import MeanMetric, Metric, ScoredAnswer


def make_part(task: TaskSpec, scores: dict[str, float], metric: Metric | None = None, weight: float = 1) -> TaskAnswers:
    answers = {question: (ScoredAnswer(score, weight),) for question, score in scores.items()}
    return TaskAnswers(task, metric or MeanMetric("accuracy"), answers)


def test_the_interval_of_two_tasks_is_around_the_weighted_score() -> None:
    tasks = (TaskSpec("a", weight=1), TaskSpec("b", weight=3))
    scores = ({str(n): float(n % 2) for n in range(40)}, {str(n): float(n % 4 == 0) for n in range(12)})
    parts = [make_part(task, own) for task, own in zip(tasks, scores, strict=True)]
    found = estimate_performance(parts)
    each = [estimate_performance([part]) for part in parts]
    assert found is not None and found.stderr is not None and found.low is not None and found.high is not None
    assert found.value == compute_performance(parts) == pytest.approx((0.5 + 3 * 0.25) / 4)
    errors = [one.stderr for one in each if one is not None and one.stderr is not None]
    assert found.stderr == pytest.approx(((errors[0] / 4) ** 2 + (3 * errors[1] / 4) ** 2) ** 0.5)
    assert found.low < found.value < found.high
    none_right = [make_part(tasks[0], {str(n): 0.0 for n in range(40)}), make_part(tasks[1], {"0": 0.0, "4": 0.0})]
    paired = compare_performance(parts, none_right)  # on 40 and 2 questions
    assert paired is not None and paired.difference.value == pytest.approx((0.5 + 3 * 1) / 4)
    assert paired.difference.n == 42 and paired.permutation_p < 0.05


def test_tasks_that_are_always_right_leave_doubt() -> None:
    parts = [make_part(TaskSpec(name), {str(n): 1.0 for n in range(10)}) for name in "ab"]
    one, both = estimate_performance(parts[:1]), estimate_performance(parts)
    assert one is not None and both is not None and one.low is not None and both.low is not None
    assert both.high == 1.0 and one.low < both.low < 0.9  # half of one task's distance, twice, in squares
    assert format_percent({"value": 0.5, "low": 0.5, "high": 0.5}) == "50.0%"


def test_the_metric_of_the_benchmark_is_the_performance() -> None:
    answers = {"q": (ScoredAnswer(1.0, 6),), "r": (ScoredAnswer(0.0, 2),)}
    part = TaskAnswers(TaskSpec("arena"), WIN_RATE, answers)
    assert compute_performance([part]) == 0.75
    found = estimate_performance([part, make_part(TaskSpec("b"), {"q": 1.0, "r": 0.0})])
    assert found is not None and found.value == pytest.approx((0.75 + 0.5) / 2)


def test_grades_are_brought_to_0_to_1_by_their_own_scale() -> None:
    grades = make_part(TaskSpec("mt"), {"q": 10.0, "r": 5.5}, MEAN_GRADE)
    assert compute_performance([grades]) == 0.75
    found = estimate_performance([grades])
    assert found is not None and found.low is not None and found.value == 0.75 and 0 <= found.low < 0.75
    paired = compare_performance([grades], [make_part(TaskSpec("mt"), {"q": 1.0, "r": 1.0}, MEAN_GRADE)])
    assert paired is not None and paired.difference.value == 0.75
    lower_is_better = make_part(TaskSpec("loss", scale=(2, 0)), {"q": 0.5, "r": 1.5}, MeanMetric("loss", None))
    assert compute_performance([lower_is_better]) == 0.5
    with pytest.raises(SearchError, match="outside its scale"):
        compute_performance([make_part(TaskSpec("t"), {"q": 7.0}, MeanMetric("x", None))])


def test_parts_of_a_benchmark_are_strata_beside_other_tasks() -> None:
    answers = {
        f"{part}{n}": (ScoredAnswer(float(n < right), facts={"part": part}),)
        for part, right, many in (("free-form", 3, 4), ("multiple-choice", 1, 10))
        for n in range(many)
    }
    mixeval = TaskAnswers(TaskSpec("mixeval"), MIXEVAL_OVERALL, answers)
    assert compute_performance([mixeval]) == pytest.approx((0.75 + 0.1) / 2)
    both = [mixeval, make_part(TaskSpec("b"), {"q": 1.0, "r": 1.0})]
    found = estimate_performance(both)
    assert found is not None and found.value == pytest.approx((0.425 + 1) / 2)
    assert compare_performance([mixeval], [make_part(TaskSpec("mixeval"), {"other": 1.0})]) is None
