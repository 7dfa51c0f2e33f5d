"""Runs untrusted programs in a pool of hardened Docker containers and judges their output on the host.

    async with SandboxPool() as pool:
        result = await pool.run("print(int(input()) * 2)", [Case(b"2", b"4")])
    result.passed, result.verdict, result.runs[0].cpu

`docs/sandbox.md` says what protects against what.
"""

from typing import TYPE_CHECKING

from archon_eval._deprecated import deprecated_getattr
from archon_eval.sandbox.extraction import extract_program
from archon_eval.sandbox.grading import match_outputs, pass_at_k
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

if not TYPE_CHECKING:  # a type checker sees the new names only
    __getattr__ = deprecated_getattr(
        __name__,
        {
            "Limits": "archon_eval.sandbox.types:SandboxLimits",
            "Verdict": "archon_eval.sandbox.types:ProgramVerdict",
            "outputs_match": "archon_eval.sandbox.grading:match_outputs",
        },
    )
