"""One runner for many users at once: opened by the first, closed by the last, so that no container stays.

shared = SharedRunner(SandboxPool)
async with shared.borrow() as runner:
    await runner.run("print(1)", [Case(b"", b"1")])
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio


class SharedRunner:
    """Lends one runner to every scorer and component that needs it at the moment.

    The runner is made once and entered again and again, so that it keeps what it has measured of its machines.
    """

    def __init__(self, create_runner: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self._create = create_runner
        self._made: AbstractAsyncContextManager[Any] | None = None
        self._lock = anyio.Lock()
        self._users = 0
        self._entered: AbstractAsyncContextManager[Any] | None = None
        self._runner: Any = None

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[Any]:
        """The runner, while this block lasts."""
        async with self._lock:
            if self._entered is None:
                self._made = self._made or self._create()
                self._runner = await self._made.__aenter__()
                self._entered = self._made
            self._users += 1
        try:
            yield self._runner
        finally:
            with anyio.CancelScope(shield=True):
                async with self._lock:
                    self._users -= 1
                    if not self._users and self._entered is not None:
                        entered, self._entered = self._entered, None
                        await entered.__aexit__(None, None, None)
