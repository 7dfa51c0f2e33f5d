"""Checks what a component of a user's own returns, so that an error names the component and not the layer after it.

state = require_state(await component.run(state, ctx), 3, component)
"""

from collections.abc import Callable, Mapping
from typing import Any

from archon_eval.architecture.component_types import BUILT_IN_COMPONENTS
from archon_eval.components.component import Component
from archon_eval.components.token_estimates import CountRange
from archon_eval.errors import ArchitectureError, quote
from archon_eval.types import Candidate, State


def require_candidate(value: Any, number: int, component: Component) -> Candidate:
    """A candidate, as the component's method returned it."""
    if not isinstance(value, Candidate):
        raise _create_error(number, component, "a Candidate", value=value)
    return value


def require_candidates(value: Any, number: int, component: Component, *, method: str = "") -> tuple[Candidate, ...]:
    """Candidates, as the component's method returned them."""
    if not isinstance(value, list | tuple) or not all(isinstance(candidate, Candidate) for candidate in value):
        raise _create_error(number, component, "a tuple of Candidates", value=value, method=method)
    return tuple(value)


def require_state(value: Any, number: int, component: Component) -> State:
    """A state, as the component's method returned it."""
    if not isinstance(value, State):
        raise _create_error(number, component, "a State", value=value)
    if not all(isinstance(candidate, Candidate) for candidate in value.candidates):
        raise _create_error(number, component, "a State whose candidates are Candidates", value=value.candidates)
    return value


def require_values(value: Any, number: int, component: Component) -> Mapping[str, Any]:
    """Entries for the state's values, as the component's method returned them."""
    if not isinstance(value, Mapping):
        raise _create_error(number, component, "a mapping of entries for State.values", value=value)
    return value


def _create_error(
    number: int, component: Component, expected: str, *, value: object, method: str = ""
) -> ArchitectureError:
    got = "None" if value is None else f"{type(value).__name__} ({quote(str(value), 80)})"
    method = method or component.work_method
    return ArchitectureError(f"layer {number} ({component.spec.kind}): {method} must return {expected}, not {got}")


def check_counts(number: int, component: Component, candidates: CountRange) -> None:
    """Raises ArchitectureError where the counts of a component that is not built in are none."""
    if component.spec.kind in BUILT_IN_COMPONENTS:
        return
    checks: list[tuple[Callable[[CountRange], Any], Callable[[Any], bool], str]] = [
        (component.count_calls, _is_range, "(least, most), two whole numbers of at least 0"),
        (component.count_survivors, _is_range, "(least, most), two whole numbers of at least 0"),
        (component.count_parsed_calls, _is_count, "a whole number of at least 0"),
        (component.count_sequential_calls, _is_count, "a whole number of at least 0"),
    ]
    for count, is_right, expected in checks:
        name = count.__name__
        try:
            value = count(candidates)
        except ArchitectureError:
            raise
        except Exception as exc:  # whatever the component's own method does wrong
            where = f"layer {number} ({component.spec.kind})"
            raise ArchitectureError(f"{where}: {name} fails: {type(exc).__name__}: {exc}") from exc
        if not is_right(value):
            raise _create_error(number, component, expected, value=value, method=name)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_range(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_count, value))
