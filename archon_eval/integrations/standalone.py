"""Runs an engine where there is no eval (a script, a notebook, lm-eval): limits, transcript, and a loop to wait on.

runner = StandaloneRunner("moa-lite", ["openai/gpt-4o"], ConnectionLimits(max_connections=50))
answer = await runner.answer((Message("user", "hi"),))         # from any event loop
answer = runner.run_sync(runner.answer, (Message("user", "hi"),))    # from code without one, or from a notebook's cell
"""

import asyncio
import atexit
import os
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from functools import cache
from inspect import signature
from threading import Lock, Thread
from typing import Any, TypeVar

import anyio
from inspect_ai.log import Transcript, transcript
from inspect_ai.model import GenerateConfig

from archon_eval._inspect_compat import (
    PrerequisiteError,
    get_error_text,
    init_transcript,
    sample_active,
    set_active_generate_config,
)
from archon_eval.architecture.component_types import int_option
from archon_eval.architecture.load import ArchitectureSource
from archon_eval.architecture.spec import NO_SETTINGS, Architecture, GenerationSettings
from archon_eval.engine.engine import select_error
from archon_eval.engine.trace import Answer
from archon_eval.errors import ArchitectureError, ModelError, did_you_mean
from archon_eval.integrations.build import build_engine
from archon_eval.integrations.task_settings import EngineCache
from archon_eval.runs.account import ACCOUNT_SOURCE
from archon_eval.types import Conversation

T = TypeVar("T")
_LOOP_LOCK = Lock()


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits for which `inspect eval` has options; inside an eval, those of the eval apply."""

    max_connections: int | None = None
    """Calls under way per model; None lets Inspect adapt it, from 20 to 100."""
    max_retries: int | None = 10
    """Retries of a call that failed for a passing reason (429, 5xx, lost connection); None for no limit."""
    timeout: int | None = None
    """Seconds after which a failed call is not tried again."""

    def __post_init__(self) -> None:
        for name, least in (("max_connections", 1), ("max_retries", 0), ("timeout", 0)):
            legal, value = int_option(None, least), getattr(self, name)
            if not legal.is_valid(value):
                raise ArchitectureError(f"{name} must be {legal.legal}, not {value!r}")


class StandaloneRunner:
    """An architecture with its models, for any number of questions, also at the same time."""

    def __init__(
        self,
        architecture: ArchitectureSource,
        models: str | Sequence[str] | None,
        limits: ConnectionLimits,
        **options: Any,
    ) -> None:
        """
        Raises:
            ArchitectureError: no such architecture, a model that cannot be used, or an unknown or illegal option.
        """
        legal = signature(build_engine).parameters
        for name in options:
            if name not in legal:
                raise ArchitectureError(f"unknown option {name!r}{did_you_mean(name, (*legal, *asdict(limits)))}")
        try:
            self._engines = EngineCache(build_engine(architecture, models, **{"trace": "compact", **options}))
        except PrerequisiteError as exc:
            raise ArchitectureError(get_error_text(exc)) from None
        self._config = GenerateConfig(**asdict(limits))

    @property
    def architecture(self) -> Architecture:
        """The architecture, its models filled in."""
        return self._engines.engine.architecture

    @property
    def engines(self) -> EngineCache:
        """The engines of the architecture under the settings of tasks."""
        return self._engines

    def take_flags(self, typed: GenerationSettings) -> None:
        """From now on hold settings that a user typed by hand."""
        if typed != self._engines.typed:
            self._engines = EngineCache(self._engines.engine, typed)

    async def answer(
        self, conversation: Conversation, epoch: int = 1, task: GenerationSettings = NO_SETTINGS, *, last_draw: int = 0
    ) -> Answer:
        """The engine's answer to a conversation.

        Inside an eval it is part of the running sample. Elsewhere it runs in the loop that all runners share, with a
        transcript that ends with it.
        """
        if sample_active() is not None or _get_running_loop() in (None, _get_loop()):  # None under trio
            return await self._answer(conversation, epoch, task, last_draw=last_draw)
        return await asyncio.wrap_future(_submit(self._answer(conversation, epoch, task, last_draw=last_draw)))

    async def _answer(
        self, conversation: Conversation, epoch: int, task: GenerationSettings, *, last_draw: int
    ) -> Answer:
        engine = self._engines(task)
        if sample_active() is not None:
            answer = await engine.run(conversation, epoch, last_draw=last_draw)
            account = self._engines.build_account(engine, answer)
            transcript().info(account.to_metadata(), source=ACCOUNT_SOURCE)
            return answer
        answers: list[Answer] = []

        async def answer_alone() -> None:
            init_transcript(Transcript())
            set_active_generate_config(self._config)
            answers.append(await engine.run(conversation, epoch, last_draw=last_draw))

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(answer_alone)
        except BaseExceptionGroup as errors:
            raise select_error(errors) from None
        return answers[0]

    def run_sync(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run an async function in the runners' loop; an interruption here cancels it there.

        Raises:
            ModelError: called in a sample or a component, where it would hold up what it waits for.
        """
        if sample_active() is not None or _get_running_loop() is _get_loop():
            raise ModelError("in a sample or a component, `await generate(...)`: `generate_sync` would wait for itself")
        future = _submit(function(*args))
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


def _submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Start work in the loop of all runners; cancelling the future cancels the work."""
    return asyncio.run_coroutine_threadsafe(work, _get_loop())


def _get_running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _get_loop() -> asyncio.AbstractEventLoop:
    """One loop for all runners: Inspect's connection limits are the process's, and a loop wakes only its own tasks."""
    with _LOOP_LOCK:
        return _start_loop(os.getpid())


@cache
def _start_loop(process: int) -> asyncio.AbstractEventLoop:
    """The loop of a process (a fork has none of its parent's threads), in a thread; shut down when the process ends."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def run_loop() -> None:
        end = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), end))
        await end.wait()

    thread = Thread(target=lambda: asyncio.run(run_loop()), name="archon", daemon=True)
    thread.start()
    loop, end = started.result()

    def shut_down() -> None:
        if os.getpid() == process:
            loop.call_soon_threadsafe(end.set)
            thread.join(10)

    atexit.register(shut_down)
    return loop
