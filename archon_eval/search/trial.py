"""A trial: one architecture's answers to some questions of every task, as wanted and as it came out."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from archon_eval.architecture.spec import Architecture
from archon_eval.engine.plan import Plan
from archon_eval.errors import SearchError
from archon_eval.runs.eval_worker import EvalResult
from archon_eval.runs.layer_health import RunHealth
from archon_eval.runs.performance import TaskAnswers, compute_performance
from archon_eval.runs.scored_results import score_results
from archon_eval.search.config import SearchSettings

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
    tokens: float = 0.0
    """Per question."""
    dollars: float | None = None
    """Per question, calls from the store too; None where a price or a usage is unknown."""

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
    asked = [len(splits[task.key][request.part]) for task in settings.tasks]
    scored = score_results(settings.tasks, results, asked, epochs=request.epochs)
    return Trial(
        key=request.key,
        architecture=request.architecture,
        results=tuple(results),
        performance=scored.performance,
        parts=scored.parts,
        calls=scored.calls,
        cost=settings.compute_cost(scored.calls, scored.tokens, scored.dollars) if not scored.error else 0.0,
        by_epoch=_compute_by_epoch(scored.parts, results) if scored.performance is not None else {},
        error=scored.error,
        tokens=scored.tokens,
        dollars=scored.dollars,
    )


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
