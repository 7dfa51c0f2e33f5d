"""A question with several right letters: any of them is right, several at once are not."""

import asyncio

import pytest
from inspect_ai.model import ModelName, ModelOutput
from inspect_ai.scorer import Target
from inspect_ai.solver import TaskState

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
    output = ModelOutput.from_content("mockllm/model", reply)
    state = TaskState(ModelName("mockllm/model"), "s", 1, "?", messages=[], output=output)
    score = asyncio.run(letter_answer()(state, Target(target)))
    assert score is not None and score.value == value
