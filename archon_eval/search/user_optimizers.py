"""Optimizers of a user's own: found by an entry point in the group `archon_eval.optimizers`, or as `module:Class`.

    [project.entry-points."archon_eval.optimizers"]
    tpe = "my_package.tpe:TpeOptimizer"         # archon search --algorithm tpe

The class is called with `configurations`, `calls`, `penalty` and `seed`, by name, and makes an `Optimizer`.
"""

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from archon_eval.errors import SearchError, did_you_mean

if TYPE_CHECKING:
    from archon_eval.search.optimizer import Optimizer

ENTRY_POINT_GROUP = "archon_eval.optimizers"
ALGORITHMS = ("smac", "random", "greedy", "smac-stock", "proposer")
"""The optimizers that come with the package."""


_BUILT_IN_CLASSES = {"proposer": "archon_eval.search.proposer:ModelProposer"}
"""Those that are made as a user's own are."""


def does_propose(name: str) -> bool:
    """Whether an algorithm adds architectures to the space.

    Raises:
        SearchError: there is none of this name, or it cannot be imported.
    """
    if name in ALGORITHMS and name not in _BUILT_IN_CLASSES:
        return False
    return bool(getattr(load_optimizer_class(name), "proposes", False))


def list_installed() -> list[str]:
    """Names of the optimizers that installed packages offer, sorted."""
    return sorted({point.name for point in entry_points(group=ENTRY_POINT_GROUP)})


def find_name_problem(name: str) -> str:
    """What is wrong with the name of an algorithm, in words; empty for one that may be there. Imports nothing."""
    installed = list_installed()
    if name in (*ALGORITHMS, *installed) or (":" in name and all(name.split(":"))):
        return ""
    others = f" Installed besides: {', '.join(installed)}." if installed else ""
    hint = did_you_mean(name, [*ALGORITHMS, *installed])
    return f"unknown algorithm {name!r}{hint}" + others


def load_optimizer_class(name: str) -> Any:
    """The class behind a name.

    Raises:
        SearchError: there is none, or it cannot be imported.
    """
    if problem := find_name_problem(name):
        raise SearchError(problem)
    name = _BUILT_IN_CLASSES.get(name, name)
    try:
        if ":" in name:
            module, _, attribute = name.partition(":")
            return getattr(import_module(module), attribute)
        [point] = [point for point in entry_points(group=ENTRY_POINT_GROUP) if point.name == name][:1]
        return point.load()
    except Exception as exc:  # whatever the user's own module does wrong when it is imported
        hint = " (is it installed, or its folder on PYTHONPATH?)" if isinstance(exc, ModuleNotFoundError) else ""
        raise SearchError(f"--algorithm {name} cannot be imported: {type(exc).__name__}: {exc}{hint}") from exc


def build_user_optimizer(name: str, **given: Any) -> "Optimizer":
    """An optimizer of the user's own.

    Raises:
        SearchError: it cannot be imported or built, or is no `Optimizer`.
    """
    from archon_eval.search.optimizer import Optimizer

    made = load_optimizer_class(name)
    try:
        optimizer = made(**given)
    except Exception as exc:  # whatever the user's own class does wrong
        raise SearchError(f"--algorithm {name} cannot be built: {type(exc).__name__}: {exc}") from exc
    if not isinstance(optimizer, Optimizer):
        raise SearchError(
            f"--algorithm {name} made {type(optimizer).__name__}, which is no archon_eval.search.Optimizer"
        )
    return optimizer
