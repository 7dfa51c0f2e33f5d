"""The performance of a trial: each task's own metric, brought to 0 to 1, and the mean of the tasks by their weights.

    parts = [TaskAnswers(task, metric, answers)]
    compute_performance(parts)                      # 0.71
    estimate_performance(parts).low                 # 0.66

Over several tasks the unit of chance is still the question: tasks are strata of fixed shares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from archon_eval.errors import DataError, SearchError
from archon_eval.stats.comparison import PairedComparison, compare_scores
from archon_eval.stats.estimates import Estimate, estimate_score
from archon_eval.stats.metrics import Answers, Metric, QuestionMetric, ScoredAnswer


class ScoredTask(Protocol):
    """A benchmark, and how its scores count."""

    @property
    def name(self) -> str:
        """Its name, for messages."""
        ...

    @property
    def key(self) -> str:
        """The name with its parameters, for records."""
        ...

    @property
    def weight(self) -> float:
        """What it counts beside other tasks."""
        ...

    @property
    def scale(self) -> tuple[float, float]:
        """The scores that count as 0 and as 1."""
        ...


def normalize_score(score: float, task: ScoredTask, scale: tuple[float, float] | None = None) -> float:
    """The score between 0 and 1.

    Args:
        scale: the scores that count as 0 and as 1; None for the task's.

    Raises:
        SearchError: a score outside the scale.
    """
    low, high = task.scale if scale is None else scale
    if not min(low, high) <= score <= max(low, high):
        raise SearchError(f"{task.name}: score {score:g} is outside its scale {low:g} to {high:g}; give `scale`")
    return (score - low) / (high - low)


@dataclass(frozen=True, slots=True)
class TaskAnswers:
    """A trial's answers to one task."""

    task: ScoredTask
    metric: Metric
    answers: Mapping[str, tuple[ScoredAnswer, ...]]

    @property
    def scale(self) -> tuple[float, float]:
        """The scores that count as 0 and as 1: the task's, or the metric's own where the task has the usual ones."""
        bounds = self.metric.bounds
        return bounds if bounds is not None and self.task.scale == (0.0, 1.0) else self.task.scale

    def normalize(self, score: float) -> float:
        """The score between 0 and 1.

        Raises:
            SearchError: a score outside the scale.
        """
        return normalize_score(score, self.task, self.scale)

    def compute(self) -> float:
        """The metric's figure between 0 and 1.

        Raises:
            SearchError: a figure outside the scale, or none.
        """
        try:
            return self.normalize(self.metric.compute(self.answers))
        except DataError as exc:
            raise SearchError(f"{self.task.key}: {exc}") from exc

    def select(self, answers: Answers) -> "TaskAnswers":
        """The same of other answers."""
        return replace(self, answers={question: tuple(epochs) for question, epochs in answers.items()})

    def select_questions(self, questions: Mapping[str, object]) -> "TaskAnswers":
        """The part of these questions."""
        return self.select({question: epochs for question, epochs in self.answers.items() if question in questions})


def compute_performance(parts: Sequence[TaskAnswers]) -> float:
    """The mean of the tasks' figures by weight, of tasks with answers; there must be one.

    Raises:
        SearchError: a figure outside its task's scale, or none.
    """
    answered = [part for part in parts if part.answers]
    return sum(part.task.weight * part.compute() for part in answered) / sum(part.task.weight for part in answered)


def estimate_performance(parts: Sequence[TaskAnswers], confidence: float = 0.95) -> Estimate | None:
    """The performance with its interval; None where nothing has a score."""
    answered = [part for part in parts if part.answers]
    if not answered:
        return None
    if len(answered) == 1:
        return _scale_estimate(answered[0], answered[0].metric.estimate(answered[0].answers, confidence))
    questions, strata, shares = _merge_tasks(answered)
    result = estimate_score(questions, strata=strata, shares=shares, confidence=confidence)
    return replace(result, value=compute_performance(answered))


def compare_performance(
    first: Sequence[TaskAnswers], second: Sequence[TaskAnswers], confidence: float = 0.95
) -> PairedComparison | None:
    """Two trials on the questions that both have a score of; None where there are none.

    Over several tasks the test and the interval are of the tasks' sums over questions. Of a metric that has none
    (length control) they are of the one that it has for parts.
    """
    pairs = [(a.select_questions(b.answers), b.select_questions(a.answers)) for a, b in zip(first, second, strict=True)]
    pairs = [(a, b) for a, b in pairs if a.answers]
    if not pairs:
        return None
    if len(pairs) == 1:
        [(a, b)] = pairs
        try:
            paired = a.metric.compare(a.answers, b.answers, confidence)
        except DataError:  # too few shared questions for length control
            return None
        return replace(paired, difference=_scale_difference(a, paired.difference))
    (one, strata, shares), (other, _, _) = (_merge_tasks([pair[side] for pair in pairs]) for side in (0, 1))
    paired = compare_scores(one, other, strata=strata, shares=shares, confidence=confidence)
    value = compute_performance([a for a, _ in pairs]) - compute_performance([b for _, b in pairs])
    return replace(paired, difference=replace(paired.difference, value=value))


def _merge_tasks(
    parts: Sequence[TaskAnswers],
) -> tuple[dict[str, tuple[float, float]], dict[str, str], dict[str, float]]:
    """Sums and weights of all questions between 0 and 1, their strata, and the strata's shares."""
    questions: dict[str, tuple[float, float]] = {}
    strata: dict[str, str] = {}
    shares: dict[str, float] = {}
    for part in parts:
        metric = part.metric if isinstance(part.metric, QuestionMetric) else part.metric.part_metric
        assert isinstance(metric, QuestionMetric)
        low, high = part.scale
        own, own_shares = metric.assign_strata(part.answers) or ({}, {"": 1.0})
        for question, (total, weight) in metric.sum_questions(part.answers).items():
            key = f"{part.task.key}/{question}"
            questions[key] = ((total - low * weight) / (high - low), weight)
            strata[key] = f"{part.task.key}/{own.get(question, '')}"
        shares |= {f"{part.task.key}/{name}": part.task.weight * share for name, share in own_shares.items()}
    return questions, strata, shares


def _scale_estimate(part: TaskAnswers, estimate: Estimate) -> Estimate:
    """An estimate on the task's scale as one between 0 and 1."""
    low, high = part.scale
    moved = _scale_difference(part, estimate)
    offset = -low / (high - low)
    return replace(
        moved,
        value=moved.value + offset,
        low=None if moved.low is None else moved.low + offset,
        high=None if moved.high is None else moved.high + offset,
    )


def _scale_difference(part: TaskAnswers, estimate: Estimate) -> Estimate:
    low, high = part.scale
    factor = 1 / (high - low)
    ends = [None if end is None else end * factor for end in (estimate.low, estimate.high)]
    if factor < 0:  # where a lower score is the better one
        ends.reverse()
    return replace(
        estimate,
        value=estimate.value * factor,
        stderr=None if estimate.stderr is None else estimate.stderr * abs(factor),
        low=ends[0],
        high=ends[1],
    )
