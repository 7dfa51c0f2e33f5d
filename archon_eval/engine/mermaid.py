"""An architecture as a Mermaid flowchart.

print(render_mermaid(plan(load_architecture("figure-3"))))
"""

import re

from archon_eval.engine.plan import Plan, format_range


def render_mermaid(planned: Plan) -> str:
    """A box per layer, candidates on the arrows; what a layer leaves beside them (tests) is dotted."""
    lines = ["flowchart TD", '  Q(["question"])']
    source, carried = "Q", ""
    beside: list[tuple[str, str]] = []
    for layer in planned.layers:
        node = f"L{layer.number}"
        fewest = layer.fewest or [count for _, count in layer.components]
        models = [
            f"{model} × {format_range((least, count))}" if count > 1 else model
            for (model, count), least in zip(layer.components, fewest, strict=True)
            if model
        ]
        label = "<br/>".join(map(_escape_text, [f"{layer.number} {layer.kind}", *models]))
        lines.append(f'  {node}["{label}"]')
        if layer.beside:
            lines.append(f"  Q --> {node}")
            beside.append((node, layer.leaves))
            continue
        lines.append(f"  {source} -->{carried} {node}")
        lines += [f"  {writer} {_draw_dotted_arrow(leaves)} {node}" for writer, leaves in beside]
        source, beside, carried = node, [], f"|{format_range(layer.candidates)}|"
    return "\n".join([*lines, '  A(["answer"])', f"  {source} -->{carried} A"])


def _draw_dotted_arrow(label: str) -> str:
    if not label.strip():
        return "-.->"
    return f"-. {label} .->" if re.fullmatch(r"\w[\w ]*", label) else f'-. "{_escape_text(label)}" .->'


def _escape_text(text: str) -> str:
    """Text inside quotation marks, which nothing in it ends, and in which no markup holds."""
    escaped = text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
    return " ".join(escaped.replace("`", "#96;").split())
