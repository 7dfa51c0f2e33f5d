"""The four shapes a component can have, and the desk through which it talks to models.

A component is a pure prompt builder, a pure parser and a small async run. Its shape tells the engine what may run at
once:

- `Producer` makes candidates, each on its own (generator, fuser);
- `Judge` looks at one candidate at a time, so each starts as soon as its candidate arrives (verifier, evaluator);
- `Whole` needs the full list (critic, ranker);
- `Side` needs only the conversation, so it starts at time zero (unit test generator).

A component of your own subclasses one of them and gives it a `kind`:

    class Shortest(Whole):
        kind = Kind("shortest", needs_model=False)
        async def run(self, state, desk):
            return replace(state, candidates=tuple(sorted(state.candidates, key=lambda c: len(c.text))))
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from archon_eval.architecture import ComponentSpec
from archon_eval.candidates import Candidate, Conversation, Message, State
from archon_eval.kinds import Kind
from archon_eval.models.base import Reply
from archon_eval.wording import free_tag

T = TypeVar("T")
Span = tuple[int, int]
"""The least and the most of something, both included."""


class Desk(Protocol):
    """What the engine gives a component: calls that are counted, recorded and limited."""

    async def say(self, purpose: str, messages: Conversation, *, draw: int = 0, about: str = "") -> Reply | None:
        """A free-text reply; None when the call failed for good and the component has `on_error: drop`."""

    async def ask(
        self, purpose: str, messages: Conversation, parse: Callable[[str], T], *, fallback: str, about: str = ""
    ) -> T | None:
        """A parsed reply, asked again up to `reask` times when `parse` raises ParseError.

        Then the fallback is recorded and what could be read (`ParseError.partial`) or None is returned.

        Args:
            purpose: what is asked, for the trail (`rank`, `verdict`).
            fallback: in words, what the component does without an answer.
            about: id of the candidate concerned.
        """

    def note(self, what: str, detail: str, about: str = "") -> None:
        """Record something a reader must know: `what` is one of `trail.NOTES` or a custom component's own word."""


class Component(ABC):
    """Built once per architecture and used for every question, so it may hold things that outlive one."""

    kind: ClassVar[Kind]

    def __init__(self, spec: ComponentSpec) -> None:
        self.spec = spec

    def check(self) -> None:
        """Raises what would stop it later (no sandbox), before anything is paid for; not called by `archon plan`."""
        return None

    def calls(self, candidates: Span) -> Span:
        """Model calls for that many incoming candidates, re-asks apart (for `archon plan`).

        Candidates on which `stop_after` may cancel the work are not among them.
        """
        return (0, 0)

    def survivors(self, candidates: Span) -> Span:
        """How many candidates leave."""
        return candidates


class Producer(Component):
    """Makes candidates that replace the incoming ones; `produce` runs once per place, all at once."""

    @property
    def places(self) -> int:
        """How many candidates it makes."""
        return int(self.spec.option("samples")) if "samples" in self.kind.options else 1

    @abstractmethod
    async def produce(self, state: State, id: str, draw: int, desk: Desk) -> Candidate | None:
        """One candidate with the given id; None when its call failed and was dropped."""

    def calls(self, candidates: Span) -> Span:
        return (self.places, self.places)

    def survivors(self, candidates: Span) -> Span:
        return (0 if self.spec.on_error == "drop" else self.places, self.places)


class Judge(Component):
    """Says something about each candidate on its own."""

    sorts: bool = False
    """Whether `arrange` must see all candidates together before any goes on."""

    @abstractmethod
    async def judge(self, state: State, candidate: Candidate, desk: Desk) -> Candidate:
        """The candidate with its verdict. `state.candidates` is empty here; `state.values` is complete."""

    def passes(self, candidate: Candidate) -> bool:
        """Whether the judged candidate goes on; when none would, all do."""
        return True

    def arrange(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """Order and cut, when `sorts`."""
        return candidates

    @property
    def stop_after(self) -> int | None:
        """With the first so many candidates passed, work on the rest is cancelled."""
        found = self.spec.option("stop_after") if "stop_after" in self.kind.options else None
        return None if found is None else int(found)

    def survivors(self, candidates: Span) -> Span:
        least, most = candidates
        if self.stop_after is not None:
            # fewer passing than asked for: the passing ones; none passing: all go on
            return (min(1, least), most)
        return (min(1, least) if self.kind.filters else least, most)


class Whole(Component):
    """Works on the full list of candidates at once."""

    @abstractmethod
    async def run(self, state: State, desk: Desk) -> State:
        """The next state."""


class Side(Component):
    """Prepares something from the conversation alone; candidates pass by untouched."""

    @abstractmethod
    async def prepare(self, conversation: Conversation, desk: Desk) -> Mapping[str, Any]:
        """Entries for `State.values`."""


def user(text: str, history: Conversation = ()) -> Conversation:
    """A prompt: one user turn, after the given earlier turns."""
    return (*history, Message("user", text))


def numbered(candidates: Sequence[Candidate], critiques: bool = False) -> str:
    """Candidates as a prompt shows them, identified [1] to [N], with their critiques when asked for; none can pass for
    several, or for another's critique (`wording.free_tag`)."""
    texts = [part for candidate in candidates for part in (candidate.text, candidate.critique or "")]
    response, critique = free_tag("response", texts), free_tag("critique", texts)
    parts = []
    for number, candidate in enumerate(candidates, 1):
        parts.append(f'<{response} id="[{number}]">\n{candidate.text}\n</{response}>')
        if critiques and candidate.critique is not None:
            parts.append(f'<{critique} of="[{number}]">\n{candidate.critique}\n</{critique}>')
    return "\n\n".join(parts)
