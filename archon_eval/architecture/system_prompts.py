"""`system:` on a component: a system message of the user's own, with fields that are filled for every call.

    - fuser: {model: $1, system: "Answer from these responses:\\n{candidates}", prompts: {fuse: "{instruction}"}}

The engine adds it to whatever the component sends, so it works on every component that calls a model.
"""

from dataclasses import replace
from typing import Any

from archon_eval.architecture.component_types import load_component_class, resolve_component_type
from archon_eval.architecture.option_values import describe_value
from archon_eval.architecture.prompts import extract_fields
from archon_eval.errors import ArchitectureError, did_you_mean
from archon_eval.types import Conversation, Message

SEPARATOR = "\n\n"
"""Between a task's own system message and the component's."""


def list_system_fields(kind: str, where: str) -> frozenset[str]:
    """The fields that a component's system message may have, by what one of its prompts shows.

    Raises:
        ArchitectureError: no such component; begins with `where`.
    """
    described = resolve_component_type(kind, where)
    reads = getattr(load_component_class(kind, where), "candidates_read", "none")
    shown: dict[str, set[str]] = {"none": set(), "one": {"candidate"}, "all": {"candidates", "count"}}
    return frozenset({"instruction"} | (set() if described.place == "first" else shown[reads]))


def parse_system_message(kind: str, text: Any, where: str) -> str:
    """A component's system message as a file has it; empty where there is none.

    Raises:
        ArchitectureError: no text, or a field that the component cannot fill; begins with `where`.
    """
    if text is None:
        return ""
    if not isinstance(text, str) or not text.strip():
        raise ArchitectureError(f"{where}: `system` must be text, not {describe_value(text)}")
    legal = list_system_fields(kind, where)
    if unknown := sorted(extract_fields(text) - legal):
        raise ArchitectureError(
            f"{where}: `system` uses unknown field {{{unknown[0]}}}{did_you_mean(unknown[0], legal)}"
        )
    return text


def add_system_message(conversation: Conversation, text: str) -> Conversation:
    """The conversation with a system message: the task's own, where it begins with one, and the text behind it.

    >>> add_system_message((Message("system", "Be brief."), Message("user", "Why?")), "You are a chemist.")[0].content
    'Be brief.\\n\\nYou are a chemist.'
    """
    first = conversation[0] if conversation else None
    if first is None or first.role != "system":
        return (Message("system", text), *conversation)
    if first.extra:  # parts that are no text: it stays as it is
        return (first, Message("system", text), *conversation[1:])
    return (replace(first, content=first.content + SEPARATOR + text), *conversation[1:])
