"""What becomes of a call that a solver makes: a call of its component, with the solver's own settings and tools.

Equal calls of one run are other draws of one prompt, in the order in which they are made. So nothing answers twice
with one reply, a replay finds each again, and a run with other draws shares none of them.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel
from inspect_ai.event import ModelEvent
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.tool import ToolDef, ToolInfo, ToolSource
from inspect_ai.util import LimitExceededError, message_limit

from archon_eval._inspect_compat import check_message_limit
from archon_eval._inspect_interception import ModelRequest, suspend_interception
from archon_eval.architecture.spec import SETTING_NAMES, choose_settings
from archon_eval.components.call_context import SolverCallContext
from archon_eval.components.solver_models import SolverModels
from archon_eval.components.solver_option import SolverSource
from archon_eval.errors import ArchitectureError, ModelError
from archon_eval.models.call import Reply
from archon_eval.models.context_window import is_overflow
from archon_eval.models.conversion import (
    OPERATIONAL_OPTIONS,
    TOOL_OPTIONS,
    read_settings,
    to_answer_message,
    to_config,
    to_conversation,
    to_tool_offer,
)
from archon_eval.models.store_entry import digest_messages
from archon_eval.types import Message

CARRIED_FIELDS = frozenset(
    {
        *SETTING_NAMES,
        *TOOL_OPTIONS,
        *OPERATIONAL_OPTIONS,
        *("stop_seqs", "num_choices", "system_message"),
        *("cache_prompt", "max_tool_output", "reasoning_history"),
    }
)
"""Generation config that a solver may set: what a call carries, and what only decides how it is sent or what the solver
itself does with it."""


class SolverCalls:
    """The calls of one run."""

    def __init__(
        self, source: SolverSource, models: SolverModels, id: str, *, draw: int, ctx: SolverCallContext
    ) -> None:
        self._source, self._models, self._id, self._draw, self._ctx = source, models, id, draw, ctx
        self._made, self._tokens = 0, 0
        self._equal: Counter[Any] = Counter()
        self.show: Callable[[Any], None] = lambda event: None
        self._limit = message_limit(None)
        """What the run's own limits are known by, as Inspect knows those of an agent."""
        self.scope = anyio.CancelScope()
        """Around the solver, which ends with it."""
        self.limit_reached = ""
        """The limit of the run that a call went over, in words; empty for none."""
        self.is_over = False
        """Whether the run has ended: a call that it left behind would be paid and be in no account."""
        self.fatal: Exception | None = None
        """What ends the question, though a solver may have taken it for a passing error of one call."""

    async def answer(self, request: ModelRequest) -> ModelOutput:
        """The reply to a call, as Inspect's output.

        Raises:
            ModelError: it failed for good.
            LimitExceededError: the run has reached a limit of its own, or the sample one of the host's.
        """
        if self.is_over:
            raise ModelError(f"{self._source.title} has ended, so a task that it left running asks no model")
        if self.fatal is not None or self.limit_reached:  # it has been told, and goes on all the same
            self.scope.cancel()
            await anyio.lowlevel.checkpoint()
        try:
            return await self._answer(request)
        except ModelError:
            raise
        except ArchitectureError as exc:
            self.fatal = ArchitectureError(f"{self._source.title}: {exc}")
            raise self.fatal from None
        except Exception as exc:
            if not self.is_own_limit(exc):
                self.fatal = exc
            raise

    def is_own_limit(self, error: BaseException | None) -> bool:
        """Whether an error says that the run has reached a limit of its own."""
        return isinstance(error, LimitExceededError) and error.source is self._limit

    async def _answer(self, request: ModelRequest) -> ModelOutput:
        name = self._models.find_name(request.model)
        own = request.model.config.merge(request.config)
        self._check_config(own)
        config = to_config(choose_settings(self._source.spec, name)).merge(own)
        messages = _list_messages(request.input, config)
        infos = await _list_tools(request.tools)
        offer = to_tool_offer(infos, request.tool_choice or "auto", config)
        conversation, settings = to_conversation(messages), read_settings(config)
        key = (name, digest_messages(conversation), settings, offer)
        choices: list[ChatCompletionChoice] = []
        usage: ModelUsage | None = None
        for _ in range(config.num_choices or 1):
            self._check_limits(messages)
            self._made += 1
            self._equal[key] += 1
            try:
                with suspend_interception():
                    reply = await self._ctx.call_model(
                        self._source.short_name,
                        conversation,
                        model=name,
                        settings=settings,
                        draw=self._draw,
                        repeat=self._equal[key] - 1,
                        about=self._id,
                        tools=offer,
                    )
            except ModelError as exc:
                if is_overflow(str(exc)):  # as Inspect's providers say it: agents shorten their history then, or end
                    return ModelOutput.from_content(name, "", stop_reason="model_length")
                raise
            choices.append(_build_choice(name, reply))
            usage = _add_usage(usage, reply)
            self._tokens += reply.usage.input_tokens + reply.usage.output_tokens if reply.usage else 0
        output = ModelOutput(model=name, choices=choices, usage=usage)
        self.show(
            ModelEvent(
                model=name,
                role=request.model.role,
                input=list(messages),
                tools=infos,
                tool_choice=request.tool_choice or "auto",
                config=config,
                output=output,
            )
        )
        return output

    def _check_config(self, config: GenerateConfig) -> None:
        """Refuse settings that a call cannot carry, as it would be another call without them."""
        unknown = [name for name, value in config if value is not None and name not in CARRIED_FIELDS]
        if unknown:
            raise ArchitectureError(
                f"it sets {', '.join(unknown)} on a call, which the calls of an architecture do not have"
            )

    def _check_limits(self, messages: Sequence[ChatMessage]) -> None:
        """Raises where the next call would go over a limit: of the run, or of the host."""
        options = self._source.spec.get_option
        for name, used, word in (
            ("call_limit", self._made, "custom"),
            ("message_limit", len(messages), "message"),
            ("token_limit", self._tokens, "token"),
        ):
            if used >= (limit := options(name)):
                self.limit_reached = self.limit_reached or f"`{name}` ({limit:,})"
                text = f"{self._source.title} has reached its `{name}`: {used:,} of {limit:,}"
                kind: Any = word
                raise LimitExceededError(kind, value=used, limit=limit, message=text, source=self._limit)
        check_message_limit(len(messages), raise_for_equal=True)


def _list_messages(given: str | list[ChatMessage], config: GenerateConfig) -> list[ChatMessage]:
    messages: list[ChatMessage] = [ChatMessageUser(content=given)] if isinstance(given, str) else list(given)
    return [ChatMessageSystem(content=config.system_message), *messages] if config.system_message else messages


async def _list_tools(given: Any) -> list[ToolInfo]:
    """The tools of a call as models are told of them."""
    infos: list[ToolInfo] = []
    for tool in [given] if isinstance(given, ToolSource) else given or ():
        if isinstance(tool, ToolSource):
            infos += await _list_tools(await tool.tools())
        elif isinstance(tool, ToolInfo):
            infos.append(tool)
        else:
            described = tool if isinstance(tool, ToolDef) else ToolDef(tool)
            infos.append(
                ToolInfo(
                    name=described.name,
                    description=described.description,
                    parameters=described.parameters,
                    options=described.options,
                )
            )
    return infos


def _build_choice(name: str, reply: Reply) -> ChatCompletionChoice:
    turn = Message("assistant", reply.text, reply.tool_calls, reply.extra) if reply.tool_calls else None
    message = to_answer_message(reply.text, turn, model=name, author=name)
    stop: Any = reply.stop_reason if reply.stop_reason != "stop" or turn is None else "tool_calls"
    return ChatCompletionChoice(message=message, stop_reason=stop)


def _add_usage(total: ModelUsage | None, reply: Reply) -> ModelUsage | None:
    if reply.usage is None:
        return total
    read, written = reply.usage.input_tokens, reply.usage.output_tokens
    counted = ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written)
    return counted if total is None else total + counted
