"""What is private of Inspect and openai is where `archon_eval._inspect_compat` expects it, and used nowhere else.

`conftest.py` runs this file first: after an update of either package it says what has moved before anything else fails.
"""

import ast
import contextvars
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from inspect_ai.log import EvalConfig, Transcript
from inspect_ai.model import ChatMessageUser, GenerateConfig, Model, ModelOutput, get_model

from archon_eval import _inspect_compat as compat
from archon_eval._inspect_interception import (
    ModelRequest,
    _generate_handler,
    intercept_generate,
    suspend_interception,
)

PACKAGE = Path(compat.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
FOREIGN = ("inspect_ai", "lm_eval", "openai")

PARAMETERS: dict[str, tuple[str, ...]] = {
    "OpenAIResponseError": ("code", "message"),
    "PrerequisiteError": ("message",),
    "active_generate_config": (),
    "check_limits_before_dispatch": (),
    "check_message_limit": ("count", "raise_for_equal"),
    "cleanup_sandbox_environments_sample": ("type", "task_name", "config", "environments", "interrupted"),
    "completion_params_completions": ("openai_api", "config", "tools"),
    "construct_type": ("value", "type_"),
    "ensure_entry_points": ("package",),
    "eval_error": ("exception", "exc_type", "exc_value", "exc_traceback"),
    "eval_results": ("samples", "scores", "reducers", "scorers", "metrics", "scorer_names"),
    "generate_config_override_for_attempt": ("field", "config"),
    "get_all_hooks": (),
    "has_registry_params": ("o",),
    "init_transcript": ("transcript",),
    "init_model_roles": ("roles",),
    "init_sandbox_environments_sample": ("sandboxenv_type", "task_name", "config", "files", "setup", "metadata"),
    "init_subtask_store": ("store",),
    "is_agent_generate": (),
    "load_task_spec": ("task_spec", "task_args"),
    "parse_cli_args": ("args",),
    "parse_retry_after": ("headers",),
    "read_sandboxenv_file": ("contents",),
    "record_and_check_model_usage": ("model", "usage", "role"),
    "record_turn": (),
    "registry_find": ("predicate",),
    "registry_find_sandboxenv": ("envtype",),
    "registry_lookup": ("type", "name"),
    "registry_params": ("o",),
    "registry_unqualified_name": ("o",),
    "report_http_retry": ("kind", "retry_after", "model"),
    "report_refusal": ("refusal",),
    "resolve_sample_files": ("files",),
    "resolve_sandbox": ("sandbox", "sample"),
    "sample_active": (),
    "sample_state": (),
    "sample_wait": (),
    "set_active_generate_config": ("config",),
    "set_task_generate": ("generate",),
    "task_generate": ("model", "state", "tool_calls", "cache", "config"),
    "unique_scorer_name": ("scorer", "already_used_names"),
    "unroll": ("solver",),
    "use_model_event_sink": ("sink",),
    "wait_generate_dispatch": (
        ("model", "report_waiting_time", "connection") if compat._IS_BEFORE_WORKING_TIME else ("model", "connection")
    ),
}
"""The first parameters of each function, in the order in which it is called here."""
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "ActiveSample": (),
    "NoopCheckpointer": ("current",),
    "OpenAIAPI": ("is_gpt_5", "is_o_series", "model_family", "max_tokens", "max_tokens_for_config"),
    "OpenAICompatibleAPI": (*compat.DIRECT_PATH_METHODS, "completion_params", "resolve_stream"),
    "TaskRunOptions": ("__dataclass_fields__",),
    "TerminateSampleError": (),
    "active_controller": ("get",),
    "active_model_variable": ("get", "set"),
    "active_sample_variable": ("get", "set"),
    "eval_run": ("__code__",),
    "memoized_models": ("clear",),
    "sample_state_variable": ("get", "set"),
    "sandbox_environments_variable": ("get", "set"),
    "sandboxes_with_file_variable": ("get", "set"),
}
"""What is used of each class or value."""
DOCKER_ATTRIBUTES = ("_response", "_fp")
"""Of the Docker client's stream, which sandbox/provider.py reads."""


@pytest.mark.parametrize("name", compat.PRIVATE_NAMES)
def test_a_private_name_is_where_it_is_expected_and_takes_what_it_is_given(name: str) -> None:
    place = compat.PRIVATE_NAMES[name]
    value = getattr(compat, name)  # an ImportError here says what has moved
    for attribute in ATTRIBUTES.get(name, ()):
        assert hasattr(value, attribute), f"{place} has no `{attribute}` any more"
    if name not in ATTRIBUTES:
        expected = PARAMETERS[name]
        parameters = tuple(inspect.signature(value).parameters.values())
        assert tuple(p.name for p in parameters[: len(expected)]) == expected, f"{place} takes {parameters}"
        more = [p.name for p in parameters[len(expected) :] if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
        assert not more, f"{place} also needs {more}"


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (Model, "_resolve_config", ("self", "config")),
        (Model, "_connection_concurrency", ("self", "config")),
        (Model, "_set_role", ("self", "role")),
        (Transcript, "_event", ("self", "event")),
        (Transcript, "_event_updated", ("self", "event")),
    ],
)
def test_a_private_method_is_there_and_takes_what_it_is_given(
    owner: Any, name: str, parameters: tuple[str, ...]
) -> None:
    method = getattr(owner, name, None)
    assert method is not None, f"inspect_ai's {owner.__name__} has no `{name}` any more"
    assert tuple(inspect.signature(method).parameters) == parameters, f"{owner.__name__}.{name} takes something else"


def test_what_is_read_of_objects_is_there() -> None:
    """Attributes that a class sets in its constructor."""
    from inspect_ai.model._providers.vllm import VLLMAPI

    assert "_init_base_url" in VLLMAPI.__init__.__code__.co_names, "how to recognise Inspect's vLLM has changed"
    assert {"epoch", "eval_id"} <= {*inspect.signature(compat.ActiveSample).parameters}, "ActiveSample lacks one"
    assert {"tasks", "solver"} <= {*inspect.signature(compat.eval_run).parameters}, "`find_replaced_tasks` reads these"
    assert {"task", "solver", "logger"} <= {*compat.TaskRunOptions.__dataclass_fields__}, "`find_task_of_eval` too"
    assert {"sandbox", "config"} <= {*compat.TaskRunOptions.__dataclass_fields__}, "`find_sandbox_of_eval` too"
    assert {"max_sandboxes", "sandbox_cleanup"} <= {*EvalConfig.model_fields}, "`find_sandbox_of_eval` too"
    api = get_model("openai/gpt-4o", api_key="key", memoize=False).api
    for name in (
        *("service", "responses_api", "service_tier", "streaming", "client", "base_url", "qualified_model_name"),
        *("prompt_cache_key", "prompt_cache_retention", "safety_identifier"),
    ):
        assert hasattr(api, name), f"inspect_ai's OpenAIAPI has no `{name}` any more"
    compatible = get_model("openai-api/some/model", api_key="key", base_url="http://localhost", memoize=False).api
    for name in ("emulate_tools", "responses_api"):
        assert hasattr(compatible, name), f"inspect_ai's OpenAICompatibleAPI has no `{name}` any more"


async def _call_in_every_way(model: Model) -> list[str]:
    return [
        (await model.generate("a")).completion,
        (await model.generate([ChatMessageUser(content="b")], [], None, GenerateConfig())).completion,
        (await model.generate_loop("c"))[1].completion,
    ]


def test_every_way_of_calling_a_model_leads_through_the_seam() -> None:
    """`intercept_generate`: what a solver may have taken hold of before, and nothing once the context has ended."""
    assert tuple(inspect.signature(Model.generate).parameters)[:6] == (
        *("self", "input", "tools", "tool_choice", "config", "cache"),
    )
    model, own, asked = get_model("mockllm/model", memoize=False), (Model.generate, Model.compact), list[Any]()

    async def answer(request: ModelRequest) -> ModelOutput:
        asked.append(request.input if isinstance(request.input, str) else request.input[-1].text)
        with suspend_interception():
            assert _generate_handler.get() is None
        return ModelOutput.from_content("mine", "mine")

    async def run() -> None:
        with intercept_generate(answer):
            assert await _call_in_every_way(model) == ["mine"] * 3
            with pytest.raises(NotImplementedError, match="native compaction"):
                await model.compact([], [])

    anyio.run(run)
    assert asked == ["a", "b", "c"] and own == (Model.generate, Model.compact)


def test_a_stand_in_sample_can_be_made() -> None:
    context = contextvars.copy_context()
    context.run(compat.activate_stand_in_sample, [ChatMessageUser(content="q")])
    assert compat.sample_active() is None and context.run(compat.sample_active) is not None


def test_a_private_method_is_called_as_it_wants_to_be() -> None:
    model = get_model("mockllm/model", config=GenerateConfig(temperature=0.5), memoize=False)
    assert compat.resolve_config(model, GenerateConfig(top_p=0.9)).temperature == 0.5
    assert hasattr(compat.open_connection_slot(model, GenerateConfig()), "__aenter__")
    assert not compat.is_vllm(model.api)


def test_a_name_that_has_moved_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"gone": "inspect_ai.model._model:_gone", "lost": "inspect_ai._lost.module:thing"}
    monkeypatch.setattr(compat, "PRIVATE_NAMES", places)
    with pytest.raises(ImportError, match=r"inspect-ai [\d.]+ has no `_gone` in inspect_ai.model._model.*new place"):
        _ = compat.gone
    with pytest.raises(ImportError, match=r"has no `thing` in inspect_ai._lost.module"):
        _ = compat.lost
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = compat.other


def test_types_and_places_are_of_the_same_names() -> None:
    """What mypy reads and what Python imports are two lists of one thing."""
    tree = ast.parse(Path(compat.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [(node.module, alias) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    typed = {alias.asname: f"{module}:{alias.name}" for module, alias in imports if alias.asname}
    modules = {alias.name: f"{module}.{alias.name}" for module, alias in imports}
    for node in block.body:
        if isinstance(node, ast.Assign):  # a name without its underscore
            module, _, name = ast.unparse(node.value).partition(".")
            typed[ast.unparse(node.targets[0])] = f"{modules[module]}:{name}"
    assert typed == dict(compat.PRIVATE_NAMES)


def test_importing_the_module_imports_neither_inspect_nor_openai() -> None:
    program = "import sys, archon_eval._inspect_compat; print({'inspect_ai', 'openai', 'rich'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def _list_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _find_private_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            names = [node.value]  # for import_module
        else:
            names = list(_list_imports(node)) if isinstance(node, ast.ImportFrom | ast.Import) else []
        for name in names:
            parts = name.replace(":", ".").split(".")
            if parts[0] in FOREIGN and any(map(_is_private, parts)):
                yield f"line {getattr(node, 'lineno', 0)}: {name}"


def _find_foreign_attributes(tree: ast.AST, own: set[str]) -> Iterator[str]:
    """Private attributes that no class of this package defines, in a file that works with a foreign package."""
    if not any(name.partition(".")[0] in FOREIGN for name in _list_imports(tree)):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in own:
            if isinstance(node.value, ast.Name) and node.value.id in sys.stdlib_module_names:
                continue
            if node.attr in DOCKER_ATTRIBUTES:
                continue
            yield f"line {node.lineno}: {ast.unparse(node)}"


def _collect_own_names(trees: list[ast.Module]) -> set[str]:
    names: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    return names


def test_nothing_else_uses_what_is_private() -> None:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES if path.name != "_inspect_compat.py"}
    own = _collect_own_names(list(trees.values()))
    uses = {
        path.relative_to(PACKAGE).as_posix(): lines
        for path, tree in trees.items()
        if (lines := [*_find_private_imports(tree), *_find_foreign_attributes(tree, own)])
    }
    assert not uses, f"import it from archon_eval._inspect_compat instead: {uses}"


@pytest.mark.parametrize(
    "line",
    [
        "from inspect_ai.model._model import use_model_event_sink",
        "from inspect_ai.model import _model",
        "import openai._models",
        "import_module('lm_eval.api._thing')",
        "import inspect_ai; model._resolve_config(config)",
    ],
)
def test_the_guard_sees_every_way_in(line: str) -> None:
    tree = ast.parse(line)
    assert [*_find_private_imports(tree), *_find_foreign_attributes(tree, {"_mine"})]


def test_every_name_asked_of_the_module_is_one_it_has() -> None:
    """mypy lets any name of a module with `__getattr__` pass."""
    asked = {
        alias.name
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "archon_eval._inspect_compat"
        for alias in node.names
    }
    assert asked - compat.PRIVATE_NAMES.keys() <= vars(compat).keys()
    assert compat.PRIVATE_NAMES.keys() <= asked, "what nothing uses goes"


MESSAGE = "pip install 'archon-eval[docker]', a file [/tmp/x], [bold]no colour[/bold]"
RAISE = """
import sys
from inspect_ai._util.error import exception_hook
from archon_eval._inspect_compat import make_prerequisite_error
sys.excepthook = exception_hook()
raise make_prerequisite_error(sys.argv[1])
"""


def test_inspect_prints_the_message_of_an_error_as_it_stands() -> None:
    ended = subprocess.run([sys.executable, "-c", RAISE, MESSAGE], capture_output=True, text=True)
    assert " ".join(ended.stdout.split()) == MESSAGE, ended.stderr
    assert compat.get_error_text(compat.make_prerequisite_error(MESSAGE)) == MESSAGE


def test_the_colours_of_inspects_own_errors_are_left_out() -> None:
    error = compat.PrerequisiteError("No [bold][blue]OPENAI_API_KEY[/blue][/bold] defined")
    assert compat.get_error_text(error) == "No OPENAI_API_KEY defined"
    assert compat.get_error_text(ValueError("[bold] stays")) == "[bold] stays"
