"""Architectures from plain Python."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from fakes.server import FakeServer, tokens
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser
from inspect_ai.model._model import _models
from inspect_ai.solver import Generate, TaskState, solver

from archon_eval import Archon
from archon_eval.architecture.component_types import ComponentType
from archon_eval.components.base import CallContext, ListComponent
from archon_eval.errors import ArchitectureError, ModelError
from archon_eval.types import Message, State

TWO = {"layers": [{"generator": ["openai/gpt-4o", "openai/gpt-4-turbo"]}, {"fuser": "openai/gpt-4o"}]}
ONE = {"layers": [{"generator": "openai/gpt-4o"}]}


@pytest.fixture(autouse=True)
def fresh_models() -> None:
    """Inspect keeps models, and with them a server's address, for the process."""
    _models.clear()


def test_an_answer_carries_text_trail_usage_and_cost(fake_server: FakeServer) -> None:
    answer = asyncio.run(Archon(TWO).generate("What is 2 + 2?"))
    assert answer.text.startswith("Answer of gpt-4o ")
    assert sorted(s.model for s in answer.trail.steps) == ["openai/gpt-4-turbo", "openai/gpt-4o", "openai/gpt-4o"]
    sent = [tokens(*(m["content"] for m in r.body["messages"])) for r in fake_server.requests]
    assert (answer.usage.input_tokens, len(answer.candidates)) == (sum(sent), 1)
    assert answer.cost is not None and 0 < answer.cost < 0.01


def test_an_unknown_price_makes_the_cost_unknown_not_zero(fake_server: FakeServer, tmp_path: Path) -> None:
    given = {"layers": [{"generator": "openai/gpt-4-of-tomorrow"}]}
    assert Archon(given).generate_sync("Hello").cost is None
    prices = tmp_path / "prices.yaml"
    prices.write_text("version: mine\nprices: [{models: openai/gpt-4-of-tomorrow, input: 1000000, output: 0}]")
    assert Archon(given, prices=prices).generate_sync("Hello").cost == tokens("Hello")


def test_turns_of_every_kind(fake_server: FakeServer) -> None:
    archon = Archon(ONE)
    archon.generate_sync([{"role": "system", "content": "S"}, Message("user", "U"), ChatMessageUser(content="V")])
    sent = [(m["role"], m["content"]) for m in fake_server.requests[0].body["messages"]]
    assert sent == [("system", "S"), ("user", "U"), ("user", "V")]
    for bad in ({"role": "bot", "content": "x"}, {"role": "user", "content": ["x"]}, {"role": "user"}, "text"):
        with pytest.raises(ModelError, match="message 1 must be"):
            archon.generate_sync([bad])  # type: ignore[list-item]
    with pytest.raises(ModelError, match="text or a list of messages, not '5'"):
        archon.generate_sync(5)  # type: ignore[arg-type]


def test_the_blocking_twin_works_inside_a_running_loop_and_from_several_objects(fake_server: FakeServer) -> None:
    first, second = Archon(ONE), Archon(TWO)

    async def cell() -> list[str]:
        return [first.generate_sync("a").text, second.generate_sync("b").text, (await first.generate("c")).text]

    answers = asyncio.run(cell()) + asyncio.run(cell()) + [first.generate_sync("a").text]
    assert all(answer.startswith("Answer of gpt-4o ") for answer in answers)


def in_time(*functions: Callable[[], Any]) -> list[Any]:
    """What they return, each in a thread, so that one that hangs is a failure and not the end of the tests."""
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda f=f: answers.append(f()), daemon=True) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == len(functions), "some hang or failed"
    return answers


@pytest.mark.parametrize("trace", ["compact", "calls"])
@pytest.mark.parametrize("same", [True, False])
def test_a_cell_may_wait_while_another_is_awaited(
    fake_server: FakeServer, tmp_path: Path, same: bool, trace: str
) -> None:
    """In a store equal questions wait for one another; with one connection all do."""
    fake_server.latency = 0.1
    options: dict[str, Any] = {"store": tmp_path / "calls.db"} if same else {"max_connections": 1}
    archon = Archon(ONE, trace=trace, **options)

    async def cells() -> list[str]:
        awaited = asyncio.create_task(archon.generate("a"))
        await asyncio.sleep(0.03)
        return [archon.generate_sync("a" if same else "b").text, (await awaited).text]

    [texts] = in_time(lambda: asyncio.run(cells()))
    assert len(fake_server.requests) == (1 if same else 2) and (texts[0] == texts[1]) is same


def test_threads_with_loops_of_their_own_share_objects_and_connections(fake_server: FakeServer) -> None:
    fake_server.latency = 0.02
    shared, other = Archon(ONE, max_connections=2), Archon(TWO, max_connections=2)

    async def ask(place: int) -> list[str]:
        found = [archon.generate(f"{place}.{n}") for n in range(4) for archon in (shared, other)]
        return [answer.text for answer in await asyncio.gather(*found)]

    answers = in_time(*(lambda place=place: asyncio.run(ask(place)) for place in range(3)))
    assert sum(map(len, answers)) == 24 and len(fake_server.requests) == 12 + 36


class Endless(ListComponent):
    """Waits until it is cancelled."""

    kind = ComponentType("endless", needs_model=False)
    begun, cancelled = threading.Event(), threading.Event()

    async def run(self, state: State, desk: CallContext) -> State:
        self.begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.cancelled.set()
        return state


class Blocking(ListComponent):
    """Asks in the one way that a component must not."""

    kind = ComponentType("blocking", needs_model=False)

    async def run(self, state: State, desk: CallContext) -> State:
        Archon(ONE).generate_sync("b")
        return state


def test_to_cancel_who_awaits_is_to_cancel_the_work(fake_server: FakeServer) -> None:
    archon = Archon({"layers": [{"generator": "openai/gpt-4o"}, {f"{__name__}:Endless": {}}]})

    async def ask() -> None:
        task = asyncio.create_task(archon.generate("a"))
        await asyncio.to_thread(Endless.begun.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask())
    assert Endless.begun.is_set() and Endless.cancelled.wait(30)


def test_a_component_that_would_wait_for_itself_is_told_so(fake_server: FakeServer) -> None:
    archon = Archon({"layers": [{"generator": "openai/gpt-4o"}, {f"{__name__}:Blocking": {}}]})

    def ask() -> str:
        with pytest.raises(ModelError) as caught:
            archon.generate_sync("a")
        return str(caught.value)

    assert "`await generate(...)`" in in_time(ask)[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"modls": 1}, "unknown option 'modls'; did you mean 'models'"),
        ({"max_conections": 1}, "did you mean 'max_connections'"),
        ({"max_connections": 0}, "max_connections must be a whole number of at least 1"),
        ({"max_connections": "x"}, "max_connections must be a whole number"),
        ({"max_retries": -1}, "max_retries must be a whole number of at least 0"),
        ({"timeout": "5s"}, "timeout must be a whole number of at least 0"),
        ({"store": True}, "store must be the path or address of a call store, not 'True' (bool)"),
        ({"store_policy": ["reuse"]}, "store_policy must be off, reuse"),
        ({"prices": 3.5}, "prices must be the path"),
        ({"budget": []}, "budget must be limits such as"),
        ({"trace": ["full"]}, "trace must be full, compact or calls"),
        ({"models": 5}, "models must be a list of names"),
        ({"architecture": None}, "architecture must be a preset's name"),
    ],
)
def test_a_wrong_option_is_an_architecture_error(fake_server: FakeServer, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        Archon(**{"architecture": ONE, **options})
    assert said in str(caught.value)


def test_a_missing_key_is_told_without_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(ArchitectureError, match="ANTHROPIC_API_KEY") as caught:
        Archon("single", models=["anthropic/claude-3-5-sonnet-20240620"])
    assert "[bold]" not in str(caught.value) and "[/" not in str(caught.value)


def test_many_questions_at_once_stay_within_max_connections(fake_server: FakeServer) -> None:
    archon = Archon({"layers": [{"generator": "openai/gpt-3.5-turbo"}]}, max_connections=3)

    async def ask() -> None:
        await asyncio.gather(*(archon.generate(f"question {n}") for n in range(12)))

    asyncio.run(ask())
    assert len(fake_server.requests) == 12 and fake_server.most_in_flight <= 3


def test_a_call_that_fails_for_good_raises(fake_server: FakeServer) -> None:
    with pytest.raises(ModelError, match=r"layer 1 \(generator\), generate: openai/gpt-4o!400"):
        Archon({"layers": [{"generator": "openai/gpt-4o!400"}]}).generate_sync("Hello")


@pytest.mark.parametrize("given", ["moa-light", {"layers": []}, {"layers": [{"generator": "nosuch/x"}]}])
def test_mistakes_are_architecture_errors(given: object) -> None:
    with pytest.raises(ArchitectureError):
        Archon(given)  # type: ignore[arg-type]


def test_inside_an_eval_the_calls_belong_to_the_sample(fake_server: FakeServer, tmp_path: Path) -> None:
    archon = Archon(TWO, trace="calls")

    @solver
    def mine():  # type: ignore[no-untyped-def]
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            state.output.completion = (await archon.generate(state.input_text)).text
            return state

        return solve

    given = Task(dataset=[Sample("Hello")], solver=mine())
    log = eval(given, model="none", display="none", log_dir=str(tmp_path), log_realtime=False)[0]
    assert log.status == "success" and log.samples
    assert sum(event.event == "model" for event in log.samples[0].events) == 3
    assert set(log.stats.model_usage) == {"openai/gpt-4o", "openai/gpt-4-turbo"}


SCRIPT = """
import archon_eval, sys
heavy = {"inspect_ai", "yaml", "anyio"} & set(sys.modules)
assert not heavy, heavy
from archon_eval import Archon
answer = Archon({"layers": [{"generator": "openai/gpt-4o"}]}).generate_sync("Hello")
print(answer.text)
"""


def test_a_script_imports_lightly_and_ends_by_itself(fake_server: FakeServer) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Answer of gpt-4o ") and "Unclosed" not in done.stderr
