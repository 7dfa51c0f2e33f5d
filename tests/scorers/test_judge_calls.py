"""A judge's calls in the call store of the answers: paid once, replayed, asked afresh for fresh draws."""

from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from fakes.mute_models import MuteModel
from inspect_ai import Task, eval, score
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ChatMessageUser,
    GenerateConfig,
    Logprob,
    Logprobs,
    Model,
    ModelOutput,
    ModelUsage,
    TopLogprob,
    get_model,
)
from inspect_ai.util import store

from archon_eval.models.judge_client import JudgeClient
from archon_eval.models.store import CallStore
from archon_eval.runs.judges import has_live_judgments
from archon_eval.scorers.alpaca_eval import alpaca_eval
from archon_eval.scorers.arena_hard import arena_hard
from archon_eval.solvers.archon import archon

SAMPLES = [
    Sample(id=number, input=f"Why {number}?", metadata={"instruction": f"Why {number}?", "baseline_output": "Because."})
    for number in range(2)
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


USAGE = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)


def said(text: str) -> ModelOutput:
    return ModelOutput.from_content("judge", text).model_copy(update={"usage": USAGE})


class Judge:
    """A judge that counts what it is asked."""

    def __init__(self, *says: str) -> None:
        self.says, self.asked = says, 0

    def model(self, **config: Any) -> Model:
        return get_model("mockllm/judge", custom_outputs=self, config=GenerateConfig(**config), memoize=False)

    def __repr__(self) -> str:  # a model's arguments are part of its calls' keys
        return "a judge"

    def __call__(self, *_: Any) -> ModelOutput:
        self.asked += 1
        return said(self.says[min(self.asked, len(self.says)) - 1])


def run(judge: str | Model, policy: str = "reuse", scorer: Any = None, **given: Any) -> EvalLog:
    first, dataset = given.pop("first", 1), given.pop("dataset", SAMPLES)
    solver = given.pop("solver", None) or archon(
        "single", "sim/gpt-4o", store="calls.db", store_policy=policy, epoch_offset=first - 1
    )
    task = Task(dataset=dataset, solver=solver, scorer=scorer or alpaca_eval())
    given = {"model": "none", "model_roles": {"judge": judge}, "display": "none", "log_dir": "logs"} | given
    (log,) = eval(task, **given)
    return log


def judgments(log: EvalLog) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in record.items() if key != "reused"}
        for sample in log.samples or ()
        for each in (sample.scores or {}).values()
        for record in (each.metadata or {})["judgments"]
    ]


def anew(log: EvalLog) -> bool:
    [name] = (log.samples or [])[0].scores or {}
    return has_live_judgments(log, log.samples or (), name)


def test_a_judge_is_asked_once_and_its_log_probabilities_are_kept() -> None:
    first, second, replayed = run("sim/gpt-4-turbo"), run("sim/gpt-4-turbo"), run("sim/gpt-4-turbo", "replay")
    assert judgments(first) == judgments(second) == judgments(replayed)
    assert len(judgments(first)) == 2 and "top_logprobs" in judgments(first)[0]["replies"][0]
    assert [anew(log) for log in (first, second, replayed)] == [True, False, False]
    assert first.stats.role_usage["judge"].output_tokens and not replayed.stats.role_usage


def test_what_decides_a_verdict_is_in_its_key() -> None:
    asked = Judge("m")
    other = get_model("mockllm/other", custom_outputs=asked, memoize=False)
    for judge, first in ((asked.model(), 1), (asked.model(temperature=0.3), 1), (asked.model(), 2), (other, 1)):
        before = asked.asked
        assert anew(run(judge, first=first)) and asked.asked == before + 2  # 2: draws that no eval was judged by
    assert not anew(run(asked.model(max_connections=3))) and asked.asked == 8


def test_equal_answers_of_other_last_draws_are_judged_afresh_and_of_the_same_draws_once() -> None:
    assert MuteModel
    judge = Judge("m")

    def judge_anew(epochs: int, **draws: int) -> int:
        before = judge.asked
        answers = archon("single", "mute/good", store="calls.db", **draws)  # always the same text
        run(judge.model(), solver=answers, epochs=epochs)
        return judge.asked - before

    assert judge_anew(2, last_draws=2) == 4  # both of set 1
    assert judge_anew(1) == 0 and judge_anew(1, last_draws=2) == 0  # the first draw of set 1 is what one draw is
    assert judge_anew(1, epoch_offset=1) == 2  # set 2, which is not epoch 2 of the first eval
    assert judge_anew(4, last_draws=2) == 2  # the second draw of set 2


def test_a_reminded_judge_is_replayed_with_both_replies() -> None:
    judge = Judge("Both are fine.", "m", "neither", "M")
    log, again = run(judge.model(), max_samples=1), run(judge.model())
    assert [len(record["replies"]) for record in judgments(log)] == [2, 2]
    assert judgments(again) == judgments(log) and judge.asked == 4


def test_record_replaces_and_replay_fails_closed() -> None:
    run(Judge("m").model())
    assert [r["replies"][0]["text"] for r in judgments(run(Judge("M").model(), "record"))] == ["M", "M"]
    silent = Judge("m")
    assert [r["replies"][0]["text"] for r in judgments(run(silent.model(), "replay"))] == ["M", "M"]
    other = run(silent.model(temperature=0.5), "replay", fail_on_error=False)
    errors = [sample.error.message for sample in other.samples or () if sample.error]
    assert len(errors) == 2 and not silent.asked
    for error in errors:
        assert "not in the recording calls.db" in error and "call mockllm/judge, epoch 1" in error
    assert all("differs in settings" in error and "judge_cache=never asks" in error for error in errors)


def test_stored_never_asks_the_judge_whatever_is_stored() -> None:
    judge = Judge("[[A>B]]")
    run(judge.model(), scorer=arena_hard())
    run(judge.model(), scorer=arena_hard())
    assert judge.asked == 4
    log = run(judge.model(), scorer=arena_hard(judge_cache="never"))
    assert judge.asked == 8 and anew(log)


def test_the_model_door_and_the_environment_lend_a_store_too(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge("m")
    model = get_model("archon/single", models="sim/gpt-4o", store="calls.db")
    given: dict[str, Any] = {"model_roles": {"judge": judge.model()}, "display": "none", "log_dir": "logs"}
    for _ in range(2):
        eval(Task(dataset=SAMPLES, scorer=alpaca_eval()), model=model, **given)
    assert judge.asked == 2
    monkeypatch.setenv("ARCHON_STORE", "other.db")
    for _ in range(2):
        (log,) = eval(Task(dataset=SAMPLES, scorer=alpaca_eval()), model="sim/gpt-4o", **given)
        assert log.status == "success", log.error
    assert judge.asked == 4 and CallStore("other.db").count() == 2


def test_equal_games_at_one_moment_are_sent_once_and_replayed_as_they_were() -> None:
    says = iter(["[[A>B]]", "[[B>>A]]"])

    async def turn(*_: Any) -> ModelOutput:
        await anyio.sleep(0.01)
        return said(next(says))

    answer = (run(Judge("m").model()).samples or [])[0].output.completion
    facts = {"instruction": "Why 0?", "baseline_output": answer}
    equal = [Sample(id=0, input="Why 0?", metadata=facts)]
    judge = get_model("mockllm/judge", custom_outputs=turn, memoize=False)
    logs = [run(judge, policy, arena_hard(), dataset=equal) for policy in ("record", "replay")]
    for log in logs:
        assert [record["replies"][0]["text"] for record in judgments(log)] == ["[[A>B]]", "[[A>B]]"]


def test_a_store_of_another_folder_is_the_judges_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inspect makes a task, and the solver in it, in the folder of its file."""
    (tmp_path / "tasks").mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path / "tasks")
        solver = archon("single", "sim/gpt-4o", store="calls.db")
    judge = Judge("m")
    for _ in range(2):
        run(judge.model(), solver=solver)
    assert judge.asked == 2 and CallStore("tasks/calls.db").count() == 4 and not Path("calls.db").exists()


def test_where_answers_are_not_kept_their_judge_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHON_STORE", "environment.db")
    judge = Judge("m")
    for _ in range(2):
        run(judge.model(), solver=archon("single", "sim/gpt-4o", store_policy="off"))
    assert judge.asked == 4 and not Path("environment.db").exists()


def test_odd_replies_are_kept_and_harm_no_others() -> None:
    def odd(messages: list[Any], *_: Any) -> ModelOutput:
        if len(messages) == 2:  # not reminded yet
            return said("")
        output = said("M")
        tokens = [TopLogprob(token="M", logprob=-0.1), TopLogprob(token="\ud83d", logprob=-3.0)]
        output.choices[0].logprobs = Logprobs(content=[Logprob(token="M", logprob=-0.1, top_logprobs=tokens)])
        return output

    judge = get_model("mockllm/judge", custom_outputs=odd, memoize=False)
    logs = [run(judge, policy) for policy in ("record", "replay")]
    for log in logs:
        replies = [record["replies"] for record in judgments(log)]
        assert replies == 2 * [[{"text": ""}, {"text": "M", "top_logprobs": [["M", -0.1], ["\ufffd", -3.0]]}]]


def test_an_architecture_that_judges_keeps_its_own_store() -> None:
    judge = get_model("archon/single", models="sim/gpt-4-turbo", store="judge.db")
    log = run(judge)
    assert all("fingerprint" in record for record in judgments(log)) and anew(log)
    assert CallStore("judge.db").count() == CallStore("calls.db").count() == 2
    assert not anew(run(judge))


def test_a_log_is_scored_again_where_the_store_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = run(Judge("m").model())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    judge = Judge("[[A>B]]")
    again = score(log, arena_hard(), model_roles={"judge": judge.model()}, display="none", action="overwrite")
    assert again.status == "success" and judge.asked == 4 and not Path("calls.db").exists()


def test_one_scorer_judges_under_every_policy() -> None:
    scorer, judge = alpaca_eval(), Judge("m")
    run(judge.model())
    for policy, asked in (("replay", 2), ("record", 4), ("reuse", 4)):
        assert run(judge.model(), policy, scorer).status == "success" and judge.asked == asked


class Broken(Judge):
    """A judge under the same key whose replies are errors."""

    def __call__(self, *_: Any) -> ModelOutput:
        return ModelOutput(error="overloaded", usage=USAGE)


def test_a_judge_that_failed_when_it_was_recorded_fails_in_the_replay_and_is_asked_again_by_others() -> None:
    judge = Judge("m")
    for model, policy in ((Broken().model(), "record"), (judge.model(), "replay")):
        log = run(model, policy, fail_on_error=False)
        errors = [sample.error.message for sample in log.samples or () if sample.error]
        assert len(errors) == 2 and all("overloaded" in error for error in errors), errors
    assert not judge.asked
    assert anew(run(judge.model())) and judge.asked == 2


class Refused(Judge):
    """A judge under the same key whose provider raises, and quotes its key."""

    def __call__(self, *_: Any) -> ModelOutput:
        raise RuntimeError("401 for https://x?key=from-the-environment")


def test_a_provider_that_raised_is_a_failure_like_others_and_names_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "from-the-environment")
    silent = Judge("m")
    unstored = alpaca_eval(judge_cache="never")
    for model, policy, scorer in (
        (Refused().model(), "record", None),
        (silent.model(), "replay", None),
        (Refused().model(), "record", unstored),
    ):
        log = run(model, policy, scorer, fail_on_error=False)
        errors = [sample.error for sample in log.samples or () if sample.error]
        assert len(errors) == 2, errors
        for error in errors:
            assert "mockllm/judge: RuntimeError: 401 for https://x?key=<SOME_API_KEY>" in error.message
            assert "from-the-environment" not in f"{error.message}{error.traceback}"
    assert not silent.asked


def test_nothing_is_kept_of_a_call_that_is_done() -> None:
    client = JudgeClient()
    judge = Judge("m")

    async def ask() -> None:
        store().set("archon:store", ["calls.db", "record", 1])
        Path("calls.db").touch()
        for number in range(3):
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    messages = [ChatMessageUser(content=f"Question {number}")]
                    group.start_soon(partial(client.generate, judge.model(), messages, GenerateConfig(), epoch=1))

    anyio.run(ask)
    assert judge.asked == 3, "equal calls at one moment are sent once"
    [shared] = client._clients.values()
    assert not shared._in_flight
