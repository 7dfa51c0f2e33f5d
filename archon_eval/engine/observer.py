"""What watches the engine while it works.

Engine(architecture, caller, TranscriptObserver("full"))
"""

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Protocol

from archon_eval.engine.call_context import TraceRecorder
from archon_eval.engine.trace import LayerResult, Trace


class Observer(Protocol):
    """Shows what the engine does while it does it (Inspect's transcript)."""

    def open_span(self, name: str, type: str) -> AbstractAsyncContextManager[Any]:
        """Opened around each layer and each component of a layer with several."""

    def record_layer(self, layer: int, result: LayerResult | None, recorder: TraceRecorder) -> None:
        """A layer's outcome, inside its span; None when it failed or was cancelled."""

    def record_question(self, trail: Trace) -> None:
        """Everything that happened, also when the question failed."""


class NullObserver:
    """An observer that shows nothing."""

    def open_span(self, name: str, type: str) -> AbstractAsyncContextManager[Any]:
        return nullcontext()

    def record_layer(self, layer: int, result: LayerResult | None, recorder: TraceRecorder) -> None:
        pass

    def record_question(self, trail: Trace) -> None:
        pass
