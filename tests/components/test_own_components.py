"""A component of one's own in each of the four shapes, with state of its own, through the engine."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archon_eval.components import (
    CallContext,
    CandidateGenerator,
    CandidateScorer,
    ComponentType,
    ContextComponent,
    ListComponent,
    int_option,
    make_user_prompt,
)
from archon_eval.errors import ArchitectureError
from archon_eval.models.call import Call
from archon_eval.types import Candidate, Conversation, State

HERE = __name__


class Hint(ContextComponent):
    """Leaves a hint in the state for later layers."""

    kind = ComponentType("hint")

    async def prepare(self, conversation: Conversation, ctx: CallContext) -> Mapping[str, Any]:
        reply = await ctx.generate("hint", conversation)
        return {"hint": reply.text if reply else ""}


class Length(CandidateScorer):
    """Scores by length, keeps those of at least so many characters, longest first; needs no model."""

    kind = ComponentType("length", needs_model=False, filters=True, options={"least": int_option(1)})
    sorts = True

    async def judge(self, state: State, candidate: Candidate, ctx: CallContext) -> Candidate:
        ctx.record_event("measured", f"{len(candidate.text)} with {state.values.get('hint')}", candidate.id)
        return replace(candidate, values={**candidate.values, "length": len(candidate.text)})

    def passes(self, candidate: Candidate) -> bool:
        return bool(candidate.values["length"] >= self.spec.get_option("least"))

    def arrange(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        kept = tuple(filter(self.passes, candidates)) or candidates
        return tuple(sorted(kept, key=lambda c: -c.values["length"]))


class Counting(ListComponent):
    """Turns the order round and counts, across questions and within one."""

    kind = ComponentType("counting", needs_model=False)

    def __init__(self, spec: Any) -> None:
        super().__init__(spec)
        self.questions = 0

    async def run(self, state: State, ctx: CallContext) -> State:
        self.questions += 1
        values = {**state.values, "questions": self.questions, "seen": len(state.candidates)}
        return replace(state, candidates=tuple(reversed(state.candidates)), values=values)


class Quoter(CandidateGenerator):
    """Makes one candidate out of all, reading what earlier layers left."""

    kind = ComponentType("quoter", replaces=True, options={"samples": int_option(2)})

    async def produce(self, state: State, id: str, draw: int, ctx: CallContext) -> Candidate | None:
        text = f"{state.values['hint']}/{state.values['seen']}/{'+'.join(c.id for c in state.candidates)}"
        reply = await ctx.generate("quote", make_user_prompt(text), draw=draw, about=id)
        return Candidate(id, reply.text, self.spec.model) if reply else None


def layers(samples: int, least: int) -> list[dict[str, Any]]:
    return [
        {"generator": {"model": "made/g", "samples": samples}},
        {f"{HERE}:Hint": "made/h"},
        {f"{HERE}:Length": {"least": least}},
        {f"{HERE}:Counting": {}},
        {f"{HERE}:Quoter": {"model": "made/q"}},
    ]


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5), least=st.integers(1, 9))
def test_every_shape_with_its_own_state(run: Any, lengths: list[int], least: int) -> None:
    def script(call: Call) -> str:
        if call.model == "made/g":
            return "x" * lengths[call.draw]
        return "HINT" if call.model == "made/h" else f"{call.draw}:{call.messages[0].content}"

    answer, caller = run(layers(len(lengths), least), script)
    kept = [n for n, length in enumerate(lengths) if length >= least] or list(range(len(lengths)))
    order = [f"1.{n + 1}" for n in sorted(kept, key=lambda n: -lengths[n])][::-1]
    expected = f"HINT/{len(kept)}/{'+'.join(order)}"
    assert [(c.id, c.text) for c in answer.candidates] == [("5.1", f"0:{expected}"), ("5.2", f"1:{expected}")]
    assert len(caller.calls) == len(lengths) + 3
    assert [c.values["length"] for c in answer.trail.layers[3].candidates] == [lengths[int(i[2:]) - 1] for i in order]
    measured = {note.about: note.detail for note in answer.trail.notes if note.what == "measured"}
    assert measured == {f"1.{n + 1}": f"{length} with HINT" for n, length in enumerate(lengths)}
    assert ("unfiltered" in answer.trail.counts) == (max(lengths) < least)


def test_a_component_outlives_a_question() -> None:
    from archon_eval.architecture.load import load_architecture
    from archon_eval.engine.engine import Engine
    from archon_eval.models.call import Reply
    from archon_eval.types import Message

    async def caller(call: Call) -> Reply:
        return Reply("a")

    engine = Engine(load_architecture({"layers": layers(2, 1)[:4]}), caller)

    async def ask() -> list[int]:
        answers = [await engine.run((Message("user", "q"),)) for _ in range(3)]
        return [answer.trail.layers[3].values["questions"] for answer in answers]

    assert asyncio.run(ask()) == [1, 2, 3]


class NoComponent:
    """Has a kind, but none of the shapes."""

    kind = ComponentType("none", needs_model=False)


def test_a_class_of_no_shape_is_refused(run: Any) -> None:
    with pytest.raises(
        ArchitectureError, match="CandidateGenerator, CandidateScorer, ListComponent or ContextComponent"
    ):
        run([{"generator": "made/g"}, {f"{HERE}:NoComponent": {}}], lambda call: "a")
