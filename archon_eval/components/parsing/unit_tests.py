"""Reads unit tests in words: a list of strings, or numbered or bulleted lines.

>>> parse_tests('["It names Paris.", "It is one sentence."]', max_tests=10)
('It names Paris.', 'It is one sentence.')
"""

import re
from collections.abc import Mapping
from typing import Any

from archon_eval.components.parsing.structured import iter_json_values, normalize_reply, parse_cut_list
from archon_eval.errors import ParseError, quote

_ITEM = re.compile(
    r"(?P<indent>[ \t]*)[*_#|\" ]*"
    r"(?:(?:unit )?test\s{0,3}#?\d{1,3}[*_\"]*\s{0,3}[:.)|-]|#?\d{1,3}[*_ ]*[.):|]|[-*•])[*_]*\s+(?P<text>\S.*)",
    re.I,
)
_CUT = re.compile(r'"[^"]+')
"""The last line of a list that was cut: a quotation that does not end."""
_STATEMENT = re.compile(r"[\s\"“']{0,9}The response (?!can(?:not|['’]t)\b)\w", re.I)
_PLACEHOLDER = re.compile(
    r"(?:(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|next|last) (?:unit )?test"
    r"|(?:unit )?test \d+|(?:[Tt]he response(?: \w+)? ?)?(?:\.\.\.|…))"
)
"""Entries of the form that a prompt shows: no tests."""


def parse_tests(reply: str, max_tests: int, query: str = "") -> tuple[str, ...]:
    """The tests of a reply, without repeats, at most `max_tests`: a list of strings, else numbered or bulleted lines.

    Of a list that was cut these are its whole entries. Entries of the form that a prompt shows are none, nor are
    questions that stand in `query`.

    Raises:
        ParseError: no test in it, or lines in levels of which only some are tests.
    """
    text = normalize_reply(reply)
    tests = (
        _parse_json_tests(text, inline=False)
        or _parse_list_lines(text, reply)
        or _parse_json_tests(text, inline=True)
        or _select_tests(parse_cut_list(text))
        or _parse_statement_lines(text)
    )
    asked = " ".join(query.split())
    if echoes := [test for test in tests if test.endswith("?") and " ".join(test.split()) in asked]:
        tests = [test for test in tests if test not in echoes]
        if not tests:
            raise ParseError(f"no tests of a response, but the query itself, in {quote(reply)}")
    if not tests:
        raise ParseError(f"no list of tests in {quote(reply)}")
    return tuple(dict.fromkeys(tests))[:max_tests]


def _parse_json_tests(text: str, inline: bool) -> list[str]:
    for value in iter_json_values(text, inline):
        if tests := _select_tests(_unwrap_items(value)):
            return tests
    return []


def _select_tests(items: list[Any]) -> list[str]:
    """The statements of a list, without placeholders; none if an entry is no statement."""
    tests = [_extract_statement(item) for item in items]
    return [test for test in tests if not _PLACEHOLDER.fullmatch(test)] if all(tests) else []


def _unwrap_items(value: list[Any] | dict[str, Any]) -> list[Any]:
    if isinstance(value, list):
        return value[0] if len(value) == 1 and isinstance(value[0], list) else value
    lists = [entry for entry in value.values() if isinstance(entry, list)]
    return lists[0] if len(lists) == 1 else list(value.values())


def _extract_statement(item: Any) -> str:
    if isinstance(item, str):
        return item.strip()
    if isinstance(item, Mapping):
        texts = {str(key).lower(): value.strip() for key, value in item.items() if isinstance(value, str)}
        named = [texts[key] for key in ("test", "unit_test", "statement", "description", "assertion") if texts.get(key)]
        return named[0] if named else max(texts.values(), key=len, default="")
    return ""


def _parse_list_lines(text: str, reply: str) -> list[str]:
    """Numbered or bulleted lines with the indented lines that continue them."""
    items: list[str] = []
    indents: set[int] = set()
    open_item = False
    for line in text.splitlines():
        item = _ITEM.fullmatch(line[:2000])
        if item:
            indents.add(len(item["indent"].expandtabs()) // 2)
            items.append(item["text"])
        elif open_item and line[:1].isspace() and line.strip():
            items[-1] = f"{items[-1]} {line.strip()}"[:2000]
        open_item = bool(line.strip()) and (bool(item) or open_item)
    if len(indents) > 1:
        raise ParseError(f"a list in several levels, so that it is not clear which lines are tests: {quote(reply)}")
    if len(items) > 1 and _CUT.fullmatch(items[-1]):
        items.pop()
    tests = [test for line in items if (test := _strip_markup(line))]
    return [test for test in tests if not _PLACEHOLDER.fullmatch(test)]


def _parse_statement_lines(text: str) -> list[str]:
    """Lines without any mark, each of which speaks of the response as the prompt's form does."""
    lines = [line for line in text.splitlines() if line.strip()]
    tests = [_strip_markup(line) for line in lines] if all(map(_STATEMENT.match, lines)) else []
    return [test for test in tests if test and not _PLACEHOLDER.fullmatch(test)]


def _strip_markup(line: str) -> str:
    line = line.strip(" \t*|").removesuffix(",").strip()
    for mark in ('"', "'", "“"):
        closing = "”" if mark == "“" else mark
        if len(line) > 1 and line[0] == mark and line[-1] == closing and line.count(closing) <= 2:
            line = line[1:-1].strip()
    return line if line.count("|") < 2 else ""
