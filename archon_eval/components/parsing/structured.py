"""Finds structured values in free text, without ever evaluating it.

>>> next(iter_json_values('Sure! ```json\\n["a", "b"]\\n```'))
['a', 'b']
>>> normalize_reply("<think>hm</think>【Correct】")
'[Correct]'

Replies may be a megabyte long: every pattern here and in the parsers takes time in proportion to the text.
"""

import ast
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from archon_eval.models.thoughts import split_thoughts

MAX_LITERAL_CHARS = 20_000
"""Characters of a Python literal that are tried; what is longer is not one."""
MAX_PARSE_ATTEMPTS = 50
"""Places in a text where a structured value is looked for."""

_CONTROL = [*range(9), *range(14, 32), *range(0x7F, 0x85), *range(0x86, 0xA0), 0xAD, 0x200B, 0x2060, 0xFEFF]
_PLAIN: Mapping[int, int | str | None] = {
    **dict.fromkeys(_CONTROL),
    **dict.fromkeys((0x0B, 0x0C, 0x0D, 0x85, 0x2028, 0x2029), "\n"),
    **dict.fromkeys((0xA0, 0x202F, 0x3000), " "),
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},
    **str.maketrans("【】〔〕〖〗⟦⟧", "[][][][]"),
}

_FENCE = re.compile(r"```[\w+-]*[ \t]*\n(.*?)```", re.DOTALL)
_ENTRY = r"[ \t]*(?:\d{1,3}[.):]|[-*•])[ \t]"
_START = re.compile(rf"^(?!{_ENTRY})(?P<lead>[^\n\[{{]{{0,200}}[:=])?[ \t]*(?=[\[{{])", re.M)
_REST = re.compile(r"[ \t]{0,20}[.;`]{0,4}[ \t]{0,20}$", re.M)
_LIST_START = re.compile(r"^[ \t]{0,20}\[\s{0,20}(?=[\"{])", re.M)
_COMMA = re.compile(r"\s*,\s*")
_BACKSLASH = re.compile(r"(?<!\\)\\(?![\"'\\]|n(?!eq?\b|abla\b|ot\b|i\b|u\b)|u[0-9a-fA-F]{4})")
_DENIAL = (
    r"(?:n['’]t|\b(?:not|cannot|never|neither|nor|unless|if|whether|either|instead of|rather than|will|would|must"
    r"|should|could|may|might))"
)
_DENIED = tuple(re.compile(rf"{_DENIAL}(?:[^\w,.;:\n]+\w+){{0,{words}}}[^\w,.;:\n]*$", re.I) for words in (0, 2))


def normalize_reply(reply: str) -> str:
    """A reply as a reader sees it: no thinking before it, no fence around it, plain brackets, digits and line ends.

    A component's reply has come without its thoughts; an answer of another harness's model, read by a scorer, has not.
    """
    text = split_thoughts(reply.replace("\r\n", "\n"))[0].translate(_PLAIN).strip()
    if text.startswith("```") and text.endswith("```") and text.count("```") == 2 and "\n" in text:
        text = text[text.index("\n") : -3].strip()
    return text


def is_negated(before: str, positive: bool) -> bool:
    """Whether the text before a verdict takes it back: "not [Correct]", "I will end with [Correct]".

    "does not pass [Failed]" does not.
    """
    return bool(_DENIED[positive].search(before[-60:]))


def iter_json_values(text: str, inline: bool = True) -> Iterator[list[Any] | dict[Any, Any]]:
    """JSON or Python lists and objects in a tidied text, which may hold LaTeX with single backslashes.

    The whole text, its fenced blocks, and whatever starts a line that is no entry of a list (with `inline` also after
    a colon or an equals sign) and fills the rest of it. An object that has a key twice is left out.
    """
    text = _BACKSLASH.sub(r"\\\\", text)
    starts = [match for match in islice(_START.finditer(text), MAX_PARSE_ATTEMPTS) if inline or not match["lead"]]
    spots = [text, *(fence[1].strip() for fence in islice(_FENCE.finditer(text), MAX_PARSE_ATTEMPTS))]
    if starts:
        start = starts[0].end()
        spots.append(text[start : text.rfind("]" if text[start] == "[" else "}") + 1])
    for spot in spots:
        if spot[:1] in ("[", "{") and isinstance(value := _parse_literal(spot), list | dict):
            yield value
    done = 0
    for match in starts:
        if match.end() < done:
            continue
        try:
            value, end = _DECODER.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            continue
        if _REST.match(text, end):
            done = end
            yield value


def parse_cut_list(text: str) -> list[Any]:
    """The whole entries, texts or objects, of a JSON list that starts a line and is cut off within a later entry."""
    start = _LIST_START.search(text)
    entries: list[Any] = []
    place = start.end() if start else len(text)
    while place < len(text):
        try:
            entry, place = _DECODER.raw_decode(text, place)
        except json.JSONDecodeError as exc:
            return entries if exc.msg.startswith("Unterminated string") or exc.pos >= len(text) else []
        except (ValueError, RecursionError):
            return []
        entries.append(entry)
        comma = _COMMA.match(text, place)
        if comma is None and place < len(text):
            return []
        place = comma.end() if comma else place
    return entries


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("a key stands twice")
    return entries


_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_reject_duplicate_keys)


def _parse_literal(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        pass
    if len(text) > MAX_LITERAL_CHARS:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(text, mode="eval")
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                _reject_duplicate_keys([(ast.dump(key), None) for key in node.keys if key])
        return ast.literal_eval(tree)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def parse_numbers(text: str, count: int) -> list[int]:
    """`[1], [3]-[5] and #7` -> 1, 3, 4, 5, 7; of a range that leaves 1 to `count` only the ends.

    Stops where there are so many that some must stand in it more than once.
    """
    numbers: list[int] = []
    for part in re.split(r",|\band\b|&", text, flags=re.I):
        ends = [int(n) for n in re.findall(r"\d+", part)]
        inside = ends and 1 <= ends[0] <= ends[-1] <= count
        numbers += range(ends[0], ends[-1] + 1) if inside else ends
        if len(numbers) > MAX_PARSE_ATTEMPTS * count:
            break
    return numbers
