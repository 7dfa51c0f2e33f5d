"""Reading a store's table on a PostgreSQL server that may be damaged: every reply that is still whole.

for row in read_pages(connection): ...      # None for one that cannot be read
"""

from collections.abc import Iterator
from typing import Any

import psycopg

from archon_eval.models.postgres_tables import Connection
from archon_eval.models.store_base import ProgressCallback, Row

PAGES_AT_ONCE = 64
DAMAGED_STATES = ("XX", "58", "53200")
"""Beginnings of the SQLSTATEs of what is damaged: internal errors, files and disks, a length that no memory holds."""
COLUMNS = "key, endpoint, settings, messages, epoch, draw, made, crc, reply"
PAGES_SQL = "SELECT pg_relation_size('archon_calls') / current_setting('block_size')::bigint"
WITHIN = "FROM archon_calls WHERE ctid >= %s::text::tid AND ctid < %s::text::tid"


def read_pages(
    connection: Connection, on_progress: ProgressCallback = lambda done, total: None
) -> Iterator[Row | None]:
    """Every reply's row of one moment; None for one that is unreadable, or for a page whose rows nobody knows."""
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    done = 0
    with connection.transaction():
        counted = try_query(connection, "SELECT count(*) FROM archon_calls")
        total, ((pages,),) = counted[0][0] if counted else 0, try_query(connection, PAGES_SQL) or [(0,)]
        if counted is None and not pages:  # the whole file is gone
            yield None
        for first in range(0, pages, PAGES_AT_ONCE):
            for row in _read_range(connection, first, min(first + PAGES_AT_ONCE, pages)):
                on_progress(done, max(total, done))
                done += 1
                yield row
    on_progress(done, done)


def _read_range(connection: Connection, first: int, last: int) -> Iterator[Row | None]:
    """The rows of pages from `first` to before `last`."""
    bounds = (f"({first},0)", f"({last},0)")
    rows = try_query(connection, f"SELECT {COLUMNS} {WITHIN}", bounds)
    if rows is not None:
        yield from rows
    elif last - first > 1:
        for page in range(first, last):
            yield from _read_range(connection, page, page + 1)
    elif (places := try_query(connection, f"SELECT ctid::text {WITHIN}", bounds)) is None:
        yield None
    else:  # a long reply is elsewhere, and may be damaged there
        for place in places:
            found = try_query(connection, f"SELECT {COLUMNS} FROM archon_calls WHERE ctid = %s::text::tid", place)
            yield from [None] if found is None else found


def try_query(connection: Connection, query: Any, values: Any = ()) -> list[Row] | None:
    """The rows of a query; None where the server cannot read them.

    Raises:
        psycopg.Error: something else is wrong: no right to read, a limit of time, a lost connection.
    """
    try:
        with connection.transaction():
            return connection.cursor(binary=True).execute(query, values).fetchall()
    except psycopg.Error as exc:
        if connection.closed or not is_damage(exc):
            raise
        return None


def is_damage(exc: psycopg.Error) -> bool:
    """Whether an error says that what is stored cannot be read."""
    return (exc.sqlstate or "").startswith(DAMAGED_STATES)
