"""Which models think before they answer, by their names.

>>> [is_reasoning_model(name) for name in ("openai/o3-mini", "together/Qwen/QwQ-32B", "openai/gpt-4o")]
[True, True, False]

A table of this package and not Inspect's, which has another one in each version: fingerprints depend on it. A model
that is missing here has its thoughts cut at the usual limit: the account of each question says so (`cut_thoughts`).
"""

import re
from functools import lru_cache

_FAMILIES = re.compile(
    r"(?:^|[/.])(?:o\d+(?:-|$)|gpt-(?:[5-9]|\d\d)(?!\S*-chat)|gpt-oss|codex)"
    r"|deepseek-(?:reasoner|r\d|flash|v[4-9])|(?:^|/)r1(?:-|$)"
    r"|qwq|qvq|qwen-?3(?!\d|\S*(?:instruct|coder|embed|rerank|base))"
    r"|gemini-(?:2\.5|[3-9])|magistral|grok-(?:3-mini|[4-9])|glm-(?:4[.p][5-9]|[5-9]|z1)|kimi-(?:k[3-9]|k1\.5)"
    r"|claude-[a-z]+-(?:4-[7-9]|[5-9](?:-|$))|claude-mythos|minimax-m\d|muse-spark|exaone-deep|seed-oss"
    r"|reasoning|thinking"
)
_NOT = re.compile(r"non[-_]?(?:reasoning|thinking)")


@lru_cache(maxsize=1024)  # asked at every call
def is_reasoning_model(model: str) -> bool:
    """Whether a model reasons unless it is told otherwise, by Inspect's name of it."""
    name = model.lower()
    return _FAMILIES.search(name) is not None and not _NOT.search(name)
