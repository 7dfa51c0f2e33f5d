"""The loop of docs/systems.md, on few questions: every system has its row, with calls, tokens and dollars."""

import json
import re
import shlex
from pathlib import Path

import pytest
from fakes.docker import require_docker
from inspect_ai._cli.main import inspect as inspect_command

from archon_eval.architecture.load import list_presets, load_architecture
from archon_eval.cli import main
from archon_eval.engine.plan import plan
from archon_eval.simulation import pool_names

PAGE = Path(__file__).parents[2] / "docs" / "systems.md"
LOOP = re.compile(r"^\$ for system in (?P<names>[^;]+); do (?P<command>inspect [^|]+) \|\| break; done$", re.MULTILINE)
COMMAND = re.compile(r"^\$ (archon .*)$", re.MULTILINE)
ROW = re.compile(r"^\| [^|]+ \| `(?P<name>[\w-]+)` \| (?P<calls>[\d to]+) \|", re.MULTILINE)


def test_the_loop_shows_every_system_with_its_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require_docker()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSPECT_DISPLAY", "none")
    text = PAGE.read_text(encoding="utf-8")
    loop = LOOP.search(text)
    assert loop is not None
    names = loop["names"].split()
    for name in names:
        command = loop["command"].replace("$system", name).replace("-T n=10", "-T n=2")
        inspect_command.main(shlex.split(command)[1:], standalone_mode=False)
    for line in COMMAND.findall(text):
        assert main(shlex.split(line)[1:]) == 0, line
    assert (tmp_path / "systems.html").stat().st_size > 10_000
    capsys.readouterr()
    assert main(["report", "logs/systems", "--table", "--format", "json"]) == 0
    systems = {system["system"]: system["cost"] for system in json.loads(capsys.readouterr().out)["systems"]}
    assert systems.keys() == set(names)
    for name, cost in systems.items():
        least, most = plan(load_architecture(name, pool_names())).calls
        assert least <= cost["calls"] <= most + 2, name  # a reply in fifty is asked for again
        assert cost["input_tokens"] > 0 and cost["output_tokens"] > 0 and cost["dollars"] > 0


def test_the_table_of_systems_is_that_of_the_presets() -> None:
    rows = {row["name"]: row["calls"].strip() for row in ROW.finditer(PAGE.read_text(encoding="utf-8"))}
    assert len(rows) > 25 and rows.keys() <= set(list_presets())
    for name, calls in rows.items():
        least, most = plan(load_architecture(name)).calls
        assert calls == (f"{least}" if least == most else f"{least} to {most}"), name
