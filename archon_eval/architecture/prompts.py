"""Filling the fields of a prompt's wording in one pass, so that text put in is never read as a field.

    render("Question: {instruction}", instruction="what is {candidates}?")   # the braces of the question stay

A literal brace pair around a lower-case word is written twice: `\\boxed{{answer}}`. A field between tags,
`<response>{candidate}</response>`, stays between them whatever it holds: where the text has such a tag itself, the
wording's gets a name that the text does not have (`<response2>`).
"""

import re
from collections.abc import Iterable

_FIELD_TOKEN = re.compile(r"\{\{|\}\}|\{([a-z_]+)\}")
_TAGGED_FIELD = re.compile(r"<([A-Za-z][\w-]*)>(\s*\{([a-z_]+)\}\s*)</\1>")


def extract_fields(wording: str) -> set[str]:
    """The names of the fields a wording uses."""
    return {match[1] for match in _FIELD_TOKEN.finditer(wording) if match[1]}


def render(wording: str, **values: object) -> str:
    """The wording with its fields replaced by `values`; doubled braces become single."""

    def one(match: re.Match[str]) -> str:
        return str(values.get(match[1], match[0])) if match[1] else match[0][0]

    def framed(match: re.Match[str]) -> str:
        tag = unique_tag(match[1], [str(values.get(match[3], ""))])
        return f"<{tag}>{match[2]}</{tag}>"

    return _FIELD_TOKEN.sub(one, _TAGGED_FIELD.sub(framed, wording))


def unique_tag(tag: str, texts: Iterable[str]) -> str:
    """The tag, with a number where one of the texts opens or closes it: nothing inside a frame can end it."""
    taken, free, number = "\n".join(texts).casefold(), tag, 1
    while any(f"{start}{free.casefold()}" in taken for start in ("<", "</")):
        number += 1
        free = f"{tag}{number}"
    return free
