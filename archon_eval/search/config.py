"""What a search is asked to do: tasks, models, limits, objective, budget. Everything that decides its outcome.

    load_settings({"tasks": "archon_eval/math", "models": "openai/gpt-4o,openai/gpt-4o-mini", "space": "small"})

Two searches with the same `identity` may share a folder: the second goes on where the first stopped. The annotations
of the fields say what a search file may hold; `load_settings` checks all of them at once.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import sha256
from math import inf
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BeforeValidator,
    ConfigDict,
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
from archon_eval.runs.performance import normalize_score
from archon_eval.search.setting_types import (
    CostWeight,
    Count,
    Limit,
    Pairs,
    Scale,
    Share,
    Weight,
    parse_models,
    parse_solver_args,
    parse_task_args,
    parse_tasks,
)
from archon_eval.search.space import Space, load_space

Algorithm = Literal["smac", "random", "greedy", "smac-stock"]
Harness = Literal["inspect", "lm-eval"]
CostUnit = Literal["calls", "kilotokens", "dollars"]
ALGORITHMS: tuple[str, ...] = get_args(Algorithm)
RENAMED_SETTINGS = {"given_order": "skip_ranking"}
"""Old name in a search file -> the name now; the old ones go with the next release."""
LM_EVAL_ARGS = ("num_concurrent", "max_connections", "max_retries", "timeout")
"""Arguments that only lm-eval's model has; they change no answer."""
_NEUTRAL_SOLVER_ARGS = ("store", "store_policy", "trace", "prices", "budget", *LM_EVAL_ARGS)
"""Arguments of the solver that change no answer."""
_FORM = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A benchmark, and how its scores count."""

    __pydantic_config__ = _FORM
    name: StrictStr
    """As Inspect finds it: `archon_eval/math`, `my_tasks.py@name`."""
    args: Annotated[tuple[tuple[str, Any], ...], BeforeValidator(parse_task_args)] = ()
    """Task parameters (`-T`), without `split`: the search splits by itself."""
    weight: Weight = 1.0
    scale: Scale = (0.0, 1.0)
    """The scores that count as 0 and as 1, e.g. (1, 10) for grades; the metric's own bounds where it has others."""
    scorer: StrictStr | None = None
    """Which scorer counts, `NAME` or `NAME/KEY`; None for the first."""
    metric: StrictStr | None = None
    """Which of its metrics counts; None for the benchmark's own."""
    harness: Harness = "inspect"
    """Whose task it is. Of lm-eval's the scorer is a filter, and `args` are options such as `num_fewshot`."""

    @property
    def key(self) -> str:
        """The task with its parameters, for records."""
        ending = "" if self.harness == "inspect" else f" ({self.harness})"
        return self.name + "".join(f",{name}={value}" for name, value in self.args) + ending

    def normalize(self, score: float) -> float:
        """The score between 0 and 1.

        Raises:
            SearchError: a score outside the scale.
        """
        return normalize_score(score, self)


@dataclass(frozen=True, slots=True)
class ArchitectureLimits:
    """What an architecture may cost per question at most (plan's worst case, re-asks apart); None for no limit."""

    __pydantic_config__ = _FORM
    calls: Limit | None = None
    input_tokens: Limit | None = None
    output_tokens: Limit | None = None
    dollars: Limit | None = None
    latency: Limit | None = None
    """Model calls that wait for each other: the longest chain."""

    def find_exceeded(self, plan: Plan) -> dict[str, float]:
        """The limits that the planned architecture exceeds, with what it takes.

        Raises:
            SearchError: a dollar limit and a model without a price.
        """
        if self.dollars is not None and plan.dollars is None:
            raise SearchError(
                f"a dollar limit needs a price of {', '.join(plan.unpriced)}: name it in a price file (--prices)"
            )
        cost = {
            "calls": plan.calls[1],
            "input_tokens": plan.usage[1].input_tokens,
            "output_tokens": plan.usage[1].output_tokens,
            "dollars": plan.dollars[1] if plan.dollars else 0.0,
            "latency": plan.sequential,
        }
        limits = {limit.name: getattr(self, limit.name) for limit in fields(self)}
        return {name: cost[name] for name, limit in limits.items() if limit is not None and cost[name] > limit}


@dataclass(frozen=True, slots=True)
class SearchBudget:
    """What the whole search may spend: exact for calls and dollars, between trials for the others."""

    __pydantic_config__ = _FORM
    calls: Limit = inf
    """Model calls paid (calls answered from the call store are free)."""
    dollars: Limit = inf
    trials: Limit = inf
    """Architectures tried in the search stage."""
    seconds: Limit = inf


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """One search."""

    __pydantic_config__ = _FORM
    tasks: Annotated[tuple[TaskSpec, ...], BeforeValidator(parse_tasks)]
    models: Annotated[tuple[str, ...], PlainValidator(parse_models)]
    fusers: Annotated[tuple[str, ...], PlainValidator(parse_models)] = ()
    """The models that may fuse; empty for all models."""
    judges: Annotated[tuple[str, ...], PlainValidator(parse_models)] = ()
    """The model that judges candidates in every architecture, in place of the space's `judge`; at most one."""
    space: Annotated[Space, PlainValidator(lambda space: space if isinstance(space, Space) else load_space(space))] = (
        field(default_factory=Space)
    )
    limits: ArchitectureLimits = ArchitectureLimits()
    budget: SearchBudget = SearchBudget(trials=100)
    algorithm: Algorithm = "smac"
    cost_weight: CostWeight = 0.0
    """Lambda: performance (0 to 1) that one unit of cost per question must bring."""
    cost_unit: CostUnit = "calls"
    pareto: StrictBool = False
    """Look for the set of architectures of which none is both better and cheaper (in `cost_unit`) than another."""
    finalists: Count = 10
    draws: Count = 3
    """Sets of draws that trials take in turn: fewer share more calls, more average out the luck of shared draws."""
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
    """Roles of the task's scorers, e.g. a judge. Their calls are not in the budget."""
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
        return _hash_json(self._identity_fields)

    @property
    def digests(self) -> dict[str, str]:
        """The same of each setting, to say which one differs."""
        return {name: _hash_json(value) for name, value in self._identity_fields.items()}

    @property
    def _identity_fields(self) -> dict[str, Any]:
        plain = replace(self, budget=SearchBudget(), finalists=1).to_mapping()
        del plain["prices"], plain["door"]  # which doors came of it is in the journal
        plain["tasks"] = [
            {
                name: value
                for name, value in task.items()
                if value is not None and (name, value) != ("harness", "inspect")
            }
            for task in plain["tasks"]
        ]  # scorer, metric and harness: a search from before them is the same without
        for name in ("fusers", "dev_share"):  # a search from before them is the same without
            if not plain[name]:
                del plain[name]
        del plain["judges"]
        plain["space"]["judge"] = self.judge or ("" if self.skip_ranking or len(self.models) == 1 else "best fuser")
        plain["solver_args"] = {name: value for name, value in self.solver_args if name not in _NEUTRAL_SOLVER_ARGS}
        return plain

    @property
    def judge(self) -> str:
        """The model that judges candidates; empty for the best fuser."""
        return self.judges[0] if self.judges else self.space.judge

    def to_mapping(self) -> dict[str, Any]:
        """Plain values under the names that summaries and journals have had from the first: they are read later."""
        recorded = {new: old for old, new in RENAMED_SETTINGS.items()}
        return {recorded.get(name, name): value for name, value in asdict(self).items()}

    def compute_cost(self, calls: float, tokens: float, dollars: float | None) -> float:
        """Cost per question in the objective's unit.

        Raises:
            SearchError: dollars are asked for and unknown.
        """
        if self.cost_unit != "dollars":
            return calls if self.cost_unit == "calls" else tokens / 1000
        if dollars is None:
            raise SearchError("cost in dollars needs a price for every model: add them to a price file (--prices)")
        return dollars

    def compute_objective(self, performance: float, cost: float) -> float:
        """What the search maximises (v6 section 3.3): performance minus lambda times cost."""
        return performance - self.cost_weight * cost


def _hash_json(plain: Any) -> str:
    return sha256(json.dumps(plain, sort_keys=True, default=repr).encode()).hexdigest()[:16]


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
        literals: Mapping[str, Any] = {"algorithm": Algorithm, "door": DoorOption, "harness": Harness}
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
