"""Looking after a store, by function and by command."""

import asyncio
import base64
import json
import math
import os
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archon_eval.architecture.spec import GenerationSettings
from archon_eval.cli import main
from archon_eval.errors import StoreError
from archon_eval.models import store_admin
from archon_eval.models.call import Call, Reply, Usage
from archon_eval.models.store import CallStore
from archon_eval.models.store_admin import compute_stats, export, import_, prune, verify
from archon_eval.models.store_entry import build_call_key, decode_verified
from archon_eval.types import Message

MODELS = ("openai/gpt-4o", "anthropic/claude-3-5-sonnet-20240620")


@pytest.fixture
def store(tmp_path: Path) -> CallStore:
    """Ten replies of each of two models, the first of each from 1970."""
    opened = CallStore(tmp_path / "calls.db")

    async def fill() -> None:
        for model in MODELS:
            for draw in range(10):
                call = Call(model, (Message("user", "hi"),), GenerationSettings(), draw)
                await opened.put(
                    build_call_key(call, f"{model} at somewhere"), Reply("x" * 40 * draw, usage=Usage(10, draw))
                )

    asyncio.run(fill())
    with opened.acquire_connection() as db:
        db.execute("UPDATE calls SET made = 1000 WHERE draw = 0")
    return opened


def damage(store: CallStore, draw: int) -> None:
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE calls SET reply = x'6a5b5d' WHERE draw = ?", (draw,))


def test_stats_count_replies_tokens_and_endpoints(store: CallStore) -> None:
    found = compute_stats(store)
    assert (found.replies, found.input_tokens, found.output_tokens) == (20, 200, 90)
    assert found.endpoints == {f"{model} at somewhere": 10 for model in sorted(MODELS)}
    assert found.oldest == 1000 < found.newest and found.bytes > 4096


def test_verify_finds_damage_and_prune_drops_it(store: CallStore) -> None:
    assert verify(store) == []
    damage(store, 3)
    found = verify(store)
    assert len(found) == 2 and all("is damaged" in line for line in found)
    assert prune(store, damaged=True) == 2 and verify(store) == [] and store.count() == 18


@pytest.mark.parametrize("column", ["endpoint", "messages", "epoch", "made", "crc", "reply"])
def test_a_value_of_a_wrong_kind_is_damage(store: CallStore, tmp_path: Path, column: str) -> None:
    before = compute_stats(store)
    with store.acquire_connection() as db:
        db.execute(f"UPDATE calls SET {column} = CASE typeof({column}) WHEN 'blob' THEN 5 ELSE 'x' END WHERE draw = 1")
    assert (
        compute_stats(store).unreadable == 2
        and compute_stats(store).replies == before.replies - 2
        and len(verify(store)) == 1
    )
    assert export(store, tmp_path / "all.jsonl") == (before.replies - 2, 2)
    call = Call(MODELS[0], (Message("user", "hi"),), GenerationSettings(), 1)
    assert (store.get(build_call_key(call, f"{MODELS[0]} at somewhere")) is None) == (column in ("crc", "reply"))
    assert prune(store, days=1, endpoint="somewhere") == 2


def test_a_schema_that_is_no_text_is_damage(store: CallStore) -> None:
    store.close()
    store.path.write_bytes(store.path.read_bytes().replace(b"sqlite_autoindex_calls", b"sqlite_\xc0utoindex_calls"))
    with pytest.raises(StoreError, match=r"malformed .*archon store export"):
        CallStore(store.path)


def test_prune_takes_what_it_is_told_to(store: CallStore) -> None:
    with pytest.raises(StoreError, match="what may go"):
        prune(store)
    assert prune(store, days=1, endpoint="openai/") == 1
    assert prune(store, days=1) == 1
    assert prune(store, endpoint="openai/") == 9
    assert compute_stats(store).endpoints == {f"{MODELS[1]} at somewhere": 9}


def test_prune_leaves_what_an_eval_has_replaced_meanwhile(store: CallStore, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(store, 3)
    call = Call(MODELS[0], (Message("user", "hi"),), GenerationSettings(), 3)
    key, fresh = build_call_key(call, f"{MODELS[0]} at somewhere"), Reply("fresh")

    def meanwhile(*row: Any) -> Reply | None:
        with CallStore(store.path) as other:
            asyncio.run(other.put(key, fresh))
        return decode_verified(*row)

    monkeypatch.setattr(store_admin, "decode_verified", meanwhile)
    assert prune(store, damaged=True) == 1
    found = store.get(key)
    assert found is not None and found.text == "fresh" and store.count() == 19


def test_an_export_makes_an_equal_store(store: CallStore, tmp_path: Path) -> None:
    damage(store, 9)
    assert export(store, tmp_path / "calls.jsonl") == (18, 2)
    with CallStore(tmp_path / "other.db") as other:
        assert import_(other, tmp_path / "calls.jsonl") == 18
        assert import_(other, tmp_path / "calls.jsonl") == 0
        for model in MODELS:
            for draw in range(9):
                key = build_call_key(
                    Call(model, (Message("user", "hi"),), GenerationSettings(), draw), f"{model} at somewhere"
                )
                assert other.get(key) == store.get(key) is not None
        assert other.list_endpoints(MODELS[0]) == store.list_endpoints(MODELS[0])


def test_an_export_of_an_earlier_version_is_read(store: CallStore, tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    export(store, path)
    entry = json.loads(path.read_text().splitlines()[0])
    data = b'j["<think>hm</think>4","stop",null,0.5,0]'
    path.write_text(json.dumps(entry | {"text": "<think>hm</think>4", "data": base64.b64encode(data).decode()}) + "\n")
    with CallStore(tmp_path / "other.db") as other:
        assert import_(other, path) == 1


@pytest.mark.parametrize("line", ["", "{}", "[1]", '{"format": 99}', "[" * 100_000, "epoch", "made", "endpoint"])
def test_a_bad_line_is_named_and_nothing_is_imported(store: CallStore, tmp_path: Path, line: str) -> None:
    path = tmp_path / "calls.jsonl"
    export(store, path)
    entry = json.loads(path.read_text().splitlines()[0])
    mangled = {"epoch": 10**30, "made": math.inf, "endpoint": "\ud800"}
    bad = json.dumps({**entry, line: mangled[line]}) if line in mangled else line
    path.write_text(path.read_text() + bad + "\n")
    with CallStore(tmp_path / "other.db") as other:
        with pytest.raises(StoreError, match=r"calls\.jsonl:21"):
            import_(other, path)
        assert other.count() == 0


def test_the_command_line(store: CallStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, exported = str(store.path), str(tmp_path / "e.jsonl")
    assert main(["store", "stats", path]) == 0
    assert "20 replies" in capsys.readouterr().out
    damage(store, 3)
    assert main(["store", "verify", path]) == 1
    assert "2 things wrong" in capsys.readouterr().out
    assert main(["store", "prune", path, "--damaged"]) == 0
    assert main(["store", "export", path, "--to", exported]) == 0
    assert main(["store", "import", str(tmp_path / "new.db"), "--from", exported]) == 0
    assert "18 replies added" in capsys.readouterr().out


def test_the_command_line_says_which_store_it_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, store: CallStore
) -> None:
    monkeypatch.delenv("ARCHON_STORE", raising=False)
    assert main(["store", "stats"]) == 1
    assert "set ARCHON_STORE" in capsys.readouterr().err
    monkeypatch.setenv("ARCHON_STORE", str(store.path))
    assert main(["store", "stats"]) == 0
    assert main(["store", "stats", "/no/such/file"]) == 1


def test_text_with_every_kind_of_line_end_is_imported(store: CallStore, tmp_path: Path) -> None:
    text = "one\u2028two\u2029three\x85four\x0bfive\r\nsix"
    key = build_call_key(Call(MODELS[0], (Message("user", "lines"),), GenerationSettings()), "there")
    asyncio.run(store.put(key, Reply(text)))
    export(store, tmp_path / "calls.jsonl")
    with CallStore(tmp_path / "other.db") as other:
        assert import_(other, tmp_path / "calls.jsonl") == 21
        found = other.get(key)
        assert found is not None and found.text == text


def test_a_damaged_page_costs_its_own_replies_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "calls.db"
    call = Call(MODELS[0], (Message("user", "hi"),), GenerationSettings())

    async def fill(store: CallStore) -> None:
        for draw in range(300):
            await store.put(build_call_key(replace(call, draw=draw), "there"), Reply(os.urandom(300).hex()))

    with CallStore(path) as store:
        asyncio.run(fill(store))
        with store.acquire_connection() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (page,) = (
                db.execute(
                    "SELECT pageno FROM dbstat WHERE name = 'calls' AND pagetype = 'leaf' LIMIT 1 OFFSET 9"
                ).fetchone()
                if _has_dbstat(db)
                else (path.stat().st_size // 8192,)
            )
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    with CallStore(path, read_only=True) as store:
        written, damaged = export(store, tmp_path / "saved.jsonl")
        assert 200 < written < 300 and written + damaged == 300
        assert any("cannot be read" in line for line in verify(store))
    assert main(["store", "verify", str(path)]) == 1 and "things wrong" in capsys.readouterr().out
    with CallStore(tmp_path / "new.db") as store:
        assert import_(store, tmp_path / "saved.jsonl") == written and verify(store) == []


@pytest.mark.parametrize(
    ("how", "least", "said"),
    [
        ("leaf", 250, "cannot be read"),
        ("names", 300, "can be reused, not replayed"),
        ("calls", 0, "cannot be read"),
        ("cut", 100, "the file is cut short"),
        ("first", None, "nothing in it can be read"),
    ],
)
def test_every_command_says_what_a_damaged_file_is_and_saves_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str, least: int | None, said: str
) -> None:
    path, saved = tmp_path / "calls.db", tmp_path / "saved.jsonl"
    keys = [
        build_call_key(Call(MODELS[0], (Message("user", "hi"),), GenerationSettings(), draw), "there")
        for draw in range(300)
    ]

    async def fill(store: CallStore) -> None:
        for key in keys:
            await store.put(key, Reply(os.urandom(300).hex()))

    with CallStore(path) as store:
        asyncio.run(fill(store))
        with store.acquire_connection() as db:
            roots = dict(db.execute("SELECT name, rootpage FROM sqlite_master"))
    data = bytearray(path.read_bytes())
    page = {"leaf": len(data) // 8192, "first": 1, "cut": 1}.get(how) or roots[how]
    if how == "cut":
        del data[len(data) * 2 // 3 :]
    else:
        data[4096 * (page - 1) : 4096 * page] = b"\xff" * 4096
    path.write_bytes(data)
    assert main(["store", "verify", str(path)]) == 1
    assert said in "".join(capsys.readouterr())
    assert main(["store", "prune", str(path), "--damaged"]) == 1
    assert "archon store export" in capsys.readouterr().err or least is None
    assert main(["store", "stats", str(path)]) == main(["store", "export", str(path), "--to", str(saved)])
    shown = capsys.readouterr()
    if least is None:
        assert "no" in shown.err and not saved.exists()
        return
    with CallStore(tmp_path / "new.db") as new:
        found = import_(new, saved)
        assert found >= least and f"{found:,} replies written" in shown.out and f"{found:,} replies, " in shown.out
        assert found == sum(new.get(key) is not None for key in keys) and (found == 300) == (how == "names")


def _has_dbstat(db: sqlite3.Connection) -> bool:
    return ("ENABLE_DBSTAT_VTAB",) in db.execute("PRAGMA compile_options").fetchall()


@pytest.mark.parametrize("what", [{"endpoint": ""}, {"endpoint": " "}, {"days": -1}, {"days": float("nan")}])
def test_prune_refuses_what_would_take_everything(store: CallStore, what: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="prune"):
        prune(store, **what)
    assert store.count() == 20


@pytest.mark.parametrize("end", ["", "-wal"])
def test_a_store_is_not_exported_onto_itself(store: CallStore, tmp_path: Path, end: str) -> None:
    (tmp_path / "link").symlink_to(f"{store.path}{end}")
    with pytest.raises(StoreError, match="onto itself"):
        export(store, tmp_path / "link")
    assert store.count() == 20


def test_an_export_that_fails_leaves_the_earlier_one(
    store: CallStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    (tmp_path / "calls.jsonl").write_text("earlier")
    monkeypatch.setattr("archon_eval.models.store_admin._format_line", fail)
    with pytest.raises(StoreError, match="disk full"):
        export(store, tmp_path / "calls.jsonl")
    assert (tmp_path / "calls.jsonl").read_text() == "earlier" and not list(tmp_path.glob("*.part"))


def test_pruning_a_file_that_is_not_there_makes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "prune", str(tmp_path / "typo.db"), "--damaged"]) == 1
    assert "no call store" in capsys.readouterr().err and not list(tmp_path.iterdir())
