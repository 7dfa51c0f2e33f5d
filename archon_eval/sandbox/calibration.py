"""Measures how slow a machine is, so that a time limit means the same everywhere.

job = create_calibration_job()             # run CALIBRATION_RUNS of them on the machine
compute_slowdown(jobs)                     # 1.0 on a machine like the reference, 2.5 on a slow one, 0.7 on a faster one
"""

from collections.abc import Iterable
from statistics import median

from archon_eval.errors import SandboxError
from archon_eval.sandbox.types import Case, SandboxLimits
from archon_eval.sandbox.worker import ProgramJob

REFERENCE_CPU = 0.25
"""CPU seconds of `REFERENCE_PROGRAM` on the machine that a factor of 1 stands for."""
REFERENCE_PROGRAM = """
table = {}
total = 0
for i in range(1_500_000):
    key = (i * 7919) % 10_007
    table[key] = table.get(key, 0) + i
    total ^= table[key]
print("done" if total >= 0 else total)
"""
"""Dictionary and integer work, as most programs do it."""
CALIBRATION_RUNS = 3
"""Their median leaves out one run that other work on the machine disturbed."""
CALIBRATION_LIMIT = 60.0
"""CPU seconds: 240 times the reference, beyond any machine that could be used."""


def create_calibration_job() -> ProgramJob:
    """One run of the reference program."""
    limits = SandboxLimits(time_limit=CALIBRATION_LIMIT)
    return ProgramJob.create(
        REFERENCE_PROGRAM, [Case(b"", b"done")], limits=limits, stop_at_first_failure=True, keep_output=False
    )


def compute_slowdown(jobs: Iterable[ProgramJob]) -> float:
    """How much slower than the reference the machine ran these jobs; below 1 where it is faster.

    Raises:
        SandboxError: the program fails, so nothing can be measured.
    """
    results = [job.get_result() for job in jobs]
    if failed := [result for result in results if not result.passed]:
        raise SandboxError(f"the calibration program failed: {failed[0]}")
    return median(result.runs[0].cpu for result in results) / REFERENCE_CPU


def choose_scale(slowdowns: Iterable[float]) -> float:
    """What machines' slowdowns are multiplied by for their time factors: such that none is below 1.

    So the fastest machine shortens no limit, and a program gets the same verdict on all of them.

    >>> scale = choose_scale([0.5, 1.0])
    >>> [slowdown * scale for slowdown in (0.5, 1.0)]
    [1.0, 2.0]
    """
    return max(1.0, 1.0 / min(slowdowns))
