"""Critic: strengths and weaknesses of every candidate, kept with the candidate they are about (v6 section 3.1)."""

from collections.abc import Mapping
from dataclasses import replace

from archon_eval.architecture.component_types import ComponentType, define_prompt
from archon_eval.architecture.prompts import render
from archon_eval.components.base import ListComponent
from archon_eval.components.call_context import CallContext
from archon_eval.components.parsing.critiques import format_critique_form, parse_critiques
from archon_eval.components.parsing.missing_parts import JoiningParser
from archon_eval.components.prompt_parts import format_candidates, make_user_prompt
from archon_eval.components.token_estimates import Workload
from archon_eval.models.call import Usage
from archon_eval.types import Conversation, State

CRITIQUE_PROMPT = """Here are {count} responses to a query. For each one, list its strengths and its weaknesses: is it \
correct, complete, clear, and does it do what the query asks? Be specific, and point out every error you find.

<query>
{instruction}
</query>

{candidates}

Write {count} sections, one for each response, each starting with its identifier on a line of its own:

{form}"""


class Critic(ListComponent):
    """One call; the fallback leaves a candidate that has no section without a critique."""

    kind = ComponentType(
        "critic",
        prompts={"critique": define_prompt("instruction candidates", "count form")},
        writes_critiques=True,
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
    )

    keeps_order = True
    tool_obstacle = ""
    outcome_name = "critique"
    fallback = "candidates without a section go on without a critique"

    def build_prompt(self, state: State) -> Conversation:
        """One user turn with the query and the numbered candidates."""
        return make_user_prompt(
            render(
                self.spec.get_prompt("critique", CRITIQUE_PROMPT),
                instruction=state.instruction,
                candidates=format_candidates(state.candidates),
                count=len(state.candidates),
                form=format_critique_form(range(1, len(state.candidates) + 1)),
            )
        )

    async def run(self, state: State, ctx: CallContext) -> State:
        count = len(state.candidates)
        critiques = await ctx.generate_parsed(
            "critique",
            self.build_prompt(state),
            JoiningParser(lambda reply: parse_critiques(reply, count)),
            fallback=self.fallback,
            outcomes=count,
        )
        candidates = (replace(c, critique=(critiques or {}).get(n)) for n, c in enumerate(state.candidates))
        return replace(state, candidates=tuple(candidates))

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        return self._share_calls(work, self.estimate_prompt(work), work.candidates * work.assumed.critique)
