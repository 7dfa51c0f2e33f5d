"""The engine's side of a component's calls: sends, re-asks, records, and turns failures into what the user chose.

reply = await desk.generate_parsed("verdict", prompt, parse_verdict, fallback="the candidate is kept, unverified")
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import anyio

from archon_eval.architecture.spec import ComponentSpec
from archon_eval.engine.trace import LayerResult, Trace, TraceEvent, TraceStep
from archon_eval.errors import ModelError, ParseError
from archon_eval.models.call import Call, Caller, Reply
from archon_eval.types import Conversation, Message

T = TypeVar("T")

REASK_PROMPT = """Your reply could not be used: {problem}

Reply again, in exactly the form asked for."""
MAX_QUOTED_CHARS = 8000
"""Characters of an unusable reply that are shown to the model when it is asked again."""


@dataclass(slots=True)
class TraceRecorder:
    """What one question's run has done so far."""

    epoch: int
    steps: list[TraceStep] = field(default_factory=list)
    notes: list[TraceEvent] = field(default_factory=list)
    layers: list[LayerResult] = field(default_factory=list)

    def build_trace(self) -> Trace:
        """All of it, in the order of layers."""
        steps = tuple(sorted(self.steps, key=lambda step: step.layer))
        notes = tuple(sorted(self.notes, key=lambda note: note.layer))
        return Trace(tuple(sorted(self.layers, key=lambda layer: layer.layer)), steps, notes)


class EngineCallContext:
    """The `Desk` of one component on one question."""

    def __init__(self, caller: Caller, record: TraceRecorder, spec: ComponentSpec, layer: int, place: int) -> None:
        self._caller, self._record, self._spec = caller, record, spec
        self._layer, self._place = layer, place

    def record_event(self, what: str, detail: str, about: str = "") -> None:
        """TraceRecorder something a reader must know."""
        self._record.notes.append(TraceEvent(self._layer, self._spec.kind, what, detail, about))

    async def generate(self, purpose: str, messages: Conversation, *, draw: int = 0, about: str = "") -> Reply | None:
        """A free-text reply; None when it failed for good and may be dropped."""
        spec, settings = self._spec, self._spec.settings
        if settings.seed is not None:  # or a provider that honours seeds gives every sample the same text
            settings = replace(settings, seed=settings.seed + draw)
        call = Call(spec.model, messages, settings, draw, self._record.epoch)

        def step(reply: Reply | None, problem: str = "") -> None:
            self._record.steps.append(
                TraceStep(
                    self._layer, spec.kind, self._place, spec.model, purpose, about, draw, messages, reply, problem
                )
            )

        try:
            reply = await self._caller(call)
        except ModelError as exc:
            step(None, str(exc))
            if spec.on_error == "drop":
                self.record_event("dropped", str(exc), about)
                return None
            raise ModelError(f"layer {self._layer} ({spec.kind}), {purpose}: {exc}") from exc
        except anyio.get_cancelled_exc_class():
            step(None, "cancelled")
            self.record_event("cancelled", f"{purpose} by {spec.model}", about)
            raise
        step(reply)
        self._record_reply_problems(reply, purpose, about)
        return reply

    def _record_reply_problems(self, reply: Reply, purpose: str, about: str) -> None:
        detail = f"{purpose} by {self._spec.model}"
        if reply.stop_reason in ("max_tokens", "model_length"):
            self.record_event("truncated", f"{detail} ({reply.stop_reason})", about)
        if reply.stop_reason == "content_filter":
            self.record_event("filtered", detail, about)
        if not reply.text.strip():
            self.record_event("empty", detail, about)
        if reply.cleaned:
            self.record_event("cleaned", f"{detail}: {reply.cleaned} characters", about)

    async def generate_parsed(
        self, purpose: str, messages: Conversation, parse: Callable[[str], T], *, fallback: str, about: str = ""
    ) -> T | None:
        """A parsed reply; after the last re-ask the fallback is recorded and what could be read is returned."""
        asked, partial, problem = messages, None, "the call failed"
        for attempt in range(self._spec.reask + 1):
            reply = await self.generate(
                purpose if attempt == 0 else f"{purpose} (asked again)", asked, draw=attempt, about=about
            )
            if reply is None:
                break
            try:
                return parse(reply.text)
            except ParseError as exc:
                problem = str(exc)
                partial = exc.partial if exc.partial is not None else partial
            if attempt < self._spec.reask:
                self.record_event("reask", f"{purpose}: {problem}", about)
                shown = reply.text[:MAX_QUOTED_CHARS].strip() or "(no text)"
                asked = (*messages, Message("assistant", shown), Message("user", REASK_PROMPT.format(problem=problem)))
        self.record_event("fallback", f"{purpose}: {problem}; {fallback}", about)
        return partial
