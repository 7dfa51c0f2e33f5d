"""How many jobs of an engine are under way at once: one that only waits for a connection costs memory for nothing.

    window = JobWindow()
    await window.run_all(jobs)      # starts them in their order, and ends with the last of them

A job under way holds a task and a dozen frames, about ten times what its result does. So a layer of ten thousand
samples has no more tasks than can be of use, and makes the rest as there is room.
"""

from collections import deque
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

import anyio

Job = Callable[[], Coroutine[Any, Any, None]]

WINDOW = 4_000
"""Jobs under way in one engine: more than endpoints take at once, and than a process can ask for in some seconds."""
BLOCK = 20
"""Jobs that start together, since draws of one prompt share requests by tens where they arrive at one moment. A layer
with no more than these under way always starts as many more, whatever others do."""


@dataclass(slots=True, eq=False)
class _LayerJobs:
    """The jobs of one call of `run_all`."""

    held: int = 0
    """Places of the window that it has, under way and to come."""
    turn: anyio.Event | None = None
    """Set when it has been given another block; None while it does not wait for one."""


class JobWindow:
    """The places of one engine, for all of its questions."""

    def __init__(self, size: int = WINDOW) -> None:
        self._free = size
        self._waiting: deque[_LayerJobs] = deque()

    @property
    def free(self) -> int:
        """Places that nobody has; below 0 where layers took what they always may."""
        return self._free

    async def run_all(self, jobs: Iterable[Job] | AsyncIterable[Job]) -> None:
        """Run all of them, as many at once as there is room for; the first error cancels the others."""
        mine, unused = _LayerJobs(), 0
        try:
            async with anyio.create_task_group() as group:

                async def run_job(job: Job) -> None:
                    try:
                        await job()
                    finally:
                        self._give_back(mine, 1)

                if isinstance(jobs, AsyncIterable):
                    async for job in jobs:
                        unused = (unused or await self._take_block(mine)) - 1
                        group.start_soon(run_job, job)
                else:
                    for job in jobs:
                        unused = (unused or await self._take_block(mine)) - 1
                        group.start_soon(run_job, job)
                self._give_back(mine, unused)
        finally:  # a task that is cancelled before its first step runs nothing, not even its `finally`
            self._give_back(mine, mine.held)

    async def _take_block(self, mine: _LayerJobs) -> int:
        """The places of a block, once there is room for it."""
        if mine.held <= BLOCK or (self._free >= BLOCK and not self._waiting):
            self._give_block(mine)
            return BLOCK
        mine.turn = turn = anyio.Event()
        self._waiting.append(mine)
        try:
            await turn.wait()
        finally:
            if mine.turn is not None:
                self._waiting.remove(mine)
                mine.turn = None
        return BLOCK

    def _give_block(self, layer: _LayerJobs) -> None:
        layer.held += BLOCK
        self._free -= BLOCK
        if layer.turn is not None:
            layer.turn.set()
            layer.turn = None

    def _give_back(self, mine: _LayerJobs, places: int) -> None:
        mine.held -= places
        self._free += places
        if mine.turn is not None and mine.held <= BLOCK:
            self._waiting.remove(mine)
            self._give_block(mine)
        while self._waiting and self._free >= BLOCK:
            self._give_block(self._waiting.popleft())
