"""The task's own solver under `--solver archon`: what of it is lost, and whether the user wants that.

replaced = ReplacedSolver({"architecture": "moa-lite", "models": "sim/pool"}, is_allowed=False)
replaced.check_eval_being_built()          # where the solver is built: raises for a task that would lose something
replaced.find_lost_steps()                 # where a sample is answered: the same, and what was lost
"""

from collections.abc import Mapping
from typing import Any

from archon_eval._inspect_compat import (
    ReplacedTask,
    find_replaced_tasks,
    find_task_of_eval,
    make_prerequisite_error,
    sample_active,
)
from archon_eval._notes import show_note
from archon_eval.runs.answer_usage import ARCHON_SOLVERS
from archon_eval.runs.door import explain_refusal, list_lost


class ReplacedSolver:
    """Finds the solver that `archon` stands in place of, once per eval."""

    def __init__(self, solver_args: Mapping[str, Any], *, is_allowed: bool) -> None:
        """
        Args:
            solver_args: of `archon`; None for those not given.
        """
        self._args, self._is_allowed = solver_args, is_allowed
        self._keeps_all = False
        self._lost: dict[str, tuple[str, ...]] = {}

    def check_eval_being_built(self) -> None:
        """Look at the tasks of the eval that builds the solver; elsewhere, in a program say, there are none yet.

        Raises:
            PrerequisiteError: one of them would lose a part of its solver, and the user has not allowed it.
        """
        tasks = find_replaced_tasks(ARCHON_SOLVERS)
        if tasks is not None:
            self._keeps_all = not any(list(map(self._list_lost, tasks)))

    def find_lost_steps(self) -> tuple[str, ...]:
        """What of its task's own solver the active sample loses; empty where it loses nothing, or it is not known.

        Raises:
            PrerequisiteError: it does, and the user has not allowed it.
        """
        sample = sample_active()
        if self._keeps_all or sample is None:
            return ()
        if sample.eval_id not in self._lost:
            task = find_task_of_eval(sample.eval_id, ARCHON_SOLVERS)
            if task is None:
                show_note("solver archon: whether the task's own solver, which it replaces, had a prompt is not known")
            self._lost[sample.eval_id] = self._list_lost(task) if task is not None else ()
        return self._lost[sample.eval_id]

    def _list_lost(self, replaced: ReplacedTask) -> tuple[str, ...]:
        lost = list_lost(replaced.task, self._args) if replaced.task is not None else ()
        if lost and not self._is_allowed:
            raise make_prerequisite_error(explain_refusal(replaced.spec, replaced.args, self._args, lost))
        return lost
