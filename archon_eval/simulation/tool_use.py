"""Simulated agents: which tool a simulated model calls next, with which arguments, and when it has done enough.

>>> schema = '{"parameters": {"properties": {"day": {"type": "string"}}, "required": ["day"]}}'
>>> offer = ToolOffer((ToolDefinition("find_events", "Finds events of a day.", schema),))
>>> asked = (Message("user", "Which events are there on 2024-05-15?"),)
>>> propose_call(asked, offer, world=0, is_right=True, answer="", rng=Random(1)).render()
'Tool call: find_events(day="2024-05-15")'

A rule stands in for understanding. The right tool of a step is the one whose name and description share most words
with the query, without those called before. A model calls it where it would have answered rightly, and another one
else. After one to three steps it answers: with the tool `submit...` where there is one, else in words. Arguments fit
the tool's schema and are taken from the query where they can be. So agents run to their end, and what they reach says
nothing.
"""

import json
import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from archon_eval.simulation.seeded_random import draw_uniform, hash_parts
from archon_eval.types import Message, ToolCall, ToolDefinition, ToolOffer

MOST_STEPS = 3
"""Turns with tool calls before an answer to a user's turn, at most."""
MOST_TURNS = 3 * MOST_STEPS
"""Turns with tool calls in a conversation: agents that hand over to one another add user turns, and would never end."""
NAME_WEIGHT = 3
"""What a word of a tool's name counts, where one of its description counts 1."""
_SUBMIT = re.compile(r"^submit", re.IGNORECASE)
_WORD = re.compile(r"[a-z]{4,}")
_QUOTED = re.compile(r"['\"“‘]([^'\"“”‘’\n]{2,80})['\"”’]")
_ADDRESS = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{1,63}\w")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_NUMBER = re.compile(r"(?<![\w.-])\d{1,9}(?![\w.-])")
_DEFAULT_DATE, _DEFAULT_ADDRESS = "2024-05-15", "someone@example.com"
_MOST_WORDS = 6
_DEEPEST = 5
"""Levels of a schema that are filled; further ones, which refer to themselves, stay empty."""


def propose_call(
    messages: Sequence[Message], tools: ToolOffer, *, world: int, is_right: bool, answer: str, rng: Random
) -> ToolCall | None:
    """The call with which a simulated turn goes on; None where it answers in words.

    Args:
        messages: the conversation, with its tool calls.
        tools: what may be called.
        world: the pool's seed.
        is_right: whether the model finds the right tool in this draw.
        answer: what it answers where it is done.
        rng: the call's randomness.
    """
    if not tools.may_be_called:
        return None
    query, called = _find_work(messages)
    forced = tools.choice.removeprefix("function ") if tools.choice.startswith("function ") else ""
    if forced:
        named = [tool for tool in tools.definitions if tool.name == forced]
        return _make_call(named[0], query, answer, rng) if named else None
    submits = [tool for tool in tools.definitions if _SUBMIT.match(tool.name)]
    others = [tool for tool in tools.definitions if tool not in submits]
    steps = 1 + int(MOST_STEPS * draw_uniform(world, "steps", query))
    acted = sum(bool(message.tool_calls) for message in messages)
    if others and len(called) < steps and acted < MOST_TURNS:
        ranked = sorted(others, key=lambda tool: (tool.name in called, -_count_shared(tool, query), tool.name))
        chosen = ranked[0] if is_right or len(ranked) == 1 else rng.choice(ranked[1:])
        return _make_call(chosen, query, answer, rng)
    if submits:
        return _make_call(submits[0], query, answer, rng)
    return _make_call(rng.choice(others), query, answer, rng) if tools.choice == "any" else None


def _find_work(messages: Sequence[Message]) -> tuple[str, list[str]]:
    """The last user turn, and the tools called since then, one per turn."""
    last = max((place for place, message in enumerate(messages) if message.role == "user"), default=0)
    turns = [message for message in messages[last:] if message.tool_calls]
    return messages[last].content if messages else "", [turn.tool_calls[0].function for turn in turns]


def _count_shared(tool: ToolDefinition, query: str) -> int:
    words = set(_WORD.findall(query.lower()))
    own = set(_WORD.findall(tool.name.lower().replace("_", " ")))
    return NAME_WEIGHT * len(words & own) + len(words & set(_WORD.findall(tool.description.lower())) - own)


def _make_call(tool: ToolDefinition, query: str, answer: str, rng: Random) -> ToolCall:
    schema = json.loads(tool.spec).get("parameters") or {}
    arguments = _fill_object(schema, query, rng, depth=0)
    if answer and _SUBMIT.match(tool.name):
        arguments = {name: answer if isinstance(value, str) else value for name, value in arguments.items()}
    number = hash_parts(rng.random(), tool.name)
    return ToolCall(f"call_{number:014x}", tool.name, json.dumps(arguments, ensure_ascii=False))


def _fill_object(schema: Mapping[str, Any], query: str, rng: Random, *, depth: int) -> dict[str, Any]:
    """The required properties of an object."""
    properties, required = schema.get("properties") or {}, schema.get("required") or ()
    return {
        name: _fill_value(properties.get(name) or {}, name, query, rng, depth=depth + 1)
        for name in required
        if depth < _DEEPEST
    }


def _fill_value(schema: Mapping[str, Any], name: str, query: str, rng: Random, *, depth: int) -> Any:
    """A value that the schema allows, taken from the query where it can be."""
    if schema.get("enum"):
        return rng.choice(list(schema["enum"]))
    if schema.get("anyOf"):
        legal = [part for part in schema["anyOf"] if part.get("type") != "null"]
        return _fill_value(legal[0], name, query, rng, depth=depth) if legal else None
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind in ("integer", "number"):
        numbers = _NUMBER.findall(query)
        return int(rng.choice(numbers)) if numbers else 1
    if kind == "array":
        return [_fill_value(schema.get("items") or {}, name, query, rng, depth=depth)]
    if kind == "object":
        return _fill_object(schema, query, rng, depth=depth)
    if kind in ("boolean", "null"):
        return False if kind == "boolean" else None
    return _fill_text(f"{name} {schema.get('format') or ''}".lower(), query, rng)


def _fill_text(about: str, query: str, rng: Random) -> str:
    """A text for what an argument is about: an address, a date, something quoted, or the query's first words."""
    if "mail" in about or "recipient" in about or "participant" in about:
        return str(rng.choice(_ADDRESS.findall(query) or [_DEFAULT_ADDRESS]))
    if "date" in about or "day" in about or "time" in about:
        return f"{rng.choice(_DATE.findall(query) or [_DEFAULT_DATE])}{' 10:00' if 'time' in about else ''}"
    if quoted := _QUOTED.findall(query):
        return str(rng.choice(quoted))
    return " ".join(query.split()[:_MOST_WORDS])
