"""What a user did wrong is told in a line: no traceback of the harness around it."""

import builtins
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes.server import FakeServer
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import get_model

from archon_eval._inspect_compat import PrerequisiteError, get_error_text
from archon_eval.errors import ArchitectureError, ModelError
from archon_eval.integrations import command_process
from archon_eval.integrations.command_process import end_lm_eval_plainly
from archon_eval.sandbox.provider import ArchonDocker
from archon_eval.solvers.archon import archon
from archon_eval.tasks.alpaca_eval import alpaca_eval

TASK = Task([Sample(input="Why?")])


def run(folder: Path, task: Any = TASK, **options: Any) -> EvalLog:
    [log] = eval(task, display="none", log_dir=str(folder), log_realtime=False, limit=1, **options)
    return log


def show_error(log: EvalLog) -> str:
    """What Inspect prints of an eval's error, as it is without colours and line breaks."""
    assert log.status == "error" and log.error is not None
    return " ".join(re.sub(r"\x1b\[[\d;]*m", "", log.error.traceback_ansi).split())


@pytest.mark.parametrize("fault", ["401", "400"])
def test_a_refused_call_shows_its_message_alone(tmp_path: Path, fake_server: FakeServer, fault: str) -> None:
    name = f"openai/gpt-4o!{fault}"
    logs = [
        run(tmp_path, model="none", solver=archon("single", name)),
        run(tmp_path, model=get_model("archon/single", models=name)),
    ]
    for log in logs:
        shown = show_error(log)
        assert fault in shown and name in shown and "layer 1 (generator)" in shown
        assert "Traceback" not in shown and "│" not in shown and len(shown) < 400


def test_a_judges_refused_call_too(tmp_path: Path, fake_server: FakeServer) -> None:
    roles = {"judge": get_model("openai/gpt-4-turbo!401")}
    log = run(
        tmp_path, alpaca_eval(sample=True), model=get_model("archon/single", models="sim/gpt-4o"), model_roles=roles
    )
    shown = show_error(log)
    assert "gpt-4-turbo!401" in shown and "Traceback" not in shown


async def test_a_sandbox_without_the_docker_package(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def refuse(name: str, *args: Any, **more: Any) -> Any:
        if name == "docker":
            raise ImportError("no such package")
        return imported(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(PrerequisiteError) as caught:
        await ArchonDocker.task_init("mine", None)
    assert "--sandbox archon_docker: the sandbox needs the docker package (pip install 'archon-eval[docker]')" in (
        get_error_text(caught.value)
    )


@pytest.mark.parametrize("name", ["model", "model_name"])
def test_a_model_argument_that_inspect_gives_itself(tmp_path: Path, name: str) -> None:
    words = ["eval", "archon_eval/math", "-T", "sample=true", "--model", "archon/single", "-M", f"{name}=sim/gpt-4o"]
    done = subprocess.run(
        [sys.executable, "-m", "inspect_ai", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and not done.stdout.strip()
    assert (
        done.stderr
        == f"archon: -M {name}=...: Inspect gives {name} itself; an architecture's models are -M models=a,b\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("archon_eval/math -T sample=true -T n=-3 --model sim/gpt-4o", "n=-3: must be a whole number from 1 to 77"),
        ("archon_eval/math -T data=gone.jsonl --model sim/gpt-4o", "gone.jsonl: no such file"),
        ("archon_eval/math -T sample=true --model sim/nope", "no simulated model 'nope' (legal: "),
    ],
    ids=["-T n", "-T data", "--model"],
)
def test_inspects_command_ends_with_the_message(tmp_path: Path, words: str, message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "inspect_ai", "eval", *words.split()], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.startswith(f"archon: {message}")
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stdout


def test_a_missing_judge_is_told_in_its_message_alone(tmp_path: Path) -> None:
    shown = show_error(run(tmp_path, alpaca_eval(sample=True), model="sim/gpt-4o"))
    assert "no judge: give one with --model-role judge=" in shown and "Traceback" not in shown and "│" not in shown


def test_lm_evals_command_ends_with_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(error: Exception) -> None:
        with end_lm_eval_plainly():
            raise error

    with pytest.raises(ModelError):
        fail(ModelError("401"))
    monkeypatch.setattr(command_process, "is_command", lambda main, packages: packages == ("lm_eval",))
    with pytest.raises(SystemExit, match=r"^archon: no architecture 'x'$"):
        fail(ArchitectureError("no architecture 'x'"))
    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError())
