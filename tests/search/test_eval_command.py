"""The last line of a search is a command that runs its winner; a search goes on from another folder as it began."""

import json
import shlex
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from archon_eval.cli import main
from archon_eval.runs.command_words import format_option
from archon_eval.search.config import load_settings
from archon_eval.search.eval_command import build_eval_command

ROWS = [{"id": n, "problem": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(25)]


@pytest.mark.parametrize("value", [True, None, 3, 0.5, "plain", "true", "1e3", "a: b", "[x", "", {"calls": 5}])
def test_an_options_value_is_read_back_as_it_is(value):
    assert yaml.safe_load(format_option(value)) == value


def test_the_command_has_all_that_decided_the_score():
    asked = load_settings(
        {
            "tasks": [{"name": "my tasks.py@one", "args": {"sample": True, "subject": ["A b", "C"]}}],
            "models": "a/b",
            "solver_args": {"cot": True},
            "model_roles": {"judge": "c/d"},
            "prices": "my prices.yaml",
        }
    )
    command = build_eval_command(asked, asked.tasks[0], Path("out dir"))
    assert shlex.split(command) == [
        "inspect", "eval", "my tasks.py@one", "-T", "sample=true", "-T", "subject=A b,C",
        "-S", "architecture=out dir/best.yaml", "-S", "store=out dir/calls.db", "-S", "prices=my prices.yaml",
        "-S", "cot=true", "--model-role", "judge=c/d", "--solver", "archon", "--model", "none",
    ]  # fmt: skip
    assert build_eval_command(asked, asked.tasks[0], Path("/x"), start=Path("/a b")) == "cd '/a b' && " + (
        build_eval_command(asked, asked.tasks[0], Path("/x"))
    )


def test_a_search_goes_on_from_another_folder(tmp_path, monkeypatch, capsys, fake_run):
    monkeypatch.setattr("archon_eval.search.executors.local", lambda workers: nullcontext(fake_run))
    first, second = tmp_path / "first one", tmp_path / "second"
    first.mkdir(), second.mkdir()
    (first / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    (first / "mine.yaml").write_text(
        "tasks: [{name: archon_eval/math, args: {data: rows.jsonl}}]\nmodels: [sim/gpt-4o, sim/qwen2-72b-instruct]\n"
        "space: small\nbudget: {trials: 2}\nfinalists: 1\n"
    )
    monkeypatch.chdir(first)
    assert main(["search", "mine.yaml", "-o", "out"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == (
        "inspect eval archon_eval/math -T data=rows.jsonl -S architecture=out/best.yaml -S store=out/calls.db "
        "--solver archon --model none"
    )
    asked, end = len(fake_run.jobs), out.splitlines()[-1]
    monkeypatch.chdir(second)
    assert main(["search", "../first one/mine.yaml", "-o", "../first one/out"]) == 0
    out, err = capsys.readouterr()
    assert len(fake_run.jobs) == asked, "nothing is asked again"
    assert f"note: ../first one/out was begun in {first}: relative paths" in err and Path.cwd() == second
    assert out.splitlines()[-1] == f"cd '{first}' && " + end.replace("out/best", f"{first}/out/best").replace(
        "store=out", f"store={first}/out"
    ).replace(f"architecture={first}/out/best.yaml", f"'architecture={first}/out/best.yaml'").replace(
        f"store={first}/out/calls.db", f"'store={first}/out/calls.db'"
    )


def test_a_working_folder_that_is_gone_is_said(tmp_path, monkeypatch, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "search.jsonl").write_text(json.dumps({"kind": "search", "start": "/nowhere/at/all"}) + "\n")
    monkeypatch.chdir(tmp_path)
    assert main(["search", "--task", "mine.py@gone", "--models", "sim/gpt-4o", "-o", "out"]) == 1
    err = capsys.readouterr().err
    assert "begun in /nowhere/at/all, which is gone" in err and "archon: task mine.py@gone" in err
