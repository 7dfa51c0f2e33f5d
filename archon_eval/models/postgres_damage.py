"""Reading a store's table on a PostgreSQL server that may be damaged: every reply that is still whole.

for row in read_pages(connection): ...      # None for one that cannot be read
"""

from collections.abc import Iterator
from typing import Any

import psycopg

from archon_eval.models.postgres_tables import Connection
from archon_eval.models.store_base import ProgressCallback, Row

PAGES_AT_ONCE = 64
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
        total = next(iter(_try(connection, "SELECT count(*) FROM archon_calls") or [(0,)]))[0]
        pages = next(iter(_try(connection, PAGES_SQL) or [(0,)]))[0]
        for first in range(0, pages, PAGES_AT_ONCE):
            for row in _read_range(connection, first, min(first + PAGES_AT_ONCE, pages)):
                on_progress(done, max(total, done))
                done += 1
                yield row
    on_progress(done, done)


def _read_range(connection: Connection, first: int, last: int) -> Iterator[Row | None]:
    """The rows of pages from `first` to before `last`."""
    bounds = (f"({first},0)", f"({last},0)")
    rows = _try(connection, f"SELECT {COLUMNS} {WITHIN}", bounds)
    if rows is not None:
        yield from rows
    elif last - first > 1:
        for page in range(first, last):
            yield from _read_range(connection, page, page + 1)
    elif (places := _try(connection, f"SELECT ctid::text {WITHIN}", bounds)) is None:
        yield None
    else:  # a long reply is elsewhere, and may be damaged there
        for place in places:
            found = _try(connection, f"SELECT {COLUMNS} FROM archon_calls WHERE ctid = %s::text::tid", place)
            yield from [None] if found is None else found


def _try(connection: Connection, query: Any, values: Any = ()) -> list[Row] | None:
    """The rows of a query; None where the server cannot read them."""
    try:
        with connection.transaction():
            return connection.cursor(binary=True).execute(query, values).fetchall()
    except psycopg.Error:
        if connection.closed:
            raise
        return None
