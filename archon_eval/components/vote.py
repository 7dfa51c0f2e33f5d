r"""Majority vote: the candidates that give the most common answer go on, without any model call.

    - generator: {model: $1, samples: 20}
    - vote: {top_k: 1}                # self-consistency: the answer that most samples end with

`by: answer` compares final answers (Wang et al., 2023) with the equality of the mathematics scorer, so that `18`,
`\$18` and `18 dollars` are one answer. `by: outputs` runs programs on the inputs of model-written tests and compares
their outputs, as AlphaCode clusters programs (Li et al., 2022). The Archon papers have no vote.

Proposals of tool calls are equal if they call the same functions with equal arguments in the same order. One whose
arguments could not be read does not vote: nothing tells it from another.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace

import anyio

from archon_eval.architecture.component_types import ComponentType, choice_option, int_option, optional_word
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.components.base import ListComponent
from archon_eval.components.call_context import CallContext
from archon_eval.components.confidence import get_confidence, recalibrate_confidence
from archon_eval.components.executed_tests import CandidateProgramRunner
from archon_eval.components.parsing.answer_groups import group_answers
from archon_eval.components.parsing.final_answer import find_final_answer
from archon_eval.components.token_estimates import CountRange
from archon_eval.types import Candidate, Message, State


class Vote(ListComponent):
    """Keeps the candidates of the largest group, in their order; of groups of one size the group that came first.

    With `weight: confidence` a candidate counts as much as the confidence that was stated with it (ReConcile).
    """

    kind = ComponentType(
        "vote",
        needs_model=False,
        options={
            "by": choice_option("answer", "outputs"),
            "top_k": int_option(None, always_shown=True),
            "weight": optional_word("confidence"),
        },
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
        version=4,  # 3: equality of the mathematics scorer; hedges and fragments do not vote. 4: conditions and angles
    )
    outcome_name = "vote"
    fallback = "no candidate gives an answer that can be compared: all go on"

    @classmethod
    def describe_type(cls, spec: ComponentSpec) -> ComponentType:
        if spec.get_option("by") != "outputs":
            return replace(cls.kind, groups_candidates=spec.get_option("weight") is None)
        return replace(cls.kind, reads_tests="input_output", runs_programs="`by: outputs`")

    @property
    def tool_obstacle(self) -> str:  # type: ignore[override]
        return "with `by: outputs` it runs programs, and tool calls are none" if self._programs else ""

    def __init__(self, spec: ComponentSpec) -> None:
        super().__init__(spec)
        self._programs = CandidateProgramRunner() if spec.get_option("by") == "outputs" else None

    def check_requirements(self) -> None:
        if self._programs:
            self._programs.check_requirements()

    async def run(self, state: State, ctx: CallContext) -> State:
        ballots: Sequence[Hashable]
        if self._programs:
            ballots = await self._collect_outputs(state, self._programs, ctx)
        else:
            ballots, problem = await self.list_ballots(state.candidates)
            if problem:
                ctx.record_event("fallback", problem)
        groups: dict[Hashable, list[Candidate]] = {}
        for ballot, candidate in zip(ballots, state.candidates, strict=True):
            if ballot is not None:
                groups.setdefault(ballot, []).append(candidate)
        if not groups:
            ctx.record_event("fallback", self.fallback)
            return replace(state, candidates=state.candidates[: self.spec.get_option("top_k")])
        winners = max(groups.values(), key=self._weigh)
        detail = f"{len(winners)} of {len(state.candidates)} agree; {len(groups)} different answers"
        if self.spec.get_option("weight"):
            stated = sum(get_confidence(candidate) is not None for candidate in state.candidates)
            total = sum(map(self._weigh, groups.values()))
            if not stated:
                ctx.record_event("fallback", "no candidate states a confidence: each counts the same")
            detail += f"; weight {self._weigh(winners):.3g} of {total:.3g}, {stated} stated a confidence"
        ctx.record_event("vote", detail)
        return replace(state, candidates=tuple(winners[: self.spec.get_option("top_k")]))

    async def list_ballots(self, candidates: Sequence[Candidate]) -> tuple[Sequence[Hashable], str]:
        answers, problem = await group_answers(
            [
                find_final_answer(candidate.text, is_cut=candidate.cut) if candidate.turn is None else None
                for candidate in candidates
            ]
        )
        ballots = [
            answer if candidate.turn is None else _find_proposed_calls(candidate.turn)
            for candidate, answer in zip(candidates, answers, strict=True)
        ]
        return ballots, problem

    def _weigh(self, candidates: Sequence[Candidate]) -> float:
        """What a group of candidates counts, without a float's last places: three of 0.1 are one of 0.3."""
        if not self.spec.get_option("weight"):
            return len(candidates)
        return round(sum(recalibrate_confidence(get_confidence(candidate)) for candidate in candidates), 6)

    async def _collect_outputs(
        self, state: State, programs: CandidateProgramRunner, ctx: CallContext
    ) -> list[Hashable]:
        """The outputs of each candidate on all inputs; None where it fails on every input or there is no input."""
        ballots: list[Hashable] = [None] * len(state.candidates)

        async def run_candidate(place: int, candidate: Candidate) -> None:
            printed = await programs.run(candidate, state, ctx, compare=False)
            if any(output is not None for output in printed):
                ballots[place] = tuple(None if output is None else tuple(output.lower().split()) for output in printed)

        if state.tests:
            async with anyio.create_task_group() as group:
                for place, candidate in enumerate(state.candidates):
                    group.start_soon(run_candidate, place, candidate)
        return ballots

    def count_survivors(self, candidates: CountRange) -> CountRange:
        top_k = self.spec.get_option("top_k")
        return min(1, candidates[0]), candidates[1] if top_k is None else min(candidates[1], top_k)


def _find_proposed_calls(turn: Message) -> Hashable:
    """What tells one proposal of tool calls from another; None where the arguments of a call could not be read."""
    return None if any(call.problem for call in turn.tool_calls) else tuple(call.key for call in turn.tool_calls)
