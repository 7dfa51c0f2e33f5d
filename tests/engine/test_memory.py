"""What a question's calls keep: little when finished, no task before their turn, nothing at the end."""

import asyncio
import gc
import json
import subprocess
import sys
import weakref
from collections.abc import Iterator
from functools import partial

import anyio
import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.engine.engine import Engine
from archon_eval.engine.job_window import BLOCK, Job, JobWindow
from archon_eval.models.call import Call, Reply, Usage
from archon_eval.types import Message

CONVERSATION = (Message("user", "What is 2 + 2?"),)

GROWTH = """
import asyncio, gc, json, sys, tracemalloc
from archon_eval.architecture.load import load_architecture
from archon_eval.engine.engine import Engine
from archon_eval.engine.trace import Answer
from archon_eval.models.call import Reply, Usage
from archon_eval.models.client import ModelClient
from archon_eval.types import Message

TEXT = "x" * 500
held = {}

class Sender:
    def __init__(self, samples):
        self.samples, self.asked = samples, 0
    async def __call__(self, call):
        self.asked += 1
        if self.asked == self.samples:  # all others are finished, and the question is not
            for _ in range(50):
                await asyncio.sleep(0)
            gc.collect()
            held[self.samples] = tracemalloc.get_traced_memory()[0]
        return Reply(f"{TEXT}{call.draw}", usage=Usage(100, 25), seconds=0.1)

def run(samples):
    layers = [{"generator": {"model": "$1", "samples": samples}}, {"fuser": "$1"}]
    engine = Engine(load_architecture({"name": "a", "layers": layers}, ["sim/gpt-4o"]), ModelClient(Sender(samples)))
    asyncio.run(engine.run((Message("user", "What is 2 + 2?"),)))

run(100)
tracemalloc.start()
run(1000)
run(5000)
print(json.dumps((held[5000] - held[1000]) / 4000))
"""


def test_a_finished_call_keeps_at_most_2_kilobytes() -> None:
    """Its text of 500 characters included; the slope over the calls of a question, so no start counts."""
    done = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)
    assert 500 < json.loads(done.stdout) < 2000


def test_a_question_that_ended_leaves_nothing() -> None:
    async def run() -> None:
        replies: list[weakref.ref[Text]] = []

        async def answer(call: Call) -> Reply:
            text = Text(f"answer {call.draw}")
            replies.append(weakref.ref(text))
            return Reply(text, usage=Usage(1, 1))

        layers = [{"generator": {"model": "$1", "samples": 50}}, {"fuser": "$1"}]
        engine = Engine(load_architecture({"name": "a", "layers": layers}, ["sim/gpt-4o"]), answer)
        await engine.run(CONVERSATION)
        gc.collect()
        assert len(replies) == 51
        assert not [reply for reply in replies if reply() is not None]

    asyncio.run(run())


class Text(str):
    """A text whose end can be seen."""


@pytest.mark.parametrize("size", [2 * BLOCK, 5 * BLOCK])
def test_no_more_jobs_are_under_way_than_have_room(size: int) -> None:
    async def run() -> None:
        window = JobWindow(size)
        under_way, most, done = 0, 0, list[int]()

        async def work(number: int) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await anyio.sleep(0)
            under_way -= 1
            done.append(number)

        await window.run_all(partial(work, number) for number in range(20 * BLOCK))
        assert most <= size
        assert sorted(done) == list(range(20 * BLOCK))
        assert window.free == size

    asyncio.run(run())


def test_every_layer_goes_on_while_another_has_all_places() -> None:
    async def run() -> None:
        window, release = JobWindow(2 * BLOCK), anyio.Event()

        async def release_others() -> None:
            release.set()

        async with anyio.create_task_group() as group:
            group.start_soon(window.run_all, [release.wait] * (4 * BLOCK))
            await anyio.wait_all_tasks_blocked()
            await window.run_all([_nothing] * (3 * BLOCK) + [release_others])
        assert window.free == 2 * BLOCK

    asyncio.run(run())


async def _nothing() -> None:
    pass


@pytest.mark.parametrize("waits_first", [True, False])
def test_places_come_back_after_an_error_and_a_cancellation(waits_first: bool) -> None:
    async def run() -> None:
        window = JobWindow(2 * BLOCK)

        async def fail() -> None:
            raise ValueError("this job")

        def create_jobs() -> Iterator[Job]:
            yield anyio.sleep_forever if waits_first else fail
            yield fail
            for _ in range(10 * BLOCK):
                yield anyio.sleep_forever

        with pytest.raises(BaseExceptionGroup):
            await window.run_all(create_jobs())
        assert window.free == 2 * BLOCK
        with anyio.move_on_after(0):
            await window.run_all([anyio.sleep_forever] * 10 * BLOCK)
        assert window.free == 2 * BLOCK

    asyncio.run(run())


def test_all_candidates_of_a_filter_are_judged_where_there_are_more_than_places() -> None:
    """None passes, so that each waits for the last verdict, and all go on."""

    async def run() -> None:
        samples = 3 * BLOCK

        async def answer(call: Call) -> Reply:
            await anyio.sleep(0)
            return Reply("[Incorrect]" if "verif" in str(call.messages).lower() else f"answer {call.draw}")

        layers = [{"generator": {"model": "$1", "samples": samples}}, {"verifier": "$1"}]
        engine = Engine(load_architecture({"name": "a", "layers": layers}, ["sim/gpt-4o"]), answer)
        engine._window = JobWindow(BLOCK)
        result = await engine.run(CONVERSATION)
        assert len(result.candidates) == samples
        assert engine._window.free == BLOCK

    asyncio.run(run())
