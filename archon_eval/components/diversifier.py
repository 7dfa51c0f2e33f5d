"""Diversifier: one more candidate, found in another way than those that are there (quality-diversity in ADAS, Hu 2025).

- generator: $1
- diversifier: $1        # sees one answer, adds another
- diversifier: $1        # sees both
- fuser: $1
"""

from archon_eval.architecture.component_types import ComponentType, define_prompt, int_option
from archon_eval.architecture.prompts import render
from archon_eval.components.base import CandidateGenerator
from archon_eval.components.call_context import CallContext
from archon_eval.components.prompt_parts import format_candidates, make_user_prompt
from archon_eval.types import Candidate, State, render_conversation

DIVERSIFY_PROMPT = """\
Here is how the query at the end has been answered so far:

{candidates}

Answer the query in another way: start from another idea, or take another method than the responses above, and work \
it out on your own. The result may be theirs or not. Follow every instruction and format the query asks for. Reply \
with your response only; do not mention the responses above.

<query>
{instruction}
</query>"""


class Diversifier(CandidateGenerator):
    """One call per sample; what it makes joins the candidates that it was shown."""

    kind = ComponentType(
        "diversifier",
        adds=True,
        options={"samples": int_option(1)},
        prompts={"diversify": define_prompt("instruction candidates", "count")},
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
    )

    tool_obstacle = "it answers in words, next to proposals of tool calls"
    outcome_name = "text"

    async def produce(self, state: State, id: str, draw: int, ctx: CallContext) -> Candidate | None:
        wording = self.spec.get_prompt("diversify", DIVERSIFY_PROMPT)
        prompt = render(
            wording,
            instruction=render_conversation(state.conversation[len(state.history) :]),
            candidates=format_candidates(state.candidates),
            count=len(state.candidates),
        )
        reply = await ctx.generate("diversify", make_user_prompt(prompt, state.history), draw=draw, about=id)
        made = self.make_candidate(id, reply)
        return made and self.drop_echo(made, wording, "diversify", ctx)
