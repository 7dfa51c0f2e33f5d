"""Cascades: stages are asked only when needed, nothing is paid twice, decisions are recorded. Time is virtual."""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from clock import run_virtual
from inspect_ai.util import LimitExceededError

from archon_eval.architecture.load import load_architecture
from archon_eval.engine.engine import Engine
from archon_eval.engine.mermaid import render_mermaid
from archon_eval.engine.plan import plan
from archon_eval.engine.trace import Answer
from archon_eval.errors import ArchitectureError, ModelError
from archon_eval.models.call import Call, Reply, Usage
from archon_eval.report.ablation import list_variants
from archon_eval.report.html.diagram import draw_diagram
from archon_eval.runs.account import QuestionAccount
from archon_eval.runs.layer_health import RunHealth
from archon_eval.runs.stage_usage import describe_stages, summarize_stages
from archon_eval.runs.usage import summarize_layers
from archon_eval.search.cascade_parts import measure_stage
from archon_eval.types import Message, State

QUESTION = (Message("user", "What is 6 x 7?"),)
VOTE = {"name": "vote", "layers": [{"generator": {"model": "a/cheap", "samples": 5}}, {"vote": {"top_k": 1}}]}
STRONG = {"name": "strong", "layers": [{"generator": {"model": "a/strong", "samples": 2}}, {"fuser": "a/strong"}]}


class Models:
    """`a/cheap` says 42 on its first so many draws, and another number on each of the rest."""

    def __init__(self, agreeing: int, judge: Callable[[str], str] = lambda prompt: "[Correct]") -> None:
        self.agreeing, self.judge = agreeing, judge
        self.calls: list[tuple[Call, float]] = []

    async def __call__(self, call: Call) -> Reply:
        self.calls.append((call, anyio.current_time()))
        await anyio.sleep(1)
        text = call.messages[-1].content
        if call.model == "a/judge":
            answer = self.judge(text)
        elif call.model == "a/strong":
            answer = "The answer is 41."
        else:
            answer = f"The answer is {42 if call.draw < self.agreeing else 100 + call.draw}."
        return Reply(answer, usage=Usage(10, 5), seconds=1.0, dollars=0.5)

    def count(self, model: str) -> int:
        return sum(call.model == model for call, _ in self.calls)


def build(rule: dict[str, Any] | None, *more: dict[str, Any], **top: Any) -> Any:
    first = VOTE if rule is None else {**VOTE, "accept": rule}
    return load_architecture({"name": "x", "cascade": [first, *(more or (STRONG,))], **top})


def ask(architecture: Any, models: Models) -> tuple[Answer, QuestionAccount, float]:
    engine = Engine(architecture, models)
    answer, seconds = run_virtual(lambda: engine.run(QUESTION))
    account = QuestionAccount.from_metadata(QuestionAccount.from_answer(architecture, answer).to_metadata())
    return answer, account, seconds


def test_a_later_stage_is_not_asked_where_the_first_answer_stands() -> None:
    models = Models(agreeing=4)
    answer, account, seconds = ask(build({"agreement": 0.8}), models)
    assert answer.text == "The answer is 42." and models.count("a/strong") == 0 and seconds == 1
    assert [(stage.name, stage.stands, stage.score) for stage in account.stages] == [("vote", True, 0.8)]
    assert account.notes["accepted"] == 1 and "escalated" not in account.notes


class Away(Models):
    """Models of which `a/cheap` never answers."""

    async def __call__(self, call: Call) -> Reply:
        if call.model == "a/cheap":
            self.calls.append((call, anyio.current_time()))
            raise ModelError("a/cheap: it is away")
        return await super().__call__(call)


def test_a_stage_that_loses_all_its_calls_is_followed_by_the_next() -> None:
    lossy = {
        **VOTE,
        "layers": [{"generator": {"model": "a/cheap", "samples": 3, "on_error": "drop"}}, VOTE["layers"][1]],
    }
    first = {**lossy, "accept": {"agreement": 0.8}}
    architecture = load_architecture({"name": "x", "cascade": [first, STRONG]})
    answer, account, _ = ask(architecture, Away(5))
    assert answer.text == "The answer is 41." and account.notes["escalated"] == 1 and account.notes["dropped"] == 3
    assert [(stage.name, stage.stands, stage.score) for stage in account.stages] == [
        ("vote", False, None),
        ("strong", True, None),
    ]
    assert "every call failed: a/cheap: it is away" in answer.trail.stages[0].detail
    kept = load_architecture({"name": "x", "cascade": [{**first, "keep": True}, {"layers": [{"fuser": "a/strong"}]}]})
    with pytest.raises(ModelError, match="no candidate left"):
        ask(kept, Away(5))
    with pytest.raises(ModelError, match="it is away"):
        ask(build({"agreement": 0.8}), Away(5))


def test_a_later_stage_begins_when_the_rule_has_decided() -> None:
    models = Models(agreeing=3)
    answer, account, seconds = ask(build({"agreement": 0.8}), models)
    assert answer.text == "The answer is 41." and seconds == 3
    assert {at for call, at in models.calls if call.model == "a/strong"} == {1.0, 2.0}
    assert [(stage.name, stage.stands) for stage in account.stages] == [("vote", False), ("strong", True)]
    assert account.usage.calls == 8 == len(models.calls) and account.usage.dollars == 4.0
    assert [stage.usage.calls for stage in account.stages] == [5, 3]
    [note] = [note for note in answer.trail.notes if note.what == "escalated"]
    assert note.detail == "vote: 0.6, 0.8 asked: goes on"


def test_what_an_earlier_stage_asked_is_not_paid_again_without_a_store() -> None:
    more = {"name": "more", "layers": [{"generator": {"model": "a/cheap", "samples": 8}}, {"vote": {"top_k": 1}}]}
    models = Models(agreeing=3)
    answer, account, _ = ask(build({"agreement": 1.0}, more), models)
    assert len(models.calls) == 8 and sorted(call.draw for call, _ in models.calls) == [*range(8)]
    assert account.usage.calls == 8 and [stage.usage.calls for stage in account.stages] == [5, 3]
    assert sum(step.shared for step in answer.trail.steps) == 5 and len(answer.trail.steps) == 13
    assert account.models["a/cheap"].dollars == 4.0
    assert not answer.trail.reuses


def test_kept_candidates_go_on_to_the_next_stage() -> None:
    stages = [
        {
            "name": "samples",
            "layers": [{"generator": {"model": "a/cheap", "samples": 5}}],
            "accept": {"agreement": 1},
            "keep": True,
        },
        {"name": "fuse", "layers": [{"fuser": "a/strong"}]},
    ]
    architecture = load_architecture({"name": "x", "cascade": stages})
    models = Models(agreeing=3)
    answer, account, seconds = ask(architecture, models)
    assert models.count("a/strong") == 1 and seconds == 2
    assert models.calls[-1][0].messages[-1].content.count("The answer is") == 5
    assert plan(architecture).calls == (5, 6) and plan(architecture).sequential == 2
    assert account.usage.calls == 6 and answer.text == "The answer is 41."


@pytest.mark.parametrize(
    ("rule", "reply", "stands", "note"),
    [
        ({"verifier": "a/judge"}, "[Correct]", "vote", ""),
        ({"verifier": "a/judge"}, "[Incorrect]", "strong", ""),
        ({"verifier": "a/judge"}, "It is hard to say.", "strong", "fallback"),
        ({"judge": {"model": "a/judge", "threshold": 80}}, "Score: 80", "vote", ""),
        ({"judge": {"model": "a/judge", "threshold": 80}}, "Score: 79.5/100", "strong", ""),
        ({"judge": {"model": "a/judge", "threshold": 80}}, "Score: 8/10", "strong", "fallback"),
        ({"judge": {"model": "a/judge", "threshold": 0}}, "no idea", "strong", "fallback"),
        ({"reward": {"model": "a/judge", "threshold": 70}}, "Score: 70", "vote", ""),
        ({"reward": {"model": "a/judge", "threshold": 70}}, "Score: 60/100", "strong", ""),
    ],
)
def test_models_decide_and_what_cannot_be_read_goes_on(rule: Any, reply: str, stands: str, note: str) -> None:
    architecture = build(rule)
    _, account, _ = ask(architecture, Models(agreeing=5, judge=lambda prompt: reply))
    assert next(stage.name for stage in account.stages if stage.stands) == stands
    assert bool(account.notes.get("fallback")) == bool(note)
    if note:
        assert account.stages[0].score is None
        health = RunHealth.from_accounts([account])
        assert any("accept" in warning and "never worked" in warning for warning in health.warnings)
    low, high = plan(architecture).calls
    asked_again = account.notes.get("reask", 0)
    assert low <= account.usage.calls - asked_again <= high


def test_answers_that_cannot_be_compared_go_on_and_are_recorded() -> None:
    class Mute(Models):
        async def __call__(self, call: Call) -> Reply:
            reply = await super().__call__(call)
            return Reply("", usage=Usage(1, 1)) if call.model == "a/cheap" else reply

    _, account, _ = ask(build({"agreement": 0.2}), Mute(5))
    assert account.stages[0].score is None and account.stages[1].stands and account.notes["fallback"] >= 1


def test_one_sample_that_is_left_does_not_agree_with_itself() -> None:
    class Failing(Models):
        async def __call__(self, call: Call) -> Reply:
            if call.model == "a/cheap" and call.draw:
                raise ModelError("gone")
            return await super().__call__(call)

    alone = {"name": "vote", "layers": [{"generator": {"model": "a/cheap", "samples": 5, "on_error": "drop"}}]}
    architecture = load_architecture({"cascade": [{**alone, "accept": {"agreement": 0.5}}, STRONG]})
    _, account, _ = ask(architecture, Failing(5))
    assert account.stages[0].score is None and account.stages[1].stands and account.notes["fallback"] == 1


def is_sure(state: State) -> float:
    return float(len(state.candidates)) / 10


async def is_long(state: State) -> bool:
    await anyio.sleep(1)
    return len(state.candidates[0].text) > 3


def say_nothing(state: State) -> None:
    return None


def score_length(question: str, answer: str) -> float:
    return float(len(answer))


async def send_scores(call: Call) -> Reply:
    if call.scorer is not None:
        return await call.scorer(call)
    return Reply("The answer is 42.", usage=Usage(10, 5))


def test_a_reward_function_decides_and_is_counted() -> None:
    for threshold, stands in ((5, "vote"), (500, "strong")):
        source = {"function": f"{__name__}:score_length", "threshold": threshold, "dollars": 0.25}
        architecture = build({"reward": source})
        assert plan(architecture).calls == (6, 9)

        answer = asyncio.run(Engine(architecture, send_scores).run(QUESTION))
        account = QuestionAccount.from_answer(architecture, answer)
        assert next(stage.name for stage in account.stages if stage.stands) == stands
        assert account.stages[0].rule_usage is not None and account.stages[0].rule_usage.calls == 1


def fail(state: State) -> None:
    raise KeyError("no")


@pytest.mark.parametrize(
    ("function", "threshold", "stands"),
    [("is_sure", 0.1, "vote"), ("is_sure", 0.2, "strong"), ("is_long", None, "vote"), ("say_nothing", 0.5, "strong")],
)
def test_an_own_function_decides(function: str, threshold: float | None, stands: str) -> None:
    rule = {"function": {"function": f"{__name__}:{function}", "threshold": threshold}}
    _, account, _ = ask(build(rule), Models(agreeing=5))
    assert next(stage.name for stage in account.stages if stage.stands) == stands
    assert bool(account.notes.get("fallback")) == (function == "say_nothing")


def reach_limit(state: State) -> bool:
    raise LimitExceededError("token", value=11, limit=10)


def test_a_limit_that_an_own_function_reaches_is_the_hosts() -> None:
    with pytest.raises(LimitExceededError):
        ask(build({"function": f"{__name__}:reach_limit"}), Models(agreeing=5))


def test_an_own_function_that_fails_is_named() -> None:
    for function, problem in (("fail", "KeyError"), ("is_sure", "give `threshold`")):
        with pytest.raises(ArchitectureError, match=problem):
            ask(build({"function": f"{__name__}:{function}"}), Models(agreeing=5))


def test_passed_tests_decide() -> None:
    stage = {
        "name": "tested",
        "layers": [
            {"generator": "a/cheap"},
            {"unit_test_generator": "a/judge"},
            {"unit_test_evaluator": "a/judge"},
        ],
        "accept": {"tests": 0.5},
    }

    def judge(verdicts: str) -> Callable[[str], str]:
        return lambda prompt: verdicts if "Unit Test #1" in prompt else '["It is a number.", "It is short."]'

    architecture = load_architecture({"name": "x", "cascade": [stage, STRONG]})
    for verdicts, stands in (
        ("Unit Test #1: [Passed]\nUnit Test #2: [Failed]", "tested"),
        ("Unit Test #1: [Failed]\nUnit Test #2: [Failed]", "strong"),
    ):
        _, account, _ = ask(architecture, Models(5, judge(verdicts)))
        assert account.stages[-1].name == stands


def test_a_router_chooses_where_to_begin() -> None:
    rows = [{"when": {"words": {"min": 50}}, "stage": "strong"}]
    by_model = build({"agreement": 0.8}, router={"model": "a/judge", "rows": rows, "default": "vote"})
    _, account, _ = ask(by_model, Models(5, lambda prompt: "It is hard.\nStage: strong"))
    assert [stage.name for stage in account.stages] == ["strong"] and account.usage.calls == 4
    assert [layer.number for layer in account.layers] == [0, 5, 6]
    assert account.numbered_layers[5].kind == "generator" and account.numbered_layers[6].kind == "fuser"
    answer, account, _ = ask(by_model, Models(5, lambda prompt: "Stage: weak"))
    assert [stage.name for stage in account.stages] == ["vote"] and account.notes["fallback"] == 1
    assert account.notes["reask"] == 2 and account.notes["routed"] == 1
    assert [note.detail for note in answer.trail.notes if note.what == "routed"] == ["vote: no choice could be read"]


def test_a_router_may_choose_the_only_stage() -> None:
    rows = [{"when": {"words": {"max": 10}}, "stage": "vote"}]
    architecture = build(None, router={"rows": rows, "default": "strong", "only": True})
    _, account, _ = ask(architecture, Models(agreeing=2))
    assert [(stage.name, stage.stands) for stage in account.stages] == [("vote", True)]
    assert plan(architecture).calls == (3, 5)


def test_plans_are_intervals_from_the_cheapest_to_the_dearest_way() -> None:
    assert plan(build({"agreement": 0.8})).calls == (5, 8)
    assert plan(build({"verifier": "a/judge"})).calls == (7, 10)
    routed = plan(build({"agreement": 0.8}, router={"model": "a/judge"}))
    assert routed.calls == (4, 9) and routed.sequential == 4
    text = render_mermaid(routed)
    assert text.count("-->|accepted| A") == 1 and text.count("-->|else|") == 1 and 'subgraph S2["stage strong"]' in text
    assert [layer.stage for layer in routed.layers] == ["", "vote", "vote", "vote", "strong", "strong"]


@pytest.mark.parametrize(
    ("kept", "problem"),
    [
        ([{"generator": {"model": "a/cheap", "samples": 4}}], "layer 1 of stage vote makes 4 candidates"),
        (VOTE["layers"], r"layer 2 of stage vote \(vote\) makes none"),
        ([{"generator": {"model": "a/cheap", "samples": 3}}], ""),
    ],
)
def test_a_debate_carries_on_what_a_stage_keeps_one_a_place(kept: Any, problem: str) -> None:
    first = {"name": "vote", "layers": kept, "accept": {"agreement": 1.0}, "keep": True}
    last = {"name": "debate", "layers": [{"debate": {"model": "a/strong", "samples": 3}}]}
    if not problem:
        load_architecture({"cascade": [first, last]})
    else:
        with pytest.raises(ArchitectureError, match=f"stage debate: layer 1 is debate.*{problem}"):
            load_architecture({"cascade": [first, last]})


def test_a_stage_measured_alone_is_measured_as_in_the_cascade() -> None:
    first = {"name": "first", "keep": True, "layers": VOTE["layers"][:1], "accept": {"agreement": 1.0}}
    second = {"name": "second", "layers": [{"vote": {"top_k": None}}], "accept": {"agreement": 0.9}}
    cascade = load_architecture({"cascade": [first, second, STRONG]})
    _, account, _ = ask(cascade, Models(agreeing=3))
    assert [stage.score for stage in account.stages] == [0.6, 1.0]
    for place in (0, 1):
        _, alone, _ = ask(measure_stage(cascade, place), Models(agreeing=3))
        assert alone.stages[-1].score == account.stages[place].score


def test_measuring_asks_every_stage_and_accepts_none() -> None:
    architecture = build({"agreement": "tune"}, measure_only=True)
    answer, account, _ = ask(architecture, Models(agreeing=5))
    assert [(stage.name, stage.stands, stage.score) for stage in account.stages] == [
        ("vote", False, 1.0),
        ("strong", True, None),
    ]
    assert answer.text == "The answer is 41." and plan(architecture).calls == (8, 8)


def test_layers_and_stages_of_many_answers() -> None:
    architecture = build({"agreement": 0.8}, router={"rows": [], "default": "vote"})
    accounts = [ask(architecture, Models(agreeing))[1] for agreeing in (5, 4, 1)]
    direct = load_architecture({**architecture.to_mapping(), "router": {"rows": [], "default": "strong"}})
    accounts.append(ask(direct, Models(5))[1])
    layers = summarize_layers(accounts[:3], architecture)
    kinds = ["router", "generator", "vote", "accept_agreement", "generator", "fuser"]
    assert [layer.kind for layer in layers] == kinds
    assert [layer.calls for layer in layers] == [0, 5, 0, 0, pytest.approx(2 / 3), pytest.approx(1 / 3)]
    straight = summarize_layers(accounts[3:], direct)
    assert [(layer.number, layer.kind) for layer in straight] == [(0, "router"), (5, "generator"), (6, "fuser")]
    assert [text for text in ("2 generator", "5 generator", "6 fuser") if text in draw_diagram(straight)] == [
        "5 generator",
        "6 fuser",
    ]
    stages = summarize_stages(accounts)
    assert [(stage.name, stage.asked, stage.stood) for stage in stages] == [("vote", 3, 2), ("strong", 2, 2)]
    assert describe_stages(stages) == "vote answered 50.0% of 4 answers, asked in 75.0%; strong 50.0%, asked in 50.0%"
    health = RunHealth.from_accounts(accounts[:3])
    assert [layer.answers for layer in health.layers] == [3, 3, 3, 3, 1, 1] and not health.warnings


def test_other_last_draws_share_an_answer_that_stood() -> None:
    architecture, models = build({"agreement": 0.8}), Models(agreeing=5)
    engine = Engine(architecture, models)
    run_virtual(lambda: engine.run(QUESTION, 1, last_draw=1))
    assert {call.epoch for call, _ in models.calls} == {1}
    models = Models(agreeing=1)
    engine = Engine(architecture, models)
    run_virtual(lambda: engine.run(QUESTION, 1, last_draw=1))
    assert len({call.epoch for call, _ in models.calls}) == 2


def test_ablations_are_of_each_stage_and_of_whole_stages() -> None:
    changes = [variant.change for variant in list_variants(build({"agreement": 0.8}))]
    assert changes == [
        "stage vote: without layer 2 (vote)",
        "without stage vote",
        "stage strong: without layer 2 (fuser)",
        "stage strong: layer 2: ranker in place of the fuser",
        "without stage strong",
    ]


def test_samples_of_a_stage_may_be_drawn_in_rounds() -> None:
    samples = {"min": 3, "max": 9, "stop": "settled"}
    layers = [{"generator": {"model": "a/cheap", "samples": samples}}, {"vote": {"top_k": 1}}]
    first = {"name": "vote", "layers": layers, "accept": {"agreement": 1.0}}
    architecture = load_architecture({"name": "x", "cascade": [first, STRONG]})
    models = Models(agreeing=9)
    _, account, _ = ask(architecture, models)
    assert models.count("a/cheap") < 9 and account.stages[0].score == 1.0 and account.stages[0].stands
    assert plan(architecture).calls == (3, 12)
