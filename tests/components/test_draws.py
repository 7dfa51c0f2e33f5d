"""Which draw of a model each sample of a component of one's own asks for: never one that another has asked for."""

from typing import Any

from archon_eval.components import (
    CallContext,
    Candidate,
    CandidateGenerator,
    ComponentType,
    ParseError,
    State,
    int_option,
    model_option,
)
from archon_eval.engine.call_context import ATTEMPT_STRIDE
from archon_eval.models.call import Call

HERE = __name__


class Pair(CandidateGenerator):
    """Asks each of its models for every sample."""

    kind = ComponentType(
        "pair", place="first", alone=False, options={"second": model_option(), "samples": int_option(1)}
    )

    async def produce(self, state: State, id: str, draw: int, ctx: CallContext) -> Candidate | None:
        replies = [
            await ctx.generate("draft", state.conversation, model=model, draw=draw, about=id)
            for model in self.spec.models
        ]
        return Candidate(id, "+".join(reply.text for reply in replies if reply), self.spec.model)


class Parsed(CandidateGenerator):
    """Parses its reply."""

    kind = ComponentType("parsed", place="first", alone=False, options={"samples": int_option(1)})

    async def produce(self, state: State, id: str, draw: int, ctx: CallContext) -> Candidate | None:
        text = await ctx.generate_parsed(
            "draft", state.conversation, parse_reply, fallback="no text", draw=draw, about=id
        )
        return Candidate(id, text or "", self.spec.model)


def parse_reply(reply: str) -> str:
    if reply == "again":
        raise ParseError("not readable")
    return reply


def list_draws(calls: list[Call], model: str) -> list[int]:
    return sorted(call.draw for call in calls if call.model == model)


def test_components_that_share_a_second_model_ask_it_for_other_draws(run: Any) -> None:
    pairs = [{"model": "a/x", "second": "a/z", "samples": 2}, {"model": "a/y", "second": "a/z"}, {"model": "a/z"}]
    answer, caller = run([{f"{HERE}:Pair": pairs}], lambda call: f"{call.model} {call.draw}")
    assert list_draws(caller.calls, "a/z") == [0, 1, 2, 3] and list_draws(caller.calls, "a/x") == [0, 1]
    assert len({candidate.text for candidate in answer.candidates}) == 4


def test_components_with_one_model_count_its_draws_from_zero(run: Any) -> None:
    layer = {f"{HERE}:Pair": [{"model": "a/x", "samples": 2}, "a/y", "a/x"]}
    _, caller = run([layer], lambda call: "text")
    assert list_draws(caller.calls, "a/x") == [0, 1, 2] and list_draws(caller.calls, "a/y") == [0]


def test_samples_of_a_parsed_reply_are_other_draws(run: Any) -> None:
    answer, _ = run([{f"{HERE}:Parsed": {"model": "a/x", "samples": 3}}], lambda call: f"text {call.draw}")
    assert [candidate.text for candidate in answer.candidates] == ["text 0", "text 1", "text 2"]


def test_no_two_calls_for_a_parsed_reply_are_the_same(run: Any) -> None:
    layer = {f"{HERE}:Parsed": {"model": "a/x", "samples": 4, "max_parse_retries": 3}}
    _, caller = run([layer], lambda call: "again")
    assert len(caller.calls) == len(set(caller.calls)) == 4 * 4
    assert list_draws(caller.calls, "a/x")[:7] == [0, 1, 1, 2, 2, 3, 3]  # attempts at draw 0 keep their numbers
    assert list_draws(caller.calls, "a/x")[7] == 1 + ATTEMPT_STRIDE
