"""A call store on a PostgreSQL server: what only a server can get wrong."""

import asyncio
import os
import re
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest
from fakes.server import FakeServer
from fakes.stores import Stores, execute, find_schema
from inspect_ai._util.error import PrerequisiteError
from test_store import CALL, REPLY, WHERE, key, put

from archon_eval.errors import StoreError
from archon_eval.models.call import Call, Reply
from archon_eval.models.client import build_client
from archon_eval.models.open_store import open_store
from archon_eval.models.postgres_store import PostgresStore
from archon_eval.models.store_admin import compute_stats, export, import_, verify
from archon_eval.models.store_entry import build_call_key
from archon_eval.solvers.archon import archon

CALLS = 28


@pytest.fixture
def address(postgres_server: str, tmp_path: Path) -> Any:
    made = Stores(tmp_path, postgres_server)
    yield made.new()
    made.close()


@pytest.fixture
def made(address: str) -> str:
    """An address where a store is, with a reply."""
    with open_store(address) as store:
        put(store, 0)
    return address


def make_user(address: str, *rights: str) -> str:
    """The address for a new user with rights on the store's tables."""
    schema = find_schema(address)
    execute(address, f"CREATE ROLE u{schema} LOGIN")
    execute(address, f"GRANT USAGE ON SCHEMA {schema} TO u{schema}")
    for right in rights:
        execute(address, f"GRANT {right} ON ALL TABLES IN SCHEMA {schema} TO u{schema}")
    return address.replace("archon@", f"u{schema}@")


def drop_user(address: str) -> None:
    name = f"u{find_schema(address)}"
    execute(address, f"DROP OWNED BY {name}")
    execute(address, f"DROP ROLE {name}")


def test_eight_processes_of_two_hosts_pay_nothing_twice(address: str, fake_server: FakeServer, tmp_path: Path) -> None:
    """Evals that start at once, in two folders that have nothing in common."""
    fake_server.latency = 0.05
    program = f"""
import os, sys
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parents[1])!r}]
from fakes.zygote import fork_eval
import archon_eval.models.postgres_store, archon_eval.solvers.archon
import aiohttp, inspect_ai.model._providers.openai
from inspect_ai import eval
pids = []
for number in range(8):
    folder = Path(sys.argv[1], f"host-{{number % 2}}")
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    pids.append(fork_eval(sys.argv[2], f"logs-{{number}}"))
print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids])
"""
    words = [sys.executable, "-c", program, str(tmp_path), address]
    assert subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.strip() == str([0] * 8)
    assert sum(int(one.body.get("n") or 1) for one in fake_server.requests) == CALLS
    with open_store(address) as store:
        assert store.count() == CALLS and verify(store) == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_lost_connection_comes_back_with_its_locks(made: str, backend: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        with open_store(made) as store, open_store(made) as other:
            async with store.lock_call(key(1)) as stored:
                assert stored is None
                for _ in range(3):
                    ended = execute(made, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
                    assert ended == [(True,)]
                    while not execute(made, "SELECT pid FROM pg_locks WHERE locktype = 'advisory'"):
                        await anyio.sleep(0.01)  # the client notices by itself
                    assert not await other._acquire(key(1).digest), "it is locked still"
                assert await store.fetch(key(0)) == Reply("hello", "stop", REPLY.usage, 0.5, reused=True)
                assert await store.put(key(1), REPLY) is REPLY
            with anyio.fail_after(60):
                while not await other._acquire(key(1).digest):
                    await anyio.sleep(0.01)
            assert await other.fetch(key(1)) is not None

    anyio.run(main, backend=backend)
    assert "lost their locks" not in caplog.text


def test_after_a_lost_connection_names_are_written_again(made: str) -> None:
    """The server that takes over may lack what was committed last."""
    with open_store(made) as store:
        put(store, 1)
        execute(made, "DELETE FROM names")
        name = re.search(r"application_name=(\w+)", made)
        assert name is not None
        execute(
            made.replace(name[0], ""),
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name[1]}'",
        )
        put(store, 2)
        assert verify(store) == []


def test_a_lock_that_nobody_waits_for_any_more_is_free(address: str) -> None:
    async def main() -> None:
        with open_store(address) as store, open_store(address) as other:
            for number in range(20):
                with anyio.move_on_after(0) as scope:
                    async with store.lock_call(key(number)):
                        pass
                assert scope.cancelled_caught
            await store.fetch(key(0))
            with anyio.fail_after(60):
                for number in range(20):
                    while not await other._acquire(key(number).digest):
                        await anyio.sleep(0.01)

    anyio.run(main)


def test_stores_of_one_database_share_nothing(address: str, postgres_server: str, tmp_path: Path) -> None:
    places = Stores(tmp_path, postgres_server)
    try:

        async def main(one: PostgresStore, other: PostgresStore) -> None:
            assert await one._acquire(key(0).digest) and await other._acquire(key(0).digest)
            await one.put(key(0), REPLY)
            assert await other.fetch(key(0)) is None

        with open_store(address) as one, open_store(places.new()) as other:
            anyio.run(main, one, other)
    finally:
        places.close()


def test_clients_that_make_the_tables_at_once_agree(address: str) -> None:
    failed: list[BaseException] = []

    def make() -> None:
        try:
            with open_store(address) as store:
                put(store, 0)
        except BaseException as exc:  # noqa: BLE001 (the test's to judge)
            failed.append(exc)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [] and execute(address, "SELECT format FROM archon_store") == [(1,)]


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_of_any_encoding_keeps_any_text(postgres_server: str, encoding: str) -> None:
    name = f"enc_{encoding.lower()}_{os.getpid()}"
    execute(
        postgres_server, f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    try:
        reply, odd = Reply("naïve 日本 🙂 \x01", thoughts="ß"), "openai/gpt-日本 at https://ex\u00e4mple/"
        with open_store(postgres_server.replace("/postgres?", f"/{name}?")) as store:
            asyncio.run(store.put(build_call_key(CALL, odd), reply))
            found = store.get(build_call_key(CALL, odd))
            assert found is not None and (found.text, found.thoughts) == (reply.text, "ß")
            assert store.list_endpoints("openai/gpt-日本") == [odd] and verify(store) == []
            assert odd in store.describe_nearest(key(0))
    finally:
        execute(postgres_server, f"DROP DATABASE {name}")


@pytest.mark.parametrize("policy", ["replay", "reuse", "record"])
def test_a_user_who_may_only_read_replays_and_is_refused_before_a_call(
    made: str, fake_server: FakeServer, policy: str
) -> None:
    reader = make_user(made, "SELECT")
    try:
        if policy == "replay":
            with open_store(reader, read_only=True) as store:
                assert store.get(key(0)) is not None and verify(store) == []
                with pytest.raises(StoreError, match="store_policy=replay"):
                    put(store, 1)
        else:
            with pytest.raises(PrerequisiteError, match="store_policy=replay"):
                archon("single", CALL.model, store=reader, store_policy=policy)
            read_only = made.replace("options=", "options=-cdefault_transaction_read_only%3Don%20")
            with pytest.raises(PrerequisiteError, match="sessions, are read-only"):
                archon("single", CALL.model, store=read_only, store_policy=policy)
    finally:
        drop_user(made)
    assert not fake_server.requests


@pytest.mark.parametrize("limit", ["right", "time"])
def test_what_may_not_be_read_is_not_taken_for_damaged(made: str, tmp_path: Path, limit: str) -> None:
    reader = make_user(made, *["SELECT"] * (limit == "time"))
    execute(made, f"GRANT SELECT ON archon_store TO u{find_schema(made)}")
    (tmp_path / "saved.jsonl").write_text("an earlier export")
    try:
        with open_store(reader, read_only=True) as store, psycopg.connect(made) as busy:
            if limit == "time":  # another client has the table for itself
                execute(made, f"ALTER ROLE u{find_schema(made)} SET statement_timeout = 50")
                busy.execute("LOCK TABLE archon_calls")
            for work in (compute_stats, verify, lambda store: export(store, tmp_path / "saved.jsonl")):
                with pytest.raises(StoreError, match="permission denied" if limit == "right" else "statement timeout"):
                    work(store)
    finally:
        drop_user(made)
    assert (tmp_path / "saved.jsonl").read_text() == "an earlier export"


def test_what_is_no_store_is_said_to_be_none(address: str) -> None:
    with pytest.raises(StoreError, match="there is no call store; record one"):
        open_store(address, read_only=True)
    execute(address, "CREATE TABLE archon_calls (mine integer)")
    with pytest.raises(StoreError, match="a table archon_calls that is no call store's"):
        open_store(address)
    assert execute(address, "SELECT * FROM archon_calls") == []


@pytest.mark.parametrize("statement", ["UPDATE archon_store SET format = 99", "INSERT INTO archon_store VALUES (99)"])
def test_another_format_is_refused(made: str, statement: str) -> None:
    execute(made, statement)
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"format .*99 is not this version's 1"):
            open_store(made, read_only)


@pytest.mark.parametrize("instead", [False, True])
def test_tables_that_are_removed_or_replaced_under_way_lose_nothing_silently(made: str, instead: bool) -> None:
    with open_store(made) as store:
        put(store, 1)
        execute(made, "ALTER TABLE archon_calls RENAME TO moved")
        if instead:
            execute(made, "CREATE TABLE archon_calls (LIKE moved INCLUDING ALL)")
        with pytest.raises(StoreError, match="another table has taken its place" if instead else "does not exist"):
            put(store, 2)
        execute(made, "DROP TABLE IF EXISTS archon_calls")
        execute(made, "ALTER TABLE moved RENAME TO archon_calls")
        assert put(store, 2) == [REPLY] and store.count() == 3


def test_an_export_goes_from_a_file_to_a_server_and_back(made: str, tmp_path: Path) -> None:
    with open_store(tmp_path / "calls.db") as file, open_store(made) as server:
        put(file, *range(1, 30), reply=Reply("from a file"))
        assert export(file, tmp_path / "file.jsonl") == (29, 0)
        assert import_(server, tmp_path / "file.jsonl") == 29 and server.count() == 30
        assert export(server, tmp_path / "server.jsonl") == (30, 0)
        assert import_(file, tmp_path / "server.jsonl") == 1
        rows = [sorted(row for row in store.read_rows() if row is not None) for store in (file, server)]
        assert rows[0] == rows[1] and file.read_names() == server.read_names()


def test_long_replies_come_back(address: str) -> None:
    reply = Reply(os.urandom(3_000_000).hex())
    with open_store(address) as store:
        put(store, 0, reply=reply)
        found = store.get(key(0))
        assert found is not None and found.text == reply.text and len(list(store.read_rows())) == 1


def test_a_thousand_calls_at_once_take_a_few_queries(address: str) -> None:
    async def main() -> None:
        with open_store(address) as store:
            assert len(await asyncio.gather(*(store.put(key(n), REPLY) for n in range(3000)))) == 3000
            assert all(await asyncio.gather(*(store.fetch(key(n)) for n in range(3000))))

    asyncio.run(main())
    assert len(set(execute(address, "SELECT xmin::text FROM archon_calls"))) < 300


def test_a_process_with_many_open_files_is_served(made: str) -> None:
    """As an eval with many connections: a file's number may be beyond what `select` knows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with open_store(made) as store:
            assert store.get(key(0)) is not None and put(store, 1) == [REPLY]
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_fork_of_a_process_has_a_connection_of_its_own(made: str) -> None:
    with open_store(made) as store:
        pid = os.fork()
        if pid == 0:
            os._exit(0 if store.get(key(0)) is not None and put(store, 1) == [REPLY] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert store.get(key(1)) is not None


def test_what_was_put_by_a_cancelled_task_is_there_when_the_process_ends(address: str) -> None:
    program = f"""
import asyncio, sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
from test_store import open_store, key, REPLY
store = open_store(sys.argv[1])
async def main():
    tasks = [asyncio.create_task(store.put(key(n), REPLY)) for n in range(50)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program, address], check=True)
    with open_store(address) as store:
        assert store.count() == 50


def test_a_pooler_that_lends_sessions_to_several_clients_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind one the server's process is not the one that the client was told of, and changes."""
    monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", property(lambda _: 1))
    with open_store(address) as store:  # a session of its own behind it
        put(store, 0)
    real = psycopg.Connection.execute
    shared: list[psycopg.Connection[Any]] = []

    def lend(self: Any, query: Any, *more: Any, **options: Any) -> Any:
        if query == "SELECT pg_backend_pid()":
            shared.append(self)
            return real(shared[0], query)
        return real(self, query, *more, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", lend)
    with pytest.raises(StoreError, match="a pooler lends one session to several clients"):
        open_store(address)


def test_a_judges_replies_are_on_the_server_too(address: str, fake_server: FakeServer) -> None:
    caller = build_client([CALL.model], store=address)
    with pytest.raises(StoreError, match="needs a store"):
        build_client([CALL.model], policy="replay")

    async def main() -> list[Reply]:
        again = Call(CALL.model, CALL.messages, CALL.settings)
        return [await caller(CALL), await caller(again)]

    assert [reply.reused for reply in anyio.run(main)] == [False, True]
    assert caller.store is not None and caller.store.list_endpoints(CALL.model) != [WHERE]
