"""Ranker: orders the candidates by quality and keeps the best K (v6 section 3.1; the search uses K = 5)."""

from collections.abc import Mapping
from dataclasses import replace

from archon_eval.architecture.component_types import ComponentType, bool_option, define_prompt, int_option
from archon_eval.architecture.prompts import render
from archon_eval.components.base import ListComponent
from archon_eval.components.call_context import CallContext
from archon_eval.components.parsing.ranking import parse_ranking
from archon_eval.components.prompt_parts import format_candidates, make_user_prompt
from archon_eval.components.token_estimates import CountRange, Workload
from archon_eval.models.call import Usage
from archon_eval.types import Conversation, State

RANK_PROMPT = """\
Rank {count} responses to the query below, from best to worst, by how correct, complete and helpful each is \
for it.

<query>
{instruction}
</query>

{candidates}

Rank all {count} responses. Reply only with their identifiers in descending order of quality, each exactly once, in \
this form: {example}"""


class Ranker(ListComponent):
    """One call; the fallback keeps the given order behind whatever was ranked."""

    kind = ComponentType(
        "ranker",
        options={"top_k": int_option(5, always_shown=True), "use_critiques": bool_option(True)},
        prompts={"rank": define_prompt("instruction candidates", "count example")},
        writes_tests="",
        reads_tests="",
        stand_in="fuser",
    )

    tool_obstacle = ""
    outcome_name = "ranking"
    fallback = "unranked candidates stay in their order, after the ranked ones"

    @property
    def top_k(self) -> int:
        """How many candidates go on."""
        return int(self.spec.get_option("top_k"))

    def build_prompt(self, state: State) -> Conversation:
        """One user turn with the query, the numbered candidates and their critiques if wanted."""
        count = len(state.candidates)
        return make_user_prompt(
            render(
                self.spec.get_prompt("rank", RANK_PROMPT),
                instruction=state.instruction,
                candidates=format_candidates(state.candidates, bool(self.spec.get_option("use_critiques"))),
                count=count,
                example=" > ".join(f"[{n}]" for n in sorted(range(1, count + 1), key=lambda n: (n * 7 + 3) % 11)),
            )
        )

    async def run(self, state: State, ctx: CallContext) -> State:
        count = len(state.candidates)
        if count < 2:
            return state
        ranked = await ctx.generate_parsed(
            "rank",
            self.build_prompt(state),
            lambda reply: parse_ranking(reply, count, self.top_k),
            fallback=self.fallback,
        )
        first = tuple(ranked or ())
        places = {state.candidates[place].id: -float(n) for n, place in enumerate(first, 1)}
        ctx.record_judgment("ranking", places)
        order = [*first, *sorted(set(range(count)).difference(first))]
        return replace(state, candidates=tuple(state.candidates[place] for place in order[: self.top_k]))

    def count_calls(self, candidates: CountRange) -> CountRange:
        return (int(candidates[0] > 1), int(candidates[1] > 1))

    def count_survivors(self, candidates: CountRange) -> CountRange:
        return (min(candidates[0], self.top_k), min(candidates[1], self.top_k))

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        return self._share_calls(work, self.estimate_prompt(work), work.candidates * work.assumed.rank)
