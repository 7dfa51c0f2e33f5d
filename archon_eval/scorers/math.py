r"""Marks mathematical answers: `\frac{1}{2}`, `0.5` and `50/100` are one number, "5" is not "15".

The answer of a reply is its last `\boxed{...}`; without one, what it states ("the answer is 5"); without that, and if
the reply is whole, what math-verify reads in the last lines. What stands between `<think>` tags is no answer. Equality
is that of `components/parsing/math_equality.py`, which votes use too:

    >>> import asyncio
    >>> asyncio.run(compare_answers(r"So it is $\boxed{1/2}$.", "1/2"))
    MathVerdict(correct=True, answer='1/2', extraction='box', status='identical')

A reply that is empty, unreadable or beyond the limits is incorrect, and the score's metadata says which. A verifier
that cannot run at all is an error, never a score.
"""

from dataclasses import dataclass
from typing import Literal

from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState

from archon_eval.components.parsing.final_answer import (
    clean_running_text,
    extract_boxes_together,
    extract_last_box,
    extract_stated_answer,
    is_prose,
    seems_cut,
)
from archon_eval.components.parsing.math_equality import CPU_SECONDS, MAX_ANSWER_CHARS, compare_math, extract_math
from archon_eval.components.parsing.math_spelling import read_answer as read_math
from archon_eval.components.parsing.structured import normalize_reply
from archon_eval.errors import DataError
from archon_eval.scorers._account import get_account_metadata
from archon_eval.scorers._answer import read_answer

Extraction = Literal["box", "text", "none"]
MathStatus = Literal["identical", "verified", "different", "unreadable", "empty", "too long", "timeout", "crashed"]
_EXPLANATIONS: dict[MathStatus, str] = {
    "identical": "The answer is spelt like the expected one.",
    "verified": "The answer equals the expected one.",
    "different": "The answer does not equal the expected one.",
    "unreadable": "No mathematical answer can be read from the reply.",
    "empty": "The reply is empty.",
    "too long": f"The answer is longer than {MAX_ANSWER_CHARS} characters.",
    "timeout": f"Comparing the answer took more than {CPU_SECONDS:g} s of CPU time; it counts as incorrect.",
    "crashed": "Comparing the answer ended the verifying process twice; it counts as incorrect.",
}


@dataclass(frozen=True, slots=True)
class MathVerdict:
    """Whether a reply gives the expected answer, and how the comparison went."""

    correct: bool
    answer: str | None
    """The answer as the reply spells it; None if there is none."""
    extraction: Extraction
    """Where the answer was: in the last box, in running text, or nowhere."""
    status: MathStatus
    """How the comparison went. After `timeout` and `crashed` nothing is known of the answer; it counts as incorrect."""

    @property
    def explanation(self) -> str:
        """One sentence for readers of a log."""
        return _EXPLANATIONS[self.status]


@scorer(metrics=[accuracy(), stderr()])
def math_answer() -> Scorer:
    """Correct if the reply's answer equals the target (any of them, if there are several).

    Metadata: `extraction` and `status`, see `MathVerdict`. Inspect reduces epochs to one value per sample before the
    metrics, so the standard error is over questions, not over dependent draws.
    """

    async def score(state: TaskState, target: Target) -> Score:
        answer = read_answer(state)
        for gold in target:
            verdict = await compare_answers(answer.text, gold, is_cut=answer.is_cut)
            if verdict.correct:
                break
        return Score(
            value=CORRECT if verdict.correct else INCORRECT,
            answer=verdict.answer,
            explanation=f"{verdict.explanation} Expected: {' or '.join(target)}",
            metadata={"extraction": verdict.extraction, "status": verdict.status, **get_account_metadata(state)},
        )

    return score


async def compare_answers(reply: str, gold: str, *, is_cut: bool = False) -> MathVerdict:
    """Compare the answer in `reply` with `gold` (LaTeX, with or without a box).

    Args:
        reply: the reply, with or without its thoughts.
        gold: the expected answer.
        is_cut: the reply ended at a token limit, so that only what it states as final is an answer.

    Raises:
        DataError: `gold` is blank.
        JudgeError: no verifier can be started.
    """
    stated = extract_stated_answer(gold) if r"\text" not in gold else None
    gold = (extract_boxes_together(gold) or extract_last_box(gold) or stated or gold).strip()
    if not gold.removesuffix("."):
        raise DataError("the expected answer is blank: nothing can be compared with it")
    reply = normalize_reply(reply)
    if not reply:
        return MathVerdict(correct=False, answer=None, extraction="none", status="empty")
    extraction: Extraction = "box"
    if box := extract_last_box(reply):
        answers = [box]
        if (together := extract_boxes_together(reply)) and read_math(gold[:MAX_ANSWER_CHARS]).has_several:
            answers.insert(0, together)
    else:
        extraction = "text"
        found = stated = extract_stated_answer(reply, is_cut)
        if is_prose(stated) if stated else not is_cut and not seems_cut(reply):
            found, search = await extract_math(clean_running_text(stated or reply[-MAX_ANSWER_CHARS:]))
            if search != "read":
                return MathVerdict(correct=False, answer=None, extraction="none", status=search)
        if found is None:
            return MathVerdict(correct=False, answer=None, extraction="none", status="unreadable")
        answers = [found]
    for answer in answers:
        status = await compare_math(answer, gold)
        if status in ("identical", "verified"):
            break
    correct = status in ("identical", "verified")
    if correct and extraction == "text":
        status = "verified"
    return MathVerdict(correct=correct, answer=answer[:MAX_ANSWER_CHARS], extraction=extraction, status=status)
