"""The simulated pool directly under the engine, without Inspect: for searches of a million calls.

>>> import asyncio
>>> from archon_eval.architecture.spec import GenerationSettings
>>> from archon_eval.types import Message
>>> call = Call("sim/gpt-4o", (Message("user", "What is 2 + 2?"),), GenerationSettings())
>>> asyncio.run(SimCaller(seed=1)(call)).stop_reason
'stop'
"""

from archon_eval.models.call import Call, Reply, Usage
from archon_eval.simulation.simulator import Simulator


class SimCaller:
    """A caller (`models.call.Caller`) whose models are simulated."""

    def __init__(self, simulator: Simulator | None = None, *, seed: int = 0) -> None:
        self.simulator = simulator or Simulator(seed=seed)

    async def __call__(self, call: Call) -> Reply:
        """Raises SimulationError: no such model."""
        if call.scorer is not None:
            return await call.scorer(call)
        settings = call.settings
        reply = self.simulator.reply(
            call.model,
            call.messages,
            draw=call.draw,
            epoch=call.epoch,
            seed=settings.seed,
            max_tokens=settings.max_tokens,
            stop=settings.stop,
            tools=call.tools,
        )
        usage = Usage(reply.input_tokens, reply.output_tokens)
        if reply.tool_calls:
            return Reply(reply.text, "tool_calls", usage, tool_calls=reply.tool_calls)
        return Reply(reply.text, reply.stop_reason, usage)
