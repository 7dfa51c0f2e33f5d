"""The call store in a file: every reply that was paid for, found again by everything that decided it.

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
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from archon_eval.errors import StoreError
from archon_eval.models.call import Reply
from archon_eval.models.key_locks import KeyLocks
from archon_eval.models.store_base import ProgressCallback, Row, Store, build_row
from archon_eval.models.store_damage import (
    ROW_COLUMNS,
    check_integrity,
    find_truncation,
    read_names,
    read_rows,
)
from archon_eval.models.store_entry import FAILURE_TAG, CallKey, decode_verified, hash_name
from archon_eval.models.store_file import connect, suggest_fix

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


class CallStore(Store):
    """A store in a file."""

    def __init__(self, path: str | os.PathLike[str], read_only: bool = False) -> None:
        """
        Raises:
            StoreError: the file is missing (read-only), unreadable, unwritable, damaged or no call store.
        """
        self.path, self.read_only = Path(path), read_only
        self.address = os.fspath(path)
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

    def locate(self) -> str:
        """The path, made absolute where the process has gone elsewhere."""
        return str(self.path if self.path.absolute() == self.file else self.file)

    def _find_row(self, digest: bytes) -> tuple[Any, Any] | None:
        with self._lock, self._translate_errors("read"):
            return self._query_row(digest)

    def _query_row(self, digest: bytes) -> tuple[Any, Any] | None:
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

    def _delete_damaged(self, digest: bytes, crc: int, data: bytes) -> None:
        with self._lock, self._translate_errors("write"):
            query = "DELETE FROM calls NOT INDEXED WHERE key = ? AND crc = ? AND reply = ?"
            self._db.execute(query, (digest, crc, data))

    async def _acquire(self, digest: bytes) -> bool:
        with self._translate_errors("lock a call in"):
            return self._key_locks.acquire(digest)

    def _release(self, digest: bytes) -> None:
        self._key_locks.release(digest)

    async def put(self, key: CallKey, reply: Reply, replace: bool = False) -> Reply:
        """As `Store.put`: the replies of one turn of the event loop are committed together."""
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
        except Exception as exc:  # noqa: BLE001 (none of the batch is stored, and whoever waits must not think so)
            batch.error = StoreError(f"cannot write call store {self.path}: {exc!r}")
        finally:
            batch.done.set()

    def _write(self, batch: _WriteBatch) -> set[bytes]:
        named = set[bytes]()
        with self._transaction():
            for key, reply, replace in batch.rows:
                row = build_row(key, reply)
                for hashed, text in zip(row[1:3], (key.endpoint, key.settings), strict=True):
                    if hashed not in self._stored_names:
                        self._db.execute("INSERT OR IGNORE INTO names VALUES (?,?)", (hashed, text))
                        named.add(hashed)
                done = self._db.execute(INSERT_SQL + (UPDATE_SQL if replace else KEEP_SQL), row)
                batch.stored.append(reply if done.rowcount else self._read_existing(key, row) or reply)
        return named

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _read_existing(self, key: CallKey, row: tuple[Any, ...]) -> Reply | None:
        """What another process stored under the key meanwhile; replaced when it is damaged or no reply."""
        found = self._query_row(key.digest)
        reply = decode_verified(key.digest, *found) if found else None
        if reply is None or reply.failure:  # a refusal's text, kept by an earlier version
            if not self._db.execute(INSERT_SQL + UPDATE_SQL, row).rowcount:
                raise sqlite3.DatabaseError("database disk image is malformed: its index leads to another reply")
            return None
        return reply

    def _list_used_endpoints(self) -> list[str]:
        with self._lock, self._translate_errors("read"):
            rows = self._db.execute(
                "SELECT text FROM names WHERE typeof(text) = 'text' AND hash IN (SELECT DISTINCT endpoint FROM calls)"
            ).fetchall()
        return [text for (text,) in rows]

    def _find_nearest(self, values: dict[str, Any]) -> Row | None:
        with self._lock, self._translate_errors("read"):
            row: Row | None = self._db.execute(NEAREST_SQL, values).fetchone()
            return row

    def count(self) -> int:
        """How many replies are stored."""
        with self._lock, self._translate_errors("read"):
            query = "SELECT count(*) FROM calls WHERE substr(reply, 1, 1) != ?"
            return int(self._db.execute(query, (FAILURE_TAG,)).fetchone()[0])

    @contextmanager
    def acquire_connection(self) -> Iterator[sqlite3.Connection]:
        """The database itself."""
        with self._lock, self._translate_errors("use"):
            yield self._db

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file, and whether it is cut short."""
        with self.acquire_connection() as db:
            problems = check_integrity(db)
        if cut := find_truncation(self.path):
            problems.append(f"the file is cut short: {cut[0]:,} of {cut[1]:,} bytes are there")
        return problems

    def read_names(self) -> dict[bytes, str] | None:
        """The names by their hashes; None where they cannot be read."""
        with self.acquire_connection() as db:
            return read_names(db)

    def read_rows(self, on_progress: ProgressCallback = lambda done, total: None) -> Iterator[Row | None]:
        """Every entry by itself, so that a damaged page costs its own entries only."""
        with self.acquire_connection() as db:
            yield from read_rows(db, on_progress)

    def delete_rows(self, choose: Callable[[Row], bool]) -> int:
        """Delete entries in a sound file, and make it smaller."""
        with self.acquire_connection() as db:
            if wrong := check_integrity(db):
                raise sqlite3.DatabaseError(f"database disk image is malformed: {wrong[0]}")
            doomed = [row for row in db.execute(f"SELECT {ROW_COLUMNS} FROM calls") if choose(row)]
            places = [(row[0], row[6], row[7]) for row in doomed]
            with self._transaction():  # not what an eval has replaced since it was read
                gone = db.executemany("DELETE FROM calls WHERE key IS ? AND made IS ? AND crc IS ?", places).rowcount
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return max(gone, 0)

    def insert_rows(self, rows: Iterable[tuple[Sequence[str], Row]], *, replace: bool) -> int:
        """Add entries in one transaction."""
        new, query = 0, INSERT_SQL + (UPDATE_SQL if replace else KEEP_SQL)
        with self.acquire_connection() as db, self._transaction():
            for texts, row in rows:
                db.executemany("INSERT OR IGNORE INTO names VALUES (?,?)", [(hash_name(text), text) for text in texts])
                new += db.execute(query, row).rowcount
        return new

    def measure_size(self) -> int:
        """Bytes of the file and its write-ahead log."""
        files = [self.path, self.path.with_name(self.path.name + "-wal")]
        return sum(path.stat().st_size for path in files if path.exists())

    def owns_file(self, path: str | os.PathLike[str]) -> bool:
        """Whether this is the file or one that SQLite keeps beside it."""
        real = self.path.resolve()
        return Path(path) in [real.with_name(real.name + end) for end in ("", "-wal", "-shm")]

    def close(self) -> None:
        """Close the file, which already has everything that was put; the end of the process does it too."""
        self._finalizer()


def _close_database(db: sqlite3.Connection, key_locks: KeyLocks, lock: threading.Lock, *, process: int) -> None:
    """Close what one process opened; a fork of it leaves that alone.

    When the last process closes a database, SQLite merges the write-ahead log, so that the file by itself is the store.
    """
    if os.getpid() == process:
        with lock:
            db.close()
            key_locks.close()
