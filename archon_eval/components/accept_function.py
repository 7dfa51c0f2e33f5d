"""`accept: {function: my_package:is_sure}`: a function of the user's own decides whether a stage's answer stands.

It is called with the `State` behind the stage, the answer first, and returns true or false, or a number that
`threshold` decides by. It may be `async`. Its module's code is part of the fingerprint.
"""

import inspect
from math import isfinite
from typing import Any

from archon_eval.architecture.component_types import (
    ComponentType,
    function_option,
    load_function,
    threshold_option,
)
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.components.acceptance import GOES_ON, AcceptRule
from archon_eval.components.call_context import CallContext
from archon_eval.errors import ArchitectureError, ArchonError, quote
from archon_eval.types import State


class AcceptFunction(AcceptRule):
    """What the function returns: true is 1, false is 0."""

    kind = ComponentType(
        "accept_function",
        place="rule",
        needs_model=False,
        options={"function": function_option(), "threshold": threshold_option(-1e12, 1e12)},
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
    )
    needs_threshold = False
    bounds = (-1e12, 1e12)
    fallback = f"the function cannot say: {GOES_ON}"

    def __init__(self, spec: ComponentSpec) -> None:
        super().__init__(spec)
        self._path = str(spec.get_option("function") or "")
        if not self._path:
            raise ArchitectureError("accept function: which? Write {function: module:function}")
        self._function = load_function(self._path, "accept function")

    async def measure(self, state: State, ctx: CallContext) -> float | None:
        try:
            value: Any = self._function(state)
            value = await value if inspect.isawaitable(value) else value
        except Exception as exc:
            if isinstance(exc, ArchonError) or _is_limit(exc):
                raise
            raise ArchitectureError(f"accept function {self._path}: {type(exc).__name__}: {exc}") from exc
        if value is None:
            ctx.record_event("fallback", self.fallback)
            return None
        if not isinstance(value, bool | int | float) or not isfinite(value):
            raise ArchitectureError(
                f"accept function {self._path} must return true, false, a number or None, not {quote(repr(value))}"
            )
        if not isinstance(value, bool) and self.threshold is None and not self.is_measuring:
            raise ArchitectureError(f"accept function {self._path} returns a number, {value!r}: give `threshold`")
        ctx.record_event("measured", f"{self._path}: {value!r}")
        return float(value)

    def decide(self, score: float) -> bool:
        return score >= (0.5 if self.threshold is None else self.threshold)


def _is_limit(error: Exception) -> bool:
    """Whether a function that asks models itself has reached a limit of the host's."""
    from inspect_ai.util import LimitExceededError  # too heavy for a plan, which builds rules as well

    return isinstance(error, LimitExceededError)
