"""Guided generator: a model first writes something about the question, then it is answered with that.

- guided_generator: {model: $1, guide: principles}     # step-back abstraction (Zheng et al., 2024)
- guided_generator: {model: $1, guide: role}           # the expert to answer it is chosen first (ADAS)
- guided_generator: {model: $1, guide: plan}           # plan-and-solve (Wang et al., 2023)
"""

from collections.abc import Mapping

from archon_eval.architecture.component_types import (
    ComponentType,
    choice_option,
    define_prompt,
    int_option,
    model_option,
)
from archon_eval.architecture.prompts import render
from archon_eval.components.base import CandidateGenerator
from archon_eval.components.call_context import CallContext
from archon_eval.components.prompt_parts import make_user_prompt
from archon_eval.components.token_estimates import CountRange, Workload, cap_tokens
from archon_eval.models.call import Usage
from archon_eval.types import Candidate, State, render_conversation

PRINCIPLES_PROMPT = """\
Step back from the query below and do not answer it. Which general principles, concepts, facts or formulas does an \
answer to it rest on? List them, each with a sentence that explains it.

<query>
{instruction}
</query>"""

ROLE_PROMPT = """\
Do not answer the query below. Which expert would be the best to answer it? Describe this one expert in two sentences \
that begin with "You are": the profession, and what the expert pays attention to in such a task.

<query>
{instruction}
</query>"""

PLAN_PROMPT = """\
Do not answer the query below. Write a short numbered plan of the steps that lead to an answer, and say for each what \
it needs and what it gives.

<query>
{instruction}
</query>"""

ANSWER_PROMPT = """\
Before you answer the query at the end, take this into account; it was written for this query:

<guidance>
{guidance}
</guidance>

Work step by step, and follow every instruction and format the query asks for.

<query>
{instruction}
</query>"""

_GUIDES: Mapping[str, str] = {"principles": PRINCIPLES_PROMPT, "role": ROLE_PROMPT, "plan": PLAN_PROMPT}


class GuidedGenerator(CandidateGenerator):
    """Two calls per sample, each with guidance of its own; an answer whose guidance failed is made without."""

    kind = ComponentType(
        "guided_generator",
        place="first",
        alone=False,
        replaces=True,
        options={
            "samples": int_option(1),
            "guide": choice_option("principles", "role", "plan", always_shown=True),
            "guide_model": model_option(),
        },
        prompts={"guide": define_prompt("instruction"), "answer": define_prompt("instruction guidance")},
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
    )

    tool_obstacle = "it answers with guidance of its own, and an agent's next step is no answer"
    outcome_name = "text"

    async def produce(self, state: State, id: str, draw: int, ctx: CallContext) -> Candidate | None:
        query = render_conversation(state.conversation[len(state.history) :])
        ask = self.spec.get_prompt("guide", _GUIDES[self.spec.get_option("guide")])
        prompt = make_user_prompt(render(ask, instruction=state.instruction))
        guidance = await ctx.generate("guide", prompt, model=self.spec.get_option("guide_model"), draw=draw, about=id)
        if guidance is None or not guidance.text.strip():
            ctx.record_event("unguided", "there is no guidance: the query is answered as it is", id)
            messages = state.conversation
        else:
            wording = self.spec.get_prompt("answer", ANSWER_PROMPT)
            messages = make_user_prompt(render(wording, instruction=query, guidance=guidance.text), state.history)
        return self.make_candidate(id, await ctx.generate("generate", messages, draw=draw, about=id))

    def count_calls(self, candidates: CountRange) -> CountRange:
        return 2 * self.candidate_count, 2 * self.candidate_count

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        guidance, count = cap_tokens(work.assumed.reasons, self.spec), self.candidate_count
        asked = work.assumed.wording + work.assumed.query
        answer = cap_tokens(work.assumed.answer, self.spec)
        guide = self.spec.get_option("guide_model") or self.spec.model
        usage = {self.spec.model: Usage(count * (asked + guidance), count * answer)}
        usage[guide] = usage.get(guide, Usage()) + Usage(count * asked, count * guidance)
        return usage
