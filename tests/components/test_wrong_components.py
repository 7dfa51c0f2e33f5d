"""A component of one's own that is wrong is told with its layer and kind, before anything is paid where that can be."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.components import (
    CandidateGenerator,
    CandidateScorer,
    ComponentOption,
    ComponentSpec,
    ComponentType,
    ContextComponent,
    ListComponent,
    build_component,
    int_option,
)
from archon_eval.components.component import Component
from archon_eval.engine.plan import plan
from archon_eval.errors import ArchitectureError

HERE = __name__
GENERATE = {"generator": ["a/x", "a/y"]}
FREE = ComponentType("free", needs_model=False)


class Right(ListComponent):
    kind = FREE

    async def run(self, state: Any, ctx: Any) -> Any:
        return state


class Unfinished(ListComponent):
    kind = FREE


class NoShape(Component):
    kind = FREE


class NoSpec(Right):
    def __init__(self) -> None:
        pass


class OptionIsNumber(Right):
    kind = replace(FREE, options={"keep": 1})  # type: ignore[dict-item]


class OptionsAreList(Right):
    kind = replace(FREE, options=["keep"])  # type: ignore[arg-type]


class PromptIsText(Right):
    kind = replace(FREE, prompts={"ask": "{query}"})  # type: ignore[dict-item]


class Nowhere(Right):
    kind = replace(FREE, place="last")  # type: ignore[arg-type]


class NoStandIn(Right):
    kind = replace(FREE, stand_in="rankr")


class TakenName(Right):
    kind = replace(FREE, options={"reask": int_option(1)})


class NoType(Right):
    @classmethod
    def describe_type(cls, spec: ComponentSpec) -> Any:
        return "free"


class TypeFails(Right):
    @classmethod
    def describe_type(cls, spec: ComponentSpec) -> Any:
        raise KeyError("x")


class ConflictsFail(Right):
    @classmethod
    def check_options(cls, spec: ComponentSpec) -> Any:
        raise KeyError("x")


class CheckFails(Right):
    kind = replace(FREE, options={"keep": ComponentOption(1, "a number", lambda value: value > 0)})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Unfinished", "does not define run"),
        ("NoShape", "does not subclass CandidateGenerator, CandidateScorer, ListComponent or ContextComponent"),
        ("NoSpec", "its __init__ must take the spec"),
        ("OptionIsNumber", "option 'keep' that is no ComponentOption, but 1"),
        ("OptionsAreList", "`options` are no mapping"),
        ("PromptIsText", "prompt 'ask' that is no PromptFields"),
        ("Nowhere", "place 'last': it must be first or later"),
        ("NoStandIn", "unknown stand_in 'rankr'; did you mean 'ranker'"),
        ("TakenName", "option 'reask': every component has that key already"),
        ("NoType", "describe_type .* must return a ComponentType, not str"),
        ("TypeFails", "describe_type .* fails: KeyError"),
        ("ConflictsFail", "check_options .* fails: KeyError"),
        ("CheckFails", "`keep` cannot be checked, 'many' makes the component's own check fail: TypeError"),
    ],
)
def test_a_wrong_class_is_told_when_the_architecture_is_read(name: str, says: str) -> None:
    own: Mapping[str, Any] = {"keep": "many"} if name == "CheckFails" else {}
    with pytest.raises(ArchitectureError, match=f"layer 2.*{says}") as caught:
        load_architecture({"layers": [GENERATE, {f"{HERE}:{name}": own}]})
    assert f"{HERE}:{name}" in str(caught.value)


class InitFails(Right):
    def __init__(self, spec: ComponentSpec) -> None:
        self.first = self.spec


class OneCount(Right):
    def count_calls(self, candidates: Any) -> Any:
        return 1


class Negative(Right):
    def count_calls(self, candidates: Any) -> Any:
        return -1, 1


class Floats(Right):
    def count_survivors(self, candidates: Any) -> Any:
        return 0.5, 1.0


class CountFails(Right):
    def count_parsed_calls(self, candidates: Any) -> Any:
        return candidates["most"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("InitFails", "cannot be built: AttributeError"),
        ("OneCount", "count_calls must return .least, most., two whole numbers of at least 0, not int"),
        ("Negative", "count_calls must return"),
        ("Floats", "count_survivors must return"),
        ("CountFails", "count_parsed_calls fails: TypeError"),
    ],
)
def test_a_wrong_count_is_told_by_the_plan(name: str, says: str) -> None:
    architecture = load_architecture({"layers": [GENERATE, {f"{HERE}:{name}": {}}]})
    with pytest.raises(ArchitectureError, match=f"layer 2.*{HERE}:{name}.*{says}"):
        plan(architecture)


def test_a_number_of_candidates_that_is_none() -> None:
    with pytest.raises(ArchitectureError, match=r"layer 1: candidate_count .* must be a whole number, not 'two'"):
        build_component(ComponentSpec(f"{HERE}:Several", "a/x"), "layer 1")


class Several(CandidateGenerator):
    kind = ComponentType("several")
    candidate_count = "two"  # type: ignore[assignment]

    async def produce(self, state: Any, id: str, draw: int, ctx: Any) -> Any:
        return None


class MakesText(CandidateGenerator):
    kind = FREE

    async def produce(self, state: Any, id: str, draw: int, ctx: Any) -> Any:
        return "text"


class JudgesNothing(CandidateScorer):
    kind = FREE

    async def judge(self, state: Any, candidate: Any, ctx: Any) -> Any:
        return None


class ArrangesNothing(CandidateScorer):
    kind = FREE
    sorts = True

    async def judge(self, state: Any, candidate: Any, ctx: Any) -> Any:
        return candidate

    def arrange(self, candidates: Any) -> Any:
        return None


class RunsNothing(ListComponent):
    kind = FREE

    async def run(self, state: Any, ctx: Any) -> Any:
        return state.candidates


class RunsTexts(ListComponent):
    kind = FREE

    async def run(self, state: Any, ctx: Any) -> Any:
        return replace(state, candidates=("text",))


class PreparesNothing(ContextComponent):
    kind = FREE

    async def prepare(self, conversation: Any, ctx: Any) -> Any:
        return None


class ReadsUndeclared(Right):
    kind = replace(FREE, options={"keep": int_option(1)})

    async def run(self, state: Any, ctx: Any) -> Any:
        return self.spec.get_option("kept")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("MakesText", "produce must return a Candidate, not str .'text'"),
        ("JudgesNothing", "judge must return a Candidate, not None"),
        ("ArrangesNothing", "arrange must return a tuple of Candidates, not None"),
        ("RunsNothing", "run must return a State, not tuple"),
        ("RunsTexts", "run must return a State whose candidates are Candidates"),
        ("PreparesNothing", "prepare must return a mapping of entries for State.values, not None"),
    ],
)
def test_a_wrong_return_value_is_told_with_its_component(run: Any, name: str, says: str) -> None:
    with pytest.raises(ArchitectureError, match=rf"layer 2 \({HERE}:{name}\): {says}"):
        run([GENERATE, {f"{HERE}:{name}": {}}, {"fuser": "a/x"}], lambda call: "a")


def test_an_undeclared_option_is_told_with_the_declared_ones(run: Any) -> None:
    with pytest.raises(ArchitectureError, match=r"ReadsUndeclared reads option 'kept', .*not declare \(keep\)"):
        run([GENERATE, {f"{HERE}:ReadsUndeclared": {}}], lambda call: "a")
