"""The gate for CI: is this run worse than the baseline?

    outcome = check_regression(load_baseline("baseline.json"), read_run("logs/new.eval", missing="drop"))
    outcome.code                                    # 0 no regression, 1 regression, 2 cannot decide

A regression is the result of a one-sided paired test of "no worse than the margin". Where nothing changed, it is a
false alarm in at most `1 - confidence` of all runs. "No regression" needs enough questions to have found a drop of
`detect` beyond the margin with the stated power, or scores that prove it. Otherwise the gate cannot decide, and says
what is missing. Only a replay of recorded calls with the same scores as before passes with fewer questions: nothing in
it is left to chance.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from archon_eval.errors import DataError
from archon_eval.report.baseline import FORMAT_OF_PROMPTS, Baseline
from archon_eval.report.formatting import explain_unknown_costs
from archon_eval.runs.benchmark_run import (
    COST_COLUMNS,
    IGNORE_PROMPTS_HINT,
    PROMPTS_UNKNOWN,
    Run,
    describe_asking,
    describe_other_prompts,
    find_other_prompts,
)
from archon_eval.stats.comparison import (
    MIN_DIFFERENCE,
    PairedComparison,
    compute_detectable_effect,
    estimate_more_questions,
)
from archon_eval.stats.estimates import format_score
from archon_eval.stats.metrics import RatioMetric, ScoredAnswer, is_mean, list_values

GATE_COSTS = tuple(name for name in COST_COLUMNS if name != "seconds")
"""Names of the costs that are shown: a baseline has no seconds, which differ from run to run."""
VERDICTS = ("no regression", "regression", "cannot decide")
"""What the exit codes mean."""
DEFAULT_DETECT = 5.0
"""The drop, in points, that must be found where the user names none."""
MIN_DETECT = 0.001
"""The smallest drop, in points, that one can ask to be found: below it no number of questions would do."""


@dataclass(frozen=True, slots=True)
class GateThresholds:
    """What counts as a regression; drops are in points (hundredths) where scores lie in 0 to 1, else on their scale."""

    margin: float = 0.0
    """A drop that is tolerated."""
    detect: float | None = None
    """The drop beyond the margin that a pass must have been able to find; None: DEFAULT_DETECT where scores lie in 0 to
    1. There is no default on other scales, where 5 may be nothing or half of all."""
    confidence: float = 0.95
    """Of a regression, one-sided; 1 - confidence is the rate of false alarms."""
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
class GateOutcome:
    """What the gate decided, and why."""

    code: int
    """0, 1 or 2: the exit code; its meaning is in VERDICTS."""
    reasons: tuple[str, ...]
    limits: GateThresholds
    paired: PairedComparison | None = None
    """The run against the baseline; None where they cannot be compared."""
    metric: str = ""
    """The figure that was compared."""
    points: float = 100.0
    digits: int | None = None
    """Digits after the point that are shown of a figure."""
    baseline: float = 0.0
    """The baseline's figure, on the questions that are compared."""
    run: float = 0.0
    lost: tuple[tuple[str, float], ...] = ()
    """Questions with lower scores, the largest drops first, and by how much."""
    cost: tuple[tuple[str, float | None, float | None], ...] = ()
    """(name, baseline, run) per question; without seconds, of which a baseline has none."""
    unknown_costs: tuple[str, ...] = ()
    """What of the costs is unknown, and why."""
    notes: tuple[str, ...] = ()
    task: str = ""
    """The benchmark of the run; empty where it could not be read."""
    warnings: tuple[str, ...] = ()
    """Layers of the run that never worked and replies that were cut or lost: scores do not show them."""
    door: str = ""
    """Of an eval that was run for the gate: how the architecture answered (`archon_eval.runs.door`)."""

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        return VERDICTS[self.code]


def check_regression(baseline: Baseline, run: Run, limits: GateThresholds | None = None) -> GateOutcome:
    """Compare a run with a baseline. Read the run with `missing="drop"`: the outcome then names what it lacks."""
    limits = limits or GateThresholds()
    if problems := _find_mismatches(baseline, run):
        return GateOutcome(2, tuple(problems), limits, task=run.task, warnings=run.health.sentences)
    questions = list(baseline.scored)
    before, now = ({question: side[question] for question in questions} for side in (baseline.scored, run.scored))
    metric = run.metric.widen(before)
    paired = metric.compare(now, before, 2 * limits.confidence - 1)
    if _is_exact_replay(baseline, run) and now == before:
        code, reason = 0, "every score is the same, from recorded calls alone: no chance is in it"
    else:
        values = [*list_values(before), *list_values(now)]
        low, high = metric.bounds or (min(values), max(min(values) + 1.0, max(values)))
        code, reason = decide_outcome(paired, limits, metric.points, span=high - low)
    drops = {question: _average(before[question]) - _average(now[question]) for question in questions}
    lost = [(question, drop) for question, drop in drops.items() if drop > MIN_DIFFERENCE]
    return GateOutcome(
        code=code,
        reasons=(reason,),
        limits=limits,
        paired=paired,
        metric=metric.name,
        points=metric.points,
        digits=metric.digits,
        baseline=metric.compute(before),
        run=metric.compute(now),
        lost=tuple(sorted(lost, key=lambda item: (-item[1], item[0]))),
        cost=tuple((name, baseline.cost.get(name), run.cost.get(name)) for name in GATE_COSTS),
        unknown_costs=tuple(_explain_unknown(baseline, run)),
        notes=tuple(_collect_notes(baseline, run)),
        task=run.task,
        warnings=run.health.sentences,
    )


def _explain_unknown(baseline: Baseline, run: Run) -> Iterator[str]:
    """Which costs of the run and of the baseline are unknown, and why."""
    unknown = {name: why for name, why in run.unknown_costs.items() if name in GATE_COSTS}
    if why := explain_unknown_costs(unknown):
        yield f"cost of this run: {why}"
    reasons = {
        name: "so when it was saved" if name in baseline.cost else "not in its file, which an earlier version saved"
        for name in GATE_COSTS
        if baseline.cost.get(name) is None
    }
    if why := explain_unknown_costs(reasons):
        yield f"cost of the baseline: {why}"


def _collect_notes(baseline: Baseline, run: Run) -> list[str]:
    """What a reader should know besides the outcome."""
    notes = [f"{count} {word}" for word, count in run.notes.items()]
    if baseline.fingerprint != run.fingerprint:
        notes.append(f"another architecture than the baseline's: {run.name} {run.fingerprint}, before {baseline.name}")
    if run.metric_note:
        notes.append(run.metric_note)
    if note := _describe_prompt_check(baseline, run):
        notes.append(note)
    if extra := len(run.scored) - len(baseline.scored):
        notes.append(f"{extra} questions are not in the baseline and do not count")
    return notes


def decide_outcome(
    paired: PairedComparison, limits: GateThresholds, scale: float = 100.0, *, span: float = 1.0
) -> tuple[int, str]:
    """The exit code and its reason, from the run against the baseline at confidence `2 * limits.confidence - 1`.

    Regression: the interval's upper end is below the margin, and the permutation test rules out that nothing changed
    (an interval alone may call four lost questions of 200 significant). Where only the interval says so, the gate
    cannot decide. No regression: the interval's lower end is above the margin, or a drop of `detect` beyond it would
    have been found with the stated power (as if one question more had moved: few moves say little about spread). Both
    need enough questions: so many that after such a drop, as lost questions, all of them are equal in at most
    `1 - confidence` of all runs.

    Args:
        scale: points of a score of 1.
        span: the most that one question's score can drop.
    """
    difference, margin = paired.difference, limits.margin / scale
    if difference.stderr is None:
        return 2, "one question tells nothing about spread" if difference.n == 1 else "the spread is unknown"
    alike = difference.low is None or difference.high is None  # all moved alike, on a scale without known ends
    low = difference.value if difference.low is None else difference.low
    high = difference.value if difference.high is None else difference.high
    value = f"{format_score(difference.value, scale, '+')} points"
    tolerated = f"(tolerated: {format_score(0 - margin, scale, '+')})"
    all_alike = f"{value} on every question {tolerated}" if alike else ""
    certain = f"{value}, {100 * limits.confidence:g}% certain to be"
    by_chance = paired.permutation_p / 2
    if high < -margin and by_chance <= 1 - limits.confidence:
        return 1, all_alike or f"{certain} below {format_score(high, scale, '+')} {tolerated}"
    if high < -margin:
        return 2, (
            f"{value}, but {paired.wins} better and {paired.losses} worse questions of "
            f"{difference.n} come about by chance in {by_chance:.0%} of runs: more questions or epochs are needed"
        )
    detect = DEFAULT_DETECT if limits.detect is None and scale == 100 else limits.detect
    if detect is None:
        return 2, f"{value}, on a scale beyond 0 to 1: which drop must be found there? say it (--detect)"
    drop = f"a drop of {limits.margin + detect:g} points"
    lacking = _compute_min_questions((limits.margin + detect) / (scale * span), limits.confidence) - difference.n
    if lacking > 0:
        return 2, (
            f"{value}, but with {drop} all of {difference.n} questions may still come out equal: "
            f"{lacking} more questions are needed"
        )
    if low >= -margin:
        return 0, all_alike or f"{certain} {format_score(low, scale, '+')} or better {tolerated}"
    return _check_power(paired, limits, scale, detect=detect)


def _check_power(paired: PairedComparison, limits: GateThresholds, scale: float, *, detect: float) -> tuple[int, str]:
    """The outcome where the interval decides nothing: whether a drop of `detect` would have been found."""
    value, drop = format_score(paired.difference.value, scale, "+"), f"a drop of {limits.margin + detect:g} points"
    reach, wanted = compute_detectable_effect(paired, limits.power, unseen=1), detect / scale
    more = estimate_more_questions(paired, wanted, power=limits.power, unseen=1)
    assert reach is not None and more is not None
    if reach <= wanted + 1e-9:
        return 0, f"{value} points; {drop} would have been found with {limits.power:.0%} power"
    return 2, (
        f"{value} points, but {paired.difference.n} questions find {drop} with less than {limits.power:.0%} power "
        f"(they find {format_score(limits.margin / scale + reach, scale)}): about {more} more questions are needed, "
        "or more epochs"
    )


def _compute_min_questions(share: float, confidence: float) -> int:
    """The least n with `1 - (1 - confidence)^(1/n) <= share`, the share of lost questions: 59 for 0.05 at 95%."""
    return 1 if share >= 1 else math.ceil(math.log(1 - confidence) / math.log1p(-share) - 1e-9)


def _is_exact_replay(baseline: Baseline, run: Run) -> bool:
    """Whether nothing in the run was left to chance: the baseline's architecture, recorded calls, also of a judge."""
    return run.replayed and run.fingerprint == baseline.fingerprint and not run.judged_anew


def _find_mismatches(baseline: Baseline, run: Run) -> list[str]:
    """Why the scores of the two are not of the same thing; empty where they are."""
    mismatches = []
    for aspect, before, now in (
        ("benchmark", baseline.task, run.task),
        ("version of the benchmark", baseline.version, run.version),
        ("scorer", baseline.scorer, run.scorer),
    ):
        if before != now:
            mismatches.append(f"another {aspect}: {now}, in the baseline {before}")
    before, now = baseline.metric or "the mean of values (a file of format 1: save it again)", run.metric.name
    if before != now and not (baseline.is_mean and _reads_like_mean(run)):
        mismatches.append(f"another metric: {now}, in the baseline {before}")
    gone = [judge for judge in baseline.judges if judge not in run.judges]
    new = [judge for judge in run.judges if judge not in baseline.judges]
    if gone:
        mismatches.append(f"the judge changed: {', '.join(new) or 'nothing'}, in the baseline {', '.join(gone)}")
    elif new:
        mismatches.append(f"the judge changed: {', '.join(new)} is new")
    scored = [question for question in baseline.scored if question in run.scored]
    if lacking := len(baseline.scored) - len(scored):
        question = next(question for question in baseline.scored if question not in run.scored)
        why = run.missing.get(question, "not in the run")
        mismatches.append(f"{lacking} of {len(baseline.scored)} questions have no score; {question}: {why}")
    if run.ignores_prompts:
        targets = {q: target for q in scored if (target := baseline.targets.get(q))}
        changed = [q for q, target in targets.items() if run.questions[q].target_digest != target]
        what = "another expected answer"
    else:
        changed = [q for q in scored if run.questions[q].digest != baseline.digests[q]]
        what = "another prompt or expected answer"
    if changed:
        how = describe_asking(run.asked, baseline.asked)
        mismatches.append(f"{len(changed)} questions have {what}: {', '.join(changed[:3])}{how}")
    elif not run.ignores_prompts and (differing := _find_other_prompts(baseline, run)):
        mismatches.append(f"not the same task: {describe_other_prompts(differing, len(scored))}{IGNORE_PROMPTS_HINT}")
    return mismatches


def _find_other_prompts(baseline: Baseline, run: Run) -> dict[str, str]:
    return find_other_prompts({q: run.questions[q].prompt for q in run.scored}, baseline.prompts)


def _describe_prompt_check(baseline: Baseline, run: Run) -> str:
    """A sentence on prompts that were not held against the baseline's; empty where all were."""
    questions = [question for question in baseline.scored if question in run.scored]
    if run.ignores_prompts:
        differing = _find_other_prompts(baseline, run)
        inputs = sum(run.questions[q].digest != baseline.digests[q] for q in questions)
        found = [describe_other_prompts(differing, len(questions))] if differing else []
        found += [f"{inputs} of {len(questions)} questions have another input, choices or answer"] if inputs else []
        return f"prompts are not compared (--ignore-prompts): {'; '.join(found) or 'they are the same'}"
    if baseline.format < FORMAT_OF_PROMPTS:
        return "prompts are not compared: the baseline's file, of an earlier version, does not say them; save it again"
    unknown = [
        name
        for name, known in (
            ("the baseline", all(q in baseline.prompts for q in questions)),
            (run.source, all(run.questions[q].prompt for q in questions)),
        )
        if not known
    ]
    return f"{PROMPTS_UNKNOWN} {' and '.join(unknown)}" if unknown else ""


def _reads_like_mean(run: Run) -> bool:
    """Whether the run's figure is the mean of values: by its kind, or because all answers weigh the same."""
    weights = {answer.weight for answers in run.scored.values() for answer in answers}
    return is_mean(run.metric) or (isinstance(run.metric, RatioMetric) and len(weights) == 1)


def _average(answers: Sequence[ScoredAnswer]) -> float:
    return fmean(answer.value for answer in answers)
