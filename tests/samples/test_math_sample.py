"""The bundled problems: every answer recomputed, every distractor really wrong, all subjects and levels covered."""

import asyncio
from collections import Counter
from typing import Any

import pytest
import sympy
from math_checks import CHECKS

from archon_eval.scorers.math import MathVerdict, compare_answers
from archon_eval.tasks._rows import load_bundled_rows

ROWS: dict[str, dict[str, Any]] = {row.require_text("id"): dict(row.values) for row in load_bundled_rows("math.jsonl")}
SUBJECTS = {
    "Algebra",
    "Counting & Probability",
    "Geometry",
    "Intermediate Algebra",
    "Number Theory",
    "Prealgebra",
    "Precalculus",
}


def mark(answer: str, gold: str) -> MathVerdict:
    return asyncio.run(compare_answers(f"$\\boxed{{{answer}}}$", gold))


def test_every_problem_has_a_check() -> None:
    assert set(CHECKS) == set(ROWS)
    assert len(ROWS) >= 70


@pytest.mark.parametrize("id", ROWS)
def test_the_answer_is_what_the_check_computes(id: str) -> None:
    value = CHECKS[id]()
    computed = value if isinstance(value, str) else sympy.latex(value)
    assert mark(computed, ROWS[id]["answer"]).correct, f"{computed} is not {ROWS[id]['answer']}"


def test_distractors_are_distinct_readable_and_wrong() -> None:
    for id, row in ROWS.items():
        wrong = row["distractors"]
        assert 4 <= len(wrong) <= 6, id
        for i, distractor in enumerate(wrong):
            assert mark(distractor, row["answer"]).status == "different", (id, distractor)
            for other in wrong[:i]:
                assert not mark(distractor, other).correct, (id, distractor, other)


def test_every_subject_has_every_level() -> None:
    cells = Counter((row["subject"], row["level"]) for row in ROWS.values())
    assert {subject for subject, _ in cells} == SUBJECTS
    assert {cell for cell in cells if cells[cell] >= 2} == {
        (subject, level) for subject in SUBJECTS for level in range(1, 6)
    }


def test_problems_are_all_different_and_do_not_give_the_answer_away() -> None:
    problems = [row["problem"] for row in ROWS.values()]
    assert len(set(problems)) == len(problems)
    for row in ROWS.values():
        assert set(row) == {"id", "subject", "level", "problem", "answer", "distractors"}
        assert row["problem"].count("$") - 2 * row["problem"].count(r"\$") >= 0 and "boxed" not in row["problem"]
