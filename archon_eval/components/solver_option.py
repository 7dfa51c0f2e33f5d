"""What a generator says of a solver or an agent that makes its candidates, before it runs.

    source = SolverSource.from_spec(spec)       # None where the model itself writes them
    source.name, source.calls                   # "inspect_ai/react", (1, 100)

How it runs is in `solver_run`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from archon_eval.architecture.component_types import (
    ComponentOption,
    choice_option,
    int_option,
    mapping_option,
    models_option,
    roles_option,
)
from archon_eval.architecture.option_values import thaw_value
from archon_eval.architecture.solver_source import (
    FORMS,
    SourceKind,
    build_solver,
    check_arguments,
    find_solver,
    is_solver_name,
    read_solver_code,
)
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.components.token_estimates import CountRange, Workload, cap_tokens, split_calls
from archon_eval.errors import ArchitectureError
from archon_eval.models.call import Usage

if TYPE_CHECKING:
    from inspect_ai.solver import Solver


def _define_source(kind: SourceKind) -> ComponentOption:
    return ComponentOption(
        None,
        f"the name of a {kind} of Inspect's ({FORMS})",
        lambda value: value is None or is_solver_name(value),
        read_code=partial(read_solver_code, kind=kind),
    )


SOLVER_OPTIONS: Mapping[str, ComponentOption] = {
    "solver": _define_source("solver"),
    "agent": _define_source("agent"),
    "args": mapping_option(),
    "models": models_option(),
    "roles": roles_option(),
    "sandbox": choice_option("auto", "required", "none"),
    "call_limit": int_option(100),
    "message_limit": int_option(200),
    "token_limit": int_option(1_000_000),
    "time_limit": int_option(1800),
}
"""The options of a solver. An ordinary agent needs 10 to 50 calls, and a turn of its own and a tool's result for each:
the limits are for those that would never end, and half an hour is Inspect's own measure for a long command."""


@dataclass(frozen=True, slots=True)
class SolverSource:
    """A solver, and the limits of one run."""

    kind: SourceKind
    name: str
    spec: ComponentSpec

    @classmethod
    def from_spec(cls, spec: ComponentSpec) -> "SolverSource | None":
        """What makes a generator's candidates; None for the model alone."""
        given = dict(spec.options)
        if name := given.get("solver"):
            return cls("solver", name.strip(), spec)
        return cls("agent", given["agent"].strip(), spec) if given.get("agent") else None

    @property
    def title(self) -> str:
        """For messages: `agent 'inspect_ai/react'`."""
        return f"{self.kind} {self.name!r}"

    @property
    def short_name(self) -> str:
        """The name without its package or file: `react`."""
        return re.split("[/@:]", self.name)[-1]

    @property
    def calls(self) -> CountRange:
        """Model calls of one run: one at least where it has a model to call, and its limit at most."""
        return (1, int(self.spec.get_option("call_limit"))) if self.spec.models else (0, 0)

    @property
    def sandbox(self) -> str:
        """`auto`, `required` or `none`."""
        return str(self.spec.get_option("sandbox"))

    def build(self) -> "Solver":
        """A solver for one run.

        Raises:
            ArchitectureError: it is not there, or its function fails.
        """
        args = thaw_value(self.spec.get_option("args"))
        return build_solver(find_solver(self.name, self.kind, self.title), args, self.title)

    def list_problems(self) -> Sequence[str]:
        """What is wrong with the name and the arguments, a sentence each."""
        try:
            factory: Callable[..., Any] = find_solver(self.name, self.kind, f"`{self.kind}`")
            check_arguments(factory, self.spec.get_option("args"), self.title)
        except ArchitectureError as exc:
            return [str(exc)]
        return []

    def estimate_tokens(self, work: Workload, runs: int) -> dict[str, Usage]:
        """Tokens of so many runs that share the work's calls: each call reads what the ones before it wrote, until the
        limit on tokens ends the run."""
        if not work.calls or not runs:
            return {}
        per_run, assumed = work.calls / runs, work.assumed
        written = per_run * cap_tokens(assumed.answer, self.spec)
        read = per_run * assumed.query + written * (per_run - 1) / 2
        share = min(1.0, self.spec.get_option("token_limit") / (read + written))
        calls = split_calls(work.calls, self.spec.models)
        per_call = runs * share / work.calls
        return {
            model: Usage(round(count * read * per_call), round(count * written * per_call))
            for model, count in calls.items()
        }


def find_option_problems(spec: ComponentSpec) -> Sequence[str]:
    """What is wrong with the options of a solver together, a sentence each."""
    given = [name for name, _ in spec.options if name in SOLVER_OPTIONS]
    if {"solver", "agent"} <= {*given}:
        return ["`solver` and `agent` are two names for what makes the candidates: give one"]
    source = SolverSource.from_spec(spec)
    if source is None:
        return [f"`{name}` is an option of a solver: give `solver` or `agent` too" for name in given]
    return source.list_problems()
