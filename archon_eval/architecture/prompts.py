"""Fills the fields of a prompt in one pass, so that text put in is never read as a field.

>>> render("Question: {instruction}", instruction="what is {candidates}?")
'Question: what is {candidates}?'

A literal brace pair around a lower-case word is written twice: `\\boxed{{answer}}`. A field between tags,
`<response>{candidate}</response>`, stays between them whatever it holds: where the text has such a tag itself, the
prompt's gets a name that the text does not have (`<response2>`).
"""

import re
from collections.abc import Iterable

_FIELD_TOKEN = re.compile(r"\{\{|\}\}|\{([a-z_]+)\}")
_TAGGED_FIELD = re.compile(r"<([A-Za-z][\w-]*)>(\s*\{([a-z_]+)\}\s*)</\1>")


def extract_fields(prompt: str) -> set[str]:
    """The names of the fields a prompt uses."""
    return {match[1] for match in _FIELD_TOKEN.finditer(prompt) if match[1]}


def render(prompt: str, /, **values: object) -> str:
    """The prompt with its fields replaced by `values`; doubled braces become single."""

    def fill_field(match: re.Match[str]) -> str:
        return str(values.get(match[1], match[0])) if match[1] else match[0][0]

    def frame_field(match: re.Match[str]) -> str:
        tag = unique_tag(match[1], [str(values.get(match[3], ""))])
        return f"<{tag}>{match[2]}</{tag}>"

    return _FIELD_TOKEN.sub(fill_field, _TAGGED_FIELD.sub(frame_field, prompt))


def unique_tag(tag: str, texts: Iterable[str]) -> str:
    """The tag, with a number where one of the texts opens or closes it: nothing inside a frame can end it."""
    text, unique, number = "\n".join(texts).casefold(), tag, 1
    while any(f"{start}{unique.casefold()}" in text for start in ("<", "</")):
        number += 1
        unique = f"{tag}{number}"
    return unique
