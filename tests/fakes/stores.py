"""Call stores of tests, in files and on the PostgreSQL server that tests/ensure_postgres.sh starts."""

import itertools
import os
import re
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import psycopg

SCRIPT = Path(__file__).parents[1] / "ensure_postgres.sh"
SHARED_SERVER = Path(os.environ.get("ARCHON_TEST_POSTGRES") or f"/tmp/archon-postgres-{os.getuid()}")
_NUMBERS = itertools.count(1)


def find_server() -> str | None:
    """The address of the shared server as its administrator; None where it does not run."""
    file = SHARED_SERVER / "address"
    address = file.read_text().strip() if file.exists() else ""
    try:
        psycopg.connect(address, connect_timeout=10).close()
    except psycopg.Error:
        return None
    return address


def start_server(folder: Path) -> str:
    """The address of a server of the test's own, which it may kill; starts it again after that."""
    subprocess.run(["sh", str(SCRIPT), str(folder)], check=True)
    return (folder / "address").read_text().strip()


def find_postmaster(folder: Path) -> int:
    """The server's first process."""
    return int((folder / "data" / "postmaster.pid").read_text().split()[0])


class Stores:
    """New, empty places for stores of one kind."""

    def __init__(self, folder: Path, server: str | None = None) -> None:
        """`server` is its administrator's address; None for files in the folder."""
        self.folder, self.server = folder, server
        self._schemas: list[str] = []

    def new(self, name: str = "calls.db") -> str:
        """The path or address of a place where no store is yet."""
        if self.server is None:
            return str(self.folder / name)
        schema = f"t{os.getpid()}_{next(_NUMBERS)}"
        with psycopg.connect(self.server, autocommit=True) as db:
            db.execute(f"CREATE SCHEMA {schema}".encode())
        self._schemas.append(schema)
        return f"{self.server}&options=-csearch_path%3D{schema}"

    def close(self) -> None:
        """Drop what is on the server."""
        if self.server is not None and self._schemas:
            with psycopg.connect(self.server, autocommit=True) as db:
                for schema in self._schemas:
                    db.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())


def execute(address: str, query: str) -> list[tuple[Any, ...]]:
    """A statement in SQL that both kinds know, with SQLite's names of tables; its rows."""
    if not address.startswith("postgres"):
        with sqlite3.connect(address) as db:
            return db.execute(query).fetchall()
    with psycopg.connect(address, autocommit=True) as server:
        done = server.execute(re.sub(r"\b(calls|names)\b", r"archon_\1", query).encode())
        return done.fetchall() if done.description else []
