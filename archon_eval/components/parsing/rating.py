"""Reads a judge's rating from 1 to 10.

>>> parse_rating("It is sound, though it skips a step.\\nRating: [[7]]")
7.0
"""

import re

from archon_eval.components.parsing.structured import normalize_reply
from archon_eval.errors import ParseError, quote

REQUEST = "Your reply has no clear rating. Reply with nothing but your rating, from 1 to 10, such as: Rating: [[5]]"
_BRACKETS = re.compile(
    r"\[\[\s{0,9}(?:rating\s{0,9}:?\s{0,9})?(\d{1,3}(?:\.\d{1,3})?)\s{0,9}(?:/\s{0,9}10)?\s{0,9}\]\]", re.I
)
_LINE = re.compile(
    r"\W{0,9}(?:(?:my|final|overall)\s+){0,2}rating\W{1,9}(\d{1,3}(?:\.\d{1,3})?)(?:\s{0,9}/\s{0,9}10)?\W{0,9}", re.I
)
_LONE = re.compile(r"\W{0,9}(\d{1,3}(?:\.\d{1,3})?)(?:\s{0,9}/\s{0,9}10)?\W{0,9}")


def parse_rating(reply: str) -> float:
    """The rating with which the reply ends.

    Raises:
        ParseError: none, several that differ in the last line, or one that is not from 1 to 10.
    """
    text = normalize_reply(reply).replace("*", "").replace("`", "")
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")[-2000:]
    found = _BRACKETS.findall(last) or _BRACKETS.findall(text)[-1:]
    if not found and (match := _LINE.fullmatch(last) or _LONE.fullmatch(last)):
        found = [match[1]]
    ratings = {float(number) for number in found}
    if len(ratings) != 1:
        raise ParseError(f"no rating, or several, in {quote(last)}", request=REQUEST)
    [rating] = ratings
    if not 1 <= rating <= 10:
        raise ParseError(f"the rating {rating:g} is not from 1 to 10", request=REQUEST)
    return rating
