"""What a report shows, gathered from logs and search folders, before it takes the form of a page, text or JSON.

data = read_report_data(["logs", "search"])
data.benchmarks[0].systems[0].label
"""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from archon_eval.errors import DataError, sanitize_text
from archon_eval.report.compare import (
    RunComparison,
    compare_runs,
    dump_comparison,
    dump_costs,
    find_incompatibility,
)
from archon_eval.report.formatting import truncate
from archon_eval.report.search_results import (
    Search,
    has_journal,
    is_search,
    list_eval_names,
    read_search,
    read_unfinished_search,
)
from archon_eval.runs.benchmark_run import COST_NAMES, MissingPolicy, Run
from archon_eval.runs.metrics import MEAN_OF_VALUES
from archon_eval.runs.model_ranking import dump_ranking
from archon_eval.runs.read_log import find_logs, has_logs, merge_alike, read_runs
from archon_eval.stats.comparison import bonferroni_confidence
from archon_eval.stats.estimates import Estimate, format_score
from archon_eval.stats.metrics import MeanMetric, is_mean

DRAWN_COSTS = ("dollars", "tokens", "calls", "seconds")
"""Names of COST_NAMES that the chart of score against cost can show."""
MAX_LABEL_CHARACTERS = 120
"""Characters of a system's name that are shown."""
NO_NAME = "(no name)"
"""What stands for the name of a system that has none."""


@dataclass(frozen=True, slots=True)
class SystemResult:
    """One run in the report."""

    label: str
    """Its name, made unique."""
    run: Run

    @property
    def score(self) -> Estimate:
        """Its figure by the benchmark's metric, with the interval."""
        return self.run.estimate

    @property
    def beside(self) -> dict[str, Estimate]:
        """Figures that belong beside it, by name: the raw win rate, or the log's own figure, which has no interval."""
        return self.run.estimate_companions()


@dataclass(frozen=True, slots=True)
class BenchmarkReport:
    """One benchmark's runs."""

    task: str
    systems: tuple[SystemResult, ...]
    """Cheapest first."""
    pairs: Mapping[str, RunComparison]
    """Label -> the comparison with the cheapest system, of every other one that can be compared."""
    not_compared: Mapping[str, str]
    """Label -> why there is none."""

    @property
    def metric(self) -> str:
        """The name of the benchmark's metric, which heads the column of scores."""
        return self.systems[0].run.metric.name

    @property
    def digits(self) -> int:
        """Digits after the point that are shown of a score."""
        return self.systems[0].run.metric.digits

    @property
    def beside(self) -> tuple[str, ...]:
        """Names of the figures beside it that some system has."""
        return tuple(dict.fromkeys(name for system in self.systems for name in system.beside))

    @property
    def scale(self) -> float:
        """What a score of 1 is shown as: 100 or 1."""
        return min(system.run.points for system in self.systems)

    @property
    def prompt_note(self) -> str:
        """On prompts that were not compared, of the first pair where there are such; empty where all were."""
        notes = {label: pair.prompt_note for label, pair in self.pairs.items() if pair.prompt_note}
        if not notes:
            return ""
        label, note = next(iter(notes.items()))
        return f"{label}: {note}" + (f" So it is with {len(notes) - 1} more." if len(notes) > 1 else "")

    @property
    def confidence_note(self) -> str:
        """How sure the comparisons are."""
        if not self.pairs:
            return ""
        confidence = next(iter(self.pairs.values())).overall.paired.difference.confidence
        text = f"Differences to the first at {100 * confidence:.3g}%"
        return f"{text}, which holds for all {len(self.pairs)} together." if len(self.pairs) > 1 else f"{text}."


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything a report shows."""

    benchmarks: tuple[BenchmarkReport, ...]
    searches: tuple[Search, ...]
    problems: tuple[str, ...] = ()
    """Logs that could not be used, and why."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences on layers that never worked and on replies that were cut or lost, each with its system's name."""
        shown = {run.log for search in self.searches for run in search.runs if search.warnings}
        return (
            *(f"Search in {search.folder}: {text}" for search in self.searches for text in search.warnings),
            *(
                f"{f'{bench.task}: ' if len(self.benchmarks) > 1 else ''}{system.label}: {text}"
                for bench in self.benchmarks
                for system in bench.systems
                if system.run.log not in shown
                for text in (*system.run.health.sentences, system.run.merge_note)
                if text
            ),
        )


def read_report_data(
    paths: Sequence[str | os.PathLike[str]],
    scorer: str | None = None,
    missing: MissingPolicy = "drop",
    *,
    metric: str | None = None,
    ignore_prompts: bool = False,
    merge: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> ReportData:
    """Read logs, folders of logs and folders of searches. A log that several paths lead to is read once.

    Args:
        ignore_prompts: whether systems are compared although they were asked with other prompts.
        merge: whether logs of one system become one run although they are at several paths, as those of a folder do.
        on_progress: called before each log with how many are read, and of how many; a search counts as one.

    Raises:
        DataError: nothing there, or nothing that can be used.
    """
    folders = [path for path in paths if is_search(path)]
    others = [path for path in paths if not is_search(path)]
    unfinished = [path for path in others if has_journal(path)]
    others = [path for path in others if path not in unfinished or has_logs(path)]
    counts, total = itertools.count(), len(folders) + sum(len(find_logs(path)) for path in others)

    def count_log() -> None:
        on_progress(next(counts), total)

    searches = []
    for path in folders:
        count_log()
        searches.append(read_search(path, scorer, missing, metric=metric))
    searches += [read_unfinished_search(path) for path in unfinished]
    names = {log: name for path in unfinished for log, name in list_eval_names(path).items()}
    problems = [f"{path}: the search's result, as it has not finished" for path in unfinished]
    seen = set[Path]()
    runs = [
        run
        for path in others
        for run in read_runs(
            path,
            scorer,
            missing,
            metric=metric,
            ignore_prompts=ignore_prompts,
            problems=problems,
            seen=seen,
            names=names,
            on_log=count_log,
        )
    ]
    runs = merge_alike(runs) if merge else runs
    runs += [run for search in searches for run in search.runs]
    problems += [problem for search in searches for problem in search.problems]
    problems += [f"{run.log}: no question has a score" for run in runs if not run.scored]
    runs = [run for run in runs if run.scored]
    if not runs and not searches:
        raise DataError(f"no log can be used; {problems[-1]}")
    tasks: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        figure = MEAN_OF_VALUES if is_mean(run.metric) else run.metric.name
        tasks.setdefault((f"{run.task}, {run.scorer}", figure), []).append(run)
    benchmarks = tuple(build_benchmark_report(task, runs_of_task) for (task, _), runs_of_task in tasks.items())
    return ReportData(benchmarks, tuple(searches), tuple(problems))


def build_benchmark_report(task: str, runs: Sequence[Run]) -> BenchmarkReport:
    """Runs of one benchmark beside each other, compared with the cheapest so that all of it holds together.

    Runs with unknown calls or tokens come last: they are not the cheapest for all one knows.
    """
    ordered = unify_metrics(sorted(runs, key=rank_cost))
    systems, taken = [], set[str]()
    for run in ordered:
        name = truncate(sanitize_text(run.name), MAX_LABEL_CHARACTERS) or NO_NAME
        label, number = name, 2
        while label in taken:
            label, number = f"{name} ({number})", number + 1
        taken.add(label)
        systems.append(SystemResult(label, run))
    reasons = {s.label: truncate(sanitize_text(find_incompatibility(s.run, ordered[0]))) for s in systems[1:]}
    alike = [system for system in systems[1:] if not reasons[system.label]]
    confidence, pairs = bonferroni_confidence(len(alike)), {}
    for system in alike:
        try:
            pairs[system.label] = compare_runs(system.run, ordered[0], confidence)
        except DataError as exc:  # too few shared questions for the figure
            reasons[system.label] = truncate(sanitize_text(str(exc)))
    return BenchmarkReport(
        task=task,
        systems=tuple(systems),
        pairs=pairs,
        not_compared={label: reason for label, reason in reasons.items() if reason},
    )


def unify_metrics(runs: Sequence[Run]) -> list[Run]:
    """The runs by one figure: where means have different names in their logs, all of them are means of values, and a
    log's own name stands beside."""
    if len({run.metric.name for run in runs}) == 1 or not all(is_mean(run.metric) for run in runs):
        return list(runs)

    def rename(run: Run) -> Run:
        if run.metric.name == MEAN_OF_VALUES:
            return run
        own = run.headline or (run.metric.name, run.estimate.value)
        return replace(run, metric=MeanMetric(MEAN_OF_VALUES, run.metric.bounds), headline=own)

    return [rename(run) for run in runs]


def rank_cost(*runs: Run) -> list[tuple[bool, float]]:
    """By mean calls of a system's runs, then tokens; what is unknown comes last."""
    costs = [[run.cost.get(name) for run in runs] for name in ("calls", "tokens")]
    return [(None in values, fmean(value or 0.0 for value in values)) for values in costs]


def find_frontier(systems: Sequence[SystemResult], cost: str) -> set[str]:
    """Labels of the systems of which none other is both at least as good and cheaper."""
    costs = [(system.run.cost.get(cost), -system.score.value, system.label) for system in systems]
    frontier, best = set[str](), float("-inf")
    for _, negative_score, label in sorted((c, score, label) for c, score, label in costs if c is not None):
        if -negative_score > best:
            best = -negative_score
            frontier.add(label)
    return frontier


def list_undrawn(benchmark: BenchmarkReport, costs: Iterable[str] = DRAWN_COSTS) -> list[str]:
    """Which systems have no point on the chart of score against a cost, and why; a sentence per cost."""
    lines = []
    for cost in costs:
        unknown = {
            s.label: s.run.unknown_costs.get(cost, "") for s in benchmark.systems if s.run.cost.get(cost) is None
        }
        if unknown:
            systems = (f"{label} ({why})" if why else label for label, why in unknown.items())
            lines.append(f"Not drawn by {cost}: {', '.join(systems)}.")
    return lines


def format_interval(estimate: Estimate, scale: float, sign: str = "", *, digits: int | None = None) -> str:
    """`71.4 (66.0 to 77.0)` on the shown scale; only the value where the spread is unknown or zero."""
    value = format_score(estimate.value, scale, sign, digits=digits)
    if estimate.low is None or estimate.high is None or estimate.low == estimate.high:
        return value
    low, high = (format_score(end, scale, sign, digits=digits) for end in (estimate.low, estimate.high))
    return f"{value} ({low} to {high})"


def format_beside(benchmark: BenchmarkReport, system: SystemResult) -> list[str]:
    """The figures beside a system's score, in the benchmark's order; empty for one that the system does not have."""

    def format_figure(figure: Estimate | None) -> str:
        if figure is None:
            return ""
        if system.run.headline is not None and figure.value == system.run.headline[1] and figure.stderr is None:
            return f"{figure.value:.4f}".rstrip("0").rstrip(".")  # as the log has it, of whatever kind
        return format_interval(figure, benchmark.scale, digits=benchmark.digits)

    return [format_figure(system.beside.get(name)) for name in benchmark.beside]


def describe_score(run: Run) -> str:
    """The run's figure by its name: `win rate 23.3 (20.1 to 26.7)`."""
    return f"{run.metric.name} {format_interval(run.estimate, run.points, digits=run.metric.digits)}"


def dump_report(data: ReportData) -> dict[str, Any]:
    """Plain values for JSON."""
    searches = [
        {
            "folder": search.folder,
            "summary": search.summary,
            "trials": [asdict(trial) for trial in search.trials],
            "ranking": dump_ranking(search.ranking),
            "convergence": [asdict(incumbent) for incumbent in search.incumbents],
        }
        for search in data.searches
    ]
    benches = [_dump_benchmark(bench) for bench in data.benchmarks]
    warnings = list(data.warnings)
    return {"warnings": warnings, "benches": benches, "searches": searches, "left_out": list(data.problems)}


def _dump_benchmark(bench: BenchmarkReport) -> dict[str, Any]:
    systems = [
        {
            "label": system.label,
            "metric": system.run.metric.name,
            "metric_note": system.run.metric_note,
            "beside": {name: asdict(figure) for name, figure in system.beside.items()},
            "score": asdict(system.score),
            "over_runs": asdict(system.run.over_runs),
            **dump_costs(system.run),
            "layers": [asdict(layer) for layer in system.run.layers],
            "stages": [stage.to_metadata() for stage in system.run.stages],
            "notes": dict(system.run.notes),
            "warnings": list(system.run.health.sentences),
            "health": system.run.health.to_metadata(),
            "missing": dict(system.run.missing),
            "fingerprint": system.run.fingerprint,
            "log": system.run.source,
            "scores": {question: list(epochs) for question, epochs in system.run.scores.items()},
        }
        for system in bench.systems
    ]
    return {
        "task": bench.task,
        "systems": systems,
        "frontier": {cost: sorted(find_frontier(bench.systems, cost)) for cost in COST_NAMES},
        "against_cheapest": {label: dump_comparison(pair) for label, pair in bench.pairs.items()},
        "not_compared": dict(bench.not_compared),
    }
