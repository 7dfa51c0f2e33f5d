"""Jobs of evals: what is read from their logs, and a score without a number, which fails its question everywhere."""

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from fakes.logs import write_log
from inspect_ai.log import EvalLog, read_eval_log

from archon_eval.cli.demo import read_result as read_demo_result
from archon_eval.errors import DataError
from archon_eval.runs.eval_worker import EvalJob, EvalResult, EvalTask, parse_job, read_result, run_job
from archon_eval.runs.metrics import rebuild_metric
from archon_eval.runs.read_log import read_run
from archon_eval.runs.worker_process import WorkerProcess
from archon_eval.search.config import TaskSpec
from archon_eval.tasks.arena_hard import arena_hard

JOB = EvalJob("k", None, TaskSpec("t"))
WORDS = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, scorer

@scorer(metrics=[])
def verdict():
    async def score(state, target):
        return Score(value=target.text)
    return score

@task
def words():
    return Task(dataset=[Sample(input="1+1", target=word, id=word[0]) for word in ("C", "N/A")], scorer=verdict())
"""


def logged(tmp_path: Path, scores: dict[str, list[Any]], **more: Any) -> EvalLog:
    return read_eval_log(str(write_log(tmp_path / "a.eval", scores, **more)))


def test_calls_of_answers_that_broke_off_are_not_trusted_to_be_all(tmp_path: Path) -> None:
    log = logged(
        tmp_path, {"1": [1.0], "2": [float("nan")], "3": [None], "4": ["C", None]}, calls=7, reused={"calls": 2}
    )
    found = read_result(JOB, log)
    assert found.scores == {"1": {"1": 1.0}, "4": {"1": 1.0}}
    assert found.failed == {"3": "the model is gone", "4": "the model is gone"}
    assert found.unscored == {"2": "scorer right: nan is not a finite number"}
    assert (found.calls, found.reused, found.tokens, found.lost) == (15, 6, 3 * 7 * 150, 2)


def test_dollars_of_an_eval_are_unknown_where_an_answers_are(tmp_path: Path) -> None:
    known = read_result(JOB, logged(tmp_path, {"1": ["C"], "2": ["I"]}))
    assert known.cost == known.dollars == pytest.approx(0.006)
    unknown = read_result(JOB, logged(tmp_path, {"1": ["C"], "2": ["I"]}, dollars=None))
    assert unknown.cost is None and unknown.dollars is None


def test_an_eval_that_ended_before_its_first_answer_has_failed(tmp_path: Path) -> None:
    log = logged(tmp_path, {}, status="error")
    assert read_result(JOB, log) == EvalResult("k", log=log.location, error="error")


@pytest.mark.parametrize("word", ["N/A", "abc", "", float("inf"), {"a": 1}], ids=repr)
def test_a_score_without_a_number_is_an_error_in_search_and_demo(tmp_path: Path, word: Any) -> None:
    log = logged(tmp_path, {"1": ["C"], "2": [word]})
    found = read_result(JOB, log)
    assert found.scores == {"1": {"1": 1.0}} and found.unscored.keys() == {"2"} and not found.failed
    assert found.unscored["2"].startswith("scorer right") and (str(word) in found.unscored["2"] or word == {"a": 1})
    with pytest.raises(DataError, match="scorer right"):
        read_demo_result("best", tmp_path / "a.eval")


def test_a_job_of_a_task_whose_scorer_has_no_number_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "words.py").write_text(WORDS)
    monkeypatch.chdir(tmp_path)
    architecture = {"layers": [{"generator": "sim/gpt-4o"}]}
    found = run_job(EvalJob("k", architecture, EvalTask("words.py@words"), ("C", "N"), log_dir=str(tmp_path)))
    assert found.error == "" and found.scores == {"C": {"1": 1.0}}
    assert found.unscored == {"N": "scorer verdict: 'N/A' is no number"} and not found.failed
    assert found.calls == 2 and found.lost == 0


def test_a_job_is_the_same_after_its_way_as_json() -> None:
    task = EvalTask("archon_eval/math", (("sample", True),))
    job = EvalJob("k", {"layers": []}, task, ("a", 1), solver_args=(("store", "x"),), model_roles=(("judge", "m"),))
    assert parse_job(json.loads(json.dumps(asdict(job)))) == job
    theirs = EvalJob("k", {"layers": []}, TaskSpec(task.name, task.args, weight=2.0), ("a", 1))
    assert parse_job(json.loads(json.dumps(asdict(theirs)))).task == task


def test_a_damaged_account_leaves_the_path_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "words.py").write_text(WORDS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("archon_eval.runs.account.ACCOUNT_VERSION", 0)  # as a later version had written it
    architecture = {"layers": [{"generator": "sim/gpt-4o"}]}
    found = run_job(EvalJob("k", architecture, EvalTask("words.py@words"), ("C",), log_dir=str(tmp_path / "logs")))
    assert "a question's account has version" in found.error and Path(found.log).is_file()
    assert Path(found.log).parent == tmp_path / "logs" and Path(found.log).name.startswith("k-")


def test_a_job_keeps_what_the_benchmarks_figure_reads(tmp_path: Path) -> None:
    architecture = {"layers": [{"generator": "sim/gpt-4o"}]}
    task = EvalTask("archon_eval/arena_hard", (("sample", True),))
    ids = tuple(str(sample.id) for sample in arena_hard(sample=True).dataset)
    roles = (("judge", "sim/gpt-4-turbo"),)
    found = run_job(EvalJob("k", architecture, task, ids[:4], model_roles=roles, log_dir=str(tmp_path)))
    assert found.error == "" and (found.scorer, found.metric) == ("arena_hard", "win rate")
    run = read_run(found.log)
    answers = {question: tuple(by_epoch.values()) for question, by_epoch in found.answers.items()}
    assert run.metric.name == "win rate" and answers == dict(sorted(run.scored.items()))
    assert rebuild_metric(found.scorer, found.metric, answers).compute(answers) == run.estimate.value


def test_a_file_beside_the_user_takes_no_packages_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`inspect eval rich.py` works; so must a search of it, whose worker imports the package of that name."""
    (tmp_path / "rich.py").write_text(WORDS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with closing(WorkerProcess()) as worker:
        result = worker.run(EvalJob("k", {"layers": [{"generator": "sim/gpt-4o"}]}, EvalTask("rich.py"), ("C",)))
    assert not result.error and result.scores == {"C": {"1": 1.0}}
