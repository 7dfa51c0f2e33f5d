"""`accept: {verifier: $1}`: a stage's answer stands where a model verifies it (AutoMix, Aggarwal et al.)."""

from collections.abc import Mapping

from archon_eval.architecture.component_types import ComponentType, define_prompt
from archon_eval.components.acceptance import GOES_ON, AnswerRule
from archon_eval.components.call_context import CallContext
from archon_eval.components.token_estimates import CountRange, Workload, cap_tokens
from archon_eval.components.verifier import verify_candidate
from archon_eval.models.call import Usage
from archon_eval.types import State


class AcceptVerifier(AnswerRule):
    """The verifier's two calls about the answer: 1 for a verdict that it is correct, else 0."""

    kind = ComponentType(
        "accept_verifier",
        place="rule",
        prompts={
            "reason": define_prompt("instruction candidate"),
            "verdict": define_prompt("instruction candidate reasons"),
        },
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
    )
    needs_threshold = False
    outcome_name = "verdict"
    fallback = f"the answer is not verified: {GOES_ON}"

    async def measure(self, state: State, ctx: CallContext) -> float | None:
        correct, _ = await verify_candidate(self.spec, state, state.candidates[0], ctx, fallback=self.fallback)
        return None if correct is None else float(correct)

    def decide(self, score: float) -> bool:
        return score == 1.0

    def count_calls(self, candidates: CountRange) -> CountRange:
        return (2, 2)

    def count_parsed_calls(self, candidates: CountRange) -> int:
        return 1

    def estimate_longest_prompt(self, work: Workload) -> int:
        return self.estimate_prompt(work) + cap_tokens(work.assumed.reasons, self.spec)

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        reasons = cap_tokens(work.assumed.reasons, self.spec)
        return {self.spec.model: Usage(2 * self.estimate_prompt(work) + reasons, 2 * reasons)}
