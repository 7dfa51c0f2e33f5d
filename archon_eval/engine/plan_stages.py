"""What a plan says of a cascade: the least is its cheapest way, the most is its dearest.

A way begins at the stage that is asked first (with a router, any that it can choose) and ends at the first whose answer
stands, or at the last. Of an architecture that is no cascade there is one way, through all layers.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from archon_eval.architecture.spec import Architecture
from archon_eval.architecture.stages import list_targets
from archon_eval.components.acceptance import AcceptRule, find_drawn_layer
from archon_eval.components.component import Component
from archon_eval.components.token_estimates import CountRange, PlanFlow
from archon_eval.engine.plan_sums import sum_known
from archon_eval.errors import ArchitectureError
from archon_eval.models.call import Usage

if TYPE_CHECKING:
    from archon_eval.engine.plan import LayerPlan


class WayTotals(NamedTuple):
    """Sums over the layers of a way; every pair is (least, most) over all ways."""

    calls: CountRange
    usage: tuple[Usage, Usage]
    dollars: tuple[float, float] | None
    flops: tuple[float, float] | None


def check_stage_rules(architecture: Architecture, layers: Sequence[Sequence[Component]]) -> None:
    """Check that the rule of each stage has something to measure.

    Raises:
        ArchitectureError: a rule that has not.
    """
    for span in architecture.spans:
        rule = layers[span.rule - 1][0] if span.rule is not None else None
        if isinstance(rule, AcceptRule) and (problem := rule.check_stage(layers[span.first - 1 : span.last])):
            raise ArchitectureError(f"architecture {architecture.name!r}, stage {span.stage.name}, accept: {problem}")


def choose_shown_flow(
    flow: PlanFlow, planned: "Sequence[LayerPlan]", components: Sequence[Sequence[Component]]
) -> PlanFlow:
    """What the rule of a stage is shown: what leaves the stage, or the candidates as they were made.

    Args:
        components: of the stage's layers and its rule.
    """
    *own, [rule] = components
    if not (isinstance(rule, AcceptRule) and rule.reads_drawn):
        return flow
    return replace(flow, candidates=planned[find_drawn_layer(own)].candidates)


def list_ways(architecture: Architecture) -> list[list[int]]:
    """The numbers of the layers of each way that an answer can come about."""
    spans, router = architecture.spans, architecture.router
    if not architecture.stages:
        return [[*range(1, len(architecture.layers) + 1)]]
    targets = list_targets(architecture.stages) if router is not None else [spans[0].stage.name]
    only = router is not None and bool(router.get_option("only"))
    ways: list[list[int]] = []
    for start, span in enumerate(spans):
        if span.stage.name not in targets:
            continue
        way = [1] if router is not None else []
        for place in range(start, len(spans)):
            own, is_last = spans[place], only or place == len(spans) - 1
            way = [*way, *range(own.first, own.last + 1)]
            if own.rule is not None and (not is_last or architecture.measure_only):
                way = [*way, own.rule]
            if is_last or not architecture.measure_only:
                ways.append(way)
            if is_last:
                break
    return ways


def sum_stages(architecture: Architecture, layers: "Sequence[LayerPlan]") -> WayTotals:
    """What the cheapest and the dearest way take, each figure for itself."""
    ways = list_ways(architecture)

    def find_ends(read: Callable[["LayerPlan"], tuple[float, float]]) -> tuple[float, float]:
        sums = [[read(layers[number - 1]) for number in way] for way in ways]
        return min(sum(low for low, _ in way) for way in sums), max(sum(high for _, high in way) for way in sums)

    def find_known(read: Callable[["LayerPlan"], tuple[float, float] | None]) -> tuple[float, float] | None:
        if sum_known([read(layer) for layer in layers]) is None:
            return None
        least, most = find_ends(lambda layer: read(layer) or (0.0, 0.0))
        return float(least), float(most)

    calls = find_ends(lambda layer: layer.calls)
    tokens_in = find_ends(lambda layer: (layer.usage[0].input_tokens, layer.usage[1].input_tokens))
    tokens_out = find_ends(lambda layer: (layer.usage[0].output_tokens, layer.usage[1].output_tokens))
    least, most = (Usage(int(tokens_in[end]), int(tokens_out[end])) for end in (0, 1))
    return WayTotals(
        calls=(int(calls[0]), int(calls[1])),
        usage=(least, most),
        dollars=find_known(lambda layer: layer.dollars),
        flops=find_known(lambda layer: layer.flops),
    )


def find_longest_way(architecture: Architecture, layers: "Sequence[LayerPlan]") -> int:
    """Sequential calls of the longest way."""
    ends = {number: layers[number - 1].finished for number in range(1, len(layers) + 1)}
    longest = 0
    for way in list_ways(architecture):
        first = way[1] if architecture.router is not None else way[0]
        begins = next(span for span in architecture.spans if span.first == first)
        routed = layers[0].finished if architecture.router is not None else 0
        before = max((ends[number] for number in ends if number < begins.first), default=0)
        longest = max(longest, routed + max(ends[number] for number in way) - max(before, routed))
    return longest


def describe_stages(architecture: Architecture, layers: "Sequence[LayerPlan]") -> list[str]:
    """What a reader must know of the ways before paying, in sentences."""
    notes, spans, router = list[str](), architecture.spans, architecture.router
    only = router is not None and bool(router.get_option("only"))
    if router is not None:
        what = "the only stage that is asked" if only else "the stage that is asked first"
        notes.append(f"the router chooses {what}; without a choice it is {router.get_option('default')}")
    if architecture.measure_only:
        return [*notes, "its rules only measure: every stage is asked, and the answer is the last one's"]
    if not only:
        notes += [
            f"stage {later.stage.name} is asked only where {layers[span.rule - 1].kind} does not accept the answer of "
            f"{span.stage.name}"
            for span, later in pairwise(spans)
            if span.rule is not None
        ]
        notes += [
            f"stage {span.stage.name} has no threshold yet: `archon tune` finds one"
            for span in spans
            if span.rule is not None and _lacks_threshold(architecture, span.rule)
        ]
    if _may_share(architecture):
        notes.append("equal calls of two stages are paid once, so the most may be less than is said here")
    return notes


def _lacks_threshold(architecture: Architecture, number: int) -> bool:
    from archon_eval.components import build_component

    rule = build_component(architecture.layers[number - 1][0], f"layer {number}")
    return isinstance(rule, AcceptRule) and rule.needs_threshold and rule.threshold is None


def _may_share(architecture: Architecture) -> bool:
    """Whether two stages ask one model for answers to the question itself with the same settings."""
    asked = [
        {(spec.model, spec.settings) for spec in architecture.layers[span.first - 1] if spec.kind == "generator"}
        for span in architecture.spans
    ]
    return any(one & other for place, one in enumerate(asked) for other in asked[place + 1 :])
