"""Reads chat completions as servers really send them: what each choice says, why it ended, what it took.

>>> choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": [{"text": "Hi."}]}}
>>> parse_completion({"choices": [choice], "usage": None}).choices[0].text
'Hi.'

The direct path makes its replies of it; Inspect's own provider gets the completion tidied (`tidy_completion`), so that
both paths read the same in the same words of a server.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from inspect_ai.model import Logprobs
from pydantic import ValidationError

from archon_eval.errors import CompletionError, FailureKind, quote
from archon_eval.models.context_window import is_overflow
from archon_eval.models.thoughts import split_thoughts

STOP_REASONS = {
    **{"stop": "stop", "eos": "stop", "length": "max_tokens", "max_tokens": "max_tokens"},
    **dict.fromkeys(("content_filter", "sensitive", "safety", "recitation"), "content_filter"),
    **dict.fromkeys(("model_length", "context_length_exceeded", "model_context_window_exceeded"), "model_length"),
    **{"tool_calls": "tool_calls", "function_call": "tool_calls"},
}
"""`finish_reason` in small letters -> Inspect's name; any other is `unknown`, which says nothing about the reply."""
FAILED_REASONS = ("error", "abort", "network_error", "insufficient_system_resource", "cancelled", "canceled")
"""A `finish_reason` of a choice that the server gave up."""
QUOTA_WORDS = re.compile(r"insufficient_quota|exceeded your current quota|billing_hard_limit_reached")
"""What a refusal says that no waiting mends."""
_TRANSIENT_WORDS = re.compile(r"server_error|internal|overloaded|unavailable|timeout|bad_gateway")
_NEVER_FITS = re.compile(
    r"context_length|context_size|context length|context window|content_filter|content_policy", re.I
)
_FILTER_NOTICE = re.compile(
    r"content[_ -]?(?:filter|policy|management policy|moderation)|responsible ?ai|safety (?:filter|system|polic)"
    r"|(?:prompt|request|input|response|output|content) (?:was|were|has been|is|got) (?:filtered|blocked|flagged)",
    re.I,
)
"""What a provider says of its filter in place of an answer."""
LONGEST_ASKED_WAIT, CUT_WAIT = 3600.0, 60.0
"""Seconds: a `Retry-After` of so much is not waited for, and what is waited instead."""
LONGEST_NOTICE = 1000
"""Characters; a longer text is no notice."""
_VERSION = re.compile(r"(?:[-@:](?:\d{4}-\d\d-\d\d|\d{2,8}|v\d[\w.]*|latest|preview|free))*")


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of a completion."""

    text: str
    """The answer, without thoughts."""
    thoughts: str
    stop_reason: str
    """In Inspect's words."""
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """A completion's usage; cached prompt tokens are among the prompt's."""

    prompt: int
    completion: int
    """With whatever the total has beyond both, such as thoughts that are counted apart."""
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What a server's answer holds."""

    choices: list[Choice]
    """In order of their indexes; without those that failed and those that came twice."""
    usage: TokenCounts | None
    """None for unknown."""
    remarks: tuple[str, ...] = ()
    """What was otherwise than asked for."""
    failed: int = 0
    """Choices that the server gave up."""


def parse_completion(payload: Any, model: str = "", n: int = 1) -> Completion:
    """A completion as far as it can be used.

    Args:
        payload: the body of a success.
        model: the name that was asked for; empty for one that nobody need compare.
        n: how many choices were asked for.

    Raises:
        CompletionError: there is no usable choice in it; says why in the server's own words.
    """
    if not isinstance(payload, Mapping):
        raise CompletionError(
            f"an answer that is no JSON object: {quote(json.dumps(payload, default=str))}", "transient"
        )
    error, found = payload.get("error"), payload.get("choices")
    if not error and not found and payload.get("object") == "error":
        error = payload
    if error:
        raise classify_error(error)
    if not isinstance(found, list) or not found:
        raise CompletionError("the provider's answer has no choice in it", "transient")
    remarks: list[str] = []
    choices: list[tuple[int, Choice]] = []
    failures: list[CompletionError] = []
    seen: set[tuple[int, str, str]] = set()
    twice = 0
    for place, raw in enumerate(found):
        try:
            choice = _parse_choice(raw)
        except CompletionError as exc:
            failures.append(exc)
            continue
        index = raw.get("index")
        number = index if type(index) is int else place
        if len(found) > 1:
            if (number, choice.text, choice.thoughts) in seen:
                twice += 1
                continue
            seen.add((number, choice.text, choice.thoughts))
        choices.append((number, choice))
    if not choices:
        raise failures[0]
    if failures:
        remarks.append(f"{len(failures)} of {len(found)} choices failed: {failures[0]}")
    if twice:
        remarks.append(f"{twice} of {len(found)} choices came twice under one index")
    if len(found) != n:
        remarks.append(f"{len(found)} choices, {n} asked for")
    if model and not is_same_model(model, served := payload.get("model")):
        remarks.append(f"answered by {quote(str(served), 80)}, not {model}")
    usage = payload.get("usage")
    ordered = [_find_notice(choice, usage) for _, choice in sorted(choices, key=lambda pair: pair[0])]
    return Completion(ordered, _parse_usage(usage, ordered), tuple(remarks), len(failures))


def _read_reason(raw: Mapping[str, Any]) -> str:
    """Why a choice ended, in small letters; empty for unknown."""
    reason = raw.get("finish_reason")
    return reason.lower() if isinstance(reason, str) else ""


def _parse_choice(raw: Any) -> Choice:
    """What a choice says.

    Raises:
        CompletionError: it is none, or the server says that it gave it up.
    """
    if not isinstance(raw, Mapping):
        raise CompletionError(f"a choice that is no JSON object: {quote(json.dumps(raw, default=str))}", "transient")
    if error := raw.get("error"):
        raise classify_error(error, "transient")
    if _read_reason(raw) in FAILED_REASONS:
        raise CompletionError(f"the provider ended the reply with finish_reason {raw['finish_reason']!r}", "transient")
    message = raw.get("message")
    if message is None and isinstance(raw.get("text"), str):  # of the older completions API
        message = {"content": raw["text"]}
    if not isinstance(message, Mapping):
        raise CompletionError(f"a choice without a message: {quote(str(raw))}")
    content = message.get("content")
    thoughts: list[str] = []
    if not isinstance(content, str):
        content, thoughts = _join_parts(content)
    if len(message) > 2:
        thoughts = _list_reasoning(message) or thoughts
    reason = STOP_REASONS.get(_read_reason(raw), "unknown")
    if not content and isinstance(refusal := message.get("refusal"), str) and refusal:
        content, reason = refusal, "content_filter"
    text, more = split_thoughts(content, only_leading=bool(thoughts))
    if more:
        thoughts = [*thoughts, more]
    return Choice(text, "\n\n".join(thoughts), reason, raw)


def _find_notice(choice: Choice, usage: Any) -> Choice:
    """The choice; as refused where a notice of the provider's stands in place of text and no token was generated."""
    if choice.stop_reason != "stop" or not isinstance(usage, Mapping) or len(choice.text) > LONGEST_NOTICE:
        return choice
    prompt, completion, total = _parse_counts(usage)
    if not prompt or completion != 0 or (total or 0) > prompt:
        return choice
    if is_overflow(choice.text):
        return replace(choice, stop_reason="model_length")
    return replace(choice, stop_reason="content_filter") if _FILTER_NOTICE.search(choice.text) else choice


def _join_parts(content: Any) -> tuple[str, list[str]]:
    """The text and the thoughts of a content that comes in parts (Mistral), or not at all."""
    if content is None:
        return "", []
    if type(content) in (int, float):
        return str(content), []
    texts: list[str] = []
    thoughts: list[str] = []
    for part in [content] if isinstance(content, Mapping) else content if isinstance(content, list) else [None]:
        if isinstance(part, str):
            texts.append(part)
        elif not isinstance(part, Mapping):
            raise CompletionError(f"content that is neither text nor parts of text: {quote(str(content))}")
        elif (inner := part.get("thinking", part.get("reasoning"))) is not None:
            thoughts.append(inner if isinstance(inner, str) else _join_parts(inner)[0])
        elif isinstance(text := part.get("text", part.get("refusal")), str):
            texts.append(text)
    return "".join(texts), [thought.strip() for thought in thoughts if thought.strip()]


def _list_reasoning(message: Mapping[str, Any]) -> list[str]:
    """The thoughts in whichever field a server keeps them."""
    for name in ("reasoning_content", "reasoning", "reasoning_details", "thinking"):
        value = message.get(name)
        if isinstance(value, list):
            parts = [part.get("text") or part.get("summary") for part in value if isinstance(part, Mapping)]
            value = "\n\n".join(part for part in parts if isinstance(part, str))
        if isinstance(value, str) and value.strip():
            return [value.strip()]
    return []


def _parse_usage(raw: Any, choices: Iterable[Choice]) -> TokenCounts | None:
    """The counts, also where they come as text; None for unknown: missing, negative, or nothing for some text."""
    if not isinstance(raw, Mapping):
        return None
    prompt, completion, total = _parse_counts(raw)
    if prompt is None or (completion is None and total is None):
        return None
    beyond = 0 if total is None else total - prompt
    completion = max(completion or 0, beyond)
    if completion == 0 and (prompt == 0 or any(c.text and c.stop_reason not in REFUSED_REASONS for c in choices)):
        return None
    cached = written = 0
    if isinstance(details := raw.get("prompt_tokens_details"), Mapping):
        cached = min(_parse_count(details.get("cached_tokens")) or 0, prompt)
        written = min(_parse_count(details.get("cache_write_tokens")) or 0, prompt - cached)
    details = raw.get("completion_tokens_details")
    reasoning = _parse_count(details.get("reasoning_tokens")) if isinstance(details, Mapping) else None
    return TokenCounts(prompt, completion, cached, written, reasoning)


def _parse_counts(usage: Mapping[str, Any]) -> tuple[int | None, int | None, int | None]:
    """Of prompt, completion and both."""
    prompt, completion, total = (usage.get(f"{name}_tokens") for name in ("prompt", "completion", "total"))
    return _parse_count(prompt), _parse_count(completion), _parse_count(total)


REFUSED_REASONS = ("content_filter", "model_length")
"""With these a text may be the provider's own words, for which no token was generated."""


def _parse_count(value: Any) -> int | None:
    if type(value) is int:
        return value if value >= 0 else None
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() and value >= 0 else None


def classify_error(error: Any, default: FailureKind = "permanent") -> CompletionError:
    """An error in the body of an answer: its message, and whether to ask again."""
    if not isinstance(error, Mapping):
        return CompletionError(str(error), default)
    code, kind = error.get("code"), str(error.get("type") or "")
    message = str(error.get("message") or json.dumps(error, default=str))
    said = f"{message} ({code})" if code not in (None, "") and str(code) not in message else message
    if QUOTA_WORDS.search(f"{code} {kind} {message}"):
        return CompletionError(said, hopeless=True)
    status = _parse_count(code)
    words = f"{code} {kind}".lower()
    if status == 429 or "rate_limit" in words or "too_many_requests" in words:
        return CompletionError(said, "rate_limit")
    if (status is not None and (500 <= status < 600 or status == 408)) or _TRANSIENT_WORDS.search(words):
        return CompletionError(said, "transient")
    if _NEVER_FITS.search(f"{words} {message}"):
        return CompletionError(said, hopeless=True)
    return CompletionError(said, default if status is None else "permanent")


def is_same_model(asked: str, served: Any) -> bool:
    """Whether a server's name for a model may be the one asked for: other dates, versions and owners of it are.

    >>> is_same_model("gpt-4o", "gpt-4o-2024-08-06"), is_same_model("gpt-4o", "gpt-4o-mini")
    (True, False)
    """
    if not isinstance(served, str) or not served or served == asked:
        return True
    one, other = (name.rsplit("/", 1)[-1].lower() for name in (asked, served))
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    return longer.startswith(shorter) and bool(_VERSION.fullmatch(longer, len(shorter)))


def limit_wait(seconds: float | None) -> float | None:
    """The wait that a server asks for; an hour or more is cut to `CUT_WAIT`, as no run can stand still so long."""
    return CUT_WAIT if seconds is not None and seconds >= LONGEST_ASKED_WAIT else seconds


def tidy_completion(payload: Mapping[str, Any], completion: Completion) -> dict[str, Any]:
    """The payload as a plain server would have sent what it means, for Inspect's own functions."""
    return {
        **payload,
        "id": str(payload.get("id") or ""),
        "model": str(payload.get("model") or ""),
        "choices": [_tidy_choice(place, choice) for place, choice in enumerate(completion.choices)],
        "usage": _tidy_usage(completion.usage),
    }


def _tidy_choice(place: int, choice: Choice) -> dict[str, Any]:
    message = {"role": "assistant", "content": choice.text}
    if choice.thoughts or "<think" in choice.text:  # where there are none, Inspect would look for them in code
        message["reasoning_content"] = choice.thoughts or " "
    sent = choice.raw.get("message")
    for name in ("tool_calls", "function_call"):
        if isinstance(sent, Mapping) and sent.get(name):
            message[name] = sent[name]
    if "tool_calls" in message and isinstance(sent, Mapping) and isinstance(sent.get("reasoning_details"), list):
        message["reasoning_details"] = sent["reasoning_details"]  # with signatures, which have to go back
    reason = {"max_tokens": "length"}.get(choice.stop_reason, choice.stop_reason)
    logprobs = _take_logprobs(choice.raw.get("logprobs"))
    return {**choice.raw, "index": place, "message": message, "finish_reason": reason, "logprobs": logprobs}


def _take_logprobs(raw: Any) -> Any:
    """The log probabilities, None where they have a form that Inspect does not read."""
    try:
        Logprobs.model_validate(raw)
    except ValidationError:
        return None
    return raw


def _tidy_usage(counts: TokenCounts | None) -> dict[str, Any] | None:
    if counts is None:
        return None
    cached = {"cached_tokens": counts.cache_read, "cache_write_tokens": counts.cache_write}
    return {
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.completion,
        "total_tokens": counts.prompt + counts.completion,
        "prompt_tokens_details": cached if counts.cache_read or counts.cache_write else None,
        "completion_tokens_details": None if counts.reasoning is None else {"reasoning_tokens": counts.reasoning},
    }
