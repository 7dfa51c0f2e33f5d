"""A thin first attempt at OpenAI-compatible endpoints, in front of Inspect's own provider.

    direct = create_direct_client(get_model("openai/gpt-4o"))   # None where the same request cannot be guaranteed
    reply = await direct(call)                                  # None: nothing usable came back, let Inspect do it

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
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import anyio
import anyio.lowlevel
import sniffio
from inspect_ai.model import Model, ModelUsage
from inspect_ai.util import LimitExceededError

from archon_eval._inspect_compat import (
    active_controller,
    check_limits_before_dispatch,
    check_message_limit,
    generate_config_override_for_attempt,
    get_all_hooks,
    is_agent_generate,
    open_connection_slot,
    record_and_check_model_usage,
    record_turn,
    report_http_retry,
    sample_wait,
    wait_generate_dispatch,
)
from archon_eval.models.call import Call, Reply
from archon_eval.models.connections import PriorityLock, SessionPool
from archon_eval.models.openai_replies import parse_choices, parse_usage
from archon_eval.models.openai_request import RequestBuilder, RequestTemplate, can_send_directly
from archon_eval.models.replies import split_usage, to_usage

MAX_DRAWS = 10
"""The most draws in one request: a failed request loses them all, and each waits for the longest."""
MAX_RETRY_WAIT = 60.0
"""Seconds of a retry-after header that are waited here."""
N_PARAM_ERROR = re.compile(rb"(?<!\\)\bn\b")
"""An error that is about the parameter `n`."""


def create_direct_client(model: Model) -> "OpenAIDirect | None":
    """The direct path of a model, None where the request could differ from Inspect's own in anything that matters."""
    return OpenAIDirect(model) if can_send_directly(model) else None


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


class OpenAIDirect:
    """Sends calls of one model."""

    def __init__(self, model: Model) -> None:
        self._model, self._api = model, model.api
        self._supports_n, self._unreadable = True, False
        self._priority_lock = PriorityLock()
        self._requests = RequestBuilder(model)
        self._groups: dict[tuple[object, ...], _DrawGroup] = {}
        self._sessions = SessionPool()

    async def __call__(self, call: Call) -> Reply | None:
        """The reply, or None when the call is Inspect's."""
        if not self._is_supported() or (request := self._requests.get_template(call.settings)).params is None:
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
                share.replies = await self._send_request(call, request, size, share=share)
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
            and not os.environ.get("INSPECT_DISABLE_MODEL_API")
            and not is_agent_generate()
            and not any(hook.enabled() for hook in get_all_hooks())
        )

    async def _send_request(
        self, call: Call, request: RequestTemplate, n: int, *, share: _SharedRequest | None = None
    ) -> list[Reply]:
        """At most `n` replies to one request; none where it is left to Inspect."""
        body = request.build_body(call, n)
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

    async def _post_request(self, body: bytes, share: _SharedRequest | None) -> tuple[Any, float]:
        """The parsed body of a success, else None and how long to wait before anybody asks again."""
        target, session = self._requests.get_endpoint(), await self._sessions.get()
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
            choices = _sort_choices(payload["choices"])[:n]
            counted = parse_usage(payload.get("usage"))
            replies = parse_choices(self._api, payload, choices)
        except Exception:  # noqa: BLE001 (of a form that only Inspect reads: paid for twice once, not at every call)
            self._unreadable |= isinstance(payload, dict) and bool(payload.get("choices"))
            return []
        if n > 1 and 0 < len(replies) < n:
            self._supports_n = False
        limit = self._record_usage(counted, len(replies)) if replies else None
        shares = split_usage(to_usage(counted), [len(reply.text) for reply in replies])
        return [
            replace(reply, usage=usage, seconds=seconds, limit=limit)
            for reply, usage in zip(replies, shares, strict=True)
        ]

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


def _sort_choices(choices: Any) -> list[dict[str, Any]]:
    """A completion's choices in order of their index; one without an index stands where it is."""
    numbered = [
        {"finish_reason": None, **choice, "index": place if choice.get("index") is None else choice["index"]}
        for place, choice in enumerate(choices)
    ]
    return sorted(numbered, key=lambda choice: int(choice["index"]))
