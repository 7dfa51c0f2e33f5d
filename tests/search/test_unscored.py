"""Answers without a score: an error of a call is tolerated and told, a score that is no number fails its trial."""

import csv
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from archon_eval.errors import SearchError
from archon_eval.search.config import load_settings
from archon_eval.search.loop import search
from archon_eval.search.summary import write_results

TASK = {"name": "archon_eval/math", "args": {"sample": True}}
MODELS = ["sim/gpt-4o", "sim/qwen2-72b-instruct", "sim/llama-3.1-8b-instruct"]
WHY = "scorer words: 'N/A' is no number"


def settings(**more):
    given = {"tasks": [TASK], "models": MODELS, "space": "small", "budget": {"trials": 8}, "finalists": 3}
    return load_settings({**given, "acquisition": "ei", "draws": 3, **more})


def lose(fake_run, kind, many, *, part="", why=WHY):
    """From now on the first `many` questions of each eval of a stage have no score."""
    whole = type(fake_run).result

    def result(job):
        found = whole(fake_run, job)
        if not job.key.startswith(part):
            return found
        count = many(job) if callable(many) else many
        lost = dict.fromkeys(map(str, job.questions[:count]), why)
        return replace(found, **{kind: lost, "scores": {q: s for q, s in found.scores.items() if q not in lost}})

    fake_run.result = result


def test_one_failed_answer_of_fifteen_is_left_out_and_told_everywhere(tmp_path, fake_run):
    lose(fake_run, "failed", 1, why="gone")
    found = search(settings(), tmp_path, fake_run)
    for _, trial in found.tried:
        scores = [answer.value for epochs in trial.parts[0].answers.values() for answer in epochs]
        assert trial.questions == len(scores) == 14
        assert trial.performance == pytest.approx(sum(scores) / 14)
    notes = write_results(found, tmp_path)["notes"]
    told = [note.removesuffix("1 question lacks an answer, which is left out: gone") for note in notes]
    assert "sim/gpt-4o as a generator: " in told and "sim/gpt-4o as a fuser: " in told
    assert sum(text.startswith("search/") and text.endswith("): ") for text in told) == 8
    assert sum(text.endswith(", when confirmed: ") for text in told) == len(found.finalists)
    assert sum(text.endswith(", on the held-out questions: ") for text in told) == len(found.report)
    assert len(told) == 6 + 8 + len(found.finalists) + len(found.report)


def test_two_failed_answers_of_fifteen_fail_a_trial(tmp_path, fake_run):
    lose(fake_run, "failed", 2, part="search", why="gone")
    with pytest.raises(SearchError, match="first 5 trials failed; the last: 2 of 15 questions have no score: gone"):
        search(settings(), tmp_path, fake_run)


def test_one_score_that_is_no_number_fails_its_trial_and_names_everything(tmp_path, fake_run):
    lose(fake_run, "unscored", lambda job: job.key.startswith("search/1/"))
    found = search(settings(), tmp_path, fake_run)
    summary = write_results(found, tmp_path)
    [trial] = [trial for _, trial in found.tried if trial.performance is None]
    [question] = trial.results[0].unscored
    assert trial.error == (
        f"archon_eval/math,sample=True: no number as the score of 1 of 15 questions; question {question}: {WHY}"
    )
    assert summary["failed_trials"] == 1 and any(trial.error in note for note in summary["notes"])
    rows = list(csv.DictReader((tmp_path / "trials.csv").open()))
    assert [row["error"] for row in rows if row["error"]] == [trial.error] and len(rows) == 8
    assert found.ledger.failed == 1


@pytest.mark.parametrize("skip", [True, False])
def test_a_scorer_that_gives_only_words_ends_the_search_at_once(tmp_path, fake_run, skip):
    lose(fake_run, "unscored", 15)
    says = "no number as the score of 15 of 15 questions.*" + WHY
    with pytest.raises(SearchError, match=says):
        search(settings(skip_ranking=skip), tmp_path, fake_run, workers=2)
    lines = (tmp_path / "search.jsonl").read_text()
    # everything that was begun, and nothing else, is finished and in the journal
    assert lines.count('"kind": "result"') == lines.count('"kind": "start"') == (2 if skip else 3)


def test_what_is_under_way_when_a_search_ends_is_finished_first(tmp_path, fake_run):
    lose(fake_run, "unscored", 15)

    def run(job):
        time.sleep(0.5 * job.key.startswith("search/1/"))
        return fake_run.result(job)

    with ThreadPoolExecutor(2) as pool, pytest.raises(SearchError, match="a scorer gives no numbers"):
        search(settings(skip_ranking=True), tmp_path, lambda job: pool.submit(run, job), workers=2)
    assert (tmp_path / "search.jsonl").read_text().count('"kind": "result"') == 2


def test_a_mended_scorer_is_asked_again_by_the_next_process(tmp_path, fake_run):
    whole = write_results(search(settings(), tmp_path / "a", fake_run), tmp_path / "a")
    lose(fake_run, "unscored", 1, part="search")
    with pytest.raises(SearchError, match="first 5 trials failed"):
        search(settings(), tmp_path / "b", fake_run)
    lose(fake_run, "unscored", 0)
    mended = write_results(search(settings(), tmp_path / "b", fake_run), tmp_path / "b")
    assert mended["held_out"] == whole["held_out"] and mended["trials"] == 8 and not mended["failed_trials"]


def test_a_finalist_with_a_score_that_is_no_number_is_told_and_left_out(tmp_path, fake_run):
    lose(fake_run, "unscored", lambda job: "/single" in job.key, part="confirm")
    found = search(settings(), tmp_path / "a", fake_run)
    assert any(note.startswith("single failed when confirmed: ") and WHY in note for note in found.notes)
    assert "single" not in [finalist.key for finalist in found.finalists]
    lose(fake_run, "unscored", 1, part="confirm")
    with pytest.raises(SearchError, match=f"no finalist could be confirmed: .*{WHY}"):
        search(settings(), tmp_path / "b", fake_run)


@pytest.mark.parametrize("name", ["winner", "single", "best-of-n", "majority", ""])
def test_a_held_out_eval_with_a_score_that_is_no_number_has_failed_and_says_why(tmp_path, fake_run, name):
    lose(fake_run, "unscored", 1, part=f"report/{name}")
    found = search(settings(), tmp_path, fake_run)
    summary = write_results(found, tmp_path)
    # a candidate that has no score is not handed over; where the single model has none, there is nothing against it
    single_wins = name in ("winner", "")
    systems = {"single", "best-of-n", "majority", "winner", *(["candidate"] if single_wins else [])}
    assert found.report.keys() == summary["held_out"].keys() == systems
    lost = {"winner": {"candidate"}, "": systems}.get(name, {name})
    for system, shown in summary["held_out"].items():
        assert (shown["value"] is None) == (shown["low"] is None) == (WHY in shown["error"]) == (system in lost)
        told = [note for note in summary["notes"] if note.startswith(f"{system} failed on the held-out questions: ")]
        assert len(told) == (system in lost)
    others = systems - {"winner"} - ({"single"} if single_wins else set())
    assert summary["winner_against"].keys() == (others - lost if name else set())
    assert sum("not compared" in note for note in summary["notes"]) == len(others & lost)
    assert summary["recommendation"]["use"] == ("single model" if single_wins else "architecture")


@pytest.mark.parametrize("part", ["search/1/", "confirm/single", "report/single"])
def test_a_failed_eval_stays_told_when_nothing_is_left_for_another_attempt(tmp_path, fake_run, part):
    lose(fake_run, "unscored", 1, part=part)
    given = settings(budget={"calls": 3000}, finalists=10)
    first = write_results(search(given, tmp_path, fake_run), tmp_path)
    assert any(WHY in note for note in first["notes"])
    fake_run.jobs = []
    spent = settings(budget={"calls": first["calls_paid"]}, finalists=10)
    again = write_results(search(spent, tmp_path, fake_run), tmp_path)
    assert not fake_run.jobs and [note for note in again["notes"] if WHY in note] == [
        note for note in first["notes"] if WHY in note
    ]
    what = ("winner", "held_out", "winner_against", "trials", "failed_trials", "calls_paid")
    assert [again[key] for key in what] == [first[key] for key in what]
