"""Refine: feedback on each candidate, then a rewritten one, until there is nothing to change (Madaan et al., 2023).

- generator: $1
- refine: {model: $1, rounds: 3}                       # by the model that answered
- refine: {model: $1, reviewer: $2, rounds: 1}         # review by another, and one revision (AFlow's operators)
"""

from collections.abc import Mapping
from dataclasses import replace

from archon_eval.architecture.component_types import ComponentType, define_prompt, int_option, model_option
from archon_eval.architecture.prompts import render
from archon_eval.components.base import CandidateScorer
from archon_eval.components.call_context import CallContext
from archon_eval.components.parsing.feedback import parse_feedback
from archon_eval.components.parsing.missing_parts import JoiningParser
from archon_eval.components.prompt_parts import make_user_prompt
from archon_eval.components.token_estimates import CountRange, PlanFlow, TokenAssumptions, Workload, cap_tokens
from archon_eval.models.call import Usage
from archon_eval.types import Candidate, State, render_conversation

FEEDBACK_PROMPT = """\
Review this response to a query. Check every step and every claim, and whether it does all that the query asks for. \
Name each fault with the place where it is and what would mend it; do not write a response of your own.

<query>
{instruction}
</query>

<response>
{candidate}
</response>

End your reply with a line that holds only your decision: [Keep] if you find nothing that has to be changed, [Revise] \
if you do."""

REWRITE_PROMPT = """\
Rewrite a response to the query below. Somebody has reviewed it: mend what the feedback is right about, and keep what \
is good. Follow every instruction and format the query asks for. Reply with the rewritten response only; do not \
mention the feedback.

<response>
{candidate}
</response>

<feedback>
{feedback}
</feedback>

<query>
{instruction}
</query>"""


class Refine(CandidateScorer):
    """Two calls per candidate and round; a round whose feedback finds nothing is one call, and the last."""

    kind = ComponentType(
        "refine",
        replaces=True,
        options={"rounds": int_option(3, always_shown=True), "reviewer": model_option()},
        prompts={
            "feedback": define_prompt("instruction candidate"),
            "rewrite": define_prompt("instruction candidate feedback"),
        },
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
    )

    keeps_order = True
    tool_obstacle = "it rewrites texts, and tool calls are none"
    outcome_name = "feedback"
    fallback = "the candidate stays as it is"

    @property
    def rounds(self) -> int:
        """Rounds at most."""
        return int(self.spec.get_option("rounds"))

    async def judge(self, state: State, candidate: Candidate, ctx: CallContext) -> Candidate:
        for number in range(self.rounds):  # also the draw, so that feedback on an unchanged text is another opinion
            feedback = await self._review(state, candidate, number, ctx)
            if feedback is None:
                break
            candidate = await self._rewrite(state, candidate, feedback, number=number, ctx=ctx)
        return candidate

    async def _review(self, state: State, candidate: Candidate, number: int, ctx: CallContext) -> str | None:
        prompt = render(
            self.spec.get_prompt("feedback", FEEDBACK_PROMPT), instruction=state.instruction, candidate=candidate.text
        )
        return await ctx.generate_parsed(
            "feedback",
            make_user_prompt(prompt),
            JoiningParser(parse_feedback),
            fallback=self.fallback,
            model=self.spec.get_option("reviewer"),
            draw=number,
            about=candidate.id,
        )

    async def _rewrite(
        self, state: State, candidate: Candidate, feedback: str, *, number: int, ctx: CallContext
    ) -> Candidate:
        """The rewritten candidate, about which nothing has been said yet; as it was where there is no new text."""
        prompt = render(
            self.spec.get_prompt("rewrite", REWRITE_PROMPT),
            instruction=render_conversation(state.conversation[len(state.history) :]),
            candidate=candidate.text,
            feedback=feedback,
        )
        reply = await ctx.generate("rewrite", make_user_prompt(prompt, state.history), draw=number, about=candidate.id)
        if reply is None or not reply.text.strip():
            return candidate
        return Candidate(candidate.id, reply.text, self.spec.model, cut=reply.cut)

    def count_calls(self, candidates: CountRange) -> CountRange:
        return candidates[0], 2 * self.rounds * candidates[1]

    def count_parsed_calls(self, candidates: CountRange) -> int:
        return self.rounds * candidates[1]

    def estimate_longest_prompt(self, work: Workload) -> int:
        return self.estimate_prompt(work) + cap_tokens(work.assumed.reasons, self.spec)

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        feedback, prompt = cap_tokens(work.assumed.reasons, self.spec), self.estimate_prompt(work)
        rewrites = work.calls // 2 if work.calls > work.candidates else 0
        reviews = work.calls - rewrites
        rewritten = Usage(rewrites * (prompt + feedback), rewrites * cap_tokens(work.assumed.answer, self.spec))
        usage = {self.spec.model: rewritten}
        reviewer = self.spec.get_option("reviewer") or self.spec.model
        usage[reviewer] = usage.get(reviewer, Usage()) + Usage(reviews * prompt, reviews * feedback)
        return usage

    def advance_flow(self, flow: PlanFlow, assumed: TokenAssumptions) -> PlanFlow:
        after = super().advance_flow(flow, assumed)  # a candidate may leave as it came
        return replace(
            after,
            answer=max(flow.answer, cap_tokens(assumed.answer, self.spec)),
            longest_answer=max(flow.longest_answer, after.longest_answer),
        )
