"""An architecture drawn as SVG: a row per layer, a box per model, the number of candidates on the arrows.

svg = draw_diagram(run.layers)           # colours come from the page's CSS variables
"""

from collections import Counter
from collections.abc import Sequence
from html import escape

from archon_eval.architecture.component_types import find_imported_class
from archon_eval.architecture.spec import Architecture
from archon_eval.engine.plan import plan
from archon_eval.report.formatting import truncate
from archon_eval.runs.benchmark_run import LayerUsage

WIDTH, BOX, LINE, GAP, COLUMNS = 340, 26, 18, 34, 2
"""Pixels: of the drawing, a box's height, a layer's title, the arrows; and boxes beside each other."""
MAX_BOXES = 12
"""Boxes of a layer before the rest is a number."""
MAX_NAME_CHARACTERS = 22
"""Characters of a model's name that a box holds."""


def estimate_layer_usage(architecture: Architecture | None) -> tuple[LayerUsage, ...]:
    """The layers of an architecture that nothing was measured of, by its plan."""
    if architecture is None:
        return ()
    return tuple(
        LayerUsage(
            kind=layer.kind,
            components=tuple(model for model, count in layer.components for _ in range(count)),
            candidates=sum(layer.candidates) / 2,
            calls=sum(layer.calls) / 2,
            tokens=sum(usage.input_tokens + usage.output_tokens for usage in layer.usage) / 2,
            dollars=sum(layer.dollars) / 2 if layer.dollars else None,
        )
        for layer in plan(architecture).layers
    )


def draw_diagram(layers: Sequence[LayerUsage]) -> str:
    """The drawing; empty for no layers."""
    if not layers:
        return ""
    parts, y = [_draw_pill("question", 0)], 24.0
    carried = ""
    for number, layer in enumerate(layers, 1):
        parts.append(_draw_arrow(y, carried))
        y += GAP
        drawn, height = _draw_layer(layer.number or number, layer, y)
        parts.append(drawn)
        y += height
        if not _stands_beside(layer):
            carried = f"{layer.candidates:.3g} candidate{'' if layer.candidates == 1 else 's'}"
    parts += [_draw_arrow(y, carried), _draw_pill("answer", y + GAP)]
    title = escape(" then ".join(layer.kind.replace("_", " ") for layer in layers))
    head = (
        f'<svg class="diagram" role="img" viewBox="0 0 {WIDTH} {y + GAP + 24:g}" width="{WIDTH}"><title>{title}</title>'
    )
    return "".join([head, *parts, "</svg>"])


def _stands_beside(layer: LayerUsage) -> bool:
    """Whether candidates pass the layer by; not known of a component that is not installed here."""
    return bool(getattr(find_imported_class(layer.kind), "beside", False))


def _draw_layer(number: int, layer: LayerUsage, y: float) -> tuple[str, float]:
    counts = list(Counter(layer.components).items())
    names = [(model.split("/", 1)[-1], f" × {count}" if count > 1 else "") for model, count in counts[:MAX_BOXES]]
    full = [f"{model}{f' × {count}' if count > 1 else ''}" for model, count in counts]
    if len(counts) > MAX_BOXES:
        names, full = (
            [*names, (f"and {len(counts) - MAX_BOXES} more", "")],
            [*full[:MAX_BOXES], ", ".join(full[MAX_BOXES:])],
        )
    columns = min(COLUMNS, max(1, len(names)))
    rows = -(-len(names) // columns)
    height = LINE + rows * (BOX + 4) + 8
    dashed = " side" if _stands_beside(layer) else ""
    kind = escape(layer.kind.replace("_", " "))
    tokens = "unknown" if layer.tokens is None else f"{layer.tokens:,.0f}"
    figures = f"{layer.calls:.3g} call{'' if layer.calls == 1 else 's'}, {tokens} tokens"
    parts = [
        f'<rect class="layer{dashed}" x="1" y="{y:g}" width="{WIDTH - 2}" height="{height:g}" rx="6"/>',
        f'<text class="kind" x="10" y="{y + 15:g}">{number} {kind}</text>',
        f'<text class="figures" x="{WIDTH - 10}" y="{y + 15:g}" text-anchor="end">{figures}</text>',
    ]
    width = (WIDTH - 16 - 4 * (columns - 1)) / columns
    for place, (name, times) in enumerate(names):
        x, top = 8 + place % columns * (width + 4), y + LINE + 4 + place // columns * (BOX + 4)
        limit = MAX_NAME_CHARACTERS if columns > 1 else 2 * MAX_NAME_CHARACTERS
        shown = truncate(name, limit - len(times)) + times
        parts.append(
            f'<g><title>{escape(full[place])}</title><rect class="box" x="{x:g}" y="{top:g}" width="{width:g}" '
            f'height="{BOX}" rx="4"/><text x="{x + width / 2:g}" y="{top + 17:g}" text-anchor="middle">'
            f"{escape(shown)}</text></g>"
        )
    return "".join(parts), height


def _draw_arrow(y: float, label: str) -> str:
    middle = WIDTH / 2
    line = f'<path class="arrow" d="M{middle:g} {y + 2:g}V{y + GAP - 3:g}m-4 -6l4 6l4 -6"/>'
    return line + (f'<text class="figures" x="{middle + 10:g}" y="{y + 21:g}">{escape(label)}</text>' if label else "")


def _draw_pill(text: str, y: float) -> str:
    x = WIDTH / 2 - 45
    return (
        f'<rect class="pill" x="{x:g}" y="{y + 1:g}" width="90" height="22" rx="11"/>'
        f'<text x="{WIDTH / 2:g}" y="{y + 16:g}" text-anchor="middle">{text}</text>'
    )
