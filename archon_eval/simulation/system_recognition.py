"""Recognises what the prompts of debates, refinement, programs and other systems ask, as `prompt_recognition.py` does.

>>> recognize_system_task("Check it. End with [Keep] or [Revise].", "Check it. <response>4</response> ...")
'feedback'
"""

import re
from collections.abc import Mapping, Sequence

from archon_eval.types import Message

SYSTEM_TASKS: Mapping[str, str] = {
    "argue": "a speech of one side of a debate",
    "moderate": "which side of a debate is right, or that it goes on",
    "feedback": "what is wrong with one response, and whether to keep it",
    "rewrite": "a response rewritten by feedback on it",
    "program": "a program that prints the answer",
    "guide": "something about a question, without an answer",
    "diversify": "another answer than those shown",
    "pick": "the best answer, by its model's identifier",
}
"""What these prompts can ask for, by the name of the task."""
FORM_MARKS = ('<response model="', "fenced code block")
"""Words of turns that demand a form of their own, besides brackets."""
_SPEECH = re.compile(r"<(?P<side>affirmative|negative)(?P<number>\d*)>\n(?P<text>.*?)\n</(?P=side)(?P=number)>", re.S)
_NAMED = re.compile(r'<(?P<tag>response\d*) model="(?P<name>[^"\n]*)">\n(?P<text>.*?)\n</(?P=tag)>', re.S)
_PROGRAM = re.compile(r"\bprogram that (?:finds|computes|prints) the answer\b")
_FEEDBACK = re.compile(r"<feedback\d*>\n(.*)\n</feedback\d*>", re.S)
_CONFIDENCE = re.compile(r"\bconfidence:\s*<", re.I)


def recognize_system_task(frame: str, text: str) -> str:
    """The task of one user turn, a name of SYSTEM_TASKS; empty where it is none of them.

    Args:
        frame: system prompt and turn without the candidates.
        text: the turn.
    """
    low = frame.casefold()
    if '<response id="[' in text:
        return "diversify" if "in another way" in low else ""
    if _NAMED.search(text) and "identifier" in low:
        return "pick"
    if "[keep]" in low and "[revise]" in low:
        return "feedback"
    if "[affirmative]" in low and "[negative]" in low:
        return "moderate"
    if "side of a debate" in low and _SPEECH.search(text):
        return "argue"
    if _FEEDBACK.search(text) and "<response" in text:
        return "rewrite"
    if _PROGRAM.search(low):
        return "program"
    return "guide" if "do not answer the query" in low and "unit test" not in low else ""


def split_system_candidates(task: str, text: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The candidates of a task's prompt and what is said against each; None where they stand as in other prompts."""
    if task == "pick":
        candidates = tuple(match["text"] for match in _NAMED.finditer(text))
    elif task == "moderate":
        last = _find_last_speeches(text)
        candidates = (last.get("affirmative", ""), last.get("negative", ""))
    elif task == "argue":
        own = "negative" if "the negative side" in text.partition("<")[0] else "affirmative"
        last = _find_last_speeches(text)
        candidates = tuple(last[side] for side in sorted(last, key=lambda side: side != own)) if own in last else ()
    elif task == "rewrite" and (feedback := _FEEDBACK.search(text)):
        return (text.partition("<response>")[2].partition("</response>")[0],), (feedback[1],)
    elif task in ("program", "guide"):
        candidates = ()
    else:
        return None
    return candidates, ("",) * len(candidates)


def _find_last_speeches(text: str) -> dict[str, str]:
    return {match["side"]: match["text"] for match in _SPEECH.finditer(text)}


def list_identifiers(text: str) -> list[str]:
    """The identifiers of the models whose responses a prompt shows."""
    return [match["name"] for match in _NAMED.finditer(text)]


def asks_for_confidence(frame: str) -> bool:
    """Whether a prompt asks to state a confidence."""
    return bool(_CONFIDENCE.search(frame))


def find_own_turn(messages: Sequence[Message]) -> tuple[str, str] | None:
    """The query and the own answer of an agent that is asked to answer again; None for any other conversation."""
    if len(messages) < 3 or [message.role for message in messages[-3:]] != ["user", "assistant", "user"]:
        return None
    return messages[-3].content, messages[-2].content
