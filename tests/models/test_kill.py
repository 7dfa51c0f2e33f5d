"""Real evals killed with SIGKILL at random moments: the next run completes and pays only for what was not stored."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.server import FakeServer
from fakes.stores import Stores
from fakes.zygote import CALLS

from archon_eval.models.open_store import open_store
from archon_eval.models.store_admin import verify

KILLS = 25
"""For each kind of store."""
PER_STORE = 5
"""Kills before a store's eval is left to complete."""


@pytest.fixture
def zygote(fake_server: FakeServer) -> Iterator["subprocess.Popen[str]"]:
    script = Path(__file__).parents[1] / "fakes" / "zygote.py"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, str(script)], text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def run(zygote: "subprocess.Popen[str]", store: str, logs: Path, kill: Callable[[], bool] | None) -> int:
    """One eval, killed as soon as `kill` says so if it still runs; its exit status (negative: the signal)."""
    assert zygote.stdin and zygote.stdout
    zygote.stdin.write(f"{store} {logs}\n")
    zygote.stdin.flush()
    pid = int(zygote.stdout.readline())
    if kill is not None:
        with contextlib.suppress(ProcessLookupError):
            while not kill():
                os.kill(pid, 0)
                time.sleep(0.001)
            os.kill(pid, signal.SIGKILL)
    return int(zygote.stdout.readline())


def stored(store: str) -> int:
    """How many replies the store holds, all of them whole."""
    with open_store(store) as opened:
        assert verify(opened) == []
        return opened.count()


def test_killed_evals_pay_nothing_twice(
    zygote: "subprocess.Popen[str]", fake_server: FakeServer, stores: Stores, tmp_path: Path
) -> None:
    fake_server.latency = 0.02
    rng, kills, stages = random.Random(4), 0, set()
    for number in range(KILLS):
        store, attempts = stores.new(f"{number}.db"), 0
        while True:
            had = stored(store)
            fake_server.reset()
            last = kills >= KILLS or attempts >= PER_STORE
            status = run(zygote, store, tmp_path / "logs", None if last else moment(fake_server, rng))
            sent = sum(int(one.body.get("n") or 1) for one in fake_server.requests)
            assert sent <= CALLS - had, "a stored call was sent again"
            if status == 0:
                assert sent == CALLS - had and stored(store) == CALLS
                break
            assert status == -signal.SIGKILL
            kills, attempts = kills + 1, attempts + 1
            stages.add(stored(store))
        if kills >= KILLS:
            break
    assert kills >= KILLS and len(stages) > 5, "the kills hit evals at many stages"


def moment(server: FakeServer, rng: random.Random) -> Callable[[], bool]:
    """A random moment: a while after a request of random number, or after the start."""
    requests, wait = rng.choice([0, 1, 2, 3, 5, 7, 9, 11, 13, 15]), rng.uniform(0.0, 0.05)
    seen: list[float] = []

    def now() -> bool:
        if not seen and len(server.requests) >= requests:
            seen.append(time.monotonic())
        return bool(seen) and time.monotonic() >= seen[0] + wait

    return now
