"""What the engine, the plan and the reports ask of a component of any shape (`base.py`), with a default for each.

planned = component.count_calls((8, 8)), component.estimate_tokens(Workload(candidates=8, calls=8, answer=400))
"""

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from archon_eval._deprecated import adopt_renamed_methods
from archon_eval.architecture.component_types import ComponentType, describe_class
from archon_eval.architecture.spec import ComponentSpec, find_reply_limit
from archon_eval.components.token_estimates import (
    NO_LIMIT,
    CountRange,
    PlanFlow,
    TokenAssumptions,
    Workload,
    cap_tokens,
    split_calls,
)
from archon_eval.models.call import Usage
from archon_eval.models.scorer import Scorer
from archon_eval.types import Candidate

DEFAULT_TESTS = 10
"""Unit tests that a plan takes it a component writes that does not say how many."""

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
    work_method: ClassVar[str] = ""
    """The method in which it does its work, by its shape (`run`); empty for a class of no shape."""
    replaces_candidates: ClassVar[bool] = False
    """Whether, by its shape, its output replaces the candidates."""
    candidates_read: ClassVar[Literal["none", "one", "all"]] = "none"
    """How many of the candidates, by its shape, one of its prompts shows."""
    keeps_order: ClassVar[bool] = False
    """Whether the candidates leave in the order in which they came."""
    beside: ClassVar[bool] = False
    """Whether it stands beside the candidates' way, so that they pass it by untouched."""
    sends_turns: ClassVar[bool] = False
    """Whether it sends the turns of the conversation as they came, with images and tool calls, and the tools on offer.
    All others are given the conversation as text (`flatten_conversation`)."""
    tool_obstacle: ClassVar[str] = (
        'it does not say what it does with tool calls (if it only chooses among candidates: `tool_obstacle = ""`)'
    )
    """Why an architecture with it cannot be asked with tools, in words; empty where it can: it proposes tool calls, or
    it only chooses among candidates, of which it reads the text."""
    outcome_name: ClassVar[str] = "outcome"
    """What it makes, one at a time, in a word for reports: `verdict`."""
    fallback: ClassVar[str] = ""
    """What it does without one, in words: for the trace and for reports."""

    scorer: Scorer | None = None
    """What gives it scores in a model's place."""

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
        return describe_class(type(self), self.spec, self.spec.kind)

    def check_requirements(self) -> None:
        """Raises what would stop it later (no sandbox), before anything is paid for; not called by `archon plan`."""
        return None

    @property
    def candidate_count(self) -> int:
        """Candidates it makes; 1 for a component that makes none."""
        return 1

    @property
    def candidate_range(self) -> CountRange:
        """Candidates it makes, at least and at most; 1 for a component that makes none."""
        return self.candidate_count, self.candidate_count

    @property
    def leaves(self) -> str:
        """What a diagram calls that which it leaves for later layers where it stands beside the candidates' way."""
        return ""

    @property
    def stop_after(self) -> int | None:
        """With the first so many candidates passed, work on the rest is cancelled; None for never."""
        return None

    def list_models(self) -> tuple[tuple[str, int], ...]:
        """Each model it may call, with the candidates it makes; one without a name for a component that calls none."""
        own = ("",) if self.scorer is None else (self.scorer.name,)
        return tuple((model, self.candidate_count) for model in self.spec.models or own)

    def count_calls(self, candidates: CountRange) -> CountRange:
        """Model calls for that many incoming candidates, re-asks apart (for `archon plan`): one of each of its models.

        Candidates on which `stop_after` may cancel the work are not among them.
        """
        return self._multiply_models((1, 1))

    def _multiply_models(self, times: CountRange) -> CountRange:
        """Calls where each of its models is asked so many times."""
        models = len(self.spec.models) or int(self.type.needs_model or self.scorer is not None)
        return models * times[0], models * times[1]

    def count_parsed_calls(self, candidates: CountRange) -> int:
        """Calls, at most, whose reply is parsed and may be asked for again."""
        return self.count_calls(candidates)[1]

    def count_sequential_calls(self, candidates: CountRange) -> int:
        """Calls, at most, that wait for one another."""
        return self.count_calls(candidates)[1]

    def count_survivors(self, candidates: CountRange) -> CountRange:
        """How many candidates leave."""
        return candidates

    def count_tests(self) -> int | None:
        """Unit tests it leaves in the state, at most; None where it leaves none."""
        return DEFAULT_TESTS if self.type.writes_tests else None

    def count_needed(self, later: int | None) -> int | None:
        """How many incoming candidates are needed where later layers need so many; None for all of them."""
        return None

    def make_workload(self, flow: PlanFlow, assumed: TokenAssumptions, *, place: int) -> Workload:
        """What it has to do for the least (place 0) or the most (1) candidates of the flow."""
        return Workload(
            candidates=flow.candidates[place],
            calls=self.count_calls(flow.candidates)[place],
            answer=flow.answer,
            critiques=flow.critiques,
            tests=flow.tests,
            assumed=assumed,
        )

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        """Tokens of all its calls by model: each reply is as long as an answer."""
        return self._share_calls(work, self.estimate_prompt(work), work.assumed.answer)

    def estimate_prompt(self, work: Workload) -> int:
        """Tokens of one of its prompts: wording, query, and the candidates it works on."""
        critiques = work.critiques and self.type.reads_critiques
        shown = self._count_shown(work) * (work.answer + (work.assumed.critique if critiques else 0))
        return work.assumed.wording + work.assumed.query + shown

    def estimate_longest_prompt(self, work: Workload) -> int:
        """Tokens of the longest of its prompts, which must fit the model's context window."""
        return self.estimate_prompt(work)

    def _count_shown(self, work: Workload) -> int:
        """Candidates that one of its prompts shows."""
        return work.candidates

    def _share_calls(self, work: Workload, prompt: int, reply: int) -> Mapping[str, Usage]:
        """Tokens by model where every call has a prompt and a reply of so many tokens."""
        calls = split_calls(work.calls, self.spec.models)
        return {model: Usage(count * prompt, count * cap_tokens(reply, self.spec)) for model, count in calls.items()}

    def advance_flow(self, flow: PlanFlow, assumed: TokenAssumptions) -> PlanFlow:
        """What a plan carries on behind this component."""
        ready, tests = max(flow.candidates_at, flow.values_at), self.count_tests()
        described, longest = self.type, self._limit_reply()
        critiques = 0 if described.replaces else flow.longest_critiques
        return replace(
            flow,
            candidates=self.count_survivors(flow.candidates),
            critiques=described.writes_critiques or (flow.critiques and not described.replaces),
            tests=flow.tests if tests is None else tests,
            longest_answer=longest if described.replaces else flow.longest_answer,
            longest_critiques=longest * self.count_calls(flow.candidates)[1]
            if described.writes_critiques
            else critiques,
            longest_tests=flow.longest_tests if tests is None else longest,
            candidates_at=ready + self.count_sequential_calls(flow.candidates),
        )

    def _limit_reply(self) -> int:
        """Tokens of one of its replies at most."""
        limit = find_reply_limit(self.spec)
        return NO_LIMIT if limit is None else limit

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
