"""A thin first attempt at OpenAI-compatible endpoints, in front of Inspect's own provider.

    fast = create_direct_client(get_model("openai/gpt-4o"))        # None where the same request cannot be guaranteed
    replies = await fast(call)                          # None: nothing usable came back, let Inspect do it

The request is the one Inspect would send: its parameters come from Inspect's own function, it waits in Inspect's
connection pool, and its usage goes into Inspect's totals and limits. Whatever is not a plain success (a refused
connection, another status, a reply of odd form) is left to Inspect's provider, with its retries and errors.
Several draws of one prompt go out as one request with `n`, until the endpoint turns out not to honour it.
"""

import json
import os
import random
import re
import time
import urllib.request
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import anyio
import anyio.lowlevel
import sniffio
from inspect_ai.model import GenerateConfig, Model, ModelUsage
from inspect_ai.util import LimitExceededError

from archon_eval._inspect_compat import (
    DIRECT_PATH_METHODS,
    OpenAIAPI,
    OpenAICompatibleAPI,
    active_controller,
    active_generate_config,
    check_limits_before_dispatch,
    check_message_limit,
    completion_params_completions,
    generate_config_override_for_attempt,
    get_all_hooks,
    is_agent_generate,
    open_connection_slot,
    record_and_check_model_usage,
    record_turn,
    report_http_retry,
    resolve_config,
    sample_wait,
    wait_generate_dispatch,
)
from archon_eval.architecture.spec import GenerationSettings
from archon_eval.models.call import Call, Reply
from archon_eval.models.connections import PriorityLock, SessionPool
from archon_eval.models.conversion import to_config
from archon_eval.models.openai_replies import parse_plain_choice, parse_usage, parse_with_inspect, split_usage

MAX_DRAWS = 10
"""The most draws in one request: a failed request loses them all, and each waits for the longest."""
MAX_RETRY_WAIT = 60.0
"""Seconds of a retry-after header that are waited here."""
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

N_PARAM_ERROR = re.compile(rb"(?<!\\)\bn\b")
"""An error that is about the parameter `n`."""


def create_direct_client(model: Model) -> "OpenAIDirect | None":
    """The fast path of a model, None where the request could differ from Inspect's own in anything that matters."""
    api: Any = model.api
    if model.model_args or urllib.request.getproxies() or telemetry_enabled("INSPECT_TELEMETRY"):
        return None
    if type(api) is OpenAIAPI:
        special = (api.service, api.responses_api, api.service_tier, api.streaming is True, api.is_gpt_5())
        keys = (api.prompt_cache_key, api.prompt_cache_retention, api.safety_identifier)
        odd = any(special) or any(isinstance(key, str) for key in keys)
        odd = odd or api.is_o_series() or "vision" in api.model_family()
    elif isinstance(api, OpenAICompatibleAPI):
        base, own = OpenAICompatibleAPI, type(api)
        odd = any(getattr(own, name) is not getattr(base, name, None) for name in DIRECT_PATH_METHODS)
        odd = odd or bool(api.emulate_tools or api.responses_api or api.resolve_stream(GenerateConfig()))
    else:
        return None
    if odd:  # vLLM's has no client yet
        return None
    client = api.client
    usable = isinstance(client.api_key, str) and client.api_key and not client.default_query
    return OpenAIDirect(model) if usable else None


def telemetry_enabled(variable: str) -> bool:
    """Whether somebody asked to be told of every call."""
    return bool(os.environ.get(variable))


@dataclass(slots=True)
class _SharedRequest:
    """One request's replies, for the calls that share it."""

    replies: list[Reply] = field(default_factory=list)
    refused: bool = False
    """Whether the endpoint rejected the request, which may be for its `n`."""
    done: anyio.Event = field(default_factory=anyio.Event)


@dataclass(slots=True)
class _DrawGroup:
    """Draws of one prompt asked for in the same turn of the event loop."""

    members: int = 0
    closed: anyio.Event = field(default_factory=anyio.Event)
    shares: dict[int, _SharedRequest] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _RequestTemplate:
    """What the requests with some settings have in common."""

    active: GenerateConfig
    config: GenerateConfig
    params: dict[str, Any] | None
    """None when these settings go Inspect's way."""


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """What all requests of a client have in common."""

    client: Any
    key: str
    url: str
    headers: dict[str, str]


class OpenAIDirect:
    """Sends calls of one model."""

    def __init__(self, model: Model) -> None:
        self._model, self._api = model, model.api
        self._supports_n, self._unreadable = True, False
        self._priority_lock = PriorityLock()
        self._templates: dict[GenerationSettings, _RequestTemplate] = {}
        self._groups: dict[tuple[object, ...], _DrawGroup] = {}
        self._sessions = SessionPool()
        self._endpoint: _Endpoint | None = None

    async def __call__(self, call: Call) -> Reply | None:
        """The reply, or None when the call is Inspect's."""
        if not self._is_supported() or (request := self._get_template(call.settings)).params is None:
            return None
        if not self._supports_n or call.settings.seed is not None:
            return next(iter(await self._send_request(call, request, 1)), None)
        key = (call.question, call.epoch, call.settings, call.messages)
        group = self._groups.setdefault(key, _DrawGroup())
        place, group.members = group.members, group.members + 1
        number, index = divmod(place, MAX_DRAWS)
        share = group.shares.setdefault(number, _SharedRequest())
        try:
            await self._wait_for_draws(key, group, place)
            if index == 0:
                size = min(MAX_DRAWS, group.members - number * MAX_DRAWS)
                share.replies = await self._send_request(call, request, size, share)
        finally:
            if index == 0:
                share.done.set()
        if index == 0:
            return next(iter(share.replies), None)
        await share.done.wait()
        if len(share.replies) <= index:
            if self._unreadable:
                return None
            alone = await self._send_request(call, request, 1)
            if alone and share.refused:
                self._supports_n = False
            return next(iter(alone), None)
        return share.replies[index]

    async def _wait_for_draws(self, key: tuple[object, ...], group: _DrawGroup, place: int) -> None:
        """Until the other draws of the prompt, if any, have arrived."""
        if place:
            return await group.closed.wait()
        try:
            await anyio.lowlevel.checkpoint()
        finally:
            del self._groups[key]
            group.closed.set()

    def _is_supported(self) -> bool:
        """Whether nothing about the moment needs Inspect's own way."""
        return (
            not self._unreadable
            and sniffio.current_async_library() == "asyncio"
            and not telemetry_enabled("INSPECT_DISABLE_MODEL_API")
            and not is_agent_generate()
            and not any(hook.enabled() for hook in get_all_hooks())
        )

    def _get_template(self, settings: GenerationSettings) -> _RequestTemplate:
        active, known = active_generate_config(), self._templates.get(settings)
        if known is None or known.active is not active:
            config = resolve_config(self._model, to_config(settings))
            if config.max_tokens is None:
                config.max_tokens = self._api.max_tokens_for_config(config) or self._api.max_tokens()
            given = config.model_dump(exclude_none=True)
            odd = [name for name, value in given.items() if name not in SUPPORTED_CONFIG and value is not False]
            params = None if odd else self._build_params(config)
            known = _RequestTemplate(active, config, params if params and params.keys() <= BODY_PARAMS else None)
            self._templates[settings] = known
        return known

    def _build_params(self, config: GenerateConfig) -> dict[str, Any]:
        """The body without its messages, by Inspect's own function."""
        api: Any = self._api
        plain = isinstance(api, OpenAIAPI)
        return completion_params_completions(api, config, False) if plain else api.completion_params(config, False)

    async def _send_request(
        self, call: Call, request: _RequestTemplate, n: int, share: _SharedRequest | None = None
    ) -> list[Reply]:
        """At most `n` replies to one request; none where it is left to Inspect."""
        body = self._build_body(call, request, n)
        check_message_limit(len(call.messages), raise_for_equal=True)
        pool = open_connection_slot(self._model, request.config)
        async with self._priority_lock.acquire(call.question):
            connection = await pool.__aenter__()
        wait = 0.0
        try:
            await wait_generate_dispatch(self._model, connection)
            check_limits_before_dispatch()
            limit = generate_config_override_for_attempt("attempt_timeout", request.config)
            started = time.monotonic()
            payload = None
            with anyio.move_on_after(limit) if limit is not None else nullcontext():
                payload, wait = await self._post_request(body, share if n > 1 else None)
            if payload is not None:
                replies = self._parse_replies(payload, time.monotonic() - started, n)
                if replies and (controller := active_controller.get()) is not None:
                    controller.notify_success()
                return replies
        finally:
            await pool.__aexit__(None, None, None)
        if wait:
            with sample_wait():
                await anyio.sleep(wait)
        return []

    def _build_body(self, call: Call, request: _RequestTemplate, n: int) -> bytes:
        messages = [{"role": message.role, "content": message.content} for message in call.messages]
        several = {"n": n} if n > 1 else {}
        return json.dumps({"messages": messages, **(request.params or {}), **several}).encode()

    async def _post_request(self, body: bytes, share: _SharedRequest | None) -> tuple[Any, float]:
        """The parsed body of a success, else None and how long to wait before anybody asks again."""
        target, session = self._get_endpoint(), await self._sessions.get()
        try:
            async with session.post(target.url, data=body, headers=target.headers, allow_redirects=False) as response:
                data = await response.read()
                if response.status // 100 == 2:
                    return json.loads(data), 0.0
                if response.status in (400, 422) and share is not None:
                    share.refused = True
                    self._supports_n = self._supports_n and not N_PARAM_ERROR.search(data)
                return None, self._report_refusal(response.status, response.headers)
        except aiohttp.ClientResponseError:  # more or longer headers, say, than this client takes: so at every call
            self._unreadable = True
            return None, 0.0
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError, RecursionError):
            return None, 0.0

    def _get_endpoint(self) -> _Endpoint:
        """Where to send, made anew when Inspect has a new client or key."""
        client: Any = self._api.client  # type: ignore[attr-defined]
        known = self._endpoint
        if known is None or known.client is not client or known.key != client.api_key:
            given = {name: value for name, value in client.default_headers.items() if isinstance(value, str)}
            headers = {**given, "Authorization": f"Bearer {client.api_key}"}
            known = _Endpoint(client, client.api_key, f"{client.base_url}chat/completions", headers)
            self._endpoint = known
        return known

    def _report_refusal(self, status: int, headers: Any) -> float:
        """Tell Inspect's adaptive limit of a refusal as Inspect would, and how long to wait."""
        if status != 429 and status < 500:
            return 0.0
        try:
            after = max(0.0, float(headers.get("retry-after", "1")))  # in this order NaN is 0
        except ValueError:
            after = 1.0
        kind: Any = "rate_limit" if status == 429 else "transient"
        report_http_retry(kind, after, self._api.qualified_model_name)
        return min(after, MAX_RETRY_WAIT) * random.uniform(1.0, 1.25)

    def _parse_replies(self, payload: Any, seconds: float, n: int) -> list[Reply]:
        """The replies of a payload, their usage counted by Inspect; none for what is no completion."""
        try:
            given = [
                {"finish_reason": None, **choice, "index": place if choice.get("index") is None else choice["index"]}
                for place, choice in enumerate(payload["choices"])
            ]
            choices = sorted(given, key=lambda choice: int(choice["index"]))[:n]
            counted = parse_usage(payload.get("usage"))
            replies = [parse_plain_choice(choice) for choice in choices]
            if None in replies:
                replies = list(parse_with_inspect(self._api, {**payload, "choices": choices}))
        except Exception:  # noqa: BLE001 (of a form that only Inspect reads: paid for twice once, not at every call)
            self._unreadable |= isinstance(payload, dict) and bool(payload.get("choices"))
            return []
        found = [reply for reply in replies if reply is not None]
        if n > 1 and 0 < len(found) < n:
            self._supports_n = False
        limit = self._record_usage(counted, len(found)) if found else None
        shares = zip(found, split_usage(counted, [len(reply.text) for reply in found]), strict=True)
        return [replace(reply, usage=usage, seconds=seconds, limit=limit) for reply, usage in shares]

    def _record_usage(self, usage: ModelUsage | None, turns: int) -> LimitExceededError | None:
        """Count a request in Inspect's totals; the limit it goes over, which must not lose the replies."""
        limit = None
        for place in range(turns + 1):
            try:
                if place:
                    record_turn()
                elif usage is not None:
                    record_and_check_model_usage(self._model, usage, self._model.role)
            except LimitExceededError as exc:
                limit = limit or exc
        return limit
