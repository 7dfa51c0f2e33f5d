"""Multiple-choice answers by letter, for prompts that hold their options and ask for a last line `ANSWER: C`.

    read_letter("It was **ANSWER: A**, no:\\n\\nANSWER: \\\\boxed{C}")    # "C", the last one stated

A reply that states no letter is incorrect, and its score says so. (Inspect's own `answer("letter")` takes the first
letter stated, which is a reasoning model's second thought turned round.)
"""

import re

from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState

from archon_eval.scorers._account import get_account_metadata

_LETTER = re.compile(
    r"\b(?i:ANSWER)\W{0,3}:\W{0,10}(?:(?:boxed|text|textbf|mathrm)\W{0,2}){0,2}"
    r"(?:([B-HJ-Z])(?![A-Za-z'])|([A-Za-z])(?=[^\w\s']|\s*$))",
    re.MULTILINE,
)
"""`A`, `I` and lower-case letters are words too, so they must be followed by punctuation or the end of the line."""


def read_letter(reply: str) -> str | None:
    """The last letter a reply states as its answer, in upper case; None if it states none."""
    found = _LETTER.findall(reply)
    return "".join(found[-1]).upper() if found else None


@scorer(metrics=[accuracy(), stderr()])
def letter_answer() -> Scorer:
    """CORRECT when the last letter stated is the target's."""

    async def score(state: TaskState, target: Target) -> Score:
        letter = read_letter(state.output.completion)
        return Score(
            value=CORRECT if letter == target.text else INCORRECT,
            answer=letter,
            explanation=f"Expected {target.text}." + ("" if letter else " The reply has no line `ANSWER: LETTER`."),
            metadata={"status": "read" if letter else "unreadable", **get_account_metadata(state)},
        )

    return score
