"""The two standard errors of a system's figure, each under its name: over questions, and over runs.

rows = list_standard_errors([("moa", run)], scale=100)      # [["moa", "5.96", "1.78", "10"]]
"""

from collections.abc import Iterable

from archon_eval.report.formatting import format_error
from archon_eval.runs.benchmark_run import Run
from archon_eval.stats.over_runs import RunsSpread

STANDARD_ERROR_COLUMNS = ("system", "standard error over questions", "standard error over runs", "runs")
STANDARD_ERROR_NOTE = (
    "Over questions: what other questions would change. Over runs: sd / sqrt(runs), what asking the same questions "
    "again would change; it is 0 where all runs gave the same answers."
)


def list_standard_errors(systems: Iterable[tuple[str, Run]], scale: float) -> list[list[str]]:
    """A row of `STANDARD_ERROR_COLUMNS` per system, given by label and run; none where no system has several runs."""
    pairs = list(systems)
    if all(len(run.repeats) < 2 for _, run in pairs):
        return []
    return [
        [
            label,
            format_error(run.estimate.stderr, scale),
            format_over_runs(run.over_runs, scale),
            describe_runs(run.over_runs, len(run.repeats)),
        ]
        for label, run in pairs
    ]


def describe_standard_errors(run: Run) -> str:
    """Both in a line; empty where the run is a single one."""
    if len(run.repeats) < 2:
        return ""
    over_questions, spread = format_error(run.estimate.stderr, run.points), run.over_runs
    over_runs = f"over {describe_runs(spread, len(run.repeats))} runs {format_over_runs(spread, run.points)}"
    return f"Standard error of {run.name}: over questions {over_questions}, {over_runs}"


def format_over_runs(spread: RunsSpread, scale: float) -> str:
    """The standard error over runs, or why it is unknown."""
    return f"unknown: {spread.why}" if spread.why else format_error(spread.stderr, scale)


def describe_runs(spread: RunsSpread, repeats: int) -> str:
    """How many runs, and what of them does not count.

    Args:
        repeats: all runs.
    """
    notes = []
    if spread.left_out_runs:
        notes.append(f"{spread.left_out_runs} left out, which lack questions")
    if spread.left_out_questions:
        notes.append(f"on the {spread.questions} questions that all have, without {spread.left_out_questions}")
    return f"{repeats - spread.left_out_runs}" + (f" ({'; '.join(notes)})" if notes else "")
