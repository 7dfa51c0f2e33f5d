"""The four shapes a component can have, with what the engine, the plan and the reports ask of a component.

A component is a pure prompt builder, a pure parser and a small async run. Its shape tells the engine what may run at
once:

- `CandidateGenerator` makes candidates, each on its own (generator, fuser);
- `CandidateScorer` looks at one candidate at a time, so each starts when its candidate arrives (verifier, evaluator);
- `ListComponent` needs the full list (critic, ranker);
- `ContextComponent` needs only the conversation, so it starts at time zero (unit test generator).

A component of your own subclasses one of them and gives it a `kind`:

    class Shortest(ListComponent):
        kind = ComponentType("shortest", needs_model=False)
        async def run(self, state, ctx):
            return replace(state, candidates=tuple(sorted(state.candidates, key=lambda c: len(c.text))))

Everything else has a default that follows from the shape.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from archon_eval._deprecated import adopt_renamed_methods, deprecated_getattr
from archon_eval.architecture.component_types import ComponentType
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.components.call_context import CallContext
from archon_eval.components.token_estimates import (
    CountRange,
    PlanFlow,
    TokenAssumptions,
    Workload,
    cap_tokens,
    split_calls,
)
from archon_eval.models.call import Usage
from archon_eval.types import Candidate, Conversation, State

RENAMED_METHODS = {
    "calls": "count_calls",
    "check": "check_requirements",
    "places": "candidate_count",
    "survivors": "count_survivors",
}
"""Old names of methods that a component may override, for one release."""


class Component(ABC):
    """Built once per architecture and used for every question, so it may hold things that outlive one."""

    kind: ClassVar[ComponentType]
    beside: ClassVar[bool] = False
    """Whether it stands beside the candidates' way, so that they pass it by untouched."""

    def __init__(self, spec: ComponentSpec) -> None:
        self.spec = spec

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        adopt_renamed_methods(cls, RENAMED_METHODS)

    @classmethod
    def describe_type(cls, spec: ComponentSpec) -> ComponentType:
        """The `kind`, with what the spec's options change of it: `use_critiques` says whether it reads critiques."""
        if "use_critiques" not in cls.kind.options:
            return cls.kind
        return replace(cls.kind, reads_critiques=bool(spec.get_option("use_critiques")))

    @classmethod
    def check_options(cls, spec: ComponentSpec) -> Sequence[str]:
        """What is wrong with options that are each legal but not together, a sentence each."""
        return ()

    @property
    def type(self) -> ComponentType:
        """The `kind` as this component's options have it."""
        return self.describe_type(self.spec)

    def check_requirements(self) -> None:
        """Raises what would stop it later (no sandbox), before anything is paid for; not called by `archon plan`."""
        return None

    @property
    def candidate_count(self) -> int:
        """Candidates it makes; 1 for a component that makes none."""
        return 1

    @property
    def leaves(self) -> str:
        """What a diagram calls that which it leaves for later layers where it stands beside the candidates' way."""
        return ""

    @property
    def stop_after(self) -> int | None:
        """With the first so many candidates passed, work on the rest is cancelled; None for never."""
        return None

    def count_calls(self, candidates: CountRange) -> CountRange:
        """Model calls for that many incoming candidates, re-asks apart (for `archon plan`).

        Candidates on which `stop_after` may cancel the work are not among them.
        """
        return (1, 1) if self.type.needs_model else (0, 0)

    def count_parsed_calls(self, candidates: CountRange) -> int:
        """Calls, at most, whose reply is parsed and may be asked for again."""
        return self.count_calls(candidates)[1]

    def count_sequential_calls(self, candidates: CountRange) -> int:
        """Calls, at most, that wait for one another."""
        return self.count_calls(candidates)[1]

    def count_survivors(self, candidates: CountRange) -> CountRange:
        """How many candidates leave."""
        return candidates

    def count_needed(self, later: int | None) -> int | None:
        """How many incoming candidates are needed where later layers need so many; None for all of them."""
        return None

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        """Tokens of all its calls by model: each reply is as long as an answer."""
        return self._share_calls(work, self.estimate_prompt(work), work.assumed.answer)

    def estimate_prompt(self, work: Workload) -> int:
        """Tokens of one of its prompts: wording, query, and the candidates it works on."""
        critiques = work.critiques and self.type.reads_critiques
        shown = self._count_shown(work) * (work.answer + (work.assumed.critique if critiques else 0))
        return work.assumed.wording + work.assumed.query + shown

    def _count_shown(self, work: Workload) -> int:
        """Candidates that one of its prompts shows."""
        return work.candidates

    def _share_calls(self, work: Workload, prompt: int, reply: int) -> Mapping[str, Usage]:
        """Tokens by model where every call has a prompt and a reply of so many tokens."""
        calls = split_calls(work.calls, self.spec.models)
        return {model: Usage(count * prompt, count * cap_tokens(reply, self.spec)) for model, count in calls.items()}

    def advance_flow(self, flow: PlanFlow, assumed: TokenAssumptions) -> PlanFlow:
        """What a plan carries on behind this component."""
        ready = max(flow.candidates_at, flow.values_at)
        return replace(
            flow,
            candidates=self.count_survivors(flow.candidates),
            critiques=flow.critiques or self.type.writes_critiques,
            candidates_at=ready + self.count_sequential_calls(flow.candidates),
        )

    def describe_candidate(self, candidate: Candidate) -> str:
        """A candidate that has left it, in a few words for a transcript."""
        parts = [f"candidate {candidate.id} by {candidate.model}"]
        if candidate.critique is not None:
            parts.append("critiqued")
        if candidate.verified is not None:
            parts.append("verified" if candidate.verified else "not verified")
        if candidate.tests:
            parts.append(f"{sum(t is True for t in candidate.tests)} of {len(candidate.tests)} tests passed")
        parts += [f"{key}: {value}" for key, value in candidate.values.items() if isinstance(value, int | float)]
        return ", ".join(parts)

    def describe_values(self, values: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
        """Lists of the state that a transcript shows behind this layer, by their title."""
        return {}


adopt_renamed_methods(Component, RENAMED_METHODS)


class CandidateGenerator(Component):
    """Makes candidates that replace the incoming ones; `produce` runs once per place, all at once."""

    @property
    def candidate_count(self) -> int:
        """How many candidates it makes."""
        return int(self.spec.get_option("samples")) if "samples" in self.kind.options else 1

    @abstractmethod
    async def produce(self, state: State, id: str, draw: int, ctx: CallContext) -> Candidate | None:
        """One candidate with the given id; None when its call failed and was dropped."""

    def count_calls(self, candidates: CountRange) -> CountRange:
        return (self.candidate_count, self.candidate_count) if self.type.needs_model else (0, 0)

    def count_parsed_calls(self, candidates: CountRange) -> int:
        return 0

    def count_sequential_calls(self, candidates: CountRange) -> int:
        return self.count_calls(candidates)[1] // self.candidate_count

    def count_survivors(self, candidates: CountRange) -> CountRange:
        return (0 if self.spec.on_error == "drop" else self.candidate_count, self.candidate_count)

    def advance_flow(self, flow: PlanFlow, assumed: TokenAssumptions) -> PlanFlow:
        after = super().advance_flow(flow, assumed)
        return replace(after, critiques=self.type.writes_critiques, answer=cap_tokens(assumed.answer, self.spec))


class CandidateScorer(Component):
    """Says something about each candidate on its own."""

    sorts: bool = False
    """Whether `arrange` must see all candidates together before any goes on."""

    @abstractmethod
    async def judge(self, state: State, candidate: Candidate, ctx: CallContext) -> Candidate:
        """The candidate with its verdict. `state.candidates` is empty here; `state.values` is complete."""

    def passes(self, candidate: Candidate) -> bool:
        """Whether the judged candidate goes on; when none would, all do."""
        return True

    def arrange(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """Order and cut, when `sorts`."""
        return candidates

    @property
    def stop_after(self) -> int | None:
        """With the first so many candidates passed, work on the rest is cancelled: the option of this name."""
        return self.spec.get_option("stop_after") if "stop_after" in self.kind.options else None

    def count_calls(self, candidates: CountRange) -> CountRange:
        return candidates if self.type.needs_model else (0, 0)

    def count_sequential_calls(self, candidates: CountRange) -> int:
        return self.count_calls((1, 1))[1]

    def count_survivors(self, candidates: CountRange) -> CountRange:
        least, most = candidates
        if self.stop_after is not None:
            # fewer passing than asked for: the passing ones; none passing: all go on
            return (min(1, least), most)
        return (min(1, least) if self.type.filters else least, most)

    def count_needed(self, later: int | None) -> int | None:
        if self.sorts:
            return None
        return min((count for count in (later, self.stop_after) if count is not None), default=None)

    def _count_shown(self, work: Workload) -> int:
        return 1


class ListComponent(Component):
    """Works on the full list of candidates at once."""

    @abstractmethod
    async def run(self, state: State, ctx: CallContext) -> State:
        """The next state."""


class ContextComponent(Component):
    """Prepares something from the conversation alone; candidates pass by untouched."""

    beside = True

    @property
    def leaves(self) -> str:
        return "tests" if self.type.writes_tests else self.kind.name

    @abstractmethod
    async def prepare(self, conversation: Conversation, ctx: CallContext) -> Mapping[str, Any]:
        """Entries for `State.values`."""

    def count_tests(self) -> int | None:
        """Unit tests it leaves in the state, at most; None where it leaves none."""
        return None

    def count_needed(self, later: int | None) -> int | None:
        return later

    def advance_flow(self, flow: PlanFlow, assumed: TokenAssumptions) -> PlanFlow:
        tests = self.count_tests()
        return replace(
            flow,
            candidates=self.count_survivors(flow.candidates),
            tests=flow.tests if tests is None else tests,
            values_at=max(flow.values_at, self.count_sequential_calls(flow.candidates)),
        )

    def _count_shown(self, work: Workload) -> int:
        return 0


if not TYPE_CHECKING:
    __getattr__ = deprecated_getattr(
        __name__,
        {
            "Desk": "archon_eval.components.call_context:CallContext",
            "Judge": f"{__name__}:CandidateScorer",
            "Producer": f"{__name__}:CandidateGenerator",
            "Side": f"{__name__}:ContextComponent",
            "Span": "archon_eval.components.token_estimates:CountRange",
            "Whole": f"{__name__}:ListComponent",
            "numbered": "archon_eval.components.prompt_parts:format_candidates",
            "user": "archon_eval.components.prompt_parts:make_user_prompt",
        },
    )
