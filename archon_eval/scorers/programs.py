"""Marks programs by running them on tests in the sandbox (CodeContests, HumanEval, MBPP).

    Task(dataset=..., scorer=programs())          # sample.metadata: {"tests": [{"input": "2", "output": "4"}]}

A sample's metadata holds its tests and, where they differ from the defaults, its limits:

- `tests`: a list of `{"input", "output"}` and `{"tests", "names", "setup"}` (function calls, see `CallCase`), or what
  `pack_tests` made of such a list; or CodeContests' own `public_tests`, `private_tests`, `generated_tests`: all count;
- `time_limit` (seconds), `memory_limit` (bytes);
- `prelude`: Python put before the program (HumanEval: the prompt, so that a body alone and a whole function both work).

A sample's value is 1 when every test is accepted. With epochs the mean is pass@1; `pass_at_k` and Inspect's own
reducer (`--epochs-reducer pass_at_5`) give the unbiased pass@k.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState

from archon_eval.errors import DataError
from archon_eval.sandbox import AnyCase, CallCase, Case, ProgramRun, ProgramVerdict, SandboxLimits, SandboxPool
from archon_eval.sandbox.extraction import extract_program
from archon_eval.sandbox.grading import prepend_prelude
from archon_eval.sandbox.hosts import DockerHosts, get_docker_hosts
from archon_eval.sandbox.shared_pool import SharedRunner
from archon_eval.sandbox.types import TimeFactor
from archon_eval.scorers._account import get_account_metadata
from archon_eval.scorers._answer import read_answer

SandboxMode = Literal["docker", "local"]
TEST_GROUPS = ("public_tests", "private_tests", "generated_tests")
"""CodeContests' own lists of tests."""


@scorer(metrics=[accuracy(), stderr()])
def programs(
    sandbox: SandboxMode = "docker",
    all_tests: bool = False,
    *,
    time_factor: TimeFactor = "auto",
    workers: int | None = None,
    docker_hosts: DockerHosts = None,
) -> Scorer:
    """Correct when the reply's program (see `extract_program`) is accepted on every test.

    `sandbox="local"` runs programs unprotected on this machine: for trusted code only. `all_tests` goes on after the
    first failure, for tables; the verdict is the same. `time_factor` multiplies every time limit; "auto" measures
    each machine once and never shortens a limit. `workers`: programs at once per machine, by default one per CPU.
    `docker_hosts`: the Docker daemons that run programs, see `parse_docker_hosts`; by default `ARCHON_DOCKER_HOSTS`.

    Raises:
        SandboxError: `docker_hosts` has an unknown form.
    """
    get_docker_hosts(docker_hosts)

    def create_runner() -> AbstractAsyncContextManager[SandboxPool | Any]:
        if sandbox == "local":
            from archon_eval.sandbox.local import LocalRunner

            return LocalRunner(trusted=True, workers=workers)
        return SandboxPool(workers, hosts=docker_hosts)

    shared = SharedRunner(create_runner)

    async def score(state: TaskState, target: Target) -> Score:
        program = extract_program(read_answer(state).text)
        cases = build_test_cases(state.metadata)
        if program is None:
            return Score(value=INCORRECT, explanation="The reply is empty.", metadata=get_account_metadata(state))
        async with shared.borrow() as runner:
            source = prepend_prelude(state.metadata.get("prelude") or "", program)
            result = await runner.run(
                source,
                cases,
                limits=build_limits(state.metadata),
                time_factor=time_factor,
                stop_at_first_failure=not all_tests,
            )
        return Score(
            value=CORRECT if result.passed else INCORRECT,
            answer=program,
            explanation=explain_run(result),
            metadata={**summarize_run(result, all_tests), **get_account_metadata(state)},
        )

    return score


def pack_tests(tests: Sequence[Mapping[str, Any]]) -> str:
    """A list of tests as one compressed string: CodeContests' megabytes would fill the log otherwise."""
    return base64.b85encode(zlib.compress(json.dumps(list(tests)).encode())).decode()


def build_test_cases(metadata: Mapping[str, Any]) -> tuple[AnyCase, ...]:
    """The tests of a sample. Raises `DataError` where there are none or one has an unknown form."""
    tests = metadata.get("tests", [])
    try:
        if isinstance(tests, str):
            tests = json.loads(zlib.decompress(base64.b85decode(tests)))
        for split in TEST_GROUPS:
            group = metadata.get(split) or {"input": [], "output": []}
            pairs = zip(group["input"], group["output"], strict=True)
            tests = [*tests, *({"input": i, "output": o} for i, o in pairs)]
        cases = tuple(_build_case(test) for test in tests)
    except (KeyError, TypeError, ValueError, zlib.error) as e:
        raise DataError(f"a sample's tests are not in a known form: {type(e).__name__}: {e}") from e
    if not cases:
        raise DataError(
            f"a sample without tests: metadata needs 'tests' or {', '.join(TEST_GROUPS)}; got {sorted(metadata)}"
        )
    return cases


def _build_case(test: Mapping[str, Any]) -> AnyCase:
    if "input" in test:
        return Case(test["input"].encode(), test["output"].encode())
    return CallCase(test["tests"], tuple(test["names"]), test.get("setup", ""))


def build_limits(metadata: Mapping[str, Any]) -> SandboxLimits:
    """The sample's limits, before a machine's factor."""
    return SandboxLimits(**{key: metadata[key] for key in ("time_limit", "memory_limit") if metadata.get(key)})


def explain_run(result: ProgramRun) -> str:
    """One line for readers of a log."""
    if result.compile_error is not None:
        return f"compile error: {result.compile_error.strip().rpartition(chr(10))[2]}"
    for number, run in enumerate(result.runs, 1):
        if run.verdict is not ProgramVerdict.ACCEPTED:
            tail = f": {run.stderr.strip().rpartition(chr(10))[2]}" if run.stderr.strip() else ""
            return f"test {number} of {result.tests}: {run.verdict}{tail}"
    return f"accepted on all {result.tests} tests"


def summarize_run(result: ProgramRun, table: bool) -> dict[str, Any]:
    """The run for the score's metadata: counts, most CPU time and memory of a test, the host, and with `table` a row
    per test."""
    summary: dict[str, Any] = {
        "verdict": result.verdict.value,
        "tests": result.tests,
        "tests_run": len(result.runs),
        "tests_accepted": sum(run.verdict is ProgramVerdict.ACCEPTED for run in result.runs),
        "max_cpu_seconds": round(max((run.cpu for run in result.runs), default=0.0), 3),
        "max_memory_bytes": max((run.memory for run in result.runs), default=0),
        "time_factor": result.time_factor,
    }
    if result.host:
        summary["docker_host"] = result.host
    if result.absent_hosts:
        summary["absent_docker_hosts"] = list(result.absent_hosts)
    if table:
        summary["table"] = [
            [run.verdict.value, round(run.cpu, 3), round(run.wall, 3), run.exit_code] for run in result.runs
        ]
    return summary
