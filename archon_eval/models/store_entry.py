"""An entry of the call store: its key, made of everything that decides a reply, and the reply as bytes.

    key = build_call_key(call, endpoint="openai/gpt-4o at https://api.openai.com/v1")

>>> decode(encode(Reply("Hi."))) == Reply("Hi.", reused=True)
True
"""

import hashlib
import json
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache

from archon_eval.architecture.spec import GenerationSettings
from archon_eval.errors import quote
from archon_eval.models.call import REFUSALS, Call, Reply, Usage, is_refused_call
from archon_eval.models.thoughts import split_thoughts
from archon_eval.types import Conversation, Message, ToolCall, ToolOffer

FORMAT_VERSION = 1
"""Part of every key: replies of another format are never found."""
FAILURE_TAG = b"f"
MIN_COMPRESS_BYTES = 256
"""Bytes from which a reply is compressed."""


@dataclass(frozen=True, slots=True)
class CallKey:
    """What decides a reply; `digest` is over all of the other fields and FORMAT_VERSION."""

    digest: bytes
    endpoint: str
    """The model, and where and how it is reached."""
    settings: str
    """Generation settings in canonical JSON."""
    messages: bytes
    epoch: int
    draw: int


def build_call_key(call: Call, endpoint: str, extra: str = "") -> CallKey:
    """The key of a call; `extra` is generation config from outside the architecture, in canonical JSON."""
    settings, messages = _encode_settings(call.settings) + extra, digest_messages(call.messages)
    if call.tools is not None:
        settings += f" with tools {_digest_tools(call.tools)}"
    whole = hashlib.sha256(
        f"{FORMAT_VERSION}\n{call.epoch}\n{call.draw}\n{len(endpoint)}\n{endpoint}{settings}".encode()
    )
    whole.update(messages)
    return CallKey(whole.digest(), endpoint, settings, messages=messages, epoch=call.epoch, draw=call.draw)


@lru_cache(maxsize=1024)
def _encode_settings(settings: GenerationSettings) -> str:
    return json.dumps(settings.dump_non_none(), sort_keys=True)


@lru_cache(maxsize=256)
def _digest_tools(tools: ToolOffer) -> str:
    """What tells one offer of tools from another: their number, the choice, and a digest of all of it."""
    plain = json.dumps([[tool.spec for tool in tools.definitions], tools.choice, tools.options])
    digest = hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"({len(tools.definitions)}, {tools.choice}) {digest}"


def digest_messages(messages: Conversation) -> bytes:
    """SHA-256 over roles and contents, each with its length before it so that no two conversations read the same."""
    whole = hashlib.sha256()
    for message in messages:
        content = message.content.encode("utf-8", "surrogatepass")
        whole.update(b"%s %d\n" % (message.role.encode(), len(content)))
        whole.update(content)
        if not message.is_text:
            more = _encode_parts(message)
            whole.update(b"+ %d\n" % len(more))  # no role is "+"
            whole.update(more)
    return whole.digest()


def _encode_parts(message: Message) -> bytes:
    """What a turn holds besides its text."""
    calls = [_list_fields(call) for call in message.tool_calls]
    return json.dumps([calls, message.extra]).encode()


def _list_fields(call: ToolCall) -> list[str]:
    return [call.id, call.function, call.arguments, call.problem, call.type]


def encode(reply: Reply) -> bytes:
    """A reply as stored: `j` and JSON, or `z` and compressed JSON; `f` and JSON for why there is none.

    The JSON is a list, and its last entry an object with what few replies have; older rows end before it.
    """
    if reply.failure:
        return FAILURE_TAG + json.dumps(reply.failure).encode()
    usage = [reply.usage.input_tokens, reply.usage.output_tokens] if reply.usage else None
    plain: list[object] = [reply.text, reply.stop_reason, usage, round(reply.seconds, 3), reply.cleaned]
    calls = [_list_fields(call) for call in reply.tool_calls]
    more = {"thoughts": reply.thoughts, "remarks": reply.remarks, "tool_calls": calls, "extra": reply.extra}
    plain += [reply.top_logprobs or [], {name: value for name, value in more.items() if value}]
    # also half a character, in thoughts that a server broke off: replies of others are committed with this one
    data = json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return b"j" + data if len(data) < MIN_COMPRESS_BYTES else b"z" + zlib.compress(data, 3)


def decode(data: bytes, *, as_written: bool = False) -> Reply:
    """A stored reply; raises ValueError or zlib.error for bytes that are none.

    Args:
        data: the bytes.
        as_written: with the text of an earlier version's row as that version took it.
    """
    kind, rest = data[:1], data[1:]
    if kind == FAILURE_TAG:
        return Reply("", "unknown", reused=True, failure=str(json.loads(rest)))
    if kind not in (b"j", b"z"):
        raise ValueError("neither plain nor compressed")
    plain = json.loads(zlib.decompress(rest) if kind == b"z" else rest)
    text, stop_reason, counts, seconds, cleaned, *more = plain
    usage = Usage(*counts) if counts else None
    logprobs = tuple((str(t), float(p)) for t, p in more[0]) if more and more[0] else None
    if len(more) < 2:
        older = Reply(text, stop_reason, usage, seconds, True, None, cleaned, top_logprobs=logprobs)
        return older if as_written else _read_older_row(older)
    return Reply(
        text,
        stop_reason,
        usage,
        seconds=seconds,
        reused=True,
        cleaned=cleaned,
        top_logprobs=logprobs,
        thoughts=str(more[1].get("thoughts", "")),
        remarks=tuple(map(str, more[1].get("remarks", ()))),
        tool_calls=tuple(ToolCall(*call) for call in more[1].get("tool_calls", ())),
        extra=str(more[1].get("extra", "")),
    )


def _read_older_row(reply: Reply) -> Reply:
    """What a row means that was written when errors' texts and thoughts were still kept as answers.

    Inspect put a provider's refusal (content filter, context window) where an answer stands, without usage: that is a
    failed call, which a replay repeats and nothing else reuses. A reply that the server broke off cannot be told.
    """
    if is_refused_call(reply.text, reply.stop_reason, reply.usage):
        return replace(reply, text="", failure=f"{REFUSALS[reply.stop_reason]}: {reply.text}".rstrip(": "))
    text, thoughts = split_thoughts(reply.text)
    return replace(reply, text=text, thoughts=thoughts) if thoughts else reply


def decode_verified(digest: bytes, crc: int, data: bytes) -> Reply | None:
    """The reply of a row, None when its checksum or its form is wrong."""
    if not isinstance(data, bytes) or zlib.crc32(digest + data) != crc:
        return None
    try:
        return decode(data)
    except (ValueError, TypeError, zlib.error):
        return None


def hash_name(text: str) -> bytes:
    """8 bytes that stand for an endpoint or for settings in a row."""
    return hashlib.sha256(text.encode()).digest()[:8]


def describe_call(call: Call) -> str:
    """A call in one line, for messages."""
    return f"{call.model}, epoch {call.epoch}, draw {call.draw}, {quote(call.messages[-1].content, 100)}"
