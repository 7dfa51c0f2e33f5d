"""Drives one container through one program's tests and replaces the container when it dies.

worker = Worker(lambda: Container(client, image, memory))
worker.run(job)            # blocking; job.runs grows test by test, so no result is lost or counted twice
"""

import json
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from archon_eval.errors import ContainerLostError, SandboxError
from archon_eval.sandbox.container import Container
from archon_eval.sandbox.grading import match_outputs
from archon_eval.sandbox.guest import wire
from archon_eval.sandbox.types import AnyCase, CallCase, ProgramRun, ProgramVerdict, SandboxLimits, TestRun

SEND_WINDOW = 32_768
"""Bytes of input sent ahead of their results: less than a pipe holds, so that sending never waits for receiving."""
STALL = 30.0
"""Seconds of silence, beyond a test's own wall limit, after which a container counts as wedged."""
MAX_DEATHS = 3
"""Containers that one test may bring down before the fourth is its own fault: others may have died of the machine."""
CRASH_EXIT_CODE = -9
"""Exit code reported for a program that was killed with its container (SIGKILL)."""


@dataclass
class ProgramJob:
    """One program, its tests and the results so far (mutated by one worker thread only)."""

    program: bytes
    cases: tuple[AnyCase, ...]
    limits: SandboxLimits
    stop_at_first_failure: bool = True
    keep_output: bool = False
    runs: list[TestRun] = field(default_factory=list)
    compile_error: str | None = None
    fault: SandboxError | None = None
    """The error of the tests themselves, where they are at fault."""

    @classmethod
    def create(
        cls,
        program: str | bytes,
        cases: Sequence[AnyCase],
        *,
        limits: SandboxLimits,
        stop_at_first_failure: bool,
        keep_output: bool,
    ) -> Self:
        """A job from a runner's arguments; lone surrogates of a text are kept."""
        return cls(
            program=program.encode("utf-8", "surrogatepass") if isinstance(program, str) else program,
            cases=tuple(cases),
            limits=limits,
            stop_at_first_failure=stop_at_first_failure,
            keep_output=keep_output,
        )

    @property
    def done(self) -> bool:
        """Whether nothing is left to run."""
        failed = bool(self.runs) and self.runs[-1].verdict is not ProgramVerdict.ACCEPTED
        finished = len(self.runs) == len(self.cases) or (self.stop_at_first_failure and failed)
        return finished or self.compile_error is not None or self.fault is not None

    def get_result(self) -> ProgramRun:
        """The caller's result. Raises `SandboxError` where the tests themselves are at fault."""
        if self.fault:
            raise self.fault
        return ProgramRun(tuple(self.runs), len(self.cases), self.compile_error)


class Worker:
    """One slot of the pool: at most one container at a time."""

    def __init__(self, start: Callable[[], Container]) -> None:
        self._start = start
        self._container: Container | None = None
        self._cancelled = threading.Event()
        self._running = threading.Lock()

    def run(self, job: ProgramJob) -> None:
        """Run the job to its end (blocking).

        Raises:
            HostLostError: no container can be started, or the daemon cannot say how one ended: the job has no verdict.
        """
        with self._running:
            self._run_to_end(job)

    def _run_to_end(self, job: ProgramJob) -> None:
        deaths, at = 0, -1
        while not job.done and not self._cancelled.is_set():
            try:
                container = self._ensure_container()
                if not self._cancelled.is_set():
                    self._run_tests(container, job, 0 if deaths else SEND_WINDOW)
            except ContainerLostError:
                if self._cancelled.is_set():
                    break
                out_of_memory = container.check_oom_killed()
                self._container = None
                container.close()
                alone, deaths = deaths > 0, deaths + 1 if at == len(job.runs) else 1
                at = len(job.runs)
                if alone and (out_of_memory or deaths > MAX_DEATHS):
                    _attribute_crash(job, out_of_memory)

    def start(self) -> None:
        """Start the container now (blocking), rather than with the first program. Raises `HostLostError`."""
        with self._running:
            self._ensure_container()

    def cancel(self) -> None:
        """Give up, from any thread: the running job ends at once, and the container with it."""
        self._cancelled.set()
        if self._container is not None:
            self._container.disconnect()

    def close(self, *, remove: bool = True) -> None:
        """Remove the container, once a cancelled job has noticed; `remove` as for `Container.close`."""
        with self._running:
            if self._container is not None:
                self._container.close(remove=remove)

    def _ensure_container(self) -> Container:
        if self._container is None:
            self._container = self._start()
        return self._container

    def _run_tests(self, container: Container, job: ProgramJob, window: int) -> None:
        """The program's compilation, then every test that has no result yet."""
        container.send(b"P", job.program)
        result = _unpack_result(_receive_result(container, wire.COMPILE_LIMITS[1]))
        if result.status or result.flags:
            job.compile_error = result.stderr or "the compiler ran out of time or memory"
            return
        sent, ahead, sizes = len(job.runs), 0, dict[int, int]()
        while not job.done:
            while sent < len(job.cases) and (not sizes or ahead + _get_frame_size(job.cases[sent]) <= window):
                sizes[sent] = _get_frame_size(job.cases[sent])
                ahead += sizes[sent]
                container.send(b"T", _encode_test(job.cases[sent], job.limits))
                sent += 1
            at = len(job.runs)
            harness = wire.COMPILE_LIMITS[1] if isinstance(job.cases[at], CallCase) else 0.0
            reply = _unpack_result(_receive_result(container, job.limits.wall + harness))
            if reply.flags & wire.WORN:
                self._container = None
                container.close()
                return
            ahead -= sizes.pop(at)
            try:
                job.runs.append(grade_test(reply, job.cases[at], job.limits, keep_output=job.keep_output))
            except SandboxError as e:
                job.fault = e
        if sizes:
            container.send(b"A", b"")
            while container.receive(STALL)[0] != b"A":
                pass


@dataclass(frozen=True)
class ProcessResult:
    """The container's report of one test, or of the compilation."""

    status: int
    """Exit code; minus the signal's number where a signal ended it."""
    flags: int
    """`wire.STOPPED`, `wire.OOM` and so on, or-ed."""
    cpu: float
    """CPU seconds."""
    wall: float
    """Seconds by the clock."""
    peak: int
    """Peak bytes: of the largest process, or of everything together, if more."""
    size: int
    """Bytes written to standard output, also where they are not sent."""
    stdout: bytes
    """Empty where it exceeds the limit."""
    stderr: str
    """Its tail."""


def _receive_result(container: Container, seconds: float) -> bytes:
    kind = b"W"
    while kind == b"W":
        kind, payload = container.receive(seconds + STALL)
    if kind != b"R":
        raise ContainerLostError(f"unexpected frame {kind!r}")
    return payload


def _unpack_result(payload: bytes) -> ProcessResult:
    status, flags, cpu, wall, peak, size, out, err = wire.RESULT.unpack_from(payload)
    body = payload[wire.RESULT.size :]
    stderr = body[out : out + err].decode(errors="replace")
    return ProcessResult(
        status=os.waitstatus_to_exitcode(status),
        flags=flags,
        cpu=cpu,
        wall=wall,
        peak=peak,
        size=size,
        stdout=body[:out],
        stderr=stderr,
    )


def _get_frame_size(case: AnyCase) -> int:
    return len(_encode_harness(case)) if isinstance(case, CallCase) else len(case.input) + wire.TEST.size


def _encode_harness(case: CallCase) -> bytes:
    return json.dumps([case.setup, case.tests, case.names]).encode()


def _encode_test(case: AnyCase, limits: SandboxLimits) -> bytes:
    calls = isinstance(case, CallCase)
    head = (
        calls,
        limits.time_limit,
        limits.wall,
        limits.memory_limit,
        limits.get_output_limit(case),
    )
    if isinstance(case, CallCase):
        return wire.TEST.pack(*head, 0) + _encode_harness(case)
    return wire.TEST.pack(*head, len(case.input)) + case.input


def grade_test(reply: ProcessResult, case: AnyCase, limits: SandboxLimits, *, keep_output: bool) -> TestRun:
    """Decide on the host: resources first, then the exit code, then the output.

    Raises:
        SandboxError: the tests themselves are at fault.
    """
    if reply.flags & wire.HARNESS:
        raise SandboxError(
            f"the tests themselves do not compile or cannot be given to a program: {reply.stderr[-500:]}"
        )
    return TestRun(
        verdict=_decide_verdict(reply, case, limits),
        wall=reply.wall,
        cpu=reply.cpu,
        memory=reply.peak,
        exit_code=reply.status,
        stderr=reply.stderr,
        output=reply.stdout if keep_output else None,
    )


def _decide_verdict(reply: ProcessResult, case: AnyCase, limits: SandboxLimits) -> ProgramVerdict:
    if reply.flags & wire.OOM or reply.peak > limits.memory_limit:
        return ProgramVerdict.MEMORY_LIMIT
    if reply.flags & wire.STOPPED or reply.cpu > limits.time_limit or reply.status == -signal.SIGXCPU:
        return ProgramVerdict.TIME_LIMIT
    if reply.size > limits.get_output_limit(case):
        return ProgramVerdict.OUTPUT_LIMIT
    if reply.status:
        out_of_memory = reply.stderr.rstrip().rpartition("\n")[2].startswith("MemoryError")
        return ProgramVerdict.MEMORY_LIMIT if out_of_memory else ProgramVerdict.RUNTIME_ERROR
    if isinstance(case, CallCase) or case.expected is None:
        return ProgramVerdict.ACCEPTED
    return ProgramVerdict.ACCEPTED if match_outputs(reply.stdout, case.expected) else ProgramVerdict.WRONG_ANSWER


def _attribute_crash(job: ProgramJob, out_of_memory: bool) -> None:
    """Give the next test its verdict: it ended its container although it was alone in it."""
    verdict = ProgramVerdict.MEMORY_LIMIT if out_of_memory else ProgramVerdict.RUNTIME_ERROR
    message = "the program brought its container down"
    job.runs.append(TestRun(verdict, wall=0.0, cpu=0.0, memory=0, exit_code=CRASH_EXIT_CODE, stderr=message))
