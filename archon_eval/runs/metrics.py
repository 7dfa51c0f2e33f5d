"""Which metric belongs to a run: the benchmark's own for scorers of this package, the log's for those from elsewhere.

    choice = choose_metric(log, "arena_hard", answers)
    choice.metric.name                              # "win rate"

A scorer's declaration says what its score's metadata means to the metric. Inspect's metrics of these scorers compute
the same figures from the same declarations, so that a report and `inspect view` agree. Of a scorer from elsewhere the
log has figures by name. Where the first of them is the mean of the values, that is the metric, under its name. Where
it is not (F1 over a corpus, say), it is shown as it is, and beside it the mean of values, which comparisons are of.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from archon_eval.errors import DataError, did_you_mean
from archon_eval.stats.length_control import (
    RAW_WIN_RATE,
    LengthControlledMetric,
    find_calibration_problem,
    find_official_index,
    has_length_control,
)
from archon_eval.stats.metrics import (
    Answers,
    MeanMetric,
    Metric,
    PartsMetric,
    PassAtKMetric,
    RatioMetric,
    ScoredAnswer,
    is_mean,
    is_within,
)

if TYPE_CHECKING:
    from inspect_ai.scorer import SampleScore

MEAN_OF_VALUES = "mean of values"
PACKAGE = "archon_eval"
MIXEVAL_PARTS = ("free-form", "multiple-choice")
MIXEVAL_NAMES = ("overall", *(f"{part}_accuracy" for part in MIXEVAL_PARTS))
WIN_RATE = RatioMetric("win rate")
ADJUSTED_WIN_RATE = RatioMetric("adjusted win rate")
MEAN_GRADE = RatioMetric("mean grade", bounds=(1.0, 10.0))
MIXEVAL_OVERALL = PartsMetric("overall", MIXEVAL_PARTS)
ACCURACY = MeanMetric("accuracy")
ERROR_NAMES = re.compile(r"(bootstrap_|lc_)?(stderr|std|var|standard_error)|(.*_)?ci_(low|high)|n_\w+|.*_stderr")
"""Names of figures that say how sure another one is, or of how many it is."""
MEAN_METRICS = ("accuracy", "mean")
"""Metrics of Inspect that are the mean of values by their definition."""


@dataclass(frozen=True)
class Declaration:
    """What a scorer of this package declares."""

    metrics: Callable[[Answers], Sequence[Metric]]
    """Its metrics, the headline first."""
    names: tuple[str, ...]
    """All that it may be called by `--metric`."""
    weigh: Callable[[Mapping[str, Any]], float] = lambda metadata: 1.0
    """The rows that an answer stands for, from its score's metadata."""
    facts: tuple[str, ...] = ()
    """Keys of the score's metadata that the metric reads."""
    marks: tuple[str, ...] = ()
    """Keys of a score's metadata by which the scorer is known from another of the same name."""
    correct: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]] = lambda facts, sample: facts
    """The facts as the sample's own metadata has them, where a score of an earlier version may be wrong."""
    lost_weight: float | None = 1.0
    """The weight of an answer that failed and counts as wrong; None where the metric needs an answer."""
    judge_calls: int = 0
    """Calls of a judge that a question takes at most each time it is answered, where every reply can be read."""
    vote_obstacle: str = ""
    """Why the component `vote`, which compares final answers, makes no sense of its answers; empty where it does."""

    def read_answer(
        self, value: float, metadata: Mapping[str, Any], sample: Mapping[str, Any] | None = None
    ) -> ScoredAnswer:
        """The scored answer.

        Args:
            metadata: the score's.
            sample: the sample's metadata, where it is known.

        Raises:
            DataError: the metadata lacks what the metric reads.
        """
        try:
            facts = {name: metadata[name] for name in self.facts}
            return ScoredAnswer(value, self.weigh(metadata), dict(self.correct(facts, sample or {})))
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


def _correct_index(facts: Mapping[str, Any], sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """The index that the instruction's text has; earlier versions believed the place in the file."""
    instruction = sample.get("instruction")
    return {**facts, "index": find_official_index(instruction)} if isinstance(instruction, str) else facts


def _list_mixeval_metrics(answers: Answers) -> Sequence[Metric]:
    parts = {str(epochs[0].facts["part"]) for epochs in answers.values() if epochs}
    if len(parts) == 1:
        return (PartsMetric(f"{parts.pop()} accuracy", MIXEVAL_PARTS),)
    return (MIXEVAL_OVERALL,)


_JUDGED_WHOLE = "a judge reads its answers as whole texts, of which no two are spelt alike"
DECLARED: Mapping[str, Declaration] = {
    "alpaca_eval": Declaration(
        _list_alpaca_metrics,
        ("lc_win_rate", "win_rate"),
        facts=("index", "length", "baseline_length", "length_controlled", "calibration"),
        marks=("preference", "baseline_length"),
        judge_calls=1,
        correct=_correct_index,
        lost_weight=None,
        vote_obstacle=_JUDGED_WHOLE,
    ),
    "arena_hard": Declaration(
        lambda answers: (WIN_RATE,),
        ("win_rate",),
        weigh=lambda metadata: float(sum(len(game["rows"]) for game in metadata["games"])),
        marks=("games",),
        judge_calls=2,
        lost_weight=2.0,
        vote_obstacle=_JUDGED_WHOLE,
    ),
    "letter_answer": Declaration(lambda answers: (ACCURACY,), ("accuracy",), marks=("status",)),
    "math_answer": Declaration(lambda answers: (ACCURACY,), ("accuracy",), marks=("extraction", "status")),
    "mixeval": Declaration(
        _list_mixeval_metrics,
        MIXEVAL_NAMES,
        facts=("part", "benchmark"),
        marks=("part", "verdict"),
        judge_calls=1,
        vote_obstacle=_JUDGED_WHOLE,
    ),
    "mt_bench_pair": Declaration(
        lambda answers: (ADJUSTED_WIN_RATE,),
        ("adjusted_win_rate",),
        weigh=lambda metadata: float(len(metadata["outcomes"])),
        marks=("outcomes",),
        judge_calls=4,
        lost_weight=2.0,
        vote_obstacle=_JUDGED_WHOLE,
    ),
    "mt_bench_single": Declaration(
        lambda answers: (MEAN_GRADE,),
        ("mean_grade",),
        weigh=lambda metadata: float(len(metadata["ratings"])),
        marks=("ratings",),
        judge_calls=2,
        lost_weight=None,
        vote_obstacle=_JUDGED_WHOLE,
    ),
    "programs": Declaration(
        lambda answers: (PassAtKMetric(1),),
        ("pass@1",),
        marks=("verdict", "tests"),
        vote_obstacle="its answers are programs, of which no two are spelt alike",
    ),
}
"""Scorer -> its declaration."""
UNKNOWN_SCORER = Declaration(lambda answers: (), ())


@dataclass(frozen=True)
class MetricChoice:
    """The metric of a run, and what the log says beside it."""

    metric: Metric
    headline: tuple[str, float] | None = None
    """The log's own figure, where the metric is not that: its name and value."""
    note: str = ""
    """Why the metric is not the benchmark's headline; empty where it is."""


def find_declaration(log: Any, scorer: str) -> Declaration:
    """The declaration of a scorer, by its name in the samples; of one from elsewhere, the one that knows nothing."""
    name = find_declaring_scorer(log, scorer)
    return DECLARED[name] if name else UNKNOWN_SCORER


def find_declaring_scorer(log: Any, scorer: str) -> str:
    """The name in DECLARED of a scorer in the samples; empty for one from elsewhere.

    A log has the scorer's name with its package or without. So a scorer is also known by what its scores hold.
    """
    name = re.sub(r"\d+$", "", scorer) if scorer not in DECLARED else scorer  # Inspect numbers equal names
    if name not in DECLARED:
        return ""
    named = [str(used.name).rpartition("/") for used in log.eval.scorers or ()]
    packages = {package for package, _, last in named if last == name}
    found = [(sample.scores or {}).get(scorer) for sample in log.samples or ()]
    marks = set(DECLARED[name].marks)
    is_known = any(marks <= (score.metadata or {}).keys() for score in found if score is not None)
    return name if is_known and not packages - {"", PACKAGE} else ""


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
    if declared:
        choice = _choose_declared(declared, logged, reducer)
    else:
        choice = _choose_logged(logged, answers, _list_mean_figures(log, scorer))
    if wanted is None:
        return _explain_raw_rate(choice, answers)
    offered: list[Metric] = [*declared, choice.metric, fit_mean(MEAN_OF_VALUES, answers)]
    if match := re.fullmatch(r"pass[@_](?:at_)?([1-9]\d*)", wanted):
        metric: Metric = PassAtKMetric(int(match[1]))
        metric.compute(answers)
        return MetricChoice(metric)
    for metric in offered:
        if wanted in (metric.name, metric.option, "mean" if metric.name == MEAN_OF_VALUES else metric.name):
            if isinstance(metric, LengthControlledMetric) and (why := find_calibration_problem(metric.calibration)):
                raise DataError(f"scorer {scorer}: {why}")
            return MetricChoice(metric)
    if wanted in logged:
        return MetricChoice(fit_mean(MEAN_OF_VALUES, answers), (wanted, logged[wanted]))
    names = dict.fromkeys([*(metric.option for metric in offered), "pass@K", *logged])
    raise DataError(f"scorer {scorer}: no metric {wanted!r}{did_you_mean(wanted, names)}")


def rebuild_metric(declared_by: str, name: str, answers: Answers) -> Metric:
    """The metric of that name; where the name is empty, the mean of values.

    Args:
        declared_by: the scorer of this package that declares it; empty where none does.

    Raises:
        DataError: the scorer has no such metric for these answers.
    """
    if match := re.fullmatch(r"pass@(\d+)", name):
        return PassAtKMetric(int(match[1]))
    for metric in DECLARED[declared_by].metrics(answers) if declared_by else ():
        if metric.name == name:
            return metric
    if declared_by and name != MEAN_OF_VALUES:
        raise DataError(f"these answers have no {name}: they lack what it reads")
    return fit_mean(name or MEAN_OF_VALUES, answers)


def join_metrics(first: Metric, second: Metric) -> Metric | None:
    """The metric by which two runs are compared; None where there is none. Means of two names are means of values."""
    if first.name == second.name:
        return first
    if is_mean(first) and is_mean(second):
        return MeanMetric(MEAN_OF_VALUES, first.bounds)
    return None


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
            if isinstance(figure.value, int | float) and math.isfinite(figure.value):
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
        return MetricChoice(PassAtKMetric(int(match[1])))
    if isinstance(declared[0], LengthControlledMetric) and (why := find_calibration_problem(declared[0].calibration)):
        value = logged.get("length_controlled_winrate")
        headline = None if value is None else ("length_controlled_winrate", value)
        return MetricChoice(declared[1], headline, f"length control cannot be computed here: {why}")
    if reducer and (name := next((name for name in _list_headlines(logged) if name.endswith(f"({reducer})")), None)):
        note = (
            f"the eval took the {reducer} of each question's answers; the {declared[0].name} here is over all of them"
        )
        return MetricChoice(declared[0], (name, logged[name]), note)
    return MetricChoice(declared[0])


def _explain_raw_rate(choice: MetricChoice, answers: Answers) -> MetricChoice:
    """The choice, with a word where length control was asked for and these are not AlpacaEval's instructions."""
    facts = [epochs[0].facts for epochs in answers.values()]
    if choice.metric != RAW_WIN_RATE or choice.note or not all(each.get("length_controlled") for each in facts):
        return choice
    others = sum(each.get("index") is None for each in facts)
    why = f"{others} of {len(facts)} are not its own" if others else "the answers do not differ in length"
    return replace(choice, note=f"no length-controlled rate: it needs AlpacaEval's instructions, and {why}")


def _list_mean_figures(log: Any, scorer: str) -> set[str]:
    """Names of the scorer's figures that are the mean of values by definition."""
    return {
        key
        for score in _list_results(log, scorer)
        if score.reducer in (None, "mean")
        for key, figure in score.metrics.items()
        if str(figure.name).rpartition("/")[2] in MEAN_METRICS
    }


def _choose_logged(logged: Mapping[str, float], answers: Answers, means: Collection[str]) -> MetricChoice:
    mean = fit_mean(MEAN_OF_VALUES, answers)
    name = next(iter(_list_headlines(logged)), None)
    if name is None or not answers:
        return MetricChoice(mean)
    own = logged[name]
    if match := re.search(r"\(pass_at_(\d+)\)$", name):
        metric: Metric = PassAtKMetric(int(match[1]))
        try:
            is_same = abs(metric.compute(answers) - own) <= 1e-6
        except DataError:
            is_same = False
        if is_same:
            return MetricChoice(metric)
    if name in means or abs(mean.compute(answers) - own) <= 1e-6 * max(1.0, abs(own)):
        return MetricChoice(fit_mean(name, answers))
    return MetricChoice(mean, (name, own))


def _list_headlines(logged: Mapping[str, float]) -> Iterable[str]:
    """Names of figures that say how good, not how sure."""
    for name in logged:
        if not ERROR_NAMES.fullmatch(name.rpartition("/")[2].partition(" ")[0]):
            yield name
