"""Equal calls of several processes at one moment: one is sent, whoever dies."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from fakes.server import FakeServer

from archon_eval.architecture.spec import GenerationSettings
from archon_eval.models import store_base
from archon_eval.models.call import Call
from archon_eval.models.client import build_client
from archon_eval.models.key_locks import KeyLocks
from archon_eval.models.store import CallStore
from archon_eval.types import Message

A = "openai/gpt-4o"
CALL = Call(A, (Message("user", "hi"),), GenerationSettings())
KEY, OTHER = bytes(range(32)), bytes(32)
ASK = """
import sys, anyio
from archon_eval.architecture.spec import GenerationSettings
from archon_eval.types import Message
from archon_eval.models.call import Call
from archon_eval.models.client import build_client

async def main():
    caller = build_client(["openai/gpt-4o"], store=sys.argv[1])
    reply = await caller(Call("openai/gpt-4o", (Message("user", "hi"),), GenerationSettings()))
    print(reply.reused, reply.text)

anyio.run(main)
"""


@contextmanager
def asking(store: Path) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen([sys.executable, "-c", ASK, str(store)], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it did not happen within a minute"
        time.sleep(0.01)


def waits(process: "subprocess.Popen[str]", store: Path) -> bool:
    """Whether a process has opened the file of claims (it is the one that was not first)."""
    files = Path(f"/proc/{process.pid}/fd")
    return f"{store.resolve()}-claims" in map(opened, files.iterdir())


def opened(file: Path) -> str | None:
    """What a descriptor stands for, None where its process has closed it since it was listed."""
    try:
        return str(file.readlink())
    except FileNotFoundError:
        return None


def test_of_two_processes_one_sends(fake_server: FakeServer, tmp_path: Path) -> None:
    store = tmp_path / "calls.db"
    fake_server.hold()
    with asking(store) as first:
        until(lambda: len(fake_server.requests) == 1)
        with asking(store) as second:
            until(lambda: waits(second, store))
            fake_server.release()
            said = [process.communicate(timeout=60)[0].split(maxsplit=1) for process in (first, second)]
    assert len(fake_server.requests) == 1
    assert [reused for reused, _ in said] == ["False", "True"] and said[0][1] == said[1][1]


def test_a_call_whose_sender_was_killed_is_sent_by_who_waited(fake_server: FakeServer, tmp_path: Path) -> None:
    store = tmp_path / "calls.db"
    fake_server.hold()
    with asking(store) as first:
        until(lambda: len(fake_server.requests) == 1)
        with asking(store) as second:
            until(lambda: waits(second, store))
            first.send_signal(signal.SIGKILL)
            until(lambda: len(fake_server.requests) == 2)
            fake_server.release()
            assert second.communicate(timeout=60)[0].startswith("False")


@pytest.mark.parametrize("way", ["path", "link", "object"])
def test_two_stacks_of_one_process_send_once(fake_server: FakeServer, tmp_path: Path, way: str) -> None:
    fake_server.latency = 0.1
    replies, stores = [], [tmp_path / "calls.db"] * 2
    if way == "link":
        (tmp_path / "elsewhere").mkdir()
        stores[1] = tmp_path / "elsewhere" / "link.db"
        stores[1].symlink_to(stores[0])
    shared = CallStore(stores[0])

    async def main() -> None:
        async def ask(store: Path) -> None:
            replies.append(await build_client([A], store=shared if way == "object" else store)(CALL))

        async with anyio.create_task_group() as group:
            for store in stores:
                group.start_soon(ask, store)

    anyio.run(main)
    assert len(fake_server.requests) == 1 and sorted(reply.reused for reply in replies) == [False, True]


def test_who_may_write_the_store_may_claim(tmp_path: Path) -> None:
    store = tmp_path / "calls.db"
    CallStore(store).close()
    store.chmod(0o666)
    before = os.umask(0o077)
    try:
        assert KeyLocks(store).acquire(KEY)
    finally:
        os.umask(before)
    assert (tmp_path / "calls.db-claims").stat().st_mode & 0o777 == 0o666


def test_a_sender_that_stands_still_is_not_waited_for_for_ever(
    fake_server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_base, "MAX_LOCK_WAIT", 0.1)
    fake_server.hold()
    with asking(tmp_path / "calls.db") as first:
        until(lambda: len(fake_server.requests) == 1)
        first.send_signal(signal.SIGSTOP)
        caller = build_client([A], store=tmp_path / "calls.db")

        async def main() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(caller, CALL)
                while len(fake_server.requests) < 2:
                    await anyio.sleep(0.01)
                fake_server.release()

        anyio.run(main)
        first.send_signal(signal.SIGCONT)
        assert first.communicate(timeout=60)[0].startswith("False")
    assert len(fake_server.requests) == 2


def test_claims_exclude_each_other_by_call(tmp_path: Path) -> None:
    store = tmp_path / "calls.db"
    store.touch()
    one, other = KeyLocks(store), KeyLocks(store)
    assert one.acquire(KEY) and not other.acquire(KEY) and other.acquire(OTHER)
    one.release(KEY)
    assert other.acquire(KEY) and not one.acquire(KEY)
    other.close()
    assert one.acquire(KEY) and one.acquire(OTHER) and not one.acquire(OTHER)
    one.close()
    assert (tmp_path / "calls.db-claims").stat().st_size == 0


@pytest.mark.parametrize("known", [False, True])
def test_claims_where_locks_are_the_processs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    if known:  # to Python, but not to the kernel
        monkeypatch.setattr(fcntl, "F_OFD_SETLK", 12345)
    else:
        monkeypatch.delattr(fcntl, "F_OFD_SETLK")
    store = tmp_path / "calls.db"
    store.touch()
    one = KeyLocks(store)
    assert one.acquire(KEY)
    program = "import sys, fcntl; from pathlib import Path; from archon_eval.models.key_locks import KeyLocks; "
    program += "del fcntl.F_OFD_SETLK; print(KeyLocks(Path(sys.argv[1])).acquire(bytes(range(32))))"
    words = [sys.executable, "-c", program, str(store)]
    assert subprocess.check_output(words, text=True) == "False\n"
    one.release(KEY)
    assert subprocess.check_output(words, text=True) == "True\n"
