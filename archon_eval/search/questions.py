"""Loads a task's questions before any model is called, and checks that there is such a task with such parameters.

>>> loaded = load_questions(TaskSpec("archon_eval/math", (("sample", True),)))
>>> len(loaded.answers), len(loaded.dev), loaded.door.door
(77, 15, 'solver')
"""

import json
from collections.abc import Collection, Mapping
from hashlib import sha256
from inspect import Parameter, signature
from typing import Any, NamedTuple

from inspect_ai.dataset import Sample

from archon_eval.errors import ArchonError, SearchError, did_you_mean
from archon_eval.runs.door import DoorChoice, check_model_is_free, count_asks, decide_door, describe_steps, list_lost
from archon_eval.runs.metrics import DECLARED
from archon_eval.runs.run_lm_eval import LM_EVAL_DOOR
from archon_eval.search.config import TaskSpec
from archon_eval.search.lm_eval_questions import load_lm_eval_questions
from archon_eval.search.task_facts import TaskFacts, read_task_facts
from archon_eval.tasks._data import find_dev_ids


class TaskQuestions(NamedTuple):
    """What a search must know of a task before any model is called."""

    answers: dict[str, int]
    """Question id -> how many answers it asks for: one per turn, and per time that the task's own solver asks."""
    digest: str
    """Of questions, further turns, choices and targets; and of the task's own steps, where they prompt."""
    dev: set[str]
    """The ids of the dev split (see `find_dev_ids`)."""
    door: DoorChoice
    """How architectures answer it."""
    facts: TaskFacts = TaskFacts()
    """What its questions and targets say."""


def load_questions(task: TaskSpec, solver_args: Mapping[str, Any] = {}, door: str = "auto") -> TaskQuestions:
    """A task's questions, in their order.

    Args:
        solver_args: of the solver `archon`.
        door: one of `archon_eval.runs.door.DOOR_OPTIONS`.

    Raises:
        SearchError: no such task, a parameter that it does not take, or its data cannot be had.
        DataError: a solver argument that the door does not take.
    """
    if task.harness == "lm-eval":
        answers, digest_text, dev, facts = load_lm_eval_questions(task)
        return TaskQuestions(answers, digest_text, dev, LM_EVAL_DOOR, facts)
    from archon_eval._inspect_compat import PrerequisiteError, get_error_text, load_task_spec, registry_lookup
    from archon_eval.solvers.archon import find_further_turns

    if registered := registry_lookup("task", task.name):
        _check_args(task, registered)  # before it reads its data
    try:
        tasks = load_task_spec(task.name, dict(task.args))
    except NotImplementedError as exc:
        raise SearchError(f"task {task.name}: name its file by a path relative to the current folder") from exc
    except (ArchonError, PrerequisiteError, ValueError, TypeError, LookupError, OSError) as exc:
        raise SearchError(f"task {task.name}: {get_error_text(exc)}") from exc
    except Exception as exc:  # a task's own code fails in any way
        raise SearchError(f"task {task.name}: {type(exc).__name__}: {exc}") from exc
    if len(tasks) != 1:
        near = "" if tasks else did_you_mean(task.name, _list_task_names())
        raise SearchError(f"task {task.name}: {len(tasks) or 'no'} tasks there; name one, e.g. my_tasks.py@name{near}")
    _check_args(task, tasks[0])
    _check_metric(task, tasks[0])
    choice = decide_door(list_lost(tasks[0], solver_args), solver_args, door)
    check_model_is_free(tasks[0], choice)
    asks = count_asks(tasks[0]) if choice.door == "model" else 1
    digest, answers, samples = sha256(), {}, []
    texts: list[str] = []
    targets: list[str] = []
    for number, sample in enumerate(tasks[0].dataset, 1):
        id = str(number if sample.id is None else sample.id)
        content = sample.input if isinstance(sample.input, str) else [m.text for m in sample.input]
        further = find_further_turns(sample.metadata or {}, sample.input)
        answers[id] = asks * (1 + len(further))
        samples.append(Sample(input="", id=id, metadata=sample.metadata))
        digest.update(json.dumps([id, content, sample.choices, sample.target, *further]).encode())
        texts.append(content if isinstance(content, str) else "\n".join(content))
        targets += [sample.target] if isinstance(sample.target, str) else sample.target
    if not answers:
        raise SearchError(f"task {task.name}: no questions")
    if steps := describe_steps(tasks[0], choice.door):
        digest.update(json.dumps(steps, sort_keys=True).encode())
    facts = read_task_facts(_name_scorer(task, tasks[0]), texts, targets)
    return TaskQuestions(answers, digest.hexdigest()[:16], find_dev_ids(samples), choice, facts)


def choose_dev_share(ids: Collection[str], dev: Collection[str], share: float) -> set[str]:
    """So large a share of the questions as the dev split, with those of the usual one first."""
    ranked = sorted(ids, key=lambda id: (id not in dev, sha256(f"dev share {id}".encode()).digest()))
    return set(ranked[: round(share * len(ranked))])


def _list_task_names() -> list[str]:
    """Tasks of this package and of the files that were loaded."""
    from inspect_ai.util import registry_info

    from archon_eval._inspect_compat import ensure_entry_points, registry_find

    ensure_entry_points("archon_eval")
    return [registry_info(task).name for task in registry_find(lambda info: info.type == "task")]


def _check_metric(task: TaskSpec, loaded: Any) -> None:
    """Refuse a metric that a scorer of this package does not have; of other scorers only their logs tell."""
    name = _name_scorer(task, loaded)
    names = [*DECLARED[name].names, "mean", "mean_of_values", "pass@1"] if name in DECLARED else []
    if task.metric and names and task.metric.lower().replace(" ", "_") not in names:
        raise SearchError(f"task {task.name}: no metric {task.metric!r} of {name}{did_you_mean(task.metric, names)}")


def _name_scorer(task: TaskSpec, loaded: Any) -> str:
    """The scorer that counts, without its package; empty for a task without one."""
    from inspect_ai.util import registry_info

    scorers = [registry_info(scorer).name.rpartition("/")[2] for scorer in loaded.scorer or ()]
    return task.scorer or next(iter(scorers), "")


def _check_args(task: TaskSpec, registered: object) -> None:
    """Refuse parameters that the task does not have; Inspect would leave them out with a warning."""
    from inspect_ai.util import registry_info

    from archon_eval._inspect_compat import has_registry_params, registry_params

    legal = registry_info(registered).metadata["params"]
    taken = registry_params(registered) if has_registry_params(registered) else {}
    parameters = signature(registered).parameters.values() if callable(registered) else ()
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
        return
    if unknown := [name for name, _ in task.args if name not in legal and name not in taken]:
        raise SearchError(f"task {task.name} has no parameter {unknown[0]!r}{did_you_mean(unknown[0], legal)}")
