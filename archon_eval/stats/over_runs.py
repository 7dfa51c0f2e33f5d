"""The spread of a system's figure over repeated runs of the same questions: `sd / sqrt(runs)`, as the papers print it.

It says how much the system's own chance moves the figure on these questions. It says nothing of other questions: that
is the standard error over questions (`archon_eval.stats.estimates`), which is mostly larger. Where all runs draw the
same answers it is 0, and rightly so.

    >>> from archon_eval.stats.metrics import MeanMetric, ScoredAnswer
    >>> runs = [{"q": [ScoredAnswer(value)]} for value in (1.0, 0.0, 1.0, 0.0)]
    >>> spread = estimate_over_runs(MeanMetric("accuracy"), runs)
    >>> spread.values, round(spread.stderr, 4)
    ((1.0, 0.0, 1.0, 0.0), 0.2887)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import stdev

from archon_eval.errors import DataError
from archon_eval.stats.metrics import Answers, Metric

MIN_QUESTION_SHARE = 0.9
"""A run with a smaller share of all questions than this has another set of questions, and is left out."""
MIN_SPREAD = 1e-12
"""Sums of equal values in another order may differ in the last bits: that is no spread."""


@dataclass(frozen=True, slots=True)
class RunsSpread:
    """A figure over runs, each of them one answer to every question."""

    values: tuple[float, ...]
    """The figure of each run that counts, on the metric's scale; empty where one run alone has no figure."""
    stderr: float | None
    """`sd / sqrt(runs)`, on the metric's scale; None where it is unknown."""
    why: str = ""
    """Why it is unknown; empty where it is not."""
    questions: int = 0
    """Questions that all these runs have, over which the figures are."""
    left_out_questions: int = 0
    """Questions that one of these runs lacks."""
    left_out_runs: int = 0
    """Runs that lack too many questions (`MIN_QUESTION_SHARE`)."""

    @property
    def runs(self) -> int:
        """How many count."""
        return len(self.values)


def estimate_over_runs(metric: Metric, runs: Sequence[Answers]) -> RunsSpread:
    """The spread of a metric's figure over runs.

    All figures are over the same questions: those that every run has. A run that lacks more than a tenth of all
    questions does not count.

    Args:
        runs: the answers of each, one to a question.
    """
    every = {question for run in runs for question in run}
    counted = [run for run in runs if run and len(run) >= MIN_QUESTION_SHARE * len(every)]
    shared = set(every).intersection(*counted) if counted else set()
    left_out = {"left_out_runs": len(runs) - len(counted)}
    if not shared:
        why = "the runs have no question in common"
        if set(every).intersection(*runs):
            why = "every run lacks too many of the questions"
        return RunsSpread((), None, why, **left_out)
    left_out["left_out_questions"] = len({question for run in counted for question in run}) - len(shared)
    try:
        values = tuple(
            metric.compute({question: answers for question, answers in run.items() if question in shared})
            for run in counted
        )
    except DataError:
        return RunsSpread((), None, f"one run alone has no {metric.name}", len(shared), **left_out)
    if len(values) == 1:
        return RunsSpread(values, None, "one run tells nothing about spread", len(shared), **left_out)
    same = max(values) - min(values) <= MIN_SPREAD * max(1.0, *map(abs, values))
    return RunsSpread(values, 0.0 if same else stdev(values) / sqrt(len(values)), "", len(shared), **left_out)
