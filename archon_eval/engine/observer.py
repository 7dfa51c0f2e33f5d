"""What watches the engine while it works.

Engine(architecture, caller, TranscriptObserver("full"))
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from archon_eval.engine.trace import LayerResult, Trace

if TYPE_CHECKING:
    from archon_eval.engine.call_context import TraceRecorder


class Observer(Protocol):
    """Shows what the engine does while it does it (Inspect's transcript)."""

    def open_span(self, name: str, type: str) -> AbstractAsyncContextManager[Any]:
        """Opened around each layer and each component of a layer with several."""

    def open_steps(self, name: str) -> AbstractAsyncContextManager[Callable[[Any], None]]:
        """Opened around a solver's run, in a task of its own; gives what shows Inspect's event of each of its calls."""

    def record_layer(self, layer: int, result: LayerResult | None, recorder: "TraceRecorder") -> None:
        """A layer's outcome, inside its span; None when it failed or was cancelled."""

    def record_question(self, trail: Trace) -> None:
        """Everything that happened, also when the question failed."""


class NullObserver:
    """An observer that shows nothing."""

    def open_span(self, name: str, type: str) -> AbstractAsyncContextManager[Any]:
        return nullcontext()

    @asynccontextmanager
    async def open_steps(self, name: str) -> AsyncIterator[Callable[[Any], None]]:
        yield lambda event: None

    def record_layer(self, layer: int, result: LayerResult | None, recorder: "TraceRecorder") -> None:
        pass

    def record_question(self, trail: Trace) -> None:
        pass
