"""The processes that tests start are users' own but for one package of the tests, which a command still may ask for."""

import subprocess
import sys

import pytest

FIND = """
import sys
from inspect_ai._util.entrypoints import ensure_entry_points, entry_points
print(sorted({each.name for each in entry_points(group="inspect_ai")} & {"archon_eval", "inspect_evals"}))
"""


@pytest.mark.parametrize("words", [[], ["inspect_evals/gsm8k"]])
def test_inspect_evals_is_there_for_commands_that_name_it(words: list[str]) -> None:
    pytest.importorskip("inspect_evals", reason="inspect-evals is not installed")
    done = subprocess.run([sys.executable, "-c", FIND, *words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(["archon_eval", "inspect_evals"] if words else ["archon_eval"])
