"""Which metric belongs to a run: the benchmark's own for scorers of this package, the log's for those from elsewhere.

    choice = choose_metric(log, "arena_hard", answers)
    choice.metric.name                              # "win rate"

A scorer's declaration says what its score's metadata means to the metric. Inspect's metrics of these scorers compute
the same figures from the same declarations, so that a report and `inspect view` agree. Of a scorer from elsewhere the
log has figures by name. Where the first of them is the mean of the values, that is the metric, under its name. Where
it is not (F1 over a corpus, say), it is shown as it is, and beside it the mean of values, which comparisons are of.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from archon_eval.errors import DataError, did_you_mean
from archon_eval.stats.length_control import LengthControlledMetric, find_calibration_problem, has_length_control
from archon_eval.stats.metrics import (
    Answers,
    MeanMetric,
    Metric,
    PartsMetric,
    PassAtKMetric,
    RatioMetric,
    ScoredAnswer,
    is_within,
)

if TYPE_CHECKING:
    from inspect_ai.scorer import SampleScore

MEAN_OF_VALUES = "mean of values"
PACKAGE = "archon_eval"
MIXEVAL_PARTS = ("free-form", "multiple-choice")
WIN_RATE = RatioMetric("win rate")
RAW_WIN_RATE = MeanMetric("win rate", shown_digits=2)
ADJUSTED_WIN_RATE = RatioMetric("adjusted win rate")
MEAN_GRADE = RatioMetric("mean grade", bounds=(1.0, 10.0))
MIXEVAL_OVERALL = PartsMetric("overall", MIXEVAL_PARTS)
ACCURACY = MeanMetric("accuracy")
ERROR_WORDS = ("stderr", "std", "var", "ci_", "standard_error", "error", "n_")
"""What the names of figures begin or end with that say how sure another one is, or of how many it is."""


@dataclass(frozen=True)
class Declaration:
    """What a scorer of this package declares."""

    metrics: Callable[[Answers], Sequence[Metric]]
    """Its metrics, the headline first."""
    weigh: Callable[[Mapping[str, Any]], float] = lambda metadata: 1.0
    """The rows that an answer stands for, from its score's metadata."""
    facts: tuple[str, ...] = ()
    """Keys of the score's metadata that the metric reads."""
    marks: tuple[str, ...] = ()
    """Keys of a score's metadata by which the scorer is known from another of the same name."""
    lost_weight: float | None = 1.0
    """The weight of an answer that failed and counts as wrong; None where the metric needs an answer."""

    def read_answer(self, value: float, metadata: Mapping[str, Any]) -> ScoredAnswer:
        """The scored answer.

        Raises:
            DataError: the metadata lacks what the metric reads.
        """
        try:
            return ScoredAnswer(value, self.weigh(metadata), {name: metadata[name] for name in self.facts})
        except (KeyError, TypeError) as exc:
            raise DataError(f"the score's metadata lacks what its metric reads: {exc!r}") from exc

    def build_lost_answer(self, metadata: Mapping[str, Any]) -> ScoredAnswer:
        """The answer of a failed sample where such count as wrong.

        Args:
            metadata: the sample's.

        Raises:
            DataError: the metric needs an answer.
        """
        if self.lost_weight is None or any(name not in metadata for name in self.facts):
            raise DataError("the benchmark's metric needs an answer, so a failed one cannot count as wrong")
        return ScoredAnswer(0.0, self.lost_weight, {name: metadata[name] for name in self.facts})


def _list_alpaca_metrics(answers: Answers) -> Sequence[Metric]:
    first = next((epochs[0] for epochs in answers.values() if epochs), None)
    if first is None or not first.facts["length_controlled"] or not has_length_control(answers):
        return (RAW_WIN_RATE,)
    return (LengthControlledMetric(first.facts["calibration"]), RAW_WIN_RATE)


def _list_mixeval_metrics(answers: Answers) -> Sequence[Metric]:
    parts = {str(epochs[0].facts["part"]) for epochs in answers.values() if epochs}
    if len(parts) == 1:
        return (PartsMetric(f"{parts.pop()} accuracy", MIXEVAL_PARTS),)
    return (MIXEVAL_OVERALL,)


DECLARED: Mapping[str, Declaration] = {
    "alpaca_eval": Declaration(
        _list_alpaca_metrics,
        facts=("index", "length", "baseline_length", "length_controlled", "calibration"),
        marks=("preference", "baseline_length"),
        lost_weight=None,
    ),
    "arena_hard": Declaration(
        lambda answers: (WIN_RATE,),
        weigh=lambda metadata: float(sum(len(game["rows"]) for game in metadata["games"])),
        marks=("games",),
        lost_weight=2.0,
    ),
    "letter_answer": Declaration(lambda answers: (ACCURACY,), marks=("status",)),
    "math_answer": Declaration(lambda answers: (ACCURACY,), marks=("extraction", "status")),
    "mixeval": Declaration(_list_mixeval_metrics, facts=("part", "benchmark"), marks=("part", "verdict")),
    "mt_bench_pair": Declaration(
        lambda answers: (ADJUSTED_WIN_RATE,),
        weigh=lambda metadata: float(len(metadata["outcomes"])),
        marks=("outcomes",),
        lost_weight=2.0,
    ),
    "mt_bench_single": Declaration(
        lambda answers: (MEAN_GRADE,),
        weigh=lambda metadata: float(len(metadata["ratings"])),
        marks=("ratings",),
        lost_weight=None,
    ),
    "programs": Declaration(lambda answers: (PassAtKMetric(1),), marks=("verdict", "tests")),
}
"""Scorer -> its declaration."""
UNKNOWN_SCORER = Declaration(lambda answers: ())


@dataclass(frozen=True)
class MetricChoice:
    """The metric of a run, and what the log says beside it."""

    metric: Metric
    headline: tuple[str, float] | None = None
    """The log's own figure, where the metric is not that: its name and value."""
    note: str = ""
    """Why the metric is not the benchmark's headline; empty where it is."""
    logged: Mapping[str, float] = field(default_factory=dict)
    """All figures of the scorer in the log."""


def find_declaration(log: Any, scorer: str) -> Declaration:
    """The declaration of a scorer, by its name in the samples; of one from elsewhere, the one that knows nothing.

    A log has the scorer's name with its package or without. So a scorer is also known by what its scores hold.
    """
    name = re.sub(r"\d+$", "", scorer) if scorer not in DECLARED else scorer  # Inspect numbers equal names
    if name not in DECLARED:
        return UNKNOWN_SCORER
    packages = {str(used.name).rpartition("/")[0] for used in log.eval.scorers or () if used.name.endswith(name)}
    found = [(sample.scores or {}).get(scorer) for sample in log.samples or ()]
    marks = set(DECLARED[name].marks)
    is_known = any(marks <= (score.metadata or {}).keys() for score in found if score is not None)
    return DECLARED[name] if is_known and not packages - {"", PACKAGE} else UNKNOWN_SCORER


def collect_answers(scorer: str, scores: "Sequence[SampleScore]") -> dict[str, list[ScoredAnswer]]:
    """Question -> scored answers, of the scores that Inspect hands to a metric of this package.

    Raises:
        DataError: a score without what the metric reads.
    """
    answers: dict[str, list[ScoredAnswer]] = {}
    for sample in scores:
        answer = DECLARED[scorer].read_answer(sample.score.as_float(), sample.score.metadata or {})
        answers.setdefault(str(sample.sample_id), []).append(answer)
    return answers


def choose_metric(log: Any, scorer: str, answers: Answers, wanted: str | None = None) -> MetricChoice:
    """The metric of a log's scorer.

    Args:
        scorer: `NAME` or `NAME/KEY`.
        answers: as the scorer's declaration reads them.
        wanted: a metric's name, as `--metric` takes it; None for the benchmark's own.

    Raises:
        DataError: no such metric, or one that needs more epochs; names those there are.
    """
    logged = read_logged_figures(log, scorer)
    declared = list(find_declaration(log, scorer).metrics(answers))
    reducer = _find_reducer(log, scorer)
    choice = _choose_declared(declared, logged, reducer) if declared else _choose_logged(logged, answers)
    if wanted is None:
        return choice
    offered: list[Metric] = [*declared, choice.metric, fit_mean(MEAN_OF_VALUES, answers)]
    if match := re.fullmatch(r"pass[@_](?:at_)?(\d+)", wanted):
        metric: Metric = PassAtKMetric(int(match[1]))
        metric.compute(answers)
        return MetricChoice(metric, logged=logged)
    for metric in offered:
        if wanted in (metric.name, metric.option, "mean" if metric.name == MEAN_OF_VALUES else metric.name):
            return MetricChoice(metric, logged=logged)
    if wanted in logged:
        return MetricChoice(fit_mean(MEAN_OF_VALUES, answers), (wanted, logged[wanted]), logged=logged)
    names = [*dict.fromkeys(metric.option for metric in offered), "pass@K", *logged]
    raise DataError(f"scorer {scorer}: no metric {wanted!r}{did_you_mean(wanted, names)}")


def rebuild_metric(scorer: str, name: str, answers: Answers) -> Metric:
    """The metric of that name, of the scorer whose answers these are; where the name is empty, the mean of values.

    Raises:
        DataError: the scorer has no such metric for these answers.
    """
    if match := re.fullmatch(r"pass@(\d+)", name):
        return PassAtKMetric(int(match[1]))
    declared = DECLARED[scorer].metrics(answers) if scorer in DECLARED and _has_facts(scorer, answers) else ()
    for metric in declared:
        if metric.name == name:
            return metric
    if any(name == metric.name for metric in _FULL_METRICS):
        raise DataError(f"these answers have no {name}: they lack what it reads")
    return fit_mean(name or MEAN_OF_VALUES, answers)


_FULL_METRICS = (WIN_RATE, ADJUSTED_WIN_RATE, MEAN_GRADE, MIXEVAL_OVERALL, LengthControlledMetric(None))
"""Metrics that read more than the values."""


def _has_facts(scorer: str, answers: Answers) -> bool:
    names = set(DECLARED[scorer].facts)
    return all(names <= answer.facts.keys() for epochs in answers.values() for answer in epochs)


def fit_mean(name: str, answers: Answers) -> MeanMetric:
    """The mean of values, with the bounds 0 and 1 where all of them lie within."""
    unit = (0.0, 1.0)
    return MeanMetric(name, unit if is_within(answers, unit) else None)


def read_logged_figures(log: Any, scorer: str) -> dict[str, float]:
    """The figures of a scorer in the log, in their order; of a reducer other than the mean as `accuracy (mode)`."""
    figures: dict[str, float] = {}
    for score in _list_results(log, scorer):
        reducer = "" if score.reducer in (None, "mean") else f" ({score.reducer})"
        for key, figure in score.metrics.items():
            if isinstance(figure.value, int | float):
                figures.setdefault(f"{key}{reducer}", float(figure.value))
    return figures


def _list_results(log: Any, scorer: str) -> list[Any]:
    """The log's results of a scorer; of one that gives several values, those of the key."""
    scores = list(log.results.scores) if getattr(log, "results", None) else []
    name, _, key = scorer.partition("/")
    own = [score for score in scores if score.name == scorer and score.scorer in (scorer, score.name)]
    own = own or [score for score in scores if key and score.scorer == name and score.name == key]
    return own or [score for score in scores if score.scorer == scorer or score.name == scorer]


def _find_reducer(log: Any, scorer: str) -> str:
    """The first of the reducers that the log's results were made with; empty for the mean."""
    first = next(iter(_list_results(log, scorer)), None)
    return "" if first is None or first.reducer in (None, "mean") else str(first.reducer)


def _choose_declared(declared: Sequence[Metric], logged: Mapping[str, float], reducer: str) -> MetricChoice:
    if (match := re.fullmatch(r"pass_at_(\d+)", reducer)) and isinstance(declared[0], PassAtKMetric | MeanMetric):
        return MetricChoice(PassAtKMetric(int(match[1])), logged=logged)
    if isinstance(declared[0], LengthControlledMetric) and (why := find_calibration_problem(declared[0].calibration)):
        value = logged.get("length_controlled_winrate")
        headline = None if value is None else ("length_controlled_winrate", value / 100)
        return MetricChoice(declared[1], headline, f"length control cannot be computed here: {why}", logged)
    return MetricChoice(declared[0], logged=logged)


def _choose_logged(logged: Mapping[str, float], answers: Answers) -> MetricChoice:
    mean = fit_mean(MEAN_OF_VALUES, answers)
    name = next(iter(_list_headlines(logged)), None)
    if name is None or not answers:
        return MetricChoice(mean, logged=logged)
    own = logged[name]
    if match := re.search(r"\(pass_at_(\d+)\)$", name):
        metric: Metric = PassAtKMetric(int(match[1]))
        try:
            is_same = abs(metric.compute(answers) - own) <= 1e-6
        except DataError:
            is_same = False
        if is_same:
            return MetricChoice(metric, logged=logged)
    if abs(mean.compute(answers) - own) <= 1e-6 * max(1.0, abs(own)):
        return MetricChoice(fit_mean(name, answers), logged=logged)
    return MetricChoice(mean, (name, own), logged=logged)


def _list_headlines(logged: Mapping[str, float]) -> Iterable[str]:
    """Names of figures that say how good, not how sure."""
    for name in logged:
        word = name.rpartition("/")[2].partition(" ")[0]
        if not any(word.startswith(part) or word.endswith(part) for part in ERROR_WORDS):
            yield name
