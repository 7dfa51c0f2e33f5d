r"""Groups the answers of a vote: spellings of one answer are one group.

    >>> import asyncio
    >>> asyncio.run(group_answers(["18", r"\$18", None, "20", "18 dollars"]))
    (['18', '18', None, '20', '18'], '')

Answers that are spelt alike are one without any comparison, and so are plain numbers of one value. The rest is compared
with `math_equality.py`, the most common first and within limits, so that a vote of thousands stays quick.
"""

import re
from collections.abc import Mapping, Sequence

from archon_eval.components.parsing.final_answer import drop_emphasis, is_prose, normalize_spelling
from archon_eval.components.parsing.math_equality import MAX_ANSWER_CHARS, compare_math
from archon_eval.components.parsing.math_spelling import MathAnswer, prepare_comparison, read_answer
from archon_eval.errors import JudgeError

MAX_PAIRS = 20_000
"""Pairs of spellings of a vote that are looked at."""
MAX_COMPUTED_PAIRS = 500
"""Pairs of a vote of which a verifying process is asked, at some milliseconds each."""
_MATHEMATICAL = re.compile(r"\d|\\[A-Za-z]|[=+^]|^-?[A-Za-z]$")
_TEXT_COMMAND = re.compile(r"\\text(?:bf|it|rm)?\s*\{([^{}]*)\}")
_WORDS = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{2,}")
MAX_WORDS = 6
"""Words of an answer that is read as mathematics; what has more is a sentence, of which the spelling counts."""


async def group_answers(answers: Sequence[str | None]) -> tuple[list[str | None], str]:
    """For each answer the most common spelling of its group, None for None; and what could not be compared, or "".

    Two spellings are in one group if they are equal and are equal to the same others, so that no order of the answers
    decides: of "5", "$5" and "£5", of which the last two differ, each is a group.
    """
    keys = [_make_key(answer) if answer is not None else None for answer in answers]
    counts: dict[str, int] = {}
    shown: dict[str, str] = {}
    for key, answer in zip(keys, answers, strict=True):
        if key is not None and answer is not None:
            counts[key] = counts.get(key, 0) + 1
            shown.setdefault(key, drop_emphasis(answer))
    forms = sorted(counts, key=lambda key: -counts[key])  # stable: of two as common the first
    equal, unknown, problem = await _compare_all({form: shown[form] for form in forms if _is_mathematical(shown[form])})
    leaders: dict[str, str] = {}
    labels: dict[str, str] = {}
    used = set[str]()
    for form in forms:
        known = [other for other in equal.get(form, ()) if leaders.get(other) == other]
        leaders[form] = next((other for other in known if _are_alike(form, other, equal, unknown)), form)
        if leaders[form] == form:
            label = normalize_spelling(shown[form]) or form
            labels[form] = label if label not in used else f"{label} ({form})"
            used.add(labels[form])
    return [labels[leaders[key]] if key is not None else None for key in keys], problem


Relation = dict[str, set[str]]


async def _compare_all(shown: Mapping[str, str]) -> tuple[Relation, Relation, str]:
    """For each form those it equals, and those of which nothing is known; and the reason for that, or ""."""
    equal: Relation = {form: set() for form in shown}
    unknown: Relation = {form: set() for form in shown}
    numbers: list[tuple[str, MathAnswer]] = []
    others: list[tuple[str, MathAnswer]] = []
    pairs, computed, problem = 0, 0, ""
    for form, text in shown.items():
        if pairs > MAX_PAIRS:  # of what comes now nothing is known, and so nothing equals it
            break
        read = read_answer(text)
        for other, other_read in others if read.is_plain else [*numbers, *others]:
            pairs += 1
            question = prepare_comparison(read, other_read) if pairs <= MAX_PAIRS else None
            if isinstance(question, bool):
                is_equal: bool | None = question
            elif question is not None and computed < MAX_COMPUTED_PAIRS:
                computed += 1
                try:
                    is_equal = await compare_math(text, shown[other]) in ("identical", "verified")
                except JudgeError as error:
                    computed, problem = MAX_COMPUTED_PAIRS, f"answers are compared by their spelling: {error}"
                    is_equal = None
            else:
                is_equal = None
                if question is not None:
                    problem = problem or f"of so many different answers only {MAX_COMPUTED_PAIRS} pairs were computed"
            if is_equal is not False:
                relation = equal if is_equal else unknown
                relation[form].add(other)
                relation[other].add(form)
        (numbers if read.is_plain else others).append((form, read))
    if pairs > MAX_PAIRS:
        problem = problem or f"of so many different answers only {MAX_PAIRS} pairs were compared"
    return equal, unknown, problem


def _are_alike(one: str, other: str, equal: Relation, unknown: Relation) -> bool:
    """Whether two equal forms are equal to the same others, as far as that is known."""
    return not (equal[one] ^ equal[other]) - {one, other} - unknown[one] - unknown[other]


def _make_key(answer: str) -> str | None:
    """The spelling of an answer: of mathematics, equal only for what the scorer holds for equal."""
    text, form = drop_emphasis(answer), normalize_spelling(answer)
    if form is None or not _is_mathematical(text):
        return form
    read = read_answer(text)
    return f"{read.name}={read.spelling}" if read.name else read.spelling or form


def _is_mathematical(answer: str) -> bool:
    return (
        len(answer) <= MAX_ANSWER_CHARS
        and bool(_MATHEMATICAL.search(_TEXT_COMMAND.sub(r"\1", answer)))
        and len(_WORDS.findall(answer)) <= MAX_WORDS
        and not is_prose(answer)
    )
