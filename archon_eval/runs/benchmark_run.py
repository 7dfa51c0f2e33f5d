"""One system's finished eval of a benchmark, the one form that comparisons, gates, ablations and pages read.

run = read_run("logs/2026-11-20_math.eval")     # archon_eval.runs.read_log
run.scores["alg-01"], run.cost["calls"]         # (1.0, 0.0), 11.0
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Literal

from archon_eval.errors import DataError
from archon_eval.models.usage_totals import UsageTotals
from archon_eval.runs.layer_health import RunHealth

COST_NAMES = ("dollars", "tokens", "calls", "seconds")
"""What a question costs, in the order in which it is shown."""
MissingPolicy = Literal["error", "drop", "zero"]
"""What a sample without a score does: an error, its question is left out, or it counts as zero."""
UNSCORED_MEANING = "questions that failed: left out, or wrong where --missing zero says so"
"""What `Run.missing` counts."""


@dataclass(frozen=True, slots=True)
class BenchmarkQuestion:
    """A benchmark's question."""

    text: str
    target: str
    group: str
    """Its sub-benchmark; empty where the task has none."""

    @property
    def digest(self) -> str:
        """12 hex digits over the whole prompt and the expected answer."""
        return hashlib.sha256(f"{self.text}\x1f{self.target}".encode("utf-8", "surrogatepass")).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class LayerUsage:
    """One layer, as means per answered question."""

    kind: str
    components: tuple[str, ...]
    """Models, one per component; empty where the log does not say."""
    candidates: float
    calls: float
    tokens: float
    dollars: float | None


@dataclass(frozen=True, slots=True)
class Run:
    """One system on one benchmark."""

    name: str
    task: str
    scorer: str
    questions: Mapping[str, BenchmarkQuestion]
    scores: Mapping[str, tuple[float, ...]]
    """Question -> score of each epoch, on the scorer's own scale."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Question -> why an epoch of it has no score."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """Question -> the first epoch's answer."""
    cost: Mapping[str, float | None] = field(default_factory=dict)
    """A name of COST_NAMES -> mean per answer, reused calls included; None is unknown."""
    usage: UsageTotals = field(default_factory=UsageTotals)
    """What the architecture's calls took for all answers together; zero where none answered."""
    seconds: float = 0.0
    """From the eval's start to its end."""
    layers: tuple[LayerUsage, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)
    """What went otherwise than planned (`archon_eval.engine.trace.EVENT_TYPES`), counted over all answers."""
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
        """What a score of 1 is shown as: 100 (percent) where every score lies in 0 to 1, else 1."""
        return 100.0 if all(0 <= score <= 1 for each in self.scores.values() for score in each) else 1.0

    def find_incompatibility(self, other: "Run") -> str:
        """Why the scores of the two are not of the same thing, in words; empty where they are."""
        for aspect, mine, others in (
            ("benchmarks", self.task, other.task),
            ("versions of the benchmark", self.version, other.version),
            ("scorers", self.scorer, other.scorer),
        ):
            if mine != others:
                return f"different {aspect}: {mine} and {others}"
        if set(self.judges) != set(other.judges):
            pairs = ((self, other), (other, self))
            own = ([judge for judge in a.judges if judge not in b.judges] for a, b in pairs)
            return f"judged differently: {' and '.join(', '.join(judges) or 'nothing else' for judges in own)}"
        shared = [question for question in self.scores if question in other.scores]
        if changed := [q for q in shared if self.questions[q].digest != other.questions[q].digest]:
            text = f"{len(changed)} of {len(shared)} questions have another prompt or expected answer"
            return f"{text} ({', '.join(changed[:3])})"
        return ""

    @property
    def means(self) -> dict[str, float]:
        """Question -> mean over its epochs."""
        return {question: fmean(scores) for question, scores in self.scores.items()}


def merge_runs(first: Run, second: Run) -> Run:
    """More epochs of the same system in one run; means are weighted by the number of answers.

    Raises:
        DataError: the two are scored or asked differently.
    """
    if why := first.find_incompatibility(second):
        raise DataError(f"{first.log} and {second.log}: the same system, but {why}")
    counts = [sum(map(len, run.scores.values())) for run in (first, second)]

    def average_cost(name: str) -> float | None:
        a, b = first.cost[name], second.cost[name]
        return None if a is None or b is None else (a * counts[0] + b * counts[1]) / max(1, sum(counts))

    scores = {**first.scores}
    for question, more in second.scores.items():
        scores[question] = (*scores.get(question, ()), *more)
    lost = ((run, question) for run in (first, second) for question in run.missing)
    missing = {q: run.missing[q] for run, q in lost if q in run.scores or q not in scores}  # zeros, or still without
    return replace(
        first,
        questions={**second.questions, **first.questions},
        scores=scores,
        missing=missing,
        answers={**second.answers, **first.answers},
        cost={name: average_cost(name) for name in COST_NAMES},
        usage=UsageTotals.add_up((first.usage, second.usage)),
        seconds=first.seconds + second.seconds,
        notes=dict(Counter(first.notes) + Counter(second.notes)),
        judged_anew=first.judged_anew or second.judged_anew,
        log=f"{first.log} {second.log}",
        health=first.health.merge(second.health),
    )
