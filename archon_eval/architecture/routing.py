"""Routing by features of the question that cost nothing: a small table, of which the first row that holds decides.

    >>> features = extract_features("How many primes are below 100?")
    >>> choose_row([{"when": {"words": {"max": 10}}, "stage": "cheap"}], features)["stage"]
    'cheap'

A row is `{when: {FEATURE: condition, ...}, stage: NAME}`. A condition is a number, true or false, or a mapping of `min`
and `max`, both included; all conditions of a row must hold.
"""

import re
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from archon_eval.architecture.option_values import describe_value
from archon_eval.errors import ArchitectureError, did_you_mean

FEATURES: Mapping[str, str] = {
    "characters": "characters of the question",
    "words": "words, by white space",
    "lines": "lines that are not empty",
    "numbers": "numbers written in digits",
    "digits": "digits",
    "longest_number": "digits of the longest number",
    "formulas": "signs of mathematics: `$`, backslash commands, and = + ^ < > between operands",
    "code": "1 where there is a fenced block or a line of a program, else 0",
    "choices": "lines that begin with an option's letter, A first",
    "questions": "question marks",
    "turns": "turns of the user",
}
"""What can be told of a question without a model."""
ROW_FORM = "a row is {when: {words: {max: 40}}, stage: NAME}"
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_FORMULA = re.compile(r"\$|\\[A-Za-z]+|(?<=[\w)])\s*[=+^<>]\s*(?=[\w(\\-])")
_CODE = re.compile(r"```|^\s*(?:def |class |import |from \w+ import |#include|public |return\b|for \(|while \()", re.M)
_CHOICE = re.compile(r"^\s*\(?([A-J])[).:]\s+\S", re.M)


def extract_features(text: str, turns: int = 1) -> dict[str, float]:
    """The features of a question.

    Args:
        text: the turn that asks.
        turns: of the user, in the whole conversation.
    """
    numbers = _NUMBER.findall(text)
    letters = _CHOICE.findall(text)
    return {
        "characters": len(text),
        "words": len(text.split()),
        "lines": sum(bool(line.strip()) for line in text.splitlines()),
        "numbers": len(numbers),
        "digits": sum(character.isdigit() for character in text),
        "longest_number": max((sum(map(str.isdigit, number)) for number in numbers), default=0),
        "formulas": len(_FORMULA.findall(text)),
        "code": float(bool(_CODE.search(text))),
        "choices": len(set(letters)) if "A" in letters and len(set(letters)) > 1 else 0,
        "questions": text.count("?"),
        "turns": turns,
    }


def parse_rows(given: Any, where: str) -> list[dict[str, Any]]:
    """The rows of a table, each condition as `{min, max}`.

    Raises:
        ArchitectureError: an unknown feature or a malformed row; begins with `where`.
    """
    if not isinstance(given, list | tuple):
        raise ArchitectureError(f"{where}: `rows` must be a list: {ROW_FORM}; not {describe_value(given)}")
    return [_parse_row(row, f"{where}, row {number}") for number, row in enumerate(given, 1)]


def _parse_row(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, Mapping) or set(row) != {"when", "stage"} or not isinstance(row["when"], Mapping):
        raise ArchitectureError(f"{where}: {ROW_FORM}, not {describe_value(row)}")
    if not isinstance(row["stage"], str) or not row["when"]:
        raise ArchitectureError(f"{where}: `stage` is a stage's name and `when` has a condition; got {row!r}")
    when = {}
    for name, condition in row["when"].items():
        if name not in FEATURES:
            raise ArchitectureError(f"{where}: unknown feature {name!r}{did_you_mean(str(name), FEATURES)}")
        when[str(name)] = _parse_condition(condition, f"{where}: {name}")
    return {"when": when, "stage": row["stage"]}


def _parse_condition(condition: Any, where: str) -> dict[str, float]:
    if isinstance(condition, bool):
        condition = int(condition)
    ends = {"min": condition, "max": condition} if not isinstance(condition, Mapping) else dict(condition)
    legal = bool(ends) and set(ends) <= {"min", "max"} and all(map(_is_finite, ends.values()))
    if not legal or ends.get("min", -inf) > ends.get("max", inf):
        raise ArchitectureError(
            f"{where} must be a number, true or false, or {{min: ..., max: ...}} with a max of at least min, not "
            f"{condition!r}"
        )
    return {name: float(end) for name, end in ends.items()}


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -inf < value < inf


def choose_row(rows: Sequence[Mapping[str, Any]], features: Mapping[str, float]) -> Mapping[str, Any] | None:
    """The first row whose conditions all hold; None where none does."""
    return next((row for row in rows if holds(row["when"], features)), None)


def holds(when: Mapping[str, Mapping[str, float]], features: Mapping[str, float]) -> bool:
    """Whether all conditions hold."""
    return all(
        ends.get("min", features[name]) <= features[name] <= ends.get("max", features[name])
        for name, ends in when.items()
    )


def describe_row(row: Mapping[str, Any]) -> str:
    """`words at most 40, code 1` in words."""
    parts = []
    for name, ends in row["when"].items():
        if ends.get("min") == ends.get("max"):
            parts.append(f"{name} {ends['min']:g}")
        else:
            words = {"min": "at least", "max": "at most"}
            parts.append(f"{name} {' and '.join(f'{words[end]} {value:g}' for end, value in ends.items())}")
    return ", ".join(parts)
