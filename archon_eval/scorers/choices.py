"""Multiple-choice answers by letter, for prompts that hold their options and ask for a last line `ANSWER: C`.

    >>> extract_option_letter("It was **ANSWER: A**, no:\\n\\nANSWER: \\\\boxed{C}")
    'C'

A reply that states no letter, or several at once (`B or C`), is incorrect, and its score says so. Inspect's own
`answer("letter")` takes the first letter stated, which a reasoning model may take back.
"""

from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState

from archon_eval.components.parsing.final_answer import extract_option_letter
from archon_eval.scorers._account import get_account_metadata
from archon_eval.scorers._answer import read_answer


@scorer(metrics=[accuracy(), stderr()])
def letter_answer() -> Scorer:
    """CORRECT when the last letter that the reply states is the target's, or one of them if there are several."""

    async def score(state: TaskState, target: Target) -> Score:
        letter = extract_option_letter(read_answer(state).text)
        return Score(
            value=CORRECT if letter and letter in target.text.upper() else INCORRECT,
            answer=letter,
            explanation=f"Expected {' or '.join(target.text)}."
            + ("" if letter else " The reply has no line `ANSWER: LETTER` with one letter."),
            metadata={"status": "read" if letter else "unreadable", **get_account_metadata(state)},
        )

    return score
