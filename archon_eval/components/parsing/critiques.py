"""Reads a critic's reply: a critique of each candidate, attached to the candidate it names.

>>> parse_critiques("[1]\\nShort.\\n[2]\\nWrong sum.", 2)
{0: 'Short.', 1: 'Wrong sum.'}
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from archon_eval.components.parsing.structured import iter_json_values, normalize_reply, parse_numbers
from archon_eval.errors import MissingPartsError, ParseError, quote

_MARKS = r"[ \t>#*_|\-]*"
_GAP = r"[ \t]{0,9}"
_ABOUT = (
    rf"(?:(?:critique|evaluation|review|feedback|analysis|assessment){_GAP}(?:of|for)(?:{_GAP}the)?{_GAP}[*_]{{0,2}})?"
)
_WORD = rf"(?:candidate|response|answer|identifier|id)s?{_GAP}[:#]?{_GAP}[*_]{{0,2}}"
_ID = rf"\[{_GAP}(?:{_WORD})?\d{{1,6}}(?:{_GAP}[-–]{_GAP}\d{{1,6}})?{_GAP}\]"
_JOIN = rf"{_GAP}(?:(?:,{_GAP})?and\b|,|&|-|–|to\b){_GAP}"
_IDS = rf"(?P<ids>{_ID}(?:{_JOIN}(?:{_WORD})?{_ID})*+|(?<=[a-z#\t *_])\d{{1,6}}\b(?:[-–]\d{{1,6}}\b)?)"
_NAMED = rf"(?:\d{{1,3}}[.)]{_MARKS})?(?:<\w{{1,20}}[ \t]+(?:id|of)=[\"']?)?{_ABOUT}(?:(?=\[)|{_WORD}){_IDS}"
_HEADERS = tuple(
    re.compile(rf"^{_MARKS}{_NAMED}{rest}", re.I | re.M)
    for rest in (
        r"[*_:.|>\"' \t\-–—]*$",
        r"[*_ \t\"']*(?:$|[:.|>–—-][*_:|>–— \t-]*|(?=\(?(?:strengths?|weakness(?:es)?)\b))",
        r"[*_ \t]*",
    )
)
"""How a section may start, clearest first: alone on its line, before a colon or the like, or only by an identifier."""
_END = re.compile(r"</(?:critique|response)\d*>\Z")
"""Of a section framed as the prompt's are, whose tags may be numbered (`prompts.unique_tag`)."""
_SINGLE = re.compile(r"[^\d]*\d+[^\d]*")
_LABEL = re.compile(r"\b(?:strengths?|weakness(?:es)?)\b|</?\w{1,20}[^<>\n]{0,40}>", re.I)
_FORM_LINE = re.compile(r"^[ \t]{0,9}[-*•]?[ \t]{0,9}(?:\.\.\.|…)[ \t]*$\n?", re.M)
_FORM_MARKS = re.compile(r"[\s.…*_:#>|`-]*")
"""What a section may have of the form that was asked for, and which is no content."""
_CLOSING = re.compile(rf"^{_MARKS}(?:overall|(?:in )?(?:summary|conclusion)|comparison|ranking)\b", re.I | re.M)


def parse_critiques(reply: str, count: int) -> dict[int, str]:
    """The critique of each candidate, by its place from 0; all of them, each non-empty.

    The clearest kind of header in the reply decides, so that an identifier mentioned inside a section starts none.

    Raises:
        ParseError: an identifier out of range, repeated or without a section; `partial` has the sections that stand
            directly before the next candidate's, since any other may hold what belongs to a lost header; none when
            an identifier is out of range, since then the numbering is in doubt.
        MissingPartsError: candidates without a section, and nothing else is wrong (`partial` as above).
    """
    text = normalize_reply(reply)
    headers = _find_headers(text)
    loose = bool(headers) and headers[0].re is _HEADERS[2]
    if len(headers) > 50 * (count + 1):
        raise ParseError(f"{len(headers)} sections for {count} responses in {quote(reply)}")
    sections: list[tuple[list[int], str]] = []
    for match, end in zip(headers, [*(header.start() for header in headers[1:]), len(text)], strict=False):
        body = _FORM_LINE.sub("", text[match.end() : end]).strip()
        sections.append((parse_numbers(match["ids"], count), _END.sub("", body)))
    filled = [(ids, body) for ids, body in sections if _has_content(body)]
    order = [number for ids, _ in filled for number in ids]
    grouped = any(len(ids) > 1 and _HEADERS[1].search(body) for ids, body in filled)
    if grouped or not _is_complete(order, count) or (loose and order != sorted(order)):
        keyed = _parse_json_critiques(text, count)
        if len(keyed) == count:
            return keyed
        problem = (
            f"no single section for {_format_ids(_find_wrong_ids(order, count))} of [1] to [{count}] in {quote(reply)}"
        )
        outside = not set(order) <= set(range(1, count + 1))
        partial = None if outside else _select_certain(sections, count) or keyed or None
        if not order or outside or grouped or loose or len(set(order)) < len(order):
            raise ParseError(problem, partial=partial)
        missing = [n for n in range(1, count + 1) if n not in order]
        raise MissingPartsError(problem, partial, _format_request(missing), missing)
    critiques: dict[int, list[str]] = {place: [] for place in range(count)}
    for ids, body in _strip_closing_remark(filled):
        for number in ids:
            critiques[number - 1].append(body)
    return {place: "\n".join(bodies) for place, bodies in critiques.items()}


def format_critique_form(numbers: Iterable[int]) -> str:
    """The sections that a prompt asks for; sent back as they are they say nothing."""
    return "\n\n".join(f"[{number}]\nStrengths:\n- ...\nWeaknesses:\n- ..." for number in numbers)


def _format_request(missing: Sequence[int]) -> str:
    sections = "A section is" if len(missing) == 1 else f"{len(missing)} sections are"
    return f"{sections} missing. Write only what is missing, in this form:\n\n{format_critique_form(missing)}"


def _has_content(body: str) -> bool:
    """Whether a section says anything: labels and dots of the form do not."""
    return not _FORM_MARKS.fullmatch(_LABEL.sub("", body))


def _find_headers(text: str) -> list[re.Match[str]]:
    for pattern in _HEADERS:
        headers = list(pattern.finditer(text))
        if pattern is _HEADERS[0] and not any(_SINGLE.fullmatch(match["ids"]) for match in headers):
            continue  # a heading over several sections, if anything
        if headers:
            return headers
    return []


def _is_complete(order: list[int], count: int) -> bool:
    """Each candidate once, in any order; or equally often, candidate by candidate or pass by pass."""
    once = list(range(1, count + 1))
    times = len(order) // count
    return bool(times) and (sorted(order) == once or order == once * times or order == sorted(once * times))


def _find_wrong_ids(order: list[int], count: int) -> list[int]:
    times = Counter(order)
    return [n for n in range(1, count + 1) if times[n] != 1] + sorted(n for n in times if not 1 <= n <= count)


def _format_ids(ids: list[int]) -> str:
    return ", ".join(f"[{n}]" for n in ids[:20]) or "each"


def _select_certain(sections: list[tuple[list[int], str]], count: int) -> dict[int, str]:
    times = Counter(number for ids, _ in sections for number in ids)
    certain = {}
    for (ids, body), after in pairwise([*sections, ([count + 1], "")]):
        alone = len(ids) == 1 and times[ids[0]] == 1 and 1 <= ids[0] <= count
        if alone and after[0][:1] == [ids[0] + 1] and _has_content(body):
            certain[ids[0] - 1] = body
    return certain


def _strip_closing_remark(sections: list[tuple[list[int], str]]) -> list[tuple[list[int], str]]:
    """Without a closing remark on all candidates, which is no part of the last one's section."""
    *others, (ids, last) = sections
    closing = _CLOSING.search(last, 1)
    if others and closing and not any(_CLOSING.search(body) for _, body in others):
        last = last[: closing.start()].strip() or last
    return [*others, (ids, last)]


def _parse_json_critiques(text: str, count: int) -> dict[int, str]:
    """Critiques as a JSON object by identifier, or a list of objects that name theirs, or one entry per candidate."""
    for value in iter_json_values(text):
        if isinstance(value, dict) and len(value) == 1 and isinstance(inner := next(iter(value.values())), list | dict):
            value = inner if count > 1 or isinstance(inner, list) else value
        entries: list[tuple[Any, Any]] = []
        if isinstance(value, dict):
            entries = list(value.items())
        elif all(isinstance(item, dict) for item in value):
            names = ("id", "identifier", "candidate", "response")
            entries = [(next((item[n] for n in names if n in item), None), _omit_keys(item, names)) for item in value]
        if all(key is None for key, _ in entries) and len(value) == count and isinstance(value[0], str | dict):
            entries = list(enumerate(value, 1))
        ids = [re.fullmatch(r"\D{0,20}(\d{1,6})\D{0,3}", str(key)) for key, _ in entries]
        if entries and all(ids):
            keyed = {int(m[1]) - 1: _format_value(v) for m, (_, v) in zip(ids, entries, strict=True) if m}
            if len(keyed) == len(entries) and all(0 <= n < count for n in keyed):
                return {n: text for n, text in keyed.items() if _has_content(text)}
    return {}


def _omit_keys(item: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in names}


def _format_value(value: Any) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
