"""The command that evaluates a search's winner as the search did, to be pasted into a shell.

>>> format_option(True), format_option("a.jsonl"), format_option("true"), format_option(["x", "y"])
('true', 'a.jsonl', '"true"', 'x,y')
"""

import json
import shlex
from pathlib import Path
from typing import Any

import yaml

from archon_eval.search.config import SearchSettings, TaskSpec


def build_eval_command(settings: SearchSettings, task: TaskSpec, folder: Path, start: Path | None = None) -> str:
    """`inspect eval TASK ...` for the winner in the folder of a search.

    Args:
        folder: as the user may type it.
        start: where relative paths of the search begin, if not where the user is; `folder` must be absolute then.
    """
    words = ["inspect", "eval", task.name]
    words += [word for name, value in task.args for word in ("-T", f"{name}={format_option(value)}")]
    solver_args = {"architecture": str(folder / "best.yaml"), "store": str(folder / "calls.db")}
    solver_args |= {"prices": settings.prices} if settings.prices else {}
    for name, value in {**solver_args, **dict(settings.solver_args)}.items():
        words += ["-S", f"{name}={format_option(value)}"]
    for role, model in settings.model_roles:
        words += ["--model-role", f"{role}={format_option(model)}"]
    command = shlex.join([*words, "--solver", "archon", "--model", "none"])
    return command if start is None else f"cd {shlex.quote(str(start))} && {command}"


def format_option(value: Any) -> str:
    """A value as Inspect's `NAME=VALUE` reads it back, which is as YAML, with commas between the items of a list."""
    if isinstance(value, list | tuple) and value and all(isinstance(item, str | int | float) for item in value):
        return ",".join(map(str, value))
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        plain = yaml.safe_load(value) == value
    except yaml.reader.ReaderError:  # a file's name that the locale cannot decode goes back to the shell as it came
        plain = True
    except yaml.YAMLError:
        plain = False
    return value if plain else json.dumps(value)
