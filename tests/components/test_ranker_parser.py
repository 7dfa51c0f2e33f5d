"""Replies that rankers really write, and the ones nobody can read."""

import pytest

from archon_eval.components.parsing.ranking import parse_ranking
from archon_eval.errors import ParseError

READABLE = {
    "as asked": "[2] > [3] > [1]",
    "prose around": "Here is my ranking:\n\n[2] > [3] > [1]\n\nI hope this helps.",
    "lead": "Final ranking: [2] > [3] > [1].",
    "bold": "**[2] > [3] > [1]**",
    "bold each": "**[2]** > **[3]** > **[1]**",
    "code": "`[2] > [3] > [1]`",
    "fence": "```\n[2] > [3] > [1]\n```",
    "entities": "[2] &gt; [3] &gt; [1]",
    "full width": "［２］＞［３］＞［１］",
    "lenticular": "【2】 > 【3】 > 【1】",
    "no brackets": "2 > 3 > 1",
    "words": "Response 2 > Response 3 > Response 1",
    "words and brackets": "Response [2] > Response [3] > Response [1]",
    "word in brackets": "[Response 2] > [Response 3] > [Response 1]",
    "much better": "[2] >> [3] > [1]",
    "arrows": "[2] -> [3] -> [1]",
    "comments": "[2] (clear, right) > [3] (long) > [1] (wrong)",
    "over lines": "[2]\n> [3]\n> [1]",
    "over lines, sign last": "[2] >\r\n[3] >\r\n[1]",
    "no spaces": "[2]>[3]>[1]",
    "latex": "$[2] > [3] > [1]$",
    "in a sentence": "I rank them [2] > [3] > [1] because of the units.",
    "a comparison of numbers after it": "[2] > [3] > [1], since 3 > 2 and 1 > 0.",
    "pairs before": "[1] > [3] in style, but [2] is right.\n[2] > [3] > [1]",
    "pair as a reason": "Ranking: [2] > [3] > [1]\nReason: [2] > [3] since it has units.",
    "first impression": "First impression: [1] > [2] > [3]\nAfter checking:\n[2] > [3] > [1]",
    "quotes the form": "You asked for the form: [1] > [3] > [2]\n\n[2] > [3] > [1]",
    "mentions at the start of lines": "[1] is better than [3] at first sight.\n[3] > [1] really.\n\n[2] > [3] > [1]",
    "thinking": "<think>\n[1] > [2] > [3]?\n</think>\n[2] > [3] > [1]",
    "json": '{"ranking": [2, 3, 1]}',
    "json texts": '["[2]", "[3]", "[1]"]',
    "json list": "[2, 3, 1]",
    "json chain": '{"ranking": "[2] > [3] > [1]", "why": "[1] > nothing"}',
    "list with a lead": "Ranking: [2, 3, 1]",
    "list of lists": "[[2], [3], [1]]",
    "commas": "[2], [3], [1]",
    "numbered lines": "1. [2]\n2. [3]\n3. [1]",
    "numbered with comments": "1. **[2]** - right\n2. **[3]** - close\n3. **[1]** - wrong",
    "table": "| Rank | Response |\n|---|---|\n| 1 | [2] |\n| 2 | [3] |\n| 3 | [1] |",
    "control characters": "\ufeff[2]\x00 > [3]\x07 > [1]",
}


@pytest.mark.parametrize("reply", READABLE.values(), ids=READABLE.keys())
def test_reads(reply: str) -> None:
    assert parse_ranking(reply, 3, 5) == (1, 2, 0)


UNREADABLE = {
    "nothing": "",
    "prose": "They are all good.",
    "only thinking": "<think>[2] > [3] > [1]",
    "repeated": "[1] > [1] > [2]",
    "repeated later": "[2] > [3] > [1] > [2]",
    "out of range": "[4] > [2] > [1]",
    "numbered from zero": "[2] > [0] > [1]",
    "ascending": "[1] < [3] < [2]",
    "up and down": "[3] < [2] > [1]",
    "only equal": "[1] = [2] = [3]",
    "letters": "A > B > C",
    "two rankings in prose": "It is [2] > [3] > [1] rather than [1] > [2] > [3].",
    "two rankings, one broken": "[2] > [3] > [1]\n[1] > [1] > [2]",
    "numbers in prose": "Since 2 > 1 and 3 > 2 > 1, all is well.",
    "wrong ones": "Incorrect responses: [1], [2], [3]",
    "an interval": "The answer lies in [1, 3].",
    "walks through them": "1. [1] is fine\n2. [2] is better\n3. [3] is best",
    "critiques": "[1]\nStrengths: x\n[2]\nStrengths: y\n[3]\nStrengths: z",
    "one bad one": "[1] is wrong.",
    "a heading of one": "[1]\nStrengths: x",
}


@pytest.mark.parametrize("reply", UNREADABLE.values(), ids=UNREADABLE.keys())
@pytest.mark.parametrize("top_k", [1, 5])
def test_does_not_guess(reply: str, top_k: int) -> None:
    with pytest.raises(ParseError) as error:
        parse_ranking(reply, 3, top_k)
    assert error.value.partial is None


@pytest.mark.parametrize(
    ("reply", "partial"),
    [
        ("[2] > [3]", (1, 2)),
        ("[2]", (1,)),
        ("Best: [2]", (1,)),
        ("[4] > [1] = [2] > [3]", (3,)),
        ("[4] > [2] > [1], [3]", (3, 1)),
        ("[4] > [1]-[3]", (3,)),
        ("[1] = [2] > [3] > [4]", None),
        ("[9] > [1] = [2]", None),
    ],
)
def test_what_is_certain_is_kept(reply: str, partial: tuple[int, ...] | None) -> None:
    with pytest.raises(ParseError) as error:
        parse_ranking(reply, 4, 5)
    assert error.value.partial == partial


def test_the_best_k_are_enough() -> None:
    assert parse_ranking("[7] > [2] > [9]", 10, 3) == (6, 1, 8)
    assert parse_ranking("[7]", 10, 1) == (6,)
    assert parse_ranking("[1] > [2] > [3]\nNote: [3] > [2] > [1] by length only? No.", 3, 2) == (0, 1, 2)


def test_a_later_partial_ranking_must_agree() -> None:
    with pytest.raises(ParseError, match="differ"):
        parse_ranking("[1] > [2] > [3]\nOn reflection:\n[3] > [1]", 3, 2)
