"""Arena-Hard-Auto v0.1: two judged games per question against one baseline, with the sides swapped.

A game gives one row, or three if a side is "much better". With a single baseline the Bradley-Terry win rate is the mean
of the rows (win 1, tie 1/2), also for a model that never wins:

    >>> score_game(1, "B>>A") + score_game(2, "A=B")
    [1.0, 1.0, 1.0, 0.5]
    >>> round(compute_win_rate([1.0, 1.0, 1.0, 0.5], ["q1"] * 4)["win_rate"], 1)
    87.5

Games of one question depend on each other, so the interval is over questions. The official interval, which resamples
rows and comes out too narrow, is computed too, for comparison with the leaderboard.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import yaml
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import TaskState

from archon_eval.errors import DataError
from archon_eval.runs.metrics import WIN_RATE
from archon_eval.scorers._answer import read_answer
from archon_eval.scorers._judge import (
    JudgeReply,
    Judgment,
    build_score_metadata,
    gather,
    parse_bracketed,
    require_metadata_text,
)
from archon_eval.scorers._judge_prompts import JudgePrompt, read_prompt_file
from archon_eval.scorers._options import JudgeOptions, spread_options
from archon_eval.stats.estimates import bootstrap
from archon_eval.stats.metrics import ScoredAnswer

JUDGE_CONFIG = GenerateConfig(temperature=0, max_tokens=4096)
RETRY_PROMPT = "Finish with your verdict: exactly one of [[A>>B]], [[A>B]], [[A=B]], [[B>A]], [[B>>A]]"
OUTCOMES = {"A>>B": (0.0, 3), "A>B": (0.0, 1), "A=B": (0.5, 1), "B>A": (1.0, 1), "B>>A": (1.0, 3)}
"""Verdict -> result of B and its weight."""


def parse_verdict(reply: JudgeReply) -> str:
    """The verdict of one game, a key of `OUTCOMES`. ParseError if there is none, or several different ones."""
    return parse_bracketed(reply, "A>>B|A>B|A=B|B>A|B>>A", "[[A>B]]")


def score_game(game: int, verdict: str) -> list[float]:
    """The model's weighted results in one game: it is B in game 1 and A in game 2."""
    result, weight = OUTCOMES[verdict]
    return [result if game == 1 else 1 - result] * weight


def compute_win_rate(results: Sequence[float], questions: Sequence[Hashable]) -> dict[str, float]:
    """Win rate in percent with two 95% intervals, left out where they cannot be had: of a single question or row.

    Args:
        results: weighted rows, each 0, 0.5 or 1.
        questions: the question of each row.

    Returns:
        `win_rate`; `ci_low`, `ci_high` over questions, as reports show them; `row_ci_low`, `row_ci_high` over rows, as
        upstream, which has none where all rows are equal; and `n_questions`.

    Raises:
        DataError: no rows, a row of another value, or lengths that differ.
    """
    if bad := set(results) - {0.0, 0.5, 1.0}:
        raise DataError(f"result {bad.pop()}: legal is 0 (loss), 0.5 (tie), 1 (win)")
    by_row = bootstrap([100 * result for result in results])
    answers: dict[str, list[ScoredAnswer]] = {}
    for result, question in zip(results, questions, strict=True):
        answers.setdefault(str(question), []).append(ScoredAnswer(result))
    rate = WIN_RATE.estimate(answers)
    figures = {"win_rate": rate.value, "ci_low": rate.low, "ci_high": rate.high}
    shown = {key: 100 * value for key, value in figures.items() if value is not None}
    if by_row.low is not None and by_row.high is not None and by_row.low < by_row.high:
        shown |= {"row_ci_low": by_row.low, "row_ci_high": by_row.high}
    return shown | {"n_questions": rate.n}


def load_judge_prompt(path: str | None = None) -> JudgePrompt:
    """The prompt in the format of the official `judge_config.yaml`; this project's wording if path is None.

    Raises:
        DataError: not YAML with `system_prompt` and a `prompt_template` of one text.
    """
    text, source = read_prompt_file(path, "arena_hard.yaml")
    try:
        config = yaml.safe_load(text)
        system, (template,) = str(config["system_prompt"]), config["prompt_template"]
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        legal = "'system_prompt' (text) and 'prompt_template' (a list of one text)"
        raise DataError(f"{source}: {error!r}; a prompt file is YAML with {legal}") from error
    return JudgePrompt(name="arena_hard", system=system, template=str(template), source=source)


@metric(scores="unreduced")
def arena_hard_metrics() -> Metric:
    """`compute_win_rate` of all games of all epochs, with its intervals."""

    def compute(scores: list[SampleScore]) -> dict[str, float]:
        results, questions = [], []
        for sample in scores:
            won = [row for game in (sample.score.metadata or {})["games"] for row in game["rows"]]
            results += won
            questions += [sample.sample_id] * len(won)
        return compute_win_rate(results, questions) if results else {}

    return compute


@scorer(metrics=[arena_hard_metrics()])
@spread_options
def arena_hard(judging: JudgeOptions) -> Scorer:
    """Two games against the baseline's answer; the value is the weighted result of the question, 0 to 1.

    Sample metadata: `instruction` (text), `baseline_output` (text).
    Score metadata: games (verdict and rows of each), epoch, prompt, judgments.

    Args:
        judging: who judges, see `JudgeOptions`; `judge_prompts` has the format of the official `judge_config.yaml`.
    """
    judge, prompt = judging.build_judge("arena_hard", JUDGE_CONFIG), load_judge_prompt(judging.judge_prompts)

    async def score(state: TaskState, target: Target) -> Score:
        instruction = require_metadata_text(state, "instruction")
        baseline = require_metadata_text(state, "baseline_output")
        answer = read_answer(state).text

        async def play(game: int) -> Judgment[str]:
            first, second = (baseline, answer) if game == 1 else (answer, baseline)
            messages = prompt.render(question_1=instruction, answer_1=first, answer_2=second)
            return await judge.ask(state, f"game {game}", messages, parse=parse_verdict, remind=RETRY_PROMPT)

        judged = await gather(play(1), play(2))
        games: list[dict[str, Any]] = [
            {"verdict": j.verdict, "rows": score_game(game, j.verdict)} for game, j in enumerate(judged, 1)
        ]
        won = [row for game in games for row in game["rows"]]
        metadata = build_score_metadata(state, judged, games=games, prompt=prompt.describe())
        return Score(value=sum(won) / len(won), answer=answer, metadata=metadata)

    return score
