"""Mathematical replies in other forms than one box: what they say counts, and what they deny does not."""

import asyncio

import pytest

from archon_eval.scorers.math import compare_answers

CASES = [
    ("The answers are 2 and 3.", "2, 3", True),
    ("The answers are 2 and 3.", "2,3", True),
    ("The answers are 2 and 3.", "3", False),
    ("The solutions are $x = 2$ and $x = 3$.", "2,3", True),
    ("so $x=\\boxed{1}$\n\nand $y=\\boxed{2}$.", "(1,2)", True),
    ("$x=\\boxed{1}$\n\n$y=\\boxed{2}$", "x=1, y=2", True),
    ("$(\\boxed{1},\\boxed{2})$", "(1,2)", True),
    ("\\boxed{1}, \\boxed{2}", "1,2", True),
    ("First we get \\boxed{3}. \n\nLater it is \\boxed{4}.", "3, 4", False),
    ("\\boxed{\\angle ACB}", "\\angle ABC", False),
    ("\\boxed{\\angle CBA}", "\\angle ABC", True),
    ("\\boxed{\\triangle ABC}", "\\triangle BCA", True),
    ("\\boxed{\\{x \\mid x > 3\\}}", "x>3", True),
    ("\\boxed{\\{x : x > 3\\}}", "(3,\\infty)", True),
    ("\\boxed{x<1 \\text{ or } x>3}", "(-\\infty,1)\\cup(3,\\infty)", True),
    ("\\boxed{x>1 \\text{ and } x<3}", "(1,3)", True),
    ("\\boxed{x>1 \\text{ and } x<3}", "(1,4)", False),
    ("\\boxed{\\sin 30}", "\\sin 30^\\circ", True),
    ("\\boxed{A^T}", "A^{T}", True),
    ("\\boxed{A^T}", "A^{-1}", False),
    ("\\boxed{3h}", "3", False),
    ("\\boxed{3\\text{ hours}}", "3", True),
    ("\\boxed{5\\text{ more}}", "5", True),
    ("\\boxed{5\\text{ more}}", "5\\text{ less}", False),
    ("The answer is not 5.", "5", False),
    ("The answer isn't 5.", "5", False),
    ("The answer is not 5 but 6.", "6", True),
    ("The answer cannot be 5.", "5", False),
    ("答案是5", "5", True),
    ("答案：\\(5\\)", "5", True),
    ("\\boxed{5个}", "5", True),
    ("\\boxed{５}", "5", True),
    ("\\boxed{\\text{Tuesday}}", "\\text{Tuesday}", True),
    ("\\boxed{\\text{tuesday}}", "Tuesday", True),
    ("\\boxed{\\text{Yes}}", "\\text{No}", False),
    ("\\boxed{\\text{even}}", "\\text{odd}", False),
    ("\\boxed{(-\\infty, 3)}", "x<3", True),
    ("\\boxed{2 \\text{ and } 3}", "2,3", True),
    ("\\boxed{2 \\text{ or } 3}", "2,3", True),
    ("\\boxed{2\\pm\\sqrt3}", "2+\\sqrt{3}, 2-\\sqrt{3}", True),
    ("\\boxed{2\\pm\\sqrt3}", "2+\\sqrt{3}", False),
    ("We get $x=\\boxed{1}$.\n\nThen $x=\\boxed{2}$.", "1,2", False),
    ("$n = \\boxed{2}$, so $k=\\boxed{45}$", "45, 2", False),
    ("Check $x=\\boxed{1}$, hence $y=\\boxed{2}$", "2", True),
    ("\\boxed{x > 3 \\text{ and } x < 1}", "(1,3)", False),
    ("The answers are $x=1$ and $x=-2$.", "-2, 1", True),
    ("There are two answers: 2 and 3. The answer is 5.", "5", True),
    ("The answer isn't obvious. We compute 2+2 = 4.", "4", True),
    ("\\boxed{q}", "q", True),
    ("\\boxed{\\angle ABC = 30^\\circ}", "30", True),
]
"""Reply, gold, and whether the reply is right."""


@pytest.mark.parametrize(("reply", "gold", "right"), CASES)
def test_a_reply_is_read_as_meant(reply: str, gold: str, right: bool) -> None:
    verdict = asyncio.run(compare_answers(reply, gold))
    assert verdict.correct is right, verdict


def test_hostile_conditions_are_read_in_linear_time() -> None:
    """What takes exponential time does not end within a day here."""
    for text in ("x<" + "{}" * 900, "\\{x|" + "1" * 1_900, "x<1 or x>" + "(" * 1_900):
        assert not asyncio.run(compare_answers(f"\\boxed{{{text}}}", "x>3")).correct
