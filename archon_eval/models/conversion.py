"""Between Inspect's values and ours: messages, settings, errors, and where a model is reached.

>>> to_conversation([to_chat(Message("user", "Hi."))])
(Message(role='user', content='Hi.'),)
>>> to_config(GenerationSettings(temperature=0.5, max_tokens=10)).temperature
0.5

What a reply means is in `replies`.
"""

import json
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentText,
    GenerateConfig,
    Model,
)

from archon_eval._inspect_compat import active_generate_config, is_vllm
from archon_eval.architecture.spec import SETTING_NAMES, GenerationSettings
from archon_eval.errors import ModelError
from archon_eval.types import Conversation, Message

_CHAT_MESSAGES: dict[str, type[ChatMessageSystem] | type[ChatMessageUser] | type[ChatMessageAssistant]] = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)


def describe_endpoint(name: str, model: Model) -> str:
    """Where and how a model is reached, without secrets: `openai/gpt-4o at https://api.openai.com/v1/`."""
    url = _get_base_url(model.api)
    args = {k: v for k, v in sorted(model.model_args.items()) if not _SECRET_NAME.search(k)}
    where = f" at {re.sub('//[^/@]*@', '//', re.split('[?#]', url)[0])}" if url else ""
    return f"{name}{where}{f' with {json.dumps(args, sort_keys=True, default=str)}' if args else ''}"


def _get_base_url(api: Any) -> str:
    """The address of a provider, equal before and after the first call, and in every run.

    Empty for a server that Inspect starts itself: it has another port each time and is known by its model alone.
    """
    if is_vllm(api):  # which has neither client nor address before the first call
        key = str(api.connection_key())
        return key if "://" in key else ""
    if getattr(api, "server_process", None) is not None:  # SGLang's
        return ""
    url = getattr(getattr(api, "client", None), "base_url", None) or api.base_url or getattr(api, "endpoint_url", None)
    return str(url or "")


OPERATIONAL_OPTIONS = {
    *("max_connections", "adaptive_connections", "max_retries", "timeout", "attempt_timeout", "stream_idle_timeout"),
    *("cache", "batch", "fail_on_refusal"),
}
"""Configuration that decides how a request is sent, not what comes back."""
PRIVATE_OPTIONS = ("system_message", "extra_headers", "extra_body")
"""Configuration that may hold keys or a user's text: only its digest is stored."""


def config_not_in_settings(config: GenerateConfig, settings: GenerationSettings) -> str:
    """The configuration that is not from the settings, in canonical JSON; empty for none."""
    extra = config.model_dump(exclude_none=True, exclude=OPERATIONAL_OPTIONS | to_config(settings).model_fields_set)
    for name in extra.keys() & set(PRIVATE_OPTIONS):
        extra[name] = sha256(json.dumps(extra[name], sort_keys=True, default=str).encode()).hexdigest()[:16]
    return json.dumps(extra, sort_keys=True, default=str) if extra else ""


def ambient_config_key(settings: GenerationSettings) -> str:
    """What the harness's active configuration adds to a call, for a replay that builds no model."""
    return config_not_in_settings(active_generate_config(), settings)


def to_conversation(messages: Sequence[ChatMessage]) -> Conversation:
    """Inspect's messages as ours.

    Raises:
        ModelError: a message that is not text (components read and write text only).
    """
    conversation = []
    for number, message in enumerate(messages, 1):
        if message.role == "tool" or getattr(message, "tool_calls", None):
            raise ModelError(f"message {number} calls a tool: an architecture answers with text and uses no tools")
        parts = () if isinstance(message.content, str) else message.content
        other = next((p.type for p in parts if not isinstance(p, ContentText) and p.type != "reasoning"), None)
        if other:
            raise ModelError(f"message {number} holds {other}: components read and write text only")
        conversation.append(Message(message.role, message.text))
    return tuple(conversation)


def to_chat(message: Message) -> ChatMessage:
    """One of our messages as Inspect's."""
    return _CHAT_MESSAGES[message.role](content=message.content)


@lru_cache(maxsize=1024)
def to_config(settings: GenerationSettings) -> GenerateConfig:
    """Generation settings as Inspect's; what is not set is left to the provider."""
    values = settings.dump_non_none()
    if stop := values.pop("stop", None):
        values["stop_seqs"] = list(stop)
    return GenerateConfig(**values)


def read_settings(config: GenerateConfig) -> GenerationSettings:
    """What a configuration of Inspect's sets, of the settings an architecture knows; the rest is None.

    >>> read_settings(GenerateConfig(temperature=0.0, stop_seqs=["END"])).dump_non_none()
    {'temperature': 0.0, 'stop': ('END',)}
    """
    values: dict[str, Any] = {name: getattr(config, name, None) for name in SETTING_NAMES if name != "stop"}
    return GenerationSettings(**values, stop=tuple(config.stop_seqs or ()))


def describe_error(exc: BaseException) -> str:
    """What went wrong, with the cause that a retry wrapper hides."""
    inner = getattr(exc, "last_attempt", None)
    if inner is not None and (cause := inner.exception()) is not None:
        return f"gave up after {inner.attempt_number} attempts: {type(cause).__name__}: {cause}"
    if getattr(exc, "provider_message", None) and exc.__cause__:  # Inspect's own message quotes the whole request
        exc = exc.__cause__
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__


def make_call_error(model: str, exc: BaseException) -> ModelError:
    """The error of a call that failed for good, to be raised in place of the provider's, whose text has secrets."""
    if isinstance(exc, ModelError):
        return ModelError(redact(str(exc) if model in str(exc) else f"{model}: {exc}"))
    return ModelError(f"{model}: {redact(describe_error(exc))}")


def redact(text: str) -> str:
    """The text without the values of secret environment variables, at most 2,000 characters of it."""
    secrets = [(value, name) for name, value in os.environ.items() if len(value) >= 8 and _SECRET_NAME.search(name)]
    for value, name in sorted(secrets, key=lambda secret: -len(secret[0])):  # one may begin with another
        text = text.replace(value, f"<{name}>")
    return text if len(text) <= 2000 else text[:1000] + " … " + text[-1000:]
