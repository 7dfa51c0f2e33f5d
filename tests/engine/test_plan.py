"""Counts against the papers' printed ones, critical paths, tokens, unknown prices, and what is said beforehand."""

import json
from typing import Any

import anyio
import pytest
from clock import run_virtual

from archon_eval.architecture.load import list_presets, load_architecture
from archon_eval.components.token_estimates import TokenAssumptions
from archon_eval.engine.engine import Engine
from archon_eval.engine.mermaid import render_mermaid
from archon_eval.engine.plan import PlanMemo, plan
from archon_eval.models.call import Call, Reply, Usage
from archon_eval.models.prices import Price, PriceTable
from archon_eval.search.space import load_space
from archon_eval.types import Message

FREE = PriceTable("test", (("*", Price(1.0, 2.0)),))


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("single", 1),
        ("ensemble-fuser", 9),
        ("ensemble-critic-fuser", 10),
        ("ensemble-ranker", 9),
        ("ensemble-verifier", 24),
        ("ensemble-unit-tests", 17),
        ("ensemble-ranker-fuser", 10),
        ("ensemble-verifier-fuser", 25),
        ("ensemble-unit-tests-fuser", 18),  # printed: 17, against the paper's own formula
        ("ensemble-critic-verifier-fuser", 26),  # printed: 25, against the paper's own formula
        ("ensemble-critic-ranker-fuser", 11),
        ("moa", 19),
        ("moa-lite", 7),
        ("best-of-n", 11),
        ("sample-unit-tests", 201),
        ("figure-3", 31),
        ("general-purpose", 37),
    ],
)
def test_calls_printed_in_the_papers(name: str, calls: int) -> None:
    assert plan(load_architecture(name)).calls == (calls, calls)


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("single", 1),
        ("moa", 4),
        ("figure-3", 7),
        ("ensemble-verifier", 3),
        ("sample-unit-tests", 2),  # the tests are written while the generators run
        ("ensemble-unit-tests-fuser", 3),
    ],
)
def test_critical_path_of_the_dataflow(name: str, depth: int) -> None:
    assert plan(load_architecture(name)).sequential == depth


def layers(*given: Any, **top: Any) -> Any:
    return load_architecture({"layers": list(given), **top})


def test_a_ranker_with_one_candidate_calls_nobody() -> None:
    found = plan(layers({"generator": "a/x"}, {"ranker": "a/x"}))
    assert found.calls == (1, 1) and found.sequential == 1


def test_filters_and_drops_make_intervals() -> None:
    found = plan(layers({"generator": {"model": "a/x", "samples": 4}}, {"verifier": "a/x"}, {"verifier": "b/x"}))
    assert [layer.candidates for layer in found.layers] == [(4, 4), (1, 4), (1, 4)]
    assert found.calls == (4 + 8 + 2, 4 + 8 + 8)
    dropping = plan(layers({"generator": ["a/x", "b/x"]}, {"critic": "a/x"}, {"fuser": "a/x"}, on_error="drop"))
    assert dropping.layers[0].candidates == (1, 2)
    assert any("on_error: drop" in note for note in dropping.notes)


def test_stop_after_needs_fewer_calls() -> None:
    generator = {"generator": {"model": "a/x", "samples": 10}}
    tests = {"unit_test_generator": "a/x"}
    found = plan(layers(generator, tests, {"unit_test_evaluator": {"model": "a/x", "stop_after": 1}}))
    assert found.calls == (12, 21)
    assert any("stops once 1 passed" in note for note in found.notes)


def test_stop_after_may_also_cancel_the_judges_before_it() -> None:
    generator, tests = {"generator": {"model": "a/x", "samples": 10}}, {"unit_test_generator": "a/x"}
    evaluator = {"unit_test_evaluator": {"model": "a/x", "stop_after": 2}}
    found = plan(layers(generator, {"verifier": "a/x"}, tests, evaluator))
    assert [layer.calls for layer in found.layers] == [(10, 10), (4, 20), (1, 1), (1, 10)]
    apart = plan(layers(generator, {"verifier": "a/x"}, {"ranker": "a/x"}, tests, evaluator))
    assert apart.layers[1].calls == (20, 20)  # the ranker needs all of them


def test_reasks_are_counted_apart_and_only_for_replies_that_are_parsed() -> None:
    found = plan(layers({"generator": ["a/x", "b/x"]}, {"verifier": "a/x"}, {"fuser": "a/x"}, max_parse_retries=3))
    assert [layer.reasks for layer in found.layers] == [0, 2 * 3, 0]
    assert found.reasks == 6 and plan(layers({"generator": "a/x"})).reasks == 0


def test_tokens_follow_the_assumptions_and_max_tokens() -> None:
    assumed = TokenAssumptions(query=10, answer=100, wording=20)
    found = plan(layers({"generator": ["a/x", "b/x"]}, {"fuser": "a/x"}), assumptions=assumed)
    assert found.layers[0].usage == (Usage(20, 200), Usage(20, 200))
    assert found.layers[1].usage[1] == Usage(20 + 10 + 2 * 100, 100)
    short = plan(layers({"generator": ["a/x", "b/x"]}, {"fuser": "a/x"}, max_tokens=30), assumptions=assumed)
    assert short.usage[1] == Usage(20 + 20 + 10 + 2 * 30, 60 + 30)


def test_critiques_are_paid_for_where_they_are_read() -> None:
    def fuser_input(**options: Any) -> int:
        fuser = {"model": "a/x", **options}
        ranker = {"ranker": "a/x"}
        return (
            plan(layers({"generator": ["a/x", "b/x"]}, {"critic": "a/x"}, ranker, {"fuser": fuser}))
            .layers[3]
            .usage[1]
            .input_tokens
        )

    assert fuser_input() - fuser_input(use_critiques=False) == 2 * TokenAssumptions().critique


def test_dollars_are_the_tokens_at_the_table() -> None:
    found = plan(load_architecture("figure-3"), ["a/x"], prices=FREE)
    assert found.dollars is not None
    for usage, dollars in zip(found.usage, found.dollars, strict=True):
        assert dollars == pytest.approx((usage.input_tokens + 2 * usage.output_tokens) / 1e6)


def test_an_unknown_price_is_unknown_and_named() -> None:
    found = plan(layers({"generator": ["openai/gpt-4o", "x/unheard-of"]}, {"fuser": "openai/gpt-4o"}))
    assert found.dollars is None and found.unpriced == ("x/unheard-of",)
    assert found.layers[0].dollars is None and found.layers[1].dollars is not None
    assert plan(load_architecture("moa-lite")).dollars is None


def test_what_may_happen_is_said_before() -> None:
    notes = plan(load_architecture("ensemble-verifier"), ["a/x", "b/y"]).notes
    assert any("8 places for models, 2 named" in note for note in notes)
    assert any("layer 2 (verifier) may reject every candidate: then all go on" in note for note in notes)
    assert any("up to 8 candidates reach the end: the first is the answer" in note for note in notes)
    assert plan(load_architecture("moa-lite"), [f"m/{n}" for n in range(6)]).notes == ()
    assert plan(load_architecture("single")).notes == ()


def test_all_counts_as_one_until_models_are_named() -> None:
    every = layers({"generator": "$all"})
    assert plan(every).calls == (1, 1) and "$all" in plan(every).notes[0]
    assert plan(every, ["a/x", "b/y", "c/z"]).calls == (3, 3)


def test_a_plan_is_plain_json() -> None:
    found = json.loads(json.dumps(plan(load_architecture("figure-3"), ["openai/gpt-4o"]).to_mapping()))
    assert found["name"] == "figure-3" and found["calls"] == [31, 31]
    assert len(found["layers"]) == 6 and found["dollars"][0] <= found["dollars"][1]


@pytest.mark.parametrize("name", list_presets())
def test_diagram_has_every_layer_between_question_and_answer(name: str) -> None:
    found = plan(load_architecture(name))
    text = render_mermaid(found)
    assert text.startswith("flowchart TD\n")
    for layer in found.layers:
        assert f'"{layer.number} {layer.kind}' in text
    assert text.count("Q -->") == 1 + sum(layer.kind == "unit_test_generator" for layer in found.layers)
    assert text.splitlines()[-1].endswith("| A")


def test_diagram_escapes_quotes() -> None:
    assert '"a/#quot;x"' not in render_mermaid(plan(layers({"generator": 'a/"x'})))
    assert "a/#quot;x" in render_mermaid(plan(layers({"generator": 'a/"x'})))


@pytest.mark.parametrize("name", list_presets())
def test_the_engine_does_what_was_planned(name: str) -> None:
    """Calls lie within the interval, and with calls of one second each the run takes the critical path."""

    async def caller(call: Call) -> Reply:
        await anyio.sleep(1)
        return Reply(reply_to(call.messages[-1].content))

    architecture = load_architecture(name, [f"m/{n}" for n in range(10)])
    engine = Engine(architecture, caller)
    result, seconds = run_virtual(lambda: engine.run((Message("user", "What is 6 x 7?"),)))
    found = plan(architecture)
    assert found.calls[0] <= len(result.trail.steps) <= found.calls[1]
    in_rounds = any(layer.fewest for layer in found.layers)  # of which there may be fewer
    assert seconds <= found.sequential if in_rounds or architecture.stages else seconds == found.sequential
    done_by_number = {done.layer: done for done in result.trail.layers}
    assert architecture.stages or len(done_by_number) == len(found.layers)
    for planned, done in (
        (each, done_by_number[each.number]) for each in found.layers if each.number in done_by_number
    ):
        assert planned.candidates[0] <= len(done.candidates) <= planned.candidates[1]


def reply_to(prompt: str) -> str:
    """A reply in the form each built-in prompt asks for; a third of the verdicts reject."""
    count = prompt.count("<response id=")
    good = sum(map(ord, prompt)) % 3 > 0
    if "Several independent responses to one query" in prompt:
        return f"fused {count}"
    if "] > [" in prompt:
        return " > ".join(f"[{n}]" for n in range(count, 0, -1))
    if "Unit Test #1: [Passed]" in prompt:
        return f"Unit Test #1: [{'Passed' if good else 'Failed'}]"
    if "Better: [1]" in prompt:
        return f"Better: [{1 if good else 2}]"
    if "Score: N" in prompt:
        return f"Score: {len(prompt) % 100}"
    if "Strengths:" in prompt:
        return "\n".join(f"[{n}]\nStrengths: fine" for n in range(1, count + 1))
    if "[Incorrect]" in prompt:
        return "[Correct]" if good else "[Incorrect]"
    return '["The response gives a number."]'


def test_plans_that_share_parts_are_the_same_as_without():
    space, memo = load_space("small"), PlanMemo()
    for one in space.list_configurations(4)[::7]:
        architecture = space.build_architecture(one, list("abcd"), list("dcba"))
        assert plan(architecture, memo=memo) == plan(architecture)
