"""Between Inspect's values and ours: messages, tools, settings, errors, and where a model is reached.

>>> to_conversation([to_chat(Message("user", "Hi."))])
(Message(role='user', content='Hi.'),)
>>> to_config(GenerationSettings(temperature=0.5, max_tokens=10)).temperature
0.5

What a reply means is in `replies`.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    Content,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    Model,
)
from inspect_ai.tool import ToolCall as InspectToolCall
from inspect_ai.tool import ToolChoice, ToolFunction, ToolInfo

from archon_eval._inspect_compat import active_generate_config, is_vllm
from archon_eval.architecture.spec import SETTING_NAMES, GenerationSettings
from archon_eval.errors import ModelError
from archon_eval.types import Conversation, Message, ToolCall, ToolDefinition, ToolOffer

_CHAT_MESSAGES: Mapping[str, Any] = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
    "tool": ChatMessageTool,
}
_KEPT_FIELDS = ("tool_call_id", "function", "error")
"""Fields of Inspect's messages that are sent, besides role, content and tool calls."""
_PROVIDER_PARTS = ("reasoning", "tool_use", "data")
"""Parts of an assistant's turn that only the model that wrote them can read: signed thoughts, its provider's tools."""
AUTHOR_KEY = "archon_author"
"""Where the metadata of an architecture's turn names the model whose turn it is, where its parts must go back to it."""
TOOL_OPTIONS = ("parallel_tool_calls", "internal_tools")
"""Generation config that says how tools may be used."""
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
    """Inspect's messages as ours; a turn with no more than text is its text.

    Thoughts are left out, but for those that the architecture's own turn must give back to the model that wrote it.
    """
    return tuple(map(_to_message, messages))


def _to_message(message: ChatMessage) -> Message:
    if isinstance(message.content, str) and not _has_other_fields(message):
        return Message(message.role, message.content)
    author = (message.metadata or {}).get(AUTHOR_KEY) if message.role == "assistant" else None
    extra: dict[str, Any] = {}
    if not isinstance(message.content, str):
        parts = [part for part in message.content if author or not isinstance(part, ContentReasoning)]
        if not all(isinstance(part, ContentText) for part in parts):
            extra = {"content": _dump_parts(parts)} | ({"author": author} if author else {})
    plain = message.model_dump(mode="json", include=set(_KEPT_FIELDS), exclude_none=True)
    extra |= {name: value for name, value in plain.items() if value}
    calls = tuple(map(to_tool_call, (message.role == "assistant" and message.tool_calls) or ()))
    return Message(message.role, message.text, calls, json.dumps(extra, sort_keys=True) if extra else "")


def _has_other_fields(message: ChatMessage) -> bool:
    if message.role == "assistant":
        return bool(message.tool_calls)
    return message.role == "tool" or (message.role == "user" and message.tool_call_id is not None)


def _dump_parts(parts: Sequence[Content]) -> list[dict[str, Any]]:
    return [part.model_dump(mode="json", exclude_none=True) for part in parts]


def to_tool_call(call: InspectToolCall) -> ToolCall:
    """Inspect's tool call as ours."""
    arguments = json.dumps(call.arguments, ensure_ascii=False, default=str)
    return ToolCall(call.id, call.function, arguments, call.parse_error or "", call.type)


def keep_provider_parts(content: Sequence[Content], text: str) -> str:
    """What a turn with tool calls holds besides its text, as `Message.extra`; empty where that is all.

    Args:
        content: the turn's parts.
        text: its text, without thoughts.
    """
    parts = [part for part in content if not isinstance(part, ContentReasoning) or _says_something(part)]
    others = [part for part in parts if not isinstance(part, ContentText)]
    if not others:
        return ""
    if "\n".join(part.text for part in parts if isinstance(part, ContentText)) != text:
        parts = [*others, *([ContentText(text=text)] if text else [])]
    return json.dumps({"content": _dump_parts(parts)}, sort_keys=True)


def _says_something(thought: ContentReasoning) -> bool:
    return bool(thought.reasoning.strip() or thought.signature or thought.summary or thought.internal)


def to_chat(message: Message, model: str = "") -> ChatMessage:
    """One of our messages as Inspect's.

    Args:
        message: the turn.
        model: who is to read it: parts that only their author can read go back to no other model.
    """
    if message.is_text:
        return _CHAT_MESSAGES[message.role](content=message.content)  # type: ignore[no-any-return]
    fields = json.loads(message.extra) if message.extra else {}
    author, content = fields.pop("author", None), fields.pop("content", message.content)
    if not isinstance(content, str) and author != model:
        content = [part for part in content if part["type"] not in _PROVIDER_PARTS or message.role != "assistant"]
        if all(part["type"] == "text" for part in content):
            content = message.content
    if message.tool_calls:
        fields["tool_calls"] = [from_tool_call(call) for call in message.tool_calls]
    return _CHAT_MESSAGES[message.role](content=content, **fields)  # type: ignore[no-any-return]


def to_answer_message(text: str, turn: Message | None, *, model: str, author: str) -> ChatMessageAssistant:
    """An architecture's answer as Inspect's message.

    Args:
        text: the answer, where it is only text.
        turn: the turn that calls tools; None for none.
        model: the architecture's name as a model.
        author: the model whose turn it is.
    """
    if turn is None:
        return ChatMessageAssistant(content=text, model=model, source="generate")
    content = json.loads(turn.extra)["content"] if turn.extra else turn.content
    calls = [from_tool_call(call) for call in turn.tool_calls]
    known = {AUTHOR_KEY: author} if turn.extra else None
    return ChatMessageAssistant(content=content, tool_calls=calls, model=model, source="generate", metadata=known)


def from_tool_call(call: ToolCall) -> InspectToolCall:
    """One of our tool calls as Inspect's."""
    arguments = json.loads(call.arguments)
    return InspectToolCall(call.id, call.function, arguments, parse_error=call.problem or None, type=call.type)


def to_tool_offer(tools: Sequence[ToolInfo], choice: ToolChoice, config: GenerateConfig) -> ToolOffer | None:
    """The tools that a harness offers; None for none.

    Raises:
        ModelError: a tool whose options cannot be written down, so that no call store could tell it from another.
    """
    if not tools:
        return None
    definitions = []
    for tool in tools:
        try:
            spec = json.dumps(tool.model_dump(mode="json", exclude_none=True), sort_keys=True)
        except ValueError as exc:
            raise ModelError(f"tool {tool.name!r} has options that are no JSON: {exc}") from None
        definitions.append(ToolDefinition(tool.name, tool.description, spec))
    options = {name: value for name in TOOL_OPTIONS if (value := getattr(config, name)) is not None}
    chosen = f"function {choice.name}" if isinstance(choice, ToolFunction) else choice
    return ToolOffer(tuple(definitions), chosen, json.dumps(options, sort_keys=True) if options else "")


@lru_cache(maxsize=64)
def from_tool_offer(tools: ToolOffer) -> tuple[tuple[ToolInfo, ...], ToolChoice, Mapping[str, Any]]:
    """The tools as Inspect's, the choice, and the generation config that belongs to them."""
    infos = tuple(ToolInfo.model_validate_json(tool.spec) for tool in tools.definitions)
    choice: Any = tools.choice
    if tools.choice.startswith("function "):
        choice = ToolFunction(tools.choice.removeprefix("function "))
    return infos, choice, json.loads(tools.options or "{}")


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
