"""Lets Inspect's own OpenAI-compatible providers read what the direct path reads, in the same way.

    prepare_provider(model)                     # before a call; does its work once per client
    with open_call(retries) as observed:
        output = await model.generate(...)
    observed.remarks                            # what the server did otherwise than asked

A server's completion reaches Inspect tidied (`openai_replies`): thoughts apart from text, content that came in parts as
text, usage in numbers or absent. What is no reply never becomes one: it is asked for again, or it is a ModelError.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

import anyio
from inspect_ai.model import Model

from archon_eval._inspect_compat import OpenAIResponseError, construct_type, get_http_client
from archon_eval.errors import CompletionError, ModelError, quote
from archon_eval.models.conversion import redact
from archon_eval.models.openai_replies import QUOTA_WORDS, parse_completion, tidy_completion
from archon_eval.models.outage import find_outage

FIRST_WAIT = 0.5
"""Seconds before a request is sent again whose success by its status was a failure by its body; then doubled."""
MAX_BAD_SUCCESSES = 2
"""How often such a request is sent again, at most."""
_MARK = "_archon_reads_replies"


@dataclass(slots=True)
class ObservedCall:
    """One call through Inspect's provider."""

    retries: int | None
    """How often the configuration lets a request be sent again; None for any number."""
    remarks: list[str] = field(default_factory=list)


_current: ContextVar[ObservedCall | None] = ContextVar("archon_observed_call", default=None)


@contextmanager
def open_call(retries: int | None) -> Iterator[ObservedCall]:
    """The call whose requests are made within the context."""
    call = ObservedCall(retries)
    token = _current.set(call)
    try:
        yield call
    finally:
        _current.reset(token)


def prepare_provider(model: Model) -> None:
    """Put our reading of replies before Inspect's, within `open_call`; not with providers of other protocols.

    Raises:
        ModelError: the provider's address cannot be right.
    """
    api: Any = model.api
    if not getattr(api, _MARK, False):
        _stop_hopeless_retries(api)
        setattr(api, _MARK, True)
    client: Any = getattr(api, "client", None)
    completions = getattr(getattr(client, "chat", None), "completions", None)
    if completions is None or type(completions).__module__.partition(".")[0] != "openai":
        return
    if not getattr(completions, _MARK, False):
        require_base_url(str(model), str(client.base_url))
        completions.create = _read_like_direct_path(completions.create)
        setattr(completions, _MARK, True)
        hooks = get_http_client(client).event_hooks
        if not any(hook is _stop_sdk_retries for hook in hooks["response"]):
            get_http_client(client).event_hooks = {**hooks, "response": [*hooks["response"], _stop_sdk_retries]}


def require_base_url(model: str, url: str) -> None:
    """Refuse an address that cannot be right, before a key is sent there.

    Raises:
        ModelError: no http or https, no host, a port that is none, or the address of one function of the API.
    """
    problem = ""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            problem = "must begin with https:// or http://"
        elif not parts.hostname or any(char.isspace() for char in url):
            problem = "has no host"
        elif parts.port == 0:
            problem = "has no such port"
        elif parts.path.rstrip("/").endswith(("/chat/completions", "/completions", "/messages", "/responses")):
            problem = "must end before that, usually with /v1"
        elif parts.fragment:
            problem = "must have nothing after #"
    except ValueError as exc:
        problem = f"cannot be read ({exc})"
    if problem:
        raise ModelError(f"{model}: the base URL {quote(redact(url))} {problem}")


def _read_like_direct_path(create: Any) -> Any:
    """The SDK's `create`, whose completions come tidied."""

    @wraps(create)
    async def create_tidied(*args: Any, **request: Any) -> Any:
        call = _current.get()
        if call is None:  # somebody else's, who may want the thoughts' signatures or the tools
            return await create(*args, **request)
        retries = MAX_BAD_SUCCESSES if call.retries is None else min(call.retries, MAX_BAD_SUCCESSES)
        name, n = str(request.get("model") or ""), request.get("n")
        n = n if isinstance(n, int) else 1
        attempt = 0
        while True:
            completion = await create(*args, **request)
            page = isinstance(completion, str) and completion.lstrip().startswith("<")
            if request.get("stream") or page:  # of a page that is no JSON, asking again makes none
                return completion
            payload = completion.model_dump(warnings=False) if hasattr(completion, "model_dump") else completion
            try:
                parsed = parse_completion(payload, name, n)
            except CompletionError as exc:
                if exc.kind == "rate_limit":
                    raise OpenAIResponseError("rate_limit_exceeded", str(exc)) from None
                if exc.kind == "permanent" or attempt >= retries:
                    times = f"gave up after {attempt + 1} attempts: " if attempt else ""
                    raise ModelError(f"{name}: {times}{redact(str(exc))}") from None
                call.remarks.append(f"asked again after: {redact(str(exc))}")
            else:
                call.remarks += parsed.remarks
                return construct_type(type_=type(completion), value=tidy_completion(payload, parsed))
            await anyio.sleep(FIRST_WAIT * 2**attempt)
            attempt += 1

    return create_tidied


def _stop_hopeless_retries(api: Any) -> None:
    """Stop at a quota that is used up, which no waiting mends, and at an endpoint that is not there for long."""
    should_retry = api.should_retry

    def should_retry_with_hope(ex: BaseException) -> Any:
        if find_outage(api).is_over(ex):
            return False
        body = getattr(ex, "body", None)
        said = f"{getattr(ex, 'code', '')} {getattr(ex, 'message', '')} {body if isinstance(body, dict) else ''}"
        return False if QUOTA_WORDS.search(said) else should_retry(ex)

    api.should_retry = should_retry_with_hope


async def _stop_sdk_retries(response: Any) -> None:
    """The same for the SDK's own retries, under Inspect's."""
    if response.status_code == 429:
        data = await response.aread()
        if QUOTA_WORDS.search(data[:10_000].decode("utf-8", "replace")):
            response.headers["x-should-retry"] = "false"
