"""Tools and images in the engine: who is sent them, who reads them as text, who is refused."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.components import CallContext, ComponentType, ListComponent
from archon_eval.engine.engine import Engine
from archon_eval.errors import ModelError
from archon_eval.models.call import Call, Reply
from archon_eval.types import (
    Conversation,
    Message,
    State,
    ToolCall,
    ToolDefinition,
    ToolOffer,
    flatten_conversation,
    render_conversation,
)

HERE = __name__
ADD = ToolDefinition("add", "Adds two numbers.", '{"name": "add"}')
OFFER = ToolOffer((ADD,))
ASKED = (Message("user", "What is 2 + 2?"),)
GENERATORS: dict[str, Any] = {"generator": {"model": "m/g", "samples": 3}}
IMAGE = json.dumps({"content": [{"type": "text", "text": "What is it?"}, {"type": "image", "image": "data:,"}]})
PICTURE = (Message("system", "S"), Message("user", "What is it?", extra=IMAGE))


def propose(**arguments: int) -> Reply:
    return Reply("", "tool_calls", tool_calls=(ToolCall(f"id{arguments}", "add", json.dumps(arguments)),))


class Scripted:
    """Generators propose by their draw; judges say what fits their prompt."""

    def __init__(self, *proposals: Reply) -> None:
        self.proposals, self.calls = proposals, list[Call]()

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        if call.model == "m/g":
            return self.proposals[call.draw]
        return Reply("[2] > [1] > [3]" if "Rank all" in call.messages[0].content else "Fine.\n[Correct]")


def run(layers: list[Any], caller: Any, conversation: Conversation = ASKED, **options: Any) -> Any:
    stop = options.pop("stop", ())
    engine = Engine(load_architecture({"layers": layers}), caller, stop=stop)
    return asyncio.run(engine.run(conversation, **options))


def test_generators_alone_are_offered_tools() -> None:
    caller = Scripted(propose(a=1), propose(a=2), propose(a=3))
    answer = run([GENERATORS, {"ranker": {"model": "m/r", "top_k": 2}}, {"verifier": "m/v"}], caller, tools=OFFER)
    assert [call.tools for call in caller.calls] == [OFFER] * 3 + [None] * 5
    assert answer.candidates[0].id == "1.2" and answer.text == "Tool call: add(a=2)"
    assert answer.candidates[0].turn == Message("assistant", "", propose(a=2).tool_calls)
    assert "empty" not in answer.trail.counts


def test_a_final_answer_among_proposals_is_a_text() -> None:
    answer = run([GENERATORS, {"vote": {"top_k": 1}}], Scripted(propose(a=1), Reply("4"), Reply("4")), tools=OFFER)
    assert answer.text == "4" and answer.candidates[0].turn is None


def test_proposals_that_cannot_be_read_do_not_vote() -> None:
    garbled = [Reply("", "tool_calls", tool_calls=(ToolCall(f"{n}", "add", problem=f"no JSON {n}"),)) for n in (1, 2)]
    answer = run([GENERATORS, {"vote": {"top_k": 1}}], Scripted(*garbled, propose(a=1)), tools=OFFER)
    assert answer.text == "Tool call: add(a=1)"
    answer = run([GENERATORS, {"vote": {"top_k": 1}}], Scripted(*garbled, garbled[0]), tools=OFFER)
    assert answer.candidates[0].id == "1.1" and answer.trail.counts == {"fallback": 1}


class Picks(ListComponent):
    """Chooses the last candidate, and says so of tool calls."""

    kind = ComponentType("picks", needs_model=False)
    tool_obstacle = ""

    async def run(self, state: State, ctx: CallContext) -> State:
        ctx.record_event("saw", state.instruction)
        return replace(state, candidates=state.candidates[-1:])


class Silent(ListComponent):
    """Says nothing of tool calls."""

    kind = ComponentType("silent", needs_model=False)

    async def run(self, state: State, ctx: CallContext) -> State:
        return state


def test_own_components_see_text_and_have_to_say_that_they_choose() -> None:
    history = (*ASKED, Message("assistant", "", (ToolCall("1", "add"),)), Message("tool", "5", extra="{}"))
    caller = Scripted(propose(a=1), propose(a=2), propose(a=3))
    answer = run([GENERATORS, {f"{HERE}:Picks": {}}], caller, history, tools=OFFER)
    assert answer.text == "Tool call: add(a=3)" and caller.calls[0].messages == history
    assert answer.trail.notes[0].detail == (
        "What is 2 + 2?\n\n(What has been done so far:)\nTool call: add()\n\nResult of a tool:\n5\n\n"
        "(A response is the next turn. It answers, or it calls some of these tools:)\n- add: Adds two numbers."
    )
    with pytest.raises(ModelError, match=r"layer 2 \(.*Silent\): it does not say what it does with tool calls"):
        run([GENERATORS, {f"{HERE}:Silent": {}}], caller, tools=OFFER)
    assert len(caller.calls) == 3


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ([{"fuser": "m/f"}], r"layer 2 \(fuser\): it writes a text of its own.*; a ranker in its place chooses one"),
        ([{"critic": "m/c"}, {"fuser": "m/f"}], r"layer 3 \(fuser\)"),
        (
            [{"unit_test_generator": "m/t"}, {"unit_test_evaluator": "m/e"}],
            r"layer 2 \(unit_test_generator\): .*; layer 3 \(unit_test_evaluator\): ",
        ),
    ],
)
def test_what_writes_texts_of_its_own_is_refused_before_any_call(layer: list[Any], said: str) -> None:
    caller = Scripted()
    with pytest.raises(ModelError, match=said):
        run([GENERATORS, *layer], caller, tools=OFFER)
    assert not caller.calls


def test_a_stop_sequence_does_not_cut_a_proposal() -> None:
    said = replace(propose(a=1), text="First: add")
    answer = run([{"generator": "m/g"}], Scripted(said), tools=OFFER, stop=("First",))
    assert answer.candidates[0].turn and answer.text == "First: add\n\nTool call: add(a=1)"


def test_a_reply_with_neither_text_nor_calls_is_empty() -> None:
    assert run([{"generator": "m/g"}], Scripted(Reply("")), tools=OFFER).trail.counts == {"empty": 1}


def test_images_go_to_generators_and_each_judge_has_a_note() -> None:
    caller = Scripted(Reply("a"), Reply("b"), Reply("c"))
    layers = [GENERATORS, {"verifier": "m/v"}, {"ranker": {"model": "m/r"}}, {"vote": {"top_k": 1}}]
    answer = run(layers, caller, PICTURE)
    assert all((call.messages == PICTURE) == (call.model == "m/g") for call in caller.calls)
    judged = [call.messages[-1].content for call in caller.calls if call.model != "m/g"]
    assert len(judged) == 7 and all("What is it?\n[image]" in prompt for prompt in judged)
    assert [(note.layer, note.what, note.detail) for note in answer.trail.notes if note.what == "unseen"] == [
        (2, "unseen", "verifier gets the text and a placeholder for 1 image"),
        (3, "unseen", "ranker gets the text and a placeholder for 1 image"),
    ]


def test_a_fuser_sends_the_history_in_text() -> None:
    history = (
        *PICTURE,
        Message("assistant", "I look.", (ToolCall("1", "zoom", '{"by": 2}'),)),
        Message("tool", "", extra='{"error": {"message": "no", "type": "unknown"}, "function": "zoom"}'),
        Message("assistant", "I see a cat."),
        Message("user", "Which colour?"),
    )
    caller = Scripted(Reply("a"), Reply("b"), Reply("c"))
    run([GENERATORS, {"fuser": "m/f"}], caller, history)
    sent = caller.calls[-1].messages
    assert all(message.is_text for message in sent)
    assert [message.role for message in sent] == ["system", "user", "assistant", "user"]
    assert sent[1].content == "What is it?\n[image]"
    assert sent[2].content == "I look.\n\nTool call: zoom(by=2)\n\nResult of zoom:\nError: no\n\nI see a cat."


def test_a_conversation_in_text_stays_as_it_is() -> None:
    plain = (Message("user", "a"), Message("assistant", "b"), Message("assistant", "c"), Message("user", "d"))
    assert flatten_conversation(plain) == plain
    assert render_conversation(plain, ToolOffer((ADD,), "none")) == render_conversation(plain)
