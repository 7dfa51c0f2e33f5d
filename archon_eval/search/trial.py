"""A trial: one architecture's answers to some questions of every task, as wanted and as it came out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from archon_eval.architecture.spec import Architecture
from archon_eval.engine.plan import Plan
from archon_eval.models.usage_totals import sum_dollars
from archon_eval.runs.eval_worker import EvalResult
from archon_eval.runs.layer_health import RunHealth
from archon_eval.search.config import SearchSettings, TaskSpec

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


@dataclass(frozen=True, slots=True)
class Trial:
    """One architecture's answers to some questions of every task."""

    key: str
    architecture: Architecture
    results: tuple[EvalResult, ...]
    """One per task."""
    performance: float | None
    """Weighted mean of the tasks' normalised scores; None if it failed."""
    scores: Mapping[str, float]
    """Question -> normalised score, mean over the epochs that count; questions without a score are not here."""
    calls: float
    """Per question, whoever paid."""
    cost: float
    """Per question, in the objective's unit."""
    by_epoch: Mapping[int, float] = field(default_factory=dict)
    """Performance with each set of draws (1 for the request's first) that every task has scores of."""
    error: str = ""

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
    scores: dict[str, float] = {}
    performance = weight = 0.0
    epochs: list[dict[int, float]] = []
    error = next((result.error for result in results if result.error), "")
    for task, result in zip(settings.tasks, results, strict=True):
        by_question, by_epoch = _normalize_scores(task, result)
        epochs.append({epoch: task.weight * score for epoch, score in by_epoch.items()})
        error = error or _find_failure(task, result, len(splits[task.key][request.part]))
        if by_question:
            performance += task.weight * fmean(by_question.values())
            weight += task.weight
        scores |= by_question
    times = max(1, count_questions(splits, request.part) * request.epochs)
    calls = sum(result.calls + result.reused for result in results) / times
    tokens = sum(result.tokens for result in results) / times
    total = sum_dollars(result.cost for result in results)
    dollars = None if total is None else total / times
    shared = sorted(set.intersection(*map(set, epochs)))
    return Trial(
        key=request.key,
        architecture=request.architecture,
        results=tuple(results),
        performance=performance / weight if weight and not error else None,
        scores=scores,
        calls=calls,
        cost=settings.compute_cost(calls, tokens, dollars) if not error else 0.0,
        by_epoch={epoch: sum(by_epoch[epoch] for by_epoch in epochs) / weight for epoch in shared},
        error=error,
    )


def _normalize_scores(task: TaskSpec, result: EvalResult) -> tuple[dict[str, float], dict[int, float]]:
    """Mean score by question (task/question) and by epoch."""
    by_question: dict[str, float] = {}
    by_epoch: dict[int, list[float]] = {}
    for question, raw in sorted(result.scores.items()):
        normalized = {int(epoch): task.normalize(score) for epoch, score in raw.items()}
        by_question[f"{task.key}/{question}"] = fmean(normalized.values())
        for epoch, score in normalized.items():
            by_epoch.setdefault(epoch, []).append(score)
    return by_question, {epoch: fmean(values) for epoch, values in by_epoch.items()}


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
