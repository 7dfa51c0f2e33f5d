"""One time factor per machine, measured once, for every program with a time limit."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import anyio
import pytest

from archon_eval.components.executed_tests import TEST_CPU_SECONDS, CandidateProgramRunner
from archon_eval.errors import SandboxError
from archon_eval.sandbox import AnyCase, Case, ProgramRun, ProgramVerdict, SandboxLimits, SandboxPool, TestRun
from archon_eval.sandbox.calibration import REFERENCE_CPU, compute_slowdown, create_calibration_job
from archon_eval.sandbox.pool_host import PoolHost
from archon_eval.sandbox.shared_pool import SharedRunner
from archon_eval.sandbox.shared_speeds import SPEEDS_VARIABLE, measure_once


class StubRunner:
    """A runner that keeps what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, SandboxLimits, object]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def run(
        self, program: str, cases: Sequence[AnyCase], *, limits: SandboxLimits, time_factor: object, **options: Any
    ) -> ProgramRun:
        self.calls.append((program, limits, time_factor))
        run = TestRun(ProgramVerdict.ACCEPTED, wall=1.0, cpu=1.0, memory=1, output=b"1")
        return ProgramRun((run,) * len(cases), len(cases), host="tcp://big:2376", time_factor=1.5)


@pytest.mark.parametrize("hosts", ["local", "local,tcp://big:2376"])
def test_tests_written_by_models_use_the_machines_factor(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several hosts, the trace says which one ran the candidate's program."""
    monkeypatch.setenv("ARCHON_DOCKER_HOSTS", hosts)
    runner, events = StubRunner(), list[tuple[str, ...]]()
    programs = CandidateProgramRunner()
    monkeypatch.setattr(programs, "_shared", SharedRunner(lambda: runner))
    state: Any = SimpleNamespace(tests=(json.dumps({"input": "", "output": "1"}),))
    candidate: Any = SimpleNamespace(text="print(1)", id="1.2")
    ctx: Any = SimpleNamespace(record_event=lambda *event: events.append(event))
    assert anyio.run(lambda: programs.run(candidate, state, ctx, compare=True)) == [b"1"]
    assert runner.calls == [("print(1)", SandboxLimits(TEST_CPU_SECONDS), "auto")]
    assert events == [("program_run", "on tcp://big:2376, time limits x 1.5", "1.2")] * hosts.count(",")


def test_a_pool_measures_its_machine_once_though_it_is_opened_again(client: Any, monkeypatch: Any) -> None:
    measured: list[str] = []
    monkeypatch.setattr(PoolHost, "measure_slowdown", lambda self: measured.append(self.name) or 3.0)
    shared, factors = SharedRunner(lambda: SandboxPool(1, client=client)), []

    async def go() -> None:
        for _ in range(2):
            async with shared.borrow() as runner:
                run = await runner.run("print(1)", [Case(b"", b"1")], time_factor="auto")
                factors.append((run.passed, run.time_factor))

    anyio.run(go)
    assert factors == [(True, 3.0)] * 2 and len(measured) == 1


def test_the_slowdown_is_the_median_and_a_failed_run_measures_nothing() -> None:
    jobs = [create_calibration_job() for _ in range(3)]
    for job, cpu in zip(jobs, (2.0, 0.5, 40.0), strict=True):
        job.runs.append(TestRun(ProgramVerdict.ACCEPTED, wall=1.0, cpu=cpu * REFERENCE_CPU, memory=1))
    assert compute_slowdown(jobs) == 2.0
    jobs[0].runs[0] = TestRun(ProgramVerdict.RUNTIME_ERROR, wall=1.0, cpu=1.0, memory=1)
    with pytest.raises(SandboxError, match="calibration program failed"):
        compute_slowdown(jobs)


def test_processes_that_share_a_file_measure_a_host_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a program near its limit had another verdict in each shard. A host that fails is measured anew."""
    script = (
        "import sys, time\n"
        "from archon_eval.sandbox.shared_speeds import measure_once\n"
        "def measure():\n"
        "    print('measured', file=sys.stderr)\n"
        "    time.sleep(0.2)\n"
        "    return float(sys.argv[1])\n"
        "print(measure_once('tcp://big:2376', measure))\n"
    )
    env = {**os.environ, SPEEDS_VARIABLE: str(tmp_path / "speeds.json")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(n)], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for n in (1, 2, 3)
    ]
    printed = [process.communicate() for process in processes]
    assert len({said for said, _ in printed}) == 1
    assert "".join(error for _, error in printed) == "measured\n"

    monkeypatch.setenv(SPEEDS_VARIABLE, str(tmp_path / "speeds.json"))
    with pytest.raises(SandboxError, match="gone"):
        measure_once("other", lambda: fail("gone"))
    assert measure_once("other", lambda: 2.5) == 2.5 and measure_once("other", lambda: 9.0) == 2.5
    (tmp_path / "speeds.json").write_text('{"other')
    assert measure_once("other", lambda: 4.0) == 4.0
    monkeypatch.delenv(SPEEDS_VARIABLE)
    assert measure_once("other", lambda: 5.0) == 5.0


def fail(why: str) -> float:
    raise SandboxError(why)
