"""`system:` on a component: what may stand in it, where it goes, and that nothing changes where there is none."""

from typing import Any

import anyio
import pytest
import yaml

from archon_eval.architecture.load import load_architecture
from archon_eval.architecture.system_prompts import add_system_message
from archon_eval.components import ListComponent, State, make_user_prompt
from archon_eval.components.call_context import CallContext
from archon_eval.components.component import ComponentType
from archon_eval.engine.engine import Engine
from archon_eval.engine.plan import plan
from archon_eval.errors import ArchitectureError
from archon_eval.models.call import Call, Reply
from archon_eval.types import Conversation, Message

GENERATOR: dict[str, Any] = {"generator": {"model": "m/g", "samples": 2}}
QUERY = Message("user", "What is 2 + 2?")


class Asker(ListComponent):
    """A component of a user's own that knows nothing of system messages."""

    kind = ComponentType("asker")

    async def run(self, state: State, ctx: CallContext) -> State:
        await ctx.generate("ask", make_user_prompt("Go on."))
        return state


def ask(layers: list[Any], conversation: Conversation = (QUERY,), replies: dict[str, str] | None = None) -> list[Call]:
    calls: list[Call] = []

    async def caller(call: Call) -> Reply:
        calls.append(call)
        return Reply((replies or {}).get(call.model, f"answer {call.draw}"))

    anyio.run(Engine(load_architecture({"layers": layers}), caller).run, conversation)
    return calls


def test_a_system_message_stands_first() -> None:
    calls = ask([{"generator": {"model": "m/g", "system": "You are a chemist."}}])
    assert calls[0].messages == (Message("system", "You are a chemist."), QUERY)


def test_a_tasks_own_system_message_is_kept_before_it() -> None:
    calls = ask(
        [{"generator": {"model": "m/g", "system": "You are a chemist."}}], (Message("system", "Be brief."), QUERY)
    )
    assert calls[0].messages == (Message("system", "Be brief.\n\nYou are a chemist."), QUERY)


def test_a_system_message_with_more_than_text_stays_as_it_is() -> None:
    task = Message("system", "Look: [image]", extra='{"content": [{"type": "image"}]}')
    assert add_system_message((task, QUERY), "Mine.") == (task, Message("system", "Mine."), QUERY)


def test_the_candidates_may_stand_in_it_and_the_query_alone_in_the_user_turn() -> None:
    fuser = {"model": "m/f", "system": "{count} answers:\n{candidates}", "prompts": {"fuse": "{instruction}"}}
    history = (Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Hello"))
    last = ask([GENERATOR, {"fuser": fuser}], (*history, QUERY))[-1]
    assert last.messages[1:] == (*history[1:], QUERY)
    assert last.messages[0].content == (
        'Be brief.\n\n2 answers:\n<response id="[1]">\nanswer 0\n</response>\n\n'
        '<response id="[2]">\nanswer 1\n</response>'
    )


def test_critiques_stand_with_the_candidates_where_the_component_reads_them() -> None:
    critic = {"critic": "m/c"}
    replies = {"m/c": "[1]\nToo short.\n[2]\nFine."}
    for uses, shown in ((True, True), (False, False)):
        fuser = {"model": "m/f", "system": "{candidates}", "prompts": {"fuse": "{instruction}"}, "use_critiques": uses}
        layers = [GENERATOR, critic, {"ranker": {"model": "m/r", "top_k": 2}}, {"fuser": fuser}]
        last = ask(layers, replies={**replies, "m/r": "[1] > [2]"})[-1]
        assert ("Too short." in last.messages[0].content) is shown


def test_one_candidate_stands_in_it_where_a_prompt_shows_one() -> None:
    verifier = {"model": "m/v", "system": "The answer is: {candidate}"}
    calls = ask([GENERATOR, {"verifier": verifier}], replies={"m/v": "[Correct]"})
    assert {c.messages[0].content for c in calls if c.model == "m/v"} == {
        "The answer is: answer 0",
        "The answer is: answer 1",
    }


def test_a_reply_is_asked_for_again_under_the_same_system_message() -> None:
    calls = ask([GENERATOR, {"ranker": {"model": "m/r", "system": "Rank."}}], replies={"m/r": "no ranking"})
    assert [c.messages[0] for c in calls if c.model == "m/r"] == [Message("system", "Rank.")] * 3


def test_a_component_of_a_users_own_has_it_without_knowing() -> None:
    calls = ask([GENERATOR, {f"{__name__}:Asker": {"model": "m/a", "system": "First: {candidates}"}}])
    assert calls[-1].messages[0].content.startswith('First: <response id="[1]">')


def test_what_is_put_in_is_never_read_as_a_field() -> None:
    fuser = {"model": "m/f", "system": "Asked: {instruction} ({{count}})"}
    last = ask([GENERATOR, {"fuser": fuser}], (Message("user", "What is {count}?"),))[-1]
    assert last.messages[0].content == "Asked: What is {count}? ({count})"


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"fuser": {"model": "m/f", "system": 3}}, "`system` must be text, not a number"),
        ({"fuser": {"model": "m/f", "system": " "}}, "`system` must be text"),
        ({"fuser": {"model": "m/f", "system": "{candidate}"}}, "unknown field {candidate}; did you mean 'candidates'"),
        (
            {"verifier": {"model": "m/v", "system": "{candidates}"}},
            "unknown field {candidates}; did you mean 'candidate'",
        ),
        ({"vote": {"system": "Vote."}}, "layer 2 is vote: it calls no model, leave `system` out"),
        ({"fuser": {"model": "m/f", "prompts": {"fuse": "{instruction}"}}}, "must use {candidates}"),
        ({"fuser": {"model": "m/f", "system": "Fuse.", "prompts": {"fuse": "{instruction}"}}}, "must use {candidates}"),
    ],
)
def test_what_may_stand_in_it_is_checked_before_anything_is_paid(layer: dict[str, Any], words: str) -> None:
    with pytest.raises(ArchitectureError) as error:
        load_architecture({"layers": [GENERATOR, layer]})
    assert words in str(error.value)


def test_a_generators_may_show_the_query_alone() -> None:
    with pytest.raises(ArchitectureError, match=r"unknown field \{candidates\}"):
        load_architecture({"layers": [{"generator": {"model": "m/g", "system": "{candidates}"}}]})


def test_it_is_part_of_the_fingerprint_and_survives_writing() -> None:
    plain, other, third = (
        load_architecture({"name": "x", "layers": [{"generator": {"model": "m/g", **extra}}]})
        for extra in ({}, {"system": "Be a chemist."}, {"system": "Be a poet."})
    )
    assert len({plain.fingerprint, other.fingerprint, third.fingerprint}) == 3
    assert load_architecture(yaml.safe_load(other.to_yaml())) == other
    assert "system" not in plain.to_yaml()


def test_its_tokens_are_planned() -> None:
    plain = plan(load_architecture({"layers": [GENERATOR]})).usage[1]
    longer = plan(
        load_architecture({"layers": [{"generator": {"model": "m/g", "samples": 2, "system": "x" * 400}}]})
    ).usage[1]
    assert longer.input_tokens == plain.input_tokens + 2 * 100
