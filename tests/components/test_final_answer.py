r"""Final answers: boxes, letters, last lines; and a vote that reads the same boxes as the scorers."""

import asyncio
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archon_eval.components.parsing.final_answer import (
    extract_final_answer,
    extract_last_box,
    extract_option_letter,
)
from archon_eval.scorers.math import compare_answers


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (r"\boxed{1} and then \boxed{2}", "2"),
        (r"\fbox{ 3 }", "3"),
        (r"\boxed{\frac{1}{2}} is asked in \boxed{}.", r"\frac{1}{2}"),
        (r"\boxed{x = \boxed{5}}", "5"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{4} or rather \boxed{5", "4"),
        (r"} } \boxed {6}", "6"),
        (r"gives $\boxed 7$", "7"),
        ("no box, {8}", None),
    ],
)
def test_last_box(text: str, box: str | None) -> None:
    assert extract_last_box(text) == box


@given(st.text(alphabet=r"\boxed{} 12$,frac", max_size=300))
@settings(max_examples=300)
def test_last_box_never_fails_and_finds_what_is_appended(text: str) -> None:
    extract_last_box(text)
    assert extract_last_box(text + r" x\boxed{42}") == "42"


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("ANSWER: B", "B"),
        ("At first ANSWER: A, but no.\n\n**ANSWER: C**", "C"),
        ("answer: (d)", "D"),
        ("ANSWER: $\\boxed{\\text{B}}$", "B"),
        ("**Answer**: A.", "A"),
        ("ANSWER: Because of B", None),
        ("The right option is B", None),
        ("", None),
        ("ANSWER: B\n\nSo the answer: a constant.", "B"),
        ("ANSWER: I think it is B", None),
        ("ANSWER: B because of that", "B"),
        ("ANSWER: I", "I"),
        ("ANSWER: A) Paris", "A"),
    ],
)
def test_letters_are_read_from_real_replies(reply: str, letter: str | None) -> None:
    assert extract_option_letter(reply) == letter


@pytest.mark.parametrize(
    ("reply", "ballot"),
    [
        ("ANSWER: A) Paris", "a"),
        ("ANSWER: (B)", "b"),
        ("ANSWER: B because of that", "b"),
        ("ANSWER: $\\boxed{\\text{B}}$", "b"),
        ("It holds \\boxed{12} items.\n\nANSWER: C", "c"),
        ("ANSWER: B is wrong, as\n\\boxed{12}", "12"),
        ("ANSWER: n + 1", "n+1"),
        ("ANSWER: B, C", None),
        ("ANSWER: f(x) = 3", "f(x)=3"),
        (r"\boxed{\text{Monday}}", "monday"),
        (r"\boxed{2.0, 3}", "2,3"),
        (r"\boxed{4}, which is asked in \boxed{}.", "4"),
        (r"\boxed{4} or rather \boxed{5", "4"),
        (r"So it is \boxed{5", None),
        (r"<think>\boxed{3}</think>The answer is 4.", "4"),
        (r"<think>\boxed{3}", None),
        ("ANSWER: B or C", None),
        ("Final answer is: 5", "5"),
        ("**The final answer is:** 5", "5"),
        ("**Answer: 5**.", "5"),
        ("It is **5** or *6*", "itis5or6"),
        ("**2*3**", "2*3"),
        ("1,200.50 m", "1200.5m"),
        (r"\boxed{0.50\text{ m}}", "0.5m"),
        (r"\boxed{.50x + 2.0}", ".5x+2"),
        ("5.0.", "5"),
        ("100.00", "100"),
    ],
)
def test_ballots(reply: str, ballot: str | None) -> None:
    assert extract_final_answer(reply) == ballot


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.10.2020", "1.1.2020"),
        ("v1.20.3", "v1.2.3"),
        ("v1.20", "v1.2"),
        ("192.168.10.1", "192.168.1.1"),
        ("2**3", "23"),
        ("2 * 3", "2 3"),
        ("2*3*4", "234"),
        ("(2)*3*(4)", "(2)3(4)"),
        ("ANSWER: B or C", "ANSWER: B"),
    ],
)
def test_different_answers_are_different_ballots(one: str, other: str) -> None:
    assert extract_final_answer(one) != extract_final_answer(other)


@pytest.mark.parametrize(
    "reply",
    [
        r"\boxed{4}, which is asked in \boxed{}.",
        r"\boxed{4} or rather \boxed{5",
        r"So it is \boxed {4}",
        r"gives $\boxed 4$",
        r"<think>\boxed{3}</think>The answer is 4.",
        r"So it is \boxed{4",
        r"\boxed{}",
        r"<think>\boxed{4}",
    ],
)
def test_the_vote_and_the_mathematics_scorer_read_the_same_answer(reply: str) -> None:
    assert asyncio.run(compare_answers(reply, "4")).answer == extract_final_answer(reply)


@pytest.mark.parametrize(
    "text",
    [
        "a" + "\n" * 500_000 + "b",
        r"\boxed{" * 100_000,
        r"\text{" * 100_000,
        "ANSWER: " * 100_000,
        r"\boxed{0." + "0" * 500_000 + "1}",
        r"\boxed{" + ".1" * 300_000 + "}",
        "*a" * 300_000,
        "**a " * 300_000,
        "answer is" + " " * 500_000,
        "ANSWER: A" + "*" * 500_000 + "z",
    ],
    ids=["lines", "boxes", "texts", "answers", "zeros", "dots", "stars", "bold", "spaces", "rule"],
)
def test_a_huge_reply_takes_time_in_proportion_to_its_length(text: str) -> None:
    start = perf_counter()
    extract_final_answer(text)
    assert perf_counter() - start < 10
