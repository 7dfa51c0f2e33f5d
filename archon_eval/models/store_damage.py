"""Reading a call store's file that may be damaged: what is wrong with it, and every reply that is still whole.

for row in read_rows(db): ...       # None for one that cannot be read
"""

import sqlite3
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

from archon_eval.models.store_base import ProgressCallback
from archon_eval.models.store_file import is_store_head

MAX_MISSING_ROWS = 100_000
"""Row numbers that are tried after the last readable reply, where the end of the table is damaged."""
ROW_COLUMNS = "key, endpoint, settings, messages, epoch, draw, made, crc, reply"
COLUMN_TYPES = (bytes, bytes, bytes, bytes, int, int, int, int, bytes)
"""Of a row's columns; in a damaged page anything may stand there."""


def find_truncation(path: Path) -> tuple[int, int] | None:
    """How many bytes a store's file has and should have, where those are more."""
    wal = path.with_name(path.name + "-wal")
    with path.open("rb") as file:
        head = file.read(72)
    have, want = path.stat().st_size, int.from_bytes(head[16:18]) * int.from_bytes(head[28:32])
    merged = not wal.exists() or not wal.stat().st_size  # else SQLite may be about to write what is missing
    return (have, want) if is_store_head(head) and have < want and merged else None


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
