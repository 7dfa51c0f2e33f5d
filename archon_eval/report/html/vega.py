"""Vega-Lite: what all charts share, the scripts that draw them in a page, and a chart as PNG.

Vega-Lite because its scripts come inlined with a wheel (vl-convert, 0.9 MB of them), it draws SVG that follows the
page's colours on screen and in print, and the same specification makes a picture without a browser.

>>> build_tooltip(("label", "system"), ("calls", "model calls", ",.4~g"))[1]["format"]
',.4~g'
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from archon_eval.errors import DataError

ChartSpec = dict[str, Any]
"""A Vega-Lite specification, or a part of one."""
ChartRows = Sequence[Mapping[str, Any]]
"""The data of a chart: a mapping per row; values that are None are left out."""
PALETTE = ["#3b82c4", "#d9822b", "#3f9d63", "#b657a8", "#c9504c", "#8a7fd1", "#8c8c3c", "#4ba3b5"]
"""Colours that differ from each other on the page's light and dark background."""
GOOD, BAD, NEUTRAL = "#3f9d63", "#c9504c", "#8a8f98"
NEUTRAL_DASHED = {"color": NEUTRAL, "strokeDash": [4, 3]}
INTERVAL = {"type": "rule", "color": PALETTE[0], "opacity": 0.55}
POINT = {"type": "point", "filled": True, "opacity": 1}
CONFIG = {
    "view": {"stroke": None},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"},
    "legend": {"labelFontSize": 12},
    "text": {"fontSize": 12},
}


def build_chart(rows: ChartRows, height: int, **parts: Any) -> ChartSpec:
    """A chart as wide as its place on the page, `height` pixels high; `parts` are properties of Vega-Lite."""
    return {
        "background": None,
        "width": "container",
        "height": height,
        "config": CONFIG,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": [{name: value for name, value in row.items() if value is not None} for row in rows]},
        **parts,
    }


def build_tooltip(*fields: tuple[str, ...]) -> list[ChartSpec]:
    """What a tooltip shows: (field, title) for text, (field, title, d3 format) for numbers."""
    return [
        {"field": field, "title": title}
        | ({"type": "quantitative", "format": number_format[0]} if number_format else {"type": "nominal"})
        for field, title, *number_format in fields
    ]


def build_switch(name: str, text: str, *, options: Mapping[str, str], value: str) -> ChartSpec:
    """A parameter that radio buttons set; `options` maps its values to their labels."""
    labels = list(options.values())
    return {"name": name, "value": value} | {
        "bind": {"input": "radio", "options": list(options), "labels": labels, "name": text}
    }


def compute_domain(values: Sequence[float], bounds: tuple[float, float] | None = None) -> ChartSpec:
    """A scale that holds all values and a tenth of their range on both sides, but nothing outside of `bounds`."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    pad = (high - low) * 0.1 or 0.05 * max(1.0, abs(high))
    low, high = low - pad, high + pad
    if bounds:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return {"domain": [low, high], "zero": False, "nice": False}


def render_png(spec: ChartSpec) -> bytes:
    """A chart as a picture, about 900 pixels wide at twice the density.

    Raises:
        DataError: the plotting package is missing.
    """
    fixed = {**spec, "width": 800, "background": "white"}  # the axis takes the rest of the 900
    fixed["params"] = [{k: v for k, v in param.items() if k != "bind"} for param in spec.get("params", ())]
    return bytes(_import_vl_convert().vegalite_to_png(json.dumps(fixed), scale=2))


@cache  # a megabyte of text that is always the same, and takes a second or two to put together
def bundle_scripts() -> str:
    """Vega, Vega-Lite and vega-embed as one script for a script element, which needs nothing else.

    Raises:
        DataError: the plotting package is missing.
    """
    scripts = str(_import_vl_convert().javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    return scripts.replace("</script", "<\\/script").replace("<!--", "<\\!--")


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
