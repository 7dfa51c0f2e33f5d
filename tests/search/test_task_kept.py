"""A task with system message, template, examples and choices keeps all of them on the wire in every command."""

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.rich_task import SYSTEM, build_messages, write_tasks

from archon_eval.cli import main
from archon_eval.report import ablation
from archon_eval.search.config import TaskSpec
from archon_eval.search.questions import load_questions

TASK = ("--task", "rich_tasks.py@rich")
MODEL = "openai/gpt-4o"
ARCHITECTURE = "layers: [{generator: {model: openai/gpt-4o, samples: 2}}, {fuser: openai/gpt-4o}]"


@pytest.fixture(autouse=True)
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tasks(tmp_path)
    (tmp_path / "two.yaml").write_text(ARCHITECTURE)


def list_asked(server: Any) -> list[list[dict[str, str]]]:
    """The messages of each request to the server, without those that have the candidates' texts in them."""
    sent = [request.body["messages"] for request in server.requests]
    return [messages for messages in sent if messages[-1]["content"].startswith("Of A,B: In short: ")]


def is_asked_in_full(messages: list[dict[str, str]], number: int = 60) -> bool:
    return messages in [build_messages(n) for n in range(number)]


def test_eval_and_gate(fake_server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["gate", *TASK, "-S", "architecture=single", "-S", f"models={MODEL}", "--baseline", "b.json"]
    assert main([*words, "--save-baseline"]) == 0
    assert "note: door: model" in capsys.readouterr().out
    asked = [request.body["messages"] for request in fake_server.requests]
    assert sorted(map(json.dumps, asked)) == sorted(json.dumps(build_messages(n)) for n in range(2))


def test_ablate(fake_server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    every = ablation.list_variants
    monkeypatch.setattr(ablation, "list_variants", lambda whole: every(whole)[:1])
    assert main(["ablate", "two.yaml", *TASK, "--json", "--missing", "zero"]) == 0
    assert json.loads(capsys.readouterr().out)["door"].startswith("door: model (the task's own solver stays: system_")
    asked = list_asked(fake_server)
    assert len(asked) >= 4 and all(map(is_asked_in_full, asked))


def test_search(fake_server: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["search", *TASK, "-T", "number=25", "--models", MODEL, "--space", "small", "--trials", "1"]
    words += ["--finalists", "1", "--confirm-epochs", "1", "--skip-ranking", "--json", "--budget", "calls=2000"]
    assert main([*words, "-o", "out"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [choice["door"] for choice in summary["doors"].values()] == ["model"] and summary["calls_paid"] > 25
    asked = list_asked(fake_server)
    assert len(asked) >= 25 and all(is_asked_in_full(messages) for messages in asked)
    # several samples of one prompt are one request, and as many calls
    paid = sum(request.body.get("n", 1) for request in fake_server.requests if request.answered)
    assert summary["calls_paid"] == paid, "the account of the model's door is the budget's"
    before = len(fake_server.requests)
    assert main([*words, "-o", "out"]) == 0  # a resume
    assert len(fake_server.requests) == before
    assert main([*words, "-o", "out", "--door", "solver"]) != 0
    assert "another door" in capsys.readouterr().err
    tasks = tmp_path / "rich_tasks.py"
    tasks.write_text(tasks.read_text().replace(SYSTEM, "Answer as a parrot."))
    assert main([*words, "-o", "out"]) != 0
    assert "out holds a search with other data or prompts" in capsys.readouterr().err


def test_what_a_search_knows_of_the_tasks_own_steps_is_the_same_each_time() -> None:
    def read(name: str, **more: str) -> str:
        return load_questions(TaskSpec("rich_tasks.py@kind", (("name", name), *more.items()))).digest

    assert len({read(name) for name in ("generate", "choices", "default")}) == 1
    assert len({read("generate"), read("system"), read("template"), read("agent"), read("cot")}) == 5
    assert read("agent") == read("agent") and read("own") == read("own")
    assert read("generate", setup="system") != read("generate")


def test_the_door_of_a_search_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "search.yaml").write_text(
        "tasks: [{name: rich_tasks.py@rich, args: {number: 25}}]\nmodels: sim/pool\ndoor: modle\n"
    )
    assert main(["search", "search.yaml", "--dry-run"]) != 0
    assert "line 3: unknown door 'modle'; did you mean 'model'" in capsys.readouterr().err
    assert main(["search", "search.yaml", "--dry-run", "--door", "solver", "--json", "--space", "small"]) == 0
    assert json.loads(capsys.readouterr().out)["doors"] == {"rich_tasks.py@rich,number=25": "solver (as --door says)"}


def test_demo_takes_a_door(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from archon_eval.cli import demo

    commands: list[list[str]] = []

    def run_eval(eval: Any, folder: Path, on_progress: Any) -> Path:
        commands.append(eval.build_command(folder))
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_eval", run_eval)
    with pytest.raises(KeyboardInterrupt):
        demo.run_demo("sim/pool", Path("logs"), demo.Console(), door="model")
    assert "Door: model (as --door says)" in capsys.readouterr().out
    assert "archon/single" in commands[0] and "--solver" not in commands[0]
