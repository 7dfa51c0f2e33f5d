"""Reads unit tests that are run: a JSON list of inputs with outputs.

>>> parse_io_tests('[{"input": "1 2", "output": "3"}]', max_tests=10)
('{"input": "1 2", "output": "3"}',)
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from archon_eval.components.parsing.structured import iter_json_values, normalize_reply, parse_cut_list
from archon_eval.errors import ParseError, quote

_PLACEHOLDERS = [("first line\nsecond line\n", "..."), ("...", "...")]
"""Entries of the form that a prompt shows: no tests."""


def parse_io_tests(reply: str, max_tests: int) -> tuple[str, ...]:
    """The tests of a reply, each as a JSON object with the texts `input` and `output`; at most `max_tests`.

    Of a list that was cut these are its whole entries.

    Raises:
        ParseError: no list of such objects, or two outputs for the same input.
    """
    for value in _iter_json_lists(normalize_reply(reply)):
        pairs = [pair for item in value if (pair := _parse_io_test(item)) not in _PLACEHOLDERS]
        if not pairs or None in pairs:
            continue
        outputs: dict[str, str] = {}
        for text, output in filter(None, pairs):
            if outputs.setdefault(text, output).split() != output.split():
                raise ParseError(f"two different outputs for the input {quote(text)}")
        tests = [json.dumps({"input": text, "output": output}) for text, output in outputs.items()]
        return tuple(tests[:max_tests])
    raise ParseError(f"no list of objects with the texts 'input' and 'output' in {quote(reply)}")


def _iter_json_lists(text: str) -> Iterator[list[Any]]:
    """Strict JSON first: the tolerant reader takes a line break before some letters for a LaTeX command."""
    start, end = text.find("["), text.rfind("]") + 1
    for spot in (text, text[start:end]):
        try:
            value = json.loads(spot, strict=False)
        except (ValueError, RecursionError):
            continue
        yield from _unwrap_lists(value)
    for value in iter_json_values(text):
        yield from _unwrap_lists(value)
    yield parse_cut_list(text)


def _unwrap_lists(value: Any) -> Iterator[list[Any]]:
    yield from (entry for entry in [value, *(value.values() if isinstance(value, dict) else ())] if type(entry) is list)


def _parse_io_test(item: Any) -> tuple[str, str] | None:
    if not isinstance(item, Mapping):
        return None
    texts = [item.get(key) for key in ("input", "output")]
    text, output = (str(t) if type(t) in (int, float) else t for t in texts)
    return (text, output) if isinstance(text, str) and isinstance(output, str) else None
