"""Ctrl-C or SIGTERM in the middle of a real `inspect eval`: what was answered is kept, a rerun pays for the rest."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.server import FakeServer
from fakes.stores import Stores
from inspect_ai.log import read_eval_log

from archon_eval.models.open_store import open_store

BENCH = """
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import includes

@task
def bench():
    samples = [Sample(input=f"Question {n}?", target="Answer", id=n) for n in range(4)]
    return Task(MemoryDataset(samples), scorer=includes())
"""
ARCHITECTURE = {
    "name": "small",
    "layers": [{"generator": {"model": "openai/gpt-4o-a", "samples": 3}}, {"fuser": "openai/gpt-4o-b"}],
}
CALLS = 4 * 4


def start(folder: Path, store: str, sigint: Any = signal.default_int_handler) -> "subprocess.Popen[str]":
    (folder / "bench.py").write_text(BENCH)
    (folder / "small.yaml").write_text(json.dumps(ARCHITECTURE))
    options = ("architecture=small.yaml", f"store={store}")
    words = ["-m", "inspect_ai", "eval", "bench.py", "--solver", "archon", "--model", "none", "--display", "plain"]
    words += [word for option in options for word in ("-S", option)]
    return subprocess.Popen(
        [sys.executable, *words, "--max-connections", "2", "--log-dir", "logs"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, sigint),  # or a background job's is ignored
    )


def until(true: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 300
    while not true():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)


def answered(server: FakeServer) -> int:
    return sum(len(one.texts) for one in server.requests if one.answered)


def stored(address: str) -> int:
    with open_store(address, read_only=True) as store:
        return store.count()


@pytest.mark.parametrize(
    ("stores", "sent", "sigint", "times"),
    [
        ("sqlite", signal.SIGINT, signal.default_int_handler, 1),
        ("sqlite", signal.SIGINT, signal.default_int_handler, 2),
        ("sqlite", signal.SIGTERM, signal.default_int_handler, 1),
        ("sqlite", signal.SIGTERM, signal.SIG_IGN, 1),  # `inspect eval ... &` in a script
        ("postgresql", signal.SIGINT, signal.default_int_handler, 1),
    ],
    indirect=["stores"],
)
def test_what_was_answered_before_an_interrupt_is_kept(
    fake_server: FakeServer, stores: Stores, tmp_path: Path, sent: signal.Signals, sigint: Any, times: int
) -> None:
    """Once is a polite end; twice, as impatient people press it, kills Inspect's own clean-up."""
    fake_server.latency, store = 0.05, stores.new()
    with start(tmp_path, store, sigint) as process:
        try:
            until(lambda: answered(fake_server) >= 4, process)
            fake_server.hold()
            time.sleep(0.3)  # what came in before is answered by now
            until(lambda: stored(store) == answered(fake_server), process)
            for _ in range(times):
                process.send_signal(sent)
                time.sleep(0.2)
            said = process.communicate(timeout=300)[0]
        finally:
            process.kill()
    kept = stored(store)
    assert 4 <= kept == answered(fake_server) < CALLS
    (log,) = (tmp_path / "logs").glob("*.eval")
    assert read_eval_log(str(log), header_only=True).status in (
        ("cancelled",) if times == 1 else ("cancelled", "started")
    )
    fake_server.release()
    fake_server.reset()
    with start(tmp_path, store) as process:
        said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    assert sum(int(one.body.get("n") or 1) for one in fake_server.requests) == CALLS - kept
    assert stored(store) == CALLS
