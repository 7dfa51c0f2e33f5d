"""A store on a real file system that is full or read-only: what is kept, and what the user reads."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.server import FakeServer
from inspect_ai import Task, eval
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.scorer import includes

from archon_eval.errors import StoreError
from archon_eval.models.store import CallStore
from archon_eval.solvers.archon import archon

DRAWS = 30
LONG = {"layers": [{"generator": {"model": "openai/gpt-4o", "samples": 3}}, {"fuser": "openai/gpt-4o"}]}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a file system of its own, or mounts it anew with other options; skips where that is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options: str) -> Path:
        words = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        return folder

    if shutil.which("mount") is None or os.getuid() != 0:
        pytest.skip("only root can mount a file system")
    yield mount
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


def run(folder: Path, **options: str) -> EvalLog:
    samples = [Sample(input=f"Question {n}?", target="Answer", id=n) for n in range(DRAWS)]
    task = Task(MemoryDataset(samples), solver=archon(LONG, **options), scorer=includes())
    (log,) = eval(task, model=None, display="none", log_dir=str(folder / "logs"))
    return log


def unguessable(model: str, messages: list[dict[str, str]], nonce: int) -> str:
    """A long answer that no compression makes small."""
    return f"Answer {nonce} " + os.urandom(1000).hex()


def sent(server: FakeServer) -> int:
    return sum(int(one.body.get("n") or 1) for one in server.requests)


def test_a_disk_that_fills_up_ends_the_eval_and_keeps_what_was_stored(
    disk: Callable[..., Path], fake_server: FakeServer, tmp_path: Path
) -> None:
    fake_server.answer = unguessable
    store = disk("size=300k") / "calls.db"
    log = run(tmp_path, store=str(store))
    assert log.status == "error" and log.error and "database or disk is full" in log.error.message
    assert "make room and run again" in log.error.message
    with CallStore(store, read_only=True) as opened:
        kept = opened.count()
    assert 0 < kept < DRAWS * 4
    disk("remount", "size=10m")
    fake_server.reset()
    assert run(tmp_path, store=str(store)).status == "success" and sent(fake_server) == DRAWS * 4 - kept


def test_a_disk_that_cannot_be_written_serves_replays_and_says_so_to_others(
    disk: Callable[..., Path], fake_server: FakeServer, tmp_path: Path
) -> None:
    folder, live = disk("size=10m"), tmp_path / "calls.db"
    store = folder / "calls.db"
    assert run(tmp_path, store=str(live)).status == "success"
    before = sent(fake_server)
    with CallStore(live) as opened, opened.acquire_connection() as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(live, store)
    disk("remount", "ro")
    replayed = run(tmp_path, store=str(store), store_policy="replay")
    assert replayed.status == "success" and sent(fake_server) == before
    for path in (store, folder / "new.db", folder / "new" / "calls.db"):
        with pytest.raises(PrerequisiteError, match=r"cannot open call store .*store_policy=replay"):
            archon(LONG, store=str(path))


def test_replies_in_a_write_ahead_log_need_a_folder_that_can_be_written(
    disk: Callable[..., Path], fake_server: FakeServer, tmp_path: Path
) -> None:
    folder, live = disk("size=10m"), tmp_path / "calls.db"
    assert run(tmp_path, store=str(live)).status == "success"
    with CallStore(live) as opened:
        count = opened.count()
        for name in ("calls.db", "calls.db-wal"):  # as a copy of a store in use, or of one whose eval was killed
            shutil.copy(tmp_path / name, folder / name)
    assert (folder / "calls.db-wal").stat().st_size
    disk("remount", "ro")
    with pytest.raises(StoreError, match=r"last replies are in calls\.db-wal.*copy both files"):
        CallStore(folder / "calls.db", read_only=True)
    disk("remount", "rw")
    with CallStore(folder / "calls.db", read_only=True) as copied:
        assert copied.count() == count


@pytest.mark.parametrize("place", ["file/calls.db", "/proc/calls.db", "folder"])
def test_a_place_where_no_store_can_be_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=r"cannot open call store .*(file|proc|folder)"):
        CallStore(tmp_path / place)
