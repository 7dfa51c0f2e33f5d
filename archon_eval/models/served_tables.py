"""What a session on a PostgreSQL server does with a store's tables: a query serves many calls.

session = PostgresSession(address, ServedTables(address, read_only=False))
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.types.numeric import Int8

from archon_eval.errors import StoreError
from archon_eval.models.postgres_session import Ticket, is_lost
from archon_eval.models.postgres_tables import (
    Connection,
    check_tables,
    create_tables,
    is_session_shared,
    prepare_session,
    suggest_fix,
)
from archon_eval.models.store_address import hide_password, scrub
from archon_eval.models.store_base import Row, build_row
from archon_eval.models.store_entry import FAILURE_TAG, decode_verified, encode, hash_name

MAX_RETRIES = 5
RETRIED_STATES = ("40001", "40P01")
"""SQLSTATEs of a statement that another one was in the way of: serialization, deadlock."""
OUT_OF_LOCKS = "53200"
MAX_BATCH = 1000
"""Rows or keys in one statement."""
MAX_BATCH_BYTES = 16 * 2**20
"""Bytes of replies that are written in one statement, which is in memory several times here and at the server; a larger
reply goes alone."""
T = TypeVar("T")

COLUMNS: LiteralString = "key, endpoint, settings, messages, epoch, draw, made, crc, reply"
WRITE_SQL: LiteralString = f"""
INSERT INTO archon_calls AS old ({COLUMNS})
SELECT * FROM unnest(%b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[], %b::bigint[], %b::bigint[], %b::bigint[],
                     %b::bigint[], %b::bytea[])
WHERE 'archon_calls'::regclass::oid = %b::oid
ON CONFLICT (key) DO UPDATE SET made = excluded.made, crc = excluded.crc, reply = excluded.reply
"""
"""The rows are sorted by key, so that two at once do not wait for each other in a circle."""
KEEP_SQL: LiteralString = (
    WRITE_SQL + f"WHERE substring(old.reply from 1 for 1) = '\\x{FAILURE_TAG.hex()}' RETURNING key"
)
"""A stored reply stays; a stored failure is replaced."""
REPLACE_SQL: LiteralString = WRITE_SQL + "RETURNING key"
FIND_SQL: LiteralString = "SELECT key, crc, reply FROM archon_calls WHERE key = ANY(%b::bytea[])"
NAMES_SQL: LiteralString = (
    "INSERT INTO archon_names SELECT * FROM unnest(%b::bytea[], %b::bytea[]) ON CONFLICT DO NOTHING"
)
LOCK_SQL: LiteralString = "SELECT id, pg_try_advisory_lock(id) FROM unnest(%b::bigint[]) AS id"
UNLOCK_SQL: LiteralString = "SELECT pg_advisory_unlock(id) FROM unnest(%b::bigint[]) AS id"
NEAREST_SQL: LiteralString = """
SELECT (SELECT text FROM archon_names WHERE hash = endpoint), (SELECT text FROM archon_names WHERE hash = settings),
       messages, epoch, draw
FROM archon_calls
ORDER BY 16 * (messages = %(messages)s)::int + 8 * (endpoint = %(endpoint)s)::int
       + 4 * (settings = %(settings)s)::int + 2 * (epoch = %(epoch)s)::int + (draw = %(draw)s)::int DESC
LIMIT 1
"""
DELETE_SQL: LiteralString = """
DELETE FROM archon_calls AS old USING unnest(%b::bytea[], %b::bigint[], %b::bigint[]) AS doomed (key, made, crc)
WHERE old.key = doomed.key AND old.made = doomed.made AND old.crc = doomed.crc
"""
TABLE_SQL: LiteralString = "SELECT 'archon_calls'::regclass::oid"
DELETE_DAMAGED_SQL: LiteralString = "DELETE FROM archon_calls WHERE key = %b AND crc = %b AND reply = %b"


class ServedTables:
    """The tables as their session's thread sees them. It knows no store, so that a store can end."""

    def __init__(self, address: str, read_only: bool) -> None:
        """`address` is with its password, if it has one."""
        self._address, self._shown, self._read_only = address, hide_password(address), read_only
        self._table = 0
        """Which table it is; 0 before the first connection."""
        self._held: dict[bytes, int] = {}
        """The locks of this session by digest."""
        self._process = os.getpid()
        self._stored_names: set[str] = set()
        self._said_out_of_locks = False
        self._kinds: dict[str, tuple[str, Callable[[Connection, list[Ticket]], None]]] = {
            "delete": ("write", self._delete),
            "write": ("write", self._write),
            "unlock": ("unlock a call in", self._unlock),
            "lock": ("lock a call in", self._lock),
            "read": ("read", self._read),
            "query": ("read", self._run_query),
        }
        """In this order: a reply is there before its call is unlocked, and unlocked before others lock it."""

    @contextmanager
    def translate_errors(self, doing: str) -> Iterator[None]:
        """The server's errors in the user's words, without the address's password."""
        try:
            yield
        except psycopg.Error as exc:
            raise self._explain(doing, exc) from None

    def _explain(self, doing: str, exc: Exception) -> StoreError:
        message = scrub(" ".join(str(exc).split()), self._address)
        return StoreError(f"cannot {doing} call store {self._shown}: {message}{suggest_fix(message)}")

    def prepare(self, connection: Connection, open_another: Callable[[], Connection]) -> None:
        """Make a connection ready; the first one makes the tables."""
        try:
            if not self._table and is_session_shared(connection, open_another):
                raise StoreError(
                    "a pooler lends one session to several clients, so that locks on calls would not hold: give the "
                    "server's own address, or have the pooler pool sessions, not transactions"
                )
            prepare_session(connection)
            if not self._table and not self._read_only:
                create_tables(connection)
            table = check_tables(connection, self._read_only)
            if self._table not in (0, table):
                raise StoreError("another table has taken its place since it was opened")
            self._table = table
        except StoreError as exc:
            raise StoreError(f"cannot open call store {self._shown}: {exc}") from None

    def resume(self, connection: Connection) -> None:
        """Take the locks back that the lost connection had. What names are there is not taken for known any more: the
        server may be another, which has not all of what the first had."""
        self._stored_names.clear()
        if os.getpid() != self._process:  # a fork's parent has them
            self._process = os.getpid()
            self._held.clear()
        for part in split(list(self._held.items())):
            locked = self._ask_for_locks(connection, [number for _, number in part])
            lost = [digest for digest, number in part if number not in locked]
            for digest in lost:
                del self._held[digest]
            if lost:
                logging.getLogger(__name__).warning(
                    "call store %s: %d calls under way lost their locks with the connection; another process may send "
                    "and pay them too",
                    self._shown,
                    len(lost),
                )

    def holds_locks(self) -> bool:
        """Whether a lost connection is to be made anew at once."""
        return bool(self._held)

    def serve(self, connection: Connection, batch: list[Ticket]) -> None:
        """Give every ticket its outcome.

        Raises:
            psycopg.Error: the connection is lost; tickets that are not done are to be served again.
        """
        by_kind: dict[str, list[Ticket]] = {}
        for ticket in batch:
            if not ticket.done:
                by_kind.setdefault(ticket.kind, []).append(ticket)
        for kind, (doing, run) in self._kinds.items():
            for part in split(by_kind.get(kind, []), size=_measure_ticket):
                self._serve_part(connection, part, doing, run)

    def _serve_part(
        self,
        connection: Connection,
        tickets: list[Ticket],
        doing: str,
        run: Callable[[Connection, list[Ticket]], None],
    ) -> None:
        for attempt in range(MAX_RETRIES + 1):
            left = [ticket for ticket in tickets if not ticket.done]
            try:
                run(connection, left)
                return
            except (psycopg.Error, StoreError) as exc:
                if isinstance(exc, psycopg.Error):
                    if is_lost(exc, connection):
                        raise
                    if exc.sqlstate in RETRIED_STATES and attempt < MAX_RETRIES:
                        continue
                error = self._explain(doing, exc)
                for ticket in left:
                    if not ticket.done:
                        ticket.finish(error=error)
                return

    def _write(self, connection: Connection, tickets: list[Ticket]) -> None:
        """Commit replies; a ticket's value is what is stored."""
        self.write_names(connection, {text for t in tickets for text in (t.item[0].endpoint, t.item[0].settings)})
        for replace in (False, True):
            some = [ticket for ticket in tickets if ticket.item[2] is replace]
            for group in split_by_key(some, key=lambda ticket: ticket.item[0].digest):
                self._write_group(connection, group, replace)

    def _write_group(self, connection: Connection, tickets: list[Ticket], replace: bool) -> None:
        """Commit replies to different calls."""
        written = self.write_rows(connection, [build_row(*ticket.item[:2]) for ticket in tickets], replace)
        for ticket in tickets:
            if ticket.item[0].digest in written:
                ticket.finish(ticket.item[1])
        if contested := [ticket for ticket in tickets if not ticket.done]:
            self._settle(connection, contested)

    def _settle(self, connection: Connection, contested: list[Ticket]) -> None:
        """Another process was first: its reply stands, unless it is damaged or none."""
        found = self._find(connection, [ticket.item[0].digest for ticket in contested])
        if not found and connection.execute(TABLE_SQL).fetchone() != (self._table,):
            raise StoreError("another table has taken its place since it was opened")
        for ticket in contested:
            digest = ticket.item[0].digest
            reply = decode_verified(digest, *found[digest]) if digest in found else None
            if reply is not None and not reply.failure:
                is_own = found[digest][1] == encode(ticket.item[1])  # of an attempt whose answer was lost on the way
                ticket.finish(ticket.item[1] if is_own else reply)
            elif digest in found:  # also a refusal's text, kept by an earlier version
                connection.execute(DELETE_DAMAGED_SQL, (digest, *found[digest]))
        if left := [ticket for ticket in contested if not ticket.done]:
            self._write_group(connection, left, replace=False)

    def write_rows(self, connection: Connection, rows: list[Row], replace: bool) -> set[bytes]:
        """Commit rows of different keys; the keys of those that are stored now."""
        values = transpose(sorted(rows, key=itemgetter(0)), 9)
        query = REPLACE_SQL if replace else KEEP_SQL
        return {key for (key,) in _execute(connection, query, [*values, self._table])}

    def write_names(self, connection: Connection, texts: set[str]) -> None:
        """Commit names that this session has not stored yet."""
        if new := texts - self._stored_names:
            rows = sorted((hash_name(text), text.encode()) for text in new)
            connection.execute(NAMES_SQL, transpose(rows, 2))
            if connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                self._stored_names |= new

    def _delete(self, connection: Connection, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            connection.execute(DELETE_DAMAGED_SQL, ticket.item)
            ticket.finish()

    def _find(self, connection: Connection, digests: Sequence[bytes]) -> dict[bytes, tuple[int, bytes]]:
        return {key: (crc, reply) for key, crc, reply in _execute(connection, FIND_SQL, [list(digests)])}

    def _read(self, connection: Connection, tickets: list[Ticket]) -> None:
        found = self._find(connection, list({ticket.item for ticket in tickets}))
        for ticket in tickets:
            ticket.finish(found.get(ticket.item))

    def _run_query(self, connection: Connection, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            ticket.finish(connection.execute(*ticket.item).fetchall())

    def _lock(self, connection: Connection, tickets: list[Ticket]) -> None:
        """Lock calls; a ticket's value is whether it has the lock."""
        wanted: dict[bytes, Ticket] = {}
        for ticket in tickets:
            if ticket.item in self._held or ticket.item in wanted:
                ticket.finish(False)
            else:
                wanted[ticket.item] = ticket
        numbers = {digest: self._number_lock(digest) for digest in wanted}
        locked = self._ask_for_locks(connection, list(numbers.values()))
        for digest, ticket in wanted.items():
            if numbers[digest] in locked:
                self._held[digest] = numbers[digest]
            if not ticket.finish(numbers[digest] in locked) and digest in self._held:  # nobody waits for it any more
                self._free(connection, [self._held.pop(digest)])

    def _number_lock(self, digest: bytes) -> int:
        """The number of a call's lock. Locks are the database's, and a database may hold several stores."""
        number = int.from_bytes(digest[:8], signed=True) ^ (self._table << 31)
        return number

    def _ask_for_locks(self, connection: Connection, numbers: list[int]) -> set[int]:
        """Those that this session has now. Where the server has room for no more, the others are to be waited for."""
        try:
            return {n for n, locked in _execute(connection, LOCK_SQL, [_to_int8(numbers)]) if locked}
        except psycopg.errors.OutOfMemory:
            if not self._said_out_of_locks:
                self._said_out_of_locks = True
                logging.getLogger(__name__).warning(
                    "call store %s: the server has room for no more locks, so calls wait for each other: raise its "
                    "max_locks_per_transaction",
                    self._shown,
                )
            self._free(connection, numbers)  # of a statement that fails the locks stay
            return self._ask_for_locks(connection, numbers[: len(numbers) // 2]) if len(numbers) > 1 else set()

    def _unlock(self, connection: Connection, tickets: list[Ticket]) -> None:
        numbers = [self._held.pop(ticket.item) for ticket in tickets if ticket.item in self._held]
        self._free(connection, numbers)
        for ticket in tickets:
            ticket.finish()

    def _free(self, connection: Connection, numbers: list[int]) -> None:
        if numbers:
            _execute(connection, UNLOCK_SQL, [_to_int8(numbers)])


def _execute(connection: Connection, query: LiteralString, values: Sequence[Any]) -> list[Row]:
    """A statement that is sent often: prepared, and with its values in binary form."""
    with connection.cursor(binary=True) as cursor:
        return cursor.execute(query, values, prepare=True).fetchall()


def _to_int8(numbers: Sequence[int]) -> list[Int8]:
    return [Int8(number) for number in numbers]


def transpose(rows: Sequence[Row], width: int) -> list[list[Any]]:
    """Rows as columns, as `unnest` takes them."""
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
    return [_to_int8(column) if column and isinstance(column[0], int) else column for column in columns]


def split(items: Sequence[T], size: Callable[[T], int] = lambda item: 0) -> Iterator[list[T]]:
    """As many as go in one statement.

    Args:
        size: bytes of an item; what is only a few of them counts as none.
    """
    part: list[T] = []
    total = 0
    for item in items:
        more = size(item)
        if part and (len(part) == MAX_BATCH or total + more > MAX_BATCH_BYTES):
            yield part
            part, total = [], 0
        part.append(item)
        total += more
    if part:
        yield part


def measure_row(row: Row) -> int:
    """Bytes of a row's reply."""
    return len(row[8])


def _measure_ticket(ticket: Ticket) -> int:
    """Bytes of a reply that is to be written, about: it is encoded only then, and most characters are a byte."""
    if ticket.kind != "write":
        return 0
    reply = ticket.item[1]
    return len(reply.text) + len(reply.thoughts) + len(reply.extra) + len(reply.failure)


def split_by_key(items: Sequence[T], key: Callable[[T], bytes]) -> Iterator[list[T]]:
    """In order, so that no key is twice in a part."""
    rest = list(items)
    while rest:
        part: dict[bytes, T] = {}
        later = []
        for item in rest:
            if key(item) in part:
                later.append(item)
            else:
                part[key(item)] = item
        yield list(part.values())
        rest = later


def decode_name(text: bytes) -> str:
    """An endpoint or settings as stored."""
    return text.decode("utf-8", "replace")
