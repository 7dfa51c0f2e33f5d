"""Pairwise: which of two candidates is better, for many pairs; those that win most go on.

    - pairwise: {model: $1, top_k: 1}                                # all pairs, each in both orders
    - pairwise: {model: $1, comparisons: ring, both_orders: false}   # n comparisons

As PairRanker of LLM-Blender does (Jiang et al., 2023), whose PairRM ranks in the first Archon configs. Whoever is shown
first tends to win. With `both_orders` a pair is asked about in both orders, and a choice that changes with the order is
half a win for each. Without it every other pair is shown in reverse.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from archon_eval.architecture.component_types import (
    ComponentType,
    bool_option,
    choice_option,
    define_prompt,
    int_option,
)
from archon_eval.architecture.prompts import render
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.components.base import ListComponent
from archon_eval.components.call_context import CallContext
from archon_eval.components.gather import gather_results
from archon_eval.components.parsing.preference import parse_preference
from archon_eval.components.prompt_parts import format_candidates, make_user_prompt
from archon_eval.components.scorer_source import SOURCE_OPTIONS, ScoredComponent, get_midpoint
from archon_eval.components.token_estimates import CountRange, Workload
from archon_eval.models.call import Usage
from archon_eval.models.scorer import parse_score
from archon_eval.types import Candidate, State

WINS_KEY = "wins"
"""Where a candidate's wins are among its values; a tie is half a win."""
COMPARE_PROMPT = """\
Decide which of two responses to the query below is better: more correct, complete and helpful. The order in which \
they stand says nothing about them.

<query>
{instruction}
</query>

{candidates}

Compare them step by step, then end your reply with a line that holds only your choice, one of these three:
Better: [1]
Better: [2]
Better: [tie]"""
INPUT_PROMPT = "<|source|>{instruction}<|candidate1|>{first}<|candidate2|>{second}"
"""One text for a classifier of pairs, as PairRM has it."""


@dataclass(frozen=True, slots=True)
class PairComparison:
    """One pair in one order, by the places of the candidates; what came of it."""

    first: int
    second: int
    outcome: float | None = None
    """1 where the first is better, 0 where the second is, a half for a tie; None for none."""


class Pairwise(ScoredComponent, ListComponent):
    """One call per comparison; the fallback counts a comparison that came to nothing as not made."""

    kind = ComponentType(
        "pairwise",
        options={
            "top_k": int_option(1, always_shown=True),
            "comparisons": choice_option("all", "ring", always_shown=True),
            "both_orders": bool_option(True),
            **SOURCE_OPTIONS,
        },
        prompts={
            "compare": define_prompt("instruction candidates"),
            "input": define_prompt("first second", "instruction"),
        },
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
        stand_in="fuser",
    )

    pairwise = True
    tool_obstacle = ""
    outcome_name = "comparison"
    fallback = "the comparison counts as not made"

    @property
    def top_k(self) -> int:
        """How many candidates go on."""
        return int(self.spec.get_option("top_k"))

    async def run(self, state: State, ctx: CallContext) -> State:
        count = len(state.candidates)
        pairs = list_comparisons(count, self.spec)
        if not pairs:
            return state
        made = await gather_results([partial(self.compare, state, pair, ctx) for pair in pairs])
        self._record_order(made, ctx)
        wins = sum_wins(made, count)
        ctx.record_judgment("wins", compute_shares(state.candidates, made))
        order = rank_by_wins(made, count)
        ranked = [
            replace(state.candidates[place], values={**state.candidates[place].values, WINS_KEY: wins[place]})
            for place in order
        ]
        return replace(state, candidates=tuple(ranked[: self.top_k]))

    async def compare(self, state: State, pair: PairComparison, ctx: CallContext) -> PairComparison:
        """The comparison with its outcome; without one, which is recorded, where it came to nothing."""
        first, second = state.candidates[pair.first], state.candidates[pair.second]
        about = f"{first.id} {second.id}"
        outcome: float | None
        if self.scorer is not None:
            texts = (state.instruction, first.text, second.text)
            value = await ctx.generate_parsed(
                "compare",
                self.build_score_prompt(texts, ("instruction", "first", "second"), INPUT_PROMPT),
                parse_score,
                fallback=self.fallback,
                about=about,
                scorer=self.scorer,
            )
            outcome = None if value is None else _compare_number(value, get_midpoint(self.spec))
        else:
            prompt = render(
                self.spec.get_prompt("compare", COMPARE_PROMPT),
                instruction=state.instruction,
                candidates=format_candidates((first, second)),
            )
            sign = await ctx.generate_parsed(
                "compare", make_user_prompt(prompt), parse_preference, fallback=self.fallback, about=about
            )
            outcome = None if sign is None else _compare_number(sign, 0)
        return replace(pair, outcome=outcome)

    def _record_order(self, made: Sequence[PairComparison], ctx: CallContext) -> None:
        """Say how often the choice changed with the order, where both orders were asked for."""
        by_pair: dict[frozenset[int], list[float]] = {}
        for each in made:
            if each.outcome is not None:
                by_pair.setdefault(frozenset((each.first, each.second)), []).append(each.outcome)
        both = [outcomes for outcomes in by_pair.values() if len(outcomes) == 2]
        if changed := sum(sum(outcomes) != 1 for outcomes in both):
            firsts = sum(sum(outcomes) > 1 for outcomes in both)
            ctx.record_event(
                "order_bias",
                f"{changed} of {len(both)} choices changed with the order of the two: {firsts} for whoever stood "
                f"first, {changed - firsts} for whoever stood second",
            )

    def count_calls(self, candidates: CountRange) -> CountRange:
        least, most = (count_comparisons(count, self.spec) for count in candidates)
        return least, most

    def count_sequential_calls(self, candidates: CountRange) -> int:
        return min(1, self.count_calls(candidates)[1])

    def count_survivors(self, candidates: CountRange) -> CountRange:
        return (min(candidates[0], self.top_k), min(candidates[1], self.top_k))

    def _count_shown(self, work: Workload) -> int:
        return 2

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        return self.estimate_scores(work, work.assumed.reasons)


def list_comparisons(count: int, spec: ComponentSpec) -> list[PairComparison]:
    """The comparisons of so many candidates: of each with each, or in a ring of each with the next."""
    if spec.get_option("comparisons") == "ring" and count > 2:
        pairs = [(place, (place + 1) % count) for place in range(count)]
    else:
        pairs = [(first, second) for first in range(count) for second in range(first + 1, count)]
    if spec.get_option("both_orders"):
        return [PairComparison(*order) for pair in pairs for order in (pair, pair[::-1])]
    return [PairComparison(*(pair[::-1] if number % 2 else pair)) for number, pair in enumerate(pairs)]


def count_comparisons(count: int, spec: ComponentSpec) -> int:
    """How many `list_comparisons` lists; of many candidates far too many to list for a plan."""
    is_ring = spec.get_option("comparisons") == "ring" and count > 2
    return (count if is_ring else count * (count - 1) // 2) * (2 if spec.get_option("both_orders") else 1)


def sum_wins(made: Sequence[PairComparison], count: int) -> list[float]:
    """Each candidate's wins, 0 to the number of its pairs; two orders of a pair count half each."""
    return [won for won, _ in _sum_games(made, count)]


def compute_shares(candidates: Sequence[Candidate], made: Sequence[PairComparison]) -> dict[str, float]:
    """Id of a candidate -> the share of its comparisons that it won; without those that were in none."""
    games = _sum_games(made, len(candidates))
    return {each.id: won / played for each, (won, played) in zip(candidates, games, strict=True) if played}


def rank_by_wins(made: Sequence[PairComparison], count: int) -> list[int]:
    """Places, best first: by the share of comparisons won; equal ones by that among themselves, then in their order.

    So a cycle (A beats B, B beats C, C beats A) stays in the order given. Who was in no comparison is last.
    """
    shares = [won / games if games else -1.0 for won, games in _sum_games(made, count)]
    tied: dict[float, list[int]] = {}
    for place, share in enumerate(shares):
        tied.setdefault(share, []).append(place)
    order: list[int] = []
    for share in sorted(tied, reverse=True):
        among = [each for each in made if {each.first, each.second} <= set(tied[share])]
        own = [won / games if games else 0.0 for won, games in _sum_games(among, count)]
        order += sorted(tied[share], key=lambda place: -own[place])
    return order


def _sum_games(made: Sequence[PairComparison], count: int) -> list[tuple[float, int]]:
    """(won, compared) of each candidate, in pairs."""
    known: dict[tuple[int, int], list[float]] = {}
    for each in made:
        if each.outcome is not None:
            low, high = min(each.first, each.second), max(each.first, each.second)
            known.setdefault((low, high), []).append(each.outcome if each.first == low else 1 - each.outcome)
    won, games = [0.0] * count, [0] * count
    for (low, high), outcomes in known.items():
        mean = sum(outcomes) / len(outcomes)
        won[low] += mean
        won[high] += 1 - mean
        games[low] += 1
        games[high] += 1
    return list(zip(won, games, strict=True))


def _compare_number(value: float, midpoint: float) -> float:
    return 0.5 if value == midpoint else float(value > midpoint)
