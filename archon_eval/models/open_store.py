"""Opens the call store that a user names: a file's path, or the address of a PostgreSQL server.

with open_store("calls.db") as store: ...
with open_store("postgresql://ann@db.example/evals", read_only=True) as store: ...
"""

import os
import sqlite3
from pathlib import Path

from archon_eval.errors import StoreError
from archon_eval.models.store import CallStore
from archon_eval.models.store_address import add_password, is_server
from archon_eval.models.store_base import Store
from archon_eval.models.store_damage import find_truncation


def open_store(address: str | os.PathLike[str], read_only: bool = False) -> Store:
    """The store at a path or an address; it is made where it is not there, unless `read_only` is set.

    Raises:
        StoreError: it cannot be used, or the package that the address needs is not installed.
    """
    if not is_server(address):
        return CallStore(address, read_only)
    try:
        from archon_eval.models.postgres_store import PostgresStore
    except ImportError as exc:
        raise StoreError(
            f"a call store on a PostgreSQL server needs psycopg: pip install 'archon-eval[postgres]' ({exc})"
        ) from None
    return PostgresStore(add_password(address), read_only)


def open_to_inspect(address: str | os.PathLike[str]) -> Store:
    """A store for `stats`, `verify` and `export`: read-only, and whatever is left of it.

    Raises:
        StoreError: it is none, or cannot be read at all.
    """
    if is_server(address) or not find_truncation(Path(address)):
        return open_store(address, read_only=True)
    return TruncatedStore(address)


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
