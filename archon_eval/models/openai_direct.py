"""A thin way to OpenAI-compatible endpoints, in front of Inspect's own provider.

    direct = create_direct_client(get_model("openai/gpt-4o"))   # None where the same request cannot be guaranteed
    reply = await direct(call)                                  # None: nothing usable came back, let Inspect do it

The request is the one Inspect would send: its parameters come from Inspect's own function, it waits in Inspect's
connection pool, and its usage goes into Inspect's totals and limits. Several draws of one prompt go out as one request
with `n`, until the endpoint turns out not to honour it. A request that is refused for now (429, 503) waits as long as
it is told and is sent again as it is. What is neither that nor a reply (a refused connection, a rejected request, a
page that is no JSON) is left to Inspect's provider, with its retries and errors.
"""

import itertools
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
    parse_retry_after,
    record_and_check_model_usage,
    record_turn,
    report_http_retry,
    report_refusal,
    sample_wait,
    wait_for_dispatch,
)
from archon_eval.errors import CompletionError, FailureKind, ModelError
from archon_eval.models.call import Call, Reply, split_usage
from archon_eval.models.connections import LazyEvent, PressureGate, PriorityLock, SessionPool
from archon_eval.models.context_window import OVERFLOW_TEXT, is_overflow
from archon_eval.models.conversion import redact
from archon_eval.models.openai_replies import (
    TokenCounts,
    classify_error,
    limit_wait,
    parse_completion,
)
from archon_eval.models.openai_request import RequestBuilder, RequestTemplate, find_obstacle
from archon_eval.models.replies import build_reply, to_usage

MAX_DRAWS = 10
"""The most draws in one request: a failed request loses them all, and each waits for the longest."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before a request is sent again where the endpoint does not say: doubled each time, up to the longest."""
BUSY_STATUSES = frozenset({408, 429, 502, 503, 504, 529})
"""Statuses that say nothing about the request but that it came at the wrong time."""
MAX_BAD_SUCCESSES = 2
"""How often a request is sent again, at most, whose success by its status was a failure by its body."""
N_PARAM_ERROR = re.compile(rb"(?<!\\)\bn\b")
"""An error that is about the parameter `n`."""


def create_direct_client(model: Model) -> "OpenAIDirect | None":
    """The direct path of a model, None where the request could differ from Inspect's own in anything that matters."""
    return None if find_obstacle(model) else OpenAIDirect(model)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a request has no reply yet."""

    message: str
    kind: FailureKind
    wait: float | None = None
    """Seconds to wait, where the endpoint says."""
    asked: float | None = None
    """Seconds that the endpoint asked for, which may be too many."""
    busy: bool = True
    """Whether it was the status that said so, and not the body of a success."""


@dataclass(slots=True)
class _SharedRequest:
    """One request's replies, for the calls that share it."""

    replies: list[Reply | ModelError] = field(default_factory=list)
    failure: ModelError | None = None
    """Why there are none, for good."""
    refused: bool = False
    """Whether the endpoint rejected the request, which may be for its `n`."""
    done: LazyEvent = field(default_factory=LazyEvent)


@dataclass(slots=True)
class _DrawGroup:
    """Draws of one prompt asked for in the same turn of the event loop."""

    members: int = 0
    closed: LazyEvent = field(default_factory=LazyEvent)
    shares: dict[int, _SharedRequest] = field(default_factory=dict)


class OpenAIDirect:
    """Sends calls of one model."""

    def __init__(self, model: Model) -> None:
        self._model, self._api = model, model.api
        self._supports_n, self._unreadable = True, False
        self._priority_lock, self._gate = PriorityLock(), PressureGate()
        self._requests = RequestBuilder(model)
        self._groups: dict[tuple[object, ...], _DrawGroup] = {}
        self._sessions = SessionPool()

    async def __call__(self, call: Call) -> Reply | None:
        """The reply, or None when the call is Inspect's.

        Raises:
            ModelError: it failed for good.
        """
        if self._find_obstacle() or _find_parts(call):
            return None
        if (request := self._requests.get_template(call.settings)).params is None:
            return None
        if not self._supports_n or call.settings.seed is not None:
            return _take_reply(await self._send_request(call, request, 1), 0)
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
        except ModelError as exc:
            share.failure = exc
            raise
        finally:
            if index == 0:
                share.done.set()
        if index == 0 and (share.replies or not share.refused):
            return _take_reply(share.replies, 0)
        await share.done.wait()
        if share.failure is not None:
            raise ModelError(str(share.failure))
        if index < len(share.replies):
            return _take_reply(share.replies, index)
        if self._unreadable:
            return None
        alone = _take_reply(await self._send_request(call, request, 1), 0)
        if alone is not None and share.refused:
            self._supports_n = False
        return alone

    async def _wait_for_draws(self, key: tuple[object, ...], group: _DrawGroup, place: int) -> None:
        """Until the other draws of the prompt, if any, have arrived."""
        if place:
            return await group.closed.wait()
        try:
            await anyio.lowlevel.checkpoint()
        finally:
            del self._groups[key]
            group.closed.set()

    def find_obstacle(self, call: Call) -> str:
        """What about the call or the moment needs Inspect's own way, in words; empty for nothing."""
        return self._find_obstacle() or _find_parts(call) or self._requests.get_template(call.settings).obstacle

    def _find_obstacle(self) -> str:
        if self._unreadable:
            return "its answers have a form that only Inspect's provider reads"
        if sniffio.current_async_library() != "asyncio":
            return "it runs on asyncio only"
        if os.environ.get("INSPECT_DISABLE_MODEL_API"):
            return "INSPECT_DISABLE_MODEL_API is set"
        if is_agent_generate():
            return "an agent asks"
        if any(hook.enabled() for hook in get_all_hooks()):
            return "a hook of Inspect's is to see every call"
        return ""

    async def _send_request(
        self, call: Call, request: RequestTemplate, n: int, *, share: _SharedRequest | None = None
    ) -> list[Reply | ModelError]:
        """At most `n` replies to one request, sent again while the endpoint is busy; none where it is Inspect's.

        Raises:
            ModelError: refused for good, or more often than the configuration allows.
        """
        started, bad = time.monotonic(), 0
        remarks: tuple[str, ...] = ()
        retries, timeout = request.config.max_retries, request.config.timeout
        for attempt in itertools.count(1):
            outcome = await self._try_request(call, request, n, share=share, first=attempt == 1)
            if not isinstance(outcome, _Refusal):
                return _add_remarks(outcome, remarks)
            bad += not outcome.busy
            spent = (retries is not None and attempt > retries) or bad > MAX_BAD_SUCCESSES
            if outcome.kind == "permanent" or spent or (timeout is not None and time.monotonic() - started >= timeout):
                times = f"gave up after {attempt} attempts: " if attempt > 1 else ""
                raise ModelError(f"{call.model}: {times}{redact(outcome.message)}")
            if not outcome.busy:
                remarks = (*remarks, f"asked again after: {redact(outcome.message)}")
            wait = outcome.wait
            if wait != outcome.asked:
                remarks = (*remarks, f"asked again after {wait:g} seconds, not {outcome.asked:g} as the server said")
            if wait is None:
                wait = min(FIRST_WAIT * 2 ** min(attempt - 1, 10), LONGEST_WAIT)
            with sample_wait():
                await anyio.sleep(wait * random.uniform(1.0, 1.1))
        raise AssertionError("the loop has no end of its own")

    async def _try_request(
        self, call: Call, request: RequestTemplate, n: int, *, share: _SharedRequest | None, first: bool
    ) -> "list[Reply | ModelError] | _Refusal":
        """One attempt, in its turn."""
        body = request.build_body(call, n)
        check_message_limit(len(call.messages), raise_for_equal=True)
        pool = open_connection_slot(self._model, request.config)
        async with self._priority_lock.acquire(call.question):
            await self._gate.wait_for_room()
            connection = await pool.__aenter__()
            self._gate.start()
        refused: bool | None = None
        try:
            await wait_for_dispatch(self._model, connection)
            check_limits_before_dispatch()
            limit = generate_config_override_for_attempt("attempt_timeout", request.config)
            started = time.monotonic()
            outcome: Any = None
            with anyio.move_on_after(limit) if limit is not None else nullcontext():
                outcome = await self._post_request(body, share if n > 1 else None)
            if outcome is None:
                return []
            if not isinstance(outcome, _Refusal):
                outcome = self._parse_replies(outcome[0], call.model, time.monotonic() - started, n=n)
            refused = isinstance(outcome, _Refusal) and outcome.kind != "permanent" and outcome.busy
            if isinstance(outcome, _Refusal):
                if outcome.kind != "permanent":
                    kind: Any = outcome.kind
                    report_http_retry(kind, outcome.wait, self._api.qualified_model_name)
                return outcome
            replies: list[Reply | ModelError] = outcome
            if replies and first and (controller := active_controller.get()) is not None:
                controller.notify_success()
            return replies
        finally:
            self._gate.finish(refused, self._priority_lock.waiting)
            await pool.__aexit__(None, None, None)

    async def _post_request(self, body: bytes, share: _SharedRequest | None) -> "tuple[Any] | _Refusal | None":
        """The parsed body of a success (which may be null), why there is none yet, or None where Inspect is to ask."""
        target, session = self._requests.get_endpoint(), await self._sessions.get()
        try:
            async with session.post(target.url, data=body, headers=target.headers, allow_redirects=False) as response:
                data = await response.read()
                if response.status // 100 == 2:
                    return (json.loads(data),)
                return self._read_refusal(response.status, response.headers, data, share=share)
        except aiohttp.ClientResponseError:  # more or longer headers, say, than this client takes: so at every call
            self._unreadable = True
            return None
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError, RecursionError):
            return None

    def _read_refusal(self, status: int, headers: Any, data: bytes, *, share: _SharedRequest | None) -> _Refusal | None:
        """What a status other than a success asks for; None where it is Inspect's to say."""
        error = _parse_error(data)
        if error.hopeless:
            said = OVERFLOW_TEXT if is_overflow(str(error)) else f"HTTP {status}"
            return _Refusal(f"{said}: {error}", "permanent")
        if share is not None and (status in (400, 422) or 500 <= status not in BUSY_STATUSES):
            share.refused = True  # it may be for its `n`: each draw asks alone
            self._supports_n = self._supports_n and not (status < 500 and N_PARAM_ERROR.search(data))
            return None
        if status < 500 and status not in BUSY_STATUSES:
            return None
        kind: FailureKind = "rate_limit" if status == 429 else "transient"
        asked = parse_retry_after(headers)
        return _Refusal(f"HTTP {status}: {error}", kind, limit_wait(asked), asked=asked)

    def _parse_replies(
        self, payload: Any, model: str, seconds: float, *, n: int
    ) -> "list[Reply | ModelError] | _Refusal":
        """The replies of a payload, their usage counted by Inspect; a draw that the provider refused is an error."""
        try:
            completion = parse_completion(payload, self._requests.get_model_name(), n)
        except CompletionError as exc:
            return _Refusal(str(exc), exc.kind, busy=exc.kind == "rate_limit")
        del completion.choices[n:]
        if n > 1 and len(completion.choices) + completion.failed < n:
            self._supports_n = False
        counted = _count_usage(completion.usage)
        limit = self._record_usage(counted, len(completion.choices))
        whole = to_usage(counted)
        shares = split_usage(whole, [len(choice.text) + len(choice.thoughts) for choice in completion.choices])
        replies: list[Reply | ModelError] = []
        for choice, usage in zip(completion.choices, shares, strict=True):
            try:
                reply = build_reply(
                    model, choice.text, choice.stop_reason, whole, thoughts=choice.thoughts, seconds=seconds
                )
            except ModelError as exc:
                replies.append(exc)
                continue
            if choice.stop_reason == "content_filter":
                report_refusal(choice.text)
            is_whole = limit is None and usage == whole
            replies.append(reply if is_whole else replace(reply, usage=usage, limit=limit))
        return _add_remarks(replies, completion.remarks)

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


def _take_reply(replies: list[Reply | ModelError], place: int) -> Reply | None:
    """The reply at a place, None where there is none; raises what stands there instead."""
    found = replies[place] if place < len(replies) else None
    if isinstance(found, ModelError):
        raise found
    return found


def _add_remarks(replies: list[Reply | ModelError], remarks: tuple[str, ...]) -> list[Reply | ModelError]:
    """The replies, the first of them with what is to be said of their request."""
    for place, reply in enumerate(replies if remarks else ()):
        if isinstance(reply, Reply):
            return [*replies[:place], replace(reply, remarks=(*remarks, *reply.remarks)), *replies[place + 1 :]]
    return replies


def _count_usage(counts: TokenCounts | None) -> ModelUsage | None:
    """A completion's usage as Inspect counts it: cached input tokens apart."""
    if counts is None:
        return None
    return ModelUsage(
        input_tokens=counts.prompt - counts.cache_read - counts.cache_write,
        output_tokens=counts.completion,
        input_tokens_cache_read=counts.cache_read or None,
        input_tokens_cache_write=counts.cache_write or None,
        reasoning_tokens=counts.reasoning,
        total_tokens=counts.prompt + counts.completion,
    )


def _find_parts(call: Call) -> str:
    """What the call holds that is no text, in words; empty for nothing."""
    if call.tools is not None:
        return "tools are offered"
    return "" if all(message.is_text for message in call.messages) else "its messages hold more than text"


def _parse_error(data: bytes) -> CompletionError:
    """The error in the body of a refusal."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return CompletionError(data[:200].decode("utf-8", "replace").strip() or "no reason given")
    return classify_error(body.get("error") or body if isinstance(body, dict) else body)
