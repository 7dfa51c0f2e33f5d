"""Model ranker: names the best answer by the identifier of the model that wrote it (MoA's LLM-Ranker, section 3.2).

- generator: $1..6
- model_ranker: $1
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from archon_eval.architecture.component_types import ComponentType, define_prompt
from archon_eval.architecture.prompts import render, unique_tag
from archon_eval.components.base import ListComponent
from archon_eval.components.call_context import CallContext
from archon_eval.components.parsing.model_names import parse_model_name
from archon_eval.components.prompt_parts import make_user_prompt
from archon_eval.components.token_estimates import CountRange, Workload
from archon_eval.models.call import Usage
from archon_eval.types import Candidate, State

PICK_PROMPT = """\
Several language models responded to the query below. Each response is given with its model's identifier.

<query>
{instruction}
</query>

{candidates}

Which model's response is the best one for a person who asks this: the most correct, complete and helpful? Reply with \
the identifier of that model and nothing else. The identifiers are:

{names}"""


class ModelRanker(ListComponent):
    """One call; the fallback lets the first candidate go on."""

    kind = ComponentType(
        "model_ranker",
        prompts={"pick": define_prompt("instruction candidates names", "count")},
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
        stand_in="fuser",
    )

    tool_obstacle = ""
    outcome_name = "choice"
    fallback = "the first candidate goes on"

    async def run(self, state: State, ctx: CallContext) -> State:
        if len(state.candidates) < 2:
            return state
        names = name_candidates(state.candidates)
        prompt = render(
            self.spec.get_prompt("pick", PICK_PROMPT),
            instruction=state.instruction,
            candidates=_format_named(state.candidates, names),
            names="\n".join(names),
            count=len(names),
        )
        chosen = await ctx.generate_parsed(
            "pick", make_user_prompt(prompt), lambda reply: parse_model_name(reply, names), fallback=self.fallback
        )
        return replace(state, candidates=(state.candidates[chosen or 0],))

    def count_calls(self, candidates: CountRange) -> CountRange:
        return int(candidates[0] > 1), int(candidates[1] > 1)

    def count_survivors(self, candidates: CountRange) -> CountRange:
        return min(candidates[0], 1), min(candidates[1], 1)

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        return self._share_calls(work, self.estimate_prompt(work), 2 * work.assumed.rank)


def name_candidates(candidates: Sequence[Candidate]) -> list[str]:
    """An identifier for each: its model's name, with a number where the model has several.

    >>> name_candidates([Candidate("1.1", "4", "a/x"), Candidate("1.2", "5", "a/x"), Candidate("1.3", "4", "b/y")])
    ['a/x#1', 'a/x#2', 'b/y']
    """
    models = [" ".join(candidate.model.split()) or "model" for candidate in candidates]
    counts, seen = Counter(models), Counter[str]()
    names = []
    for model in models:
        seen[model] += 1
        names.append(f"{model}#{seen[model]}" if counts[model] > 1 else model)
    return names


def _format_named(candidates: Sequence[Candidate], names: Sequence[str]) -> str:
    """Candidates with their identifiers, between tags that none of them has."""
    tag = unique_tag("response", [candidate.text for candidate in candidates])
    shown = [name.replace('"', "'") for name in names]
    pairs = zip(candidates, shown, strict=True)
    return "\n\n".join(f'<{tag} model="{name}">\n{candidate.text}\n</{tag}>' for candidate, name in pairs)
