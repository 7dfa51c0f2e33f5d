"""Reward: a number for each candidate, by a model of the pool or a reward model; the highest go on.

    - reward: {model: $1, top_k: 1}
    - reward: {endpoint: "http://localhost:8000/rerank", served_model: BAAI/bge-reranker-v2-m3, top_k: 1}

Best of n by a reward model (e.g. Cobbe et al., 2021); the Archon papers have none. The number is in
`candidate.values["reward"]`, for whoever comes later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from archon_eval.architecture.component_types import ComponentType, define_prompt, int_option
from archon_eval.architecture.prompts import render
from archon_eval.components.base import CandidateScorer
from archon_eval.components.call_context import CallContext
from archon_eval.components.gather import gather_results
from archon_eval.components.parsing.score import parse_rating
from archon_eval.components.prompt_parts import make_user_prompt
from archon_eval.components.scorer_source import SOURCE_OPTIONS, ScoredComponent
from archon_eval.components.token_estimates import CountRange, Workload
from archon_eval.models.call import Usage
from archon_eval.models.scorer import parse_score
from archon_eval.types import Candidate, State

SCORE_KEY = "reward"
"""Where a candidate's score is among its values; not there where it has none."""
SCORE_PROMPT = """Score this response to a query from 0 to 100: 0 for a response that is wrong or useless, 100 for one \
that is correct, complete and as helpful as it can be. Use the whole scale, so that a better response gets a higher \
score.

<query>
{instruction}
</query>

<response>
{candidate}
</response>

Check the response step by step, then end your reply with a line that holds only your score, a number from 0 to 100:
Score: N"""
INPUT_PROMPT = "{instruction}\n\n{candidate}"


class AnswerScores(ScoredComponent):
    """What scores each candidate by itself; the prompts `score` and `input` are its own."""

    async def score_candidate(self, state: State, candidate: Candidate, ctx: CallContext) -> float | None:
        """The candidate's score, higher for better; None, which is recorded, where there is none."""
        if self.scorer is not None:
            texts = (state.instruction, candidate.text)
            return await ctx.generate_parsed(
                "score",
                self.build_score_prompt(texts, ("instruction", "candidate"), INPUT_PROMPT),
                parse_score,
                fallback=self.fallback,
                about=candidate.id,
                scorer=self.scorer,
            )
        prompt = render(
            self.spec.get_prompt("score", SCORE_PROMPT), instruction=state.instruction, candidate=candidate.text
        )
        return await ctx.generate_parsed(
            "score", make_user_prompt(prompt), parse_rating, fallback=self.fallback, about=candidate.id
        )

    async def score_candidates(
        self, state: State, candidates: Sequence[Candidate], ctx: CallContext
    ) -> list[float | None]:
        """A score per candidate, all asked for at once: for whoever decides by scores (a cascade)."""
        return await gather_results([partial(self.score_candidate, state, each, ctx) for each in candidates])


class Reward(AnswerScores, CandidateScorer):
    """One score per candidate; the fallback puts a candidate without one behind all that have one."""

    kind = ComponentType(
        "reward",
        options={"top_k": int_option(1, always_shown=True), **SOURCE_OPTIONS},
        prompts={
            "score": define_prompt("instruction candidate"),
            "input": define_prompt("candidate", "instruction"),
        },
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
    )

    sorts = True
    tool_obstacle = ""
    outcome_name = "score"
    fallback = "the candidate has no score and goes behind all that have one"

    @property
    def top_k(self) -> int:
        """How many candidates go on."""
        return int(self.spec.get_option("top_k"))

    async def judge(self, state: State, candidate: Candidate, ctx: CallContext) -> Candidate:
        values = {key: value for key, value in candidate.values.items() if key != SCORE_KEY}
        score = await self.score_candidate(state, candidate, ctx)
        if score is not None:
            ctx.record_judgment("reward", {candidate.id: score})
        return replace(candidate, values=values if score is None else {**values, SCORE_KEY: score})

    def arrange(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """The highest first; equal scores in their order, candidates without a score last."""
        return tuple(sorted(candidates, key=_rank_key)[: self.top_k])

    def count_survivors(self, candidates: CountRange) -> CountRange:
        return (min(candidates[0], self.top_k), min(candidates[1], self.top_k))

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        return self.estimate_scores(work, work.assumed.reasons)


def _rank_key(candidate: Candidate) -> tuple[bool, float]:
    score = candidate.values.get(SCORE_KEY)
    return (True, 0.0) if score is None else (False, -score)
