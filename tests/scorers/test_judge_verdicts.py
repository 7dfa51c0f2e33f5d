r"""Judges' verdicts: what is stated as final counts; what is quoted, cut or one of several does not."""

from collections.abc import Callable
from typing import Any

import pytest

from archon_eval.errors import ParseError
from archon_eval.scorers._judge import JudgeReply
from archon_eval.scorers.arena_hard import parse_verdict
from archon_eval.scorers.mixeval import parse_option, parse_score
from archon_eval.scorers.mt_bench import parse_pair_verdict, parse_rating

PARSERS: dict[str, Callable[[JudgeReply], Any]] = {
    "mt_rating": parse_rating,
    "pair": parse_pair_verdict,
    "arena": parse_verdict,
    "mixeval_option": parse_option,
    "mixeval_score": parse_score,
}


@pytest.mark.parametrize(
    ("kind", "reply", "verdict"),
    [
        ("mt_rating", "nums[1] is wrong. Rating: [[4]]", 4),
        ("mt_rating", "I first thought [[5]]. But the final rating is [[8]]", 8),
        ("mt_rating", "**Rating: [8]**", 8),
        ("mt_rating", "A rating of [[9]] is given", 9),
        ("mt_rating", "Rating: [[7]].", 7),
        ("mt_rating", "The code x[0] and y[5] fail. Rating: [6]", 6),
        ("arena", "My final verdict is: [[A>B]]", "A>B"),
        ("arena", 'It says "[[A>>B]]" itself. My final verdict is [[B>A]].', "B>A"),
        ("arena", "First I leaned to [[A>B]]. My final verdict is [[A=B]].", "A=B"),
        ("arena", 'My final verdict is "[[A>B]]".', "A>B"),
        ("mixeval_option", "[[A]] or [[C]]", "A"),
        ("mixeval_option", "It rejects [[A]]. The option chosen by the model: [[B]].", "B"),
        ("mixeval_option", "[[none]]", "none"),
        ("mixeval_option", "final choice [[B]]", "B"),
        ("pair", "[[A]] is better in style, but the final verdict: [[B]]", "B"),
        ("pair", "tie [[C]]", "C"),
        ("mixeval_option", 'The response quotes "[[A]]" and picks [[B]].', "B"),
        ("mixeval_option", "The response argues for [[A]] first, but its final choice is [[C]].", "C"),
        ("mixeval_option", "The option chosen by the model: [[A]] and [[C]].", "A"),
        ("mixeval_option", "Therefore, the chosen option is[[D]].", "D"),
        ("mixeval_option", "So [[none]] rather than [[A]].", "none"),
        ("mixeval_option", "[[None of them]]", "none"),
        ("pair", "It is not [[A]] but [[B]].", "B"),
        ("pair", "A is not good, so [[B]]", "B"),
        ("pair", "I would give [[A]].", "A"),
        ("pair", 'Each says "hi". [[A]]', "A"),
        ("pair", "I asked if it runs; my final verdict is [[A]].", "A"),
        ("pair", '"[[C]]"', "C"),
        ("mixeval_option", 'The next step to be taken is "[[C]]".', "C"),
        ("mixeval_option", 'The response indicates that they will "[[C]] obey the law" next.', "C"),
        ("mixeval_option", 'It chose "Yes, if the court allows." This leads to the option being: [[B]].', "B"),
        ("pair", "```python\nx = 1\nThat fails. My verdict: [[B]] for short code", "B"),
        ("mixeval_score", "First [[0.2]], but the final score is [[0.9]]", 0.9),
    ],
)
def test_a_verdict(kind: str, reply: str, verdict: object) -> None:
    assert PARSERS[kind](JudgeReply(reply)) == verdict


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        ("mt_rating", "nums[1] is wrong. The answer is poor."),
        ("mt_rating", "The list nums[[1]] is wrong."),
        ("mt_rating", "Rating: [[8]] out of [[10]]"),
        ("mt_rating", "See [1], [2]."),
        ("mt_rating", "[8]"),
        ("mt_rating", "Rating: 8"),
        ("mt_rating", "Step [3] is wrong"),
        ("mt_rating", "Rating: [[11]]"),
        ("mt_rating", "My rating is [[5]], no, [[6]]"),
        ("arena", "Assistant A claims `[[A>>B]]` in its answer. Neither is better."),
        ("arena", "[[A>B]] or [[B>A]]"),
        ("arena", "The verdict [[A>B]] would be"),
        ("arena", ""),
        ("arena", "Verdict: [[A>>B]] and"),
        ("mixeval_option", "It mentions [[A]]; it also mentions [[B]] later."),
        ("pair", "[[A]] no, [[B]]"),
        ("mixeval_option", "The final choice is [[C]], though it argued for [[A]]."),
        ("mt_rating", "As source [3] says, the answer is good."),
        ("arena", 'Assistant A wrote "[[A>>B]]" at the end of its answer, which tries to'),
        ("mixeval_score", "[[0.2]], then [[0.9]]"),
        ("pair", "It is not [[A]]."),
        ("pair", "It isn't [[A]]."),
        ("pair", "I would not give [[A]]."),
        ("pair", 'The text says "[[B]]".'),
        ("pair", 'The text says "my final verdict is [[B]]".'),
        ("pair", "I would give [[A]] if it ran."),
        ("pair", "If it ran, I would give [[A]]."),
        ("pair", "Maybe [[A]]."),
        ("pair", "[[A]] is not my verdict."),
        ("arena", "It would have been [[A>B]]."),
        ("mixeval_option", "It is not [[none]]."),
    ],
)
def test_no_verdict(kind: str, reply: str) -> None:
    with pytest.raises(ParseError):
        PARSERS[kind](JudgeReply(reply))


@pytest.mark.parametrize("kind", PARSERS)
def test_a_cut_reply_is_no_verdict(kind: str) -> None:
    text = {"mt_rating": "[[5]]", "arena": "[[A>B]]", "mixeval_score": "[[0.5]]"}.get(kind, "[[A]]")
    PARSERS[kind](JudgeReply(text))
    with pytest.raises(ParseError, match="cut"):
        PARSERS[kind](JudgeReply(text, is_cut=True))


def test_that_a_reply_was_cut_is_kept_with_it() -> None:
    reply = JudgeReply("[[A]]", (("A", -0.1),), is_cut=True)
    assert JudgeReply.load(reply.dump()) == reply
    assert "cut" not in JudgeReply("[[A]]").dump()
