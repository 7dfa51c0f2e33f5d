"""What a component of a user's own says of itself reaches rules, plan, diagrams, ablation and transcript.

`Reviewed` reads critiques, makes two sequential calls per candidate with two models, and filters.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio
import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.architecture.spec import Architecture, ComponentSpec
from archon_eval.components import (
    CallContext,
    Candidate,
    CandidateGenerator,
    CandidateScorer,
    ComponentType,
    ContextComponent,
    Conversation,
    CountRange,
    ListComponent,
    ParseError,
    State,
    make_user_prompt,
    model_option,
)
from archon_eval.components.token_estimates import TokenAssumptions
from archon_eval.engine.engine import Engine
from archon_eval.engine.mermaid import render_mermaid
from archon_eval.engine.plan import plan
from archon_eval.engine.trace import Answer
from archon_eval.errors import ArchitectureError
from archon_eval.integrations.inspect_transcript import render_components
from archon_eval.models.call import Call, Reply, Usage
from archon_eval.models.prices import Price, PriceTable
from archon_eval.report.ablation import list_variants
from archon_eval.report.html.diagram import draw_diagram, estimate_layer_usage
from archon_eval.types import Message

HERE = __name__


def parse_score(reply: str) -> int:
    if not reply.isdigit():
        raise ParseError(f"no number: {reply!r}")
    return int(reply)


class Reviewed(CandidateScorer):
    """A model argues for a candidate, another scores it; below 5 it is rejected."""

    kind = ComponentType(
        "reviewed", filters=True, reads_critiques=True, writes_tests="", options={"reviewer": model_option()}
    )

    async def judge(self, state: State, candidate: Candidate, ctx: CallContext) -> Candidate:
        case = await ctx.generate("argue", make_user_prompt(f"{candidate.text}: {candidate.critique}"))
        score = await ctx.generate_parsed(
            "score",
            make_user_prompt(case.text if case else ""),
            parse_score,
            fallback="the candidate scores 0",
            model=self.spec.get_option("reviewer"),
            about=candidate.id,
        )
        return replace(candidate, values={"score": score or 0})

    def passes(self, candidate: Candidate) -> bool:
        return bool(candidate.values["score"] >= 5)

    def count_calls(self, candidates: CountRange) -> CountRange:
        return 2 * candidates[0], 2 * candidates[1]

    def count_parsed_calls(self, candidates: CountRange) -> int:
        return candidates[1]


GENERATE = {"generator": {"model": "$1", "samples": 2}}
CRITIQUE = {"critic": "$1"}
REVIEW = {f"{HERE}:Reviewed": {"model": "$1", "reviewer": "$2"}}
FUSE = {"fuser": {"model": "$1", "use_critiques": False}}


def load(*layers: Mapping[str, Any]) -> Architecture:
    return load_architecture({"name": "mine", "layers": list(layers)}, ["a/one", "b/two"])


def test_its_models_are_filled_looked_up_and_part_of_the_fingerprint() -> None:
    given = load_architecture({"layers": [GENERATE, CRITIQUE, REVIEW]})
    assert given.models == given.placeholders == ("$1", "$2")
    filled = given.with_models(["a/one", "b/two"])
    assert filled.models == ("a/one", "b/two") and not filled.placeholders
    assert filled.with_models() is filled
    assert filled.fingerprint != given.with_models(["a/one", "c/three"]).fingerprint
    assert load_architecture(filled.to_mapping()).fingerprint == filled.fingerprint


@pytest.mark.parametrize("reviewer", ["$all", "$2..8", "$0", "$x", "", 5])
def test_a_further_model_is_one_model(reviewer: object) -> None:
    with pytest.raises(ArchitectureError, match="`reviewer`"):
        load(GENERATE, CRITIQUE, {f"{HERE}:Reviewed": {"model": "$1", "reviewer": reviewer}})


def test_the_rules_know_that_it_reads_critiques_and_writes_no_tests() -> None:
    load(GENERATE, CRITIQUE, REVIEW)
    with pytest.raises(ArchitectureError, match="rule 3"):
        load(GENERATE, CRITIQUE, {f"{HERE}:Deaf": "$1"})
    with pytest.raises(ArchitectureError, match="rule 6"):
        load(GENERATE, REVIEW, {"unit_test_evaluator": "$1"})


def test_its_plan() -> None:
    prices = PriceTable("test", (("a/*", Price(1.0, 2.0)), ("b/*", Price(10.0, 20.0))))
    planned = plan(load(GENERATE, CRITIQUE, REVIEW, FUSE), prices=prices)
    layer, a = planned.layers[2], TokenAssumptions()
    assert layer.calls == (4, 4) and layer.reasks == 2 * 2 and layer.candidates == (1, 2)
    assert layer.finished - planned.layers[1].finished == 2  # the two calls about one candidate wait for each other
    assert planned.sequential == 1 + 1 + 2 + 1
    prompt = a.wording + a.query + a.answer + a.critique
    assert layer.usage[1] == Usage(4 * prompt, 4 * a.answer)
    dollars = 2 * (1 * prompt + 2 * a.answer + 10 * prompt + 20 * a.answer) / 1e6
    assert layer.dollars == (pytest.approx(dollars), pytest.approx(dollars))
    assert any("may reject every candidate" in note for note in planned.notes)
    without = plan(load(GENERATE, REVIEW), prices=prices).layers[1]
    assert without.usage[1].input_tokens == 4 * (prompt - a.critique)
    unknown = plan(load(GENERATE, REVIEW), prices=PriceTable("test", (("a/*", Price(1.0, 2.0)),)))
    assert unknown.unpriced == ("b/two",) and unknown.layers[1].dollars is None


def test_its_diagrams() -> None:
    architecture = load(GENERATE, CRITIQUE, REVIEW, FUSE)
    text = render_mermaid(plan(architecture))
    assert f'L3["3 {HERE}:Reviewed<br/>a/one<br/>b/two"]' in text
    assert "L2 -->|2| L3" in text and "L3 -->|1 to 2| L4" in text and "-." not in text
    drawn = draw_diagram(estimate_layer_usage(architecture))
    assert "<title>b/two</title>" in drawn and "1.5 candidates" in drawn and "layer side" not in drawn


def test_its_ablation() -> None:
    assert [variant.change for variant in list_variants(load(GENERATE, CRITIQUE, REVIEW, FUSE))] == [
        "without layer 2 (critic)",  # not without the one that reads the critiques, which would be for nobody
        "without layer 4 (fuser)",
        "layer 4: ranker in place of the fuser",
    ]
    changes = [variant.change for variant in list_variants(load(GENERATE, {f"{HERE}:Deaf": "$1"}))]
    assert changes == [f"without layer 2 ({HERE}:Deaf)", f"layer 2: ranker in place of the {HERE}:Deaf"]


def reply_to(call: Call) -> str:
    if call.model == "b/two":
        return "9" if "good answer" in call.messages[0].content else "3"
    if "<response id=" in call.messages[-1].content:
        return "[1]\nGood.\n[2]\nBad."
    if ": " in call.messages[0].content:
        return f"case for {call.messages[0].content}"
    return f"{'good' if call.draw == 0 else 'bad'} answer"


def run(architecture: Architecture, calls: list[Call] | None = None) -> Answer:
    async def caller(call: Call) -> Reply:
        (calls if calls is not None else []).append(call)
        return Reply(reply_to(call))

    return anyio.run(Engine(architecture, caller).run, (Message("user", "question"),))


def test_its_calls_and_its_transcript() -> None:
    calls: list[Call] = []
    answer = run(load(GENERATE, CRITIQUE, REVIEW), calls)
    assert [candidate.id for candidate in answer.candidates] == ["1.1"]
    assert sorted(call.model for call in calls) == ["a/one"] * 5 + ["b/two"] * 2
    (text,) = render_components(3, answer.trail.layers[2], answer.trail.steps, notes=answer.trail.notes)
    assert text.startswith(f"**Layer 3, {HERE}:Reviewed: a/one, b/two: 4 calls")
    assert "Prompt, argue" in text and "Prompt, score about 1.2:" in text
    assert text.endswith("Goes on:\n1. candidate 1.1 by a/one, critiqued, score: 9")


class Stray(ListComponent):
    """Calls a model that it has not declared."""

    kind = ComponentType("stray", needs_model=False)

    async def run(self, state: State, ctx: CallContext) -> State:
        await ctx.generate("stray", state.conversation, model="c/three")
        return state


class NoModel(ListComponent):
    """Calls its model, and says that it needs none."""

    kind = ComponentType("no_model", needs_model=False)

    async def run(self, state: State, ctx: CallContext) -> State:
        await ctx.generate("stray", state.conversation)
        return state


@pytest.mark.parametrize(("name", "says"), [("Stray", "calls model 'c/three'"), ("NoModel", "calls a model")])
def test_a_model_that_is_not_declared_is_told_before_the_call(name: str, says: str) -> None:
    calls: list[Call] = []
    with pytest.raises(ArchitectureError, match=rf"layer 2 .*{says}, which it does not declare .*model_option"):
        run(load({"generator": "$1"}, {f"{HERE}:{name}": {"on_error": "drop"}}), calls)
    assert [call.model for call in calls] == ["a/one"]


class Hint(ContextComponent):
    """Leaves a hint for later layers."""

    kind = ComponentType("hint")

    async def prepare(self, conversation: Conversation, ctx: CallContext) -> Mapping[str, Any]:
        reply = await ctx.generate("hint", conversation)
        return {"hint": reply.text if reply else ""}

    def describe_values(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"Hint": [values["hint"]]}


class Drafts(CandidateGenerator):
    """Overrides nothing."""

    kind = ComponentType("drafts", replaces=True)

    async def produce(self, state: State, id: str, draw: int, ctx: CallContext) -> Candidate | None:
        return None


class Deaf(CandidateScorer):
    """Overrides nothing, and reads no critiques."""

    kind = ComponentType("deaf", reads_critiques=False, stand_in="ranker")

    async def judge(self, state: State, candidate: Candidate, ctx: CallContext) -> Candidate:
        return candidate


class Sorter(ListComponent):
    """Overrides nothing."""

    kind = ComponentType("sorter")

    async def run(self, state: State, ctx: CallContext) -> State:
        return state


def test_what_stands_beside_the_candidates_way_is_drawn_so() -> None:
    architecture = load(GENERATE, {f"{HERE}:Hint": "$2"}, FUSE)
    text = render_mermaid(plan(architecture))
    assert "Q --> L2" in text and "L2 -. hint .-> L3" in text and "L1 -->|2| L3" in text
    assert draw_diagram(estimate_layer_usage(architecture)).count("layer side") == 1
    answer = run(architecture)
    (shown,) = render_components(2, answer.trail.layers[1], answer.trail.steps, notes=())
    assert "Hint:\n1. `3`" in shown


def test_a_name_out_of_a_log_imports_nothing() -> None:
    import sys

    layer = estimate_layer_usage(load({"generator": "$1"}))[0]
    assert "layer side" not in draw_diagram([replace(layer, kind="antigravity:fly"), replace(layer, kind="vote")])
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("name", "calls", "reasks", "sequential"),
    [("Drafts", 1, 0, 1), ("Deaf", 2, 4, 1), ("Sorter", 1, 2, 1), ("Hint", 1, 2, 0)],
)
def test_a_component_that_overrides_nothing_has_sensible_counts(
    name: str, calls: int, reasks: int, sequential: int
) -> None:
    planned = plan(load(GENERATE, {f"{HERE}:{name}": "$1"}))
    layer = planned.layers[1]
    assert (layer.calls, layer.reasks) == ((calls, calls), reasks)
    assert planned.sequential == 1 + sequential
    assert layer.usage[1].output_tokens == calls * TokenAssumptions().answer


def test_an_engine_built_from_specs_in_python_knows_the_models_too() -> None:
    spec = ComponentSpec(f"{HERE}:Reviewed", "a/one", options=(("reviewer", "b/two"),))
    assert spec.models == ("a/one", "b/two")
    assert ComponentSpec(f"{HERE}:Reviewed", "a/one").models == ("a/one",)
