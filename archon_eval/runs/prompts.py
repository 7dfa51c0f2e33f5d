"""What was sent for an answer, as digests: the messages before the first generated one, and the tools offered.

    entries = digest_messages(sample.messages)      # ("system:41d0...", "user:9b1c...")
    sent = complete_prompt(entries, tools=["bash"])
    explain_difference(sent, other)                 # "another system message"

Equal for the same task whatever answers it: a model, an architecture as a model or as the solver.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

VARYING = "varying"
"""What stands in place of a role where the epochs of a question were asked differently."""
_NAMES = {"system": "system message", "user": "user prompt", "assistant": "example answer", "tool": "tool result"}


def digest_messages(messages: Sequence[Any]) -> tuple[str, ...]:
    """One entry `ROLE:DIGEST` per message of a sample that was sent before anything was generated."""
    return tuple(_digest(message.role, _read_content(message)) for message in messages[: _find_answer(messages)])


def is_text(messages: Sequence[Any]) -> bool:
    """Whether messages have no images or other parts, which a log holds in another form than a running eval."""
    return all(isinstance(m.content, str) or all(part.type == "text" for part in m.content) for m in messages)


def complete_prompt(entries: Sequence[str], tools: Iterable[str] = (), system: str | None = None) -> tuple[str, ...]:
    """What was sent, of the messages' entries; empty where these are not known.

    Args:
        tools: names of the tools that the model was offered.
        system: the system message of the eval's own settings, which Inspect sends before all.
    """
    if not entries:
        return ()
    before = [_digest("system", system)] if system else []
    names = sorted(set(tools))
    return (*before, *entries, *([_digest("tools", json.dumps(names))] if names else []))


def _find_answer(messages: Sequence[Any]) -> int:
    """The place of the first generated message; examples that the task gives are not generated."""
    for place, message in enumerate(messages):
        if message.role == "assistant" and (message.source == "generate" or message.model):
            return place
    return len(messages) - 1 if messages and messages[-1].role == "assistant" else len(messages)


def _read_content(message: Any) -> str:
    if isinstance(message.content, str):
        return message.content
    parts = [part.text if part.type == "text" else part.model_dump_json(exclude_none=True) for part in message.content]
    return "\n".join(parts)


def _digest(role: str, text: str) -> str:
    return f"{role}:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def join_epochs(prompts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The prompt of a question from those of its epochs; empty where one is not known."""
    different = sorted(set(prompts))
    if len(different) < 2:
        return different[0] if different else ()
    return (_digest(VARYING, json.dumps(different)),) if all(different) else ()


def explain_difference(mine: Sequence[str], others: Sequence[str]) -> str:
    """What differs between two known prompts, in words; empty where nothing does."""
    if tuple(mine) == tuple(others):
        return ""
    roles = [[entry.partition(":")[0] for entry in prompt] for prompt in (mine, others)]
    if VARYING in (*roles[0], *roles[1]):
        return "the prompt differs from epoch to epoch"
    for role in ("system", "tools"):
        own, other = ([entry for entry in prompt if entry.startswith(f"{role}:")] for prompt in (mine, others))
        if own != other:
            kind = "tools" if role == "tools" else _NAMES[role]
            return f"other {kind}" if role == "tools" else f"another {kind}" if own and other else f"one without {kind}"
    if roles[0] != roles[1]:
        return f"{len(mine)} and {len(others)} messages"
    place = next(n for n, (one, other) in enumerate(zip(mine, others, strict=True)) if one != other)
    return f"another {_NAMES.get(roles[0][place], roles[0][place])}"
