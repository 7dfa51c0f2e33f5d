"""The command that evaluates a search's winner as the search did, to be pasted into a shell."""

import shlex
from pathlib import Path

from archon_eval.runs.command_words import build_words, format_options
from archon_eval.runs.door import Door, build_model_words
from archon_eval.runs.run_lm_eval import build_options, format_arguments, parse_task_options
from archon_eval.search.config import SearchSettings, TaskSpec


def build_eval_command(
    settings: SearchSettings, task: TaskSpec, folder: Path, *, door: Door = "solver", start: Path | None = None
) -> str:
    """`inspect eval TASK ...`, or `lm_eval ...` for a task of that harness, for the winner in the folder of a search.

    Args:
        folder: as the user may type it.
        door: how the search's architectures answered the task.
        start: where relative paths of the search begin, if not where the user is; `folder` must be absolute then.
    """
    if task.harness == "lm-eval":
        command = _build_lm_eval_command(settings, task, folder)
        return command if start is None else f"cd {shlex.quote(str(start))} && {command}"
    args = {"architecture": str(folder / "best.yaml"), "store": str(folder / "calls.db")}
    args |= {"prices": settings.prices} if settings.prices else {}
    args |= dict(settings.solver_args)
    words = ["inspect", "eval", task.name, *build_words("-T", dict(task.args))]
    roles = build_words("--model-role", dict(settings.model_roles))
    if door == "model":
        words += [*build_model_words(format_options(args)), *roles]
    else:
        words += [*build_words("-S", args), *roles, "--solver", "archon", "--model", "none"]
    command = shlex.join(words)
    return command if start is None else f"cd {shlex.quote(str(start))} && {command}"


def _build_lm_eval_command(settings: SearchSettings, task: TaskSpec, folder: Path) -> str:
    args = {"model": "best", "architecture": str(folder / "best.yaml"), "store": str(folder / "calls.db")}
    args |= {"prices": settings.prices} if settings.prices else {}
    args |= dict(settings.solver_args)
    words = ["lm_eval", "--model", "archon", "--model_args", format_arguments(args)]
    words += ["--tasks", task.name, *build_options(parse_task_options(task.args, task.name))]
    return shlex.join([*words, "--log_samples", "--output_path", "results"])
