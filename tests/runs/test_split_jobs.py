"""An eval of a search that several workers share has the result of one worker."""

from concurrent.futures import Future
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from inspect_ai.log import read_eval_log

from archon_eval.errors import DataError
from archon_eval.runs.eval_worker import EvalJob, EvalResult, EvalTask
from archon_eval.runs.executors import local
from archon_eval.runs.split_jobs import JobSplitter, divide

ARCHITECTURE = {
    "name": "two",
    "layers": [{"generator": [{"model": "sim/gpt-4o", "samples": 2}]}, {"fuser": "sim/gpt-4o"}],
}


def test_a_divided_job_has_the_result_of_the_whole_and_spends_its_budget(tmp_path: Path) -> None:
    task = EvalTask("archon_eval/math", (("sample", True), ("n", 8)))
    ids = ("cnt-02", "cnt-08", "geo-03", "geo-10", "num-11")
    store = (("store", str(tmp_path / "calls.db")),)
    job = EvalJob("search/1", ARCHITECTURE, task, ids, epochs=2, solver_args=store, log_dir=str(tmp_path / "parts"))
    with local(2) as run:
        divided = JobSplitter(run, 2)(job).result()
        whole = run(replace(job, log_dir=str(tmp_path / "whole"))).result()
        assert (divided.calls, divided.reused) == (30, 0) and (whole.calls, whole.reused) == (0, 30)
        assert divided.cost == pytest.approx(whole.cost)
        differing = {"calls", "reused", "dollars", "cost", "seconds", "log", "judge_calls", "judge_reused"}
        assert {k: v for k, v in asdict(divided).items() if k not in differing} == {
            k: v for k, v in asdict(whole).items() if k not in differing
        }
        log, other = read_eval_log(divided.log), read_eval_log(whole.log)
        assert [*Path(divided.log).parent.iterdir()] == [Path(divided.log)]
        assert log.results and other.results and log.results.scores == other.results.scores
        assert [(s.id, s.epoch) for s in log.samples or ()] == [(s.id, s.epoch) for s in other.samples or ()]


def test_a_part_that_used_up_its_share_has_what_others_left(tmp_path: Path) -> None:
    """Two parts of a job with 20 calls: one needs 12 of its 10, the other has 4 of its 10 left."""
    made: dict[str, EvalJob] = {}

    def submit(job: EvalJob) -> "Future[EvalResult]":
        made[job.key] = job
        needed = 12 if 1 in job.questions else 6
        fits = job.max_calls is None or needed <= job.max_calls or "again" in job.key
        done: Future[EvalResult] = Future()
        if fits:
            done.set_result(EvalResult(job.key, calls=2 if "again" in job.key else needed, reused=10, error="no log"))
        else:
            done.set_result(EvalResult(job.key, failed={"1": "BudgetError: the limit is used up"}, lost=2, error="x"))
        return done

    job = EvalJob("trial", {}, EvalTask("archon_eval/math"), (1, 2), max_calls=20, log_dir=str(tmp_path))
    result = JobSplitter(submit, 2)(job).result()
    assert {key: job.max_calls for key, job in made.items()} == {
        "trial part 1 of 2": 10,
        "trial part 2 of 2": 10,
        "trial part 1 of 2 again": 4,
    }
    assert result.calls == 2 + 10 + 6  # the first run of the part had paid what the second found in the store


def test_parts_that_are_run_again_never_spend_more_than_is_left_of_the_whole_limit(tmp_path: Path) -> None:
    """Three parts of a job with 30 calls need 12, 40 and 4 of their 10: the second may have what the first left."""
    needed, stored, paid = {1: 12, 2: 40, 3: 4}, {1: 5, 2: 0, 3: 0}, dict[str, int]()
    made: dict[str, EvalJob] = {}

    def submit(job: EvalJob) -> "Future[EvalResult]":
        made[job.key] = job
        [question] = job.questions
        paid[job.key] = min(needed[question], job.max_calls or 0)
        needed[question] -= paid[job.key]
        found = stored[question]
        stored[question] += paid[job.key]
        done: Future[EvalResult] = Future()
        if needed[question]:
            why = {str(question): "BudgetError: the limit is used up"}
            done.set_result(EvalResult(job.key, failed=why, lost=1, error="x"))
        else:
            done.set_result(EvalResult(job.key, calls=paid[job.key], reused=found, judge_calls=1, judge_dollars=0.5))
        return done

    job = EvalJob("trial", {}, EvalTask("archon_eval/math"), (1, 2, 3), max_calls=30, log_dir=str(tmp_path))
    result = JobSplitter(submit, 3)(job).result()
    assert made["trial part 1 of 3 again"].max_calls == 30 - 10 - 10 - 4
    assert made["trial part 2 of 3 again"].max_calls == 30 - 10 - 10 - 4 - 2
    assert sum(paid.values()) == 30
    # the first part paid 12 in its two runs; what the second run found besides others had paid
    assert (result.calls, result.reused, result.judge_calls) == (12 + 0 + 4, 5, None)


def test_a_task_of_lm_eval_is_not_divided() -> None:
    job = EvalJob("x", {}, EvalTask("gsm8k", harness="lm-eval"), (1, 2))
    with pytest.raises(DataError, match=r"lm-eval \(gsm8k\) runs in one process"):
        divide(job, 2)
