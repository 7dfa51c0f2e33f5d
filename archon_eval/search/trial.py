"""A trial: one architecture's answers to some questions of every task, as wanted and as it came out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from archon_eval.architecture.spec import Architecture
from archon_eval.engine.plan import Plan
from archon_eval.errors import SearchError
from archon_eval.runs.eval_worker import EvalResult
from archon_eval.runs.layer_health import RunHealth
from archon_eval.runs.performance import TaskAnswers
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
    """Sets of draws."""
    first_epoch: int = 1
    """The first set of draws it takes; finalists take others than those by which they were chosen."""
    last_draws: int = 1
    """Answers with each set of draws: they share all calls before the last layer that asks a model (`Plan.last_layer`),
    as far as these are asked the same."""
    is_free: bool = False
    """Whether other trials have paid for all of its calls, so that it counts as no trial of the budget."""
    questions: Mapping[str, frozenset[str]] | None = None
    """Task -> the ids of the questions of its part that are asked; None for all."""

    shared_calls: float = 0
    """Calls per answer, in the mean, that evals before it have paid for, so that the call store answers them; of the
    first of several last draws."""

    def __post_init__(self) -> None:
        for name in ("epochs", "first_epoch", "last_draws"):
            if type(value := getattr(self, name)) is not int or value < 1:
                raise SearchError(f"{self.key}: {name} must be a whole number from 1, not {value!r}")

    @property
    def answers_per_question(self) -> int:
        """How often it asks each question."""
        return self.epochs * self.last_draws

    def select_questions(self, splits: QuestionSplits, task: str) -> Mapping[str, int]:
        """The questions of a task that it asks, with how many answers each asks for, in the order of the part.

        Raises:
            SearchError: it names none of the task's, or one that is not in its part.
        """
        part = splits[task][self.part]
        if self.questions is None:
            return part
        chosen = self.questions.get(task, frozenset())
        if not chosen:
            raise SearchError(f"{self.key}: no question of {task} is asked; name one, or leave out `questions`")
        if unknown := sorted(chosen - part.keys()):
            raise SearchError(f"{self.key}: {task} has no question {unknown[0]!r} in {self.part}")
        return {question: answers for question, answers in part.items() if question in chosen}


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
    """Per question that is asked once, whoever paid."""
    cost: float
    """Per question that is asked once, in the objective's unit."""
    by_epoch: Mapping[int, float] = field(default_factory=dict)
    """Performance with each set of draws (1 for the request's first) that every task has scores of; the mean over its
    last draws."""
    last_draw_variance: float | None = None
    """Unbiased variance of one answer's score (0 to 1, so at most 0.5) among the draws of the last layer of one set:
    the mean over questions, of tasks by weight. None where the last layer was drawn once, or a task has no question
    with two scores of one set. By a metric that is no mean of scores it is that of the scores all the same."""
    error: str = ""
    tokens: float = 0.0
    """Per question that is asked once."""
    dollars: float | None = None
    """Per question that is asked once, calls from the store too; None where a price or a usage is unknown."""
    first_epoch: int = 1
    """As the request had it; so the next two."""
    last_draws: int = 1
    is_free: bool = False

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
    asked = [request.select_questions(splits, task.key) for task in settings.tasks]
    scored = score_results(
        settings.tasks, results, list(map(len, asked)), epochs=request.epochs, last_draws=request.last_draws
    )
    turns = sum(sum(answers.values()) for answers in asked) / max(1, sum(map(len, asked)))
    return Trial(
        key=request.key,
        architecture=request.architecture,
        results=tuple(results),
        performance=scored.performance,
        parts=scored.parts,
        calls=scored.calls,
        cost=0.0
        if scored.error
        else settings.compute_cost(scored.calls, scored.tokens, scored.dollars, planned=request.plan, turns=turns),
        by_epoch=scored.by_epoch,
        last_draw_variance=scored.last_draw_variance,
        error=scored.error,
        tokens=scored.tokens,
        dollars=scored.dollars,
        first_epoch=request.first_epoch,
        last_draws=request.last_draws,
        is_free=request.is_free,
    )
