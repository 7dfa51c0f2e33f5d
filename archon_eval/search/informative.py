"""Which dev questions trials still ask: those that every trial got right, or none, tell no architectures apart.

    questions = InformativeQuestions(settings, splits, journal)
    questions.drop([trial, ...])             # after each trial; writes what it decides into the journal
    questions.asked                          # task -> ids; None for all
    questions.complete(trial)                # with the carried scores in place of what was not asked

After the first trials a question leaves when all of them scored the same at an end of the scale, and later when nearly
all did. Its mean score is carried over into later trials, so that performances stay comparable. Finalists are always
asked all questions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from archon_eval.runs.performance import TaskAnswers, compute_performance
from archon_eval.search.config import SearchSettings
from archon_eval.search.journal import Journal
from archon_eval.search.trial import QuestionSplits, Trial
from archon_eval.stats.metrics import QuestionMetric, ScoredAnswer

INFORMATIVE_AFTER = (12, 30, 80)
"""Trials after which questions may leave."""
DULL_VARIANCE = 0.04
"""Questions with a smaller p(1 - p), p their mean score, leave after more than the first of these; after the first,
those with none."""
MIN_INFORMATIVE = 10
"""Questions of a task that are asked on in any case: fewer say nothing."""


class InformativeQuestions:
    """The questions of a search that asks only informative ones; all, where it was not told to."""

    def __init__(self, settings: SearchSettings, splits: QuestionSplits, journal: Journal) -> None:
        self._journal, self._splits = journal, splits
        self._is_on = settings.questions == "informative"
        self._phases: list[Mapping[str, Mapping[str, float]]] = [{}]
        self._decided: dict[int, int] = {}
        """Trials after which it was decided who leaves -> the phase after that."""
        self._told: set[int] = set()
        for line in journal.list_entries("questions") if self._is_on else ():
            self._phases.append(line["carried"])
            self._decided[line["after"]] = self.phase

    @property
    def phase(self) -> int:
        """How often questions have left; later trials ask fewer."""
        return len(self._phases) - 1

    def list_asked(self, phase: int) -> Mapping[str, frozenset[str]] | None:
        """Task -> the ids that a trial of a phase asks; None for all."""
        carried = self._phases[phase]
        if not any(carried.values()):
            return None
        return {task: frozenset(parts["trial"].keys() - carried.get(task, {})) for task, parts in self._splits.items()}

    def complete(self, trial: Trial, phase: int) -> Trial:
        """The trial with the carried scores of the questions that its phase did not ask."""
        carried = self._phases[phase]
        if trial.performance is None or not any(carried.values()):
            return trial
        parts = []
        for part in trial.parts:
            low, high = part.scale
            kept = {
                question: (ScoredAnswer(low + (high - low) * score),)
                for question, score in carried.get(part.task.key, {}).items()
            }
            parts.append(part.select({**part.answers, **kept}))
        return replace(trial, parts=tuple(parts), performance=compute_performance(parts))

    def drop(self, trials: Sequence[Trial]) -> int:
        """Let questions leave if it is time.

        Args:
            trials: all that were chosen so far, complete, in order.

        Returns:
            How many left, whether in this process or in an earlier one; said once.
        """
        scored = [trial for trial in trials if trial.performance is not None]
        count = len(scored)
        if not self._is_on or count not in INFORMATIVE_AFTER or count in self._told:
            return 0
        self._told.add(count)
        if count not in self._decided:
            self._decide(scored)
        before, after = (self._phases[self._decided[count] - back] for back in (1, 0))
        return sum(map(len, after.values())) - sum(map(len, before.values()))

    def _decide(self, scored: Sequence[Trial]) -> None:
        count = len(scored)
        limit = 1e-9 if count == INFORMATIVE_AFTER[0] else DULL_VARIANCE
        before = self._phases[-1]
        carried = {
            task: dict(before.get(task, {})) | self._find_dull(task, scored, limit, known=before.get(task, {}))
            for task in self._splits
        }
        self._phases.append(carried)
        self._decided[count] = self.phase
        self._journal.add("questions", {"after": count, "carried": carried})

    def _find_dull(
        self, task: str, trials: Sequence[Trial], limit: float, *, known: Mapping[str, float]
    ) -> dict[str, float]:
        """Questions of a task that leave, with the scores from 0 to 1 that are carried; none of a weighted metric."""
        parts = [part for trial in trials for part in trial.parts if part.task.key == task]
        if not all(map(_is_plain_mean, parts)):
            return {}
        asked = sorted(self._splits[task]["trial"].keys() - known)
        scores = {
            question: [_score(part, question) for part in parts if question in part.answers] for question in asked
        }
        means = {question: fmean(values) for question, values in scores.items() if values}
        dull = {question: mean for question, mean in means.items() if mean * (1 - mean) < limit}
        return dull if len(asked) - len(dull) >= MIN_INFORMATIVE else {}


def _is_plain_mean(part: TaskAnswers) -> bool:
    """Whether a question's score can be carried: every answer counts once, by its value alone."""
    plain = all(a.weight == 1 and not a.facts for answers in part.answers.values() for a in answers)
    return plain and isinstance(part.metric, QuestionMetric)


def _score(part: TaskAnswers, question: str) -> float:
    return part.normalize(fmean(answer.value for answer in part.answers[question]))
