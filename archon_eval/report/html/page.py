"""The report as one HTML file that needs nothing else: no network, no other file; everything from models is escaped.

Path("report.html").write_text(render_page(gather(["logs"])), encoding="utf-8")
"""

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from html import escape
from importlib import resources
from string import Template
from typing import Any

from archon_eval.engine.trace import EVENT_TYPES
from archon_eval.errors import DataError
from archon_eval.report.formatting import format_cost, truncate
from archon_eval.report.html.cost_charts import build_cost_chart, build_layer_chart
from archon_eval.report.html.diagram import draw_diagram
from archon_eval.report.html.helpers import render_cell, render_chart, render_table
from archon_eval.report.html.score_charts import build_difference_chart
from archon_eval.report.html.search_section import build_spread_rows, build_trial_rows, render_search
from archon_eval.report.html.vega import ChartSpec, bundle_scripts, render_png
from archon_eval.report.report_data import BenchmarkReport, ReportData, SystemResult, find_frontier, format_interval
from archon_eval.runs.run import COST_NAMES, UNSCORED_MEANING, Run

MAX_TEXT_CHARACTERS = 1_500
"""Characters of a question or an answer that are shown."""
MAX_PAGE_CHARACTERS = 1_500_000
"""Characters of all questions and answers in a page; questions on which systems differ come first."""


def render_page(found: ReportData) -> str:
    """The whole page.

    Raises:
        DataError: the plotting package is missing.
    """
    drawn: dict[str, ChartSpec] = {}
    parts = [f"<h1>{escape(_format_title(found))}</h1>"]
    parts += [f'<p class="worse">Left out: {escape(problem)}</p>' for problem in found.problems]
    for number, search in enumerate(found.searches, 1):
        parts += render_search(search, f"search{number}", drawn)
    budget = MAX_PAGE_CHARACTERS // max(1, len(found.benchmarks))
    for number, bench in enumerate(found.benchmarks, 1):
        parts += _render_benchmark(bench, f"bench{number}", drawn, budget)
    template = resources.files("archon_eval.report.html").joinpath("page.html").read_text(encoding="utf-8")
    data = json.dumps(drawn).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Template(template).substitute(
        title=escape(_format_title(found)), body="\n".join(parts), charts=data, scripts=bundle_scripts()
    )


def render_chart_png(found: ReportData, cost: str) -> bytes:
    """Score against cost of the first benchmark, or of a search without one, as PNG.

    Raises:
        DataError: the plotting package is missing, or nothing to draw.
    """
    if found.benchmarks:
        bench = found.benchmarks[0]
        return render_png(build_cost_chart(list(build_cost_rows(bench, "")), cost, _format_axis_title(bench)))
    rows = [row for search in found.searches for row in build_spread_rows(list(build_trial_rows(search, "")))]
    if not rows:
        raise DataError("nothing to draw: no run and no trial has a score")
    return render_png(build_cost_chart(rows, cost, "score, % (one deviation)"))


def _format_title(found: ReportData) -> str:
    if found.searches:
        return "Architecture search: " + ", ".join(search.summary.get("winner", "") for search in found.searches)
    return "Report: " + ", ".join(bench.task.split(",")[0] for bench in found.benchmarks)


def _render_benchmark(bench: BenchmarkReport, id: str, drawn: dict[str, ChartSpec], budget: int) -> list[str]:
    texts = _render_samples(bench, id, budget)
    linked = {question for question, _ in texts}
    drawn[f"{id}-cost"] = build_cost_chart(list(build_cost_rows(bench, id)), "calls", _format_axis_title(bench))
    parts = [
        f"<h2>{escape(bench.task)}</h2>",
        _render_systems(bench, id),
        "<h3>Score against cost</h3>",
        "<p class=soft>Dashed: the Pareto frontier; nothing else is both cheaper and better. Hover a point for its "
        "architecture, click it for its diagram.</p>",
        render_chart(f"{id}-cost"),
    ]
    if bench.pairs:
        shared = [s for s in bench.systems if s.label in bench.pairs or s is bench.systems[0]]
        best = max(range(len(shared)), key=lambda n: (shared[n].label.startswith("winner"), shared[n].score.value))
        drawn[f"{id}-questions"] = build_difference_chart(
            list(_build_question_rows(bench, shared, linked, id)),
            [s.label for s in shared],
            scale=bench.scale,
            first=best or -1,
        )
        parts += [
            "<h3>Question by question</h3>",
            "<p class=soft>Green: this system scores higher; red: lower; grey: equal. Click a column for question and "
            "answers.</p>",
            render_chart(f"{id}-questions"),
            *(_render_parts(bench)),
        ]
    rows = [row for system in bench.systems for row in _build_layer_rows(system)]
    if rows:
        drawn[f"{id}-layers"] = build_layer_chart(rows)
        figures = [
            f'<figure id="{id}-d{n}"><figcaption>{escape(s.label)}</figcaption>{draw_diagram(s.run.layers)}</figure>'
            for n, s in enumerate(bench.systems)
            if s.run.layers
        ]
        parts += ["<h3>Calls and tokens per layer</h3>", render_chart(f"{id}-layers")]
        parts += ["<h3>Architectures</h3>", f'<div class="diagrams">{"".join(figures)}</div>']
    parts += _render_notes(bench)
    if texts:
        hidden = len({q for s in bench.systems for q in s.run.questions}) - len(texts)
        note = f"<p class=soft>{hidden} more questions are in the logs.</p>" if hidden else ""
        parts += ["<h3>Questions and answers</h3>", f"<details><summary>{len(texts)} questions</summary>"]
        parts += [*(text for _, text in texts), note, "</details>"]
    return parts


def _format_axis_title(bench: BenchmarkReport) -> str:
    return "score, % (95% interval)" if bench.scale == 100 else "score (95% interval)"


def build_cost_rows(bench: BenchmarkReport, id: str) -> Iterable[dict[str, Any]]:
    """The data of the chart of score against cost."""
    for number, system in enumerate(bench.systems):
        score, scale = system.score, bench.scale
        yield {
            "label": system.label,
            "text": " → ".join(layer.kind.replace("_", " ") for layer in system.run.layers) or system.run.name,
            "range": format_interval(score, scale),
            "score": scale * score.value,
            "low": None if score.low is None else scale * score.low,
            "high": None if score.high is None else scale * score.high,
            **{name: system.run.cost.get(name) for name in COST_NAMES},
            "link": f"{id}-d{number}",
        }


def _render_systems(bench: BenchmarkReport, id: str) -> str:
    best = {cost: find_frontier(bench.systems, cost) for cost in ("dollars", "calls")}
    rows = []
    for system in bench.systems:
        pair, run = bench.pairs.get(system.label), system.run
        games = f"{pair.overall.paired.wins}/{pair.overall.paired.losses}" if pair else ""
        mark = " ◆" if any(system.label in labels for labels in best.values()) else ""
        against = (
            f'<span class="{pair.overall.verdict.split()[-1]}">{pair.overall.verdict}</span>, '
            f"{format_interval(pair.overall.paired.difference, bench.scale, '+')}"
            if pair
            else escape(
                f"not compared: {bench.not_compared[system.label]}" if system.label in bench.not_compared else ""
            )
        )
        cells = [
            render_cell(system.label + mark),
            render_cell(format_interval(system.score, bench.scale), True),
            render_cell(str(len(run.scores)), True),
        ]
        cells += [
            render_cell(format_cost(run.cost.get(name)), True) for name in ("calls", "tokens", "dollars", "seconds")
        ]
        rows.append(f"<tr>{''.join(cells)}<td{' class=nw' if pair else ''}>{against}</td>{render_cell(games)}</tr>")
    head = ["system", "score (95%)", "questions", "calls", "tokens", "$", "seconds", "against the first", "won/lost"]
    caption = "<p class=soft>Cost per question, reused calls included. ◆ on the frontier of calls or dollars."
    caption += f" {escape(bench.confidence_note)}</p>" if bench.confidence_note else "</p>"
    if len({frozenset(system.run.scores) for system in bench.systems}) > 1:
        caption += (
            '<p class="worse">Not all systems have scores of the same questions: their scores are not of the same '
            "thing. The difference to the first is over the questions that both have.</p>"
        )
    return render_table(head, rows, range(1, 7)) + caption


def _render_parts(bench: BenchmarkReport) -> Iterable[str]:
    pairs = {label: pair for label, pair in bench.pairs.items() if pair.parts}
    if not pairs:
        return
    names = [part.name for part in next(iter(pairs.values())).parts]
    rows = []
    for label, pair in pairs.items():
        shown = {p.name: f"{format_interval(p.paired.difference, bench.scale, '+')}: {p.verdict}" for p in pair.parts}
        rows.append(f"<tr>{''.join(render_cell(text) for text in (label, *(shown.get(n, '') for n in names)))}</tr>")
    yield f"<details><summary>Parts of the benchmark, against {escape(bench.systems[0].label)}</summary>"
    yield render_table(["system", *names], rows, ()) + "</details>"


def _build_question_rows(
    bench: BenchmarkReport, shared: Sequence[SystemResult], linked: set[str], id: str
) -> Iterable[dict[str, Any]]:
    order = list(dict.fromkeys(question for system in shared for question in system.run.questions))
    for number, question in enumerate(order):
        asked = next(s.run.questions[question] for s in shared if question in s.run.questions)
        means = {
            f"s{place}": sum(system.run.scores[question]) / len(system.run.scores[question])
            for place, system in enumerate(shared)
            if question in system.run.scores
        }
        link = _build_anchor(question, id) if question in linked else None
        yield {
            "question": question,
            "group": asked.group or None,
            "text": truncate(asked.text),
            **means,
            "link": link,
            "i": number,
        }


def _build_layer_rows(system: SystemResult) -> Iterable[dict[str, Any]]:
    for number, layer in enumerate(system.run.layers, 1):
        yield {
            "label": system.label,
            "number": number,
            "kind": layer.kind.replace("_", " "),
            "layer": f"{number} {layer.kind.replace('_', ' ')}",
            "models": ", ".join(dict.fromkeys(layer.components)),
            "calls": layer.calls,
            "tokens": layer.tokens,
            "dollars": layer.dollars,
            "candidates": layer.candidates,
        }


def _render_notes(bench: BenchmarkReport) -> Iterable[str]:
    words = list(dict.fromkeys(word for system in bench.systems for word in system.run.notes))
    missing = [system for system in bench.systems if system.run.missing]
    if not words and not missing:
        return (
            []
            if not any(s.run.layers for s in bench.systems)
            else ["<p class=soft>Nothing fell back or was dropped.</p>"]
        )
    head = ["what", "meaning", *(system.label for system in bench.systems)]
    rows = [
        "<tr>"
        + render_cell(word)
        + render_cell(EVENT_TYPES.get(word, ""))
        + "".join(render_cell(str(s.run.notes.get(word, 0)), True) for s in bench.systems)
        + "</tr>"
        for word in words
    ]
    if missing:
        counts = "".join(render_cell(str(len(s.run.missing)), True) for s in bench.systems)
        rows.append(f"<tr>{render_cell('no score')}{render_cell(UNSCORED_MEANING)}{counts}</tr>")
    columns = range(2, 2 + len(bench.systems))
    return ["<h3>What fell back or was dropped</h3>", render_table(head, rows, columns)]


def _render_samples(bench: BenchmarkReport, id: str, budget: int) -> list[tuple[str, str]]:
    """(question, HTML) of as many as the budget holds, in the benchmark's order."""
    order = list(dict.fromkeys(question for system in bench.systems for question in system.run.questions))
    means = [system.run.means for system in bench.systems]
    spread = {question: len({each.get(question) for each in means}) for question in order}
    found: dict[str, str] = {}
    for question in sorted(order, key=lambda q: -spread[q]):
        asked = next(s.run.questions[question] for s in bench.systems if question in s.run.questions)
        answers = [(s, s.run.answers.get(question, "")) for s in bench.systems if question in s.run.questions]
        marks = ", ".join(f"{s.label} {_format_scores(s.run, question)}" for s, _ in answers)
        parts = [f'<details id="{_build_anchor(question, id)}"><summary>{escape(question)}: {escape(marks)}</summary>']
        parts += [_render_text("question", asked.text), _render_text("expected", asked.target)]
        parts += [_render_text(f"{s.label}, score {_format_scores(s.run, question)}", text) for s, text in answers]
        whole = "".join([*parts, "</details>"])
        budget -= len(whole)
        if budget < 0:
            break
        found[question] = whole
    return [(question, found[question]) for question in order if question in found]


def _build_anchor(question: str, id: str) -> str:
    """The id of a question's place on the page; question ids themselves may hold anything."""
    return f"{id}-q{sha256(question.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def _format_scores(run: Run, question: str) -> str:
    if question not in run.scores:
        return "none"
    return "/".join(f"{score:.3g}" for score in run.scores[question])


def _render_text(head: str, text: str) -> str:
    shown = (
        text
        if len(text) <= MAX_TEXT_CHARACTERS
        else f"{text[:MAX_TEXT_CHARACTERS]} … ({len(text) - MAX_TEXT_CHARACTERS:,} more characters in the log)"
    )
    return f"<div class=soft>{escape(head)}</div><pre>{escape(shown)}</pre>" if text else ""
