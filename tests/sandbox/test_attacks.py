"""Hostile programs against the real daemon, in one container. Each is followed by a spy in the same container that
looks for anything left behind, and by a good program that must pass."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anyio.from_thread
import pytest

from archon_eval.sandbox import CallCase, Case, ProgramRun, ProgramVerdict, SandboxLimits, SandboxPool

GOOD = "n = int(input())\nprint(n * 2)\n"
SPY = """
import os, sys, glob
bad = []
for p in os.listdir("/proc"):
    if p.isdigit() and int(p) != os.getpid() and os.stat("/proc/" + p).st_uid != 0:
        bad.append("process " + p + " " + open(f"/proc/{p}/cmdline").read())
for top in ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run", "/home", "/root"):
    for folder, _, files in os.walk(top):
        bad += [f for f in files if "archon_spy" in f]
for table in ("shm", "sem", "msg"):
    try:
        bad += open("/proc/sysvipc/" + table).read().splitlines()[1:]
    except OSError:
        pass
bad += [fd for fd in os.listdir("/proc/self/fd") if int(fd) > 3]
assert os.getpgid(0) == os.getpid()
print(bad or "clean")
"""
PRELUDE = """
import os, sys, ctypes, socket, signal, time, errno, resource
libc = ctypes.CDLL(None, use_errno=True)
def denied(f, *a):
    try:
        r = f(*a)
    except (OSError, ValueError, MemoryError, ImportError, AttributeError) as e:
        return
    if r == -1 and ctypes.get_errno():
        return
    print("ESCAPED", getattr(f, "__name__", f), a, r)
"""


class Attack(NamedTuple):
    name: str
    program: str
    verdicts: set[ProgramVerdict]
    """Every verdict that means the attack was contained; `accepted` compares with "contained"."""
    limits: SandboxLimits = SandboxLimits(time_limit=5)


def read_sections(name: str) -> dict[str, str]:
    """The programs of a file beside this one, by their `=== ` line."""
    text = Path(__file__).with_name(name).read_text()
    return dict(re.findall(r"^=== (.*)\n((?:(?!=== ).*\n?)*)", text, re.MULTILINE))


def read_attacks() -> Iterator[Attack]:
    for head, program in read_sections("attacks.txt").items():
        name, verdicts, limits = (part.strip() for part in head.split("|"))
        options = {key: float(value) for key, value in (word.split("=") for word in limits.split())}
        memory = int(options.get("memory", 512)) << 20
        allowed = SandboxLimits(time_limit=options["time"], wall_limit=options.get("wall"), memory_limit=memory)
        if verdicts == "probe":
            yield Attack(name, f"{PRELUDE}\n{program}\nprint('contained')\n", {ProgramVerdict.ACCEPTED}, allowed)
        else:
            yield Attack(name, program, {ProgramVerdict(v.strip()) for v in verdicts.split(",")}, allowed)
    compiles = {ProgramVerdict.COMPILE_ERROR}
    yield Attack("10 nested parentheses", "(" * 5000 + ")" * 5000, compiles)
    yield Attack("10 deep unary", "x = " + "-" * 100_000 + "1", compiles)
    folded = "\n".join(f"a{i} = ((1 << 10000) * 1) ** 3" for i in range(2000))
    yield Attack("10 constant folding", folded + "\nprint('contained')", compiles | {ProgramVerdict.ACCEPTED})
    huge = "x = [" + "(1, 2, 3)," * 300_000 + "]\nprint('contained')"
    yield Attack("10 huge literal", huge, compiles | {ProgramVerdict.ACCEPTED, ProgramVerdict.MEMORY_LIMIT})
    yield Attack("10 not text", "print('a\0b')", compiles)


@pytest.fixture(scope="module")
def solo_pool(client: Any, portal: anyio.from_thread.BlockingPortal) -> Iterator[SandboxPool]:
    with portal.wrap_async_context_manager(SandboxPool(workers=1, client=client)) as pool:
        yield pool


def run_program(portal: Any, pool: SandboxPool, program: str, *, cases: list[Case], **options: Any) -> ProgramRun:
    async def go() -> ProgramRun:
        return await pool.run(program, cases, **options)

    return portal.call(go)


@pytest.mark.parametrize("attack", read_attacks(), ids=lambda a: a.name)
def test_attack_is_contained(attack: Attack, solo_pool: SandboxPool, portal: Any) -> None:
    result = run_program(portal, solo_pool, attack.program, cases=[Case(b"21\n", b"contained")], limits=attack.limits)
    assert result.verdict in attack.verdicts, result
    spy = run_program(portal, solo_pool, SPY, cases=[Case(b"", b"clean")])
    assert spy.passed, spy
    good = run_program(portal, solo_pool, GOOD, cases=[Case(b"21\n", b"42"), Case(b"5\n", b"10")])
    assert good.passed, good


SCAN = """
import re, sys
needle = ("xyzzy" + "-secret-").encode()
own = sys.stdin.readline()
found = set()
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        span, mode, *_ = line.split()
        start, end = (int(x, 16) for x in span.split("-"))
        if "r" not in mode or end - start > 1 << 28:
            continue
        try:
            memory.seek(start)
            data = memory.read(end - start)
        except (OSError, ValueError, OverflowError):
            continue
        found |= set(re.findall(needle + rb"[0-9]+", data))
print(sorted(f.decode() for f in found if f.decode() not in own))
"""


def test_8_no_other_test_in_memory(solo_pool: SandboxPool, portal: Any) -> None:
    """A scan of the whole heap finds no other test's input, no expected output, no other program."""
    secret = "xyzzy-secret-"
    run_program(
        portal,
        solo_pool,
        f"x = '{secret}900'\nprint(input())",
        cases=[Case(f"{secret}{i}".encode(), b"no") for i in range(20, 30)],
    )
    cases = [Case(f"{secret}{i}\n".encode(), f"{secret}{500 + i}".encode()) for i in range(10)]
    result = run_program(portal, solo_pool, SCAN, cases=cases, stop_at_first_failure=False, keep_output=True)
    assert [r.output for r in result.runs] == [b"[]\n"] * 10, result


def test_8b_expected_outputs_never_enter(solo_pool: SandboxPool, portal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything sent to the container is recorded: the expected output is not in it."""
    from archon_eval.sandbox.container import Container

    sent: list[bytes] = []
    original = Container.send
    monkeypatch.setattr(Container, "send", lambda self, k, p: (sent.append(p), original(self, k, p))[1])
    assert run_program(portal, solo_pool, "print('the-' + 'answer')", cases=[Case(b"question", b"the-answer")]).passed
    assert any(b"question" in p for p in sent) and not any(b"the-answer" in p for p in sent)


CHEATS = read_sections("cheats.txt")


@pytest.mark.parametrize("name", CHEATS)
def test_calls_cannot_be_faked(name: str, solo_pool: SandboxPool, portal: Any) -> None:
    case = CallCase("assert f(3) == 4\nassert f(4) == 5\n", ("f",))
    result = run_program(portal, solo_pool, CHEATS[name], cases=[case], limits=SandboxLimits(time_limit=1))
    assert not result.passed, result
    assert run_program(portal, solo_pool, "def f(x): return x + 1", cases=[case]).passed
    assert run_program(portal, solo_pool, SPY, cases=[Case(b"", b"clean")]).passed


def test_the_program_never_holds_its_function_call_tests(solo_pool: SandboxPool, portal: Any) -> None:
    """A scan of the heap from within a call finds the argument, but neither the expected value nor the tests."""
    scan = SCAN.partition("own = ")[0] + "def f(own):\n    found = set()\n"
    scan += "    " + SCAN.partition("found = set()\n")[2].replace("\n", "\n    ").replace("print(", "return (")
    tests = (
        "got = f('given')\nassert got == [], got\nassert 'xyzzy-secret-' + str(len(got) + 770) != 'xyzzy-secret-771'"
    )
    result = run_program(portal, solo_pool, scan, cases=[CallCase(tests, ("f",), "hidden = 'xyzzy-secret-772'")])
    assert result.passed, result
