"""A chat completion as replies: plain text here, anything more by Inspect's own functions.

>>> choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi."}}
>>> parse_plain_choice(choice).text
'Hi.'
"""

from typing import Any

from inspect_ai.model import ModelOutput, ModelUsage
from openai.types.chat import ChatCompletion

from archon_eval._inspect_compat import chat_choices_from_openai, construct_type, report_refusal
from archon_eval.models.call import Reply
from archon_eval.models.replies import OPENAI_STOP_REASONS, build_reply, to_reply


def parse_choices(api: Any, payload: Any, choices: list[Any]) -> list[Reply]:
    """The replies of a completion's choices, without their usage; by Inspect's functions where one is not plain.

    Raises:
        Exception: of any type, for a choice that neither can read.
    """
    replies = [parse_plain_choice(choice) for choice in choices]
    plain = [reply for reply in replies if reply is not None]
    return plain if len(plain) == len(replies) else parse_with_inspect(api, {**payload, "choices": choices})


def parse_plain_choice(choice: Any) -> Reply | None:
    """A choice that is text and nothing else."""
    message, reason = choice["message"], OPENAI_STOP_REASONS.get(choice["finish_reason"])
    content = message["content"]
    more = any(value for name, value in message.items() if name not in ("role", "content"))
    if reason is None or more or not isinstance(content, str) or "<think" in content:
        return None
    if reason == "content_filter":
        report_refusal(content)
    return build_reply(content, reason)


def parse_usage(payload: Any) -> ModelUsage | None:
    """A completion's usage as Inspect counts it: cached input tokens apart."""
    if not payload:
        return None
    input_details, output_details = payload.get("prompt_tokens_details"), payload.get("completion_tokens_details")
    read = input_details.get("cached_tokens") if input_details else None
    written = input_details.get("cache_write_tokens") if input_details else None
    return ModelUsage(
        input_tokens=payload["prompt_tokens"] - (read or 0) - (written or 0),
        output_tokens=payload["completion_tokens"],
        input_tokens_cache_read=read,
        input_tokens_cache_write=written,
        reasoning_tokens=output_details.get("reasoning_tokens") if output_details else None,
        total_tokens=payload["total_tokens"],
    )


def parse_with_inspect(api: Any, payload: Any) -> list[Reply]:
    """Replies with more than text (reasoning, a refusal), by Inspect's own functions."""
    completion: Any = construct_type(type_=ChatCompletion, value=payload)
    read = getattr(api, "chat_choices_from_completion", chat_choices_from_openai)
    outputs = [ModelOutput(model=completion.model, choices=[choice]) for choice in read(completion, [])]
    return [to_reply(output, api.model_name, 0.0) for output in outputs]
