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

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from archon_eval._deprecated import deprecated_getattr
from archon_eval.architecture.samples import AdaptiveSamples, Samples, read_samples
from archon_eval.components.call_context import CallContext
from archon_eval.components.component import Component
from archon_eval.components.token_estimates import CountRange, PlanFlow, TokenAssumptions, Workload, cap_tokens
from archon_eval.errors import ArchitectureError
from archon_eval.models.call import Reply
from archon_eval.types import Candidate, Conversation, Message, State, render_turn


class CandidateGenerator(Component):
    """Makes candidates that replace the incoming ones; `produce` runs once per place, all at once."""

    work_method = "produce"
    replaces_candidates = True
    candidates_read = "all"

    @property
    def samples(self) -> Samples:
        """How many candidates it makes: a number, or until when it makes more."""
        value = self.spec.get_option("samples") if "samples" in self.kind.options else 1
        return read_samples(value) if isinstance(value, Mapping) else int(value)

    @property
    def candidate_count(self) -> int:
        """How many candidates it makes, at most."""
        return samples.most if isinstance(samples := self.samples, AdaptiveSamples) else samples

    @property
    def candidate_range(self) -> CountRange:
        """How many candidates it makes at least, where no call is dropped, and at most."""
        samples, most = self.samples, self.candidate_count  # a class of a user's own may have another count
        return (samples.least if isinstance(samples, AdaptiveSamples) else most, most)

    @abstractmethod
    async def produce(self, state: State, id: str, draw: int, ctx: CallContext) -> Candidate | None:
        """One candidate with the given id; None when its call failed and was dropped."""

    def make_candidate(self, id: str, reply: Reply | None) -> Candidate | None:
        """The candidate that a reply is: its text, or a proposal of tool calls with the text as a rendering."""
        if reply is None:
            return None
        turn = Message("assistant", reply.text, reply.tool_calls, reply.extra) if reply.tool_calls else None
        text = render_turn(reply.text, reply.tool_calls)
        return Candidate(id, text, self.spec.model, cut=reply.cut, turn=turn)

    def count_calls(self, candidates: CountRange) -> CountRange:
        return self._multiply_models(self.candidate_range)

    def count_parsed_calls(self, candidates: CountRange) -> int:
        return 0

    def count_sequential_calls(self, candidates: CountRange) -> int:
        chain = -(-self.count_calls(candidates)[1] // max(1, self.candidate_count))
        return chain * (samples.most_rounds if isinstance(samples := self.samples, AdaptiveSamples) else 1)

    def count_survivors(self, candidates: CountRange) -> CountRange:
        least, most = self.candidate_range
        return (0 if self.spec.on_error == "drop" else least, most)

    def advance_flow(self, flow: PlanFlow, assumed: TokenAssumptions) -> PlanFlow:
        after, samples = super().advance_flow(flow, assumed), self.samples
        waits = isinstance(samples, AdaptiveSamples) and samples.stop == "passes"
        rounds = samples.most_rounds if isinstance(samples, AdaptiveSamples) and waits else 1
        return replace(after, answer=cap_tokens(assumed.answer, self.spec), rounds=rounds)


class CandidateScorer(Component):
    """Says something about each candidate on its own."""

    work_method = "judge"
    candidates_read = "one"
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
        return self._multiply_models(candidates)

    def count_sequential_calls(self, candidates: CountRange) -> int:
        return self.count_calls((1, 1))[1]

    def advance_flow(self, flow: PlanFlow, assumed: TokenAssumptions) -> PlanFlow:
        after = super().advance_flow(flow, assumed)
        again = (flow.rounds - 1) * self.count_sequential_calls(flow.candidates)  # rounds wait for their verdicts
        return replace(after, candidates_at=after.candidates_at + again, rounds=1)

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

    work_method = "run"
    candidates_read: ClassVar[Literal["none", "one", "all"]] = "all"

    @abstractmethod
    async def run(self, state: State, ctx: CallContext) -> State:
        """The next state."""

    async def list_ballots(self, candidates: Sequence[Candidate]) -> tuple[Sequence[Hashable], str]:
        """What each candidate votes for, None for nothing; and what could not be compared, in words.

        Of a component whose type `groups_candidates`; it must say the same as `run` goes by.
        """
        raise ArchitectureError(f"{self.spec.kind} says that it groups candidates, and has no `list_ballots`")


class ContextComponent(Component):
    """Prepares something from the conversation alone; candidates pass by untouched."""

    work_method = "prepare"
    beside = True

    @property
    def leaves(self) -> str:
        return "tests" if self.type.writes_tests else self.kind.name

    @abstractmethod
    async def prepare(self, conversation: Conversation, ctx: CallContext) -> Mapping[str, Any]:
        """Entries for `State.values`."""

    def count_needed(self, later: int | None) -> int | None:
        return later

    def advance_flow(self, flow: PlanFlow, assumed: TokenAssumptions) -> PlanFlow:
        tests = self.count_tests()
        return replace(
            flow,
            candidates=self.count_survivors(flow.candidates),
            tests=flow.tests if tests is None else tests,
            longest_tests=flow.longest_tests if tests is None else self._limit_reply(),
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
