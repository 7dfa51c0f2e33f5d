"""The fingerprint has the code that a custom component inherits, and the highest version that is stated of it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from archon_eval.architecture.component_types import ComponentType, find_version
from archon_eval.components import ListComponent, State
from archon_eval.components.vote import Vote

HERE = __name__
BASE = """
from archon_eval.components import ListComponent

class Base(ListComponent):
    async def run(self, state, ctx):
        return {returned}
"""
CHILD = """
from base_module import Base
from archon_eval.components import ComponentType

class Child(Base):
    kind = ComponentType("child")
"""
PRINT = """
from archon_eval.architecture.load import load_architecture
print(load_architecture({"layers": [{"generator": "a/b"}, {"child_module:Child": "a/b"}]}).fingerprint)
"""


def read_fingerprint(folder: Path, returned: str) -> str:
    (folder / "base_module.py").write_text(BASE.format(returned=returned))
    (folder / "child_module.py").write_text(CHILD)
    code = f"import sys\nsys.dont_write_bytecode = True\nsys.path.insert(0, {str(folder)!r})\n{PRINT}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_code_of_a_base_class_in_another_module_counts(tmp_path: Path) -> None:
    first, same, other = (read_fingerprint(tmp_path, returned) for returned in ("state", "state", "state  # other"))
    assert first == same != other


class OwnVote(Vote):
    """A kind written anew, which says nothing of a version."""

    kind = ComponentType("own_vote", needs_model=False, options=Vote.kind.options)


class Later(OwnVote):
    kind = replace(OwnVote.kind, version=7)


class First(ListComponent):
    kind = ComponentType("first")

    async def run(self, state: State, ctx: object) -> State:
        return state


@pytest.mark.parametrize(
    ("name", "version"), [("OwnVote", Vote.kind.version), ("Later", 7), ("First", 1), ("Vote", Vote.kind.version)]
)
def test_the_version_is_the_highest_of_all_that_are_inherited(name: str, version: int) -> None:
    assert Vote.kind.version > 1
    assert find_version(f"{HERE}:{name}") == version
