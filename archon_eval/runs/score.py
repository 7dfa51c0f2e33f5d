"""Where a score becomes a number: the one conversion that search, demo, reports and gates share.

>>> [convert_score(value, "math") for value in ("C", "P", "I", True, "0.25", 7)]
[1.0, 0.5, 0.0, 1.0, 0.25, 7.0]
>>> convert_score({"strict": 1, "loose": 0}, "judge", "loose")
0.0
>>> convert_score("N/A", "math")
Traceback (most recent call last):
archon_eval.errors.DataError: scorer math: 'N/A' is no number
"""

import math
from collections.abc import Mapping
from typing import Any

from archon_eval.errors import DataError, did_you_mean, quote

LETTER_VALUES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Inspect's CORRECT, PARTIAL, INCORRECT and NOANSWER, with the values that its own metrics give them."""
MAX_SCORE = 1e100
"""Squares of larger scores overflow."""
WORD_VALUES = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""In any case, as Inspect's own metrics read them."""


def convert_score(value: Any, scorer: str, key: str = "") -> float:
    """The number that a scorer's value stands for.

    Args:
        value: what `inspect_ai.scorer.Score` holds: a letter, a word, a number, a truth value, or a mapping of these.
        scorer: the scorer's name, for messages.
        key: which value of a mapping counts.

    Raises:
        DataError: no number, or none that is finite; or a mapping without the key. Names scorer and value.
    """
    value = select_value(value, scorer, key)
    try:
        number = _read_text(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        shown = quote(value) if isinstance(value, str) else repr(value)[:200]
        raise DataError(f"scorer {scorer}: {shown} is no number") from None
    if not abs(number) < MAX_SCORE:
        what = "is too large to be averaged" if math.isfinite(number) else "is not a finite number"
        raise DataError(f"scorer {scorer}: {value!r} {what}")
    return number


def select_value(value: Any, scorer: str, key: str) -> Any:
    """The value of the key where a scorer gives several, else the value itself.

    Raises:
        DataError: a mapping without the key.
    """
    if not isinstance(value, Mapping):
        return value
    if key not in value:
        raise DataError(f"scorer {scorer} gives several values; name one{did_you_mean(key, map(str, value))}")
    return value[key]


def _read_text(text: str) -> float:
    if text in LETTER_VALUES:
        return LETTER_VALUES[text]
    word = text.lower()
    return WORD_VALUES[word] if word in WORD_VALUES else float(word)
