"""Parts of prompts that several components share.

>>> make_user_prompt("What is 2 + 2?")
(Message(role='user', content='What is 2 + 2?'),)
"""

import re
from collections.abc import Sequence

from archon_eval.architecture.prompts import unique_tag
from archon_eval.types import Candidate, Conversation, Message

LEAST_ECHO = 25
"""Characters from which a sentence of a prompt in a reply is no chance match."""
_FIELD = re.compile(r"<\w+>\s*\{[a-z_]+\}\s*</\w+>|(?<!\{)\{[a-z_]+\}(?!\})")
_SENTENCE_END = re.compile(r"(?<=[.:?!])\s+|\n")
_FRAME = re.compile(r'(?:\s*(?:</(?:query|response|critique)\d*>|<(?:response|critique)\d* (?:id|of)="\[\d+\]">))+\s*')
_FRAME_END = re.compile(r"\s*</(?P<tag>(?:query|response|critique)\d*)>\s*\Z")
"""Tags around candidates; an answer that is XML begins with another."""


def make_user_prompt(text: str, history: Conversation = ()) -> Conversation:
    """A prompt: one user turn, after the given earlier turns."""
    return (*history, Message("user", text))


def strip_echo(text: str, wording: str) -> tuple[str, list[str]]:
    """An answer without the sentences and tags of its prompt around it; and all of these that it repeats.

    Args:
        text: the answer.
        wording: the prompt with its fields unfilled, so that the question and the candidates are none of it.

    >>> strip_echo("Reply with the new response only. It is 4.", "{query} Reply with the new response only.")
    ('It is 4.', ['Reply with the new response only.'])
    """
    sentences = [part.strip() for piece in _FIELD.split(wording) for part in _SENTENCE_END.split(piece)]
    echoed = [sentence for sentence in sentences if len(sentence) >= LEAST_ECHO and sentence in text]
    rest, tags, found = text.lstrip(), [], True
    while found:
        if frame := _FRAME.match(rest):
            tags.append(frame[0].strip())
            rest = rest[frame.end() :]
        sentence = next(filter(rest.startswith, echoed), "")
        rest, found = rest[len(sentence) :].lstrip(), bool(sentence or frame)
    if (end := _FRAME_END.search(rest)) and f"<{end['tag']}" not in rest:
        tags += [] if tags else [end[0].strip()]
        rest = rest[: end.start()]
    return ((rest.rstrip() or text) if echoed or tags else text), [*tags, *echoed]


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
