"""What a cache must know besides an architecture's fingerprint: the code of components that are not this package's.

    code_digest(architecture)     # "" without components of one's own, else 16 hexadecimal digits

A fingerprint names such a component only, so that it is the same wherever the code is installed.
"""

import inspect
import sys
from functools import cache
from hashlib import sha256
from typing import Any

from archon_eval.architecture import Architecture
from archon_eval.kinds import COMPONENT_TYPES, load_component_class


def code_digest(architecture: Architecture) -> str:
    """Of the source of the modules that define the architecture's own components; not of what those import."""
    kinds = {spec.kind for layer in architecture.layers for spec in layer} - set(COMPONENT_TYPES)
    sources = {kind: source_of(load_component_class(kind, kind)) for kind in sorted(kinds)}
    return sha256(repr(sources).encode()).hexdigest()[:16] if sources else ""


@cache
def source_of(component: Any) -> str:
    """The source of a class's module, or of the class where it was typed in; "" where neither can be had.

    Read once per class: after an edit the process goes on with the old code, until the module is loaded again.
    """
    for place in (sys.modules.get(component.__module__), component):
        try:
            return inspect.getsource(place)  # type: ignore[arg-type]
        except (OSError, TypeError):
            continue
    return ""


def cache_name(architecture: Architecture) -> str:
    """The fingerprint, and the digest of the components' code where there is any: `0123...+4567...`."""
    return "+".join(filter(None, (architecture.fingerprint, code_digest(architecture))))
