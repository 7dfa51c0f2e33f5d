"""What Inspect's entry point sees: solvers, tasks, scorers and model providers by name, heavy classes behind functions.

Inspect finds a package's solvers and scorers as `archon_eval/archon` only. Users type `--solver archon`, and a log
names its scorers without the prefix when `inspect score` looks for them. So each has a second registration from a
module name that belongs to no package, to which Inspect gives no prefix.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from inspect_ai.model import ModelAPI, modelapi
from inspect_ai.scorer import Scorer, scorer
from inspect_ai.solver import solver
from inspect_ai.util import registry_info

from archon_eval.integrations.command_process import (
    end_inspect_plainly_in_command,
    interrupt_on_sigterm_in_command,
    print_notes_plainly_in_command,
)
from archon_eval.sandbox.provider import ArchonDocker
from archon_eval.scorers.alpaca_eval import alpaca_eval as alpaca_eval_scorer
from archon_eval.scorers.arena_hard import arena_hard as arena_hard_scorer
from archon_eval.scorers.choices import letter_answer
from archon_eval.scorers.math import math_answer
from archon_eval.scorers.mixeval import mixeval as mixeval_scorer
from archon_eval.scorers.mt_bench import mt_bench_pair, mt_bench_single
from archon_eval.scorers.programs import programs
from archon_eval.solvers.archon import archon
from archon_eval.tasks.alpaca_eval import alpaca_eval
from archon_eval.tasks.arena_hard import arena_hard
from archon_eval.tasks.choices import gpqa_diamond, mmlu, mmlu_pro
from archon_eval.tasks.code_contests import code_contests
from archon_eval.tasks.gsm8k import gsm8k
from archon_eval.tasks.humaneval import humaneval
from archon_eval.tasks.math import math
from archon_eval.tasks.mbpp import mbpp
from archon_eval.tasks.mixeval import mixeval, mixeval_hard
from archon_eval.tasks.mt_bench import each_turn, mt_bench

__all__ = [
    "ArchonDocker",
    "alpaca_eval",
    "alpaca_eval_scorer",
    "archon",
    "archon_model",
    "arena_hard",
    "arena_hard_scorer",
    "code_contests",
    "each_turn",
    "gpqa_diamond",
    "gsm8k",
    "humaneval",
    "letter_answer",
    "math",
    "math_answer",
    "mbpp",
    "mixeval",
    "mixeval_hard",
    "mixeval_scorer",
    "mmlu",
    "mmlu_pro",
    "mt_bench",
    "mt_bench_pair",
    "mt_bench_single",
    "programs",
    "sim",
]

F = TypeVar("F", bound=Callable[..., Any])


def _strip_package_name(factory: F) -> F:
    """The same function as if it were defined in no package."""

    @wraps(factory)
    def bare(*args: Any, **kwargs: Any) -> Any:
        return factory(*args, **kwargs)

    bare.__module__ = "archon_bare_names"
    return bare  # type: ignore[return-value]


def _register_bare_scorer(factory: Callable[..., Scorer]) -> None:
    scorer(metrics=registry_info(factory).metadata["metrics"], name=factory.__name__)(_strip_package_name(factory))


solver(name="archon")(_strip_package_name(archon))
_BARE_SCORERS: tuple[Callable[..., Scorer], ...] = (
    alpaca_eval_scorer,
    arena_hard_scorer,
    letter_answer,
    math_answer,
    mixeval_scorer,
    mt_bench_pair,
    mt_bench_single,
    programs,
)
for _factory in _BARE_SCORERS:
    _register_bare_scorer(_factory)


end_inspect_plainly_in_command()
interrupt_on_sigterm_in_command()
print_notes_plainly_in_command()


@modelapi(name="sim")
def sim() -> type[ModelAPI]:
    """The simulated model pool: `sim/gpt-4o`, `sim/pool`."""
    from archon_eval.simulation.provider import SimAPI

    return SimAPI


@modelapi(name="archon")
def archon_model() -> type[ModelAPI]:
    """An architecture as a model: `archon/moa-lite`, `archon/my/file.yaml`."""
    from archon_eval.integrations.inspect_model import ArchonAPI

    return ArchonAPI
