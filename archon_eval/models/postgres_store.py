"""The call store on a PostgreSQL server, which processes of several machines share.

    store = PostgresStore("postgresql://ann@db.example/evals")

Locks on calls under way are advisory locks of the session. The server releases them when the client's process ends,
however that happens. Of a lost connection the session takes its locks back as soon as it has the next one.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

import anyio.to_thread
import psycopg

from archon_eval.errors import StoreError
from archon_eval.models.call import Reply
from archon_eval.models.postgres_damage import is_damage, read_pages, try_query
from archon_eval.models.postgres_session import PostgresSession, wait, wait_blocking, wait_shielded
from archon_eval.models.postgres_tables import Connection, suggest_fix
from archon_eval.models.served_tables import (
    DELETE_SQL,
    NEAREST_SQL,
    ServedTables,
    decode_name,
    measure_row,
    split,
    split_by_key,
    transpose,
)
from archon_eval.models.store_address import hide_password
from archon_eval.models.store_base import ProgressCallback, Row, Store
from archon_eval.models.store_entry import FAILURE_TAG, CallKey

P = ParamSpec("P")
T = TypeVar("T")


class PostgresStore(Store):
    """A store on a server, over one connection."""

    def __init__(self, address: str, read_only: bool = False) -> None:
        """
        Raises:
            StoreError: no connection, no store (read-only), no right to it, or another format.
        """
        self.address, self.read_only = hide_password(address), read_only
        self._server = ServedTables(address, read_only)
        with self._server.translate_errors("open"):
            self._session = PostgresSession(address, self._server)
        self._finalizer = weakref.finalize(self, self._session.close)

    def locate(self) -> str:
        """The address without a password, which whoever connects again finds where this one has it from."""
        return self.address

    def _find_row(self, digest: bytes) -> tuple[int, bytes] | None:
        found: tuple[int, bytes] | None = wait_blocking(self._session.submit("read", digest, blocking=True))
        return found

    async def fetch(self, key: CallKey) -> Reply | None:
        """`get`, in one query with what others ask for at the same time."""
        return self._decode_row(key, await wait(self._session.submit("read", key.digest)))

    async def fetch_all(self, keys: Sequence[CallKey], failures: bool = False) -> list[Reply | None]:
        """`get` of several keys in one query."""
        tickets = [self._session.submit("read", key.digest) for key in keys]
        return [self._decode_row(key, await wait(ticket), failures) for key, ticket in zip(keys, tickets, strict=True)]

    async def call(self, method: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """A method of this store in another thread."""
        return await anyio.to_thread.run_sync(partial(method, *args, **options))

    async def put(self, key: CallKey, reply: Reply, replace: bool = False) -> Reply:
        """As `Store.put`: the replies that come in while others are written are committed together."""
        stored: Reply = await wait_shielded(self._session.submit("write", (key, reply, replace)))
        return stored

    def _delete_damaged(self, digest: bytes, crc: int, data: bytes) -> None:
        self._session.send("delete", (digest, crc, data))

    async def _acquire(self, digest: bytes) -> bool:
        ticket = self._session.submit("lock", digest)
        try:
            acquired: bool = await wait(ticket)
        except BaseException:
            if ticket.abandon() and ticket.value:
                self._release(digest)
            raise
        return acquired

    def _release(self, digest: bytes) -> None:
        self._session.send("unlock", digest)

    def _query(self, query: Any, values: Any = None) -> list[Row]:
        rows: list[Row] = wait_blocking(self._session.submit("query", (query, values), blocking=True))
        return rows

    def _list_used_endpoints(self) -> list[str]:
        rows = self._query("SELECT text FROM archon_names WHERE hash IN (SELECT DISTINCT endpoint FROM archon_calls)")
        return [decode_name(text) for (text,) in rows]

    def _find_nearest(self, values: dict[str, Any]) -> Row | None:
        for endpoint, settings, *places in self._query(NEAREST_SQL, values):
            return (*(decode_name(text or b"") for text in (endpoint, settings)), *places)
        return None

    def count(self) -> int:
        """How many replies are stored."""
        query = "SELECT count(*) FROM archon_calls WHERE substring(reply from 1 for 1) <> %s"
        return int(self._query(query, (FAILURE_TAG,))[0][0])

    @contextmanager
    def acquire_connection(self) -> Iterator[Connection]:
        """A connection of its own, for what takes long."""
        with self._server.translate_errors("use"):
            connection = self._session.open_connection()
            try:
                yield connection
            finally:
                connection.close()

    def check(self) -> list[str]:
        """Replies that are there but are not found by their key."""
        query = """
        SELECT count(*) FROM archon_calls AS there
        WHERE NOT EXISTS (SELECT FROM archon_calls AS found WHERE found.key = there.key)
        """
        with self.acquire_connection() as connection:
            for setting in ("enable_hashjoin", "enable_mergejoin", "enable_material", "enable_memoize"):
                connection.execute("SELECT set_config(%s, 'off', false)", (setting,))
            try:
                [(lost,)] = connection.execute(query).fetchall()
            except psycopg.Error as exc:
                if connection.closed or not is_damage(exc):
                    raise
                return [f"the table is damaged: {' '.join(str(exc).split())}"]
        return [f"{lost:,} replies are not found by their key: REINDEX TABLE archon_calls mends it"] if lost else []

    def read_names(self) -> dict[bytes, str] | None:
        """The names by their hashes; None where they cannot be read."""
        with self.acquire_connection() as connection:
            rows = try_query(connection, "SELECT hash, text FROM archon_names")
        return None if rows is None else {hashed: decode_name(text) for hashed, text in rows}

    def read_rows(self, on_progress: ProgressCallback = lambda done, total: None) -> Iterator[Row | None]:
        """Every entry, page by page of the table, so that a damaged page costs its own entries only."""
        with self.acquire_connection() as connection:
            yield from read_pages(connection, on_progress)

    def delete_rows(self, choose: Callable[[Row], bool]) -> int:
        """Delete entries, and make the table smaller where it is this user's."""
        doomed = []
        for row in self.read_rows():
            if row is None:
                raise StoreError(f"call store {self.address} is damaged{suggest_fix('corrupt')}")
            if choose(row):
                doomed.append((row[0], row[6], row[7]))
        with self.acquire_connection() as connection:
            gone = sum(connection.execute(DELETE_SQL, transpose(part, 3)).rowcount for part in split(doomed))
            connection.execute("VACUUM FULL archon_calls")
        return gone

    def insert_rows(self, rows: Iterable[tuple[Sequence[str], Row]], *, replace: bool) -> int:
        """Add entries in one transaction."""
        new = 0
        with self.acquire_connection() as connection, connection.transaction():
            for part in split(list(rows), size=lambda entry: measure_row(entry[1])):
                self._server.write_names(connection, {text for texts, _ in part for text in texts})
                for group in split_by_key([row for _, row in part], key=lambda row: row[0]):
                    new += len(self._server.write_rows(connection, group, replace))
        return new

    def measure_size(self) -> int:
        """Bytes of the tables with their indexes."""
        query = """
        SELECT (pg_total_relation_size('archon_calls') + pg_total_relation_size('archon_names'))::bigint
        """
        return int(self._query(query)[0][0])

    def close(self) -> None:
        """Close the connection, once everything that was put is committed."""
        self._finalizer()
