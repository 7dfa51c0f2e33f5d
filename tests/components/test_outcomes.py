"""What counts as an outcome of each component, and which of them fell back, as the account of the question has it."""

from typing import Any

import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.components import CallContext, ComponentType, ListComponent, State
from archon_eval.components.prompt_parts import make_user_prompt
from archon_eval.errors import ModelError, ParseError
from archon_eval.models.call import Call, Reply
from archon_eval.runs.account import LayerAccount, OutcomeCounts, QuestionAccount

GENERATOR: dict[str, Any] = {"generator": {"model": "made/g", "samples": 3}}
ARCHITECTURE = load_architecture({"name": "test", "layers": [{"generator": "made/g"}]})
GOOD = {
    "ranker": "[3] > [1] > [2]",
    "critic": "[1]\nGood.\n[2]\nBad.\n[3]\nFine.",
    "verifier": "[Correct]",
    "unit_test_generator": '["It is short."]',
    "unit_test_evaluator": "Unit Test #1: [Passed]",
}
COUNTS = {"ranker": 1, "critic": 3, "verifier": 3, "unit_test_generator": 1, "unit_test_evaluator": 3}


class Chooser(ListComponent):
    """A component of a user's own, which has said nothing about outcomes."""

    kind = ComponentType("chooser")

    async def run(self, state: State, ctx: CallContext) -> State:
        await ctx.generate("think", make_user_prompt("think"))
        await ctx.generate_parsed("choose", make_user_prompt("choose"), _read, fallback="the first stays")
        return state


class Rejecter(ListComponent):
    """One that can read its replies, and finds some of no use."""

    kind = ComponentType("rejecter")

    async def run(self, state: State, ctx: CallContext) -> State:
        for topic in ("a", "b"):
            number = await ctx.generate_parsed(topic, make_user_prompt(topic), _read, fallback="none", about=topic)
            if number is None or number > 5:
                ctx.record_event("fallback", "the number is of no use", topic)
        return state


class Rewriter(ListComponent):
    """One that asks for texts only, or does its work without a call."""

    kind = ComponentType("rewriter")

    def __init__(self, spec: ComponentSpec) -> None:
        super().__init__(spec)

    async def run(self, state: State, ctx: CallContext) -> State:
        reply = await ctx.generate("rewrite", make_user_prompt("rewrite"))
        if reply and reply.text == "useless":
            ctx.record_event("fallback", "the text is useless")
        return state


def _read(reply: str) -> int:
    if not reply.isdigit():
        raise ParseError("no number")
    return int(reply)


def account(answer: Any) -> tuple[LayerAccount, ...]:
    """The layers of the account, as they are read back from a log."""
    made = QuestionAccount.from_answer(ARCHITECTURE, answer)
    read = QuestionAccount.from_metadata(made.to_metadata())
    assert read == made
    return read.layers


def surround(kind: str, **options: Any) -> tuple[list[dict[str, Any]], int]:
    """Layers in which a component may stand, and its place."""
    before = [{"unit_test_generator": "made/t"}] if kind == "unit_test_evaluator" else []
    after = {"critic": [{"fuser": "made/f"}], "unit_test_generator": [{"unit_test_evaluator": "made/e"}]}.get(kind, [])
    return [GENERATOR, *before, {kind: {"model": "made/x", "max_parse_retries": 1, **options}}, *after], 1 + len(before)


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("how", ["good", "prose", "down"])
def test_a_judging_component_that_worked_or_fell_back(run: Any, kind: str, how: str) -> None:
    def script(call: Call) -> str | BaseException:
        if call.model == "made/x":
            return {"good": GOOD[kind], "prose": "I would say so.", "down": ModelError("down")}[how]
        return {"made/t": GOOD["unit_test_generator"], "made/e": GOOD["unit_test_evaluator"]}.get(call.model, "a")

    layers, place = surround(kind, **({"on_error": "drop"} if how == "down" else {}))
    answer, _ = run(layers, script)
    problems = {"good": {}, "prose": {"unread": COUNTS[kind]}, "down": {"dropped": COUNTS[kind]}}[how]
    assert account(answer)[place].outcomes == (OutcomeCounts(COUNTS[kind], problems, model="made/x"),)


def test_what_could_be_read_in_part_worked_in_part(run: Any) -> None:
    layers, place = surround("critic")
    answer, _ = run(layers, lambda call: "[1]\nGood.\n[2]\nBad." if call.model == "made/x" else "a")
    assert account(answer)[place].outcomes == (OutcomeCounts(3, {"unread": 2}, model="made/x"),)
    layers, place = surround("ranker")
    answer, _ = run(layers, lambda call: "[3]" if call.model == "made/x" else "a")
    assert account(answer)[place].outcomes == (OutcomeCounts(1, model="made/x"),), "the best one is known"


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply("cut", stop_reason="max_tokens"), "truncated"),
        (Reply("", stop_reason="content_filter"), "filtered"),
        (Reply(" "), "empty"),
        (ModelError("down"), "dropped"),
    ],
)
def test_texts_that_are_not_whole(run: Any, reply: Any, problem: str) -> None:
    layers = [{"generator": [{"model": "made/g", "on_error": "drop"}, "made/h"]}, {"fuser": "made/f"}]
    answer, _ = run(layers, lambda call: reply if call.model == "made/g" else "fine")
    generators, fuser = account(answer)
    assert generators.outcomes == (
        OutcomeCounts(1, {problem: 1}, model="made/g"),
        OutcomeCounts(1, component=2, model="made/h"),
    )
    assert fuser.outcomes == (OutcomeCounts(1, model="made/f"),)


def test_a_filter_that_nobody_passes_has_verdicts_all_the_same(run: Any) -> None:
    answer, _ = run(*_verify("[Incorrect]"))
    layer = account(answer)[1]
    assert (layer.outcomes, layer.unfiltered) == ((OutcomeCounts(3, model="made/x"),), 1)
    answer, _ = run(*_verify("[Correct]"))
    assert account(answer)[1].unfiltered == 0
    assert "unfiltered" not in str(QuestionAccount.from_answer(ARCHITECTURE, answer).to_metadata())


def _verify(verdict: str) -> tuple[list[dict[str, Any]], Any]:
    return surround("verifier")[0], lambda call: verdict if call.model == "made/x" else "a"


@pytest.mark.parametrize(("text", "problems"), [("ANSWER: 4", {}), ("", {"fallback": 1})])
def test_a_vote_is_an_outcome_without_a_call(run: Any, text: str, problems: dict[str, int]) -> None:
    answer, _ = run([GENERATOR, {"vote": {"top_k": 2}}], lambda call: text)
    assert account(answer)[1].outcomes == (OutcomeCounts(1, problems),)
    assert len(answer.candidates) == 2


@pytest.mark.parametrize(("reply", "problems"), [("7", {}), ("seven", {"unread": 1})])
def test_a_component_of_a_users_own_counts_by_its_parsed_replies(run: Any, reply: str, problems: Any) -> None:
    answer, _ = run([GENERATOR, {f"{__name__}:Chooser": "made/x"}], lambda call: reply)
    assert account(answer)[1].outcomes == (OutcomeCounts(1, problems, model="made/x"),)


@pytest.mark.parametrize(("reply", "problems"), [("a text", {}), ("", {"empty": 1}), ("useless", {"fallback": 1})])
def test_one_without_parsed_replies_counts_by_its_texts_or_what_it_says(run: Any, reply: str, problems: Any) -> None:
    answer, _ = run([GENERATOR, {f"{__name__}:Rewriter": "made/x"}], lambda c: reply if c.model == "made/x" else "a")
    assert account(answer)[1].outcomes == (OutcomeCounts(1, problems, model="made/x"),)


def test_a_ranker_with_nothing_to_rank_has_no_outcome(run: Any) -> None:
    answer, _ = run([{"generator": "made/g"}, {"ranker": "made/x"}], lambda call: "a")
    assert account(answer)[1].outcomes == ()


def test_cancelled_work_is_no_outcome(run: Any) -> None:
    layers = [GENERATOR, {"verifier": {"model": "made/x", "stop_after": 1}}]
    answer, _ = run(layers, lambda call: "[Correct]" if call.model == "made/x" else "a")
    [counts] = account(answer)[1].outcomes
    assert 1 <= counts.count <= 3 and not counts.problems


@pytest.mark.parametrize(
    ("reply", "problems"),
    [("3", {}), ("7", {"fallback": 2}), ("no number", {"unread": 2})],
    ids=["good", "late", "unread"],
)
def test_a_fallback_after_a_parsed_reply_is_its_outcome_and_no_second(run: Any, reply: str, problems: Any) -> None:
    answer, _ = run([GENERATOR, {f"{__name__}:Rejecter": "made/x"}], lambda c: reply if c.model == "made/x" else "a")
    assert account(answer)[1].outcomes == (OutcomeCounts(2, problems, model="made/x"),)
