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


@dataclass(frozen=True, slots=True)
class EventType:
    """A word that a note may have, and all that follows from it."""

    meaning: str
    worked: bool | None = None
    """What it says of an outcome of the component (see `TraceOutcome`); None where it says nothing of one."""
    problem: str = ""
    """What is wrong with the outcomes of which it says that they did not work: `were empty`."""
    of_reply: str = ""
    """What it says of a reply, where it says something: `cut at the token limit`."""


UNREAD = "unread"
"""The problem of an outcome whose replies could not be parsed; the notes on it are `reask` and `fallback`."""
EVENT_TYPES: Mapping[str, EventType] = {
    "reask": EventType("a reply could not be parsed and was asked for again"),
    "fallback": EventType("the stated fallback applied", False, "fell back"),
    "unfiltered": EventType("no candidate passed a filter, so all went on"),
    "dropped": EventType(
        "a call failed for good and on_error: drop went on without it", False, "were dropped after failed calls"
    ),
    "cancelled": EventType("a call was cancelled, because enough candidates had passed or its solver was ended"),
    "limited": EventType(
        "a solver was ended by a limit of its own; its last text, if it had one, is the candidate",
        False,
        "were ended by a limit of their solver",
    ),
    "no_answer": EventType("a solver ended without a text", False, "were no text"),
    "sandbox": EventType("whose sandbox the task's scorer sees"),
    "truncated": EventType(
        "a reply was cut at its token limit", False, "were cut at the token limit", of_reply="cut at the token limit"
    ),
    "cut_thoughts": EventType(
        "a reply was cut at its token limit before its answer began, within its thoughts: a larger max_tokens mends it",
        False,
        "were cut within their thoughts",
        of_reply="cut within its thoughts (a larger `max_tokens` mends it)",
    ),
    "filtered": EventType(
        "a reply was stopped by the provider's content filter, or is the model's refusal",
        False,
        "were refused by the content filter",
        of_reply="refused by the content filter",
    ),
    "irregular": EventType(
        "a provider gave something else than asked: other draws, another model, an error before the reply"
    ),
    "empty": EventType("a reply was empty", False, "were empty", of_reply="empty"),
    "overflow": EventType(
        "a prompt did not fit the model's context window, so candidates were left out or shortened (on_overflow)"
    ),
    "vote": EventType("how many candidates agreed", True),
    "sampled": EventType("how many candidates were drawn in rounds, and why no more"),
    "unsettled": EventType("as many candidates as may be were drawn, and the vote on them was not settled"),
    "unpassed": EventType("as many candidates as may be were drawn, and fewer passed than were wanted"),
    "confidence": EventType("which confidence an agent of a debate stated with its answer", True),
    "agreed": EventType("the agents of a debate agreed, so that this round was left out"),
    "decided": EventType("how a moderator ended a debate"),
    "unguided": EventType("there was no guidance for an answer, which was made without"),
    "program_output": EventType("a component's own program ran and printed its answer", True),
    "order_bias": EventType("how often the choice between two candidates changed with their order"),
    "measured": EventType("what the rule of a cascade's stage measured", True),
    "accepted": EventType("the rule of a cascade's stage let its answer stand"),
    "escalated": EventType("the rule of a cascade's stage did not let its answer stand: the next stage was asked"),
    "routed": EventType("the router of a cascade chose the stage that was asked first"),
    "program_run": EventType("which of several Docker hosts ran a candidate's program"),
    "unseen": EventType("images or other parts of the conversation reached a component as no more than `[image]`"),
    "echoed": EventType(
        "an answer repeated sentences of the component's own prompt; those it began with were taken out"
    ),
    "cleaned": EventType("characters that cannot be stored were replaced in a reply"),
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
    nested: bool = False
    """Whether it is a step of a solver's, which has events of its own in a transcript."""
    shared: bool = False
    """Whether an equal call of an earlier stage had this reply, so that nothing was sent or paid for this one."""


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """Something that went otherwise than planned."""

    layer: int
    kind: str
    what: str
    """A word of EVENT_TYPES, or a custom component's own."""
    detail: str
    about: str = ""


NO_PROBLEMS: Mapping[str, int] = {}
"""The problems of all outcomes that worked: one for all, since there are as many as calls."""


@dataclass(frozen=True, slots=True)
class TraceOutcome:
    """What a component was to make, and whether it came about: a verdict, a ranking, a text.

    Each `generate_parsed` has one (or as many as it says); so has a note whose type says whether it worked. A component
    that has none of these has the texts of its `generate`.
    """

    layer: int
    component: int
    """Its place in the layer, from 1."""
    model: str
    """Empty where no model was asked."""
    problems: Mapping[str, int] = field(default_factory=lambda: NO_PROBLEMS)
    """`UNREAD` or a word of EVENT_TYPES -> how many did not work for that reason."""
    count: int = 1
    """How many outcomes: the critiques that one reply holds."""
    is_text: bool = False
    """Whether it is an unparsed reply, which may be no more than a step on the component's way."""


JUDGMENT_SOURCES: Mapping[str, str] = {
    "ranking": "a ranker's order: minus the place, from 1",
    "verdict": "a verifier's verdict: 1 for correct, 0 for incorrect",
    "tests": "how many unit tests a candidate passed, where each of them has a result",
    "reward": "a reward's score",
    "wins": "the share of its comparisons with others that a candidate won",
}
"""Who says that one candidate is better than another, and by what number; more is better."""


@dataclass(frozen=True, slots=True)
class TraceJudgment:
    """What a component said of the candidates that reached it, as numbers that can be compared with one another."""

    layer: int
    kind: str
    component: int
    """Its place in the layer, from 1."""
    source: str
    """A word of JUDGMENT_SOURCES, or a custom component's own."""
    values: Mapping[str, float]
    """Id of a candidate -> its value, more being better; what could not be read is not here."""


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
class StageResult:
    """What became of one stage of a cascade that was asked."""

    name: str
    layers: tuple[int, int]
    """The numbers of its first and its last layer, its rule among them."""
    stands: bool
    """Whether its answer is the answer."""
    score: float | None = None
    """What its rule measured; None without a rule, or where it could not."""
    threshold: float | None = None
    detail: str = ""
    """Why, in words."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything that happened, in the order of layers."""

    layers: tuple[LayerResult, ...] = ()
    steps: tuple[TraceStep, ...] = ()
    notes: tuple[TraceEvent, ...] = ()
    outcomes: tuple[TraceOutcome, ...] = ()
    stages: tuple[StageResult, ...] = ()
    """Of a cascade, those that were asked, in their order."""
    conversation: Conversation = ()
    """What was asked, its turns as they came."""
    judgments: tuple[TraceJudgment, ...] = ()
    answer: Candidate | None = None
    """None where there is none. Of a cascade the last layer is often a rule, which may be shown other candidates."""

    @property
    def own_steps(self) -> tuple[TraceStep, ...]:
        """The calls, without those whose reply an earlier stage had: what the answer took."""
        return tuple(step for step in self.steps if not step.shared)

    @property
    def counts(self) -> dict[str, int]:
        """How often each kind of note was made."""
        return dict(sorted(Counter(note.what for note in self.notes).items()))

    @property
    def reuses(self) -> bool:
        """Whether a reply was reused, so that the clock did not measure what the answer takes."""
        return any(step.reply is not None and step.reply.reused and not step.shared for step in self.steps)

    def sum_recorded_seconds(self, layer: int | None = None) -> float:
        """Seconds by the replies' own records: a layer's longest chain of calls about one candidate; layers add up."""
        chains: dict[int, dict[tuple[int, str], list[float]]] = {}
        for step in self.steps:
            if step.reply is not None and not step.shared and layer in (None, step.layer):
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
