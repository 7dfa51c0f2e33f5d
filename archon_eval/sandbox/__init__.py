"""Untrusted programs, run fast and judged outside: a pool of hardened Docker containers.

    async with SandboxPool() as pool:
        result = await pool.run("print(int(input()) * 2)", [Case(b"2", b"4")])
    result.passed, result.verdict, result.runs[0].cpu

`docs/sandbox.md` says what is protected against what, and how.
"""

from archon_eval.sandbox.judge import extract_program, match_outputs, pass_at_k
from archon_eval.sandbox.pool import ProgramRunner, SandboxPool
from archon_eval.sandbox.verdicts import AnyCase, CallCase, Case, SandboxLimits, ProgramRun, TestRun, ProgramVerdict

__all__ = [
    "AnyCase",
    "CallCase",
    "Case",
    "SandboxLimits",
    "ProgramRun",
    "ProgramRunner",
    "SandboxPool",
    "TestRun",
    "ProgramVerdict",
    "extract_program",
    "match_outputs",
    "pass_at_k",
]
