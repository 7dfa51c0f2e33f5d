"""What an architecture will cost before anything is paid: the engine's walk with counts instead of calls.

    plan = plan(load_architecture("figure-3"))
    plan.calls         # (29, 31): least and most model calls per question, re-asks apart
    plan.sequential    # 7: the longest chain of calls that wait for each other

Counts come from the components themselves (`calls`, `count_survivors`), so they hold for custom components too.
Tokens are estimates from `TokenAssumptions`; dollars are those tokens at the price table, unknown where a price is.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from archon_eval.architecture.spec import PLACEHOLDER, Architecture
from archon_eval.components import build_component
from archon_eval.components.base import CandidateGenerator, CandidateScorer, Component, ContextComponent, CountRange
from archon_eval.engine.token_estimates import PlanFlow, TokenAssumptions, cap_tokens, estimate_tokens
from archon_eval.models.call import Usage
from archon_eval.models.prices import PriceTable, load_prices


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """One layer, per question; every pair is (least, most)."""

    number: int
    kind: str
    components: tuple[tuple[str, int], ...]
    """(model, candidates it makes) per component; 1 for those that make none."""
    calls: CountRange
    reasks: int
    """Calls that unreadable replies may add at most."""
    candidates: CountRange
    """How many leave the layer."""
    finished: int
    """Sequential calls from the question until all of them have left."""
    usage: tuple[Usage, Usage]
    dollars: tuple[float, float] | None
    """None when a model's price is unknown."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An architecture's cost per question; every pair is (least, most)."""

    architecture: Architecture
    layers: tuple[LayerPlan, ...]
    calls: CountRange
    reasks: int
    sequential: int
    """Critical path in model calls, re-asks apart."""
    usage: tuple[Usage, Usage]
    dollars: tuple[float, float] | None
    prices: str
    """Version of the price table."""
    unpriced: tuple[str, ...]
    """Models whose price is unknown."""
    notes: tuple[str, ...]
    """Fallbacks that may apply and other things to know before paying."""

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for JSON; unknown dollars are null."""
        found = asdict(self)
        del found["architecture"]
        return {"name": self.architecture.name, "fingerprint": self.architecture.fingerprint, **found}


def plan(
    architecture: Architecture,
    models: Sequence[str] = (),
    assumptions: TokenAssumptions | None = None,
    prices: PriceTable | None = None,
    memo: dict[Any, Any] | None = None,
) -> Plan:
    """Calls, tokens, dollars and critical path of one question, without calling anything.

    Args:
        models: fill the placeholders, strongest first; without them their price is unknown.
        memo: filled with parts that plans of similar architectures share; for the same assumptions and prices only.

    Raises:
        ArchitectureError: a custom component that cannot be used.
    """
    assumed, table = assumptions or TokenAssumptions(), prices or load_prices()
    filled = architecture.with_models(models) if models else architecture
    memo = {} if memo is None else memo
    built: list[list[Component]] = []
    for number, layer in enumerate(filled.layers, 1):
        if (number, layer) not in memo:
            memo[number, layer] = [build_component(spec, f"layer {number}") for spec in layer]
        built.append(memo[number, layer])
    flow, layers = PlanFlow(), []
    for number, (layer, components, enough) in enumerate(
        zip(filled.layers, built, _find_needed_candidates(built), strict=True), 1
    ):
        if (part := (number, layer, flow, enough)) not in memo:
            memo[part] = _plan_layer(number, components, flow, enough, assumed, table)
        planned, flow = memo[part]
        layers.append(planned)
    for model in filled.models:
        if model not in memo:
            memo[model] = table.get_price(model) is not None
    unpriced = tuple(model for model in filled.models if not memo[model])
    dollars = [layer.dollars for layer in layers if layer.dollars is not None]
    return Plan(
        filled,
        tuple(layers),
        _sum_ranges([layer.calls for layer in layers]),
        sum(layer.reasks for layer in layers),
        max(flow.candidates_at, flow.values_at),
        _sum_usage([layer.usage for layer in layers]),
        (sum(least for least, _ in dollars), sum(most for _, most in dollars)) if len(dollars) == len(layers) else None,
        table.version,
        unpriced,
        (*_collect_placeholder_notes(architecture, models), *_collect_notes(built, layers)),
    )


def _find_needed_candidates(built: Sequence[list[Component]]) -> list[int | None]:
    """Per layer, how many candidates a later (or its own) `stop_after` needs; the work on others may be cancelled."""
    found: list[int | None] = []
    enough: int | None = None
    for components in reversed(built):
        first = components[0]
        if isinstance(first, CandidateScorer) and not first.sorts:
            enough = min((n for n in (enough, first.stop_after) if n is not None), default=None)
        elif not isinstance(first, ContextComponent):
            enough = None
        found.append(enough)
    return found[::-1]


def _plan_layer(
    number: int,
    components: list[Component],
    flow: PlanFlow,
    enough: int | None,
    assumed: TokenAssumptions,
    prices: PriceTable,
) -> tuple[LayerPlan, PlanFlow]:
    least, most = flow.candidates
    judged = flow if enough is None else replace(flow, candidates=(min(least, enough), most))
    calls = [component.count_calls(judged.candidates) for component in components]
    usage = [estimate_tokens(component, judged, assumed) for component in components]
    costs = [
        (prices.compute_cost(component.spec.model, low), prices.compute_cost(component.spec.model, high))
        if count[1]
        else (0.0, 0.0)
        for component, count, (low, high) in zip(components, calls, usage, strict=True)
    ]
    known = [(low, high) for low, high in costs if low is not None and high is not None]
    after = _advance_flow(components, flow, assumed)
    planned = LayerPlan(
        number,
        components[0].spec.kind,
        tuple((c.spec.model, c.candidate_count if isinstance(c, CandidateGenerator) else 1) for c in components),
        _sum_ranges(calls),
        sum(
            _count_parsed_calls(component, count) * component.spec.reask
            for component, count in zip(components, calls, strict=True)
        ),
        after.candidates,
        max(after.candidates_at, after.values_at)
        if isinstance(components[0], ContextComponent)
        else after.candidates_at,
        _sum_usage(usage),
        (sum(low for low, _ in known), sum(high for _, high in known)) if len(known) == len(costs) else None,
    )
    return planned, after


def _advance_flow(components: list[Component], flow: PlanFlow, assumed: TokenAssumptions) -> PlanFlow:
    """The flow behind a layer: who is left, and when."""
    first, ready = components[0], max(flow.candidates_at, flow.values_at)
    if isinstance(first, CandidateGenerator):
        least, most = _sum_ranges([component.count_survivors(flow.candidates) for component in components])
        answer = max(cap_tokens(assumed.answer, component) for component in components)
        return PlanFlow((max(1, least), most), answer, False, flow.tests, ready + 1, flow.values_at)
    deepest = first.count_calls((1, 1) if isinstance(first, CandidateScorer) else flow.candidates)[1]
    candidates = first.count_survivors(flow.candidates)
    if isinstance(first, ContextComponent):
        tests = int(first.spec.get_option("max_tests")) if first.spec.kind == "unit_test_generator" else flow.tests
        return replace(flow, candidates=candidates, tests=tests, values_at=max(flow.values_at, deepest))
    critiques = flow.critiques or first.kind.writes_critiques
    return replace(flow, candidates=candidates, critiques=critiques, candidates_at=ready + deepest)


def _count_parsed_calls(component: Component, calls: CountRange) -> int:
    """Calls whose reply is parsed, and may be asked for again."""
    if isinstance(component, CandidateGenerator):
        return 0
    return calls[1] // 2 if component.spec.kind == "verifier" else calls[1]


def _collect_notes(built: Sequence[list[Component]], layers: Sequence[LayerPlan]) -> list[str]:
    found = []
    for layer, components in zip(layers, built, strict=True):
        component, where = components[0], f"layer {layer.number} ({layer.kind})"
        if component.kind.filters and dict(component.spec.options).get("keep") != "all":
            found.append(f"{where} may reject every candidate: then all go on, recorded as a fallback")
        if isinstance(component, CandidateScorer) and component.stop_after is not None:
            found.append(f"{where} stops once {component.stop_after} passed: work on the others is cancelled")
        if any(component.spec.on_error == "drop" for component in components):
            found.append(f"{where} goes on without calls that fail (on_error: drop), counted in the score's metadata")
    if layers[-1].candidates[1] > 1:
        found.append(f"up to {layers[-1].candidates[1]} candidates reach the end: the first is the answer")
    return found


def _collect_placeholder_notes(architecture: Architecture, models: Sequence[str]) -> list[str]:
    matches = [match for name in architecture.placeholders if (match := PLACEHOLDER.fullmatch(name))]
    if any(match["all"] for match in matches) and not models:
        return ["$all counts as one model until models are named"]
    places = max((int(match["first"]) for match in matches if match["first"]), default=0)
    if models and len(models) < places:
        return [f"{places} places for models, {len(models)} named: the list starts again, as further draws of the same"]
    return []


def _sum_ranges(spans: Sequence[CountRange]) -> CountRange:
    return sum(least for least, _ in spans), sum(most for _, most in spans)


def _sum_usage(pairs: Sequence[tuple[Usage, Usage]]) -> tuple[Usage, Usage]:
    return sum((least for least, _ in pairs), Usage()), sum((most for _, most in pairs), Usage())


def render_mermaid(found: Plan) -> str:
    """The architecture as a Mermaid flowchart: a box per layer, candidates on the arrows, tests dotted."""
    lines = ["flowchart TD", '  Q(["question"])']
    source, tests, carried = "Q", "", ""
    for layer in found.layers:
        node = f"L{layer.number}"
        models = [f"{model} × {count}" if count > 1 else model for model, count in layer.components if model]
        label = "<br/>".join([f"{layer.number} {layer.kind}", *models]).replace('"', "#quot;")
        lines.append(f'  {node}["{label}"]')
        if layer.kind == "unit_test_generator":
            lines.append(f"  Q --> {node}")
            tests = node
            continue
        lines.append(f"  {source} -->{carried} {node}")
        if tests:
            lines.append(f"  {tests} -. tests .-> {node}")
        source, tests, carried = node, "", f"|{format_range(layer.candidates)}|"
    return "\n".join([*lines, '  A(["answer"])', f"  {source} -->{carried} A"])


def format_range(span: tuple[float, float], form: str = ",") -> str:
    """`7`, or `1 to 8` when the least and the most differ."""
    least, most = (format(end, form) for end in span)
    return least if least == most else f"{least} to {most}"
