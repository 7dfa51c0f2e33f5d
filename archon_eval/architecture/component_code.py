"""What a cache must know besides an architecture's fingerprint: the code of components that are not this package's.

    digest_component_code(architecture)     # "" without components of one's own, else 16 hexadecimal digits

A fingerprint names such a component only, so that it is the same wherever the code is installed.
"""

import inspect
import sys
from functools import cache
from hashlib import sha256
from typing import Any

from archon_eval.architecture.component_types import COMPONENT_TYPES, load_component_class
from archon_eval.architecture.spec import Architecture


def digest_component_code(architecture: Architecture) -> str:
    """Of the source of the modules that define the architecture's own components; not of what those import."""
    kinds = {spec.kind for layer in architecture.layers for spec in layer} - set(COMPONENT_TYPES)
    sources = {kind: get_source(load_component_class(kind, kind)) for kind in sorted(kinds)}
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


def build_cache_key(architecture: Architecture) -> str:
    """The fingerprint, and the digest of the components' code where there is any: `0123...+4567...`."""
    return "+".join(filter(None, (architecture.fingerprint, digest_component_code(architecture))))
