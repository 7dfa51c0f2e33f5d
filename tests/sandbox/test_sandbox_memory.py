"""Memory: the limit holds for all that a test starts, test by test, and no account tells one test of another."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from archon_eval.sandbox import Case, ProgramRun, ProgramVerdict, SandboxLimits, SandboxPool, container

Run = Callable[..., ProgramRun]
HOG = """
import os
megabytes = int(input())
r, w = os.pipe()
if os.fork() == 0:
    a = b'x' * (megabytes << 20)
    os.write(w, b'x')
    os._exit(0)
os.read(r, 1)
print('done')
"""


def test_memory_of_all_processes_is_judged_test_by_test(run: Run) -> None:
    """What an earlier test or another program took neither hides a test's memory nor counts as its own."""
    limits = SandboxLimits(memory_limit=96 << 20)
    accepted, refused = ProgramVerdict.ACCEPTED, ProgramVerdict.MEMORY_LIMIT
    cases = [Case(b"%d" % n, b"done") for n in (10, 200, 10, 150, 40)]
    result = run(HOG, cases, limits, stop_at_first_failure=False)
    assert [r.verdict for r in result.runs] == [accepted, refused, accepted, refused, accepted], result
    assert 200 << 20 < result.runs[1].memory < 230 << 20 and 40 << 20 < result.runs[4].memory < 60 << 20
    assert run(HOG, [Case(b"300", b"done")], SandboxLimits(memory_limit=512 << 20)).passed
    assert run("print(1)", [Case(b"", b"1")], SandboxLimits(memory_limit=32 << 20)).passed
    assert run(HOG, [Case(b"120", b"done")], limits).verdict is refused
    assert run(HOG, [Case(b"60", b"done")], limits).passed


def test_memory_of_compiling_counts_where_it_would_hide_the_programs_own(run: Run) -> None:
    table = "x = [" + "(1, 2, 3, 'a', 4.5)," * 30_000 + "]\n"
    assert run(table + "print(len(x))", [Case(b"", b"30000")]).passed
    small = run(table + HOG, [Case(b"1", b"done")], SandboxLimits(memory_limit=32 << 20))
    assert small.verdict is ProgramVerdict.MEMORY_LIMIT, small
    assert run(HOG, [Case(b"1", b"done")], SandboxLimits(memory_limit=32 << 20)).passed


def test_a_large_input_is_not_the_programs_memory(run: Run) -> None:
    cases = [Case(b"7" * (40 << 20), b"done")] * 2
    result = run("print('done')", cases, SandboxLimits(memory_limit=32 << 20))
    assert result.passed and result.runs[1].memory < 32 << 20, result


@pytest.mark.parametrize(
    "program",
    [
        "a = bytearray(40 << 20)\nprint(len(a))",
        "import sys\ndata = sys.stdin.read()\nsys.stdout.write(data)",
        "import subprocess\nprint(subprocess.run(['python3', '-c', 'print(len(input()))'], stdout=-1).stdout.decode())",
        "import threading\nts = [threading.Thread(target=print, args=(i,)) for i in range(50)]\n"
        "for t in ts: t.start()\nfor t in ts: t.join()",
        "import asyncio, decimal, email, http.client, json, sqlite3, ssl, unittest, xml.dom.minidom\nprint(1)",
        "import os\nfor i in range(3):\n    if os.fork() == 0:\n        print(len(bytearray(8 << 20)))\n"
        "        os._exit(0)\n    os.wait()",
    ],
)
def test_honest_programs_fit_as_before(program: str, run: Run) -> None:
    for _ in range(2):
        result = run(program, [Case(b"7" * (1 << 20))], SandboxLimits(memory_limit=64 << 20))
        assert result.passed and result.runs[0].memory < 60 << 20, result


def test_without_an_account_the_sum_is_sampled(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that shows no control groups: what is alive is added up, orphans are measured when they end, and
    memory files, which nothing would show, cannot be made."""
    original = container.build_host_options
    monkeypatch.setattr(
        container, "build_host_options", lambda *args: original(*args) | {"tmpfs": {"/sys/fs/cgroup": "ro"}}
    )
    children = HOG.replace("if os.fork()", "for _ in range(4):\n  if os.fork()").replace("os._exit(0)", "os.read(r, 1)")
    children += "import time\ntime.sleep(.3)\n"

    async def main() -> list[ProgramRun]:
        limits = SandboxLimits(memory_limit=64 << 20)
        async with SandboxPool(workers=1, client=client) as pool:
            return [
                await pool.run(program, [Case(text, b"done")], limits=limits)
                for program, text in [
                    (HOG, b"40"),
                    (HOG, b"200"),
                    (children, b"30"),
                    ("import os\nos.memfd_create('x')\nprint('done')", b""),
                    (HOG, b"40"),
                ]
            ]

    verdicts = [result.verdict for result in anyio.run(main)]
    assert verdicts == [
        ProgramVerdict.ACCEPTED,
        ProgramVerdict.MEMORY_LIMIT,
        ProgramVerdict.MEMORY_LIMIT,
        ProgramVerdict.RUNTIME_ERROR,
        ProgramVerdict.ACCEPTED,
    ]


def test_a_test_learns_nothing_of_an_earlier_one_from_the_accounts(run: Run) -> None:
    """The first of two tests takes 100 MiB and 0.3 s or nothing; whatever numbers the second can read are the same."""
    spy = """
import glob, os, time
if input() == "take":
    a = b"x" * (100 << 20)
    t = time.process_time()
    while time.process_time() - t < .3: pass
found = []
for pattern in ("/sys/fs/cgroup/**", "/proc/1/**", f"/proc/{os.getppid()}/**"):
    for name in glob.glob(pattern, recursive=True):
        try:
            found.append((name, open(name).read()))
        except OSError:
            pass
print(found)
"""
    for first in (b"take", b""):
        assert run(spy, [Case(first + b"\n", b"[]"), Case(b"\n", b"[]")]).passed
