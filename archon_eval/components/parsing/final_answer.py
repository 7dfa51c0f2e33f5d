r"""Reads the final answer of a reply: its last box, the line `ANSWER: ...`, or its last line.

Scorers and votes read answers here and nowhere else. Both read the same last box. Of option letters a vote reads
less: in `ANSWER: B or C` a scorer marks `B`, and a vote takes `B or C` for an answer of its own. Of a box and
a letter a vote takes what stands later.

    >>> extract_last_box(r"First \boxed{3}, no: $\boxed{\frac{1}{2}}$.")
    '\\frac{1}{2}'
    >>> extract_option_letter("It was ANSWER: A, no:\n\n**ANSWER: C) Paris**")
    'C'
    >>> extract_final_answer("Thought.\nThe final answer is 1,200.")
    '1200'

Every pattern takes time in proportion to the text, as replies may be a megabyte long.
"""

import re

from archon_eval.components.parsing.structured import normalize_reply

_BOX_OR_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\boxed\s+([^\s{}$]+)\s*\$")
_BOX_COMMAND = re.compile(r"\\(?:boxed|fbox)\b")
_LETTER = re.compile(
    r"\b(?i:ANSWER)\W{0,3}:\W{0,10}(?:(?:boxed|text|textbf|mathrm)\W{0,2}){0,2}"
    r"(?:([B-HJ-Z])(?![A-Za-z'])|([A-Za-z])(?=[^\w\s']|\s*$))",
    re.MULTILINE,
)
"""`A`, `I` and lower-case letters are words too, so they must be followed by punctuation or the end of the line."""
_AFTER_OPTION = re.compile(r"[\s*_]*(?:[).:}\]$*]{1,20}(?=\s|$)|$|[ \t]\(|[ \t](?i:because|since|as)\b)", re.MULTILINE)
"""What follows an option's letter. After `ANSWER: n` may stand ` + 1`, and then the letter is a variable."""
_STATED = re.compile(
    r"^[^\w\n]*(?:the )?(?:final )?answer\W*(?::|is\b(?:\s*:)?)\s*(\S.*)", re.IGNORECASE | re.MULTILINE
)
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}")
_IGNORED = re.compile(r"\s|\\left|\\right|\\[!,;: ()\[\]]|\$|(?<=\\)[dt](?=frac)|(?<=\d),(?=\d{3}\b)")
_DECIMAL = re.compile(r"(?<![\w.])\d*+\.\d++(?!\.\d)")
"""A number with one dot: neither `v1.20` nor a part of `1.10.2020`, in which zeros tell one from another."""
_EMPHASIS = re.compile(r"(?<![\w)\]}*])(\*{1,3})(?=[^\s*])([^*\n]*)(?<=\S)\1(?![\w*])")
"""`**5**`, but neither `2*3*4` nor `2**3`."""


def extract_last_box(text: str) -> str | None:
    r"""The content of the last complete, non-blank `\boxed{...}` or `\fbox{...}`; also `$\boxed 5$`."""
    box = _find_last_box(text)
    return box[0] if box else None


def extract_option_letter(text: str) -> str | None:
    """The last letter that a reply states as its answer (`ANSWER: C`), in upper case; None if it states none."""
    match = _find_last_letter(text)
    return (match[1] or match[2]).upper() if match else None


def extract_final_answer(reply: str) -> str | None:
    r"""The answer that a reply ends with, spelt so that equal answers compare equal; None if it has none.

    The last box or the last option letter, whichever stands later; else the last line `ANSWER: ...` or `Final answer:
    ...`; else the last line. A box that is empty or never closed holds no answer, and a line with one is none.
    """
    text = normalize_reply(reply)
    box, letter = _find_last_box(text), _find_last_letter(text)
    if letter and _AFTER_OPTION.match(text, letter.end()) and (box is None or letter.end() > box[1]):
        return (letter[1] or letter[2]).casefold()
    if box:
        return _normalize_spelling(box[0])
    lines = _STATED.findall(text) or text.splitlines()
    return _normalize_spelling(lines[-1]) if lines and not _BOX_COMMAND.search(lines[-1]) else None


def _normalize_spelling(answer: str) -> str | None:
    r"""The answer without variants of spelling: spaces, `\left`, `$`, `\text{}`, `1,000`, `0.50`, case, bold, a dot.

    An asterisk at an end is half of an emphasis that began or ended outside the answer.
    """
    answer = _EMPHASIS.sub(r"\2", answer).lstrip("* \t").rstrip("*. \t")
    answer = _DECIMAL.sub(lambda match: match[0].rstrip("0").rstrip("."), answer)
    return _IGNORED.sub("", _TEXT_COMMAND.sub(r"\1", answer)).casefold().rstrip(".") or None


def _find_last_letter(text: str) -> re.Match[str] | None:
    last = None
    for last in _LETTER.finditer(text):  # noqa: B007
        pass
    return last


def _find_last_box(text: str) -> tuple[str, int] | None:
    """The content of the last box and the place in the text where it begins."""
    last: tuple[str, int] | None = None
    starts: list[int] = []
    for match in _BOX_OR_BRACE.finditer(text):
        token = match[0]
        if token == "}":
            start = starts.pop() if starts else -1
            content = text[start : match.start()].strip() if start > (last[1] if last else -1) else ""
            if content:
                last = content, start
        elif token[-1] == "{" and token != r"\{":
            starts.append(-1 if token == "{" else match.end())
    if last is None:
        for match in _BARE_BOX.finditer(text):
            last = match[1], match.start(1)
    return last
