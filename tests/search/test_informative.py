"""Trials that ask only the questions which tell architectures apart, and the draws that a search chooses."""

import csv
import json
from dataclasses import replace

import pytest

from archon_eval.errors import SearchError
from archon_eval.search.config import load_settings
from archon_eval.search.informative import INFORMATIVE_AFTER, MIN_INFORMATIVE
from archon_eval.search.loop import search
from archon_eval.search.summary import write_results

TASK = {"name": "archon_eval/math", "args": {"sample": True}}
MODELS = ["sim/gpt-4o", "sim/qwen2-72b-instruct", "sim/llama-3.1-8b-instruct"]


def settings(**more):
    given = {"tasks": [TASK], "models": MODELS, "space": "small", "budget": {"trials": 16}, "finalists": 2, **more}
    return load_settings(given)


def list_asks(folder):
    lines = map(json.loads, (folder / "search.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == "ask"]


def list_trials(run):
    return [job for job in run.jobs if job.key.startswith("search/")]


@pytest.fixture
def easy_run(fake_run):
    """Of 15 dev questions the first three in every job's order are right for all, by the fake's chance of 1."""
    whole = fake_run.result

    def result(job):
        found = whole(job)
        easy = sorted(found.scores)[:4] if not job.key.startswith("rank") else []
        for question in easy:
            found.scores[question] = dict.fromkeys(found.scores[question], 1.0)
        return found

    fake_run.result = result
    return fake_run


def test_questions_that_tell_nothing_are_asked_no_more_and_finalists_are_asked_all(tmp_path, easy_run):
    found = search(settings(questions="informative"), tmp_path, easy_run)
    trials = list_trials(easy_run)
    counts = [len(job.questions) for job in trials]
    assert counts[0] == 15 and counts == sorted(counts, reverse=True) and MIN_INFORMATIVE <= counts[-1] < 15
    assert all(len(job.questions) == 15 for job in easy_run.jobs if job.key.startswith("confirm"))
    assert any("tell architectures apart no more" in note for note in found.notes)
    # a carried score stands for what was not asked: performances are of all questions
    asked = len(trials[-1].questions)
    last = found.tried[-1][1]
    right = sum(sum(scores.values()) / len(scores) for scores in last.results[0].scores.values())
    assert sum(len(part.answers) for part in last.parts) == 15
    assert last.performance == pytest.approx((right + 15 - asked) / 15)


def test_a_search_of_informative_questions_goes_on_where_it_was(tmp_path, easy_run):
    given = settings(questions="informative")
    whole = write_results(search(given, tmp_path / "a", easy_run), tmp_path / "a")
    jobs, easy_run.jobs = easy_run.jobs, []
    easy_run.stop_after = len(jobs) - 8
    with pytest.raises(KeyboardInterrupt):
        search(given, tmp_path / "b", easy_run)
    easy_run.stop_after = -1
    assert write_results(search(given, tmp_path / "b", easy_run), tmp_path / "b") == whole
    keys = {job.key: job.questions for job in jobs}
    assert {job.key: job.questions for job in easy_run.jobs} == keys


def test_all_questions_are_asked_where_nothing_else_is_said(tmp_path, easy_run):
    search(settings(), tmp_path, easy_run)
    assert {len(job.questions) for job in list_trials(easy_run)} == {15}
    with pytest.raises(SearchError, match="unknown questions 'few'"):
        settings(questions="few")


def test_what_others_have_paid_for_is_tried_too_and_is_no_trial_of_the_budget(tmp_path, fake_run):
    found = search(settings(), tmp_path, fake_run)
    asks = list_asks(tmp_path)
    free = [ask for ask in asks if ask["free"]]
    assert free and len(asks) - len(free) == 16 and len(found.tried) == len(asks)
    assert all(ask["last_draws"] == 1 for ask in free)
    write_results(found, tmp_path)
    assert len(list(csv.DictReader((tmp_path / "trials.csv").open()))) == len(asks)


def test_judges_are_not_asked_for_what_is_only_free_of_model_calls(tmp_path, fake_run):
    whole = fake_run.result
    fake_run.result = lambda job: replace(whole(job), judges=50)
    search(settings(), tmp_path, fake_run)
    assert not any(ask["free"] for ask in list_asks(tmp_path))


def test_sets_of_draws_and_draws_of_the_last_layer_are_those_that_were_asked_for(tmp_path, fake_run):
    search(settings(draws=2, last_draws=3), tmp_path / "a", fake_run)
    chosen = [ask for ask in list_asks(tmp_path / "a") if not ask["free"]]
    assert {ask["draws"] for ask in chosen} == {1, 2} and {ask["last_draws"] for ask in chosen} == {3}
    trials = {job.key.partition("@")[0]: job for job in list_trials(fake_run)}
    for number, ask in enumerate(list_asks(tmp_path / "a")):
        job = next(job for key, job in trials.items() if key.startswith(f"search/{number}/"))
        assert (job.first_epoch, job.last_draws) == (ask["draws"], ask["last_draws"])
    assert {job.first_epoch for job in fake_run.jobs if job.key.startswith("confirm")} == {3}
    fake_run.jobs = []
    search(settings(), tmp_path / "b", fake_run)
    assert {ask["last_draws"] for ask in list_asks(tmp_path / "b")[:1]} == {2}  # so that its variance is known
    assert {job.first_epoch for job in fake_run.jobs if job.key.startswith("confirm")} == {9}
    with pytest.raises(SearchError, match="last_draws=2: only algorithm smac"):
        settings(algorithm="random", last_draws=2)
    assert tuple(sorted(INFORMATIVE_AFTER)) == INFORMATIVE_AFTER
