"""Reads a verifier's reply: whether it ends by calling the candidate correct.

>>> parse_verdict("6 x 7 is 42, as stated.\\n[Correct]")
True
"""

import html
import re

from archon_eval.components.parsing.structured import is_negated, iter_json_values, normalize_reply
from archon_eval.errors import ParseError, quote

REQUEST = "Your reply has no clear verdict. Reply with nothing but your verdict: [Correct] or [Incorrect]"
"""What asks for the verdict alone, after a reply that has the reasoning."""
_FORM = re.compile(r"\[\s{0,9}correct\s{0,9}\]?\s{0,9}(?:or|/|,|\|)\s{0,9}\[?\s{0,9}incorrect\s{0,9}\]", re.I)
_BRACKET = re.compile(r"\[[^\[\]\n]{0,40}correct\b[^\[\]\n]{0,40}\]", re.I)
_NOUN = r"(?:final|verdict|answer|response|decision|conclusion|is|boxed|text)"
_LEAD = rf"\W*(?:(?:(?:so|my|the|{_NOUN})\b\W*)*{_NOUN}\b\W*)?"
_EXACT = re.compile(rf"\[{_LEAD}(in|not\s+)?correct\W*\]", re.I)
_LONE = re.compile(rf"{_LEAD}(in|not\s+)?correct\W*", re.I)
_OPENING = re.compile(r"\W{0,9}(in|not\s+)?correct(?:[.!]{1,9}(?=\s)|[ \t]{0,9}\n)", re.I)
"""A reply that begins with the verdict, in a sentence or a line of its own, before what speaks for it."""
_FAULT = re.compile(r"\b(?:not?|cannot|should|errors?|mistakes?|fails?|faulty|missing)\b|n['’]t\b", re.I)
_AGAINST = {
    True: re.compile(r"\b(?:incorrect|wrong|wait)\b|\bnot\s+(?:\w+\s+)?correct\b", re.I),
    False: re.compile(r"\b(?:is|are|was)\s+(?:\w+\s+)?correct\b|\bwait\b", re.I),
}
_HEDGE = re.compile(r"\b(?:but|however|although|if|unless|except|wait)\b", re.I)
_FIRST = re.compile(r"\b(?:at\s+first|initially|first\s+(?:sight|glance|impression|look))\b", re.I)


def parse_verdict(reply: str) -> bool:
    """Whether the reply ends by calling the candidate correct.

    Raises:
        ParseError: no verdict, or a last verdict that says both, is negated, hedged or contradicted afterwards.
    """
    text = _FORM.sub("", html.unescape(normalize_reply(reply)).replace("*", "").replace("`", ""))
    brackets = list(_BRACKET.finditer(text))
    if not brackets:
        return _parse_unbracketed(text, reply)
    end = brackets[-1]
    exact = _EXACT.fullmatch(end[0])
    start = text.rfind("\n", 0, end.start()) + 1
    stop = text.find("\n", end.end())
    line = text[start : stop if stop >= 0 else len(text)]
    kinds = {match[0].lower().replace(" ", "") for match in _BRACKET.finditer(line[-5000:])}
    if not exact or len(kinds) > 1 or is_negated(line[: end.start() - start], exact[1] is None):
        raise ParseError(f"the verdict says both, neither or is negated: {quote(line)}", request=REQUEST)
    verdict, rest = exact[1] is None, text[end.end() :]
    alone = _LONE.fullmatch(line[-200:])
    if _AGAINST[verdict].search(rest) or (not alone and (_FIRST.search(line) or _HEDGE.search(rest))):
        raise ParseError(f"the verdict is hedged or contradicted: {quote(line + rest)}", request=REQUEST)
    return verdict


def _parse_unbracketed(text: str, reply: str) -> bool:
    """A last line or a beginning that is only the verdict, or a JSON object with one verdict in it."""
    last = next((line for line in reversed(text.splitlines()) if re.search(r"\w", line)), "")
    if len(last) <= 200 and (match := _LONE.fullmatch(last)):
        return match[1] is None
    if match := _OPENING.match(text):
        verdict, rest = match[1] is None, text[match.end() :]
        if not any(doubt.search(rest) for doubt in (_AGAINST[verdict], _HEDGE, *([_FAULT] if verdict else []))):
            return verdict
    for value in iter_json_values(text):
        words = value.values() if isinstance(value, dict) else value
        verdicts = {
            word for word in (str(word).strip("[] .").lower() for word in words) if word in ("correct", "incorrect")
        }
        verdicts |= {("incorrect", "correct")[value[k]] for k in value if k == "correct" and isinstance(value[k], bool)}
        if len(verdicts) == 1:
            return verdicts == {"correct"}
    raise ParseError(f"no [Correct] or [Incorrect] in {quote(reply)}", request=REQUEST)
