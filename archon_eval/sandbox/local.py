"""Runs programs without a sandbox, for code you wrote yourself: the same verdicts, no protection at all.

runner = LocalRunner(trusted=True)        # warns; without `trusted=True` it refuses
"""

import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread

from archon_eval.errors import SandboxError
from archon_eval.sandbox.calibration import (
    CALIBRATION_RUNS,
    choose_scale,
    compute_slowdown,
    create_calibration_job,
)
from archon_eval.sandbox.grading import prepend_prelude
from archon_eval.sandbox.guest.wire import ADDRESS_SPACE_MARGIN, BACKSTOP_SECONDS, STDERR_CAP, STDERR_TAIL, STOPPED
from archon_eval.sandbox.shared_speeds import measure_once
from archon_eval.sandbox.types import AnyCase, CallCase, Case, ProgramRun, SandboxLimits, TestRun, TimeFactor
from archon_eval.sandbox.worker import ProcessResult, ProgramJob, grade_test

MODULE_PREAMBLE = "import sys; sys.modules['program'] = sys.modules[__name__]; __name__ = 'program'\n"
"""Before a program under function-call tests, so that its own demo does not run."""
POLL_SECONDS = 0.002
"""Pause between two looks at a running program: the error of its wall time."""
WARNING = "--sandbox local runs programs on this machine with your rights and NO PROTECTION: only for code you trust"


class LocalRunner:
    """Programs as plain subprocesses of this Python; never a default. An async context manager, like the pool."""

    def __init__(self, *, trusted: bool, workers: int | None = None) -> None:
        """Raises `SandboxError` unless the caller says that the programs are trusted."""
        if trusted is not True:
            raise SandboxError("without Docker only trusted code may run; see `archon sandbox doctor` for the sandbox")
        logging.getLogger(__name__).warning(WARNING)
        self._limiter = anyio.CapacityLimiter(workers or os.cpu_count() or 1)
        self._calibrating = anyio.Lock()
        self._factor: float | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

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
        """As `SandboxPool.run`; function-call tests run in the program's own process here."""
        factor = await self._measure_factor() if time_factor == "auto" else time_factor
        job = ProgramJob.create(
            program,
            cases,
            limits=limits.scale(factor),
            stop_at_first_failure=stop_at_first_failure,
            keep_output=keep_output,
        )
        try:
            compile(job.program, "main.py", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            job.compile_error = f"{type(e).__name__}: {e}"
        await self._run_tests(job)
        return replace(job.get_result(), time_factor=factor)

    async def _run_tests(self, job: ProgramJob) -> None:
        while not job.done:
            job.runs.append(
                await anyio.to_thread.run_sync(_run_test, job, job.cases[len(job.runs)], limiter=self._limiter)
            )

    async def _measure_factor(self) -> float:
        async with self._calibrating:
            if self._factor is None:
                slowdown = await anyio.to_thread.run_sync(
                    measure_once, "this machine", _run_reference_program, limiter=self._limiter
                )
                self._factor = round(slowdown * choose_scale([slowdown]), 2)
            return self._factor


def _run_reference_program() -> float:
    """How slow this machine is."""
    jobs = [create_calibration_job() for _ in range(CALIBRATION_RUNS)]
    for job in jobs:
        job.runs += [_run_test(job, case) for case in job.cases]
    return compute_slowdown(jobs)


def _run_test(job: ProgramJob, case: AnyCase) -> TestRun:
    limits = job.limits
    with tempfile.TemporaryDirectory(prefix="archon-local-") as folder:
        main, stdin, stdout, stderr = (Path(folder, name) for name in ("main.py", "in", "out", "err"))
        main.write_bytes(job.program if isinstance(case, Case) else _join_tests(job.program, case))
        stdin.write_bytes(case.input if isinstance(case, Case) else b"")
        started, own_peak = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        output_limit = limits.get_output_limit(case)
        process = _start_process(main, (stdin, stdout, stderr), limits=limits, output_limit=output_limit)
        flags, status, usage = _wait_for_exit(process.pid, started + limits.wall)
        process.returncode = os.waitstatus_to_exitcode(status)
        size = stdout.stat().st_size
        result = ProcessResult(
            status=process.returncode,
            flags=flags,
            cpu=usage.ru_utime + usage.ru_stime,
            wall=time.monotonic() - started,
            # Linux counts the pages that the process had before it became the program: our own.
            peak=usage.ru_maxrss * 1024 if usage.ru_maxrss > own_peak else 0,
            size=size,
            stdout=stdout.read_bytes() if size <= output_limit else b"",
            stderr=stderr.read_bytes()[-STDERR_TAIL:].decode(errors="replace"),
        )
    return grade_test(result, case, limits, keep_output=job.keep_output)


def _join_tests(program: bytes, case: CallCase) -> bytes:
    """Program and function-call tests as one source."""
    text = prepend_prelude(MODULE_PREAMBLE + case.setup, program.decode("utf-8", "surrogatepass"))
    return f"{text}\n{case.tests}".encode("utf-8", "surrogatepass")


def _start_process(
    main: Path, streams: tuple[Path, Path, Path], *, limits: SandboxLimits, output_limit: int
) -> subprocess.Popen[bytes]:
    """Start the program in a session of its own, its files as standard streams, its limits set."""
    largest_file = max(output_limit, STDERR_CAP) + 1
    address_space = limits.memory_limit + ADDRESS_SPACE_MARGIN
    cpu_seconds = int(limits.time_limit) + BACKSTOP_SECONDS

    def restrict() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
        resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    with streams[0].open("rb") as stdin, streams[1].open("wb") as stdout, streams[2].open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, main.name],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=main.parent,
            env=os.environ | {"PYTHONINTMAXSTRDIGITS": "0"},
            start_new_session=True,
            preexec_fn=restrict,
        )


def _wait_for_exit(pid: int, deadline: float) -> tuple[int, int, resource.struct_rusage]:
    """Flags, wait status and usage; at the deadline the whole session is killed."""
    flags = 0
    while True:
        done, status, usage = os.wait4(pid, 0 if flags else os.WNOHANG)
        if done:
            return flags, status, usage
        if time.monotonic() > deadline:
            flags = STOPPED
            os.killpg(pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
