"""The simulated pool as an Inspect model provider: `--model sim/gpt-4o`, `-S models=sim/pool`.

    inspect eval archon_eval/math -T sample=true --model sim/gpt-4o -M latency=0.2 -M data=my_questions.jsonl

It calls no network and costs nothing. Tokens are estimates (4 characters each).
"""

from dataclasses import dataclass
from math import exp
from typing import Any

import anyio
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    TopLogprob,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from archon_eval._inspect_compat import sample_state
from archon_eval.errors import SimulationError, did_you_mean
from archon_eval.models.conversion import from_tool_call, to_conversation, to_tool_offer
from archon_eval.models.draw import current_draw
from archon_eval.simulation.questions import QuestionBank
from archon_eval.simulation.seeded_random import draw_normal, draw_uniform
from archon_eval.simulation.simulator import SimulatedReply, Simulator, estimate_tokens
from archon_eval.simulation.skills import find_model

MODEL_ARGS = ("seed", "data", "latency", "failures")
MAX_CONNECTIONS = 1000
"""No server stands behind the pool, so the bound only has to be above what a run asks for at once."""
LATENCY_SPREAD = 0.5
"""Standard deviation of the logarithm of a call's latency: single calls vary by about half of the mean."""


@dataclass(frozen=True, slots=True)
class FaultInjection:
    """Latency and failures as real providers have them, drawn from a hash of the call, so the same in every run."""

    latency: float = 0.0
    """Mean seconds a call takes; single calls vary by about half of that."""
    failures: float = 0.0
    """Share of calls that fail for good."""

    def __post_init__(self) -> None:
        if not self.latency >= 0:
            raise SimulationError(f"latency={self.latency}: must be seconds, 0 or more")
        if not 0 <= self.failures <= 1:
            raise SimulationError(f"failures={self.failures}: must be a share from 0 to 1")

    async def simulate(self, *call: object) -> None:
        """Waits; raises SimulationError if this call is one that fails."""
        if self.latency:
            # a log-normal draw with mean 1
            factor = exp(LATENCY_SPREAD * draw_normal("latency", *call) - LATENCY_SPREAD**2 / 2)
            await anyio.sleep(self.latency * factor)
        if self.failures and draw_uniform("failure", *call) < self.failures:
            raise SimulationError(f"simulated failure (failures={self.failures:g} was asked for)")


class SimAPI(ModelAPI):
    """One simulated model.

    Model arguments (`-M`):
        seed: another seed is another world: other questions are hard, and for other models.
        data: files with further questions and their answers, comma-separated.
        latency: mean seconds a call takes.
        failures: share of calls that fail for good.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008
        *,
        seed: int = 0,
        data: str | None = None,
        latency: float = 0.0,
        failures: float = 0.0,
        **unknown: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, api_key_vars=[], config=config)
        if unknown:
            name = next(iter(unknown))
            raise SimulationError(f"sim/{model_name}: unknown model argument {name!r}{did_you_mean(name, MODEL_ARGS)}")
        find_model(model_name)
        try:
            self._faults, world_seed = FaultInjection(float(latency), float(failures)), int(seed)
        except (TypeError, ValueError) as error:
            raise SimulationError(f"sim/{model_name}: seed, latency and failures are numbers: {error}") from error
        self._simulator = Simulator(QuestionBank.load(data), world_seed)

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """Replies by draw and epoch of the architecture's call, or as draw 0 of the sample's epoch outside of one.

        Raises:
            SimulationError: a failure that was asked for.
        """
        draw, epoch = current_draw() or (0, _get_epoch())
        messages, offer = to_conversation(input), to_tool_offer(tools, tool_choice, config)
        await self._faults.simulate(self._simulator.seed, self.model_name, messages, draw, epoch)
        replies = [
            self._simulator.reply(
                self.model_name,
                messages,
                draw=draw + choice,
                epoch=epoch,
                seed=config.seed,
                max_tokens=config.max_tokens,
                stop=config.stop_seqs or (),
                tools=offer,
            )
            for choice in range(config.num_choices or 1)
        ]
        input_tokens, output_tokens = replies[0].input_tokens, sum(reply.output_tokens for reply in replies)
        return ModelOutput(
            model=self.model_name,
            choices=[self._build_choice(reply, config) for reply in replies],
            usage=ModelUsage(
                input_tokens=input_tokens, output_tokens=output_tokens, total_tokens=input_tokens + output_tokens
            ),
        )

    def _build_choice(self, reply: SimulatedReply, config: GenerateConfig) -> ChatCompletionChoice:
        calls = [from_tool_call(call) for call in reply.tool_calls] or None
        message = ChatMessageAssistant(content=reply.text, tool_calls=calls, model=self.model_name, source="generate")
        logprobs = None
        if config.logprobs and reply.letter_logprobs:
            ranked = sorted(reply.letter_logprobs, key=lambda letter: -letter[1])
            top = [TopLogprob(token=token, logprob=value) for token, value in ranked[: config.top_logprobs or 0]]
            logprobs = Logprobs(content=[Logprob(token=ranked[0][0], logprob=ranked[0][1], top_logprobs=top or None)])
        return ChatCompletionChoice(
            message=message, stop_reason="tool_calls" if calls else reply.stop_reason, logprobs=logprobs
        )

    async def count_text_tokens(self, text: str) -> int:
        """The estimate used throughout, so that no tokenizer is fetched."""
        return estimate_tokens(len(text))

    def max_connections(self) -> int:
        """No server is behind it that could be overloaded."""
        return MAX_CONNECTIONS

    def connection_key(self) -> str:
        """One pool of connections for each model."""
        return f"sim/{self.model_name}"


def _get_epoch() -> int:
    state = sample_state()
    return state.epoch if state is not None else 1
