"""An architecture as a Mermaid flowchart.

print(render_mermaid(plan(load_architecture("figure-3"))))
"""

from archon_eval.engine.plan import Plan, format_range


def render_mermaid(planned: Plan) -> str:
    """A box per layer, candidates on the arrows; what a layer leaves beside them (tests) is dotted."""
    lines = ["flowchart TD", '  Q(["question"])']
    source, carried = "Q", ""
    beside: dict[str, str] = {}
    for layer in planned.layers:
        node = f"L{layer.number}"
        models = [f"{model} × {count}" if count > 1 else model for model, count in layer.components if model]
        label = "<br/>".join([f"{layer.number} {layer.kind}", *models]).replace('"', "#quot;")
        lines.append(f'  {node}["{label}"]')
        if layer.leaves:
            lines.append(f"  Q --> {node}")
            beside[layer.leaves] = node
            continue
        lines.append(f"  {source} -->{carried} {node}")
        lines += [f"  {writer} -. {leaves} .-> {node}" for leaves, writer in beside.items()]
        source, beside, carried = node, {}, f"|{format_range(layer.candidates)}|"
    return "\n".join([*lines, '  A(["answer"])', f"  {source} -->{carried} A"])
