"""`inspect eval TASK --model archon/moa-lite -M models=openai/gpt-4o,openai/gpt-4o-mini`

Any existing task is evaluated unchanged: its solver prompts and calls its model, and the model is an architecture.
`archon/` is followed by a preset's name or a file's path. Also as a role: `--model-role grader=archon/my-judge.yaml`.
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
    ChatMessageAssistant,
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
from archon_eval.models.conversion import to_conversation
from archon_eval.models.judge_client import share_cache_with_judges
from archon_eval.runs.account import QuestionAccount, build_output_metadata
from archon_eval.runs.door import SOLVER_ONLY_ARGS
from archon_eval.types import Conversation

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
        architecture: str | dict[str, Any] | None = None,
        epoch_offset: int = 0,
        **options: Any,
    ) -> None:
        """
        Args:
            model_name: the architecture, where `architecture` does not give it: a preset's name or a file.
            epoch_offset: as of the solver `archon`.

        Raises:
            PrerequisiteError: no such architecture, a model that cannot be used, an unknown option.
        """
        legal = [*signature(build_engine).parameters, "epoch_offset"]
        for name in options:
            if name in SOLVER_ONLY_ARGS:
                raise make_prerequisite_error(
                    f"archon/{model_name}: option {name!r} is of the solver archon; as a model an architecture does "
                    f"not take it: {SOLVER_ONLY_ARGS[name]}"
                )
            if name not in legal:
                raise make_prerequisite_error(
                    f"archon/{model_name}: unknown option {name!r}{did_you_mean(name, legal)}"
                )
        if base_url or api_key:
            raise make_prerequisite_error(
                f"archon/{model_name} has no address or key of its own: its models have theirs, "
                "e.g. in OPENAI_BASE_URL and OPENAI_API_KEY"
            )
        if type(epoch_offset) is not int or epoch_offset < 0:
            raise make_prerequisite_error(
                f"archon/{model_name}: epoch_offset must be a whole number from 0, not {epoch_offset!r}"
            )
        self._epoch_offset = epoch_offset
        self._engines = EngineCache(build_engine(architecture or model_name, models, **options))
        freeze_imports_in_command()
        # the address is part of the key of Inspect's cache; the name alone would replay an edited file's old answers
        address = f"archon:{self._engines.engine.architecture.fingerprint}"
        super().__init__(model_name, base_url=address, config=config or GenerateConfig())
        self._times_asked: WeakKeyDictionary[ActiveSample, Counter[Conversation]] = WeakKeyDictionary()

    def connection_key(self) -> str:
        """Architectures do not wait for one another; their models have their own connection limits."""
        return f"{self.model_name}@{self.base_url}"

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """The architecture's answer to the chat history, `num_choices` times.

        Raises:
            ModelError: tools, a schema or log-probabilities were asked for; or a call failed for good.
        """
        if tools:
            names = ", ".join(tool.name for tool in tools)
            raise ModelError(f"archon/{self.model_name} answers with text and calls no tools; the task offers {names}")
        for name, meaning in UNSUPPORTED_CONFIG.items():
            if getattr(config, name, None):
                raise ModelError(f"archon/{self.model_name} answers with text; the task asks for {meaning} ({name})")
        share_cache_with_judges(self._engines.engine.caller, self._epoch_offset)
        conversation, task = to_conversation(input), read_task_settings(config)
        epoch, first = self._assign_epoch(conversation, config.num_choices or 1)
        answers: dict[int, Answer] = {}

        async def run(number: int) -> None:
            settings = task if task.seed is None else replace(task, seed=task.seed + number)
            if number:  # Inspect's cache cannot tell the runs apart and would replay the first
                set_active_generate_config(active_generate_config().model_copy(update={"cache": None}))
            answers[number] = await self._engines(settings).run(conversation, epoch=epoch + RUN_EPOCH_STRIDE * number)

        try:
            async with anyio.create_task_group() as group:
                for number in range(first, first + (config.num_choices or 1)):
                    group.start_soon(run, number)
        except BaseExceptionGroup as errors:
            raise select_error(errors) from None
        return self._build_output([answers[number] for number in sorted(answers)])

    def _assign_epoch(self, conversation: Conversation, runs: int) -> tuple[int, int]:
        """The sample's epoch, and how often it has asked this conversation: a task that asks again wants new draws."""
        sample = sample_active()
        if sample is None:
            return 1 + self._epoch_offset, 0
        asked = self._times_asked.setdefault(sample, Counter())
        asked[conversation] += runs
        return sample.epoch + self._epoch_offset, asked[conversation] - runs

    def _build_output(self, answers: list[Answer]) -> ModelOutput:
        model = f"archon/{self.model_name}"
        accounts = [QuestionAccount.from_answer(self._engines.engine.architecture, answer) for answer in answers]
        # no usage on this output: the inner calls have reported theirs
        return ModelOutput(
            model=model,
            choices=[
                ChatCompletionChoice(
                    message=ChatMessageAssistant(content=answer.text, model=model, source="generate"),
                    stop_reason=get_stop_reason(answer),
                )
                for answer in answers
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
    return "content_filter" if "filtered" in notes else "max_tokens" if best.cut else "stop"
