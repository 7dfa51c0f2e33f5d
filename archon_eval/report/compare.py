"""Two systems on the same questions, in plain words: better, worse, or cannot tell and what it would take.

pairs = compare_paths("logs/moa", "logs/single")
pairs[0].overall.verdict                        # "better"
"""

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from archon_eval.errors import DataError
from archon_eval.runs.benchmark_run import COST_NAMES, MissingPolicy, Run
from archon_eval.runs.metrics import join_metrics
from archon_eval.runs.read_lm_eval import TASK_ENDING
from archon_eval.runs.read_log import find_logs, read_runs
from archon_eval.stats.comparison import (
    PairedComparison,
    compute_detectable_effect,
    decide_verdict,
    estimate_more_questions,
)
from archon_eval.stats.comparison import bonferroni_confidence as bonferroni_confidence
from archon_eval.stats.comparison import explain_doubt as explain_doubt
from archon_eval.stats.estimates import format_score
from archon_eval.stats.metrics import Metric

MAX_MORE_QUESTIONS = 100_000
"""Of more further questions than this the number is not given: no benchmark has so many."""


@dataclass(frozen=True, slots=True)
class PartComparison:
    """The comparison on a benchmark or a sub-benchmark."""

    name: str
    metric: Metric
    first: float
    """The first system's figure, on the questions that both have."""
    second: float
    paired: PairedComparison

    @property
    def verdict(self) -> str:
        """`better` or `worse`: the first than the second; or `cannot tell`."""
        return decide_verdict(self.paired)

    @property
    def explained_verdict(self) -> str:
        """The verdict, and in brackets where interval and permutation test disagree."""
        return f"{self.verdict} ({doubt})" if (doubt := explain_doubt(self.paired)) else self.verdict


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two runs of one benchmark, compared."""

    first: Run
    second: Run
    overall: PartComparison
    parts: tuple[PartComparison, ...]
    """Per sub-benchmark, each at a confidence that holds for all of them together (Bonferroni)."""
    unpaired: int
    """Questions that only one run has, left out."""

    @property
    def points(self) -> float:
        """What a score of 1 is shown as."""
        return self.overall.metric.points

    @property
    def prompt_note(self) -> str:
        """A sentence on prompts that were not compared; empty where all were."""
        return self.first.describe_prompt_check(self.second)

    @property
    def cost_ratio(self) -> dict[str, float | None]:
        """The first's cost over the second's; None where either is unknown or the second's is zero."""
        pairs = {name: (self.first.cost.get(name), self.second.cost.get(name)) for name in COST_NAMES}
        return {name: a / b if a is not None and b else None for name, (a, b) in pairs.items()}


def compare_paths(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    *,
    scorer: str | None = None,
    missing: MissingPolicy = "error",
    metric: str | None = None,
    ignore_prompts: bool = False,
    confidence: float = 0.95,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[RunComparison]:
    """Every benchmark that both places have logs of, in the first's order.

    Args:
        ignore_prompts: whether systems may be compared that were asked with other prompts.
        on_progress: called before each log with how many are read, and of how many.

    Raises:
        DataError: no benchmark in common, several systems on one side, or what `compare_runs` raises.
    """
    counts, total = itertools.count(), len(find_logs(first)) + len(find_logs(second))

    def count_log() -> None:
        on_progress(next(counts), total)

    sides = [
        _index_by_task(
            read_runs(path, scorer, missing, metric=metric, ignore_prompts=ignore_prompts, on_log=count_log), path
        )
        for path in (first, second)
    ]
    if not (shared := [task for task in sides[0] if task in sides[1]]):
        bare = [{task.removesuffix(TASK_ENDING) for task in side} for side in sides]
        why = "; a task of Inspect and one of lm-eval are never the same" if bare[0] & bare[1] else ""
        raise DataError(
            f"no benchmark in common: {first} has {', '.join(sides[0])}; {second} has {', '.join(sides[1])}{why}"
        )
    pairs = [(sides[0][task], sides[1][task]) for task in shared]
    return [compare_runs(*_disambiguate_names(one, other), confidence) for one, other in pairs]


def _disambiguate_names(first: Run, second: Run) -> tuple[Run, Run]:
    """The two with different names."""
    if first.name != second.name:
        return first, second
    return replace(first, name=f"{first.name} (first)"), replace(second, name=f"{second.name} (second)")


def _index_by_task(runs: Sequence[Run], path: str | os.PathLike[str]) -> dict[str, Run]:
    by_task: dict[str, Run] = {}
    for run in runs:
        if other := by_task.get(run.task):
            raise DataError(
                f"{path}: several systems answered {run.task}: {other.name} ({other.log}) and "
                f"{run.name} ({run.log}); name one log, or see all of them with `archon report`"
            )
        by_task[run.task] = run
    return by_task


def compare_runs(first: Run, second: Run, confidence: float = 0.95) -> RunComparison:
    """One benchmark.

    Raises:
        DataError: scores of different things (`Run.find_incompatibility`), or no question in common.
    """
    if why := find_incompatibility(first, second):
        raise DataError(f"{first.log} and {second.log} cannot be compared: {why}")
    shared = [question for question in first.scored if question in second.scored]
    groups: dict[str, list[str]] = {}
    for question in shared:
        groups.setdefault(first.questions[question].group, []).append(question)
    part_confidence = bonferroni_confidence(len(groups), confidence)
    metric = (join_metrics(first.metric, second.metric) or first.metric).widen({**first.scored}).widen(second.scored)
    parts = [
        _compare_part(name, first, second, metric=metric.part_metric, questions=questions, confidence=part_confidence)
        for name, questions in groups.items()
    ]
    return RunComparison(
        first=first,
        second=second,
        overall=_compare_part("all", first, second, metric=metric, questions=shared, confidence=confidence),
        parts=tuple(parts) if len(parts) > 1 else (),
        unpaired=len(first.scored.keys() ^ second.scored.keys()),
    )


def find_incompatibility(first: Run, second: Run) -> str:
    """Why two runs cannot be compared; empty where they can."""
    no_question = "" if first.scored.keys() & second.scored.keys() else "no question in common"
    return first.find_incompatibility(second) or no_question


def _compare_part(
    name: str, first: Run, second: Run, *, metric: Metric, questions: Sequence[str], confidence: float
) -> PartComparison:
    a, b = ({question: run.scored[question] for question in questions} for run in (first, second))
    figures = metric.compute(a), metric.compute(b)
    return PartComparison(name, metric, *figures, paired=metric.compare(a, b, confidence))


def summarize_comparison(pair: RunComparison) -> str:
    """The answer in one line."""
    part, difference, scale = pair.overall, pair.overall.paired.difference, pair.points
    unit = " points" if scale == 100 else ""
    low, high, interval = difference.low, difference.high, ""
    if low is not None and high is not None and low < high:  # equal: none moved, or all alike
        ends = (format_score(end, scale, "+") for end in (low, high))
        interval = f", {100 * difference.confidence:g}% {' to '.join(ends)}"
    result = f"{part.metric.name} {format_score(difference.value, scale, '+')}{unit}{interval}"
    text = f"{pair.first.name} against {pair.second.name}: {result}: {part.verdict}"
    return text + (f" ({explain_undecided(part.paired, scale)})" if part.verdict == "cannot tell" else "")


def explain_undecided(paired: PairedComparison, scale: float) -> str:
    """What would settle an undecided comparison."""
    reach, more = compute_detectable_effect(paired), estimate_more_questions(paired)
    if reach is None:
        return "one question tells nothing about spread" if paired.difference.n == 1 else "the spread is unknown"
    if paired.wins + paired.losses == 0:
        return "the two score the same on every question"
    if reach == 0:
        return f"{paired.difference.n} questions are too few"
    shows = f"{paired.difference.n} questions show a difference of {format_score(reach, scale)} four times out of five"
    needs = f"needs about {max(1, more or 0):,} more questions if the difference is what it seems"
    if more is None or more > MAX_MORE_QUESTIONS:
        needs = "the difference is too small to be found"
    return "; ".join(part for part in (explain_doubt(paired), needs, shows) if part)


def dump_costs(run: Run) -> dict[str, Any]:
    """A run's costs as plain values for JSON."""
    by_model = {model: dict(costs) for model, costs in run.cost_by_model.items()}
    return {"cost": dict(run.cost), "unknown_costs": dict(run.unknown_costs), "cost_by_model": by_model}


def dump_comparison(pair: RunComparison) -> dict[str, Any]:
    """Plain values for JSON."""

    def dump_part(part: PartComparison) -> dict[str, Any]:
        return {
            "name": part.name,
            "metric": part.metric.name,
            "first": part.first,
            "second": part.second,
            "verdict": part.verdict,
            "doubt": explain_doubt(part.paired),
            "more_questions": estimate_more_questions(part.paired),
            "detectable": compute_detectable_effect(part.paired),
            **asdict(part.paired),
        }

    def dump_system(run: Run) -> Mapping[str, Any]:
        system = {"name": run.name, "fingerprint": run.fingerprint, "log": run.source, "score": asdict(run.estimate)}
        notes = {"merge_note": run.merge_note, "metric_note": run.metric_note}
        return {**system, **notes, "over_runs": asdict(run.over_runs), **dump_costs(run)}

    return {
        "task": pair.first.task,
        "scorer": pair.first.scorer,
        "systems": [dump_system(pair.first), dump_system(pair.second)],
        **dump_part(pair.overall),
        "parts": [dump_part(part) for part in pair.parts],
        "cost_ratio": pair.cost_ratio,
        "left_out": pair.unpaired,
        "prompt_note": pair.prompt_note,
        "warnings": list(list_warnings(pair)),
    }


def list_warnings(pair: RunComparison) -> Iterator[str]:
    """Sentences on layers that never worked and on replies that were cut or lost, each with its system's name."""
    for run in (pair.first, pair.second):
        yield from (f"{run.name}: {text}" for text in run.health.sentences)
