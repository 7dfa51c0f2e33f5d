"""Simulated models as agents: what they call, and that they come to an end."""

import json
from random import Random
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.agent import react
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.tool import Tool, tool
from jsonschema import validate

from archon_eval.simulation.questions import QuestionBank
from archon_eval.simulation.simulator import Simulator
from archon_eval.simulation.tool_use import MOST_STEPS, MOST_TURNS, propose_call
from archon_eval.types import Message, ToolCall, ToolDefinition, ToolOffer

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "to": {"type": "array", "items": {"type": "string"}},
        "day": {"type": "string"},
        "kind": {"enum": ["short", "long"]},
        "count": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
        "urgent": {"type": "boolean"},
        "where": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "note": {"type": "string"},
    },
    "required": ["to", "day", "kind", "count", "urgent", "where"],
}


def make_offer(*names: str, choice: str = "auto", schema: dict[str, Any] | None = None) -> ToolOffer:
    tools = [ToolDefinition(name, "", json.dumps({"name": name, "parameters": schema or {}})) for name in names]
    return ToolOffer(tuple(tools), choice)


def propose(offer: ToolOffer, *messages: Message, is_right: bool = True, seed: int = 0) -> ToolCall | None:
    return propose_call(messages, offer, world=0, is_right=is_right, answer="42", rng=Random(seed))


def test_arguments_fit_the_schema_and_come_from_the_query() -> None:
    asked = Message("user", "Send 3 notes to ann@example.com about 'lunch' on 2024-06-01.")
    for seed in range(20):
        call = propose(make_offer("send", schema=SCHEMA), asked, seed=seed)
        assert call is not None
        arguments = json.loads(call.arguments)
        validate(arguments, SCHEMA)
        assert arguments["to"] == ["lunch"] and arguments["day"] == "2024-06-01" and arguments["count"] == 3
        assert "note" not in arguments


def test_the_right_tool_shares_words_with_the_query_and_a_weak_model_misses_it() -> None:
    asked = Message("user", "Search my calendar, please.")
    offer = make_offer("delete_files", "search_calendar", "read_mails")
    right, wrong = propose(offer, asked), propose(offer, asked, is_right=False)
    assert right and right.function == "search_calendar"
    assert wrong and wrong.function != "search_calendar"


@pytest.mark.parametrize("submits", [True, False])
def test_an_agent_ends_after_a_few_steps(submits: bool) -> None:
    for query in ("One", "Two", "Three", "Four", "Five", "Six"):
        offer = make_offer("look", "take", *(["submit"] if submits else []), schema={
            "properties": {"answer": {"type": "string"}}, "required": ["answer"]})  # fmt: skip
        messages, last = [Message("user", query)], None
        while (call := propose(offer, *messages)) is not None and call.function != "submit":
            messages += [Message("assistant", "", (call,)), Message("tool", "done")]
            assert len(messages) <= 1 + 2 * MOST_STEPS
            last = call
        assert last is not None and len(messages) >= 3
        assert (call is not None) == submits
        assert call is None or json.loads(call.arguments) == {"answer": "42"}


def test_agents_that_hand_over_to_one_another_end() -> None:
    offer, messages = make_offer("transfer_to_adder", "look"), [Message("user", "Add.")]
    while (call := propose(offer, *messages)) is not None:
        messages += [Message("assistant", "", (call,)), Message("tool", "x"), Message("user", "The adder is done.")]
        assert len(messages) <= 1 + 3 * MOST_TURNS
    assert len(messages) > 1


def test_the_choice_of_tools_is_obeyed() -> None:
    asked = Message("user", "Look.")
    assert propose(make_offer("look", choice="none"), asked) is None
    forced = propose(make_offer("look", "take", choice="function take"), asked)
    assert forced and forced.function == "take"
    done = [asked, *[Message("assistant", "", (ToolCall("1", "look"),)), Message("tool", "x")] * MOST_STEPS]
    assert propose(make_offer("look"), *done) is None
    assert propose(make_offer("look", choice="any"), *done) is not None


def test_replies_without_tools_are_what_they_were() -> None:
    simulator, asked = Simulator(QuestionBank.load()), (Message("user", "What is the capital of Nowhere?"),)
    plain, offered = simulator.reply("gpt-4o", asked), simulator.reply("gpt-4o", asked, tools=make_offer("look"))
    assert not plain.tool_calls and offered.tool_calls
    assert simulator.reply("gpt-4o", asked, tools=make_offer("look", choice="none")).text == plain.text


@tool
def calculator() -> Tool:
    async def execute(expression: str) -> str:
        """Computes an expression.

        Args:
            expression: what to compute.
        """
        return "?"

    return execute


def test_a_known_question_is_answered_through_submit(tmp_path: Any) -> None:
    question = next(q for q in QuestionBank.load().questions if q.id.startswith("easy") and q.right)
    task = Task(dataset=[Sample(question.turns[0], target=question.right[0])], solver=react(tools=[calculator()]),
                scorer=includes())  # fmt: skip
    log = eval(task, model="sim/gpt-4o", epochs=6, display="none", log_dir=str(tmp_path))[0]
    assert log.status == "success" and log.samples, log.error
    values = [score.value for sample in log.samples for score in (sample.scores or {}).values()]
    assert len(values) == 6 and "C" in values
