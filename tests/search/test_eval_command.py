"""The last line of a search is a command that runs its winner; a search goes on from another folder as it began."""

import json
import shlex
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from archon_eval.cli import main
from archon_eval.cli.search_options import parse_pairs
from archon_eval.errors import DataError, SearchError
from archon_eval.runs.command_words import format_option, parse_value
from archon_eval.runs.run_eval import Eval
from archon_eval.search.config import TaskSpec, load_settings
from archon_eval.search.eval_command import build_eval_command
from archon_eval.search.questions import load_questions

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
    monkeypatch.setattr("archon_eval.runs.executors.local", lambda workers: nullcontext(fake_run))
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


def test_a_value_that_is_no_yaml_is_an_error_of_one_line_in_every_command() -> None:
    with pytest.raises(DataError, match=r"-T n=\[1: the value is not readable as YAML .*put text into quotes"):
        parse_value("[1", "-T n=[1")
    with pytest.raises(DataError, match=r"n=\[1: the value is not readable"):
        Eval("archon_eval/math", task_args=("n=[1",)).choose_door()
    with pytest.raises(DataError, match=r"-T n=\[1: the value is not readable"):
        parse_pairs(["n=[1"], "-T")


def test_what_the_locale_could_not_decode_is_text() -> None:
    assert parse_value("\udcc3.yaml", "x") == "\udcc3.yaml"
    choice = Eval("archon_eval/math", solver_args=("architecture=\udcc3.yaml", "budget={a: 1}")).choose_door()[1]
    assert choice.door == "solver"


def test_a_task_whose_code_fails_while_it_loads_is_an_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.py").write_text("from inspect_ai import task\n\n@task\ndef t():\n    return missing_name\n")
    with pytest.raises(SearchError, match=r"task bad\.py@t: NameError: name 'missing_name' is not defined"):
        load_questions(TaskSpec("bad.py@t"))
