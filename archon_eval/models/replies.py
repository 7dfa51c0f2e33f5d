r"""What a provider's reply means: its answer and thoughts, whether it is whole, its tokens, its first token's odds.

Inspect's path (`inspect_client`, `judge_client`) and the direct one (`openai_direct`) share it, so that equal words of
a server become equal replies:

- complete, cut or filtered: a `Reply`, which says so (`Reply.status`);
- failed: a ModelError, so that nothing keeps, counts or scores an error's text as an answer.

>>> build_reply("m", "<think>hm</think>A\x00B", "stop").text
'A�B'
>>> to_usage(None) is None      # unknown, which is not zero
True
"""

import json
import re
from dataclasses import replace
from typing import Any

from inspect_ai.model import ContentReasoning, ModelOutput, ModelUsage

from archon_eval.errors import ModelError
from archon_eval.models.call import REFUSALS, Reply, Usage, is_refused_call
from archon_eval.models.conversion import keep_provider_parts, redact, to_tool_call
from archon_eval.models.thoughts import split_thoughts
from archon_eval.types import ToolCall

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def build_reply(
    model: str,
    text: str,
    stop_reason: str,
    usage: Usage | None = None,
    *,
    thoughts: str = "",
    seconds: float = 0.0,
) -> Reply:
    """What a provider sent as a reply whose text can be stored.

    Args:
        model: whose reply it is, for messages.
        text: what stands where an answer stands; thoughts in it are separated, with `thoughts` only leading ones.
        stop_reason: in Inspect's words.
        usage: of the whole request; None for unknown.
        thoughts: those that came apart from the text.
        seconds: how long it took.

    Raises:
        ModelError: the text is the provider's own, or there is none: no token was generated.
    """
    answer, more = split_thoughts(text, only_leading=bool(thoughts))
    thoughts = "\n\n".join(part for part in (thoughts, more) if part)
    if is_refused_call(answer or thoughts, stop_reason, usage):
        said = f": {redact(text.strip())}" if text.strip() else ""
        raise ModelError(f"{model}: {REFUSALS[stop_reason]}{said}")
    storable, cleaned = replace_unstorable(answer)
    thoughts, _ = replace_unstorable(thoughts) if thoughts else ("", 0)
    return Reply(storable, stop_reason, usage, seconds=seconds, cleaned=cleaned, thoughts=thoughts)


def to_reply(output: ModelOutput, model: str, seconds: float, *, with_tools: bool = False) -> Reply:
    """The first choice of Inspect's output.

    Args:
        output: what a provider of Inspect's returned.
        model: whose reply it is.
        seconds: how long it took.
        with_tools: whether tools were offered; without, a call of one is nothing that anybody could run.

    Raises:
        ModelError: an output that says it failed, that has no choice at all, or whose text no model wrote.
    """
    if output.error:
        raise ModelError(f"{model}: {redact(output.error)}")
    if not output.choices:
        raise ModelError(f"{model}: the provider's answer has no choice in it")
    thoughts = ""
    if not isinstance(content := output.choices[0].message.content, str):
        parts = [part for part in content if isinstance(part, ContentReasoning) and not part.redacted]
        thoughts = "\n\n".join(filter(None, ((part.reasoning or part.summary or "").strip() for part in parts)))
    usage = to_usage(output.usage)
    reply = build_reply(model, output.completion, str(output.stop_reason), usage, thoughts=thoughts, seconds=seconds)
    message = output.choices[0].message
    if not with_tools or not message.tool_calls:
        return reply
    calls = tuple(_make_storable(to_tool_call(call)) for call in message.tool_calls)
    extra = "" if isinstance(content, str) else keep_provider_parts(content, reply.text)
    return replace(reply, tool_calls=calls, extra=extra)


def _make_storable(call: ToolCall) -> ToolCall:
    """The call with U+FFFD for what cannot be stored."""
    cleaned = json.dumps(_clean_values(json.loads(call.arguments)), ensure_ascii=False)
    id, function, problem = (replace_unstorable(text)[0] for text in (call.id, call.function, call.problem))
    return replace(call, id=id, function=function, arguments=cleaned, problem=problem)


def _clean_values(value: Any) -> Any:
    if isinstance(value, str):
        return replace_unstorable(value)[0]
    if isinstance(value, list):
        return [_clean_values(item) for item in value]
    if isinstance(value, dict):
        return {_clean_values(name): _clean_values(item) for name, item in value.items()}
    return value


def to_usage(counted: ModelUsage | None) -> Usage | None:
    """Inspect's count as ours, in which cached input tokens are input tokens; None for none or nothing but zeros.

    What the total has beyond input and output was generated too (thoughts that a provider counts apart).
    """
    if counted is None:
        return None
    cached = (counted.input_tokens_cache_read or 0) + (counted.input_tokens_cache_write or 0)
    input_tokens = counted.input_tokens + cached
    output_tokens = max(counted.output_tokens, (counted.total_tokens or 0) - input_tokens)
    return Usage(input_tokens, output_tokens) if input_tokens or output_tokens else None


def get_top_logprobs(output: ModelOutput) -> tuple[tuple[str, float], ...] | None:
    """Candidates for the first token of a model's output with their log probabilities; None if there are none."""
    logprobs = output.choices[0].logprobs if output.choices else None
    if not logprobs or not logprobs.content:
        return None
    first = logprobs.content[0]
    return tuple((replace_unstorable(t.token)[0], t.logprob) for t in first.top_logprobs or (first,))


def replace_unstorable(text: str) -> tuple[str, int]:
    """The text with U+FFFD for what cannot be stored (NUL, lone surrogates), and how many characters that were."""
    if text.isascii() and "\x00" not in text:  # nearly every text: no look at each character
        return text, 0
    return _UNSTORABLE.subn("\ufffd", text)
