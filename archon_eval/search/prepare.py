"""Before anything is paid: the questions and their split, and what would stop the search later.

questions = prepare_questions(settings)
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from inspect import signature
from math import inf
from random import Random
from typing import Any, NamedTuple

from archon_eval.architecture.spec import Architecture
from archon_eval.components import build_layer
from archon_eval.errors import SearchError, did_you_mean
from archon_eval.integrations.build import build_engine
from archon_eval.models.prices import load_prices
from archon_eval.models.store_address import refuse_password
from archon_eval.runs.door import DoorChoice
from archon_eval.search.config import LM_EVAL_ARGS, SearchSettings
from archon_eval.search.questions import choose_dev_share, load_questions
from archon_eval.search.space import Configuration, LayerBuilder
from archon_eval.search.space.configuration import END
from archon_eval.search.space_plans import PlannedArchitecture, PlannedSpace, describe_overflows, plan_space
from archon_eval.search.task_facts import TaskFacts
from archon_eval.search.trial import QuestionSplits
from archon_eval.tasks._data import DEV_SHARE

__all__ = [
    "PlannedArchitecture",
    "PlannedSpace",
    "check_requirements",
    "describe_overflows",
    "describe_split",
    "list_required",
    "plan_space",
    "prepare_questions",
]
MIN_DEV_QUESTIONS = 5
"""With fewer dev questions scores say nothing: one question is worth over 20 points."""
MIN_SHARED_QUESTIONS = 2
"""Fewest questions on either side where the user chose how they are shared out; a difference needs two."""


class PreparedQuestions(NamedTuple):
    """The questions of all tasks."""

    splits: QuestionSplits
    """`trial`, `dev` and `test`."""
    digest: str
    """Of all the data."""
    doors: Mapping[str, DoorChoice]
    """Task -> how architectures answer it."""
    facts: Mapping[str, TaskFacts] = {}
    """Task -> what its questions and targets say."""


def prepare_questions(settings: SearchSettings) -> PreparedQuestions:
    """Each task's questions, split, with the door that its own solver and the settings ask for.

    Raises:
        DataError: a solver argument that a door does not take.
        SearchError: a task that cannot be read, or has too few questions; or what would stop the search later.
    """
    _check_settings(settings)
    splits, digests, doors, facts = {}, [], {}, {}
    for task in settings.tasks:
        loaded = load_questions(task, dict(settings.solver_args), settings.door)
        answers, digest, dev, doors[task.key], facts[task.key] = loaded
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
    return PreparedQuestions(splits, " ".join(digests), doors, facts)


def _check_settings(settings: SearchSettings) -> None:
    """Refuse what would otherwise be found out when the ranking of the models is paid.

    Raises:
        SearchError: an unknown argument of the solver, a price that is missing, limits that exclude everything.
        StoreError: the store's address has a password, or is none.
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
    if store := dict(settings.solver_args).get("store"):
        refuse_password(str(store))
    _check_price_table(settings)
    # what dollars and operations exclude depends on the ranking
    limits = replace(settings.limits, dollars=None, tflops=None)
    if limits != type(limits)():
        plan_space(replace(settings, limits=limits), settings.models, settings.fuser_models, first=True)


def _check_price_table(settings: SearchSettings) -> None:
    """Refuse what the price table does not know and the search must."""
    table, limits = load_prices(settings.prices), settings.limits
    judge = [settings.judge] if settings.judge else []
    models = dict.fromkeys([*settings.models, *settings.fusers, *judge, *settings.space.named_models])
    models |= dict.fromkeys([settings.proposer] if settings.proposer else [])
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


def list_required(settings: SearchSettings) -> list[Architecture]:
    """Architectures of the space that have all components which need something of the machine, such as programs do."""
    space = settings.space
    pool = space.pools[0][0] if space.pools else ""
    plain = Configuration(1, fusers=(), critic_ranker=False, temperature=space.temperatures[0], pool=pool)
    tried = [replace(plain, insert=(insert.name, END)) for insert in space.inserts if insert.place]
    if "executed_tests" in space.evaluations:
        tried.append(replace(plain, evaluation="executed_tests"))
    builder = LayerBuilder(replace(space, judge=settings.judge), settings.models, settings.fuser_models)
    return [Architecture.from_checked_layers("required", builder.build_layers(each)) for each in tried]


def check_requirements(architectures: Iterable[Architecture]) -> None:
    """Refuse architectures whose programs cannot be run here, before the ranking of the models is paid.

    Raises:
        SandboxError: names `archon sandbox doctor`.
    """
    for architecture in architectures:
        for number, layer in enumerate(architecture.layers, 1):
            for component in build_layer(number, layer):
                component.check_requirements()


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
