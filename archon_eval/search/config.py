"""What a search is asked to do: tasks, models, limits, objective, budget. Everything that decides its outcome.

    load_settings({"tasks": "archon_eval/math", "models": "openai/gpt-4o,openai/gpt-4o-mini", "space": "small"})

Two searches with the same `identity` may share a folder: the second goes on where the first stopped. The annotations
of the fields say what a search file may hold; `load_settings` checks all of them at once.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from statistics import fmean
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainValidator,
    StrictBool,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import ErrorDetails

from archon_eval._deprecated import move_renamed_option
from archon_eval.architecture.file_lines import Lines, find_line
from archon_eval.engine.plan import Plan
from archon_eval.errors import ArchonError, SearchError, did_you_mean
from archon_eval.runs.door import DoorOption
from archon_eval.search.optimizer import INITIAL_DESIGN_SIZE, INITIAL_LAST_DRAWS, MAX_DRAW_SETS
from archon_eval.search.setting_identity import drop_later_defaults, hash_json
from archon_eval.search.setting_parts import FORM, TERA, ArchitectureLimits, Harness, SearchBudget, TaskSpec
from archon_eval.search.setting_types import (
    CostWeight,
    Count,
    Pairs,
    Share,
    check_algorithm,
    parse_models,
    parse_solver_args,
    parse_tasks,
)
from archon_eval.search.space import Space, load_space
from archon_eval.search.space.layout import RANK
from archon_eval.search.user_optimizers import ALGORITHMS

__all__ = ["ArchitectureLimits", "SearchBudget", "SearchSettings", "TaskSpec", "load_settings"]

CostUnit = Literal["calls", "kilotokens", "dollars", "latency", "tflops"]
Acquisition = Literal["kg", "ei", "pi", "ucb"]
Questions = Literal["all", "informative"]
CONFIRM_LAST_DRAWS = 3
"""Draws of the last layer of a finalist where the search chooses: the cheapest part of its luck."""
InitialDesign = Literal["spread", "random"]
RENAMED_SETTINGS = {"given_order": "skip_ranking"}
"""Old name in a search file -> the name now; the old ones go with the next release."""
LM_EVAL_ARGS = ("num_concurrent", "max_connections", "max_retries", "timeout")
"""Arguments that only lm-eval's model has; they change no answer."""
_NEUTRAL_SOLVER_ARGS = ("store", "store_policy", "trace", "prices", "budget", *LM_EVAL_ARGS)
"""Arguments of the solver that change no answer."""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """One search."""

    __pydantic_config__ = FORM
    tasks: Annotated[tuple[TaskSpec, ...], BeforeValidator(parse_tasks)]
    models: Annotated[tuple[str, ...], PlainValidator(parse_models)]
    fusers: Annotated[tuple[str, ...], PlainValidator(parse_models)] = ()
    """The models that may fuse; empty for all models."""
    judges: Annotated[tuple[str, ...], PlainValidator(parse_models)] = ()
    """The model that judges candidates in every architecture, in place of the space's `judge`; at most one."""
    space: Annotated[Space, PlainValidator(lambda space: space if isinstance(space, Space) else load_space(space))] = (
        field(default_factory=Space)
    )
    limits: ArchitectureLimits = field(default_factory=ArchitectureLimits)
    budget: SearchBudget = field(default_factory=lambda: SearchBudget(trials=100))
    algorithm: Annotated[StrictStr, AfterValidator(check_algorithm)] = "smac"
    """One of `ALGORITHMS`, or an optimizer of the user's own (`user_optimizers`)."""
    proposer: Annotated[StrictStr, BeforeValidator(lambda name: name or "")] = ""
    """Of algorithm `proposer`: the model that proposes architectures; empty for the best generator."""
    initial_points: Count = INITIAL_DESIGN_SIZE
    """Architectures that are tried before the surrogate chooses (the papers: 230 to 240)."""
    initial_design: InitialDesign = "spread"
    """How these are chosen: far from each other, or at random, as the papers do."""
    acquisition: Acquisition = "kg"
    """What a trial teaches per call (knowledge gradient), or as in v1 A.6.4: expected improvement, its probability, or
    an upper confidence bound."""
    xi: CostWeight = 0.0
    """Performance that an improvement must bring over the best, for `ei` and `pi`."""
    kappa: CostWeight = 2.0
    """Deviations that `ucb` adds to the mean."""
    cost_weight: CostWeight = 0.0
    """Lambda: performance (0 to 1) that one unit of cost per question must bring."""
    cost_unit: CostUnit = "calls"
    pareto: StrictBool = False
    """Look for the set of architectures of which none is both better and cheaper (in `cost_unit`) than another."""
    finalists: Count = 10
    draws: Count | None = None
    """Sets of draws that trials take: fewer share more calls, more average out the luck of shared draws. None: as many
    as pay, up to 8."""
    last_draws: Count | None = None
    """Draws of an architecture's last layer per trial, which share all calls before it. None: as many as pay."""
    questions: Questions = "all"
    """Which dev questions trials ask: all, or those that still tell architectures apart. Finalists are asked all."""
    confirm_epochs: Count = 2
    """Fresh draws per question for each finalist."""
    trial_questions: Count | None = None
    """Dev questions per trial; finalists always answer all of them."""
    dev_share: Share | None = None
    """The share of questions that the search sees, for tasks with few; None for the fifth that all searches share."""
    skip_ranking: StrictBool = False
    """Take the models as ranked already, best first, without a ranking stage."""
    seed: StrictInt = 0
    solver_args: Annotated[tuple[tuple[str, Any], ...], BeforeValidator(parse_solver_args)] = ()
    """Further arguments of the `archon` solver, e.g. `store`."""
    model_roles: Pairs = ()
    """Roles of the task's scorers, e.g. a judge. Their calls have limits of their own in the budget."""
    prices: StrictStr | None = None
    door: DoorOption = "auto"
    """How architectures answer a task (`archon_eval.runs.door`)."""

    def __post_init__(self) -> None:
        if problems := _find_contradictions(self):
            raise SearchError("; ".join(problems))

    @property
    def fuser_models(self) -> tuple[str, ...]:
        """The models that may fuse, as they are given."""
        return self.fusers or self.models

    @property
    def identity(self) -> str:
        """A hash of all that decides which trials are run; budget and the finalists' number may change on a resume."""
        return hash_json(self._identity_fields)

    @property
    def digests(self) -> dict[str, str]:
        """The same of each setting, to say which one differs."""
        return {name: hash_json(value) for name, value in self._identity_fields.items()}

    @property
    def _identity_fields(self) -> dict[str, Any]:
        plain = replace(self, budget=SearchBudget(), finalists=1).to_mapping()
        del plain["budget"]["judge_calls"], plain["budget"]["judge_dollars"]  # a search from before them is the same
        del plain["prices"], plain["door"]  # which doors came of it is in the journal
        drop_later_defaults(plain, {field.name: field.default for field in fields(SearchSettings)})
        plain["tasks"] = [
            {
                name: value
                for name, value in task.items()
                if value is not None and (name, value) != ("harness", "inspect")
            }
            for task in plain["tasks"]
        ]  # scorer, metric and harness: a search from before them is the same without
        plain["draws"] = self.draws or 3  # what was the default, so that such a search can be gone on with
        for name in ("fusers", "dev_share"):  # a search from before them is the same without
            if not plain[name]:
                del plain[name]
        del plain["judges"]
        plain["space"]["judge"] = self.judge or ("" if self.skip_ranking or len(self.models) == 1 else "best fuser")
        plain["solver_args"] = {name: value for name, value in self.solver_args if name not in _NEUTRAL_SOLVER_ARGS}
        return plain

    @property
    def trial_draws(self) -> int:
        """The last set of draws that a trial may take; finalists take those after it."""
        return self.draws or MAX_DRAW_SETS

    @property
    def confirm_last_draws(self) -> int:
        """Draws of the last layer of each finalist per set of draws; one where trials have one."""
        return self.last_draws or (CONFIRM_LAST_DRAWS if self.chooses_draws else 1)

    @property
    def initial_last_draws(self) -> int:
        """Draws of the last layer of each of the first trials."""
        return self.last_draws or (INITIAL_LAST_DRAWS if self.chooses_draws and not self.pareto else 1)

    @property
    def chooses_draws(self) -> bool:
        """Whether the acquisition function chooses sets of draws and draws of the last layer."""
        return self.algorithm == "smac" and self.acquisition == "kg"

    @property
    def judge(self) -> str:
        """The model that judges candidates; empty for the best fuser."""
        return self.judges[0] if self.judges else self.space.judge

    def to_mapping(self) -> dict[str, Any]:
        """Plain values under the names that summaries and journals have had from the first: they are read later."""
        recorded = {new: old for old, new in RENAMED_SETTINGS.items()}
        return {recorded.get(name, name): value for name, value in asdict(self).items()}

    def compute_cost(
        self, calls: float, tokens: float, dollars: float | None, *, planned: Plan, turns: float = 1.0
    ) -> float:
        """Cost per question in the objective's unit.

        Args:
            planned: its plan per answer, which has latency and operations; no account of a run does.
            turns: answers per question.

        Raises:
            SearchError: dollars or operations are asked for and unknown.
        """
        if self.cost_unit == "latency":
            return turns * planned.sequential
        if self.cost_unit == "tflops":
            if planned.flops is None:
                raise SearchError(
                    f"cost in tflops needs the active parameters of {', '.join(planned.unsized)}: name them in a price "
                    "file (--prices)"
                )
            return turns * fmean(planned.flops) / TERA
        if self.cost_unit != "dollars":
            return calls if self.cost_unit == "calls" else tokens / 1000
        if dollars is None:
            raise SearchError("cost in dollars needs a price for every model: add them to a price file (--prices)")
        return dollars

    def compute_objective(self, performance: float, cost: float) -> float:
        """What the search maximises (v6 section 3.3): performance minus lambda times cost."""
        return performance - self.cost_weight * cost


def _find_contradictions(settings: SearchSettings) -> list[str]:
    """What no field shows by itself."""
    problems, models = [], settings.models
    if not settings.tasks:
        problems.append("no task: name one, e.g. --task archon_eval/math")
    if not models:
        problems.append("no model: name them, e.g. --models openai/gpt-4o,openai/gpt-4o-mini or --models sim/pool")
    for what, names in (("models", models), ("fusers", settings.fusers)):
        if len(set(names)) < len(names):
            problems.append(f"{what} are named twice: {', '.join(names)}")
    if len(settings.judges) > 1:
        problems.append(f"judges={','.join(settings.judges)}: one model judges in an architecture of a search")
    if settings.judges and settings.space.judge:
        problems.append(f"judges={settings.judges[0]}, and the space's judge is {settings.space.judge}: leave one out")
    keys = [task.key for task in settings.tasks]
    for task in settings.tasks:
        if task.harness == "lm-eval" and settings.model_roles:
            problems.append(f"task {task.key}: model_roles are for tasks of Inspect: lm-eval has no roles")
        if task.harness == "lm-eval":
            continue
        if task.metric and re.fullmatch(r"pass[@_](at_)?\d+", task.metric) and not task.metric.endswith(("@1", "_1")):
            problems.append(
                f"task {task.key}: metric {task.metric} needs several answers; a trial asks each question once"
            )
    if twice := [key for key in keys if keys.count(key) > 1]:
        problems.append(f"task {twice[0]} is named twice: give it more `weight` instead")
    for name, members in settings.space.pools:
        if missing := [model for model in members if model not in models]:
            problems.append(f"pool {name!r}: {missing[0]} is none of the models{did_you_mean(missing[0], models)}")
        if not members:
            problems.append(f"pool {name!r} is empty")
    if settings.pareto and settings.budget.epsilon is not None:
        problems.append("budget: epsilon is about one best architecture, and pareto looks for a set: leave one out")
    return [*problems, *_find_search_contradictions(settings)]


def _find_search_contradictions(settings: SearchSettings) -> list[str]:
    """Settings that the algorithm does not have, and ranks of models that there are not."""
    problems = []
    chosen = {"acquisition": "kg", "last_draws": None, "xi": 0.0, "kappa": 2.0, "initial_design": "spread"}
    for name, default in chosen.items():
        if settings.algorithm in ALGORITHMS[1:] and (value := getattr(settings, name)) != default:
            problems.append(f"{name}={value}: only algorithm smac has it, and this one is {settings.algorithm}")
    if settings.proposer and settings.algorithm in ALGORITHMS and settings.algorithm != "proposer":
        problems.append(f"proposer={settings.proposer}: only algorithm proposer has it, not {settings.algorithm}")
    if settings.pareto and settings.acquisition not in ("kg", "ei"):
        problems.append(f"acquisition={settings.acquisition}: with pareto it is ei, cost weighing otherwise each time")
    sizes = {"generator": len(settings.models), "fuser": len(settings.fuser_models)}
    for role, names in settings.space.roles:
        for name in names:
            if (match := RANK.fullmatch(name)) and match["list"] and int(match["number"]) > sizes[match["list"]]:
                problems.append(f"space: roles: {role}: {name}, and there are {sizes[match['list']]} to rank")
    return problems


def load_settings(data: Mapping[str, Any], where: str = "search", *, lines: Lines | None = None) -> SearchSettings:
    """SearchSettings from a mapping, as a search file holds it; nested like the fields of `SearchSettings`.

    Args:
        lines: where the file has each value, for messages.

    Raises:
        SearchError: unknown keys and values that are not legal, all of them, with their lines.
    """
    if not isinstance(data, Mapping):
        raise SearchError(f"{where} must be a mapping, not {data!r}")
    values = {"tasks": (), "models": (), **data}
    given_names = {new: old for old, new in RENAMED_SETTINGS.items() if old in values}
    for old, new in RENAMED_SETTINGS.items():
        try:
            move_renamed_option(values, old, new)
        except ArchonError as exc:
            raise SearchError(f"{where}: {exc}") from None
    try:
        return TypeAdapter(SearchSettings).validate_python(values)
    except ValidationError as exc:
        errors = exc.errors()
        for error in errors:  # under the name that the user knows
            error["loc"] = (*(given_names.get(str(name), name) for name in error["loc"][:1]), *error["loc"][1:])
        located = [(find_line(error["loc"], lines or {}), error) for error in errors]
        located.sort(key=lambda pair: pair[0])
        raise SearchError("\n".join(_describe_error(error, where, line) for line, error in located)) from exc


_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "dataclass_type": "a mapping",
}
_OWNERS: dict[Any, Any] = {"tasks": TaskSpec, "limits": ArchitectureLimits, "budget": SearchBudget}


def _describe_error(error: ErrorDetails, where: str, line: int) -> str:
    """`my.yaml, line 7: budget: unknown key 'call'; did you mean 'calls'?`"""
    path, kind, value = error["loc"], error["type"], error["input"]
    if not path:  # a contradiction between fields
        return str(error["ctx"]["error"])
    name, owner = path[-1], ".".join(map(str, path[:-1]))
    place = where + (f", line {line}" if line else "") + (f": {owner}" if owner else "")
    if kind == "unexpected_keyword_argument":
        legal = [legal.name for legal in fields(_OWNERS[path[0]] if owner else SearchSettings)]
        return f"{place}: unknown key {name!r}{did_you_mean(str(name), legal)}"
    if kind == "literal_error":
        literals: Mapping[str, Any] = {
            "door": DoorOption,
            "harness": Harness,
            "acquisition": Acquisition,
            "questions": Questions,
            "initial_design": InitialDesign,
        }
        legal = list(get_args(literals.get(str(name), CostUnit)))
        return f"{place}: unknown {str(name).replace('_', ' ')} {value!r}{did_you_mean(str(value), legal)}"
    if kind == "missing":
        return f"{place}: a task needs `name:`, e.g. archon_eval/math; got {value!r}"
    if kind == "range":
        return f"{place}: {name}={value}: {error['msg']}"
    if kind == "value_error":
        return f"{place}: {error['ctx']['error']}"
    if kind == "whole":
        return f"{place}: {error['msg']}"
    expected = error["msg"] if kind == "expected" else _EXPECTED.get(kind, error["msg"])
    return f"{place}: `{name}` must be {expected}, not {value!r}"
