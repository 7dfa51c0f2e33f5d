"""Kinds of values in a search file: what is legal, what else can be written for it, and the words where it is not.

A validator raises one of three errors, which `config` makes a message of: `range` (the value is of the right kind),
`expected` (what it should be), or `whole` (a sentence of its own).
"""

from collections.abc import Callable, Mapping
from math import inf, isfinite
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Strict
from pydantic_core import PydanticCustomError

from archon_eval.search.user_optimizers import ALGORITHMS, find_name_problem
from archon_eval.simulation.model_names import parse_model_names

DECIDED_SOLVER_ARGS = ("architecture", "models", "epoch_offset", "first_epoch", "last_draws")
"""Arguments of the solver that the search decides."""


def require(is_legal: Callable[[Any], bool], words: str) -> AfterValidator:
    def check(value: Any) -> Any:
        if not is_legal(value):
            raise PydanticCustomError("range", words)
        return value

    return AfterValidator(check)


def parse_pairs(value: Any) -> Any:
    """A mapping as sorted pairs, which can be hashed."""
    if isinstance(value, Mapping):
        return tuple(sorted(value.items()))
    if not isinstance(value, tuple):
        raise PydanticCustomError("expected", "a mapping")
    return value


def parse_task_args(value: Any) -> Any:
    pairs = parse_pairs(value)
    if "split" in dict(pairs):
        raise PydanticCustomError("whole", "the search makes the 20/80 split itself; leave out `split`")
    return pairs


def parse_solver_args(value: Any) -> Any:
    pairs = parse_pairs(value)
    for name in DECIDED_SOLVER_ARGS:
        if name in dict(pairs):
            raise PydanticCustomError("whole", f"solver argument {name!r} is what the search decides: leave it out")
    return pairs


def parse_scale(value: Any) -> Any:
    def is_number(end: Any) -> bool:
        return isinstance(end, int | float) and not isinstance(end, bool)

    if not isinstance(value, list | tuple) or len(value) != 2 or not all(map(is_number, value)):
        raise PydanticCustomError("expected", "two numbers, e.g. [1, 10]")
    return tuple(value)


def parse_tasks(value: Any) -> Any:
    items = value if isinstance(value, list | tuple) else [value]
    return tuple({"name": item} if isinstance(item, str) else item for item in items)


def check_algorithm(name: str) -> str:
    """The name of what chooses architectures, one that is there."""
    if name not in ALGORITHMS and (problem := find_name_problem(name)):
        raise PydanticCustomError("whole", "{problem}", {"problem": problem})
    return name


def parse_models(value: Any) -> Any:
    if not isinstance(value, str | list | tuple | None):
        raise PydanticCustomError("expected", "a list of names")
    return parse_model_names(value)


Count = Annotated[int, Strict(), require(lambda count: count >= 1, "must be 1 or more")]
Weight = Annotated[float, Strict(), require(lambda weight: 0 < weight < inf, "a weight must be above 0")]
CostWeight = Annotated[float, Strict(), require(lambda weight: 0 <= weight < inf, "must be 0 or more")]
Share = Annotated[float, Strict(), require(lambda share: 0 < share < 1, "must be above 0 and below 1")]
Scale = Annotated[
    tuple[float, float],
    BeforeValidator(parse_scale),
    require(lambda scale: scale[0] != scale[1] and all(map(isfinite, scale)), "must be two different numbers"),
]
Limit = Annotated[float, Strict(), require(lambda limit: limit > 0, "a limit must be above 0")]
Pairs = Annotated[tuple[tuple[str, Any], ...], BeforeValidator(parse_pairs)]
