"""Search and ablation of a task with tools: what cannot be asked with them is left out, before it is paid."""

import json
from pathlib import Path

import pytest

from archon_eval.cli import main

TASKS = '''
from inspect_ai import Task, task
from inspect_ai.agent import react
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.tool import tool


@tool
def add():
    async def execute(a: int, b: int) -> str:
        """Adds two numbers.

        Args:
            a: the first.
            b: the second.
        """
        return str(a + b)

    return execute


@task
def sums(number: int = 25):
    samples = [Sample(f"Add {n} and 2.", target=str(n + 2), id=n) for n in range(number)]
    return Task(dataset=samples, solver=react(tools=[add()]), scorer=includes())
'''
SEARCH = ("search", "--task", "sums.py@sums", "--models", "sim/gpt-4o,sim/gpt-4-turbo", "--trials", "2", "-o", "out")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sums.py").write_text(TASKS)
    return tmp_path


def list_kinds(folder: Path) -> list[str]:
    return [json.loads(line)["kind"] for line in (folder / "out" / "search.jsonl").read_text().splitlines()]


def test_a_space_of_fusers_alone_is_refused_before_a_call_is_paid(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SEARCH]) != 0
    said = capsys.readouterr().err
    assert "sums.py@sums offers tools, and every architecture of the space has fusers or unit tests" in said
    assert "--space small" in said
    assert list_kinds(folder) == ["search", "session", "tools", "stop"]


def test_a_search_tries_only_what_can_be_asked_with_tools(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SEARCH, "--space", "small", "--finalists", "1", "--confirm-epochs", "1", "--json"]
    words += ["--budget", "calls=3000"]
    assert main(words) == 0
    summary = json.loads(capsys.readouterr().out)
    assert any("sums.py@sums offers tools" in note for note in summary["notes"])
    assert summary["calls_paid"] <= 3000
    rows = (folder / "out" / "trials.csv").read_text()
    assert len(rows.splitlines()) >= 2 and "tools" not in rows
    results = [json.loads(line) for line in (folder / "out" / "search.jsonl").read_text().splitlines()]
    assert not any(line["result"]["failed"] or line["result"]["error"] for line in results if line["kind"] == "result")


def test_an_ablation_leaves_out_what_cannot_be_asked_with_tools(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "best.yaml").write_text(
        "layers: [{generator: {model: sim/gpt-4o, samples: 2}}, {ranker: {model: sim/gpt-4o, top_k: 1}}]"
    )
    assert main(["ablate", "best.yaml", "--task", "sums.py@sums", "-T", "number=3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["change"] for one in found["changes"]] == ["without layer 2 (ranker)"]
    (said,) = found["left_out"]
    assert said.startswith(
        "layer 2: fuser in place of the ranker is left out, as the task offers tools: layer 2 (fuser)"
    )
