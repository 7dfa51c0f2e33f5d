"""The code of components that are not this package's, as a fingerprint needs it.

>>> digest_component_code(["generator", "fuser"])
''
"""

import inspect
import sys
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from typing import Any

from archon_eval.architecture.component_types import BUILT_IN_COMPONENTS, load_component_class, load_function


def digest_component_code(names: Iterable[str]) -> str:
    """16 hexadecimal digits over the source of the modules that define custom components and the classes they inherit
    from, not of what those modules import.

    Args:
        names: components as an architecture names them; without a custom one the digest is empty.
    """
    custom = sorted(set(names) - set(BUILT_IN_COMPONENTS))
    sources: dict[str, str] = {}
    for name in custom:
        component = load_component_class(name, name)
        sources[name] = get_source(component)
        for base in filter(_is_custom, component.__mro__[1:]):
            if (source := get_source(base)) not in sources.values():  # most bases are in the module of the component
                sources[f"{name}, {base.__module__}:{base.__qualname__}"] = source
    return sha256(repr(sources).encode()).hexdigest()[:16] if sources else ""


def read_function_source(path: str) -> str:
    """The source of the module that defines a function (`module:function`); empty for one of this package's.

    Raises:
        ArchitectureError: it cannot be imported.
    """
    return "" if path.partition(".")[0] == "archon_eval" else get_source(load_function(path, path))


def digest_function_code(path: str) -> str:
    """16 hexadecimal digits over that source; empty for a function of this package's."""
    return sha256(source.encode()).hexdigest()[:16] if (source := read_function_source(path)) else ""


def _is_custom(base: type) -> bool:
    """Whether a class is neither of this package, whose prompts have a version, nor of Python."""
    package = base.__module__.partition(".")[0]
    return package != "archon_eval" and package not in sys.stdlib_module_names


@cache
def get_source(component: Any) -> str:
    """The source of a class's module, or of the class where it was typed in; "" where neither can be had.

    Read once per class: after an edit the process goes on with the old code, until the module is loaded again.
    """
    module = getattr(component, "__module__", None) or type(component).__module__
    for place in (sys.modules.get(module), component):
        try:
            return inspect.getsource(place)  # type: ignore[arg-type]
        except (OSError, TypeError):
            continue
    return ""
