"""Reads a judge's reply on two answers: which is better, or neither.

>>> parse_preference("The second misses a case.\\nBetter: [1]")
1
"""

import html
import re
from itertools import islice

from archon_eval.components.parsing.structured import is_negated, normalize_reply
from archon_eval.errors import ParseError, quote

REQUEST = "Your reply has no clear choice. Reply with nothing but one of these: Better: [1], Better: [2], Better: [tie]"
"""What asks for the choice alone, after a reply that has the reasoning."""
MAX_CHOICES = 200
"""Choices in a reply from which on it is none."""
MAX_LINE = 500
"""Characters of a line that may be a choice."""
_WORD = r"(?:response|answer|candidate|option)"
_CHOICE = rf"(?:{_WORD}\b\W{{0,4}})?([12]|tied?|equal|equally good|both|neither|draw|same)\b"
_NAME = r"\b(?:better|best|winner|preferred|preference|verdict|choice)\b"
_END = r"[\s\])}\"'.!|]*"
_STATED = re.compile(
    rf"{_NAME}(?:[ \t]{{0,3}}{_WORD})?[ \t\"]{{0,3}}[:=][ \t]{{0,3}}[\[({{\"'|]{{0,4}}[ \t]{{0,3}}{_CHOICE}"
    r"[ \t\])}\"'.!|]*$",
    re.I | re.M,
)
_LAST = re.compile(rf"{_NAME}(?:\s{{0,3}}{_WORD})?(?:\s{{1,3}}is)?\s{{0,3}}[\[(\"']{{0,4}}{_CHOICE}{_END}", re.I)
_LONE = re.compile(
    rf"[\s\"'#|]*(?:[\[({{]{{1,4}}\s{{0,3}}{_CHOICE}\s{{0,3}}[\])}}]|{_WORD}\W{{1,4}}([12])|(tie)){_END}", re.I
)
_SENTENCE = re.compile(
    rf"\b{_WORD}\W{{0,4}}([12])\W{{0,4}}(?:is|was|wins)\b(?:\W+(?!not\b|n't)\w+){{0,2}}?\W*\b"
    r"(?:better|best|stronger|preferable|superior|winner)\b",
    re.I,
)
_DOUBT = re.compile(r"\b(?:wait|actually|however|correction|on second thought)\b", re.I)


def parse_preference(reply: str) -> int:
    """1 where the first answer is better, -1 where the second is, 0 for a tie.

    The last line of the form `Better: [1]` counts; else a last line that is the choice alone, or says in a sentence
    which is better.

    Raises:
        ParseError: no choice, several in one line, or one that is taken back.
    """
    text = html.unescape(normalize_reply(reply)).replace("*", "").replace("`", "").replace("<", " ").replace(">", " ")
    stated = list(islice(_STATED.finditer(text), MAX_CHOICES))
    if len(stated) == MAX_CHOICES:
        raise ParseError(f"{MAX_CHOICES} choices or more in {quote(reply)}", request=REQUEST)
    if stated:
        last = stated[-1]
        line, rest = text[text.rfind("\n", 0, last.start()) + 1 : last.start()], text[last.end() :]
        if is_negated(line, True) or _DOUBT.search(rest) or _SENTENCE.search(rest):
            raise ParseError(
                f"the choice is taken back or conditional: {quote(line + last[0] + rest)}", request=REQUEST
            )
        return _read_choice(last[1])
    lines = [line.strip() for line in text.splitlines() if re.search(r"\w", line)]
    if lines and len(lines[-1]) <= MAX_LINE and (choice := _find_in_line(lines[-1], alone=len(lines) == 1)):
        return _read_choice(choice)
    raise ParseError(f"neither [1], [2] nor [tie] in {quote(reply)}", request=REQUEST)


def _find_in_line(line: str, *, alone: bool) -> str:
    """The choice that a reply's last line is or states; empty for none."""
    if match := _LONE.fullmatch(line):
        return str(next(filter(None, match.groups())))
    if alone and (match := re.fullmatch(rf"\W*([12]){_END}", line)):
        return str(match[1])
    named = [match for match in _LAST.finditer(line) if match.end() == len(line)]
    matches = named or list(_SENTENCE.finditer(line))
    if len({match[1] for match in matches}) != 1 or is_negated(line[: matches[0].start()], True):
        return ""
    return str(matches[0][1])


def _read_choice(word: str) -> int:
    return {"1": 1, "2": -1}.get(word, 0)
