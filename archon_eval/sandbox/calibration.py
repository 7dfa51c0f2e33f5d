"""How slow this machine is, so that a time limit means the same everywhere.

factor = await calibrate(runner)          # 1.0 on a machine like the reference or faster, 2.5 on a slow one
"""

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


async def calibrate(runner: ProgramRunner) -> float:
    """How much slower than the reference this machine runs a fixed program (median of three); at least 1."""
    runs = []
    for _ in range(3):
        result = await runner.run(REFERENCE_PROGRAM, [Case(b"", b"done")], limits=SandboxLimits(time_limit=60))
        if not result.passed:
            raise SandboxError(f"the calibration program failed: {result}")
        runs.append(result.runs[0].cpu)
    return max(1.0, round(sorted(runs)[1] / REFERENCE_CPU, 2))
