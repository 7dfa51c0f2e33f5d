"""Reward models behind HTTP: what is sent in which form, faults, hostile answers, keys, the store and the budget."""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from fakes.score_server import ScoreServer

from archon_eval.architecture.load import load_architecture
from archon_eval.engine.engine import Engine
from archon_eval.engine.plan import plan
from archon_eval.engine.trace import Answer
from archon_eval.errors import BudgetError, ModelError, StoreError
from archon_eval.models.budget import parse_budget
from archon_eval.models.call import Call, Reply, Usage
from archon_eval.models.client import ModelClient
from archon_eval.models.open_store import open_store
from archon_eval.types import Message

KEY = "sk-a-very-secret-key-0123456789"


class Echo:
    """A sender whose models answer their own names, as long as their numbers say: `a/3` is `xxx`."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(self, call: Call) -> Reply:
        self.sent += 1
        return Reply("x" * int(call.model[2:]), usage=Usage(10, 5))

    def get_call_identity(self, call: Call) -> tuple[str, str]:
        return f"{call.model} at nowhere", ""


@pytest.fixture
def server() -> Iterator[ScoreServer]:
    with ScoreServer() as running:
        yield running


def answer(options: dict[str, Any], models: tuple[int, ...] = (2, 5, 3), client: Any = None, **more: Any) -> Answer:
    layers = [
        {"generator": [f"a/{n}" for n in models]},
        {more.pop("kind", "reward"): {"top_k": len(models), **options}},
    ]
    engine = Engine(load_architecture({"name": "x", "layers": layers}), client or ModelClient(Echo()))
    return anyio.run(partial(engine.run, **more), (Message("user", "Why?"),))


@pytest.mark.parametrize(
    ("form", "options", "body"),
    [
        ("rerank", {}, {"query": "Why?", "documents": ["xx", "xxxxx", "xxx"], "top_n": 3}),
        ("rerank", {"form": "tei_rerank"}, {"query": "Why?", "texts": ["xx", "xxxxx", "xxx"], "raw_scores": True}),
        ("score", {}, {"text_1": ["Why?"] * 3, "text_2": ["xx", "xxxxx", "xxx"]}),
        ("classify", {"label": "1"}, {"input": ["Why?\n\nxx", "Why?\n\nxxxxx", "Why?\n\nxxx"]}),
        ("predict", {}, {"inputs": [["Why?", "xx"], ["Why?", "xxxxx"], ["Why?", "xxx"]], "raw_scores": True}),
        (
            "predict",
            {"label": "GOOD", "prompts": {"input": "Q: {instruction} A: {candidate}"}},
            {"inputs": [["Q: Why? A: xx"], ["Q: Why? A: xxxxx"], ["Q: Why? A: xxx"]], "raw_scores": False},
        ),
    ],
)
def test_each_form_is_one_request_with_all_answers(
    server: ScoreServer, form: str, options: dict[str, Any], body: dict[str, Any]
) -> None:
    found = answer({"endpoint": server.url(form), **options})
    assert server.bodies == [body]
    assert [c.text for c in found.candidates] == ["xxxxx", "xxx", "xx"]


def test_tokens_are_shared_and_the_served_model_is_named(server: ScoreServer) -> None:
    found = answer({"endpoint": server.url("rerank"), "served_model": "BAAI/bge"})
    steps = [step for step in found.trail.steps if step.kind == "reward"]
    assert server.bodies[0]["model"] == "BAAI/bge" and {step.model for step in steps} == {"endpoint/BAAI/bge"}
    usages = [step.reply.usage for step in steps if step.reply]
    assert sum(usage.input_tokens for usage in usages if usage) == 30
    assert all(step.reply and step.reply.dollars is None for step in steps)


def test_a_classifier_of_pairs_compares(server: ScoreServer) -> None:
    """Above the middle the first is better: here whoever makes the text longer is never told apart from order."""
    server.score = lambda question, text: 0.9 if "<|candidate1|>xxxxx<" in text else 0.1
    found = answer({"endpoint": server.url("classify"), "label": "1"}, kind="pairwise")
    assert found.text == "xxxxx" and len(server.bodies[0]["input"]) == 6
    assert server.bodies[0]["input"][0] == "<|source|>Why?<|candidate1|>xx<|candidate2|>xxxxx"


@pytest.mark.parametrize("fault", ["429", "503", "502"])
def test_a_busy_endpoint_is_asked_again(server: ScoreServer, fault: str) -> None:
    server.script(fault)
    found = answer({"endpoint": server.url("rerank")})
    assert len(server.bodies) == 2 and found.text == "xxxxx"
    assert "asked again after" in next(note.detail for note in found.trail.notes if note.what == "irregular")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("huge", "longer than 4,000,000 bytes"),
        ("html", "is no JSON"),
        ("404", "there is nothing at http"),
        ("500", "HTTP 500"),
        ("301", "HTTP 301"),
        ({"results": "none"}, "not a list of results"),
        ({"results": [{"index": 0, "relevance_score": 1}] * 4}, "4 results for 3 answers"),
        ({"results": [{"index": 0, "relevance_score": 1}] * 2}, "comes twice"),
        ({"results": [{"index": 7, "relevance_score": 1}]}, "is no place among 3"),
        ({"results": [{"index": True, "relevance_score": 1}]}, "is no place among 3"),
        ({"results": [{"index": 0, "relevance_score": "0.9"}]}, "a score is no number"),
        ({"results": [{"index": 0, "relevance_score": True}]}, "a score is no number"),
        ({"results": [{"index": 0, "relevance_score": 10**400}]}, "beyond all bounds"),
        ({"results": [{"index": 0}]}, "has no `relevance_score`"),
        ({"results": [{"relevance_score": 0.9}, {"relevance_score": 0.5}, {"relevance_score": 0.1}]}, "no `index`"),
        ([[1]], "not a list of results"),
    ],
)
def test_hostile_and_wrong_answers_are_failed_calls(server: ScoreServer, fault: Any, says: str) -> None:
    server.script(fault)
    with pytest.raises(ModelError, match=says):
        answer({"endpoint": server.url("rerank")})
    server.script(fault)
    found = answer({"endpoint": server.url("rerank"), "on_error": "drop"})
    assert [c.text for c in found.candidates] == ["xx", "xxxxx", "xxx"]
    assert found.trail.counts == {"dropped": 3, "fallback": 3}


def test_missing_and_nan_scores_are_recorded(server: ScoreServer) -> None:
    server.script({"results": [{"index": 0, "relevance_score": float("nan")}, {"index": 1, "relevance_score": None}]})
    found = answer({"endpoint": server.url("rerank")})
    assert found.trail.counts == {"fallback": 3} and not any("reward" in c.values for c in found.candidates)
    details = " ".join(note.detail for note in found.trail.notes)
    assert "nan, which is no finite number" in details and "gave no score" in details


def test_an_answer_that_is_refused_does_not_take_the_others_with_it(server: ScoreServer) -> None:
    server.script("422", "422")  # the batch; then the first answer alone
    found = answer({"endpoint": server.url("rerank"), "on_error": "drop"})
    assert len(server.bodies) == 4 and [len(body["documents"]) for body in server.bodies] == [3, 1, 1, 1]
    assert sum("reward" in c.values for c in found.candidates) == 2 and found.trail.counts["dropped"] == 1


@pytest.mark.parametrize(("form", "says"), [("classify", "the place of the one"), ("predict", "no label 'BEST'")])
def test_a_label_that_is_not_there_is_said(server: ScoreServer, form: str, says: str) -> None:
    label = {"label": "BEST"} if form == "predict" else {}
    with pytest.raises(ModelError, match=says):
        answer({"endpoint": server.url(form), **label})


def test_an_endpoint_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archon_eval.models.score_endpoint.FIRST_WAIT", 0.01)
    with pytest.raises(ModelError, match="gave up after 3 attempts: no answer from http://127"):
        answer({"endpoint": "http://127.0.0.1:9/rerank"})


def test_a_key_is_read_from_the_environment_and_shown_nowhere(
    server: ScoreServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.key = KEY
    options = {"endpoint": server.url("rerank"), "key_variable": "MY_RERANKER"}
    monkeypatch.setenv("MY_RERANKER", KEY)
    found = answer(options)
    assert found.text == "xxxxx"
    monkeypatch.setenv("MY_RERANKER", "wrong-" + KEY)
    with pytest.raises(ModelError, match="the key in MY_RERANKER was refused") as caught:
        answer(options)
    server.key = ""
    server.script({"results": f"you sent wrong-{KEY}"})
    with pytest.raises(ModelError, match="<MY_RERANKER>") as quoted:
        answer(options)
    shown = f"{caught.value} {quoted.value} {found.trail} {caplog.text}"
    architecture = load_architecture({"layers": [{"generator": "a/1"}, {"reward": options}]})
    assert KEY not in shown + architecture.to_yaml() + str(plan(architecture))
    monkeypatch.setenv("MY_RERANKER", "two\nlines")
    with pytest.raises(ModelError, match="cannot be sent in a header"):
        answer(options)


def test_scores_are_stored_reused_by_epochs_and_replayed(server: ScoreServer, tmp_path: Path) -> None:
    options = {"endpoint": server.url("rerank"), "served_model": "bge"}
    with open_store(tmp_path / "calls.db") as store:
        first = answer(options, client=ModelClient(Echo(), store, "reuse"))
        again = answer(options, models=(2, 5, 3, 7), client=ModelClient(Echo(), store, "reuse"), epoch=2)
    assert [len(body["documents"]) for body in server.bodies] == [3, 1]  # no epoch draws a score anew
    assert again.text == "x" * 7
    with open_store(tmp_path / "calls.db", read_only=True) as store:
        elsewhere = {**options, "endpoint": "http://127.0.0.1:9/rerank"}  # a replay needs no server
        replayed = answer(elsewhere, client=ModelClient(None, store, "replay"))
        assert [c.values for c in replayed.candidates] == [c.values for c in first.candidates]
        with pytest.raises(StoreError, match="not in the recording"):
            answer({**elsewhere, "form": "tei_rerank"}, client=ModelClient(None, store, "replay"))
    assert len(server.bodies) == 2


def test_scores_count_in_budgets(server: ScoreServer) -> None:
    options = {"endpoint": server.url("rerank")}
    few = ModelClient(Echo(), allowance=parse_budget("question.calls=5"))
    with pytest.raises(BudgetError, match="limit of 5 calls"):
        answer(options, client=few)
    enough = ModelClient(Echo(), allowance=parse_budget("question.calls=6 question.output_tokens=100000"))
    assert answer(options, client=enough).text == "xxxxx"


def test_plan_and_diagram_say_what_will_be_sent() -> None:
    reward = {"endpoint": "http://h:8000/rerank", "served_model": "bge", "key_variable": "KEY", "dollars": 0.001}
    planned = plan(
        load_architecture({"layers": [{"generator": [{"model": "sim/gpt-4o", "samples": 4}]}, {"reward": reward}]})
    )
    (note,) = [note for note in planned.notes if "sends" in note]
    assert note == (
        "layer 2 (reward) sends the question and the candidates to http://h:8000/rerank (rerank of bge), up to 32 in a "
        "request, with the key in KEY"
    )
    assert planned.layers[1].dollars == pytest.approx((0.004, 0.004)) and planned.layers[1].components == (
        ("endpoint/bge", 1),
    )
    assert planned.last_layer is not None and planned.last_layer.number == 1  # scores are no draws
    unpriced = plan(
        load_architecture({"layers": [{"generator": "sim/gpt-4o"}, {"reward": {**reward, "dollars": None}}]})
    )
    assert unpriced.dollars is None and unpriced.unpriced == ("endpoint/bge",)
