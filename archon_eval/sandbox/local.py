"""Programs without a sandbox, for code you wrote yourself: the same verdicts, no protection whatsoever.

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
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread

from archon_eval.errors import SandboxError
from archon_eval.sandbox.grading import prepend_prelude
from archon_eval.sandbox.guest.wire import STDERR_CAP, STDERR_TAIL, STOPPED
from archon_eval.sandbox.types import AnyCase, Case, ProgramRun, SandboxLimits, TestRun
from archon_eval.sandbox.worker import ADDRESS_SPACE_MARGIN, ProcessResult, ProgramJob, grade_test

MODULE_PREAMBLE = "import sys; sys.modules['program'] = sys.modules[__name__]; __name__ = 'program'\n"
WARNING = "--sandbox local runs programs on this machine with your rights and NO PROTECTION: only for code you trust"


class LocalRunner:
    """Programs as plain subprocesses of this Python; never a default. An async context manager, like the pool."""

    def __init__(self, *, trusted: bool, workers: int | None = None) -> None:
        """Raises `SandboxError` unless the caller says that the programs are trusted."""
        if trusted is not True:
            raise SandboxError("without Docker only trusted code may run; see `archon sandbox doctor` for the sandbox")
        logging.getLogger(__name__).warning(WARNING)
        self._limiter = anyio.CapacityLimiter(workers or os.cpu_count() or 1)

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
        stop_at_first_failure: bool = True,
        keep_output: bool = False,
    ) -> ProgramRun:
        """As `SandboxPool.run`; function-call tests run in the program's own process here."""
        source = program.encode("utf-8", "surrogatepass") if isinstance(program, str) else program
        job = ProgramJob(source, tuple(cases), limits, stop_at_first_failure, keep_output)
        try:
            compile(source, "main.py", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            job.compile_error = f"{type(e).__name__}: {e}"
        while not job.done:
            job.runs.append(
                await anyio.to_thread.run_sync(_run_test, job, job.cases[len(job.runs)], limiter=self._limiter)
            )
        return job.get_result()


def _run_test(job: ProgramJob, case: AnyCase) -> TestRun:
    limits, given, source = job.limits, b"", job.program
    if isinstance(case, Case):
        given = case.input
    else:
        text = prepend_prelude(MODULE_PREAMBLE + case.setup, source.decode("utf-8", "surrogatepass"))
        source = f"{text}\n{case.tests}".encode("utf-8", "surrogatepass")
    with tempfile.TemporaryDirectory(prefix="archon-local-") as folder:
        files = [Path(folder, name) for name in ("main.py", "in", "out", "err")]
        files[0].write_bytes(source)
        files[1].write_bytes(given)
        largest = max(limits.get_output_limit(case), STDERR_CAP) + 1
        space = limits.memory_limit + ADDRESS_SPACE_MARGIN

        def restrict() -> None:
            resource.setrlimit(resource.RLIMIT_CPU, (int(limits.time_limit) + 2,) * 2)
            resource.setrlimit(resource.RLIMIT_AS, (space, space))
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

        begun, floor = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with files[1].open("rb") as stdin, files[2].open("wb") as stdout, files[3].open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "main.py"],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=folder,
                start_new_session=True,
                preexec_fn=restrict,
            )
        flags, status, usage = _wait_for_exit(process.pid, begun + limits.wall)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall, cpu = time.monotonic() - begun, usage.ru_utime + usage.ru_stime
        size, error = files[2].stat().st_size, files[3].read_bytes()[-STDERR_TAIL:].decode(errors="replace")
        output = files[2].read_bytes() if size <= limits.get_output_limit(case) else b""
        # Linux counts what the process had before it became the program: our own pages
        peak = usage.ru_maxrss * 1024 if usage.ru_maxrss > floor else 0
        reply = ProcessResult(process.returncode, flags, cpu, wall, peak, size, output, error)
    return grade_test(reply, case, limits, job.keep_output)


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
        time.sleep(0.002)
