"""Only a command's process has its garbage collector changed; a program that builds an architecture keeps its own."""

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from archon_eval.integrations.command_process import CONSOLE_SCRIPTS, GC_THRESHOLD, is_command
from archon_eval.runs.run_eval import Eval, run_eval

WAYS_TO_BUILD = {
    "solver": "from archon_eval.solvers import archon; archon('moa-lite', 'mockllm/model')",
    "model": "from inspect_ai.model import get_model; get_model('archon/moa-lite', models='mockllm/model')",
    "lm_eval": "from archon_eval.integrations.lm_eval_model import ArchonLM; ArchonLM('moa-lite', 'mockllm/model')",
    "python": "from archon_eval import Archon; Archon('moa-lite', 'mockllm/model')",
}
PROBE = """
import gc, json
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import accuracy, scorer, Score

@scorer(metrics=[accuracy()])
def look():
    async def score(state, target):
        with open("seen.json", "w") as file:
            json.dump([gc.get_freeze_count(), gc.get_threshold()[0]], file)
        return Score(value=1)
    return score

@task
def probe():
    return Task([Sample(input="Why?")], scorer=look())
"""


def run_program(*lines: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("way", WAYS_TO_BUILD)
def test_a_program_that_builds_an_architecture_keeps_its_collector(way: str) -> None:
    look = "gc.get_freeze_count(), gc.get_threshold()"
    seen = run_program("import gc", f"before = {look}", WAYS_TO_BUILD[way], f"print(({look}) == before)")
    assert seen == ["True"]


@pytest.mark.parametrize(("before", "after"), [(700, GC_THRESHOLD), (50_000, 50_000), (0, 0)])
def test_a_command_leaves_its_imports_to_themselves(before: int, after: int) -> None:
    seen = run_program(
        "from archon_eval.cli import main  # what the installed script has",
        f"import gc; gc.set_threshold({before})",
        WAYS_TO_BUILD["solver"],
        "print(gc.get_freeze_count() > 50_000, gc.get_threshold()[0])",
    )
    assert seen == ["True", str(after)]


def test_inspects_command_and_our_own_run_of_it_are_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("probe.py").write_text(PROBE)
    words = ["eval", "probe.py", "--solver", "archon", "-S", "architecture=single", "-S", "models=sim/gpt-4o"]
    for command in ([str(Path(sys.executable).with_name("inspect"))], [sys.executable, "-m", "inspect_ai"]):
        done = subprocess.run(
            [*command, *words, "--model", "none", "--display", "none"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert_collector_is_changed()
    run_eval(Eval("probe.py", solver_args=("architecture=single", "models=sim/gpt-4o")), Path("logs"))
    assert_collector_is_changed()


def assert_collector_is_changed() -> None:
    frozen, threshold = json.loads(Path("seen.json").read_text())
    assert frozen > 50_000 and threshold == GC_THRESHOLD
    Path("seen.json").unlink()


def test_the_installed_scripts_call_what_is_expected() -> None:
    installed = {(entry.module, entry.attr) for entry in entry_points(group="console_scripts")}
    assert installed >= CONSOLE_SCRIPTS


def test_a_module_run_by_its_name_is_a_command_if_it_is_one_of_these() -> None:
    from importlib.util import find_spec

    for name, expected in (("archon_eval.runs.worker_loop", True), ("lm_eval.__main__", True), ("pytest", False)):
        assert is_command({"__spec__": find_spec(name), "main": None}) is expected


def test_a_program_with_a_function_of_the_same_name_is_not_a_command() -> None:
    def main() -> None: ...

    assert not is_command({"__spec__": None, "main": main, "cli_evaluate": 1})
