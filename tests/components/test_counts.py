"""What a plan takes of a component of one's own that says nothing: calls, tokens, tests, critiques and prices."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from archon_eval.architecture.load import load_architecture
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
    State,
    int_option,
    model_option,
)
from archon_eval.components.component import DEFAULT_TESTS
from archon_eval.components.token_estimates import TokenAssumptions
from archon_eval.engine.plan import Plan, plan
from archon_eval.errors import ArchitectureError
from archon_eval.integrations.build import build_engine
from archon_eval.integrations.task_settings import _fill_settings
from archon_eval.models.client import build_client
from archon_eval.models.prices import Price, PriceTable

HERE = __name__
TWO_MODELS = {"second": model_option()}
PRICES = PriceTable("test", (("a/*", Price(1.0, 2.0)), ("b/*", Price(10.0, 20.0))))
GENERATE = {"generator": {"model": "a/x", "samples": 3, "temperature": None}}


class Makes(CandidateGenerator):
    kind = ComponentType("makes", reads_critiques=False, options={**TWO_MODELS, "samples": int_option(2)})

    async def produce(self, state: State, id: str, draw: int, ctx: CallContext) -> Candidate | None:
        return None


class Uneven(Makes):
    """A call for all samples, and one for each."""

    kind = replace(Makes.kind, name="uneven")

    def count_calls(self, candidates: CountRange) -> CountRange:
        return self.candidate_count + 1, self.candidate_count + 1


class Scores(CandidateScorer):
    kind = ComponentType("scores", options=TWO_MODELS, reads_tests="statements", follows_tests=True)

    async def judge(self, state: State, candidate: Candidate, ctx: CallContext) -> Candidate:
        return candidate


class Lists(ListComponent):
    kind = ComponentType("lists", options=TWO_MODELS)

    async def run(self, state: State, ctx: CallContext) -> State:
        return state


class Rewrites(Lists):
    kind = ComponentType("rewrites", replaces=True, reads_critiques=True)


class Tests(ContextComponent):
    __test__ = False
    kind = ComponentType("tests", writes_tests="statements")

    async def prepare(self, conversation: Conversation, ctx: CallContext) -> Mapping[str, Any]:
        return {"tests": ("one",)}


def plan_layers(*layers: Mapping[str, Any]) -> Plan:
    return plan(load_architecture({"layers": [GENERATE, *layers]}), prices=PRICES)


@pytest.mark.parametrize(("name", "rounds"), [("Makes", 2), ("Scores", 3), ("Lists", 1)])
def test_every_declared_model_is_called(name: str, rounds: int) -> None:
    before = [{f"{HERE}:Tests": "a/x"}] if name == "Scores" else []
    one = plan_layers(*before, {f"{HERE}:{name}": "a/x"}).layers[-1]
    two = plan_layers(*before, {f"{HERE}:{name}": {"model": "a/x", "second": "b/y"}}).layers[-1]
    assert one.calls == (rounds, rounds) and two.calls == (2 * rounds, 2 * rounds)
    assert two.dollars == (pytest.approx(11 * one.dollars[0]), pytest.approx(11 * one.dollars[1]))  # type: ignore[index]


class Seldom(Lists):
    """Asks its second model only now and then, which its tokens leave out."""

    kind = replace(Lists.kind, name="seldom")

    def count_calls(self, candidates: CountRange) -> CountRange:
        return 1, 1


def test_dollars_are_unknown_where_a_further_model_has_no_price() -> None:
    known = plan_layers({f"{HERE}:Seldom": {"model": "a/x", "second": "b/y"}})
    unknown = plan_layers({f"{HERE}:Seldom": {"model": "a/x", "second": "c/z"}})
    assert known.dollars is not None and unknown.dollars is None and unknown.unpriced == ("c/z",)


def test_calls_that_wait_for_one_another_are_rounded_up() -> None:
    layers = plan_layers({f"{HERE}:Uneven": {"model": "a/x", "samples": 2}}).layers
    assert layers[1].finished == layers[0].finished + 2


def test_a_generator_replaces_the_candidates_without_saying_so() -> None:
    with pytest.raises(ArchitectureError, match="rule 3"):
        plan_layers({"critic": "a/x"}, {f"{HERE}:Makes": "a/x"}, {"ranker": "a/x"})
    (spec,) = load_architecture(
        {"layers": [GENERATE, {f"{HERE}:Makes": {"model": "a/x", "temperature": None}}]}
    ).layers[1]
    filled = _fill_settings(spec, replace(spec.settings, temperature=0.25))
    assert filled.settings.temperature == 0.25


def test_critiques_are_gone_where_the_candidates_are_replaced() -> None:
    critic, rewrites, ranker = {"critic": "a/x"}, {f"{HERE}:Rewrites": "a/x"}, {"ranker": "a/x"}
    with_critiques = plan_layers(critic, {f"{HERE}:Lists": "a/x"}, ranker).layers[-1].usage[1]
    without = plan_layers(ranker).layers[-1].usage[1]
    assert with_critiques.input_tokens == without.input_tokens + 3 * TokenAssumptions().critique
    assert plan_layers(critic, rewrites, ranker).layers[-1].usage[1] == without


def test_tests_that_nobody_counted_are_planned() -> None:
    counted = plan_layers(
        {"unit_test_generator": {"model": "a/x", "max_tests": DEFAULT_TESTS}}, {"unit_test_evaluator": "a/x"}
    )
    own = plan_layers({f"{HERE}:Tests": "a/x"}, {"unit_test_evaluator": "a/x"})
    assert own.layers[-1].usage == counted.layers[-1].usage


class Enough(Scores):
    """Stops at once, without an option of that name being set."""

    kind = ComponentType("enough", filters=True, options={"stop_after": int_option(1)})


@pytest.mark.parametrize(
    ("component", "cancels"), [({f"{HERE}:Enough": "sim/gpt-4o"}, True), ({"fuser": "sim/gpt-4o"}, False)]
)
def test_the_client_is_told_of_cancelled_calls(monkeypatch: Any, component: Any, cancels: bool) -> None:
    told: dict[str, Any] = {}

    def build(models: Any, **options: Any) -> Any:
        told.update(options)
        return build_client(models, **options)

    monkeypatch.setattr("archon_eval.integrations.build.build_client", build)
    build_engine({"layers": [{"generator": "sim/gpt-4o"}, component]}, None)
    assert told["cancels"] is cancels
