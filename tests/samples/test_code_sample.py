"""The bundled programs do what they are there for: right ones pass every test of their problem, each wrong one fails.

On this machine in plain processes (the programs are ours), and once more in the sandbox where there is Docker.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import anyio
import pytest

from archon_eval.errors import SandboxError
from archon_eval.sandbox import AnyCase, Case, SandboxLimits, SandboxPool, match_outputs
from archon_eval.sandbox.function_calls import build_humaneval_case, build_mbpp_case
from archon_eval.sandbox.image import build_image
from archon_eval.tasks._rows import Row
from archon_eval.tasks.code_contests import build_sample

SPLITS = ("public_tests", "private_tests", "generated_tests")
FORKS = """
import json, os, resource, sys, tempfile
job = json.load(sys.stdin)
found = []
for text in job["inputs"]:
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as printed:
        given.write(text.encode())
        given.seek(0)
        child = os.fork()
        if not child:
            os.dup2(given.fileno(), 0)
            os.dup2(printed.fileno(), 1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            resource.setrlimit(resource.RLIMIT_CPU, (job["seconds"], job["seconds"]))
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
            status = 1
            try:
                sys.stdin, sys.stdout = open(0), open(1, "w")
                exec(compile(job["program"], "main.py", "exec"), {"__name__": "__main__"})
                sys.stdout.flush()
                status = 0
            finally:
                os._exit(status)
        status = os.waitpid(child, 0)[1]
        printed.seek(0)
        found.append(None if status else printed.read().decode())
    if job["until_failure"] and (status or found[-1].split() != job["outputs"][len(found) - 1].split()):
        break
print(json.dumps(found))
"""


def rows(name: str) -> list[dict[str, Any]]:
    text = files("archon_eval").joinpath("samples", f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


PROBLEMS, FUNCTIONS, SHORT = rows("code_contests"), rows("humaneval"), rows("mbpp")


def pairs(problem: dict[str, Any]) -> list[tuple[str, str]]:
    return [pair for key in SPLITS for pair in zip(problem[key]["input"], problem[key]["output"], strict=True)]


def on_this_machine(program: str, tests: Sequence[tuple[str, str]], seconds: int, until_failure: bool) -> bool:
    """Whether a program passes the tests: one process, a fork per test."""
    job = {
        "program": program,
        "seconds": seconds,
        "until_failure": until_failure,
        "inputs": [given for given, _ in tests],
        "outputs": [wanted for _, wanted in tests],
    }
    done = subprocess.run([sys.executable, "-I", "-c", FORKS], input=json.dumps(job), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    passed = [
        p is not None and match_outputs(p.encode(), w.encode()) for p, (_, w) in zip(printed, tests, strict=False)
    ]
    return len(passed) == len(tests) and all(passed)


def test_problems_are_complete_and_each_in_its_own_words() -> None:
    assert len(PROBLEMS) >= 20 and len(FUNCTIONS) == len(SHORT) == 12
    for problem in PROBLEMS:
        assert len(pairs(problem)) >= 10 and all(len(problem[key]["input"]) >= 2 for key in SPLITS), problem["id"]
        assert len(set(problem["solutions"])) in (2, 3) and 4 <= len(set(problem["wrong_solutions"])) <= 6
        assert len({given for given, _ in pairs(problem)}) == len(pairs(problem)), problem["id"]
        for given, wanted in zip(*problem["public_tests"].values(), strict=True):
            assert f"Input\n\n{given.strip()}\n\nOutput\n\n{wanted.strip()}\n" in problem["description"], problem["id"]
        assert build_sample(Row("", problem)).metadata is not None
    for row in FUNCTIONS + SHORT:
        assert len(set(row["solutions"])) == 2 and len(set(row["wrong_solutions"])) >= 3, row["task_id"]
    for key, found in (("description", PROBLEMS), ("prompt", FUNCTIONS), ("text", SHORT)):
        assert len({max(row[key].splitlines(), key=len) for row in found}) == len(found)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem["id"])
def test_programs_on_this_machine(problem: dict[str, Any]) -> None:
    tests = pairs(problem)
    for program in problem["solutions"]:
        assert on_this_machine(program, tests, 20, until_failure=False), program
    for program in problem["wrong_solutions"]:
        assert not on_this_machine(program, tests, 1, until_failure=True), program


def function_jobs() -> list[tuple[str, str, list[AnyCase], bool]]:
    """(name, program, cases, right) of every function of the two samples."""
    jobs: list[tuple[str, str, list[AnyCase], bool]] = []
    for row in FUNCTIONS:
        cases: list[AnyCase] = [build_humaneval_case(row["prompt"], row["test"], row["entry_point"])]
        right = [*row["solutions"], row["prompt"] + row["canonical_solution"]]
        jobs += [(row["task_id"], program, cases, True) for program in right]
        jobs += [(row["task_id"], program, cases, False) for program in row["wrong_solutions"]]
    for row in SHORT:
        cases = [build_mbpp_case(test, row["test_setup_code"]) for test in row["test_list"]]
        more: list[AnyCase] = [build_mbpp_case(test) for test in row["challenge_test_list"]]
        jobs += [(row["task_id"], program, cases + more, True) for program in [*row["solutions"], row["code"]]]
        jobs += [(row["task_id"], program, cases, False) for program in row["wrong_solutions"]]
    return jobs


def test_functions_on_this_machine() -> None:
    for name, program, cases, right in function_jobs():
        parts = [part for case in cases if not isinstance(case, Case) for part in (case.setup, program, case.tests)]
        assert on_this_machine("\n".join(parts), [("", "")], 1, until_failure=False) == right, (name, program)


def test_everything_in_the_sandbox() -> None:
    """Within the problems' own limits; wrong programs fail there, too, the slow ones for being slow."""
    try:
        build_image()
    except SandboxError as error:
        if os.environ.get("CI") == "true" or os.environ.get("ARCHON_REQUIRE_DOCKER") == "1":
            pytest.fail(f"Docker is required here: {error}")
        pytest.skip(f"NO DOCKER, the bundled programs are not tried in the sandbox: {error}")
    jobs = [(name, program, cases, right, 10.0, 512 << 20) for name, program, cases, right in function_jobs()]
    for problem in PROBLEMS:
        cases: list[AnyCase] = [Case(given.encode(), wanted.encode()) for given, wanted in pairs(problem)]
        seconds, memory = problem["time_limit"]["seconds"], problem["memory_limit_bytes"]
        jobs += [(problem["id"], program, cases, True, 10.0, memory) for program in problem["solutions"]]
        jobs += [(problem["id"], program, cases, False, seconds, memory) for program in problem["wrong_solutions"]]
    surprises: list[tuple[str, str, str]] = []

    async def one(pool: SandboxPool, job: tuple[str, str, list[AnyCase], bool, float, int]) -> None:
        name, program, cases, right, seconds, memory = job
        result = await pool.run(program, cases, limits=SandboxLimits(seconds, memory))
        if result.passed != right:
            surprises.append((name, str(result.verdict), program))

    async def everything() -> None:
        async with SandboxPool() as pool, anyio.create_task_group() as group:
            for job in jobs:
                group.start_soon(one, pool, job)

    anyio.run(everything)
    assert not surprises
