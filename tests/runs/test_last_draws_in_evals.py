"""Several draws of the last layer through every door: earlier layers are paid once, and answers say what they took."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fakes.lm_eval_runs import write_task
from fakes.server import FakeServer
from inspect_ai import Task, eval
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import Sample
from inspect_ai.model import get_model
from inspect_ai.scorer import includes

from archon_eval._notes import ArchonNote
from archon_eval.errors import DataError
from archon_eval.models.draw import number_last_draw
from archon_eval.runs.account import AnswerDraws, read_accounts
from archon_eval.runs.eval_worker import EvalJob, EvalTask, run_job
from archon_eval.solvers.archon import archon

LAYERS = [{"generator": ["openai/gpt-4o", "openai/gpt-4o-mini"]}, {"fuser": "openai/gpt-4-turbo"}]
FUSED = {"name": "fused", "layers": LAYERS}
SIMULATED = {"name": "fused", "layers": [{"generator": "sim/gpt-4o"}, {"fuser": "sim/gpt-4-turbo"}]}
QUESTIONS = 3


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ask(door: str, epochs: int, **args: Any) -> Any:
    given: dict[str, Any] = {"architecture": FUSED, "store": "calls.db", **args}
    answerer = (
        {"solver": archon(**given), "model": None}
        if door == "solver"
        else {"model": get_model("archon/fused", memoize=False, **given)}
    )
    task = Task(dataset=[Sample(f"Why {n}?", target="a", id=n) for n in range(QUESTIONS)], scorer=includes())
    (log,) = eval(task, epochs=epochs, display="none", log_dir="logs", max_samples=50, **answerer)
    assert log.status == "success", log.error
    return log


@pytest.mark.parametrize("door", ["solver", "model"])
@pytest.mark.parametrize("trace", ["full", "calls"])  # the direct path, and Inspect's own
def test_equal_calls_of_epochs_under_way_at_once_are_paid_once(fake_server: FakeServer, door: str, trace: str) -> None:
    fake_server.latency = 0.05  # so that all epochs ask before the first reply is there
    log = ask(door, 6, last_draws=3, epoch_offset=4, trace=trace)
    asked = Counter(request.body["model"] for request in fake_server.requests)
    sets, last_draws = 2, 3
    assert asked == {
        "gpt-4o": QUESTIONS * sets,
        "gpt-4o-mini": QUESTIONS * sets,
        "gpt-4-turbo": QUESTIONS * sets * last_draws,
    }
    prompts = Counter(str(r.body["messages"]) for r in fake_server.requests if r.body["model"] == "gpt-4-turbo")
    assert set(prompts.values()) == {last_draws} and len(prompts) == QUESTIONS * sets
    took = {(sample.epoch, account.draws) for sample in log.samples for account in read_accounts(sample)}
    assert took == {(n, AnswerDraws(5 + (n - 1) // 3, (n - 1) % 3)) for n in range(1, 7)}


def test_a_score_says_which_draws_its_answer_took_and_one_draw_is_as_ever(fake_server: FakeServer) -> None:
    first = ask("solver", 2, last_draws=1)
    assert all(account.draws is None for sample in first.samples for account in read_accounts(sample))
    fake_server.requests.clear()
    again = ask("solver", 4, last_draws=2)  # of each set the first is the one that is there
    assert len(fake_server.requests) == QUESTIONS * 2
    text = {(s.id, s.epoch): s.output.completion for s in first.samples}
    shared = {(s.id, (s.epoch + 1) // 2): s.output.completion for s in again.samples if s.epoch % 2}
    assert text == shared


@pytest.mark.parametrize("door", ["solver", "model"])
@pytest.mark.parametrize("store", [{"store": None}, {"store_policy": "off"}])
def test_without_a_store_nothing_is_shared_and_a_note_says_so(
    fake_server: FakeServer, door: str, store: dict[str, Any]
) -> None:
    with pytest.warns(ArchonNote, match="last_draws=2 without a call store .* for each of the 2 draws"):
        ask(door, 2, last_draws=2, **store)
    assert len(fake_server.requests) == QUESTIONS * 2 * 3


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "two", None])
def test_values_that_are_no_number_of_draws_are_refused(fake_server: FakeServer, value: Any) -> None:
    with pytest.raises(PrerequisiteError, match="solver archon: last_draws must be a whole number from 1, not "):
        archon(FUSED, last_draws=value)
    with pytest.raises(PrerequisiteError, match="archon/fused: last_draws must be a whole number from 1, not "):
        get_model("archon/fused", memoize=False, architecture=FUSED, last_draws=value)
    with pytest.raises(DataError, match="eval k: last_draws must be a whole number from 1, not "):
        EvalJob("k", FUSED, EvalTask("t"), last_draws=value)
    assert not fake_server.requests


@pytest.mark.parametrize("harness", ["inspect", "lm-eval"])
def test_a_job_asks_its_sets_with_several_last_draws(tmp_path: Path, harness: str) -> None:
    task = EvalTask("archon_eval/math", (("sample", True), ("n", 4)))
    questions: tuple[str, ...] = ()
    if harness == "lm-eval":
        write_task(tmp_path, count=4)
        task = EvalTask("sums", (("include_path", str(tmp_path)),), harness="lm-eval")
        questions = tuple(map(str, range(4)))
    else:
        from archon_eval.search.config import TaskSpec
        from archon_eval.search.questions import load_questions

        questions = tuple(load_questions(TaskSpec(task.name, task.args)).answers)
    given: dict[str, Any] = {"questions": questions, "solver_args": (("store", "c.db"),), "log_dir": "logs"}
    one = run_job(EvalJob("one", SIMULATED, task, epochs=2, first_epoch=3, **given))
    assert (one.error, one.calls, one.reused) == ("", 16, 0)
    many = run_job(EvalJob("many", SIMULATED, task, epochs=2, first_epoch=3, last_draws=3, **given))
    assert many.error == "" and all(set(by_epoch) == set("123456") for by_epoch in many.scores.values())
    assert (many.calls, many.calls + many.reused) == (4 * 2 * 2, 4 * 6 * 2)  # two more draws of one layer of two
    for question, by_epoch in one.scores.items():
        assert [by_epoch["1"], by_epoch["2"]] == [many.scores[question]["1"], many.scores[question]["4"]]
    epochs = Counter(entry for entry in _list_epochs("c.db"))
    fresh = {number_last_draw(epoch, draw) for epoch in (3, 4) for draw in (0, 1, 2)}
    assert set(epochs) == fresh and epochs[3] == epochs[4] == 8


def _list_epochs(path: str) -> list[int]:
    import sqlite3

    with sqlite3.connect(path) as store:
        [table] = [name for (name,) in store.execute("select name from sqlite_master where sql like '%epoch%'")][:1]
        return [epoch for (epoch,) in store.execute(f"select epoch from {table}")]
