"""The report's charts as Vega-Lite specifications: plain data, drawn by Vega in the page and by vl-convert as PNG.

spec = build_cost_chart(rows, cost="calls")         # rows: mappings with label, score, low, high and the costs

Vega-Lite because its scripts come inlined with a wheel (vl-convert, 0.9 MB of them), it draws SVG that follows the
page's colours on screen and in print, and the same specification makes a picture without a browser.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from archon_eval.errors import DataError
from archon_eval.runs.run import COST_NAMES

ChartSpec = dict[str, Any]
ChartRows = Sequence[Mapping[str, Any]]
COLOURS = ["#3b82c4", "#d9822b", "#3f9d63", "#b657a8", "#c9504c", "#8a7fd1", "#8c8c3c", "#4ba3b5"]
GOOD, BAD, PLAIN = "#3f9d63", "#c9504c", "#8a8f98"
IS_TIE = "datum.difference === 0"
COST_TITLES = {"dollars": "dollars", "tokens": "tokens", "calls": "model calls", "seconds": "seconds"}


def build_cost_chart(rows: ChartRows, cost: str, title: str) -> ChartSpec:
    """Score with its interval against cost per question, the Pareto frontier as a line; a switch changes the cost."""
    known = [name for name in COST_NAMES if any(row.get(name) is not None for row in rows)] or ["calls"]
    values = [row[name] for row in rows for name in known if row.get(name) is not None]
    spread = [row[end] for row in rows for end in ("low", "high", "score") if row.get(end) is not None]
    x = {
        "field": "x",
        "type": "quantitative",
        "title": "cost per question",
        "scale": {"type": "log" if all(value > 0 for value in values) else "symlog", "padding": 40, "nice": False},
        "axis": {"format": "~g", "tickCount": 6, "labelOverlap": True},
    }
    y = {
        "field": "score",
        "type": "quantitative",
        "title": title,
        "scale": _compute_domain(spread, (-0.4, 100.4) if "%" in title else None),
    }
    tooltip = [
        _build_tooltip_field("label", "system"),
        _build_tooltip_field("text", "architecture"),
        _build_tooltip_field("range", "score"),
    ]
    tooltip += [_build_tooltip_field(name, f"{COST_TITLES[name]} per question", ",.4~g") for name in known]
    switch = {"input": "radio", "options": known, "labels": [COST_TITLES[name] for name in known], "name": "Cost: "}
    chosen: ChartSpec = {"name": "cost", "value": cost if cost in known else known[0]}
    if len(known) > 1:
        chosen["bind"] = switch
    else:
        x["title"] = f"{COST_TITLES[known[0]]} per question"
    frontier = {"filter": "datum.score >= datum.best"}
    labels = {
        "transform": [  # more would cover each other; all say theirs when hovered
            *([frontier] if len(rows) > 5 else []),
            {"window": [{"op": "row_number", "as": "same"}], "groupby": ["x", "score"]},
            {"filter": "datum.same === 1"},
        ],
        "mark": {"type": "text", "align": "left", "dx": 9, "dy": -8, "limit": 110},
        "encoding": {"text": {"field": "label"}},
    }
    return _build_chart(
        rows,
        340,
        params=[chosen],
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
        encoding={"x": x, "y": y, "tooltip": tooltip},
        layer=[
            {
                "transform": [frontier],
                "mark": {"type": "line", "interpolate": "step-after", "color": PLAIN, "strokeDash": [4, 3]},
                "encoding": {"order": {"field": "x"}, "tooltip": None},
            },
            {
                "mark": {"type": "rule", "color": COLOURS[0], "opacity": 0.55, "strokeWidth": 2},
                "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
            },
            {
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": 90,
                    "opacity": 1,
                    "color": COLOURS[0],
                    "cursor": "pointer",
                }
            },
            labels,
        ],
    )


def build_difference_chart(rows: ChartRows, labels: Sequence[str], scale: float, first: int = -1) -> ChartSpec:
    """Difference per question between two systems chosen by menus; rows hold `s0`, `s1`, ... per question.

    Args:
        first: the system that is shown against the one at 0 until others are chosen.
    """
    fields = [f"s{number}" for number in range(len(labels))]
    menus = [
        {"name": name, "value": value, "bind": {"input": "select", "options": fields, "labels": labels, "name": text}}
        for name, value, text in (("A", fields[first], "This system: "), ("B", fields[0], " against: "))
    ]
    colour = {
        "condition": [{"test": "datum.difference > 0", "value": GOOD}, {"test": "datum.difference < 0", "value": BAD}],
        "value": PLAIN,
    }
    tooltip = [
        _build_tooltip_field("question", "question"),
        _build_tooltip_field("group", "part"),
        _build_tooltip_field("text", "asked"),
    ]
    tooltip += [_build_tooltip_field("a", "this system", ".3~g"), _build_tooltip_field("b", "against", ".3~g")]
    ends = {"scale": {"domain": [-1, 1]}} if scale == 100 else {}
    across = {
        "x": {"field": "left", "type": "quantitative", "title": "questions, sorted"}
        | {"axis": {"grid": False, "tickMinStep": 1, "format": "d"}}
        | {"scale": {"zero": False, "nice": False}},
        "x2": {"field": "right"},
    }
    up = {"field": "difference", "type": "quantitative", "title": "difference in score", **ends}
    return _build_chart(
        rows,
        220,
        params=menus,
        transform=[
            {"filter": "isValid(datum[A]) && isValid(datum[B])"},
            {"calculate": "datum[A]", "as": "a"},
            {"calculate": "datum[B]", "as": "b"},
            {"calculate": "datum.a - datum.b", "as": "difference"},
            {
                "window": [{"op": "row_number", "as": "place"}],
                "sort": [{"field": "difference", "order": "descending"}, {"field": "question"}],
            },
            {"calculate": "datum.place - 0.45", "as": "left"},
            {"calculate": "datum.place + 0.45", "as": "right"},
        ],
        layer=[
            {
                "mark": {"type": "rect", "stroke": None, "minWidth": 1},
                "encoding": {**across, "y": up, "y2": {"datum": 0}, "color": colour},
            },
            {  # equal questions have no height; Vega warns of a layer without rows, so the others are there unseen
                "mark": {"type": "rule", "color": PLAIN, "strokeWidth": 3},
                "encoding": {**across, "y": up, "opacity": {"condition": {"test": IS_TIE, "value": 1}, "value": 0}},
            },
            {  # what the pointer meets: the question's whole column
                "mark": {"type": "rect", "cursor": "pointer", "stroke": None, "minWidth": 1, "opacity": 0},
                "encoding": {**across, "y": {"value": 0}, "y2": {"value": "height"}, "tooltip": tooltip},
            },
        ],
    )


def build_layer_chart(rows: ChartRows) -> ChartSpec:
    """Calls or tokens of each layer, a bar per system."""
    known = [name for name in ("calls", "tokens", "dollars") if all(row.get(name) is not None for row in rows)]
    switch = {"input": "radio", "options": known, "labels": [COST_TITLES[name] for name in known], "name": "Show: "}
    systems = len({row["label"] for row in rows})
    tooltip = [
        _build_tooltip_field("label", "system"),
        _build_tooltip_field("layer", "layer"),
        _build_tooltip_field("models", "models"),
    ]
    tooltip += [_build_tooltip_field(name, f"{COST_TITLES[name]} per question", ",.4~g") for name in known]
    tooltip.append(_build_tooltip_field("candidates", "candidates that leave it", ".3~g"))
    return _build_chart(
        rows,
        max(60, 34 * systems),
        params=[{"name": "what", "value": "tokens", "bind": switch}],
        transform=[{"calculate": "datum[what]", "as": "x"}],
        mark={"type": "bar", "stroke": None},
        encoding={
            "x": {"field": "x", "type": "quantitative", "title": "per question, by layer", "stack": "zero"}
            | {"axis": {"format": "~s", "tickCount": 8}},
            "y": {"field": "label", "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 150}},
            "color": {"field": "kind", "type": "nominal", "title": None, "scale": {"range": COLOURS}}
            | {"legend": {"orient": "top", "columns": 3}},
            "order": {"field": "number"},
            "tooltip": tooltip,
        },
    )


def build_convergence_chart(rows: ChartRows) -> ChartSpec:
    """Dev score of each trial, the best so far, and what the surrogate makes of each."""
    tooltip = [
        _build_tooltip_field("number", "trial"),
        _build_tooltip_field("name", "architecture"),
        _build_tooltip_field("layers", "layers"),
    ]
    tooltip += [
        _build_tooltip_field("performance", "dev score", ".1%"),
        _build_tooltip_field("expected", "surrogate", ".1%"),
    ]
    tooltip.append(_build_tooltip_field("paid", "calls paid until then", ","))
    axis = {"input": "radio", "options": ["number", "paid"], "labels": ["trials", "calls paid"], "name": "Across: "}
    spread = [row[name] for row in rows for name in ("performance", "expected") if row[name] is not None]
    ends = _compute_domain(spread, (-0.004, 1.004))
    y = {"type": "quantitative", "title": "dev score", "scale": ends, "axis": {"format": "~%"}}

    def layer(mark: ChartSpec, name: str, text: str, **more: Any) -> ChartSpec:
        channels = {"y": {"field": name, **y}, "color": {"datum": text}, "tooltip": tooltip, **more}
        return {"mark": mark, "encoding": channels, "transform": [{"filter": f"isValid(datum.{name})"}]}

    names = ["a trial", "as the surrogate sees it", "best so far"]
    colours = {"type": "nominal", "title": None, "legend": {"orient": "top", "columns": 2}}
    colours |= {"scale": {"domain": names, "range": [COLOURS[0], COLOURS[1], PLAIN]}}
    return _build_chart(
        rows,
        300,
        params=[{"name": "across", "value": "number", "bind": axis}],
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
            "color": colours,
        },
        layer=[
            layer({"type": "line", "interpolate": "step-after"}, "best", names[2]),
            layer({"type": "point", "shape": "diamond", "size": 30, "cursor": "pointer"}, "expected", names[1]),
            layer(
                {"type": "point", "filled": True, "size": 45, "opacity": 0.9, "cursor": "pointer"},
                "performance",
                names[0],
            ),
        ],
    )


def build_interval_chart(rows: ChartRows, title: str) -> ChartSpec:
    """Estimates with intervals beside each other, a line for zero where it is in reach: ablations, dev and held-out."""
    ends = [row[name] for row in rows for name in ("low", "high", "value") if row[name] is not None]
    low, high = min(ends), max(ends)
    pad = (high - low or 1) * 0.08
    x = {"type": "quantitative", "title": title, "axis": {"tickCount": 8}}
    x["scale"] = {"domain": [low - pad, high + pad], "nice": False}
    y = {"field": "label", "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 300}}
    own = {
        "y": y,
        "tooltip": [
            _build_tooltip_field("label", "what"),
            _build_tooltip_field("range", "value"),
            _build_tooltip_field("text", "about it"),
        ],
    }
    rule = {"type": "rule", "color": PLAIN, "strokeDash": [4, 3]}
    zero = {"mark": rule, "encoding": {"x": {"datum": 0}}, "data": {"values": [{}]}}
    interval = {"type": "rule", "strokeWidth": 3, "color": COLOURS[0], "opacity": 0.55}
    point = {"type": "point", "filled": True, "size": 90, "opacity": 1, "color": COLOURS[0]}
    return _build_chart(
        rows,
        28 * len(rows) + 20,
        layer=[
            *([zero] if low < 0 < high else ()),
            {"mark": interval, "encoding": {**own, "x": {"field": "low", **x}, "x2": {"field": "high"}}},
            {"mark": point, "encoding": {**own, "x": {"field": "value", **x}}},
        ],
    )


def render_png(spec: ChartSpec) -> bytes:
    """A chart as a picture, 900 pixels wide at twice the density.

    Raises:
        DataError: the plotting package is missing.
    """
    unbound = {**spec, "width": 800, "background": "white"}
    unbound["params"] = [{k: v for k, v in one.items() if k != "bind"} for one in spec.get("params", ())]
    return bytes(_import_vl_convert().vegalite_to_png(json.dumps(unbound), scale=2))


def bundle_scripts() -> str:
    """Vega, Vega-Lite and vega-embed as one script that needs nothing else.

    Raises:
        DataError: the plotting package is missing.
    """
    found = str(_import_vl_convert().javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    return found.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def require_plotting() -> None:
    """
    Raises:
        DataError: the plotting package is missing.
    """
    _import_vl_convert()


def _import_vl_convert() -> Any:
    try:
        import vl_convert
    except ImportError as exc:
        raise DataError("charts need one more package: pip install 'archon-eval[report]'") from exc
    return vl_convert


def _build_chart(rows: ChartRows, height: int, **parts: Any) -> ChartSpec:
    clean = [{name: value for name, value in row.items() if value is not None} for row in rows]
    config = {"view": {"stroke": None}, "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}}
    config |= {"legend": {"labelFontSize": 12}, "text": {"fontSize": 12}}
    base = {"background": None, "width": "container", "height": height, "config": config}
    return {**base, "autosize": {"type": "fit-x", "contains": "padding"}, "data": {"values": clean}, **parts}


def _build_tooltip_field(field: str, title: str, form: str = "") -> dict[str, Any]:
    kind = {"type": "quantitative", "format": form} if form else {"type": "nominal"}
    return {"field": field, "title": title, **kind}


def _compute_domain(values: Sequence[float], within: tuple[float, float] | None = None) -> dict[str, Any]:
    """What an axis shows: all values and some room, none of it where no value can be."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    pad = (high - low) * 0.1 or 0.05 * max(1.0, abs(high))
    ends = [low - pad, high + pad]
    ends = [max(ends[0], within[0]), min(ends[1], within[1])] if within else ends
    return {"domain": ends, "zero": False, "nice": False}
