"""Which calls may be sent directly to an OpenAI-compatible endpoint, and the request that Inspect would send for them.

if not find_obstacle(model):
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
from archon_eval._notes import show_note
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


def find_obstacle(model: Model) -> str:
    """Why a request made here could differ from Inspect's own in anything that matters; empty where it cannot."""
    if model.model_args:
        return f"it has model arguments ({', '.join(sorted(model.model_args))})"
    if urllib.request.getproxies():
        return "a proxy is set in the environment"
    if telemetry_enabled():
        return "INSPECT_TELEMETRY is set"
    if obstacle := _find_own_ways(model.api):
        return obstacle
    client: Any = model.api.client  # type: ignore[attr-defined]
    if not isinstance(client.api_key, str) or not client.api_key or client.default_query:
        return "its key or its address is made anew for each request"
    return ""


def telemetry_enabled() -> bool:
    """Whether somebody asked to be told of every call."""
    return bool(os.environ.get("INSPECT_TELEMETRY"))


def _find_own_ways(api: Any) -> str:
    """What a provider does besides sending chat completions as they are; empty for nothing."""
    if type(api) is OpenAIAPI:
        special = (api.service, api.responses_api, api.service_tier, api.streaming is True, api.is_gpt_5())
        keys = (api.prompt_cache_key, api.prompt_cache_retention, api.safety_identifier)
        reasons = any(special) or any(isinstance(key, str) for key in keys)
        if reasons or api.is_o_series() or "vision" in api.model_family():
            return "Inspect sends this kind of model other requests than plain chat completions"
        return ""
    if isinstance(api, OpenAICompatibleAPI):
        base, missing = OpenAICompatibleAPI, object()
        if any(getattr(type(api), name, None) is not getattr(base, name, missing) for name in DIRECT_PATH_METHODS):
            return "its provider has requests of its own"  # vLLM's, which has no client yet, among others
        if api.emulate_tools or api.responses_api or api.resolve_stream(GenerateConfig()):
            return "Inspect sends it other requests than plain chat completions"
        return ""
    return "its provider is no OpenAI-compatible one"


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """What the requests with some settings have in common."""

    active: GenerateConfig
    """The harness's configuration under which it was made."""
    config: GenerateConfig
    params: dict[str, Any] | None
    """The body without its messages; None when these settings go Inspect's way."""
    obstacle: str = ""
    """Why they do, in words."""

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
        self._model_name = ""
        self._said: set[str] = set()

    def get_template(self, settings: GenerationSettings) -> RequestTemplate:
        """The template for some settings, made anew when the harness's configuration has changed."""
        active, template = active_generate_config(), self._templates.get(settings)
        if template is None or template.active is not active:
            config = resolve_config(self._model, to_config(settings))
            if config.max_tokens is None:
                config.max_tokens = self._api.max_tokens_for_config(config) or self._api.max_tokens()
            params, obstacle = self._build_params(config)
            self._say_left_out(settings, params)
            template = self._templates[settings] = RequestTemplate(active, config, params, obstacle)
        return template

    def _say_left_out(self, settings: GenerationSettings, params: dict[str, Any] | None) -> None:
        """Say once of a setting that Inspect's provider does not send."""
        if params is None:
            return
        sent = {"max_tokens" if name == "max_completion_tokens" else name for name in params}
        for name in settings.dump_non_none():
            if name not in sent and name not in self._said:
                self._said.add(name)
                show_note(f"{self._model}: {name} has no effect, as its provider does not send it")

    def _build_params(self, config: GenerateConfig) -> tuple[dict[str, Any] | None, str]:
        """The body without its messages, by Inspect's own function; or why there is none here."""
        values = config.model_dump(exclude_none=True)
        if other := [name for name, value in values.items() if name not in SUPPORTED_CONFIG and value is not False]:
            return None, f"the configuration has {', '.join(other)}"
        if isinstance(self._api, OpenAIAPI):
            params = completion_params_completions(self._api, config, False)
        else:
            params = self._api.completion_params(config, False)
        if params and params.keys() <= BODY_PARAMS:
            self._model_name = str(params.get("model") or "")
            return params, ""
        return None, f"its requests have {', '.join(sorted(set(params) - BODY_PARAMS)) or 'no parameters'}"

    def get_model_name(self) -> str:
        """The model's name in requests; empty before there was one."""
        return self._model_name

    def get_endpoint(self) -> Endpoint:
        """Where to send, made anew when Inspect has a new client or key."""
        client: Any = self._api.client
        endpoint = self._endpoint
        if endpoint is None or endpoint.client is not client or endpoint.key != client.api_key:
            defaults = {name: value for name, value in client.default_headers.items() if isinstance(value, str)}
            endpoint = self._endpoint = Endpoint(
                client,
                client.api_key,
                f"{str(client.base_url).rstrip('/')}/chat/completions",
                headers={**defaults, "Authorization": f"Bearer {client.api_key}"},
            )
        return endpoint
