"""A red or green light for CI: is this run worse than the baseline?

    outcome = check_regression(load_baseline("baseline.json"), read_run("logs/new.eval", missing="drop"))
    outcome.code                                    # 0 no regression, 1 regression, 2 cannot decide

The alarm is a one-sided paired test of "no worse than the margin": where nothing changed it goes off in at most
`1 - confidence` of all runs. Green needs enough questions to have found a drop of `detect` beyond the margin with the
stated power, or scores that prove it; else nobody can tell, and the light says so. Only a replay with nothing random in
it, and the same scores as before, is green with fewer.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from archon_eval.errors import ArchonError, DataError
from archon_eval.runs.run import Run
from archon_eval.stats.estimates import (
    PairedComparison,
    compare,
    compute_detectable_effect,
    estimate_more_questions,
    format_score,
)

BASELINE_FORMAT = 1
VERDICTS = ("no regression", "regression", "cannot decide")
"""What the exit codes mean."""
DEFAULT_DETECT = 5.0
"""The drop, in points, that must be found where nobody says."""
MIN_DETECT = 0.001
"""The smallest drop, in points, that one can ask to be found."""


@dataclass(frozen=True, slots=True)
class GateThresholds:
    """What counts as a regression; drops are in points (hundredths) where scores lie in 0 to 1, else on their scale."""

    margin: float = 0.0
    """A drop that is tolerated."""
    detect: float | None = None
    """The drop beyond the margin that a pass must have been able to find; None: DEFAULT_DETECT where scores lie in 0 to
    1, and nobody knows on other scales, where 5 may be nothing or half of all."""
    confidence: float = 0.95
    """One-sided: of an alarm; 1 - confidence is the rate of false ones."""
    power: float = 0.8
    """The chance to find a drop of `detect` beyond the margin."""

    def __post_init__(self) -> None:
        drops = 0 <= self.margin < math.inf and (self.detect is None or MIN_DETECT <= self.detect < math.inf)  # no nan
        if not (drops and 0.5 < self.confidence < 1 and 0.5 <= self.power < 1):
            raise DataError(
                f"{self}: legal is margin >= 0, detect >= {MIN_DETECT}, both finite, 0.5 < confidence < 1, "
                "0.5 <= power < 1"
            )


@dataclass(frozen=True, slots=True)
class Baseline:
    """A run to be held against, as the baseline file keeps it."""

    task: str
    version: str
    scorer: str
    judges: tuple[str, ...]
    name: str
    fingerprint: str
    scores: Mapping[str, tuple[float, ...]]
    digests: Mapping[str, str]
    """Question -> digest of its prompt and expected answer."""
    cost: Mapping[str, float | None]
    format: int = BASELINE_FORMAT


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """The light, and why."""

    code: int
    """0, 1 or 2: the exit code; its meaning is in VERDICTS."""
    reasons: tuple[str, ...]
    limits: GateThresholds
    paired: PairedComparison | None = None
    """The run against the baseline; None where they cannot be compared."""
    points: float = 100.0
    baseline: float = 0.0
    run: float = 0.0
    lost: tuple[tuple[str, float], ...] = ()
    """Questions with lower scores, the largest drops first, and by how much."""
    cost: tuple[tuple[str, float | None, float | None], ...] = ()
    """(name, baseline, run) per question."""
    notes: tuple[str, ...] = ()
    task: str = ""
    """The benchmark of the run; empty where it could not be read."""

    @property
    def verdict(self) -> str:
        """The light in words."""
        return VERDICTS[self.code]


def create_baseline(run: Run) -> Baseline:
    """The baseline that a run makes."""
    digests = {question: run.questions[question].digest for question in run.scores}
    facts = (run.task, run.version, run.scorer, run.judges, run.name, run.fingerprint)
    return Baseline(*facts, dict(run.scores), digests, dict(run.cost))


def save_baseline(run: Run, path: str | os.PathLike[str]) -> None:
    """Write a baseline file: JSON, one question a line, so that a diff shows what changed.

    Raises:
        DataError: the file cannot be written.
    """
    found = create_baseline(run)
    head = {name: getattr(found, name) for name in ("format", "task", "version", "scorer", "judges", "name")}
    head |= {
        "fingerprint": found.fingerprint,
        "cost": {k: v and round(v, 8) for k, v in found.cost.items() if k != "seconds"},
    }
    lines = [f" {json.dumps(name)}: {json.dumps(value)}," for name, value in head.items()]
    rows = [f"  {json.dumps(q)}: {json.dumps([found.digests[q], *found.scores[q]])}" for q in sorted(found.scores)]
    text = "\n".join(["{", *lines, ' "questions": {', ",\n".join(rows), " }", "}", ""])
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    except OSError as exc:
        raise DataError(f"cannot write baseline {path}: {exc.strerror or exc}") from exc


def load_baseline(path: str | os.PathLike[str]) -> Baseline:
    """Read a baseline file.

    Raises:
        DataError: unreadable, or no baseline of this format.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if data["format"] != BASELINE_FORMAT:
            raise DataError(
                f"baseline {path} has format {data['format']}, this version reads {BASELINE_FORMAT}: save it again"
            )
        questions = data["questions"]
        return Baseline(
            str(data["task"]),
            str(data["version"]),
            str(data["scorer"]),
            tuple(map(str, data["judges"])),
            str(data["name"]),
            str(data["fingerprint"]),
            {question: tuple(map(float, row[1:])) for question, row in questions.items()},
            {question: str(row[0]) for question, row in questions.items()},
            {str(name): None if value is None else float(value) for name, value in data["cost"].items()},
        )
    except OSError as exc:
        raise DataError(f"cannot read baseline {path}: {exc.strerror or exc}; make one with --save-baseline") from exc
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as exc:
        if isinstance(exc, ArchonError):
            raise
        raise DataError(
            f"{path} is no baseline file ({type(exc).__name__}: {exc}); make one with --save-baseline"
        ) from exc


def check_regression(baseline: Baseline, run: Run, limits: GateThresholds | None = None) -> GateOutcome:
    """Hold a run against a baseline. Read the run with `missing="drop"`: what it lacks is then said here."""
    limits = limits or GateThresholds()
    if problems := _find_mismatches(baseline, run):
        return GateOutcome(2, tuple(problems), limits, task=run.task)
    asked = list(baseline.scores)
    scores = {question: run.scores[question] for question in asked}
    scale = 100.0 if all(0 <= s <= 1 for each in (*scores.values(), *baseline.scores.values()) for s in each) else 1.0
    paired = compare(scores, baseline.scores, confidence=2 * limits.confidence - 1)
    if _is_exact_replay(baseline, run) and all(scores[q] == baseline.scores[q] for q in asked):
        code, reason = 0, "every score is the same, from recorded calls alone: no chance is in it"
    else:
        seen = [s for each in (*scores.values(), *baseline.scores.values()) for s in each]
        code, reason = decide_outcome(paired, limits, scale, 1.0 if scale == 100 else max(1.0, max(seen) - min(seen)))
    drops = {q: _average(baseline.scores[q]) - _average(scores[q]) for q in asked}
    lost = sorted(((q, drop) for q, drop in drops.items() if drop > 1e-12), key=lambda item: (-item[1], item[0]))
    notes = [f"{count} {what}" for what, count in run.notes.items()]
    if baseline.fingerprint != run.fingerprint:
        notes.append(f"another architecture than the baseline's: {run.name} {run.fingerprint}, before {baseline.name}")
    if extra := len(run.scores) - len(asked):
        notes.append(f"{extra} questions are not in the baseline and do not count")
    before, now = (sum(_average(each[q]) for q in asked) / len(asked) for each in (baseline.scores, scores))
    cost = tuple((name, baseline.cost.get(name), value) for name, value in run.cost.items())
    return GateOutcome(code, (reason,), limits, paired, scale, before, now, tuple(lost), cost, tuple(notes), run.task)


def decide_outcome(
    paired: PairedComparison, limits: GateThresholds, scale: float = 100.0, span: float = 1.0
) -> tuple[int, str]:
    """The exit code and its reason, from the run against the baseline at confidence `2 * limits.confidence - 1`.

    Alarm: the upper bound is below the margin, and the permutation test rules out that nothing changed (the t bound
    alone calls three lost questions of 200 significant); where only the bound says so, nobody can tell. Green: the
    lower bound is above the margin, or a drop of `detect` beyond it would have been found with the stated power (as if
    one question more had moved: few moves say little about spread). Neither is believed of so few questions that such a
    drop, as lost questions, leaves all of them equal in more than `1 - confidence` of all runs.

    Args:
        scale: points of a score of 1.
        span: the most that one question's score can drop.
    """
    found, margin = paired.difference, limits.margin / scale
    if found.low is None or found.high is None:
        return 2, "one question tells nothing about spread"
    value, tolerated = (
        f"{format_score(found.value, scale, '+')} points",
        f"(tolerated: {format_score(0 - margin, scale, '+')})",
    )
    all_alike = f"{value} on every question {tolerated}" if found.low == found.high else ""
    certain = f"{value}, {100 * limits.confidence:g}% certain to be"
    by_chance = paired.permutation_p / 2
    if found.high < -margin and by_chance <= 1 - limits.confidence:
        return 1, all_alike or f"{certain} below {format_score(found.high, scale, '+')} {tolerated}"
    if found.high < -margin:
        return 2, (
            f"{value}, but {paired.wins} better and {paired.losses} worse questions of "
            f"{found.n} come about by chance in {by_chance:.0%} of runs: more questions or epochs are needed"
        )
    detect = DEFAULT_DETECT if limits.detect is None and scale == 100 else limits.detect
    if detect is None:
        return (
            2,
            f"{value}, on a scale beyond 0 to 1: which drop must be found there? say it (--detect)",
        )
    drop = f"a drop of {limits.margin + detect:g} points"
    few = _compute_min_questions((limits.margin + detect) / (scale * span), limits.confidence) - found.n
    if few > 0:
        return 2, (
            f"{value}, but with {drop} all of {found.n} questions may still come out equal: "
            f"{few} more questions are needed"
        )
    if found.low >= -margin:
        return 0, all_alike or f"{certain} {format_score(found.low, scale, '+')} or better {tolerated}"
    reach = compute_detectable_effect(paired, limits.power, unseen=1)
    more = estimate_more_questions(paired, detect / scale, limits.power, unseen=1)
    assert reach is not None and more is not None
    if more == 0:
        return 0, f"{value}; {drop} would have been found with {limits.power:.0%} power"
    return 2, (
        f"{value}, but {found.n} questions find {drop} with less than {limits.power:.0%} power (they find "
        f"{format_score(margin + reach, scale)}): about {more} more questions are needed, or more epochs"
    )


def _compute_min_questions(share: float, confidence: float) -> int:
    """The least n with `1 - (1 - confidence)^(1/n) <= share`, the share of lost questions: 59 for 0.05 at 95%."""
    return 1 if share >= 1 else math.ceil(math.log(1 - confidence) / math.log1p(-share) - 1e-9)


def _is_exact_replay(baseline: Baseline, run: Run) -> bool:
    """Whether nothing in the run was left to chance: the baseline's architecture, recorded calls, also of a judge."""
    return run.replayed and run.fingerprint == baseline.fingerprint and not run.judged_anew


def _find_mismatches(baseline: Baseline, run: Run) -> list[str]:
    found = []
    for what, before, now in (
        ("benchmark", baseline.task, run.task),
        ("version of the benchmark", baseline.version, run.version),
        ("scorer", baseline.scorer, run.scorer),
    ):
        if before != now:
            found.append(f"another {what}: {now}, in the baseline {before}")
    if gone := [one for one in baseline.judges if one not in run.judges]:
        new = ", ".join(one for one in run.judges if one not in baseline.judges) or "nothing"
        found.append(f"the judge changed: {new}, in the baseline {', '.join(gone)}")
    elif new_judges := [one for one in run.judges if one not in baseline.judges]:
        found.append(f"the judge changed: {', '.join(new_judges)} is new")
    asked = [question for question in baseline.scores if question in run.scores]
    if lacking := len(baseline.scores) - len(asked):
        question = next(question for question in baseline.scores if question not in run.scores)
        why = run.missing.get(question, "not in the run")
        found.append(f"{lacking} of {len(baseline.scores)} questions have no score; {question}: {why}")
    if changed := [q for q in asked if run.questions[q].digest != baseline.digests[q]]:
        found.append(f"{len(changed)} questions have another prompt or expected answer: {', '.join(changed[:3])}")
    return found


def _average(scores: tuple[float, ...]) -> float:
    return sum(scores) / len(scores)
