"""The call store: every reply that was paid for, found again by everything that decided it.

    store = CallStore("calls.db")
    key = build_call_key(call, endpoint="openai/gpt-4o at https://api.openai.com/v1")
    reply = store.get(key) or await store.put(key, await caller(call))

An SQLite file in WAL mode, so that processes of one machine may share it (not over a network file system). A reply is
committed before `put` returns: killing the process loses nothing that was handed on. Messages are kept as digests only.
"""

import logging
import os
import sqlite3
import threading
import time
import weakref
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from archon_eval.errors import StoreError
from archon_eval.models.call import Reply
from archon_eval.models.key_locks import KeyLocks
from archon_eval.models.store_entry import FAILURE_TAG, CallKey, decode_verified, encode, hash_name
from archon_eval.models.store_file import connect, suggest_fix

MAX_LOCK_WAIT = 600.0
"""Seconds to wait for the reply to a call that another process is sending, which may have been stopped."""

INSERT_SQL = "INSERT INTO calls VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (key) DO "
UPDATE_SQL = (
    "UPDATE SET made = excluded.made, crc = excluded.crc, reply = excluded.reply WHERE calls.key = excluded.key"
)
KEEP_SQL = f"{UPDATE_SQL} AND substr(calls.reply, 1, 1) = x'{FAILURE_TAG.hex()}'"
"""A stored reply stays; a stored failure is replaced."""
FIND_SQL = """
SELECT found.key, found.crc, found.reply FROM calls AS entry JOIN calls AS found ON found.rowid = entry.rowid
WHERE entry.key = ?
"""
"""The row that the index has under a key, with the row's own key: where the index is damaged, that is another."""
NEAREST_SQL = """
SELECT (SELECT text FROM names WHERE hash = endpoint), (SELECT text FROM names WHERE hash = settings),
       messages, epoch, draw
FROM calls
ORDER BY 16 * (messages = :messages) + 8 * (endpoint = :endpoint) + 4 * (settings = :settings)
       + 2 * (epoch = :epoch) + (draw = :draw) DESC
LIMIT 1
"""


@dataclass(slots=True)
class _WriteBatch:
    """Replies of one turn of the event loop, committed together."""

    rows: list[tuple[CallKey, Reply, bool]] = field(default_factory=list)
    stored: list[Reply] = field(default_factory=list)
    error: StoreError | None = None
    done: anyio.Event = field(default_factory=anyio.Event)


class CallStore:
    """An open store. Its calls may come from any thread; each waits for its own commit."""

    def __init__(self, path: str | os.PathLike[str], read_only: bool = False) -> None:
        """
        Raises:
            StoreError: the file is missing (read-only), unreadable, unwritable, damaged or no call store.
        """
        self.path, self.read_only = Path(path), read_only
        self.damaged = 0
        """Entries met that failed their checksum; each was treated as not stored."""
        self._key_locks = KeyLocks(self.path)
        self._lock = threading.Lock()
        self._local = threading.local()
        self._stored_names: set[bytes] = set()
        with self._translate_errors("open"):
            self._db = self._connect()
            self.file = self.path.absolute()
            """Where it is, wherever the process goes from here."""
            self._file_id = self._get_file_id()
        resources = (self._db, self._key_locks, self._lock)
        self._finalizer = weakref.finalize(self, _close_database, *resources, process=os.getpid())

    def _connect(self) -> sqlite3.Connection:
        return connect(self.path, self.read_only)

    def _get_file_id(self) -> tuple[int, int]:
        """Which file there is now under the path."""
        status = self.file.stat()
        return status.st_dev, status.st_ino

    @contextmanager
    def _translate_errors(self, doing: str) -> Iterator[None]:
        """SQLite's errors in the user's words."""
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeDecodeError) as exc:
            # an error of SQLite's quotes what is malformed, which need not be text
            shown = sqlite3.DatabaseError(ascii(exc.object)) if isinstance(exc, UnicodeDecodeError) else exc
            raise StoreError(f"cannot {doing} call store {self.path}: {shown}{suggest_fix(shown, self.path)}") from exc

    def get(self, key: CallKey, failures: bool = False) -> Reply | None:
        """The stored reply; None when there is none or when it is damaged, which is logged and deletes the entry.

        With `failures` a call that failed for good has a reply too, which says why; only a replay asks for that.
        """
        with self._lock, self._translate_errors("read"):
            row = self._find_row(key.digest)
        if row is None:
            return None
        reply = decode_verified(key.digest, *row)
        if reply is None:
            self.damaged += 1
            logging.getLogger(__name__).warning(
                "a damaged entry in call store %s (draw %d of %s) counts as not stored",
                self.path,
                key.draw,
                key.endpoint,
            )
            if not self.read_only:
                with self._lock, self._translate_errors("write"):
                    self._db.execute("DELETE FROM calls NOT INDEXED WHERE key = ? AND crc = ?", (key.digest, row[0]))
        return reply if failures or reply is None or not reply.failure else None

    def _find_row(self, digest: bytes) -> tuple[Any, Any] | None:
        """Checksum and reply of the row whose own key is this one, also where the index leads to another row."""
        row: tuple[Any, ...] | None = self._db.execute(FIND_SQL, (digest,)).fetchone()
        if row is not None and row[0] != digest:
            logging.getLogger(__name__).warning(
                "the index of call store %s is damaged and slows it down: `archon store export` and `archon store "
                "import` make a sound one",
                self.path,
            )
            row = self._db.execute("SELECT key, crc, reply FROM calls NOT INDEXED WHERE key = ?", (digest,)).fetchone()
        return (row[1], row[2]) if row else None

    @asynccontextmanager
    async def lock_call(self, key: CallKey) -> AsyncIterator[Reply | None]:
        """Lock a call while it is sent, so that one of all processes sends it; yields what another has stored by then.

        A process that waits for another's reply looks for it now and then, and after MAX_LOCK_WAIT goes on without it.
        """
        pause, end = 0.02, time.monotonic() + MAX_LOCK_WAIT
        with self._translate_errors("lock a call in"):
            while not (acquired := self._key_locks.acquire(key.digest)) and time.monotonic() < end:
                await anyio.sleep(pause)
                pause = min(2 * pause, 0.5)
                if self.get(key) is not None:
                    break
        try:
            yield self.get(key)
        finally:
            if acquired:
                self._key_locks.release(key.digest)

    async def put(self, key: CallKey, reply: Reply, replace: bool = False) -> Reply:
        """Commit a reply and return what is stored: the earlier one if another process was first, unless `replace`.

        Not interrupted by cancellation: a reply that was paid for is kept.

        Raises:
            StoreError: it could not be written, so it must not be handed on as if it were.
        """
        batch: _WriteBatch | None = getattr(self._local, "batch", None)
        first = batch is None
        if batch is None:
            batch = self._local.batch = _WriteBatch()
        place = len(batch.rows)
        batch.rows.append((key, reply, replace))
        with anyio.CancelScope(shield=True):
            if first:
                try:
                    await anyio.lowlevel.checkpoint()
                finally:  # asyncio's own Task.cancel() is not held off by the shield
                    self._local.batch = None
                    self._commit(batch)
            await batch.done.wait()
        if batch.error is not None:
            raise batch.error
        return batch.stored[place]

    def _commit(self, batch: _WriteBatch) -> None:
        try:
            with self._lock, self._translate_errors("write"):
                if self._get_file_id() != self._file_id:
                    raise FileNotFoundError("another file has taken its place since it was opened")
                named = self._write(batch)
            self._stored_names |= named
        except StoreError as exc:
            batch.error = exc
        finally:
            batch.done.set()

    def _write(self, batch: _WriteBatch) -> set[bytes]:
        now, named = int(time.time()), set[bytes]()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for key, reply, replace in batch.rows:
                hashes = []
                for text in (key.endpoint, key.settings):
                    hashes.append(hash_name(text))
                    if hashes[-1] not in self._stored_names:
                        self._db.execute("INSERT OR IGNORE INTO names VALUES (?,?)", (hashes[-1], text))
                        named.add(hashes[-1])
                data = encode(reply)
                crc = zlib.crc32(key.digest + data)
                row = (key.digest, *hashes, key.messages[:8], key.epoch, key.draw, now, crc, data)
                done = self._db.execute(INSERT_SQL + (UPDATE_SQL if replace else KEEP_SQL), row)
                batch.stored.append(reply if done.rowcount else self._read_existing(key, row) or reply)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return named

    def _read_existing(self, key: CallKey, row: tuple[Any, ...]) -> Reply | None:
        """What another process stored under the key meanwhile; replaced when it is damaged or no reply."""
        found = self._find_row(key.digest)
        reply = decode_verified(key.digest, *found) if found else None
        if reply is None or reply.failure:  # a refusal's text, kept by an earlier version
            if not self._db.execute(INSERT_SQL + UPDATE_SQL, row).rowcount:
                raise sqlite3.DatabaseError("database disk image is malformed: its index leads to another reply")
            return None
        return reply

    def list_endpoints(self, model: str) -> list[str]:
        """The recorded endpoints of a model, so that a replay needs neither its key nor its address."""
        with self._lock, self._translate_errors("read"):
            rows = self._db.execute(
                "SELECT text FROM names WHERE typeof(text) = 'text' AND hash IN (SELECT DISTINCT endpoint FROM calls)"
            ).fetchall()
        return sorted(text for (text,) in rows if text.split(" ", 1)[0] == model)

    def describe_nearest(self, key: CallKey) -> str:
        """In words, how the nearest stored call differs from this one."""
        values = {"messages": key.messages[:8], "epoch": key.epoch, "draw": key.draw}
        with self._lock, self._translate_errors("read"):
            row = self._db.execute(
                NEAREST_SQL, {**values, "endpoint": hash_name(key.endpoint), "settings": hash_name(key.settings)}
            ).fetchone()
        if row is None:
            return "the recording is empty"
        pairs = [("model", key.endpoint, row[0]), ("settings", key.settings, row[1])]
        pairs += [("epoch", str(key.epoch), str(row[3])), ("draw", str(key.draw), str(row[4]))]
        differing = [f"{name} ({here} here, {there} recorded)" for name, here, there in pairs if here != there]
        if row[2] != values["messages"]:
            differing.insert(0, "messages")
        return f"the nearest recorded call differs in {', '.join(differing) or 'nothing but its damaged reply'}"

    def count(self) -> int:
        """How many replies are stored."""
        with self._lock, self._translate_errors("read"):
            query = "SELECT count(*) FROM calls WHERE substr(reply, 1, 1) != ?"
            return int(self._db.execute(query, (FAILURE_TAG,)).fetchone()[0])

    @contextmanager
    def acquire_connection(self) -> Iterator[sqlite3.Connection]:
        """The database itself, for `store_admin`."""
        with self._lock, self._translate_errors("use"):
            yield self._db

    def close(self) -> None:
        """Close the file, which already has everything that was put; the end of the process does it too."""
        self._finalizer()

    def __enter__(self) -> "CallStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close_database(db: sqlite3.Connection, key_locks: KeyLocks, lock: threading.Lock, *, process: int) -> None:
    """Close what one process opened; a fork of it leaves that alone.

    When the last process closes a database, SQLite merges the write-ahead log, so that the file by itself is the store.
    """
    if os.getpid() == process:
        with lock:
            db.close()
            key_locks.close()
