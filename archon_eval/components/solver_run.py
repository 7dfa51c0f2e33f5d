"""One run of a solver of Inspect's: its state and models, its calls through this package's stack, and its end.

    candidate = await SolverRun(source, state, "1.2", draw=1, ctx=ctx).run()

The solver runs in a task of its own, in which Inspect's context variables are set anew: the model that `get_model()`
finds, the roles, the store, the state. Whatever model it then calls, `intercept_generate` brings the call to
`SolverCalls`, and from there it goes down the stack like any component's.
"""

import traceback
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import anyio
from inspect_ai.model import ChatMessage, GenerateConfig, ModelName, get_model
from inspect_ai.solver import TaskState
from inspect_ai.util import LimitExceededError

from archon_eval._inspect_compat import (
    TerminateSampleError,
    activate_stand_in_sample,
    get_error_text,
    init_subtask_store,
    sample_active,
    sample_state,
    sample_state_variable,
    set_task_generate,
    task_generate,
)
from archon_eval._inspect_interception import intercept_generate
from archon_eval.components.call_context import SolverCallContext
from archon_eval.components.solver_calls import SolverCalls
from archon_eval.components.solver_models import SolverModels
from archon_eval.components.solver_option import SolverSource
from archon_eval.errors import ArchonError, ModelError, SolverError
from archon_eval.models.call import CUT_REASONS
from archon_eval.models.conversion import redact, to_chat
from archon_eval.types import Candidate, State

ACCOUNT_KEYS = ("archon",)
"""Of a sample's metadata: what this package itself writes there."""


class SolverRun:
    """Makes one candidate."""

    def __init__(self, source: SolverSource, state: State, id: str, *, draw: int, ctx: SolverCallContext) -> None:
        """
        Args:
            state: with the conversation that the solver is to answer.
            id: of the candidate.
            draw: which of the candidates of its models it is.
        """
        self._source, self._asked, self._id, self._draw, self._ctx = source, state, id, draw, ctx
        self._models = SolverModels(source.spec)
        self._calls = SolverCalls(source, self._models, id, draw=draw, ctx=ctx)
        self._state: TaskState | None = None
        self._error: Exception | None = None
        self._is_late = False

    async def run(self) -> Candidate | None:
        """The candidate; None where there is none and `on_error` is `drop`.

        Raises:
            ModelError: a call failed for good, or the solver ended without a text.
            SolverError: the solver itself failed; names it.
            ArchitectureError: it called a model that its component does not list.
            Limits of the host, budgets and cancellation pass through as they are.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(self._work)  # what a solver sets in its context ends with the task
        if self._calls.fatal is not None:  # whatever the solver made of it
            raise self._calls.fatal
        limit = self._find_limit()
        if self._error is not None and not limit:
            self._drop_or_raise(self._error)
            return None
        return self._take_answer(limit)

    async def _work(self) -> None:
        try:
            async with (
                self._ctx.open_steps(f"candidate {self._id}: {self._source.short_name}") as show,
                self._ctx.sandboxes.enter(self._id, self._source.sandbox),
            ):
                self._calls.show = show
                self._models.activate()
                solver, state = self._source.build(), self._build_state()
                if sample_active() is None:
                    activate_stand_in_sample(list(state.messages))
                init_subtask_store(state.store)
                sample_state_variable.set(state)
                set_task_generate(self._generate)
                self._state = state
                with (
                    intercept_generate(self._calls.answer),
                    anyio.move_on_after(self._time_limit) as time,
                    self._calls.scope,
                ):
                    ended: object = await solver(state, self._generate)
                    if not isinstance(ended, TaskState):
                        raise TypeError(f"it must return a TaskState, and returned {type(ended).__name__}")
                    sample_state_variable.set(ended)
                self._is_late = time.cancelled_caught
        except Exception as exc:  # noqa: BLE001 (raised again where it is known what it means)
            self._error = exc
        finally:
            self._calls.is_over = True
            self._state = sample_state() if self._state is not None else None

    @property
    def _time_limit(self) -> float:
        return float(self._source.spec.get_option("time_limit"))

    def _build_state(self) -> TaskState:
        """What the solver is given: the conversation, and of the sample its metadata, but no target."""
        outer = sample_state() if sample_active() is not None else None
        messages: list[ChatMessage] = [to_chat(message) for message in self._asked.conversation]
        metadata = deepcopy(outer.metadata) if outer is not None else {}
        for key in ACCOUNT_KEYS:
            metadata.pop(key, None)
        return TaskState(
            model=ModelName(self._source.spec.model or "none/none"),
            sample_id=outer.sample_id if outer is not None else self._id,
            epoch=outer.epoch if outer is not None else 1,
            input=list(messages),
            messages=messages,
            metadata=metadata,
        )

    async def _generate(
        self, state: TaskState, tool_calls: Any = "loop", cache: Any = False, **config: Any
    ) -> TaskState:
        """What Inspect gives a solver as `generate`: asks the model, and runs the tools it calls."""
        return await task_generate(get_model(), state, tool_calls, cache, GenerateConfig(**config))

    def _find_limit(self) -> str:
        """The limit of its own that ended the solver, in words; empty for none."""
        if self._is_late:
            return f"`time_limit` ({self._time_limit:,.0f} seconds)"
        return self._calls.limit_reached

    def _take_answer(self, limit: str) -> Candidate | None:
        output = self._state.output if self._state is not None else None
        text = output.completion if output is not None else ""
        title = self._source.title
        if limit:
            self._ctx.record_result(self._id, "limited", f"{title} was ended by its {limit}")
        if not text.strip():
            problem = f"{title} ended without a text" + (f", by its {limit}" if limit else "")
            if self._source.spec.on_error != "drop":
                raise ModelError(f"{problem} (candidate {self._id}): an answer is what it leaves in `state.output`")
            if not limit:
                self._ctx.record_result(self._id, "no_answer", problem)
            return None
        if not limit:
            self._ctx.record_result(self._id)
        assert output is not None
        is_cut = bool(limit) or str(output.stop_reason) in CUT_REASONS
        model = self._source.spec.model or self._source.name
        return Candidate(self._id, text, model, cut=is_cut, values={"solver": self._source.short_name})

    def _drop_or_raise(self, error: Exception) -> None:
        """What becomes of an error that the solver let through."""
        errors = _flatten(error)
        host = next((exc for exc in errors if isinstance(exc, LimitExceededError | TerminateSampleError)), None)
        if host is not None:
            raise host
        ours = [exc for exc in errors if isinstance(exc, ArchonError)]
        if ours and isinstance(ours[0], ModelError):
            if self._source.spec.on_error != "drop":
                raise ours[0]
            self._ctx.record_result(self._id, "dropped", str(ours[0]))
            return
        if ours:
            raise ours[0]
        where = _find_place(errors[0])
        raise SolverError(
            f"{self._source.title} failed (candidate {self._id}): "
            f"{type(errors[0]).__name__}: {redact(get_error_text(errors[0]))}{where}"
        ) from errors[0]


def _flatten(error: BaseException) -> list[BaseException]:
    """The errors of a group, or one error; each with the model's error that it was raised from in its place."""
    if isinstance(error, BaseExceptionGroup):
        return [each for inner in error.exceptions for each in _flatten(inner)]
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ModelError):
        cause = cause.__cause__
    return [error if cause is None else cause]


def _find_place(error: BaseException) -> str:
    """The line of code that raised, of the last file that is neither Python's nor a package's."""
    frames: Sequence[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename and "archon_eval" not in frame.filename]
    if not own:
        return ""
    name = own[-1].filename.replace("\\", "/").rpartition("/")[2]
    return f" ({name}, line {own[-1].lineno})"
