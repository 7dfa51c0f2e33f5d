"""Scores that are asked for together: one request, and nobody is lost when whoever was to send it is gone."""

from collections.abc import Sequence
from functools import partial

import anyio
import pytest

from archon_eval.errors import ModelError, ParseError
from archon_eval.models.call import Call, Usage
from archon_eval.models.scorer import BatchScores, ScoreInput, Scorer, build_score_call, parse_score


class Counted(Scorer):
    """Scores by length, in batches of three, and keeps them."""

    max_batch = 3

    def __init__(self) -> None:
        super().__init__("counted")
        self.batches: list[list[str]] = []
        self.entered = anyio.Event()
        self.open = anyio.Event()

    def describe(self) -> str:
        return "nowhere"

    def get_call_identity(self, call: Call) -> tuple[str, str]:
        return self.name, ""

    def find_group(self, input: ScoreInput) -> object:
        return input[0]

    async def score_batch(self, inputs: Sequence[ScoreInput]) -> BatchScores:
        self.batches.append([answer for _, answer in inputs])
        self.entered.set()
        await self.open.wait()
        if "!" in self.batches[-1]:
            raise ModelError("not that one")
        return BatchScores([float(len(answer)) for _, answer in inputs], Usage(7, 0))


def test_batches_hold_one_question_and_no_more_than_they_may() -> None:
    scores: dict[tuple[str, str], str] = {}

    async def score_all() -> Counted:
        scorer = Counted()
        scorer.open.set()

        async def score(question: str, answer: str) -> None:
            reply = await scorer(build_score_call(scorer, (question, answer)))
            scores[question, answer] = reply.text

        async with anyio.create_task_group() as group:
            for question, answers in (("q", ("a", "bb", "ccc", "dddd")), ("r", ("e",))):
                for answer in answers:
                    group.start_soon(score, question, answer)
        return scorer

    scorer = anyio.run(score_all)
    assert sorted(scorer.batches) == [["a", "bb", "ccc"], ["dddd"], ["e"]]
    assert scores["q", "ccc"] == "3.0" and len(scores) == 5


def test_others_go_on_when_the_sender_of_their_batch_is_cancelled() -> None:
    """`stop_after` or a limit may end whoever holds the request in its hands."""

    async def cancel_first() -> tuple[list[str], list[list[str]]]:
        scorer, found = Counted(), list[str]()

        async def score(answer: str, scope: anyio.CancelScope) -> None:
            with scope:
                found.append((await scorer(build_score_call(scorer, ("q", answer)))).text)

        first = anyio.CancelScope()
        async with anyio.create_task_group() as group:
            group.start_soon(score, "a", first)
            await anyio.lowlevel.checkpoint()
            group.start_soon(score, "bb", anyio.CancelScope())
            await scorer.entered.wait()
            first.cancel()
            scorer.open.set()
        return found, scorer.batches

    found, batches = anyio.run(cancel_first)
    assert found == ["2.0"] and batches == [["a", "bb"], ["bb"]]


def test_a_failure_is_everybodys() -> None:
    async def fail() -> list[str]:
        scorer, said = Counted(), list[str]()
        scorer.open.set()

        async def score(answer: str) -> None:
            with pytest.raises(ModelError) as caught:
                await scorer(build_score_call(scorer, ("q", answer)))
            said.append(str(caught.value))

        async with anyio.create_task_group() as group:
            for answer in ("a", "!"):
                group.start_soon(partial(score, answer))
        return said

    assert anyio.run(fail) == ["not that one"] * 2


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "missing", "high", ""])
def test_what_is_no_finite_number_is_no_score(text: str) -> None:
    with pytest.raises(ParseError):
        parse_score(text)
