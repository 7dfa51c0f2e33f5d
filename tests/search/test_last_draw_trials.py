"""Trials with several draws of the last layer, and of chosen questions: what they ask, take, reserve and show."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archon_eval.errors import SearchError
from archon_eval.runs.eval_worker import EvalResult
from archon_eval.search.budget import BudgetLedger
from archon_eval.search.config import SearchBudget, load_settings
from archon_eval.search.journal import Journal
from archon_eval.search.requests import build_from_layers, build_request
from archon_eval.search.scheduler import TrialScheduler
from archon_eval.search.trial import TrialRequest, build_trial

GENERATOR = {"generator": ["sim/gpt-4o", "sim/claude-3.5-sonnet", "sim/qwen2-72b-instruct"]}
FUSED = build_from_layers("fused", GENERATOR, {"fuser": "sim/gpt-4o"})
RANKED = build_from_layers("ranked", GENERATOR, {"ranker": {"model": "sim/gpt-4o", "max_parse_retries": 2}})
VOTED = build_from_layers("voted", GENERATOR, {"vote": {}})
SETTINGS = load_settings({"tasks": [{"name": "a"}, {"name": "b", "weight": 3.0}], "models": ["sim/gpt-4o"]})
ASKED = {"a": dict.fromkeys("1234", 1), "b": {"5": 1, "6": 2}}
SPLITS = {task: dict.fromkeys(("trial", "dev", "test"), asked) for task, asked in ASKED.items()}
ONE_TURN = {"a": SPLITS["a"]}


def request(architecture: Any = FUSED, **more: Any) -> TrialRequest:
    wanted = build_request(SETTINGS, "k", architecture, part="dev")
    fields = {name: getattr(wanted, name) for name in ("key", "architecture", "plan", "part")}
    return TrialRequest(**{**fields, **more})


def results(**scores: dict[str, list[float]]) -> list[EvalResult]:
    return [
        EvalResult(f"k@{task}", {q: {str(n): s for n, s in enumerate(given, 1)} for q, given in by.items()}, **TOOK)
        for task, by in scores.items()
    ]


TOOK: dict[str, Any] = {"calls": 12, "reused": 12, "cost": 0.24, "tokens": 240}


def test_a_set_of_draws_is_the_mean_of_its_last_draws_and_they_show_their_variance() -> None:
    scores = {
        "a": {"1": [1, 0, 0, 0], "2": [1, 1, 1, 0], "3": [0, 0, 1, 1], "4": [1, 0, 1, 0]},
        "b": {"5": [1, 1, 1, 1], "6": [0, 1, 0, 1]},
    }
    trial = build_trial(request(epochs=2, last_draws=2), results(**scores), SETTINGS, splits=SPLITS)
    sets = [((4 / 8) + 3 * (3 / 4)) / 4, ((4 / 8) + 3 * (3 / 4)) / 4]
    assert trial.error == "" and trial.by_epoch == {1: pytest.approx(sets[0]), 2: pytest.approx(sets[1])}
    assert trial.performance == pytest.approx(sum(sets) / 2)
    # of two draws it is half the squared difference, so 1/2 where they differ
    of_a, of_b = (1 / 4 + 1 / 4 + 0 + 1 / 2) / 4, (0 + 1 / 2) / 2
    assert trial.last_draw_variance == pytest.approx((of_a + 3 * of_b) / 4)
    assert trial.calls == 48 / (6 * 4) and trial.questions == 6
    sets_alone = build_trial(request(epochs=4), results(**scores), SETTINGS, splits=SPLITS)
    assert sets_alone.last_draw_variance is None and list(sets_alone.by_epoch) == [1, 2, 3, 4]
    assert sets_alone.performance == pytest.approx(trial.performance)


def test_the_variance_is_on_the_scale_of_performance_and_needs_two_scores_of_a_set() -> None:
    grades = load_settings({"tasks": [{"name": "a", "scale": [1, 11]}], "models": ["sim/gpt-4o"]})
    scores = {"1": [1, 3, 5], "2": [6, 6, 6], "3": [11, 1, 1], "4": [1, 1, 1]}
    trial = build_trial(request(last_draws=3), results(a=scores), grades, splits=ONE_TURN)
    assert trial.last_draw_variance == pytest.approx((0.04 + 0 + 1 / 3 + 0) / 4)
    lone = build_trial(request(last_draws=3), results(a={key: [6.0] for key in "1234"}), grades, splits=ONE_TURN)
    assert lone.performance == 0.5 and lone.last_draw_variance is None


@pytest.mark.parametrize(
    ("architecture", "calls", "last", "reasks"), [(FUSED, 4, 1, 0), (RANKED, 4, 1, 2), (VOTED, 3, 3, 0)]
)
def test_the_worst_case_pays_earlier_layers_once_per_set(architecture: Any, calls: int, last: int, reasks: int) -> None:
    ledger, wanted = BudgetLedger(SearchBudget(), ONE_TURN), request(architecture, epochs=2, last_draws=5)
    assert ledger.count_answers(wanted) == 4 * 5
    worst, dollars = ledger.worst_case_cost(wanted)
    assert worst == 2 * 4 * (calls + reasks + 4 * (last + reasks))
    assert ledger.min_cost_to_start(wanted)[0] == 2 * 4 * (calls + reasks / 4 + 4 * (last + reasks / 4))
    plan = wanted.plan
    if not reasks and plan.dollars:
        assert plan.last_layer and plan.last_layer.dollars
        assert dollars == pytest.approx(8 * (plan.dollars[1] + 4 * plan.last_layer.dollars[1]))
        assert ledger.plan_per_call(wanted) == pytest.approx(dollars / worst)  # what it cost is measured against this
    once = request(architecture, epochs=2)
    assert ledger.worst_case_cost(once)[0] == 2 * 4 * (calls + reasks) and ledger.count_answers(once) == 4


def test_calls_that_evals_before_it_have_paid_for_are_neither_reserved_nor_counted_again() -> None:
    ledger, wanted = BudgetLedger(SearchBudget(), ONE_TURN), request(FUSED, epochs=2)
    shared = replace(wanted, shared_calls=3)
    assert (ledger.min_cost_to_start(wanted)[0], ledger.min_cost_to_start(shared)[0]) == (2 * 4 * 4, 2 * 4 * 1)
    assert (ledger.worst_case_cost(shared)[0], ledger.count_worst_calls(shared), ledger.count_shared(shared)) == (
        32,
        8,
        24,
    )
    several = replace(shared, last_draws=3)  # of the first of these
    assert ledger.min_cost_to_start(several)[0] == 8 + 2 * 8 and ledger.count_shared(several) == 24


def test_further_turns_share_no_earlier_layers() -> None:
    ledger, wanted = BudgetLedger(SearchBudget(), SPLITS), request(last_draws=3)
    assert ledger.worst_case_cost(wanted, ["b"])[0] == 2 * (4 + 2 * 1) + 1 * 3 * 4
    assert ledger.count_answers(wanted) == 3 * 7


def test_only_chosen_questions_are_asked_counted_and_judged_missing() -> None:
    chosen = {"a": frozenset("24"), "b": frozenset("5")}
    wanted, ledger = request(questions=chosen), BudgetLedger(SearchBudget(), SPLITS)
    assert [list(wanted.select_questions(SPLITS, task)) for task in "ab"] == [["2", "4"], ["5"]]
    assert ledger.count_answers(wanted) == 3 and ledger.worst_case_cost(wanted)[0] == 12
    trial = build_trial(wanted, results(a={"2": [1], "4": [1]}, b={"5": [1]}), SETTINGS, splits=SPLITS)
    assert (trial.error, trial.performance, trial.calls) == ("", 1.0, 48 / 3)
    short = build_trial(wanted, results(a={"2": [1]}, b={"5": [1]}), SETTINGS, splits=SPLITS)
    assert "1 of 2 questions have no score" in short.error


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"last_draws": 0}, "k/.*: last_draws must be a whole number from 1, not 0"),
        ({"epochs": 1.5}, "k/.*: epochs must be a whole number from 1, not 1.5"),
        ({"questions": {"a": frozenset("9"), "b": frozenset("5")}}, "a has no question '9' in dev"),
        ({"questions": {"a": frozenset("1")}}, "no question of b is asked"),
    ],
)
def test_requests_that_cannot_be_are_refused_before_a_job(
    more: dict[str, Any], said: str, fake_run: Any, tmp_path: Path
) -> None:
    scheduler = TrialScheduler(SETTINGS, tmp_path, Journal(tmp_path), run=fake_run, splits=SPLITS)
    with pytest.raises(SearchError, match=said):
        scheduler.start(request(**more))
    assert not fake_run.jobs and not scheduler.ledger.list_reserved()


def test_a_jobs_questions_draws_and_limits_are_the_requests(fake_run: Any, tmp_path: Path) -> None:
    limited = load_settings({"tasks": ["a"], "models": ["sim/gpt-4o"], "budget": {"calls": 100}})
    scheduler = TrialScheduler(limited, tmp_path, Journal(tmp_path), run=fake_run, splits=ONE_TURN)
    wanted = request(epochs=2, first_epoch=5, last_draws=3, questions={"a": frozenset("13")})
    [trial] = scheduler.run_all([wanted])
    [job] = fake_run.jobs
    assert (job.questions, job.epochs, job.first_epoch, job.last_draws) == (("1", "3"), 2, 5, 3)
    assert job.max_calls == 2 * 2 * (4 + 2) and scheduler.count_questions(wanted) == 2
    assert trial.error == "" and list(trial.by_epoch) == [1, 2] and trial.last_draw_variance is not None
    assert scheduler.ledger.calls == 24
