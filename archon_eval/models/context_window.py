"""Whether a prompt fits a model's context window: what is certain before a call, and how a server's refusal is known.

>>> count_least_tokens([Message("user", "What is 2 + 2?")])
5
>>> is_overflow("BadRequestError: This model's maximum context length is 8192 tokens. You requested 9015 tokens.")
True
"""

import re
from collections.abc import Iterable

from archon_eval.models.call import REFUSALS
from archon_eval.types import Message

OVERFLOW_TEXT = REFUSALS["model_length"]
"""How this package says it, where a provider says it in a way of its own."""
_OVERFLOW = re.compile(
    r"does not fit the model's context window|context_length_exceeded|exceed_context_size"
    r"|maximum (?:context|model) length"
    r"|(?:prompt|input|request|inputs?) (?:is|are) too long|max_(?:completion_)?tokens must be at least 1, got -"
    r"|(?:exceed|greater|larger|longer|more)[^.]{0,80}context (?:window|size|length|limit)"
    r"|context (?:window|size|length|limit)[^.]{0,80}(?:exceed|too small)"
    r"|input (?:token count|length)[^.]{0,80}(?:exceed|greater|longer)",
    re.IGNORECASE,
)
"""What OpenAI, Anthropic, Google, Bedrock, Together, vLLM, SGLang and llama.cpp say of a prompt that is too long."""


def count_least_tokens(messages: Iterable[Message]) -> int:
    """So many tokens a prompt has at least, whatever the tokenizer: none makes one token of two words."""
    return sum(len(message.content.split()) for message in messages)


def is_overflow(problem: str) -> bool:
    """Whether a failed call's error says that the prompt is longer than the model's context window."""
    return _OVERFLOW.search(problem) is not None
