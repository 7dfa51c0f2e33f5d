r"""What a task's questions say before anything is paid: how long they are, and whether its answers can be voted on.

>>> find_vote_obstacle("math_answer", ["18", r"\frac{1}{2}"])
''
>>> find_vote_obstacle("programs", [""])
'its answers are programs, of which no two are spelt alike'
>>> find_vote_obstacle("mine", ["An essay on the sea, with its tides, ships and fish."])
'its targets are not answers that a vote can tell apart'
"""

from collections.abc import Sequence
from dataclasses import dataclass

from archon_eval.components.parsing.final_answer import find_final_answer
from archon_eval.components.parsing.math_equality import MAX_ANSWER_CHARS
from archon_eval.runs.metrics import DECLARED

CHARACTERS_PER_TOKEN = 4
"""Of English prose, roughly; of formulas and code fewer."""
MAX_TARGET_WORDS = 6
"""A target of more words is a text, of which two are hardly ever spelt alike."""
VOTABLE_SHARE = 0.9
"""Of the targets, how many must be answers that a vote can tell apart."""


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """Of one task."""

    vote_obstacle: str = ""
    """Why `vote` makes no sense of its answers; empty where it does."""
    question_tokens: float | None = None
    """Of a question, in the mean, as estimated from its characters; None where its text is not known."""


def read_task_facts(scorer: str, questions: Sequence[str], targets: Sequence[str]) -> TaskFacts:
    """
    Args:
        scorer: the name of the one that counts; empty where it is none of Inspect's.
        questions: their texts; empty where they are not known.
        targets: of the questions; several that are right are separate entries.
    """
    length = sum(map(len, questions)) / len(questions) / CHARACTERS_PER_TOKEN if questions else None
    return TaskFacts(find_vote_obstacle(scorer, targets), length)


def find_vote_obstacle(scorer: str, targets: Sequence[str]) -> str:
    """Why a majority vote makes no sense of a task's answers, or nothing.

    A scorer of this package declares it. Of others the targets tell: a task can be voted on where `vote` reads its
    targets as final answers, because then answers are compared with these as a vote compares them with each other.
    """
    scorer = scorer.rpartition("/")[2]
    if scorer in DECLARED:
        return DECLARED[scorer].vote_obstacle
    votable = sum(map(_is_votable, targets))
    if targets and votable >= VOTABLE_SHARE * len(targets):
        return ""
    return "its targets are not answers that a vote can tell apart"


def _is_votable(target: str) -> bool:
    target = target.rpartition("####")[2]  # the solution before it is GSM8K's form
    words = target.split()
    if not 0 < len(words) <= MAX_TARGET_WORDS or len(target) > MAX_ANSWER_CHARS:
        return False
    return find_final_answer(target) is not None
