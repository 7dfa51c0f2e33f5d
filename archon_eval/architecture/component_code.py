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

from archon_eval.architecture.component_types import BUILT_IN_COMPONENTS, load_component_class


def digest_component_code(names: Iterable[str]) -> str:
    """16 hexadecimal digits over the source of the modules that define custom components, not of what those import.

    Args:
        names: components as an architecture names them; without a custom one the digest is empty.
    """
    custom = set(names) - set(BUILT_IN_COMPONENTS)
    sources = {name: get_source(load_component_class(name, name)) for name in sorted(custom)}
    return sha256(repr(sources).encode()).hexdigest()[:16] if sources else ""


@cache
def get_source(component: Any) -> str:
    """The source of a class's module, or of the class where it was typed in; "" where neither can be had.

    Read once per class: after an edit the process goes on with the old code, until the module is loaded again.
    """
    for place in (sys.modules.get(component.__module__), component):
        try:
            return inspect.getsource(place)  # type: ignore[arg-type]
        except (OSError, TypeError):
            continue
    return ""
