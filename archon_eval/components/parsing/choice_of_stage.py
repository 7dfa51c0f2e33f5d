"""Reads which of a cascade's stages a model chose.

>>> parse_stage("The question is short and plain.\\nStage: cheap", ["cheap", "strong"])
'cheap'
"""

import re
from collections.abc import Sequence

from archon_eval.components.parsing.structured import normalize_reply
from archon_eval.errors import ParseError, quote

_STATED = re.compile(r"\b(?:stage|choice|answer)\s{0,9}[:=]\s{0,9}[\"'\[(<]{0,3}([A-Za-z0-9][\w.-]{0,59})", re.I)
_WORD = re.compile(r"[A-Za-z0-9][\w.-]{0,59}")


def parse_stage(reply: str, names: Sequence[str]) -> str:
    """The stage that the reply ends with.

    Raises:
        ParseError: none, several, or one that does not exist.
    """
    text = normalize_reply(reply).replace("*", "").replace("`", "")
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")[-2000:]
    known = {name.lower(): name for name in names}
    stated = [word.rstrip(".").lower() for word in _STATED.findall(last)]
    words = stated or [word.rstrip(".").lower() for word in _WORD.findall(last) if word.rstrip(".").lower() in known]
    chosen = set(words)
    legal = ", ".join(names)
    request = f"Your reply names no stage clearly. Reply with one line, `Stage: NAME`, with one of these names: {legal}"
    if len(chosen) != 1:
        raise ParseError(f"no stage, or several, in {quote(last)}", request=request)
    [word] = chosen
    if word not in known:
        raise ParseError(f"there is no stage {word!r} (legal: {legal})", request=request)
    return known[word]
