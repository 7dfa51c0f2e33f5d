"""Values that go into a sandbox and come out: cases, limits, verdicts.

>>> accepted = TestRun(ProgramVerdict.ACCEPTED, wall=0.02, cpu=0.01, memory=9 * MEBI)
>>> ProgramRun((accepted,), tests=20).passed    # 19 tests have no result
False
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, Self

TimeFactor = float | Literal["auto"]
"""What time limits are multiplied by; `auto`: how slow the machine is that runs the program."""
MEBI = 1 << 20
"""Bytes of one MiB."""
MAX_SECONDS = 1e6
"""Upper bound of every time limit: far above any test, and still exact as a double and in `setrlimit`."""
MAX_BYTES = 1 << 40
"""Upper bound of every size limit, 1 TiB: it fits in the 64 bits that go over the wire."""
MIN_MEMORY = 32 * MEBI
"""Below this the interpreter itself may not start."""
DEFAULT_OUTPUT_LIMIT = MEBI
"""Bytes of output that any program may print, however short the expected output is."""


class ProgramVerdict(StrEnum):
    """How one test ended."""

    ACCEPTED = "accepted"
    WRONG_ANSWER = "wrong answer"
    TIME_LIMIT = "time limit"
    MEMORY_LIMIT = "memory limit"
    OUTPUT_LIMIT = "output limit"
    RUNTIME_ERROR = "runtime error"
    COMPILE_ERROR = "compile error"


@dataclass(frozen=True, slots=True)
class Case:
    """One stdin/stdout test."""

    input: bytes
    """Bytes on the program's standard input."""
    expected: bytes | None = None
    """Expected standard output; never sent to the container. None accepts any output of a clean run."""


@dataclass(frozen=True, slots=True)
class CallCase:
    """One function-call test: the program runs in one process, the tests in another that calls it with plain values."""

    tests: str
    """Python that raises when a test fails (HumanEval: `test` and the `check(...)` line)."""
    names: tuple[str, ...]
    """Names of the program that the tests use; each becomes a stand-in for the program's own object."""
    setup: str = ""
    """Trusted Python executed before the tests (HumanEval: the prompt, for its imports and helpers)."""


AnyCase = Case | CallCase


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Resources that one test may use."""

    time_limit: float = 10.0
    """CPU seconds, threads and children included."""
    memory_limit: int = 512 * MEBI
    """Bytes of everything that the program starts together: processes, memory files, the kernel's buffers."""
    output_limit: int | None = None
    """Bytes of standard output; by default 1 MiB or twice the expected output, whichever is more."""
    wall_limit: float | None = None
    """Seconds by the clock, against sleepers; by default twice the time limit and one second. Waiting for a core on a
    busy machine does not count, up to ten times the limit."""

    def __post_init__(self) -> None:
        times = (self.time_limit, self.wall if self.wall_limit is not None else 1.0)
        sizes = (self.memory_limit, self.output_limit or 0)
        in_range = all(0 < t <= MAX_SECONDS for t in times) and self.memory_limit >= MIN_MEMORY
        if not (in_range and all(0 <= size <= MAX_BYTES for size in sizes)):
            raise ValueError(
                f"limits need a positive time of at most {MAX_SECONDS:g} s, at least 32 MiB of memory, "
                f"and no size below 0 or above 1 TiB, got {self!r}"
            )

    @property
    def wall(self) -> float:
        """The wall limit in force, seconds."""
        return 2 * self.time_limit + 1 if self.wall_limit is None else self.wall_limit

    def scale(self, factor: float) -> Self:
        """The same limits with times multiplied by a machine's factor."""
        wall_limit = None if self.wall_limit is None else self.wall_limit * factor
        return replace(self, time_limit=self.time_limit * factor, wall_limit=wall_limit)

    def get_output_limit(self, case: AnyCase) -> int:
        """The output limit in force for a case, bytes."""
        expected = case.expected if isinstance(case, Case) else None
        return (
            self.output_limit if self.output_limit is not None else max(DEFAULT_OUTPUT_LIMIT, 2 * len(expected or b""))
        )


@dataclass(frozen=True, slots=True)
class TestRun:
    """One test of one program."""

    __test__ = False

    verdict: ProgramVerdict
    wall: float
    """Seconds by the clock."""
    cpu: float
    """CPU seconds of the process, its threads and its children."""
    memory: int
    """Peak resident bytes of the largest process; or what everything took together, where that is more."""
    exit_code: int = 0
    """The program's exit code; minus the signal's number where a signal ended it."""
    stderr: str = ""
    """The tail of its standard error (2,000 bytes)."""
    output: bytes | None = None
    """Its standard output, with `keep_output`."""


@dataclass(frozen=True, slots=True)
class ProgramRun:
    """One program on its tests."""

    runs: tuple[TestRun, ...]
    """In the order of the tests; ends with the first failure unless all tests were asked for."""
    tests: int
    """How many tests there are."""
    compile_error: str | None = None
    """The compiler's message, where the program does not compile (then there are no runs)."""
    host: str = ""
    """The Docker host that ran all of it, without user and password; empty without Docker."""
    time_factor: float = 1.0
    """What its time limits were multiplied by."""
    absent_hosts: tuple[str, ...] = ()
    """Hosts of the pool that were out of service when it ended."""

    @property
    def passed(self) -> bool:
        """Whether every test was run and accepted (and there is at least one)."""
        return 0 < self.tests == len(self.runs) and all(r.verdict is ProgramVerdict.ACCEPTED for r in self.runs)

    @property
    def verdict(self) -> ProgramVerdict:
        """The first verdict that is not `accepted`, else `accepted`."""
        if self.compile_error is not None:
            return ProgramVerdict.COMPILE_ERROR
        return next((r.verdict for r in self.runs if r.verdict is not ProgramVerdict.ACCEPTED), ProgramVerdict.ACCEPTED)
