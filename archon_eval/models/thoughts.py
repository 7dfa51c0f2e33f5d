r"""Parts a reply's thoughts from its answer, however the model or its server spells them.

>>> split_thoughts("<think>2 + 2 is 4</think>\n\n4")
('4', '2 + 2 is 4')
>>> split_thoughts("2 + 2 is 4\n</think>\n4")         # the template had already opened the thoughts
('4', '2 + 2 is 4')
>>> split_thoughts("4 < 5")
('4 < 5', '')

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
_THINK_TAG = re.compile(r"<think(?:\s[^<>]{0,200})?>|</think>", re.I)
_CLOSING = r"(?:</(?:think|thinking|thought|seed:think)>|\[/THINK\]|◁/think▷|<\|(?:END_THINKING|end_of_thought)\|>)"
_LONE_CLOSING = re.compile(rf"(?<![`'\"“]){_CLOSING}|{_CLOSING}(?![`'\"”])", re.I)
"""The end of thoughts whose beginning the server kept to itself; between quotes or code marks it is only spoken of."""
_CHANNEL = re.compile(
    r"(?:<\|start\|>\w{1,20})?<\|channel\|>(?P<name>\w{1,20})[^<]{0,100}<\|message\|>|<\|(?:end|return|call)\|>"
)
_BARE_CHANNELS = re.compile(r"\s*analysis(?=[A-Z\s])")
"""The channels as they are where a server drops special tokens: `analysis...assistantfinal...`."""
_BARE_FINAL = "assistantfinal"
_RESPONSE_MARKS = re.compile(r"<\|(?:START_RESPONSE|END_RESPONSE|begin_of_solution|end_of_solution)\|>")
_MARKS = (
    *("<think", "think>", "thinking>", "<thought", "thought>", "thoughts>", "<reasoning", "reasoning>"),
    *("think]", "<|", "◁"),
)
"""One of these is in every text that has thoughts, but for bare channels: looked for first, as most texts have none."""


def split_thoughts(text: str) -> tuple[str, str]:
    """The answer, and the thoughts (empty for none).

    A text without thoughts is returned as it is. Thoughts that never end, as in a reply that was cut, leave no answer.
    """
    lowered = text.lower()
    if not any(mark in lowered for mark in _MARKS) and _BARE_FINAL not in text:
        return text, ""
    if "<|channel|>" in text:
        return _split_channels(text)
    if _BARE_FINAL in text and _BARE_CHANNELS.match(text):
        thoughts, _, answer = text.partition(_BARE_FINAL)
        return answer.strip(), thoughts.strip().removeprefix("analysis").strip()
    found, end = _find_leading(text)
    rest, inner = _take_inner(text[end:])
    found += inner
    closings = list(_LONE_CLOSING.finditer(rest))
    if closings:
        found.append(rest[: closings[-1].start()])
        rest = rest[closings[-1].end() :]
    elif not found and not end:
        return text, ""
    return _RESPONSE_MARKS.sub("", rest).strip(), _join(found)


def _find_leading(text: str) -> tuple[list[str], int]:
    """The thoughts that a text begins with, one block after the other, and where what follows them begins."""
    thoughts: list[str] = []
    place = 0
    while opening := _OPENING.match(text, place):
        tag = opening["tag"]
        closing = f"</{tag}>" if tag else _CLOSINGS[opening[0].strip().lower()]
        found = _find_closing(text, opening.end(), closing)
        if found is None:  # cut, or a model that thought to its end
            return [*thoughts, text[opening.end() :]], len(text)
        thoughts.append(text[opening.end() : found[0]])
        place = found[1]
    return thoughts, place


def _find_closing(text: str, start: int, closing: str) -> tuple[int, int] | None:
    """Where the end mark of thoughts begins and ends that began before `start`; None where there is none.

    Thoughts may speak of the tag: as many ends belong to them as there are beginnings, or else the last.
    """
    if closing.lower() != "</think>":
        end = re.compile(re.escape(closing), re.I).search(text, start)
        return end and end.span()
    depth, last = 1, None
    for match in _THINK_TAG.finditer(text, start):
        closes = match[0][1] == "/"
        depth += -1 if closes else 1
        last = match.span() if closes else last
        if depth == 0:
            break
    return last


def _take_inner(text: str) -> tuple[str, list[str]]:
    """The text without its complete `<think>` blocks, and those."""
    thoughts: list[str] = []
    kept: list[str] = []
    place = 0
    opening: re.Match[str] | None = None
    for match in _THINK_TAG.finditer(text):
        if match[0][1] != "/":
            opening = opening or match
        elif opening is not None:
            kept.append(text[place : opening.start()])
            thoughts.append(text[opening.end() : match.start()])
            place, opening = match.end(), None
    return "".join([*kept, text[place:]]), thoughts


def _split_channels(text: str) -> tuple[str, str]:
    """By the marks of gpt-oss (harmony): the channel `final` is the answer; the others are thoughts."""
    parts: dict[bool, list[str]] = {True: [], False: []}
    final, place = True, 0  # what stands before the first mark belongs to the answer
    for match in _CHANNEL.finditer(text):
        parts[final].append(text[place : match.start()])
        place = match.end()
        if match["name"]:
            final = match["name"] == "final"
    parts[final].append(text[place:])
    return "".join(parts[True]).strip(), _join(parts[False])


def _join(parts: list[str]) -> str:
    return "\n\n".join(part for part in map(str.strip, parts) if part)
