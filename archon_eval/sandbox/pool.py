"""Runs many programs at once: a bounded pool of worker containers behind one async method.

    async with SandboxPool(workers=2) as pool:
        result = await pool.run("print(int(input()) * 2)", [Case(b"2", b"4")], limits=SandboxLimits(time_limit=2))
    result.passed                                                      # True

Containers start when first needed, stay warm between programs and are removed at the end, on Ctrl-C and on errors.
"""

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import anyio
import anyio.to_thread

from archon_eval.errors import SandboxError
from archon_eval.sandbox.container import Container, remove_orphans
from archon_eval.sandbox.image import connect, get_default_image, require_image
from archon_eval.sandbox.types import MEBI, AnyCase, ProgramRun, SandboxLimits
from archon_eval.sandbox.worker import ProgramJob, Worker

WORKERS_VARIABLE = "ARCHON_SANDBOX_WORKERS"
"""Containers of a pool at most, where nobody says otherwise; several processes that share a machine divide its CPUs."""


class ProgramRunner(Protocol):
    """Anything that runs programs on tests: `SandboxPool`, or `LocalRunner` for trusted code."""

    async def run(
        self,
        program: str | bytes,
        cases: Sequence[AnyCase],
        *,
        limits: SandboxLimits = ...,
        stop_at_first_failure: bool = True,
        keep_output: bool = False,
    ) -> ProgramRun:
        """Run one program on its tests."""
        ...


class SandboxPool:
    """A pool of hardened containers; an async context manager."""

    def __init__(
        self, workers: int | None = None, *, image: str | None = None, memory: int = 1024 * MEBI, client: Any = None
    ) -> None:
        """A pool that is opened by `async with`.

        Args:
            workers: containers at most; by default ARCHON_SANDBOX_WORKERS, or one per CPU.
            image: the image's tag; by default the sandbox's own.
            memory: upper bound of any program's memory limit, bytes.
            client: docker-py's client; by default one for `DOCKER_HOST` or the local socket.
        """
        self.workers = workers or int(os.environ.get(WORKERS_VARIABLE) or 0) or os.cpu_count() or 1
        self.image = image or get_default_image()
        self.memory = memory
        self._client = client
        self._idle: list[Worker] = []
        self._all: list[Worker] = []
        self._open = False
        self._limiter = anyio.CapacityLimiter(self.workers)

    async def __aenter__(self) -> Self:
        """Connect, check the image, remove containers of dead owners. Raises `SandboxError` that says what to type."""
        await anyio.to_thread.run_sync(self._connect)
        self._open = True
        return self

    def _connect(self) -> None:
        self._client = self._client or connect()
        require_image(self._client, self.image)
        remove_orphans(self._client)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove every container."""
        self._open = False
        for worker in self._all:
            worker.cancel()
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as group:
                for worker in list(self._all):
                    group.start_soon(anyio.to_thread.run_sync, worker.close)
        self._all.clear()
        self._idle.clear()

    async def run(
        self,
        program: str | bytes,
        cases: Sequence[AnyCase],
        *,
        limits: SandboxLimits = SandboxLimits(),  # noqa: B008
        stop_at_first_failure: bool = True,
        keep_output: bool = False,
    ) -> ProgramRun:
        """Compile once, run every case in a fresh process, compare here; waits for a free worker.

        Args:
            program: Python source.
            cases: the tests, in order.
            limits: resources of one test.
            stop_at_first_failure: run no test after the first that is not accepted.
            keep_output: keep each test's standard output in its result.

        Raises:
            ValueError: the memory limit exceeds the pool's.
            SandboxError: no container starts, or the tests themselves are at fault.
        """
        if not self._open:
            raise SandboxError("the pool is not open: `async with SandboxPool() as pool`, then `pool.run(...)`")
        if limits.memory_limit > self.memory:
            raise ValueError(f"memory limit {limits.memory_limit} is more than this pool's {self.memory} bytes")
        job = ProgramJob.create(
            program, cases, limits=limits, stop_at_first_failure=stop_at_first_failure, keep_output=keep_output
        )
        async with self._limiter:
            worker = self._idle.pop() if self._idle else self._add_worker()
            try:
                await anyio.to_thread.run_sync(
                    worker.run, job, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
                )
            except BaseException:
                await self._remove_worker(worker)
                raise
            self._idle.append(worker)
        return job.get_result()

    async def _remove_worker(self, worker: Worker) -> None:
        worker.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(worker.close)
        if worker in self._all:
            self._all.remove(worker)

    def _add_worker(self) -> Worker:
        worker = Worker(lambda: Container(self._client, self.image, self.memory))
        self._all.append(worker)
        return worker
