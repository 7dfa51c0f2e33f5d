"""Connections of the fast path: one pool per event loop, who goes first when they are scarce, and how many there are.

    async with lock.acquire(call.question):
        await gate.wait_for_room()              # as many requests as the endpoint has turned out to take
        connection = await pool.acquire()       # only one call at a time waits here: the oldest question's

So questions finish early instead of all at the end.
"""

import asyncio
import heapq
import itertools
import math
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import anyio


class PriorityLock:
    """A lock whose waiters get it by rank, lowest first, then in order of arrival."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: list[tuple[int, int, anyio.Event]] = []
        self._arrivals = itertools.count()

    @property
    def waiting(self) -> int:
        """How many wait for it."""
        return len(self._waiting)

    def acquire(self, rank: int) -> "_LockHold":
        """Hold the lock while the context is open."""
        return _LockHold(self, rank)

    async def take(self, rank: int) -> None:
        """Wait for the lock, and have it until `give_back`."""
        if self._taken:
            waiter = (rank, next(self._arrivals), anyio.Event())
            heapq.heappush(self._waiting, waiter)
            try:
                await waiter[2].wait()
            except BaseException:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
                    heapq.heapify(self._waiting)
                else:
                    self.give_back()
                raise
        self._taken = True

    def give_back(self) -> None:
        """Let the first of those who wait have it."""
        self._taken = bool(self._waiting)
        if self._waiting:
            heapq.heappop(self._waiting)[2].set()


class _LockHold:
    """A context of the lock's, without the generator that `asynccontextmanager` makes for each."""

    __slots__ = ("_lock", "_rank")

    def __init__(self, lock: PriorityLock, rank: int) -> None:
        self._lock, self._rank = lock, rank

    async def __aenter__(self) -> None:
        await self._lock.take(self._rank)

    async def __aexit__(self, *_: object) -> None:
        self._lock.give_back()


class LazyEvent:
    """An event that is made only where somebody waits for it: most of them nobody ever does."""

    __slots__ = ("_event", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._event: anyio.Event | None = None

    def set(self) -> None:
        """Wake all who wait."""
        self._is_set = True
        if self._event is not None:
            self._event.set()

    async def wait(self) -> None:
        """Until it is set; at once where it is."""
        if not self._is_set:
            self._event = self._event or anyio.Event()
            await self._event.wait()


PATIENCE = 8
"""Rounds of successes after which an endpoint is tried with more requests; doubled each time. Four times as many where
few requests are left: who is refused then waits, perhaps longer than all the others take."""


class PressureGate:
    """How many requests an endpoint takes at once, learned from those it refuses.

    Of requests that came together, those still under way when the last refusal arrives are what it takes. A refusal
    with none under way is no matter of how many at once: one goes first then, and successes soon bring the others back.
    """

    def __init__(self) -> None:
        self._limit = math.inf
        self._in_flight = 0
        self._recovering_to = 0.0
        self._patience, self._successes = PATIENCE, 0
        self._room: anyio.Event | None = None

    @property
    def limit(self) -> float:
        """The most requests at once; infinite until one is refused."""
        return self._limit

    async def wait_for_room(self) -> None:
        """Until another request may be sent; for one caller at a time, who sends it at once."""
        while self._in_flight >= self._limit:
            self._room = anyio.Event()
            try:
                await self._room.wait()
            finally:
                self._room = None

    def start(self) -> None:
        """A request is sent."""
        self._in_flight += 1

    def finish(self, refused: bool | None, waiting: int) -> None:
        """A request has ended.

        Args:
            refused: for now, or not; None for a request that was cancelled or lost.
            waiting: requests that are still to be sent.
        """
        self._in_flight -= 1
        if refused:
            self._lower_limit()
        elif refused is False and self._limit < math.inf:
            self._raise_limit(waiting)
        if self._room is not None:
            self._room.set()

    def _lower_limit(self) -> None:
        self._successes = 0
        if self._in_flight < self._limit:
            if self._in_flight == 0 and self._limit > 2:
                self._recovering_to, self._patience = min(self._limit / 2, PATIENCE), PATIENCE
            self._limit = max(1, self._in_flight)

    def _raise_limit(self, waiting: int) -> None:
        if self._limit < self._recovering_to:
            self._limit += 1
            return
        self._successes += 1
        rounds = self._successes / self._limit
        if rounds >= self._patience and (waiting >= 4 * self._limit or rounds >= 4 * self._patience):
            self._successes, self._patience = 0, min(2 * self._patience, 32 * PATIENCE)
            self._limit += max(1, self._limit // 4)


class SessionPool:
    """A client session per event loop, since connections cannot change loops."""

    def __init__(self) -> None:
        self._open: dict[asyncio.AbstractEventLoop, tuple[AsyncGenerator[aiohttp.ClientSession, None], Any]] = {}

    async def get(self) -> aiohttp.ClientSession:
        """This loop's session; a loop that shuts down closes its asynchronous generators, and so the session."""
        loop = asyncio.get_running_loop()
        if loop not in self._open:
            for other in [other for other in self._open if other.is_closed()]:
                del self._open[other]
            holder = _open_session()
            self._open[loop] = (holder, await anext(holder))
        session: aiohttp.ClientSession = self._open[loop][1]
        return session


async def _open_session() -> AsyncGenerator[aiohttp.ClientSession, None]:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=60, sock_read=600)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=5)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as session:
        yield session
