"""Shared by the tests of the doors: async tests, and a provider that answers with the draw it was asked for."""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, ModelUsage, modelapi
from inspect_ai.model._model import _models
from inspect_ai.tool import ToolChoice, ToolInfo

from archon_eval.models.draw import current_draw


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Async tests run in an event loop of their own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    given = {name: pyfuncitem.funcargs[name] for name in names}

    async def test() -> Any:
        await pyfuncitem.obj(**given)

    anyio.run(test)
    return True


@pytest.fixture(autouse=True)
def fresh_models() -> None:
    """Inspect keeps models, and with them a server's address, for the process."""
    _models.clear()


OWN = """
from dataclasses import replace
from archon_eval.components.base import ListComponent
from archon_eval.architecture.component_types import ComponentType

class Says(ListComponent):
    kind = ComponentType("says", needs_model=False)

    async def run(self, state, ctx):
        return replace(state, candidates=tuple(replace(c, text="{text}") for c in state.candidates))
"""


@pytest.fixture
def own_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], dict[str, Any]]]:
    """An architecture with a component of one's own that says the given text, as a new process would load it."""
    monkeypatch.syspath_prepend(tmp_path)

    def written(text: str) -> dict[str, Any]:
        (tmp_path / "own_says.py").write_text(OWN.replace("{text}", text))
        sys.modules.pop("own_says", None)
        importlib.invalidate_caches()
        return {"layers": [{"generator": "openai/gpt-4o"}, {"own_says:Says": {}}]}

    yield written
    sys.modules.pop("own_says", None)


@modelapi(name="drawn")
class DrawnAPI(ModelAPI):
    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        output = ModelOutput.from_content(self.model_name, str(current_draw()))
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output
