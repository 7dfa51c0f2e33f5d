"""Untrusted programs, run fast and judged outside: a pool of hardened Docker containers.

    async with SandboxPool() as pool:
        result = await pool.run("print(int(input()) * 2)", [Case(b"2", b"4")])
    result.passed, result.verdict, result.runs[0].cpu

`docs/sandbox.md` says what is protected against what, and how.
"""

from archon_eval.sandbox.grading import extract_program, match_outputs, pass_at_k
from archon_eval.sandbox.pool import ProgramRunner, SandboxPool
from archon_eval.sandbox.types import AnyCase, CallCase, Case, ProgramRun, ProgramVerdict, SandboxLimits, TestRun

__all__ = [
    "AnyCase",
    "CallCase",
    "Case",
    "ProgramRun",
    "ProgramRunner",
    "ProgramVerdict",
    "SandboxLimits",
    "SandboxPool",
    "TestRun",
    "extract_program",
    "match_outputs",
    "pass_at_k",
]
