"""Which calls may be sent directly to an OpenAI-compatible endpoint, and the request that Inspect would send for them.

if can_send_directly(model):
    builder = RequestBuilder(model)
    template = builder.get_template(call.settings)     # its `params` are None where the call is Inspect's
    body = template.build_body(call, n=3)
"""

import json
import os
import urllib.request
from dataclasses import dataclass
from typing import Any

from inspect_ai.model import GenerateConfig, Model

from archon_eval._inspect_compat import (
    DIRECT_PATH_METHODS,
    OpenAIAPI,
    OpenAICompatibleAPI,
    active_generate_config,
    completion_params_completions,
    resolve_config,
)
from archon_eval.architecture.spec import GenerationSettings
from archon_eval.models.call import Call
from archon_eval.models.conversion import to_config

SUPPORTED_CONFIG = {
    *("max_tokens", "temperature", "top_p", "top_k", "stop_seqs", "seed", "frequency_penalty", "presence_penalty"),
    *("max_connections", "adaptive_connections", "max_retries", "timeout", "attempt_timeout"),
}
"""Generation config under which the request is known to be the same; anything else goes Inspect's way."""
BODY_PARAMS = {
    *("model", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed"),
    *("frequency_penalty", "presence_penalty"),
}
"""Parameters that go into the body as they are; a provider that adds others is left to Inspect."""


def can_send_directly(model: Model) -> bool:
    """Whether a request made here cannot differ from Inspect's own in anything that matters."""
    if model.model_args or urllib.request.getproxies() or telemetry_enabled() or not _is_plain_provider(model.api):
        return False
    client: Any = model.api.client  # type: ignore[attr-defined]
    return bool(isinstance(client.api_key, str) and client.api_key and not client.default_query)


def telemetry_enabled() -> bool:
    """Whether somebody asked to be told of every call."""
    return bool(os.environ.get("INSPECT_TELEMETRY"))


def _is_plain_provider(api: Any) -> bool:
    """Whether a provider sends chat completions and adds nothing of its own to them."""
    if type(api) is OpenAIAPI:
        special = (api.service, api.responses_api, api.service_tier, api.streaming is True, api.is_gpt_5())
        keys = (api.prompt_cache_key, api.prompt_cache_retention, api.safety_identifier)
        reasons = any(special) or any(isinstance(key, str) for key in keys)
        return not (reasons or api.is_o_series() or "vision" in api.model_family())
    if isinstance(api, OpenAICompatibleAPI):
        base, missing = OpenAICompatibleAPI, object()
        if any(getattr(type(api), name, None) is not getattr(base, name, missing) for name in DIRECT_PATH_METHODS):
            return False  # vLLM's, which has no client yet, among others
        return not (api.emulate_tools or api.responses_api or api.resolve_stream(GenerateConfig()))
    return False


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """What the requests with some settings have in common."""

    active: GenerateConfig
    """The harness's configuration under which it was made."""
    config: GenerateConfig
    params: dict[str, Any] | None
    """The body without its messages; None when these settings go Inspect's way."""

    def build_body(self, call: Call, n: int) -> bytes:
        """The body of a request for `n` draws of a call."""
        messages = [{"role": message.role, "content": message.content} for message in call.messages]
        several = {"n": n} if n > 1 else {}
        return json.dumps({"messages": messages, **(self.params or {}), **several}).encode()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What all requests of a client have in common."""

    client: Any
    key: str
    url: str
    headers: dict[str, str]


class RequestBuilder:
    """Makes the requests of one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._api: Any = model.api
        self._templates: dict[GenerationSettings, RequestTemplate] = {}
        self._endpoint: Endpoint | None = None

    def get_template(self, settings: GenerationSettings) -> RequestTemplate:
        """The template for some settings, made anew when the harness's configuration has changed."""
        active, template = active_generate_config(), self._templates.get(settings)
        if template is None or template.active is not active:
            config = resolve_config(self._model, to_config(settings))
            if config.max_tokens is None:
                config.max_tokens = self._api.max_tokens_for_config(config) or self._api.max_tokens()
            template = self._templates[settings] = RequestTemplate(active, config, self._build_params(config))
        return template

    def _build_params(self, config: GenerateConfig) -> dict[str, Any] | None:
        """The body without its messages, by Inspect's own function."""
        values = config.model_dump(exclude_none=True)
        if any(name not in SUPPORTED_CONFIG and value is not False for name, value in values.items()):
            return None
        if isinstance(self._api, OpenAIAPI):
            params = completion_params_completions(self._api, config, False)
        else:
            params = self._api.completion_params(config, False)
        return params if params and params.keys() <= BODY_PARAMS else None

    def get_endpoint(self) -> Endpoint:
        """Where to send, made anew when Inspect has a new client or key."""
        client: Any = self._api.client
        endpoint = self._endpoint
        if endpoint is None or endpoint.client is not client or endpoint.key != client.api_key:
            defaults = {name: value for name, value in client.default_headers.items() if isinstance(value, str)}
            endpoint = self._endpoint = Endpoint(
                client,
                client.api_key,
                f"{client.base_url}chat/completions",
                headers={**defaults, "Authorization": f"Bearer {client.api_key}"},
            )
        return endpoint
