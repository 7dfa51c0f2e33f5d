"""Judges' calls in a search: estimated, reserved, kept for the end, refused when too few, told, and never overspent."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archon_eval.cli import main
from archon_eval.cli.search_output import describe_judging
from archon_eval.errors import BudgetSpentError, SearchError
from archon_eval.runs.eval_worker import EvalResult
from archon_eval.search.budget import BudgetLedger, Reservation
from archon_eval.search.config import SearchSettings, TaskSpec, load_settings
from archon_eval.search.forecast import forecast
from archon_eval.search.journal import Journal
from archon_eval.search.judging import JudgeCosts, find_declared_calls
from archon_eval.search.loop import search
from archon_eval.search.requests import build_request, build_single_model
from archon_eval.search.scheduler import TrialScheduler
from archon_eval.search.summary import write_results
from archon_eval.search.task_facts import TaskFacts
from archon_eval.search.trial import TrialRequest

JUDGED = {"name": "archon_eval/arena_hard", "args": {"sample": True}}
MODELS = ["sim/gpt-4o", "sim/qwen2-72b-instruct", "sim/llama-3.1-8b-instruct"]
SPLITS = {
    "archon_eval/arena_hard,sample=True": {
        "trial": dict.fromkeys("12", 1),
        "dev": dict.fromkeys("12345", 1),
        "test": dict.fromkeys("6789abcdef", 1),
    }
}
[TASK] = SPLITS
FACTS = {TASK: TaskFacts("a judge reads them")}
ONE_LAST_DRAW = {"acquisition": "ei", "draws": 3}
"""Trials and finalists whose last layer is drawn once."""


def settings(**more: Any) -> SearchSettings:
    given = {"tasks": [JUDGED], "models": MODELS, "space": "small", "finalists": 3, "dev_share": 0.4}
    return load_settings({**given, "model_roles": {"judge": "sim/gpt-4-turbo"}, **more})


def request(given: SearchSettings, part: str, **more: Any) -> TrialRequest:
    return replace(build_request(given, "k", build_single_model("sim/gpt-4o"), part=part), **more)


def test_what_an_answer_takes_is_declared_then_measured() -> None:
    given = settings(budget={"judge_calls": 1000, "judge_dollars": 100})
    judging = JudgeCosts(given, SPLITS)
    assert judging.declared == {TASK: 2} and judging.count_per_answer(TASK) == 2
    calls, dollars = judging.estimate_cost(request(given, "dev", epochs=2, last_draws=3))
    assert calls == 5 * 6 * 2 and 0 < dollars < 5
    assert judging.estimate_cost(request(given, "dev", questions={TASK: frozenset("12")}))[0] == 4
    scores = {question: {"1": 1.0} for question in "12345"}
    judging.record(EvalResult(f"k@{TASK}", scores, judge_calls=8, judge_dollars=4.0, judge_reused=4))
    assert judging.count_per_answer(TASK) == pytest.approx(2.4)
    assert judging.estimate_cost(request(given, "dev")) == (12, pytest.approx(12 * 0.5))
    judging.record(EvalResult(f"k@{TASK}", scores, judge_calls=1, judge_dollars=0.01))  # never less than declared
    judging.record(EvalResult(f"k@{TASK}", scores))  # says nothing
    assert judging.count_per_answer(TASK) == pytest.approx(2.4)


def test_scorers_that_do_not_say_count_once_until_an_eval_shows_it() -> None:
    judging = JudgeCosts(settings(), SPLITS, {TASK: None})
    assert judging.count_per_answer(TASK) == 1
    judging.record(EvalResult(f"k@{TASK}", {"1": {"1": 1.0}}, judge_calls=0, judge_dollars=0.0))
    assert judging.count_per_answer(TASK) == 0
    assert find_declared_calls(TaskSpec("archon_eval/math", (("sample", True),))) == 0
    assert find_declared_calls(TaskSpec("sums", harness="lm-eval")) == 0


def test_a_request_begins_only_when_judging_it_fits_and_is_reserved(fake_run: Any, tmp_path: Path) -> None:
    given, fake_run.judged = settings(budget={"judge_calls": 200}, **ONE_LAST_DRAW), 2
    scheduler = TrialScheduler(given, tmp_path, Journal(tmp_path), run=fake_run, splits=SPLITS, facts=FACTS)
    scheduler.start(request(given, "dev"))
    assert scheduler.ledger.remaining_judging()[0] == 190
    scheduler.wait_for_finished()
    assert scheduler.ledger.remaining_judging()[0] == 190 and scheduler.ledger.judge_calls == 10
    # of 200 the report keeps the 60 that it takes, and confirming half of what that leaves (it takes 80)
    assert scheduler.judging.compute_report_reserve()[0] == 60 and scheduler.judging.compute_end_reserve()[0] == 130
    trial = request(given, "trial", key="search/0/x")
    scheduler.start(replace(trial, epochs=15))  # all of the 60 that are free
    with pytest.raises(BudgetSpentError, match="search/1/x may take 4 judge calls, and 0 judge calls are left besides"):
        scheduler.start(replace(trial, key="search/1/x"))
    scheduler.start(replace(trial, key="search/1/x"), keep_judging=(0, 0))
    with pytest.raises(BudgetSpentError, match=r"may take 130 judge calls, and 126 judge calls are left$"):
        scheduler.start(request(given, "dev", key="big", epochs=13))
    assert len(fake_run.jobs) == 3


def test_the_report_keeps_judging_of_a_majority_free_where_there_is_one() -> None:
    given = settings(budget={"judge_calls": 1000})
    kept = [
        JudgeCosts(given, SPLITS, facts=facts).compute_report_reserve()[0] for facts in (FACTS, {TASK: TaskFacts()})
    ]
    assert kept == [3 * 10 * 2, 4 * 10 * 2]


def test_reservations_outlive_the_process_and_unknown_judging_counts_as_reserved(fake_run: Any, tmp_path: Path) -> None:
    given, journal = settings(budget={"judge_calls": 200}, **ONE_LAST_DRAW), Journal(tmp_path)
    scheduler = TrialScheduler(given, tmp_path, journal, run=fake_run, splits=SPLITS, facts=FACTS)
    scheduler.start(request(given, "dev"))  # killed before it ends
    journal.close()
    again = TrialScheduler(given, tmp_path, journal := Journal(tmp_path), run=fake_run, splits=SPLITS, facts=FACTS)
    assert again.ledger.remaining_judging()[0] == 190
    fake_run.error = lambda job: "no key"
    again.run_all([request(given, "dev")])
    assert again.ledger.judge_calls == 20 and again.ledger.remaining_judging()[0] == 180
    journal.close()
    assert Reservation.from_line({"calls": 3, "dollars": 1}) == Reservation(3, 1.0, whole=True)


def test_results_that_do_not_say_are_estimated_in_calls_and_refused_in_dollars() -> None:
    given = settings(budget={"judge_calls": 100, "judge_dollars": 5})
    ledger = BudgetLedger(given.budget, SPLITS, judging=JudgeCosts(given, SPLITS))
    ledger.record(EvalResult(f"k@{TASK}", {"1": {"1": 1.0}, "2": {"1": 0.0}}))
    assert (ledger.judge_calls, ledger.judge_dollars) == (None, None)
    assert ledger.judge_unknown == "an earlier version did not count it (in 1 of 1 evals)"
    with pytest.raises(SearchError, match=r"judge_dollars cannot be held: k@.*: an earlier version did not count it"):
        ledger.remaining_judging()
    in_calls = settings(budget={"judge_calls": 100})
    ledger = BudgetLedger(in_calls.budget, SPLITS, judging=JudgeCosts(in_calls, SPLITS))
    ledger.record(EvalResult(f"k@{TASK}", {"1": {"1": 1.0}, "2": {"1": 0.0}}))
    assert ledger.remaining_judging()[0] == 96


@pytest.mark.parametrize(("budget", "spent"), [({"judge_calls": 2000}, 2000), ({"judge_dollars": 20}, 2000)])
def test_a_search_holds_the_budget_of_its_judges_and_keeps_the_end_free(
    budget: dict[str, float], spent: int, fake_run: Any, tmp_path: Path
) -> None:
    fake_run.judged = 2
    found = search(settings(budget=budget), tmp_path, fake_run)
    summary = write_results(found, tmp_path)
    assert summary["judge_calls"] == sum(fake_run.result(job).judge_calls for job in fake_run.jobs) <= spent
    assert summary["judge_dollars"] == pytest.approx(summary["judge_calls"] / 100)
    assert summary["judge_unknown"] is None and json.loads((tmp_path / "summary.json").read_text())["judge_calls"]
    assert summary["trials"] > 3 and {"winner", "single"} <= summary["held_out"].keys()
    text = describe_judging(summary)
    assert text.startswith(f"Judges, on top of these: {summary['judge_calls']:,} calls paid ($")
    assert "judge=sim/gpt-4-turbo" in text and "Not known" not in text
    unknown = describe_judging({**summary, "judge_dollars": None, "judge_unknown": "no price of a/b (in 1 of 9 evals)"})
    assert "calls paid (unknown)" in unknown and unknown.endswith("Not known: no price of a/b (in 1 of 9 evals).")


@pytest.mark.parametrize("judge_calls", [1600, 2500])
def test_further_held_out_draws_are_paid_for_by_what_is_left_for_judges(
    judge_calls: int, fake_run: Any, tmp_path: Path
) -> None:
    fake_run.judged = 2
    found = search(settings(budget={"calls": 30_000, "judge_calls": judge_calls}), tmp_path, fake_run)
    judged = sum(fake_run.result(job).judge_calls for job in fake_run.jobs)
    assert judged <= judge_calls and {"winner", "single", "best-of-n"} <= found.report.keys()
    assert not any("did not allow" in note for note in found.notes)


@pytest.mark.parametrize("more", [{}, {"confirm_epochs": 1}, {"finalists": 1}, {"skip_ranking": True}])
def test_the_smallest_budget_of_judges_is_enough(more: dict[str, Any], fake_run: Any, tmp_path: Path) -> None:
    fake_run.judged = 2
    with pytest.raises(SearchError) as refused:
        search(settings(budget={"judge_calls": 1}, **more), tmp_path / "a", fake_run)
    least = int(str(refused.value).rpartition(" takes ")[2].partition(" ")[0])
    found = search(settings(budget={"judge_calls": least}, **more), tmp_path / "b", fake_run)
    assert sum(fake_run.result(job).judge_calls for job in fake_run.jobs) <= least
    assert "single" in found.report and ("candidate" in found.report or found.winner != "single")
    with pytest.raises(SearchError, match=f"takes {least} by estimate"):
        search(settings(budget={"judge_calls": least - 1}, **more), tmp_path / "c", fake_run)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"budget": {"judge_calls": 50}}, r"budget judge_calls=50: .* takes \d+ by estimate: raise it"),
        ({"budget": {"judge_dollars": 0.01}}, r"budget judge_dollars=0.01: .* takes [\d.]+ by estimate"),
        (
            {"budget": {"judge_dollars": 10}, "model_roles": {"judge": {"model": "mystery/x"}}},
            "judge_dollars needs a price of mystery/x",
        ),
    ],
)
def test_budgets_that_cannot_be_held_are_refused_before_anything_is_paid(
    more: dict[str, Any], said: str, fake_run: Any, tmp_path: Path
) -> None:
    with pytest.raises(SearchError, match=said):
        search(settings(**more), tmp_path, fake_run)
    assert not fake_run.jobs
    with pytest.raises(SearchError, match=said):
        forecast(settings(**more))


def test_limits_of_judges_are_read_and_change_no_search() -> None:
    limited = settings(budget={"trials": 3, "judge_calls": 9, "judge_dollars": 1.5})
    assert (limited.budget.judge_calls, limited.budget.judge_dollars) == (9, 1.5)
    assert limited.identity == settings(budget={"trials": 3}).identity
    with pytest.raises(SearchError, match="unknown key 'judge_call'; did you mean 'judge_calls'"):
        settings(budget={"judge_call": 9})
    with pytest.raises(SearchError, match="a limit must be above 0"):
        settings(budget={"judge_calls": 0})


def test_the_forecast_says_what_the_stages_then_take(fake_run: Any, tmp_path: Path) -> None:
    fake_run.judged = 2
    given = settings(budget={"trials": 2, "judge_calls": 5000}, finalists=10, confirm_epochs=1)
    found = forecast(given)["judge_calls"]
    result = search(given, tmp_path, fake_run)
    assert found["per_answer"] == f"{TASK} 2" and found["budget"] == 5000
    ranked = sum(job.key.startswith("rank/") for job in fake_run.jobs)
    assert found["expected"] == sum(found[stage] for stage in ("ranking", "trials", "confirming", "report"))
    assert found["ranking"] == ranked * len(fake_run.jobs[0].questions) * 2
    assert found["expected"] >= (result.ledger.judge_calls or 0) > 0


def test_the_dry_run_shows_judges_calls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["search", "--task", "archon_eval/alpaca_eval", "-T", "sample=true", "--models", ",".join(MODELS)]
    words += ["--model-role", "judge=sim/gpt-4-turbo", "--dev-share", "0.4", "--space", "small", "--trials", "2"]
    words += ["--budget", "judge_calls=9000", "--dry-run", "-o", str(tmp_path)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "judge calls, per answer: archon_eval/alpaca_eval,sample=True 1" in shown
    assert "judge calls, budget: 9,000" in shown and "judge calls, expected: " in shown
