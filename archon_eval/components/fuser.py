"""Fuser: one new answer made from all candidates, weighed rather than copied (v6 section 3.1; MoA's aggregator)."""

from archon_eval.architecture.component_types import ComponentType, bool_option, define_prompt, int_option
from archon_eval.architecture.prompts import render
from archon_eval.components.base import CandidateGenerator
from archon_eval.components.call_context import CallContext
from archon_eval.components.prompt_parts import format_candidates, make_user_prompt
from archon_eval.types import Candidate, Conversation, State, render_conversation

FUSE_PROMPT = """\
Several independent responses to one query were collected. Write one new response to the query that is better \
than any of them.

Judge each response on its merits: any of them may be wrong, biased or incomplete, and a majority can err together. \
Keep what is right, correct what is wrong, add what is missing, and do not simply copy one. Where critiques are given, \
use them. Follow every instruction and format the query asks for. Reply with the new response only; do not mention \
the responses you were given.

{candidates}

<query>
{instruction}
</query>"""
"""The query comes last: after candidates and an instruction small models answer these in place of the query."""

LENGTH_PROMPT = """

Keep your response about as long as the responses above: do not make it longer without need."""


class Fuser(CandidateGenerator):
    """One call per fused candidate; the fused candidates replace the incoming ones."""

    kind = ComponentType(
        "fuser",
        alone=False,
        replaces=True,
        options={"samples": int_option(1), "use_critiques": bool_option(True), "length_control": bool_option(False)},
        prompts={"fuse": define_prompt("instruction candidates", "count")},
        writes_tests="",
        reads_tests="",
        stand_in="ranker",
    )

    tool_obstacle = "it writes a text of its own, and tool calls cannot be fused"
    outcome_name = "text"

    def build_prompt(self, state: State) -> Conversation:
        """The earlier turns as they were, then one user turn with the query and the candidates."""
        text = render(
            self.spec.get_prompt("fuse", FUSE_PROMPT),
            instruction=render_conversation(state.conversation[len(state.history) :]),
            candidates=format_candidates(state.candidates, bool(self.spec.get_option("use_critiques"))),
            count=len(state.candidates),
        )
        return make_user_prompt(text + (LENGTH_PROMPT if self.spec.get_option("length_control") else ""), state.history)

    async def produce(self, state: State, id: str, draw: int, ctx: CallContext) -> Candidate | None:
        reply = await ctx.generate("fuse", self.build_prompt(state), draw=draw, about=id)
        made = self.make_candidate(id, reply)
        return made and self.drop_echo(made, self.spec.get_prompt("fuse", FUSE_PROMPT), "fuse", ctx)
