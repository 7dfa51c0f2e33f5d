"""Reading a call store that may be damaged: what is wrong with it, and every reply that is still whole.

with open_read_only("calls.db") as store:
    for line in verify(store): ...
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

from archon_eval.models.store import CallStore
from archon_eval.models.store_entry import decode_verified
from archon_eval.models.store_file import APPLICATION_ID

ProgressCallback = Callable[[int, int], None]
"""Called before every entry and at the end: how many are done, of how many."""
MAX_MISSING_ROWS = 100_000
"""Row numbers that are tried after the last readable reply, where the end of the table is damaged."""
ROW_COLUMNS = "key, endpoint, settings, messages, epoch, draw, made, crc, reply"
COLUMN_TYPES = (bytes, bytes, bytes, bytes, int, int, int, int, bytes)
"""Of a row's columns; in a damaged page anything may stand there."""


class TruncatedStore(CallStore):
    """What is left of a store whose file was cut short (a copy that broke off), read into memory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path, read_only=True)

    def _connect(self) -> sqlite3.Connection:
        data = bytearray(self.path.read_bytes())
        data[18:20] = b"\1\1"  # no write-ahead log, which a database in memory cannot have
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        db.deserialize(bytes(data.ljust((find_truncation(self.path) or (0, 0))[1], b"\0")))
        return db


def open_read_only(path: str | os.PathLike[str]) -> CallStore:
    """A store for `stats`, `verify` and `export`: read-only, and whatever is left of it.

    Raises:
        StoreError: it is none, or cannot be read at all.
    """
    return TruncatedStore(path) if find_truncation(Path(path)) else CallStore(path, read_only=True)


def find_truncation(path: Path) -> tuple[int, int] | None:
    """How many bytes a store's file has and should have, where those are more."""
    wal = path.with_name(path.name + "-wal")
    with path.open("rb") as file:
        head = file.read(72)
    have, want = path.stat().st_size, int.from_bytes(head[16:18]) * int.from_bytes(head[28:32])
    merged = not wal.exists() or not wal.stat().st_size  # else SQLite may be about to write what is missing
    ours = head.startswith(b"SQLite format 3") and head[68:] == APPLICATION_ID.to_bytes(4)
    return (have, want) if ours and have < want and merged else None


def verify(store: CallStore, on_progress: ProgressCallback = lambda done, total: None) -> list[str]:
    """Everything that is wrong with the store, a line each; nothing is changed.

    Raises:
        StoreError: the file cannot be read at all.
    """
    lost = 0
    with store.acquire_connection() as db:
        problems = check_integrity(db)
        if cut := find_truncation(store.path):
            problems.append(f"the file is cut short: {cut[0]:,} of {cut[1]:,} bytes are there")
        if (known := read_names(db)) is None:
            problems.append("the names of endpoints and settings cannot be read: an export can be reused, not replayed")
        for row in read_rows(db, on_progress):
            if row is None:
                lost += 1
                continue
            where = f"reply {row[0].hex()[:12]}"
            if decode_verified(row[0], row[7], row[8]) is None:
                problems.append(f"{where} is damaged: it counts as not stored")
            if known is not None and not {row[1], row[2]} <= known.keys():
                problems.append(f"{where} has lost the name of its endpoint or settings")
    if lost:
        problems.append(f"a damaged part of the file holds at least {lost:,} replies that cannot be read")
    return problems


def check_integrity(db: sqlite3.Connection) -> list[str]:
    """What SQLite itself finds wrong with the file."""
    try:
        return [text for (text,) in db.execute("PRAGMA integrity_check") if text != "ok"]
    except sqlite3.DatabaseError as exc:
        return [f"the file is damaged: {exc}"]


def read_names(db: sqlite3.Connection) -> dict[bytes, str] | None:
    """The names by their hashes; None where they cannot be read."""
    try:
        return dict(db.execute("SELECT hash, text FROM names WHERE typeof(text) = 'text'"))
    except sqlite3.DatabaseError:
        return None


def read_rows(
    db: sqlite3.Connection, on_progress: ProgressCallback = lambda done, total: None
) -> Iterator[tuple[Any, ...] | None]:
    """Every reply's row by itself, so that a damaged page costs its own rows only; None for one that is unreadable.

    Where the end is unreadable nobody knows how many were there: one None stands for all of them.
    """
    last, number, barren, lost = _find_last_row(db), 0, 0, 0
    while barren < MAX_MISSING_ROWS if last is None else number < last:
        on_progress(number, last or number)
        number, row = number + 1, None
        try:
            row = db.execute(f"SELECT {ROW_COLUMNS} FROM calls WHERE rowid = ?", (number,)).fetchone()
        except sqlite3.DatabaseError:
            lost += 1
        barren += 1
        if row is not None:
            yield from repeat(None, lost)
            barren = lost = 0
            yield row if all(map(isinstance, row, COLUMN_TYPES)) else None
    yield from repeat(None, lost if last is not None else 1)
    on_progress(number, number)


def _find_last_row(db: sqlite3.Connection) -> int | None:
    """The highest row number; None where neither the table nor its index, which has the numbers too, can say."""
    for query in ("max(rowid) FROM calls", "max(+rowid) FROM calls INDEXED BY sqlite_autoindex_calls_1"):
        try:
            return int(db.execute(f"SELECT {query}").fetchone()[0] or 0)
        except sqlite3.DatabaseError:
            continue
    return None
