"""`accept: {agreement: 0.8}`: a stage's answer stands where so large a share of its samples gives one final answer.

Agreement of samples tells easy questions from hard ones at no further call (self-consistency; Chen et al., FrugalGPT).
"""

from collections import Counter
from collections.abc import Sequence

from archon_eval.architecture.component_types import ComponentType, threshold_option
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.components.acceptance import GOES_ON, AcceptRule
from archon_eval.components.base import CandidateGenerator
from archon_eval.components.call_context import CallContext
from archon_eval.components.component import Component
from archon_eval.components.vote import Vote
from archon_eval.types import State


class AcceptAgreement(AcceptRule):
    """The share of the largest group of equal answers, among all samples; one that gives no answer agrees with none."""

    kind = ComponentType(
        "accept_agreement",
        place="rule",
        needs_model=False,
        options={"threshold": threshold_option(0, 1)},
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
    )
    reads_drawn = True
    outcome_name = "agreement"
    fallback = f"no sample gives an answer that can be compared: {GOES_ON}"

    def __init__(self, spec: ComponentSpec) -> None:
        super().__init__(spec)
        self._vote = Vote(ComponentSpec("vote"))

    async def measure(self, state: State, ctx: CallContext) -> float | None:
        if len(state.candidates) < 2:  # the others were dropped, or not drawn
            ctx.record_event("fallback", f"one sample is there, which always agrees with itself: {GOES_ON}")
            return None
        ballots, problem = await self._vote.list_ballots(state.candidates)
        counts = Counter(ballot for ballot in ballots if ballot is not None)
        if problem:
            ctx.record_event("fallback", problem)
        if not counts:
            ctx.record_event("fallback", self.fallback)
            return None
        largest = max(counts.values())
        ctx.record_event("measured", f"{largest} of {len(ballots)} samples agree; {len(counts)} different answers")
        return largest / len(ballots)

    def check_stage(self, components: Sequence[Sequence[Component]]) -> str:
        makers = [layer for layer in components if isinstance(layer[0], CandidateGenerator)]
        if makers and sum(component.candidate_count for component in makers[-1]) < 2:
            return "agreement needs several samples, and one always agrees with itself: give `samples`"
        return ""
