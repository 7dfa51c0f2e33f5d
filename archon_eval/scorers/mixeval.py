"""MixEval and MixEval-Hard: ground truth, which a judge compares with the answer.

The judge rates a free-form answer from 0 to 1 for agreement with the known answers; of a multiple-choice answer it
names the option chosen. The overall score is the mean of the two parts' accuracies, each rounded to three digits:

    >>> compute_accuracies([("DROP", 1.0), ("DROP", 0.5)], [("MMLU", 1.0)])["overall"]
    0.875
"""

from collections.abc import Sequence
from statistics import fmean

from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import TaskState

from archon_eval.errors import DataError, ParseError, did_you_mean, quote
from archon_eval.runs.metrics import MIXEVAL_OVERALL, MIXEVAL_PARTS, collect_answers
from archon_eval.scorers._answer import read_answer
from archon_eval.scorers._judge import (
    JudgeReply,
    Judgment,
    build_score_metadata,
    find_bracketed,
    parse_bracketed,
    require_metadata_text,
)
from archon_eval.scorers._judge_prompts import read_prompts
from archon_eval.scorers._options import JudgeOptions, spread_options
from archon_eval.stats.metrics import average_rounded

JUDGE_CONFIG = GenerateConfig(max_tokens=999)
"""Upstream sets neither temperature nor seed."""
PARTS = MIXEVAL_PARTS
NO_OPTION = "none"
READ, NO_CHOICE, BEYOND = "read", "no choice", "beyond the options"
"""The `status` of a score: the reply's answer could be read; the judge found no choice in it; or it named a letter that
no option has. The last two are unreadable choices, and wrong."""
SCORE_RETRY_PROMPT = "Finish with the score, a number from 0.0 to 1.0 in double brackets: [[0.5]]"
OPTION_RETRY_PROMPT = (
    "Finish with the option in double brackets, such as [[B]]; write [[none]] if none of them was chosen"
)


def parse_score(reply: JudgeReply) -> float:
    """The correctness in `[[x]]`. ParseError if there is none, several different ones, or not 0 to 1."""
    score = float(parse_bracketed(reply, r"\d+(?:\.\d+)?", "[[0.5]]"))
    if not 0 <= score <= 1:
        raise ParseError(f"score {score:g} is not within 0 to 1: {quote(reply.text[-200:])}")
    return score


def parse_option(reply: JudgeReply) -> str:
    """The letter in `[[X]]`, the first of those that are named together (as upstream); `none` if there was no choice.

    Of letters in different places the last counts if the judge calls it final. A letter beyond the options is a choice
    of none of them, so it is simply wrong. ParseError if there is no verdict, or none of several is called final.
    """
    groups = find_bracketed(reply, "[A-Z]")
    if len({group[0] for group in groups}) > 1:
        return parse_bracketed(reply, "[A-Z]", "[[B]]")
    if groups:
        return groups[0][0]
    if find_bracketed(reply, r"(?i:none)\b[^\[\]\n]{0,80}"):
        return NO_OPTION
    raise ParseError(f"no option such as [[B]] in {quote(reply.text[-400:])}")


def classify_option(option: str, count: int) -> str:
    """The status of a choice (`parse_option`) among `count` options: `READ`, `NO_CHOICE` or `BEYOND`.

    >>> [classify_option(option, 4) for option in ("D", "E", "none")]
    ['read', 'beyond the options', 'no choice']
    """
    if option == NO_OPTION:
        return NO_CHOICE
    return READ if ord(option) - ord("A") < count else BEYOND


def compute_accuracies(
    free_form: Sequence[tuple[str, float]], multiple_choice: Sequence[tuple[str, float]]
) -> dict[str, float]:
    """Overall score, the two parts, and every sub-benchmark of a part (`free-form/DROP`), rounded to three digits.

    Scores are added up in the given order, as upstream does (half-way means depend on it). Without one of the parts
    there is no overall score.

    Args:
        free_form: sub-benchmark and score, 0 to 1, of each question.
        multiple_choice: the same, 0 or 1.

    Raises:
        DataError: no question at all, or a score outside 0 to 1.
    """
    result: dict[str, float] = {}
    for part, scores in zip(PARTS, (free_form, multiple_choice), strict=True):
        if bad := [score for _, score in scores if not 0 <= score <= 1]:
            raise DataError(f"{part}: score {bad[0]}; legal is 0 to 1")
        if scores:
            result[part] = average_rounded([score for _, score in scores])
        for name in sorted({name for name, _ in scores}):
            result[f"{part}/{name}"] = average_rounded([score for n, score in scores if n == name])
    if not result:
        raise DataError("no scores: there is nothing to average")
    if free_form and multiple_choice:
        result = {"overall": (result[PARTS[0]] + result[PARTS[1]]) / 2} | result
    return result


@metric(scores="unreduced")
def mixeval_metrics() -> Metric:
    """`compute_accuracies` of each epoch, averaged; `stderr` of the overall score, clustered by question in a part.

    `unreadable_choices` counts the multiple-choice replies, of all epochs, in which no option was recognised.
    """

    def compute(scores: list[SampleScore]) -> dict[str, float]:
        runs: dict[int, dict[str, list[tuple[str, float]]]] = {}
        for sample in scores:
            facts = sample.score.metadata or {}
            run = runs.setdefault(facts["epoch"], {part: [] for part in PARTS})
            run[facts["part"]].append((facts["benchmark"], sample.score.as_float()))
        results = [compute_accuracies(run[PARTS[0]], run[PARTS[1]]) for run in runs.values()]
        if not results:
            return {}
        means = {key: fmean(r[key] for r in results if key in r) for key in results[0]}
        stderr = MIXEVAL_OVERALL.estimate(collect_answers("mixeval", scores)).stderr
        statuses = [m.get("status") for s in scores if (m := s.score.metadata or {})["part"] == PARTS[1]]
        unreadable = {"unreadable_choices": sum(s in (NO_CHOICE, BEYOND) for s in statuses)} if statuses else {}
        return means | ({"stderr": stderr} if stderr is not None else {}) | unreadable

    return compute


@scorer(metrics=[mixeval_metrics()])
@spread_options
def mixeval(judging: JudgeOptions) -> Scorer:
    """Agreement with the known answers, 0 to 1 (free form), or whether the right option was chosen, 0 or 1.

    Sample metadata: `part` (`free-form` or `multiple-choice`), `benchmark` (name of the sub-benchmark), `question`
    (without its context), and `answers` (known answers), or `options` (texts) and `correct` (indexes of right options).
    Score metadata: part, benchmark, verdict, status (`read`, `no choice`, `beyond the options`), epoch, prompt,
    judgments.

    Args:
        judging: who judges, see `JudgeOptions`; `judge_prompts` is JSON lines with the prompts `free-form` (fields
            question, answers, response) and `multiple-choice` (question, options, response).
    """
    judge = judging.build_judge("mixeval", JUDGE_CONFIG)
    prompts = read_prompts(judging.judge_prompts, "mixeval.jsonl", PARTS)

    async def score(state: TaskState, target: Target) -> Score:
        part, answer = require_metadata_text(state, "part"), read_answer(state).text
        if part not in PARTS:
            raise DataError(f"sample {state.sample_id}: metadata part {part!r}{did_you_mean(part, PARTS)}")
        free_form, listed = part == PARTS[0], state.metadata["answers" if part == PARTS[0] else "options"]
        shown = [f"<answer {n}> {x}" if free_form else f"{chr(64 + n)}. {x}" for n, x in enumerate(listed, 1)]
        fields = {"answers": "; ".join(shown)} if free_form else {"options": "\n".join(shown)}
        messages = prompts[part].render(question=require_metadata_text(state, "question"), response=answer, **fields)
        judged: Judgment[float] | Judgment[str]
        if free_form:
            judged = await judge.ask(state, part, messages, parse=parse_score, remind=SCORE_RETRY_PROMPT)
            value, status = judged.verdict, READ
            explanation = f"Agreement with the known answers: {value:g}."
        else:
            judged = await judge.ask(state, part, messages, parse=parse_option, remind=OPTION_RETRY_PROMPT)
            status, correct = classify_option(judged.verdict, len(listed)), state.metadata["correct"]
            letters = [chr(65 + index) for index in correct]
            value = float(judged.verdict in letters)
            explanation = f"Expected {' or '.join(letters)}. " + {
                READ: f"The reply chose {judged.verdict}.",
                NO_CHOICE: "The judge found no choice in the reply, which counts as wrong.",
                BEYOND: f"The judge read {judged.verdict}, which no option has, which counts as wrong.",
            }.get(status, "")
        facts = {"part": part, "benchmark": require_metadata_text(state, "benchmark"), "verdict": judged.verdict}
        facts["status"] = status
        metadata = build_score_metadata(state, [judged], **facts, prompt=prompts[part].describe())
        return Score(value=value, answer=answer, explanation=explanation, metadata=metadata)

    return score
