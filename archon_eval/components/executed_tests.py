"""Runs candidates' programs on unit tests that are inputs with outputs, in the sandbox.

    layers:
      - generator: {model: $1, samples: 20}
      - unit_test_generator: {model: $1, form: input_output}
      - unit_test_evaluator: {execute: sandbox}

Beyond the papers, whose tests are statements that a model judges. Tests that a model writes are often wrong themselves,
so candidates are ordered by tests passed. `vote: {by: outputs}` needs the inputs alone.
"""

import json
from typing import TYPE_CHECKING

from archon_eval.components.call_context import CallContext
from archon_eval.types import Candidate, State

if TYPE_CHECKING:
    from archon_eval.sandbox import ProgramRun

TEST_CPU_SECONDS = 2.0
"""CPU seconds a program may take on a test that a model wrote, which is small; times the machine's factor."""
PROGRAM_CPU_SECONDS = 10.0
"""CPU seconds of a program that a model wrote to find an answer, which may search; times the machine's factor."""


class CandidateProgramRunner:
    """Candidates' programs in the sandbox, on the inputs of a state's tests; the containers are shared by questions."""

    def __init__(self) -> None:
        from archon_eval.sandbox import SandboxPool
        from archon_eval.sandbox.shared_pool import SharedRunner

        self._shared = SharedRunner(SandboxPool)

    def check_requirements(self) -> None:
        """Raises SandboxError, which names `archon sandbox doctor`, where no program can be run."""
        from archon_eval.sandbox.image import check_docker

        check_docker()

    async def run(self, candidate: Candidate, state: State, ctx: CallContext, *, compare: bool) -> list[bytes | None]:
        """What the candidate's program prints on each input; None where it fails, or, with `compare`, prints other
        than the test says. Of several Docker hosts, a note of the trace says which one ran it."""
        from archon_eval.sandbox import Case, ProgramVerdict, SandboxLimits, extract_program
        from archon_eval.sandbox.hosts import get_docker_hosts

        pairs = [tuple(map(_encode_text, json.loads(test).values())) for test in state.tests]
        program = extract_program(candidate.text)
        if program is None:
            return [None] * len(pairs)
        cases = [Case(text, output if compare else None) for text, output in pairs]
        async with self._shared.borrow() as runner:
            grade = await runner.run(
                program,
                cases,
                limits=SandboxLimits(TEST_CPU_SECONDS),
                time_factor="auto",
                stop_at_first_failure=False,
                keep_output=True,
            )
        if len(get_docker_hosts()) > 1:
            ctx.record_event("program_run", f"on {grade.host}, time limits x {grade.time_factor:g}", candidate.id)
        printed = [run.output if run.verdict is ProgramVerdict.ACCEPTED else None for run in grade.runs]
        return printed or [None] * len(pairs)

    async def run_alone(self, program: str, ctx: CallContext, about: str) -> "ProgramRun":
        """A run of a program without input, its output kept; `about` is the candidate that it is to become."""
        from archon_eval.sandbox import Case, SandboxLimits
        from archon_eval.sandbox.hosts import get_docker_hosts

        async with self._shared.borrow() as runner:
            done: ProgramRun = await runner.run(
                program, [Case(b"")], limits=SandboxLimits(PROGRAM_CPU_SECONDS), time_factor="auto", keep_output=True
            )
        if len(get_docker_hosts()) > 1:
            ctx.record_event("program_run", f"on {done.host}, time limits x {done.time_factor:g}", about)
        return done


def _encode_text(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
