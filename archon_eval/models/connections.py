"""Connections of the fast path: one pool per event loop, and who goes first when they are scarce.

    async with lock.acquire(call.question):
        connection = await pool.acquire()       # only one call at a time waits here: the oldest question's

So questions finish early instead of all at the end.
"""

import asyncio
import heapq
import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio


class PriorityLock:
    """A lock whose waiters get it by rank, lowest first, then in order of arrival."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: list[tuple[int, int, anyio.Event]] = []
        self._arrivals = itertools.count()

    @asynccontextmanager
    async def acquire(self, rank: int) -> AsyncIterator[None]:
        """Hold the lock."""
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
                    self._wake_next()
                raise
        self._taken = True
        try:
            yield
        finally:
            self._wake_next()

    def _wake_next(self) -> None:
        self._taken = bool(self._waiting)
        if self._waiting:
            heapq.heappop(self._waiting)[2].set()


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
