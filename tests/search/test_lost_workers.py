"""An eval whose worker died is begun again by the scheduler, and the budget holds."""

from concurrent.futures import Future
from dataclasses import replace

import pytest

from archon_eval.errors import WorkerLostError
from archon_eval.search.config import load_settings
from archon_eval.search.loop import search
from archon_eval.search.scheduler import MAX_ATTEMPTS

GIVEN = {
    "tasks": [{"name": "archon_eval/math", "args": {"sample": True}}],
    "models": ["sim/gpt-4o", "sim/qwen2-72b-instruct"],
    "space": "small",
}


class LosingRun:
    """Loses the worker of a job whose key begins so, after it stored all of its calls."""

    def __init__(self, run, begins: str, times: int = 1) -> None:
        self.run, self.begins, self.times, self.lost = run, begins, times, {}

    def __call__(self, job):
        future = self.run(job)
        if not job.key.startswith(self.begins):
            return future
        self.lost[job.key] = self.lost.get(job.key, 0) + 1
        result = future.result()
        answer = Future()
        if self.lost[job.key] <= self.times:
            answer.set_exception(WorkerLostError("a worker was lost"))
        elif self.lost[job.key] > 1:  # what the lost ones paid for is in the store
            whole = result.calls + result.reused
            answer.set_result(replace(result, calls=0, reused=whole, dollars=0.0))
        else:
            answer.set_result(result)
        return answer


def test_what_a_lost_worker_stored_counts_as_paid(tmp_path, fake_run):
    settings = load_settings({**GIVEN, "budget": {"trials": 4}, "skip_ranking": True})
    plain = search(settings, tmp_path / "plain", fake_run)
    fake_run.jobs, fake_run.stored, fake_run.paid = [], {}, {}
    run = LosingRun(fake_run, "search/")
    found = search(settings, tmp_path / "lost", run)
    assert set(run.lost.values()) == {2}
    assert [trial.key for _, trial in found.tried] == [trial.key for _, trial in plain.tried]
    paid, lost = ({t.key: t.paid for _, t in each.tried if not t.is_free} for each in (plain, found))
    assert len(paid) == 4 and lost == paid and found.winner == plain.winner
    again = search(settings, tmp_path / "lost", run)  # the journal knows it too
    assert again.ledger.calls == found.ledger.calls


def test_an_eval_whose_workers_keep_dying_is_given_up(tmp_path, fake_run):
    run = LosingRun(fake_run, "search/1/", times=99)
    found = search(load_settings({**GIVEN, "budget": {"trials": 4}, "skip_ranking": True}), tmp_path / "a", run)
    assert [*run.lost.values()] == [MAX_ATTEMPTS]
    [failed] = [trial for _, trial in found.tried if trial.error]
    assert f"given up after {MAX_ATTEMPTS} attempts: a worker was lost" in failed.error
    assert failed.paid > 0  # nobody knows what the lost ones took: as much as they might


@pytest.mark.parametrize("budget", [2000, 3000])
def test_a_call_budget_holds_when_workers_die(tmp_path, fake_run, budget):
    """Every job's worker dies once, also with the last of the budget."""
    run = LosingRun(fake_run, "")
    found = search(load_settings({**GIVEN, "budget": {"calls": budget}}), tmp_path / "a", run)
    assert found.ledger.calls <= budget and len(run.lost) > 5
