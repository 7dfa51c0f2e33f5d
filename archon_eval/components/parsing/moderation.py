"""Reads a moderator's reply: which side of a debate is right, or that it goes on.

>>> parse_moderation("The second argument has no gap.\\n[Negative]")
'negative'
"""

import re
from collections.abc import Sequence
from typing import Literal

from archon_eval.components.parsing.structured import is_negated, normalize_reply
from archon_eval.errors import ParseError, quote

Decision = Literal["affirmative", "negative", "continue"]
REQUEST = "Your reply has no clear decision. Reply with nothing but your decision: {form}"
"""What asks for the decision alone, after a reply that has the reasoning."""
_WORD = r"(affirmative|negative|continue)"
_BRACKET = re.compile(rf"\[\s{{0,9}}{_WORD}(?:\s+side)?\s{{0,9}}\]", re.I)
_LONE = re.compile(rf"\W*(?:(?:my|the|final)\s+)?(?:decision\W{{1,9}})?{_WORD}(?:\s+side)?\W*", re.I)


def parse_moderation(reply: str, legal: Sequence[str] = ("affirmative", "negative", "continue")) -> Decision:
    """The decision with which the reply ends.

    Args:
        legal: the decisions that were asked for.

    Raises:
        ParseError: none, several in the last line that has one, or one that was not asked for.
    """
    request = REQUEST.format(form=" or ".join(f"[{word.capitalize()}]" for word in legal))
    text = normalize_reply(reply).replace("*", "").replace("`", "")
    lines = [line for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        marks = list(_BRACKET.finditer(line[-2000:]))
        if marks and re.search(r"\w", line[-2000:][marks[-1].end() :]):
            continue  # "[Negative] errs in step 2": a sentence, not the decision
        found = {match[1].lower() for match in marks}
        if len(found) > 1 or (found and is_negated(line[: line.rfind("[")], True)):
            raise ParseError(f"the decision is not clear: {quote(line)}", request=request)
        if found:
            return _require_legal(found.pop(), legal, line, request)
    last = lines[-1] if lines else ""
    if len(last) <= 200 and (match := _LONE.fullmatch(last)):
        return _require_legal(match[1].lower(), legal, last, request)
    raise ParseError(f"no decision in {quote(reply)}", request=request)


def _require_legal(word: str, legal: Sequence[str], line: str, request: str) -> Decision:
    if word not in legal:
        raise ParseError(f"the decision was not asked for: {quote(line)}", request=request)
    return word  # type: ignore[return-value]  # one of the words of the pattern
