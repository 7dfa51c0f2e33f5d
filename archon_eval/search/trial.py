"""A trial: one architecture's answers to some questions of every task, as wanted and as it came out."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from archon_eval.architecture.spec import Architecture
from archon_eval.engine.plan import Plan
from archon_eval.errors import DataError, SearchError
from archon_eval.models.usage_totals import sum_dollars
from archon_eval.runs.eval_worker import EvalResult
from archon_eval.runs.layer_health import RunHealth
from archon_eval.runs.metrics import MEAN_OF_VALUES, rebuild_metric
from archon_eval.search.config import SearchSettings, TaskSpec
from archon_eval.search.performance import TaskAnswers, compute_performance
from archon_eval.stats.metrics import MeanMetric, list_values

MAX_FAILED_SHARE = 0.1
"""A trial with a larger share of questions without a score is a failed trial: the rest might be the easy ones."""

QuestionSplits = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Task -> `trial`, `dev` and `test` -> question ids, with how many answers each asks for."""


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """A trial that is wanted."""

    key: str
    architecture: Architecture
    plan: Plan
    part: str = "dev"
    """`trial` (what trials answer), `dev`, or `test`."""
    epochs: int = 1
    first_epoch: int = 1
    """The first set of draws it takes; finalists take others than those by which they were chosen."""
    shared_calls: float = 0
    """Calls per answer, in the mean, that evals before it have paid for, so that the call store answers them."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One architecture's answers to some questions of every task."""

    key: str
    architecture: Architecture
    results: tuple[EvalResult, ...]
    """One per task."""
    performance: float | None
    """Weighted mean of the tasks' metrics, each between 0 and 1; None if it failed."""
    parts: tuple[TaskAnswers, ...]
    """The answers to each task; questions without a score are not here."""
    calls: float
    """Per question, whoever paid."""
    cost: float
    """Per question, in the objective's unit."""
    by_epoch: Mapping[int, float] = field(default_factory=dict)
    """Performance with each set of draws (1 for the request's first) that every task has scores of."""
    error: str = ""

    @property
    def questions(self) -> int:
        """Questions that have a score."""
        return sum(len(part.answers) for part in self.parts)

    @property
    def is_unscored(self) -> bool:
        """Whether no answer to a task has a score, and for most of them the scorer gave no number."""
        return any(not r.scores and len(r.unscored) > len(r.failed) for r in self.results)

    @property
    def note(self) -> str:
        """Which answers are left out of a trial that did not fail, and why; empty where none is."""
        reasons = [reason for result in self.results for reason in result.failed.values()]
        if self.error or not reasons:
            return ""
        many = "1 question lacks an answer" if len(reasons) == 1 else f"{len(reasons)} questions lack an answer"
        return f"{many}, which is left out: {reasons[0]}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences on layers that never worked and on replies that were cut or lost, with the task where several are
        asked."""
        return tuple(
            f"{result.key.partition('@')[2] + ': ' if len(self.results) > 1 else ''}{text}"
            for result in self.results
            for text in RunHealth.from_metadata(result.health).sentences
        )

    @property
    def layers_counted(self) -> bool:
        """Whether it is known which layers worked; not of results that an earlier version left."""
        return all(result.health or not result.scores for result in self.results)

    @property
    def dead_layers(self) -> tuple[str, ...]:
        """The components that never worked, on one task at least: `verifier openai/x`."""
        healths = (RunHealth.from_metadata(result.health) for result in self.results)
        return tuple(dict.fromkeys(name for health in healths for name in health.dead))

    @property
    def paid(self) -> int:
        """Calls paid for."""
        return sum(result.calls for result in self.results)

    @property
    def reused(self) -> int:
        """Calls answered from the call store."""
        return sum(result.reused for result in self.results)


def count_questions(splits: QuestionSplits, part: str) -> int:
    """Questions of all tasks in a part."""
    return sum(len(by_part[part]) for by_part in splits.values())


def build_trial(
    request: TrialRequest, results: Sequence[EvalResult], settings: SearchSettings, *, splits: QuestionSplits
) -> Trial:
    """The trial that results, one per task, make.

    Raises:
        SearchError: a score outside its task's scale.
    """
    error = next((result.error for result in results if result.error), "")
    parts = []
    for task, result in zip(settings.tasks, results, strict=True):
        part, problem = _collect_answers(task, result)
        parts.append(part)
        error = error or _find_failure(task, result, len(splits[task.key][request.part])) or problem
    times = max(1, count_questions(splits, request.part) * request.epochs)
    calls = sum(result.calls + result.reused for result in results) / times
    tokens = sum(result.tokens for result in results) / times
    total = sum_dollars(result.cost for result in results)
    dollars = None if total is None else total / times
    performance = None
    if any(part.answers for part in parts) and not error:
        try:
            performance = compute_performance(parts)
        except SearchError as exc:
            error = str(exc)
    return Trial(
        key=request.key,
        architecture=request.architecture,
        results=tuple(results),
        performance=performance,
        parts=tuple(parts),
        calls=calls,
        cost=settings.compute_cost(calls, tokens, dollars) if not error else 0.0,
        by_epoch=_compute_by_epoch(parts, results) if performance is not None else {},
        error=error,
    )


def _collect_answers(task: TaskSpec, result: EvalResult) -> tuple[TaskAnswers, str]:
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


def _compute_by_epoch(parts: Sequence[TaskAnswers], results: Sequence[EvalResult]) -> dict[int, float]:
    """Performance with each set of draws that every task has scores of."""
    epochs = [{epoch for by_epoch in result.answers.values() for epoch in by_epoch} for result in results]
    found = {}
    for epoch in sorted(set.intersection(*epochs)):
        selected = [
            part.select({q: (by_epoch[epoch],) for q, by_epoch in result.answers.items() if epoch in by_epoch})
            for part, result in zip(parts, results, strict=True)
        ]
        with suppress(SearchError):  # too few answers of this set for the task's figure
            found[epoch] = compute_performance(selected)
    return found


def _find_failure(task: TaskSpec, result: EvalResult, asked: int) -> str:
    """Why a result is none, or nothing: a score is no number, or too many questions failed."""
    if result.unscored:
        question, why = next(iter(result.unscored.items()))
        many = f"{len(result.unscored)} of {asked} questions"
        return f"{task.key}: no number as the score of {many}; question {question}: {why}"
    missing = asked - len(result.scores)
    if missing <= MAX_FAILED_SHARE * asked and result.scores:
        return ""
    return f"{missing} of {asked} questions have no score: {next(iter(result.failed.values()), 'no score')}"
