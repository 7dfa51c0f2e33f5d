"""Reads a judge's reply: the score from 0 to 100 that it ends with.

>>> parse_rating("The steps are right, the units are missing.\\nScore: 85/100")
85.0
"""

import re
from itertools import islice

from archon_eval.components.parsing.structured import is_negated, normalize_reply
from archon_eval.errors import ParseError, quote

MOST = 100
"""The highest score; the lowest is 0."""
REQUEST = "Your reply has no clear score. Reply with nothing but your score, a number from 0 to 100: Score: N"
"""What asks for the score alone, after a reply that has the reasoning."""
MAX_SCORES = 200
"""Scores in a reply from which on it is none."""
_NUMBER = r"[-+]?\d{1,6}(?:\.\d{1,6})?"
_SCORE = re.compile(
    rf"\b(?:score|rating|grade)\b(?P<sign>[^\w+-]{{0,6}})(?:is\b|of\b)?[^\w+-]{{0,6}}(?P<number>{_NUMBER})(?![\w.]*\d)(?P<rest>.*)",
    re.I,
)
_OF_ALL = re.compile(r"\s{0,3}(?:/|out of|of)\s{0,3}(\d{1,6})", re.I)
_RANGE = re.compile(r"\s{0,3}(?:[-–—~]|to\b|or\b|and\b)\s{0,3}[-+]?\d", re.I)
_LONE = re.compile(rf"[^\w\n+-]*(?P<number>{_NUMBER})(?P<rest>.*)")
_NOTHING = re.compile(r"\s*(?:points?)?[\s.)\]}|$%]*")
_DENIAL = re.compile(r"\b(?:not|never|cannot|no|if|would|could)\b|n['’]t\b", re.I)
_END = re.compile(r"\s{0,3}(?:points?\b|%)?[\s*_\"'`)\]}|$]*(?:$|[.,;:(–—-](?!\d)|because\b|since\b|as\b)", re.I)


def parse_rating(reply: str) -> float:
    """The last score that the reply states, from 0 to 100.

    Raises:
        ParseError: no score, one of another scale or between 0 and 1, a range, or one that is taken back.
    """
    text = normalize_reply(reply).replace("*", "").replace("`", "").replace("−", "-")
    matches = list(islice(_SCORE.finditer(text), MAX_SCORES))
    if len(matches) == MAX_SCORES:
        raise ParseError(f"{MAX_SCORES} scores or more in {quote(reply)}", request=REQUEST)
    stated = [match for match in matches if _END.match(_cut_scale(match["rest"])) or _RANGE.match(match["rest"])]
    if stated:
        last = stated[-1]
        line = text[text.rfind("\n", 0, last.start()) + 1 : last.start()]
        in_prose = not re.search("[:=]", last["sign"])
        if is_negated(line, True) or (in_prose and _DENIAL.search(line)):
            raise ParseError(f"the score is taken back or conditional: {quote(line + last[0])}", request=REQUEST)
        return _read_number(last, reply)
    lines = [line for line in text.splitlines() if re.search(r"\w", line)]
    lone = _LONE.fullmatch(lines[-1][:200]) if lines else None
    if lone and _NOTHING.fullmatch(_cut_scale(lone["rest"])):
        return _read_number(lone, reply)
    raise ParseError(f"no score in {quote(reply)}", request=REQUEST)


def _cut_scale(rest: str) -> str:
    """What follows a number, without `/100`."""
    return _OF_ALL.sub("", rest, count=1) if _OF_ALL.match(rest) else rest


def _read_number(match: re.Match[str], reply: str) -> float:
    number, rest = float(match["number"]), match["rest"]
    scale = _OF_ALL.match(rest)
    if scale and int(scale[1]) != MOST:
        raise ParseError(f"a score out of {scale[1]}, not out of {MOST}, in {quote(reply)}", request=REQUEST)
    if _RANGE.match(_cut_scale(rest)) or not 0 <= number <= MOST:
        raise ParseError(f"no one score from 0 to {MOST} in {quote(match[0])}", request=REQUEST)
    if 0 < number < 1 and not scale:  # 0.9 is a good score of another scale, and nearly the worst of this one
        raise ParseError(
            f"a score that is not clear, from 0 to 1 or from 0 to {MOST}: {quote(match[0])}", request=REQUEST
        )
    return number
