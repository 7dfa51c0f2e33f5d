"""Sampling in rounds on a clock that jumps: how many are drawn, when, with which draws, and what is said of it."""

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
from clock import run_virtual

from archon_eval.architecture.load import load_architecture
from archon_eval.engine.engine import Engine
from archon_eval.engine.trace import Answer
from archon_eval.errors import ModelError
from archon_eval.models.call import Call, Reply, Usage
from archon_eval.types import Message

QUESTION = (Message("user", "What is 6 x 7?"),)


class Numbers:
    """Answers the k-th draw with the k-th number, in one second; verdicts by the number that they are about."""

    def __init__(self, numbers: Sequence[Any], right: Callable[[str], bool] = lambda text: True) -> None:
        self.numbers, self.right, self.calls = numbers, right, list[Call]()

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        await anyio.sleep(1)
        text = call.messages[-1].content
        if "[Correct]" in text:
            return Reply("[Correct]" if self.right(text) else "[Incorrect]", usage=Usage(1, 1), seconds=1)
        if text != QUESTION[0].content:
            return Reply("It may be right.", usage=Usage(1, 1), seconds=1)
        number = self.numbers[call.draw % len(self.numbers)]
        if number is None:
            raise ModelError("gone")
        cut = number == "cut"
        body = "So far: 4" if cut else f"The answer is {number}." if number != "" else ""
        return Reply(body, usage=Usage(1, 1), seconds=1, stop_reason="max_tokens" if cut else "stop")

    @property
    def draws(self) -> list[int]:
        return [call.draw for call in self.calls if call.messages == QUESTION]


def run(caller: Numbers, samples: Any, *layers: Any, last_draw: int = 0, **more: Any) -> tuple[Answer, float]:
    own = {"model": "a/x", "samples": samples, **more}
    engine = Engine(load_architecture({"layers": [{"generator": own}, *(layers or [{"vote": {"top_k": 1}}])]}), caller)
    return run_virtual(lambda: engine.run(QUESTION, last_draw=last_draw))


def settled(**more: Any) -> dict[str, Any]:
    return {"min": 3, "max": 40, "stop": "settled", **more}


def list_notes(answer: Answer, layer: int = 1) -> list[tuple[str, str]]:
    return [(note.what, note.detail) for note in answer.trail.notes if note.layer == layer]


@pytest.mark.parametrize(
    ("numbers", "drawn", "rounds"),
    [
        ([7], 4, 2),  # 3 that agree are not enough at 0.95, 4 are
        ([7, 7, 8, 7, 7, 7, 7], 7, 2),  # behind 2 to 1, 4 more can settle it, and do
        ([7, 8, 9, 7, 7, 7, 7, 8, 7, 7, 7], 11, 3),  # 1 to 1, then 5 to 2, which 3 more can settle
        ([7, "", "cut", 7, 7, 7], 6, 2),  # what does not vote settles nothing
        (["7", "$7", "7.0", "7 dollars"], 4, 2),  # one equality with the vote
    ],
)
def test_rounds_go_on_until_the_vote_is_settled(numbers: list[Any], drawn: int, rounds: int) -> None:
    caller = Numbers(numbers)
    answer, seconds = run(caller, settled())
    note, detail = list_notes(answer)[-1]
    assert (len(caller.draws), seconds) == (drawn, rounds) and "7" in answer.text
    assert sorted(caller.draws) == list(range(drawn))  # the draws of a plain `samples: 40`
    assert note == "sampled" and detail.startswith(
        f"{drawn} of at most 40 candidates drawn, in {rounds} rounds: settled"
    )
    assert len(answer.trail.layers[0].candidates) == drawn and "dropped" not in answer.trail.counts


def test_no_sample_is_drawn_that_one_at_a_time_would_have_saved() -> None:
    import random

    for seed in range(60):
        numbers = random.Random(seed).choices([1, 2, 3], weights=[5, 3, 1], k=40)
        rounds, one_by_one = Numbers(numbers), Numbers(numbers)
        _, quick = run(rounds, settled(min=1))
        answer, slow = run(one_by_one, settled(min=1, step=1))
        assert rounds.draws == one_by_one.draws
        assert slow == len(one_by_one.draws) and quick <= slow
        assert list_notes(answer)[0][0] in ("sampled", "unsettled")


def test_a_vote_that_is_never_settled_takes_all_and_says_so() -> None:
    caller = Numbers([7, 8])
    answer, _ = run(caller, settled(max=11))
    assert len(caller.draws) == 11
    [(note, detail)] = list_notes(answer)
    assert note == "unsettled" and "11 of at most 11" in detail and "0.613, below 0.95" in detail


def test_a_lead_that_the_rest_cannot_change_ends_it() -> None:
    caller = Numbers([7, 7, 7, 8, 8])
    answer, _ = run(caller, settled(max=5))
    assert len(caller.draws) == 3 and "the 2 that are left cannot change it" in list_notes(answer)[0][1]
    silent, _ = run(Numbers([""]), settled(max=5))  # no candidate votes: nothing is settled
    assert list_notes(silent)[-1][0] == "unsettled"


def test_a_step_of_ones_own_is_a_round() -> None:
    caller = Numbers([7, 8, 7, 7, 7, 7, 7, 7])
    _, seconds = run(caller, settled(step=10))
    assert (len(caller.draws), seconds) == (13, 2)


def test_dropped_draws_count_as_drawn_and_do_not_vote() -> None:
    caller = Numbers([7, None, 7, 7, None, 7])
    answer, _ = run(caller, settled(), on_error="drop")
    assert len(caller.draws) == 6 and answer.trail.counts["dropped"] == 2
    with pytest.raises(ModelError, match="no candidate left, every call failed"):
        run(Numbers([None]), settled(max=6), on_error="drop")
    with pytest.raises(ModelError, match="gone"):
        run(Numbers([7, 7, 7, None]), settled())


def test_several_generators_settle_together_and_keep_their_draws() -> None:
    layer = [{"model": "a/x", "samples": settled(min=1, max=6)}, "a/x", {"model": "b/y", "samples": settled(min=1)}]
    caller = Numbers([7])
    engine = Engine(load_architecture({"layers": [{"generator": layer}, {"vote": {}}]}), caller)
    answer, seconds = run_virtual(lambda: engine.run(QUESTION))
    assert [(call.model, call.draw) for call in caller.calls] == [("a/x", 0), ("a/x", 6), ("b/y", 0), ("a/x", 1)]
    assert [candidate.id for candidate in answer.trail.layers[0].candidates] == ["1.1", "1.2", "1.7", "1.8"]
    assert seconds == 2


def test_last_draws_are_of_the_layer_that_draws_in_rounds() -> None:
    caller = Numbers([7])
    run(caller, settled(), last_draw=2)
    assert len({call.epoch for call in caller.calls}) == 1 and caller.calls[0].epoch != 1


def passing(**more: Any) -> dict[str, Any]:
    return {"min": 2, "max": 12, "stop": "passes", **more}


@pytest.mark.parametrize(
    ("needed", "drawn", "seconds"),
    [(1, 8, 9.0), (2, 12, 12.0)],  # rounds of 2, 2, 4 and 4, each with its own call and the verifier's two
)
def test_rounds_go_on_until_enough_passed_the_filter(needed: int, drawn: int, seconds: float) -> None:
    caller = Numbers([5, 5, 5, 5, 5, 5, 7, 5, 5, 5], right=lambda text: "The answer is 7." in text)
    answer, took = run(caller, passing(passes=needed), {"verifier": "a/v"})
    assert (len(caller.draws), took, answer.text) == (drawn, seconds, "The answer is 7.")
    [(note, detail)] = list_notes(answer)
    assert (note, f"1 passed, of {needed} wanted" in detail) == ("sampled" if needed == 1 else "unpassed", True)


def test_none_passes_so_all_go_on_as_ever() -> None:
    caller = Numbers([5], right=lambda text: False)
    answer, _ = run(caller, passing(), {"verifier": "a/v"})
    assert len(answer.candidates) == len(caller.draws) == 12
    assert list_notes(answer)[0][0] == "unpassed" and list_notes(answer, 2)[0][0] == "unfiltered"


def test_a_filter_that_stops_early_ends_the_rounds() -> None:
    caller = Numbers([7])
    answer, _ = run(caller, passing(min=6, passes=2), {"verifier": {"model": "a/v", "stop_after": 2}})
    assert len(caller.draws) == 6 and len(answer.candidates) == 2


def test_a_later_filter_that_has_enough_ends_the_rounds_too() -> None:
    later = [{"verifier": "a/v"}, {"verifier": {"model": "b/v", "stop_after": 1}}]
    caller = Numbers([7, 5], right=lambda text: "The answer is 7." in text)
    answer, _ = run(caller, passing(min=2, passes=4), *later)
    assert len(answer.candidates) == 1 and len(caller.draws) < 12
    assert "a later layer has enough" in list_notes(answer)[0][1]


def test_failed_draws_are_judged_by_nobody_and_end_nothing() -> None:
    caller = Numbers([None, None, 5, 7], right=lambda text: "The answer is 7." in text)
    answer, _ = run(caller, passing(), {"verifier": "a/v"}, on_error="drop")
    assert answer.text == "The answer is 7." and len(caller.draws) == 4


def test_unit_tests_that_are_written_beside_do_not_hold_up_the_rounds() -> None:
    class Tested(Numbers):
        async def __call__(self, call: Call) -> Reply:
            text = call.messages[-1].content
            if "list of strings" in text:
                await anyio.sleep(3)
                return Reply('["It is a number."]', usage=Usage(1, 1))
            if "Unit Test #1" in text:
                return Reply(f"Unit Test #1: [{'Passed' if 'is 7.' in text else 'Failed'}]", usage=Usage(1, 1))
            return await super().__call__(call)

    caller = Tested([5, 5, 5, 7])
    tests = [{"unit_test_generator": "a/t"}, {"unit_test_evaluator": "a/e"}]
    answer, _ = run(caller, passing(), *tests)
    assert [candidate.text for candidate in answer.candidates] == ["The answer is 7."]
    assert len(caller.draws) == 4
