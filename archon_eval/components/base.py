"""The four shapes a component can have, and the desk through which it talks to models.

A component is a pure prompt builder, a pure parser and a small async run. Its shape tells the engine what may run at
once:

- `CandidateGenerator` makes candidates, each on its own (generator, fuser);
- `CandidateScorer` looks at one candidate at a time, so each starts when its candidate arrives (verifier, evaluator);
- `ListComponent` needs the full list (critic, ranker);
- `ContextComponent` needs only the conversation, so it starts at time zero (unit test generator).

A component of your own subclasses one of them and gives it a `kind`:

    class Shortest(ListComponent):
        kind = ComponentType("shortest", needs_model=False)
        async def run(self, state, desk):
            return replace(state, candidates=tuple(sorted(state.candidates, key=lambda c: len(c.text))))
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from archon_eval.architecture.component_types import ComponentType
from archon_eval.architecture.prompts import unique_tag
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.models.call import Reply
from archon_eval.types import Candidate, Conversation, Message, State

T = TypeVar("T")
CountRange = tuple[int, int]
"""The least and the most of something, both included."""


class CallContext(Protocol):
    """What the engine gives a component: calls that are counted, recorded and limited."""

    async def generate(self, purpose: str, messages: Conversation, *, draw: int = 0, about: str = "") -> Reply | None:
        """A free-text reply; None when the call failed for good and the component has `on_error: drop`."""

    async def generate_parsed(
        self, purpose: str, messages: Conversation, parse: Callable[[str], T], *, fallback: str, about: str = ""
    ) -> T | None:
        """A parsed reply, asked again up to `reask` times when `parse` raises ParseError.

        Then the fallback is recorded and what could be read (`ParseError.partial`) or None is returned.

        Args:
            purpose: what is asked, for the trail (`rank`, `verdict`).
            fallback: in words, what the component does without an answer.
            about: id of the candidate concerned.
        """

    def record_event(self, what: str, detail: str, about: str = "") -> None:
        """Record something a reader must know: `what` is one of `trail.NOTES` or a custom component's own word."""


class Component(ABC):
    """Built once per architecture and used for every question, so it may hold things that outlive one."""

    kind: ClassVar[ComponentType]

    def __init__(self, spec: ComponentSpec) -> None:
        self.spec = spec

    def check_requirements(self) -> None:
        """Raises what would stop it later (no sandbox), before anything is paid for; not called by `archon plan`."""
        return None

    def count_calls(self, candidates: CountRange) -> CountRange:
        """Model calls for that many incoming candidates, re-asks apart (for `archon plan`).

        Candidates on which `stop_after` may cancel the work are not among them.
        """
        return (0, 0)

    def count_survivors(self, candidates: CountRange) -> CountRange:
        """How many candidates leave."""
        return candidates


class CandidateGenerator(Component):
    """Makes candidates that replace the incoming ones; `produce` runs once per place, all at once."""

    @property
    def candidate_count(self) -> int:
        """How many candidates it makes."""
        return int(self.spec.get_option("samples")) if "samples" in self.kind.options else 1

    @abstractmethod
    async def produce(self, state: State, id: str, draw: int, desk: CallContext) -> Candidate | None:
        """One candidate with the given id; None when its call failed and was dropped."""

    def count_calls(self, candidates: CountRange) -> CountRange:
        return (self.candidate_count, self.candidate_count)

    def count_survivors(self, candidates: CountRange) -> CountRange:
        return (0 if self.spec.on_error == "drop" else self.candidate_count, self.candidate_count)


class CandidateScorer(Component):
    """Says something about each candidate on its own."""

    sorts: bool = False
    """Whether `arrange` must see all candidates together before any goes on."""

    @abstractmethod
    async def judge(self, state: State, candidate: Candidate, desk: CallContext) -> Candidate:
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
        found = self.spec.get_option("stop_after") if "stop_after" in self.kind.options else None
        return None if found is None else int(found)

    def count_survivors(self, candidates: CountRange) -> CountRange:
        least, most = candidates
        if self.stop_after is not None:
            # fewer passing than asked for: the passing ones; none passing: all go on
            return (min(1, least), most)
        return (min(1, least) if self.kind.filters else least, most)


class ListComponent(Component):
    """Works on the full list of candidates at once."""

    @abstractmethod
    async def run(self, state: State, desk: CallContext) -> State:
        """The next state."""


class ContextComponent(Component):
    """Prepares something from the conversation alone; candidates pass by untouched."""

    @abstractmethod
    async def prepare(self, conversation: Conversation, desk: CallContext) -> Mapping[str, Any]:
        """Entries for `State.values`."""


def make_user_prompt(text: str, history: Conversation = ()) -> Conversation:
    """A prompt: one user turn, after the given earlier turns."""
    return (*history, Message("user", text))


def format_candidates(candidates: Sequence[Candidate], critiques: bool = False) -> str:
    """Candidates as a prompt shows them, identified [1] to [N], with their critiques when asked for; none can pass for
    several, or for another's critique (`wording.free_tag`)."""
    texts = [part for candidate in candidates for part in (candidate.text, candidate.critique or "")]
    response, critique = unique_tag("response", texts), unique_tag("critique", texts)
    parts = []
    for number, candidate in enumerate(candidates, 1):
        parts.append(f'<{response} id="[{number}]">\n{candidate.text}\n</{response}>')
        if critiques and candidate.critique is not None:
            parts.append(f'<{critique} of="[{number}]">\n{candidate.critique}\n</{critique}>')
    return "\n\n".join(parts)
