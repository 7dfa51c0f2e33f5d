"""Calls through Inspect's models, so that its providers, keys, retries, connection limits and transcript apply.

client = InspectClient(["openai/gpt-4o"])      # a wrong name or a missing key is an error here, before any call
reply = await client(Call("openai/gpt-4o", (Message("user", "hi"),), GenerationSettings()))
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inspect_ai.event import ModelEvent
from inspect_ai.model import CachePolicy, GenerateConfig, Model, ModelOutput, get_model
from inspect_ai.util import LimitExceededError

from archon_eval._inspect_compat import (
    active_generate_config,
    add_event,
    get_error_text,
    leave_out_model_events,
    resolve_config,
    update_event,
    use_model_event_sink,
)
from archon_eval._notes import show_note
from archon_eval.architecture.spec import GenerationSettings
from archon_eval.errors import ModelError
from archon_eval.models.call import Call, Reply
from archon_eval.models.conversion import (
    config_not_in_settings,
    describe_endpoint,
    from_tool_offer,
    make_call_error,
    redact,
    to_chat,
    to_config,
)
from archon_eval.models.draw import set_draw
from archon_eval.models.outage import find_outage, is_refused
from archon_eval.models.provider_repairs import open_call, prepare_provider
from archon_eval.models.replies import to_reply

if TYPE_CHECKING:
    from archon_eval.models.openai_direct import OpenAIDirect


class InspectClient:
    """The sender of an architecture's calls."""

    def __init__(self, models: Iterable[str], trace: str = "calls") -> None:
        """
        Args:
            models: Inspect's names.
            trace: with `calls` Inspect's transcript has its own event for every call, and there is no direct path.

        Raises:
            ModelError: a model whose provider is unknown, not installed or without a key.
        """
        self._trace_calls = trace == "calls"
        self._models: dict[str, Model] = {}
        self._direct_clients: dict[str, OpenAIDirect | None] = {}
        self._said: set[tuple[str, str]] = set()
        self._identities: dict[tuple[str, GenerationSettings], tuple[GenerateConfig, str, str]] = {}
        for name in models:
            self._get_model(name)

    def _get_model(self, name: str) -> Model:
        if name in self._models:
            return self._models[name]
        try:
            model = get_model(name)
            prepare_provider(model)
            self._direct_clients[name] = None if self._trace_calls else self._find_direct_client(name, model)
            self._models[name] = model
            return model
        except (LimitExceededError, ModelError):
            raise
        except Exception as exc:  # noqa: BLE001 (raised again, without the secrets of the original)
            raise ModelError(
                f"model {name!r} cannot be used: {redact(get_error_text(exc) or type(exc).__name__)}"
            ) from None

    async def __call__(self, call: Call) -> Reply:
        """The model's reply, or ModelError after the provider's own retries."""
        model = self._get_model(call.model)
        direct = self._direct_clients.get(call.model)
        if direct is not None:
            if (reply := await direct(call)) is not None:
                find_outage(model.api).note_answer()
                return reply
            self._say_obstacle(call.model, direct.find_obstacle(call))
        prepare_provider(model)
        started, cache, config = time.monotonic(), _build_cache_policy(call), _build_config(call)
        tools, choice, options = from_tool_offer(call.tools) if call.tools else ((), None, {})
        if options:
            config = config.model_copy(update=options)
        events, limit = _ModelEventSink(self._trace_calls), None
        retries = resolve_config(model, config).max_retries
        try:
            take = use_model_event_sink if self._trace_calls else leave_out_model_events
            with set_draw(call.draw, call.epoch), take(events), open_call(retries) as observed:
                messages = [to_chat(message, call.model) for message in call.messages]
                output = await model.generate(messages, list(tools), choice, config=config, cache=cache)
        except LimitExceededError as exc:
            if events.output is None:  # refused before anything was sent
                raise
            output, limit = events.output, exc
        except Exception as exc:  # noqa: BLE001 (raised again, without the secrets of the original)
            if is_refused(exc) and (outage := find_outage(model.api)).is_over(exc):
                where = describe_endpoint(call.model, model)
                raise ModelError(f"{where} takes no connections, for {outage.seconds:.0f} seconds by now") from None
            raise make_call_error(call.model, exc) from None
        find_outage(model.api).note_answer()
        seconds = time.monotonic() - started
        reply = to_reply(output, call.model, seconds, with_tools=call.tools is not None)
        reply = replace(reply, remarks=tuple(observed.remarks))
        if events.cached:
            reply = replace(reply, reused=True, seconds=output.time or 0.0)
        return replace(reply, limit=limit) if limit is not None else reply

    def _find_direct_client(self, name: str, model: Model) -> "OpenAIDirect | None":
        """The model's direct path; none with other providers, or with an Inspect that lacks what the path builds on."""
        if not any("OpenAI" in base.__name__ for base in type(model.api).__mro__):
            return None
        try:
            from archon_eval.models.openai_direct import create_direct_client
            from archon_eval.models.openai_request import find_obstacle
        except ImportError as exc:
            self._say_obstacle(name, f"this version of Inspect lacks what it builds on ({exc})")
            return None
        self._say_obstacle(name, find_obstacle(model))
        return create_direct_client(model)

    def _say_obstacle(self, model: str, obstacle: str) -> None:
        """Say once why a model's calls take the slower way."""
        if obstacle and (model, obstacle) not in self._said:
            self._said.add((model, obstacle))
            show_note(f"{model} is called through Inspect's own provider, one call per draw and slower: {obstacle}")

    def get_call_identity(self, call: Call) -> tuple[str, str]:
        """What decides a reply besides the call: the endpoint, and configuration that the harness adds, as text."""
        active = active_generate_config()
        identity = self._identities.get((call.model, call.settings))
        if identity is None or identity[0] is not active:
            model = self._get_model(call.model)
            config = resolve_config(model, to_config(call.settings))
            identity = (active, describe_endpoint(call.model, model), config_not_in_settings(config, call.settings))
            self._identities[call.model, call.settings] = identity
        return identity[1], identity[2]


@dataclass(slots=True)
class _ModelEventSink:
    """Inspect's events of one call: kept out of the transcript where ours show the same, and asked what came back."""

    shown: bool
    cached: bool = False
    """Whether the reply came from Inspect's cache."""
    output: ModelOutput | None = None
    """What came back, also when a limit keeps Inspect from handing it on."""

    def on_pending(self, event: ModelEvent) -> None:
        if self.shown:
            add_event(event)

    def on_complete(self, event: ModelEvent) -> None:
        self.cached = event.cache == "read"
        self.output = None if event.error else event.output
        if self.shown:
            update_event(event)


def _build_config(call: Call) -> GenerateConfig:
    """The call's settings, and the one limit of the harness that Inspect hands to its main model only."""
    config, limit = to_config(call.settings), active_generate_config().attempt_timeout
    return config if limit is None else config.model_copy(update={"attempt_timeout": limit})


def _build_cache_policy(call: Call) -> bool | CachePolicy:
    """Inspect's own cache, when the user turned it on, must tell the draws of one prompt apart (and, outside an eval,
    the epochs)."""
    wanted = active_generate_config().cache
    if not wanted:
        return False
    policy = wanted if isinstance(wanted, CachePolicy) else CachePolicy()
    return policy.model_copy(update={"scopes": {**policy.scopes, "archon_draw": f"{call.epoch}/{call.draw}"}})
