"""The metrics by which benchmarks are reported, as functions over per-question records.

A metric gives a system's score, its interval, and the paired comparison of two systems, all three on the same figure:

    >>> metric = RatioMetric("win rate")
    >>> answers = {"q1": [ScoredAnswer(1.0, weight=3)], "q2": [ScoredAnswer(0.0, weight=1)]}
    >>> metric.compute(answers)
    0.75
    >>> MeanMetric("mean of values").compute(answers)
    0.5

Which metric belongs to which scorer: `archon_eval.runs.metrics`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from math import comb
from operator import add
from statistics import fmean
from typing import Any

from archon_eval.errors import DataError
from archon_eval.stats.comparison import PairedComparison, compare_scores
from archon_eval.stats.estimates import Estimate, estimate_score

Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """The score of one answer, and what the benchmark's metric reads besides."""

    value: float
    """On the scorer's own scale."""
    weight: float = 1.0
    """How many rows of the metric it stands for: Arena-Hard's weighted games, MT-Bench's turns."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else the metric needs: the part of MixEval, the lengths and the official index of AlpacaEval."""


Answers = Mapping[str, Sequence[ScoredAnswer]]
"""Question -> its answers, one per epoch."""
QuestionScores = dict[str, tuple[float, float]]
"""Question -> (sum of its values, weight), as `estimate_score` takes them."""


class Metric(ABC):
    """A system's figure on a benchmark. Equal metrics are comparable."""

    name: str
    """What tables call it."""
    bounds: Bounds | None
    """The least and the greatest value; None where the scale is unknown."""

    @property
    def option(self) -> str:
        """How `--metric` names it."""
        return self.name.lower().replace(" ", "_")

    @property
    def points(self) -> float:
        """What a value of 1 is shown as: 100 (percent) on a scale from 0 to 1, else 1."""
        return 100.0 if self.bounds == (0.0, 1.0) else 1.0

    @property
    def digits(self) -> int:
        """Digits after the point that a table shows of a figure, as the benchmark publishes it."""
        return 1 if self.points == 100 else 2

    @property
    def companions(self) -> "tuple[Metric, ...]":
        """Metrics that belong beside it in a table."""
        return ()

    @property
    def part_metric(self) -> "Metric":
        """The metric of a part of the benchmark's questions."""
        return self

    def widen(self, answers: Answers) -> "Metric":
        """The metric without bounds where an answer's value is outside of them."""
        return self

    @abstractmethod
    def compute(self, answers: Answers) -> float:
        """The figure.

        Raises:
            DataError: no answer, or answers that the metric is not defined for.
        """

    @abstractmethod
    def estimate(self, answers: Answers, confidence: float = 0.95) -> Estimate:
        """The figure with its interval. Raises as `compute`."""

    @abstractmethod
    def compare(self, first: Answers, second: Answers, confidence: float = 0.95) -> PairedComparison:
        """The first system less the second on the same questions.

        Raises:
            DataError: as `compute`; or questions that only one of the two has.
        """


class QuestionMetric(Metric):
    """A metric that is a weighted mean over questions, each of which gives a sum and a weight."""

    @abstractmethod
    def sum_question(self, question: str, answers: Sequence[ScoredAnswer]) -> tuple[float, float]:
        """The sum of a question's values and its weight."""

    def assign_strata(self, answers: Answers) -> tuple[dict[str, str], dict[str, float]] | None:
        """Question -> stratum and stratum -> share of the figure; None where there is one stratum."""
        return None

    def sum_questions(self, answers: Answers) -> QuestionScores:
        """Sums and weights of all questions."""
        if not answers:
            raise DataError("no scores: there is nothing to estimate")
        return {question: self.sum_question(question, epochs) for question, epochs in answers.items()}

    def compute(self, answers: Answers) -> float:
        return self._round(answers, self._compute_shares(answers))

    def estimate(self, answers: Answers, confidence: float = 0.95) -> Estimate:
        strata, shares = self.assign_strata(answers) or (None, None)
        result = estimate_score(
            self.sum_questions(answers), bounds=self.bounds, strata=strata, shares=shares, confidence=confidence
        )
        return _move_value(result, self.compute(answers))

    def compare(self, first: Answers, second: Answers, confidence: float = 0.95) -> PairedComparison:
        strata, shares = self.assign_strata(first) or (None, None)
        paired = compare_scores(
            self.sum_questions(first),
            self.sum_questions(second),
            bounds=self.bounds,
            strata=strata,
            shares=shares,
            confidence=confidence,
        )
        return replace(paired, difference=_move_value(paired.difference, self.compute(first) - self.compute(second)))

    def _round(self, answers: Answers, value: float) -> float:
        """The figure as the benchmark publishes it."""
        return value

    def _compute_shares(self, answers: Answers) -> float:
        strata, shares = self.assign_strata(answers) or ({}, {"": 1.0})
        totals: dict[str, list[tuple[float, float]]] = {}
        for question, pair in self.sum_questions(answers).items():
            totals.setdefault(strata.get(question, ""), []).append(pair)
        parts = {s: sum(total for total, _ in each) / sum(weight for _, weight in each) for s, each in totals.items()}
        return sum(shares[s] * part for s, part in parts.items()) / sum(shares[s] for s in parts)


@dataclass(frozen=True)
class MeanMetric(QuestionMetric):
    """The mean over questions of the mean over a question's epochs."""

    name: str
    bounds: Bounds | None = (0.0, 1.0)
    shown_digits: int | None = None

    @property
    def digits(self) -> int:
        return super().digits if self.shown_digits is None else self.shown_digits

    def sum_question(self, question: str, answers: Sequence[ScoredAnswer]) -> tuple[float, float]:
        return fmean(answer.value for answer in answers), 1.0

    def widen(self, answers: Answers) -> "MeanMetric":
        return self if is_within(answers, self.bounds) else replace(self, bounds=None)


@dataclass(frozen=True)
class RoundedMeanMetric(MeanMetric):
    """The mean of every epoch, rounded; then the mean over epochs: a part of MixEval as it is published."""

    rounding: int = 3

    def _round(self, answers: Answers, value: float) -> float:
        return fmean(average_rounded(list(run.values()), self.rounding) for run in list_runs(answers))


@dataclass(frozen=True)
class RatioMetric(QuestionMetric):
    """The mean over rows, of which an answer has `weight` many: the ratio of two sums over questions."""

    name: str
    bounds: Bounds | None = (0.0, 1.0)
    digits: int = 2

    def sum_question(self, question: str, answers: Sequence[ScoredAnswer]) -> tuple[float, float]:
        return sum(answer.value * answer.weight for answer in answers), sum(answer.weight for answer in answers)


@dataclass(frozen=True)
class PassAtKMetric(QuestionMetric):
    """The chance that one of k answers is right: 1 - C(n-c, k) / C(n, k) for c right of n (Chen et al., 2021)."""

    k: int

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"pass@{self.k}"

    @property
    def bounds(self) -> Bounds:  # type: ignore[override]
        return (0.0, 1.0)

    def sum_question(self, question: str, answers: Sequence[ScoredAnswer]) -> tuple[float, float]:
        n, right = len(answers), sum(answer.value == 1 for answer in answers)
        if n < self.k:
            raise DataError(f"{self.name}: question {question} has {n} answers; run at least --epochs {self.k}")
        if other := [answer.value for answer in answers if answer.value not in (0, 1)]:
            raise DataError(f"{self.name}: question {question} has the score {other[0]:g}; legal is 0 or 1")
        return 1 - comb(n - right, self.k) / comb(n, self.k), 1.0


@dataclass(frozen=True)
class PartsMetric(QuestionMetric):
    """The mean of the parts' means, each rounded, of every epoch; then the mean over epochs (MixEval)."""

    name: str
    parts: tuple[str, ...]
    """Values of the fact `key`, of equal shares."""
    key: str = "part"
    rounding: int = 3
    """Digits to which a part's mean, from 0 to 1, is rounded."""
    bounds: Bounds | None = (0.0, 1.0)
    digits: int = 2

    @property
    def part_metric(self) -> Metric:
        return RoundedMeanMetric("accuracy", self.bounds, rounding=self.rounding)

    def sum_question(self, question: str, answers: Sequence[ScoredAnswer]) -> tuple[float, float]:
        return fmean(answer.value for answer in answers), 1.0

    def assign_strata(self, answers: Answers) -> tuple[dict[str, str], dict[str, float]]:
        strata = {question: str(epochs[0].facts[self.key]) for question, epochs in answers.items()}
        present = [part for part in self.parts if part in strata.values()]
        return strata, dict.fromkeys(present, 1 / len(present))

    def _round(self, answers: Answers, value: float) -> float:
        strata, _ = self.assign_strata(answers)
        runs: list[float] = []
        for run in list_runs(answers):
            values = [[v for question, v in run.items() if strata[question] == part] for part in self.parts]
            means = [average_rounded(each, self.rounding) for each in values if each]
            runs.append(sum(means) / len(means))
        return fmean(runs)


def list_runs(answers: Answers) -> list[dict[str, float]]:
    """Question -> value of each epoch; where epochs lack questions, one run of the questions' means over epochs."""
    counts = set(map(len, answers.values()))
    if len(counts) > 1:
        return [{question: fmean(answer.value for answer in epochs) for question, epochs in answers.items()}]
    return [{question: epochs[n].value for question, epochs in answers.items()} for n in range(max(counts, default=0))]


def is_mean(metric: Metric) -> bool:
    """Whether the figure is the mean of a question's values, whatever the benchmark calls it."""
    return isinstance(metric, MeanMetric) or metric == PassAtKMetric(1)


def average_rounded(values: Sequence[float], digits: int = 3) -> float:
    """The rounded mean, added up in the given order, as MixEval publishes it (half-way means depend on it)."""
    # Not `sum`: from Python 3.12 on it compensates for rounding errors, and half-way means would come out differently.
    return round(reduce(add, values, 0.0) / len(values), digits)


def is_within(answers: Answers, bounds: Bounds | None) -> bool:
    """Whether every value lies within the bounds; where there are none, never."""
    if bounds is None:
        return False
    return all(bounds[0] <= answer.value <= bounds[1] for epochs in answers.values() for answer in epochs)


def list_values(answers: Answers) -> Iterable[float]:
    """The values of all answers."""
    return (answer.value for epochs in answers.values() for answer in epochs)


def _move_value(estimate: Estimate, value: float) -> Estimate:
    """The estimate around the figure as it is published, which rounding may have moved by a hair."""
    low, high = estimate.low, estimate.high
    return replace(
        estimate,
        value=value,
        low=None if low is None else min(low, value),
        high=None if high is None else max(high, value),
    )
