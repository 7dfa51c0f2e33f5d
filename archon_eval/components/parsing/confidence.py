"""Reads how confident an agent says it is, and takes the statement out of its answer.

>>> split_confidence("It is 4.\\nConfidence: 85%")
('It is 4.', 0.85)
"""

import re

from archon_eval.errors import ParseError, quote

_LEAD = r"(?:(?:my|the|overall|final|stated)\s+)?"
_OF = r"(?:[\s_]+(?:level|score|in\s+(?:my|this|the)\s+(?:final\s+)?answer))?"
_NUMBER = r"(?P<number>\d{1,3}(?:\.\d{1,6})?|\.\d{1,6})"
_SCALE = r"(?P<scale>\s{0,3}%|\s{0,3}(?:/|out\s+of)\s{0,3}(?:1\.0|100|10|1)(?![\d.]))?"
_STATED = re.compile(
    rf"^(?P<before>[^\w\n]{{0,20}}){_LEAD}confidence{_OF}[^\w\n.]{{0,9}}(?:\bis\b)?[^\w\n.]{{0,9}}{_NUMBER}{_SCALE}"
    rf"[^\w\n]{{0,20}}(?P<note>\([^()\n]{{0,200}}\)[^\w\n]{{0,9}})?$",
    re.I | re.M,
)
MAX_LINE = 400
"""Characters of a line that can state a confidence and nothing else."""


def split_confidence(reply: str) -> tuple[str, float]:
    """The answer without the line that states a confidence, and the confidence, from 0 to 1.

    The last such line counts: `Confidence: 0.8`, `80%`, `8/10`; also with words, bold type or JSON's quotes around.

    Raises:
        ParseError: no such line, or a number of which the scale is not clear (`Confidence: 5`).
    """
    lines = reply.splitlines()
    for place in range(len(lines) - 1, -1, -1):
        match = _STATED.match(lines[place]) if len(lines[place]) <= MAX_LINE else None
        if match is None:
            continue
        value = _scale_number(match["number"], match["scale"] or "")
        if value is None:
            raise ParseError(f"no confidence from 0.0 to 1.0: {quote(lines[place])}")
        rest = "\n".join([*lines[:place], *lines[place + 1 :]]).strip()
        return rest or reply, value
    raise ParseError(f"no line 'Confidence: ...' in {quote(reply)}")


def _scale_number(number: str, scale: str) -> float | None:
    """The number on the scale from 0 to 1; None where it is beyond its scale, or has none that is clear."""
    value, unit = float(number), re.sub(r"\s", "", scale).lower().replace("outof", "/")
    if not unit:
        unit = "%" if value > 10 and value <= 100 else "/1"
    whole = 100.0 if unit == "%" else float(unit[1:])
    return value / whole if value <= whole else None
