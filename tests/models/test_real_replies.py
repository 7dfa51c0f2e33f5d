"""Every kind of reply that real servers send, through the fast path and through Inspect's own: both give the same.

The kinds are the rows of the table in docs/harnesses.md.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from fakes.server import FakeServer
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.model._generate_config import set_active_generate_config
from inspect_ai.model._model import _models

from archon_eval._notes import ArchonNote
from archon_eval.architecture.spec import GenerationSettings
from archon_eval.errors import BudgetError, ModelError
from archon_eval.integrations.python import Archon
from archon_eval.models import openai_replies
from archon_eval.models.call import Call, Reply, Usage
from archon_eval.models.client import build_client
from archon_eval.models.context_window import is_overflow
from archon_eval.models.inspect_client import InspectClient
from archon_eval.models.judge_client import ask_judge
from archon_eval.models.openai_direct import OpenAIDirect
from archon_eval.models.replies import to_reply
from archon_eval.types import Message

MODEL = "openai/gpt-4o"
HI = (Message("user", "hi"),)
PATHS = pytest.mark.parametrize("trace", ["full", "calls"], ids=["direct", "inspect"])
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(autouse=True)
def plain_environment(fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARCHON_STORE", raising=False)
    fake_server.answer = lambda *_: "It is 4."
    set_active_generate_config(GenerateConfig())


def ask(trace: str, draws: int = 1, **config: Any) -> list[Reply | ModelError]:
    """Replies and failures of so many draws of one prompt, asked for at once."""
    found: dict[int, Reply | ModelError] = {}

    async def main() -> None:
        set_active_generate_config(GenerateConfig(**{"max_retries": 2, **config}))
        caller = InspectClient([MODEL], trace=trace)

        async def one(draw: int) -> None:
            try:
                found[draw] = await caller(Call(MODEL, HI, GenerationSettings(max_tokens=100), draw))
            except ModelError as exc:
                found[draw] = exc

        async with anyio.create_task_group() as group:
            for draw in range(draws):
                group.start_soon(one, draw)

    anyio.run(main)
    return [found[draw] for draw in sorted(found)]


def changed(**parts: Any) -> Change:
    """The completion with other parts."""
    return lambda completion: {**completion, **parts}


def in_choice(**parts: Any) -> Change:
    """The completion with other parts in its first choice."""
    return lambda completion: {**completion, "choices": [{**completion["choices"][0], **parts}]}


def says(content: Any, **more: Any) -> Change:
    """The completion with another message."""
    return in_choice(message={"role": "assistant", "content": content, **more})


def counts(**usage: Any) -> Change:
    return changed(usage=usage)


WHOLE = Reply("It is 4.")
SPOKEN_OF = "Use:\n```html\n<think>hello</think>\n```"
ROWS: dict[str, tuple[Change, Reply]] = {
    "cut off": (in_choice(finish_reason="length"), Reply("It is 4.", "max_tokens")),
    "filtered half way": (in_choice(finish_reason="content_filter"), Reply("It is 4.", "content_filter")),
    "an end that is a list": (in_choice(finish_reason=["stop"]), Reply("It is 4.", "unknown")),
    "cut off, in capitals": (in_choice(finish_reason="MAX_TOKENS"), Reply("It is 4.", "max_tokens")),
    "filtered by another name": (in_choice(finish_reason="SAFETY"), Reply("It is 4.", "content_filter")),
    "the window's end": (in_choice(finish_reason="model_context_window_exceeded"), Reply("It is 4.", "model_length")),
    "an end of unknown name": (in_choice(finish_reason="eos_token"), Reply("It is 4.", "unknown")),
    "a list of parts": (says([{"type": "text", "text": "It is"}, {"type": "text", "text": " 4."}]), WHOLE),
    "parts with thoughts": (
        says([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "4"}]),
        Reply("4", thoughts="hm"),
    ),
    "thoughts": (says("<think>hm</think>It is 4."), Reply("It is 4.", thoughts="hm")),
    "thoughts without their beginning": (says("hm</think>\nIt is 4."), Reply("It is 4.", thoughts="hm")),
    "thoughts in the middle": (says("So: <think>hm</think>4"), Reply("So: 4", thoughts="hm")),
    "thoughts without an end": (
        in_choice(finish_reason="length", message={"role": "assistant", "content": "<think>hm 4"}),
        Reply("", "max_tokens", thoughts="hm 4"),
    ),
    "thoughts by another name": (says("<thought>hm</thought>It is 4."), Reply("It is 4.", thoughts="hm")),
    "channels": (
        says("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>4"),
        Reply("4", thoughts="hm"),
    ),
    "a field for thoughts": (says("It is 4.", reasoning_content="hm"), Reply("It is 4.", thoughts="hm")),
    "another field for thoughts": (says("It is 4.", reasoning="hm"), Reply("It is 4.", thoughts="hm")),
    "thoughts only spoken of": (says(SPOKEN_OF), Reply(SPOKEN_OF)),
    "thoughts spoken of after thoughts": (says(f"<think>hm</think>{SPOKEN_OF}"), Reply(SPOKEN_OF, thoughts="hm")),
    "tags after thoughts that came apart": (
        says("So <think>x</think> 4", reasoning_content="hm"),
        Reply("So <think>x</think> 4", thoughts="hm"),
    ),
    "a number": (says(4), Reply("4")),
    **{
        f"odd log probabilities {place}": (in_choice(logprobs=odd), WHOLE)
        for place, odd in enumerate(["x", [], [1], 7, {"content": 7}, {"content": [{"token": 1}]}, {"tokens": ["a"]}])
    },
    "a refusal": (says(None, refusal="I cannot."), Reply("I cannot.", "content_filter")),
    "no text": (says(None), Reply("")),
}


@PATHS
@pytest.mark.parametrize("row", ROWS)
def test_what_came_is_read_as_what_it_means(fake_server: FakeServer, trace: str, row: str) -> None:
    sent, meant = ROWS[row]
    fake_server.send(sent)
    (reply,) = ask(trace)
    assert isinstance(reply, Reply) and len(fake_server.requests) == 1
    assert (reply.text, reply.thoughts, reply.stop_reason) == (meant.text, meant.thoughts, meant.stop_reason)
    assert (reply.status, reply.usage, reply.remarks) == (meant.status, Usage(3, 5), ())


USAGES: dict[str, tuple[Change, Usage | None]] = {
    "a total with more in it": (counts(prompt_tokens=10, completion_tokens=3, total_tokens=50), Usage(10, 40)),
    "nothing but zeros": (counts(prompt_tokens=0, completion_tokens=0, total_tokens=0), None),
    "no tokens for a text": (counts(prompt_tokens=9, completion_tokens=0, total_tokens=9), None),
    "null": (changed(usage=None), None),
    "counts of null": (counts(prompt_tokens=None, completion_tokens=None, total_tokens=None), None),
    "a total alone": (counts(total_tokens=13), None),
    "text": (counts(prompt_tokens="10", completion_tokens="3", total_tokens="13"), Usage(10, 3)),
    "words": (changed(usage="a lot"), None),
    "cached": (
        counts(prompt_tokens=10, completion_tokens=3, total_tokens=13, prompt_tokens_details={"cached_tokens": 4}),
        Usage(10, 3),
    ),
}


@PATHS
@pytest.mark.parametrize("row", USAGES)
def test_a_reply_is_kept_and_asked_for_once_whatever_its_usage(fake_server: FakeServer, trace: str, row: str) -> None:
    sent, usage = USAGES[row]
    fake_server.send(sent)
    (reply,) = ask(trace)
    assert isinstance(reply, Reply) and (reply.text, reply.usage) == ("It is 4.", usage)
    assert len(fake_server.requests) == 1


BROKEN: dict[str, Change] = {
    "an end in an error": in_choice(finish_reason="error"),
    "an end in a lost connection": in_choice(finish_reason="network_error"),
    "an error in the choice": in_choice(error={"message": "upstream failed", "code": 502}),
    "an error in place of choices": lambda _: {"error": {"message": "upstream failed", "code": 502}},
    "a choice of null": changed(choices=[None]),
    "no choices": changed(choices=[]),
    "choices of null": changed(choices=None),
}


@PATHS
@pytest.mark.parametrize("row", BROKEN)
def test_what_the_server_gave_up_is_asked_for_again_and_noted(fake_server: FakeServer, trace: str, row: str) -> None:
    fake_server.send(BROKEN[row])
    (reply,) = ask(trace)
    assert isinstance(reply, Reply) and reply.text == "It is 4." and len(fake_server.requests) == 2
    assert [remark.startswith("asked again after: ") for remark in reply.remarks] == [True]


@PATHS
@pytest.mark.parametrize("body", [[1], "x", None, 7])
def test_a_body_that_is_no_object_fails_in_the_same_words(fake_server: FakeServer, trace: str, body: Any) -> None:
    fake_server.send(*[body] * 9)
    (failed,) = ask(trace)
    said = f"gave up after 3 attempts: an answer that is no JSON object: {json.dumps(body)}"
    assert isinstance(failed, ModelError) and said in str(failed).replace("'", "") and len(fake_server.requests) == 3


@PATHS
@pytest.mark.parametrize(("retries", "requests"), [(0, 1), (1, 2), (2, 3), (None, 3)])
def test_what_the_server_always_gives_up_fails(
    fake_server: FakeServer, trace: str, retries: int | None, requests: int
) -> None:
    fake_server.send(*[BROKEN["an error in the choice"]] * 9)
    (failed,) = ask(trace, max_retries=retries)
    assert isinstance(failed, ModelError) and "upstream failed" in str(failed)
    assert len(fake_server.requests) == requests


@PATHS
def test_an_error_that_asking_again_does_not_mend_is_told_in_the_providers_words(
    fake_server: FakeServer, trace: str
) -> None:
    fake_server.send({"error": {"message": "no such voice", "code": 404}})
    (failed,) = ask(trace)
    assert isinstance(failed, ModelError) and "no such voice" in str(failed) and len(fake_server.requests) == 1


@PATHS
@pytest.mark.parametrize(
    "sent",
    [
        lambda c: in_choice(finish_reason="content_filter")(counts(prompt_tokens=3, completion_tokens=0)(c)),
        lambda c: in_choice(finish_reason="content_filter", message={"content": None})(c),
        lambda c: in_choice(finish_reason="content_filter")(changed(usage=None)(c)),
    ],
    ids=["no tokens", "no text", "no usage"],
)
def test_a_filter_that_let_nothing_through_is_a_failed_call(fake_server: FakeServer, trace: str, sent: Change) -> None:
    fake_server.send(sent)
    (failed,) = ask(trace)
    assert isinstance(failed, ModelError) and "refused by the provider's content filter" in str(failed)


@PATHS
def test_a_prompt_over_the_window_is_a_failed_call(fake_server: FakeServer, trace: str) -> None:
    fake_server.script("400-context")
    (failed,) = ask(trace)
    assert isinstance(failed, ModelError) and "maximum context length is 8192" in str(failed)


OVERFLOW = "This model's maximum context length is 8192 tokens. You requested 9015 tokens."


@PATHS
@pytest.mark.parametrize(
    ("text", "why"),
    [
        (OVERFLOW, "the prompt does not fit the model's context window"),
        ("Your request was blocked by our content policy.", "refused by the provider's content filter"),
    ],
)
def test_a_notice_for_which_no_token_was_generated_is_a_failed_call(
    fake_server: FakeServer, trace: str, text: str, why: str
) -> None:
    spoken, none = says(text), counts(prompt_tokens=9, completion_tokens=0, total_tokens=9)
    fake_server.send(lambda completion: spoken(none(completion)), spoken)
    (failed,), (answer,) = ask(trace), ask(trace)
    assert isinstance(failed, ModelError) and why in str(failed) and text in str(failed)
    assert isinstance(answer, Reply) and answer.text == text, "with tokens of its own, the model says so"


@PATHS
def test_an_end_of_the_window_without_text_is_a_prompt_over_it(fake_server: FakeServer, trace: str) -> None:
    message = {"role": "assistant", "content": ""}
    fake_server.send(in_choice(finish_reason="model_context_window_exceeded", message=message))
    (failed,) = ask(trace)
    assert isinstance(failed, ModelError) and is_overflow(str(failed))


@PATHS
def test_errors_in_place_of_answers_do_not_vote_and_are_not_kept(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trace: str
) -> None:
    layers = [{"generator": {"model": MODEL, "samples": 5, "seed": 1, "on_error": "drop"}}, {"vote": {}}]
    given: dict[str, Any] = {"store": str(tmp_path / "calls.db"), "trace": trace}
    texts = iter(["ANSWER: 1", "ANSWER: 2", "ANSWER: 3"])
    fake_server.answer = lambda *_: next(texts)
    fake_server.script("400-context", "400-context")
    answer = Archon({"name": "five", "layers": layers}, **given).generate_sync("hi")
    assert answer.text in ("ANSWER: 1", "ANSWER: 2", "ANSWER: 3") and answer.trail.counts["dropped"] == 2
    before = len(fake_server.requests)
    texts = iter(["ANSWER: 3", "ANSWER: 3"])  # the server's limit was raised
    again = Archon({"name": "five", "layers": layers}, **given).generate_sync("hi")
    assert again.trail.counts == {"vote": 1} and len(fake_server.requests) == before + 2


@PATHS
def test_a_failed_call_fails_the_question_unless_it_may_be_dropped(fake_server: FakeServer, trace: str) -> None:
    fake_server.script("400-context")
    with pytest.raises(ModelError, match="maximum context length"):
        Archon({"name": "one", "layers": [{"generator": MODEL}]}, trace=trace).generate_sync("hi")


@PATHS
def test_a_spent_quota_stops_at_once(fake_server: FakeServer, trace: str) -> None:
    fake_server.script(*["429-quota"] * 20)
    (failed,) = ask(trace)
    assert isinstance(failed, ModelError) and "quota" in str(failed) and len(fake_server.requests) == 1


@PATHS
def test_another_model_than_asked_is_noted(fake_server: FakeServer, trace: str) -> None:
    fake_server.send(changed(model="gpt-4o-mini"), changed(model="gpt-4o-2024-08-06"))
    (noted,), (same,) = ask(trace), ask(trace)
    assert isinstance(noted, Reply) and noted.remarks == ("answered by 'gpt-4o-mini', not gpt-4o",)
    assert isinstance(same, Reply) and same.remarks == ()


@PATHS
def test_a_budget_counts_the_worst_case_where_the_usage_is_unknown(fake_server: FakeServer, trace: str) -> None:
    fake_server.send(*[counts(prompt_tokens=0, completion_tokens=0, total_tokens=0)] * 9)
    layers = [{"generator": {"model": MODEL, "max_tokens": 100}}]
    archon = Archon({"name": "one", "layers": layers}, trace=trace, budget={"eval": {"output_tokens": 250}})
    assert archon.generate_sync("first").cost is None
    archon.generate_sync("second")
    with pytest.raises(BudgetError, match="200 output tokens spent"):
        archon.generate_sync("third")


@PATHS
def test_tokens_beyond_the_completions_are_in_the_budget(fake_server: FakeServer, trace: str) -> None:
    fake_server.send(counts(prompt_tokens=3, completion_tokens=1, total_tokens=90))
    layers = [{"generator": {"model": MODEL, "max_tokens": 100}}]
    archon = Archon({"name": "one", "layers": layers}, trace=trace, budget={"eval": {"output_tokens": 150}})
    archon.generate_sync("first")
    with pytest.raises(BudgetError, match="87 output tokens spent"):
        archon.generate_sync("second")


def test_the_same_choice_twice_is_one_draw(fake_server: FakeServer) -> None:
    fake_server.answer = lambda _, __, nonce: f"draw {nonce}"
    fake_server.send(lambda c: {**c, "choices": [c["choices"][0], c["choices"][0], c["choices"][1]]})
    replies = ask("full", draws=3)
    texts = [reply.text for reply in replies if isinstance(reply, Reply)]
    assert len(set(texts)) == 3 and len(fake_server.requests) == 2
    assert [reply.remarks for reply in replies if isinstance(reply, Reply) and reply.remarks] == [
        ("1 of 3 choices came twice under one index",)
    ]


def test_equal_draws_under_indexes_of_their_own_are_draws(fake_server: FakeServer) -> None:
    assert [reply.text for reply in ask("full", draws=3) if isinstance(reply, Reply)] == ["It is 4."] * 3
    assert len(fake_server.requests) == 1


@pytest.mark.parametrize(
    ("sent", "requests", "remark"),
    [
        (lambda c: {**c, "choices": c["choices"][:2]}, 2, "2 choices, 3 asked for"),
        (lambda c: {**c, "choices": [*c["choices"], {**c["choices"][0], "index": 3}]}, 1, "4 choices, 3 asked for"),
        (
            lambda c: {**c, "choices": [{**c["choices"][0], "finish_reason": "error"}, *c["choices"][1:]]},
            2,
            "1 of 3 choices failed: the provider ended the reply with finish_reason 'error'",
        ),
        (
            lambda c: {**c, "choices": [*c["choices"][:2], None]},
            2,
            "1 of 3 choices failed: a choice that is no JSON object: 'null'",
        ),
    ],
    ids=["fewer", "more", "failed", "null"],
)
def test_draws_that_are_missing_are_asked_for_and_noted(
    fake_server: FakeServer, sent: Change, requests: int, remark: str
) -> None:
    fake_server.answer = lambda _, __, nonce: f"draw {nonce}"
    fake_server.send(sent)
    replies = [reply for reply in ask("full", draws=3) if isinstance(reply, Reply)]
    assert len({reply.text for reply in replies}) == 3 and len(fake_server.requests) == requests
    assert [reply.remarks for reply in replies if reply.remarks] == [(remark,)]
    assert sum(reply.usage.input_tokens for reply in replies if reply.usage) == 3 * requests


def test_what_was_otherwise_is_in_the_account(fake_server: FakeServer) -> None:
    fake_server.send(changed(model="gpt-4o-mini"))
    trail = Archon({"name": "one", "layers": [{"generator": MODEL}]}).generate_sync("hi").trail
    assert [(note.what, note.detail.partition(": ")[2]) for note in trail.notes] == [
        ("irregular", "answered by 'gpt-4o-mini', not gpt-4o")
    ]


@PATHS
def test_candidates_are_answers_and_say_that_they_were_cut(fake_server: FakeServer, trace: str) -> None:
    fake_server.answer = lambda *_: "<think>hm</think>It is"
    fake_server.script("length")
    answer = Archon({"name": "one", "layers": [{"generator": MODEL}]}, trace=trace).generate_sync("hi")
    assert (answer.text, answer.candidates[0].cut, answer.trail.counts) == ("It is", True, {"truncated": 1})
    (step,) = answer.trail.steps
    assert step.reply is not None and step.reply.thoughts == "hm"


@pytest.mark.parametrize(
    ("fault", "status"), [("ok", "complete"), ("length", "cut"), ("filter", "filtered"), ("400-context", "failed")]
)
def test_another_providers_replies_have_the_same_meanings(fake_server: FakeServer, fault: str, status: str) -> None:
    fake_server.answer = lambda *_: "hm</think>It is 4."
    fake_server.script(fault)
    call = Call("anthropic/claude-3-5-sonnet-latest", HI, GenerationSettings(max_tokens=100))

    async def main() -> Reply:
        return await InspectClient([call.model])(call)

    if status == "failed":
        with pytest.raises(ModelError, match="maximum context length"):
            anyio.run(main)
    else:
        reply = anyio.run(main)
        assert (reply.status, reply.text, reply.thoughts) == (status, "It is 4.", "hm")


def test_calls_of_others_by_the_same_model_come_as_they_are(fake_server: FakeServer) -> None:
    async def main() -> str:
        model = get_model(MODEL)
        InspectClient([MODEL], trace="full")
        return (await model.generate("hi")).completion

    fake_server.send(says("hm</think>It is 4."))
    assert anyio.run(main) == "hm</think>It is 4."


def test_a_judge_reads_replies_in_the_same_way(fake_server: FakeServer) -> None:
    async def judge() -> Reply:
        set_active_generate_config(GenerateConfig(max_retries=2))
        return to_reply(await ask_judge(get_model(MODEL), [], GenerateConfig()), MODEL, 0.0)

    fake_server.send(BROKEN["an end in an error"], says("hm</think>[[A]]"))
    assert anyio.run(judge).text == "[[A]]" and len(fake_server.requests) == 2
    fake_server.script("400-context")
    with pytest.raises(ModelError, match="maximum context length"):
        anyio.run(judge)


@pytest.mark.parametrize("fault", ["429", "503-after", "503"])
def test_a_refused_request_for_draws_is_sent_again_for_all_of_them(fake_server: FakeServer, fault: str) -> None:
    fake_server.answer = lambda _, __, nonce: f"draw {nonce}"
    fake_server.script(fault, fault)
    replies = ask("full", draws=5)
    assert len({reply.text for reply in replies if isinstance(reply, Reply)}) == 5
    assert [one.body["n"] for one in fake_server.requests] == [5, 5, 5]


def test_a_retry_after_that_is_a_date_is_waited_for(fake_server: FakeServer) -> None:
    fake_server.retry_after = "date"
    fake_server.script("429")
    ask("full", draws=2)
    first, second = fake_server.requests
    assert second.started - first.started >= 1.0, "the date is one to two seconds ahead"


def test_a_retry_after_of_a_day_is_cut_and_noted(fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_replies, "CUT_WAIT", 0.01)
    fake_server.retry_after = "86400"
    fake_server.script("429")
    (reply,) = ask("full")
    assert isinstance(reply, Reply) and len(fake_server.requests) == 2
    assert reply.remarks == ("asked again after 0.01 seconds, not 86400 as the server said",)


def test_a_refusal_past_the_configured_retries_fails_all_draws_once(fake_server: FakeServer) -> None:
    fake_server.retry_after = "0.01"
    fake_server.script(*["429"] * 9)
    replies = ask("full", draws=4, max_retries=1)
    assert [isinstance(one, ModelError) and "gave up after 2 attempts: HTTP 429" in str(one) for one in replies] == [
        True
    ] * 4
    assert len(fake_server.requests) == 2


@pytest.mark.parametrize("capacity", [1, 3])
def test_an_endpoint_is_given_as_much_as_it_takes(fake_server: FakeServer, capacity: int) -> None:
    fake_server.latency, fake_server.capacity, fake_server.retry_after = 0.03, capacity, "0.1"

    model = f"{MODEL}-for-{capacity}"  # Inspect keeps the number of connections by a model's name

    async def main() -> int:
        set_active_generate_config(GenerateConfig(max_connections=12))
        fast = OpenAIDirect(get_model(model))
        async with anyio.create_task_group() as group:
            for n in range(40):
                group.start_soon(fast, Call(model, (Message("user", str(n)),), GenerationSettings()))
        return int(fast._gate.limit)

    assert anyio.run(main) <= capacity + 1
    answered = sum(one.fault == "ok" for one in fake_server.requests)
    refused = len(fake_server.requests) - answered
    assert answered == 40 and refused <= 20, "a burst of twelve is refused once, and later ones hardly ever"


@pytest.mark.parametrize(
    "url",
    ["ftp://127.0.0.1/v1", "127.0.0.1:8000/v1", "https:///v1", "http://127.0.0.1:99999/v1", "chat/completions"],
)
def test_an_address_that_cannot_be_right_is_refused_before_a_key_is_sent(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    _models.clear()
    monkeypatch.setenv("OPENAI_BASE_URL", f"{fake_server.url}/{url}" if url.startswith("chat") else url)
    with pytest.raises(ModelError, match="base URL"):
        build_client([MODEL])
    assert not fake_server.requests


def test_an_address_without_a_path_is_joined_with_a_slash(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _models.clear()
    monkeypatch.setenv("OPENAI_BASE_URL", fake_server.anthropic_url)
    fast = OpenAIDirect(get_model(MODEL))
    assert str(fast._requests.get_endpoint().url) == f"{fake_server.anthropic_url}/chat/completions"


def test_why_the_fast_path_is_not_used_is_said_once(fake_server: FakeServer) -> None:
    settings = GenerationSettings(reasoning_effort="low")

    async def main() -> None:
        caller = InspectClient([MODEL], trace="full")
        with pytest.warns(ArchonNote, match="the configuration has reasoning_effort") as said:
            for draw in range(3):
                await caller(Call(MODEL, HI, settings, draw))
        assert sum(issubclass(one.category, ArchonNote) for one in said) == 1

    anyio.run(main)
    with pytest.warns(ArchonNote, match="other requests than plain chat completions") as said:
        InspectClient(["openai/o3-mini"], trace="full")
    assert len(said) == 1
