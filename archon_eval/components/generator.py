"""Generator: the conversation goes to a model as it is; each sample is a candidate (v6 section 3.1).

Tools that a harness offers go with it, and a candidate may be a proposal of tool calls.
"""

from collections.abc import Mapping

from archon_eval.architecture.component_types import ComponentType
from archon_eval.architecture.samples import samples_option
from archon_eval.components.base import CandidateGenerator
from archon_eval.components.call_context import CallContext
from archon_eval.components.token_estimates import Workload
from archon_eval.models.call import Usage
from archon_eval.types import Candidate, State


class Generator(CandidateGenerator):
    """One candidate per sample, one call each."""

    kind = ComponentType(
        "generator",
        place="first",
        alone=False,
        replaces=True,
        options={"samples": samples_option()},
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
    )

    sends_turns = True
    tool_obstacle = ""
    outcome_name = "reply"

    async def produce(self, state: State, id: str, draw: int, ctx: CallContext) -> Candidate | None:
        reply = await ctx.generate("generate", state.conversation, draw=draw, about=id, tools=state.tools)
        return self.make_candidate(id, reply)

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        return self._share_calls(work, work.assumed.query, work.assumed.answer)
