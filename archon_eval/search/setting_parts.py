"""The parts of a search's settings that a file nests: tasks, limits of an architecture, the budget of the search."""

from dataclasses import dataclass
from math import inf
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, StrictBool, StrictStr

from archon_eval.engine.plan import Plan
from archon_eval.errors import SearchError
from archon_eval.runs.performance import normalize_score
from archon_eval.search.setting_types import CostWeight, Count, Limit, Scale, Weight, parse_task_args

Harness = Literal["inspect", "lm-eval"]
TERA = 10**12
FORM = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A benchmark, and how its scores count."""

    __pydantic_config__ = FORM
    name: StrictStr
    """As Inspect finds it: `archon_eval/math`, `my_tasks.py@name`."""
    args: Annotated[tuple[tuple[str, Any], ...], BeforeValidator(parse_task_args)] = ()
    """Task parameters (`-T`), without `split`: the search splits by itself."""
    weight: Weight = 1.0
    scale: Scale = (0.0, 1.0)
    """The scores that count as 0 and as 1, e.g. (1, 10) for grades; the metric's own bounds where it has others."""
    scorer: StrictStr | None = None
    """Which scorer counts, `NAME` or `NAME/KEY`; None for the first."""
    metric: StrictStr | None = None
    """Which of its metrics counts; None for the benchmark's own."""
    harness: Harness = "inspect"
    """Whose task it is. Of lm-eval's the scorer is a filter, and `args` are options such as `num_fewshot`."""

    @property
    def key(self) -> str:
        """The task with its parameters, for records."""
        ending = "" if self.harness == "inspect" else f" ({self.harness})"
        return self.name + "".join(f",{name}={value}" for name, value in self.args) + ending

    def normalize(self, score: float) -> float:
        """The score between 0 and 1.

        Raises:
            SearchError: a score outside the scale.
        """
        return normalize_score(score, self)


@dataclass(frozen=True, slots=True)
class ArchitectureLimits:
    """What an architecture may cost per question at most (plan's worst case, re-asks apart); None for no limit."""

    __pydantic_config__ = FORM
    calls: Limit | None = None
    input_tokens: Limit | None = None
    output_tokens: Limit | None = None
    dollars: Limit | None = None
    latency: Limit | None = None
    """Model calls that wait for each other: the longest chain."""
    tflops: Limit | None = None
    """10^12 floating-point operations (`PriceTable.compute_flops`)."""
    context: StrictBool = False
    """Leave out architectures of which a prompt may not fit its model's context window."""

    def find_exceeded(self, plan: Plan) -> dict[str, float]:
        """The limits that the planned architecture exceeds, with what it takes.

        Raises:
            SearchError: a limit in dollars or operations, and a model without a price or a size.
        """
        if self.dollars is not None and plan.dollars is None:
            raise SearchError(
                f"a dollar limit needs a price of {', '.join(plan.unpriced)}: name it in a price file (--prices)"
            )
        if self.tflops is not None and plan.flops is None:
            raise SearchError(
                f"a limit in tflops needs the active parameters of {', '.join(plan.unsized)}: name them in a price "
                "file (--prices)"
            )
        cost = {
            "calls": plan.calls[1],
            "input_tokens": plan.usage[1].input_tokens,
            "output_tokens": plan.usage[1].output_tokens,
            "dollars": plan.dollars[1] if plan.dollars else 0.0,
            "latency": plan.sequential,
            "tflops": plan.flops[1] / TERA if plan.flops else 0.0,
        }
        exceeded = {name: takes for name, takes in cost.items() if takes > (getattr(self, name) or inf)}
        if self.context and (overflows := len(plan.warnings)):
            exceeded["context"] = float(overflows)
        return exceeded


@dataclass(frozen=True, slots=True)
class SearchBudget:
    """What the whole search may spend: exact for calls and dollars, between evals for the others."""

    __pydantic_config__ = FORM
    calls: Limit = inf
    """Model calls paid (calls answered from the call store are free)."""
    dollars: Limit = inf
    trials: Limit = inf
    """Architectures tried in the search stage."""
    seconds: Limit = inf
    judge_calls: Limit = inf
    """Paid calls of models that score answers, which are in none of the others (`archon_eval.search.judging`)."""
    judge_dollars: Limit = inf
    epsilon: CostWeight | None = None
    """Stop when the best objective has risen by less in the last `patience` trials (v6 A.4.2 compares two trials in a
    row, which noise alone brings together). None: go on."""
    patience: Count = 20
    """Trials after those of the initial design."""
