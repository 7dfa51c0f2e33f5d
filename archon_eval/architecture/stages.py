"""Cascades: stages of layers that are asked one after the other, until a stage's rule accepts its answer.

An architecture's layers stay one flat tuple: the router, where there is one, then each stage's layers and its rule.
Everything that walks layers so sees those of all stages. The stages say where each begins and ends.

>>> [span.first for span in locate_stages([Stage("cheap", 2, has_rule=True), Stage("strong", 1)], has_router=False)]
[1, 4]
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archon_eval.architecture.component_types import resolve_component_type
from archon_eval.architecture.rules import find_broken_rules, find_carry_problem
from archon_eval.errors import did_you_mean

if TYPE_CHECKING:
    from archon_eval.architecture.spec import Layer

ROUTER = "router"
"""The kind of the component that chooses the stage which is asked first."""
STAGE_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,59}")
"""What a stage may be called: a word, since models and tables name stages."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a cascade."""

    name: str
    depth: int
    """How many layers it has, its rule apart."""
    has_rule: bool = False
    """Whether a rule decides, in a layer of its own behind the stage's, if its answer stands."""
    keep: bool = False
    """Whether its candidates go on to the next stage where its answer does not stand."""
    description: str = ""
    """What it is good for, as a model that routes is told."""


@dataclass(frozen=True, slots=True)
class StageSpan:
    """Where a stage's layers stand; numbers count from 1."""

    stage: Stage
    first: int
    last: int
    """The number of its last layer, its rule apart."""
    rule: int | None
    """The number of its rule's layer."""


def locate_stages(stages: Sequence[Stage], *, has_router: bool) -> tuple[StageSpan, ...]:
    """The place of each stage among the layers."""
    spans, number = [], 1 + has_router
    for stage in stages:
        last = number + stage.depth - 1
        spans.append(StageSpan(stage, number, last, last + 1 if stage.has_rule else None))
        number = last + 1 + stage.has_rule
    return tuple(spans)


def find_broken_stage_rules(layers: "Sequence[Layer]", stages: Sequence[Stage], measure_only: bool) -> list[str]:
    """Every rule of construction that a cascade breaks, each naming its stage; empty when all hold.

    Args:
        measure_only: whether the rules of its stages only measure, so that the last may have one.
    """
    router = layers[0][0] if layers and layers[0] and layers[0][0].kind == ROUTER else None
    spans = locate_stages(stages, has_router=router is not None)
    problems = _check_names(stages)
    only = router is not None and bool(router.get_option("only"))
    for place, span in enumerate(spans):
        stage, is_last, where = span.stage, place == len(spans) - 1, f"stage {span.stage.name}"
        continues = place > 0 and stages[place - 1].keep
        own = layers[span.first - 1 : span.last]
        problems += [f"{where}: {problem}" for problem in find_broken_rules(own, continues=continues)]
        if continues and (problem := _check_kept(layers, spans[place - 1], own)):
            problems.append(f"{where}: {problem}")
        if span.rule is not None:
            problems += _check_rule(where, layers[span.rule - 1], own)
        if is_last and stage.has_rule and not measure_only:
            problems.append(f"{where} is the last, whose answer always stands: leave out its `accept`")
        if is_last and stage.keep:
            problems.append(f"{where} is the last, so nobody takes its candidates: leave out its `keep`")
        if not is_last and not stage.has_rule and not only and not measure_only:
            problems.append(
                f"{where} has no `accept`, so no later stage would ever be asked: give it a rule, or a `router` with "
                "`only: true`, whose choice is the only stage that is asked"
            )
        if only and stage.has_rule and not measure_only:
            problems.append(f"{where} has `accept`, and with `only: true` of the router no rule is asked: leave it out")
        if only and stage.keep:
            problems.append(f"{where} has `keep`, and with `only: true` of the router no stage follows it")
    return problems + (_check_router(router, stages) if router is not None else [])


def list_targets(stages: Sequence[Stage]) -> list[str]:
    """The names of the stages that can be asked first: not those that go on from another's candidates."""
    return [stage.name for place, stage in enumerate(stages) if not (place and stages[place - 1].keep)]


def _check_names(stages: Sequence[Stage]) -> list[str]:
    names = [stage.name for stage in stages]
    problems = [
        f"stage {name!r}: a name is a word of letters, digits, `_`, `-` and `.`, of at most 60 characters"
        for name in names
        if not STAGE_NAME.fullmatch(name)
    ]
    return problems + [
        f"{names.count(name)} stages are called {name!r}" for name in dict.fromkeys(names) if names.count(name) > 1
    ]


def _check_kept(layers: "Sequence[Layer]", before: StageSpan, own: "Sequence[Layer]") -> str:
    """Why a stage cannot begin with what leaves the stage before it."""
    last = layers[before.last - 1] if before.stage.depth else ()
    if not (last and own and own[0]):  # said elsewhere
        return ""
    return find_carry_problem(last, own[0], 1, f"layer {before.stage.depth} of stage {before.stage.name}")


def _check_rule(where: str, rule: "Layer", own: "Sequence[Layer]") -> list[str]:
    spec = rule[0]
    described = resolve_component_type(spec.kind, where)
    problems = [f"{where}, accept: {problem}" for problem in find_broken_rules([rule], is_rule=True)]
    if described.reads_tests and not any(resolve_component_type(layer[0].kind, where).follows_tests for layer in own):
        problems.append(f"{where}: its `accept` counts passed tests, and no layer of it is a unit_test_evaluator")
    return problems


def _check_router(router: "object", stages: Sequence[Stage]) -> list[str]:
    from archon_eval.architecture.spec import ComponentSpec

    assert isinstance(router, ComponentSpec)
    targets, problems = list_targets(stages), list[str]()
    named = [str(row["stage"]) for row in router.get_option("rows") or ()]
    for name in dict.fromkeys([*named, str(router.get_option("default"))]):
        if name in targets:
            continue
        if name in [stage.name for stage in stages]:
            problems.append(
                f"router: stage {name!r} goes on from another stage's candidates, so it cannot be the first"
            )
        else:
            problems.append(f"router: there is no stage {name!r}{did_you_mean(name, targets)}")
    return problems
