"""Unit tests in words: a generator writes them from the query, an evaluator judges each candidate by them.

v6 section 3.1: the evaluator passes on the candidates that pass every test (`keep: passing`); v1 orders them by the
number of tests passed (`keep: all`). Five to ten tests worked best.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from archon_eval.architecture.component_types import COMPONENT_TYPES
from archon_eval.architecture.prompts import render
from archon_eval.components.base import CallContext, CandidateScorer, ContextComponent, CountRange, make_user_prompt
from archon_eval.components.parsing.structured import iter_json_values, normalize_reply
from archon_eval.components.parsing.test_results import parse_test_verdicts
from archon_eval.errors import ParseError, quote
from archon_eval.types import Candidate, Conversation, State, render_conversation

TESTS_PROMPT = """\
Write unit tests for responses to the query below. Each test is one short statement, in words, that a \
correct and helpful response must satisfy and whose truth can be judged by reading the response (for example: "The \
response states ..."). Cover what the query asks for; do not repeat a test.

<query>
{instruction}
</query>

Write at most {max_tests} tests. Reply only with a list of strings: ["first test", "second test", ...]"""

EVALUATE_PROMPT = """Check a response to a query against {count} unit tests, one by one.

<query>
{instruction}
</query>

<response>
{candidate}
</response>

Unit tests:
{tests}

For each test give your reasoning. Then end with one line per test, in order, in exactly this form, with nothing else \
on the line:

Unit Test #1: [Passed] or [Failed]"""

_ITEM = re.compile(
    r"(?P<indent>[ \t]*)[*_#|\" ]*"
    r"(?:(?:unit )?test\s{0,3}#?\d{1,3}[*_\"]*\s{0,3}[:.)|-]|#?\d{1,3}[*_ ]*[.):|]|[-*•])[*_]*\s+(?P<text>\S.*)",
    re.I,
)
_EXAMPLES = ("first test", "second test")


def parse_tests(reply: str, max_tests: int) -> tuple[str, ...]:
    """The tests of a reply, without repeats, at most `max_tests`: a list of strings, else numbered or bulleted lines.

    Raises:
        ParseError: no test in it, or lines in levels of which only some are tests.
    """
    text = normalize_reply(reply)
    tests = (
        _parse_json_tests(text, inline=False) or _parse_list_lines(text, reply) or _parse_json_tests(text, inline=True)
    )
    if not tests:
        raise ParseError(f"no list of tests in {quote(reply)}")
    return tuple(dict.fromkeys(tests))[:max_tests]


def _parse_json_tests(text: str, inline: bool) -> list[str]:
    for value in iter_json_values(text, inline):
        tests = [_extract_statement(item) for item in _unwrap_items(value)]
        if tests and all(tests) and not set(tests) & set(_EXAMPLES):
            return tests
    return []


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
    found: list[str] = []
    indents: set[int] = set()
    open_item = False
    for line in text.splitlines():
        item = _ITEM.fullmatch(line[:2000])
        if item:
            indents.add(len(item["indent"].expandtabs()) // 2)
            found.append(item["text"])
        elif open_item and line[:1].isspace() and line.strip():
            found[-1] = f"{found[-1]} {line.strip()}"[:2000]
        open_item = bool(line.strip()) and (bool(item) or open_item)
    if len(indents) > 1:
        raise ParseError(f"a list in several levels, so that it is not clear which lines are tests: {quote(reply)}")
    return [test for line in found if (test := _strip_markup(line))]


def _strip_markup(line: str) -> str:
    line = line.strip(" \t*|").removesuffix(",").strip()
    for mark in ('"', "'", "“"):
        closing = "”" if mark == "“" else mark
        if len(line) > 1 and line[0] == mark and line[-1] == closing and line.count(closing) <= 2:
            line = line[1:-1].strip()
    return line if line.count("|") < 2 else ""


class UnitTestGenerator(ContextComponent):
    """One call, at time zero; the fallback is no test at all, which every candidate passes."""

    kind = COMPONENT_TYPES["unit_test_generator"]
    wording = TESTS_PROMPT
    """The prompt's built-in wording."""
    parse = staticmethod(parse_tests)
    """From a reply and the most tests allowed to the tests."""

    async def prepare(self, conversation: Conversation, desk: CallContext) -> Mapping[str, Any]:
        most = int(self.spec.get_option("max_tests"))
        prompt = render(
            self.spec.get_prompt("tests", self.wording), instruction=render_conversation(conversation), max_tests=most
        )
        tests = await desk.generate_parsed(
            "tests",
            make_user_prompt(prompt),
            lambda reply: self.parse(reply, most),
            fallback="no tests: every candidate passes",
        )
        return {"tests": tests or ()}

    def count_calls(self, candidates: CountRange) -> CountRange:
        return (1, 1)


class UnitTestEvaluator(CandidateScorer):
    """One call per candidate; a test without a readable verdict counts neither for nor against it."""

    kind = COMPONENT_TYPES["unit_test_evaluator"]

    @property
    def sorts(self) -> bool:  # type: ignore[override]
        return self.spec.get_option("keep") == "all" or self.spec.get_option("top_k") is not None

    async def judge(self, state: State, candidate: Candidate, desk: CallContext) -> Candidate:
        tests = state.tests
        if not tests:
            return candidate
        prompt = render(
            self.spec.get_prompt("evaluate", EVALUATE_PROMPT),
            instruction=state.instruction,
            candidate=candidate.text,
            tests="\n".join(f"Unit Test #{number}: {test}" for number, test in enumerate(tests, 1)),
            count=len(tests),
        )
        results = await desk.generate_parsed(
            "evaluate",
            make_user_prompt(prompt),
            lambda reply: parse_test_verdicts(reply, len(tests)),
            fallback="tests without a verdict count neither for nor against the candidate",
            about=candidate.id,
        )
        return replace(candidate, tests=results or (None,) * len(tests))

    def passes(self, candidate: Candidate) -> bool:
        return self.spec.get_option("keep") == "all" or False not in candidate.tests

    def arrange(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        if self.spec.get_option("keep") == "all" or self.spec.get_option("execute"):
            candidates = tuple(sorted(candidates, key=lambda c: -sum(result is True for result in c.tests)))
        passing = tuple(filter(self.passes, candidates)) or candidates
        return passing[: self.spec.get_option("top_k")]

    def count_calls(self, candidates: CountRange) -> CountRange:
        return candidates

    def count_survivors(self, candidates: CountRange) -> CountRange:
        top_k = self.spec.get_option("top_k")
        least, most = candidates if self.spec.get_option("keep") == "all" else super().count_survivors(candidates)
        return (least, most) if top_k is None else (min(least, top_k), min(most, top_k))
