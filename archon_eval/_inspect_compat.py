"""Everything private that this package uses of Inspect and of the OpenAI client, and nowhere else.

    from archon_eval._inspect_compat import active_generate_config, resolve_config

Private names move without notice. `PRIVATE_NAMES` says where each was last seen; each is imported when it is asked for,
so that this module is cheap to import and a name that has gone breaks only what needs it. Private attributes have a
small function each. `tests/test_inspect_compat.py` checks all of them and runs before every other test.
"""

import gc
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from types import FrameType
from typing import TYPE_CHECKING, Any

from packaging.version import parse as parse_version

if TYPE_CHECKING:
    from inspect_ai._control.pause import wait_generate_dispatch as wait_generate_dispatch
    from inspect_ai._eval.loader import load_task_spec as load_task_spec
    from inspect_ai._eval.run import eval_run as eval_run
    from inspect_ai._eval.task.generate import task_generate as task_generate
    from inspect_ai._eval.task.results import eval_results as eval_results
    from inspect_ai._eval.task.run import TaskRunOptions as TaskRunOptions
    from inspect_ai._eval.task.sandbox import read_sandboxenv_file as read_sandboxenv_file
    from inspect_ai._eval.task.sandbox import resolve_sample_files as resolve_sample_files
    from inspect_ai._eval.task.sandbox import resolve_sandbox as resolve_sandbox
    from inspect_ai._sentinel._context import is_agent_generate as is_agent_generate
    from inspect_ai._util.config import parse_cli_args as parse_cli_args
    from inspect_ai._util.entrypoints import ensure_entry_points as ensure_entry_points
    from inspect_ai._util.error import PrerequisiteError as PrerequisiteError
    from inspect_ai._util.exception import TerminateSampleError as TerminateSampleError
    from inspect_ai._util.http import parse_retry_after as parse_retry_after
    from inspect_ai._util.registry import has_registry_params as has_registry_params
    from inspect_ai._util.registry import registry_find as registry_find
    from inspect_ai._util.registry import registry_lookup as registry_lookup
    from inspect_ai._util.registry import registry_params as registry_params
    from inspect_ai._util.registry import registry_unqualified_name as registry_unqualified_name
    from inspect_ai._util.retry import report_http_retry as report_http_retry
    from inspect_ai._util.working import sample_wait as sample_wait
    from inspect_ai.event import ModelEvent
    from inspect_ai.hooks._hooks import get_all_hooks as get_all_hooks
    from inspect_ai.log import _samples
    from inspect_ai.log._log import eval_error as eval_error
    from inspect_ai.log._refusal import report_refusal as report_refusal
    from inspect_ai.log._samples import ActiveSample as ActiveSample
    from inspect_ai.log._samples import sample_active as sample_active
    from inspect_ai.log._transcript import init_transcript as init_transcript
    from inspect_ai.model import GenerateConfig, Model, _model
    from inspect_ai.model._generate_config import active_generate_config as active_generate_config
    from inspect_ai.model._generate_config import set_active_generate_config as set_active_generate_config
    from inspect_ai.model._generate_overrides import (
        generate_config_override_for_attempt as generate_config_override_for_attempt,
    )
    from inspect_ai.model._model import init_model_roles as init_model_roles
    from inspect_ai.model._model import record_and_check_model_usage as record_and_check_model_usage
    from inspect_ai.model._model import use_model_event_sink as use_model_event_sink
    from inspect_ai.model._openai import OpenAIResponseError as OpenAIResponseError
    from inspect_ai.model._providers.openai import OpenAIAPI as OpenAIAPI
    from inspect_ai.model._providers.openai_compatible import OpenAICompatibleAPI as OpenAICompatibleAPI
    from inspect_ai.model._providers.openai_completions import (
        completion_params_completions as completion_params_completions,
    )
    from inspect_ai.scorer._scorer import unique_scorer_name as unique_scorer_name
    from inspect_ai.solver import _task_state
    from inspect_ai.solver._chain import unroll as unroll
    from inspect_ai.solver._fork import set_task_generate as set_task_generate
    from inspect_ai.solver._task_state import sample_state as sample_state
    from inspect_ai.util import _concurrency
    from inspect_ai.util._checkpoint import checkpointer_noop
    from inspect_ai.util._limit import check_message_limit as check_message_limit
    from inspect_ai.util._limit import record_turn as record_turn
    from inspect_ai.util._sandbox import context
    from inspect_ai.util._sandbox.context import (
        cleanup_sandbox_environments_sample as cleanup_sandbox_environments_sample,
    )
    from inspect_ai.util._sandbox.context import init_sandbox_environments_sample as init_sandbox_environments_sample
    from inspect_ai.util._sandbox.registry import registry_find_sandboxenv as registry_find_sandboxenv
    from inspect_ai.util._store import init_subtask_store as init_subtask_store
    from openai._models import construct_type as construct_type

    active_controller = _concurrency._active_controller
    NoopCheckpointer = checkpointer_noop._NoopCheckpointer
    active_sample_variable = _samples._sample_active
    active_model_variable = _model.active_model_context_var
    sample_state_variable = _task_state._sample_state
    sandbox_environments_variable = context.sandbox_environments_context_var
    sandboxes_with_file_variable = context.sandbox_with_environments_context_var
    memoized_models = _model._models
    check_limits_before_dispatch = _model._check_limits_before_dispatch

INSPECT_COMMAND = "inspect_ai._cli.main"
"""The module whose `main` the installed script `inspect` imports and calls."""

PRIVATE_NAMES: Mapping[str, str] = {
    "ActiveSample": "inspect_ai.log._samples:ActiveSample",
    "NoopCheckpointer": "inspect_ai.util._checkpoint.checkpointer_noop:_NoopCheckpointer",
    "OpenAIAPI": "inspect_ai.model._providers.openai:OpenAIAPI",
    "OpenAICompatibleAPI": "inspect_ai.model._providers.openai_compatible:OpenAICompatibleAPI",
    "OpenAIResponseError": "inspect_ai.model._openai:OpenAIResponseError",
    "PrerequisiteError": "inspect_ai._util.error:PrerequisiteError",
    "TerminateSampleError": "inspect_ai._util.exception:TerminateSampleError",
    "TaskRunOptions": "inspect_ai._eval.task.run:TaskRunOptions",
    "active_controller": "inspect_ai.util._concurrency:_active_controller",
    "active_generate_config": "inspect_ai.model._generate_config:active_generate_config",
    "active_sample_variable": "inspect_ai.log._samples:_sample_active",
    "active_model_variable": "inspect_ai.model._model:active_model_context_var",
    "check_limits_before_dispatch": "inspect_ai.model._model:_check_limits_before_dispatch",
    "check_message_limit": "inspect_ai.util._limit:check_message_limit",
    "cleanup_sandbox_environments_sample": "inspect_ai.util._sandbox.context:cleanup_sandbox_environments_sample",
    "completion_params_completions": "inspect_ai.model._providers.openai_completions:completion_params_completions",
    "construct_type": "openai._models:construct_type",
    "ensure_entry_points": "inspect_ai._util.entrypoints:ensure_entry_points",
    "eval_error": "inspect_ai.log._log:eval_error",
    "eval_results": "inspect_ai._eval.task.results:eval_results",
    "eval_run": "inspect_ai._eval.run:eval_run",
    "generate_config_override_for_attempt": (
        "inspect_ai.model._generate_overrides:generate_config_override_for_attempt"
    ),
    "get_all_hooks": "inspect_ai.hooks._hooks:get_all_hooks",
    "has_registry_params": "inspect_ai._util.registry:has_registry_params",
    "init_model_roles": "inspect_ai.model._model:init_model_roles",
    "init_sandbox_environments_sample": "inspect_ai.util._sandbox.context:init_sandbox_environments_sample",
    "init_subtask_store": "inspect_ai.util._store:init_subtask_store",
    "init_transcript": "inspect_ai.log._transcript:init_transcript",
    "is_agent_generate": "inspect_ai._sentinel._context:is_agent_generate",
    "load_task_spec": "inspect_ai._eval.loader:load_task_spec",
    "memoized_models": "inspect_ai.model._model:_models",
    "parse_cli_args": "inspect_ai._util.config:parse_cli_args",
    "parse_retry_after": "inspect_ai._util.http:parse_retry_after",
    "read_sandboxenv_file": "inspect_ai._eval.task.sandbox:read_sandboxenv_file",
    "record_and_check_model_usage": "inspect_ai.model._model:record_and_check_model_usage",
    "record_turn": "inspect_ai.util._limit:record_turn",
    "registry_find": "inspect_ai._util.registry:registry_find",
    "registry_find_sandboxenv": "inspect_ai.util._sandbox.registry:registry_find_sandboxenv",
    "registry_lookup": "inspect_ai._util.registry:registry_lookup",
    "registry_params": "inspect_ai._util.registry:registry_params",
    "registry_unqualified_name": "inspect_ai._util.registry:registry_unqualified_name",
    "report_http_retry": "inspect_ai._util.retry:report_http_retry",
    "report_refusal": "inspect_ai.log._refusal:report_refusal",
    "resolve_sample_files": "inspect_ai._eval.task.sandbox:resolve_sample_files",
    "resolve_sandbox": "inspect_ai._eval.task.sandbox:resolve_sandbox",
    "sample_active": "inspect_ai.log._samples:sample_active",
    "sample_state": "inspect_ai.solver._task_state:sample_state",
    "sample_state_variable": "inspect_ai.solver._task_state:_sample_state",
    "sample_wait": "inspect_ai._util.working:sample_wait",
    "sandbox_environments_variable": "inspect_ai.util._sandbox.context:sandbox_environments_context_var",
    "sandboxes_with_file_variable": "inspect_ai.util._sandbox.context:sandbox_with_environments_context_var",
    "set_active_generate_config": "inspect_ai.model._generate_config:set_active_generate_config",
    "set_task_generate": "inspect_ai.solver._fork:set_task_generate",
    "task_generate": "inspect_ai._eval.task.generate:task_generate",
    "unique_scorer_name": "inspect_ai.scorer._scorer:unique_scorer_name",
    "unroll": "inspect_ai.solver._chain:unroll",
    "use_model_event_sink": "inspect_ai.model._model:use_model_event_sink",
    "wait_generate_dispatch": "inspect_ai._control.pause:wait_generate_dispatch",
}
"""The name here -> `module:name` there."""
_VERSION = parse_version(version("inspect-ai"))
_SINCE_WORKING_TIME = "0.3.281"
"""The version that counts work and not waiting; names and parameters changed with it."""
_IS_BEFORE_WORKING_TIME = parse_version(_SINCE_WORKING_TIME) > _VERSION
DIRECT_PATH_METHODS = (
    *("generate", "resolve_tools", "messages_to_openai", "request_headers", "on_response"),
    *("_generate_completion", "chat_choices_from_completion", "max_tokens", "_create_client"),
    *("collapse_user_messages", "collapse_assistant_messages", "collapse_system_messages", "max_tokens_for_config"),
    *(("served_model_usage",) if parse_version("0.3.285") <= _VERSION else ()),
)
"""Methods of OpenAICompatibleAPI that decide what is sent: a provider that changes one sends requests of its own."""


def _get_wait_reporter() -> Callable[[float], None]:
    """What versions before the count of work are told of seconds waited."""
    reporter: Callable[[float], None] = import_module("inspect_ai._util.working").report_sample_waiting_time
    return reporter


@contextmanager
def _report_wait() -> Iterator[None]:
    """`sample_wait` of versions that have only the count of seconds."""
    started = time.monotonic()
    try:
        yield
    finally:
        _get_wait_reporter()(time.monotonic() - started)


@cache
def _get_dispatch_gate() -> Any:
    """Inspect's function, looked up once: it is asked before every request."""
    from archon_eval._inspect_compat import wait_generate_dispatch

    return wait_generate_dispatch


async def wait_for_dispatch(model: "Model", connection: Any) -> None:
    """Wait while the user has paused calls of the model; the connection's slot is given back meanwhile."""
    wait = _get_dispatch_gate()
    await (wait(model, _get_wait_reporter(), connection) if _IS_BEFORE_WORKING_TIME else wait(model, connection))


STAND_INS: Mapping[str, tuple[str, Callable[..., Any]]] = {
    "check_limits_before_dispatch": ("0.3.277", lambda: None),
    "is_agent_generate": ("0.3.279", lambda: False),
    "sample_wait": (_SINCE_WORKING_TIME, _report_wait),
}
"""A name that older versions of the declared range lack -> the version that brought it, and what they did instead."""


def __getattr__(name: str) -> Any:
    if name not in PRIVATE_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = PRIVATE_NAMES[name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as exc:
        if name in STAND_INS and parse_version(STAND_INS[name][0]) > _VERSION:
            return STAND_INS[name][1]
        package = module.partition(".")[0].replace("_", "-")
        raise ImportError(
            f"{package} {version(package)} has no `{attribute}` in {module}, where archon_eval expects it ({exc}): "
            f"find its new place and change PRIVATE_NAMES in {__name__}",
            name=module,
        ) from exc


def make_prerequisite_error(message: str) -> "PrerequisiteError":
    """Inspect's error that ends a command with its message alone.

    Inspect prints it as rich's markup, which would swallow the brackets of `pip install 'archon-eval[docker]'`.
    """
    from rich.markup import escape

    from archon_eval._inspect_compat import PrerequisiteError

    return PrerequisiteError(escape(message))


def get_error_text(error: BaseException) -> str:
    """The message of any error, without markup; a PrerequisiteError has no text but its message."""
    from rich.text import Text

    from archon_eval._inspect_compat import PrerequisiteError

    return Text.from_markup(str(error.message)).plain if isinstance(error, PrerequisiteError) else str(error)


def find_replaced_tasks(names: Collection[str]) -> list["ReplacedTask"] | None:
    """The tasks of the eval that is building its solver right now, above the caller on the stack.

    Args:
        names: of the solver that is being built, as the eval may have been given it.

    Returns:
        None where no eval is doing so; empty where the eval's solver has another name and only contains this one.
    """
    from archon_eval._inspect_compat import eval_run

    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not eval_run.__code__:
        frame = frame.f_back
    if frame is None:
        return None
    if getattr(frame.f_locals.get("solver"), "solver", None) not in names:
        return []
    return [ReplacedTask(each.task, each.task_file, each.task_args) for each in frame.f_locals["tasks"]]


def find_task_of_eval(eval_id: str, names: Collection[str]) -> "ReplacedTask | None":
    """The task that a running eval asks with a solver in place of the task's own, by one look at what lives.

    Args:
        names: of the solver, as it may be registered.

    Returns:
        None where it cannot be found; its `task` is None where no such solver stands in place of the task's own.
    """
    from inspect_ai.util import registry_info

    found = _find_run_options(eval_id)
    if found is None:
        return None
    spec = found.logger.eval
    is_replaced = found.solver is not None and registry_info(found.solver).name in names
    return ReplacedTask(found.task if is_replaced else None, spec.task_file, spec.task_args_passed)


def find_flags_of_eval(eval_id: str) -> dict[str, Any]:
    """The generation settings that a running eval was given, on the command line or in Python, by their names.

    Inspect keeps them with the eval's model, unless it has none. A retry is given those of the task among them: they
    are left out.
    """
    found = _find_run_options(eval_id)
    if found is None:
        return {}
    given = {name: value for name, value in found.kwargs.items() if value is not None}
    if found.sample_source is None:
        return given
    return {name: value for name, value in given.items() if value != getattr(found.task.config, name, None)}


def _find_run_options(eval_id: str) -> Any:
    """The options that a running eval runs a task by; None where they cannot be found."""
    from archon_eval._inspect_compat import TaskRunOptions

    for found in gc.get_objects():
        if type(found) is TaskRunOptions and found.logger.eval.eval_id == eval_id:
            return found
    return None


@dataclass(frozen=True)
class ReplacedTask:
    """A task whose solver an eval replaces."""

    task: Any
    file: str | None
    args: Mapping[str, Any]

    @property
    def spec(self) -> str:
        """As Inspect finds it."""
        name = self.task.registry_name or self.task.name
        return f"{self.file}@{name}" if self.file else str(name)


def watch_command(
    change_options: Callable[[dict[str, Any]], dict[str, Any]],
    on_task: Callable[[Any], None],
    on_log: Callable[[Any], None],
) -> None:
    """For the process of a command that runs `inspect eval`: change what Inspect's own parser made of its words.

    Args:
        change_options: the arguments of `inspect_ai.eval`, as they are to be instead.
        on_task: called with Inspect's `TaskRunOptions` before a task runs.
        on_log: called with each log that `inspect_ai.eval` returns.
    """
    command, runner = import_module("inspect_ai._cli.eval"), import_module("inspect_ai._eval.run")
    run_eval, run_task = command.eval, runner.task_run

    def run_changed(**options: Any) -> Any:
        logs = run_eval(**change_options(options))
        for log in logs:
            on_log(log)
        return logs

    async def run_watched(options: Any, *args: Any, **kwargs: Any) -> Any:
        on_task(options)
        return await run_task(options, *args, **kwargs)

    vars(command)["eval"], vars(runner)["task_run"] = run_changed, run_watched


def forget_models() -> None:
    """Have `get_model` make each model anew, as in a process that has run nothing yet."""
    from archon_eval._inspect_compat import memoized_models

    memoized_models.clear()


def resolve_config(model: "Model", config: "GenerateConfig") -> "GenerateConfig":
    """The configuration that Inspect would send a call with: the model's, the harness's and the call's in one."""
    return model._resolve_config(config)


def open_connection_slot(model: "Model", config: "GenerateConfig") -> AbstractAsyncContextManager[Any]:
    """A place in Inspect's pool of connections to the model, held while the context is open."""
    return model._connection_concurrency(config)


def add_event(event: "ModelEvent") -> None:
    """Write an event into the sample's transcript."""
    from inspect_ai.log import transcript

    transcript()._event(event)


def update_event(event: "ModelEvent") -> None:
    """Tell the sample's transcript that an event in it has changed."""
    from inspect_ai.log import transcript

    transcript()._event_updated(event)


@contextmanager
def leave_out_model_events(sink: Any) -> Iterator[None]:
    """Give the events of the calls inside to a sink, and keep them out of the sample's transcript.

    Inspect tells the transcript of a finished call whether or not a sink had its event. So the sample's buffer on disk
    and the queue for hooks would hold every prompt and reply once more, of events that no log has.
    """
    from inspect_ai.log import transcript

    from archon_eval._inspect_compat import init_transcript, use_model_event_sink

    current = transcript()
    stand_in: Any = _TranscriptWithoutModelEvents(current)
    init_transcript(stand_in)
    try:
        with use_model_event_sink(sink):
            yield
    finally:
        init_transcript(current)


class _TranscriptWithoutModelEvents:
    """A transcript in which updates of model events change nothing."""

    __slots__ = ("_transcript",)

    def __init__(self, transcript: Any) -> None:
        self._transcript = transcript

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transcript, name)

    def _event_updated(self, event: Any) -> None:
        from inspect_ai.event import ModelEvent

        if not isinstance(event, ModelEvent):
            self._transcript._event_updated(event)


def get_http_client(client: Any) -> Any:
    """The HTTP client, with event hooks, under a client of the OpenAI SDK."""
    return client._client


def find_typed_gen_kwargs() -> Any:
    """What the user gave lm-eval as `gen_kwargs`, on the command line or in Python; None for nothing.

    A request has them merged over its task's own `generation_kwargs`, and lm-eval hands a model nothing else: they are
    an argument of `simple_evaluate`, under which the model is asked.
    """
    import sys

    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "simple_evaluate" and frame.f_globals.get("__name__") == "lm_eval.evaluator":
            return frame.f_locals.get("gen_kwargs")
        frame = frame.f_back  # type: ignore[assignment]
    return None


def is_vllm(api: Any) -> bool:
    """Whether a provider is Inspect's vLLM, which has neither client nor address before its first call."""
    return hasattr(api, "_init_base_url")


def set_model_role(model: "Model", role: str) -> None:
    """Name the role in which a model is called, for transcripts."""
    model._set_role(role)


def activate_stand_in_sample(messages: list[Any]) -> None:
    """Let the current task, and what it starts, find a running sample where there is none.

    Inspect's own agents ask one how to save their work, and it says that there is nothing to save.
    """
    from inspect_ai.dataset import Sample
    from inspect_ai.log import transcript

    from archon_eval._inspect_compat import ActiveSample, NoopCheckpointer, active_sample_variable

    active_sample_variable.set(
        ActiveSample(
            task="",
            log_location="",
            model="",
            sample=Sample(input=messages, id="archon"),
            epoch=1,
            message_limit=None,
            token_limit=None,
            cost_limit=None,
            time_limit=None,
            working_limit=None,
            fails_on_error=True,
            transcript=transcript(),
            sandboxes={},
            checkpointer=NoopCheckpointer(),
            eval_id="",
            sample_uuid="",
        )
    )


def find_sandbox_of_eval(eval_id: str) -> "EvalSandbox | None":
    """How a running eval makes the sandboxes of its samples; None where it cannot be found."""
    found = _find_run_options(eval_id)
    if found is None:
        return None
    return EvalSandbox(
        found.task.name, found.sandbox, found.config.max_sandboxes, found.config.sandbox_cleanup is not False
    )


@dataclass(frozen=True)
class EvalSandbox:
    """What `inspect eval` was told of sandboxes."""

    task: str
    spec: Any
    """The task's, after the command's own; a sample's may have another configuration (`resolve_sandbox`)."""
    limit: int | None
    """How many at once; None for the provider's own limit."""
    cleans_up: bool
