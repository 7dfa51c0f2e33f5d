"""What the three programming benchmarks share: the check for Docker before anything is paid for, the task, the limits.

    return build_program_task("mbpp", samples, split=split, n=n, seed=seed, sandbox=sandbox, time_factor=time_factor)

A sample's tests travel in its metadata (see `scorers.programs`); the whole prompt is in the sample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

from inspect_ai import Task
from inspect_ai.dataset import Sample

from archon_eval._inspect_compat import make_prerequisite_error
from archon_eval.errors import DataError, SandboxError, did_you_mean
from archon_eval.sandbox.image import check_docker
from archon_eval.sandbox.types import CallCase
from archon_eval.scorers.programs import SandboxMode, TimeFactor, pack_tests, programs
from archon_eval.tasks._data import Row, build_task

CALL_CPU_SECONDS = 3.0
"""CPU seconds for one function-call test, as in HumanEval's own harness."""


def build_program_task(
    name: str,
    samples: Sequence[Sample],
    *,
    split: str,
    n: int | None,
    seed: int,
    sandbox: SandboxMode,
    time_factor: TimeFactor,
) -> Task:
    """The task, marked by `programs()`.

    Raises:
        PrerequisiteError: `sandbox=docker` where no program could be run; names `archon sandbox doctor`.
    """
    if sandbox not in get_args(SandboxMode):
        raise DataError(f"unknown sandbox {sandbox!r}{did_you_mean(str(sandbox), get_args(SandboxMode))}")
    if time_factor != "auto" and not (isinstance(time_factor, int | float) and time_factor > 0):
        raise DataError(f"time_factor={time_factor!r}: must be auto or a positive number")
    if sandbox == "docker":
        try:
            check_docker()
        except SandboxError as error:
            raise make_prerequisite_error(f"{name} runs programs in Docker: {error}") from None
    return build_task(name, samples, programs(sandbox=sandbox, time_factor=time_factor), split=split, n=n, seed=seed)


def build_call_metadata(cases: Sequence[CallCase], **more: Any) -> dict[str, Any]:
    """The metadata of a sample whose tests call functions."""
    tests: list[Mapping[str, Any]] = [{**asdict(case), "names": list(case.names)} for case in cases]
    return {"tests": pack_tests(tests), "time_limit": CALL_CPU_SECONDS, **more}


def require_texts(row: Row, key: str) -> list[str]:
    """The list of texts under `key`, empty where it is absent; DataError if it is anything else."""
    value = row.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{row.location}: {key!r} must be a list of texts, not {type(value).__name__}")
    return value
