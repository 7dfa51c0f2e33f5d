r"""Option letters as real replies state them."""

import pytest

from archon_eval.components.parsing.final_answer import extract_final_answer, extract_option_letter

LETTERS: list[tuple[str, str | None]] = [
    ("ANSWER: A (Paris)", "A"),
    ("ANSWER: (A) Paris", "A"),
    ("ANSWER: Option B", "B"),
    ('ANSWER: "B"', "B"),
    ("ANSWER: 'C'", "C"),
    ("ANSWER: **B**", "B"),
    ("**ANSWER: B/C**", None),
    ("ANSWER: (B) or (C)", None),
    ("ANSWER: **B** or **C**", None),
    ("ANSWER: A, C", None),
    ("ANSWER: A and C", None),
    ("ANSWER: either B or C", None),
    ("ANSWER: BC", None),
    ("ANSWER: B & D", None),
    ("ANSWER: A: Paris", "A"),
    ("ANSWER: A – Paris", "A"),
    ("ANSWER: B, because C is wrong", "B"),
    ("ANSWER: B (not C)", "B"),
    (r"ANSWER: $\text{B}$", "B"),
    (r"ANSWER: $\mathbf{(B)}$", "B"),
    (r"ANSWER: \(\boxed{B}\)", "B"),
    ("Answer: Choice D", "D"),
    ("ANSWER: not B", None),
    ("ANSWER: A or B or C", None),
    ("ANSWER:B", "B"),
    ("ANSWER: `B`", "B"),
    ("ANSWER: B.", "B"),
    ("ANSWER： （Ｂ）", "B"),
    ("ANSWER:\n\nB", "B"),
    ("The answer is B.", "B"),
    ("The answer is (C) Paris", "C"),
    ("The answer is A good one", None),
    (r"\boxed{C}", "C"),
    (r"$\boxed{\text{(D)}}$", "D"),
    ("ANSWER: A (Paris) or B (Lyon)", None),
    ("ANSWER: I think it is B", None),
    ("ANSWER: D\n\nANSWER: e.g. something", "D"),
    ("ANSWER: i.e. the second", None),
    ("ANSWER: B is wrong, C is", None),
    ("ANSWER: B is correct", "B"),
    ("ANSWER: B; C", None),
    ("ANSWER: A/B/C", None),
    ("ANSWER: n + 1", None),
    ("ANSWER: B - Paris", "B"),
    ("ANSWER: B, Paris", "B"),
    ("ANSWER: A. A constant", "A"),
    ("ANSWER: A, a constant", "A"),
    ("ANSWER: B\n(or maybe C)", "B"),
    ("<think>ANSWER: A</think>ANSWER: B", "B"),
    ("ANSWER: [B]", "B"),
    ("ANSWER: <B>", "B"),
    (r"ANSWER: \textbf{B}", "B"),
    ("# ANSWER: B", "B"),
    ("ANSWER: 'A'", "A"),
    ("ANSWER: “A”", "A"),
    ("ANSWER: A|B", None),
    ("ANSWER: B+C", None),
    ("ANSWER: b", "B"),
    ("ANSWER: both A and B", None),
    ("ANSWER: B (or C)", None),
    ("ANSWER: B (possibly C)", None),
    ("ANSWER: B, possibly C", None),
    ("ANSWER: B or maybe C", None),
    ("ANSWER: B vs C", None),
    ("ANSWER: B, Possibly C", None),
    ("ANSWER: B OR C", None),
    ("ANSWER: B vs. C", None),
    ("ANSWER: A+", None),
    ("ANSWER: C++", None),
    ("ANSWER: C#", None),
    ("ANSWER: X-ray", None),
    ("ANSWER: T-cell", None),
    ("ANSWER: probably B", "B"),
    ("ANSWER - B", "B"),
    ("**ANSWER** – B", "B"),
    ("ANSWER:\nB", "B"),
]


@pytest.mark.parametrize(("reply", "letter"), LETTERS)
def test_letters(reply: str, letter: str | None) -> None:
    assert extract_option_letter(reply) == letter


@pytest.mark.parametrize(("reply", "letter"), [row for row in LETTERS if row[1]])
def test_a_vote_reads_the_same_letter(reply: str, letter: str) -> None:
    assert extract_final_answer(reply) == letter.lower()
