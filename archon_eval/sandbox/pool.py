"""Runs many programs at once: a bounded pool of worker containers, on one or several hosts, behind one async method.

    async with SandboxPool(workers=2) as pool:
        result = await pool.run("print(int(input()) * 2)", [Case(b"2", b"4")], limits=SandboxLimits(time_limit=2))
    result.passed                                                      # True

Containers start when first needed, stay warm between programs and are removed at the end, on Ctrl-C and on errors. A
program whose host is lost is run anew on another one. A lost host is tried again after a while.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol, Self

import anyio
import anyio.to_thread

from archon_eval.errors import HostLostError, SandboxError
from archon_eval.sandbox.calibration import choose_scale
from archon_eval.sandbox.hosts import DockerHost, DockerHosts, get_docker_hosts, is_news
from archon_eval.sandbox.image import (
    describe_different_images,
    describe_faults,
    find_different_images,
    get_default_image,
)
from archon_eval.sandbox.pool_host import PoolHost
from archon_eval.sandbox.types import MEBI, AnyCase, ProgramRun, SandboxLimits, TimeFactor
from archon_eval.sandbox.worker import ProgramJob, Worker

RETRY_SECONDS = 30.0
"""Until a lost host is tried again; twice as long after each failure."""
MAX_RETRY_SECONDS = 600.0
RETURN_SECONDS = 20.0
"""How long a program waits for any host where all are lost: a daemon restarts in five."""
RETURN_PAUSE = 1.0
"""Seconds between two looks at lost hosts while a program waits for one."""
CONNECTING = float("inf")
"""A host's time of the next attempt while one is under way."""
MAX_LOSSES = 3
"""Hosts that may be lost under one program: the program itself may be what brings them down."""

logger = logging.getLogger(__name__)


class ProgramRunner(Protocol):
    """Anything that runs programs on tests: `SandboxPool`, or `LocalRunner` for trusted code."""

    async def run(
        self,
        program: str | bytes,
        cases: Sequence[AnyCase],
        *,
        limits: SandboxLimits = ...,
        time_factor: TimeFactor = ...,
        stop_at_first_failure: bool = True,
        keep_output: bool = False,
    ) -> ProgramRun:
        """Run one program on its tests."""
        ...


class SandboxPool:
    """A pool of hardened containers; an async context manager, which may be entered again after its end."""

    _limiter: anyio.CapacityLimiter
    _returning: anyio.Lock
    _calibrating: anyio.Lock

    def __init__(
        self,
        workers: int | None = None,
        *,
        image: str | None = None,
        memory: int = 1024 * MEBI,
        client: Any = None,
        hosts: DockerHosts = None,
    ) -> None:
        """A pool that is opened by `async with`.

        Args:
            workers: containers at most on each host that names no number itself; by default one per CPU of the host.
            image: the image's tag; by default the sandbox's own.
            memory: upper bound of any program's memory limit, bytes.
            client: docker-py's client, instead of `hosts`.
            hosts: the daemons, see `parse_docker_hosts`; by default those of `ARCHON_DOCKER_HOSTS`, else the one of
                `DOCKER_HOST` or the local socket.

        Raises:
            SandboxError: `hosts` has an unknown form.
        """
        self.image = image or get_default_image()
        self.memory = memory
        found = (DockerHost(),) if client else get_docker_hosts(hosts)
        self._hosts = [PoolHost(host, self.image, memory=memory, workers=workers, client=client) for host in found]
        self._open = False
        self._scale: float | None = None
        self._hopeless_until = 0.0
        self._told_different: list[str] = []

    async def __aenter__(self) -> Self:
        """Connect, check images, remove containers of dead owners.

        Raises:
            SandboxError: no host can run programs; says what to type. A warning says which cannot where one can.
        """
        self._limiter = anyio.CapacityLimiter(1)
        self._returning, self._calibrating = anyio.Lock(), anyio.Lock()
        now = anyio.current_time()
        due = [host for host in self._hosts if now >= host.retry_at]
        for some in (
            due,
            [host for host in self._hosts if host not in due],
        ):  # the others only where none of these works
            if any(host.fault is None for host in self._hosts):
                break
            async with anyio.create_task_group() as group:
                for host in some:
                    group.start_soon(self._connect, host)
        if not any(host.fault is None for host in self._hosts):
            for host in self._hosts:
                host.retry_at = 0.0
            raise SandboxError(self._describe_faults())
        for host in self._hosts:
            if host.fault and is_news(host.name, absent=True):
                logger.warning("programs run without the Docker host %s: %s", host.name, host.fault)
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove every container."""
        self._open = False
        pairs = [(host, worker) for host in self._hosts for worker in host.list_workers()]
        for _, worker in pairs:
            worker.cancel()
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as group:
                for host, worker in pairs:
                    group.start_soon(anyio.to_thread.run_sync, host.drop_worker, worker)
        for host in self._hosts:
            host.close_client()

    async def run(
        self,
        program: str | bytes,
        cases: Sequence[AnyCase],
        *,
        limits: SandboxLimits = SandboxLimits(),  # noqa: B008
        time_factor: TimeFactor = 1.0,
        stop_at_first_failure: bool = True,
        keep_output: bool = False,
    ) -> ProgramRun:
        """Compile once, run every case in a fresh process, compare here; waits for a free worker.

        Args:
            program: Python source.
            cases: the tests, in order.
            limits: resources of one test.
            time_factor: multiplies the time limits; `auto`: by how slow the host is that runs the program (see
                `choose_scale`), measured once per host.
            stop_at_first_failure: run no test after the first that is not accepted.
            keep_output: keep each test's standard output in its result.

        Raises:
            ValueError: the memory limit exceeds the pool's.
            SandboxError: no container starts on any host, hosts were lost again and again under this program, or the
                tests themselves are at fault.
        """
        if not self._open:
            raise SandboxError("the pool is not open: `async with SandboxPool() as pool`, then `pool.run(...)`")
        if limits.memory_limit > self.memory:
            raise ValueError(f"memory limit {limits.memory_limit} is more than this pool's {self.memory} bytes")

        def create_job(factor: float) -> ProgramJob:
            return ProgramJob.create(
                program,
                cases,
                limits=limits.scale(factor),
                stop_at_first_failure=stop_at_first_failure,
                keep_output=keep_output,
            )

        losses: list[str] = []
        while True:
            await self._return_due_hosts()
            if time_factor == "auto":
                await self._calibrate()
            async with self._limiter:
                host = self._choose_host()
                if host is not None:
                    try:
                        return await self._run_on(host, create_job, time_factor)
                    except HostLostError as e:
                        losses.append(f"{host.name}: {e}")
            if len(losses) >= MAX_LOSSES:
                raise SandboxError(f"a program lost its Docker host {len(losses)} times: {'; '.join(losses)}")
            if host is None:
                await self._wait_for_return(losses)

    async def _run_on(
        self, host: PoolHost, create_job: Callable[[float], ProgramJob], time_factor: TimeFactor
    ) -> ProgramRun:
        """Raises `HostLostError`, with the host out of service, where it is lost."""
        factor = self._get_factor(host) if time_factor == "auto" else time_factor
        job, worker = create_job(factor), host.take_worker()
        host.running += 1
        try:
            await anyio.to_thread.run_sync(worker.run, job, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
        except BaseException as e:
            if isinstance(e, HostLostError) and host.has_worker(worker):
                self._put_out_of_service(host, str(e))
            await self._drop_worker(host, worker)
            raise
        finally:
            host.running -= 1
        if host.has_worker(worker):
            host.return_worker(worker)
        else:  # the host was lost and is back
            await self._drop_worker(host, worker)
        absent = tuple(other.name for other in self._hosts if other.fault)
        return replace(job.get_result(), host=host.name, time_factor=factor, absent_hosts=absent)

    async def _drop_worker(self, host: PoolHost, worker: Worker) -> None:
        worker.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(host.drop_worker, worker)

    def _choose_host(self) -> PoolHost | None:
        """The host with the most free workers, of equals one with a warm container; None where all are lost."""
        best = max(self._hosts, key=lambda host: (host.free, host.idle > 0))
        return best if best.free > 0 else None

    def _put_out_of_service(self, host: PoolHost, fault: str) -> None:
        host.fault, host.retry_at = fault, anyio.current_time() + RETRY_SECONDS
        self._update_capacity()
        left = [other.name for other in self._hosts if other.fault is None]
        then = f"its programs are run anew on {', '.join(left)}" if left else "no other is left"
        if is_news(host.name, absent=True):
            logger.warning("the Docker host %s is lost (%s); %s; it is tried again", host.name, fault, then)

    def _update_capacity(self) -> None:
        """So many programs pass the limiter as hosts in service have workers: whoever passes finds a free one."""
        self._limiter.total_tokens = max(1, sum(host.capacity for host in self._hosts if host.fault is None))

    async def _connect(self, host: PoolHost, *, start_worker: bool = False) -> None:
        """Put a host in service, or say in its `fault` why not."""
        host.retry_at = CONNECTING
        try:
            await anyio.to_thread.run_sync(lambda: host.connect(start_worker=start_worker), abandon_on_cancel=True)
            if self._scale is not None and host.slowdown is None:
                host.slowdown = await anyio.to_thread.run_sync(host.measure_slowdown, abandon_on_cancel=True)
        except SandboxError as e:
            host.fault = str(e)
            host.failures += 1
            delay = min(MAX_RETRY_SECONDS, RETRY_SECONDS * 2 ** (host.failures - 1))
        except BaseException:
            host.retry_at = 0.0
            raise
        else:
            host.fault, host.failures, delay = None, 0, 0.0
            self._tell_different_images()
            if is_news(host.name, absent=False):
                logger.warning("the Docker host %s is back", host.name)
        host.retry_at = anyio.current_time() + delay
        self._update_capacity()

    def _tell_different_images(self) -> None:
        """Say once, also of a host that joins late, that its image differs."""
        contents = {host.name: host.content for host in self._hosts if host.fault is None and host.content}
        different = find_different_images(contents)
        if different and different != self._told_different:
            logger.warning(describe_different_images(different))
        self._told_different = different or self._told_different

    async def _return_due_hosts(self) -> None:
        """Try lost hosts again whose time has come, while others are in service."""
        now = anyio.current_time()
        if any(host.fault is None for host in self._hosts):
            for host in self._hosts:
                if host.fault and now >= host.retry_at:
                    await self._connect(host, start_worker=True)

    async def _wait_for_return(self, losses: Sequence[str]) -> None:
        """Wait until a host is back in service.

        Raises:
            SandboxError: none came back in time; for a while no other program waits.
        """
        async with self._returning:
            deadline = anyio.current_time() + RETURN_SECONDS
            while not any(host.fault is None for host in self._hosts):
                now = anyio.current_time()
                if now < self._hopeless_until:
                    raise SandboxError("; ".join(dict.fromkeys([*losses, self._describe_faults()])))
                for host in self._hosts:
                    if host.retry_at != CONNECTING:
                        await self._connect(host, start_worker=True)
                if anyio.current_time() >= deadline:
                    self._hopeless_until = anyio.current_time() + RETRY_SECONDS
                elif all(host.fault for host in self._hosts):
                    await anyio.sleep(RETURN_PAUSE)

    def _describe_faults(self) -> str:
        return describe_faults({host.name: host.fault for host in self._hosts if host.fault})

    async def _calibrate(self) -> None:
        """Measure every host in service once; together, so that the fastest one sets the scale for all."""
        async with self._calibrating:
            while unmeasured := [host for host in self._hosts if host.fault is None and host.slowdown is None]:
                async with anyio.create_task_group() as group:
                    for host in unmeasured:
                        group.start_soon(self._measure, host)
            measured = [host.slowdown for host in self._hosts if host.slowdown is not None]
            if self._scale is None and measured:
                self._scale = choose_scale(measured)

    async def _measure(self, host: PoolHost) -> None:
        try:
            host.slowdown = await anyio.to_thread.run_sync(host.measure_slowdown, abandon_on_cancel=True)
        except SandboxError as e:
            self._put_out_of_service(host, str(e))

    def _get_factor(self, host: PoolHost) -> float:
        """The host's factor on time limits; a host that joined late and is faster than all others has one below 1."""
        assert self._scale is not None and host.slowdown is not None, host.name
        return round(self._scale * host.slowdown, 2)
