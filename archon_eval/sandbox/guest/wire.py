"""Layouts that host and container share.

Frames are `kind, length, payload`. Host to container: P program source, T test, A abandon what is queued.
Back: one R per P and per T in order, A in answer to A, one H(ello) when ready, and W where a test is given more time.
"""

import struct
from typing import NamedTuple

FRAME = struct.Struct("!cI")
TEST = struct.Struct("!?ddQQI")
"""calls?, CPU seconds, wall seconds, memory limit and output cap in bytes, input length (a harness follows)."""
RESULT = struct.Struct("!iBddQQII")
"""wait status, flags, CPU and wall seconds, peak bytes, output size, lengths of stdout and stderr sent."""
STOPPED, OOM, ABANDONED, HARNESS, WORN = 1, 2, 4, 8, 16
"""Flags of a result: stopped at a time limit, out of memory, abandoned by the host, the tests themselves at fault, not
run because only a fresh container can measure its memory."""
PROCESS_SPEC = struct.Struct("!BddQQ")
"""`ProcessSpec`, from the supervisor to the zygote."""
REAPED = struct.Struct("!BidQ")
"""role, wait status, CPU seconds, peak resident bytes: from the zygote to the supervisor, per process."""
COMPILE, MAIN, SERVE, JUDGE = range(4)
"""Roles of a process: compiles; runs a program; runs a program and serves calls to it; runs function-call tests."""
MEBI = 1 << 20
COMPILE_LIMITS = (10.0, 20.0, 1536 * MEBI, 64 * MEBI)
"""CPU seconds, wall seconds, address space, largest file of a compilation: hostile sources can take long to compile."""
ADDRESS_SPACE_MARGIN = 4096 * MEBI
"""Address space on top of the memory limit: thread stacks and arenas reserve far more than they touch."""
MAX_PROCESSES = 128
"""Processes and threads of one test: the tests of the compatibility suite start 101."""
BACKSTOP_SECONDS = 2
"""CPU seconds beyond the limit after which the kernel ends a process that nobody else has stopped."""
STDERR_TAIL = 2000
"""Bytes of standard error that a result has: a traceback's end."""
STDERR_CAP = 16 * MEBI
"""Bytes of standard error beyond which a program is stopped."""
MAX_WAIT_FACTOR = 10
"""The clock's limit may grow to this many times itself by time in which the program waited for a core."""
UNFIT_EXIT_CODE = 86
"""Exit code of tests that cannot be given to a program."""


class ProcessSpec(NamedTuple):
    """A process to start, with its limits."""

    kind: int
    """`MAIN` or `JUDGE`; for a compilation, the kind of code to compile."""
    cpu: float
    """CPU seconds."""
    wall: float
    """Seconds by the clock."""
    address_space: int
    """Bytes."""
    largest_file: int
    """Bytes."""


class Outcome(NamedTuple):
    """How a test or a compilation ended: the first fields of `RESULT`."""

    status: int
    """Wait status."""
    flags: int
    cpu: float
    """CPU seconds."""
    wall: float
    """Seconds by the clock."""
    peak: int
    """Peak bytes: of the largest process, or of everything together, if more."""
