"""The fixture `archon_gate` for pytest: the gate of `archon gate` as a test.

def test_math_is_no_worse(archon_gate):
    archon_gate("baseline.json", task="archon_eval/math", task_args={"sample": True},
                solver_args={"architecture": "mine.yaml", "store": "calls.db", "store_policy": "replay"})

A regression fails the test; a gate that cannot decide fails it too, unless `undecided="skip"`.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from archon_eval.report.gate import GateOutcome


@pytest.fixture
def archon_gate(tmp_path: Path) -> "Callable[..., GateOutcome]":
    """A function that compares a log, or a run that it makes, with a baseline file.

    Its parameters: baseline; log, or task with task_args, solver_args, roles, epochs and door; scorer, metric and
    ignore_prompts; undecided (`fail` or `skip`); margin, detect, confidence, power. It returns the outcome where there
    is no regression.
    """

    def gate(
        baseline: str | os.PathLike[str],
        log: str | os.PathLike[str] | None = None,
        *,
        task: str = "",
        task_args: Mapping[str, Any] | None = None,
        solver_args: Mapping[str, Any] | None = None,
        roles: Mapping[str, Any] | None = None,
        epochs: int = 1,
        door: Literal["auto", "solver", "model"] = "auto",
        scorer: str | None = None,
        metric: str | None = None,
        ignore_prompts: bool = False,
        undecided: Literal["fail", "skip"] = "fail",
        **limits: float,
    ) -> "GateOutcome":
        from archon_eval.errors import DataError
        from archon_eval.report import ci_output as ci
        from archon_eval.report.gate import GateThresholds
        from archon_eval.report.run_gate import run_gate
        from archon_eval.runs.run_eval import Eval

        def to_words(args: Mapping[str, Any] | None) -> tuple[str, ...]:
            texts = {k: v if isinstance(v, str) else json.dumps(v, default=str) for k, v in (args or {}).items()}
            return tuple(f"{name}={text}" for name, text in texts.items())

        if (log is None) == (not task) or undecided not in ("fail", "skip"):
            arguments = f"log={log!r}, task={task!r}, undecided={undecided!r}"
            raise DataError(f"archon_gate({arguments}): legal is a log or a task, and undecided='fail' or 'skip'")
        source: Eval | Path = Path(log or "")
        if log is None:
            words = to_words(task_args), to_words(solver_args), to_words(roles)
            source = Eval(task, *words, epochs=epochs, door=door)
        folder, thresholds = tmp_path / "archon_gate", GateThresholds(**limits)
        outcome = run_gate(
            baseline,
            source,
            folder,
            limits=thresholds,
            scorer=scorer,
            metric=metric,
            ignore_prompts=ignore_prompts,
        )
        if outcome.code == 2 and undecided == "skip":
            pytest.skip(ci.format_text(outcome))
        if outcome.code:
            pytest.fail(ci.format_text(outcome), pytrace=False)
        return outcome

    return gate
