"""The one seam at which calls of Inspect's own models are taken over: `Model.generate`, while somebody asks for it.

    with intercept_generate(answer):
        await solver(state, generate)       # whatever model it calls, `answer` is asked

Both methods are public. `tests/test_inspect_compat.py` checks that all ways of calling a model lead through them.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspect_ai.model import GenerateConfig, Model

GenerateHandler = Callable[["ModelRequest"], Awaitable[Any]]
"""Answers a call of a model, as Inspect's `ModelOutput`."""


@dataclass(frozen=True)
class ModelRequest:
    """A call of `Model.generate`, as it was made."""

    model: "Model"
    input: Any
    """Text, or a list of Inspect's messages."""
    tools: Any
    """As a solver may name them: tools, their definitions, sources of tools."""
    tool_choice: Any
    config: "GenerateConfig"


_generate_handler: ContextVar[GenerateHandler | None] = ContextVar("archon_generate_handler", default=None)


@contextmanager
def intercept_generate(handler: GenerateHandler) -> Iterator[None]:
    """Have every call of any of Inspect's models that is made inside answered by the handler.

    That holds whatever way a solver came by the model, and in tasks that are started inside. Native compaction, which
    is a call of another kind, is not to be had: Inspect's agents then let the model write a summary.
    """
    with _INTERCEPTED_METHODS.put():
        token = _generate_handler.set(handler)
        try:
            yield
        finally:
            _generate_handler.reset(token)


@contextmanager
def suspend_interception() -> Iterator[None]:
    """Calls made inside reach Inspect's models again."""
    token = _generate_handler.set(None)
    try:
        yield
    finally:
        _generate_handler.reset(token)


class _InterceptedMethods:
    """The methods of `Model` that look for a handler first: in place while anybody has one, and Inspect's own else."""

    def __init__(self) -> None:
        self._lock, self._users = Lock(), 0
        self._own: tuple[Any, Any] = (None, None)

    @contextmanager
    def put(self) -> Iterator[None]:
        from inspect_ai.model import Model

        methods: Any = Model
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._own = methods.generate, methods.compact
                methods.generate, methods.compact = map(_look_for_handler, self._own)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    methods.generate, methods.compact = self._own


_INTERCEPTED_METHODS = _InterceptedMethods()


def _look_for_handler(own: Callable[..., Any]) -> Callable[..., Any]:
    parameters = signature(own)

    @wraps(own)
    async def call(*args: Any, **kwargs: Any) -> Any:
        handler = _generate_handler.get()
        if handler is None:
            return await own(*args, **kwargs)
        bound = parameters.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        if "config" not in given:
            raise NotImplementedError("native compaction is no call that an architecture can make")
        return await handler(
            ModelRequest(given["self"], given["input"], given["tools"], given["tool_choice"], given["config"])
        )

    return call
