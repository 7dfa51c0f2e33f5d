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
_LATE_FENCE = re.compile(r"(?<!`)(`{3,}+)[ \t]*+((?:python|py)[\d.]*+)\s*+$", re.IGNORECASE)
"""The end of a line of prose that opens a block."""
_LATE_UNTAGGED_FENCE = re.compile(r"[^`]*[:\s](`{3,}+)\s*+")
"""A line of prose at whose end a block without a tag is opened; one that has marks before is a line with code in it."""
_MARKDOWN_TAG = re.compile(r"(?:markdown|md)\b", re.IGNORECASE)
"""The tag of a block that holds a reply and not a program."""
_PYTHON_TAG = re.compile(r"\{?[. ]{0,2}(?:ipython|python|py)[\d.]*+(?![\w-])", re.IGNORECASE)
_CODE_LINE = re.compile(
    r"[ \t]+\S|(?:async|class|def|from|import)\b|[@#]|\"{3}|'{3}|\w+(?:, ?\w+)* ?[-+*/%]?=|\w[\w.]*\(.*\)\s*$"
    r"|(?:for \w+(?:, ?\w+)* in .*|while .*|if .*|with .*|try):\s*$"
)
"""How the lines of a program may begin, and prose hardly does."""
_PROSE_LINE = re.compile(r"[A-Z][\w'’-]*+,?(?: [\w'’`(),-]++){3,}[.:!]?")
"""A line of words, which no statement of Python is."""
_PROMPT = re.compile(r"(?:>>>|\.\.\.)(?: |$)")
"""What an interactive session writes before each line of a program."""
_PAIRS = (
    (re.compile(r"^[ \t]{0,9}\[PYTHON\]", re.MULTILINE), "[/PYTHON]"),
    (re.compile(r"<pre[^<>]{0,200}>\s{0,9}<code[^<>]{0,200}>"), "</code>"),
)
"""Marks of a program in replies that have no fence: where it begins, and the end."""
_TOKEN = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|<｜[^<>｜\s]{1,40}｜>|</?s>|<(?:bos|eos|pad|eot|end_of_turn|end_of_text|endoftext)>|\[/?INST\]"
)
"""Special tokens, which some servers leave in the text."""
_LONGEST_TOKEN = 44
_CLOSING_INDENT = 3
"""Columns by which a closing fence may be deeper than its opening one, as in CommonMark: deeper ones are code."""
_TAB = 4
_OTHER, _UNTAGGED, _PYTHON = range(3)
"""Ranks of a block by its tag."""


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
        return _PYTHON if _PYTHON_TAG.match(self.tag) else _OTHER if self.tag else _UNTAGGED


def extract_program(reply: str) -> str | None:
    """The program of a reply: the last fenced block tagged as Python, else the last untagged one, else the last.

    A block without a closing fence reaches to the end of the reply. Blocks in list items lose the indentation of their
    fence; special tokens (`<|im_end|>`), prose behind a block that was never closed, and the prompts and output of an
    interactive session are no part of a program. A block of Markdown is read as a reply. Without a fence `[PYTHON]` and
    `<pre><code>` mark the program, and without these the whole reply is it; None where it is empty. Takes linear time,
    whatever the reply.
    """
    lines = reply.split("\n")
    found, best_rank, best = False, -1, list[str]()
    for rank, block in _find_blocks(lines):
        found = True
        if rank >= best_rank and any(map(str.strip, block)):
            best_rank, best = rank, block
    if not found:
        best = _find_marked_program(reply) or _cut_at_token(lines)
    program = "\n".join(_strip_prompts(best))
    return program.strip("\r\n") if program.strip() else None


def _find_marked_program(reply: str) -> list[str]:
    """The lines between the last marks of a reply without fences; none where it has no marks."""
    for opening, end in _PAIRS:
        for begin in reversed(list(opening.finditer(reply))):
            stop = reply.find(end, begin.end())
            text = reply[begin.end() : stop if stop >= 0 else len(reply)]
            if text.strip():
                return (text if end.startswith("[") else html.unescape(text)).split("\n")
    return []


def _strip_prompts(lines: list[str]) -> list[str]:
    """The program of an interactive session, without its prompts and output; other programs as they are."""
    if not next(filter(str.strip, lines), "").startswith(">>> "):
        return lines
    return [line[4:] for line in lines if _PROMPT.match(line)]


def _find_blocks(lines: list[str], nested: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Every fenced block with its rank, in order; inside of a block of Markdown (`nested`) all are programs."""
    opening, start, first = None, 0, True
    last = max((i for i, line in enumerate(lines) if line.lstrip().startswith(("```", "~~~"))), default=-1)
    for i, line in enumerate(lines):
        fence = _read_fence(line, inside=opening is not None, closed_later=i < last)
        if fence is None or (opening and not (fence.closes(opening) or fence.reopens(opening))):
            continue
        if opening:
            yield from _read_block(opening, lines[start:i], nested)
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
        yield from _read_block(opening, _cut_at_prose(_cut_at_token(lines[start:], opening.marks)), nested)


def _read_block(opening: _Fence, lines: list[str], nested: bool) -> Iterator[tuple[int, list[str]]]:
    """The block with its rank; of a block of Markdown those in it, where it has any."""
    block = _dedent(lines, opening.column)
    inner = list(_find_blocks(block, nested=True)) if _MARKDOWN_TAG.match(opening.tag) and not nested else []
    yield from inner or [(opening.rank, block)]


def _cut_at_prose(lines: list[str]) -> list[str]:
    """The lines up to a line of words behind an empty one, outside of a text in three quotes."""
    quotes = 0
    for i, line in enumerate(lines):
        if i and quotes % 2 == 0 and not lines[i - 1].strip() and _PROSE_LINE.fullmatch(line.rstrip()):
            return lines[:i]
        quotes += line.count('"' * 3) + line.count("'" * 3)
    return lines


def _read_fence(line: str, inside: bool, closed_later: bool) -> _Fence | None:
    """The fence of a line, if it is one; outside of a block also at the end of a line of prose.

    Args:
        closed_later: whether a later line may close a block that this one opens.
    """
    if match := _FENCE.fullmatch(line):
        lead, marks, rest = match.groups()
        rest = rest.strip()
        token = _TOKEN.match(rest)
        return _Fence(len(lead.expandtabs(_TAB)), marks, "" if token else rest, ends_reply=token is not None)
    if not inside and (match := _LATE_FENCE.search(line)):
        return _Fence(0, match[1], match[2], ends_reply=False)
    if not inside and closed_later and (match := _LATE_UNTAGGED_FENCE.fullmatch(line)) and line[0] not in " \t":
        return _Fence(0, match[1], "", ends_reply=False)
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
