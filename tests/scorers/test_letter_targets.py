"""A question with several right letters: any of them is right, several at once are not."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from inspect_ai.scorer import Target

from archon_eval.scorers.choices import letter_answer


@pytest.mark.parametrize(
    ("reply", "target", "value"),
    [
        ("ANSWER: C", ["A", "C"], "C"),
        ("ANSWER: B", ["A", "C"], "I"),
        ("ANSWER: A (Paris)", "AC", "C"),
        ("ANSWER: A or C", "AC", "I"),
        ("ANSWER: A, C", ["A", "C"], "I"),
        ("", "A", "I"),
    ],
)
def test_targets(reply: str, target: str | list[str], value: str) -> None:
    state: Any = SimpleNamespace(output=SimpleNamespace(completion=reply), metadata={})
    score = asyncio.run(letter_answer()(state, Target(target)))
    assert score is not None and score.value == value
