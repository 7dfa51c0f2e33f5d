r"""Groups the answers of a vote: spellings of one answer are one group.

    >>> import asyncio
    >>> asyncio.run(group_answers(["18", r"\$18", None, "20", "18 dollars"]))
    (['18', '18', None, '20', '18'], '')

Answers that are spelt alike are one without any comparison, and so are plain numbers of one value. The rest is compared
with `math_equality.py`, the most common first and within limits, so that a vote of thousands stays quick.
"""

import re
from collections.abc import Sequence

from archon_eval.components.parsing.final_answer import is_prose, normalize_spelling
from archon_eval.components.parsing.math_equality import MAX_ANSWER_CHARS, compare_math
from archon_eval.components.parsing.math_spelling import MathAnswer, prepare_comparison, read_answer
from archon_eval.errors import JudgeError

MAX_PAIRS = 20_000
"""Pairs of spellings of a vote that are looked at."""
MAX_COMPUTED_PAIRS = 500
"""Pairs of a vote of which a verifying process is asked, at some milliseconds each."""
_MATHEMATICAL = re.compile(r"\d|\\[A-Za-z]|[=+^]|^-?[A-Za-z]$")
_WORDS = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{2,}")
MAX_WORDS = 6
"""Words of an answer that is read as mathematics; what has more is a sentence, of which the spelling counts."""


async def group_answers(answers: Sequence[str | None]) -> tuple[list[str | None], str]:
    """For each answer the most common spelling of its group, None for None; and what could not be compared, or ""."""
    forms = [normalize_spelling(answer) if answer is not None else None for answer in answers]
    counts: dict[str, int] = {}
    shown: dict[str, str] = {}
    for form, answer in zip(forms, answers, strict=True):
        if form is not None and answer is not None:
            counts[form] = counts.get(form, 0) + 1
            shown.setdefault(form, answer)
    leaders: dict[str, str] = {}
    known: dict[str, str] = {}
    numbers: list[tuple[str, MathAnswer]] = []
    others: list[tuple[str, MathAnswer]] = []
    pairs, computed, problem = 0, 0, ""
    for form in sorted(counts, key=lambda form: -counts[form]):  # stable: of two as common the first
        leaders[form] = form
        if not _is_mathematical(shown[form]):
            continue
        read = read_answer(shown[form])
        if read.spelling in known:
            leaders[form] = known[read.spelling]
            continue
        leader, is_number = form, read.is_plain
        for other, other_read in others if is_number else [*numbers, *others]:
            pairs += 1
            question = prepare_comparison(read, other_read) if pairs <= MAX_PAIRS else False
            if isinstance(question, bool):
                equal = question
            elif computed < MAX_COMPUTED_PAIRS:
                computed += 1
                try:
                    equal = await compare_math(shown[form], shown[other]) in ("identical", "verified")
                except JudgeError as error:
                    computed, problem = MAX_COMPUTED_PAIRS, f"answers are compared by their spelling: {error}"
                    equal = False
            else:
                equal = False
                problem = problem or f"of so many different answers only {MAX_COMPUTED_PAIRS} pairs were computed"
            if equal:
                leader = other
                break
        leaders[form] = known[read.spelling] = leader
        if leader == form:
            (numbers if is_number else others).append((form, read))
    if pairs > MAX_PAIRS:
        problem = problem or f"of so many different answers only {MAX_PAIRS} pairs were compared"
    return [leaders[form] if form is not None else None for form in forms], problem


def _is_mathematical(answer: str) -> bool:
    return (
        len(answer) <= MAX_ANSWER_CHARS
        and bool(_MATHEMATICAL.search(answer))
        and len(_WORDS.findall(answer)) <= MAX_WORDS
        and not is_prose(answer)
    )
