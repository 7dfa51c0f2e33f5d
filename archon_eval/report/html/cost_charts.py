"""Charts of what answering costs, as Vega-Lite specifications: score against cost, and the cost of each layer.

>>> row = {"label": "single", "text": "generator", "range": "70", "score": 70.0, "calls": 1.0}
>>> build_cost_chart([row], "calls", "score, %")["height"]
340
"""

from archon_eval.report.html.vega import (
    INTERVAL,
    NEUTRAL_DASHED,
    PALETTE,
    POINT,
    ChartRows,
    ChartSpec,
    build_chart,
    build_switch,
    build_tooltip,
    compute_domain,
)

COST_TITLES = {"dollars": "dollars", "tokens": "tokens", "calls": "model calls", "seconds": "seconds"}
MAX_LABELLED = 5
"""Points that all carry their label; with more, labels would cover each other, so only the frontier's do."""


def build_cost_chart(rows: ChartRows, cost: str, title: str, *, fixed: bool = False) -> ChartSpec:
    """Score with its interval against cost per question, the Pareto frontier as a line; a switch changes the cost.

    Args:
        rows: `label`, `text`, `range`, `score`, `low`, `high`, `link` and the costs per question that are known.
        cost: the cost that is shown first.
        title: of the scores' axis; with a `%` in it scores end at 100.
        fixed: whether only this cost can be shown, as in a picture.
    """
    names = (cost,) if fixed else COST_TITLES
    costs = {n: COST_TITLES[n] for n in names if any(row.get(n) is not None for row in rows)}
    costs = costs or {"calls": COST_TITLES["calls"]}
    switch = build_switch("cost", "Cost: ", options=costs, value=cost if cost in costs else next(iter(costs)))
    if len(costs) == 1:
        del switch["bind"]
    x, y = _build_cost_axes(rows, costs, title)
    return build_chart(
        rows,
        340,
        params=[switch],
        transform=[
            {"calculate": "datum[cost]", "as": "x"},
            {"filter": "isValid(datum.x)"},
            {
                "window": [{"op": "max", "field": "score", "as": "best"}],
                "frame": [None, 0],
                "ignorePeers": True,
                "sort": [{"field": "x"}, {"field": "score", "order": "descending"}],
            },
        ],
        encoding={
            "x": x,
            "y": y,
            "tooltip": build_tooltip(
                ("label", "system"), ("text", "architecture"), ("range", "score"), *_list_cost_fields(costs)
            ),
        },
        layer=_build_cost_layers(y, len(rows)),
    )


def _build_cost_axes(rows: ChartRows, costs: dict[str, str], title: str) -> tuple[ChartSpec, ChartSpec]:
    values = [row[name] for row in rows for name in costs if row.get(name) is not None]
    spread = [row[end] for row in rows for end in ("low", "high", "score") if row.get(end) is not None]
    x = {
        "field": "x",
        "type": "quantitative",
        "title": "cost per question" if len(costs) > 1 else f"{next(iter(costs.values()))} per question",
        # a free call has no place on a logarithmic axis
        "scale": {"type": "log" if all(value > 0 for value in values) else "symlog", "padding": 40, "nice": False},
        "axis": {"format": "~g", "tickCount": 6, "labelOverlap": True},
    }
    bounds = (-0.4, 100.4) if "%" in title else None  # a little more than 0 to 100, or points at the ends are cut
    return x, {"field": "score", "type": "quantitative", "title": title, "scale": compute_domain(spread, bounds)}


def _build_cost_layers(y: ChartSpec, points: int) -> list[ChartSpec]:
    on_frontier = {"filter": "datum.score >= datum.best"}
    return [
        {
            "transform": [on_frontier],
            "mark": {"type": "line", "interpolate": "step-after", **NEUTRAL_DASHED},
            "encoding": {"order": {"field": "x"}, "tooltip": None},
        },
        {
            "mark": {**INTERVAL, "strokeWidth": 2},
            "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        {"mark": {**POINT, "size": 90, "color": PALETTE[0], "cursor": "pointer"}},
        {
            "transform": [
                *([on_frontier] if points > MAX_LABELLED else []),
                {"window": [{"op": "row_number", "as": "same"}], "groupby": ["x", "score"]},
                {"filter": "datum.same === 1"},
            ],
            "mark": {"type": "text", "align": "left", "dx": 9, "dy": -8, "limit": 110},
            "encoding": {"text": {"field": "label"}},
        },
    ]


def build_layer_chart(rows: ChartRows) -> ChartSpec:
    """Calls, tokens or dollars of each layer, a bar per system.

    Args:
        rows: `label`, `number`, `kind`, `layer`, `models`, `candidates` and the costs per question.
    """
    names = ("calls", "tokens", "dollars")
    costs = {name: COST_TITLES[name] for name in names if all(row.get(name) is not None for row in rows)}
    return build_chart(
        rows,
        max(60, 34 * len({row["label"] for row in rows})),
        params=[build_switch("what", "Show: ", options=costs, value="tokens" if "tokens" in costs else "calls")],
        transform=[{"calculate": "datum[what]", "as": "x"}],
        mark={"type": "bar", "stroke": None},
        encoding={
            "x": {
                "field": "x",
                "type": "quantitative",
                "title": "per question, by layer",
                "stack": "zero",
                "axis": {"format": "~s", "tickCount": 8},
            },
            "y": {"field": "label", "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 150}},
            "color": {
                "field": "kind",
                "type": "nominal",
                "title": None,
                "scale": {"range": PALETTE},
                "legend": {"orient": "top", "columns": 3},
            },
            "order": {"field": "number"},
            "tooltip": build_tooltip(
                ("label", "system"),
                ("layer", "layer"),
                ("models", "models"),
                *_list_cost_fields(costs),
                ("candidates", "candidates that leave it", ".3~g"),
            ),
        },
    )


def _list_cost_fields(costs: dict[str, str]) -> list[tuple[str, ...]]:
    return [(name, f"{title} per question", ",.4~g") for name, title in costs.items()]
