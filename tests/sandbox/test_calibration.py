"""One time factor per machine, measured once, for every program with a time limit."""

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Self

import anyio

from archon_eval.components.executed_tests import TEST_CPU_SECONDS, CandidateProgramRunner
from archon_eval.sandbox import AnyCase, ProgramRun, ProgramVerdict, SandboxLimits, TestRun
from archon_eval.sandbox.calibration import REFERENCE_CPU, REFERENCE_PROGRAM
from archon_eval.sandbox.shared_pool import SharedRunner


class SlowRunner:
    """A runner on a machine three times slower than the reference."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def run(self, program: str, cases: Sequence[AnyCase], *, limits: SandboxLimits, **options: Any) -> ProgramRun:
        self.calls.append((program, limits.time_limit))
        run = TestRun(ProgramVerdict.ACCEPTED, wall=1.0, cpu=3 * REFERENCE_CPU, memory=1, output=b"1")
        return ProgramRun((run,) * len(cases), len(cases))


def test_tests_written_by_models_use_the_machines_factor(monkeypatch: Any) -> None:
    runner = SlowRunner()
    programs = CandidateProgramRunner()
    monkeypatch.setattr(programs, "_shared", SharedRunner(lambda: runner))
    state: Any = SimpleNamespace(tests=(json.dumps({"input": "", "output": "1"}),))
    candidate: Any = SimpleNamespace(text="print(1)")

    async def twice() -> None:
        for _ in range(2):
            assert await programs.run(candidate, state, compare=True) == [b"1"]

    anyio.run(twice)
    assert runner.calls == [(REFERENCE_PROGRAM, 60.0)] * 3 + [("print(1)", 3 * TEST_CPU_SECONDS)] * 2
