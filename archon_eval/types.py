"""What flows through an architecture: messages, candidates and the state that carries them.

    state = State(conversation=(Message("user", "What is 2 + 2?"),), candidates=(Candidate("1.1", "4"),))

A critique or verdict is a field of its candidate, so it can neither go stale nor be attached to another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation, text only."""

    role: Role
    content: str


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


@dataclass(frozen=True, slots=True)
class State:
    """The conversation and its candidates, best or first made first. Layers return a new one."""

    conversation: Conversation
    candidates: tuple[Candidate, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What layers leave for later ones: `tests` (tuple of texts), and custom components' own state."""

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
        return render_conversation(self.conversation)


def _find_last_user(conversation: Sequence[Message]) -> int:
    return max(i for i, message in enumerate(conversation) if message.role == "user")


def render_conversation(conversation: Sequence[Message]) -> str:
    """A conversation as one text: a lone user turn is itself; earlier turns are labelled; a prefill follows it."""
    last = _find_last_user(conversation)
    labels = {"system": "System", "user": "User", "assistant": "Assistant"}
    before = "\n\n".join(f"[{labels[m.role]}]\n{m.content}" for m in conversation[:last])
    query = conversation[last].content + "".join(
        f"\n\n(The response was begun with:)\n{m.content}" for m in conversation[last + 1 :]
    )
    if not before:
        return query
    return f"Earlier turns of the conversation:\n{before}\n\nThe query to answer:\n{query}"
