"""Resources a test has used so far, read from the kernel's accounts: CPU, memory, kills for want of it, time without a
core.

meter = ResourceMeter(zygote_pid)
before = meter.read_cpu_seconds()
meter.begin_memory()
...
meter.measure_test_cpu(before)          # CPU seconds of the test, its unawaited children included
meter.measure_memory(files)             # bytes of everything that the test started, at their peak
"""

import contextlib
import os
import time
from collections.abc import Iterable

CGROUP_FOLDER = "/sys/fs/cgroup"
OOM_COUNTERS = ("/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory.events")
CPU_COUNTERS = (
    "/sys/fs/cgroup/cpuacct/cpuacct.usage",
    "/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage",
    "/sys/fs/cgroup/cpu.stat",
)
MEMORY_COUNTERS = (
    tuple(f"/sys/fs/cgroup/memory/memory.{name}_in_bytes" for name in ("limit", "usage", "max_usage")),
    tuple(f"/sys/fs/cgroup/memory.{name}" for name in ("max", "current", "peak")),
)
"""Limit, use and greatest use so far of a control group, by version."""
LARGEST_LIMIT = 1 << 50
"""A greater memory limit, or none, is not a container's own: the account is the machine's."""
MAX_START_GAP = 32 << 20
"""Bytes by which the mark may be above what is in use when a container has started: the smallest memory limit."""
OWN_CGROUP = "/sys/fs/cgroup/cgroup.type"
"""Missing in the machine's own control group, which counts everything; a container may see that one in its place."""


class ResourceMeter:
    """The accounts of this container."""

    def __init__(self, zygote_pid: int) -> None:
        self.zygote = zygote_pid
        self.ooms = open_first_file(OOM_COUNTERS)
        self.usage = open_first_file(CPU_COUNTERS if os.path.exists(OWN_CGROUP) else CPU_COUNTERS[:2])  # noqa: PTH110
        self.memory, self.greatest_memory = open_memory_account()
        self.peak_before = self.memory_before = self.sampled = 0

    def count_ooms(self) -> int:
        """How many processes the memory limit has killed so far in this container."""
        words = os.pread(self.ooms, 4096, 0).split() if self.ooms >= 0 else []
        return int(words[words.index(b"oom_kill") + 1]) if b"oom_kill" in words else 0

    def read_cpu_seconds(self) -> float:
        """CPU seconds so far of everything in the container but this process and the zygote; 0 without an account.

        It includes children that nobody waited for, which no process's own account has.
        """
        words = os.pread(self.usage, 4096, 0).split() if self.usage >= 0 else []
        if not words:
            return 0.0
        total = int(words[1]) / 1e6 if len(words) > 1 else int(words[0]) / 1e9
        return total - time.process_time() - time.clock_gettime(get_cpu_clock(self.zygote))

    def drop_useless_account(self) -> None:
        """Do without an account whose highest mark is already so high that no test would raise it."""
        if self.begin_memory() > MAX_START_GAP:
            self.memory = self.greatest_memory = -1

    def begin_memory(self) -> int:
        """Note what is in use before a test; returns the bytes by which a test must exceed that to be noticed."""
        self.memory_before, self.peak_before = read_number(self.memory), read_number(self.greatest_memory)
        self.sampled = 0
        return self.peak_before - self.memory_before

    def sample_memory(self) -> None:
        """Note the memory of everything that the test has started, as it is now."""
        if self.memory >= 0:
            self.sampled = max(self.sampled, read_number(self.memory) - self.memory_before)
        else:
            pids = [p for p in os.listdir("/proc") if p.isdigit() and p not in ("1", str(self.zygote))]  # noqa: PTH208
            self.sampled = max(self.sampled, sum(map(read_private_bytes, pids)))

    def measure_memory(self, files: int) -> int:
        """Peak bytes of everything since `begin_memory`: any child, memory files, the kernel's buffers.

        By the account's highest mark where that has risen since; else the largest sum that was sampled.

        Args:
            files: bytes that the test has written to its standard streams, which have limits of their own.
        """
        if self.memory < 0:
            return self.sampled
        peak = read_number(self.greatest_memory)
        idle = min(self.memory_before, read_number(self.memory) - files)
        return max(0, self.sampled - files, peak - idle - files if peak > self.peak_before else 0)

    def list_children(self) -> list[int]:
        """The zygote's children."""
        with open(f"/proc/{self.zygote}/task/{self.zygote}/children") as f:  # noqa: PTH123
            return [int(pid) for pid in f.read().split()]

    def measure_test_cpu(self, before: float) -> float:
        """CPU seconds of the test so far: of the zygote's children by their clocks, or the container's, if more."""
        try:
            own = sum(time.clock_gettime(get_cpu_clock(pid)) for pid in self.list_children())
        except OSError:
            own = 0.0
        return max(own, self.read_cpu_seconds() - before)

    def measure_core_wait(self) -> float:
        """Seconds that the test's threads were ready to run and had no core: of the one that waited longest."""
        longest = 0
        tests = [p for p in os.listdir("/proc") if p.isdigit() and p not in ("1", str(self.zygote))]  # noqa: PTH208
        try:
            for pid in tests:
                for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
                    with open(f"/proc/{pid}/task/{thread}/schedstat") as f:  # noqa: PTH123
                        longest = max(longest, int(f.read().split()[1]))
        except (OSError, IndexError):
            pass
        return longest / 1e9


def open_first_file(paths: Iterable[str]) -> int:
    """A descriptor of the first of these files that exists, or -1."""
    return next((os.open(p, os.O_RDONLY) for p in paths if os.path.exists(p)), -1)  # noqa: PTH110


def open_memory_account() -> tuple[int, int]:
    """Descriptors of this container's use of memory and of its highest mark; -1 twice where it cannot be told."""
    for limit, *counters in MEMORY_COUNTERS:
        if all(map(os.path.exists, (limit, *counters))):
            fd = os.open(limit, os.O_RDONLY)
            text = os.read(fd, 64).strip()
            os.close(fd)
            if text.isdigit() and int(text) < LARGEST_LIMIT:
                return os.open(counters[0], os.O_RDONLY), os.open(counters[1], os.O_RDONLY)
    return -1, -1


def has_memory_account() -> bool:
    """Whether this container can tell how much memory it uses."""
    fds = open_memory_account()
    for fd in fds:
        if fd >= 0:
            os.close(fd)
    return fds[0] >= 0


def hide_accounts() -> None:
    """Close the folder of the accounts to programs where it can be written (version 1); see `confine_reading`."""
    with contextlib.suppress(OSError):
        os.chmod(CGROUP_FOLDER, 0o700)  # noqa: PTH101


def read_number(fd: int) -> int:
    """The number in an account's file, from its start; 0 without one."""
    return int(os.pread(fd, 64, 0)) if fd >= 0 else 0


def read_private_bytes(pid: str) -> int:
    """Resident bytes of a process that are no file's; 0 for one that is gone."""
    try:
        with open(f"/proc/{pid}/statm") as f:  # noqa: PTH123
            _, resident, shared, *_ = map(int, f.read().split())
    except OSError:
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def get_cpu_clock(pid: int) -> int:
    """The number of a process's CPU clock."""
    return (~pid << 3) | 2
