"""Inspect's solvers and agents by the names that an architecture gives them.

    factory = find_solver("inspect_ai/react", "agent", "layer 1")
    solver = build_solver(factory, {"attempts": 2}, "layer 1")

A name is one that Inspect knows (`package/name`), a file with a function in it (`agents.py@debate`, as seen from the
working directory), or a module with one (`my_package.agents:debate`).
"""

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from archon_eval.architecture.component_code import get_source
from archon_eval.architecture.user_code import check_user_code
from archon_eval.errors import ArchitectureError, did_you_mean

if TYPE_CHECKING:
    from inspect_ai.solver import Solver

SourceKind = Literal["solver", "agent"]
"""The option under which the name stands: an agent will do for a solver, as with Inspect's own `--solver`."""
_FOUND_FILES: dict[str, Path] = {}
"""Where the file of a relative path was last found, for when the working directory has changed since."""
FORMS = "package/name, file.py@name or module:name"


def is_solver_name(value: Any) -> bool:
    """Whether a value has the form of a name."""
    if not isinstance(value, str) or not value.strip():
        return False
    return all(value.rpartition("@")) if ".py" in value else True


def find_solver(name: str, kind: SourceKind, where: str) -> Callable[..., Any]:
    """The function that makes the solver or agent of this name.

    Raises:
        ArchitectureError: there is none, or it cannot be imported; begins with `where`.
    """
    check_user_code(name, where)
    kinds: tuple[SourceKind, ...] = ("solver", "agent") if kind == "solver" else ("agent",)
    try:
        factory = _find_factory(name, kinds)
    except ArchitectureError:
        raise
    except Exception as exc:  # whatever the solver's own module does wrong when it is imported
        hint = " (is it installed, or its folder on PYTHONPATH?)" if isinstance(exc, ModuleNotFoundError) else ""
        raise ArchitectureError(f"{where}: cannot import {kind} {name!r}: {type(exc).__name__}: {exc}{hint}") from exc
    if factory is None:
        raise ArchitectureError(f"{where}: there is no {kind} {name!r}{_hint_at_names(name, kinds)}")
    if _get_type(factory) not in kinds:
        decorators = " or ".join(f"@{each}" for each in kinds)
        found = _get_type(factory)
        problem = f"it is an @{found}" if found else f"no function of this name has the decorator {decorators}"
        raise ArchitectureError(f"{where}: {name!r} is no {kind}: {problem}")
    made: Callable[..., Any] = factory
    return made


def _find_factory(name: str, kinds: tuple[SourceKind, ...]) -> Any:
    from archon_eval._inspect_compat import registry_lookup

    if ".py@" in name:
        path, _, attribute = name.rpartition("@")
        return _get_function(_load_file(path), attribute)
    if ":" in name:
        module, _, attribute = name.partition(":")
        return _get_function(import_module(module), attribute)
    import inspect_ai.agent
    import inspect_ai.solver  # noqa: F401 (its own are registered when it is imported)

    return next((found for kind in kinds if (found := registry_lookup(kind, name)) is not None), None)


def _get_function(module: ModuleType, attribute: str) -> Any:
    """A module's function by its name in the module, or by the name it is registered under."""
    if (found := getattr(module, attribute, None)) is not None:
        return found
    return next((value for value in vars(module).values() if _get_name(value) == attribute), None)


def _load_file(path: str) -> ModuleType:
    file = Path(path).expanduser()
    if not file.exists():  # Inspect runs a task in the folder of its file
        file = _FOUND_FILES.get(path, file)
    try:
        text = file.read_bytes()
    except OSError as exc:
        raise ModuleNotFoundError(f"no file {path} in {Path.cwd().name}/: {exc.strerror}") from None
    _FOUND_FILES[path] = file.resolve()
    return _load_text(file.resolve(), hashlib.sha256(text).hexdigest()[:16])


@cache
def _load_text(path: Path, digest: str) -> ModuleType:
    """A file as a module, once for each content; what lies beside it can be imported while it is loaded."""
    name = f"archon_solvers_{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"{path.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _on_path(path.parent):
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return module


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def _get_type(value: Any) -> str:
    """What Inspect's registry calls a value; empty for what is not in it."""
    from inspect_ai.util import registry_info

    try:
        return str(registry_info(value).type)
    except (ValueError, AttributeError):
        return ""


def _get_name(value: Any) -> str:
    from inspect_ai.util import registry_info

    return str(registry_info(value).name).rpartition("/")[2] if _get_type(value) in ("solver", "agent") else ""


def _hint_at_names(name: str, kinds: tuple[str, ...]) -> str:
    """What there is instead, or the forms that a name has."""
    from archon_eval._inspect_compat import registry_find

    if ":" in name or "@" in name:
        return f"; a name is {FORMS}"
    package = name.partition("/")[0] if "/" in name else ""
    known = {str(info.name) for info in map(_get_info, registry_find(lambda info: info.type in kinds))}
    same = {each for each in known if package and each.startswith(f"{package}/")}
    if package and not same:
        return f": no package {package!r} with one is installed; a name is {FORMS}"
    return did_you_mean(name, same or known)


def _get_info(value: object) -> Any:
    from inspect_ai.util import registry_info

    return registry_info(value)


def check_arguments(factory: Callable[..., Any], args: Mapping[str, Any], where: str) -> None:
    """Refuse arguments that the function does not take.

    Raises:
        ArchitectureError: names them; begins with `where`.
    """
    parameters = inspect.signature(factory).parameters
    if not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        for name in args:
            if name not in parameters:
                raise ArchitectureError(f"{where}: `args` has {name!r}{did_you_mean(str(name), parameters)}")
    try:
        inspect.signature(factory).bind(**args)
    except TypeError as exc:
        raise ArchitectureError(f"{where}: `args` do not fit: {exc}") from None


def build_solver(factory: Callable[..., Any], args: Mapping[str, Any], where: str) -> "Solver":
    """A solver that can answer one question; an agent becomes one.

    Raises:
        ArchitectureError: the function fails; begins with `where`.
    """
    from inspect_ai.agent import as_solver

    try:
        built: Any = factory(**args)
        return as_solver(built) if _get_type(built) == "agent" else built
    except Exception as exc:  # whatever a user's own function does wrong
        raise ArchitectureError(f"{where} cannot be built: {type(exc).__name__}: {exc}") from exc


def read_solver_code(name: str, kind: SourceKind) -> str:
    """The source of the module that defines a solver, not of what that module imports; for fingerprints."""
    return get_source(inspect.unwrap(find_solver(name, kind, name)))
