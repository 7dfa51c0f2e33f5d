"""A chat completion as replies: plain text here, anything more by Inspect's own functions.

parse_plain_choice({"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi."}})
    # Reply("Hi.")
"""

from typing import Any

from inspect_ai.model import ModelOutput, ModelUsage
from openai.types.chat import ChatCompletion

from archon_eval._inspect_compat import chat_choices_from_openai, construct_type, report_refusal
from archon_eval.models.call import Reply, Usage
from archon_eval.models.conversion import replace_unstorable, to_reply

STOP_REASONS = {"stop": "stop", "length": "max_tokens", "content_filter": "content_filter"}


def parse_plain_choice(choice: Any) -> Reply | None:
    """A choice that is text and nothing else."""
    message, reason = choice["message"], STOP_REASONS.get(choice["finish_reason"])
    content = message["content"]
    more = any(value for name, value in message.items() if name not in ("role", "content"))
    if reason is None or more or not isinstance(content, str) or "<think" in content:
        return None
    if reason == "content_filter":
        report_refusal(content)
    text, cleaned = replace_unstorable(content)
    return Reply(text, reason, cleaned=cleaned)


def parse_usage(given: Any) -> ModelUsage | None:
    """A completion's usage as Inspect counts it: cached input tokens apart."""
    if not given:
        return None
    details, made = given.get("prompt_tokens_details"), given.get("completion_tokens_details")
    read = details.get("cached_tokens") if details else None
    written = details.get("cache_write_tokens") if details else None
    return ModelUsage(
        input_tokens=given["prompt_tokens"] - (read or 0) - (written or 0),
        output_tokens=given["completion_tokens"],
        input_tokens_cache_read=read,
        input_tokens_cache_write=written,
        reasoning_tokens=made.get("reasoning_tokens") if made else None,
        total_tokens=given["total_tokens"],
    )


def split_usage(usage: ModelUsage | None, lengths: list[int]) -> list[Usage | None]:
    """One request's usage by its replies: the prompt, paid once, with the first; output by length of text."""
    if usage is None:
        return [None] * len(lengths)
    given = usage.input_tokens + (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
    shares: list[Usage | None] = []
    done, before, total = 0, 0, max(sum(lengths), 1)
    for place, length in enumerate(lengths):
        before += length
        upto = usage.output_tokens if place == len(lengths) - 1 else usage.output_tokens * before // total
        shares.append(Usage(0 if place else given, upto - done))
        done = upto
    return shares


def parse_with_inspect(api: Any, payload: Any) -> list[Reply]:
    """Replies with more than text (reasoning, a refusal), by Inspect's own functions."""
    completion: Any = construct_type(type_=ChatCompletion, value=payload)
    read = getattr(api, "chat_choices_from_completion", chat_choices_from_openai)
    outputs = [ModelOutput(model=completion.model, choices=[choice]) for choice in read(completion, [])]
    return [to_reply(output, api.model_name, 0.0) for output in outputs]
