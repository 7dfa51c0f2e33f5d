"""Real problems through the sandbox: 26 of CodeContests, HumanEval, MBPP."""

import gzip
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from archon_eval.sandbox import Case, ProgramRun, ProgramVerdict, SandboxLimits, SandboxPool
from archon_eval.sandbox.function_calls import build_humaneval_case, build_mbpp_case

DATA = Path(__file__).parents[3] / "shared/data"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"NO DATA at {DATA}: real problems are not tested")
LIMITS = SandboxLimits(time_limit=12)


def rows(path: str) -> list[dict[str, Any]]:
    raw = (DATA / path).read_bytes()
    text = gzip.decompress(raw) if path.endswith(".gz") else raw
    return [json.loads(line) for line in text.splitlines()]


def test_code_contests(gather: Callable[..., list[ProgramRun]]) -> None:
    """20 references pass, 6 are known false negatives of the official check; every mutated solution fails."""
    problems = rows("code_contests/problems.jsonl.gz")

    def job(problem: dict[str, Any], program: str) -> Callable[[SandboxPool], Any]:
        cases = [Case(t["input"].encode(), t["output"].encode()) for t in problem["tests"]]
        return lambda pool: pool.run(program, cases, limits=LIMITS, stop_at_first_failure=False)

    references = gather(*(job(p, p["reference_solution"]) for p in problems))
    passing = [sum(r.verdict is ProgramVerdict.ACCEPTED for r in result.runs) for result in references]
    assert [result.passed for result in references] == [p["reference_passes"] for p in problems]
    assert passing == [p["n_pass"] for p in problems]
    assert sum(result.passed for result in references) == 20
    mutated = [p for p in problems if "wrong_solution" in p]
    wrong = gather(*(job(p, p["wrong_solution"]) for p in mutated))
    assert len(wrong) >= 19 and not any(result.passed for result in wrong)
    passing = [sum(r.verdict is ProgramVerdict.ACCEPTED for r in result.runs) for result in wrong]
    assert passing == [p["wrong_n_pass"] for p in mutated]


def test_humaneval(gather: Callable[..., list[ProgramRun]]) -> None:
    """Canonical solutions pass; the bare prompt and early exits do not."""
    problems = rows("humaneval/problems.jsonl")

    def job(problem: dict[str, Any], body: str) -> Callable[[SandboxPool], Any]:
        case = build_humaneval_case(problem["prompt"], problem["test"], problem["entry_point"])
        return lambda pool: pool.run(problem["prompt"] + body, [case], limits=LIMITS)

    right = gather(*(job(p, p["canonical_solution"]) for p in problems))
    assert [p["task_id"] for p, r in zip(problems, right, strict=True) if not r.passed] == []
    for body in ("    pass\n", "    import os; os._exit(0)\n", "    raise SystemExit(0)\n"):
        wrong = gather(*(job(p, body) for p in problems[:20]))
        assert [p["task_id"] for p, r in zip(problems, wrong, strict=False) if r.passed] == []


def test_mbpp(gather: Callable[..., list[ProgramRun]]) -> None:
    """Reference code passes all its asserts; the code of the next problem does not."""
    problems = rows("mbpp/problems.jsonl")

    def job(problem: dict[str, Any], code: str) -> Callable[[SandboxPool], Any]:
        tests = problem["test_list"] + problem["challenge_test_list"]
        return lambda pool: pool.run(
            code, [build_mbpp_case(t, problem["test_setup_code"]) for t in tests], limits=LIMITS
        )

    right = gather(*(job(p, p["code"]) for p in problems))
    assert [(p["task_id"], r) for p, r in zip(problems, right, strict=True) if not r.passed] == []
    shifted = gather(*(job(p, q["code"]) for p, q in pairwise(problems)))
    assert not any(result.passed for result in shifted)
