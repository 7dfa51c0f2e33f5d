"""Looks at a task before anything is asked: that there is such a task, that it takes its parameters, and its questions.

answers, digest = load_questions(TaskSpec("archon_eval/math", (("sample", True),)))
len(answers)      # 77 questions, by id
"""

import json
from hashlib import sha256
from inspect import Parameter, signature

from archon_eval.errors import ArchonError, SearchError, did_you_mean
from archon_eval.search.config import TaskSpec


def load_questions(task: TaskSpec) -> tuple[dict[str, int], str]:
    """The task's question ids in their order, with how many answers each asks for (a turn, an answer), and a digest of
    questions, further turns, choices and targets.

    Raises:
        SearchError: no such task, a parameter that it does not take, or its data cannot be had.
    """
    from archon_eval._inspect_compat import PrerequisiteError, get_error_text, load_task_spec, registry_lookup
    from archon_eval.solvers.archon import find_further_turns

    if known := registry_lookup("task", task.name):
        _check_args(task, known)  # before it reads its data
    try:
        tasks = load_task_spec(task.name, dict(task.args))
    except NotImplementedError as exc:
        raise SearchError(f"task {task.name}: name its file by a path relative to the current folder") from exc
    except (ArchonError, PrerequisiteError, ValueError, TypeError, LookupError, OSError) as exc:
        raise SearchError(f"task {task.name}: {get_error_text(exc)}") from exc
    if len(tasks) != 1:
        near = "" if tasks else did_you_mean(task.name, _list_task_names())
        raise SearchError(f"task {task.name}: {len(tasks) or 'no'} tasks there; name one, e.g. my_tasks.py@name{near}")
    _check_args(task, tasks[0])
    digest, answers = sha256(), {}
    for place, sample in enumerate(tasks[0].dataset, 1):
        id = str(place if sample.id is None else sample.id)
        content = sample.input if isinstance(sample.input, str) else [m.text for m in sample.input]
        further = find_further_turns(sample.metadata or {}, sample.input)
        answers[id] = 1 + len(further)
        digest.update(json.dumps([id, content, sample.choices, sample.target, *further]).encode())
    if not answers:
        raise SearchError(f"task {task.name}: no questions")
    return answers, digest.hexdigest()[:16]


def _list_task_names() -> list[str]:
    """Tasks of this package and of those that were looked into."""
    from inspect_ai.util import registry_info

    from archon_eval._inspect_compat import ensure_entry_points, registry_find

    ensure_entry_points("archon_eval")
    return [registry_info(one).name for one in registry_find(lambda one: one.type == "task")]


def _check_args(task: TaskSpec, known: object) -> None:
    """Refuse what Inspect would leave out with a warning, and a search would not have meant."""
    from inspect_ai.util import registry_info

    from archon_eval._inspect_compat import has_registry_params, registry_params

    legal = registry_info(known).metadata["params"]
    taken = registry_params(known) if has_registry_params(known) else {}
    if callable(known) and any(one.kind is Parameter.VAR_KEYWORD for one in signature(known).parameters.values()):
        return
    if unknown := [name for name, _ in task.args if name not in legal and name not in taken]:
        raise SearchError(f"task {task.name} has no parameter {unknown[0]!r}{did_you_mean(unknown[0], legal)}")
