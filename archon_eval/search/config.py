"""What a search is asked to do: tasks, models, limits, objective, budget. Everything that decides its outcome.

    load_settings({"tasks": "archon_eval/math", "models": "openai/gpt-4o,openai/gpt-4o-mini", "space": "small"})

Two searches with the same `identity` may share a folder: the second goes on where the first stopped.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import sha256
from math import inf, isfinite
from typing import Any

from archon_eval.engine.plan import Plan
from archon_eval.errors import SearchError, did_you_mean
from archon_eval.search.space import Space, load_space

ALGORITHMS = ("smac", "random", "greedy", "smac-stock")
COST_UNITS = ("calls", "kilotokens", "dollars")
_NEUTRAL_SOLVER_ARGS = ("store", "store_policy", "trace", "prices", "budget")
"""Arguments of the solver that change no answer."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A benchmark, and how its scores count."""

    name: str
    """As Inspect finds it: `archon_eval/math`, `my_tasks.py@name`."""
    args: tuple[tuple[str, Any], ...] = ()
    """Task parameters (`-T`), without `split`: the search splits by itself."""
    weight: float = 1.0
    scale: tuple[float, float] = (0.0, 1.0)
    """The scores that count as 0 and as 1, e.g. (1, 10) for grades."""

    @property
    def key(self) -> str:
        """The task with its parameters, for records."""
        return self.name + "".join(f",{name}={value}" for name, value in self.args)

    def normalize(self, score: float) -> float:
        """The score between 0 and 1.

        Raises:
            SearchError: a score outside the scale.
        """
        low, high = self.scale
        if not min(low, high) <= score <= max(low, high):
            raise SearchError(f"{self.name}: score {score:g} is outside its scale {low:g} to {high:g}; give `scale`")
        return (score - low) / (high - low)


@dataclass(frozen=True, slots=True)
class ArchitectureLimits:
    """What an architecture may cost per question at most (plan's worst case, re-asks apart); None for no limit."""

    calls: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    dollars: float | None = None
    latency: float | None = None
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

    calls: float = inf
    """Model calls paid (calls answered from the call store are free)."""
    dollars: float = inf
    trials: float = inf
    """Architectures tried in the search stage."""
    seconds: float = inf


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """One search."""

    tasks: tuple[TaskSpec, ...]
    models: tuple[str, ...]
    space: Space = field(default_factory=Space)
    limits: ArchitectureLimits = ArchitectureLimits()
    budget: SearchBudget = SearchBudget(trials=100)
    algorithm: str = "smac"
    cost_weight: float = 0.0
    """Lambda: performance (0 to 1) that one unit of cost per question must bring."""
    cost_unit: str = "calls"
    pareto: bool = False
    """Look for the set of architectures of which none is both better and cheaper (in `cost_unit`) than another."""
    finalists: int = 10
    draws: int = 3
    """Sets of draws that trials take in turn: fewer share more calls, more average out the luck of shared draws."""
    confirm_epochs: int = 2
    """Fresh draws per question for each finalist."""
    trial_questions: int | None = None
    """Dev questions per trial; finalists always answer all of them."""
    given_order: bool = False
    """Take the models as ranked already, without a ranking stage."""
    seed: int = 0
    solver_args: tuple[tuple[str, Any], ...] = ()
    """Further arguments of the `archon` solver, e.g. `store`."""
    model_roles: tuple[tuple[str, str], ...] = ()
    """Roles of the task's scorers, e.g. a judge. Their calls are not in the budget."""
    prices: str | None = None

    def __post_init__(self) -> None:
        for problem in _find_problems(self):
            raise SearchError(problem)

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
        plain = asdict(replace(self, budget=SearchBudget(), finalists=1))
        del plain["prices"]
        plain["solver_args"] = {name: value for name, value in self.solver_args if name not in _NEUTRAL_SOLVER_ARGS}
        return plain

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


def _find_problems(given: SearchSettings) -> list[str]:
    found = []
    if not given.tasks:
        found.append("no task: name one, e.g. --task archon_eval/math")
    if not given.models:
        found.append("no model: name them, e.g. --models openai/gpt-4o,openai/gpt-4o-mini or --models sim/pool")
    if len(set(given.models)) < len(given.models):
        found.append(f"models are named twice: {', '.join(given.models)}")
    if given.algorithm not in ALGORITHMS:
        found.append(f"unknown algorithm {given.algorithm!r}{did_you_mean(given.algorithm, ALGORITHMS)}")
    if given.cost_unit not in COST_UNITS:
        found.append(f"unknown cost unit {given.cost_unit!r}{did_you_mean(given.cost_unit, COST_UNITS)}")
    for task in given.tasks:
        if "split" in dict(task.args):
            found.append(f"{task.name}: the search makes the 20/80 split itself; leave out `split`")
        if task.scale[0] == task.scale[1] or not all(map(isfinite, (*task.scale, task.weight))) or task.weight <= 0:
            found.append(f"{task.name}: the scale must be two different numbers and the weight above 0")
    for name in ("architecture", "models", "epoch_offset", "first_epoch"):
        if name in dict(given.solver_args):
            found.append(f"solver argument {name!r} is what the search decides: leave it out")
    for name, members in given.space.pools:
        if missing := [model for model in members if model not in given.models]:
            found.append(f"pool {name!r}: {missing[0]} is none of the models{did_you_mean(missing[0], given.models)}")
        if not members:
            found.append(f"pool {name!r} is empty")
    for group in (given.limits, given.budget):
        for one in fields(group):
            value = getattr(group, one.name)
            if value is not None and not value > 0:
                found.append(f"{one.name}={value}: a limit must be above 0")
    if keys := [task.key for task in given.tasks if [one.key for one in given.tasks].count(task.key) > 1]:
        found.append(f"task {keys[0]} is named twice: give it more `weight` instead")
    if not 0 <= given.cost_weight < inf:
        found.append(f"cost_weight={given.cost_weight}: must be 0 or more")
    for name in ("finalists", "confirm_epochs", "draws", "trial_questions"):
        if (value := getattr(given, name)) is not None and value < 1:
            found.append(f"{name}={value}: must be 1 or more")
    return found


def load_settings(data: Mapping[str, Any], where: str = "search") -> SearchSettings:
    """SearchSettings from a mapping, as a search file holds it; nested like the fields of `SearchSettings`.

    Raises:
        SearchError: an unknown key, or a value that is not legal.
    """
    from archon_eval.integrations.model_names import parse_model_names

    given = dict(_check_keys(data, SearchSettings, where))
    if "tasks" in given:
        items = given["tasks"] if isinstance(given["tasks"], list | tuple) else [given["tasks"]]
        given["tasks"] = tuple(_parse_task(item, where) for item in items)
    _check_value_types(given, where)
    if "models" in given:
        given["models"] = parse_model_names(given["models"])
    if "space" in given and not isinstance(given["space"], Space):
        given["space"] = load_space(given["space"])
    for key, kind in (("limits", ArchitectureLimits), ("budget", SearchBudget)):
        if key in given and not isinstance(given[key], kind):
            values = _check_keys(given[key], kind, f"{where}: `{key}`")
            if wrong := [k for k, v in values.items() if not _is_number(v)]:
                raise SearchError(f"{where}: `{key}: {wrong[0]}` must be a number, not {values[wrong[0]]!r}")
            given[key] = kind(**values)
    for key in ("solver_args", "model_roles"):
        if isinstance(given.get(key), Mapping):
            given[key] = tuple(sorted(given[key].items()))
    try:
        return SearchSettings(**{"tasks": (), "models": (), **given})
    except TypeError as exc:
        raise SearchError(f"{where}: a value is of the wrong kind: {exc}") from exc


def _check_value_types(given: Mapping[str, Any], where: str) -> None:
    """Refuse a value of the wrong kind where it was written, before anything is computed with it."""
    kinds: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
        ("a whole number", int, ("finalists", "draws", "confirm_epochs", "trial_questions", "seed")),
        ("a number", int | float, ("cost_weight",)),
        ("true or false", bool, ("pareto", "given_order")),
        ("text", str, ("algorithm", "cost_unit", "prices")),
        ("a list of names", str | list | tuple, ("models",)),
        ("a mapping", Mapping | tuple, ("solver_args", "model_roles")),
    )
    for words, kind, keys in kinds:
        for key in keys:
            value = given.get(key)
            unset = value is None and key in ("trial_questions", "prices", "models")
            wrong = isinstance(value, bool) and kind is not bool
            if key in given and not unset and (wrong or not isinstance(value, kind)):
                raise SearchError(f"{where}: `{key}` must be {words}, not {value!r}")


def _parse_task(item: Any, where: str) -> TaskSpec:
    if isinstance(item, TaskSpec):
        return item
    values = dict(_check_keys({"name": item} if isinstance(item, str) else item, TaskSpec, f"{where}: a task"))
    if not isinstance(values.get("name"), str):
        raise SearchError(f"{where}: a task needs `name:`, e.g. archon_eval/math; got {item!r}")
    if not isinstance(args := values.get("args", {}), Mapping):
        raise SearchError(f"{where}: {values['name']}: `args` must be a mapping, not {args!r}")
    scale, weight = values.get("scale", (0.0, 1.0)), values.get("weight", 1.0)
    if not isinstance(scale, list | tuple) or len(scale) != 2 or not all(map(_is_number, scale)):
        raise SearchError(f"{where}: {values['name']}: `scale` must be two numbers, e.g. [1, 10], not {scale!r}")
    if not _is_number(weight):
        raise SearchError(f"{where}: {values['name']}: `weight` must be a number, not {weight!r}")
    return TaskSpec(values["name"], tuple(sorted(args.items())), weight, (float(scale[0]), float(scale[1])))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_keys(data: Any, kind: type, where: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise SearchError(f"{where} must be a mapping, not {data!r}")
    legal = [one.name for one in fields(kind)]
    for key in data:
        if key not in legal:
            raise SearchError(f"{where}: unknown key {key!r}{did_you_mean(str(key), legal)}")
    return data
