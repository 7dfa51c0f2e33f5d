"""The command that evaluates a search's winner as the search did, to be pasted into a shell."""

import shlex
from pathlib import Path

from archon_eval.runs.command_words import build_words, format_options
from archon_eval.runs.door import Door, build_model_words
from archon_eval.search.config import SearchSettings, TaskSpec


def build_eval_command(
    settings: SearchSettings, task: TaskSpec, folder: Path, *, door: Door = "solver", start: Path | None = None
) -> str:
    """`inspect eval TASK ...` for the winner in the folder of a search.

    Args:
        folder: as the user may type it.
        door: how the search's architectures answered the task.
        start: where relative paths of the search begin, if not where the user is; `folder` must be absolute then.
    """
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
