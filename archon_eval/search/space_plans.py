"""The architectures that the space and the limits leave, each with its plan.

    space = PlannedSpace.build(settings, generators, fusers, turns=1.0)

Layers that many architectures have are built, checked and planned once, so that a space of 100,000 takes seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from archon_eval.architecture.spec import Architecture
from archon_eval.engine.engine import TOOLS_REFUSED, list_tool_obstacles
from archon_eval.engine.plan import Plan, PlanMemo, plan
from archon_eval.errors import ArchitectureError, SearchError
from archon_eval.models.prices import load_prices
from archon_eval.search.config import SearchSettings
from archon_eval.search.space import Array, Configuration, LayerBuilder


@dataclass(frozen=True, slots=True)
class PlannedArchitecture:
    """A configuration of this search with its architecture and its plan."""

    configuration: Configuration
    architecture: Architecture
    plan: Plan


@dataclass(slots=True)
class PlannedSpace:
    """All that may be tried, with what a question takes of each, in the mean of the plan's least and most.

    It only grows: by what is proposed while a search runs, so that a number stands for the same architecture for good.
    """

    options: tuple[PlannedArchitecture, ...]
    calls: tuple[float, ...]
    """Of each option, per answer."""
    last_calls: tuple[float, ...]
    """Of these calls, those of the last layer that asks a model."""
    cost: Array
    """[options], per question, in the objective's unit."""
    notes: tuple[str, ...] = ()
    """What the list does not say by itself."""

    @classmethod
    def build(
        cls,
        settings: SearchSettings,
        generators: Sequence[str],
        fusers: Sequence[str],
        *,
        turns: float,
        with_tools: Sequence[str] = (),
    ) -> "PlannedSpace":
        """
        Args:
            turns: answers per question.
            with_tools: the tasks that offer tools, so that architectures which write texts of their own leave the
                space.

        Raises:
            SearchError: nothing is within the limits.
        """
        options, notes = survey_space(settings, generators, fusers, with_tools=with_tools)
        calls = tuple(fmean(option.plan.calls) for option in options)
        cost = turns * np.array([estimate_cost(settings, option.plan) for option in options])
        last_calls = tuple(map(_count_last_calls, options))
        return cls(tuple(options), calls, last_calls, cost=cost, notes=tuple(notes))

    def add(self, settings: SearchSettings, option: PlannedArchitecture, *, turns: float) -> int:
        """Take in an architecture that was proposed; its number."""
        self.options = (*self.options, option)
        self.calls = (*self.calls, fmean(option.plan.calls))
        self.last_calls = (*self.last_calls, _count_last_calls(option))
        self.cost = np.append(self.cost, turns * estimate_cost(settings, option.plan))
        return len(self.options) - 1

    def select(self, places: Sequence[int]) -> "PlannedSpace":
        """The same with these options alone, in this order."""
        return PlannedSpace(
            options=tuple(self.options[place] for place in places),
            calls=tuple(self.calls[place] for place in places),
            last_calls=tuple(self.last_calls[place] for place in places),
            cost=self.cost[list(places)],
            notes=self.notes,
        )


def _count_last_calls(option: PlannedArchitecture) -> float:
    last = option.plan.last_layer
    return fmean(last.calls) if last is not None else 1.0


def plan_space(
    settings: SearchSettings,
    generators: Sequence[str],
    fusers: Sequence[str],
    *,
    first: bool = False,
    with_tools: Sequence[str] = (),
) -> list[PlannedArchitecture]:
    """Every architecture of the space within the limits, none twice; or only the first of them.

    Raises:
        SearchError: there is none; says which limit excludes them.
    """
    return survey_space(settings, generators, fusers, first=first, with_tools=with_tools)[0]


def survey_space(
    settings: SearchSettings,
    generators: Sequence[str],
    fusers: Sequence[str],
    *,
    first: bool = False,
    with_tools: Sequence[str] = (),
) -> tuple[list[PlannedArchitecture], list[str]]:
    """The same as `plan_space`, with notes on what is not in the list and no limit excludes."""
    space, prices = replace(settings.space, judge=settings.judge), load_prices(settings.prices)
    configurations = space.list_configurations(len(generators))
    if not configurations:
        raise SearchError(
            f"the space has no valid architecture for {len(generators)} models: fewest generators "
            f"{min(space.generators, default=0)}, at most {space.max_candidates} candidates"
        )
    builder, memo = LayerBuilder(space, generators, fusers), PlanMemo()
    options: dict[tuple[int, ...], PlannedArchitecture] = {}
    exceeded: dict[str, list[float]] = {}
    against_rules: dict[str, str] = {}
    refused = 0
    for configuration in configurations:
        identity = tuple(map(id, builder.build_layers(configuration)))
        if identity in options:  # equal layers are the same objects
            continue
        try:
            architecture = builder.build_architecture(configuration)
        except ArchitectureError as exc:
            if not configuration.insert:
                raise
            against_rules[configuration.key] = str(exc)
            continue
        if with_tools and list_tool_obstacles(
            [memo.build(*pair).components for pair in enumerate(architecture.layers, 1)]
        ):
            refused += 1
            continue
        planned = plan(architecture, prices=prices, memo=memo)
        problems = settings.limits.find_exceeded(planned)
        for name, takes in problems.items():
            exceeded.setdefault(name, []).append(takes)
        if not problems:
            options[identity] = PlannedArchitecture(configuration, architecture, planned)
            if first:
                break
    if not options:
        raise SearchError(
            _explain_empty(settings, len(configurations), exceeded, against_rules, with_tools if refused else ())
        )
    return list(options.values()), _describe_against_rules(against_rules)


def _explain_empty(
    settings: SearchSettings,
    count: int,
    exceeded: Mapping[str, Sequence[float]],
    against_rules: Mapping[str, str],
    with_tools: Sequence[str],
) -> str:
    if with_tools and not exceeded:
        return (
            f"{', '.join(with_tools)} offers tools, and every architecture of the space has fusers or unit tests, "
            f"which {TOOLS_REFUSED}: take --space small, or a space with `layers: 0` (no fusion) and `evaluations` "
            "without unit_tests"
        )
    if against_rules and not exceeded:
        return _describe_against_rules(against_rules)[0]
    reasons = ", ".join(
        f"{name} excludes {len(takes)} (of which a prompt may not fit)"
        if name == "context"
        else f"{name} at most {getattr(settings.limits, name):g} excludes {len(takes)} (they take {min(takes):.4g} up)"
        for name, takes in exceeded.items()
    )
    return f"the limits exclude all {count} architectures of the space: {reasons}"


def _describe_against_rules(against_rules: Mapping[str, str]) -> list[str]:
    if not against_rules:
        return []
    name, why = next(iter(against_rules.items()))
    return [
        f"{len(against_rules):,} architectures are left out of the space: with the space's `inserts` they break the "
        f"rules of construction. For example {name}: {why}"
    ]


def describe_overflows(options: Sequence[PlannedArchitecture]) -> str:
    """How many of the architectures may not fit a context window, with an example; empty for none.

    They stay in the space: whether they fit depends on how long replies really are.
    """
    found = {option.configuration.key: warnings[0] for option in options if (warnings := option.plan.warnings)}
    if not found:
        return ""
    name, warning = next(iter(found.items()))
    return (
        f"{len(found):,} of {len(options):,} architectures may not fit a model's context window; they are tried all "
        f"the same. For example {name}: {warning}"
    )


def estimate_cost(settings: SearchSettings, planned: Plan) -> float:
    """Cost per question in the objective's unit, by the plan: the mean of its least and most."""
    tokens = fmean(usage.input_tokens + usage.output_tokens for usage in planned.usage)
    dollars = fmean(planned.dollars) if planned.dollars else None
    return settings.compute_cost(fmean(planned.calls), tokens, dollars, planned=planned)
