"""A scripted model and short ways to run one architecture on one conversation."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.engine.engine import Engine
from archon_eval.engine.trace import Answer
from archon_eval.models.call import Call, Reply
from archon_eval.types import Conversation, Message

Script = Callable[[Call], str | Reply | BaseException]


class Scripted:
    """A caller that answers by a function and keeps what it was asked."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.calls: list[Call] = []

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        await anyio.lowlevel.checkpoint()
        if call.scorer is not None:
            return replace(await call.scorer(call), dollars=call.scorer.dollars)
        answer = self._script(call)
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, Reply) else Reply(answer)

    def prompts(self, model: str) -> list[str]:
        """The last turns sent to a model."""
        return [call.messages[-1].content for call in self.calls if call.model == model]


class Runner:
    """Runs layers with a scripted model: `answer, caller = run(layers, script)`."""

    def __call__(
        self, layers: list[dict[str, Any]], script: Script, conversation: Conversation | str = "What is 2 + 2?"
    ) -> tuple[Answer, Scripted]:
        if isinstance(conversation, str):
            conversation = (Message("user", conversation),)
        caller = Scripted(script)
        engine = Engine(load_architecture({"name": "test", "layers": layers}), caller)
        return anyio.run(engine.run, conversation), caller


@pytest.fixture(scope="session")
def run() -> Runner:
    """Runs an architecture given as layers."""
    return Runner()
