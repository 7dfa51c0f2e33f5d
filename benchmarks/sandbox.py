"""Speed of judging untrusted programs, next to the other ways of running them, in one run: prints JSON.

    python benchmarks/sandbox.py [--seconds 4]

Per way and program: tests per second, and tests per CPU second of everything involved (this process, daemons, shims,
containers), one worker at a time. `bare_host_fork` is compile once, fork, run, wait, on the host and nothing else;
`unhardened_fork_server` is this package's own runner without what protects one test from another. Needs the Docker
daemon on this machine, with the cgroupfs driver for the containers' CPU time.
"""

import argparse
import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import anyio

from archon_eval.sandbox import Case, SandboxLimits, SandboxPool
from archon_eval.sandbox import container as container_module
from archon_eval.sandbox.container import LABEL, Container, build_host_options, get_owner_label
from archon_eval.sandbox.guest import bundle
from archon_eval.sandbox.image import build_image, connect

GROUP_V1 = Path("/sys/fs/cgroup/cpuacct/docker/cpuacct.usage")
GROUP_V2 = Path("/sys/fs/cgroup/docker/cpu.stat")
BURN = "import time\nn = int(input())\nt = time.process_time()\nwhile time.process_time() - t < .02: pass\n"
PROGRAMS = {
    "trivial": "print(int(input()) * 2)\n",
    "20 ms": BURN + "print(n * 2)\n",
}
FLOOR = """
import io, os, sys, time
source, seconds = sys.argv[1], float(sys.argv[2])
code = compile(source, "main.py", "exec")
count, end = 0, time.monotonic() + seconds
while time.monotonic() < end:
    stdin, stdout = os.pipe(), os.pipe()
    os.write(stdin[1], b"21\\n")
    os.close(stdin[1])
    pid = os.fork()
    if not pid:
        os.dup2(stdin[0], 0)
        os.dup2(stdout[1], 1)
        sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)
        exec(code, {"__name__": "__main__"})
        sys.stdout.flush()
        os._exit(0)
    os.close(stdin[0])
    os.close(stdout[1])
    assert os.read(stdout[0], 100) == b"42\\n"
    os.close(stdout[0])
    os.waitpid(pid, 0)
    count += 1
print(count)
"""
SUBPROCESSES = """
import subprocess, sys, time
source, seconds = sys.argv[1], float(sys.argv[2])
count, end = 0, time.monotonic() + seconds
while time.monotonic() < end:
    done = subprocess.run(["python3", "-c", source], input=b"21\\n", capture_output=True)
    assert done.stdout == b"42\\n", done
    count += 1
print(count)
"""


def read_cpu_seconds(in_containers: bool) -> float:
    """CPU seconds so far of this process, its children, the engine's daemons, and what they started for the tests.

    `in_containers`: the tests' processes are counted by the containers' control group; otherwise (one `exec` per
    test) by the shims that waited for them.
    """
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    total = sum(u.ru_utime + u.ru_stime for u in usage)
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, fields = path.read_text().partition("(")[2].rpartition(")")
            own, waited = (sum(map(int, fields.split()[i : i + 2])) / os.sysconf("SC_CLK_TCK") for i in (11, 13))
            if name in ("dockerd", "containerd"):
                total += own + waited
            elif name.startswith("containerd-shim"):
                total += own if in_containers else own + waited
    if not in_containers:
        return total
    if GROUP_V1.exists():
        return total + int(GROUP_V1.read_text()) / 1e9
    return total + int(GROUP_V2.read_text().split()[1]) / 1e6


def compute_rates(count: int, wall: float, cpu: float) -> dict[str, float]:
    return {"tests_per_second": round(count / wall, 1), "tests_per_cpu_second": round(count / cpu, 1)}


def measure(run: Callable[[str, float], int], program: str, seconds: float) -> dict[str, float]:
    """`run` returns how many tests it did."""
    wall, cpu = time.monotonic(), read_cpu_seconds(False)
    count = run(program, seconds)
    return compute_rates(count, time.monotonic() - wall, read_cpu_seconds(False) - cpu)


def run_on_host(program: str, seconds: float) -> int:
    return int(subprocess.check_output([sys.executable, "-c", FLOOR, program, str(seconds)]))


async def measure_pool(client: Any, program: str, seconds: float, *, workers: int = 1) -> dict[str, float]:
    """Programs of 100 tests each, back to back on every (warm) worker."""
    cases, count = [Case(b"21\n", b"42\n")] * 100, 0

    async def run_worker(pool: SandboxPool, end: float) -> None:
        nonlocal count
        while time.monotonic() < end:
            result = await pool.run(program, cases, limits=SandboxLimits(time_limit=5))
            assert result.passed
            count += len(result.runs)

    async def run_all_workers(pool: SandboxPool, end: float) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(workers):
                group.start_soon(run_worker, pool, end)

    async with SandboxPool(workers, client=client) as pool:
        await run_all_workers(pool, time.monotonic() + 0.2)
        count, wall, cpu = 0, time.monotonic(), read_cpu_seconds(True)
        await run_all_workers(pool, wall + seconds)
        return compute_rates(count, time.monotonic() - wall, read_cpu_seconds(True) - cpu)


def bundle_without_hardening() -> str:
    """The runner with everything taken out that protects one test from another: the fork server's own floor."""
    text = bundle()
    for old, new in (
        ("    def kill_all(self) -> None:\\n", "    def kill_all(self) -> None:\\n        return\\n"),
        ("    def sweep(self) -> None:\\n", "    def sweep(self) -> None:\\n        return\\n"),
        ("    os.setresuid(uid, uid, uid)\\n", ""),
        ("    os.setsid()\\n", ""),
        ('    os.write(adjust, b"1000")\\n', ""),
        ("    filter_calls(memory_files)\\n", ""),
        ("        confine_reading(readable)\\n", ""),
        ("    resource.setrlimit(resource.RLIMIT_AS, (space, space))\\n", ""),
        ("    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))\\n", ""),
        ("        count = self.meter.count_ooms()\\n", "        count = self.oom_count\\n"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


class WarmContainer:
    """A warm container that only sleeps, for the ways that run one command per test in it."""

    def __init__(self, client: Any, image: str) -> None:
        options = build_host_options(1 << 30, 128)
        self.client = client
        self.container = client.containers.run(
            image, ["sleep", "600"], detach=True, user="1000", labels={LABEL: get_owner_label()}, **options
        )

    def run_exec_per_test(self, program: str, seconds: float) -> int:
        count, end = 0, time.monotonic() + seconds
        command = ["sh", "-c", 'echo 21 | python3 -c "$0"', program]
        while time.monotonic() < end:
            assert self.container.exec_run(command).output == b"42\n"
            count += 1
        return count

    def run_process_per_test(self, program: str, seconds: float) -> int:
        return int(self.container.exec_run(["python3", "-c", SUBPROCESSES, program, str(seconds)]).output)


def measure_starts(client: Any, image: str) -> dict[str, float]:
    """Seconds until a fresh worker has answered its greeting, median of five."""
    seconds = []
    for _ in range(5):
        begun = time.monotonic()
        container = Container(client, image, 1 << 30)
        seconds.append(time.monotonic() - begun)
        container.close()
    return {"median_seconds": round(sorted(seconds)[2], 3), "worst_seconds": round(max(seconds), 3)}


def measure_all(client: Any, warm: WarmContainer, seconds: float) -> dict[str, dict[str, dict[str, float]]]:
    """Program -> way -> rates."""
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for name, program in PROGRAMS.items():
        rows[name] = {"sandbox": anyio.run(measure_pool, client, program, seconds)}
        with mock.patch.object(container_module, "bundle", bundle_without_hardening):
            rows[name]["unhardened_fork_server"] = anyio.run(measure_pool, client, program, seconds)
        rows[name]["bare_host_fork"] = measure(run_on_host, program, seconds)
        rows[name]["in_container_subprocess_per_test"] = measure(warm.run_process_per_test, program, seconds)
        rows[name]["docker_exec_per_test"] = measure(warm.run_exec_per_test, program, seconds)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="per measurement")
    seconds = parser.parse_args().seconds
    client = connect()
    image = build_image(client)
    warm = WarmContainer(client, image)
    try:
        rows = measure_all(client, warm, seconds)
    finally:
        warm.container.remove(force=True)
    trivial = {way: row["tests_per_cpu_second"] for way, row in rows["trivial"].items()}
    cores = os.cpu_count() or 1
    full = anyio.run(partial(measure_pool, client, PROGRAMS["trivial"], seconds, workers=cores))
    report = {
        "machine": {"cpus": cores, "python": platform.python_version(), "kernel": platform.release()},
        "tests": rows,
        "ratios_trivial_per_cpu_second": {
            f"sandbox_to_{way}": round(trivial["sandbox"] / rate, 2)
            for way, rate in trivial.items()
            if way != "sandbox"
        },
        "worker_start": measure_starts(client, image),
        "all_cores": {
            "workers": cores,
            **full,
            "times_one_worker": round(full["tests_per_second"] / rows["trivial"]["sandbox"]["tests_per_second"], 2),
            "minutes_for_1000_candidates_x_100_tests": round(100_000 / full["tests_per_second"] / 60, 2),
        },
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
