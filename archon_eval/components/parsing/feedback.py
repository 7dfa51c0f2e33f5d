"""Reads feedback on an answer: what is to be changed, or that nothing is.

>>> parse_feedback("The second step is wrong.\\n[Revise]")
'The second step is wrong.'
>>> parse_feedback("All steps hold.\\n[Keep]") is None
True
"""

import re

from archon_eval.components.parsing.structured import is_negated, normalize_reply
from archon_eval.errors import MissingPartsError, ParseError, quote

REQUEST = "Your feedback does not say whether the response is to be changed. Reply with nothing but [Keep] or [Revise]"
"""What asks for the decision alone, after a reply that has the feedback."""
FEEDBACK_REQUEST = "Your reply does not say what is to be changed. Reply with the faults that you find"
"""What asks for the feedback alone, after a reply that only has the decision."""
_FORM = re.compile(r"\[\s{0,9}keep\s{0,9}\]?\s{0,9}(?:or|/|,|\|)\s{0,9}\[?\s{0,9}revise\s{0,9}\]", re.I)
_BRACKET = re.compile(r"\[\s{0,9}(keep|revise)\s{0,9}\]", re.I)
_LONE = re.compile(r"\W*(?:(?:my|the|final|decision|verdict|is)\b\W*){0,4}(keep|revise)\W*", re.I)


def parse_feedback(reply: str) -> str | None:
    """The feedback without its decision, or None where it says that nothing is to be changed.

    Raises:
        MissingPartsError: the feedback has no decision, or there is nothing but a decision to revise.
        ParseError: a decision that says both, or an empty reply.
    """
    text = _FORM.sub("", normalize_reply(reply).replace("*", "").replace("`", ""))
    lines = text.splitlines()
    for place in range(len(lines) - 1, -1, -1):
        marks = list(_BRACKET.finditer(lines[place][-2000:]))
        if marks and re.search(r"\w", lines[place][-2000:][marks[-1].end() :]):
            continue  # "[Keep] the layout": a sentence, not the decision
        words = {match[1].lower() for match in marks}
        if len(words) > 1 or (words and is_negated(lines[place][: lines[place].rfind("[")], True)):
            raise ParseError(f"the decision says both or is negated: {quote(lines[place])}", request=REQUEST)
        if not words and place == len(lines) - 1 and len(lines[place]) <= 200:
            words = {match[1].lower()} if (match := _LONE.fullmatch(lines[place])) else set()
        if words == {"keep"}:
            return None
        if words:
            left = "" if _LONE.fullmatch(lines[place][-200:]) else _BRACKET.sub("", lines[place])
            feedback = "\n".join([*lines[:place], left, *lines[place + 1 :]]).strip()
            if not feedback:
                raise MissingPartsError(f"no feedback in {quote(reply)}", None, FEEDBACK_REQUEST, [1])
            return feedback
    if not text.strip():
        raise ParseError("an empty reply", request=REQUEST)
    raise MissingPartsError(f"no [Keep] or [Revise] in {quote(reply)}", None, REQUEST, [1])
