"""One runner for many users at once: opened by the first, closed by the last, so that no container stays.

shared = SharedRunner(SandboxPool)
async with shared.borrow() as runner:
    await runner.run("print(1)", [Case(b"", b"1")])
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio

from archon_eval.sandbox.calibration import calibrate


class SharedRunner:
    """Lends one runner to every scorer and component that needs it at the moment."""

    def __init__(self, open_runner: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self._open = open_runner
        self._lock = anyio.Lock()
        self._users = 0
        self._entered: AbstractAsyncContextManager[Any] | None = None
        self._runner: Any = None
        self._calibrating = anyio.Lock()
        self._factor: float | None = None

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[Any]:
        """The runner, while this block lasts."""
        async with self._lock:
            if self._entered is None:
                entered = self._open()
                self._runner = await entered.__aenter__()
                self._entered = entered
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

    async def measure_time_factor(self, runner: Any) -> float:
        """The machine's factor on time limits, measured once (see `calibrate`)."""
        async with self._calibrating:
            if self._factor is None:
                self._factor = await calibrate(runner)
            return self._factor
