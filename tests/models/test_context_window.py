"""How a server's refusal of a long prompt is known, and what is certain of a prompt before it is sent."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from archon_eval import Archon
from archon_eval.engine.trace import EVENT_TYPES
from archon_eval.errors import ContextOverflowError, ModelError
from archon_eval.models.context_window import count_least_tokens, is_overflow
from archon_eval.runs.account import QuestionAccount
from archon_eval.types import Message


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9015 tokens.",
        "Error code: 400 - {'error': {'code': 'context_length_exceeded'}}",
        "the request exceeds the available context size, try increasing it",
        "request (9015 tokens) exceeds the available context size (8192 tokens), try increasing it",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048575).",
        "Input is too long for requested model.",
        "The decoder prompt (length 9000) is longer than the maximum model length of 8192.",
        "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
        "max_tokens must be at least 1, got -823.",
        "a/x: the prompt does not fit the model's context window",
    ],
)
def test_an_overflow_is_known_by_the_servers_words(words: str) -> None:
    assert is_overflow(f"a/x: BadRequestError: {words}")


@pytest.mark.parametrize(
    "words",
    [
        "bad key",
        "Rate limit reached for tokens per minute: Limit 30000, Requested 31000",
        "max_tokens is too large: 9000. This model supports at most 4096 completion tokens",
        "You exceeded your current quota",
        "Connection error.",
        "the provider's answer has no choice in it",
    ],
)
def test_another_failure_is_none(words: str) -> None:
    assert not is_overflow(f"a/x: BadRequestError: {words}")


def test_a_prompt_has_at_least_as_many_tokens_as_words() -> None:
    assert count_least_tokens([Message("system", "Be brief."), Message("user", "What  is\n2 + 2?")]) == 7
    assert count_least_tokens([Message("user", "这是一个没有空格的问题")]) == 1
    assert count_least_tokens([]) == 0


def refuse_by_size(server: Any, form: str, words: int) -> None:
    """Make a server refuse prompts of more words, in the form of OpenAI or of llama.cpp."""
    build = server._build_failure

    def build_failure(fault: str, body: dict[str, Any], request: web.BaseRequest) -> web.Response | None:
        asked = sum(len(message["content"].split()) for message in body["messages"])
        if asked <= words:
            return build(fault, body, request)  # type: ignore[no-any-return]
        openai = {
            "message": f"This model's maximum context length is {words} tokens.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }
        llama = {
            "code": 400,
            "message": f"request ({asked} tokens) exceeds the available context size ({words} tokens), "
            "try increasing it",
            "type": "exceed_context_size_error",
            "n_prompt_tokens": asked,
            "n_ctx": words,
        }
        return web.json_response({"error": openai if form == "openai" else llama}, status=400)

    server._build_failure = build_failure


def answer_by_length(model: str, messages: list[dict[str, Any]], nonce: int) -> str:
    from fakes.replies import helpful

    lengths = {"gpt-4o-short": 40, "gpt-4o-long": 500, "gpt-4o-middling": 100}
    return f"{model} " * lengths[model] if model in lengths else helpful(model, messages, nonce)


LAYERS = [
    {"generator": ["openai/gpt-4o-short", "openai/gpt-4o-long", "openai/gpt-4o-middling"]},
    {"ranker": {"model": "openai/gpt-4o-j"}},
]


def build(policy: str, **top: Any) -> dict[str, Any]:
    return {"name": "mine", "on_overflow": policy, "layers": LAYERS, "max_tokens": 700, **top}


@pytest.mark.parametrize("trace", ["compact", "calls"], ids=["direct", "inspect"])
@pytest.mark.parametrize("form", ["openai", "llama.cpp"])
def test_each_policy_on_a_server_that_refuses(fake_server: Any, form: str, trace: str) -> None:
    fake_server.answer = answer_by_length
    refuse_by_size(fake_server, form, 400)
    with pytest.raises(ModelError, match=r"layer 2 \(ranker\), rank: openai/gpt-4o-j: .*context"):
        Archon(build("fail"), trace=trace).generate_sync("Why?")
    dropped = Archon(build("drop_longest"), trace=trace).generate_sync("Why?")
    # the fake ranks backwards what it is shown: 1.1 and 1.3
    assert [candidate.id for candidate in dropped.candidates] == ["1.3", "1.1", "1.2"]
    cut = Archon(build("truncate"), trace=trace).generate_sync("Why?")
    assert [candidate.id for candidate in cut.candidates] == ["1.3", "1.2", "1.1"]
    for answer in (dropped, cut):
        assert answer.trail.counts == {"overflow": 1}
        assert {len(candidate.text.split()) for candidate in answer.candidates} == {40, 500, 100}
        assert [outcome.problems for outcome in answer.trail.outcomes if outcome.layer == 2] == [{}]
    (note,) = dropped.trail.notes
    assert note.what in EVENT_TYPES and note.detail.startswith(
        "1 of 3 candidates left out (1.2): rank by openai/gpt-4o-j: "
    )
    assert "context" in note.detail
    (note,) = cut.trail.notes
    assert note.detail.startswith("2 of 3 candidates shortened to 1,452 characters (1.2, 1.3): rank by")


@pytest.mark.parametrize("trace", ["compact", "calls"])
def test_an_error_in_place_of_an_answer_is_no_candidate(fake_server: Any, trace: str) -> None:
    refuse_by_size(fake_server, "openai", 0)
    with pytest.raises(ModelError, match="This model's maximum context length"):
        Archon({"layers": [{"generator": "openai/gpt-4o-short"}]}, trace=trace).generate_sync("Why?")


@pytest.mark.parametrize("policy", ["fail", "drop_longest", "truncate"])
def test_with_a_known_window_what_is_certain_is_not_sent(fake_server: Any, tmp_path: Path, policy: str) -> None:
    fake_server.answer = answer_by_length
    (tmp_path / "small.yaml").write_text("prices: [{models: openai/gpt-4o-j, context: 400}]")
    with pytest.warns(FutureWarning, match="more than the 400 of openai/gpt-4o-j"):
        archon = Archon(build(policy), prices=tmp_path / "small.yaml", store=tmp_path / "calls.db")
    if policy == "fail":
        with pytest.raises(
            ContextOverflowError, match=r"at least 698 tokens, and it has 400 by price table small.yaml"
        ):
            archon.generate_sync("Why?")
        assert {request.body["model"] for request in fake_server.requests} == {
            f"gpt-4o-{name}" for name in ("short", "long", "middling")
        }
        return
    answer = archon.generate_sync("Why?")
    sent = [request.body for request in fake_server.requests if request.body["model"] == "gpt-4o-j"]
    assert len(sent) == 1 and len(sent[0]["messages"][0]["content"].split()) < 400
    assert answer.trail.counts == {"overflow": 1}
    before = len(fake_server.requests)
    again = Archon(build(policy), store=tmp_path / "calls.db", store_policy="replay").generate_sync("Why?")
    assert len(fake_server.requests) == before
    assert (again.text, again.trail.notes) == (answer.text, answer.trail.notes)


def test_a_refused_prompt_takes_no_tokens_of_a_budget(fake_server: Any) -> None:
    fake_server.answer = answer_by_length
    refuse_by_size(fake_server, "llama.cpp", 400)
    taken = Archon(build("truncate")).generate_sync("Why?").usage.output_tokens
    refused = len(fake_server.requests) - 4
    # the last call's reservation fits, and no further one would
    limited = Archon(build("truncate"), budget={"eval": {"output_tokens": taken + 700}}).generate_sync("Why?")
    assert refused > 2 and limited.trail.counts == {"overflow": 1}


def test_an_eval_has_it_in_the_account_and_the_transcript(fake_server: Any, tmp_path: Path) -> None:
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample
    from inspect_ai.log import read_eval_log

    from archon_eval.solvers import archon

    fake_server.answer = answer_by_length
    refuse_by_size(fake_server, "llama.cpp", 400)
    solver = archon(build("drop_longest"))
    (log,) = eval(Task([Sample("Why?")], solver=solver), model=None, log_dir=str(tmp_path), display="none")
    assert log.status == "success"
    log = read_eval_log(log.location, resolve_attachments=True)
    assert log.samples
    account = QuestionAccount.from_metadata(log.samples[0].metadata["archon"])
    assert account.notes == {"overflow": 1} and account.layers[1].candidates == 3
    events = [json.dumps(event.data) for event in log.samples[0].events if event.event == "info"]
    assert any("overflow: `1 of 3 candidates left out (1.2): rank by openai/gpt-4o-j" in event for event in events)
