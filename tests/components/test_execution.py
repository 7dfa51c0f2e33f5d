"""Tests that are run, and votes: the parser, the rules, what reaches the end, and what is said without Docker."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.components.parsing.final_answer import extract_final_answer
from archon_eval.components.parsing.io_tests import parse_io_tests
from archon_eval.engine.engine import Engine
from archon_eval.engine.plan import plan
from archon_eval.engine.trace import Answer
from archon_eval.errors import ArchitectureError, ParseError, SandboxError
from archon_eval.models.call import Call, Reply
from archon_eval.sandbox.image import build_image
from archon_eval.simulation.client import SimCaller
from archon_eval.types import Message

TEST = {"input": "1\n2\n", "output": "3\n"}
WRITTEN = json.dumps([TEST, {"input": "5 5", "output": "10"}])


@pytest.fixture(scope="module")
def docker() -> None:
    try:
        build_image()
    except SandboxError as error:
        if os.environ.get("CI") == "true" or os.environ.get("ARCHON_REQUIRE_DOCKER") == "1":
            pytest.fail(f"Docker is required here: {error}")
        pytest.skip(f"NO DOCKER, executed tests are not run: {error}")


@pytest.mark.parametrize(
    "reply",
    [
        WRITTEN,
        f"Here are the tests:\n```json\n{WRITTEN}\n```\nGood luck.",
        f"<think>[1, 2]</think>\n{WRITTEN}",
        json.dumps({"tests": json.loads(WRITTEN)}),
        "[{'input': '1\\n2\\n', 'output': '3\\n'}, {'input': '5 5', 'output': 10}]",
        f"{WRITTEN[:-1]}, {json.dumps(TEST)}]",
    ],
)
def test_pairs_are_read(reply: str) -> None:
    found = [json.loads(test) for test in parse_io_tests(reply, 10)]
    assert found == [TEST, {"input": "5 5", "output": "10"}]


def test_line_breaks_before_letters_are_no_latex_and_the_number_is_bounded() -> None:
    pair = {"input": "2\nu\nnot\ti\n", "output": ""}
    assert json.loads(parse_io_tests(json.dumps([pair]), 10)[0]) == pair
    assert len(parse_io_tests(json.dumps([{"input": str(n), "output": "1"} for n in range(30)]), 10)) == 10


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("I cannot.", "no list of objects"),
        ("[]", "no list of objects"),
        ('["The program prints 3."]', "no list of objects"),
        (json.dumps([TEST, {"input": "4"}]), "no list of objects"),
        (json.dumps([{"input": ["1"], "output": "1"}]), "no list of objects"),
        (json.dumps([TEST, {**TEST, "output": "4"}]), "two different outputs"),
    ],
)
def test_what_is_no_list_of_pairs_is_refused(reply: str, said: str) -> None:
    with pytest.raises(ParseError, match=said):
        parse_io_tests(reply, 10)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"So $\boxed{\frac{1}{2}}$.", r"Thus \boxed{ \dfrac{1}{2} }"),
        (r"First \boxed{3}, no: \boxed{x^{2}}", r"\boxed{x^{2}}"),
        ("Thought.\nANSWER: B", "**Answer:** b."),
        ("The final answer is 1,200.", "x\nFinal answer: 1200"),
        (r"\boxed{0.50}", r"\boxed{0.5}"),
        (r"\boxed{2.0}", r"\boxed{2}"),
        ("It is\nblue", "blue."),
    ],
)
def test_equal_answers_are_the_same_ballot(one: str, other: str) -> None:
    assert extract_final_answer(one) == extract_final_answer(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [(r"\boxed{5}", r"\boxed{15}"), (r"\boxed{100}", r"\boxed{1}"), ("1.05", "1.5"), ("ANSWER: A", "ANSWER: B")],
)
def test_different_answers_are_different_ballots(one: str, other: str) -> None:
    assert extract_final_answer(one) != extract_final_answer(other)


def test_no_answer_is_no_ballot() -> None:
    assert [extract_final_answer(text) for text in ("", " \n", r"\boxed{}", "ANSWER: $$")] == [None] * 4


GENERATE: dict[str, Any] = {"generator": {"model": "m", "samples": 5}}
WRITE = {"unit_test_generator": {"model": "m", "form": "input_output"}}
EXECUTE = {"unit_test_evaluator": {"execute": "sandbox"}}
OUTPUTS = {"vote": {"by": "outputs"}}


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([GENERATE, {"unit_test_generator": "m"}, EXECUTE], "layer 3.*needs `form: input_output`"),
        ([GENERATE, WRITE, {"unit_test_evaluator": "m"}], "layer 3.*run, not judged: it needs `execute: sandbox`"),
        ([GENERATE, OUTPUTS], "layer 2 is vote with `by: outputs`.*needs `form: input_output`"),
        ([GENERATE, WRITE, {"vote": {}}], "layer 2.*no unit_test_evaluator directly after"),
        ([GENERATE, WRITE, {"unit_test_evaluator": {"execute": "sandbox", "model": "m"}}], "leave `model` out"),
        ([GENERATE, WRITE, {"unit_test_evaluator": {"execute": "sandbox", "stop_after": 1}}], "stop_after"),
        ([GENERATE, WRITE, {"unit_test_evaluator": {"execute": "docker"}}], "`execute` must be sandbox or null"),
        ([GENERATE, {"unit_test_generator": {"model": "m", "form": "pairs"}}, EXECUTE], "statements or input_output"),
        ([GENERATE, WRITE, {"unit_test_evaluator": {}}], "needs `model:`"),
    ],
)
def test_rules_of_construction(layers: list[Any], said: str) -> None:
    with pytest.raises(ArchitectureError, match=said):
        load_architecture({"layers": layers})


def test_what_fits_together_and_what_it_costs() -> None:
    for later in ([WRITE, EXECUTE], [WRITE, OUTPUTS], [WRITE, EXECUTE, OUTPUTS], [{"vote": {}}]):
        architecture = load_architecture({"layers": [GENERATE, *later]})
        assert load_architecture(architecture.to_mapping()).fingerprint == architecture.fingerprint
        assert plan(architecture).calls == ((6, 6) if WRITE in later else (5, 5))
    assert plan(load_architecture({"layers": [GENERATE, {"vote": {"top_k": 1}}]})).layers[-1].candidates == (1, 1)


def test_no_docker_is_said_when_the_engine_is_built_and_not_when_planning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    for last in (EXECUTE, OUTPUTS):
        architecture = load_architecture({"layers": [GENERATE, WRITE, last]})
        assert plan(architecture).calls == (6, 6)
        with pytest.raises(SandboxError, match="archon sandbox doctor"):
            Engine(architecture, SimCaller())
    Engine(load_architecture({"layers": [GENERATE, {"vote": {}}]}), SimCaller())


class Scripted:
    """Answers generators with the given texts in turn, and whoever writes tests with `tests`."""

    def __init__(self, texts: Sequence[str], tests: str = WRITTEN) -> None:
        self.texts, self.tests = texts, tests

    async def __call__(self, call: Call) -> Reply:
        asked = call.messages[-1].content
        return Reply(self.tests if "JSON list" in asked or "Reply again" in asked else self.texts[call.draw])


def answer(layers: list[Any], caller: Scripted) -> Answer:
    engine = Engine(load_architecture({"layers": layers}), caller)
    return anyio.run(engine.run, (Message("user", "Print the sum of all numbers of the input."),))


def program(code: str) -> str:
    return f"Like this:\n```python\n{code}\n```"


ADD = program("import sys\nprint(sum(map(int, sys.stdin.read().split())))")
ADD_OTHERWISE = program("import sys\ntotal = 0\nfor w in sys.stdin.read().split():\n    total += int(w)\nprint(total)")
LINE = program("print(sum(map(int, input().split())))")
BROKEN = program("print(")
KILLED = program("import os\nos.kill(os.getpid(), 9)")


def test_candidates_are_ordered_by_the_tests_they_pass(docker: None) -> None:
    texts = [BROKEN, LINE, "?", ADD, KILLED]
    found = answer([GENERATE, WRITE, {"unit_test_evaluator": {"execute": "sandbox", "keep": "all"}}], Scripted(texts))
    assert [c.id for c in found.candidates] == ["1.4", "1.2", "1.1", "1.3", "1.5"]
    assert [c.tests for c in found.candidates][:3] == [(True, True), (False, True), (False, False)]
    assert found.text == ADD and not found.trail.notes


def test_those_that_pass_all_go_on_or_else_the_best_comes_first(docker: None) -> None:
    passing = answer([GENERATE, WRITE, EXECUTE], Scripted([LINE, ADD, BROKEN, ADD_OTHERWISE, "no"]))
    assert [c.id for c in passing.candidates] == ["1.2", "1.4"]
    none = answer([GENERATE, WRITE, EXECUTE], Scripted([BROKEN, BROKEN, LINE, "no", "?"]))
    assert [c.id for c in none.candidates] == ["1.3", "1.1", "1.2", "1.4", "1.5"]
    assert [(note.what, note.detail) for note in none.trail.notes] == [("unfiltered", "no candidate passed: all go on")]


def test_without_readable_tests_everyone_goes_on(docker: None) -> None:
    found = answer([GENERATE, WRITE, EXECUTE], Scripted([LINE, ADD, BROKEN, "", ""], "I would rather not."))
    assert [c.id for c in found.candidates] == ["1.1", "1.2", "1.3", "1.4", "1.5"]
    assert found.trail.counts["fallback"] == 1 and found.trail.counts["reask"] == 2


def test_programs_vote_by_what_they_print(docker: None) -> None:
    """The wrong expected output of a test does not matter: only its input does."""
    tests = json.dumps([{**TEST, "output": "99"}, {"input": "7\n", "output": "7"}])
    found = answer([GENERATE, WRITE, OUTPUTS], Scripted([LINE, BROKEN, ADD, BROKEN, ADD_OTHERWISE], tests))
    assert [c.id for c in found.candidates] == ["1.3", "1.5"]
    nobody = answer([GENERATE, WRITE, OUTPUTS], Scripted([BROKEN, "", "no", BROKEN, KILLED], tests))
    assert len(nobody.candidates) == 5 and nobody.trail.counts["fallback"] == 1


def test_characters_that_are_none_do_no_harm(docker: None) -> None:
    tests = json.dumps([{"input": "\ud800", "output": "\udfff"}, {"input": "1", "output": "1"}])
    found = answer([GENERATE, WRITE, EXECUTE], Scripted([ADD] * 5, tests))
    assert {candidate.tests for candidate in found.candidates} == {(False, True)}


def test_answers_vote_and_ties_go_to_the_first() -> None:
    texts = [r"\boxed{4}", r"\boxed{5}", "ANSWER: 5", "", r"\boxed{4.0}"]
    found = answer([GENERATE, {"vote": {}}], Scripted(texts))
    assert [c.id for c in found.candidates] == ["1.1", "1.5"]
    assert [n.detail for n in found.trail.notes if n.what == "vote"] == ["2 of 5 agree; 2 different answers"]
    assert answer([GENERATE, {"vote": {"top_k": 1}}], Scripted(texts[::-1])).text == r"\boxed{4.0}"
