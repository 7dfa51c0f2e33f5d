"""Between Inspect's messages, transcript and metadata and the engine's: used by the solver and the model provider.

engine = build_engine(architecture, models)               # everything wrong with them is said here
answer = await engine.run(to_conversation(state.messages), epoch=state.epoch)
"""

import gc
import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from inspect_ai.model import ChatMessage, ContentText

from archon_eval.architecture.load import ArchitectureSource, load_architecture
from archon_eval.architecture.spec import Architecture
from archon_eval.engine.engine import Engine
from archon_eval.errors import ArchitectureError, ArchonError, ModelError, quote
from archon_eval.integrations.inspect_transcript import TranscriptObserver
from archon_eval.models.budget import Budget, BudgetConfig, require_max_tokens
from archon_eval.models.client import build_client
from archon_eval.models.model_names import parse_model_names
from archon_eval.models.prerequisites import make_prerequisite_error
from archon_eval.models.prices import PriceTable
from archon_eval.models.store import CallStore
from archon_eval.types import Conversation, Message

PATH_TYPES: Any = str | os.PathLike
OPTION_TYPES: Mapping[str, tuple[Any, str]] = {
    "architecture": (PATH_TYPES | Mapping | Architecture, "a preset's name, a file, a mapping or an Architecture"),
    "models": (str | Sequence | None, "a list of names such as openai/gpt-4o, or text with commas"),
    "store": (PATH_TYPES | CallStore | None, "the path of a call store"),
    "store_policy": (str | None, "off, reuse, record or replay"),
    "budget": (str | Mapping | BudgetConfig | Budget | None, "limits such as {eval: {dollars: 20}}"),
    "prices": (PATH_TYPES | PriceTable | None, "the path of a price file"),
    "trace": (str, "full, compact or calls"),
}
"""What each option of `build_engine` may be, and how to say so; what its text may be is checked where it is read."""
GC_THRESHOLD = 10_000
"""New objects after which the garbage collector looks at them."""


def build_engine(
    architecture: ArchitectureSource,
    models: str | Sequence[str] | None,
    *,
    store: str | os.PathLike[str] | CallStore | None = None,
    store_policy: str | None = None,
    budget: Mapping[str, Any] | str | BudgetConfig | Budget | None = None,
    prices: str | os.PathLike[str] | PriceTable | None = None,
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
        loaded = load_architecture(architecture, parse_model_names(models)).with_models(())
        specs = [spec for layer in loaded.layers for spec in layer]
        caller = build_client(
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
        raise make_prerequisite_error(str(exc)) from None


@cache
def freeze_imported_objects() -> None:
    """Once in a process of evals, when everything is imported: the garbage collector leaves what is there alone, and
    looks at the rest less often. The harness's modules are hundreds of thousands of objects, which it would go through
    again and again for the few that a call makes. Not for a user's own program, whose objects (a large model, say)
    would never be freed if they were in a cycle."""
    gc.freeze()
    if 0 < gc.get_threshold()[0] < GC_THRESHOLD:
        gc.set_threshold(GC_THRESHOLD)


def _check_types(**given: Any) -> None:
    for name, value in given.items():
        types, words = OPTION_TYPES[name]
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
