r"""Reads the final answer of a reply: its last box, the line `ANSWER: ...`, or its last line.

Scorers and votes read answers here and nowhere else. Both read the same last box and the same option letter; of a box
and a letter a vote takes what stands later.

    >>> extract_last_box(r"First \boxed{3}, no: $\boxed{\frac{1}{2}}$.")
    '\\frac{1}{2}'
    >>> extract_option_letter("It was ANSWER: A, no:\n\n**ANSWER: C) Paris**")
    'C'
    >>> extract_option_letter("ANSWER: B or C") is None
    True
    >>> extract_final_answer("Thought.\nThe final answer is 1,200.")
    '1200'

What is not stated as final is no answer where the reply was cut: `First, 3 + 4 = 7. Then` does not end with 7.
Every pattern takes time in proportion to the text, as replies may be a megabyte long.
"""

import re

from archon_eval.components.parsing.structured import normalize_reply

_BOX_OR_BRACE = re.compile(r"\\{1,2}(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\boxed\s+([^\s{}$]+)\s*\$")
_BOX_START = re.compile(r"\\(?:boxed|fbox)\s*\{?\Z")
_BOX_COMMAND = re.compile(r"\\(?:boxed|fbox)\b")
_LETTER_STATED = re.compile(
    r"\b(?i:ANSWER)\b[^\w\n:]{0,5}(?::[^\w\n\\$\"'‘’({\[*_`]{0,10}|\s(?i:is)\b:?|(?<=[-–—] ))\s{0,3}", re.MULTILINE
)
_BEFORE_LETTER = re.compile(
    r"(?:[\s*_$\"'“”‘’`({\[<]|\\(?:boxed|fbox|text|textbf|textit|textrm|mathbf|mathrm|mathit|bm|boldsymbol)\b"
    r"|\\[(\[ ]|(?i:option|choice|letter|either|both|only|probably|most likely)\b[ \t:#]?){0,12}"
)
_OTHER_LETTER = re.compile(
    r"(?:[\s*_$\"'“”‘’`)}\]>.:-]|\([^()\n]{0,200}\)){0,20}"
    r"\(?(?:(?i:or|and|nor|vs\.?|versus|maybe|possibly|perhaps|probably"
    r"|/|,|;|&|\+|\|)[\s*_$\"'“”‘’`({\[]{0,5}){1,3}(?:\\[a-z]{2,10}\{)?(?i:option|choice)?\s?"
    r"(?-i:[A-Z])(?![\w'’])(?!\s+[a-z])"
)
"""What makes a letter one of several: `B or C`, `B/C`, `(B), (C)`."""
_TAKEN_BACK = re.compile(r"\W{0,5}(?:is|would be|was)\s+(?:wrong|incorrect|false|not|n[o']t)\b", re.IGNORECASE)
_AFTER_WORDLIKE = re.compile(r"\s*$|[^\w\s'’]|[ \t]{1,3}(?:[(\[–—:-]|(?:because|since|as|is)\b)", re.MULTILINE)
"""What follows the letters that are words or variables too: `A`, `I` and all small ones."""
_NO_OPTION = re.compile(r"-[a-z]|#|\+(?!\s*[A-Z]\b)|\.[A-Za-z]|\([^)\s]{0,3}\)|[ \t]*(?:=|\^|[-+*/<>]\s*\d)")
"""What follows a letter that is a variable (`n + 1`, `f(x)`), an abbreviation, or a part of a name (`C++`, `X-ray`)."""
_STATED = re.compile(
    r"^[^\w\n]*(?:the )?(?:final )?answer\W*(?::|is\b(?:\s*:)?)\s*(\S.*)", re.IGNORECASE | re.MULTILINE
)
_STATED_MATHS = re.compile(
    r"(?<!other )(?<!no )(?<!an )\banswers?(?:[ \t]+(?:to|for|of)\b[^\n:.=]{0,80}?)?[\s*_`]{0,4}"
    r"(?:(?::|=)|\b(?:is|are|equals|would be|should be|must be)\b)[\s*_:=]{0,12}"
    r"|答案(?:是|为|為|：|:)[\s*_:：]{0,12}"
    r"|^[\s*_#]{0,6}final answer[\s*_#:]{1,12}\n\s*",
    re.IGNORECASE | re.MULTILINE,
)
_DENIED = re.compile(
    r"\banswer\s{1,4}(?:is(?:n['’]t|\s{1,4}not)|(?:can(?:not|['’]t|\s{1,4}not)|won['’]t|will not)\s{1,4}be)\s"
    r"[^\n]{0,200}?"
    r"(?:[.!?](?=\s|$)|\n|$)",
    re.IGNORECASE,
)
"""A sentence that says what the answer is not."""
_NOT_BUT = re.compile(r"\s*not\b[^\n,.;]{1,60}?,?\s+(?:but|it is|it's)\s+", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<![\s.(][A-Za-z])[.!?](?=\s|$|\*|_)|[\n。]")
_DISPLAY = re.compile(r"\s*(?:\$\$(.+?)\$\$|\\\[(.+?)\\\])", re.DOTALL)
_REMARK = re.compile(r"\((?=[^()$\\\n]{0,200}[A-Za-z]{3})(?![^()\n]{0,20}\bmod\b)[^()$\\\n]{0,200}\)")
"""A parenthesis with words in it: `(not 7)`, `(since 2 + 3 = 5)`."""
_REASON = re.compile(r"[,;]?\s+(?:because|since|as|which|so|but|where|when|not|rather than|instead of)\b.*", re.DOTALL)
_PROSE_START = re.compile(r"\W{0,5}(?:[A-Za-z']{1,20}[ ,:]{1,3}){2}")
_PROSE_VERB = re.compile(r"[a-z]{2,20} (?:is|are|was) ")
_LABEL = re.compile(
    r"^[ \t*#_>-]{0,20}(?:step|part|case|question|problem|equation|figure)?[ \t]{0,3}\(?\d{1,3}[.):](?=\s|\*|$)",
    re.I | re.M,
)
_MARKS = " \n\t*`_.\"'“”"
"""Emphasis, quotation marks and a dot at the end of an answer."""
_MONEY_LINE = re.compile(r"\$(?=\d)")
_CUT_END = re.compile(
    r"(?:[:=+*/,(;\[{<>&^_\\-]|\b(?:then|so|and|or|the|a|an|is|are|of|to|in|for|with|by|that|we|thus|hence|therefore|which"
    r"|let|if|from|at|as|this|have|has|get|now|next|first|since|because|be|on|plus|minus"
    r"|times|equals|wait|but|step \d+))\Z",
    re.IGNORECASE,
)
_REVISION = re.compile(
    r"\b(?:rather|no|not|instead|wait|but|actually|so|hence|therefore|then|thus|gives|becomes|is)\b", re.I
)
_JOINT = re.compile(r"\b(?:and|or)\b|[,;&]|\A[\s$]*\Z")
MAX_STATEMENTS = 200
"""Statements of an answer, from the last, among which one that can be read is looked for."""
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}")
_DIGIT_SPACE = re.compile(r"(?<=\d)(?:\\[,;: ]|~|\s)+(?=\d)")
_SPACED_THOUSANDS = re.compile(r"(?<![\w.,])(?<!\d )\d{1,3}(?: \d{3})+(?!\d| \d)")
_IGNORED = re.compile(
    r"(?<!\d)\s|\s(?!\d)|\\left|\\right|\\[!,;: ()\[\]]|\\?\$|(?<=\\)[dt](?=frac)|(?<=\d),(?=\d{3}\b)"
)
_DECIMAL = re.compile(r"(?<![\w.])\d*+\.\d++(?!\.\d)")
"""A number with one dot: neither `v1.20` nor a part of `1.10.2020`, in which zeros tell one from another."""
_EMPHASIS = re.compile(r"(?<![\w)\]}*])(\*{1,3})(?=[^\s*])([^*\n]*)(?<=\S)\1(?![\w*])")
"""`**5**`, but neither `2*3*4` nor `2**3`."""


def extract_last_box(text: str) -> str | None:
    r"""The content of the last complete, non-blank `\boxed{...}` or `\fbox{...}`; also `$\boxed 5$`."""
    box = _find_last_box(text)
    return box[0] if box else None


def extract_boxes_together(text: str) -> str | None:
    r"""The boxes of the last sentence that has one, as a list: `\boxed{1} and \boxed{2}` is `1, 2`.

    So are boxes of other sentences that follow one another and name different variables: `x = \boxed{1}`, then
    `y = \boxed{2}`. None where the last box stands alone, or takes an earlier one back.
    """
    boxes = _find_boxes(text)
    together = boxes[-1:]
    names = {_find_variable(text, box) for box in together}
    for box in reversed(boxes[:-1]):
        between = _BOX_START.sub("", text[box[2] + 1 : together[0][1]])
        name = _find_variable(text, box)
        if name and "" not in names and name not in names and len(between) <= 90 and not _REVISION.search(between):
            names.add(name)
            together.insert(0, box)
            continue
        if len(between) > 90 or not _JOINT.search(between) or re.search(r"[.!?]\s|\n\s*\n", between):
            break
        if _REVISION.search(between):
            break
        together.insert(0, box)
    return ", ".join(content for content, _, _ in together) if len(together) > 1 else None


def _find_variable(text: str, box: tuple[str, int, int]) -> str:
    """The variable whose value a box is, `x` of `x = \\boxed{1}`; empty where it names none."""
    before = _BOX_START.sub("", text[max(0, box[1] - 60) : box[1]])
    match = re.search(r"(?<![\w\\])([A-Za-z](?:_\{?\w\}?)?)\s*(?:=|:)\s*\$?\Z", before)
    return match[1] if match else ""


def extract_option_letter(text: str) -> str | None:
    """The letter that a reply states last as its answer (`ANSWER: C`), in upper case.

    None if it states none, or several at once (`B or C`). Without any such line a box that holds a letter counts.
    """
    text = normalize_reply(text)
    if found := _find_last_letter(text):
        return found[0] or None
    box = extract_last_box(text)
    return _read_lone_letter(box) if box else None


def extract_stated_answer(text: str, is_cut: bool = False) -> str | None:
    """What follows the last "answer is" or "Answer:" of a mathematical reply, without emphasis, remarks and reasons.

    A number with which a cut reply ends after "answer is" is none: it may be the beginning of another.
    """
    for match in reversed(list(_STATED_MATHS.finditer(text))[-MAX_STATEMENTS:]):
        rest = text[match.end() :]
        if denied := _NOT_BUT.match(rest[:200]):
            rest = rest[denied.end() :]
        if display := _DISPLAY.match(rest):
            return (display[1] or display[2]).strip()
        segment = _SENTENCE_END.split(rest.lstrip()[:2_000], maxsplit=1)[0]
        segment = _REASON.sub("", _REMARK.sub(" ", _drop_markdown(segment))).strip(" \n\t_\"'“”")
        if segment:
            ends = rest.rstrip(_MARKS).endswith(segment)
            return None if ends and _is_fragment(segment, match[0], is_cut) else segment
    return None


def _is_fragment(answer: str, statement: str, is_cut: bool) -> bool:
    """Whether a stated answer at the very end of a reply stops in the middle: `5 +`, or `answer is 1` of a cut one."""
    end = answer.rstrip(_MARKS)
    if re.search(r"[:=+*/,(;\[{<&^_\\-]\Z", end):
        return True
    return is_cut and ":" not in statement.removesuffix(answer) and not re.search(r"[A-Za-z]{2}[)}]*\Z", end)


def is_prose(answer: str) -> bool:
    """Whether a stated answer is a sentence in which the answer stands somewhere: `that she has 18 eggs`."""
    start = _PROSE_START.match(answer) or _PROSE_VERB.search(answer[:500])
    return bool(start) and bool(re.search(r"[\d\\$]", answer[start.end() :] if start else ""))


def clean_running_text(text: str) -> str:
    """A mathematical reply without what looks like an answer in it: remarks, labels, dollar signs, emphasis."""
    text = _DENIED.sub(" ", _drop_markdown(text.replace("−", "-")))
    text = _LABEL.sub(" ", _REMARK.sub(" ", text))
    lines = text.replace(r"\$", "").split("\n")
    return "\n".join(
        _MONEY_LINE.sub("", line) if line.count("$") == len(_MONEY_LINE.findall(line)) else line for line in lines
    )


def seems_cut(text: str) -> bool:
    """Whether a text stops in the middle of a sentence or of code, whatever its provider said."""
    return stops_midway(text) or text.count("```") % 2 == 1


def stops_midway(text: str) -> bool:
    """Whether a text stops in the middle of a sentence: `50 + 4 =`, `It is 7. Then`."""
    return bool(_CUT_END.search(text.rstrip()[-200:].rstrip("*`_ ")))


def extract_final_answer(reply: str, is_cut: bool = False) -> str | None:
    r"""The answer that a reply ends with, spelt so that equal answers compare equal; None if it has none.

    The last box or the last option letter, whichever stands later; else the last line `ANSWER: ...` or `Final answer:
    ...`; else the last line, unless the reply is cut. A box that is empty or never closed holds no answer, and a line
    with one is none; several letters are none.
    """
    found = find_final_answer(reply, is_cut)
    return normalize_spelling(found) if found is not None else None


def find_final_answer(reply: str, is_cut: bool = False) -> str | None:
    """The answer of `extract_final_answer` as the reply spells it; an option letter alone."""
    text = normalize_reply(reply)
    box, letter = _find_last_box(text), _find_last_letter(text)
    if letter and (box is None or letter[1] > box[1]):
        return letter[0] or None
    if box:
        return _read_lone_letter(box[0]) or box[0]
    stated = list(_STATED.finditer(text))
    if stated and stated[-1].end() == len(text) and _is_fragment(stated[-1][1], stated[-1][0], is_cut):
        return None
    if not stated and (is_cut or seems_cut(text)):
        return None
    lines = [stated[-1][1]] if stated else text.splitlines()
    return lines[-1] if lines and not _BOX_COMMAND.search(lines[-1]) else None


def normalize_spelling(answer: str) -> str | None:
    r"""The answer without variants of spelling: spaces, `\left`, `$`, `\text{}`, `1,000`, `0.50`, case, bold, a dot.

    A space between digits stays, unless it is one of thousands: `1 1/2` is not `11/2`.
    """
    answer = _DIGIT_SPACE.sub(" ", drop_emphasis(answer))
    answer = _SPACED_THOUSANDS.sub(lambda match: match[0].replace(" ", ""), answer)
    answer = _DECIMAL.sub(lambda match: match[0].rstrip("0").rstrip("."), answer)
    return _IGNORED.sub("", _TEXT_COMMAND.sub(r"\1", answer)).casefold().rstrip(".") or None


def drop_emphasis(answer: str) -> str:
    """The answer without bold and a final dot; an asterisk at an end is half of an emphasis that began outside."""
    return _EMPHASIS.sub(r"\2", answer).lstrip("* \t").rstrip("*. \t")


def _drop_markdown(text: str) -> str:
    """Without bold, code marks and headings."""
    text = _EMPHASIS.sub(r"\2", text.replace("`", " "))
    text = re.sub(r"(?<![\w\\}])_(?=[^\s_])([^_\n]{1,200})(?<=\S)_(?!\w)", r"\1", text)
    return re.sub(r"(?<![\w)\]}*])\*{1,3}(?![\w*])|\*{2}(?!\w)|(?<=\s)\*{2}|^\*{2}", "", text).rstrip("*")


def _find_last_letter(text: str) -> tuple[str, int] | None:
    """The letter that is stated last and where it ends; an empty letter where several are stated at once."""
    for statement in reversed(list(_LETTER_STATED.finditer(text))[-MAX_STATEMENTS:]):
        lead = _BEFORE_LETTER.match(text, statement.end())
        at = lead.end() if lead else statement.end()
        letter, end = text[at : at + 1], at + 1
        quoted = lead is not None and lead[0].rstrip()[-1:] in ("'", "’", "‘")
        if not (letter.isascii() and letter.isalpha()) or re.match(r"\w" if quoted else r"[\w'’]", text[end : end + 1]):
            continue
        end += quoted
        colon = ":" in statement[0]
        if _NO_OPTION.match(text, end) or (not colon and (letter.islower() or not _AFTER_WORDLIKE.match(text, end))):
            continue
        if (
            (letter.islower() or letter in "AI")
            and not _AFTER_WORDLIKE.match(text, end)
            and not _OTHER_LETTER.match(text, end)
        ):
            continue
        if _TAKEN_BACK.match(text, end):
            continue
        line = text[end : end + 500].split("\n", 1)[0]
        return ("" if _OTHER_LETTER.match(line) else letter.upper()), end
    return None


def _read_lone_letter(box: str) -> str | None:
    match = re.fullmatch(r"(?:\\[a-z]{2,10}\s*)?[\s({]*(?:\\[a-z]{2,10}\s*)?[\s({]*([A-Z])[\s)}.]*", box)
    return match[1] if match else None


def _find_last_box(text: str) -> tuple[str, int] | None:
    """The content of the last box and the place in the text where it begins."""
    boxes = _find_boxes(text)
    return (boxes[-1][0], boxes[-1][1]) if boxes else None


def _find_boxes(text: str) -> list[tuple[str, int, int]]:
    """The complete boxes that are not blank: content, where it begins and ends; of nested ones the inner."""
    boxes: list[tuple[str, int, int]] = []
    starts: list[int] = []
    for match in _BOX_OR_BRACE.finditer(text):
        token = match[0]
        if token == "}":
            start = starts.pop() if starts else -1
            content = text[start : match.start()].strip() if start > (boxes[-1][1] if boxes else -1) else ""
            if content:
                boxes.append((content, start, match.start()))
        elif token[-1] == "{" and token != r"\{":
            starts.append(-1 if token == "{" else match.end())
    if not boxes:
        boxes = [(match[1], match.start(1), match.end(1)) for match in _BARE_BOX.finditer(text)]
    return boxes
