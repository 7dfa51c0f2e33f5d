"""Generator: the conversation goes to a model as it is; each sample is a candidate (v6 section 3.1)."""

from archon_eval.architecture.component_types import COMPONENT_TYPES
from archon_eval.components.base import CallContext, CandidateGenerator
from archon_eval.types import Candidate, State


class Generator(CandidateGenerator):
    """One candidate per sample, one call each."""

    kind = COMPONENT_TYPES["generator"]

    async def produce(self, state: State, id: str, draw: int, desk: CallContext) -> Candidate | None:
        reply = await desk.generate("generate", state.conversation, draw=draw, about=id)
        return Candidate(id, reply.text, self.spec.model) if reply else None
