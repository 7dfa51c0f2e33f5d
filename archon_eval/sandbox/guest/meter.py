"""Resources a test has used so far, read from the kernel's accounts: CPU, out-of-memory kills, time without a core.

meter = ResourceMeter(zygote_pid)
before = meter.read_cpu_seconds()
...
meter.measure_test_cpu(before)          # CPU seconds of the test, its unawaited children included
"""

import os
import time
from collections.abc import Iterable

OOM_COUNTERS = ("/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory.events")
CPU_COUNTERS = (
    "/sys/fs/cgroup/cpuacct/cpuacct.usage",
    "/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage",
    "/sys/fs/cgroup/cpu.stat",
)
OWN_CGROUP = "/sys/fs/cgroup/cgroup.type"
"""Missing in the machine's own control group, which counts everything; a container may see that one in its place."""


class ResourceMeter:
    """The accounts of this container."""

    def __init__(self, zygote_pid: int) -> None:
        self.zygote = zygote_pid
        self.ooms = open_first_file(OOM_COUNTERS)
        self.usage = open_first_file(CPU_COUNTERS if os.path.exists(OWN_CGROUP) else CPU_COUNTERS[:2])  # noqa: PTH110

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


def get_cpu_clock(pid: int) -> int:
    """The number of a process's CPU clock."""
    return (~pid << 3) | 2
