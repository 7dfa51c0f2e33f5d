"""`inspect eval TASK --model archon/moa-lite -M models=openai/gpt-4o,openai/gpt-4o-mini`

Any existing task is evaluated unchanged: its solver prompts and calls its model, and the model is an architecture.
`archon/` is followed by a preset's name or a file's path. Also as a role: `--model-role grader=archon/my-judge.yaml`.

Agents, too: generators are offered the task's tools and propose turns, and the architecture chooses one of them. One
that writes texts of its own (a fuser) cannot, and says so before a call is paid (`Engine.check_tools`).
"""

from collections import Counter
from dataclasses import replace
from inspect import signature
from math import ceil
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
from archon_eval._notes import show_note
from archon_eval.engine.engine import Engine, select_error
from archon_eval.engine.trace import Answer
from archon_eval.errors import ArchonError, ContextOverflowError, ModelError, did_you_mean, raise_plainly
from archon_eval.integrations.build import build_engine, check_whole_number, note_unshared_draws
from archon_eval.integrations.command_process import freeze_imports_in_command
from archon_eval.integrations.inspect_flags import find_ignored_flags, find_unsupported, refuse_flags
from archon_eval.integrations.task_settings import RUN_EPOCH_STRIDE, EngineCache
from archon_eval.models.conversion import read_settings, to_answer_message, to_conversation, to_tool_offer
from archon_eval.models.judge_client import share_cache_with_judges
from archon_eval.models.store_entry import digest_messages
from archon_eval.runs.account import AnswerDraws, QuestionAccount, build_output_metadata
from archon_eval.runs.door import SOLVER_ONLY_ARGS
from archon_eval.types import ToolOffer

BYTES_PER_TOKEN = 3.5
"""Of text, where an agent asks how long its history is: fewer than of English, as too low a count is worse."""


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
        last_draws: int = 1,
        **options: Any,
    ) -> None:
        """
        Args:
            model_name: the architecture, where `architecture` does not give it: a preset's name or a file.
            epoch_offset, last_draws: as of the solver `archon`.

        Raises:
            PrerequisiteError: no such architecture, a model that cannot be used, an unknown option.
        """
        legal = [*signature(build_engine).parameters, "epoch_offset", "last_draws"]
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
        check_whole_number(f"archon/{model_name}", "epoch_offset", epoch_offset, minimum=0)
        check_whole_number(f"archon/{model_name}", "last_draws", last_draws, minimum=1)
        self._epoch_offset, self._last_draws = epoch_offset, last_draws
        typed = config or GenerateConfig()
        refuse_flags(typed, f"archon/{model_name}")
        self._engines = EngineCache(build_engine(architecture or model_name, models, **options), read_settings(typed))
        if problems := (*self._engines.warnings, *find_ignored_flags(typed, door="model")):
            show_note(f"archon/{model_name}: {'; '.join(problems)}")
        note_unshared_draws(f"archon/{model_name}", self._engines.engine.caller, last_draws)
        freeze_imports_in_command()
        # the address is part of the key of Inspect's cache; the name alone would replay an edited file's old answers
        address = f"archon:{self._engines.architecture.fingerprint}"
        super().__init__(model_name, base_url=address, config=typed)
        self._times_asked: WeakKeyDictionary[ActiveSample, Counter[tuple[bytes, ToolOffer | None]]] = (
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

    async def count_text_tokens(self, text: str) -> int:
        """An estimate for agents that shorten their history in time: equal in a replay, and no tokenizer is fetched."""
        return max(1, ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN))

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """The architecture's answer to the chat history, `num_choices` times.

        With tools, a history that does not fit a model's context window is an output with the stop reason
        `model_length`, as Inspect's own providers give it: agents shorten the history then, or end.

        Raises:
            ModelError: a schema or log-probabilities were asked for, or tools of an architecture that writes texts of
                its own; or a call failed for good.
        """
        if found := find_unsupported(config):
            raise ModelError(f"archon/{self.model_name} answers with text; the task asks for {found}")
        try:
            offer = to_tool_offer(tools, tool_choice, config)
            self._engines.engine.check_tools(offer)
        except ModelError as exc:
            raise_plainly(exc)
        share_cache_with_judges(self._engines.engine.caller, self._epoch_offset, self._last_draws)
        conversation, task = to_conversation(input), read_settings(config)
        engine = self._engines(task)
        if unused := self._engines.describe_unused(task):
            show_note(unused)
        draws, first = self._assign_draws((digest_messages(conversation), offer), config.num_choices or 1)
        answers: dict[int, Answer] = {}

        async def run(number: int) -> None:
            if number:  # Inspect's cache cannot tell the runs apart and would replay the first
                set_active_generate_config(active_generate_config().model_copy(update={"cache": None}))
            run_epoch = draws.epoch + RUN_EPOCH_STRIDE * number
            answers[number] = await engine.run(conversation, run_epoch, last_draw=draws.last_draw, tools=offer)

        try:
            async with anyio.create_task_group() as group:
                for number in range(first, first + (config.num_choices or 1)):
                    group.start_soon(run, number)
        except BaseExceptionGroup as errors:
            error = select_error(errors)
            if isinstance(error, ContextOverflowError) and offer is not None:
                show_note(f"archon/{self.model_name}: an agent's history does not fit: {error}")
                return self._build_overflow(engine, error, draws)
            if isinstance(error, ArchonError):
                raise_plainly(error)
            raise error from None
        return self._build_output(engine, [answers[number] for number in sorted(answers)], draws)

    def _assign_draws(self, question: tuple[bytes, ToolOffer | None], runs: int) -> tuple[AnswerDraws, int]:
        """The sample's draws, and how often it has asked this question: a task that asks again wants new ones."""
        sample = sample_active()
        if sample is None:
            return AnswerDraws.from_epoch(1, self._epoch_offset, self._last_draws), 0
        asked = self._times_asked.setdefault(sample, Counter())
        asked[question] += runs
        return AnswerDraws.from_epoch(sample.epoch, self._epoch_offset, self._last_draws), asked[question] - runs

    def _build_account(self, engine: Engine, answer: Answer, draws: AnswerDraws) -> QuestionAccount:
        account = self._engines.build_account(engine, answer)
        return replace(account, draws=draws) if self._last_draws > 1 else account

    def _build_output(self, engine: Engine, answers: list[Answer], draws: AnswerDraws) -> ModelOutput:
        model = f"archon/{self.model_name}"
        accounts = [self._build_account(engine, answer, draws) for answer in answers]
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

    def _build_overflow(self, engine: Engine, error: ContextOverflowError, draws: AnswerDraws) -> ModelOutput:
        account = self._build_account(engine, Answer("", (), error.trail), draws)
        # without a text, or scorers would look for answers in the error's
        output = ModelOutput.from_content(f"archon/{self.model_name}", "", stop_reason="model_length")
        output.metadata = build_output_metadata([account])
        return output


def get_stop_reason(answer: Answer) -> StopReason:
    """Why the call that wrote the answer stopped, where that was not its end."""
    best = answer.candidates[0]
    notes = {note.what for note in answer.trail.notes if note.about == best.id and best.id.startswith(f"{note.layer}.")}
    finished: StopReason = "stop" if best.turn is None else "tool_calls"
    return "content_filter" if "filtered" in notes else "max_tokens" if best.cut else finished
