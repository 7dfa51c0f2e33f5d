"""Right replies, mangled, through the real engine: nothing is lost, doubled or attached to the wrong candidate.

A reply gets any number of harmless changes (prose, markdown, other brackets) and at most one that takes information
away (a line or identifier lost, changed or injected, the end cut off). After harmless ones everything must still be
read; after the others what is read must be true, and what is not must be in the notes.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archon_eval.components.parsing.critiques import parse_critiques
from archon_eval.components.parsing.ranking import parse_ranking
from archon_eval.components.parsing.test_results import parse_test_verdicts
from archon_eval.components.parsing.unit_tests import parse_tests
from archon_eval.components.parsing.verdict import parse_verdict
from archon_eval.engine.trace import Answer
from archon_eval.errors import ParseError
from archon_eval.models.call import Call

quick = settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
GENERATORS: list[dict[str, Any]] = [{"generator": {"model": "made/g", "samples": 4}}]
N = 4
IDS = [f"1.{n}" for n in range(1, N + 1)]

HARMLESS: list[Callable[[str], str]] = [
    lambda reply: reply,
    lambda reply: f"Sure! Here is what I found.\n\n{reply}",
    lambda reply: f"{reply}\n\n",
    lambda reply: reply.replace("\n", "\r\n"),
    lambda reply: reply.replace("[", "【").replace("]", "】"),
    lambda reply: reply.translate(str.maketrans("[]>:#", "［］＞：＃")),
    lambda reply: reply.replace("[", "\x00[").replace("]", "\x1b]\u200b"),
    lambda reply: re.sub(r"(\[[^\]\n]+\])", r"**\1**", reply),
    lambda reply: f"```\n{reply}\n```",
    lambda reply: reply.replace("\n", " \t\n"),
]
THOUGHT = "<think>\nFirst [2], then\n[1]\n[3] > [4] > [1] > [2]? [Correct] [Incorrect] [Failed]\n</think>\n"
harmless = st.tuples(st.lists(st.sampled_from(HARMLESS), max_size=3), st.booleans())
times_wrong = st.sampled_from([1, 2, 9, 9])
"""How many replies are mangled before a right one: often all."""
reasks = st.sampled_from([0, 0, 1, 2])


def changed(reply: str, changes: tuple[list[Callable[[str], str]], bool]) -> str:
    for change in changes[0]:
        reply = change(reply)
    return THOUGHT + reply if changes[1] else reply


def candidate_shown(call: Call) -> int:
    """Which candidate a judge is looking at."""
    found = re.search(r"<response>\nanswer-(\d)", call.messages[0].content)
    assert found
    return int(found[1])


def check_notes(answer: Answer, asked: int, layer: int, complete: bool, ids: list[str]) -> None:
    """A fallback is in the notes exactly when something is missing; each re-ask is one."""
    notes = [note for note in answer.trail.notes if note.layer == layer]
    assert bool([note for note in notes if note.what == "fallback" and note.about in ids]) == (not complete)
    assert sum(note.what == "reask" for note in notes) == asked - 1


# -- critic -----------------------------------------------------------------------------------------------------------

HEADERS = ["[{}]", "**[{}]**", "### Response [{}]:", "Response {}:", "[{}] Strengths:", "Critique of [{}]", "- [{}] -"]
PROSE = [
    "[1] is better than [2].",
    "[3] is wrong",
    "as [4], it is long",
    "- see [2]",
    "1. first",
    "",
    "---",
    "(2) and [9]",
]


def critique(header: str) -> list[list[str]]:
    sections = []
    for n in range(1, N + 1):
        sections.append([header.format(n), f"- strong tok{n}", "Weaknesses:", f"- weak tok{n}", ""])
    return sections


@st.composite
def critiques(draw: st.DrawFn) -> tuple[str, bool]:
    """A reply, and whether everything in it can be read."""
    sections = critique(header := draw(st.sampled_from(HEADERS)))
    damage = draw(
        st.sampled_from(["none", "prose", "shuffle", "delete", "repeat", "change", "inject", "inject", "cut"])
    )
    if damage == "shuffle":
        sections = draw(st.permutations(sections))
    lines = [line for section in sections for line in section]
    heads = [n * len(sections[0]) for n in range(N)]
    inside = draw(st.integers(1, len(lines) - 1).filter(lambda n: n not in heads))
    if damage == "prose":
        for prose in draw(st.lists(st.sampled_from(PROSE), max_size=4)):
            lines.insert(inside, prose)
    if damage == "delete":
        del lines[draw(st.sampled_from(heads))]
    if damage == "repeat":
        lines.insert(inside, lines[draw(st.sampled_from([inside, *heads]))])
    if damage == "change":
        lines[draw(st.sampled_from(heads))] = header.format(draw(st.integers(0, N + 2)))
    if damage == "inject":
        lines.insert(inside, header.format(draw(st.integers(0, N + 2))))
    text = "\n".join(lines)
    if damage == "cut":
        text = text[: draw(st.integers(0, len(text)))]
    return changed(text, draw(harmless)), damage in ("none", "prose", "shuffle")


@quick
@given(reply=critiques(), wrong=times_wrong, reask=reasks)
def test_critic(run: Any, reply: tuple[str, bool], wrong: int, reask: int) -> None:
    asked: list[str] = []

    def script(call: Call) -> str:
        if call.model == "made/g":
            return f"answer-{call.draw + 1}"
        if call.model == "made/f":
            return "fused"
        asked.append(call.messages[0].content)
        return reply[0] if len(asked) <= wrong else "\n".join(line for s in critique("[{}]") for line in s)

    layers = [*GENERATORS, {"critic": {"model": "made/c", "max_parse_retries": reask}}, {"fuser": "made/f"}]
    answer, _ = run(layers, script)
    candidates = answer.trail.layers[1].candidates
    assert [c.id for c in candidates] == IDS
    assert [c.text for c in candidates] == [f"answer-{n}" for n in range(1, N + 1)]
    for n, candidate in enumerate(candidates, 1):
        assert set(re.findall(r"tok\d", candidate.critique or "")) <= {f"tok{n}"}
    complete = all(candidate.critique for candidate in candidates)
    assert complete or not (reply[1] or wrong <= reask)
    assert 1 <= len(asked) <= 1 + reask
    check_notes(answer, len(asked), 2, complete, [""])


# -- ranker -----------------------------------------------------------------------------------------------------------

CHAINS = ["[{}]", "{}", "Response [{}]", "**[{}]**", "[{}] (because 2 > 1, [sic])", "[ {} ]"]
AROUND = [
    "",
    "[1] is better than [3] at first.",
    "I prefer [2].",
    "Since 4 > 3 and 2 > 1:",
    "Final ranking:",
    "1. All are good.",
]


@st.composite
def rankings(draw: st.DrawFn) -> tuple[str, list[int], bool]:
    """A reply, the identifiers it ranks, and whether it is a right one."""
    ids = list(draw(st.permutations(range(1, N + 1))))
    damage = draw(st.sampled_from(["none", "delete", "repeat", "change", "tie", "cut"]))
    place = draw(st.integers(0, N - 1))
    if damage == "delete":
        del ids[place]
    if damage == "repeat":
        ids.insert(place, draw(st.sampled_from(ids)))
    if damage == "change":
        ids[place] = draw(st.integers(0, N + 2))
    form = draw(st.sampled_from(CHAINS))
    signs = [draw(st.sampled_from([" > ", ">", " >\n", "\n> ", " &gt; "]))] * len(ids)
    if damage == "tie":
        signs[min(place, N - 2)] = draw(st.sampled_from([" = ", ", ", " >= ", " ≈ "]))
    chain = "".join(form.format(n) + sign for n, sign in zip(ids, signs, strict=True))[: -len(signs[-1])]
    if damage == "cut":
        end = draw(st.integers(0, len(chain)))
        ids, chain = [int(n) for n in re.findall(r"\d+", chain[:end].replace("because 2 > 1", ""))], chain[:end]
    before = draw(st.lists(st.sampled_from(AROUND), max_size=3))
    after = draw(
        st.lists(st.sampled_from(["", "That is my ranking.", "[2] was close."]), max_size=2 * (damage != "cut"))
    )
    return changed("\n".join([*before, chain, *after]), draw(harmless)), ids, damage in ("none", "delete")


@quick
@given(reply=rankings(), top_k=st.integers(1, 5), wrong=times_wrong, reask=reasks)
def test_ranker(run: Any, reply: tuple[str, list[int], bool], top_k: int, wrong: int, reask: int) -> None:
    text, ids, _ = reply
    asked: list[str] = []

    def script(call: Call) -> str:
        if call.model == "made/g":
            return f"answer-{call.draw + 1}"
        asked.append(call.messages[0].content)
        return text if len(asked) <= wrong else "[3] > [1] > [4] > [2]"

    answer, _ = run([*GENERATORS, {"ranker": {"model": "made/r", "top_k": top_k, "max_parse_retries": reask}}], script)
    kept = [candidate.id for candidate in answer.candidates]
    assert len(kept) == len(set(kept)) == min(top_k, N)
    assert set(kept) <= set(IDS)
    assert 1 <= len(asked) <= 1 + reask
    fallback = "fallback" in answer.trail.counts
    check_notes(answer, len(asked), 2, not fallback, [""])
    if not fallback:
        read = ids if len(asked) <= wrong else [3, 1, 4, 2]
        assert kept == [f"1.{n}" for n in read[:top_k]]
    usable = sorted(ids) == list(range(1, N + 1)) and reply[2]
    assert not (fallback and (usable or wrong <= reask))


# -- verifier ---------------------------------------------------------------------------------------------------------

MUSINGS = [
    "The response is not wrong in step 2.",
    "At first sight it is [Correct]. However, I checked again.",
    "At first sight it is [Incorrect]. But I checked again.",
    "The correct approach is known.",
    "Step 1 is incorrect in form only.",
    "I will end with [Correct] or [Incorrect].",
]
VERDICTS = ["{}", "Verdict: {}", "**Final verdict: {}**", "So it is {}.", "## {}", "`{}`", "My verdict is {}"]


@st.composite
def verdict_replies(draw: st.DrawFn) -> tuple[bool, str, bool]:
    """The truth, a reply, and whether it can be read."""
    truth = draw(st.booleans())
    word = "[Correct]" if truth else "[Incorrect]"
    lines = [*draw(st.lists(st.sampled_from(MUSINGS), max_size=3)), draw(st.sampled_from(VERDICTS)).format(word)]
    damage = draw(st.sampled_from(["none", "delete", "repeat", "both", "negate", "negate", "cut"]))
    if damage == "delete":
        lines[-1] = "I checked everything."
    if damage == "repeat":
        lines.append(lines[-1])
    if damage == "both":
        lines[-1] = "[Correct] [Incorrect]"
    if damage == "negate":
        lines[-1], truth = f"It is not {word}", not truth
    text = "\n\n".join(lines)
    if damage == "cut":
        text = text[: draw(st.integers(0, len(text)))]
    return truth, changed(text, draw(harmless)), damage in ("none", "repeat")


@quick
@given(replies=st.lists(verdict_replies(), min_size=N, max_size=N), wrong=times_wrong, reask=reasks)
def test_verifier(run: Any, replies: list[tuple[bool, str, bool]], wrong: int, reask: int) -> None:
    asked = dict.fromkeys(range(1, N + 1), 0)

    def script(call: Call) -> str:
        if call.model == "made/g":
            return f"answer-{call.draw + 1}"
        n = candidate_shown(call)
        if "Your reasons:" in call.messages[0].content:
            return f"reasons-{n}"
        assert f"reasons-{n}" in call.messages[0].content
        asked[n] += 1
        truth, text, _ = replies[n - 1]
        return text if asked[n] <= wrong else ("[Correct]" if truth else "[Incorrect]")

    answer, _ = run([*GENERATORS, {"verifier": {"model": "made/v", "max_parse_retries": reask}}], script)
    kept = {candidate.id: candidate for candidate in answer.candidates}
    assert [c.id for c in answer.candidates] == [i for i in IDS if i in kept]
    assert all(candidate.reasons == f"reasons-{id[-1]}" for id, candidate in kept.items())
    fallbacks = {note.about for note in answer.trail.notes if note.what == "fallback"}
    passing = []
    for n, (truth, _, readable) in enumerate(replies, 1):
        unread = f"1.{n}" in fallbacks
        assert not (unread and (readable or wrong <= reask))
        if truth or unread:
            passing.append(f"1.{n}")
        if f"1.{n}" in kept:
            assert kept[f"1.{n}"].verified is (None if unread else truth)
        assert 1 <= asked[n] <= 1 + reask
    assert list(kept) == (passing or IDS)
    assert ("unfiltered" in answer.trail.counts) == (not passing)


# -- unit tests -------------------------------------------------------------------------------------------------------

STATEMENTS = [
    "The response states 4.",
    "It has units",
    "It shows, step by step, why",
    "It says [4]",
    "It is > 3 words long",
]
ROWS = [
    "Unit Test #{}: {}",
    "**Unit Test #{}: {}**",
    "Unit Test #{} - it does so. {}",
    "| Unit Test #{} | {} |",
    "- Test {}: {}",
]
BLOCK = "Unit Test #{}: let me see, unlike test 1\nfor this one {}"
ASIDES = [
    "It is long.",
    "Test 2 is like test 3.",
    "1. First",
    "It does not pass everything.",
    "As asked: [Passed] or [Failed]",
]


@st.composite
def evaluations(draw: st.DrawFn) -> tuple[list[bool], str, bool]:
    """The truth, a reply, and whether all of it can be read."""
    truth = draw(st.lists(st.booleans(), min_size=len(STATEMENTS), max_size=len(STATEMENTS)))
    row = draw(st.sampled_from([*ROWS, BLOCK]))
    rows = [[n, "[Passed]" if passed else "[Failed]"] for n, passed in enumerate(truth, 1)]
    damage = draw(st.sampled_from(["none", "aside", "shuffle", "delete", "repeat", "change", "change", "cut"]))
    place = draw(st.integers(0, len(rows) - 1))
    if damage == "shuffle":
        rows = draw(st.permutations(rows))
    if damage == "change":
        rows[place][0] = draw(st.integers(0, len(rows) + 2))
    if damage == "repeat":
        rows.insert(draw(st.integers(0, len(rows))), rows[place])
    lines = "\n".join(row.format(*entry) for entry in rows).split("\n")
    if damage == "delete":
        del lines[draw(st.integers(0, len(lines) - 1))]
    if damage == "aside":
        lines = [*draw(st.lists(st.sampled_from(ASIDES), max_size=3)), *lines]
    text = "\n".join(lines)
    if damage == "cut":
        text = text[: draw(st.integers(0, len(text)))]
    return truth, changed(text, draw(harmless)), damage in ("none", "aside", "shuffle", "repeat")


@quick
@given(replies=st.lists(evaluations(), min_size=N, max_size=N), wrong=times_wrong, reask=reasks, keep=st.booleans())
def test_evaluator(run: Any, replies: list[tuple[list[bool], str, bool]], wrong: int, reask: int, keep: bool) -> None:
    asked = dict.fromkeys(range(1, N + 1), 0)

    def script(call: Call) -> str:
        if call.model == "made/g":
            return f"answer-{call.draw + 1}"
        if call.model == "made/t":
            return str(STATEMENTS)
        n = candidate_shown(call)
        asked[n] += 1
        truth, text, _ = replies[n - 1]
        right = "\n".join(f"Unit Test #{i}: [{'Passed' if p else 'Failed'}]" for i, p in enumerate(truth, 1))
        return text if asked[n] <= wrong else right

    options = {"model": "made/e", "max_parse_retries": reask, "keep": "all" if keep else "passing"}
    answer, _ = run([*GENERATORS, {"unit_test_generator": "made/t"}, {"unit_test_evaluator": options}], script)
    kept = {candidate.id: candidate for candidate in answer.candidates}
    assert len(kept) == len(answer.candidates) and set(kept) <= set(IDS)
    assert not keep or set(kept) == set(IDS)
    fallbacks = {note.about for note in answer.trail.notes if note.what == "fallback"}
    for n, (truth, _, readable) in enumerate(replies, 1):
        unread = f"1.{n}" in fallbacks
        assert not (unread and (readable or wrong <= reask))
        assert 1 <= asked[n] <= 1 + reask
        if f"1.{n}" in kept:
            results = kept[f"1.{n}"].tests
            assert len(results) == len(truth)
            assert all(result in (None, right) for result, right in zip(results, truth, strict=True))
            assert (None in results) == unread
        else:
            assert not all(truth)


LISTS: list[Callable[[list[str]], str]] = [
    str,
    lambda tests: "[\n" + ",\n".join(f'  "{test}"' for test in tests) + "\n]",
    lambda tests: f"tests = {tests}",
    lambda tests: "\n".join(f"{n}. {test}" for n, test in enumerate(tests, 1)),
    lambda tests: "\n".join(f"- {test}" for test in tests),
    lambda tests: "\n".join(f"Unit Test #{n}: {test}" for n, test in enumerate(tests, 1)),
    lambda tests: str({"tests": tests}),
]


@quick
@given(
    form=st.sampled_from(LISTS),
    changes=st.tuples(st.lists(st.sampled_from(HARMLESS[:-4]), max_size=2), st.booleans()),
    repeat=st.integers(0, 4),
    cut=st.none() | st.integers(0, 200),
    most=st.integers(1, 6),
    reask=reasks,
)
def test_test_generator(
    run: Any,
    form: Any,
    changes: tuple[list[Callable[[str], str]], bool],
    repeat: int,
    cut: int | None,
    most: int,
    reask: int,
) -> None:
    statements = [statement.replace("[4]", "4") for statement in STATEMENTS]
    text = changed(form([*statements, statements[repeat]])[:cut], changes)
    asked: list[Call] = []

    def script(call: Call) -> str:
        if call.model == "made/t":
            asked.append(call)
            return text
        return "answer-1" if call.model == "made/g" else "Unit Tests #1-#6: [Passed]"

    layers = [
        *GENERATORS,
        {"unit_test_generator": {"model": "made/t", "max_tests": most, "max_parse_retries": reask}},
        {"unit_test_evaluator": {"model": "made/e", "max_parse_retries": 0}},
    ]
    answer, _ = run(layers, script)
    tests = answer.trail.layers[1].values["tests"]
    assert len(tests) == len(set(tests)) <= most
    plain = [test.translate(str.maketrans("［］＞：＃", "[]>:#")) for test in tests]
    assert all(any(statement.startswith(test) for statement in statements) for test in plain)
    assert cut is not None or plain == statements[:most]
    assert 1 <= len(asked) <= 1 + reask
    check_notes(answer, len(asked), 2, bool(tests), [""])
    assert len(answer.candidates) == N


# -- free text --------------------------------------------------------------------------------------------------------


@quick
@given(replies=st.lists(st.text(max_size=60), min_size=N, max_size=N), fused=st.text(max_size=60))
def test_free_text_goes_through_as_it_is(run: Any, replies: list[str], fused: str) -> None:
    layers = [*GENERATORS, {"fuser": {"model": "made/f", "samples": 2}}]
    answer, caller = run(layers, lambda call: replies[call.draw] if call.model == "made/g" else fused)
    made = answer.trail.layers[0].candidates
    assert [(c.id, c.text) for c in made] == list(zip(IDS, replies, strict=True))
    assert [(c.id, c.text) for c in answer.candidates] == [("2.1", fused), ("2.2", fused)]
    assert len(caller.calls) == N + 2
    empty = sum(not text.strip() for text in [*replies, fused, fused])
    assert answer.trail.counts.get("empty", 0) == empty


# -- anything at all --------------------------------------------------------------------------------------------------

PIECES = [
    *(
        "[1]",
        "[2]",
        "[3]",
        "[0]",
        "[99]",
        "［１］",
        "【2】",
        "1",
        "2",
        "3",
        "1.",
        "2.",
        "#2",
        "-1",
        "٣",
        "²",
        "1e999",
        "9" * 12,
    ),
    *(
        ">",
        "<",
        "=",
        ",",
        ":",
        "-",
        "–",
        "*",
        "**",
        "#",
        "|",
        "`",
        "```",
        "\n",
        "\n\n",
        "\r",
        "\t",
        "\x00",
        "&gt;",
        "\\",
        "\\frac",
    ),
    *(
        "[",
        "]",
        "{",
        "}",
        "(",
        ")",
        '"',
        "'",
        "[[",
        "null",
        "true",
        '{"1":',
        '["a",',
        "'a',",
        "...",
        "Strengths:",
        "Verdict:",
    ),
    *(
        "Response ",
        "[Correct]",
        "[Incorrect]",
        "correct",
        "not",
        "Unit Test #1:",
        "[Passed]",
        "[Failed]",
        "passed",
        "✅",
    ),
    *("all tests", "<think>", "</think>", "<response>"),
]
soup = st.lists(st.sampled_from([*PIECES, " "]), max_size=40).map("".join) | st.text(max_size=40)


def valid_critiques(reply: str) -> None:
    assert set(parse_critiques(reply, 3)) == {0, 1, 2}


def valid_ranking(reply: str) -> None:
    places = parse_ranking(reply, 3, 2)
    assert 2 <= len(places) == len(set(places)) and set(places) <= {0, 1, 2}


def valid_verdict(reply: str) -> None:
    assert parse_verdict(reply) in (True, False)


def valid_tests(reply: str) -> None:
    tests = parse_tests(reply, 3)
    assert 1 <= len(tests) == len(set(tests)) <= 3 and all(isinstance(test, str) and test for test in tests)


def valid_results(reply: str) -> None:
    results = parse_test_verdicts(reply, 3)
    assert len(results) == 3 and set(results) <= {True, False}


@pytest.mark.parametrize("parse", [valid_critiques, valid_ranking, valid_verdict, valid_tests, valid_results])
@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(reply=soup)
def test_anything_is_read_well_or_refused(parse: Callable[[str], None], reply: str) -> None:
    try:
        parse(reply)
    except ParseError as error:
        assert str(error)
