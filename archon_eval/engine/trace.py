"""What an architecture did on one question, for readers and for accounts: every call, every fallback.

answer.trail.notes[0].detail    # "no candidate passed: all go on"
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import Any

from archon_eval.models.call import Reply
from archon_eval.types import Candidate, Conversation

EVENT_TYPES: Mapping[str, str] = {
    "reask": "a reply could not be parsed and was asked for again",
    "fallback": "the stated fallback applied",
    "dropped": "a call failed for good and on_error: drop went on without it",
    "cancelled": "a call was cancelled because enough candidates had passed",
    "truncated": "a reply was cut at its token limit",
    "filtered": "a reply was stopped by the provider's content filter, or is the model's refusal",
    "irregular": "a provider gave something else than asked: other draws, another model, an error before the reply",
    "empty": "a reply was empty",
    "vote": "how many candidates agreed",
    "cleaned": "characters that cannot be stored were replaced in a reply",
}
"""The words a note may have, and what they mean."""


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One model call."""

    layer: int
    kind: str
    component: int
    """Its place in the layer, from 1."""
    model: str
    purpose: str
    about: str
    """Id of the candidate made or judged, or empty."""
    draw: int
    messages: Conversation
    reply: Reply | None
    """None when the call failed or was cancelled."""
    problem: str = ""
    """Why there is no reply."""


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """Something that went otherwise than planned."""

    layer: int
    kind: str
    what: str
    """A word of EVENT_TYPES, or a custom component's own."""
    detail: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class LayerResult:
    """What left a layer."""

    layer: int
    kind: str
    candidates: tuple[Candidate, ...]
    values: Mapping[str, Any]
    """`tests` and custom state after the layer."""
    seconds: float
    remarks: tuple[str, ...] = ()
    """Each candidate in a few words, as its component describes it."""
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Lists of the state that the component shows, by title (`Unit tests`)."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything that happened, in the order of layers."""

    layers: tuple[LayerResult, ...] = ()
    steps: tuple[TraceStep, ...] = ()
    notes: tuple[TraceEvent, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How often each kind of note was made."""
        return dict(sorted(Counter(note.what for note in self.notes).items()))

    @property
    def reuses(self) -> bool:
        """Whether a reply was reused, so that the clock did not measure what the answer takes."""
        return any(step.reply is not None and step.reply.reused for step in self.steps)

    def sum_recorded_seconds(self, layer: int | None = None) -> float:
        """Seconds by the replies' own records: a layer's longest chain of calls about one candidate; layers add up."""
        chains: dict[int, dict[tuple[int, str], list[float]]] = {}
        for step in self.steps:
            if step.reply is not None and layer in (None, step.layer):
                chain = chains.setdefault(step.layer, {}).setdefault((step.component, step.about), [])
                chain.append(step.reply.seconds)
        return fsum(max(map(fsum, chain.values())) for chain in chains.values())


@dataclass(frozen=True, slots=True)
class Answer:
    """The architecture's answer to one conversation."""

    text: str
    candidates: tuple[Candidate, ...]
    """What left the last layer, best first; the first is the answer."""
    trail: Trace = field(default_factory=Trace)
    seconds: float = 0.0
