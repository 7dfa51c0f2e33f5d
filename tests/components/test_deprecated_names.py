"""A component written against the documentation of the last release still runs, and is told the new names."""

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from archon_eval import _deprecated
from archon_eval.architecture.load import load_architecture
from archon_eval.engine.plan import plan
from archon_eval.errors import SandboxError

OLD = """
from dataclasses import replace

from archon_eval.candidates import Candidate, State
from archon_eval.components.base import Desk, Judge, Producer, Side, Whole, user
from archon_eval.errors import ParseError, SandboxError
from archon_eval.kinds import Kind, choice, flag, maybe, whole


class Rating(Judge):
    kind = Kind("rating", options={"keep": whole(1), "all": flag(False), "how": choice("a", "b"), "x": maybe("y")})
    sorts = True

    async def judge(self, state: State, candidate: Candidate, desk: Desk) -> Candidate:
        said = await desk.say("say", user(candidate.text), about=candidate.id)
        rating = await desk.ask("rate", user("rate"), read, fallback="the candidate comes last", about=candidate.id)
        desk.note("rated", f"{said.text} {rating}", candidate.id)
        return replace(candidate, values={**candidate.values, "rating": rating or 0})

    def arrange(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        best = sorted(candidates, key=lambda candidate: -candidate.values["rating"])
        return tuple(best[: self.spec.option("keep")])

    def calls(self, candidates: tuple[int, int]) -> tuple[int, int]:
        return 2 * candidates[0], 2 * candidates[1]

    def survivors(self, candidates: tuple[int, int]) -> tuple[int, int]:
        least, most = super().survivors(candidates)
        return min(least, self.spec.option("keep")), min(most, self.spec.option("keep"))


class Refuses(Whole):
    kind = Kind("refuses", needs_model=False)

    async def run(self, state: State, desk: Desk) -> State:
        return state

    def check(self) -> None:
        raise SandboxError("not here")


def read(reply: str) -> int:
    if not reply.isdigit():
        raise ParseError(reply)
    return int(reply)
"""


@pytest.fixture
def old_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[warnings.WarningMessage]:
    """The module of the old documentation, imported; what was warned meanwhile."""
    (tmp_path / "old_rating.py").write_text(OLD)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "old_rating", raising=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import old_rating  # noqa: F401
    return caught


def test_the_old_documented_component_runs(run: Any, old_module: list[warnings.WarningMessage]) -> None:
    layers = [{"generator": {"model": "m/g", "samples": 3}}, {"old_rating:Rating": "m/r"}]
    with pytest.warns(DeprecationWarning) as caught:
        answer, caller = run(layers, lambda call: "7" if call.messages[0].content == "rate" else f"text {call.draw}")
    assert [candidate.values for candidate in answer.candidates] == [{"rating": 7}]
    assert answer.trail.counts == {"rated": 3} and len(caller.calls) == 3 + 6
    planned = plan(load_architecture({"layers": layers})).layers[1]
    assert planned.calls == (6, 6) and planned.candidates == (1, 1) and planned.finished == 3
    told = {str(warning.message).split(";")[0] for warning in caught}
    assert "EngineCallContext.say is now generate" in told and "ComponentSpec.option is now get_option" in told
    with pytest.raises(SandboxError, match="not here"):
        run([{"generator": "m/g"}, {"old_rating:Refuses": {}}], lambda call: "a")


def test_every_old_name_is_told_with_its_new_one_where_it_is_used(old_module: list[warnings.WarningMessage]) -> None:
    told = {str(warning.message).split(";")[0]: Path(warning.filename).name for warning in old_module}
    assert set(told.values()) == {"old_rating.py"}
    for old, new in (
        ("archon_eval.candidates.State", "archon_eval.types.State"),
        ("archon_eval.components.base.Whole", "archon_eval.components.base.ListComponent"),
        ("archon_eval.components.base.user", "archon_eval.components.prompt_parts.make_user_prompt"),
        ("archon_eval.kinds.Kind", "archon_eval.architecture.component_types.ComponentType"),
        ("Rating.survivors", "count_survivors"),
        ("Refuses.check", "check_requirements"),
    ):
        assert f"{old} is now {new}" in told


def test_a_name_that_never_was_is_no_attribute() -> None:
    find = _deprecated.deprecated_getattr("archon_eval.kinds", {"Kind": "archon_eval.components:ComponentType"})
    with pytest.raises(AttributeError, match=r"'archon_eval\.kinds' has no attribute 'Kinds'"):
        find("Kinds")


def test_new_names_are_used_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from archon_eval.components import ComponentType, ListComponent

        class Quiet(ListComponent):
            kind = ComponentType("quiet", needs_model=False)

            async def run(self, state: Any, ctx: Any) -> Any:
                return state

            def count_survivors(self, candidates: tuple[int, int]) -> tuple[int, int]:
                return 1, 1

        assert Quiet.count_survivors(None, (3, 3)) == (1, 1)  # type: ignore[arg-type]
