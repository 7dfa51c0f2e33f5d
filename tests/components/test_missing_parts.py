"""A model that gave some of what it was asked for is asked for the rest alone, and what it gave is kept."""

from typing import Any

import pytest

from archon_eval.components.parsing.critiques import format_critique_form, parse_critiques
from archon_eval.components.parsing.missing_parts import JoiningParser
from archon_eval.components.parsing.test_results import format_verdict_form, parse_test_verdicts
from archon_eval.errors import MissingPartsError, ParseError

LAYERS: list[dict[str, Any]] = [
    {"generator": {"model": "made/g", "samples": 3}},
    {"unit_test_generator": "made/t"},
    {"unit_test_evaluator": {"model": "made/e", "keep": "all"}},
    {"critic": "made/c"},
    {"fuser": "made/f"},
]


def run_layers(run: Any, evaluator: list[str], critic: list[str]) -> tuple[Any, Any]:
    """The answer and its calls, each reply list used up from its beginning by every candidate."""
    asked: dict[tuple[Any, ...], int] = {}

    def script(call: Any) -> str:
        replies = {"made/e": evaluator, "made/c": critic}.get(call.model)
        if replies is None:
            return {"made/t": '["One.", "Two.", "Three."]'}.get(call.model, f"answer {call.draw}")
        place = asked.get(call.messages[:1], 0)
        asked[call.messages[:1]] = place + 1
        return replies[place]

    return run(LAYERS, script)


GOOD_CRITIQUES = ["[1]\nalpha\n[2]\nbeta\n[3]\ngamma"]
GOOD_VERDICTS = [format_verdict_form([1, 2, 3]).replace(" or [Failed]", "")]


def test_missing_verdicts_are_asked_for_alone(run: Any) -> None:
    answer, caller = run_layers(
        run, ["Unit Test #1: [Passed]", "Unit Test #2: [Failed]\nUnit Test #3: [Passed]"], GOOD_CRITIQUES
    )
    assert [c.tests for c in answer.trail.layers[2].candidates] == [(True, False, True)] * 3
    again = [call.messages for call in caller.calls if call.model == "made/e" and len(call.messages) == 3]
    assert len(again) == 3 and again[0][1].content == "Unit Test #1: [Passed]"
    assert again[0][2].content == (
        "Verdicts are missing. Complete each line with [Passed] or [Failed]:\n\nUnit Test #2:\nUnit Test #3:"
    )
    assert (answer.trail.counts["reask"], answer.trail.counts.get("fallback", 0)) == (3, 0)


def test_missing_critiques_are_asked_for_alone(run: Any) -> None:
    answer, caller = run_layers(run, GOOD_VERDICTS, ["[1]\nalpha", "[2]\nbeta", "[3]\ngamma"])
    assert [c.critique for c in answer.trail.layers[3].candidates] == ["alpha", "beta", "gamma"]
    requests = [call.messages[-1].content for call in caller.calls if call.model == "made/c"]
    assert requests[1].startswith("2 sections are missing.") and "[1]" not in requests[1]
    assert requests[2].startswith("A section is missing.") and "[3]\nStrengths:" in requests[2]
    assert "fallback" not in answer.trail.counts


def test_after_the_reasoning_the_verdict_alone_is_asked_for(run: Any) -> None:
    replies = iter(["Reasons.", "The sum holds, it seems.", "[Incorrect]"])
    layers = [{"generator": "made/g"}, {"verifier": "made/v"}]
    answer, caller = run(layers, lambda call: next(replies) if call.model == "made/v" else "4")
    assert [c.verified for c in answer.candidates] == [False]
    *_, shown, request = caller.calls[-1].messages
    assert shown.content == "The sum holds, it seems."
    assert request.content.endswith("Reply with nothing but your verdict: [Correct] or [Incorrect]")


def test_what_is_certain_stays_when_the_rest_never_comes(run: Any) -> None:
    answer, _ = run_layers(
        run, ["Unit Test #2: [Failed]", "I cannot.", "Unit Test #2: [Passed]"], ["[1]\nalpha\n[2]\nbeta", "No.", "No."]
    )
    assert [c.tests for c in answer.trail.layers[2].candidates] == [(None, False, None)] * 3
    assert [c.critique for c in answer.trail.layers[3].candidates] == ["alpha", None, None]
    assert answer.trail.counts["fallback"] == 4


def read_all(parse: Any, replies: list[str]) -> Any:
    """What the last reply gives, with those before it."""
    reader = JoiningParser(parse)
    for reply in replies[:-1]:
        with pytest.raises(ParseError):
            reader(reply)
    return reader(replies[-1])


VERDICTS = {
    "a whole reply counts by itself": (
        ["Unit Test #1: [Failed]", "Unit Test #1: [Passed]\nUnit Test #2: [Failed]\nUnit Test #3: [Passed]"],
        (True, False, True),
    ),
    "with what was said before": (
        ["```\nUnit Test #1: [Passed]\n```", "<think>2?</think>Unit Test #2: [Failed]", "Unit Test #3: [Passed]"],
        (True, False, True),
    ),
    "after a reply of no use": (
        ["None.", "Unit Test #3: [Passed]", "Unit Tests #1-#2: [Failed]"],
        (False, False, True),
    ),
    "one of no use between": (
        ["Unit Test #3: [Passed]", "Unit Test #9: [Passed]", "Unit Tests #1-#2: [Failed]"],
        (False, False, True),
    ),
}


@pytest.mark.parametrize(("replies", "verdicts"), VERDICTS.values(), ids=VERDICTS.keys())
def test_verdicts_of_several_replies(replies: list[str], verdicts: tuple[bool, ...]) -> None:
    assert read_all(lambda reply: parse_test_verdicts(reply, 3), replies) == verdicts


def test_a_part_that_is_given_twice_with_another_meaning_does_not_count() -> None:
    with pytest.raises(MissingPartsError) as error:
        read_all(lambda reply: parse_test_verdicts(reply, 2), ["Unit Test #1: [Passed]", "Unit Test #1: [Failed]"])
    assert (error.value.partial, error.value.missing) == ((True, None), (2,))


def test_a_critique_that_is_given_twice_is_asked_for_again() -> None:
    with pytest.raises(MissingPartsError) as error:
        read_all(lambda reply: parse_critiques(reply, 3), ["[1]\nalpha\n[2]\nbeta", "[2]\ngamma\n[3]\ngamma"])
    assert (error.value.partial, error.value.missing) == ({0: "alpha"}, (3,))


@pytest.mark.parametrize(
    "reply", ["", "Both are fine.", "[1]\nalpha\n[4]\nbeta", "[1]\nalpha\n[1]\nbeta", "[1], [2]: a"]
)
def test_only_parts_that_are_certain_are_kept(reply: str) -> None:
    with pytest.raises(ParseError) as error:
        parse_critiques(reply, 3)
    assert isinstance(error.value, MissingPartsError) is (reply == "[1], [2]: a")


def test_the_forms_say_nothing() -> None:
    for parse, form in ((parse_critiques, format_critique_form), (parse_test_verdicts, format_verdict_form)):
        with pytest.raises(ParseError) as error:
            parse(form([1, 2, 3]), 3)  # type: ignore[operator]
        assert error.value.partial is None
