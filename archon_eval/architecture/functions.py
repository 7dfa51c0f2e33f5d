"""Functions of a user's own that an architecture names as `module:function`, and their code for fingerprints.

>>> load_function("math:sqrt", "accept")(4.0)
2.0
"""

from collections.abc import Callable, Iterable
from hashlib import sha256
from importlib import import_module
from typing import Any

from archon_eval.architecture.component_code import get_source
from archon_eval.errors import ArchitectureError


def load_function(path: str, where: str) -> Callable[..., Any]:
    """The function.

    Raises:
        ArchitectureError: it cannot be imported, or cannot be called; begins with `where`.
    """
    module, _, name = path.partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as exc:  # whatever the user's module does wrong when it is imported
        hint = " (is it installed, or its folder on PYTHONPATH?)" if isinstance(exc, ModuleNotFoundError) else ""
        problem = f"{type(exc).__name__}: {exc}{hint}"
        raise ArchitectureError(f"{where}: cannot import function {path!r}: {problem}") from exc
    if not callable(found):
        raise ArchitectureError(f"{where}: {path!r} is no function, but {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def digest_function_code(paths: Iterable[str]) -> str:
    """16 hexadecimal digits over the modules in which the functions are; empty without a function."""
    sources = {path: get_source(load_function(path, path)) for path in sorted(set(paths))}
    return sha256(repr(sources).encode()).hexdigest()[:16] if sources else ""
