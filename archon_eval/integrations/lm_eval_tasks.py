"""Whether a task of lm-eval can be run on an architecture, which generates text, and which of its family can.

find_generative_variants("arc_challenge")    # ["arc_challenge_chat"]
check_task("arc_challenge", None)            # DataError: ... that generate text: arc_challenge_chat.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import Any

from archon_eval.errors import DataError, did_you_mean

MAX_VARIANTS = 4


def find_generative_variants(task: str) -> list[str]:
    """Tasks of the same family (folder) in lm-eval's own collection that generate text, the nearest names first."""
    import lm_eval.tasks

    root = Path(lm_eval.tasks.__file__).parent
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.yaml"))}
    names = {match[1]: path for path, text in texts.items() if (match := _search_field(text, "task"))}
    if task not in names:
        return []
    family = root / names[task].relative_to(root).parts[0]
    likeness = {
        name: SequenceMatcher(None, task, name).ratio() for name, path in names.items() if path.is_relative_to(family)
    }
    near = [name for name, ratio in likeness.items() if ratio > 0.6 and _is_generative(names[name])]
    return sorted(near, key=lambda name: (-likeness[name], name))[:MAX_VARIANTS]


def find_manager(name: str, include_path: str | None) -> Any:
    """A `TaskManager` that knows the task, if any does; lm-eval's own tasks, thousands of files, where it must."""
    if include_path and name in (own := _build_manager(include_path, include_defaults=False)).all_tasks:
        return own
    return _build_manager(include_path, include_defaults=True)


@cache
def _build_manager(include_path: str | None, *, include_defaults: bool) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=include_path, include_defaults=include_defaults)


def check_task(name: str, include_path: str | None) -> None:
    """Refuse, before its data are read, what is no single task that generates text.

    Raises:
        DataError: no such task, a group of tasks, or one that needs log-likelihoods.
    """
    manager = find_manager(name, include_path)
    for kind, names in (("group", manager.all_groups), ("tag", manager.all_tags)):
        if name in names:
            inside = [task for task in manager.all_subtasks if task.startswith(f"{name}_")][:3]
            example = f", such as {', '.join(inside)}" if inside else ""
            raise DataError(f"task {name}: a {kind} of lm-eval with several tasks; name one of them{example}")
    if name not in manager.all_tasks:
        near = did_you_mean(name, manager.all_subtasks).partition(" (legal")[0]  # there are thousands
        raise DataError(f"task {name}: lm-eval has no such task{near}; -T include_path=FOLDER for tasks of your own")
    entry: Any = manager.task_index.get(name)
    path = entry.get("yaml_path") if isinstance(entry, Mapping) else getattr(entry, "yaml_path", None)
    output = _find_output_type(Path(path)) if path else None
    if output not in (None, "generate_until"):
        raise DataError(explain_no_likelihood([name], str(output)))


def explain_no_likelihood(names: Sequence[str], kind: str = "loglikelihood or multiple_choice") -> str:
    """Why such tasks cannot be run, and which of their families can."""
    variants = [variant for name in names[:5] for variant in find_generative_variants(name)]
    others = (
        f"Tasks of the family that generate text: {', '.join(dict.fromkeys(variants))}."
        if variants
        else "Use a task that generates text."
    )
    return (
        f"{', '.join(names[:5])}: an architecture answers with text and has no log-likelihood of a given one "
        f"(output_type {kind}). {others}"
    )


def _search_field(text: str, name: str) -> re.Match[str] | None:
    return re.search(rf"^[\"']?{name}[\"']?: *[\"']?([\w./-]+)", text, re.MULTILINE)


def _is_generative(path: Path) -> bool:
    return _find_output_type(path) == "generate_until"


def _find_output_type(path: Path, depth: int = 0) -> str | None:
    """What a task's file, or the one it includes, says of its output; None where they do not."""
    if depth > 5 or not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    if match := _search_field(text, "output_type"):
        return match[1]
    included = _search_field(text, "include")
    return _find_output_type(path.parent / included[1], depth + 1) if included is not None else None
