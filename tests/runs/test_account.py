"""Accounts of questions: what is written is read back by name, old logs are read too, and unknown is not zero."""

from pathlib import Path
from typing import Any

import pytest
from fakes.logs import build_account as logged_account
from fakes.logs import write_log
from inspect_ai.log import EvalSample, read_eval_log, write_eval_log
from inspect_ai.model import ModelOutput

from archon_eval.architecture.load import load_architecture
from archon_eval.engine.trace import Answer, LayerResult, Trace, TraceStep
from archon_eval.errors import DataError
from archon_eval.models.call import Reply, Usage
from archon_eval.models.usage_totals import UsageTotals, sum_dollars, total_usage
from archon_eval.runs.account import (
    QuestionAccount,
    build_output_metadata,
    parse_accounts,
    read_accounts,
    record_turn,
    refuse_foreign_account,
)
from archon_eval.runs.read_log import read_run
from archon_eval.types import Candidate

ARCHITECTURE = load_architecture({"name": "two", "layers": [{"generator": ["sim/a", "sim/b"]}, {"fuser": "sim/a"}]})


def step(layer: int, component: int, model: str, reply: Reply | None) -> TraceStep:
    about = f"{layer}.{component}"
    return TraceStep(layer, "kind", component, model, "generate", about, 0, (), reply)  # fmt: skip


def reply(dollars: float | None = 0.5, reused: bool = False, seconds: float = 1.0) -> Reply:
    return Reply("text", usage=Usage(10, 5), dollars=dollars, reused=reused, seconds=seconds)


def answer(*steps: TraceStep) -> Answer:
    layers = tuple(
        LayerResult(n, kind, (Candidate("1.1", "x"),), {}, 2.5) for n, kind in ((1, "generator"), (2, "fuser"))
    )
    return Answer("x", (), Trace(layers=layers, steps=steps), seconds=7.0)


def sample(metadata: dict[str, Any], output: dict[str, Any] | None = None) -> EvalSample:
    reply = ModelOutput.from_content("m", "text")
    reply.metadata = output
    return EvalSample(id="q", epoch=1, input="?", target="", metadata=metadata, output=reply)


def test_what_the_solver_writes_is_read_back() -> None:
    steps = (step(1, 1, "sim/a", reply(reused=True)), step(1, 2, "sim/b", None), step(2, 1, "sim/a", reply()))
    made = QuestionAccount.from_answer(ARCHITECTURE, answer(*steps))
    metadata: dict[str, Any] = {}
    record_turn(metadata, made)
    assert read_accounts(sample(metadata)) == (made,)
    assert (made.usage.calls, made.usage.reused_calls, made.usage.failed) == (2, 1, 1)
    assert (made.usage.paid_calls, made.usage.paid_dollars, made.usage.dollars) == (1, 0.5, 1.0)
    assert made.usage.seconds == 2.0, "a reused reply: by the record, not by the clock"
    assert {model: usage.calls for model, usage in made.models.items()} == {"sim/a": 2, "sim/b": 0}
    assert [part.model for part in made.layers[0].components] == ["sim/a", "sim/b"] and not made.layers[1].components


def test_turns_of_a_question_are_kept_in_their_order() -> None:
    metadata: dict[str, Any] = {}
    for seconds in (1.0, 2.0, 3.0):
        record_turn(metadata, QuestionAccount("two", "f", UsageTotals(calls=1, seconds=seconds)))
    assert [turn.usage.seconds for turn in read_accounts(sample(metadata))] == [1.0, 2.0, 3.0]
    assert "earlier_turns" not in str(metadata["archon"]["earlier_turns"])


def test_the_model_doors_accounts_are_in_the_outputs_metadata() -> None:
    made = QuestionAccount("two", "f", UsageTotals(calls=3))
    for count in (1, 2):
        assert read_accounts(sample({}, build_output_metadata([made] * count))) == (made,) * count
    assert read_accounts(sample({})) == ()


def test_an_account_of_an_old_log_has_no_version_and_the_same_form() -> None:
    old = logged_account("system", 3)
    [read] = parse_accounts({"archon": old})
    assert read.version == 1 and read.architecture == "system" and read.fingerprint == old["fingerprint"]
    assert (read.usage.calls, read.usage.tokens, read.usage.dollars) == (3, 450, 0.003)
    assert [(layer.kind, layer.usage.calls) for layer in read.layers] == [("generator", 2), ("fuser", 1)]
    assert {**read.to_metadata(), "version": 1} == {**read.to_metadata(), **old, "version": 1}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"version": 2}, "version 2, and this archon-eval reads up to 1"),
        ({"version": "1"}, "not the account of a question.*version must be a whole number from 0, not \"'1'\""),
        ({"calls": "many"}, "not the account of a question"),
        ({"calls": 2.7}, "calls must be a whole number from 0, not '2.7'"),
        ({"calls": True}, "calls must be a whole number"),
        ({"input_tokens": -1}, "input_tokens must be a whole number from 0, not '-1'"),
        ({"notes": {"reask": 1.5}}, "reask must be a whole number"),
        ({"dollars": float("nan")}, "dollars must be a number from 0, not 'nan'"),
        ({"dollars": "0.5"}, "dollars must be a number from 0"),
        ({"seconds": -2.0}, "seconds must be a number from 0"),
        ({"earlier_turns": 3}, "not the account of a question, but '3'"),
        ({"layers": [{}]}, "not the account of a question"),
    ],
)
def test_an_account_that_cannot_be_read_is_an_error(damage: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_accounts({"archon": {**logged_account(), **damage}})


@pytest.mark.parametrize("value", [3, "text", True, 0, [3], ["text"]], ids=repr)
def test_what_is_no_account_is_named_with_its_log_and_question(value: Any, tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.eval", {"q1": ["C"]})
    whole = read_eval_log(str(log))
    assert whole.samples
    whole.samples[0].metadata["archon"] = value
    write_eval_log(whole, str(log))
    with pytest.raises(DataError, match=r"a\.eval: q1: .*not the account of a question"):
        read_run(log)


def test_the_model_doors_account_is_read_beside_a_value_of_the_users() -> None:
    made = QuestionAccount("two", "f", UsageTotals(calls=3))
    assert read_accounts(sample({"archon": "mine"}, build_output_metadata([made]))) == (made,)


@pytest.mark.parametrize("value", ["mine", 3, 0, ["mine"], {"mine": 1}, {"fingerprint": "f", "earlier_turns": 3}])
def test_a_value_of_the_users_in_the_accounts_place_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"metadata has a key 'archon'.*give the key another name"):
        refuse_foreign_account({"archon": value})


def test_an_earlier_turn_in_the_accounts_place_is_not_refused() -> None:
    metadata: dict[str, Any] = {"archon": None}
    for _ in range(2):
        refuse_foreign_account(metadata)
        record_turn(metadata, QuestionAccount("two", "f", UsageTotals(calls=3)))
    assert len(parse_accounts(metadata)) == 2


def test_unknown_dollars_are_not_zero() -> None:
    assert sum_dollars([]) == 0.0 and sum_dollars([0.1] * 10) == 1.0 and sum_dollars([0.5, None]) is None
    unknown = total_usage([reply(None), reply()])
    assert unknown.dollars is None and unknown.paid_dollars is None
    assert UsageTotals.add_up([unknown, total_usage([reply()])]).dollars is None
    free = total_usage([reply(None, reused=True), reply()])
    assert free.paid_dollars is None, "what the reused part cost is unknown, so what was paid is too"


def test_only_calls_that_all_come_from_the_store_are_a_replay() -> None:
    def account(*replies: Reply) -> QuestionAccount:
        return QuestionAccount("two", "f", total_usage(replies))

    assert account(reply(reused=True)).is_replay
    assert not account(reply(reused=True), reply()).is_replay and not account().is_replay
