"""Measures how slow this machine is, so that a time limit means the same everywhere.

factor = await calibrate(runner)          # 1.0 on a machine like the reference or faster, 2.5 on a slow one
"""

from statistics import median

from archon_eval.errors import SandboxError
from archon_eval.sandbox.pool import ProgramRunner
from archon_eval.sandbox.types import Case, SandboxLimits

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


async def calibrate(runner: ProgramRunner) -> float:
    """How much slower than the reference this machine runs a fixed program; at least 1.

    Raises:
        SandboxError: the program fails, so nothing can be measured.
    """
    limits, runs = SandboxLimits(time_limit=CALIBRATION_LIMIT), []
    for _ in range(CALIBRATION_RUNS):
        result = await runner.run(REFERENCE_PROGRAM, [Case(b"", b"done")], limits=limits)
        if not result.passed:
            raise SandboxError(f"the calibration program failed: {result}")
        runs.append(result.runs[0].cpu)
    return max(1.0, round(median(runs) / REFERENCE_CPU, 2))
