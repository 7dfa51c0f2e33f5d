"""Before anything is paid: the questions and their split, and the architectures that the space and the limits leave.

questions = prepare_questions(settings)
space = PlannedSpace.build(settings, generators, fusers, turns=1.0)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from math import inf
from random import Random
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from archon_eval.architecture.spec import Architecture
from archon_eval.engine.engine import TOOLS_REFUSED, list_tool_obstacles
from archon_eval.engine.plan import Plan, PlanMemo, plan
from archon_eval.errors import ArchitectureError, SearchError, did_you_mean
from archon_eval.integrations.build import build_engine
from archon_eval.models.prices import load_prices
from archon_eval.runs.door import DoorChoice
from archon_eval.search.config import LM_EVAL_ARGS, SearchSettings
from archon_eval.search.questions import choose_dev_share, load_questions
from archon_eval.search.space import Array, Configuration, LayerBuilder
from archon_eval.search.trial import QuestionSplits
from archon_eval.tasks._data import DEV_SHARE

MIN_DEV_QUESTIONS = 5
"""With fewer dev questions scores say nothing: one question is worth over 20 points."""
MIN_SHARED_QUESTIONS = 2
"""Fewest questions on either side where the user chose how they are shared out; a difference needs two."""


@dataclass(frozen=True, slots=True)
class PlannedArchitecture:
    """A configuration of this search with its architecture and its plan."""

    configuration: Configuration
    architecture: Architecture
    plan: Plan


@dataclass(frozen=True, slots=True)
class PlannedSpace:
    """All that may be tried, with what a question takes of each, in the mean of the plan's least and most."""

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
        said = (*notes, *filter(None, [describe_overflows(options)]))
        return cls(tuple(options), calls, tuple(map(_count_last_calls, options)), cost=cost, notes=said)


def _count_last_calls(option: PlannedArchitecture) -> float:
    last = option.plan.last_layer
    return fmean(last.calls) if last is not None else 1.0


class PreparedQuestions(NamedTuple):
    """The questions of all tasks."""

    splits: QuestionSplits
    """`trial`, `dev` and `test`."""
    digest: str
    """Of all the data."""
    doors: Mapping[str, DoorChoice]
    """Task -> how architectures answer it."""


def prepare_questions(settings: SearchSettings) -> PreparedQuestions:
    """Each task's questions, split, with the door that its own solver and the settings ask for.

    Raises:
        DataError: a solver argument that a door does not take.
        SearchError: a task that cannot be read, or has too few questions; or what would stop the search later.
    """
    _check_settings(settings)
    splits, digests, doors = {}, [], {}
    for task in settings.tasks:
        loaded = load_questions(task, dict(settings.solver_args), settings.door)
        answers, digest, dev, doors[task.key] = loaded
        dev = choose_dev_share(answers, dev, settings.dev_share) if settings.dev_share else dev
        if settings.dev_share and min(len(dev), len(answers) - len(dev)) < MIN_SHARED_QUESTIONS:
            raise SearchError(
                f"{task.key}: dev_share={settings.dev_share:g} of {len(answers)} questions leaves {len(dev)} for the "
                f"search and {len(answers) - len(dev)} for its report; each needs {MIN_SHARED_QUESTIONS}"
            )
        if not settings.dev_share and (len(dev) < MIN_DEV_QUESTIONS or len(dev) == len(answers)):
            raise SearchError(
                f"{task.key}: {len(answers)} questions leave {len(dev)} for the search and {len(answers) - len(dev)} "
                f"for its report, which says nothing; the search needs {MIN_DEV_QUESTIONS}, a fifth of at least "
                f"{MIN_DEV_QUESTIONS / DEV_SHARE:.0f} questions; with fewer, --dev-share 0.5 (`dev_share:` in a file) "
                "gives it half of them"
            )
        parts = {"dev": [id for id in answers if id in dev], "test": [id for id in answers if id not in dev]}
        order = sorted(parts["dev"], key=lambda id: Random(f"{settings.seed} {id}").random())
        parts["trial"] = order[: settings.trial_questions]
        splits[task.key] = {part: {id: answers[id] for id in chosen} for part, chosen in parts.items()}
        digests.append(digest)
    return PreparedQuestions(splits, " ".join(digests), doors)


def _check_settings(settings: SearchSettings) -> None:
    """Refuse what would otherwise be found out when the ranking of the models is paid.

    Raises:
        SearchError: an unknown argument of the solver, a price that is missing, limits that exclude everything.
    """
    from archon_eval.solvers.archon import archon

    decided = ("architecture", "models", "epoch_offset", "last_draws", "unknown")
    taken = [build_engine if task.harness == "lm-eval" else archon for task in settings.tasks]
    legal = [name for name in signature(archon).parameters if all(name in signature(each).parameters for each in taken)]
    legal = [name for name in legal if name not in decided]
    legal += LM_EVAL_ARGS if archon not in taken else ()
    if unknown := [name for name, _ in settings.solver_args if name not in legal]:
        raise SearchError(f"unknown solver argument {unknown[0]!r}{did_you_mean(unknown[0], legal)}")
    if "budget" in dict(settings.solver_args) and min(settings.budget.calls, settings.budget.dollars) < inf:
        raise SearchError("the budget of the search sets the solver argument 'budget' of each eval: leave one out")
    _check_price_table(settings)
    # what dollars and operations exclude depends on the ranking
    limits = replace(settings.limits, dollars=None, tflops=None)
    if limits != type(limits)():
        plan_space(replace(settings, limits=limits), settings.models, settings.fuser_models, first=True)


def _check_price_table(settings: SearchSettings) -> None:
    """Refuse what the price table does not know and the search must."""
    table, limits = load_prices(settings.prices), settings.limits
    named = [name for _, names in settings.space.roles for name in names if "/" in name]
    models = dict.fromkeys([*settings.models, *settings.fusers, *filter(None, [settings.judge]), *named])
    columns: dict[str, tuple[Callable[[str], Any], dict[str, bool]]] = {
        "a price": (
            table.get_price,
            {
                "a budget in dollars": settings.budget.dollars < inf,
                "a limit in dollars": limits.dollars is not None,
                "cost in dollars": settings.cost_unit == "dollars",
            },
        ),
        "the active parameters": (
            table.get_active_parameters,
            {
                "a limit in tflops": limits.tflops is not None,
                "cost in tflops": settings.cost_unit == "tflops",
            },
        ),
        "the context window": (table.get_context, {"the limit `context`": limits.context}),
    }
    for column, (look_up, uses) in columns.items():
        for what, used in uses.items():
            if used and (unknown := [model for model in models if look_up(model) is None]):
                raise SearchError(f"{what} needs {column} of {', '.join(unknown)}: name it in a price file (--prices)")


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


def describe_split(settings: SearchSettings, splits: QuestionSplits) -> str:
    """What a share of the user's own means for the search's figures; empty without one."""
    if settings.dev_share is None:
        return ""
    sizes = [(len(parts["dev"]), len(parts["test"])) for parts in splits.values()]
    dev, test = sum(size[0] for size in sizes), sum(size[1] for size in sizes)
    worth = f"with {dev} dev and {test} held-out questions one is worth {100 / dev:.1f} and {100 / test:.1f} points"
    mixed = (
        "the dev split is not the usual fifth: scores on the task's own split=test are not held out from this search"
    )
    few = "; so few hardly tell architectures apart" if dev < MIN_DEV_QUESTIONS / DEV_SHARE else ""
    return f"dev_share={settings.dev_share:g}: {worth}{few}; {mixed}"


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
