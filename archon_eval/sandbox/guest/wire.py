"""The layouts both sides share.

Frames are `kind, length, payload`. Host to container: P program source, T test, A abandon what is queued.
Back: one R per P and per T in order, A in answer to A, one H(ello) when ready, and W where a test is given more time.
"""

import struct

FRAME = struct.Struct("!cI")
TEST = struct.Struct("!?ddQQI")
"""calls?, CPU seconds, wall seconds, address space and output cap in bytes, input length (a harness follows)."""
RESULT = struct.Struct("!iBddQQII")
"""wait status, flags, CPU and wall seconds, peak resident bytes, output size, lengths of stdout and stderr sent."""
STOPPED, OOM, ABANDONED, HARNESS = 1, 2, 4, 8
PROCESS_SPEC = struct.Struct("!BddQQ")
REAPED = struct.Struct("!BidQ")
COMPILE, MAIN, SERVE, JUDGE = range(4)
MEBI = 1 << 20
COMPILE_LIMITS = (10.0, 20.0, 1536 * MEBI, 64 * MEBI)
MAX_PROCESSES = 128
STDERR_TAIL = 2000
STDERR_CAP = 16 * MEBI
MAX_WAIT_FACTOR = 10
"""The clock's limit may grow to this many times itself by time in which the program waited for a core."""
UNFIT_EXIT_CODE = 86
"""Exit code of tests that cannot be given to a program."""
ProcessSpec = tuple[int, float, float, int, int]
"""kind, CPU seconds, wall seconds, address space and largest file in bytes"""
Outcome = tuple[int, int, float, float, int]
"""wait status, flags, CPU seconds, wall seconds, peak resident bytes"""
