"""AlpacaEval 2.0: a judge compares each answer with the baseline's; raw and length-controlled win rates.

The judge answers with one token, m or M, and the win is its probability, so that a single call gives a graded
preference. Preferences run from 1 (baseline) to 2 (model), as in the official files:

    >>> round(compute_preference((("M", -0.1), ("m", -2.5)), switched=False), 3)
    1.917

The length-controlled rate is the regression of the package `alpaca-eval` (Dubois et al. 2024), imported only for that.
"""

import re
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from math import exp
from pathlib import Path
from random import Random
from statistics import fmean

from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import TaskState

from archon_eval.errors import DataError, ParseError, quote
from archon_eval.runs.metrics import collect_answers
from archon_eval.scorers._answer import read_answer
from archon_eval.scorers._judge import JudgeReply, Judgment, build_score_metadata, require_metadata_text
from archon_eval.scorers._judge_prompts import JudgePrompt, read_prompt_file
from archon_eval.scorers._options import JudgeOptions, spread_options
from archon_eval.stats.estimates import estimate_mean
from archon_eval.stats.length_control import (
    RAW_WIN_RATE,
    find_calibration_file,
    find_official_index,
    get_lc_win_rate,
    has_length_control,
    list_epochs,
)

JUDGE_CONFIG = GenerateConfig(max_tokens=1, temperature=1, logprobs=True, top_logprobs=5)
OFFICIAL_PROMPT = "evaluators_configs/alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt"
RETRY_PROMPT = "Reply with one letter and nothing else: m or M"
NOT_OFFICIAL = "not an AlpacaEval instruction"
"""The `length_control` of a score whose instruction has no official difficulty."""


def is_switched(instruction: str) -> bool:
    """Whether the model's answer is shown first, as `m`; drawn from the instruction, so always the same."""
    return Random(f"is_switched_outputs{instruction}0").choices([False, True], k=1)[0]


def compute_preference(top_logprobs: Sequence[tuple[str, float]], switched: bool) -> float:
    """The preference from the first token: `2 - p(m) / (p(m) + p(M))`, mirrored if the answers were switched.

    Raises:
        ParseError: neither m nor M is among the tokens.
    """
    logprobs = {token: logprob for token, logprob in top_logprobs if token in ("m", "M")}
    if not logprobs:
        raise ParseError(f"neither m nor M among the judge's first tokens {[token for token, _ in top_logprobs]}")
    peak = max(logprobs.values())
    first, second = (exp(logprobs[token] - peak) if token in logprobs else 0.0 for token in "mM")
    shown = 2 - first / (first + second)
    return 3 - shown if switched else shown


def parse_preference(reply: JudgeReply, switched: bool) -> float:
    """The preference from a judge's reply: by log probabilities, or by its text if the provider gives none.

    Raises:
        ParseError: no verdict in it.
    """
    if reply.top_logprobs:
        return compute_preference(reply.top_logprobs, switched)
    if not (match := re.fullmatch(r"\W*([mM])\W*", reply.text)):
        raise ParseError(f"neither m nor M: {quote(reply.text)}")
    return compute_preference(((match[1], 0.0),), switched)


def compute_win_rates(preferences: Sequence[float]) -> dict[str, float]:
    """The leaderboard's raw figures, rates in percent; ties are preferences of exactly 1.5.

    The standard error is left out for a single answer.

    Raises:
        DataError: no preferences, or one outside 1 to 2.
    """
    if bad := [p for p in preferences if not 1 <= p <= 2]:
        raise DataError(f"preference {bad[0]}: legal is 1 (baseline) to 2 (model)")
    wins, ties = sum(p > 1.5 for p in preferences), sum(p == 1.5 for p in preferences)
    rate = estimate_mean([100 * (p - 1) for p in preferences])
    n = len(preferences)
    figures = {"win_rate": rate.value, "discrete_win_rate": 100 * (wins + ties / 2) / n}
    if rate.stderr is not None:
        figures["standard_error"] = rate.stderr
    return figures | {"n_wins": wins, "n_wins_base": n - wins - ties, "n_draws": ties, "n_total": n}


def load_judge_prompt(path: str | None = None) -> JudgePrompt:
    """The prompt in its official format (ChatML text with {instruction}, {output_1}, {output_2}).

    That is the file at `path`, else the one in the installed package `alpaca-eval`, else this project's wording.

    Raises:
        DataError: a file that cannot be read or is not of that format.
    """
    package = find_spec("alpaca_eval") if path is None else None
    folders = package.submodule_search_locations if package else None
    text, source = read_prompt_file(str(Path(folders[0], OFFICIAL_PROMPT)) if folders else path, "alpaca_eval.txt")
    if folders:
        source = f"alpaca-eval {version('alpaca-eval')}"
    turns = re.findall(r"<\|im_start\|>(system|user)\n(.*?)<\|im_end\|>", text, re.DOTALL)
    if [role for role, _ in turns] != ["system", "user"]:
        raise DataError(f"{source}: not a judge prompt in ChatML: one system and one user message are needed")
    system, template = (content.strip() for _, content in turns)
    return JudgePrompt(name="alpaca_eval_clf", system=system, template=template, source=source)


@metric(scores="unreduced")
def alpaca_eval_metrics() -> Metric:
    """Raw and length-controlled win rates in percent, averaged over the epochs; raw error clustered by instruction.

    Where any instruction is not AlpacaEval's own (as in the bundled sample), and for single rows, there is no
    length-controlled rate.

    Inspect also computes metrics while samples are still running; `--no-score-display` saves those regressions.
    """

    def compute(scores: list[SampleScore]) -> dict[str, float]:
        if not scores:
            return {}
        answers = collect_answers("alpaca_eval", scores)
        facts = scores[0].score.metadata or {}
        is_controlled = facts["length_controlled"] and has_length_control(answers)
        runs = []
        for rows in list_epochs(answers):
            figures = compute_win_rates([row.preference for row in rows])
            figures["avg_length"] = fmean(row.length for row in rows)
            if is_controlled:
                figures |= get_lc_win_rate(rows, find_calibration_file(facts["calibration"]))
            runs.append(figures)
        means = {key: fmean(run[key] for run in runs if key in run) for key in runs[0]}
        stderr = RAW_WIN_RATE.estimate(answers).stderr
        return means | ({"standard_error": 100 * stderr} if stderr is not None else {})

    return compute


@scorer(metrics=[alpaca_eval_metrics()])
@spread_options
def alpaca_eval(
    judging: JudgeOptions,
    length_controlled: bool = True,
    calibration: str | None = None,
) -> Scorer:
    """Preference of the judge for the answer over the baseline's; the value is the win, 0 to 1.

    Sample metadata: `instruction` (text), `baseline_output` (text). The instruction's official position, by which its
    difficulty is known, goes with its text; an `index` that contradicts it does not count, and the explanation says so.
    Score metadata: preference, index (official position 0..804, or None), length_control (`possible`, `off`, or
    `not an AlpacaEval instruction`), length, baseline_length, switched, graded_by (`token` where the judge gave no log
    probabilities), epoch, prompt, judgments.

    Args:
        judging: who judges, see `JudgeOptions`; `judge_prompts` has the official format, and by default the wording of
            the installed package `alpaca-eval` is used, if there is one.
        length_controlled: also compute the length-controlled win rate.
        calibration: local `df_gamed.csv`.
    """
    judge, prompt = judging.build_judge("alpaca_eval", JUDGE_CONFIG), load_judge_prompt(judging.judge_prompts)

    async def score(state: TaskState, target: Target) -> Score:
        instruction = require_metadata_text(state, "instruction")
        baseline = require_metadata_text(state, "baseline_output")
        answer, switched = read_answer(state).text, is_switched(instruction)
        judgments: list[Judgment[float]] = []
        preference, graded_by = 1.5, "equality"
        if answer != baseline:
            first, second = (answer, baseline) if switched else (baseline, answer)
            messages = prompt.render(instruction=instruction, output_1=first, output_2=second)
            judged = await judge.ask(
                state, "pair", messages, parse=lambda reply: parse_preference(reply, switched), remind=RETRY_PROMPT
            )
            judgments, preference = [judged], judged.verdict
            graded_by = "log probabilities" if "top_logprobs" in judged.record["replies"][-1] else "token"
        index, given = find_official_index(instruction), state.metadata.get("index")
        status = ("possible" if index is not None else NOT_OFFICIAL) if length_controlled else "off"
        explanation = f"Preference {preference:.3f} (1: the baseline, 2: this answer). Length control: {status}."
        if given is not None and given != index:
            explanation += f" The sample's index {given} is not this instruction's, which is {index}."
        metadata = build_score_metadata(
            state,
            judgments,
            preference=preference,
            index=index,
            length_control=status,
            length=len(answer),
            baseline_length=len(baseline),
            switched=switched,
            graded_by=graded_by,
            length_controlled=length_controlled,
            calibration=calibration,
            prompt=prompt.describe(),
        )
        return Score(value=preference - 1, answer=answer, explanation=explanation, metadata=metadata)

    return score
