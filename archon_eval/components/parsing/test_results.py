"""Reads an evaluator's reply: a verdict on each unit test, attached to the test it names.

>>> parse_test_verdicts("Unit Test #1: [Passed]\\nUnit Test #2: [Failed]", 2)
(True, False)
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from archon_eval.components.parsing.structured import is_negated, iter_json_values, normalize_reply, parse_numbers
from archon_eval.errors import MissingPartsError, ParseError, quote

MAX_VERDICTS = 1000
"""Verdicts after the name of one test from which on it has none."""
_MARKS = r"[ \t>#*_\-|]*"
_JOIN = r"[ \t]{0,5}(?:(?:,[ \t]{0,5})?and\b|,|&|-|–|to\b|through\b)[ \t]{0,5}"
_REFERENCE = re.compile(
    rf"^{_MARKS}\[?(?:unit[ \t]{{1,5}})?test(?:s[ \t]{{0,5}}(?P<several>#?\d{{1,4}}(?:{_JOIN}#?\d{{1,4}})*+)"
    rf"|[ \t]{{0,5}}(?P<single>#?\d{{1,4}}(?:(?:{_JOIN}(?:(?:unit )?test )?#|[-–])\d{{1,4}})*+))\b",
    re.I | re.M,
)
_NUMBER = re.compile(rf"^{_MARKS}(?P<several>#?\d{{1,4}})[*_ \t]{{0,9}}[.):|]", re.M)
_VERDICT = re.compile(r"\[\s{0,9}(?P<word>not\s{1,9}pass(?:ed)?|pass(?:ed)?|fail(?:ed)?)\W{0,9}?\]", re.I)
_PLAIN = re.compile(
    rf"^\]?{_MARKS}(?:[:.]{_MARKS})?(?:(?:result|verdict|status|conclusion|outcome)[ \t*_:|\-–]*)?"
    r"(?P<word>not passed|pass(?:ed)?|fail(?:ed|s)?)[ \t*_]{0,9}(?=$|[.!,;:|(\]–—-])",
    re.I | re.M,
)
_FORM = re.compile(
    r"(?:\[\s{0,9}passed\s{0,9}\]?\s{0,9}(?:or|/|,|\|)|:\s{0,9}passed\s{0,9}\]?\s{0,9}or)\s{0,9}\[?\s{0,9}failed\b\s{0,9}\]?",
    re.I,
)
_TICKS = str.maketrans(dict.fromkeys("✅✔☑", "[Passed]") | dict.fromkeys("❌✗✘❎", "[Failed]"))
_ALL = re.compile(
    rf"^{_MARKS}all(?: of)?(?: the)?(?: \d{{1,4}})?(?: unit)? tests?(?: (?:are|have|is))?[ \t*_:–-]{{0,9}}"
    r"\[\s{0,9}(?P<word>passed|failed)\s{0,9}\]",
    re.I | re.M,
)
_BARE = re.compile(r"(?:\W{0,9}\b(?:passed|failed)\b)++\W{0,9}", re.I)
"""Verdicts and nothing else: as many as there are tests are on these, in order."""
_ABOUT = re.compile(r"^(?:unit_?)?(?:test|id|number|index|#)", re.I)


def parse_test_verdicts(reply: str, count: int) -> tuple[bool | None, ...]:
    """A verdict per test, in the tests' order. Lines that hold only a verdict overrule the reasoning before them.

    Raises:
        ParseError: a verdict on a test that does not exist (nothing is certain then), a test with two verdicts, or no
            verdict at all.
        MissingPartsError: tests without a single verdict (`partial` has the rest).
    """
    text = _FORM.sub("", html.unescape(normalize_reply(reply)).replace("*", "").replace("`", ""))
    text = text if _VERDICT.search(text) else text.translate(_TICKS)
    verdicts = _parse_referenced(text, count, reply)
    if not verdicts and not (verdicts := _parse_json_verdicts(text, count)) and (match := _ALL.search(text)):
        verdicts = dict.fromkeys(range(1, count + 1), _is_passed(match["word"]))
    if not verdicts and len(words := re.findall(r"\w+", text[: 20 * count])) == count and _BARE.fullmatch(text):
        verdicts = {n: _is_passed(word) for n, word in enumerate(words, 1)}
    results = tuple(verdicts.get(n) for n in range(1, count + 1))
    if None in results:
        missing = [n for n, result in enumerate(results, 1) if result is None]
        problem = f"no single verdict on test {', '.join(f'#{n}' for n in missing)} in {quote(reply)}"
        if len(missing) == count:
            raise ParseError(problem, request=_format_request(missing))
        raise MissingPartsError(problem, results, _format_request(missing), missing)
    return results


def format_verdict_form(numbers: Iterable[int]) -> str:
    """The lines that a prompt asks for; sent back as they are they say nothing."""
    return "\n".join(f"Unit Test #{number}: [Passed] or [Failed]" for number in numbers)


def _format_request(missing: Sequence[int]) -> str:
    """Without a form of verdict at the end of its lines, which small models would send back as it is."""
    lines = "\n".join(f"Unit Test #{number}:" for number in missing)
    return f"Verdicts are missing. Complete each line with [Passed] or [Failed]:\n\n{lines}"


def _is_passed(word: str) -> bool:
    return word.lower().startswith("pass")


def _parse_referenced(text: str, count: int, reply: str) -> dict[int, bool | None]:
    """Verdicts by the test named before them; None for a test with verdicts that differ."""
    references = list(_REFERENCE.finditer(text))
    if not references:
        lines = list(_NUMBER.finditer(text))
        references = (
            lines if [match["several"].strip("#") for match in lines] == [*map(str, range(1, count + 1))] else []
        )
    reasoned: dict[int, bool | None] = {}
    final: list[tuple[int, bool]] = []
    for match, end in zip(references, [*(later.start() for later in references[1:]), len(text)], strict=False):
        body = text[match.end() : end]
        verdicts, alone = _find_verdicts(body)
        if not verdicts:
            continue
        ids = parse_numbers(match["several"] or match["single"], count)
        if outside := [n for n in ids if not 1 <= n <= count]:
            raise ParseError(f"test #{outside[0]} is not one of #1 to #{count} in {quote(reply)}")
        verdict = next(iter(verdicts)) if len(verdicts) == 1 else None
        for n in ids[:count]:
            if alone and verdict is not None:
                final.append((n, verdict))
            else:
                reasoned[n] = verdict if reasoned.get(n, verdict) == verdict else None
    return reasoned | _merge_final_verdicts(final, count)


def _merge_final_verdicts(final: list[tuple[int, bool]], count: int) -> dict[int, bool | None]:
    """The complete list at the end, or every line when none contradicts another."""
    if [n for n, _ in final[-count:]] == list(range(1, count + 1)):
        return dict(final[-count:])
    merged: dict[int, bool | None] = {}
    for n, verdict in final:
        merged[n] = verdict if merged.get(n, verdict) == verdict else None
    return merged


def _find_verdicts(body: str) -> tuple[set[bool], bool]:
    """What is said after a test is named, both when negated; and whether it stands alone on the first line."""
    verdicts: set[bool] = set()
    matches = list(islice(_VERDICT.finditer(body), MAX_VERDICTS))
    if len(matches) == MAX_VERDICTS:
        return {True, False}, False
    for match in matches:
        passed = _is_passed(match["word"])
        verdicts |= {True, False} if is_negated(body[max(0, match.start() - 60) : match.start()], passed) else {passed}
    matches = matches or list(_PLAIN.finditer(body))
    verdicts = verdicts or {_is_passed(match["word"]) for match in matches}
    line = body[: body.find("\n")] if "\n" in body else body
    alone = bool(matches) and not re.search(r"\w", line[: matches[0].start()] + line[matches[0].end() :])
    return verdicts, alone and matches[0].end() <= len(line)


def _parse_json_verdicts(text: str, count: int) -> dict[int, bool | None]:
    """Verdicts written as a JSON list in order, or as an object by test."""
    for value in iter_json_values(text, inline=False):
        inner = next(iter(value.values())) if isinstance(value, dict) and len(value) == 1 else None
        value = inner if isinstance(inner, list) or (count > 1 and isinstance(inner, dict)) else value
        entries = list(value.items()) if isinstance(value, dict) else list(enumerate(value, 1))
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            entries = [(next((v for k, v in item.items() if _ABOUT.search(k)), n), item) for n, item in entries]
        keys = [re.findall(r"\d+", str(key)) for key, _ in entries]
        verdicts = [_parse_verdict_entry(entry, isinstance(value, dict)) for _, entry in entries]
        if keys == [[str(n)] for n in range(1, count + 1)] and None not in verdicts:
            return dict(enumerate(verdicts, 1))
    return {}


def _parse_verdict_entry(entry: Any, named: bool) -> bool | None:
    if isinstance(entry, Mapping):
        verdicts = {v for value in entry.values() if (v := _parse_verdict_entry(value, True)) is not None}
        return verdicts.pop() if len(verdicts) == 1 else None
    if isinstance(entry, bool):
        return entry if named else None
    word = str(entry).strip("[] .").lower()
    return {"passed": True, "pass": True, "failed": False, "fail": False}.get(word)
