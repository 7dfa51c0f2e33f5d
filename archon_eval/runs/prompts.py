"""What was sent for an answer, as digests: the messages before the first generated one, the first call's own input
where that is another, the tools offered, and the user's turns that came later.

    entries = digest_messages(sample.messages)      # ("system:41d0...", "user:9b1c...")
    sent = complete_prompt(entries, tools=["bash"])
    explain_difference(sent, other)                 # "another system message"

Equal for the same task whatever answers it: a model, an architecture as a model or as the solver. Turns of a user that
stand next to each other are one, as some providers get them.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

VARYING = "varying"
"""What stands in place of a role where the epochs of a question were asked differently."""
LATER = "later"
"""Stands for the role of a user's turn after the first answer. It may depend on that answer, so that two prompts do not
differ by it alone; see `find_other_later_turns`."""
_ATTACHMENT = "attachment://"
_NAMES = {
    "call": "prompt of the first call",
    "system": "system message",
    "user": "user prompt",
    "assistant": "example answer",
    "tool": "tool result",
}


def digest_messages(messages: Sequence[Any]) -> tuple[str, ...]:
    """One entry `ROLE:DIGEST` per message of a sample that was sent before anything was generated."""
    return digest_input(messages[: _find_answer(messages)])


def digest_input(messages: Sequence[Any], attachments: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """One entry per message of a call's input.

    Args:
        attachments: the long texts of a log, by the names that stand in the messages for them.
    """
    turns: list[tuple[str, str]] = []
    for message in messages:
        text = _read_content(message, attachments)
        if turns and message.role == turns[-1][0] == "user":
            turns[-1] = ("user", f"{turns[-1][1]}\n{text}")
        else:
            turns.append((message.role, text))
    return tuple(_digest(role, text) for role, text in turns)


def digest_later_turns(messages: Sequence[Any]) -> tuple[str, ...]:
    """One entry per turn of a user after the first generated message of a sample, each once, in their order."""
    later = messages[_find_answer(messages) :]
    return tuple(dict.fromkeys(_digest(LATER, _read_content(turn)) for turn in later if turn.role == "user"))


def restore_text(text: str, attachments: Mapping[str, str]) -> str:
    """A text of a log's event, which is kept apart where it is long."""
    return attachments.get(text.removeprefix(_ATTACHMENT), text) if text.startswith(_ATTACHMENT) else text


def join_first_call(entries: Sequence[str], call: Sequence[str]) -> tuple[str, ...]:
    """What was sent, by the messages that a sample kept and by the input of its first call.

    They are the same but for a system message of the eval's settings, unless the task's solver asks apart from them.
    """
    before = len(call) - len(entries)
    if before >= 0 and tuple(call[before:]) == tuple(entries) and all(e.startswith("system:") for e in call[:before]):
        return tuple(call)
    return (*entries, _digest("call", json.dumps(list(call)))) if call else tuple(entries)


def is_text(messages: Sequence[Any]) -> bool:
    """Whether messages have no images or other parts, which a log holds in another form than a running eval."""
    return all(isinstance(m.content, str) or all(part.type == "text" for part in m.content) for m in messages)


def complete_prompt(entries: Sequence[str], tools: Iterable[str] = (), system: str | None = None) -> tuple[str, ...]:
    """What was sent, of the messages' entries; empty where these are not known.

    Args:
        tools: those that the model was offered, each as a text.
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


def _read_content(message: Any, attachments: Mapping[str, str] | None = None) -> str:
    known = attachments or {}
    if isinstance(message.content, str):
        return restore_text(message.content, known)
    return "\n".join(
        restore_text(part.text, known) if part.type == "text" else part.model_dump_json(exclude_none=True)
        for part in message.content
    )


def _digest(role: str, text: str) -> str:
    return f"{role}:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def join_epochs(prompts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The prompt of a question from those of its epochs; empty where one is not known."""
    listed = list(prompts)
    different = sorted({_leave_out_later(prompt) for prompt in listed})
    if not different or not all(different):
        return ()
    later = [entry for entry in listed[0] if all(_is_later(entry) and entry in prompt for prompt in listed)]
    return (*(different[0] if len(different) == 1 else (_digest(VARYING, json.dumps(different)),)), *later)


def _is_later(entry: str) -> bool:
    return entry.startswith(f"{LATER}:")


def _leave_out_later(prompt: Sequence[str]) -> tuple[str, ...]:
    return tuple(entry for entry in prompt if not _is_later(entry))


def find_other_later_turns(mine: Mapping[str, Sequence[str]], others: Mapping[str, Sequence[str]]) -> str:
    """How two runs differ in the user's turns after the first answer, in words; empty where that cannot be said.

    Of such a turn it is not known whether an answer decided it. But one that all questions of one run have and none of
    the other's, which has another such, is the task's own.

    Args:
        mine, others: question -> its prompt; the same questions in both.
    """
    sides = [[{entry for entry in prompt if _is_later(entry)} for prompt in side.values()] for side in (mine, others)]
    if len(mine) < 2:
        return ""
    always, ever = [set.intersection(*side) for side in sides], [set.union(*side) for side in sides]
    return "another later turn" if all(always) and not (always[0] & ever[1] or always[1] & ever[0]) else ""


def explain_difference(mine: Sequence[str], others: Sequence[str]) -> str:
    """What differs between two known prompts, later turns apart, in words; empty where nothing does."""
    mine, others = _leave_out_later(mine), _leave_out_later(others)
    if mine == others:
        return ""
    roles = [[entry.partition(":")[0] for entry in prompt] for prompt in (mine, others)]
    if VARYING in (*roles[0], *roles[1]):
        return "the prompt differs from epoch to epoch"
    for role in ("system", "tools", "call"):
        own, other = ([entry for entry in prompt if entry.startswith(f"{role}:")] for prompt in (mine, others))
        if own != other:
            kind = "tools" if role == "tools" else _NAMES[role]
            return f"other {kind}" if role == "tools" else f"another {kind}" if own and other else f"one without {kind}"
    if roles[0] != roles[1]:
        return f"{len(mine)} and {len(others)} messages"
    place = next(n for n, (one, other) in enumerate(zip(mine, others, strict=True)) if one != other)
    return f"another {_NAMES.get(roles[0][place], roles[0][place])}"
