"""Architectures that are made of a cascade: each stage by itself, and the cascade with what was fitted.

flatten_stage(cascade, 0)                       # the first stage as an architecture of its own
apply_fit(cascade, fitted, learnt=False)        # with the thresholds that were found
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from archon_eval.architecture.option_values import freeze_value
from archon_eval.architecture.spec import Architecture, ComponentSpec, Layer
from archon_eval.architecture.stages import Stage, StageSpan
from archon_eval.components import build_component
from archon_eval.search.cascade_fit import FittedCascade


def flatten_stage(architecture: Architecture, place: int) -> Architecture:
    """A stage as an architecture of its own, behind the stages whose candidates it goes on from."""
    spans, first = architecture.spans, _find_first(architecture, place)
    layers: list[Layer] = []
    for span in spans[first : place + 1]:
        layers += architecture.layers[span.first - 1 : span.last]
    return Architecture(spans[place].stage.name, tuple(layers))


def measure_stage(architecture: Architecture, place: int) -> Architecture:
    """The same with the stage's rule measuring behind it, which is shown what it is shown in the cascade."""
    span, flat = architecture.spans[place], flatten_stage(architecture, place)
    if span.rule is None:
        return flat
    chain = [
        replace(architecture.stages[number], has_rule=number == place, keep=number < place)
        for number in range(_find_first(architecture, place), place + 1)
    ]
    rule = architecture.layers[span.rule - 1]
    return replace(flat, layers=(*flat.layers, rule), stages=tuple(chain), measure_only=True)


def _find_first(architecture: Architecture, place: int) -> int:
    """The place of the stage from whose candidates a stage goes on, by way of others or not; its own where of none."""
    while place and architecture.stages[place - 1].keep:
        place -= 1
    return place


def apply_fit(architecture: Architecture, fitted: FittedCascade, *, learnt: bool) -> Architecture:
    """The cascade with the thresholds and rows that were found, without stages whose answer never stands."""
    spans, router = architecture.spans, architecture.router
    only = router is not None and bool(router.get_option("only"))
    kept = [
        span
        for place, span in enumerate(spans)
        if only or place == len(spans) - 1 or fitted.thresholds[span.stage.name] != math.inf
    ]
    layers: list[Layer] = []
    stages: list[Stage] = []
    for span in kept:
        stages.append(span.stage)
        layers += architecture.layers[span.first - 1 : span.last]
        if span.rule is not None:
            [rule] = architecture.layers[span.rule - 1]
            layers.append((_set_threshold(rule, fitted.thresholds[span.stage.name]),))
    if router is not None:
        layers.insert(0, (_fit_router(router, fitted, kept, learnt=learnt),))
    if len(stages) == 1 and router is None:
        return replace(architecture, name=f"{architecture.name}-tuned", layers=tuple(layers), stages=())
    return replace(architecture, name=f"{architecture.name}-tuned", layers=tuple(layers), stages=tuple(stages))


def _set_threshold(rule: ComponentSpec, threshold: float) -> ComponentSpec:
    options = dict(rule.options)
    if "threshold" in build_component(rule, "accept").kind.options and math.isfinite(threshold):
        options["threshold"] = threshold
    return replace(rule, options=tuple(sorted(options.items())))


def _fit_router(
    router: ComponentSpec, fitted: FittedCascade, kept: Sequence[StageSpan], *, learnt: bool
) -> ComponentSpec:
    """The router with learnt rows; stages that were left out go to the next that is there."""
    names, every = [span.stage.name for span in kept], list(dict(router.get_option("stages")))

    def find_kept(name: str) -> str:
        later = every[every.index(name) :]
        return next((each for each in later if each in names), names[-1])

    options = dict(router.options)
    stages = {name: about for name, about in dict(router.get_option("stages")).items() if name in names}
    rows = [
        {**row, "stage": find_kept(str(row["stage"]))} for row in (fitted.rows if learnt else router.get_option("rows"))
    ]
    options |= {"stages": freeze_value(stages, ""), "rows": freeze_value(rows, "")}
    options["default"] = find_kept(fitted.default if learnt else str(router.get_option("default")))
    return replace(router, options=tuple(sorted(options.items())))
