"""The call store: what is put is found by any process, whatever happens to the process or the file."""

import asyncio
import dataclasses
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from fakes.stores import execute
from hypothesis import given, settings
from hypothesis import strategies as st

from archon_eval.architecture.spec import GenerationSettings
from archon_eval.errors import StoreError
from archon_eval.models import store_base
from archon_eval.models.call import Call, Reply, Usage
from archon_eval.models.open_store import open_store
from archon_eval.models.store import CallStore
from archon_eval.models.store_base import Store
from archon_eval.models.store_entry import CallKey, build_call_key, decode, digest_messages, encode
from archon_eval.types import Message

PATHS = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
HI = (Message("user", "hi"),)
CALL = Call("openai/gpt-4o", HI, GenerationSettings())
REPLY = Reply("hello", "stop", Usage(3, 4), 0.5)
WHERE = "openai/gpt-4o at https://api.openai.com/v1/"


def key(draw: int = 0, endpoint: str = WHERE, call: Call = CALL) -> CallKey:
    return build_call_key(Call(call.model, call.messages, call.settings, draw, call.epoch), endpoint)


def put(store: Store, *draws: int, reply: Reply = REPLY, replace: bool = False) -> list[Reply]:
    async def main() -> list[Reply]:
        return list(await asyncio.gather(*(store.put(key(draw), reply, replace) for draw in draws)))

    return asyncio.run(main())


@given(
    text=st.text(st.characters(exclude_categories=("Cs",))),
    usage=st.none() | st.builds(Usage, st.integers(0, 10**9), st.integers(0, 10**9)),
    reason=st.sampled_from(["stop", "max_tokens", "content_filter", "unknown"]),
)
@settings(max_examples=100, deadline=None)
def test_any_reply_comes_back_as_it_was(text: str, usage: Usage | None, reason: str) -> None:
    found = decode(encode(Reply(text, reason, usage, 1.25, cleaned=2)))
    assert found == Reply(text, reason, usage, 1.25, reused=True, cleaned=2)


def test_everything_that_decides_a_reply_is_in_the_key() -> None:
    keys = {
        build_call_key(call, endpoint, extra).digest
        for call, endpoint, extra in [
            (CALL, WHERE, ""),
            (CALL, "openai/gpt-4o at http://localhost/v1/", ""),
            (CALL, WHERE, '{"top_p": 0.9}'),
            (Call(CALL.model, HI, GenerationSettings(temperature=0.0)), WHERE, ""),
            (Call(CALL.model, HI, GenerationSettings(), draw=1), WHERE, ""),
            (Call(CALL.model, HI, GenerationSettings(), epoch=2), WHERE, ""),
            (Call(CALL.model, (Message("system", "hi"),), GenerationSettings()), WHERE, ""),
            (Call(CALL.model, (*HI, *HI), GenerationSettings()), WHERE, ""),
            (Call(CALL.model, (Message("user", "hi "),), GenerationSettings()), WHERE, ""),
        ]
    }
    assert len(keys) == 9
    assert key() == build_call_key(Call(CALL.model, HI, GenerationSettings(), question=7), WHERE), (
        "which question asks decides nothing"
    )


def test_no_two_conversations_read_the_same() -> None:
    assert digest_messages((Message("user", "a"), Message("user", "b"))) != digest_messages(
        (Message("user", "auser 1\nb"),)
    )


def test_put_is_found_again_also_by_another_connection(address: str) -> None:
    with open_store(address) as store, open_store(address) as other:
        assert store.get(key()) is None
        assert put(store, *range(25)) == [REPLY] * 25
        found = other.get(key(24))
        assert found is not None and found.reused and (found.text, found.usage) == ("hello", Usage(3, 4))
        assert other.get(key(25)) is None and other.count() == 25


def test_who_comes_second_is_given_what_is_stored(address: str) -> None:
    with open_store(address) as store:
        put(store, 0)
        (kept,) = put(store, 0, reply=Reply("other"))
        assert kept.text == "hello"
        put(store, 0, reply=Reply("newer"), replace=True)
        found = store.get(key())
        assert found is not None and found.text == "newer"


@pytest.mark.parametrize("encodable", [True, False])
def test_a_strange_reply_is_no_loss_to_those_committed_with_it(
    address: str, monkeypatch: pytest.MonkeyPatch, encodable: bool
) -> None:
    odd = Reply("hello", "stop", thoughts="half a character: \ud83d")
    with open_store(address) as store:

        async def main() -> list[Reply | BaseException]:
            replies = [REPLY, odd, REPLY]
            puts = (store.put(key(draw), reply) for draw, reply in enumerate(replies))
            return list(await asyncio.gather(*puts, return_exceptions=True))

        with monkeypatch.context() as patch:
            if not encodable:
                patch.setattr(store_base, "encode", lambda reply: 1 / 0 if reply is odd else encode(reply))
            told = asyncio.run(main())
        kept = [store.get(key(draw)) for draw in range(3)]
    # who was told that a reply is stored finds it, and only they
    assert [isinstance(each, Reply) for each in told] == [reply is not None for reply in kept]
    assert all(isinstance(each, Reply | StoreError) for each in told)
    assert not encodable or (kept[1] and kept[1].thoughts == odd.thoughts and kept[0] and kept[2])


def test_a_failure_is_no_reply_and_never_in_the_way_of_one(address: str) -> None:
    with open_store(address) as store:
        put(store, 0, reply=Reply("", failure="gone"))
        found = store.get(key(), failures=True)
        assert store.get(key()) is None and found is not None and found.failure == "gone" and store.count() == 0
        assert put(store, 0) == [REPLY] and store.count() == 1
        put(store, 0, reply=Reply("", failure="gone again"))
        kept = store.get(key(), failures=True)
        assert kept is not None and kept == store.get(key())


def write_older_row(store: Store, draw: int, *plain: object) -> None:
    """A row as version 0.1's development wrote them before replies had thoughts and remarks."""
    put(store, draw)
    data = b"j" + json.dumps(plain).encode()
    crc = zlib.crc32(key(draw).digest + data)
    row = next(row for row in store.read_rows() if row and row[5] == draw)
    store.insert_rows([((), (*row[:7], crc, data))], replace=True)


def test_replies_of_earlier_versions_are_read_as_what_they_mean(address: str) -> None:
    with open_store(address) as store:
        write_older_row(store, 0, "hello", "stop", [3, 4], 0.5, 0)
        write_older_row(store, 1, "hm</think>hello", "max_tokens", None, 0.5, 0, [["h", -0.5]])
        write_older_row(store, 2, "half a", "content_filter", [3, 4], 0.5, 0)
        assert store.get(key(0)) == Reply("hello", "stop", Usage(3, 4), 0.5, reused=True)
        assert store.get(key(1)) == Reply(
            "hello", "max_tokens", None, 0.5, reused=True, top_logprobs=(("h", -0.5),), thoughts="hm"
        )
        assert store.get(key(2)) == Reply("half a", "content_filter", Usage(3, 4), 0.5, reused=True)


@pytest.mark.parametrize("reason", ["model_length", "content_filter"])
def test_errors_kept_as_replies_by_earlier_versions_are_failed_calls(reason: str, address: str) -> None:
    with open_store(address) as store:
        write_older_row(store, 0, "maximum context length is 8192", reason, None, 0.5, 0)
        assert store.get(key(0)) is None and store.damaged == 0
        failed = store.get(key(0), failures=True)
        assert failed is not None and failed.text == "" and "maximum context length is 8192" in failed.failure
        assert put(store, 0) == [REPLY], "a later reply takes its place"
        assert store.get(key(0)) is not None


def test_thoughts_and_remarks_come_back(tmp_path: Path) -> None:
    reply = Reply("4", "stop", Usage(3, 4), 0.5, thoughts="hm", remarks=("answered by 'b', not a",))
    assert decode(encode(reply)) == dataclasses.replace(reply, reused=True)


@pytest.mark.parametrize("damage", ["UPDATE calls SET reply = substr(reply, 1, 9)", "UPDATE calls SET crc = crc + 1"])
def test_a_damaged_entry_is_a_miss_that_is_reported_and_can_be_stored_anew(
    damage: str, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    path = address
    with open_store(path) as store:
        put(store, 0, 1)
        execute(address, damage + " WHERE draw = 0")
        assert store.get(key(0)) is None and store.damaged == 1 and "damaged entry" in caplog.text
        put(store, 0)
        assert store.get(key(0)) is not None and store.get(key(1)) is not None


def test_damage_is_replaced_also_by_who_never_read_it(address: str) -> None:
    with open_store(address) as store:
        put(store, 0)
        execute(address, "UPDATE calls SET crc = 0")
        assert put(store, 0) == [REPLY]
        assert store.get(key()) is not None


@pytest.mark.parametrize("replace", [False, True])
def test_a_damaged_index_never_costs_an_intact_row(
    tmp_path: Path, replace: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Entries that lead to other rows: reading and storing anew find every reply and delete or overwrite none."""
    path, draws = tmp_path / "calls.db", range(300, 600)
    store = CallStore(path)
    put(store, *range(600))
    with store.acquire_connection() as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        rows = dict(db.execute("SELECT key, rowid FROM calls"))
    del store
    file = bytearray(path.read_bytes())
    for draw in draws[::5]:  # in the index a row's number follows its key
        entry = key(draw).digest + rows[key(draw).digest].to_bytes(2)
        assert file.count(entry) == 1
        at = file.index(entry) + len(entry) - 2
        file[at : at + 2] = rows[key(draw + 1).digest].to_bytes(2)
    path.write_bytes(file)
    store = CallStore(path)
    assert all(store.get(key(draw)) for draw in range(600)) and store.damaged == 0
    assert f"the index of call store {path} is damaged" in caplog.text
    new = Reply("new") if replace else REPLY
    for draw in draws:
        with suppress(StoreError):  # `replace` where the index leads to another reply
            put(store, draw, reply=new, replace=replace)
    with store.acquire_connection() as db:
        assert {k for (k,) in db.execute("SELECT key FROM calls NOT INDEXED")} == set(rows)
    assert all((found := store.get(key(d))) and found.text in ("hello", "new") for d in range(600))


def test_a_file_that_is_no_store_is_said_to_be_none(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("dear diary " * 500)
    with pytest.raises(StoreError, match=r"notes\.txt.*not a database"):
        CallStore(text)
    assert text.read_text().startswith("dear diary"), "and is left alone"
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE mine (x)")
    with pytest.raises(StoreError, match="not a call store"):
        CallStore(other)
    with pytest.raises(StoreError, match="no such file"):
        CallStore(tmp_path / "absent.db", read_only=True)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    CallStore(tmp_path / "calls.db").close()
    with sqlite3.connect(tmp_path / "calls.db") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="format 99 is newer"):
        CallStore(tmp_path / "calls.db")


def test_a_mangled_file_is_an_error_with_advice_and_never_a_wrong_reply(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    with CallStore(path) as store:
        put(store, *range(300))
    data = bytearray(path.read_bytes())
    data[4096 : len(data) // 2] = os.urandom(len(data) // 2 - 4096)
    path.write_bytes(data)
    said = found = 0
    try:
        with CallStore(path) as store:
            for draw in range(300):
                try:
                    reply = store.get(key(draw))
                except StoreError as exc:
                    said += "archon store export" in str(exc)
                else:
                    assert reply is None or reply.text == "hello"
                    found += 1
    except StoreError as exc:
        said += "archon store export" in str(exc)
    assert said


def test_a_full_disk_is_an_error_and_what_was_stored_stays(tmp_path: Path) -> None:
    """The file may not grow above 200 kB (RLIMIT_FSIZE), in a process of its own."""
    program = f"""
import asyncio, resource, signal, sys
sys.path[:0] = {PATHS!r}
from test_store import CallStore, REPLY, Reply, key, put
import os
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = CallStore({str(tmp_path / "calls.db")!r})
put(store, 0)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
draw = 1
try:
    while draw < 1000:
        put(store, draw, reply=Reply(os.urandom(2000).hex()))
        draw += 1
except Exception as exc:
    print(draw, type(exc).__name__, exc)
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    stored, error, message = shown.split(maxsplit=2)
    assert error == "StoreError" and "make room and run again" in message
    with CallStore(tmp_path / "calls.db") as store:
        assert store.get(key(0)) is not None and store.count() == int(stored)
        assert store.get(key(int(stored) - 1)) is not None and store.get(key(int(stored))) is None
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize("instead", [False, True])
def test_a_file_that_is_removed_or_replaced_under_way_loses_nothing_silently(tmp_path: Path, instead: bool) -> None:
    store = CallStore(tmp_path / "calls.db")
    put(store, 0)
    (tmp_path / "calls.db").rename(tmp_path / "moved.db")
    if instead:
        CallStore(tmp_path / "calls.db").close()
    with pytest.raises(StoreError, match="another file has taken its place" if instead else "No such file"):
        put(store, 1)


def test_a_store_that_may_only_be_read_is_read(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    with CallStore(path) as store:
        put(store, 0)
    with CallStore(path, read_only=True) as store:
        assert store.get(key()) is not None
        with pytest.raises(StoreError, match="store_policy=replay"):
            put(store, 1)
    if os.getuid() != 0:  # root may write anywhere
        tmp_path.chmod(0o555)
        path.chmod(0o444)
        try:
            with pytest.raises(StoreError, match="store_policy=replay"):
                CallStore(path)
            with CallStore(path, read_only=True) as store:
                assert store.get(key()) is not None
        finally:
            tmp_path.chmod(0o755)


WRITER = """
import sys
sys.path[:0] = {folder!r}
from test_store import Reply, put, key, open_store
with open_store({path!r}) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for draw in range({first}, {last}):
        (kept,) = put(store, draw, reply=Reply("from {name}"))
        print(draw, kept.text, flush=True)
"""


def writer(path: str, name: str, first: int, last: int) -> "subprocess.Popen[str]":
    program = WRITER.format(folder=PATHS, path=path, name=name, first=first, last=last)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


def test_processes_that_write_at_once_lose_nothing_and_agree(address: str) -> None:
    path = address
    processes = [writer(path, name, first, first + 120) for name, first in (("a", 0), ("b", 60), ("c", 120))]
    told: dict[int, set[str]] = {}
    shown = [process.communicate("go\n")[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    for line in "".join(shown).splitlines():
        if line != "ready":
            draw, text = line.split(maxsplit=1)
            told.setdefault(int(draw), set()).add(text)
    assert len(told) == 240 and all(len(texts) == 1 for texts in told.values())
    with open_store(path) as store:
        for draw, (text,) in ((draw, tuple(texts)) for draw, texts in told.items()):
            reply = store.get(key(draw))
            assert reply is not None and reply.text == text


def test_killed_at_random_moments_what_was_handed_on_is_there(address: str) -> None:
    path, first = address, 0
    open_store(path).close()
    for _ in range(3):
        process = writer(path, "x", first, first + 100_000)
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        last = first
        for line in process.stdout:
            last = int(line.split()[0])
            if last >= first + 200:
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
        rest = [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        last = int(rest[-1].split()[0]) if rest else last
        with open_store(path) as store:
            assert all(store.get(key(draw)) is not None for draw in range(last + 1))
        first = last + 1


ENDING = f"""
import gc, sys
sys.path[:0] = {PATHS!r}
from test_store import CallStore, put
store = CallStore(sys.argv[1])
put(store, 0)
held = [store]
held.append(held)
gc.freeze()  # as evals do: nothing in a cycle is freed any more
"""


def test_the_nearest_call_is_named(address: str) -> None:
    with open_store(address) as store:
        assert "empty" in store.describe_nearest(key())
        put(store, 0)
        assert "draw (5 here, 0 recorded)" in store.describe_nearest(key(5))
        warm = build_call_key(Call(CALL.model, HI, GenerationSettings(temperature=1.0)), WHERE)
        said = store.describe_nearest(warm)
        assert '"temperature": 1.0' in said and '"temperature": 0.7' in said and "messages" not in said
        assert "differs in messages" in store.describe_nearest(
            build_call_key(Call(CALL.model, (*HI, *HI), GenerationSettings()), WHERE)
        )
        assert store.list_endpoints("openai/gpt-4o") == [WHERE] and store.list_endpoints("openai/gpt-4") == []


def test_nothing_is_pickled_and_no_message_is_kept(tmp_path: Path, address: str) -> None:
    with open_store(address) as store:
        secret = Call(CALL.model, (Message("user", "a very private question"),), GenerationSettings())
        asyncio.run(store.put(build_call_key(secret, WHERE), REPLY))
        (row,) = execute(address, "SELECT * FROM calls")
        assert json.loads(row[-1][1:])[0] == "hello"
    everything = [*row, *(value for name in execute(address, "SELECT * FROM names") for value in name)]
    assert b"private" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not any("private" in str(value) for value in everything)


def test_when_the_last_process_has_ended_the_file_by_itself_is_the_store(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", ENDING, str(tmp_path / "calls.db")], check=True)
    shutil.copy(tmp_path / "calls.db", tmp_path / "copy.db")
    with CallStore(tmp_path / "copy.db", read_only=True) as store:
        assert store.get(key()) is not None


def test_a_put_that_asyncio_cancels_is_kept_and_blocks_nobody(address: str) -> None:
    async def main(store: CallStore) -> None:
        task = asyncio.create_task(store.put(key(0), REPLY))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(store.put(key(1), REPLY), 5)

    with open_store(address) as store:
        asyncio.run(main(store))
        assert store.count() == 2


def test_opening_waits_for_another_process_also_to_switch_to_wal(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    CallStore(path).close()
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("PRAGMA journal_mode = DELETE")
    holder.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, lambda: holder.execute("ROLLBACK"))
    timer.start()
    try:
        with CallStore(path) as store:
            assert store.count() == 0
    finally:
        timer.join()
        holder.close()
