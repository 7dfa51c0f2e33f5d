"""What the three programming benchmarks share: their options, the check for Docker before anything is paid, the task.

    return build_program_task("mbpp", samples, selection, options=options)

A sample's tests are in its metadata (see `scorers.programs`); the whole prompt is in the sample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from inspect_ai import Task
from inspect_ai.dataset import Sample

from archon_eval._inspect_compat import make_prerequisite_error
from archon_eval.errors import DataError, SandboxError, did_you_mean
from archon_eval.sandbox.hosts import get_docker_hosts
from archon_eval.sandbox.image import check_docker
from archon_eval.sandbox.types import CallCase, TimeFactor
from archon_eval.scorers.programs import SandboxMode, pack_tests, programs
from archon_eval.tasks._data import Selection
from archon_eval.tasks._rows import Row

CALL_CPU_SECONDS = 3.0
"""CPU seconds for one function-call test, as in HumanEval's own harness."""


@dataclass(frozen=True, kw_only=True)
class ProgramOptions:
    """Where programs run, and for how long.

    Raises:
        DataError: an unknown sandbox or an impossible factor.
    """

    sandbox: SandboxMode = "docker"
    """`docker`, or `local` for trusted programs: no protection at all."""
    time_factor: TimeFactor = "auto"
    """Multiplies every time limit; `auto` measures each machine and never shortens a limit."""
    docker_hosts: str | list[str] | None = None
    """The Docker daemons that run programs: addresses, or a file of them; by default `ARCHON_DOCKER_HOSTS`."""

    def __post_init__(self) -> None:
        if self.sandbox not in get_args(SandboxMode):
            raise DataError(f"unknown sandbox {self.sandbox!r}{did_you_mean(str(self.sandbox), get_args(SandboxMode))}")
        if self.time_factor != "auto" and not (isinstance(self.time_factor, int | float) and self.time_factor > 0):
            raise DataError(f"time_factor={self.time_factor!r}: must be auto or a positive number")
        if self.docker_hosts and self.sandbox != "docker":
            raise DataError(f"docker_hosts need sandbox=docker, not sandbox={self.sandbox}")
        try:
            get_docker_hosts(self.docker_hosts)
        except SandboxError as error:
            raise DataError(str(error)) from None


def build_program_task(
    name: str,
    samples: Sequence[Sample],
    selection: Selection,
    *,
    options: ProgramOptions,
    dropped: Mapping[str, int] | None = None,
) -> Task:
    """The task, marked by `programs()`; `dropped` as for `Selection.build_task`.

    Raises:
        PrerequisiteError: `sandbox=docker` where no program can run; names `archon sandbox doctor`.
    """
    if options.sandbox == "docker":
        try:
            check_docker(options.docker_hosts)
        except SandboxError as error:
            raise make_prerequisite_error(f"{name} runs programs in Docker: {error}") from None
    return selection.build_task(name, samples, programs(**asdict(options)), dropped=dropped)


def build_call_metadata(cases: Sequence[CallCase], **facts: Any) -> dict[str, Any]:
    """The metadata of a sample whose tests call functions."""
    tests: list[Mapping[str, Any]] = [{**asdict(case), "names": list(case.names)} for case in cases]
    return {"tests": pack_tests(tests), "time_limit": CALL_CPU_SECONDS, **facts}


def require_texts(row: Row, key: str) -> list[str]:
    """The list of texts under `key`, empty where it is absent; DataError if it is anything else."""
    value = row.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{row.location}: {key!r} must be a list of texts, not {type(value).__name__}")
    return value
