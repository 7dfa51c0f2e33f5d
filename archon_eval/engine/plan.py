"""What an architecture will cost before anything is paid: the engine's walk with counts instead of calls.

    figure_3 = plan(load_architecture("figure-3"))
    figure_3.calls         # (31, 31): least and most model calls per question, re-asks apart
    figure_3.sequential    # 7: the longest chain of calls that wait for each other

Counts and tokens come from the components themselves (`count_calls`, `estimate_tokens`), so they hold for custom
components too. Tokens are estimates from `TokenAssumptions`; dollars are those tokens at the price table, unknown where
a price is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from archon_eval.architecture.component_types import ModelList
from archon_eval.architecture.reasoning_models import is_reasoning_model
from archon_eval.architecture.spec import PLACEHOLDER, Architecture, choose_model_list, list_raised_limits
from archon_eval.components import build_layer
from archon_eval.components.component import Component
from archon_eval.components.token_estimates import CountRange, PlanFlow, TokenAssumptions, sum_ranges
from archon_eval.engine.returned_values import check_counts
from archon_eval.engine.windows import WindowCheck, check_windows
from archon_eval.models.call import Usage
from archon_eval.models.prices import PriceTable, load_prices


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """One layer, per question; every pair is (least, most)."""

    number: int
    kind: str
    components: tuple[tuple[str, int], ...]
    """(model, candidates it makes) per component and model; 1 for those that make none."""
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
    windows: tuple[WindowCheck, ...] = ()
    """Of components whose prompts show candidates: whether they fit the model's context window."""
    beside: bool = False
    """Whether it stands beside the candidates' way."""
    leaves: str = ""
    """What a diagram calls that which a layer beside the way leaves for later ones (`tests`)."""


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

    @property
    def windows(self) -> tuple[WindowCheck, ...]:
        """Of every component whose prompts show candidates: whether they fit the model's context window."""
        return tuple(check for layer in self.layers for check in layer.windows)

    @property
    def last_layer(self) -> LayerPlan | None:
        """The last layer that asks a model, which further last draws of an epoch ask again; None where none does."""
        return next((layer for layer in reversed(self.layers) if layer.calls[1]), None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence on each component whose prompt may not fit its model's context window."""
        return tuple(dict.fromkeys(check.warning for check in self.windows if check.warning))

    @property
    def unknown_windows(self) -> tuple[str, ...]:
        """Models that read candidates and whose context window is unknown."""
        return tuple(dict.fromkeys(check.model for check in self.windows if check.window is None))

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for JSON; unknown dollars are null. `windows` is there where a model may have one."""
        mapping = asdict(self)
        del mapping["architecture"]
        for layer in mapping["layers"]:
            del layer["beside"], layer["leaves"], layer["windows"]
        mapping |= {"windows": [check.to_mapping() for check in self.windows]} if self.windows else {}
        return {"name": self.architecture.name, "fingerprint": self.architecture.fingerprint, **mapping}


def plan(
    architecture: Architecture,
    models: Sequence[str] = (),
    assumptions: TokenAssumptions | None = None,
    *,
    prices: PriceTable | None = None,
    memo: dict[Any, Any] | None = None,
    fusers: Sequence[str] = (),
    judges: Sequence[str] = (),
) -> Plan:
    """Calls, tokens, dollars and critical path of one question, without calling anything.

    Args:
        models, fusers, judges: fill the placeholders, strongest first; without them their price is unknown.
        memo: filled with parts that plans of similar architectures share; for the same assumptions and prices only.

    Raises:
        ArchitectureError: a custom component that cannot be used.
    """
    assumed, table = assumptions or TokenAssumptions(), prices or load_prices()
    named: dict[ModelList, Sequence[str]] = {"models": models, "fusers": fusers, "judges": judges}
    lists = {name: names for name, names in named.items() if names}
    filled = architecture.with_models(models, fusers=fusers, judges=judges) if lists else architecture
    memo = {} if memo is None else memo
    built: list[list[Component]] = []
    for number, layer in enumerate(filled.layers, 1):
        if (number, layer) not in memo:
            memo[number, layer] = build_layer(number, layer)
        built.append(memo[number, layer])
    flow, layers = PlanFlow(), []
    for number, (layer, components, needed) in enumerate(
        zip(filled.layers, built, _find_needed_candidates(built), strict=True), 1
    ):
        if (part := (number, layer, flow, needed)) not in memo:
            for component in components:
                check_counts(number, component, flow.candidates)
            after = _merge_flows([component.advance_flow(flow, assumed) for component in components])
            judged = flow if needed is None else replace(flow, candidates=_limit_least(flow.candidates, needed))
            memo[part] = _plan_layer(number, components, judged, after=after, assumed=assumed, prices=table), after
        planned, flow = memo[part]
        layers.append(planned)
    for model in filled.models:
        if model not in memo:
            memo[model] = table.get_price(model) is not None
    return Plan(
        architecture=filled,
        layers=tuple(layers),
        calls=sum_ranges([layer.calls for layer in layers]),
        reasks=sum(layer.reasks for layer in layers),
        sequential=max(flow.candidates_at, flow.values_at),
        usage=_sum_usage([layer.usage for layer in layers]),
        dollars=_sum_dollars([layer.dollars for layer in layers]),
        prices=table.version,
        unpriced=tuple(model for model in filled.models if not memo[model]),
        notes=(
            *_collect_placeholder_notes(architecture, lists),
            *describe_raised_limits(filled),
            *_collect_notes(built, layers),
        ),
    )


def _find_needed_candidates(built: Sequence[list[Component]]) -> list[int | None]:
    """Per layer, how many candidates a later (or its own) `stop_after` needs; the work on others may be cancelled."""
    needed: list[int | None] = []
    later: int | None = None
    for components in reversed(built):
        later = components[0].count_needed(later)
        needed.append(later)
    return needed[::-1]


def _limit_least(candidates: CountRange, limit: int) -> CountRange:
    return min(candidates[0], limit), candidates[1]


def _merge_flows(flows: Sequence[PlanFlow]) -> PlanFlow:
    """The flow behind a layer of several components; a question that is left without a candidate fails."""
    least, most = sum_ranges([flow.candidates for flow in flows])
    return replace(
        flows[0],
        candidates=(max(1, least), most),
        answer=max(flow.answer for flow in flows),
        longest_answer=max(flow.longest_answer for flow in flows),
        candidates_at=max(flow.candidates_at for flow in flows),
    )


def _plan_layer(
    number: int,
    components: list[Component],
    flow: PlanFlow,
    *,
    after: PlanFlow,
    assumed: TokenAssumptions,
    prices: PriceTable,
) -> LayerPlan:
    """A layer's part of the plan.

    Args:
        flow: what comes in, without candidates on which the work may be cancelled.
        after: what leaves the layer.
    """
    calls = [component.count_calls(flow.candidates) for component in components]
    tokens = [
        tuple(component.estimate_tokens(component.make_workload(flow, assumed, place=place)) for place in (0, 1))
        for component in components
    ]
    parsed = [
        component.count_parsed_calls(flow.candidates) * component.spec.max_parse_retries for component in components
    ]
    return LayerPlan(
        number=number,
        kind=components[0].spec.kind,
        components=tuple(pair for component in components for pair in component.list_models()),
        calls=sum_ranges(calls),
        reasks=sum(parsed),
        candidates=after.candidates,
        finished=max(after.candidates_at, after.values_at),
        usage=_sum_usage([(_sum_models(least), _sum_models(most)) for least, most in tokens]),
        dollars=_sum_dollars(
            [
                _compute_dollars(component.spec.models if most_calls else (), least, most, prices=prices)
                for component, (_, most_calls), (least, most) in zip(components, calls, tokens, strict=True)
            ]
        ),
        windows=tuple(
            check for component in components for check in check_windows(number, component, flow, assumed, prices)
        ),
        beside=components[0].beside,
        leaves=components[0].leaves,
    )


def _sum_models(tokens: Mapping[str, Usage]) -> Usage:
    return sum(tokens.values(), Usage())


def _compute_dollars(
    models: Sequence[str], least: Mapping[str, Usage], most: Mapping[str, Usage], *, prices: PriceTable
) -> tuple[float, float] | None:
    """Dollars of one component's calls; None when the price of one of the models it may call is unknown."""
    costs = []
    for model in dict.fromkeys((*models, *most)):
        low, high = (prices.compute_cost(model, usage.get(model, Usage())) for usage in (least, most))
        costs.append(None if low is None or high is None else (low, high))
    return _sum_dollars(costs)


def _sum_dollars(costs: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs):
        return None
    return sum((low for low, _ in known), 0.0), sum((high for _, high in known), 0.0)


def _sum_usage(ranges: Sequence[tuple[Usage, Usage]]) -> tuple[Usage, Usage]:
    return sum((least for least, _ in ranges), Usage()), sum((most for _, most in ranges), Usage())


def _collect_notes(built: Sequence[list[Component]], layers: Sequence[LayerPlan]) -> list[str]:
    notes = []
    for layer, components in zip(layers, built, strict=True):
        component, where = components[0], f"layer {layer.number} ({layer.kind})"
        if component.type.filters:
            notes.append(f"{where} may reject every candidate: then all go on, recorded as a fallback")
        if component.stop_after is not None:
            notes.append(f"{where} stops once {component.stop_after} passed: work on the others is cancelled")
        if any(component.spec.on_error == "drop" for component in components):
            notes.append(f"{where} goes on without calls that fail (on_error: drop), counted in the score's metadata")
    if layers[-1].candidates[1] > 1:
        notes.append(f"up to {layers[-1].candidates[1]} candidates reach the end: the first is the answer")
    return notes


def describe_raised_limits(architecture: Architecture) -> list[str]:
    """A sentence on each model that reasons and has a larger limit on its replies, as nobody set one."""
    limits = {
        model: limit
        for layer in architecture.layers
        for spec in layer
        for model, limit in list_raised_limits(spec).items()
    }
    return [
        f"{model} {'thinks' if is_reasoning_model(model) else 'is asked to think'} before it answers, and its thoughts "
        f"count: its replies may take {limit:,} tokens where no `max_tokens` is set"
        for model, limit in limits.items()
    ]


def _collect_placeholder_notes(architecture: Architecture, lists: Mapping[ModelList, Sequence[str]]) -> list[str]:
    matches = [match for name in architecture.placeholders if (match := PLACEHOLDER.fullmatch(name))]
    if any(match["all"] for match in matches) and not lists:
        return ["$all counts as one model until models are named"]
    places = dict.fromkeys(lists, 0)
    for spec in (spec for layer in architecture.layers for spec in layer):
        found = [match for model in spec.models if (match := PLACEHOLDER.fullmatch(model)) and match["first"]]
        name = choose_model_list(spec, lists)
        places[name] = max([places.get(name, 0), *(int(match["first"]) for match in found)])
    return [
        f"{places[name]} places for {name}, {len(names)} named: the list starts again, as further draws of the same"
        for name, names in lists.items()
        if len(names) < places[name]
    ]


def format_range(span: tuple[float, float], form: str = ",") -> str:
    """`7`, or `1 to 8` when the least and the most differ."""
    least, most = (format(end, form) for end in span)
    return least if least == most else f"{least} to {most}"
