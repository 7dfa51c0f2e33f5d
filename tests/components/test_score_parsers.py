"""Replies of judges as real models write them: scores from 0 to 100, and choices between two answers."""

import time

import pytest

from archon_eval.components.parsing.preference import parse_preference
from archon_eval.components.parsing.score import parse_rating
from archon_eval.errors import ParseError


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Every step holds.\nScore: 87", 87),
        ("**Score: 87**", 87),
        ("**Score:** 87", 87),
        ("Score: 87/100", 87),
        ("Final Score: 87.5 out of 100.", 87.5),
        ("The result is wrong.\n\nscore: 0", 0),
        ("Score: 100", 100),
        ("Score: 85 - the units are missing.", 85),
        ("Score: 85, because the last step is not shown.", 85),
        ("Score: [85]", 85),
        ("Score: **85**/100", 85),
        ('{"reasoning": "fine", "score": 72}', 72),
        ("Rating: [[64]]", 64),
        ("Correctness score: 90\nClarity score: 70\nOverall score: 82", 82),
        ("A score: N from 0 to 100 is wanted.\nScore: 40", 40),
        ("My score is 55.", 55),
        ("Looks fine.\n\n85", 85),
        ("85/100", 85),
        ("Score: ８５", 85),
        ("<think>Score: 10</think>Score: 90", 90),
        ("```\nScore: 33\n```", 33),
        ("Score: 90%", 90),
        ("## Score: 15 points", 15),
    ],
)
def test_a_score_is_read(reply: str, score: float) -> None:
    assert parse_rating(reply) == score


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "It is hard to say.",
        "Score: N",
        "Score: 120",
        "Score: -5",
        "Score: 8/10",
        "Score: 4 out of 5",
        "Score: 80-90",
        "Score: 80 to 90",
        "Score: 80 or 90",
        "I would not give it a score of 90.",
        "If it were complete, I would give a score of 90",
        "The answer is 42.",
        "Score: high",
        "Score: 0.87",
        "0.5",
        "The final score of the match was 3 goals to 2",
        "2 + 2 = 4",
    ],
)
def test_what_is_no_score_is_refused(reply: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_rating(reply)
    assert "Score: N" in caught.value.request


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("The second forgets a case.\nBetter: [1]", 1),
        ("Better: [2]", -1),
        ("Better: [tie]", 0),
        ("**Better: [2]**", -1),
        ("**Better:** [2]", -1),
        ("Better: 2", -1),
        ("Better: Response 2", -1),
        ("Better: Response [1].", 1),
        ("better: Tie", 0),
        ("Better: both", 0),
        ("The better response: [2]", -1),
        ("Verdict: [[1]]", 1),
        ('{"reason": "shorter", "better": "2"}', -1),
        ("At first I thought\nBetter: [1]\nbut then I checked.\nBetter: [2]", -1),
        ("[2] is wrong in its last step.\n\n[1]", 1),
        ("[tie]", 0),
        ("2", -1),
        ("Response 2 is better.", -1),
        ("Both are right.\nResponse [1] is slightly better because it shows its work.", 1),
        ("The answer is 2.\nThe better response is [1]", 1),
        ("Better: 【2】", -1),
        ("<think>Better: [1]</think>Better: [2]", -1),
    ],
)
def test_a_choice_is_read(reply: str, choice: int) -> None:
    assert parse_preference(reply) == choice


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "It is hard to say.",
        "Better: [1], [2] or [tie]",
        "Better: [3]",
        "Better: [1] or [2]",
        "So the answer is 2.",
        "x = 1\n2",
        "Neither of them says why",
        "Response 1 is not better.",
        "Better: [1]\nWait, the last step is wrong, so response 2 is better.",
        "Better: [1]\nHowever, that is only if the query wants code.",
        "I would not say\nthat it is better",
        "Response 1 is better in style, response 2 is better in substance.",
        "If the second were complete, response 2 would win. The best value is 12",
    ],
)
def test_what_is_no_choice_is_refused(reply: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_preference(reply)
    assert "Better: [1]" in caught.value.request


@pytest.mark.parametrize(
    "piece", ["score: 1 ", "better: [1] ", "[", "response 1 is ", "1/", "score ", "\n\n", "better is "]
)
def test_long_replies_take_time_in_proportion(piece: str) -> None:
    """CPU seconds, with a bound that only a pattern of quadratic time would miss."""
    for parse in (parse_rating, parse_preference):
        started = time.process_time()
        with pytest.raises(ParseError):
            parse(piece * (1_000_000 // len(piece)) + " end of it")
        assert time.process_time() - started < 20
