"""MT-Bench: two turns, judged against a baseline's answers (the Archon papers) or graded from 1 to 10.

Pairwise, each turn is played twice with the sides swapped; games that disagree are a tie:

    >>> [score_game_pair("A", "B"), score_game_pair("A", "A"), score_game_pair("B", "C")]
    [1.0, 0.5, 0.5]

Questions with a reference answer (mathematics, reasoning, coding) use the prompts that show it.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, GenerateConfig
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import TaskState

from archon_eval.errors import DataError, ParseError, quote
from archon_eval.scorers._answer import extract_answer
from archon_eval.scorers._judge import (
    JudgeReply,
    Judgment,
    build_score_metadata,
    gather,
    parse_bracketed,
)
from archon_eval.scorers._judge_prompts import JudgePrompt, read_prompts
from archon_eval.scorers._options import JudgeOptions, spread_options
from archon_eval.stats.estimates import estimate_mean

JUDGE_CONFIG = GenerateConfig(temperature=0, max_tokens=2048)
PAIR_RETRY_PROMPT = "Finish with your verdict: exactly one of [[A]], [[B]], [[C]] (a tie)"
RATING_RETRY_PROMPT = "Finish with your rating, a number from 1 to 10 in double brackets: Rating: [[5]]"
PAIR_PROMPTS = ("pair-v2", "pair-math-v1", "pair-v2-multi-turn", "pair-math-v1-multi-turn")
SINGLE_PROMPTS = ("single-v1", "single-math-v1", "single-v1-multi-turn", "single-math-v1-multi-turn")
"""First turn, first turn with reference, second turn, second turn with reference."""
_NUMBER = r"\d+(?:\.\d+)?"
_SINGLE_BRACKETS = re.compile(rf"(\brating\b(?:\s+(?:is|of))?\W{{0,8}})\[\s*({_NUMBER})\s*\]", re.IGNORECASE)


def parse_pair_verdict(reply: JudgeReply) -> str:
    """The verdict A, B or C (tie) of one game. ParseError if there is none, or several different ones."""
    return parse_bracketed(reply, "[ABC]", "[[A]]")


def parse_rating(reply: JudgeReply) -> float:
    """The rating in `[[n]]`, or in `Rating: [n]`. ParseError if there is none, several different ones, or not 1 to 10.

    Any other number in brackets (`nums[1]`, `source [3]`) is none.
    """
    text = _SINGLE_BRACKETS.sub(r"\1[[\2]]", reply.text) if "[[" not in reply.text else reply.text
    rating = float(parse_bracketed(replace(reply, text=text), _NUMBER, "[[5]]"))
    if not 1 <= rating <= 10:
        raise ParseError(f"rating {rating:g} is not within 1 to 10: {quote(reply.text[-200:])}")
    return rating


def score_game_pair(first: str, second: str) -> float:
    """1 (win), 0.5 (tie) or 0 (loss) of the model, which is A in the first game and B in the second."""
    return {("A", "B"): 1.0, ("B", "A"): 0.0}.get((first, second), 0.5)


def compute_pair_metrics(outcomes: Sequence[float], questions: Sequence[Hashable]) -> dict[str, float]:
    """Shares of won and lost turns, and the adjusted win rate (win + tie/2) / n with its error clustered by question.

    Raises:
        DataError: no outcome, or lengths that differ.
    """
    rate = estimate_mean(outcomes, questions)
    wins, losses, n = sum(o == 1 for o in outcomes), sum(o == 0 for o in outcomes), len(outcomes)
    figures = {"win_rate_adjusted": rate.value, "win_rate": wins / n, "loss_rate": losses / n, "n_turns": n}
    return figures | ({"stderr": rate.stderr} if rate.stderr is not None else {})


def compute_single_metrics(ratings: Sequence[tuple[int, float]], questions: Sequence[Hashable]) -> dict[str, float]:
    """Mean rating per turn and over all ratings, with its error clustered by question.

    Args:
        ratings: turn (1 or 2) and rating.
        questions: the question of each rating.

    Raises:
        DataError: no rating, or lengths that differ.
    """
    overall = estimate_mean([rating for _, rating in ratings], questions)
    figures = {"average": overall.value}
    for turn in sorted({turn for turn, _ in ratings}):
        figures[f"turn_{turn}"] = estimate_mean([rating for t, rating in ratings if t == turn]).value
    return figures | ({"stderr": overall.stderr} if overall.stderr is not None else {})


def extract_turn_answers(state: TaskState) -> list[str]:
    """The answers to both turns: the model's last message before the second question, and its last after it.

    Raises:
        DataError: the second question was never asked, because a solver answered only one turn.
    """
    turns = _require_two_texts(state, "turns")
    asked = [i for i, m in enumerate(state.messages) if isinstance(m, ChatMessageUser) and turns[1] in m.text]
    spoken = {i: m for i, m in enumerate(state.messages) if isinstance(m, ChatMessageAssistant)}
    before, after = [i for i in spoken if asked and i < asked[-1]], [i for i in spoken if asked and i > asked[-1]]
    if not before or not after:
        raise DataError(
            f"sample {state.sample_id}: there are not two answered turns; a solver given by --solver must ask both: "
            "--solver archon_eval/each_turn -S solver=NAME (or --model archon/ARCHITECTURE and no --solver)"
        )
    return [extract_answer(spoken[before[-1]]), extract_answer(spoken[after[-1]])]


@metric(scores="unreduced")
def mt_bench_pair_metrics() -> Metric:
    """`compute_pair_metrics` of all turns of all samples and epochs."""

    def compute(scores: list[SampleScore]) -> dict[str, float]:
        turns = [(o, s.sample_id) for s in scores for o in (s.score.metadata or {})["outcomes"]]
        return compute_pair_metrics([o for o, _ in turns], [q for _, q in turns]) if turns else {}

    return compute


@metric(scores="unreduced")
def mt_bench_single_metrics() -> Metric:
    """`compute_single_metrics` of all turns of all samples and epochs."""

    def compute(scores: list[SampleScore]) -> dict[str, float]:
        turns = [((t, r), s.sample_id) for s in scores for t, r in enumerate((s.score.metadata or {})["ratings"], 1)]
        return compute_single_metrics([r for r, _ in turns], [q for _, q in turns]) if turns else {}

    return compute


@scorer(metrics=[mt_bench_pair_metrics()])
@spread_options
def mt_bench_pair(judging: JudgeOptions) -> Scorer:
    """Both turns against the baseline's, two games each; the value is the mean outcome, 0 to 1.

    Sample metadata: `turns` (the two questions), `baseline_turns` (the baseline's two answers), `reference` (two
    reference answers, or None).
    Score metadata: outcomes, verdicts, epoch, prompts, judgments.

    Args:
        judging: who judges, see `JudgeOptions`; `judge_prompts` is a file in the format of FastChat's
            `judge_prompts.jsonl`.
    """
    judge = judging.build_judge("mt_bench_pair", JUDGE_CONFIG)
    prompts = read_prompts(judging.judge_prompts, "mt_bench.jsonl", PAIR_PROMPTS)

    async def score(state: TaskState, target: Target) -> Score:
        ours, theirs = extract_turn_answers(state), _require_two_texts(state, "baseline_turns")
        used = _choose_prompts(prompts, PAIR_PROMPTS, state)

        async def play(turn: int, game: int) -> Judgment[str]:
            a, b = (ours, theirs) if game == 1 else (theirs, ours)
            answers = {"answer_a_1": a[0], "answer_a_2": a[1], "answer_b_1": b[0], "answer_b_2": b[1]}
            answers |= {"answer_a": a[turn - 1], "answer_b": b[turn - 1]}
            messages = used[turn - 1].render(**answers, **_build_prompt_fields(state, turn))
            name = f"turn {turn}, game {game}"
            return await judge.ask(state, name, messages, parse=parse_pair_verdict, remind=PAIR_RETRY_PROMPT)

        judged = await gather(*[play(turn, game) for turn in (1, 2) for game in (1, 2)])
        verdicts = [j.verdict for j in judged]
        outcomes = [score_game_pair(*verdicts[:2]), score_game_pair(*verdicts[2:])]
        metadata = build_score_metadata(
            state,
            judged,
            outcomes=outcomes,
            verdicts=verdicts,
            prompts=[prompt.describe() for prompt in used],
        )
        return Score(value=sum(outcomes) / 2, answer=ours[1], metadata=metadata)

    return score


@scorer(metrics=[mt_bench_single_metrics()])
@spread_options
def mt_bench_single(judging: JudgeOptions) -> Scorer:
    """Both turns rated from 1 to 10; the value is the mean rating.

    Sample metadata: `turns` (the two questions), `reference` (two reference answers, or None).
    Score metadata: ratings, epoch, prompts, judgments. Options as for `mt_bench_pair`.
    """
    judge = judging.build_judge("mt_bench_single", JUDGE_CONFIG)
    prompts = read_prompts(judging.judge_prompts, "mt_bench.jsonl", SINGLE_PROMPTS)

    async def score(state: TaskState, target: Target) -> Score:
        ours, used = extract_turn_answers(state), _choose_prompts(prompts, SINGLE_PROMPTS, state)

        async def rate(turn: int) -> Judgment[float]:
            answers = {"answer_1": ours[0], "answer_2": ours[1], "answer": ours[turn - 1]}
            messages = used[turn - 1].render(**answers, **_build_prompt_fields(state, turn))
            return await judge.ask(state, f"turn {turn}", messages, parse=parse_rating, remind=RATING_RETRY_PROMPT)

        judged = await gather(rate(1), rate(2))
        ratings = [j.verdict for j in judged]
        metadata = build_score_metadata(state, judged, ratings=ratings, prompts=[prompt.describe() for prompt in used])
        return Score(value=sum(ratings) / 2, answer=ours[1], metadata=metadata)

    return score


def _choose_prompts(prompts: Mapping[str, JudgePrompt], names: Sequence[str], state: TaskState) -> list[JudgePrompt]:
    """The prompts for both turns, with or without reference as the question has one."""
    has_reference = bool(state.metadata.get("reference"))
    return [prompts[names[2 * place + has_reference]] for place in (0, 1)]


def _build_prompt_fields(state: TaskState, turn: int) -> Mapping[str, str]:
    turns = _require_two_texts(state, "turns")
    reference = _require_two_texts(state, "reference") if state.metadata.get("reference") else ["", ""]
    fields = {"question": turns[turn - 1], "question_1": turns[0], "question_2": turns[1]}
    return fields | {"ref_answer_1": reference[0], "ref_answer_2": reference[1]}


def _require_two_texts(state: TaskState, key: str) -> list[str]:
    value: Any = state.metadata.get(key)
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(isinstance(text, str) for text in value):
        raise DataError(f"sample {state.sample_id}: metadata has no two texts {key!r}, which the scorer needs")
    return list(value)
