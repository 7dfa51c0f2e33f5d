"""The performance of a trial over one and several tasks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archon_eval.errors import SearchError
from archon_eval.runs.eval_worker import EvalJob, EvalResult
from archon_eval.runs.metrics import MEAN_GRADE, MIXEVAL_OVERALL, WIN_RATE
from archon_eval.runs.performance import (
    TaskAnswers,
    compare_performance,
    compute_performance,
    estimate_performance,
)
from archon_eval.search import search, write_results
from archon_eval.search.config import TaskSpec, load_settings
from archon_eval.search.summary import format_percent
from archon_eval.search.trial import Trial
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


def weigh_rows(fake_run: Any) -> Any:
    """Scores as Arena-Hard's scorer leaves them: questions of six rows are won, those of two are not."""
    score = fake_run.result

    def result(job: EvalJob) -> EvalResult:
        found = score(job)
        details = {
            question: {epoch: {"weight": 6.0 if value else 2.0, "facts": {}} for epoch, value in by_epoch.items()}
            for question, by_epoch in found.scores.items()
        }
        return replace(found, scorer="arena_hard", declared_by="arena_hard", metric="win rate", details=details)

    fake_run.result = result
    return fake_run


def test_a_search_chooses_confirms_and_reports_by_the_benchmarks_own_figure(tmp_path: Path, fake_run: Any) -> None:
    task = {"name": "archon_eval/math", "args": {"sample": True}}
    asked = {"tasks": [task], "models": ["sim/gpt-4o", "sim/qwen2-72b-instruct"], "space": "small"}
    settings = load_settings({**asked, "budget": {"trials": 4}, "finalists": 2})
    found = search(settings, tmp_path, weigh_rows(fake_run))
    trials = [trial for _, trial in found.tried] + [finalist.trial for finalist in found.finalists]
    for trial in [*trials, *found.report.values()]:
        [part] = trial.parts
        won = sum(answer.value * answer.weight for epochs in part.answers.values() for answer in epochs)
        rows = sum(answer.weight for epochs in part.answers.values() for answer in epochs)
        assert trial.performance == pytest.approx(won / rows)
        for epoch, performance in trial.by_epoch.items():
            assert performance >= sum(by[epoch].value for by in trial.results[0].answers.values()) / part_size(trial)
    summary = write_results(found, tmp_path)
    winner = summary["held_out"]["winner"]
    assert summary["metric"] == "win rate" and winner["value"] == found.report["winner"].performance
    assert winner["low"] < winner["value"] < winner["high"]
    single, first = found.report["single"].performance, found.report["winner"].performance
    if "single" in summary["winner_against"]:
        assert summary["winner_against"]["single"]["value"] == pytest.approx(first - single)


def part_size(trial: Trial) -> int:
    return len(trial.parts[0].answers)


def test_figures_of_two_kinds_in_one_search_are_refused(tmp_path: Path, fake_run: Any) -> None:
    weighted = weigh_rows(fake_run).result
    fake_run.result = lambda job: (
        weighted(job) if len(fake_run.jobs) < 4 else replace(weighted(job), declared_by="", metric="")
    )
    task = {"name": "archon_eval/math", "args": {"sample": True}}
    asked = {"tasks": [task], "models": ["sim/gpt-4o", "sim/qwen2-72b-instruct"], "space": "small"}
    settings = load_settings({**asked, "budget": {"trials": 3}})
    with pytest.raises(SearchError, match="is scored by mean of values, and in the trials before it by win rate"):
        search(settings, tmp_path, fake_run)
