"""What scores answers in a model's place: an endpoint, a pipeline or a function, as the sender of its own calls.

    call = build_score_call(scorer, ("What is 2 + 2?", "4"))
    reply = await client(call)          # down the same stack as a model's: store, budgets, account
    parse_score(reply.text)             # 0.93

A score is a call: it is kept, counted and replayed like a model's. It is not drawn, so it is the same in every epoch.
Scores that are asked for at one moment go out together where the protocol has batches.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from archon_eval.architecture.spec import NO_SETTINGS
from archon_eval.errors import BatchRefusedError, ModelError, ParseError, quote
from archon_eval.models.call import Call, Reply, Usage, split_usage
from archon_eval.types import Message

BATCH_PAUSE, BATCH_TURNS = 0.005, 20
"""Seconds, and turns of the event loop after them, in which scores are gathered that are asked for at one moment: far
less than a request takes, and on a busy machine enough turns for a look into the call store."""
MISSING = "missing"
"""The text of a reply that holds no score."""
ScoreInput = tuple[str, ...]
"""One text; or a question and an answer; or a question and two answers."""


@dataclass(frozen=True, slots=True)
class BatchScores:
    """What came back for a batch."""

    values: Sequence[float | None]
    """A score per input, in their order; None where the source gave none."""
    usage: Usage | None = None
    """Tokens of the whole batch; None for unknown, which is not zero."""
    remarks: tuple[str, ...] = ()
    """What went otherwise than expected: retries after refusals."""


@dataclass(slots=True)
class _Batch:
    """Inputs that are scored together, for the calls that wait for it."""

    inputs: list[ScoreInput] = field(default_factory=list)
    replies: list[Reply] | None = None
    failure: ModelError | None = None
    refused: bool = False
    done: anyio.Event = field(default_factory=anyio.Event)


class Scorer(ABC):
    """A source of scores; the sender of the calls that `build_score_call` makes."""

    name: str
    """Stands where a model's name stands, in accounts and in the call store: `endpoint/bge-reranker`."""
    max_batch: int = 1
    """Inputs that one request may hold."""
    counts_tokens: bool = False
    """Whether tokens are what it takes."""

    def __init__(self, name: str, *, dollars: float | None = None, takes_text: bool = False) -> None:
        """
        Args:
            dollars: of one score; None for unknown, which is not zero.
            takes_text: whether an input is one text; else it is the question and its answers, each apart.
        """
        self.name, self.dollars, self.takes_text = name, dollars, takes_text
        self._batches: dict[object, _Batch] = {}

    @abstractmethod
    def describe(self) -> str:
        """What is sent where, in words, for plans."""

    @abstractmethod
    async def score_batch(self, inputs: Sequence[ScoreInput]) -> BatchScores:
        """A score per input.

        Raises:
            BatchRefusedError: refused for what is in it.
            ModelError: failed for good.
        """

    @abstractmethod
    def get_call_identity(self, call: Call) -> tuple[str, str]:
        """Where scores come from, beginning with the name, and what else decides them, as text."""

    def check_requirements(self) -> None:
        """Raises ModelError for what would stop it later (a key that is not set), before anything is paid for."""
        return None

    def find_group(self, input: ScoreInput) -> object:
        """What inputs of one batch must have in common."""
        return None

    async def __call__(self, call: Call) -> Reply:
        """The reply whose text is the score.

        Raises:
            ModelError: it failed for good.
        """
        score_input = tuple(message.content for message in call.messages)
        while True:
            batch, place = self._join(score_input)
            if place == 0:
                await self._send(batch, self.find_group(score_input))
            else:
                await batch.done.wait()
            if batch.refused:
                return (await self._score([score_input]))[0]
            if batch.failure is not None:
                raise ModelError(str(batch.failure))
            if batch.replies is not None:
                return batch.replies[place]
            # who was to send it was cancelled

    def _join(self, score_input: ScoreInput) -> tuple[_Batch, int]:
        """The batch that is gathered now, with the input in it, and the input's place."""
        group = self.find_group(score_input)
        batch = self._batches.setdefault(group, _Batch())
        batch.inputs.append(score_input)
        if len(batch.inputs) == self.max_batch:
            del self._batches[group]
        return batch, len(batch.inputs) - 1

    async def _send(self, batch: _Batch, group: object) -> None:
        try:
            if self._batches.get(group) is batch:
                await anyio.sleep(BATCH_PAUSE)
                for _ in range(BATCH_TURNS):
                    await anyio.lowlevel.checkpoint()
            self._close(batch, group)
            batch.replies = await self._score(batch.inputs)
        except BatchRefusedError as exc:
            batch.refused, batch.failure = len(batch.inputs) > 1, exc
        except ModelError as exc:
            batch.failure = exc
        finally:
            self._close(batch, group)
            batch.done.set()

    def _close(self, batch: _Batch, group: object) -> None:
        if self._batches.get(group) is batch:
            del self._batches[group]

    async def _score(self, inputs: Sequence[ScoreInput]) -> list[Reply]:
        started = time.monotonic()
        scores = await self.score_batch(inputs)
        seconds = time.monotonic() - started
        if len(scores.values) != len(inputs):
            raise ModelError(f"{self.name}: {len(scores.values)} scores came back for {len(inputs)} answers")
        usages = split_usage(scores.usage, [sum(map(len, score_input)) for score_input in inputs])
        return [
            Reply(
                MISSING if value is None else repr(float(value)),
                usage=usage,
                seconds=seconds,
                remarks=() if place else scores.remarks,
            )
            for place, (value, usage) in enumerate(zip(scores.values, usages, strict=True))
        ]


def build_score_call(scorer: Scorer, score_input: ScoreInput) -> Call:
    """The call for one score: the question as a user's turn, answers as an assistant's."""
    question, *answers = score_input
    messages = (Message("user", question), *(Message("assistant", answer) for answer in answers))
    return Call(scorer.name, messages, NO_SETTINGS, scorer=scorer)


def parse_score(text: str) -> float:
    """The score of a scorer's reply.

    >>> parse_score("0.25")
    0.25

    Raises:
        ParseError: there is none, or it is no finite number.
    """
    if text == MISSING:
        raise ParseError("the source gave no score")
    try:
        value = float(text)
    except ValueError:
        raise ParseError(f"the source gave no number, but {quote(text)}") from None
    if not math.isfinite(value):
        raise ParseError(f"the source gave the score {text}, which is no finite number")
    return value
