"""Tool calls and other parts of messages on their way to a provider and back, and in the call store."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentAudio,
    ContentDocument,
    ContentImage,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelOutput,
)
from inspect_ai.tool import ToolCall as InspectToolCall
from inspect_ai.tool import ToolCallError, ToolFunction, ToolInfo, ToolParam, ToolParams

from archon_eval.architecture.spec import GenerationSettings
from archon_eval.errors import ModelError, StoreError
from archon_eval.models.budget import TOKENS_PER_IMAGE, estimate_worst_case
from archon_eval.models.call import Call, Reply, Usage
from archon_eval.models.conversion import from_tool_offer, to_chat, to_conversation, to_tool_offer
from archon_eval.models.recording import Recording
from archon_eval.models.replies import to_reply
from archon_eval.models.store import CallStore
from archon_eval.models.store_entry import build_call_key, decode, encode
from archon_eval.types import Message, ToolCall, ToolDefinition, ToolOffer, list_unseen_parts

IMAGE = ContentImage(image="data:image/png;base64,AAAA", detail="high")
WHERE = "openai/gpt-4o at https://api.openai.com/v1/"
OFFER = ToolOffer((ToolDefinition("add", "Adds.", '{"name": "add"}'),))
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts, lambda v: st.lists(v) | st.dictionaries(texts, v)
)


def make_call(*messages: Message, tools: ToolOffer | None = None) -> Call:
    return Call("openai/gpt-4o", messages, GenerationSettings(max_tokens=5), tools=tools)


def test_calls_in_text_have_the_keys_and_entries_that_they_always_had() -> None:
    turns = (Message("system", "S"), Message("user", "hi"), Message("assistant", "so"))
    call = Call("openai/gpt-4o", turns, GenerationSettings(temperature=0.5), draw=3, epoch=2)
    digest = build_call_key(call, WHERE, '{"top_p": 1}').digest.hex()
    assert digest == "8654dd3cf90210ce21ca01a2ca9e5da0085aa65e68da5eb0ead75a605cfb3d79"
    entry = encode(Reply("hello", "stop", Usage(3, 4), 0.5, thoughts="hm"))
    assert entry == b'j["hello","stop",[3,4],0.5,0,[],{"thoughts":"hm"}]'


def test_everything_of_tools_and_parts_is_in_the_key() -> None:
    asked, add = Message("user", "?"), ToolCall("1", "add", '{"a": 1}')
    calls = [
        make_call(asked),
        make_call(asked, tools=OFFER),
        make_call(asked, tools=ToolOffer(OFFER.definitions, "any")),
        make_call(asked, tools=ToolOffer(OFFER.definitions, options='{"parallel_tool_calls": false}')),
        make_call(asked, tools=ToolOffer((ToolDefinition("add", "Adds.", '{"name": "add", "x": 1}'),))),
        make_call(asked, Message("assistant", "")),
        make_call(asked, Message("assistant", "", (add,))),
        make_call(asked, Message("assistant", "", (add, add))),
        make_call(asked, Message("assistant", "", (ToolCall("2", "add", '{"a": 1}'),))),
        make_call(asked, Message("assistant", "", (ToolCall("1", "add", '{"a": 2}'),))),
        make_call(Message("user", "?", extra='{"content": []}')),
        make_call(Message("user", "?", extra='{"content": [1]}')),
    ]
    assert len({build_call_key(call, WHERE).digest for call in calls}) == len(calls)


@given(st.lists(st.tuples(texts, texts, st.dictionaries(texts, values), texts), min_size=1, max_size=3), texts)
@settings(max_examples=60, deadline=None)
def test_a_reply_with_tool_calls_comes_back_as_it_was(calls: list[Any], extra: str) -> None:
    made = tuple(ToolCall(id, name, json.dumps(arguments), problem) for id, name, arguments, problem in calls)
    reply = Reply("I add.", "tool_calls", Usage(3, 4), tool_calls=made, extra=extra)
    found = decode(encode(reply))
    assert (found.tool_calls, found.extra, found.stop_reason, found.text) == (made, extra, "tool_calls", "I add.")


def test_recordings_that_differ_in_tool_calls_are_told_apart(tmp_path: Any) -> None:
    call = make_call(Message("user", "?"), tools=OFFER)
    with CallStore(tmp_path / "calls.db") as store:
        for place in ("here", "there"):
            key = build_call_key(call, f"openai/gpt-4o at https://{place}/v1")
            asyncio.run(store.put(key, Reply("", "tool_calls", tool_calls=(ToolCall(place, "add"),))))
        with pytest.raises(StoreError, match="from several endpoints"):
            asyncio.run(Recording(store).find_reply(call, [""]))


MESSAGES: list[ChatMessage] = [
    ChatMessageSystem(content="S"),
    ChatMessageUser(content=[ContentText(text="Look"), IMAGE, ContentText(text="closely")]),
    ChatMessageAssistant(content="I add.", tool_calls=[InspectToolCall("1", "add", {"b": [1, None], "a": "x"})]),
    ChatMessageTool(content="3", tool_call_id="1", function="add"),
    ChatMessageAssistant(content="", tool_calls=[InspectToolCall("2", "add", {}, parse_error="no JSON")]),
    ChatMessageTool(content=[IMAGE], tool_call_id="2", function="add", error=ToolCallError("timeout", "too long")),
    ChatMessageUser(content=[ContentAudio(audio="data:audio/wav;base64,AA", format="wav")]),
    ChatMessageUser(content=[ContentDocument(document="data:application/pdf;base64,AA", filename="a.pdf")]),
]


def test_messages_come_back_as_they_were() -> None:
    def show(message: ChatMessage) -> dict[str, Any]:
        return message.model_dump(exclude={"id"}, exclude_none=True)

    assert [show(to_chat(message)) for message in to_conversation(MESSAGES)] == list(map(show, MESSAGES))
    conversation = to_conversation(MESSAGES)
    assert conversation[1].content == "Look\nclosely" and conversation[0] == Message("system", "S")
    assert list_unseen_parts(conversation) == ("image", "image", "audio", "document")
    assert hash(conversation) == hash(to_conversation(MESSAGES))


def test_parts_of_text_alone_are_its_text() -> None:
    parts = ChatMessageUser(content=[ContentText(text="a"), ContentText(text="b")])
    assert to_conversation([parts]) == (Message("user", "a\nb"),)


def make_output(*parts: Any, **arguments: Any) -> ModelOutput:
    call = InspectToolCall("1", "add", arguments)
    message = ChatMessageAssistant(content=list(parts), tool_calls=[call])
    return ModelOutput(model="m", choices=[ChatCompletionChoice(message=message, stop_reason="tool_calls")])


def test_thoughts_are_kept_for_their_author_where_tools_are_called() -> None:
    thought = ContentReasoning(reasoning="hm", signature="sig")
    reply = to_reply(make_output(thought, ContentText(text="I add."), a=1), "m", 1.0, with_tools=True)
    assert reply.thoughts == "hm" and reply.text == "I add."
    turn = Message("assistant", reply.text, reply.tool_calls, json.dumps({**json.loads(reply.extra), "author": "m"}))
    mine, others = to_chat(turn, "m"), to_chat(turn, "n")
    assert isinstance(mine.content, list) and [part.type for part in mine.content] == ["reasoning", "text"]
    assert mine.content[0] == thought
    assert others.content == "I add." and isinstance(others, ChatMessageAssistant) and others.tool_calls


def test_thoughts_within_the_text_are_not_sent_twice() -> None:
    thought = ContentReasoning(reasoning="hm")
    reply = to_reply(make_output(thought, ContentText(text="<think>x</think>I add.")), "m", 1.0, with_tools=True)
    assert [part["type"] for part in json.loads(reply.extra)["content"]] == ["reasoning", "text"]
    assert json.loads(reply.extra)["content"][1]["text"] == "I add."


def test_a_call_of_a_tool_that_nobody_offered_is_none() -> None:
    assert not to_reply(make_output(a=1), "m", 1.0).tool_calls


def test_what_cannot_be_stored_is_replaced_in_arguments() -> None:
    reply = to_reply(make_output(a="x\x00y", b=["\ud800"]), "m", 1.0, with_tools=True)
    assert json.loads(reply.tool_calls[0].arguments) == {"a": "x\ufffdy", "b": ["\ufffd"]}
    assert decode(encode(reply)).tool_calls == reply.tool_calls


def test_an_offer_of_tools_comes_back_as_it_was() -> None:
    parameters = ToolParams(properties={"a": ToolParam(type="integer", description="A")}, required=["a"])
    info = ToolInfo(name="add", description="Adds.\nWell.", parameters=parameters, options={"x": [1]})
    offer = to_tool_offer([info], ToolFunction("add"), GenerateConfig(parallel_tool_calls=False))
    assert offer is not None and offer.may_be_called and offer.render() == "- add: Adds. Well."
    tools, choice, options = from_tool_offer(offer)
    assert (list(tools), choice, options) == ([info], ToolFunction("add"), {"parallel_tool_calls": False})
    assert to_tool_offer([], "auto", GenerateConfig()) is None


def test_options_that_cannot_be_written_down_are_refused() -> None:
    tool = ToolInfo(name="add", description="Adds.", options={"x": object()})
    with pytest.raises(ModelError, match="tool 'add' has options that are no JSON"):
        to_tool_offer([tool], "auto", GenerateConfig())


def test_the_worst_case_counts_tools_and_images() -> None:
    asked = Message("user", "?")
    plain = estimate_worst_case(make_call(asked), None).input_tokens
    assert estimate_worst_case(make_call(asked, tools=OFFER), None).input_tokens >= plain + len('{"name": "add"}')
    shown = to_conversation([ChatMessageUser(content=[ContentText(text="?"), IMAGE])])
    assert estimate_worst_case(make_call(*shown), None).input_tokens > TOKENS_PER_IMAGE


def test_what_cannot_be_stored_is_replaced_in_names_too() -> None:
    broken = InspectToolCall("id\ud800", "add\ud800\x00", {"a": "\ud800"}, parse_error="\ud800")
    message = ChatMessageAssistant(content="", tool_calls=[broken])
    reply = to_reply(ModelOutput(choices=[ChatCompletionChoice(message=message)]), "m", 0.0, with_tools=True)
    assert reply.tool_calls == (ToolCall("id\ufffd", "add\ufffd\ufffd", '{"a": "\ufffd"}', "\ufffd"),)
    assert decode(encode(reply)).tool_calls == reply.tool_calls


def test_the_bytes_that_encode_an_image_are_not_reserved_beside_it() -> None:
    image = ContentImage(image=f"data:image/png;base64,{'A' * 1_000_000}")
    (asked,) = to_conversation([ChatMessageUser(content=[ContentText(text="?"), image])])
    reserved = estimate_worst_case(make_call(asked), None).input_tokens
    assert TOKENS_PER_IMAGE < reserved < TOKENS_PER_IMAGE + 1000


def test_a_thought_that_only_its_provider_can_read_goes_back() -> None:
    sealed = ContentReasoning(reasoning="", redacted=True, internal={"redacted_content": "c2VhbGVk"})
    message = ChatMessageAssistant(content=[sealed], tool_calls=[InspectToolCall("1", "add", {})])
    reply = to_reply(ModelOutput(choices=[ChatCompletionChoice(message=message)]), "m", 0.0, with_tools=True)
    assert json.loads(reply.extra)["content"][0]["internal"] == {"redacted_content": "c2VhbGVk"}
