"""Charts of scores, as Vega-Lite specifications: differences per question, a search's convergence, intervals.

>>> row = {"label": "drop the fuser", "value": 2.0, "low": -1.0, "high": 5.0, "range": "+2.0", "text": ""}
>>> len(build_interval_chart([row], "worth, points")["layer"])  # zero, the intervals, the points
3
"""

from collections.abc import Sequence
from typing import Any

from archon_eval.report.html.vega import (
    BAD,
    GOOD,
    INTERVAL,
    NEUTRAL,
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

CONVERGENCE_NAMES = ("a trial", "as the surrogate sees it", "best dev score so far", "best so far by the surrogate")
"""The legend of the convergence chart."""


def build_difference_chart(rows: ChartRows, labels: Sequence[str], *, scale: float, first: int = -1) -> ChartSpec:
    """Difference per question between two systems that menus choose.

    Args:
        rows: `question`, `group`, `text`, `link`, and the systems' mean scores `s0`, `s1`, ...
        labels: the systems' names, in the same order.
        scale: what a score of 1 is shown as; with 100 the axis goes from -1 to 1.
        first: the system that is shown against the one at 0 until others are chosen.
    """
    fields = [f"s{number}" for number in range(len(labels))]
    return build_chart(
        rows,
        220,
        params=[
            {"name": name, "value": value}
            | {"bind": {"input": "select", "options": fields, "labels": labels, "name": text}}
            for name, value, text in (("A", fields[first], "This system: "), ("B", fields[0], " against: "))
        ],
        transform=[
            {"filter": "isValid(datum[A]) && isValid(datum[B])"},
            {"calculate": "datum[A]", "as": "a"},
            {"calculate": "datum[B]", "as": "b"},
            {"calculate": "datum.a - datum.b", "as": "difference"},
            {
                "window": [{"op": "row_number", "as": "place"}],
                "sort": [{"field": "difference", "order": "descending"}, {"field": "question"}],
            },
            # a column is 0.9 wide, which leaves a gap between neighbours
            {"calculate": "datum.place - 0.45", "as": "left"},
            {"calculate": "datum.place + 0.45", "as": "right"},
        ],
        layer=_build_difference_layers({"scale": {"domain": [-1, 1]}} if scale == 100 else {}),
    )


def _build_difference_layers(y_scale: ChartSpec) -> list[ChartSpec]:
    sides = [{"test": "datum.difference > 0", "value": GOOD}, {"test": "datum.difference < 0", "value": BAD}]
    is_tie = {"test": "datum.difference === 0", "value": 1}
    columns = {
        "x": {
            "field": "left",
            "type": "quantitative",
            "title": "questions, sorted",
            "axis": {"grid": False, "tickMinStep": 1, "format": "d"},
            "scale": {"zero": False, "nice": False},
        },
        "x2": {"field": "right"},
    }
    y = {"field": "difference", "type": "quantitative", "title": "difference in score", **y_scale}
    whole_column = {**columns, "y": {"value": 0}, "y2": {"value": "height"}}
    tooltip = build_tooltip(
        ("question", "question"), ("group", "part"), ("text", "asked"), ("a", "this system", ".3~g")
    ) + build_tooltip(("b", "against", ".3~g"))
    return [
        {
            "mark": {"type": "rect", "stroke": None, "minWidth": 1},
            "encoding": {**columns, "y": y, "y2": {"datum": 0}, "color": {"condition": sides, "value": NEUTRAL}},
        },
        {  # equal questions have no height; Vega warns of a layer without rows, so the others are there unseen
            "mark": {"type": "rule", "color": NEUTRAL, "strokeWidth": 3},
            "encoding": {**columns, "y": y, "opacity": {"condition": is_tie, "value": 0}},
        },
        {  # what the pointer meets
            "mark": {"type": "rect", "cursor": "pointer", "stroke": None, "minWidth": 1, "opacity": 0},
            "encoding": {**whole_column, "tooltip": tooltip},
        },
    ]


def build_convergence_chart(rows: ChartRows) -> ChartSpec:
    """Dev score of each trial, the best so far, and the score that the surrogate expects of each.

    Args:
        rows: `number`, `paid`, `name`, `layers`, `link`, and `performance` and `expected`, 0 to 1 or None; where they
            are known the ends of 95%, `dev_low` and `dev_high`, and of what was best by then `leader`, `leading`,
            `leading_low` and `leading_high`.
    """
    layers = _build_convergence_layers(rows)
    colours = dict(zip(CONVERGENCE_NAMES, (PALETTE[0], PALETTE[1], NEUTRAL, PALETTE[2]), strict=True))
    shown = [layer["encoding"]["color"]["datum"] for layer in layers]
    colours = {name: colour for name, colour in colours.items() if name in shown}
    axes = {"number": "trials", "paid": "calls paid"}
    return build_chart(
        rows,
        300,
        params=[build_switch("across", "Across: ", options=axes, value="number")],
        transform=[
            {"calculate": "datum[across]", "as": "x"},
            {
                "window": [{"op": "max", "field": "performance", "as": "best"}],
                "frame": [None, 0],
                "sort": [{"field": "number"}],
            },
        ],
        encoding={
            "x": {"field": "x", "type": "quantitative", "title": "trials, or calls paid"}
            | {"scale": {"zero": False, "nice": False, "padding": 10}, "axis": {"tickMinStep": 1, "format": "~s"}},
            "color": {
                "type": "nominal",
                "title": None,
                "legend": {"orient": "top", "columns": 2, "labelLimit": 300, "symbolOpacity": 1},
                "scale": {"domain": [*colours], "range": [*colours.values()]},
            },
        },
        layer=layers,
    )


def _build_convergence_layers(rows: ChartRows) -> list[ChartSpec]:
    fields = ("performance", "expected", "dev_low", "dev_high", "leading", "leading_low", "leading_high")
    spread = [value for row in rows for name in fields if (value := row.get(name)) is not None]
    y = {
        "type": "quantitative",
        "title": "dev score",
        "scale": compute_domain(spread, (-0.004, 1.004)),  # a little more than 0 to 1, or points at the ends are cut
        "axis": {"format": "~%"},
    }
    tooltip = build_tooltip(
        ("number", "trial"),
        ("name", "architecture"),
        ("layers", "layers"),
        ("performance", "dev score", ".1%"),
        ("expected", "surrogate", ".1%"),
        ("paid", "calls paid until then", ","),
    )
    best_tooltip = build_tooltip(
        ("number", "after trial"),
        ("leader", "best so far"),
        ("leading", "by the surrogate", ".1%"),
        ("leading_low", "95% from", ".1%"),
        ("leading_high", "to", ".1%"),
    )

    measured, expected, best, leading = CONVERGENCE_NAMES

    def build_layer(field: str, name: str, to: str = "", **mark: Any) -> ChartSpec:
        encoding = {"y": {"field": field, **y}, "color": {"datum": name}}
        encoding |= {
            "tooltip": best_tooltip if name == leading else tooltip,
            **({"y2": {"field": to}} if to else {}),
        }
        return {"mark": mark, "encoding": encoding, "transform": [{"filter": f"isValid(datum.{field})"}]}

    layers = [
        build_layer("leading_low", leading, "leading_high", type="area", opacity=0.15, interpolate="step-after"),
        build_layer("dev_low", measured, "dev_high", type="rule", opacity=0.35),
        build_layer("best", best, type="line", interpolate="step-after"),
        build_layer("leading", leading, type="line", interpolate="step-after", strokeWidth=3),
        build_layer("expected", expected, type="point", shape="diamond", size=30, cursor="pointer"),
        build_layer("performance", measured, "", **{**POINT, "size": 45, "opacity": 0.9, "cursor": "pointer"}),
    ]
    # Vega warns of a layer without rows; the best so far is of the scores of trials
    needed = [str(layer["encoding"]["y"]["field"]).replace("best", "performance") for layer in layers]
    return [layer for layer, name in zip(layers, needed, strict=True) if any(row.get(name) is not None for row in rows)]


def build_interval_chart(rows: ChartRows, title: str) -> ChartSpec:
    """Estimates with intervals under each other, a line at zero where it is in reach: ablations, dev and held-out.

    Args:
        rows: `label`, `value`, `low`, `high`, `range`, `text`.
        title: of the axis.
    """
    ends = [row[name] for row in rows for name in ("low", "high", "value") if row[name] is not None]
    low, high = min(ends), max(ends)
    pad = (high - low or 1) * 0.08
    x = {"type": "quantitative", "title": title, "axis": {"tickCount": 8}}
    x["scale"] = {"domain": [low - pad, high + pad], "nice": False}
    shared = {
        "y": {"field": "label", "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 300}},
        "tooltip": build_tooltip(("label", "what"), ("range", "value"), ("text", "about it")),
    }
    zero = {"mark": {"type": "rule", **NEUTRAL_DASHED}, "encoding": {"x": {"datum": 0}}, "data": {"values": [{}]}}
    return build_chart(
        rows,
        28 * len(rows) + 20,
        layer=[
            *([zero] if low < 0 < high else ()),
            {
                "mark": {**INTERVAL, "strokeWidth": 3},
                "encoding": {**shared, "x": {"field": "low", **x}, "x2": {"field": "high"}},
            },
            {"mark": {**POINT, "size": 90, "color": PALETTE[0]}, "encoding": {**shared, "x": {"field": "value", **x}}},
        ],
    )
