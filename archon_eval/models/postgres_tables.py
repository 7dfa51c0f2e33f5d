"""The tables of a call store on a PostgreSQL server, and advice on what went wrong there.

    create_tables(connection)
    check_tables(connection, read_only=False)

All values are bytes and integers, so the database's encoding does not matter. The tables are in the first schema of the
search path: one database holds several stores under `?options=-csearch_path%3DNAME`.
"""

import re
from typing import Any, LiteralString

import psycopg

from archon_eval.errors import StoreError
from archon_eval.models.store_address import PASSWORD_PLACES
from archon_eval.models.store_entry import FORMAT_VERSION

Connection = psycopg.Connection[Any]
OLDEST_SERVER = 140_000
CREATION_LOCK = 0x4172_6368_6F6E
"""Advisory lock of whoever creates tables, so that two at once do not collide."""
TABLES: LiteralString = """
CREATE TABLE IF NOT EXISTS archon_names (hash bytea PRIMARY KEY, text bytea NOT NULL);
CREATE TABLE IF NOT EXISTS archon_calls (
    key bytea PRIMARY KEY, endpoint bytea NOT NULL, settings bytea NOT NULL, messages bytea NOT NULL,
    epoch bigint NOT NULL, draw bigint NOT NULL, made bigint NOT NULL, crc bigint NOT NULL, reply bytea NOT NULL
);
ALTER TABLE archon_calls ALTER COLUMN reply SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS archon_store (format integer NOT NULL);
"""
"""`archon_store` comes last: where it is, the others are. Replies are compressed already."""
SETTINGS = (
    # a reply is on disk before it is handed on, also where the server's default is less
    ("synchronous_commit", "on", ("off",)),
    ("tcp_keepalives_idle", "20", None),
    ("tcp_keepalives_interval", "10", None),
    ("tcp_keepalives_count", "3", None),
    ("tcp_user_timeout", "50000", None),
    # an idle client holds locks on the calls that it is sending
    ("idle_session_timeout", "0", None),
)
"""Of a session: name, value, and the server's values in place of which it is set (None: any). The server so notices
within a minute that a client's machine is gone, and gives its locks to others."""


def create_tables(connection: Connection) -> None:
    """Make what is missing of the tables; who does so at the same moment waits."""
    if _has_tables(connection):
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (CREATION_LOCK,))
        if _has_tables(connection):
            return
        if connection.execute("SELECT to_regclass('archon_calls')").fetchone() != (None,):
            raise StoreError("has a table archon_calls that is no call store's")
        for statement in TABLES.split(";"):
            if statement.strip():
                connection.execute(statement)
        connection.execute("INSERT INTO archon_store VALUES (%s)", (FORMAT_VERSION,))


def _has_tables(connection: Connection) -> bool:
    return connection.execute("SELECT to_regclass('archon_store')").fetchone() != (None,)


def check_tables(connection: Connection, read_only: bool) -> int:
    """The table's number, which tells it from another of that name.

    Raises:
        StoreError: there are no tables, of this format, that may be read (and, unless `read_only`, written).
    """
    if not _has_tables(connection):
        raise StoreError("there is no call store; record one with store_policy=record")
    versions = connection.execute("SELECT format FROM archon_store").fetchall()
    if [version for (version,) in versions] != [FORMAT_VERSION]:
        found = ", ".join(str(version) for (version,) in versions) or "none"
        raise StoreError(f"format {found} is not this version's {FORMAT_VERSION}")
    row = connection.execute("SELECT 'archon_calls'::regclass::oid, 'archon_names'::regclass::oid").fetchone()
    assert row is not None
    if not read_only:
        wanted = [("archon_calls", "SELECT"), ("archon_calls", "INSERT"), ("archon_calls", "UPDATE")]
        wanted += [("archon_calls", "DELETE"), ("archon_names", "SELECT"), ("archon_names", "INSERT")]
        for table, right in wanted:
            if connection.execute("SELECT has_table_privilege(%s, %s)", (table, right)).fetchone() != (True,):
                raise StoreError(
                    f"permission denied: the user lacks {right} on table {table}{suggest_fix('read-only')}"
                )
        if connection.execute("SHOW transaction_read_only").fetchone() == ("on",):
            raise StoreError(f"the server, or this user's sessions, are read-only{suggest_fix('read-only')}")
    return int(row[0])


def prepare_session(connection: Connection) -> None:
    """Set what a store needs of its session.

    Raises:
        StoreError: the server is too old.
    """
    if connection.info.server_version < OLDEST_SERVER:
        raise StoreError(f"PostgreSQL {connection.info.server_version // 10_000}: {OLDEST_SERVER // 10_000} is needed")
    for name, value, instead_of in SETTINGS:
        row = connection.execute("SELECT current_setting(%s, true)", (name,)).fetchone()
        if row and row[0] is not None and (instead_of is None or row[0] in instead_of):
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))


def is_session_shared(connection: Connection, open_another: Any) -> bool:
    """Whether a pooler stands between that lends one session to several clients, so that locks would not hold.

    The server's process has another number than the client was told only behind a pooler. Then a second client shows
    whether it gets this one's session.
    """

    def find_process(asked: Connection) -> int:
        row = asked.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        return int(row[0])

    first = find_process(connection)
    if first == connection.info.backend_pid:
        return False
    other = open_another()
    try:
        with other.transaction():
            return first == find_process(other) or first != find_process(connection)
    finally:
        other.close()


def suggest_fix(message: str) -> str:
    """What a user may do about a server's error, in brackets; empty for nothing."""
    for pattern, advice in (
        ("no space left|could not extend|disk full", "every reply stored so far is kept: make room and run again"),
        ("read-only|permission denied", "a store that is only read needs store_policy=replay"),
        ("password|authentication", f"passwords come from {PASSWORD_PLACES}"),
        ("too many clients|remaining connection slots", "raise the server's max_connections, or run fewer processes"),
        ("no schema has been selected", "the schema in the address's search_path does not exist: create it"),
        (
            "invalid page|could not read block|unexpected chunk|missing chunk|corrupt",
            "`archon store export` saves what can be read, and `archon store import` makes a store of it",
        ),
    ):
        if re.search(pattern, message, re.IGNORECASE):
            return f" ({advice})"
    return ""
