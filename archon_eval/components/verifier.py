"""Verifier: reasons why a candidate may be right, then a verdict on it; only the correct go on (v6 section 3.1)."""

from collections.abc import Mapping
from dataclasses import replace

from archon_eval.architecture.component_types import ComponentType, define_prompt, int_option
from archon_eval.architecture.prompts import render
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.components.base import CandidateScorer
from archon_eval.components.call_context import CallContext
from archon_eval.components.parsing.verdict import parse_verdict
from archon_eval.components.prompt_parts import make_user_prompt
from archon_eval.components.token_estimates import CountRange, Workload, cap_tokens
from archon_eval.models.call import Usage
from archon_eval.types import Candidate, State

REASONS_PROMPT = """Consider this response to a query. Explain, step by step, the reasons why it may be right: what it \
claims, and what supports each claim.

<query>
{instruction}
</query>

<response>
{candidate}
</response>

Your reasons:"""

VERDICT_PROMPT = """\
Decide whether this response to a query is correct. Somebody has written down reasons in its favour; \
check them: they may be mistaken.

<query>
{instruction}
</query>

<response>
{candidate}
</response>

<reasons>
{reasons}
</reasons>

Think it through, then end your reply with a line that holds only your verdict: [Correct] or [Incorrect]"""


class Verifier(CandidateScorer):
    """Two calls per candidate; the fallback keeps a candidate whose verdict cannot be read."""

    kind = ComponentType(
        "verifier",
        filters=True,
        options={"stop_after": int_option(None)},
        prompts={
            "reason": define_prompt("instruction candidate"),
            "verdict": define_prompt("instruction candidate reasons"),
        },
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
    )

    tool_obstacle = ""
    outcome_name = "verdict"
    fallback = "the candidate is kept, unverified"

    async def judge(self, state: State, candidate: Candidate, ctx: CallContext) -> Candidate:
        correct, reasons = await verify_candidate(self.spec, state, candidate, ctx, fallback=self.fallback)
        if correct is not None:
            ctx.record_judgment("verdict", {candidate.id: float(correct)})
        return replace(candidate, verified=correct, reasons=reasons or None)

    def passes(self, candidate: Candidate) -> bool:
        return candidate.verified is not False

    def count_calls(self, candidates: CountRange) -> CountRange:
        return (2 * candidates[0], 2 * candidates[1])

    def count_parsed_calls(self, candidates: CountRange) -> int:
        return candidates[1]

    def estimate_longest_prompt(self, work: Workload) -> int:
        return self.estimate_prompt(work) + cap_tokens(work.assumed.reasons, self.spec)

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        reasons = cap_tokens(work.assumed.reasons, self.spec)
        prompts = 2 * self.estimate_prompt(work) + reasons
        judged = work.calls // 2
        return {self.spec.model: Usage(judged * prompts, judged * 2 * reasons)}


async def verify_candidate(
    spec: ComponentSpec, state: State, candidate: Candidate, ctx: CallContext, *, fallback: str
) -> tuple[bool | None, str]:
    """The verdict on a candidate, None where none could be read; and the reasons in its favour.

    Args:
        spec: of a component with the verifier's prompts.
        fallback: what the component does without a verdict, in words.
    """
    reason = render(spec.get_prompt("reason", REASONS_PROMPT), instruction=state.instruction, candidate=candidate.text)
    reply = await ctx.generate("reasons", make_user_prompt(reason), about=candidate.id)
    reasons = reply.text if reply else ""
    verdict = render(
        spec.get_prompt("verdict", VERDICT_PROMPT),
        instruction=state.instruction,
        candidate=candidate.text,
        reasons=reasons,
    )
    correct = await ctx.generate_parsed(
        "verdict", make_user_prompt(verdict), parse_verdict, fallback=fallback, about=candidate.id
    )
    return correct, reasons
