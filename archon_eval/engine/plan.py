"""What an architecture will cost before anything is paid: the engine's walk with counts instead of calls.

    figure_3 = plan(load_architecture("figure-3"))
    figure_3.calls         # (31, 31): least and most model calls per question, re-asks apart
    figure_3.sequential    # 7: the longest chain of calls that wait for each other

Counts and tokens come from the components themselves (`count_calls`, `estimate_tokens`), so they hold for custom
components too. Tokens are estimates from `TokenAssumptions`; dollars are those tokens at the price table, unknown where
a price is.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from archon_eval.architecture.component_types import ModelList
from archon_eval.architecture.spec import PLACEHOLDER, Architecture, Layer, list_raised_limits
from archon_eval.components import build_layer
from archon_eval.components.component import Component
from archon_eval.components.token_estimates import CountRange, PlanFlow, TokenAssumptions, sum_ranges
from archon_eval.engine.plan_notes import (
    collect_layer_notes,
    collect_placeholder_notes,
    describe_end,
    describe_raised_limits,
    describe_sources,
)
from archon_eval.engine.plan_stages import (
    check_stage_rules,
    choose_shown_flow,
    describe_stages,
    find_longest_way,
    sum_stages,
)
from archon_eval.engine.plan_sums import compute_by_model, sum_known, sum_models, sum_usage
from archon_eval.engine.returned_values import check_counts
from archon_eval.engine.windows import WindowCheck, check_windows
from archon_eval.models.call import Usage
from archon_eval.models.prices import PriceTable, load_prices
from archon_eval.models.scorer import Scorer


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
    flops: tuple[float, float] | None = None
    """Floating-point operations; None when a model's size is unknown."""
    stage: str = ""
    """The stage of a cascade that it belongs to; empty for the router, and where there are no stages."""
    is_drawn: bool = True
    """Whether its calls are draws, so that other draws may have other replies; scores of a reward model are none."""
    fewest: tuple[int, ...] = ()
    """Of each of `components`, the candidates it makes at least, in a layer that draws in rounds; empty for others."""

    def count_by_model(self) -> dict[str, CountRange]:
        """Model -> the candidates that components of it make, least and most; 1 for those that make none."""
        counts: dict[str, CountRange] = {}
        for (model, most), least in zip(self.components, self.fewest or [n for _, n in self.components], strict=True):
            counts[model] = sum_ranges([counts.get(model, (0, 0)), (least, most)])
        return counts


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
    flops: tuple[float, float] | None = None
    """Floating-point operations of all calls (`PriceTable.compute_flops`); None when a model's size is unknown."""
    unsized: tuple[str, ...] = ()
    """Models whose size is unknown."""
    sources: tuple[str, ...] = ()
    """What goes to sources of scores that are no models, a sentence each; `notes` has them too."""

    @property
    def windows(self) -> tuple[WindowCheck, ...]:
        """Of every component whose prompts show candidates: whether they fit the model's context window."""
        return tuple(check for layer in self.layers for check in layer.windows)

    @property
    def last_layer(self) -> LayerPlan | None:
        """The last layer that asks a model, which further last draws of an epoch ask again; None where none does."""
        return next((layer for layer in reversed(self.layers) if layer.calls[1] and layer.is_drawn), None)

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
        del mapping["architecture"], mapping["unsized"], mapping["flops"], mapping["sources"]
        for layer in mapping["layers"]:
            del layer["beside"], layer["leaves"], layer["windows"], layer["flops"], layer["is_drawn"]
            for name in ("stage", "fewest"):
                if not layer[name]:
                    del layer[name]
        mapping |= {"windows": [check.to_mapping() for check in self.windows]} if self.windows else {}
        return {"name": self.architecture.name, "fingerprint": self.architecture.fingerprint, **mapping}


class _BuiltLayer(NamedTuple):
    """What a plan needs of a layer, whatever comes into it."""

    layer: Layer
    components: list[Component]
    models: tuple[str, ...]
    has_places: bool
    """Whether a model is still a placeholder."""
    raises_limits: bool
    notes: tuple[str, ...]
    scorers: tuple[Scorer, ...]
    """Sources of scores in models' places."""


class PlanMemo:
    """What plans of similar architectures share; for the same assumptions and prices only.

    Layers are told apart by identity: a layer that is the same object in many architectures is looked at once.
    """

    def __init__(self) -> None:
        self._layers: dict[tuple[int, int], _BuiltLayer] = {}
        self._flows: dict[PlanFlow, PlanFlow] = {}
        self.parts: dict[tuple[int, int, int, int | None], tuple[LayerPlan, PlanFlow]] = {}
        """(number, layer, flow, candidates needed) -> the layer's plan, and the flow behind it."""
        self.known: dict[str, tuple[bool, bool]] = {}
        """Model -> whether its price is known, and its size."""
        self.start = self.intern(PlanFlow())

    def intern(self, flow: PlanFlow) -> PlanFlow:
        """The one object that stands for all equal flows."""
        return self._flows.setdefault(flow, flow)

    def build(self, number: int, layer: Layer) -> _BuiltLayer:
        """A layer's components.

        Raises:
            ArchitectureError: a custom component that cannot be used.
        """
        key = number, id(layer)
        if key not in self._layers:
            components = build_layer(number, layer)
            models = tuple(dict.fromkeys(model for spec in layer for model in spec.models))
            self._layers[key] = _BuiltLayer(
                layer,  # kept, so that no other gets its identity
                components,
                models,
                has_places=any(PLACEHOLDER.fullmatch(model) for model in models),
                raises_limits=any(map(list_raised_limits, layer)),
                notes=collect_layer_notes(number, components),
                scorers=tuple(component.scorer for component in components if component.scorer is not None),
            )
        return self._layers[key]


def plan(
    architecture: Architecture,
    models: Sequence[str] = (),
    assumptions: TokenAssumptions | None = None,
    *,
    prices: PriceTable | None = None,
    memo: PlanMemo | None = None,
    fusers: Sequence[str] = (),
    judges: Sequence[str] = (),
) -> Plan:
    """Calls, tokens, dollars and critical path of one question, without calling anything.

    Args:
        models, fusers, judges: fill the placeholders, strongest first; without them their price is unknown.
        memo: filled with what plans of similar architectures share.

    Raises:
        ArchitectureError: a custom component that cannot be used.
    """
    assumed, table, memo = assumptions or TokenAssumptions(), prices or load_prices(), memo or PlanMemo()
    named: dict[ModelList, Sequence[str]] = {"models": models, "fusers": fusers, "judges": judges}
    lists = {name: names for name, names in named.items() if names}
    filled = architecture.with_models(models, fusers=fusers, judges=judges) if lists else architecture
    built = [memo.build(number, layer) for number, layer in enumerate(filled.layers, 1)]
    check_stage_rules(filled, [each.components for each in built])
    layers, sequential = [], 0
    flow = memo.start
    if filled.router is not None:
        [planned], _ = _plan_span(1, built[:1], memo.start, memo=memo, assumed=assumed, prices=table)
        layers.append(replace(planned, candidates=(0, 0)))
        sequential = planned.finished
    for place, span in enumerate(filled.spans):
        start = flow if place and filled.stages[place - 1].keep else memo.start
        plan_span = partial(_plan_span, memo=memo, assumed=assumed, prices=table)
        own, flow = plan_span(span.first, built[span.first - 1 : span.last], start)
        ends = [max(flow.candidates_at, flow.values_at)]
        if span.rule is not None:
            components = [each.components for each in built[span.first - 1 : span.rule]]
            shown = memo.intern(choose_shown_flow(flow, own, components))
            rule, after = plan_span(span.rule, built[span.rule - 1 : span.rule], shown)
            own += rule
            ends.append(max(after.candidates_at, after.values_at))
        taken = max(start.candidates_at, start.values_at)
        layers += [_place_in_stage(layer, span.stage.name, sequential - taken) for layer in own]
        sequential += max(ends) - taken
    totals = sum_stages(filled, layers)
    all_models = dict.fromkeys(model for each in built for model in each.models)
    for model in all_models:
        if model not in memo.known:
            memo.known[model] = table.get_price(model) is not None, table.get_active_parameters(model) is not None
    scorers = [scorer for each in built for scorer in each.scorers]
    has_places = bool(lists) or any(each.has_places for each in built)
    return Plan(
        architecture=filled,
        layers=tuple(layers),
        calls=totals.calls,
        reasks=sum(layer.reasks for layer in layers),
        sequential=find_longest_way(filled, layers) if filled.stages else sequential,
        usage=totals.usage,
        dollars=totals.dollars,
        prices=table.version,
        unpriced=tuple(
            dict.fromkeys(
                (
                    *(model for model in all_models if not memo.known[model][0]),
                    *(scorer.name for scorer in scorers if scorer.dollars is None),
                )
            )
        ),
        notes=(
            *(collect_placeholder_notes(architecture, lists) if has_places else ()),
            *(describe_raised_limits(filled) if any(each.raises_limits for each in built) else ()),
            *(note for each in built for note in each.notes),
            *(describe_stages(filled, layers) if filled.stages else ()),
            *describe_end(layers[-1]),
        ),
        flops=totals.flops,
        unsized=(
            *(model for model in all_models if not memo.known[model][1]),
            *dict.fromkeys(scorer.name for scorer in scorers),
        ),
        sources=tuple(
            text for number, each in enumerate(built, 1) for text in describe_sources(number, each.components)
        ),
    )


def _plan_span(
    first: int,
    built: Sequence[_BuiltLayer],
    start: PlanFlow,
    *,
    memo: PlanMemo,
    assumed: TokenAssumptions,
    prices: PriceTable,
) -> tuple[list[LayerPlan], PlanFlow]:
    """Layers that follow one another: the plan of each, and what leaves the last.

    Args:
        first: the number of the first of them.
    """
    needed = _find_needed_candidates([each.components for each in built])
    flow, layers = start, []
    for number, (each, need) in enumerate(zip(built, needed, strict=True), first):
        part = (number, id(each.layer), id(flow), need)
        if part not in memo.parts:
            for component in each.components:
                check_counts(number, component, flow.candidates)
            after = memo.intern(_merge_flows([component.advance_flow(flow, assumed) for component in each.components]))
            judged = flow if need is None else replace(flow, candidates=_limit_least(flow.candidates, need))
            planned = _plan_layer(number, each.components, judged, after=after, assumed=assumed, prices=prices)
            memo.parts[part] = planned, after
        planned, flow = memo.parts[part]
        layers.append(planned)
    return layers, flow


def _place_in_stage(layer: LayerPlan, stage: str, offset: int) -> LayerPlan:
    """A layer's plan behind the stages before it, which take so many sequential calls."""
    return replace(layer, stage=stage, finished=layer.finished + offset) if stage else layer


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
    usage = [
        (component.spec.models if most_calls else (), least, most)
        for component, (_, most_calls), (least, most) in zip(components, calls, tokens, strict=True)
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
        usage=sum_usage([(sum_models(least), sum_models(most)) for least, most in tokens]),
        dollars=sum_known(
            [
                compute_by_model(*each, prices.compute_cost)
                if component.scorer is None
                else _price_scores(component, span)
                for component, span, each in zip(components, calls, usage, strict=True)
            ]
        ),
        windows=tuple(
            check for component in components for check in check_windows(number, component, flow, assumed, prices)
        ),
        beside=components[0].beside,
        leaves=components[0].leaves,
        flops=sum_known(
            [
                compute_by_model(*each, prices.compute_flops) if component.scorer is None else None
                for component, each in zip(components, usage, strict=True)
            ]
        ),
        is_drawn=any(component.scorer is None for component in components),
        fewest=_list_fewest(components),
    )


def _price_scores(component: Component, scores: CountRange) -> tuple[float, float] | None:
    """Dollars of so many scores; None where the price of one is unknown."""
    price = component.scorer.dollars if component.scorer else None
    return None if price is None else (price * scores[0], price * scores[1])


def _list_fewest(components: Sequence[Component]) -> tuple[int, ...]:
    ranges = [component.candidate_range for component in components for _ in component.list_models()]
    return tuple(least for least, _ in ranges) if any(least < most for least, most in ranges) else ()


def format_range(span: tuple[float, float], form: str = ",") -> str:
    """`7`, or `1 to 8` when the least and the most differ."""
    least, most = (format(end, form) for end in span)
    return least if least == most else f"{least} to {most}"
