"""Call stores of tests, in files and on the PostgreSQL server that tests/ensure_postgres.sh starts."""

import itertools
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
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
        return f"{self.server}&options=-csearch_path%3D{schema}&application_name={schema}"

    def close(self) -> None:
        """Drop what is on the server."""
        if self.server is not None and self._schemas:
            with psycopg.connect(self.server, autocommit=True) as db:
                for schema in self._schemas:
                    db.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())


def execute(address: str, query: str) -> list[tuple[Any, ...]]:
    """A statement in SQL that both kinds know, with SQLite's names of tables; its rows."""
    if not address.startswith("postgres"):
        with closing(sqlite3.connect(address, isolation_level=None)) as db:
            return db.execute(query).fetchall()
    with psycopg.connect(address, autocommit=True) as server:
        done = server.execute(re.sub(r"\b(calls|names)\b", r"archon_\1", query).encode())
        return done.fetchall() if done.description else []


def list_queries(address: str) -> list[str]:
    """What each client of a store that `Stores` made on the server asked last."""
    name = re.search(r"application_name=(\w+)", address)
    assert name is not None
    with psycopg.connect(address.replace(name[0], ""), autocommit=True) as server:
        rows = server.execute("SELECT query FROM pg_stat_activity WHERE application_name = %s", (name[1],))
        return [query for (query,) in rows]


def find_schema(address: str) -> str:
    """The schema of a store that `Stores` made on the server."""
    found = re.search(r"search_path%3D(\w+)", address)
    assert found is not None
    return found[1]


class OwnServer:
    """A server that a test may kill, starve and damage."""

    def __init__(self) -> None:
        self._parent = Path(tempfile.mkdtemp(prefix="archon-pg-", dir="/tmp"))  # a socket's path is short
        self._parent.chmod(0o755)
        self.folder = self._parent / "pg"

    def start(self) -> str:
        """The administrator's address, which stays the same; starts it also where it was stopped or killed."""
        subprocess.run(["sh", str(SCRIPT), str(self.folder)], check=True)
        return (self.folder / "address").read_text().strip()

    def kill(self, sent: signal.Signals = signal.SIGKILL) -> None:
        """End every process of the server at once (SIGKILL), or have it shut down (SIGINT)."""
        postmaster, *workers = self._list_processes()
        self._send([postmaster, *(workers if sent == signal.SIGKILL else ())], sent)
        while any(Path(f"/proc/{process}").exists() for process in (postmaster, *workers)):
            time.sleep(0.02)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Within the context no process of the server runs, and its connections stay."""
        processes = self._list_processes()
        self._send(processes, signal.SIGSTOP)
        try:
            yield
        finally:
            self._send(processes, signal.SIGCONT)

    def _list_processes(self) -> list[int]:
        """The first process, then its workers."""
        postmaster = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        workers = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return [postmaster, *map(int, workers)]

    def _send(self, processes: list[int], sent: signal.Signals) -> None:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, sent)

    def close(self) -> None:
        """Stop it and remove everything."""
        with suppress(FileNotFoundError):
            self.kill()
        shutil.rmtree(self._parent)
