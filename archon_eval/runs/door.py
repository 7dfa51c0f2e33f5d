"""The two ways an architecture answers a task: as its solver, or as the model that its own solver calls.

    lost = list_lost_steps(task)                    # ("system_message",): what `--solver archon` would leave out
    choice = choose_door("my_tasks.py", {"split": "test"}, {"architecture": "moa-lite"})
    choice.door, choice.reason

`--solver archon` stands in place of the task's own solver. Where that only calls the model, or formats choices as
`multiple_choice()` does, nothing is lost. Any other solver has a system prompt, a template, tools or an agent's loop in
it; `--model archon/ARCHITECTURE` keeps it. `Task.setup` runs through both doors.
"""

import contextlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from archon_eval.errors import DataError, did_you_mean
from archon_eval.runs.command_words import build_words, format_options

Door = Literal["solver", "model"]
"""`--solver archon`, or `--model archon/ARCHITECTURE` with the task's own solver."""
DoorOption = Literal["auto", "solver", "model"]
DOOR_OPTIONS: tuple[str, ...] = get_args(DoorOption)
SOLVER_ONLY_ARGS: Mapping[str, str] = {
    "cot": "the task's own multiple_choice() has it",
    "multiple_correct": "the task's own multiple_choice() has it",
    "replace_solver": "nothing is replaced there",
}
"""Arguments of the solver that mean nothing where the architecture is the model -> why."""
OWN_PACKAGE = "archon_eval/"
_NEUTRAL_ARGS: Mapping[str, frozenset[str]] = {
    "inspect_ai/generate": frozenset({"tool_calls"}),
    "inspect_ai/multiple_choice": frozenset({"cot", "multiple_correct"}),
    "archon_eval/each_turn": frozenset(),  # further turns are asked by the solver archon itself
}
"""Solvers in whose place `archon` loses nothing -> arguments that it takes too, or that mean nothing without tools."""
_TOOL_STEP = "inspect_ai/use_tools"
_CALLS_OF_STEPS: Mapping[str, int] = {
    "inspect_ai/self_critique": 2,
    **dict.fromkeys(("inspect_ai/generate", "inspect_ai/multiple_choice"), 1),
    **dict.fromkeys(
        (
            *("inspect_ai/system_message", "inspect_ai/user_message", "inspect_ai/assistant_message"),
            *("inspect_ai/prompt_template", "inspect_ai/chain_of_thought", _TOOL_STEP),
        ),
        0,
    ),
}
"""Solvers -> how often each asks the model."""


@dataclass(frozen=True, slots=True)
class DoorChoice:
    """Which door, and why."""

    door: Door
    reason: str

    @property
    def sentence(self) -> str:
        """For a user: `door: model (its own solver has system_message ...)`."""
        return f"door: {self.door} ({self.reason})"


def list_lost_steps(task: Any, *, cot: bool = False, multiple_correct: bool = False) -> tuple[str, ...]:
    """The steps of a task that would not run with `archon` as its solver, in their order; empty where nothing is lost.

    Args:
        task: Inspect's.
        cot, multiple_correct: what the solver `archon` is told about choices.
    """
    asked = {"cot": cot, "multiple_correct": multiple_correct}
    steps = _unroll(task.solver)
    lost = [name for step in steps if (name := _describe_loss(step, asked))]
    if not lost and len(steps) > 1:  # it asks several times
        lost = [_read_step(step)[0].rpartition("/")[2] for step in steps]
    tools = [name for step in _unroll(task.setup or ()) if (name := _read_step(step)[0]) == _TOOL_STEP]
    return (*(f"{name.rpartition('/')[2]} (setup)" for name in tools), *lost)


def count_asks(task: Any) -> int:
    """How often the task's own solver asks the model for an answer; a solver that does not say it counts as one."""
    counts = [_CALLS_OF_STEPS.get(_read_step(step)[0]) for step in _unroll(task.solver)]
    return max(1, sum(count for count in counts if count is not None) or len(counts))


def describe_steps(task: Any, door: Door) -> list[Any]:
    """What runs of the task's setup and, through the model's door, of its own solver: each step's name and arguments.

    Plain values, the same in every process; of other objects only the type, so that a change within one is not seen.
    """
    steps = [*_unroll(task.setup or ()), *(_unroll(task.solver) if door == "model" else ())]
    return [json.loads(json.dumps(_read_step(step), default=lambda value: type(value).__name__)) for step in steps]


def _unroll(solver: Any) -> list[Any]:
    from inspect_ai.solver import Plan

    from archon_eval._inspect_compat import unroll

    if isinstance(solver, Plan):
        return [*solver.steps, *([solver.finish] if solver.finish else [])]
    return list(unroll(solver))


def _read_step(step: Any) -> tuple[str, Mapping[str, Any]]:
    """The name that a solver is registered by, else its function's; and the arguments that it was given."""
    from inspect_ai.util import registry_info

    from archon_eval._inspect_compat import registry_params

    try:
        return registry_info(step).name, registry_params(step)
    except ValueError:  # made without @solver
        return getattr(step, "__name__", type(step).__name__), {}


def _describe_loss(step: Any, asked: Mapping[str, bool]) -> str:
    """The name of a step that `archon` does not stand for, with the arguments because of which; empty where it does."""
    name, args = _read_step(step)
    short = name.removeprefix("inspect_ai/")
    if name not in _NEUTRAL_ARGS:
        return short
    own = {key for key, value in args.items() if key not in _NEUTRAL_ARGS[name] and value not in (None, {}, ())}
    if name == "inspect_ai/multiple_choice":
        own |= {key for key, value in asked.items() if bool(args.get(key)) != value}
    return f"{short}({', '.join(sorted(own))})" if own else ""


def choose_door(
    task: str, task_args: Mapping[str, Any], solver_args: Mapping[str, Any], wanted: str = "auto"
) -> DoorChoice:
    """The door for a task, which is loaded where it is not this package's own.

    Args:
        task: as Inspect finds it.
        solver_args: of the solver `archon`.
        wanted: one of DOOR_OPTIONS.

    Raises:
        DataError: no such door; or an argument that the door does not take.
    """
    if task.startswith(OWN_PACKAGE) or wanted == "solver":
        return decide_door((), solver_args, wanted)
    from archon_eval._inspect_compat import load_task_spec

    try:
        with contextlib.redirect_stdout(sys.stderr):
            tasks = load_task_spec(task, dict(task_args))
    except (Exception, SystemExit):  # noqa: BLE001  a task's file may do anything
        return DoorChoice("solver", "the task cannot be loaded, and its eval says why")
    choice = decide_door([step for each in tasks for step in list_lost(each, solver_args)], solver_args, wanted)
    for each in tasks:
        check_model_is_free(each, choice)
    return choice


def check_model_is_free(task: Any, choice: DoorChoice) -> None:
    """Refuse the model's door for a task that names its model, which Inspect takes before any other.

    Raises:
        DataError: so it is.
    """
    if choice.door == "model" and task.model is not None:
        raise DataError(
            f"{choice.sentence}: task {task.name} names its own model, {task.model}, so that no other answers it: "
            "leave it out of the task, or --door solver"
        )


def list_lost(task: Any, solver_args: Mapping[str, Any]) -> tuple[str, ...]:
    """`list_lost_steps` by the solver's arguments."""
    return list_lost_steps(task, **{name: bool(solver_args.get(name)) for name in ("cot", "multiple_correct")})


def decide_door(lost: Sequence[str], solver_args: Mapping[str, Any], wanted: str = "auto") -> DoorChoice:
    """The door for a task of which the solver `archon` would lose these steps.

    Raises:
        DataError: no such door; or an argument that the door does not take.
    """
    if wanted not in DOOR_OPTIONS:
        raise DataError(f"no door {wanted!r}{did_you_mean(wanted, DOOR_OPTIONS)}")
    if wanted != "auto":
        choice = DoorChoice("model" if wanted == "model" else "solver", "as --door says")
    elif lost:
        choice = DoorChoice("model", f"the task's own solver stays: {', '.join(lost)}")
    else:
        choice = DoorChoice("solver", "the task's own solver only asks the model")
    if choice.door == "model":
        for name, why in SOLVER_ONLY_ARGS.items():
            if name in solver_args:
                raise DataError(f"{choice.sentence}: solver argument {name!r} has no meaning there: {why}")
    return choice


def build_model_words(solver_args: Sequence[str]) -> list[str]:
    """The words of Inspect's command line for an architecture as the model.

    Args:
        solver_args: `NAME=VALUE`, as `-S` takes them for the solver `archon`.

    Raises:
        DataError: no architecture among them.
    """
    pairs = [arg.partition("=") for arg in solver_args]
    named = [value for name, _, value in pairs if name == "architecture"]
    if not named:
        raise DataError("which architecture? -S architecture=NAME (see `archon presets`) or a file")
    inline = named[-1].lstrip().startswith(("{", "layers:")) or "\n" in named[-1]
    others = [arg for arg, (name, _, _) in zip(solver_args, pairs, strict=True) if name != "architecture" or inline]
    words = ["--model", "archon/inline" if inline else f"archon/{named[-1]}"]
    return [*words, *(word for arg in others for word in ("-M", arg))]


def explain_refusal(
    task: str, task_args: Mapping[str, Any], solver_args: Mapping[str, Any], lost: Sequence[str]
) -> str:
    """Why the solver `archon` does not answer a task of which it would lose these steps, and what to do instead."""
    own = {name: value for name, value in solver_args.items() if name not in SOLVER_ONLY_ARGS and value is not None}
    if not isinstance(own.get("architecture"), str):
        own["architecture"] = "FILE"
    words = ["inspect", "eval", task, *build_words("-T", task_args)]
    command = shlex.join([*words, *build_model_words(format_options(own))])
    return (
        f"solver archon: {task} has a solver of its own, and `--solver archon` would replace it and lose "
        f"{', '.join(lost)}. To keep the task as it is, make the architecture its model:\n  {command}\n"
        "with the other options of yours as they are. To replace it all the same: -S replace_solver=true"
    )
