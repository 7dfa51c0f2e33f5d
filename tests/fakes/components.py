"""Components of a user's own, as a package outside archon_eval would write them."""

from dataclasses import replace

from archon_eval.architecture.component_types import ComponentType, int_option
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.components.base import CallContext, ListComponent
from archon_eval.types import State


class Shortest(ListComponent):
    """Keeps the shortest candidates, and counts the questions it has seen: state of its own."""

    kind = ComponentType("shortest", needs_model=False, options={"keep": int_option(1)})

    def __init__(self, spec: ComponentSpec) -> None:
        super().__init__(spec)
        self.questions = 0

    async def run(self, state: State, ctx: CallContext) -> State:
        self.questions += 1
        ordered = sorted(state.candidates, key=lambda candidate: len(candidate.text))
        return replace(state, candidates=tuple(ordered[: self.spec.get_option("keep")]))

    def count_survivors(self, candidates: tuple[int, int]) -> tuple[int, int]:
        keep = int(self.spec.get_option("keep"))
        return (min(candidates[0], keep), min(candidates[1], keep))


class NotAComponent:
    """Has a kind, but no base class of components."""

    kind = ComponentType("impostor", needs_model=False)


class NoKind:
    """Has neither kind nor base class."""
