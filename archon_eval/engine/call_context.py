"""The engine's side of a component's calls: sends, re-asks, records, and turns failures into what the user chose.

verdict = await ctx.generate_parsed("verdict", prompt, parse_verdict, fallback="the candidate is kept, unverified")
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import anyio

from archon_eval._deprecated import RenamedMethod
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.engine.trace import LayerResult, Trace, TraceEvent, TraceStep
from archon_eval.errors import ArchitectureError, ModelError, ParseError
from archon_eval.models.call import Call, Caller, Reply
from archon_eval.types import Conversation, Message

T = TypeVar("T")

REASK_PROMPT = """Your reply could not be used: {problem}

Reply again, in exactly the form asked for."""
ATTEMPT_STRIDE = 1_000_000
"""How far the draws of two attempts at one sample are apart: more than a layer has samples."""
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
        return Trace(
            layers=tuple(sorted(self.layers, key=lambda layer: layer.layer)),
            steps=tuple(sorted(self.steps, key=lambda step: step.layer)),
            notes=tuple(sorted(self.notes, key=lambda note: note.layer)),
        )


class EngineCallContext:
    """The `CallContext` of one component on one question."""

    def __init__(self, caller: Caller, recorder: TraceRecorder, spec: ComponentSpec, *, layer: int, place: int) -> None:
        """
        Args:
            layer: the component's layer, from 1.
            place: its place in the layer, from 1.
        """
        self._caller, self._recorder, self._spec = caller, recorder, spec
        self._layer, self._place = layer, place

    def record_event(self, event: str, detail: str, about: str = "") -> None:
        """Record something a reader must know."""
        self._recorder.notes.append(
            TraceEvent(layer=self._layer, kind=self._spec.kind, what=event, detail=detail, about=about)
        )

    async def generate(
        self, purpose: str, messages: Conversation, *, model: str | None = None, draw: int = 0, about: str = ""
    ) -> Reply | None:
        """A free-text reply; None when it failed for good and may be dropped."""
        model, spec, settings = self._choose_model(model), self._spec, self._spec.settings
        if settings.seed is not None:  # or a provider that honours seeds gives every sample the same text
            settings = replace(settings, seed=settings.seed + draw)
        call = Call(model, messages, settings, draw=draw, epoch=self._recorder.epoch)
        try:
            reply = await self._caller(call)
        except ModelError as exc:
            self._record_step(call, purpose, about=about, problem=str(exc))
            if spec.on_error == "drop":
                self.record_event("dropped", str(exc), about)
                return None
            raise ModelError(f"layer {self._layer} ({spec.kind}), {purpose}: {exc}") from exc
        except anyio.get_cancelled_exc_class():
            self._record_step(call, purpose, about=about, problem="cancelled")
            self.record_event("cancelled", f"{purpose} by {model}", about)
            raise
        self._record_step(call, purpose, about=about, reply=reply)
        self._record_reply_problems(reply, f"{purpose} by {model}", about)
        return reply

    def _choose_model(self, model: str | None) -> str:
        chosen = self._spec.model if model is None else model
        if not chosen or (model is not None and model not in self._spec.models):
            declared = ", ".join(self._spec.models) or "none"
            raise ArchitectureError(
                f"layer {self._layer} ({self._spec.kind}) calls {f'model {model!r}' if model else 'a model'}, which it "
                f"does not declare (declared: {declared}): a further model is an option made with model_option()"
            )
        return chosen

    def _record_step(
        self, call: Call, purpose: str, *, about: str, reply: Reply | None = None, problem: str = ""
    ) -> None:
        self._recorder.steps.append(
            TraceStep(
                layer=self._layer,
                kind=self._spec.kind,
                component=self._place,
                model=call.model,
                purpose=purpose,
                about=about,
                draw=call.draw,
                messages=call.messages,
                reply=reply,
                problem=problem,
            )
        )

    def _record_reply_problems(self, reply: Reply, detail: str, about: str) -> None:
        for remark in reply.remarks:
            self.record_event("irregular", f"{detail}: {remark}", about)
        if reply.status == "cut":
            self.record_event("truncated", f"{detail} ({reply.stop_reason})", about)
        if reply.status == "filtered":
            self.record_event("filtered", detail, about)
        if not reply.text.strip():
            self.record_event("empty", detail, about)
        if reply.cleaned:
            self.record_event("cleaned", f"{detail}: {reply.cleaned} characters", about)

    async def generate_parsed(
        self,
        purpose: str,
        messages: Conversation,
        parse: Callable[[str], T],
        *,
        fallback: str,
        model: str | None = None,
        draw: int = 0,
        about: str = "",
    ) -> T | None:
        """A parsed reply; after the last re-ask the fallback is recorded and what could be read is returned."""
        prompt, partial, problem = messages, None, "the call failed"
        for attempt in range(self._spec.max_parse_retries + 1):
            label = purpose if attempt == 0 else f"{purpose} (asked again)"
            reply = await self.generate(label, prompt, model=model, draw=_number_attempt(draw, attempt), about=about)
            if reply is None:
                break
            try:
                return parse(reply.text)
            except ParseError as exc:
                problem = str(exc)
                partial = exc.partial if exc.partial is not None else partial
            if attempt < self._spec.max_parse_retries:
                self.record_event("reask", f"{purpose}: {problem}", about)
                shown = reply.text[:MAX_QUOTED_CHARS].strip() or "(no text)"
                prompt = (*messages, Message("assistant", shown), Message("user", REASK_PROMPT.format(problem=problem)))
        self.record_event("fallback", f"{purpose}: {problem}; {fallback}", about)
        return partial

    say = RenamedMethod("generate")
    ask = RenamedMethod("generate_parsed")
    note = RenamedMethod("record_event")


def _number_attempt(draw: int, attempt: int) -> int:
    """The draw with which an attempt at a sample is asked for.

    Draw 0 counts its attempts from 0, as the call stores of earlier releases have them. Attempts at other draws are a
    stride apart, so that no attempt at one sample is an attempt at another. Equal numbers remain only between a re-ask
    of draw 0 and the first attempt at another draw; their prompts differ, since a re-ask holds the reply it is about,
    and the prompt is part of a stored call's key.
    """
    return draw + attempt * (ATTEMPT_STRIDE if draw else 1)
