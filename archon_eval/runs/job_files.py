"""An eval's files, for a worker that has none of them.

job, bundle = pack_job(job, Path.cwd(), list_modules(job.architecture))
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from archon_eval.runs.eval_worker import EvalJob, EvalTask
from archon_eval.runs.file_bundle import BundleBuilder, FileBundle

STORE_OPTION = "store"
"""The solver argument that is no file to send: all workers write to one store, or there is none."""


def pack_job(job: EvalJob, start: Path, modules: Iterable[str]) -> tuple[EvalJob, FileBundle]:
    """The job as it runs in the unpacked bundle, and the bundle: the task's files, components, prices, and whatever
    file an argument or a role names.

    Args:
        start: the folder from which relative paths are taken.
        modules: of the architecture's components (`list_modules`).

    Raises:
        DataError: a file looks like a secret, or the files are too many or too large.
    """
    builder = BundleBuilder(start)
    task = EvalTask(
        builder.add_task(job.task.name) if job.task.harness == "inspect" else job.task.name,
        tuple((name, builder.add_value(value, name)) for name, value in job.task.args),
        job.task.scorer,
        job.task.metric,
        job.task.harness,
    )
    for module in modules:
        builder.add_module(module)
    packed = replace(
        job,
        task=task,
        solver_args=tuple(
            (name, value if name == STORE_OPTION else builder.add_value(value, name)) for name, value in job.solver_args
        ),
        model_roles=tuple((role, builder.add_value(model, role)) for role, model in job.model_roles),
        prices=builder.add_value(job.prices, "prices"),
    )
    return packed, builder.build()


def list_modules(architecture: Mapping[str, Any]) -> Iterator[str]:
    """The modules of an architecture's components that are named `module:Class`, and of functions that they call.

    Raises:
        ArchitectureError: the architecture cannot be read.
    """
    from archon_eval.architecture.load import load_architecture

    if not architecture:
        return
    for layer in load_architecture(dict(architecture)).layers:
        for spec in layer:
            paths = [path for path in (spec.kind, *spec.functions) if ":" in path]
            modules = [path.partition(":")[0] for path in paths]
            yield from (module for module in modules if module.partition(".")[0] != "archon_eval")
