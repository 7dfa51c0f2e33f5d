r"""Real replies: the shared cases of `answers.jsonl`, and mathematical replies without a box."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from archon_eval.components.parsing.answer_groups import group_answers
from archon_eval.components.parsing.final_answer import extract_option_letter, find_final_answer
from archon_eval.errors import ParseError
from archon_eval.scorers._judge import JudgeReply
from archon_eval.scorers.arena_hard import parse_verdict
from archon_eval.scorers.math import compare_answers
from archon_eval.scorers.mixeval import parse_option
from archon_eval.scorers.mt_bench import parse_rating

FILE = Path(__file__).parents[3] / "shared" / "cases" / "answers.jsonl"
CASES = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()] if FILE.is_file() else []
PARSERS: dict[str, Any] = {"mt_rating": parse_rating, "arena": parse_verdict, "mixeval_option": parse_option}


def read(case: dict[str, Any]) -> Any:
    if case["kind"] == "math":
        return asyncio.run(compare_answers(case["reply"], case["gold"])).correct
    if case["kind"] == "letter":
        return extract_option_letter(case["reply"])
    if case["kind"] == "vote":
        ballots, _ = asyncio.run(group_answers([find_final_answer(reply) for reply in case["replies"]]))
        return Counter(ballots).most_common(1)[0][0]
    try:
        return PARSERS[case["kind"]](JudgeReply(case["reply"]))
    except ParseError:
        return "error"


@pytest.mark.skipif(not CASES, reason=f"no cases at {FILE}")
def test_the_shared_cases() -> None:
    wrong = []
    for case in CASES:
        got, want = read(case), case["want"]
        legal = (want, want.split(" ")[0], want.split(" ")[-1]) if isinstance(want, str) else (want,)
        if got not in legal:
            wrong.append((case, got))
    assert (len(CASES), wrong) == (56, [])


@pytest.mark.parametrize(
    ("gold", "reply", "correct", "is_cut"),
    [
        ("18", r"The answer is **\$18**.", True, False),
        ("18", "So she makes **$18** every day.", True, False),
        ("18", "The final answer is `18`", True, False),
        ("18", "Answer: _18_", True, False),
        ("18", "**Answer:** 18 dollars", True, False),
        ("18", "She makes 9 * 2 = $18 every day at the market.", True, False),
        ("-5", "The answer is: **−5**.", True, False),
        ("3/4", "The answer is 3/4.", True, False),
        ("1200", "Answer: 1,200 meters", True, False),
        ("5", "Therefore, x = 5.", True, False),
        ("5", "Therefore $x = 5$.", True, False),
        ("7", "**Final Answer**\n\n7", True, False),
        ("7", "### Final Answer:\n$$7$$", True, False),
        ("7", "The answer is\n\\[\n7\n\\]", True, False),
        ("2,3", "The answer is $2$ and $3$.", True, False),
        ("18", "The answer is 18 because 9 * 2 = 18 and 3 + 4 = 7.", True, False),
        ("18", "The answer is 18 (that is, 9 times 2).", True, False),
        ("18", "The answer to the question is 18.", True, False),
        ("0.5", "The answer is 0.5.", True, False),
        ("42", "The answer is that she has 42 eggs left.", True, False),
        ("10", r"Thus the total is \$10.", True, False),
        ("10", "He spent $4 + $6 = $10.", True, False),
        ("5", "There are 5 apples left.", True, False),
        (r"\frac{3}{4}", r"So the probability is \(\frac{3}{4}\).", True, False),
        ("x+1", "The answer is x + 1.", True, False),
        ("18", "18", True, False),
        ("12", "= 12", True, False),
        ("6", "The answer is 6!", True, False),
        ("15", "I get 15 (instead of 20).", True, False),
        ("8", "The other answer is 9. The answer is 8.", True, False),
        ("9", "The answer is 9\n\nHope this helps!", True, False),
        ("4", "ANSWER: 4", True, True),
        ("4", r"\boxed{4} and then I", True, True),
        ("7", "First, 3+4 = 7.", False, True),
        ("18", "The answer is 18 dollars", True, True),
        ("1", "So the answer is 1", False, True),
        ("1", "So the answer is **1", False, True),
        ("1", "So the answer is 1", True, False),
        ("1", "So the answer is 1.", False, True),
        ("1", "So the answer is 1. That is because", True, True),
        ("5", "The answer is 5 +", False, False),
        ("54", "50 + 4 =", False, False),
        ("54", "50 + 4 =", False, True),
        ("5", "The answer is 15.", False, False),
        ("5", "She has 15 left (not 5).", False, False),
        ("18", r"The answer is \$81.", False, False),
        ("3", "1. First\n2. Second\n3.", False, False),
        ("7", "So we have 7 and", False, False),
        ("7", "Step 7:", False, False),
        ("120", "Step 1: compute 5! = 120\nStep 2:", False, False),
        ("18", "The answer is **18** dollars per day.", True, False),
        ("2", "We have 2 cases. The answer is 3.", False, False),
        ("5", "```\n5\n```", True, False),
        ("5", "answer = 5", True, False),
        ("30", "The answer should be 30 minutes.", True, False),
        ("16", "So 16 eggs - 3 = 13. The answer is 13.", False, False),
        ("1/2", "The answer is ½.", True, False),
        ("-3", "Thus x = −3.", True, False),
        ("18", "The answer is $18.00.", True, False),
        ("18", "The answer is $18$.", True, False),
        ("18", "The answer is 18.0 dollars.", True, False),
        ("5", "My answer: 5", True, False),
        ("9", "The answer is:\n\n**9**", True, False),
        ("9", "The correct answer is 9, since 3*3=9.", True, False),
        ("60", "The angle is 60°.", True, False),
        ("5", "<thought>It is 3</thought>\nThe answer is 5.", True, False),
        ("25", "The answer is 25%.", True, False),
        ("11", "The answer is x=11.", True, False),
        ("(1,2)", "The answer is (1, 2).", True, False),
        (r"\text{Monday}", "The answer is Monday.", True, False),
        ("5", "Answer\n5", True, False),
    ],
)
def test_replies_without_a_box(gold: str, reply: str, correct: bool, is_cut: bool) -> None:
    assert asyncio.run(compare_answers(reply, gold, is_cut=is_cut)).correct is correct


@pytest.mark.parametrize(
    ("gold", "reply", "correct"),
    [
        ("1,2", r"\boxed{1} and \boxed{2}", True),
        ("1,2", r"\boxed{2}, \boxed{1}.", True),
        ("(2,2),(6,2)", r"$$\boxed{(2,2)} \quad\text{and}\quad \boxed{(6,2)}$$", True),
        ("k=45,n=2", r"So $k = \boxed{45}, n = \boxed{2}$.", True),
        ("2", r"\boxed{1} and \boxed{2}", True),
        ("1", r"\boxed{1} and \boxed{2}", False),
        ("1,2", r"It is \boxed{1}. No, it is \boxed{2}.", False),
        ("1,2", r"First \boxed{1}, and so \boxed{2}.", False),
        ("1,2", r"\boxed{1} or rather \boxed{2}", False),
        ("1,2,3", r"\boxed{1} and \boxed{2}", False),
        ("2,2", r"\boxed{2} and \boxed{2}", True),
    ],
)
def test_boxes_of_the_last_sentence_belong_together_where_several_values_are_asked_for(
    gold: str, reply: str, correct: bool
) -> None:
    assert asyncio.run(compare_answers(reply, gold)).correct is correct


@pytest.mark.parametrize(
    ("gold", "reply", "correct"),
    [
        ("k q h", r"\boxed{k q}", False),
        (r"\frac{1}{3^{71}}", r"\boxed{\frac{1}{3^{70}}}", False),
        ("0.0000002", r"\boxed{0.0000004}", False),
        (r"4\text{ hours }10\text{ minutes}", r"\boxed{4\text{ hours }15\text{ minutes}}", False),
        (r"\$7", r"\boxed{7\text{ cents}}", False),
        ("PQR", r"\boxed{RQP}", False),
        ("4,4", r"\boxed{4}", False),
        ("21", "**Answer: \\$21 per week.**", True),
        ("9", "She has 9 left (not 4).", True),
        ("3400", r"\boxed{3\,400}", True),
        ("7.5", r"\boxed{7.5\%}", True),
        ("8-i", r"\boxed{8.0 + -1.0i}", True),
        ("4.2e4", r"\boxed{42000}", True),
        (r"\frac{1}{9}", r"\boxed{0.\overline{1}}", True),
        ("324_5", r"\boxed{324_{\text{five}}}", True),
        (r"\frac{3 \pm \sqrt{2}}{7}", r"\boxed{\frac{3+\sqrt{2}}{7}, \frac{3-\sqrt{2}}{7}}", True),
        ("6", "<think>First \\boxed{6}. No, 8.</think>\nThe answer is 8.", False),
        ("2", "Step 1: compute 3! = 6\nStep 2:", False),
        (r"\frac{2}{3}", r"\boxed{0.666667}", False),
    ],
)
def test_the_kinds_of_the_shared_cases(gold: str, reply: str, correct: bool) -> None:
    assert asyncio.run(compare_answers(reply, gold)).correct is correct


def test_votes_of_the_kinds_of_the_shared_cases() -> None:
    replies = [r"\boxed{7}", r"\boxed{7}", r"\boxed{9}", r"\boxed{\$9}", r"\boxed{9\text{ dollars}}"]
    ballots, problem = asyncio.run(group_answers([find_final_answer(reply) for reply in replies]))
    assert (ballots, problem) == (["7", "7", "9", "9", "9"], "")
