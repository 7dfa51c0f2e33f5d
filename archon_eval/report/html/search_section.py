"""The report's section on a search: the values that `templates/search.html` shows.

section = build_search_section(read_search("search"), "search1")
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from archon_eval.report.formatting import format_percent, format_percent_interval
from archon_eval.report.html.cost_charts import build_cost_chart
from archon_eval.report.html.diagram import draw_diagram, estimate_layer_usage
from archon_eval.report.html.score_charts import build_convergence_chart, build_interval_chart
from archon_eval.report.html.vega import ChartSpec
from archon_eval.report.progress_cells import list_finalist_cells, list_progress_facts
from archon_eval.report.ranking_cells import list_ranking_cells
from archon_eval.report.search_results import Search, TrialSummary

MAX_TOP_TRIALS = 15
"""Trials in the table; the others are folded in."""
TRIAL_AXIS_TITLE = "score, % (one deviation)"
"""The title of the axis of trials' scores."""


@dataclass(frozen=True, slots=True)
class SearchSection:
    """What the page shows of a search."""

    id: str
    """What the ids of its elements begin with."""
    folder: str
    outcome: str
    charts: dict[str, ChartSpec]
    """`convergence` and `cost` where a trial has a score, `outcome` where the winner's scores are known."""
    top_trials: list[dict[str, Any]]
    other_trials: list[dict[str, Any]]
    winner: str
    diagram: Markup | None
    """The winner's; None where its architecture is not known."""
    notes: list[str]
    commands: list[str]
    """What evaluates the winner, to be pasted."""
    ranking: list[list[str]]
    """Cells of the ranking table; none where models were not ranked."""
    facts: list[tuple[str, str]]
    """What there is to know of a search that has not finished: what and how much; empty of one that has."""
    under_way: list[str]
    finalists: list[list[str]]
    """Of a search that has not finished: name, score with fresh draws, calls, problem."""
    failures: list[tuple[str, str]]


def build_search_section(search: Search, id: str) -> SearchSection:
    """The section."""
    trials, progress = _build_table_rows(search.trials, id), search.progress
    return SearchSection(
        id=id,
        folder=search.folder,
        outcome=search.outcome,
        charts=_build_charts(search, id),
        top_trials=trials[:MAX_TOP_TRIALS],
        other_trials=trials[MAX_TOP_TRIALS:],
        winner=search.summary.get("winner", ""),
        diagram=_draw_winner(search),
        notes=[str(note) for note in search.summary.get("notes", ())],
        commands=list(search.commands),
        ranking=list_ranking_cells(search.ranking),
        facts=list_progress_facts(progress) if progress else [],
        under_way=list(progress.under_way) if progress else [],
        finalists=list_finalist_cells((*progress.finalists, *progress.held_out)) if progress else [],
        failures=list(progress.failures) if progress else [],
    )


def build_trial_rows(search: Search, id: str) -> list[dict[str, Any]]:
    """Trials as a chart's data, in the order tried; only those with a score have `seen`, `low`, `high` and costs."""
    cost_name, cost_factor = ("tokens", 1000) if search.cost_unit == "kilotokens" else (search.cost_unit, 1)
    paid, rows = 0, []
    best = {incumbent.trials: incumbent for incumbent in search.incumbents}
    for number, trial in enumerate(search.trials, 1):
        paid += trial.paid
        row: dict[str, Any] = {"number": number, "name": trial.name, "layers": trial.layers, "paid": paid}
        row |= {"performance": trial.performance, "expected": trial.expected, "link": _build_trial_id(id, number)}
        if trial.performance is not None:
            seen, deviation = trial.performance if trial.expected is None else trial.expected, trial.deviation or 0.0
            row |= {"seen": 100 * seen, "low": 100 * (seen - deviation), "high": 100 * (seen + deviation)}
            row |= {"range": f"{100 * seen:.1f}%, measured {100 * trial.performance:.1f}%"}
            row |= {"dev_low": trial.low, "dev_high": trial.high}
            row |= {"calls": trial.calls, cost_name: trial.cost * cost_factor}
        if incumbent := best.get(number):
            row |= {"leader": incumbent.name, "leading": incumbent.value}
            row |= {"leading_low": incumbent.low, "leading_high": incumbent.high}
        rows.append(row)
    return rows


def build_trial_cost_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Those of `build_trial_rows` that have a score, for the chart of score against cost."""
    return [{**row, "label": row["name"], "text": row["layers"], "score": row["seen"]} for row in rows if "seen" in row]


def _build_charts(search: Search, id: str) -> dict[str, ChartSpec]:
    rows = build_trial_rows(search, id)
    charts = {"convergence": build_convergence_chart(rows)} if any("seen" in row for row in rows) else {}
    if intervals := list(_build_outcome_rows(search.summary)):
        charts["outcome"] = build_interval_chart(intervals, "score, % (95% interval)")
    if cost_rows := build_trial_cost_rows(rows):
        is_measured = all(trial.expected is None for trial in search.trials)
        charts["cost"] = build_cost_chart(cost_rows, "calls", "dev score, %" if is_measured else TRIAL_AXIS_TITLE)
    return charts


def _build_outcome_rows(summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The winner's dev scores, and every system's held-out score with its interval."""
    for label, value, text in (
        ("winner, dev", summary.get("dev"), "best of many on the questions it was chosen by"),
        ("winner, dev, fresh draws", summary.get("dev_fresh_draws"), "the same questions, answered again"),
    ):
        if value is not None:
            row = {"label": label, "value": 100 * value, "low": 100 * value, "high": 100 * value, "text": text}
            yield {**row, "range": f"{100 * value:.1f}"}
    for name, result in summary.get("held_out", {}).items():
        if result.get("value") is None:
            continue
        low, high = (result["value"] if result.get(end) is None else result[end] for end in ("low", "high"))
        low, high = max(0.0, low), min(1.0, high)
        ends = f" ({100 * low:.1f} to {100 * high:.1f})" if low < high else ""
        yield {
            "label": f"{name}, held-out",
            "value": 100 * result["value"],
            "low": 100 * low,
            "high": 100 * high,
            "text": f"{result['architecture']}, {result['questions']} questions, "
            f"{result['calls_per_question']:.1f} calls each",
            "range": f"{100 * result['value']:.1f}{ends}",
        }


def _build_table_rows(trials: Sequence[TrialSummary], id: str) -> list[dict[str, Any]]:
    """All trials, best first."""
    best = sorted(enumerate(trials, 1), key=lambda item: -(item[1].expected or item[1].performance or -1.0))
    return [
        {
            "id": _build_trial_id(id, number),
            "number": number,
            "name": trial.name,
            "performance": format_percent_interval(trial.performance, trial.low, trial.high),
            "expected": format_percent(trial.expected),
            "calls": f"{trial.calls:.1f}",
            "draws": trial.drawn,
            "layers": trial.layers,
            "error": trial.error,
        }
        for number, trial in best
    ]


def _draw_winner(search: Search) -> Markup | None:
    """By the measured usage of its held-out run, or by the plan of best.yaml."""
    for run in search.runs:
        if run.fingerprint == search.summary.get("fingerprint"):
            return Markup(draw_diagram(run.layers))
    return None if search.best is None else Markup(draw_diagram(estimate_layer_usage(search.best)))


def _build_trial_id(id: str, number: int) -> str:
    return f"{id}-t{number}"
