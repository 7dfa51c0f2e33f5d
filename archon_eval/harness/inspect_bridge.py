"""Between Inspect's messages, transcript and metadata and the engine's: used by the solver and the model provider.

engine = ready(architecture, models)               # everything wrong with them is said here
answer = await engine.run(to_conversation(state.messages), epoch=state.epoch)
"""

import gc
import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from inspect_ai.model import ChatMessage, ContentText

from archon_eval.architecture import Architecture
from archon_eval.candidates import Conversation, Message
from archon_eval.engine import Engine
from archon_eval.errors import ArchitectureError, ArchonError, ModelError, quote
from archon_eval.harness.model_names import model_names
from archon_eval.harness.transcript import TranscriptObserver
from archon_eval.loading import ArchitectureSource, load_architecture
from archon_eval.models.accounting import summed
from archon_eval.models.budget import Allowance, Budget, require_max_tokens
from archon_eval.models.prerequisites import prerequisite
from archon_eval.models.prices import Prices
from archon_eval.models.stack import build_caller
from archon_eval.models.store import CallStore
from archon_eval.trail import Answer, LayerResult, TraceStep, Trace

PATH: Any = str | os.PathLike
LEGAL: Mapping[str, tuple[Any, str]] = {
    "architecture": (PATH | Mapping | Architecture, "a preset's name, a file, a mapping or an Architecture"),
    "models": (str | Sequence | None, "a list of names such as openai/gpt-4o, or text with commas"),
    "store": (PATH | CallStore | None, "the path of a call store"),
    "store_policy": (str | None, "off, reuse, record or replay"),
    "budget": (str | Mapping | Allowance | Budget | None, "limits such as {eval: {dollars: 20}}"),
    "prices": (PATH | Prices | None, "the path of a price file"),
    "trace": (str, "full, compact or calls"),
}
"""What each option of `ready` may be, and how to say so; what its text may be is checked where it is read."""
YOUNG_OBJECTS = 10_000
"""New objects after which the garbage collector looks at them."""


def ready(
    architecture: ArchitectureSource,
    models: str | Sequence[str] | None,
    *,
    store: str | os.PathLike[str] | CallStore | None = None,
    store_policy: str | None = None,
    budget: Mapping[str, Any] | str | Allowance | Budget | None = None,
    prices: str | os.PathLike[str] | Prices | None = None,
    trace: str = "full",
) -> Engine:
    """The architecture with its models looked up, or Inspect's own error for the user's mistakes.

    Args:
        architecture: a preset's name, a file or a mapping.
        models: fill its placeholders, strongest first.
        store: path of the call store; the environment variable ARCHON_STORE where it is None.
        store_policy: off, reuse (the default with a store), record or replay.
        budget: hard limits, `{question: {calls: 50}, eval: {dollars: 20}}` or `question.calls=50 eval.dollars=20`.
        prices: a price file, before the package's table.
        trace: full (an event per component), compact (one per question) or calls (Inspect's own per call).
    """
    try:
        _check_types(
            architecture=architecture,
            models=models,
            store=store,
            store_policy=store_policy,
            budget=budget,
            prices=prices,
            trace=trace,
        )
        loaded = load_architecture(architecture, model_names(models)).with_models(())
        specs = [spec for layer in loaded.layers for spec in layer]
        caller = build_caller(
            loaded.models,
            store=store,
            policy=store_policy,
            budget=budget,
            prices=prices,
            trace=trace,
            cancels=any(dict(spec.options).get("stop_after") for spec in specs),
        )
        for spec in (spec for spec in specs if spec.model):
            if caller.allowance.needs_max_tokens:
                require_max_tokens(spec.model, spec.settings)
        return Engine(loaded, caller, TranscriptObserver(trace))
    except ArchonError as exc:
        raise prerequisite(str(exc)) from None


@cache
def spare_the_collector() -> None:
    """Once in a process of evals, when everything is imported: the garbage collector leaves what is there alone, and
    looks at the rest less often. The harness's modules are hundreds of thousands of objects, which it would go through
    again and again for the few that a call makes. Not for a user's own program, whose objects (a large model, say)
    would never be freed if they were in a cycle."""
    gc.freeze()
    if 0 < gc.get_threshold()[0] < YOUNG_OBJECTS:
        gc.set_threshold(YOUNG_OBJECTS)


def _check_types(**given: Any) -> None:
    for name, value in given.items():
        types, words = LEGAL[name]
        if not isinstance(value, types):
            raise ArchitectureError(f"{name} must be {words}, not {quote(repr(value))} ({type(value).__name__})")


def to_conversation(messages: Sequence[ChatMessage]) -> Conversation:
    """Inspect's messages as ours.

    Raises:
        ModelError: a message that is not text (components read and write text only).
    """
    found = []
    for number, message in enumerate(messages, 1):
        if message.role == "tool" or getattr(message, "tool_calls", None):
            raise ModelError(f"message {number} calls a tool: an architecture answers with text and uses no tools")
        if not isinstance(message.content, str):
            others = [
                part.type for part in message.content if not isinstance(part, ContentText) and part.type != "reasoning"
            ]
            if others:
                raise ModelError(f"message {number} holds {others[0]}: components read and write text only")
        found.append(Message(message.role, message.text))
    return tuple(found)


def account(architecture: Architecture, answer: Answer) -> dict[str, Any]:
    """What a reader of scores must know of one question: what was called and what it took, in all, per model, per
    layer and per component of a layer with several (`models.accounting`); notes by kind.

    `seconds` is the time until the answer, and until a layer was done, by the clock or, where a reply was reused, by
    the record (`Trail.recorded`); per model and component it is the sum over calls, many of which run at once.
    """
    trail = answer.trail
    by_model: dict[str, list[TraceStep]] = {}
    by_layer: dict[int, list[TraceStep]] = {}
    for step in trail.steps:
        by_model.setdefault(step.model, []).append(step)
        by_layer.setdefault(step.layer, []).append(step)
    return {
        "architecture": architecture.name,
        "fingerprint": architecture.fingerprint,
        **_summed(trail.steps),
        "models": {model: _summed(steps) for model, steps in sorted(by_model.items())},
        "notes": trail.counts,
        "layers": [_layer(layer, by_layer.get(layer.layer, []), trail) for layer in trail.layers],
        "seconds": round(trail.sum_recorded_seconds() if trail.reuses else answer.seconds, 3),
    }


def _layer(layer: LayerResult, steps: Sequence[TraceStep], trail: Trace) -> dict[str, Any]:
    found = {**_summed(steps), "kind": layer.kind, "candidates": len(layer.candidates)}
    parts: dict[tuple[int, str], list[TraceStep]] = {}
    for step in steps:
        parts.setdefault((step.component, step.model), []).append(step)
    if len(parts) > 1:
        found["components"] = [{"model": model, **_summed(mine)} for (_, model), mine in sorted(parts.items())]
    return {**found, "seconds": round(trail.sum_recorded_seconds(layer.layer) if trail.reuses else layer.seconds, 3)}


def _summed(steps: Sequence[TraceStep]) -> dict[str, Any]:
    return summed([step.reply for step in steps])
