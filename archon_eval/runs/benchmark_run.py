"""One system's finished eval of a benchmark, the one form that comparisons, gates, ablations and pages read.

run = read_run("logs/2026-11-20_math.eval")     # archon_eval.runs.read_log
run.scores["alg-01"], run.cost["calls"]         # (1.0, 0.0), 11.0
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from archon_eval.errors import DataError
from archon_eval.models.usage_totals import UsageTotals
from archon_eval.runs.layer_health import RunHealth
from archon_eval.runs.metrics import join_metrics
from archon_eval.runs.prompts import explain_difference, find_other_later_turns
from archon_eval.runs.stage_usage import StageUsage, describe_stages, merge_stages
from archon_eval.stats.estimates import Estimate
from archon_eval.stats.metrics import Answers, MeanMetric, Metric, QuestionMetric, ScoredAnswer
from archon_eval.stats.over_runs import RunsSpread, estimate_over_runs

COST_NAMES = ("dollars", "tokens", "input_tokens", "output_tokens", "calls", "seconds")
"""What an answer costs; `tokens` are input and output together."""
COST_COLUMNS: Mapping[str, str] = {
    "calls": "calls",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "dollars": "$",
    "seconds": "seconds",
}
"""The names of COST_NAMES that tables show, in their order -> the headings."""
MODEL_COST_NAMES = ("calls", "input_tokens", "output_tokens", "dollars")
"""Names of COST_NAMES that are told apart by model."""
MissingPolicy = Literal["error", "drop", "zero"]
"""What a sample without a score does: an error, its question is left out, or it counts as zero."""
PROMPTS_UNKNOWN = "What was sent, besides the samples' own input, is not compared: no messages of all answers in"
"""The beginning of a sentence that a log or a baseline ends."""
UNSCORED_MEANING = "questions that failed: left out, or wrong where --missing zero says so"
"""What `Run.missing` counts."""

IGNORE_PROMPTS_HINT = "; --ignore-prompts compares all the same"
"""The end of a refusal to compare two prompts."""


@dataclass(frozen=True, slots=True)
class BenchmarkQuestion:
    """A benchmark's question."""

    text: str
    target: str
    group: str
    """Its sub-benchmark; empty where the task has none."""
    prompt: tuple[str, ...] = ()
    """Digests of what was sent (`archon_eval.runs.prompts`); empty where the log does not say."""
    asked: str = ""
    """Digest of the document and of how it became turns of a chat, where a model's own template may have made text of
    these: then the texts of two models differ, and the question is the same. Empty where that cannot be."""
    rendered: tuple[str, str] | None = None
    """Where a model's own template made text of them: digests of the template, and of the text without dates, which
    some templates tell."""

    def is_same(self, other: "BenchmarkQuestion") -> bool:
        """Whether two systems were asked the same, and the same was expected of them."""
        if self.digest == other.digest:
            return True
        if self.rendered and other.rendered and self.rendered[0] == other.rendered[0]:
            return self.rendered == other.rendered and self.target == other.target
        return bool(self.rendered or other.rendered) and "" != self.asked == other.asked

    @property
    def digest(self) -> str:
        """12 hex digits over the sample's input, its choices and the expected answer."""
        return _digest(f"{self.text}\x1f{self.target}")

    @property
    def target_digest(self) -> str:
        """12 hex digits over the expected answer."""
        return _digest(self.target)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class LayerUsage:
    """One layer, as means per answered question."""

    kind: str
    components: tuple[str, ...]
    """Models, one per component; empty where the log does not say."""
    candidates: float
    calls: float
    tokens: float | None
    """None where the usage of a call is unknown."""
    dollars: float | None
    number: int = 0
    """Its number in the architecture, from 1; 0 where that is its place. It is not behind a cascade's stage to which no
    answer came."""


@dataclass(frozen=True)
class Run:
    """One system on one benchmark."""

    name: str
    task: str
    scorer: str
    questions: Mapping[str, BenchmarkQuestion]
    scored: Mapping[str, tuple[ScoredAnswer, ...]]
    """Question -> the score of each epoch's answer, with what the metric reads besides."""
    metric: Metric = field(default_factory=lambda: MeanMetric("mean of values"))
    """The figure by which the system is reported and compared."""
    headline: tuple[str, float] | None = None
    """The log's own figure where the metric is not that, and so has no value per question: its name and value."""
    metric_note: str = ""
    """Why the metric is not the benchmark's headline; empty where it is."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Question -> why an epoch of it has no score."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """Question -> the first epoch's answer."""
    cost: Mapping[str, float | None] = field(default_factory=dict)
    """A name of COST_NAMES -> mean per answer, reused calls included, judges' left out; None is unknown."""
    unknown_costs: Mapping[str, str] = field(default_factory=dict)
    """Each name whose cost is unknown -> what is unknown, and of how many answers where not of all, in words."""
    cost_by_model: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """Model -> calls, input_tokens, output_tokens and dollars -> mean per answer; empty where the log does not say."""
    usage: UsageTotals = field(default_factory=UsageTotals)
    """What the calls for all answers took together, as far as the log says it."""
    seconds: float = 0.0
    """From the eval's start to its end."""
    layers: tuple[LayerUsage, ...] = ()
    stages: tuple[StageUsage, ...] = ()
    """Of a cascade, those that were asked at all."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """What went otherwise than planned (`archon_eval.engine.trace.EVENT_TYPES`), and `answer STATUS` where the scorer
    could read none (`archon_eval.runs.records.UNREAD_STATUSES`), counted over all answers."""
    judges: tuple[str, ...] = ()
    """Who judged with which prompts; empty where no model did."""
    judged_anew: bool = False
    """Whether a model that judged was asked, or may have been; False where all judgments came from a recording."""
    version: str = ""
    """The task's version."""
    fingerprint: str = ""
    """The architecture's; empty where none answered."""
    setup: str = ""
    """Digest of what else makes the system: a solver around it, settings of generation, a model's own arguments."""
    log: str = ""
    """Path of the log, or of several, for messages."""
    health: RunHealth = field(default_factory=RunHealth)
    """Which layers worked, and what share of the replies was whole."""
    merge_note: str = ""
    """What a reader must know of how logs of the system were joined to this run, or kept apart from it; sentences."""
    ignores_prompts: bool = False
    """Whether it may be compared with a run that was asked with other prompts, which a note then says."""
    scored_by_log: tuple[Mapping[str, tuple[ScoredAnswer, ...]], ...] = ()
    """`scored` of each log, where several became this run; empty where it is of one."""
    asked: Mapping[str, str] = field(default_factory=dict)
    """How the harness made prompts of the questions, in words by aspect, to say why those of two runs differ; empty
    where the log does not say."""

    @cached_property
    def scores(self) -> dict[str, tuple[float, ...]]:
        """Question -> score of each epoch, on the scorer's own scale."""
        return {question: tuple(answer.value for answer in answers) for question, answers in self.scored.items()}

    @cached_property
    def estimate(self) -> Estimate:
        """The metric's figure with its interval."""
        return self.metric.estimate(self.scored)

    @cached_property
    def repeats(self) -> tuple[Answers, ...]:
        """The runs in the papers' sense, one answer to each question: every epoch of every log."""
        return tuple(
            {question: epochs[place : place + 1] for question, epochs in scored.items() if place < len(epochs)}
            for scored in self.scored_by_log or (self.scored,)
            for place in range(max(map(len, scored.values()), default=0))
        )

    @cached_property
    def over_runs(self) -> RunsSpread:
        """The metric's figure of each of `repeats`, and its standard error over them."""
        return estimate_over_runs(self.metric, self.repeats)

    def list_parts(self) -> dict[str, list[str]]:
        """Sub-benchmark -> its questions, by name; empty where there are not several.

        Where the metric has parts (MixEval's `free-form`), they come with their own sub-benchmarks (`free-form/DROP`).
        """
        strata = self.metric.assign_strata(self.scored) if isinstance(self.metric, QuestionMetric) else None
        parts: dict[str, list[str]] = {}
        for question in self.scored:
            group = self.questions[question].group
            names = [group]
            if strata is not None:
                stratum = strata[0][question]
                names = [stratum, f"{stratum}/{group}" if group and group != stratum else ""]
            for name in filter(None, names):
                parts.setdefault(name, []).append(question)
        return dict(sorted(parts.items())) if len(parts) > 1 else {}

    def estimate_companions(self) -> dict[str, Estimate]:
        """The figures that belong beside the metric's, by name; the log's own has no interval."""
        figures = {metric.name: metric.estimate(self.scored) for metric in self.metric.companions}
        if self.headline is not None:
            name, value = self.headline
            figures[name] = Estimate(value, None, None, high=None, n=len(self.scored))
        return figures

    @property
    def stage_note(self) -> str:
        """Which stage of a cascade answered how often; empty where none answered."""
        return describe_stages(self.stages)

    @property
    def calls(self) -> int:
        """Of all answers together."""
        return self.usage.calls

    @property
    def reused(self) -> int:
        """How many of the calls the call store answered."""
        return self.usage.reused_calls

    @property
    def paid(self) -> float | None:
        """Dollars of the calls that it did not; None is unknown."""
        return self.usage.paid_dollars

    @property
    def replayed(self) -> bool:
        """Whether every call was answered from a recording, so that nothing in the run is its own."""
        return 0 < self.calls == self.reused and not self.judged_anew

    @property
    def source(self) -> str:
        """What a report names as the run's origin: the log, or of a replay (all of which are equal) what it replays."""
        return f"replay of {self.name} {self.fingerprint}" if self.replayed else self.log

    @property
    def points(self) -> float:
        """What a score of 1 is shown as: 100 (percent) where the metric lies in 0 to 1, else 1."""
        return self.metric.points

    def find_incompatibility(self, other: "Run") -> str:
        """Why the scores of the two are not of the same thing, in words; empty where they are."""
        for aspect, mine, others in (
            ("benchmarks", self.task, other.task),
            ("versions of the benchmark", self.version, other.version),
            ("scorers", self.scorer, other.scorer),
        ):
            if mine != others:
                return f"different {aspect}: {mine} and {others}"
        if join_metrics(self.metric, other.metric) is None:
            return f"different metrics: {self.metric.name} and {other.metric.name}"
        if set(self.judges) != set(other.judges):
            pairs = ((self, other), (other, self))
            own = ([judge for judge in a.judges if judge not in b.judges] for a, b in pairs)
            return f"judged differently: {' and '.join(', '.join(judges) or 'nothing else' for judges in own)}"
        shared = [question for question in self.scores if question in other.scores]
        if self.ignores_prompts or other.ignores_prompts:
            changed = [q for q in shared if self.questions[q].target_digest != other.questions[q].target_digest]
            what = "another expected answer"
        else:
            changed = [q for q in shared if not self.questions[q].is_same(other.questions[q])]
            what = "another prompt or expected answer"
        if changed:
            text = f"{len(changed)} of {len(shared)} questions have {what} ({', '.join(changed[:3])})"
            asked = describe_asking(self.asked, other.asked)
            return f"{text}{asked}{IGNORE_PROMPTS_HINT if asked else ''}"
        differing = self._find_other_prompts(other)
        if not differing or self.ignores_prompts or other.ignores_prompts:
            return ""
        return f"{describe_other_prompts(differing, len(shared))}{IGNORE_PROMPTS_HINT}"

    def _find_other_prompts(self, other: "Run") -> dict[str, str]:
        """Question of both -> how the prompts that were sent differ; only where both are known and do."""
        mine, others = ({q: run.questions[q].prompt for q in run.scores} for run in (self, other))
        return find_other_prompts(mine, others)

    def describe_prompt_check(self, other: "Run") -> str:
        """A sentence on prompts of the two that were not held against each other; empty where all were."""
        shared = [question for question in self.scores if question in other.scores]
        if self.ignores_prompts or other.ignores_prompts:
            differing = self._find_other_prompts(other)
            inputs = sum(self.questions[q].digest != other.questions[q].digest for q in shared)
            found = [describe_other_prompts(differing, len(shared))] if differing else []
            found += [f"{inputs} of {len(shared)} questions have another input or choices"] if inputs else []
            return f"Prompts are not compared (--ignore-prompts): {'; '.join(found) or 'they are the same'}."
        logs = [run.source for run in (self, other) if not all(run.questions[q].prompt for q in shared)]
        return f"{PROMPTS_UNKNOWN} {' and '.join(logs)}." if shared and logs else ""


def find_other_prompts(mine: Mapping[str, Sequence[str]], others: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Question -> how its prompts differ, of the questions of which both are known."""
    known = {q: prompt for q, prompt in mine.items() if prompt and others.get(q)}
    found = {q: why for q, prompt in known.items() if (why := explain_difference(prompt, others[q]))}
    if not found and (why := find_other_later_turns(known, {q: others[q] for q in known})):
        return dict.fromkeys(known, why)
    return found


def describe_other_prompts(differing: Mapping[str, str], total: int) -> str:
    """What `find_other_prompts` found, in words."""
    shown = ", ".join(f"{question}: {why}" for question, why in list(differing.items())[:3])
    return f"{len(differing)} of {total} questions were asked with other prompts ({shown})"


def describe_asking(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    """The end of a sentence on prompts that differ: in what they were made differently, where that is known."""
    differing = [f"{name} {one[name]} and {other[name]}" for name in one if other.get(name, one[name]) != one[name]]
    return f": not the same task, {'; '.join(differing)}" if differing else ""


def merge_runs(first: Run, second: Run) -> Run:
    """More epochs of the same system in one run; means are weighted by the number of answers.

    Raises:
        DataError: the two are scored or asked differently.
    """
    if why := first.find_incompatibility(second):
        raise DataError(f"{first.log} and {second.log}: the same system, but {why}")
    counts = [sum(map(len, run.scored.values())) for run in (first, second)]

    def average(one: Mapping[str, float | None], other: Mapping[str, float | None]) -> dict[str, float | None]:
        return {name: _weigh(one[name], other[name], counts) for name in one}

    scored = {**first.scored}
    for question, more in second.scored.items():
        scored[question] = (*scored.get(question, ()), *more)
    zeros: Mapping[str, float | None] = dict.fromkeys(MODEL_COST_NAMES, 0.0)
    by_model = [run.cost_by_model for run in (first, second)]
    models = sorted({*by_model[0], *by_model[1]}) if all(by_model) else ()
    notes = [first.merge_note, second.merge_note, *_list_merge_remarks(first, second)]
    lost = ((run, question) for run in (first, second) for question in run.missing)
    missing = {q: run.missing[q] for run, q in lost if q in run.scored or q not in scored}  # zeros, or still without
    return replace(
        first,
        questions={**second.questions, **first.questions},
        scored=scored,
        metric=(join_metrics(first.metric, second.metric) or first.metric).widen(scored),
        headline=_average_headlines(first.headline, second.headline, counts),
        missing=missing,
        answers={**second.answers, **first.answers},
        cost=average(first.cost, second.cost),
        unknown_costs=_merge_reasons(first.unknown_costs, second.unknown_costs),
        cost_by_model={model: average(*(each.get(model, zeros) for each in by_model)) for model in models},
        usage=UsageTotals.add_up((first.usage, second.usage)),
        seconds=first.seconds + second.seconds,
        stages=merge_stages(first.stages, second.stages),
        notes=dict(Counter(first.notes) + Counter(second.notes)),
        judged_anew=first.judged_anew or second.judged_anew,
        merge_note=" ".join(filter(None, notes)),
        log=f"{first.log} {second.log}",
        health=first.health.merge(second.health),
        scored_by_log=tuple(each for run in (first, second) for each in run.scored_by_log or (run.scored,)),
    )


def _list_merge_remarks(first: Run, second: Run) -> Iterator[str]:
    """A sentence on questions that only one of two runs has, and on those that only one of them could answer."""
    for run, other in ((first, second), (second, first)):
        every = len(run.questions.keys() | other.questions.keys())
        if len(run.questions) < every:
            yield f"{run.source} has {len(run.questions)} of {every} questions: the others have fewer answers."
        if failed := sum(q not in run.scored and q in other.scored for q in run.missing):
            yield (
                f"{failed} {'question' if failed == 1 else 'questions'} failed in {run.source} and "
                f"{'was' if failed == 1 else 'were'} answered in another log."
            )


def _average_headlines(
    first: tuple[str, float] | None, second: tuple[str, float] | None, counts: Sequence[int]
) -> tuple[str, float] | None:
    """The mean of two logs' own figures, weighted by their answers; None where they are not of the same name."""
    if first is None or second is None or first[0] != second[0]:
        return None
    value = _weigh(first[1], second[1], counts)
    return None if value is None else (first[0], value)


def _weigh(first: float | None, second: float | None, counts: Sequence[int]) -> float | None:
    """The weighted mean; None where a value is unknown."""
    if first is None or second is None:
        return None
    return (first * counts[0] + second * counts[1]) / max(1, sum(counts))


def _merge_reasons(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    names = dict.fromkeys([*first, *second])
    return {name: "; ".join(dict.fromkeys(each[name] for each in (first, second) if name in each)) for name in names}
