r"""What a provider's reply means: its text, why it ended, its tokens, the log probabilities of its first token.

Inspect's path (`inspect_client`, `judge_client`) and the direct one (`openai_direct`) share it.

>>> build_reply("A\x00B", "stop").text
'A�B'
>>> to_usage(None) is None      # unknown, which is not zero
True
"""

import re

from inspect_ai.model import ModelOutput, ModelUsage

from archon_eval.errors import ContextOverflowError, ModelError
from archon_eval.models.call import Reply, Usage
from archon_eval.models.context_window import OVERFLOW_TEXT
from archon_eval.models.conversion import redact

OPENAI_STOP_REASONS = {"stop": "stop", "length": "max_tokens", "content_filter": "content_filter"}
"""`finish_reason` of a chat completion -> Inspect's name; with any other a reply is more than text."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def build_reply(text: str, stop_reason: str, usage: Usage | None = None, *, seconds: float = 0.0) -> Reply:
    """A reply whose text can be stored."""
    storable, cleaned = replace_unstorable(text)
    return Reply(storable, stop_reason, usage, seconds=seconds, cleaned=cleaned)


def to_reply(output: ModelOutput, model: str, seconds: float) -> Reply:
    """The first choice of Inspect's output.

    Raises:
        ModelError: an output that says it failed, or that has no choice at all.
    """
    if output.error:
        raise ModelError(f"{model}: {redact(output.error)}")
    if not output.choices:
        raise ModelError(f"{model}: the provider's answer has no choice in it")
    if output.stop_reason == "model_length" and not (output.usage and output.usage.output_tokens):
        raise ContextOverflowError(f"{model}: {OVERFLOW_TEXT}: {redact(output.completion)}")  # in the provider's words
    return build_reply(output.completion, str(output.stop_reason), to_usage(output.usage), seconds=seconds)


def to_usage(counted: ModelUsage | None) -> Usage | None:
    """Inspect's count as ours, in which cached input tokens are input tokens; None where there is none."""
    if counted is None:
        return None
    cached = (counted.input_tokens_cache_read or 0) + (counted.input_tokens_cache_write or 0)
    return Usage(counted.input_tokens + cached, counted.output_tokens)


def split_usage(usage: Usage | None, lengths: list[int]) -> list[Usage | None]:
    """One request's usage by its replies: the prompt, paid once, with the first; output by length of text.

    >>> split_usage(Usage(10, 9), [1, 2])
    [Usage(input_tokens=10, output_tokens=3), Usage(input_tokens=0, output_tokens=6)]
    """
    if usage is None:
        return [None] * len(lengths)
    shares: list[Usage | None] = []
    done, before, total = 0, 0, max(sum(lengths), 1)
    for place, length in enumerate(lengths):
        before += length
        upto = usage.output_tokens if place == len(lengths) - 1 else usage.output_tokens * before // total
        shares.append(Usage(0 if place else usage.input_tokens, upto - done))
        done = upto
    return shares


def get_top_logprobs(output: ModelOutput) -> tuple[tuple[str, float], ...] | None:
    """Candidates for the first token of a model's output with their log probabilities; None if there are none."""
    logprobs = output.choices[0].logprobs if output.choices else None
    if not logprobs or not logprobs.content:
        return None
    first = logprobs.content[0]
    return tuple((replace_unstorable(t.token)[0], t.logprob) for t in first.top_logprobs or (first,))


def replace_unstorable(text: str) -> tuple[str, int]:
    """The text with U+FFFD for what cannot be stored (NUL, lone surrogates), and how many characters that were."""
    return _UNSTORABLE.subn("\ufffd", text)
