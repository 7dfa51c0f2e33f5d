"""An architecture as a Mermaid flowchart.

print(render_mermaid(plan(load_architecture("figure-3"))))
"""

import re

from archon_eval.engine.plan import LayerPlan, Plan, format_range


def render_mermaid(planned: Plan) -> str:
    """A box per layer, candidates on the arrows; what a layer leaves beside them (tests) is dotted.

    A cascade has a frame per stage and a rhombus per rule.
    """
    lines = ["flowchart TD", '  Q(["question"])']
    if not planned.architecture.stages:
        drawn, end = _draw_layers(planned.layers, "Q")
        return "\n".join([*lines, *drawn, '  A(["answer"])', f"  {end} A"])
    return "\n".join([*lines, '  A(["answer"])', *_draw_stages(planned)])


def _draw_layers(layers: tuple[LayerPlan, ...], source: str) -> tuple[list[str], str]:
    """The lines of layers that follow one another, and the beginning of the line that leaves the last."""
    lines, carried, beside, question = list[str](), "", list[tuple[str, str]](), source
    for layer in layers:
        node = f"L{layer.number}"
        lines.append(f'  {node}["{_describe_layer(layer)}"]')
        if layer.beside:
            lines.append(f"  {question} --> {node}")
            beside.append((node, layer.leaves))
            continue
        lines.append(f"  {source} -->{carried} {node}")
        lines += [f"  {writer} {_draw_dotted_arrow(leaves)} {node}" for writer, leaves in beside]
        source, beside, carried = node, [], f"|{format_range(layer.candidates)}|"
    return lines, f"{source} -->{carried}"


def _describe_layer(layer: LayerPlan) -> str:
    fewest = layer.fewest or [count for _, count in layer.components]
    models = [
        f"{model} × {format_range((least, count))}" if count > 1 else model
        for (model, count), least in zip(layer.components, fewest, strict=True)
        if model
    ]
    return "<br/>".join(map(_escape_text, [f"{layer.number} {layer.kind}", *models]))


def _draw_stages(planned: Plan) -> list[str]:
    """The stages of a cascade, in the order in which they are asked."""
    architecture, lines = planned.architecture, list[str]()
    spans, router = architecture.spans, architecture.router
    entry: dict[str, list[str]] = {spans[0].stage.name: ["Q -->"]}
    only = router is not None and bool(router.get_option("only"))
    if router is not None:
        lines += [f'  L1{{"{_describe_layer(planned.layers[0])}"}}', "  Q --> L1"]
        entry = {name: ["L1 -->"] for name in router.get_option("stages")}
    for place, span in enumerate(spans):
        name = span.stage.name
        layers = planned.layers[span.first - 1 : span.last]
        source = f"L{span.first}"
        drawn, end = _draw_layers(layers, "")
        inside = [line for line in drawn if not line.startswith("   --> ")]
        lines += [f'  subgraph S{place + 1}["stage {_escape_text(name)}"]', *(f"  {line}" for line in inside), "  end"]
        lines += [f"  {arrow} {source}" for arrow in entry.get(name, [])]
        is_last = only or place == len(spans) - 1
        if span.rule is None or (is_last and not architecture.measure_only):
            lines.append(f"  {end} A")
            continue
        rule = f"L{span.rule}"
        lines += [f'  {rule}{{"{_describe_layer(planned.layers[span.rule - 1])}"}}', f"  {end} {rule}"]
        lines.append(f"  {rule} -->|accepted| A")
        if not is_last:
            entry.setdefault(spans[place + 1].stage.name, []).append(f"{rule} -->|else|")
    return lines


def _draw_dotted_arrow(label: str) -> str:
    if not label.strip():
        return "-.->"
    return f"-. {label} .->" if re.fullmatch(r"\w[\w ]*", label) else f'-. "{_escape_text(label)}" .->'


def _escape_text(text: str) -> str:
    """Text inside quotation marks, which nothing in it ends, and in which no markup holds."""
    escaped = text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
    return " ".join(escaped.replace("`", "#96;").split())
