"""A call store on a server that dies, fills up, is damaged or stays away: what was handed on is there."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from fakes.stores import OwnServer, execute
from test_store import PATHS, REPLY, key, put

from archon_eval.architecture.spec import GenerationSettings
from archon_eval.cli import main
from archon_eval.errors import StoreError
from archon_eval.models import postgres_session, served_tables
from archon_eval.models.call import Call, Reply
from archon_eval.models.client import ModelClient
from archon_eval.models.open_store import open_store
from archon_eval.models.postgres_store import PostgresStore
from archon_eval.models.served_tables import split
from archon_eval.models.store_admin import compute_stats, export, import_, prune, verify
from archon_eval.models.store_entry import build_call_key
from archon_eval.types import Message

WRITER = f"""
import asyncio, sys
sys.path[:0] = {PATHS!r}
from test_store import Reply, key, open_store
async def main():
    with open_store(sys.argv[1]) as store:
        for first in range(0, 100_000, 5):
            await asyncio.gather(*(store.put(key(first + n), Reply("kept")) for n in range(5)))
            print(first + 4, flush=True)
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def server(postgres_server: str) -> Iterator[OwnServer]:
    own = OwnServer()
    own.start()
    yield own
    own.close()


@pytest.fixture
def address(server: OwnServer, request: pytest.FixtureRequest) -> str:
    """A place of the test's own on the server."""
    schema = f"s{abs(hash(request.node.name))}"
    admin = server.start()
    execute(admin, f"CREATE SCHEMA {schema}")
    return f"{admin}&options=-csearch_path%3D{schema}"


def test_what_was_handed_on_survives_the_servers_death_and_the_client_goes_on(
    server: OwnServer, address: str, tmp_path: Path
) -> None:
    """SIGKILL to every process of the server in the middle of writing, twice, then to the client."""
    with subprocess.Popen([sys.executable, "-c", WRITER, address], stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            last = -1
            for _ in range(2):
                for _ in range(50):
                    last = int(writer.stdout.readline())
                server.kill()
                server.start()
                for _ in range(50):  # it goes on by itself
                    last = int(writer.stdout.readline())
                with open_store(address, read_only=True) as store:
                    assert all(store.get(key(draw)) for draw in range(last + 1))
        finally:
            writer.kill()
        rest = [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    last = int(rest[-1]) if rest else last
    with open_store(address) as store:
        assert all(store.get(key(draw)) for draw in range(last + 1)) and verify(store) == []


def test_replies_wait_for_a_server_that_comes_back(
    server: OwnServer, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server.kill(signal.SIGINT)
        async with anyio.create_task_group() as group:
            replies: list[Reply] = []

            async def keep(draw: int) -> None:
                replies.append(await opened.put(key(draw), REPLY))

            for draw in range(1, 20):
                group.start_soon(keep, draw)
            with anyio.move_on_after(0.3):
                await opened.fetch(key(0))
                raise AssertionError("it was answered without a server")
            assert replies == [], "no reply is handed on before it is stored"
            await anyio.to_thread.run_sync(server.start)
        assert len(replies) == 19 and await opened.fetch(key(0)) is not None

    with open_store(address) as opened:
        put(opened, 0)
        anyio.run(main)
        assert opened.count() == 20
    said = [record.message for record in caplog.records]
    assert sum("the server is waited for" in text for text in said) == 1, said
    assert sum("is back after" in text for text in said) == 1


def test_a_server_that_stays_away_is_an_error_and_the_next_call_tries_again(
    server: OwnServer, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_session, "MAX_OUTAGE", 0.2)
    with open_store(address) as store:
        put(store, 0)
        server.kill()
        for work in (lambda: put(store, 1), lambda: store.get(key(0)), lambda: put(store, 2)):
            with pytest.raises(StoreError, match=r"lost call store .*every reply stored so far is kept"):
                work()
        server.start()
        assert put(store, 1) == [REPLY] and store.count() == 2


def test_a_server_that_is_suspended_is_away_and_a_slow_one_is_not(
    server: OwnServer, address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its connections stay, and the kernel answers for it, so that nothing but its silence tells."""
    monkeypatch.setattr(postgres_session, "MAX_SILENCE", 0.3)
    monkeypatch.setattr(postgres_session, "PROBE_SECONDS", 2)
    monkeypatch.setitem(postgres_session.CONNECT_OPTIONS, "connect_timeout", 2)
    with open_store(address) as store:
        assert isinstance(store, PostgresStore)
        put(store, 0)
        assert store._query("SELECT 1 FROM pg_sleep(2)") == [(1,)] and caplog.text == ""
        monkeypatch.setattr(postgres_session, "MAX_OUTAGE", 0.2)
        with (
            server.suspended(),
            pytest.raises(StoreError, match=r"lost call store .*every reply stored so far is kept"),
        ):
            put(store, 1)
        assert "the server has said nothing for" in caplog.text
        monkeypatch.setattr(postgres_session, "MAX_OUTAGE", 300.0)
        assert put(store, 1) == [REPLY] and store.count() == 2


def test_a_call_that_two_processes_paid_because_a_lock_was_lost_is_told(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The lock goes with the connection, another has it, and has given it back before it could be missed."""
    call = Call("mockllm/model", (Message("user", "Hi."),), GenerationSettings())

    class Slow:
        def get_call_identity(self, call: Call) -> tuple[str, str]:
            return call.model, ""

        async def __call__(self, call: Call) -> Reply:
            with open_store(address) as other:
                await other.put(build_call_key(call, call.model), Reply("theirs"))
            return Reply("ours")

    async def main() -> Reply:
        with open_store(address) as store:
            return await ModelClient(Slow(), store, "reuse")(call)

    assert anyio.run(main).text == "theirs"
    (told,) = [record.message for record in caplog.records if "both were paid" in record.message]
    assert "mockllm/model, epoch 1, draw 0" in told


def test_an_answer_that_is_lost_on_the_way_is_no_other_processs_reply(address: str) -> None:
    with open_store(address) as first, open_store(address) as again:
        assert isinstance(first, PostgresStore) and put(first, 0) == [REPLY]
        same = Reply(REPLY.text, REPLY.stop_reason, REPLY.usage, REPLY.seconds)
        assert anyio.run(again.put, key(0), same) is same


def test_large_replies_are_written_a_few_at_a_time(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_tables, "MAX_BATCH_BYTES", 1_000)
    sizes: list[int] = []
    write_rows = served_tables.ServedTables.write_rows

    def count(tables: Any, connection: Any, rows: Any, replace: bool) -> set[bytes]:
        sizes.append(len(rows))
        return write_rows(tables, connection, rows, replace)

    monkeypatch.setattr(served_tables.ServedTables, "write_rows", count)

    async def main() -> None:
        await asyncio.gather(*(store.put(key(n), Reply("x" * length)) for n, length in enumerate(lengths)))

    lengths = [400, 400, 400, 5_000, 10, 10]
    with open_store(address) as store:
        asyncio.run(main())
        assert store.count() == 6 and sum(sizes) == 6 and max(sizes) <= 3, sizes
    assert [len(part) for part in split([400, 400, 400, 5_000, 10, 10], size=lambda n: n)] == [2, 1, 1, 2]


def test_a_client_that_asks_nothing_while_its_locks_are_lost_for_good_is_told_later(
    server: OwnServer, address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(postgres_session, "MAX_OUTAGE", 0.2)

    async def main() -> None:
        with open_store(address) as store, open_store(address) as other:
            async with store.lock_call(key(0)):
                server.kill()
                with anyio.fail_after(60):
                    while "is waited for" not in caplog.text:
                        await anyio.sleep(0.01)
                    with pytest.raises(StoreError, match="lost call store"):
                        while True:
                            await store.fetch(key(0))
                    server.start()
                    await store.put(key(0), REPLY)
                    assert not await other._acquire(key(0).digest), "the lock came back with the server"

    anyio.run(main)


def test_an_end_waits_for_replies_that_are_not_stored_yet(server: OwnServer, address: str) -> None:
    """Tasks were cancelled while the server was away; the process ends after it has kept what they had paid for."""
    program = f"""
import asyncio, sys
sys.path[:0] = {PATHS!r}
from test_store import open_store, key, put, REPLY
store = open_store(sys.argv[1])
put(store, 0)
print("ready", flush=True)
sys.stdin.readline()
async def main():
    task = asyncio.create_task(store.put(key(1), REPLY))
    await asyncio.sleep(0)
    print("put", flush=True)
    task.cancel()
asyncio.run(main())
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program, address], text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "ready\n"
        server.kill()
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "put\n"
        server.start()
        assert process.wait(60) == 0
    with open_store(address) as store:
        assert store.count() == 2


def test_a_disk_that_fills_up_is_an_error_and_what_was_stored_stays(server: OwnServer, address: str) -> None:
    """The table is on a file system of its own, of 2 MB."""
    disk = server.folder / "disk"
    disk.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size=2m,uid={disk.parent.stat().st_uid},mode=700", "tmpfs", str(disk)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        execute(address, f"CREATE TABLESPACE small LOCATION '{disk}'")
        with open_store(f"{address}%20-cdefault_tablespace%3Dsmall") as store:
            draw = 0
            with pytest.raises(StoreError, match="make room and run again"):
                while draw < 2000:
                    put(store, draw, reply=Reply(os.urandom(5000).hex()))
                    draw += 1
            assert 10 < draw == store.count() and store.get(key(draw - 1)) is not None
            subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
            put(store, draw)
            assert store.count() == draw + 1 and verify(store) == []
        execute(address, f"DROP SCHEMA {address.rpartition('%3D')[2]} CASCADE")
        execute(address, "DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], capture_output=True, check=False)


@pytest.mark.parametrize("how", ["page", "long reply"])
def test_damaged_pages_cost_their_own_replies_only(
    server: OwnServer, address: str, tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    size = 300 if how == "page" else 20_000
    with open_store(address) as store:
        put(store, *range(200), reply=Reply(os.urandom(200).hex()))
        put(store, *range(200, 240), reply=Reply(os.urandom(size).hex()))
    column = "oid" if how == "page" else "reltoastrelid"
    query = f"SELECT pg_relation_filepath({column}) FROM pg_class WHERE oid = 'archon_calls'::regclass"
    ((file,),) = execute(address, query)
    execute(address, "CHECKPOINT")
    server.kill(signal.SIGINT)
    with (server.folder / "data" / file).open("r+b") as data:
        data.seek(8192 * 3)
        data.write(b"\xff" * 8192)
    server.start()
    with open_store(address, read_only=True) as store:
        written, damaged = export(store, tmp_path / "saved.jsonl")
        assert 180 < written < 240 and damaged >= 1
        assert any("cannot be read" in line for line in verify(store))
        stats = compute_stats(store)
        assert stats.replies == written and stats.unreadable == damaged
    with open_store(address) as store, pytest.raises(StoreError, match="archon store export"):
        prune(store, damaged=True)
    assert main(["store", "verify", address]) == 1 and "cannot be read" in capsys.readouterr().out
    with open_store(tmp_path / "new.db") as new:
        assert import_(new, tmp_path / "saved.jsonl") == written and verify(new) == []


def test_a_damaged_index_is_named(address: str) -> None:
    with open_store(address) as store:
        put(store, *range(30))
        assert store.check() == []
        # entries that lead nowhere: the index is a valid one of an emptier table
        execute(address, "UPDATE pg_index SET indisready = false WHERE indexrelid = 'archon_calls_pkey'::regclass")
        rest = "endpoint, settings, messages, epoch, draw, made, crc, reply"
        execute(address, f"INSERT INTO archon_calls SELECT key || 'x', {rest} FROM archon_calls LIMIT 3")
        execute(address, "UPDATE pg_index SET indisready = true WHERE indexrelid = 'archon_calls_pkey'::regclass")
        assert store.check() == ["3 replies are not found by their key: REINDEX TABLE archon_calls mends it"]


def test_a_server_with_room_for_few_locks_makes_calls_wait(
    server: OwnServer, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(address, "ALTER SYSTEM SET max_locks_per_transaction = 10")
    execute(address, "ALTER SYSTEM SET max_connections = 10")
    try:
        server.kill(signal.SIGINT)
        server.start()

        async def main() -> None:
            with open_store(address) as store:
                got = await asyncio.gather(*(store._acquire(key(n).digest) for n in range(4000)))
                assert 50 < sum(got) < 4000
                first = got.index(True)
                refused = [number for number, locked in enumerate(got) if not locked]
                again = await asyncio.gather(*(store._acquire(key(n).digest) for n in refused))
                assert sum(again) < len(refused) / 2, "there is still no room, but for what others have freed"
                held = {number for number, locked in enumerate(got) if locked}
                for number in held.union(n for n, locked in zip(refused, again, strict=True) if locked):
                    store._release(key(number).digest)
                with anyio.fail_after(60):
                    while not await store._acquire(key(got.index(False)).digest):
                        await anyio.sleep(0.01)
                assert await store._acquire(key(first).digest)
                await store.put(key(0), REPLY)

        asyncio.run(main())
        assert caplog.text.count("max_locks_per_transaction") == 1
    finally:
        execute(address, "ALTER SYSTEM RESET ALL")
        server.kill(signal.SIGINT)
        server.start()


def test_a_server_without_a_free_connection_is_named(server: OwnServer, address: str) -> None:
    execute(address, "ALTER SYSTEM SET max_connections = 5")
    try:
        server.kill(signal.SIGINT)
        server.start()
        stores = []
        with pytest.raises(StoreError, match="raise the server's max_connections"):
            while len(stores) < 10:
                stores.append(open_store(address))
        for store in stores:
            store.close()
    finally:
        execute(address, "ALTER SYSTEM RESET ALL")
        server.kill(signal.SIGINT)
        server.start()
