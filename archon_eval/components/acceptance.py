"""The rules by which a cascade's stage lets its answer stand: each measures something, and a threshold decides.

    class AcceptLength(AcceptRule):
        kind = ComponentType("accept_length", place="rule", needs_model=False)
        async def measure(self, state, ctx):
            return float(len(state.candidates[0].text))

A rule stands behind its stage as a layer of its own, so that its calls are planned, priced and accounted for like all
others. What could not be measured lets nothing stand: the next stage is asked.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from archon_eval.components.base import CandidateGenerator, ListComponent
from archon_eval.components.call_context import CallContext
from archon_eval.components.component import Component
from archon_eval.components.token_estimates import CountRange
from archon_eval.types import State

ACCEPTANCE_KEY = "acceptance"
"""Where a rule leaves its decision in `State.values`."""
GOES_ON = "the next stage is asked"
"""What happens where a rule has nothing to decide by."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What a rule decided."""

    accepted: bool
    score: float | None
    """What it measured; None where it could not."""
    threshold: float | None
    """What an accepted answer has at least; None where the rule has none, or it is not tuned yet."""

    def describe(self) -> str:
        """The decision in words."""
        if self.score is None:
            return "not measured: goes on"
        asked = "" if self.threshold is None else f", {self.threshold:g} asked"
        return f"{self.score:.4g}{asked}: {'accepted' if self.accepted else 'goes on'}"


class AcceptRule(ListComponent):
    """Measures the answer of a stage, or the candidates that it is made of."""

    reads_drawn: ClassVar[bool] = False
    """Whether it is shown the candidates as they left the stage's last layer that makes any, not those at its end."""
    needs_threshold: ClassVar[bool] = True
    """Whether it decides nothing without a threshold."""
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """The least and the most that it measures."""
    tool_obstacle = ""
    outcome_name = "measurement"
    fallback = GOES_ON
    keeps_order = True
    is_measuring: bool = False
    """Whether nothing follows from what it measures, as `archon tune` has it."""

    @abstractmethod
    async def measure(self, state: State, ctx: CallContext) -> float | None:
        """What the candidates come to, the more the better; None where it cannot be said, which is recorded."""

    @property
    def threshold(self) -> float | None:
        """What an accepted answer has at least; None where it is not set."""
        value = self.spec.get_option("threshold") if "threshold" in self.kind.options else None
        return None if value is None else float(value)

    def check_stage(self, components: Sequence[Sequence[Component]]) -> str:
        """Why it can measure nothing behind these layers, as a sentence; empty where it can."""
        return ""

    def decide(self, score: float) -> bool:
        """Whether what was measured is enough."""
        return self.threshold is not None and score >= self.threshold

    async def run(self, state: State, ctx: CallContext) -> State:
        score = await self.measure(state, ctx)
        accepted = score is not None and self.decide(score)
        return replace(state, values={**state.values, ACCEPTANCE_KEY: Acceptance(accepted, score, self.threshold)})

    def count_survivors(self, candidates: CountRange) -> CountRange:
        return candidates

    def describe_values(self, values: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
        decided = values.get(ACCEPTANCE_KEY)
        return {"Decision": [decided.describe()]} if isinstance(decided, Acceptance) else {}


class AnswerRule(AcceptRule):
    """Asks a model about the answer, the first candidate alone."""

    candidates_read: ClassVar[Literal["none", "one", "all"]] = "one"

    def count_calls(self, candidates: CountRange) -> CountRange:
        return self._multiply_models((1, 1))

    def _count_shown(self, work: Any) -> int:
        return 1


def find_drawn_layer(components: Sequence[Sequence[Component]]) -> int:
    """The place, from 0, of the last layer that makes candidates."""
    makers = [place for place, layer in enumerate(components) if isinstance(layer[0], CandidateGenerator)]
    return makers[-1] if makers else len(components) - 1
