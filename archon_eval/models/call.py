"""One model call and its reply, and the one-method protocol that everything under the engine implements.

    reply = await caller(Call("openai/gpt-4o", (Message("user", "hi"),), GenerationSettings(), draw=0))

`ModelClient` is the caller with the call store and the budgets; `InspectClient` the one under it that sends.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from archon_eval.architecture.spec import GenerationSettings
from archon_eval.types import Conversation, ToolCall, ToolOffer

if TYPE_CHECKING:
    from archon_eval.models.scorer import Scorer


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, or of many added up; a provider's cached input tokens count as input tokens."""

    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens)


def split_usage(usage: Usage | None, lengths: list[int]) -> list[Usage | None]:
    """One request's usage by its replies: the prompt, paid once, with the first; output by length of text.

    >>> split_usage(Usage(10, 9), [1, 2])
    [Usage(input_tokens=10, output_tokens=3), Usage(input_tokens=0, output_tokens=6)]
    """
    if usage is None:
        return [None] * len(lengths)
    shares: list[Usage | None] = []
    done, before, total = 0, 0, max(sum(lengths), 1)
    for place, length in enumerate(lengths):
        before += length
        upto = usage.output_tokens if place == len(lengths) - 1 else usage.output_tokens * before // total
        shares.append(Usage(0 if place else usage.input_tokens, upto - done))
        done = upto
    return shares


@dataclass(frozen=True, slots=True)
class Call:
    """Everything that decides what a model may answer."""

    model: str
    """Inspect's name of the model, e.g. `openai/gpt-4o`."""
    messages: Conversation
    settings: GenerationSettings
    draw: int = 0
    """The i-th sample of this prompt by this model: equal calls with other draws are other samples."""
    epoch: int = 1
    """The harness's repetition of the question, from 1."""
    question: int = field(default=0, compare=False)
    """Number of the question it is for, in the order in which questions start; decides only who goes first."""
    tools: ToolOffer | None = None
    """What the reply may call; None for nothing."""
    scorer: "Scorer | None" = field(default=None, compare=False)
    """Who sends it, where it asks no model but another source of scores; `model` is then its name."""


ReplyStatus = Literal["complete", "cut", "filtered", "failed"]
"""What a reply is, as everything after the call sees it: whole; cut at a limit; stopped by the provider's filter or a
refusal by the model; none at all, which a caller raises as ModelError and only the call store keeps, for replays."""
CUT_REASONS = ("max_tokens", "model_length")
"""Inspect's stop reasons of a reply that ended at a limit."""
REFUSALS = {
    "content_filter": "refused by the provider's content filter",
    "model_length": "the prompt does not fit the model's context window",
}
"""Inspect's stop reasons under which a text may be the provider's own words, and what happened then."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `replies` decides what it means, for every path and provider."""

    text: str
    """The answer, without thoughts."""
    stop_reason: str = "stop"
    """`stop`, `max_tokens`, `model_length`, `content_filter`, `tool_calls` or `unknown`, as Inspect names them."""
    usage: Usage | None = None
    """None where the provider reported none: unknown, which is not zero."""
    seconds: float = 0.0
    reused: bool = False
    """Whether it came from the call store, or from Inspect's cache, so that nothing was paid."""
    dollars: float | None = None
    """None where the price or the usage is unknown, which is not zero."""
    cleaned: int = 0
    """Characters that cannot be stored (NUL, lone surrogates) and were replaced by U+FFFD."""
    failure: str = ""
    """Why there is none: a call that failed for good, as the call store keeps it for replays."""
    top_logprobs: tuple[tuple[str, float], ...] | None = None
    """Of a judge's first token: the candidates for it and their log probabilities."""
    limit: Exception | None = field(default=None, compare=False)
    """The harness's limit that this reply went over: to be raised once the reply, which was paid for, is kept."""
    thoughts: str = ""
    """What the model thought before it answered, for the transcript alone."""
    remarks: tuple[str, ...] = ()
    """What the provider did otherwise than asked: other choices, another model, an error before the reply."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The calls of the tools that were offered."""
    extra: str = ""
    """With tool calls: the turn's other parts that its provider needs back (signed thoughts), as `Message.extra`."""

    @property
    def status(self) -> ReplyStatus:
        """Whether it is whole."""
        if self.failure:
            return "failed"
        return "cut" if self.cut else "filtered" if self.stop_reason == "content_filter" else "complete"

    @property
    def cut(self) -> bool:
        """Whether it ended at a limit, so that its last line is not where the model meant to end."""
        return self.stop_reason in CUT_REASONS


def is_refused_call(text: str, stop_reason: str, usage: Usage | None) -> bool:
    """Whether no token was generated, so that a text is the provider's refusal and not the model's answer."""
    if stop_reason not in REFUSALS:
        return False
    return usage is None or usage.output_tokens == 0 or not text.strip()


class Caller(Protocol):
    """Sends one call. Raises ModelError when it failed for good; limits and cancellation pass through."""

    async def __call__(self, call: Call) -> Reply: ...


class Sender(Caller, Protocol):
    """What sends the calls of a client, and knows what else decides a reply."""

    def get_call_identity(self, call: Call) -> tuple[str, str]:
        """The endpoint, and the configuration that is not in the call's settings, as text."""
        ...


@runtime_checkable
class PerQuestionCaller(Protocol):
    """A caller that has one of its own for each question (for its budget, and for its place in the queue)."""

    def start_question(self) -> Caller:
        """The caller for all calls of one question."""
        ...
