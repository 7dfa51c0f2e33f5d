"""Parts of prompts that several components share.

>>> make_user_prompt("What is 2 + 2?")
(Message(role='user', content='What is 2 + 2?'),)
"""

from collections.abc import Sequence

from archon_eval.architecture.prompts import unique_tag
from archon_eval.types import Candidate, Conversation, Message


def make_user_prompt(text: str, history: Conversation = ()) -> Conversation:
    """A prompt: one user turn, after the given earlier turns."""
    return (*history, Message("user", text))


def format_candidates(candidates: Sequence[Candidate], critiques: bool = False) -> str:
    """Candidates as a prompt shows them, identified [1] to [N], with their critiques when asked for.

    No candidate can pass for several, or for another's critique: the tags around them are unique (`unique_tag`).
    """
    texts = [part for candidate in candidates for part in (candidate.text, candidate.critique or "")]
    response, critique = unique_tag("response", texts), unique_tag("critique", texts)
    parts = []
    for number, candidate in enumerate(candidates, 1):
        parts.append(f'<{response} id="[{number}]">\n{candidate.text}\n</{response}>')
        if critiques and candidate.critique is not None:
            parts.append(f'<{critique} of="[{number}]">\n{candidate.critique}\n</{critique}>')
    return "\n\n".join(parts)
