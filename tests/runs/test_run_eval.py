"""The eval in its own process: it ends with whoever started it, as one task, and its failures name no secret."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from inspect_ai.log import read_eval_log

from archon_eval.cli import main
from archon_eval.errors import ArchonError, DataError
from archon_eval.runs.run_eval import Eval, run_eval

ONE = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, accuracy, scorer
import asyncio, pathlib

@scorer(metrics=[accuracy()])
def slow():
    async def score(state, target):
        if target.text == "slow":
            pathlib.Path("waiting").touch()
            await asyncio.sleep(600)
        return Score(value="C")
    return score
"""
TASK = """
@task
def {name}():
    return Task(dataset=[Sample(input="1+1", target=target, id=target) for target in {targets}], scorer=slow())
"""
OWN = ("architecture=single", "models=sim/gpt-4o")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT], ids=lambda how: how.name)
def test_an_eval_ends_with_its_parent_and_leaves_a_log_of_what_it_has(tmp_path: Path, how: signal.Signals) -> None:
    (tmp_path / "slow.py").write_text(ONE + TASK.format(name="slowly", targets=["fast", "slow"]))
    words = [*("gate", "--save-baseline", "--baseline", "b.json", "--task", "slow.py", "--log-dir", "logs")]
    words += [word for value in OWN for word in ("-S", value)]
    # ignored, as in the background of a script; the eval must hear all the same
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if how != signal.SIGINT else signal.default_int_handler)
    try:
        parent = subprocess.Popen([sys.executable, "-m", "archon_eval.cli", *words], cwd=tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    for _ in range(600):
        if (tmp_path / "waiting").exists() or parent.poll() is not None:
            break
        time.sleep(0.1)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    if not children.exists():
        parent.kill()
        pytest.skip("the kernel does not say who is whose child")
    [child] = map(int, children.read_text().split())
    parent.send_signal(how)
    assert parent.wait(60) == (-how if how == signal.SIGKILL else 130)
    for _ in range(600):
        if not Path(f"/proc/{child}").exists():
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        pytest.fail("the eval outlives its parent")
    [log] = (tmp_path / "logs").glob("*.eval")
    found = read_eval_log(str(log))
    assert found.status == "cancelled" and [sample.id for sample in found.samples or () if sample.scores] == ["fast"]


def test_a_file_with_two_tasks_is_refused_not_cut_to_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = "".join(TASK.format(name=name, targets=["fast"]) for name in ("first", "second"))
    (tmp_path / "two.py").write_text(ONE + both)
    monkeypatch.chdir(tmp_path)  # Inspect takes no absolute path
    with pytest.raises(ArchonError, match=r"^two\.py: 2 tasks; name one, as in two\.py@NAME; logs: .*first.*second"):
        run_eval(Eval("two.py", (), OWN), Path("logs"))
    assert "second" in run_eval(Eval("two.py@second", (), OWN), Path("logs")).name


@pytest.mark.parametrize("name", ["", " ", "--help"])
def test_no_task_is_not_every_task(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match=r"name one, e\.g\. archon_eval/math"):
        Eval(name)
    assert main(["gate", "--baseline", "base.json", f"--task={name}"]) == 2
    assert "name one" in capsys.readouterr().err


def test_files_of_the_callers_folder_do_not_stand_in_for_pythons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "calendar.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    assert run_eval(Eval("archon_eval/math", ("sample=true", "n=1"), OWN), Path("logs")).is_file()


def test_a_failure_names_no_secret_and_is_not_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "from-the-environment")
    secrets = ("sk-in-a-role-1", "in-a-task-22", "in-a-solver-3")
    plan = Eval(
        "archon_eval/math",
        ("sample=true", f"access_token={secrets[1]}", "nonsense=from-the-environment", f"long={'x' * 5000}"),
        (*OWN, f'models={{"api-key": "{secrets[2]}"}}'),
        (f"judge={{model: openai/x, api_key: {secrets[0]}}}",),
    )
    with pytest.raises(ArchonError, match="<secret>") as caught:
        run_eval(plan, tmp_path)
    text = str(caught.value)
    assert not any(secret in text for secret in (*secrets, "from-the-environment")) and len(text) < 3000
    assert "Unknown GenerateConfig field" in text  # and says what was wrong
