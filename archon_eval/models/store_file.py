"""The file of a call store: opening it, for readers also where nothing can be written, and advice on what went wrong.

db = connect(Path("calls.db"), read_only=False)
"""

import re
import sqlite3
import time
from pathlib import Path

from archon_eval.models.store_entry import FORMAT_VERSION

APPLICATION_ID = 0x4172_636E
BUSY_TIMEOUT = 60
"""How long to wait for another process that is writing."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS names (hash BLOB PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (
    key BLOB PRIMARY KEY, endpoint BLOB NOT NULL, settings BLOB NOT NULL, messages BLOB NOT NULL,
    epoch INTEGER NOT NULL, draw INTEGER NOT NULL, made INTEGER NOT NULL, crc INTEGER NOT NULL, reply BLOB NOT NULL
);
"""


def is_store_file(path: Path) -> bool:
    """Whether a file begins as a store does.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return is_store_head(file.read(72))


def is_store_head(head: bytes) -> bool:
    """Whether a file's first 72 bytes are a store's."""
    return head.startswith(b"SQLite format 3") and head[68:72] == APPLICATION_ID.to_bytes(4)


def connect(path: Path, read_only: bool) -> sqlite3.Connection:
    """An open database with the tables of a store.

    Raises:
        OSError, sqlite3.Error: it cannot be opened, or is no store; `suggest_fix` says what to do about it.
    """
    if read_only and not path.is_file():
        raise FileNotFoundError("there is no such file; record one with store_policy=record")
    if not read_only:
        path.parent.mkdir(parents=True, exist_ok=True)
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    try:
        return _prepare_database(_open_database(uri), read_only)
    except sqlite3.OperationalError:
        wal = path.with_name(path.name + "-wal")
        if not read_only:
            raise
        if wal.exists() and wal.stat().st_size:
            raise OSError(
                f"its last replies are in {wal.name}, which takes a folder that can be written: copy both files to one"
            ) from None
        # a folder in which SQLite may not make its shared-memory file; nothing is unmerged, so the file is complete
        return _prepare_database(_open_database(uri + "&immutable=1"), read_only)


def _open_database(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, BUSY_TIMEOUT, isolation_level=None, check_same_thread=False, uri=True)


def _prepare_database(db: sqlite3.Connection, read_only: bool) -> sqlite3.Connection:
    try:
        empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        application = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if not (empty and not read_only) and application != APPLICATION_ID:
            raise sqlite3.DatabaseError("the file is not a call store")
        if version > FORMAT_VERSION:
            raise sqlite3.DatabaseError(f"format {version} is newer than this version's {FORMAT_VERSION}")
        if read_only:
            return db
        # NORMAL: a commit survives the process's death at any moment; power loss may take the last ones, never the file
        db.execute("PRAGMA synchronous = NORMAL")
        _use_wal(db)
        db.execute("BEGIN IMMEDIATE")
        for statement in filter(str.strip, SCHEMA.split(";")):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to WAL; where another process is at that too SQLite gives up at once instead of waiting."""
    end = time.monotonic() + BUSY_TIMEOUT
    while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc) or time.monotonic() > end:
                raise
            time.sleep(0.02)


def suggest_fix(exc: Exception, path: Path) -> str:
    """What a user may do about an error, in brackets; empty for nothing."""
    message = str(exc).lower()
    for pattern, advice in (
        ("full|too large|disk i/o", "every reply stored so far is kept: make room and run again"),
        (
            "not a database",
            "if it was a call store its first page is damaged, and nothing in it can be read: move it away",
        ),
        (
            "malformed",
            f"`archon store export {path} --to FILE` saves what can be read, and `archon store import NEW --from FILE` "
            "makes a store of it",
        ),
        ("readonly|read-only file|permission|unable to open", "a store that is only read needs store_policy=replay"),
        ("locked|busy", f"another process has been writing for {BUSY_TIMEOUT} s"),
    ):
        if re.search(pattern, message):
            return f" ({advice})"
    return ""
