r"""Votes: spellings of one answer are one group; what cannot be compared is said."""

import asyncio
from itertools import permutations

import pytest

from archon_eval.components.parsing import answer_groups
from archon_eval.components.parsing.answer_groups import group_answers
from archon_eval.components.parsing.final_answer import find_final_answer
from archon_eval.errors import JudgeError


def box(*answers: str) -> list[str]:
    return [f"\\boxed{{{answer}}}" for answer in answers]


def group(replies: list[str]) -> list[str | None]:
    ballots, problem = asyncio.run(group_answers([find_final_answer(reply) for reply in replies]))
    assert problem == ""
    return ballots


@pytest.mark.parametrize(
    "replies",
    [
        box("18", r"\$18", r"18\text{ dollars}", "18.0", "18 dollars"),
        box(r"\frac12", "0.5", "1/2", r"\frac{2}{4}"),
        box("x+1", "1+x", "x + 1"),
        box(r"\sqrt{12}", r"2\sqrt3"),
        box("1e6", "1000000", "10^6", r"1\,000\,000"),
        box("1, 2", "2,1", r"\{1,2\}"),
        box("1 1/2", "3/2", "1.5"),
        box("1 000", r"1\ 000", r"1\,000", "1,000", "1000"),
        box(r"3\pm\sqrt2", r"3+\sqrt2, 3-\sqrt2"),
        ["The answer is $18.", "The answer is 18 dollars.", r"\boxed{18}", "**Answer: 18**"],
        ["ANSWER: B", r"\boxed{B}", "ANSWER: **b**", "ANSWER: Option B", "ANSWER: B (Paris)"],
        ["Monday", r"\boxed{\text{Monday}}", "monday."],
        [r"<think>\boxed{3}</think>\boxed{4}", r"\boxed{4}"],
    ],
)
def test_one_group(replies: list[str]) -> None:
    ballots = group(replies)
    assert ballots[0] is not None and set(ballots) == {ballots[0]}


@pytest.mark.parametrize(
    "replies",
    [
        box("18", "19", r"18\%+1", "-18"),
        box(r"18\text{ dollars}", r"18\text{ cents}"),
        box("2,2", "2"),
        box("ABC", "CBA"),
        box("y'", "y"),
        box(r"\pi r^2", r"\pi r^2 h"),
        box("(1,2)", "(2,1)"),
        ["ANSWER: A", "ANSWER: B"],
        ["In 1990 Bob won it", "In 1990 Ann won it"],
        box("10^{20}", "10^{20}+1"),
        box("5 MW", "5 mW"),
        box("1 1/2", "11/2", "2 3", "23", "12 34", "1234"),
        box(r"\text{negative }5", "5", r"\text{not }5"),
        box("1", "x=1", "y=1"),
        box("5", r"\$5", "£5"),
        box("0.5", r"0.5\%"),
    ],
)
def test_groups_of_their_own(replies: list[str]) -> None:
    assert len(set(group(replies))) == len(replies)


@pytest.mark.parametrize(
    "reply",
    [
        "ANSWER: 5 +",
        "The answer is 5 +",
        "50 + 4 =",
        "```output",
        "First, 3 + 4 = 7. Then",
        "l = o +",
        "ANSWER: B or C",
        r"\boxed{",
    ],
)
def test_fragments_and_hedges_do_not_vote(reply: str) -> None:
    assert find_final_answer(reply) is None


def test_a_cut_reply_votes_only_with_what_it_states() -> None:
    assert find_final_answer("We get 7.", is_cut=True) is None
    assert find_final_answer("We get 7.\nANSWER: 8", is_cut=True) == "8"
    assert find_final_answer("The answer is 1", is_cut=True) is None
    assert find_final_answer("The answer is 1", is_cut=False) == "1"
    assert find_final_answer("The answer is 18 dollars", is_cut=True) == "18 dollars"
    assert find_final_answer("The answer is 1.\nFor", is_cut=True) == "1."


@pytest.mark.parametrize(
    "answers",
    [
        ["1", "x=1", "y=1"],
        ["5", r"\$5", "£5"],
        ["50", r"50\%", "0.5"],
        ["5", r"5\text{ cm}", "5 m", r"5\text{ cm}"],
        ["x+1", "1+x", "x+2", "x + 1"],
    ],
)
def test_no_order_decides_the_groups(answers: list[str]) -> None:
    partitions = set()
    for order in permutations(range(len(answers))):
        ballots = asyncio.run(group_answers([answers[place] for place in order]))[0]
        groups: dict[str | None, set[int]] = {}
        for place, ballot in zip(order, ballots, strict=True):
            groups.setdefault(ballot, set()).add(place)
        partitions.add(frozenset(map(frozenset, groups.values())))
    assert len(partitions) == 1


def test_many_different_answers_need_few_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def compare(answer: str, gold: str) -> str:
        asked.append((answer, gold))
        return "different"

    monkeypatch.setattr(answer_groups, "compare_math", compare)
    ballots, problem = asyncio.run(group_answers([str(n % 999) for n in range(1_000)]))
    assert (len(set(ballots)), problem, asked) == (999, "", [])
    ballots, problem = asyncio.run(group_answers([f"x^{{{n}}}+{n}" for n in range(1_000)]))
    assert len(set(ballots)) == 1_000 and len(asked) == answer_groups.MAX_COMPUTED_PAIRS
    assert "only 500 pairs" in problem


def test_without_a_verifier_spellings_are_compared_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def compare(answer: str, gold: str) -> str:
        raise JudgeError("the answer verifier cannot run: no math-verify")

    monkeypatch.setattr(answer_groups, "compare_math", compare)
    ballots, problem = asyncio.run(group_answers(["x+1", "1+x", "x + 1", "18", r"\$18"]))
    assert ballots == ["x+1", "1+x", "x+1", "18", "18"]
    assert "by their spelling" in problem and "no math-verify" in problem
