"""`inspect eval TASK --model archon/moa-lite -M models=openai/gpt-4o,openai/gpt-4o-mini`

Any existing task is evaluated unchanged: its solver prompts and calls its model, and the model is an architecture.
`archon/` is followed by a preset's name or a file's path. Also as a role: `--model-role grader=archon/my-judge.yaml`.

Agents, too: generators are offered the task's tools and propose turns, and the architecture chooses one of them. One
that writes texts of its own (a fuser) cannot, and says so before a call is paid (`Engine.check_tools`).
"""

from collections import Counter
from dataclasses import replace
from inspect import signature
from typing import Any
from weakref import WeakKeyDictionary

import anyio
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    StopReason,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from archon_eval._inspect_compat import (
    ActiveSample,
    active_generate_config,
    make_prerequisite_error,
    sample_active,
    set_active_generate_config,
)
from archon_eval.architecture.spec import SETTING_NAMES, GenerationSettings
from archon_eval.engine.engine import select_error
from archon_eval.engine.trace import Answer
from archon_eval.errors import ModelError, did_you_mean
from archon_eval.integrations.build import build_engine
from archon_eval.integrations.command_process import freeze_imports_in_command
from archon_eval.integrations.task_settings import RUN_EPOCH_STRIDE, EngineCache
from archon_eval.models.conversion import to_answer_message, to_conversation, to_tool_offer
from archon_eval.models.judge_client import share_cache_with_judges
from archon_eval.runs.account import QuestionAccount, build_output_metadata
from archon_eval.types import Conversation, ToolOffer

UNSUPPORTED_CONFIG = {
    "response_schema": "a reply by a JSON schema",
    "logprobs": "log-probabilities",
    "prompt_logprobs": "log-probabilities",
}
"""Settings that change what a reply is; to ignore them would give the task something else than it asked for."""


class ArchonAPI(ModelAPI):
    """An architecture as a model; `-M` takes what the solver's `-S` takes."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        config: GenerateConfig | None = None,
        models: str | list[str] | None = None,
        **options: Any,
    ) -> None:
        """
        Raises:
            PrerequisiteError: no such architecture, a model that cannot be used, an unknown option.
        """
        legal = [name for name in signature(build_engine).parameters if name != "architecture"]
        for name in options:
            if name not in legal:
                raise make_prerequisite_error(
                    f"archon/{model_name}: unknown option {name!r}{did_you_mean(name, legal)}"
                )
        if base_url or api_key:
            raise make_prerequisite_error(
                f"archon/{model_name} has no address or key of its own: its models have theirs, "
                "e.g. in OPENAI_BASE_URL and OPENAI_API_KEY"
            )
        self._engines = EngineCache(build_engine(model_name, models, **options))
        freeze_imports_in_command()
        # the address is part of the key of Inspect's cache; the name alone would replay an edited file's old answers
        address = f"archon:{self._engines.engine.architecture.fingerprint}"
        super().__init__(model_name, base_url=address, config=config or GenerateConfig())
        self._times_asked: WeakKeyDictionary[ActiveSample, Counter[tuple[Conversation, ToolOffer | None]]] = (
            WeakKeyDictionary()
        )

    def connection_key(self) -> str:
        """Architectures do not wait for one another; their models have their own connection limits."""
        return f"{self.model_name}@{self.base_url}"

    def tools_required(self) -> bool:
        """A model of the architecture may need the tools of earlier turns; Inspect leaves them out for the others."""
        return True

    def tool_result_images(self) -> bool:
        """Each model's own provider knows where the images of a tool's result go."""
        return True

    def tool_result_documents(self) -> bool:
        """As for images."""
        return True

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """The architecture's answer to the chat history, `num_choices` times.

        Raises:
            ModelError: a schema or log-probabilities were asked for, or tools of an architecture that writes texts of
                its own; or a call failed for good.
        """
        for name, meaning in UNSUPPORTED_CONFIG.items():
            if getattr(config, name, None):
                raise ModelError(f"archon/{self.model_name} answers with text; the task asks for {meaning} ({name})")
        offer = to_tool_offer(tools, tool_choice, config)
        self._engines.engine.check_tools(offer)
        share_cache_with_judges(self._engines.engine.caller)
        conversation, task = to_conversation(input), read_task_settings(config)
        epoch, first = self._assign_epoch((conversation, offer), config.num_choices or 1)
        answers: dict[int, Answer] = {}

        async def run(number: int) -> None:
            settings = task if task.seed is None else replace(task, seed=task.seed + number)
            if number:  # Inspect's cache cannot tell the runs apart and would replay the first
                set_active_generate_config(active_generate_config().model_copy(update={"cache": None}))
            run_epoch = epoch + RUN_EPOCH_STRIDE * number
            answers[number] = await self._engines(settings).run(conversation, epoch=run_epoch, tools=offer)

        try:
            async with anyio.create_task_group() as group:
                for number in range(first, first + (config.num_choices or 1)):
                    group.start_soon(run, number)
        except BaseExceptionGroup as errors:
            raise select_error(errors) from None
        return self._build_output([answers[number] for number in sorted(answers)])

    def _assign_epoch(self, question: tuple[Conversation, ToolOffer | None], runs: int) -> tuple[int, int]:
        """The sample's epoch, and how often it has asked this question: a task that asks again wants new draws."""
        sample = sample_active()
        if sample is None:
            return 1, 0
        asked = self._times_asked.setdefault(sample, Counter())
        asked[question] += runs
        return sample.epoch, asked[question] - runs

    def _build_output(self, answers: list[Answer]) -> ModelOutput:
        model = f"archon/{self.model_name}"
        accounts = [QuestionAccount.from_answer(self._engines.engine.architecture, answer) for answer in answers]
        # no usage on this output: the inner calls have reported theirs
        return ModelOutput(
            model=model,
            choices=[
                ChatCompletionChoice(
                    message=to_answer_message(answer.text, best.turn, model=model, author=best.model),
                    stop_reason=get_stop_reason(answer),
                )
                for answer in answers
                for best in answer.candidates[:1]
            ],
            metadata=build_output_metadata(accounts),
        )


def read_task_settings(config: GenerateConfig) -> GenerationSettings:
    """What a task's configuration sets, of the settings an architecture knows."""
    values = {name: getattr(config, name) for name in SETTING_NAMES if name != "stop"}
    return GenerationSettings(**values, stop=tuple(config.stop_seqs or ()))


def get_stop_reason(answer: Answer) -> StopReason:
    """Why the call that wrote the answer stopped, where that was not its end."""
    best = answer.candidates[0]
    notes = {note.what for note in answer.trail.notes if note.about == best.id and best.id.startswith(f"{note.layer}.")}
    finished: StopReason = "stop" if best.turn is None else "tool_calls"
    return "content_filter" if "filtered" in notes else "max_tokens" if best.cut else finished
