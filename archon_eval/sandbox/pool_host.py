"""One Docker daemon of a pool: its client, its containers, its speed, and whether it is in service.

host = PoolHost(DockerHost("tcp://big:2376"), image, memory=1 << 30)
host.connect()                       # blocking, as everything here that asks the daemon; from worker threads
worker = host.take_worker()
"""

import os
from typing import Any

from archon_eval.sandbox.calibration import CALIBRATION_RUNS, compute_slowdown, create_calibration_job
from archon_eval.sandbox.container import Container, remove_ended, remove_orphans
from archon_eval.sandbox.hosts import DockerHost, explain_loss
from archon_eval.sandbox.image import ImageContent, connect, read_image_content, require_image
from archon_eval.sandbox.shared_speeds import measure_once
from archon_eval.sandbox.worker import Worker

ANSWER_TIMEOUT = 60
"""Seconds for one answer of a daemon while programs run: on a busy machine, a start takes several."""
NOT_CONNECTED = "it is not connected"
SHARERS_VARIABLE = "ARCHON_SANDBOX_SHARERS"
"""How many processes have a pool on the same hosts: each takes its part of every host's containers."""


def count_sharers() -> int:
    """How many processes share the hosts, this one among them."""
    return max(1, int(os.environ.get(SHARERS_VARIABLE) or 1))


class PoolHost:
    """A daemon as its pool sees it. Whether it is in service is changed in the event loop only."""

    def __init__(
        self, host: DockerHost, image: str, *, memory: int, workers: int | None = None, client: Any = None
    ) -> None:
        """A host that is not connected.

        Args:
            host: the daemon.
            image: the image's tag.
            memory: upper bound of any program's memory limit, bytes.
            workers: containers at most; by default one per CPU of that machine. The host's own number goes first.
                Processes that share the hosts divide them.
            client: docker-py's client to use for good; by default one of its own per connection.
        """
        self.name = host.name
        self.fault: str | None = NOT_CONNECTED
        """Why it is out of service; None in service."""
        self.retry_at = 0.0
        """When it may be tried again (`anyio.current_time`, seconds)."""
        self.failures = 0
        """Attempts to connect that failed in a row."""
        self.running = 0
        """Programs that run there now."""
        self.capacity = 0
        """Containers at most; known once it is connected."""
        self.slowdown: float | None = None
        """Its CPU seconds for the reference program over the reference's; None before it is measured."""
        self.content: ImageContent | None = None
        """What is in its image; known once it is connected."""
        self._host, self._wanted = host, host.workers or workers
        self._image = image
        self._memory = memory
        self._given_client = client
        self._client: Any = None
        self._idle: list[Worker] = []
        self._workers: list[Worker] = []

    @property
    def free(self) -> int:
        """Programs it can take now."""
        return 0 if self.fault else self.capacity - self.running

    @property
    def idle(self) -> int:
        """Warm containers that wait."""
        return len(self._idle)

    def connect(self, *, start_worker: bool = False) -> None:
        """Connect anew, check the image, remove containers that nobody owns any more.

        Args:
            start_worker: also start a container, which shows that it can.

        Raises:
            SandboxError: the host cannot run programs; says what to type.
        """
        client = self._given_client or connect(self._host, ANSWER_TIMEOUT)
        with explain_loss("the Docker daemon went away"):
            require_image(client, self._image)
            self.content = read_image_content(client, self._image)
            remove_orphans(client)
            remove_ended(client)
            most = self._wanted or client.info().get("NCPU") or os.cpu_count() or 1
            self.capacity = max(1, most // count_sharers())
        # The former client is not closed: programs that still use it fail by themselves.
        self._client = client
        if start_worker:
            fresh, former = self._create_worker(), self._idle
            fresh.start()
            self._workers, self._idle = [fresh], [fresh]
            for worker in former:  # warm ones of a daemon that was not gone, or not for long
                worker.close()

    def measure_slowdown(self) -> float:
        """Run the reference program there, unless a process that shares the hosts has done so.

        Raises:
            SandboxError: it fails, or the host is lost.
        """
        return measure_once(self.name, self._run_reference_program)

    def _run_reference_program(self) -> float:
        worker = self.take_worker()
        jobs = [create_calibration_job() for _ in range(CALIBRATION_RUNS)]
        try:
            for job in jobs:
                worker.run(job)
            slowdown = compute_slowdown(jobs)
        except BaseException:
            self.drop_worker(worker)
            raise
        self.return_worker(worker)
        return slowdown

    def take_worker(self) -> Worker:
        """A warm container, or a new one, which starts with its first program."""
        try:
            return self._idle.pop()
        except IndexError:  # asked for rather than looked up: measuring takes one in another thread
            return self._create_worker()

    def return_worker(self, worker: Worker) -> None:
        """Keep a worker warm; one of an earlier connection is closed."""
        if self.has_worker(worker):
            self._idle.append(worker)
        else:
            worker.close()

    def has_worker(self, worker: Worker) -> bool:
        """Whether the worker is of this connection."""
        return worker in self._workers

    def drop_worker(self, worker: Worker) -> None:
        """End a worker; its container is removed unless the daemon is gone."""
        worker.cancel()
        if worker in self._workers:
            self._workers.remove(worker)
        worker.close(remove=self.fault is None)

    def list_workers(self) -> list[Worker]:
        """All workers of this connection, running and idle."""
        return list(self._workers)

    def close_client(self) -> None:
        """Close the connection, without the containers."""
        if self._client is not None and self._client is not self._given_client:
            self._client.close()
        self._client, self.fault = None, self.fault or NOT_CONNECTED
        self._workers.clear()
        self._idle.clear()

    def _create_worker(self) -> Worker:
        client = self._client
        worker = Worker(lambda: Container(client, self._image, self._memory))
        self._workers.append(worker)
        return worker
