r"""Sets of numbers written as conditions, as the intervals that they are.

>>> write_as_intervals(r"\{x | x > 3\}")
'x > 3'
>>> write_as_intervals(r"x < 1 or x \ge 3")
'(-\\infty,1)\\cup [3,\\infty)'
>>> write_as_intervals(r"x > 1 and x \le 3")
'(1,3]'
"""

import re

_BUILDER = re.compile(
    r"\\\{\s*([A-Za-z])\s*(?:\\in\s*(?:\\mathbb\s*\{?\s*R\s*\}?|\\R|R)\s*)?[|:]\s*([^|:{}]{1,500})\\\}", re.DOTALL
)
_BOUND = r"((?:[^<>=|;,A-Za-z\\]|\\(?:frac|sqrt|pi)(?![A-Za-z])){1,120})"
_CONDITIONS = re.compile(
    rf"\s*([A-Za-z])\s*(<|>|\\le|\\ge|\\lt|\\gt)(?![A-Za-z])\s*{_BOUND}\s*"
    rf"(?:\b(or|and)\b|\\(lor|vee|land|wedge|cup|cap)(?![A-Za-z]))\s*"
    rf"\1\s*(<|>|\\le|\\ge|\\lt|\\gt)(?![A-Za-z])\s*{_BOUND}\s*"
)
_UPPER = {"<": ")", r"\lt": ")", r"\le": "]"}
_LOWER = {">": "(", r"\gt": "(", r"\ge": "["}
_EITHER = ("or", "lor", "vee", "cup")


def write_as_intervals(text: str) -> str:
    """The condition of a set builder alone; of an upper and a lower bound on one variable the interval or union.

    What is neither is as it was. Whether the bounds leave anything between them is not looked at.
    """
    if (builder := _BUILDER.fullmatch(text)) and re.search(rf"(?<![A-Za-z\\]){builder[1]}(?![A-Za-z])", builder[2]):
        text = builder[2].strip()
    found = _CONDITIONS.fullmatch(text)
    if found is None:
        return text
    _, first, one, word, sign, second, other = found.groups()
    if first in _LOWER and second in _UPPER:
        (first, one), (second, other) = (second, other), (first, one)
    if first not in _UPPER or second not in _LOWER:
        return text
    low, high = f"{_LOWER[second]}{other.strip()}", f"{one.strip()}{_UPPER[first]}"
    if (word or sign) in _EITHER:
        return rf"(-\infty,{high}\cup {low},\infty)"
    return f"{low},{high}"
