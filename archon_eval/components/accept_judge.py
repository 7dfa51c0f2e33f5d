"""`accept: {judge: {model: $1, threshold: 80}}`: a stage's answer stands where a model scores it at least 80 of 100."""

from collections.abc import Mapping

from archon_eval.architecture.component_types import ComponentType, define_prompt, threshold_option
from archon_eval.architecture.prompts import render
from archon_eval.components.acceptance import GOES_ON, AnswerRule
from archon_eval.components.call_context import CallContext
from archon_eval.components.parsing.score import MOST, parse_rating
from archon_eval.components.prompt_parts import make_user_prompt
from archon_eval.components.token_estimates import Workload, cap_tokens
from archon_eval.models.call import Usage
from archon_eval.types import State

RATE_PROMPT = """Score how likely this response is to be a right and complete answer to the query. Work through the \
query yourself where you can, and look for mistakes in the response.

<query>
{instruction}
</query>

<response>
{candidate}
</response>

0 is for a response that is surely wrong, 50 where you cannot tell, 100 for one that is surely right. Give your \
reasons in a few sentences, then end your reply with a line that holds only your score, a number from 0 to 100:
Score: N"""


class AcceptJudge(AnswerRule):
    """One call: how likely a model holds the answer to be right."""

    kind = ComponentType(
        "accept_judge",
        place="rule",
        options={"threshold": threshold_option(0, MOST)},
        prompts={"rate": define_prompt("instruction candidate")},
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
    )
    bounds = (0.0, float(MOST))
    outcome_name = "score"
    fallback = f"the answer has no score: {GOES_ON}"

    async def measure(self, state: State, ctx: CallContext) -> float | None:
        answer = state.candidates[0]
        prompt = render(self.spec.get_prompt("rate", RATE_PROMPT), instruction=state.instruction, candidate=answer.text)
        return await ctx.generate_parsed(
            "score", make_user_prompt(prompt), parse_rating, fallback=self.fallback, about=answer.id
        )

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        reply = cap_tokens(work.assumed.reasons, self.spec)
        return {self.spec.model: Usage(self.estimate_prompt(work), reply)}
