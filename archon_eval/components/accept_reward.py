"""`accept: {reward: {endpoint: ..., threshold: 0.7}}`: a stage's answer stands where a reward model scores it so high.

The source is that of `reward`: a model of the pool (0 to 100), an endpoint, a pipeline or a function.
"""

from collections.abc import Mapping

from archon_eval.architecture.component_types import ComponentType, define_prompt, threshold_option
from archon_eval.components.acceptance import GOES_ON, AnswerRule
from archon_eval.components.call_context import CallContext
from archon_eval.components.reward import AnswerScores
from archon_eval.components.scorer_source import SOURCE_OPTIONS
from archon_eval.components.token_estimates import Workload
from archon_eval.models.call import Usage
from archon_eval.types import State


class AcceptReward(AnswerScores, AnswerRule):
    """One call: the score of the answer."""

    kind = ComponentType(
        "accept_reward",
        place="rule",
        options={"threshold": threshold_option(-1e12, 1e12), **SOURCE_OPTIONS},
        prompts={
            "score": define_prompt("instruction candidate"),
            "input": define_prompt("candidate", "instruction"),
        },
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
    )
    bounds = (-1e12, 1e12)
    outcome_name = "score"
    fallback = f"the answer has no score: {GOES_ON}"

    async def measure(self, state: State, ctx: CallContext) -> float | None:
        return await self.score_candidate(state, state.candidates[0], ctx)

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        return self.estimate_scores(work, work.assumed.reasons)
