"""A connection to PostgreSQL in a thread of its own, which comes back when it is lost.

    session = PostgresSession(address, server)
    row = await wait(session.submit("read", digest))

Whatever is submitted while a query is under way goes into the next one together, so a round trip serves many calls,
and the event loop never waits for the network. While the server is away, what was submitted waits with it.
"""

import asyncio
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, Protocol

import anyio
import psycopg

from archon_eval.errors import StoreError
from archon_eval.models.store_address import hide_password, scrub

MAX_OUTAGE = 300.0
"""Seconds for which a server that went away is waited for; a restart or a failover takes a minute or two."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between attempts to connect again."""
MAX_SILENCE = 30.0
"""Seconds for which a statement is waited for before it is found out whether the server answers at all: one that is
suspended, with its machine or alone, keeps its connections and says nothing."""
PROBE_SECONDS = 15
"""How long it then has to answer on another connection."""
_Selector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.DefaultSelector)
"""Costs nothing to make, and knows every number that a file may have."""
LOST_STATES = ("08", "57P0")
"""Beginnings of the SQLSTATEs of a connection that is gone or about to go (shutdown, crash, still starting)."""
CONNECT_OPTIONS = {
    "connect_timeout": 15,
    # a dead network is noticed in less than a minute, not after the two hours of most systems
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 50_000,
    "fallback_application_name": "archon-eval",
    # only what is sent often is prepared, by its own choice
    "prepare_threshold": 1_000_000,
}


_OUTCOMES = threading.Lock()
"""Held while a ticket is finished or abandoned."""
Connection = psycopg.Connection[Any]


class WatchedConnection(psycopg.Connection[Any]):
    """A connection that is lost when its server says nothing, and says nothing to anybody else either.

    A statement may take as long as it needs: only where another connection gets no answer is the server taken for away.
    """

    answers: Callable[[], bool] | None = None
    """Whether the server answers on another connection; None while that is not known how to find out."""

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        return super().wait(self._watch(gen), *args, **options)

    def _watch(self, gen: Any) -> Generator[Any, Any, Any]:
        """The steps of what waits for the server, with a look at the clock where nothing came."""
        heard, ready = time.monotonic(), None
        while True:
            try:
                ready = yield gen.send(ready)
            except StopIteration as done:
                return done.value
            now = time.monotonic()
            if not ready and now - heard < MAX_SILENCE:
                continue
            if not ready and self.answers is not None and not self.answers():
                self.close()
                raise psycopg.OperationalError(
                    f"the server has said nothing for {time.monotonic() - heard:.0f} seconds"
                )
            heard = now


class Server(Protocol):
    """What a session does on its connection."""

    def prepare(self, connection: Connection, open_another: Callable[[], Connection]) -> None:
        """Make a new connection ready; raises StoreError where it is no use."""

    def resume(self, connection: Connection) -> None:
        """Bring to the session's connection, the first or a later one, what the session had before."""

    def serve(self, connection: Connection, batch: list["Ticket"]) -> None:
        """Finish every ticket; raises psycopg.Error for a lost connection, and is called again with the rest."""

    def holds_locks(self) -> bool:
        """Whether a connection that is lost while nothing is asked is made anew at once."""


class Ticket:
    """What was submitted, until it is done."""

    __slots__ = ("abandoned", "done", "error", "event", "item", "kind", "value", "wake")

    def __init__(self, kind: str, item: Any) -> None:
        self.kind, self.item = kind, item
        self.value: Any = None
        self.error: StoreError | None = None
        self.done = self.abandoned = False
        self.event: anyio.Event | threading.Event
        self.wake: Callable[..., object] | None = None
        """Runs a function in the event loop that waits; None where a thread does."""

    def finish(self, value: Any = None, error: StoreError | None = None) -> bool:
        """Give it its outcome; False where nobody waits for it any more."""
        with _OUTCOMES:
            self.value, self.error, self.done = value, error, True
            return not self.abandoned

    def abandon(self) -> bool:
        """Say that nobody waits for it any more; True where it is done already, so that its value stands."""
        with _OUTCOMES:
            self.abandoned = True
            return self.done

    @property
    def result(self) -> Any:
        """What came of it; raises what went wrong."""
        if self.error is not None:
            raise self.error
        return self.value


class PostgresSession:
    """The connection and its thread. What it sends is the business of who makes it."""

    def __init__(self, address: str, server: Server) -> None:
        """`address` is with its password, if it has one.

        Raises:
            psycopg.Error, StoreError: the first connection fails.
        """
        self._address, self._shown, self._server = address, hide_password(address), server
        self._connection: Connection | None = None
        self._parents: list[Connection] = []
        """Of the process that this one is a fork of; kept, because an end here would end them there."""
        self._outage_began: float | None = None
        self._start()
        self._connection = self.open_connection()
        server.resume(self._connection)

    def _start(self) -> None:
        self._process, self._mutex = os.getpid(), threading.Lock()
        self._queue: list[Ticket] = []
        self._asleep = self._closing = False
        self._thread: threading.Thread | None = None
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)

    def open_connection(self) -> Connection:
        """A new connection that is ready."""
        connection = self._connect()
        try:
            self._server.prepare(connection, self._connect)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self) -> Connection:
        options: dict[str, Any] = {k: v for k, v in CONNECT_OPTIONS.items() if f"{k}=" not in self._address}
        connection = WatchedConnection.connect(self._address, autocommit=True, client_encoding="utf8", **options)
        connection.answers = self._is_answered
        return connection

    def _is_answered(self) -> bool:
        """Whether the server says anything, if only that it has no room, on a new connection."""
        try:
            psycopg.connect(self._address, connect_timeout=PROBE_SECONDS).close()
        except psycopg.errors.ConnectionTimeout:
            return False
        except psycopg.Error:
            return True
        return True

    def submit(self, kind: str, item: Any, *, blocking: bool = False) -> Ticket:
        """Have something served; wait for it with `wait` or, where it was `blocking`, with `wait_blocking`."""
        ticket = Ticket(kind, item)
        if blocking:
            ticket.event = threading.Event()
        else:
            ticket.event, ticket.wake = anyio.Event(), _find_loop()
        self._enqueue(ticket)
        return ticket

    def send(self, kind: str, item: Any) -> None:
        """Have something served that nobody waits for."""
        self._enqueue(Ticket(kind, item))

    def _enqueue(self, ticket: Ticket) -> None:
        if os.getpid() != self._process:  # a fork has no thread, and the connection is its parent's
            self._parents += [self._connection] if self._connection is not None else []
            self._connection = None
            self._start()
        with self._mutex:
            if self._closing:
                raise StoreError(f"call store {self._shown} is closed")
            self._queue.append(ticket)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="archon-store", daemon=True)
                self._thread.start()
            woken, self._asleep = self._asleep, False
        if woken:
            self._waker.send(b"x")

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            self._work(batch)
            _notify(batch)
        if self._connection is not None:
            self._connection.close()
        self._woken.close()
        self._waker.close()

    def _take(self) -> list[Ticket] | None:
        """What there is to do, once there is something; None when the session is closed and all is done."""
        while True:
            with self._mutex:
                if self._queue:
                    batch, self._queue = self._queue, []
                    return batch
                if self._closing:
                    return None
                self._asleep = True
            if self._connection is not None and self._connection.closed:
                self._drop_connection()
            connection = self._connection
            with _Selector() as selector:
                for watched in (self._woken, connection):
                    if watched is not None:
                        selector.register(watched, selectors.EVENT_READ)
                ready = [key.fileobj for key, _ in selector.select()]
            if self._woken in ready:
                with suppress(BlockingIOError):
                    self._woken.recv(4096)
            if connection in ready and connection is not None:
                self._look_at(connection)

    def _look_at(self, connection: Connection) -> None:
        """The server said something unasked: a notice, or that it goes."""
        try:
            connection.pgconn.consume_input()
            connection.pgconn.notifies()
            if connection.pgconn.status == psycopg.pq.ConnStatus.OK:
                return
        except psycopg.Error:
            pass
        self._drop_connection()
        if self._server.holds_locks():
            failed: list[Ticket] = []
            self._work(failed)
            _notify(failed)

    def _work(self, batch: list[Ticket]) -> None:
        """Serve a batch, if need be over several connections."""
        pause = FIRST_PAUSE
        while True:
            try:
                if self._connection is None:
                    self._connection = self.open_connection()
                    self._server.resume(self._connection)
                    self._end_outage()
                self._server.serve(self._connection, batch)
                return
            except StoreError as exc:  # what is there now is no store that can be written, as in a failover
                error = exc
                self._drop_connection()
            except psycopg.Error as exc:
                message = scrub(" ".join(str(exc).split()), self._address)
                error = StoreError(
                    f"lost call store {self._shown}: {message} (every reply stored so far is kept: run again when the "
                    "server is back)"
                )
                self._drop_connection()
            except Exception as exc:  # noqa: BLE001 (told to everybody who waits, who would wait for ever)
                error = StoreError(f"call store {self._shown}: {scrub(repr(exc), self._address)}")
                self._drop_connection()
                break
            if not self._wait_for_server(error, pause, batch):
                break
            pause = min(2 * pause, LONGEST_PAUSE)
        with self._mutex:
            batch += self._queue
            self._queue = []
        for ticket in batch:
            if not ticket.done:
                ticket.finish(error=error)

    def _wait_for_server(self, error: StoreError, pause: float, batch: list[Ticket]) -> bool:
        """Wait before the next attempt; False where there is to be none."""
        now = time.monotonic()
        if self._outage_began is None:
            self._outage_began = now
            logging.getLogger(__name__).warning(
                "%s; replies that are not stored yet are kept, and the server is waited for up to %.0f s",
                str(error).partition(" (every")[0],
                MAX_OUTAGE,
            )
        elif now - self._outage_began > MAX_OUTAGE:
            return False
        if self._closing and not any(ticket.kind == "write" for ticket in (*batch, *self._queue)):
            return False
        time.sleep(pause)
        return True

    def _end_outage(self) -> None:
        if self._outage_began is not None:
            seconds, self._outage_began = time.monotonic() - self._outage_began, None
            logging.getLogger(__name__).warning("call store %s is back after %.0f s", self._shown, seconds)

    def _drop_connection(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error, OSError):
                self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Serve what was submitted, then end the thread and the connection. In a fork, which has none, nothing."""
        if os.getpid() != self._process:
            return
        with self._mutex:
            if self._closing:
                return
            self._closing, thread, woken = True, self._thread, self._asleep
            self._asleep = False
        if thread is None:
            self._drop_connection()
            self._woken.close()
            self._waker.close()
            return
        if woken:
            self._waker.send(b"x")
        if thread is not threading.current_thread():
            thread.join()


async def wait(ticket: Ticket) -> Any:
    """The result of a ticket for the event loop."""
    await ticket.event.wait()  # type: ignore[misc]
    return ticket.result


async def wait_shielded(ticket: Ticket) -> Any:
    """The result of a ticket, for which also asyncio's own `Task.cancel()` waits; the cancellation comes after it."""
    cancelled: BaseException | None = None
    with anyio.CancelScope(shield=True):
        while not ticket.done:
            try:
                await ticket.event.wait()  # type: ignore[misc]
            except anyio.get_cancelled_exc_class() as exc:
                cancelled = exc
    if cancelled is not None:
        raise cancelled
    return ticket.result


def wait_blocking(ticket: Ticket) -> Any:
    """The result of a ticket that was submitted as `blocking`."""
    assert isinstance(ticket.event, threading.Event)
    ticket.event.wait()
    return ticket.result


def is_lost(exc: psycopg.Error, connection: Connection) -> bool:
    """Whether an error means that the connection is gone, not that the server refuses something."""
    return connection.closed or (exc.sqlstate or "").startswith(LOST_STATES)


def _find_loop() -> Callable[..., object]:
    """How another thread has the running event loop call a function."""
    try:
        return asyncio.get_running_loop().call_soon_threadsafe
    except RuntimeError:
        import trio

        return trio.lowlevel.current_trio_token().run_sync_soon


def _notify(batch: list[Ticket]) -> None:
    """Wake everybody whose ticket is done, with one call per event loop."""
    loops: dict[Any, list[Ticket]] = {}
    for ticket in batch:
        if ticket.wake is not None:
            loops.setdefault(ticket.wake.__self__, []).append(ticket)  # type: ignore[attr-defined]
        elif hasattr(ticket, "event"):
            ticket.event.set()
    for tickets in loops.values():
        with suppress(RuntimeError):  # its loop has been closed
            assert tickets[0].wake is not None
            tickets[0].wake(_set_events, tickets)


def _set_events(tickets: list[Ticket]) -> None:
    for ticket in tickets:
        ticket.event.set()
