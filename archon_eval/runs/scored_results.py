"""What the results of a search's eval, one per task, come to: performance, cost per question, or why there is none.

scored = score_results(tasks, results, asked=[100])
scored.performance, scored.calls, scored.error
"""

from collections.abc import Sequence
from dataclasses import dataclass

from archon_eval.errors import DataError, SearchError
from archon_eval.models.usage_totals import sum_dollars
from archon_eval.runs.eval_worker import EvalResult
from archon_eval.runs.metrics import MEAN_OF_VALUES, rebuild_metric
from archon_eval.runs.performance import ScoredTask, TaskAnswers, compute_performance
from archon_eval.stats.metrics import MeanMetric, list_values

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
    """Per question, whoever paid."""
    tokens: float
    """Per question."""
    dollars: float | None
    """Per question, calls from the store too; None where a price or a usage is unknown."""

    @property
    def questions(self) -> int:
        """Questions that have a score."""
        return sum(len(part.answers) for part in self.parts)


def score_results(
    tasks: Sequence[ScoredTask], results: Sequence[EvalResult], asked: Sequence[int], *, epochs: int = 1
) -> ScoredResults:
    """
    Args:
        asked: questions asked of each task.
        epochs: times that each was.

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
    times = max(1, sum(asked) * epochs)
    total = sum_dollars(result.cost for result in results)
    return ScoredResults(
        parts=tuple(parts),
        performance=performance,
        error=error,
        calls=sum(result.calls + result.reused for result in results) / times,
        tokens=sum(result.tokens for result in results) / times,
        dollars=None if total is None else total / times,
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
