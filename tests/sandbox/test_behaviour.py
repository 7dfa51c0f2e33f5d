"""Verdicts, limits, and programs that must behave as under plain `python main.py`."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archon_eval.errors import SandboxError
from archon_eval.sandbox import CallCase, Case, ProgramRun, ProgramVerdict, SandboxLimits, SandboxPool
from archon_eval.sandbox.container import LABEL
from archon_eval.sandbox.function_calls import build_mbpp_case, find_free_names

Run = Callable[..., ProgramRun]
INPUT = b"3 1 2\nsecond line\n\nz\xc5\xbc\n"
SECTIONS = Path(__file__).with_name("compat.txt").read_text().split("\n=== ")[1:]
PROGRAMS = {name: body for name, _, body in (section.partition("\n") for section in SECTIONS)}


@pytest.mark.parametrize("name", PROGRAMS)
def test_like_plain_python(name: str, run: Run, tmp_path: Path) -> None:
    """Same output, same exit code, same kind of error."""
    program = PROGRAMS[name]
    (tmp_path / "main.py").write_text(program)
    with (tmp_path / "in").open("wb") as f:
        f.write(INPUT)
    environment = {"LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONINTMAXSTRDIGITS": "0", "PATH": "/usr/bin:/bin"}
    with (tmp_path / "in").open("rb") as stdin, (tmp_path / "out").open("wb") as out:
        plain = subprocess.run(
            [sys.executable, "main.py"], stdin=stdin, stdout=out, stderr=subprocess.PIPE, cwd=tmp_path, env=environment
        )
    result = run(program, [Case(INPUT)], keep_output=True)
    assert result.compile_error is None
    (ours,) = result.runs
    assert (ours.output, ours.exit_code) == ((tmp_path / "out").read_bytes(), plain.returncode), ours
    assert ours.stderr.splitlines()[-1:] == plain.stderr.decode(errors="replace").splitlines()[-1:]


def get_only_run(result: ProgramRun) -> Any:
    (only,) = result.runs
    return only


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("print(input())", ProgramVerdict.ACCEPTED),
        ("print('other')", ProgramVerdict.WRONG_ANSWER),
        ("print(1 / 0)", ProgramVerdict.RUNTIME_ERROR),
        ("print(input(", ProgramVerdict.COMPILE_ERROR),
        ("while True: pass", ProgramVerdict.TIME_LIMIT),
        ("import time; time.sleep(60)", ProgramVerdict.TIME_LIMIT),
        ("x = bytearray(300 << 20); print(input())", ProgramVerdict.MEMORY_LIMIT),
        ("print('x' * 3_000_000)", ProgramVerdict.OUTPUT_LIMIT),
        (
            "import threading\nfor _ in range(4): threading.Thread(target=lambda: sum(range(10**9))).start()",
            ProgramVerdict.TIME_LIMIT,
        ),
    ],
)
def test_verdicts(program: str, verdict: ProgramVerdict, run: Run) -> None:
    limits = SandboxLimits(time_limit=1, wall_limit=3, memory_limit=256 << 20)
    result = run(program, [Case(b"word", b"word")], limits)
    assert result.verdict is verdict and result.passed is (verdict is ProgramVerdict.ACCEPTED), result


def test_a_run_reports_exit_code_stderr_and_usage(run: Run) -> None:
    burn = "import sys, time\nt = time.process_time()\nwhile time.process_time() - t < .1: pass\n"
    burn += "sys.stderr.write('e' * 5000 + 'end'); sys.exit(7)"
    ours = get_only_run(run(burn, [Case(b"", b"")]))
    assert ours.exit_code == 7 and ours.verdict is ProgramVerdict.RUNTIME_ERROR
    assert ours.stderr.endswith("eend") and len(ours.stderr) == 2000
    assert 0.1 <= ours.cpu <= 1 and ours.wall >= 0.1 and 5 << 20 < ours.memory < 60 << 20
    assert get_only_run(run("import os; os.kill(os.getpid(), 11)", [Case(b"", b"")])).exit_code == -11
    broken = run("x = (\n", [Case(b"", b"")])
    assert broken.runs == () and "SyntaxError" in str(broken.compile_error) and "main.py" in str(broken.compile_error)


def test_stops_at_the_first_failure_unless_asked(run: Run) -> None:
    cases = [Case(b"%d" % i, b"%d" % (i % 5)) for i in range(20)]
    assert [r.verdict.value for r in run("print(input())", cases).runs] == ["accepted"] * 5 + ["wrong answer"]
    full = run("print(input())", cases, stop_at_first_failure=False)
    assert len(full.runs) == 20 and sum(r.verdict is ProgramVerdict.ACCEPTED for r in full.runs) == 5
    assert not full.passed and full.verdict is ProgramVerdict.WRONG_ANSWER


def list_own_containers(client: Any) -> set[str]:
    """Running ones of this process: other workers of a parallel test run have theirs."""
    running = client.api.containers(filters={"label": LABEL})
    return {c["Id"] for c in running if f":{os.getpid()}:" in c["Labels"][LABEL]}


def test_abandoned_tests_do_not_hold_up_the_next_program(run: Run, client: Any) -> None:
    """Tests sent ahead of a failure are dropped and the container stays: a stall would have it replaced."""
    run("print(1)", [Case(b"", b"1")])
    before = list_own_containers(client)
    program = "import time\nx = input()\nif x != '0': time.sleep(60)\nprint('no')"
    for _ in range(10):
        result = run(program, [Case(b"%d" % i, b"yes") for i in range(50)], SandboxLimits(time_limit=60))
        assert len(result.runs) == 1
    assert run("print(1)", [Case(b"", b"1")]).passed
    assert before and before <= list_own_containers(client)


def test_process_1_survives_interrupts_while_it_wears_the_slots_uid(run: Run, client: Any) -> None:
    program = (
        "import os, time\nfor _ in range(3):\n    if os.fork() == 0:\n        t = time.monotonic()\n"
        "        while time.monotonic() - t < 5:\n            try:\n                while True: os.kill(1, 2)\n"
        "            except OSError: pass\n        os._exit(0)\n"
        "time.sleep(.03)\nprint(input(), flush=True)\nos._exit(0)"
    )
    run("print(1)", [Case(b"", b"1")])
    before = list_own_containers(client)
    assert run(program, [Case(b"1", b"1")] * 40).passed
    assert before and before <= list_own_containers(client)


def test_waiting_for_a_core_does_not_count_by_the_clock(run: Run) -> None:
    """More work at once than the cores can do by the clock's limit, and less than the time limit.

    How much that is depends on what else the machine does: it grows until it takes longer than the clock's limit.
    """
    program = (
        "import os, time\nwork = float(input())\nfor _ in range(3 * os.cpu_count()):\n"
        "    if os.fork() == 0:\n        t = time.process_time()\n"
        "        while time.process_time() - t < work: pass\n        os._exit(0)\n"
        "while True:\n    try: os.wait()\n    except ChildProcessError: break\nprint('done')"
    )
    limits = SandboxLimits(time_limit=4.0 * (os.cpu_count() or 1), wall_limit=0.5)
    walls = []
    for work in (b".05", b".1", b".2"):
        result = get_only_run(run(program, [Case(work, b"done")], limits))
        assert result.verdict is ProgramVerdict.ACCEPTED, result
        walls.append(result.wall)
        if walls[-1] > 0.5:
            break
    assert walls[-1] > 0.5, walls


@pytest.mark.parametrize("memory", [64, 512])
def test_many_threads_fit(memory: int, run: Run) -> None:
    program = (
        "import threading\nb = threading.Barrier(101)\ndef f():\n    x = [0] * 1000\n    b.wait()\n"
        "for _ in range(100): threading.Thread(target=f).start()\nb.wait()\n"
        "threading.stack_size(1 << 30)\nt = threading.Thread(target=lambda: print(1))\nt.start()\nt.join()"
    )
    result = run(program, [Case(b"", b"1")], SandboxLimits(memory_limit=memory << 20))
    assert result.passed, result


def test_much_on_stderr_is_no_fault(run: Run) -> None:
    assert run("import sys\nsys.stderr.write('debug ' * 1_000_000)\nprint(1)", [Case(b"", b"1")]).passed


def test_no_tests_is_no_pass(run: Run) -> None:
    assert not run("print(1)", []).passed


def test_megabyte_inputs_and_outputs(run: Run) -> None:
    """Sixteen tests of 1 MB in and out; nothing deadlocks, every byte arrives."""
    cases = [Case(bytes([97 + i]) * (1 << 20), bytes([97 + i]) * (1 << 20)) for i in range(16)]
    assert run("import sys; sys.stdout.write(sys.stdin.read())", cases).passed
    assert run("import sys; print(len(sys.stdin.buffer.read()))", [Case(b"x" * (30 << 20), b"%d" % (30 << 20))]).passed


def test_a_gigabyte_of_output_is_cut_short(run: Run) -> None:
    result = run(
        "import os\nfor _ in range(1024):\n    try: os.write(1, b'x' * (1 << 20))\n    except OSError: pass",
        [Case(b"", b"x")],
    )
    assert result.verdict is ProgramVerdict.OUTPUT_LIMIT
    ours = get_only_run(run("print('x' * (1 << 30))", [Case(b"", b"x")], keep_output=True))
    assert (
        ours.verdict in (ProgramVerdict.OUTPUT_LIMIT, ProgramVerdict.MEMORY_LIMIT)
        and len(ours.output or b"") <= 1 << 20
    )


def test_output_limit_follows_the_expected_output(run: Run) -> None:
    assert run("print('x' * 3_000_000)", [Case(b"", b"x" * 3_000_000)]).passed
    assert run("print('xx')", [Case(b"", b"xx")], SandboxLimits(output_limit=1)).verdict is ProgramVerdict.OUTPUT_LIMIT


def test_a_thousand_candidates_at_once(gather: Callable[..., list[ProgramRun]]) -> None:
    """Each its own program and answer, every third wrong: nothing lost, nothing swapped."""

    def job(i: int) -> Callable[[SandboxPool], Any]:
        cases = [Case(b"%d" % n, b"%d" % (n * i)) for n in range(2)]
        return lambda pool: pool.run(f"print(int(input()) * {i + (i % 3 == 0)})", cases)

    results = gather(*(job(i) for i in range(1000)))
    assert [r.passed for r in results] == [i % 3 != 0 for i in range(1000)]


def test_function_calls(run: Run) -> None:
    program = (
        "class Pair:\n    def __init__(self, a, b): self.a, self.b = a, b\n"
        "def first(p): return p.a\ndef both(p): return (p.a, [p.b], {p.a: {p.b}})\ndef fail(): raise KeyError('k')\n"
        "def numbers(): return 2**200, -1.5, float('inf'), 1j, b'x', None, True\n"
        "def gen(n):\n    yield from range(n)\nLIST = [1, 2]\n"
    )
    tests = [
        "assert first(Pair(3, 4)) == 3 and both(Pair(3, 4)) == (3, [4], {3: {4}})",
        "assert numbers() == (2**200, -1.5, float('inf'), 1j, b'x', None, True)",
        "assert list(gen(3)) == [0, 1, 2] and LIST == [1, 2]",
        "p = Pair(1, 2)\np.a = 7\nassert first(p) == 7 and p.a == 7",
        "try:\n    fail()\nexcept KeyError:\n    pass\nelse:\n    raise AssertionError",
    ]
    result = run(program, [build_mbpp_case(t) for t in tests], stop_at_first_failure=False)
    assert result.passed, result
    failing = run(
        program,
        [build_mbpp_case("assert first(Pair(3, 4)) == 5"), build_mbpp_case("assert missing(1) == 1")],
        stop_at_first_failure=False,
    )
    assert [r.verdict for r in failing.runs] == [ProgramVerdict.RUNTIME_ERROR] * 2
    assert "AssertionError" in failing.runs[0].stderr and "NameError" in failing.runs[1].stderr


STANDARD = """
from collections import deque
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction

class Own:
    def __init__(self, x): self.x = x
    def __eq__(self, other): return self.x == other.x
    def __hash__(self): return hash(self.x)
    def __str__(self): return f"Own {self.x}"
    def __len__(self): return self.x
    def __getitem__(self, i): return i * 2
    def __contains__(self, item): return item == self.x

def same(x): return x
def kind(x): return type(x).__name__
def queue(n): return deque(range(n), maxlen=9)
def half(n): return Fraction(n, 2), Decimal(n) / 2
def views(d): return d.keys(), d.items(), d.values()
def count():
    n = 0
    while True:
        yield n
        n += 1
"""


@pytest.mark.parametrize(
    "test",
    [
        "assert same(range(5)) == range(5) and kind(range(5)) == 'range' and sum(same(range(2, 9, 3))) == 15",
        "assert queue(3)[1] == 1 and len(queue(3)) == 3 and queue(2).maxlen == 9",
        "import datetime as t\nx = t.datetime(2020, 1, 2, 3, 4, 5, 6)\nassert same(x) == x and kind(x) == 'datetime'\n"
        "for y in (x.date(), x.time(), t.timedelta(1, 2, 3)): assert same(y) == y and kind(y) == type(y).__name__",
        "from decimal import Decimal\nassert half(1) == (0.5, 0.5) and str(half(1)[1]) == '0.5'\n"
        "assert kind(Decimal(3)) == 'Decimal' and same(Decimal('NaN')).is_nan()",
        "k, i, v = views({1: [2]})\nassert k == {1} and len(k) == 1 and list(i) == [(1, [2])] and list(v) == [[2]]",
        "assert Own(3) == Own(3) and Own(3) != Own(4) and Own(3) != 3 and len({Own(1), Own(1)}) == 1",
        "assert str(Own(3)) == f'{Own(3)}' == 'Own 3' and len(Own(3)) == 3 and Own(3)[4] == 8 and 3 in Own(3)",
        "c = count()\nassert next(c) == 0 and [x for x, _ in zip(c, 'abc')] == [1, 2, 3] and not Own(0)",
    ],
)
def test_function_calls_with_standard_types_and_own_classes(test: str, run: Run) -> None:
    result = run(STANDARD, [build_mbpp_case(test)])
    assert result.passed, result


def test_arguments_that_cannot_be_given_are_an_error_about_the_test(run: Run) -> None:
    for argument in ("lambda x: x", "object()", "[len]"):
        with pytest.raises(SandboxError, match="cannot be given to a program"):
            run("def f(x): return x", [CallCase(f"try:\n    f({argument})\nexcept Exception: pass", ("f",))])
    assert not run("import os\ndef f(x): os._exit(86)", [CallCase("f(1)", ("f",))]).passed


def test_a_programs_own_demo_does_not_run_under_function_calls(run: Run) -> None:
    program = (
        "import dataclasses, sys\n@dataclasses.dataclass\nclass A:\n    x: 'int'\ndef f(x): return A(x).x\n"
        "assert sys.modules[__name__].f is f\nif __name__ == '__main__':\n    print(f(int(input())))"
    )
    assert run(program, [build_mbpp_case("assert f(3) == 3")]).passed


def test_names_of_a_test() -> None:
    source = "import math\nfrom a import b as c\nx = [i for i in range(3)]\nassert f(x, c, math.pi) == g(lambda y: y)"
    assert find_free_names(source) == ("f", "g")


SHADOWING = """
def sum(a, b): return a + b
def len(x): return 7
def isclose(*a, **k): return True
class math:
    isclose = staticmethod(isclose)
class Counter:
    def __init__(self, *a): pass
    def __eq__(self, other): return True
abs = sorted = lambda *a, **k: 4
def f(x): return x
"""


@pytest.mark.parametrize(
    ("test", "setup", "code", "passes"),
    [
        ("assert sum(10, 15) == 25", "", "", True),
        ("assert sum(10, 15) == 25", "", "def sum(a, b): pass", True),
        ("assert sum(10, 15) == 26", "", "", False),
        ("assert sorted([sum(1, 2)]) == [3]", "", "", True),
        ("assert abs(sum(-3, 2)) == 1", "", "", True),
        ("assert math.isclose(sum(1, 2), 3)", "", "", True),
        ("assert math.isclose(sum(1, 2), 4)", "", "", False),
        ("assert math.isclose(f(2), 3.14)", "", "", False),
        ("assert math.isclose(f(2), 3.14)", "import math", "", False),
        ("assert math.isclose(f(2), 2)", "", "import math\ndef f(x): pass", True),
        ("assert isclose(f(2), 3.14)", "", "", False),
        ("assert f('ab') == Counter('ab')", "", "", False),
        ("assert f(Counter('ab')) == Counter('ab')", "", "", True),
        ("assert Counter('ab') == Counter('c')", "", "", True),
        ("assert Counter('ab') == f(Counter('c'))", "", "class Counter: pass\ndef f(x): pass", True),
        ("assert len(f('ab')) == 7", "", "def len(x): pass\ndef f(x): pass", False),
        ("assert abs(f(-3)) == 4 and sorted(f([2, 1])) == 4", "", "", False),
        ("assert [f for f in f([1, 2])] == [1, 2]", "", "", True),
        ("assert f((lambda f: f)(3)) == 3", "", "", True),
        ("def g(n):\n    global h\n    h = f(n)\ng(3)\nassert h == 3", "", "", True),
    ],
)
def test_names_come_from_the_program_or_from_the_tests_own_imports(
    test: str, setup: str, code: str, passes: bool, run: Run
) -> None:
    assert run(SHADOWING, [build_mbpp_case(test, setup, code)]).passed is passes


@pytest.mark.parametrize("program", ["print(7 * (10**9000 - 1) // 9)", "print(int(input()))", f"print({'7' * 9000})"])
def test_integers_of_any_length_print(program: str, run: Run) -> None:
    """Beyond the 4,300 digits at which plain Python stops: in what is computed, read, or written in the source."""
    result = get_only_run(run(program, [Case(b"7" * 9000 + b"\n")], keep_output=True))
    assert result.verdict is ProgramVerdict.ACCEPTED, result
    assert result.output.strip() == b"7" * 9000


@pytest.mark.parametrize(
    "body",
    [
        "return int(str(3 ** n))",
        "return eval(f'{3 ** n}')",
        "import json; return json.loads(json.dumps(3 ** n))",
        "from decimal import Decimal; return int(Decimal(str(3 ** n)))",
        "from fractions import Fraction; return int(Fraction(str(3 ** n)))",
        "return int(f'{3 ** n:,}'.replace(',', ''))",
        "return int('%d' % 3 ** n)",
        "import subprocess; return int(subprocess.check_output(['python3', '-c', f'print(3 ** {n})']))",
    ],
)
def test_long_integers_go_over_between_program_and_tests(body: str, run: Run) -> None:
    assert run(f"def f(n):\n    {body}", [build_mbpp_case("assert str(f(20000)) == str(3 ** 20000)")]).passed


def test_a_broken_test_is_an_error_not_a_verdict(run: Run) -> None:
    with pytest.raises(SandboxError, match="tests themselves do not compile"):
        run("def f(): pass", [CallCase("assert f( ==", ("f",))])
    assert run("print(1)", [Case(b"", b"1")]).passed


def test_limits_are_checked(run: Run) -> None:
    with pytest.raises(ValueError, match="positive time"):
        SandboxLimits(time_limit=0)
    bad: list[dict[str, Any]] = [{"time_limit": float("inf")}, {"wall_limit": float("nan")}, {"wall_limit": 0}]
    bad += [{"time_limit": float("nan")}, {"output_limit": -1}, {"output_limit": 1 << 70}, {"memory_limit": 1}]
    for options in bad:
        with pytest.raises(ValueError, match="limits need a positive time"):
            SandboxLimits(**options)
    with pytest.raises(ValueError, match="more than this pool's"):
        run("print(1)", [Case(b"", b"1")], SandboxLimits(memory_limit=1 << 40))
