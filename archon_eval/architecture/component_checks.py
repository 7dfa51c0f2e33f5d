"""What is wrong with the class of a component, found when an architecture that names it is read.

>>> from archon_eval.architecture.component_types import load_component_class
>>> find_class_problem(load_component_class("ranker", "layer 2"))
''
"""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, get_args

from archon_eval.architecture.component_types import (
    BUILT_IN_COMPONENTS,
    ENTRY_POINT_GROUP,
    ComponentOption,
    ComponentPlace,
    ComponentType,
    PromptFields,
)
from archon_eval.errors import did_you_mean

RESERVED_NAMES = ("model", "settings", "system", "prompts", "on_error", "on_overflow", "max_parse_retries", "reask")
"""Keys that every component has in a file, which no option may have for its name."""
SHAPES = "CandidateGenerator, CandidateScorer, ListComponent or ContextComponent"


def find_class_problem(component: Any) -> str:
    """What is wrong first, as the end of a sentence that begins with the component's name; empty where nothing is."""
    if not isinstance(component, type) or not isinstance(getattr(component, "kind", None), ComponentType):
        return "is no component: it has no class attribute `kind` of type ComponentType"
    return _find_problem(component)


@cache
def _find_problem(component: Any) -> str:
    return next(_generate_problems(component), "")


def _generate_problems(component: Any) -> Iterator[str]:
    yield from _check_kind(component.kind)
    if not getattr(component, "work_method", ""):
        yield f"does not subclass {SHAPES}"
    if missing := sorted(getattr(component, "__abstractmethods__", ())):
        yield f"does not define {' and '.join(missing)}"
    try:
        inspect.signature(component).bind("spec")
    except TypeError as exc:
        yield f"cannot be built: its __init__ must take the spec and nothing else ({exc})"
    except ValueError:  # no signature to be had
        return


def _check_kind(kind: ComponentType) -> Iterator[str]:
    for field, values, wanted in (
        ("options", kind.options, ComponentOption),
        ("prompts", kind.prompts, PromptFields),
    ):
        if not isinstance(values, Mapping):
            yield f"has a `kind` whose `{field}` are no mapping, but {type(values).__name__}"
            return
        for name, value in values.items():
            if not isinstance(value, wanted):
                yield f"has a `kind` with {field[:-1]} {name!r} that is no {wanted.__name__}, but {value!r}"
    for name in kind.options:
        if name in RESERVED_NAMES:
            taken = ", ".join(RESERVED_NAMES)
            yield f"has a `kind` with an option {name!r}: every component has that key already ({taken})"
    if kind.place not in get_args(ComponentPlace):
        yield f"has a `kind` with place {kind.place!r}: it must be {' or '.join(get_args(ComponentPlace))}"
    if kind.stand_in and ":" not in kind.stand_in:
        known = [*BUILT_IN_COMPONENTS, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))]
        if kind.stand_in not in known:
            yield f"has a `kind` with unknown stand_in {kind.stand_in!r}{did_you_mean(kind.stand_in, known)}"
