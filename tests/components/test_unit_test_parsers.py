"""Replies that test writers and evaluators really write, and the ones nobody can read."""

import json

import pytest

from archon_eval.components.parsing.test_results import parse_test_verdicts
from archon_eval.components.parsing.unit_tests import parse_tests
from archon_eval.errors import ParseError

ONE, TWO = "The response states 4.", "The response names the unit."
TESTS = {
    "as asked": json.dumps([ONE, TWO]),
    "prose around": f"Here are the tests:\n\n{json.dumps([ONE, TWO])}\n\nThey cover it [all].",
    "on one line with a lead": f"Here are the tests: {json.dumps([ONE, TWO])}",
    "fence": f"Sure!\n```json\n{json.dumps([ONE, TWO], indent=2)}\n```\nDone.",
    "python": f"['{ONE}', \"{TWO}\",]",
    "assignment": f"unit_tests = ['{ONE}', '{TWO}']",
    "object": json.dumps({"tests": [ONE, TWO]}),
    "object with a title": json.dumps({"title": "Tests", "tests": [ONE, TWO]}),
    "object by number": json.dumps({"Unit Test #1": ONE, "Unit Test #2": TWO}),
    "list of objects": json.dumps([{"id": i, "test": t, "why": "because " * 20} for i, t in enumerate([ONE, TWO])]),
    "twice": json.dumps([ONE, TWO, ONE]),
    "numbered": f"1. {ONE}\n2. {TWO}",
    "numbered, bold": f"**1.** {ONE}\n**2.** {TWO}",
    "numbered, quoted": f'1) "{ONE}"\n2) "{TWO}"',
    "bullets": f"Tests:\n- {ONE}\n- {TWO}\n\nThese cover the query.",
    "stars": f"* {ONE}\r\n* {TWO}",
    "named": f"Unit Test #1: {ONE}\nUnit Test #2: {TWO}",
    "named, bold": f"**Unit Test 1:** {ONE}\n**Unit Test 2:** {TWO}",
    "headings": f"### Test 1: {ONE}\n### Test 2: {TWO}",
    "table": f"| # | Test |\n|---|---|\n| 1 | {ONE} |\n| 2 | {TWO} |",
    "wrapped": "1. The response\n   states 4.\n2. The response names\n   the unit.\n",
    "thinking": f"<think>maybe ['a']</think>{json.dumps([ONE, TWO])}",
    "quotes the form": f'["first test", "second test", ...]\n{json.dumps([ONE, TWO])}',
    "full width": f'［"{ONE}"， "{TWO}"］',
    "control characters": json.dumps([ONE, TWO]).replace("[", "\x00[\x07"),
    "cut in the third": f'["{ONE}", "{TWO}", "The resp',
    "cut in the third, in a fence": f'Here:\n```json\n[\n  "{ONE}",\n  "{TWO}",\n  "The resp',
    "cut before the third": f'["{ONE}", "{TWO}", ',
    "cut list of objects": f'[{{"test": "{ONE}"}}, {{"test": "{TWO}"}}, {{"test": "The',
    "lines without marks": f'{ONE}\n\n"{TWO}"\n',
    "cut in the third line": f'- "{ONE}"\n- "{TWO}"\n- "The resp',
    "dots at the end": json.dumps([ONE, TWO, "..."]),
    "dots of the form": f"1. {ONE}\n2. {TWO}\n3. The response explains ...",
    "the query among them": json.dumps(["What is\n2 + 2?", ONE, TWO]),
}
QUERY = "Think. What is 2 + 2?"


@pytest.mark.parametrize("reply", TESTS.values(), ids=TESTS.keys())
def test_reads_tests(reply: str) -> None:
    assert parse_tests(reply, 10, QUERY) == (ONE, TWO)


def test_questions_and_sentences_of_the_query_may_be_tests() -> None:
    assert parse_tests('["Does it state 4?", "Think."]', 5, QUERY) == ("Does it state 4?", "Think.")


def test_lists_inside_a_test_are_no_list_of_tests() -> None:
    assert parse_tests('1. It returns ["a", "b"]\n2. It returns: ["c"]', 5) == (
        'It returns ["a", "b"]',
        'It returns: ["c"]',
    )
    assert parse_tests('Unit Test #1: It returns: ["a", "b"]', 5) == ('It returns: ["a", "b"]',)


def test_at_most_so_many_tests() -> None:
    assert parse_tests(json.dumps([f"t{n}" for n in range(50)]), 3) == ("t0", "t1", "t2")


def test_latex_survives() -> None:
    assert parse_tests('["It states \\frac{1}{2}.", "It has \\neq and \\pi \\times 2."]', 5) == (
        "It states \\frac{1}{2}.",
        "It has \\neq and \\pi \\times 2.",
    )
    assert parse_tests('["It states \\\\frac{1}{2}."]', 5) == ("It states \\frac{1}{2}.",)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I cannot do that.",
        "[]",
        "[1, 2]",
        "<think>['a']",
        '["first test", "second test", ...]',
        '["first test", "second test"]',
        '["first test", "second test", "third test", "fourth test", "fifth test"]',
        "1. The response ...\n2. The response states ...",
        "The response states ...\nThe response explains ...",
        f"{ONE}\nThat is all.",
        "The response cannot be judged.",
        '["What is 2 + 2?"]',
        f'["{ONE}", oops, "{TWO}',
        f'["{ONE}" and "{TWO}"',
        '["The resp',
        f"1. Accuracy\n   - {ONE}\n2. Form\n   - {TWO}",
    ],
)
def test_no_tests(reply: str) -> None:
    with pytest.raises(ParseError):
        parse_tests(reply, 5, QUERY)


FINAL = "Unit Test #1: [Passed]\nUnit Test #2: [Failed]\nUnit Test #3: [Passed]"
RESULTS = {
    "as asked": FINAL,
    "reasoning first": f"It states 4. It has no unit.\n\n{FINAL}",
    "reasoning each": "Unit Test #1: It states 4.\n[Passed]\n"
    "\nUnit Test #2: none.\n[Failed]\n\nUnit Test #3: yes\n[Passed]",
    "markdown": "### Unit Test #1\n- fine\n- **[Passed]**\n"
    "### Unit Test #2\n**[Failed]**\n### Unit Test #3\n**[Passed]**",
    "bold": "**Unit Test #1: [Passed]**\n**Unit Test #2: [Failed]**\n**Unit Test #3: [Passed]**",
    "no brackets": "Unit Test #1: Passed\nUnit Test #2: **Failed** - no unit\nUnit Test #3: Passed.",
    "short": "Test 1: PASS\nTest 2: FAIL\nTest 3: PASS",
    "result lines": "Unit Test #1: states 4\nResult: Passed\n"
    "Unit Test #2: unit\nResult: Failed\nUnit Test #3\nResult: Passed",
    "ranges": "Unit Tests #1-#3: see below\nUnit Tests #1 and #3: [Passed]\nUnit Test #2: [Failed]",
    "shared": "Unit Test #2: [Failed]\nUnit Test #1, #3: [Passed]",
    "table": "| Test | Verdict |\n|---|---|\n| Unit Test #1 | [Passed] |\n"
    "| Unit Test #2 | [Failed] |\n| Unit Test #3 | [Passed] |",
    "table of numbers": "| # | Why | Verdict |\n|---|---|---|\n"
    "| 1 | a | [Passed] |\n| 2 | b | [Failed] |\n| 3 | c | [Passed] |",
    "numbered": "1. [Passed]\n2. [Failed]\n3. [Passed]",
    "numbered with reasons": "1. It states 4: [Passed]\n2. No unit: [Failed]\n3. Yes: [Passed]",
    "denial, then the verdict": "Unit Test #1: ok [Passed]\nUnit Test #2: does not pass. [Failed]\n"
    "Unit Test #3: [Passed]",
    "denial without a stop": "Unit Test #1: [Passed]\nUnit Test #2: does not pass [Failed]\nUnit Test #3: [Passed]",
    "not passed": "Unit Test #1: [Passed]\nUnit Test #2: [Not Passed]\nUnit Test #3: [Passed]",
    "first impression": f"Unit Test #1: [Failed]\nUnit Test #2: [Failed]\nUnit Test #3: [Passed]\nAgain:\n{FINAL}",
    "final lines overrule": f"Unit Test #1: seems wrong [Failed]\n\n{FINAL}",
    "quotes the form": f"In the form\nUnit Test #1: [Passed] or [Failed]\n\n{FINAL}",
    "mentions at the start of a line": "Unit Test #1: fine, and\nTest 2 is about units.\nUnit Test #1: [Passed]\n"
    "Unit Test #2: [Failed]\nUnit Test #3: [Passed]",
    "a number after a dash": "Unit Test #1 - 3 apples are counted: [Passed]\n"
    "Unit Test #2 - no: [Failed]\nUnit Test #3 - 1 pear: [Passed]",
    "ticks": "Unit Test #1: ✅\nUnit Test #2: ❌\nUnit Test #3: ✅",
    "ticks and words": "Unit Test #1: ✅ [Passed]\nUnit Test #2: ❌ [Failed]\nUnit Test #3: [Passed ✅]",
    "lenticular": "Unit Test #1：【Passed】\nUnit Test #2：【Failed】\nUnit Test #3：【Passed】",
    "full width number": "Unit Test ＃１: [Passed]\nUnit Test ＃２: [Failed]\nUnit Test ＃３: [Passed]",
    "nothing but verdicts": "[Passed]\n[Failed]\n[Passed]",
    "nothing but words": "Passed, Failed, Passed.",
    "the line in brackets": "[Unit Test #1: Passed]\n[Unit Test #2: Failed] No unit.\n[Unit Test #3: Passed]",
    "the name in brackets": "[Unit Test #1]: Passed\n[Unit Test #2]: [Failed]\n[Unit Test #3] Passed",
    "carriage returns": "Unit Test #1: [Passed]\r\nUnit Test #2: [Failed]\r\nUnit Test #3: [Passed]\r\n",
    "fence": f"```\n{FINAL}\n```",
    "thinking": f"<think>Unit Test #1: [Failed]</think>{FINAL}",
    "entities": "Unit Test &#35;1: &#91;Passed&#93;\nUnit Test #2: [Failed]\nUnit Test #3: [Passed]",
    "json list": '["Passed", "Failed", "Passed"]',
    "json object": '{"Unit Test #1": "[Passed]", "Unit Test #2": "[Failed]", "Unit Test #3": "[Passed]"}',
    "json flags": '{"1": true, "2": false, "3": true}',
    "json records": '[{"test": 1, "why": "x", "result": "Passed"}, {"test": 2, '
    '"result": "Failed"}, {"test": 3, "result": "Passed"}]',
    "json nested": '{"results": {"1": {"result": "Passed"}, "2": {"result": "Failed"}, "3": {"result": "Passed"}}}',
}


@pytest.mark.parametrize("reply", RESULTS.values(), ids=RESULTS.keys())
def test_reads_results(reply: str) -> None:
    assert parse_test_verdicts(reply, 3) == (True, False, True)


def test_all_at_once() -> None:
    assert parse_test_verdicts("All unit tests: [Passed]", 3) == (True, True, True)
    assert parse_test_verdicts("Unit Tests #1-#3: [Passed]", 3) == (True, True, True)
    assert parse_test_verdicts("Unit Tests 1 to 3: [Failed]", 3) == (False, False, False)


UNREADABLE = {
    "nothing": ("", None),
    "prose": ("It is good.", None),
    "only thinking": ("<think>Unit Test #1: [Passed]\nUnit Test #2: [Passed]\nUnit Test #3: [Passed]", None),
    "numbered from zero": ("Unit Test #0: [Passed]\nUnit Test #1: [Failed]\nUnit Test #2: [Passed]", None),
    "one too many": (
        "Unit Test #1: [Passed]\nUnit Test #2: [Failed]\nUnit Test #3: [Passed]\nUnit Test #4: [Passed]",
        None,
    ),
    "the form in brackets": (
        "[Unit Test #1: Passed] or [Failed]\n[Unit Test #2: Passed or Failed]\nUnit Test #3: Passed or [Failed]",
        None,
    ),
    "both in every line": ("Unit Test #1: [Passed] || [Failed]\nUnit Test #2: [Passed] | [Failed]", None),
    "nothing but verdicts, too few": ("[Passed]\n[Failed]", None),
    "nothing but verdicts, too many": ("[Passed] [Passed] [Passed] [Passed]", None),
    "words in order with others": ("Passed, I think. Failed, Passed", None),
    "all but one": ("All unit tests except #3: [Passed]", None),
    "not all": ("Not all unit tests [Passed]", None),
    "flags that may be data": ("It returns\n[true, false, true]", None),
    "one missing": ("Unit Test #1: [Passed]\nUnit Test #3: [Failed]", (True, None, False)),
    "one says both": (
        "Unit Test #1: [Passed]\nUnit Test #2: [Passed] [Failed]\nUnit Test #3: [Failed]",
        (True, None, False),
    ),
    "one negated": ("Unit Test #1: not [Passed]\nUnit Test #2: [Passed]\nUnit Test #3: [Failed]", (None, True, False)),
    "the form copied": (
        "Unit Test #1: [Passed] or [Failed]\nUnit Test #2: [Passed]\nUnit Test #3: [Failed]",
        (None, True, False),
    ),
    "repeated with another": (
        "Unit Test #1: [Passed]\nUnit Test #2: [Passed]\nUnit Test #2: [Failed]",
        (True, None, None),
    ),
    "neither": ("Unit Test #1: [Partially Passed]\nUnit Test #2: [N/A]\nUnit Test #3: [Failed]", (None, None, False)),
    "json too short": ('["Passed", "Failed"]', None),
}


@pytest.mark.parametrize(("reply", "partial"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_does_not_guess(reply: str, partial: tuple[bool | None, ...] | None) -> None:
    with pytest.raises(ParseError) as error:
        parse_test_verdicts(reply, 3)
    assert error.value.partial == partial
