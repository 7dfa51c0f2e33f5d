"""Reads which of several names a reply gives: the best answer by its model's identifier.

>>> parse_model_name("**together/Qwen2**", ["openai/gpt-4o", "together/Qwen2"])
1
"""

import re
from collections.abc import Sequence

from archon_eval.components.parsing.structured import normalize_reply
from archon_eval.errors import ParseError, quote

_EDGE = r"(?![\w./-]*\w)"
MAX_LINE = 500
"""Characters of a line that can give a name."""


def parse_model_name(reply: str, names: Sequence[str]) -> int:
    """The place, from 0, of the name that the last line with a name gives.

    A name that is part of a longer one that stands there does not count.

    Raises:
        ParseError: no name, or several in that line.
    """
    text = normalize_reply(reply).replace("*", "").replace("`", "")
    longest_first = sorted(range(len(names)), key=lambda place: -len(names[place]))
    for line in reversed([line[-MAX_LINE:] for line in text.splitlines() if line.strip()]):
        rest, found = line, list[int]()
        for place in longest_first:
            pattern = re.compile(rf"(?<![\w./-]){re.escape(names[place])}{_EDGE}", re.I)
            if pattern.search(rest):
                rest = pattern.sub(" ", rest)
                found.append(place)
        if len(found) > 1:
            raise ParseError(f"several identifiers in {quote(line)}")
        if found:
            return found[0]
    raise ParseError(f"none of the identifiers in {quote(reply)}")
