"""The stages on evaluations without models: resuming, budgets, failures, refusals, what is written."""

import csv
import json
from dataclasses import replace
from errno import ENOSPC
from types import SimpleNamespace

import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.engine.plan import plan
from archon_eval.errors import SearchError
from archon_eval.search.config import TaskSpec, load_settings
from archon_eval.search.loop import search
from archon_eval.search.questions import load_questions
from archon_eval.search.summary import (
    NO_WINNER,
    format_percent,
    write_results,
)

TASK = {"name": "archon_eval/math", "args": {"sample": True}}
CONTROLS = ("report/best-of-n", "report/majority")
MODELS = ["sim/gpt-4o", "sim/qwen2-72b-instruct", "sim/llama-3.1-8b-instruct"]


def settings(**more):
    given = {"tasks": [TASK], "models": MODELS, "space": "small", "budget": {"trials": 8}, "finalists": 3}
    given |= {"acquisition": "ei", "draws": 3, **more}
    return load_settings(given)


def worst(job):
    planned = plan(load_architecture(dict(job.architecture)))
    return (planned.calls[1] + planned.reasks) * len(job.questions) * job.epochs


def test_a_whole_search(tmp_path, fake_run):
    seen = []
    found = search(settings(), tmp_path, fake_run, on_progress=seen.append)
    summary = write_results(found, tmp_path)
    stages = list(dict.fromkeys(progress.stage.split()[0] for progress in seen))
    assert stages == ["ranking", "planning", "searching", "confirming", "reporting"]
    ends = {progress.stage: (progress.done, progress.total) for progress in seen}
    assert (
        all(done == total for done, total in ends.values() if total) and sum(done > 0 for done, _ in ends.values()) == 5
    )
    assert load_architecture(tmp_path / "best.yaml").fingerprint == summary["fingerprint"]
    rows = list(csv.DictReader((tmp_path / "trials.csv").open()))
    assert len(rows) == 8 and {"performance", "surrogate", "calls_per_question", "log"} <= rows[0].keys()
    assert json.loads((tmp_path / "summary.json").read_text())["held_out"]["winner"]["questions"] == 62
    assert summary["optimism"] == pytest.approx(summary["dev"] - summary["held_out"]["winner"]["value"])
    assert summary["calls_paid"] == sum(fake_run.result(job).calls for job in fake_run.jobs)
    dev = {q for job in fake_run.jobs if not job.key.startswith("report") for q in job.questions}
    held_out = {q for job in fake_run.jobs if job.key.startswith("report") for q in job.questions}
    assert len(dev) == 15 and len(held_out) == 62 and not dev & held_out
    confirmed = [job for job in fake_run.jobs if job.key.startswith("confirm")]
    assert len(confirmed) == 4 and all((job.first_epoch, job.epochs) == (4, 2) for job in confirmed)
    assert {job.first_epoch for job in fake_run.jobs if job.key.startswith("search")} == {1, 2, 3}


def test_the_same_seed_gives_the_same_search(tmp_path, fake_run):
    first = write_results(search(settings(), tmp_path / "a", fake_run), tmp_path / "a")
    second = write_results(search(settings(), tmp_path / "b", fake_run), tmp_path / "b")
    assert first == second


@pytest.mark.parametrize("stop", [1, 5, 9, 14, 17, 19])
def test_a_search_that_is_cut_goes_on_where_it_was(tmp_path, fake_run, stop):
    whole = write_results(search(settings(), tmp_path / "a", fake_run), tmp_path / "a")
    jobs, fake_run.jobs = fake_run.jobs, []
    fake_run.stop_after = stop
    with pytest.raises(KeyboardInterrupt):
        search(settings(), tmp_path / "b", fake_run)
    fake_run.stop_after = -1
    resumed = write_results(search(settings(), tmp_path / "b", fake_run), tmp_path / "b")
    assert resumed == whole
    # what was under way when it was cut is run again, nothing else is
    assert {job.key for job in fake_run.jobs} == {job.key for job in jobs}
    searched = [job.key for job in fake_run.jobs if not job.key.startswith("confirm")]
    assert searched == [job.key for job in jobs if not job.key.startswith("confirm")]


def test_trials_under_way_when_it_was_cut_leave_smac_something_to_ask_for(tmp_path, fake_run):
    fake_run.stop_after = 7
    with pytest.raises(KeyboardInterrupt):
        search(settings(), tmp_path, fake_run, workers=3)
    fake_run.stop_after = -1
    assert len(search(settings(), tmp_path, fake_run, workers=3).tried) == 8


@pytest.mark.parametrize("stop", [2, 6, 8, 10, 12])
def test_being_killed_takes_nothing_from_the_budget(tmp_path, fake_run, stop):
    given = settings(models=MODELS[:2], space={**TINY, "critic_ranker": [True]}, budget={"calls": 1300, "trials": 2})
    whole = write_results(search(given, tmp_path / "a", fake_run), tmp_path / "a")
    assert whole["held_out"].keys() == {"winner", "candidate", "single", "best-of-n", "majority"}
    assert len(fake_run.jobs) == 13
    for _ in range(3):
        fake_run.jobs, fake_run.stop_after = [], max(0, stop - len(done(tmp_path / "b")))
        with pytest.raises(KeyboardInterrupt):
            search(given, tmp_path / "b", fake_run)
    fake_run.stop_after = -1
    assert write_results(search(given, tmp_path / "b", fake_run), tmp_path / "b") == whole


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("calls", [3000, 4000, 6000])
def test_what_is_finished_needs_no_budget(tmp_path, fake_run, calls, workers):
    given, paid = settings(budget={"calls": calls}, finalists=10), fake_run.result
    if workers > 1:  # less than the worst case, so that what the last trial could not have is free when others end
        fake_run.result = lambda job: replace(paid(job), calls=paid(job).calls // 3)
    whole = write_results(search(given, tmp_path, fake_run, workers=workers), tmp_path)
    what = ("winner", "held_out", "winner_against", "trials", "calls_paid", "notes")
    assert len(whole["finalists"]) > 1
    fake_run.jobs = []
    again = write_results(search(given, tmp_path, fake_run, workers=workers), tmp_path)
    assert not fake_run.jobs and [again[key] for key in what] == [whole[key] for key in what]


TINY = {"preset": "small", "generators": [1, 2], "samples": 1, "layers": [0, 1], "evaluations": "none"}


def done(folder):
    path = folder / "search.jsonl"
    return [line for line in path.read_text().splitlines() if '"kind": "result"' in line] if path.exists() else []


def test_a_full_disk_ends_a_search_in_words_and_the_same_command_goes_on(tmp_path, fake_run, monkeypatch):
    whole = write_results(search(settings(), tmp_path / "a", fake_run), tmp_path / "a")
    written = iter(range(20))

    def sync(descriptor):
        if next(written, None) is None:
            raise OSError(ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("archon_eval.search.journal.os.fsync", sync)
        with pytest.raises(SearchError, match=r"search.jsonl cannot be written .*No space left.*: make room"):
            search(settings(), tmp_path / "b", fake_run)
    assert write_results(search(settings(), tmp_path / "b", fake_run), tmp_path / "b") == whole


def test_time_left_goes_by_the_pace_of_this_process(tmp_path, fake_run, monkeypatch):
    """A trial takes 10 s and replayed ones none; what ends the search first counts."""
    clock = [0.0]
    for module in ("loop", "trial_loop"):
        monkeypatch.setattr(f"archon_eval.search.{module}.time", SimpleNamespace(monotonic=lambda: clock[0]))
    whole = fake_run.result

    def result(job):
        clock[0] += 10 if job.key.startswith("search") else 100
        return whole(job)

    fake_run.result = result
    search(settings(budget={"trials": 4}), tmp_path, fake_run)
    seen = []
    search(settings(budget={"trials": 8}), tmp_path, fake_run, on_progress=seen.append)
    left = {progress.done: progress.seconds_left for progress in seen if progress.trials}
    assert left == {1: None, 2: None, 3: None, 4: None, 5: 30, 6: 20, 7: 10, 8: 0}
    seen.clear()
    search(settings(budget={"trials": 30, "calls": 5000}), tmp_path / "calls", fake_run, on_progress=seen.append)
    ends = [progress for progress in seen if progress.stage == "searching"]
    assert ends[-1].done < 30 and ends[-1].seconds_left < 10 * (30 - ends[-1].done)


def test_a_torn_line_is_dropped_and_a_damaged_one_refused(tmp_path, fake_run):
    whole = write_results(search(settings(), tmp_path, fake_run), tmp_path)
    path = tmp_path / "search.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    assert write_results(search(settings(), tmp_path, fake_run), tmp_path) == whole
    path.write_bytes(lines[0] + b"{]\n" + lines[2])
    with pytest.raises(SearchError, match="line 2 is damaged"):
        search(settings(), tmp_path, fake_run)


def test_a_journal_of_another_version_is_refused(tmp_path, fake_run):
    search(settings(), tmp_path, fake_run)
    path = tmp_path / "search.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"reused"', '"saved"'), encoding="utf-8")
    with pytest.raises(SearchError, match="another version"):
        search(settings(), tmp_path, fake_run)


@pytest.mark.parametrize("calls", [1000, 1500, 4000])
def test_the_budget_holds_to_the_call(tmp_path, fake_run, calls):
    found = search(settings(budget={"calls": calls}), tmp_path, fake_run)
    assert sum(fake_run.result(job).calls for job in fake_run.jobs) == found.ledger.calls <= calls
    assert found.tried
    write_results(found, tmp_path)


def test_an_eval_that_re_asks_may_not_fit_begins_and_is_held_to_what_is_left(tmp_path, fake_run):
    found = search(settings(budget={"calls": 1500}), tmp_path, fake_run)
    spent, tight = 0, 0
    for job in fake_run.jobs:
        assert job.max_calls <= min(worst(job), 1500 - spent)
        tight += job.max_calls < worst(job)
        spent += fake_run.result(job).calls
    assert tight and spent == found.ledger.calls


def test_what_a_killed_eval_with_the_last_of_the_budget_may_have_paid_is_never_spent_again(tmp_path, fake_run):
    given, run = settings(budget={"calls": 1200}), fake_run.__call__
    search(given, tmp_path / "whole", fake_run)
    # of the controls' calls the store has a part, so that theirs may be whole with less
    alone = [(number, job) for number, job in enumerate(fake_run.jobs) if not job.key.startswith(CONTROLS)]
    tight = [number for number, job in alone if job.max_calls < worst(job)]
    for stop in tight:
        fake_run.jobs, fake_run.stop_after = [], stop
        with pytest.raises(KeyboardInterrupt):
            search(given, tmp_path / str(stop), fake_run)
        starts = [json.loads(line) for line in (tmp_path / str(stop) / "search.jsonl").read_text().splitlines()]
        dead = [line for line in starts if line["kind"] == "start"][-1]
        fake_run.stop_after = -1
        found = search(given, tmp_path / str(stop), run)
        again = [job for job in fake_run.jobs if job.key == dead["key"]]
        assert not dead["whole"] and found.ledger.calls + dead["calls"] * len(again) <= 1200
        assert found.ledger.remaining()[0] >= 0
    assert tight


def test_what_trials_leave_of_the_budget_goes_to_the_finalists(tmp_path, fake_run):
    search(settings(budget={"trials": 5, "calls": 4000}, finalists=10), tmp_path / "a", fake_run)
    confirmed = [job for job in fake_run.jobs if job.key.startswith("confirm/search")]
    assert len(confirmed) == 5 and {job.epochs for job in confirmed} == {2}
    poor = search(settings(budget={"trials": 5, "calls": 1600}, finalists=10), tmp_path / "b", fake_run)
    assert len(poor.finalists) < 6 and any("a fifth of the budget" in note for note in poor.notes)
    assert any(note.startswith("51 of 61 architectures are left out") for note in poor.notes)


def test_who_is_confirmed_stays_a_finalist_when_other_or_more_is_asked_for(tmp_path, fake_run):
    given = {"trials": 5, "calls": 7000}
    first = search(settings(budget=given, finalists=10), tmp_path, fake_run)
    fake_run.jobs = []
    for more, finalists in ((0, 9), (10, 10)):
        again = search(settings(budget={**given, "calls": 7000 + more}, finalists=finalists), tmp_path, fake_run)
        assert [key for key, *_ in again.finalists] == [key for key, *_ in first.finalists]
        assert again.notes == first.notes == () and not fake_run.jobs


def test_a_budget_too_small_says_so(tmp_path, fake_run):
    says = r"calls=20 cannot pay for ranking \(90\), one trial \(30\), .* \(45\), and the report \(331\): .* is 496"
    with pytest.raises(SearchError, match=says):
        search(settings(budget={"calls": 20}), tmp_path, fake_run)
    assert not fake_run.jobs and not (tmp_path / "search.jsonl").exists()


def test_time_that_is_over_before_the_first_trial_says_so(tmp_path, fake_run):
    with pytest.raises(SearchError, match="its seconds were over before the first"):
        search(settings(budget={"seconds": 1e-9}), tmp_path, fake_run)


def test_a_dollar_budget_holds(tmp_path, fake_run):
    found = search(settings(budget={"dollars": 20, "trials": 5}), tmp_path, fake_run)
    assert found.ledger.dollars <= 20


def test_judges_tokens_are_told_beside_the_account(tmp_path, fake_run):
    whole = fake_run.result
    fake_run.result = lambda job: replace(whole(job), judges=7)
    summary = write_results(search(settings(), tmp_path, fake_run), tmp_path)
    assert summary["judge_tokens_on_top"] == 7 * len(fake_run.jobs)


def test_a_model_that_is_left_out_is_told_at_once(tmp_path, fake_run):
    fake_run.error = lambda job: "no key" if "sim/gpt-4o" in str(job.architecture) else ""
    seen = []
    search(settings(), tmp_path, fake_run, on_progress=seen.append)
    assert "left out" in next(one for one in seen if one.stage == "searching").note


def test_a_failed_trial_is_recorded_and_not_scored(tmp_path, fake_run):
    fake_run.error = lambda job: "judge: no verdict" if job.key.startswith("search/2") else ""
    summary = write_results(search(settings(), tmp_path, fake_run), tmp_path)
    assert summary["failed_trials"] == 1 and any("no verdict" in note for note in summary["notes"])
    failed = [row for row in csv.DictReader((tmp_path / "trials.csv").open()) if row["error"]]
    assert [row["performance"] for row in failed] == [""]


def test_when_every_trial_fails_the_search_ends(tmp_path, fake_run):
    fake_run.error = lambda job: "judge: no verdict" if job.key.startswith("search") else ""
    with pytest.raises(SearchError, match="first 5 trials failed; the last: judge: no verdict"):
        search(settings(), tmp_path, fake_run)
    with pytest.raises(SearchError, match="all 2 trials failed; the last: judge: no verdict"):
        search(settings(budget={"trials": 2}), tmp_path / "few", fake_run)


def test_what_failed_altogether_is_tried_again_by_the_next_process(tmp_path, fake_run):
    fake_run.error = lambda job: "no key" if job.key.startswith("search") else ""
    with pytest.raises(SearchError, match="first 5 trials failed"):
        search(settings(budget={"calls": 20000, "trials": 8}), tmp_path, fake_run)
    spent, fake_run.error, fake_run.jobs = 20000, lambda job: "", []
    found = search(settings(budget={"calls": spent, "trials": 8}), tmp_path, fake_run)
    assert len(found.tried) == 8 and not found.notes
    # what the failed ones may have paid stays in the account
    assert found.ledger.calls > sum(fake_run.result(job).calls for job in fake_run.jobs)


def test_no_model_reachable(tmp_path, fake_run):
    fake_run.error = lambda job: "no key"
    with pytest.raises(SearchError, match=r"no model can be used as a generator.*no key"):
        search(settings(), tmp_path, fake_run)


def test_an_unreachable_model_is_left_out(tmp_path, fake_run):
    fake_run.error = lambda job: "no key" if "sim/gpt-4o" in str(job.architecture) else ""
    found = search(settings(), tmp_path, fake_run)
    assert "sim/gpt-4o" not in found.generators and "left out" in found.notes[0]


def test_one_model_only(tmp_path, fake_run):
    found = search(settings(models=MODELS[:1]), tmp_path, fake_run)
    assert found.generators == found.fusers == ("sim/gpt-4o",)


def test_the_single_model_is_no_finding_where_the_space_has_it_too(tmp_path, fake_run):
    fake_run.chance = lambda job: 0.8 if len(job.architecture["layers"]) == 1 else 0.3
    found = search(settings(budget={"trials": 40}), tmp_path, fake_run)
    assert "g1x1-f0" in [option.configuration.key for option, _ in found.tried]
    summary = write_results(found, tmp_path)
    assert summary["verdict"] == NO_WINNER and "single" not in summary["winner_against"]
    assert [job.key.split("/")[1] for job in fake_run.jobs if job.key.startswith("confirm")].count("single") == 1
    assert len({job.key for job in fake_run.jobs if job.key.startswith("confirm")}) == len(found.finalists)
    assert len({trial.architecture.fingerprint for _, trial, _ in found.finalists}) == len(found.finalists)


def test_more_budget_confirms_with_all_draws(tmp_path, fake_run):
    poor = search(settings(budget={"calls": 1300}, finalists=10), tmp_path, fake_run)
    assert {len(trial.by_epoch) for _, trial, _ in poor.finalists} == {1}
    given = {"calls": 60000, "trials": len(poor.tried)}
    rich = search(settings(budget=given, finalists=10), tmp_path, fake_run)
    assert {len(trial.by_epoch) for _, trial, _ in rich.finalists} == {2}
    assert all(trial.calls >= 1 for _, trial, _ in rich.finalists)


def test_nothing_beats_the_single_model(tmp_path, fake_run):
    fake_run.chance = lambda job: 0.9 if len(job.architecture["layers"]) == 1 else 0.3
    summary = write_results(search(settings(), tmp_path, fake_run), tmp_path)
    assert summary["verdict"] == NO_WINNER
    assert len(load_architecture(tmp_path / "best.yaml").layers) == 1


def test_two_tasks_count_by_weight(tmp_path, fake_run):
    data = tmp_path / "data.jsonl"
    rows = [{"id": n, "problem": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(30)]
    data.write_text("\n".join(map(json.dumps, rows)))
    other = {"name": "archon_eval/math", "args": {"data": str(data)}, "weight": 3, "scale": [0, 2]}
    found = search(settings(tasks=[TASK, other]), tmp_path / "out", fake_run)
    _, trial = found.tried[0]
    first, second = (part.compute() for part in trial.parts)
    assert trial.performance == pytest.approx((first + 3 * second) / 4)
    assert second <= 0.5


def test_several_tasks_fit_into_the_budget_together_or_not_at_all(tmp_path, fake_run):
    tasks = [TASK, {"name": "archon_eval/math", "args": {"sample": True, "seed": 1}}]
    found = search(settings(tasks=tasks, budget={"calls": 3000}), tmp_path, fake_run)
    assert found.ledger.calls <= 3000
    assert all(len(trial.results) == 2 for _, trial in found.tried)


def test_the_pareto_set_rises_with_cost(tmp_path, fake_run):
    summary = write_results(search(settings(pareto=True), tmp_path, fake_run), tmp_path)
    costs = [point["cost"] for point in summary["pareto"]]
    assert costs == sorted(costs)
    assert [p["performance"] for p in summary["pareto"]] == sorted(p["performance"] for p in summary["pareto"])


def test_another_winner_is_asked_for_itself(tmp_path, fake_run):
    from archon_eval.report.search_results import _find_report_logs

    fake_run.chance = lambda job: 0.9 if len(job.architecture["layers"]) == 1 else 0.3
    write_results(search(settings(), tmp_path, fake_run), tmp_path)
    fake_run.chance = lambda job: 0.9 if len(job.architecture["layers"]) > 1 else 0.3
    lines = (tmp_path / "search.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"search/' not in line and '"confirm/' not in line]
    (tmp_path / "search.jsonl").write_text("".join(kept))
    fake_run.jobs = []
    summary = write_results(search(settings(), tmp_path, fake_run), tmp_path)
    reported = [job.key.split("@")[0] for job in fake_run.jobs if job.key.startswith("report")]
    # the scores that the single model had before stay, so that the other winner is not shown better
    assert f"report/winner/{summary['held_out']['candidate']['fingerprint'][:8]}" in reported
    assert any("asked for 1 other winner before" in note for note in summary["notes"])
    controls = {"single", "best-of-n", "majority"}
    assert {log.name for log in _find_report_logs(tmp_path / "search.jsonl")} == {"candidate", *controls}
    summary["held_out"]["candidate"]["fingerprint"] = "another"
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert {log.name for log in _find_report_logs(tmp_path / "search.jsonl")} == controls


def test_a_held_out_question_without_a_score(tmp_path, fake_run):
    whole = fake_run.result

    def result(job):
        found = whole(job)
        if not job.key.startswith("report/single"):
            return found
        scores = dict(list(found.scores.items())[lost:])
        return replace(found, scores=scores, failed=dict.fromkeys(job.questions[:lost], "gone"))

    fake_run.result = result
    lost = 1
    summary = write_results(search(settings(), tmp_path / "a", fake_run), tmp_path / "a")
    assert summary["winner_against"]["single"]["questions"] == 61
    assert summary["notes"] == [
        "single, on the held-out questions: 1 question lacks an answer, which is left out: gone"
    ]
    confidences = {name: other["confidence"] for name, other in summary["winner_against"].items()}
    assert confidences == {"single": 0.95, "best-of-n": 0.975, "majority": 0.975}  # one decides; two hold together
    lost = 62
    summary = write_results(search(settings(), tmp_path / "b", fake_run), tmp_path / "b")
    assert summary["winner_against"].keys() == {"best-of-n", "majority"}
    assert any("the winner and single are not compared" in note for note in summary["notes"])
    assert format_percent(summary["held_out"]["single"]) == "failed"


def test_a_mended_model_changes_the_space(tmp_path, fake_run):
    fake_run.error = lambda job: "no key" if "sim/gpt-4o" in str(job.architecture) else ""
    search(settings(), tmp_path, fake_run)
    fake_run.error = lambda job: ""
    found = search(settings(budget={"trials": 12}), tmp_path, fake_run)
    assert "sim/gpt-4o" in found.generators and any("no longer in the space" in note for note in found.notes)


def test_what_was_begun_again_and_cut_again_stays_held(tmp_path):
    from archon_eval.search.journal import Journal
    from archon_eval.search.scheduler import TrialScheduler

    journal = Journal(tmp_path)
    for kind in ("start", "result", "start", "start"):
        start = {"key": "k", "calls": 10, "dollars": 1.0}
        journal.add(kind, start if kind == "start" else {"result": {"key": "k", "error": "no key", "calls": 4}})
    evaluations = TrialScheduler(settings(budget={"calls": 100}), tmp_path, journal, run=None, splits={})
    journal.close()
    assert evaluations.ledger.remaining()[0] == 100 - 4 - 10 and evaluations._retry_keys == {"k"}


def test_a_question_of_two_turns_may_take_twice_the_calls(tmp_path, fake_run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = """from inspect_ai import Task, task
from inspect_ai.dataset import Sample

@task
def two(): return Task(dataset=[Sample("Why?", id=str(n), metadata={"turns": ["Why?", "LAST"]}) for n in range(30)])
"""
    for last in ("And", "So"):
        (tmp_path / f"{last}.py").write_text(text.replace("LAST", last))
    answers, digest, dev, *_ = load_questions(TaskSpec("And.py@two"))
    assert set(answers.values()) == {2} and len(dev) == 6 and digest != load_questions(TaskSpec("So.py@two"))[1]
    given = {"tasks": ["And.py@two"], "budget": {"calls": 3000}}
    found = search(settings(**given), tmp_path / "out", fake_run)
    singles = [job for job in fake_run.jobs if job.key.startswith("rank/generator")]
    assert singles and all(job.max_calls == 2 * len(job.questions) == 12 for job in singles)
    assert found.ledger.turns == 2
