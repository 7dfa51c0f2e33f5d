"""An architecture from plain Python, in a script or a notebook.

from archon_eval import Archon

archon = Archon("moa-lite", models=["openai/gpt-4o", "openai/gpt-4o-mini"])
answer = await archon.generate("What is 2 + 2?")        # or: archon.generate_sync("What is 2 + 2?")
answer.text, answer.cost, answer.trail.notes
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

from archon_eval.architecture.load import ArchitectureSource
from archon_eval.architecture.spec import Architecture
from archon_eval.engine.trace import Answer, Trace
from archon_eval.errors import ModelError, quote
from archon_eval.integrations.standalone import ConnectionLimits, StandaloneRunner
from archon_eval.models.call import Usage
from archon_eval.models.conversion import to_conversation
from archon_eval.types import Candidate, Conversation, Message

InspectTurn = ChatMessageSystem | ChatMessageUser | ChatMessageAssistant
MessagesInput = str | Sequence[Message | Mapping[str, str] | InspectTurn]
"""A question, or the turns of a chat: `{"role": "user", "content": "..."}`, `Message` or Inspect's messages."""


@dataclass(frozen=True, slots=True)
class PricedAnswer:
    """The answer to one conversation, and what it took."""

    text: str
    candidates: tuple[Candidate, ...]
    """What left the last layer, best first; the first is the answer."""
    trail: Trace
    """Every call, every layer, and every fallback."""
    usage: Usage
    """Tokens of all calls, replayed ones included; calls without a report of theirs count as none."""
    cost: float | None
    """Dollars of the calls that were made (replayed ones cost nothing); None when a price or a usage is unknown."""
    seconds: float


class Archon:
    """An architecture ready to answer; build once, ask any number of questions, also at the same time."""

    def __init__(
        self,
        architecture: ArchitectureSource,
        models: str | Sequence[str] | None = None,
        *,
        max_connections: int | None = None,
        max_retries: int | None = 10,
        timeout: int | None = None,
        **options: Any,
    ) -> None:
        """
        Args:
            architecture: a preset's name, a YAML or JSON file, a mapping, or an Architecture.
            models: fill the architecture's placeholders, strongest first.
            max_connections: calls under way per model; None lets Inspect adapt it.
            max_retries: retries of a call that failed for a passing reason (429, 5xx, lost connection).
            timeout: seconds after which a failed call is not tried again.
            options: the solver's other options: `fusers`, `judges`, `store`, `store_policy`, `budget`, `prices`,
                `trace`.

        Raises:
            ArchitectureError: no such architecture, a model that cannot be used, an option with an illegal value.
        """
        self._runner = StandaloneRunner(
            architecture, models, ConnectionLimits(max_connections, max_retries, timeout), **options
        )

    @property
    def architecture(self) -> Architecture:
        """The architecture, its models filled in."""
        return self._runner.architecture

    async def generate(self, messages: MessagesInput, epoch: int = 1) -> PricedAnswer:
        """The architecture's answer.

        Args:
            messages: a question or a chat that has a user turn.
            epoch: which repetition of the question this is; simulated models and the call store give equal answers
                to equal questions of one epoch.

        Raises:
            ModelError: a call failed for good, or the messages are not text.
        """
        return price_answer(await self._runner.answer(convert_messages(messages), epoch))

    def generate_sync(self, messages: MessagesInput, epoch: int = 1) -> PricedAnswer:
        """`generate` for code that does not await: scripts, and notebooks too, since it runs in a loop of its own.

        Raises:
            ModelError: as `generate`; also in an Inspect sample or a component, where only `generate` can be used.
        """
        return self._runner.run_sync(self.generate, messages, epoch)


def convert_messages(messages: MessagesInput) -> Conversation:
    """The conversation that a user wrote, in any of its forms.

    >>> convert_messages("Why?") == convert_messages([{"role": "user", "content": "Why?"}])
    True
    """
    if isinstance(messages, str):
        return (Message("user", messages),)
    if not isinstance(messages, Sequence):
        raise ModelError(f"a question is text or a list of messages, not {quote(repr(messages))}")
    turns: list[Message] = []
    for number, turn in enumerate(messages, 1):
        if isinstance(turn, Message):
            turns.append(turn)
        elif isinstance(turn, InspectTurn):
            turns += to_conversation([turn])
        else:
            turns.append(_parse_message(turn, number))
    return tuple(turns)


def _parse_message(turn: Any, number: int) -> Message:
    is_turn = isinstance(turn, Mapping) and set(turn) == {"role", "content"} and isinstance(turn["content"], str)
    if not is_turn or turn["role"] not in ("system", "user", "assistant"):
        raise ModelError(
            f"message {number} must be {{'role': 'user', 'content': 'text'}} with role system, user or assistant; "
            f"got {quote(str(turn))}"
        )
    return Message(turn["role"], turn["content"])


def price_answer(answer: Answer) -> PricedAnswer:
    """An engine's answer with its tokens and dollars."""
    replies = [step.reply for step in answer.trail.own_steps if step.reply is not None]
    usage = sum((reply.usage for reply in replies if reply.usage is not None), Usage())
    costs = [reply.dollars for reply in replies if not reply.reused]
    known_costs = [cost for cost in costs if cost is not None]
    return PricedAnswer(
        text=answer.text,
        candidates=answer.candidates,
        trail=answer.trail,
        usage=usage,
        cost=sum(known_costs) if len(known_costs) == len(costs) else None,
        seconds=answer.seconds,
    )
