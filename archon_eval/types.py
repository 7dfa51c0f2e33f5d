"""What flows through an architecture: messages, candidates and the state that carries them.

    state = State(conversation=(Message("user", "What is 2 + 2?"),), candidates=(Candidate("1.1", "4"),))

A critique or verdict is a field of its candidate, so it can neither go stale nor be attached to another. Turns that
call tools, and turns with images, keep what is no text beside their text; who reads text only gets them as text
(`flatten_conversation`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool, as a model proposes it."""

    id: str
    function: str
    arguments: str = "{}"
    """A JSON object."""
    problem: str = ""
    """Why the arguments could not be read; empty where they could."""
    type: Literal["function", "custom"] = "function"

    @property
    def key(self) -> tuple[str, str]:
        """The function and its arguments in canonical JSON: equal for equal proposals, whatever their ids.

        >>> ToolCall("1", "f", '{"a": 1.0, "b": 2}').key == ToolCall("2", "f", '{"b": 2, "a": 1}').key
        True
        """
        return self.function, json.dumps(json.loads(self.arguments, parse_float=_parse_number), sort_keys=True)

    def render(self) -> str:
        """The call in words for a reader.

        >>> ToolCall("1", "send", '{"to": ["Ann"], "copies": 2}').render()
        'Tool call: send(to=["Ann"], copies=2)'
        """
        values = json.loads(self.arguments)
        shown = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items())
        return f"Tool call: {self.function}({shown})" + (f" (unreadable: {self.problem})" if self.problem else "")


def _parse_number(text: str) -> float:
    """A number of JSON; whole ones as integers, which they are to a schema."""
    return int(value) if (value := float(text)).is_integer() else value


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool that a model may call."""

    name: str
    description: str
    spec: str
    """Everything that is sent of it, Inspect's `ToolInfo` in JSON."""


@dataclass(frozen=True, slots=True)
class ToolOffer:
    """The tools that a harness offers for one turn, and how they may be used."""

    definitions: tuple[ToolDefinition, ...]
    choice: str = "auto"
    """`auto`, `any`, `none`, or `function NAME` for one that must be called."""
    options: str = ""
    """What else the harness sets for them (`parallel_tool_calls`), in canonical JSON; empty for nothing."""

    @property
    def may_be_called(self) -> bool:
        """Whether a reply may call a tool; with `none` the tools are there for the history's sake alone."""
        return bool(self.definitions) and self.choice != "none"

    def render(self) -> str:
        """A line per tool: its name and what it does, in short."""
        return "\n".join(f"- {tool.name}: {_shorten(tool.description)}" for tool in self.definitions)


MAX_DESCRIPTION_CHARS = 200
"""Characters of a tool's description that readers are shown."""


def _shorten(description: str) -> str:
    line = " ".join(description.split())
    return line if len(line) <= MAX_DESCRIPTION_CHARS else f"{line[: MAX_DESCRIPTION_CHARS - 4]} ..."


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """One turn of a conversation; most are text only."""

    role: Role
    content: str
    """Its text."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant's turn."""
    extra: str = ""
    """Whatever else the turn holds, in canonical JSON under the names of Inspect's messages: `content` with images and
    other parts, `tool_call_id`, `function` and `error` of a tool's turn. Empty where the text is all."""

    @property
    def is_text(self) -> bool:
        """Whether the text is all."""
        return not self.extra and not self.tool_calls and self.role != "tool"

    def __repr__(self) -> str:
        more = f", tool_calls={self.tool_calls!r}, extra={self.extra!r}" if self.tool_calls or self.extra else ""
        return f"Message(role={self.role!r}, content={self.content!r}{more})"


Conversation = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One possible answer, with everything said about it."""

    id: str
    """`layer.place` where it was made, e.g. `1.3`: the same for the same architecture, whatever the timing."""
    text: str
    model: str = ""
    critique: str | None = None
    """Strengths and weaknesses, as the critic wrote them."""
    verified: bool | None = None
    """The verifier's verdict; None when it was not asked or gave none."""
    reasons: str | None = None
    """The verifier's reasons why the answer may be right."""
    tests: tuple[bool | None, ...] = ()
    """A verdict per unit test, in the order of the tests; None where the evaluator gave none."""
    values: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Whatever custom components keep with a candidate."""
    cut: bool = False
    """Whether the reply it is made of ended at a limit, so that its last line is no final answer by itself."""
    turn: Message | None = None
    """The turn that it proposes where that is more than its text: tool calls, of which the text is a rendering."""


@dataclass(frozen=True, slots=True)
class State:
    """The conversation and its candidates, best or first made first. Layers return a new one."""

    conversation: Conversation
    candidates: tuple[Candidate, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What layers leave for later ones: `tests` (tuple of texts), and custom components' own state."""
    tools: ToolOffer | None = None
    """What the harness offers to whoever writes the next turn; None for nothing."""

    @property
    def tests(self) -> tuple[str, ...]:
        """The unit tests, when a unit test generator came before."""
        return tuple(self.values.get("tests", ()))

    @property
    def history(self) -> Conversation:
        """The conversation before the instruction."""
        return self.conversation[: _find_last_user(self.conversation)]

    @property
    def instruction(self) -> str:
        """The last user turn (and whatever follows it), preceded by the earlier turns as text if there are any.

        Judging components read this in one message, so that a system prompt meant for the answer ("reply with one
        letter") cannot change the form of their own reply.
        """
        return render_conversation(self.conversation, self.tools)


def _find_last_user(conversation: Sequence[Message]) -> int:
    return max(i for i, message in enumerate(conversation) if message.role == "user")


def render_conversation(conversation: Sequence[Message], tools: ToolOffer | None = None) -> str:
    """A conversation as one text: a lone user turn is itself; earlier turns are labelled; a prefill follows it.

    Where tools may be called, what follows the last user turn is the work so far, and the tools are listed.
    """
    conversation = flatten_conversation(conversation)
    last, acting = _find_last_user(conversation), tools is not None and tools.may_be_called
    labels = {"system": "System", "user": "User", "assistant": "Assistant"}
    before = "\n\n".join(f"[{labels[m.role]}]\n{m.content}" for m in conversation[:last])
    begun = "(What has been done so far:)" if acting else "(The response was begun with:)"
    query = conversation[last].content + "".join(f"\n\n{begun}\n{m.content}" for m in conversation[last + 1 :])
    if tools is not None and acting:
        query += f"\n\n(A response is the next turn. It answers, or it calls some of these tools:)\n{tools.render()}"
    if not before:
        return query
    return f"Earlier turns of the conversation:\n{before}\n\nThe query to answer:\n{query}"


def render_turn(text: str, tool_calls: Sequence[ToolCall]) -> str:
    """A turn as text: its own, then its tool calls, a line each."""
    calls = "\n".join(call.render() for call in tool_calls)
    return "\n\n".join(part for part in (text, calls) if part) if calls else text


def flatten_conversation(conversation: Sequence[Message]) -> Conversation:
    """The conversation in text only, for whoever reads nothing else; one that is text already is itself.

    An image is `[image]`. What tools were called with and what they returned is part of the assistant's turn.

    >>> call, result = ToolCall("1", "now"), Message("tool", "noon", extra='{"function": "now"}')
    >>> flatten_conversation((Message("user", "Time?"), Message("assistant", "", (call,)), result))[-1].content
    'Tool call: now()\\n\\nResult of now:\\nnoon'
    """
    if all(message.is_text for message in conversation):
        return tuple(conversation)
    flat: list[Message] = []
    acting = False
    for message in conversation:
        extra = json.loads(message.extra) if message.extra else {}
        text = render_turn(_render_content(message, extra), message.tool_calls)
        if message.role == "tool":
            error = extra.get("error")
            text = f"Result of {extra.get('function') or 'a tool'}:\n" + (
                f"Error: {error['message']}" if error else text
            )
        if message.role in ("tool", "assistant") and acting and flat[-1].role == "assistant":
            flat[-1] = replace(flat[-1], content=f"{flat[-1].content}\n\n{text}".strip())
        else:
            flat.append(Message("assistant" if message.role == "tool" else message.role, text))
        acting = message.role == "tool" or bool(message.tool_calls)
    return tuple(flat)


def list_unseen_parts(conversation: Sequence[Message]) -> tuple[str, ...]:
    """The types of the conversation's parts that its text does not show, such as `image`, one entry per part."""
    return tuple(part["type"] for part in list_parts(conversation) if _is_unseen(part))


def list_parts(conversation: Sequence[Message]) -> tuple[Mapping[str, Any], ...]:
    """The parts of those turns that are more than text, under the names of Inspect's content."""
    contents = [json.loads(message.extra).get("content", ()) for message in conversation if message.extra]
    return tuple(part for content in contents for part in content)


def _is_unseen(part: Mapping[str, Any]) -> bool:
    return part["type"] not in ("text", "reasoning")


def _render_content(message: Message, extra: Mapping[str, Any]) -> str:
    if not any(map(_is_unseen, extra.get("content", ()))):
        return message.content
    shown = [f"[{part['type']}]" if _is_unseen(part) else part.get("text", "") for part in extra["content"]]
    return "\n".join(filter(None, shown))
