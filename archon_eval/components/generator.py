"""Generator: the conversation goes to a model as it is; each sample is a candidate (v6 section 3.1).

Tools that a harness offers go with it, and a candidate may be a proposal of tool calls. With `solver` or `agent` one of
Inspect's solvers makes each candidate instead, with as many calls as it needs (`solver_run`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from archon_eval.architecture.component_types import ComponentType
from archon_eval.architecture.samples import samples_option
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.components.base import CandidateGenerator
from archon_eval.components.call_context import CallContext, SolverCallContext
from archon_eval.components.solver_option import SOLVER_OPTIONS, SolverSource, find_option_problems
from archon_eval.components.token_estimates import CountRange, Workload
from archon_eval.models.call import Usage
from archon_eval.types import Candidate, State


class Generator(CandidateGenerator):
    """One candidate per sample, one call each; or one run of a solver each."""

    kind = ComponentType(
        "generator",
        place="first",
        alone=False,
        replaces=True,
        options={"samples": samples_option(), **SOLVER_OPTIONS},
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
    )

    sends_turns = True
    outcome_name = "reply"

    def __init__(self, spec: ComponentSpec) -> None:
        super().__init__(spec)
        self._solver = SolverSource.from_spec(spec)

    @classmethod
    def describe_type(cls, spec: ComponentSpec) -> ComponentType:
        return cls.kind if SolverSource.from_spec(spec) is None else replace(cls.kind, needs_model=bool(spec.model))

    @classmethod
    def check_options(cls, spec: ComponentSpec) -> Sequence[str]:
        return find_option_problems(spec)

    @property
    def tool_obstacle(self) -> str:  # type: ignore[override]
        return f"{self._solver.title} answers with a text, after tool calls of its own" if self._solver else ""

    @property
    def sandboxes(self) -> int:
        return self.candidate_count if self._solver and self._solver.sandbox != "none" else 0

    def check_surroundings(self) -> None:
        if self._solver and self._solver.sandbox == "required":
            from archon_eval.components.solver_sandboxes import require_sandbox  # it imports Inspect

            require_sandbox(self._solver.title)

    def check_requirements(self) -> None:
        if self._solver:
            self._solver.build()

    async def produce(self, state: State, id: str, draw: int, ctx: CallContext) -> Candidate | None:
        if self._solver:
            from archon_eval.components.solver_run import SolverRun  # it imports Inspect's solvers

            return await SolverRun(self._solver, state, id, draw=draw, ctx=cast(SolverCallContext, ctx)).run()
        reply = await ctx.generate("generate", state.conversation, draw=draw, about=id, tools=state.tools)
        return self.make_candidate(id, reply)

    def list_models(self) -> tuple[tuple[str, int], ...]:
        if self._solver is None:
            return super().list_models()
        models = ", ".join(self.spec.models)
        return ((f"{self._solver.short_name} ({models})" if models else self._solver.short_name, self.candidate_count),)

    def count_calls(self, candidates: CountRange) -> CountRange:
        least, most = self._solver.calls if self._solver else (1, 1)
        return self.candidate_range[0] * least, self.candidate_range[1] * most

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        if self._solver:
            return self._solver.estimate_tokens(work, self.candidate_count)
        return self._share_calls(work, work.assumed.query, work.assumed.answer)

    def describe_plan(self) -> Sequence[str]:
        if self._solver is None:
            return ()
        least, most = self._solver.calls
        calls = f"{least} call at least and {most} at most (`call_limit`)" if most else "no call of a model"
        return (f"{self._solver.title} makes each candidate with {calls}",)
