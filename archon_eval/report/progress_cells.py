"""What there is to know of a search that has not finished, as cells of text, for the page and for Markdown.

>>> from archon_eval.report.search_progress import FollowedProgress
>>> list_progress_facts(FollowedProgress("running", stage="searching", calls=1200, budget={"calls": 5000}))[:2]
[('stage', 'searching'), ('calls paid', '1,200 of 5,000 (24%)')]
"""

from collections.abc import Sequence

from archon_eval.report.formatting import format_percent_interval
from archon_eval.report.search_progress import EvalSummary, FollowedProgress, format_time

FINALIST_COLUMNS = ("finalist or control", "score (95%)", "questions", "calls", "problem")


def list_progress_facts(progress: FollowedProgress) -> list[tuple[str, str]]:
    """What, and how much; without what is not known."""
    free = len(progress.trials) - progress.chosen_trials
    many = f", {progress.done} of {progress.total}" if progress.total else ""
    failed = sum(trial.scored.performance is None for trial in progress.trials)
    most = f" of {progress.max_trials:,.0f}" if progress.max_trials else ""
    space = f", from a space of {progress.options:,}" if progress.options else ""
    every = progress.calls + progress.reused
    facts = {
        "stage": f"{progress.stage}{many}" if progress.stage else "",
        "trials": f"{progress.chosen_trials}{most}{space}" if progress.trials or progress.options else "",
        "free trials": f"{free}, all of whose calls other trials had paid for" if free else "",
        "failed trials": str(failed) if failed else "",
        "calls paid": _format_spent(progress.calls, progress.budget.get("calls")),
        "dollars": _format_spent(progress.dollars, progress.budget.get("dollars"), "$", 2),
        "calls from the store": f"{progress.reused:,} ({progress.reused / every:.0%} of all)" if every else "",
        "time left for trials": _format_duration(progress.seconds_left if progress.state == "running" else None),
        "last written": "" if progress.at is None else format_time(progress.at),
    }
    return [(name, text) for name, text in facts.items() if text]


def list_finalist_cells(evals: Sequence[EvalSummary]) -> list[list[str]]:
    """A row per finalist or control, in the order of `FINALIST_COLUMNS`."""
    return [
        [
            found.label,
            format_percent_interval(found.scored.performance, found.low, found.high),
            str(found.scored.questions),
            f"{found.scored.calls:.1f}",
            found.scored.error,
        ]
        for found in evals
    ]


def _format_spent(spent: float | None, most: float | None, unit: str = "", digits: int = 0) -> str:
    """`1,200 of 5,000 (24%)`; `unknown` where it is not known."""
    shown = "unknown" if spent is None else f"{unit}{spent:,.{digits}f}"
    if not most:
        return shown
    return f"{shown} of {unit}{most:,.{digits}f}" + ("" if spent is None else f" ({spent / most:.0%})")


def _format_duration(seconds: float | None) -> str:
    """`1:05:00`, hours first; empty where it is not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"about {hours}:{minutes:02}:{rest:02}"
