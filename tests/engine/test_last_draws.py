"""Several draws of the last layer: it alone is asked anew, with draws and seeds that nothing else has."""

from collections import Counter
from typing import Any

import anyio
import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.engine.call_context import offset_seed
from archon_eval.engine.engine import Engine
from archon_eval.engine.plan import plan
from archon_eval.models.call import Call, Reply, Usage
from archon_eval.models.draw import LAST_DRAW_STRIDE, number_last_draw, split_epoch
from archon_eval.types import Message

QUESTION = (Message("user", "What is 6 x 7?"),)
GENERATORS = {"generator": ["a/x", "a/y"]}


class Recorder:
    """Answers verdicts badly, so that they are asked for again, and everything else with its call's numbers."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        return Reply(f"{call.model} {call.draw} {call.epoch}", usage=Usage(1, 1))


def run(*layers: Any, epoch: int = 1, last_draw: int = 0) -> list[Call]:
    recorder = Recorder()
    engine = Engine(load_architecture({"layers": list(layers)}), recorder)
    anyio.run(lambda: engine.run(QUESTION, epoch, last_draw=last_draw))
    return recorder.calls


def count_epochs(calls: list[Call]) -> dict[int, int]:
    return dict(Counter(call.epoch for call in calls))


@pytest.mark.parametrize(
    ("last", "earlier", "again"),
    [
        ([{"fuser": "a/f"}], 2, 1),
        ([{"fuser": ["a/f", "a/g"]}, {"fuser": "a/f"}], 4, 1),
        ([{"fuser": ["a/f", "a/g"]}, {"vote": {}}], 2, 2),
        ([{"ranker": {"model": "a/r", "max_parse_retries": 2}}], 2, 3),
        ([{"verifier": {"model": "a/v", "max_parse_retries": 1}}, {"vote": {}}], 2, 6),
        ([], 0, 2),
    ],
)
def test_the_last_layer_that_asks_a_model_is_asked_anew_with_its_re_asks(last: Any, earlier: int, again: int) -> None:
    calls = run(GENERATORS, *last, epoch=3, last_draw=2)
    fresh = number_last_draw(3, 2)
    assert count_epochs(calls) == {3: earlier, fresh: again} if earlier else {fresh: again}
    assert count_epochs(run(GENERATORS, *last, epoch=3)) == {3: earlier + again}


def test_the_first_last_draw_asks_what_is_asked_without() -> None:
    assert run(GENERATORS, {"fuser": "a/f"}, epoch=2) == run(GENERATORS, {"fuser": "a/f"}, epoch=2, last_draw=0)


def test_seeds_and_epochs_of_last_draws_are_nobody_elses() -> None:
    epochs = [1 + set + 1_000_000 * again for set in range(99) for again in range(9)]
    numbered = [number_last_draw(epoch, draw) for epoch in epochs for draw in range(20)]
    seeds = {offset_seed(0, draw, epoch) for epoch in numbered for draw in range(0, 1000, 333)}
    assert len({*numbered}) == len(numbered) and len(seeds) == 4 * len(numbered) and max(seeds) < 2**31
    seeded = run({"generator": {"model": "a/x", "seed": 7}}, epoch=2, last_draw=3)
    assert [call.settings.seed for call in seeded] == [301_000_007]


def test_epochs_of_a_harness_are_sets_of_draws_with_their_last_draws() -> None:
    assert [split_epoch(epoch, 1) for epoch in (1, 2, 3)] == [(0, 0), (1, 0), (2, 0)]
    assert [split_epoch(epoch, 3) for epoch in (1, 3, 4, 7)] == [(0, 0), (0, 2), (1, 0), (2, 0)]
    assert number_last_draw(5, 1) - 5 == LAST_DRAW_STRIDE


def test_a_plan_says_which_layer_is_the_last() -> None:
    def find(*layers: Any) -> tuple[int, tuple[int, int], int] | None:
        layer = plan(load_architecture({"layers": list(layers)})).last_layer
        return None if layer is None else (layer.number, layer.calls, layer.reasks)

    assert find(GENERATORS, {"fuser": "a/f"}) == (2, (1, 1), 0)
    assert find(GENERATORS, {"fuser": ["a/f", "a/g"]}, {"vote": {}}) == (2, (2, 2), 0)
    assert find(GENERATORS, {"ranker": {"model": "a/r", "max_parse_retries": 2}}) == (2, (1, 1), 2)
    tests = {"unit_test_generator": {"model": "a/t", "form": "input_output"}}
    assert find(GENERATORS, tests, {"unit_test_evaluator": {"execute": "sandbox"}}) == (2, (1, 1), 2)
