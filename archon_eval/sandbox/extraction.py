"""Takes the program out of a model's reply.

>>> extract_program("1. Double it:\\n   ```python\\n   print(2 * int(input()))\\n   ```<|im_end|>")
'print(2 * int(input()))'
"""

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

_FENCE = re.compile(r"([ \t]*+(?:(?:[-*+]|\d{1,9}[.)])[ \t]++)*+)(`{3,}+|~{3,}+)([^`]*+)")
"""A line that is a fence, perhaps behind the marks of list items: what is before it, its marks, its tag."""
_LATE_FENCE = re.compile(
    r"(?:(?<!`)(`{3,}+)[ \t]*+((?:python|py)[\d.]*+)|:[ \t]{0,9}(?P<untagged>`{3,}+))\s*+$", re.IGNORECASE
)
"""The end of a line of prose that opens a block; without a tag only after a colon."""
_TAGS = tuple(
    (re.compile(opening, re.IGNORECASE), re.compile(closing, re.IGNORECASE))
    for opening, closing in (
        (r"\[PYTHON\]", r"\[/PYTHON\]"),
        (r"<pre(?: [^<>\n]{0,100})?>\s{0,9}<code(?: [^<>\n]{0,100})?>", r"</code>\s{0,9}</pre>"),
    )
)
"""What stands around programs in place of fences; the last is HTML."""
_PYTHON_TAG = re.compile(r"\{?[. ]{0,2}(?:ipython|python|py)[\d.]*+(?![\w-])", re.IGNORECASE)
_CODE_LINE = re.compile(r"[ \t]+\S|(?:async|class|def|from|import)\b|[@#]|\w+ ?=|\"{3}|'{3}")
"""How the lines of a program may begin, and prose hardly does."""
_TOKEN = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|<｜[^<>｜\s]{1,40}｜>|</?s>|<(?:bos|eos|pad|eot|end_of_turn|end_of_text|endoftext)>|\[/?INST\]"
)
"""Special tokens, which some servers leave in the text."""
_LONGEST_TOKEN = 44
_CLOSING_INDENT = 3
"""Columns by which a closing fence may be deeper than its opening one, as in CommonMark: deeper ones are code."""
_TAB = 4
_FENCE_MARKS = 3
_OTHER, _UNTAGGED, _PYTHON, _REPLY = range(4)
"""Ranks of a block by its tag; the last is of a longer fence around Markdown, which may hold blocks itself."""


class _Fence(NamedTuple):
    """One line that may open or close a block."""

    column: int
    marks: str
    tag: str
    """What follows the marks; empty also where that is a special token."""
    ends_reply: bool
    """Whether a special token follows the marks."""

    def closes(self, opening: "_Fence") -> bool:
        return not self.tag and self.marks.startswith(opening.marks) and self.column <= opening.column + _CLOSING_INDENT

    def reopens(self, opening: "_Fence") -> bool:
        """Whether a block begins here although the one before was never closed."""
        same = self.marks[0] == opening.marks[0] and len(self.marks) >= len(opening.marks)
        return bool(self.tag) and same and self.column <= opening.column + _CLOSING_INDENT

    @property
    def rank(self) -> int:
        if len(self.marks) > _FENCE_MARKS and self.tag.lower() in ("markdown", "md"):
            return _REPLY
        return _PYTHON if _PYTHON_TAG.match(self.tag) else _OTHER if self.tag else _UNTAGGED


def extract_program(reply: str) -> str | None:
    """The program of a reply: the last fenced block tagged as Python, else the last untagged one, else the last.

    A block without a closing fence reaches to the end of the reply. Blocks in list items lose the indentation of their
    fence; special tokens (`<|im_end|>`) and what follows them are no part of a program. Where there is no fence,
    `[PYTHON]` and HTML's `<pre><code>` count. Without any block the whole reply is the program; None where that, or
    every block, is empty. A session (`>>> x = 1`) loses its prompts and what it printed. Takes linear time, whatever
    the reply.
    """
    lines = reply.split("\n")
    best_rank, program = -1, ""
    for rank, block in list(_find_blocks(lines)) or _find_tagged(reply) or [(_OTHER, _cut_at_token(lines))]:
        inner = list(_find_blocks(block)) if rank == _REPLY else []
        for inner_rank, lines in inner or [(rank % _REPLY, block)]:
            if inner_rank >= best_rank and any(map(str.strip, lines)):
                best_rank, program = inner_rank, "\n".join(_drop_prompts(lines))
    return program.strip("\r\n") if program.strip() else None


def _find_tagged(reply: str) -> list[tuple[int, list[str]]]:
    """Every program between tags, with the rank of a Python block."""
    blocks = []
    for opening, closing in _TAGS:
        place = 0
        while (start := opening.search(reply, place)) and (end := closing.search(reply, start.end())):
            code, place = reply[start.end() : end.start()], end.end()
            blocks.append((_PYTHON, (html.unescape(code) if start[0][0] == "<" else code).split("\n")))
    return blocks


def _drop_prompts(lines: list[str]) -> list[str]:
    """The program of a session, which has a prompt before each line and what was printed between; else the lines."""
    if not next(filter(str.strip, lines), "").startswith(">>> "):
        return lines
    return [line[4:] for line in lines if line.startswith((">>> ", "... ")) or line.rstrip() in (">>>", "...")]


def _find_blocks(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Every fenced block with its rank, in order."""
    opening, start, first = None, 0, True
    for i, line in enumerate(lines):
        fence = _read_fence(line, inside=opening is not None)
        if fence is None or (opening and not (fence.closes(opening) or fence.reopens(opening))):
            continue
        if opening:
            yield opening.rank, _dedent(lines[start:i], opening.column)
            if fence.ends_reply and not fence.tag:
                return
        elif first and not fence.tag and _CODE_LINE.match(next(filter(str.strip, lines[:i]), "")):
            # the prompt opened a block, and the reply only closes it
            yield _PYTHON, lines[:i]
            if fence.ends_reply:
                return
            first = False
            continue
        opening = None if opening and not fence.tag else fence
        start, first = i + 1, False
    if opening:
        yield opening.rank, _dedent(_cut_at_token(lines[start:], opening.marks), opening.column)


def _read_fence(line: str, inside: bool) -> _Fence | None:
    """The fence of a line, if it is one; outside of a block also at the end of a line of prose."""
    if match := _FENCE.fullmatch(line):
        lead, marks, rest = match.groups()
        rest = rest.strip()
        token = _TOKEN.match(rest)
        return _Fence(len(lead.expandtabs(_TAB)), marks, "" if token else rest, ends_reply=token is not None)
    if not inside and (match := _LATE_FENCE.search(line)):
        return _Fence(0, match[1] or match["untagged"], match[2] or "", ends_reply=False)
    return None


def _cut_at_token(lines: list[str], marks: str | None = None) -> list[str]:
    """The lines up to a special token at a line's end, or to the block's marks at the end of a line of code."""
    for i, line in enumerate(lines):
        end = _find_end(line)
        closed = marks is not None and line.endswith(marks, 0, end)
        if closed or end < len(line.rstrip()):
            return [*lines[:i], line[: end - (len(marks or "") if closed else 0)]]
    return lines


def _find_end(line: str) -> int:
    """Where a line ends without white space and special tokens."""
    end = len(line)
    while True:
        tail = line[max(0, end - _LONGEST_TOKEN) : end]
        token = next((t for t in _TOKEN.finditer(tail) if t.end() == len(tail.rstrip())), None)
        if token is not None:
            end -= len(tail) - token.start()
        elif tail and tail != tail.rstrip():
            end -= len(tail) - len(tail.rstrip())
        else:
            return end


def _dedent(lines: list[str], column: int) -> list[str]:
    """The lines without the indentation of their fence, as far as the first of them has it."""
    first = next(filter(str.strip, lines), "")
    column = min(column, _measure_indent(first))
    return [_strip_columns(line, column) for line in lines] if column else lines


def _measure_indent(line: str) -> int:
    return len(line[: len(line) - len(line.lstrip(" \t"))].expandtabs(_TAB))


def _strip_columns(line: str, column: int) -> str:
    """The line without as many columns of leading white space."""
    at = width = 0
    while width < column and line[at : at + 1] in (" ", "\t"):
        width += 1 if line[at] == " " else _TAB - width % _TAB
        at += 1
    return line[at:]
