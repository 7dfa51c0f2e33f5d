r"""Parts a reply's thoughts from its answer, however the model or its server spells them.

>>> split_thoughts("<think>2 + 2 is 4</think>\n\n4")
('4', '2 + 2 is 4')
>>> split_thoughts("2 + 2 is 4\n</think>\n4")         # the template had already opened the thoughts
('4', '2 + 2 is 4')
>>> split_thoughts("4 < 5")
('4 < 5', '')
>>> split_thoughts("Write `<think>4</think>`.")       # code and quotes only speak of thoughts
('Write `<think>4</think>`.', '')

Done once, when a reply arrives: everything after it sees the answer, and the transcript keeps the thoughts. Replies may
be a megabyte long: every pattern takes time in proportion to the text.
"""

import re

_TAGS = "think|thinking|thought|thoughts|reasoning|seed:think"
_OPENING = re.compile(
    rf"\s*(?:<(?P<tag>{_TAGS})(?:\s[^<>]{{0,200}})?>|\[THINK\]|◁think▷|<\|(?:START_THINKING|begin_of_thought)\|>"
    r"|<\|channel>thought\b)",
    re.I,
)
"""How thoughts begin, at the beginning of a reply."""
_CLOSINGS = {
    "[think]": "[/THINK]",
    "◁think▷": "◁/think▷",
    "<|start_thinking|>": "<|END_THINKING|>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|channel>thought": "<channel|>",
}
_CLOSING = r"(?:</(?:think|thinking|thought|seed:think)>|\[/THINK\]|◁/think▷|<\|(?:END_THINKING|end_of_thought)\|>)"
_SPOKEN_OF = (
    r"(?P<fence>`{3,}).*?(?:(?P=fence)|\Z)|^[ \t]{0,20}(?P<tildes>~{3,}).*?(?:^[ \t]{0,20}(?P=tildes)|\Z)"
    r"|``[^\n]*?``|`[^`\n]+`"
    r"""|(?<!\w)[bfr]{0,2}(?:"[^"\n]{0,200}"|'[^'\n]{0,200}')(?!\w)|“[^”\n]{0,200}”"""
)
"""Code and quotes, where a tag is only spoken of. A fence that never ends is code to the end."""
_THINK_TAG = re.compile(rf"{_SPOKEN_OF}|(?P<mark><think(?:\s[^<>]{{0,200}})?>|</think>)", re.I | re.M | re.S)
_RAW_END = re.compile("</think>", re.I)
_ANY_TAG = re.compile(
    rf"{_SPOKEN_OF}|(?P<mark>(?P<closing>{_CLOSING})|<(?:{_TAGS})(?:\s[^<>]{{0,200}})?>|\[THINK\]|◁think▷)",
    re.I | re.M | re.S,
)
_OPENS_A_WORD = re.compile(r"[\s(\[{<=“‘]")
_PAIRED_MARK = re.compile(r"[*_`'\"~|”’)]")
_LINE_START, _LINE_END = re.compile(r"[ \t\r]{0,199}"), re.compile(r"[ \t\r]{0,199}(?:\n|\Z)")
_CHANNEL = re.compile(
    r"(?:<\|start\|>\w{1,20})?<\|channel\|>(?P<name>\w{1,20})[^<]{0,100}<\|message\|>|<\|(?:end|return|call)\|>"
)
_SPOKEN_CHANNEL = re.compile(rf"{_SPOKEN_OF}|(?P<mark>{_CHANNEL.pattern})", re.M | re.S)
_BARE_CHANNELS = re.compile(r"\s*analysis(?=[A-Z\s])")
"""The channels as they are where a server drops special tokens: `analysis...assistantfinal...`."""
_BARE_FINAL = "assistantfinal"
_RESPONSE_MARKS = re.compile(r"<\|(?:START_RESPONSE|END_RESPONSE|begin_of_solution|end_of_solution)\|>")
_MARKS = (
    *("<think", "think>", "thinking>", "<thought", "thought>", "thoughts>", "<reasoning", "reasoning>"),
    *("think]", "<|", "◁"),
)
"""One of these is in every text that has thoughts, but for bare channels: looked for first, as most texts have none."""
_MARK_SIGNS = ("<", ">", "]", "◁")
"""Each of `_MARKS` has one of these."""


MAX_PASSES = 20
"""How often an answer is looked through for what only became thoughts as others were taken out of it."""


def split_thoughts(text: str, *, only_leading: bool = False) -> tuple[str, str]:
    """The answer, and the thoughts (empty for none).

    Thoughts are the blocks that a text begins with, `<think>` blocks later on, and what stands before an end mark whose
    beginning the server kept. In code and between quotes a mark is only spoken of. A text without thoughts is returned
    as it is; so is an answer that is split again. Thoughts that never end, as in a reply that was cut, leave no answer.

    Args:
        text: what stands where an answer stands.
        only_leading: whether to take complete blocks at the beginning only: the server sent the thoughts apart.
    """
    thoughts: list[str] = []
    for _ in range(MAX_PASSES):
        answer, found = _split_leading(text) if only_leading else _split_once(text)
        if answer == text:
            break
        text, thoughts = answer, [*thoughts, *found]
    return text, "\n\n".join(part for part in map(str.strip, thoughts) if part)


def _split_leading(text: str) -> tuple[str, list[str]]:
    if (mark := _CHANNEL.match(text.lstrip())) and mark["name"]:
        return _split_channels(text)
    found, end = _find_leading(text, cut=False)
    return (text[end:].strip(), found) if end else (text, [])


def _split_once(text: str) -> tuple[str, list[str]]:
    if _BARE_FINAL not in text and not _may_have_marks(text):
        return text, []
    if "<|channel|>" in text and (mark := _find_mark(_SPOKEN_CHANNEL, text, 0)) and mark["name"]:
        return _split_channels(text)
    if _BARE_FINAL in text and _BARE_CHANNELS.match(text):
        inner, _, answer = text.partition(_BARE_FINAL)
        return answer.strip(), [inner.strip().removeprefix("analysis")]
    found, end = _find_leading(text)
    rest, inner_blocks = _take_inner(text[end:])
    found += inner_blocks
    if closing := _find_lone_closing(rest):
        found.append(rest[: closing.start()])
        rest = rest[closing.end() :]
    elif not found and not end:
        return text, []
    return _RESPONSE_MARKS.sub("", rest).strip(), found


def _may_have_marks(text: str) -> bool:
    """Whether one of `_MARKS` is in the text; most texts have not even the characters that all of them are made of."""
    if not any(sign in text for sign in _MARK_SIGNS):
        return False
    lowered = text.lower()
    return any(mark in lowered for mark in _MARKS)


def _find_leading(text: str, *, cut: bool = True) -> tuple[list[str], int]:
    """The thoughts that a text begins with, one block after the other, and where what follows them begins.

    With `cut`, a last block that has no end goes to the end of the text.
    """
    thoughts: list[str] = []
    place = 0
    while opening := _OPENING.match(text, place):
        tag = opening["tag"]
        closing = f"</{tag}>" if tag else _CLOSINGS[opening[0].strip().lower()]
        found = _find_closing(text, opening.end(), closing)
        if found is None:  # cut, or a model that thought to its end
            return ([*thoughts, text[opening.end() :]], len(text)) if cut else (thoughts, place)
        thoughts.append(text[opening.end() : found[0]])
        place = found[1]
    return thoughts, place


def _find_closing(text: str, start: int, closing: str) -> tuple[int, int] | None:
    """Where the end mark of thoughts begins and ends that began before `start`; None where there is none.

    Thoughts may speak of the tag: as many ends belong to them as there are beginnings, or else the last. An end in code
    counts only where there is no other, as thoughts may leave code unfinished.
    """
    if closing.lower() != "</think>":
        end = re.compile(re.escape(closing), re.I).search(text, start)
        return end and end.span()
    depth, last = 1, None
    for match in _THINK_TAG.finditer(text, start):
        if not match["mark"]:
            continue
        closes = match[0][1] == "/"
        depth += -1 if closes else 1
        last = match.span() if closes else last
        if depth == 0:
            break
    if last is None and (end := _RAW_END.search(text, start)):
        last = end.span()
    return last


def _take_inner(text: str) -> tuple[str, list[str]]:
    """The text without its complete `<think>` blocks, and those."""
    thoughts: list[str] = []
    kept: list[str] = []
    place = 0
    opening: re.Match[str] | None = None
    for match in _THINK_TAG.finditer(text):
        if not match["mark"]:
            continue
        if match[0][1] != "/":
            opening = opening or match
        elif opening is not None:
            kept.append(text[place : opening.start()])
            thoughts.append(text[opening.end() : match.start()])
            place, opening = match.end(), None
    return "".join([*kept, text[place:]]), thoughts


def _find_lone_closing(text: str) -> re.Match[str] | None:
    """The last end mark before any beginning of thoughts."""
    last = None
    for match in _ANY_TAG.finditer(text):
        if match["closing"]:
            last = match if _ends_thoughts(text, *match.span()) else last
        elif match["mark"]:
            break
    return last


def _ends_thoughts(text: str, start: int, end: int) -> bool:
    """Whether a mark stands at the start or the end of a line, or right after a word, as no mark in a sentence does."""
    before, after = text[start - 1 : start], text[end : end + 1]
    if _LINE_START.fullmatch(text, max(start - 200, text.rfind("\n", 0, start) + 1), start) or _LINE_END.match(
        text, end
    ):
        return True
    return not _OPENS_A_WORD.match(before) and not (_PAIRED_MARK.match(before) and _PAIRED_MARK.match(after))


def _find_mark(pattern: re.Pattern[str], text: str, place: int) -> re.Match[str] | None:
    """The first mark that is neither in code nor quoted."""
    return next((match for match in pattern.finditer(text, place) if match["mark"]), None)


def _split_channels(text: str) -> tuple[str, list[str]]:
    """By the marks of gpt-oss (harmony): the channel `final` is the answer; the others are thoughts."""
    parts: dict[bool, list[str]] = {True: [], False: []}
    final, place = True, 0  # what stands before the first mark belongs to the answer
    while match := _find_mark(_SPOKEN_CHANNEL, text, place) if final else _CHANNEL.search(text, place):
        parts[final].append(text[place : match.start()])
        place = match.end()
        if match["name"]:
            final = match["name"] == "final"
    parts[final].append(text[place:])
    return "".join(parts[True]).strip(), parts[False]
