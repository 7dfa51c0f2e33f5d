"""The report's section on a search: convergence, top architectures, dev against held-out.

parts = render_search(read_search("search"), "search1", drawn)
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from archon_eval.report.formatting import format_percent
from archon_eval.report.html.cost_charts import build_cost_chart
from archon_eval.report.html.diagram import draw_diagram, estimate_layer_usage
from archon_eval.report.html.helpers import render_cell, render_chart, render_table
from archon_eval.report.html.score_charts import build_convergence_chart, build_interval_chart
from archon_eval.report.html.vega import ChartSpec
from archon_eval.report.search_results import Search

MAX_TOP_ROWS = 15
"""Rows of the table."""


def render_search(search: Search, id: str, drawn: dict[str, ChartSpec]) -> list[str]:
    """HTML of a search; its charts are added to `drawn`."""
    summary = search.summary
    rows = list(build_trial_rows(search, id))
    drawn[f"{id}-convergence"] = build_convergence_chart(rows)
    bars = list(_build_outcome_rows(summary))
    parts = [f"<h2>Search in {escape(search.folder)}</h2>", f'<p class="big">{escape(search.outcome)}</p>']
    if bars:
        drawn[f"{id}-outcome"] = build_interval_chart(bars, "score, % (95% interval)")
        parts += ["<h3>Dev against held-out</h3>", render_chart(f"{id}-outcome")]
    parts += ["<h3>Convergence</h3>", render_chart(f"{id}-convergence")]
    if spread := build_spread_rows(rows):
        drawn[f"{id}-cost"] = build_cost_chart(spread, "calls", "score, % (one deviation)")
        parts += [
            "<h3>Every trial, score against cost</h3>",
            "<p class=soft>Scores as the surrogate sees them, one deviation either way; without one, as measured.</p>",
            render_chart(f"{id}-cost"),
        ]
    parts += ["<h3>Top architectures</h3>", _render_top_trials(search, id)]
    measured = [run.layers for run in search.runs if run.fingerprint == summary.get("fingerprint")]
    if measured or search.best is not None:
        drawing = draw_diagram(measured[0] if measured else estimate_layer_usage(search.best))
        caption = escape(f"best.yaml: {summary.get('winner', '')}")
        parts += [f'<div class="diagrams"><figure><figcaption>{caption}</figcaption>{drawing}</figure></div>']
    notes = "".join(f"<li>{escape(str(note))}</li>" for note in summary.get("notes", ()))
    return [*parts, f"<ul>{notes}</ul>" if notes else ""]


def build_trial_rows(search: Search, id: str) -> Iterable[dict[str, Any]]:
    paid = 0
    for number, trial in enumerate(search.trials, 1):
        paid += trial.paid
        row: dict[str, Any] = {"number": number, "name": trial.name, "layers": trial.layers, "paid": paid}
        row |= {"performance": trial.performance, "expected": trial.expected, "link": f"{id}-t{number}"}
        seen = trial.performance if trial.expected is None else trial.expected
        if trial.performance is not None and seen is not None:
            spread = trial.deviation or 0.0
            cost = "tokens" if search.cost_unit == "kilotokens" else search.cost_unit
            row |= {"seen": 100 * seen, "low": 100 * (seen - spread), "high": 100 * (seen + spread)}
            row |= {"range": f"{100 * seen:.1f}%, measured {100 * trial.performance:.1f}%"}
            row |= {"calls": trial.calls, cost: trial.cost * (1000 if cost == "tokens" else 1)}
        yield row


def build_spread_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Trials that have a score, for the chart of score against cost."""
    return [{**row, "label": row["name"], "text": row["layers"], "score": row["seen"]} for row in rows if "seen" in row]


def _build_outcome_rows(summary: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for label, value, text in (
        ("winner, dev", summary.get("dev"), "best of many on the questions it was chosen by"),
        ("winner, dev, fresh draws", summary.get("dev_fresh_draws"), "the same questions, answered again"),
    ):
        if value is not None:
            row = {"label": label, "value": 100 * value, "low": 100 * value, "high": 100 * value, "text": text}
            yield {**row, "range": f"{100 * value:.1f}"}
    for name, one in summary.get("held_out", {}).items():
        if one.get("value") is None:
            continue
        low, high = (one["value"] if one.get(end) is None else one[end] for end in ("low", "high"))
        low, high = max(0.0, low), min(1.0, high)
        text = f"{one['architecture']}, {one['questions']} questions, {one['calls_per_question']:.1f} calls each"
        row = {"label": f"{name}, held-out", "value": 100 * one["value"], "low": 100 * low, "high": 100 * high}
        ends = f" ({100 * low:.1f} to {100 * high:.1f})" if low < high else ""
        yield {**row, "text": text, "range": f"{100 * one['value']:.1f}{ends}"}


def _render_top_trials(search: Search, id: str) -> str:
    numbered = list(enumerate(search.trials, 1))
    best = sorted(numbered, key=lambda item: -(item[1].expected or item[1].performance or -1.0))
    rows = []
    for number, trial in best:
        cells = [
            render_cell(str(number), True),
            render_cell(trial.name),
            render_cell(format_percent(trial.performance), True),
        ]
        cells += [
            render_cell(format_percent(trial.expected), True),
            render_cell(f"{trial.calls:.1f}", True),
            render_cell(trial.layers),
        ]
        cells += [render_cell(trial.error)]
        rows.append(f'<tr id="{id}-t{number}">{"".join(cells)}</tr>')
    head = ["trial", "architecture", "dev", "surrogate", "calls", "layers", "problem"]
    columns = (0, 2, 3, 4)
    more = render_table(head, rows[MAX_TOP_ROWS:], columns)
    rest = f"<details><summary>{len(rows) - MAX_TOP_ROWS} more</summary>{more}</details>"
    return render_table(head, rows[:MAX_TOP_ROWS], columns) + (rest if len(rows) > MAX_TOP_ROWS else "")
