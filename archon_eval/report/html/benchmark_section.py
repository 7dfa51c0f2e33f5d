"""The report's section on a benchmark: the values that `templates/benchmark.html` shows.

section = build_benchmark_section(report.benchmarks[0], "bench1", 100_000)
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from archon_eval.engine.trace import EVENT_TYPES
from archon_eval.report.formatting import explain_unknown_costs, format_cost, truncate
from archon_eval.report.html.cost_charts import build_cost_chart, build_layer_chart
from archon_eval.report.html.diagram import draw_diagram
from archon_eval.report.html.samples import build_sample_id, build_samples, collect_questions
from archon_eval.report.html.score_charts import build_difference_chart
from archon_eval.report.html.vega import ChartSpec
from archon_eval.report.report_data import (
    DRAWN_COSTS,
    BenchmarkReport,
    SystemResult,
    find_frontier,
    format_beside,
    format_interval,
    list_undrawn,
)
from archon_eval.report.standard_errors import list_standard_errors
from archon_eval.runs.benchmark_run import COST_COLUMNS, MODEL_COST_NAMES, UNSCORED_MEANING
from archon_eval.runs.records import UNREAD_STATUSES
from archon_eval.stats.comparison import explain_doubt

Row = dict[str, Any]
"""A row of a table or of a chart's data."""


@dataclass(frozen=True, slots=True)
class BenchmarkSection:
    """What the page shows of a benchmark."""

    id: str
    """What the ids of its elements begin with."""
    task: str
    metric: str
    """The name of the figure by which systems are reported."""
    beside: tuple[str, ...]
    """Names of the figures beside it."""
    metric_notes: list[str]
    charts: dict[str, ChartSpec]
    """`cost`; `questions` where systems are compared; `layers` where an architecture answered."""
    systems: list[Row]
    labels: list[str]
    """The systems' names, in the order of the tables."""
    cost_columns: list[str]
    """Headings of the costs in the table of systems."""
    unknown_costs: list[str]
    """Which costs in the table are unknown, and why; a sentence per system."""
    undrawn: list[str]
    """Which systems the chart of score against cost cannot show, and why; a sentence per cost."""
    model_columns: list[str]
    """Headings of the costs by model."""
    model_rows: list[list[str]]
    """Of the systems with several models: system, model and costs."""
    confidence_note: str
    prompt_note: str
    stage_notes: Sequence[str]
    standard_errors: list[list[str]]
    """Rows of `STANDARD_ERROR_COLUMNS`; empty where every system has a single run."""
    questions_differ: bool
    """Whether systems have scores of different questions."""
    part_metric: str
    """The name of the figure of a part."""
    part_names: list[str]
    part_rows: list[list[str]]
    diagrams: list[Row]
    notes: list[Row]
    samples: list[Row]
    hidden_samples: int
    """Questions that the page has no room for."""


def build_benchmark_section(benchmark: BenchmarkReport, id: str, max_characters: int) -> BenchmarkSection:
    """The section, with as many questions and answers as `max_characters` hold."""
    samples = build_samples(benchmark.systems, id, max_characters)
    part_names = list(dict.fromkeys(part.name for pair in benchmark.pairs.values() for part in pair.parts))
    return BenchmarkSection(
        id=id,
        task=benchmark.task,
        metric=benchmark.metric,
        beside=benchmark.beside,
        metric_notes=list(dict.fromkeys(s.run.metric_note for s in benchmark.systems if s.run.metric_note)),
        charts=_build_charts(benchmark, id, {sample["id"] for sample in samples}),
        systems=_build_system_rows(benchmark),
        labels=[system.label for system in benchmark.systems],
        cost_columns=list(COST_COLUMNS.values()),
        unknown_costs=[
            f"{system.label}: {why}."
            for system in benchmark.systems
            if (why := explain_unknown_costs(system.run.unknown_costs))
        ],
        undrawn=list_undrawn(benchmark),
        model_columns=[COST_COLUMNS[name] for name in MODEL_COST_NAMES],
        model_rows=[
            [system.label, model, *(format_cost(costs.get(name)) for name in MODEL_COST_NAMES)]
            for system in benchmark.systems
            if len(system.run.cost_by_model) > 1
            for model, costs in system.run.cost_by_model.items()
        ],
        confidence_note=benchmark.confidence_note,
        prompt_note=benchmark.prompt_note,
        stage_notes=[f"{s.label}: {s.run.stage_note}." for s in benchmark.systems if s.run.stage_note],
        standard_errors=list_standard_errors(((s.label, s.run) for s in benchmark.systems), benchmark.scale),
        questions_differ=len({frozenset(system.run.scored) for system in benchmark.systems}) > 1,
        part_metric=benchmark.systems[0].run.metric.part_metric.name,
        part_names=part_names,
        part_rows=_build_part_rows(benchmark, part_names),
        diagrams=[
            {"id": _build_diagram_id(id, number), "label": system.label, "svg": Markup(draw_diagram(system.run.layers))}
            for number, system in enumerate(benchmark.systems)
            if system.run.layers
        ],
        notes=_build_notes(benchmark.systems),
        samples=samples,
        hidden_samples=len(collect_questions(benchmark.systems)) - len(samples),
    )


def format_axis_title(benchmark: BenchmarkReport) -> str:
    """The title of the axis of scores."""
    unit = ", %" if benchmark.scale == 100 else ""
    return f"{benchmark.metric}{unit} (95% interval)"


def build_cost_rows(benchmark: BenchmarkReport, id: str) -> list[Row]:
    """The data of the chart of score against cost."""
    scale = benchmark.scale
    return [
        {
            "label": system.label,
            "text": " → ".join(_format_kind(layer.kind) for layer in system.run.layers) or system.run.name,
            "range": format_interval(system.score, scale, digits=benchmark.digits),
            "score": scale * system.score.value,
            "low": None if system.score.low is None else scale * system.score.low,
            "high": None if system.score.high is None else scale * system.score.high,
            **{name: system.run.cost.get(name) for name in DRAWN_COSTS},
            "link": _build_diagram_id(id, number),
        }
        for number, system in enumerate(benchmark.systems)
    ]


def _build_charts(benchmark: BenchmarkReport, id: str, sample_ids: Collection[str]) -> dict[str, ChartSpec]:
    charts = {"cost": build_cost_chart(build_cost_rows(benchmark, id), "calls", format_axis_title(benchmark))}
    if benchmark.pairs:
        compared = [s for s in benchmark.systems if s.label in benchmark.pairs or s is benchmark.systems[0]]
        best = max(
            range(len(compared)), key=lambda n: (compared[n].label.startswith("winner"), compared[n].score.value)
        )
        charts["questions"] = build_difference_chart(
            _build_question_rows(compared, id, sample_ids),
            [system.label for system in compared],
            scale=benchmark.scale,
            first=best or -1,
        )
    if rows := [row for system in benchmark.systems for row in _build_layer_rows(system)]:
        charts["layers"] = build_layer_chart(rows)
    return charts


def _build_system_rows(benchmark: BenchmarkReport) -> list[Row]:
    frontier = find_frontier(benchmark.systems, "dollars") | find_frontier(benchmark.systems, "calls")
    rows = []
    for system in benchmark.systems:
        pair = benchmark.pairs.get(system.label)
        paired = pair.overall.paired if pair else None
        rows.append(
            {
                "label": system.label,
                "on_frontier": system.label in frontier,
                "score": format_interval(system.score, benchmark.scale, digits=benchmark.digits),
                "beside": format_beside(benchmark, system),
                "questions": len(system.run.scored),
                "costs": [format_cost(system.run.cost.get(name)) for name in COST_COLUMNS],
                "verdict": pair.overall.verdict if pair else "",
                "doubt": explain_doubt(paired) if paired else "",
                "difference": format_interval(paired.difference, benchmark.scale, "+") if paired else "",
                "games": f"{paired.wins}/{paired.losses}" if paired else "",
                "not_compared": benchmark.not_compared.get(system.label, ""),
            }
        )
    return rows


def _build_part_rows(benchmark: BenchmarkReport, part_names: Sequence[str]) -> list[list[str]]:
    """Per system that is compared: its name, and the difference to the first on each part of the benchmark."""
    rows = []
    for label, pair in benchmark.pairs.items():
        differences = {
            part.name: f"{format_interval(part.paired.difference, benchmark.scale, '+')}: {part.explained_verdict}"
            for part in pair.parts
        }
        if differences:
            rows.append([label, *(differences.get(name, "") for name in part_names)])
    return rows


def _build_question_rows(systems: Sequence[SystemResult], id: str, sample_ids: Collection[str]) -> list[Row]:
    rows = []
    for number, (question, asked) in enumerate(collect_questions(systems).items()):
        means = {
            f"s{place}": sum(system.run.scores[question]) / len(system.run.scores[question])
            for place, system in enumerate(systems)
            if question in system.run.scores
        }
        sample_id = build_sample_id(id, question)
        rows.append(
            {
                "question": question,
                "group": asked.group or None,
                "text": truncate(asked.text),
                **means,
                "link": sample_id if sample_id in sample_ids else None,
                "i": number,
            }
        )
    return rows


def _build_layer_rows(system: SystemResult) -> list[Row]:
    return [
        {
            "label": system.label,
            "number": layer.number or number,
            "kind": _format_kind(layer.kind),
            "layer": f"{layer.number or number} {_format_kind(layer.kind)}",
            "models": ", ".join(dict.fromkeys(layer.components)),
            "calls": layer.calls,
            "tokens": layer.tokens,
            "dollars": layer.dollars,
            "candidates": layer.candidates,
        }
        for number, layer in enumerate(system.run.layers, 1)
    ]


def _build_notes(systems: Sequence[SystemResult]) -> list[Row]:
    """Per event that some system's run notes, how often it happened to each system."""
    events = dict.fromkeys(event for system in systems for event in system.run.notes)
    notes = [
        {
            "event": event,
            "meaning": explain_note(event),
            "counts": [system.run.notes.get(event, 0) for system in systems],
        }
        for event in events
    ]
    missing = [len(system.run.missing) for system in systems]
    if any(missing):
        notes.append({"event": "no score", "meaning": UNSCORED_MEANING, "counts": missing})
    return notes


def explain_note(note: str) -> str:
    """What a note of a run means; empty where nothing is known of it."""
    if note in EVENT_TYPES:
        return EVENT_TYPES[note].meaning
    return UNREAD_STATUSES.get(note.removeprefix("answer "), "")


def _build_diagram_id(id: str, number: int) -> str:
    return f"{id}-d{number}"


def _format_kind(kind: str) -> str:
    return kind.replace("_", " ")
