"""Real problems through the sandbox: 26 of CodeContests, HumanEval, MBPP."""

import gzip
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

import archon_eval
from archon_eval.sandbox import Case, ProgramRun, ProgramVerdict, SandboxLimits, SandboxPool, extract_program
from archon_eval.sandbox.function_calls import build_humaneval_case, build_mbpp_case

SAMPLES = Path(archon_eval.__file__).parent / "samples"
DATA = Path(__file__).parents[3] / "shared/data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason=f"NO DATA at {DATA}: real problems are not tested")
LIMITS = SandboxLimits(time_limit=12)


def rows(path: str) -> list[dict[str, Any]]:
    raw = (DATA / path).read_bytes()
    text = gzip.decompress(raw) if path.endswith(".gz") else raw
    return [json.loads(line) for line in text.splitlines()]


@needs_data
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


@needs_data
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


DRESSINGS: dict[str, Callable[[str], str]] = {
    "in a list item": lambda p: f"1. The function:\n\n   ```python\n{indent(p, '   ')}\n   ```\n\n2. That is all.",
    "no closing fence": lambda p: f"Here it is:\n\n```python\n{p}",
    "a shell block after it": lambda p: f"```python\n{p}\n```\nRun it:\n```bash\npython main.py\n```",
    "a text block after it": lambda p: f"```python\n{p}\n```\nIt prints:\n```text\n42\n```",
    "an untagged block after it": lambda p: f"```python\n{p}\n```\nOutput:\n\n```\n42\n```",
    "a special token": lambda p: f"```python\n{p}\n```<|im_end|>",
}


def run_dressed(problems: list[dict[str, Any]], dress: Callable[[str], str], gather: Callable[..., Any]) -> list[str]:
    """The problems whose right program, so dressed, does not pass."""

    def job(problem: dict[str, Any]) -> Callable[[SandboxPool], Any]:
        program = extract_program(dress((problem["prompt"] + problem["canonical_solution"]).strip()))
        case = build_humaneval_case(problem["prompt"], problem["test"], problem["entry_point"])
        return lambda pool: pool.run(program or "", [case], limits=LIMITS)

    return [p["task_id"] for p, r in zip(problems, gather(*map(job, problems)), strict=True) if not r.passed]


@needs_data
@pytest.mark.parametrize("dressing", DRESSINGS)
def test_humaneval_in_every_dressing(dressing: str, gather: Callable[..., list[ProgramRun]]) -> None:
    problems = [p for p in rows("humaneval/problems.jsonl") if "```" not in p["prompt"]][:40]
    assert len(problems) == 40 and run_dressed(problems, DRESSINGS[dressing], gather) == []


@pytest.mark.parametrize("dressing", DRESSINGS)
def test_bundled_problems_in_every_dressing(dressing: str, gather: Callable[..., list[ProgramRun]]) -> None:
    problems = [json.loads(line) for line in (SAMPLES / "humaneval.jsonl").read_text().splitlines()]
    assert len(problems) == 12 and run_dressed(problems, DRESSINGS[dressing], gather) == []


@needs_data
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
