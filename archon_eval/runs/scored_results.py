"""What the results of a search's eval, one per task, come to: performance, cost per question, or why there is none.

scored = score_results(tasks, results, asked=[100])
scored.performance, scored.calls, scored.error
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import fmean, variance

from archon_eval.errors import DataError, SearchError
from archon_eval.models.draw import split_epoch
from archon_eval.models.usage_totals import sum_dollars
from archon_eval.runs.eval_worker import EvalResult
from archon_eval.runs.metrics import MEAN_OF_VALUES, rebuild_metric
from archon_eval.runs.performance import ScoredTask, TaskAnswers, compute_performance
from archon_eval.stats.metrics import MeanMetric, ScoredAnswer, list_values

MAX_FAILED_SHARE = 0.1
"""A trial with a larger share of questions without a score is a failed trial: the rest might be the easy ones."""


@dataclass(frozen=True, slots=True)
class ScoredResults:
    """One architecture's answers to some questions of every task."""

    parts: tuple[TaskAnswers, ...]
    """The answers to each task; questions without a score are not here."""
    performance: float | None
    """Weighted mean of the tasks' metrics, each between 0 and 1; None if it failed."""
    error: str
    """Why it failed; empty where it did not."""
    calls: float
    """Per question that is asked once, whoever paid."""
    tokens: float
    """Per question that is asked once."""
    dollars: float | None
    """Per question that is asked once, calls from the store too; None where a price or a usage is unknown."""
    by_epoch: Mapping[int, float] = field(default_factory=dict)
    """Performance with each set of draws (from 1) that every task has scores of; the mean over its last draws."""
    last_draw_variance: float | None = None
    """Unbiased variance of one answer's score (0 to 1, so at most 0.5) among the draws of the last layer of one set:
    the mean over questions, of tasks by weight. None where the last layer was drawn once, or a task has no question
    with two scores of one set. By a metric that is no mean of scores it is that of the scores all the same."""

    @property
    def questions(self) -> int:
        """Questions that have a score."""
        return sum(len(part.answers) for part in self.parts)


def score_results(
    tasks: Sequence[ScoredTask],
    results: Sequence[EvalResult],
    asked: Sequence[int],
    *,
    epochs: int = 1,
    last_draws: int = 1,
) -> ScoredResults:
    """
    Args:
        asked: questions asked of each task.
        epochs: sets of draws with which each was.
        last_draws: answers with each set.

    Raises:
        SearchError: a score outside its task's scale.
    """
    error = next((result.error for result in results if result.error), "")
    parts = []
    for task, result, questions in zip(tasks, results, asked, strict=True):
        part, problem = _collect_answers(task, result)
        parts.append(part)
        error = error or _find_failure(task, result, questions) or problem
    performance = None
    if any(part.answers for part in parts) and not error:
        try:
            performance = compute_performance(parts)
        except SearchError as exc:
            error = str(exc)
    times = max(1, sum(asked) * epochs * last_draws)
    total = sum_dollars(result.cost for result in results)
    return ScoredResults(
        parts=tuple(parts),
        performance=performance,
        error=error,
        calls=sum(result.calls + result.reused for result in results) / times,
        tokens=sum(result.tokens for result in results) / times,
        dollars=None if total is None else total / times,
        by_epoch={} if performance is None else _compute_by_epoch(parts, results, last_draws),
        last_draw_variance=None if performance is None else _compute_last_draw_variance(parts, results, last_draws),
    )


def count_asked(result: EvalResult) -> int:
    """Questions that an eval asked, as far as its result says it; 0 for one that came to nothing."""
    return len({*result.scores, *result.failed, *result.unscored})


def _collect_answers(task: ScoredTask, result: EvalResult) -> tuple[TaskAnswers, str]:
    """A task's answers with the metric that its scorer declares, and why it cannot be had of them.

    Raises:
        SearchError: a score outside the task's scale.
    """
    answers = {question: tuple(by_epoch.values()) for question, by_epoch in result.answers.items()}
    try:
        metric = rebuild_metric(result.declared_by, result.metric, answers)
    except DataError as exc:
        return TaskAnswers(task, MeanMetric(MEAN_OF_VALUES, None), answers), f"{task.key}: {exc}"
    part = TaskAnswers(task, metric, answers)
    if values := list(list_values(answers)):
        part.normalize(min(values))
        part.normalize(max(values))
    return part, ""


def _group_by_set(result: EvalResult, last_draws: int) -> dict[str, dict[int, tuple[ScoredAnswer, ...]]]:
    """Question -> set of draws (from 1) -> the scored answers of its last draws."""
    grouped: dict[str, dict[int, tuple[ScoredAnswer, ...]]] = {}
    for question, by_epoch in result.answers.items():
        sets = grouped.setdefault(question, {})
        for epoch, answer in by_epoch.items():
            number = split_epoch(epoch, last_draws)[0] + 1
            sets[number] = (*sets.get(number, ()), answer)
    return grouped


def _compute_by_epoch(parts: Sequence[TaskAnswers], results: Sequence[EvalResult], last_draws: int) -> dict[int, float]:
    """Performance with each set of draws that every task has scores of."""
    grouped = [_group_by_set(result, last_draws) for result in results]
    numbers = [{number for sets in by_question.values() for number in sets} for by_question in grouped]
    found = {}
    for number in sorted(set.intersection(*numbers)):
        selected = [
            part.select({question: sets[number] for question, sets in by_question.items() if number in sets})
            for part, by_question in zip(parts, grouped, strict=True)
        ]
        with suppress(SearchError):  # too few answers of this set for the task's figure
            found[number] = compute_performance(selected)
    return found


def _compute_last_draw_variance(
    parts: Sequence[TaskAnswers], results: Sequence[EvalResult], last_draws: int
) -> float | None:
    """As `ScoredResults.last_draw_variance`."""
    weighted = weights = 0.0
    for part, result in zip(parts, results, strict=True):
        of_questions = []
        for sets in _group_by_set(result, last_draws).values():
            scores = [[part.normalize(answer.value) for answer in answers] for answers in sets.values()]
            if several := [variance(draws) for draws in scores if len(draws) > 1]:
                of_questions.append(fmean(several))
        if of_questions:
            weighted += part.task.weight * fmean(of_questions)
            weights += part.task.weight
        elif part.answers:
            return None
    return weighted / weights if weights else None


def _find_failure(task: ScoredTask, result: EvalResult, asked: int) -> str:
    """Why a result is none, or nothing: a score is no number, or too many questions failed."""
    if result.unscored:
        question, why = next(iter(result.unscored.items()))
        many = f"{len(result.unscored)} of {asked} questions"
        return f"{task.key}: no number as the score of {many}; question {question}: {why}"
    missing = asked - len(result.scores)
    if missing <= MAX_FAILED_SHARE * asked and result.scores:
        return ""
    return f"{missing} of {asked} questions have no score: {next(iter(result.failed.values()), 'no score')}"
