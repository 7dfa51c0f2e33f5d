"""Arena-Hard-Auto v0.1: two judged games per question against one baseline, with the sides swapped.

A game gives one row, or three if a side is "much better". With a single baseline the Bradley-Terry win rate is the mean
of the rows (win 1, tie 1/2), also for a model that never wins:

    >>> rows(1, "B>>A") + rows(2, "A=B")
    [1.0, 1.0, 1.0, 0.5]
    >>> round(win_rate([1.0, 1.0, 1.0, 0.5], ["q1"] * 4)["win_rate"], 1)
    87.5

Games of one question depend on each other, so the interval resamples questions; the official one, which resamples rows
and comes out too narrow, is given beside it for comparison with the leaderboard.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import yaml
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import TaskState

from archon_eval.errors import DataError
from archon_eval.report.statistics import bootstrap
from archon_eval.scorers.judge_prompts import Prompt, prompt_file
from archon_eval.scorers.judging import Judge, Judged, Reply, Stored, bracketed, gather, kept, metadata_text

PROTOCOL = GenerateConfig(temperature=0, max_tokens=4096)
REMIND = "Finish with your verdict: exactly one of [[A>>B]], [[A>B]], [[A=B]], [[B>A]], [[B>>A]]"
OUTCOMES = {"A>>B": (0.0, 3), "A>B": (0.0, 1), "A=B": (0.5, 1), "B>A": (1.0, 1), "B>>A": (1.0, 3)}
"""Verdict -> result of B and its weight."""


def parse(reply: Reply) -> str:
    """The verdict of one game, a key of `OUTCOMES`. ParseError if there is none, or several different ones."""
    return bracketed(reply.text, "A>>B|A>B|A=B|B>A|B>>A", "[[A>B]]")


def rows(game: int, verdict: str) -> list[float]:
    """The model's weighted results in one game: it is B in game 1 and A in game 2."""
    result, weight = OUTCOMES[verdict]
    return [result if game == 1 else 1 - result] * weight


def win_rate(results: Sequence[float], questions: Sequence[Hashable]) -> dict[str, float]:
    """Win rate in percent with two 95% intervals, left out where a single question or row cannot give one.

    Args:
        results: weighted rows, each 0, 0.5 or 1.
        questions: the question of each row.

    Returns:
        `win_rate`; `ci_low`, `ci_high` over questions; `row_ci_low`, `row_ci_high` over rows, as upstream; and
        `n_questions`.

    Raises:
        DataError: no rows, a row of another value, or lengths that differ.
    """
    if bad := set(results) - {0.0, 0.5, 1.0}:
        raise DataError(f"result {bad.pop()}: legal is 0 (loss), 0.5 (tie), 1 (win)")
    percents = [100 * result for result in results]
    by_question, by_row = bootstrap(percents, questions), bootstrap(percents)
    figures = {
        "win_rate": by_question.value,
        "ci_low": by_question.low,
        "ci_high": by_question.high,
        "row_ci_low": by_row.low,
        "row_ci_high": by_row.high,
        "n_questions": by_question.n,
    }
    return {key: value for key, value in figures.items() if value is not None}


def judge_prompt(path: str | None = None) -> Prompt:
    """The prompt in the format of the official `judge_config.yaml`; own wording if no path is given.

    Raises:
        DataError: not YAML with `system_prompt` and a `prompt_template` of one text.
    """
    text, source = prompt_file(path, "arena_hard.yaml")
    try:
        config = yaml.safe_load(text)
        system, (template,) = str(config["system_prompt"]), config["prompt_template"]
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        legal = "'system_prompt' (text) and 'prompt_template' (a list of one text)"
        raise DataError(f"{source}: {error!r}; a prompt file is YAML with {legal}") from error
    return Prompt("arena_hard", system, str(template), source)


@metric(scores="unreduced")
def arena_hard_metrics() -> Metric:
    """`win_rate` of all games of all epochs, with its intervals."""

    def compute(scores: list[SampleScore]) -> dict[str, float]:
        results, questions = [], []
        for sample in scores:
            won = [row for game in (sample.score.metadata or {})["games"] for row in game["rows"]]
            results += won
            questions += [sample.sample_id] * len(won)
        return win_rate(results, questions) if results else {}

    return compute


@scorer(metrics=[arena_hard_metrics()])
def arena_hard(judge_prompts: str | None = None, stored: Stored = "reuse", allow_main_model: bool = False) -> Scorer:
    """Two games against the baseline's answer; the value is the weighted result of the question, 0 to 1.

    Sample metadata: `instruction` (text), `baseline_output` (text).
    Score metadata: games (verdict and rows of each), epoch, prompt, judgments.

    Args:
        judge_prompts: file in the format of the official `judge_config.yaml`; None is own wording.
        stored: use of stored judgments, see `judging.Stored`.
        allow_main_model: let the evaluated model judge if no judge is bound.
    """
    judge, prompt = Judge("arena_hard", PROTOCOL, stored, allow_main_model), judge_prompt(judge_prompts)

    async def score(state: TaskState, target: Target) -> Score:
        instruction, baseline = metadata_text(state, "instruction"), metadata_text(state, "baseline_output")
        answer = state.output.completion

        async def play(game: int) -> Judged[str]:
            first, second = (baseline, answer) if game == 1 else (answer, baseline)
            messages = prompt.messages(question_1=instruction, answer_1=first, answer_2=second)
            return await judge.ask(state, f"game {game}", messages, parse, REMIND)

        judged = await gather(play(1), play(2))
        games: list[dict[str, Any]] = [
            {"verdict": j.verdict, "rows": rows(game, j.verdict)} for game, j in enumerate(judged, 1)
        ]
        won = [row for game in games for row in game["rows"]]
        metadata = kept(state, [j.record for j in judged], games=games, prompt=prompt.described())
        return Score(value=sum(won) / len(won), answer=answer, metadata=metadata)

    return score
