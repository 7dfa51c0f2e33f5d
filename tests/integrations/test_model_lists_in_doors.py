"""The lists of models reach the architecture through every door, and an import may change models."""

import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import get_model

from archon_eval import Archon, load_architecture
from archon_eval._inspect_compat import PrerequisiteError, get_error_text
from archon_eval.cli import main
from archon_eval.errors import ArchitectureError
from archon_eval.integrations.build import build_engine
from archon_eval.integrations.inspect_model import ArchonAPI
from archon_eval.integrations.lm_eval_model import ArchonLM
from archon_eval.solvers.archon import archon

ARCHITECTURE: dict[str, Any] = {"layers": [{"generator": "$1..2"}, {"ranker": "$1"}, {"fuser": "$1"}]}
EXPECTED = ("sim/gpt-4o", "sim/gpt-4-turbo", "sim/qwen2-72b-instruct", "sim/claude-3-opus")
LISTS: dict[str, str] = {
    "models": "sim/gpt-4o,sim/gpt-4-turbo",
    "judges": "sim/qwen2-72b-instruct",
    "fusers": "sim/claude-3-opus",
}
OLD = {
    "name": "old",
    "layers": [
        [{"type": "generator", "model": name, "model_type": "OpenAI_API"} for name in ("gpt-4o", "gpt-4-turbo")],
        [{"type": "fuser", "model": "gpt-4o", "model_type": "OpenAI_API"}],
    ],
}


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "mine.yaml").write_text(json.dumps(ARCHITECTURE), encoding="utf-8")
    return str(tmp_path / "mine.yaml")


def test_every_door_takes_the_three_lists(file: str) -> None:
    assert Archon(file, **LISTS).architecture.models == EXPECTED  # type: ignore[arg-type]
    plus = {name: value.replace(",", "+") for name, value in LISTS.items()}
    assert ArchonLM(file, **plus)._runner.architecture.models == EXPECTED  # type: ignore[arg-type]
    api = get_model(f"archon/{file}", **LISTS).api
    assert isinstance(api, ArchonAPI) and api._engines.engine.architecture.models == EXPECTED


def test_models_that_nothing_takes_end_the_command_before_any_call() -> None:
    fixed = {"layers": [{"generator": "sim/gpt-4o"}]}
    for build in (archon, build_engine):
        with pytest.raises(PrerequisiteError) as caught:
            build(fixed, "sim/gpt-4-turbo")  # type: ignore[operator]
        assert "models= changes nothing" in get_error_text(caught.value)
    with pytest.raises(ArchitectureError, match="fusers= changes nothing"):
        Archon("single", "sim/gpt-4o", fusers="sim/gpt-4o")


def test_import_maps_models_by_name_and_by_order(tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.yaml"
    old.write_text(json.dumps(OLD), encoding="utf-8")
    assert main(["import", str(old), "--map", "openai/gpt-4o=sim/gpt-4o", "-o", str(new)]) == 0
    assert load_architecture(str(new)).models == ("sim/gpt-4o", "openai/gpt-4-turbo")
    printed = capsys.readouterr().err
    assert "openai/gpt-4o -> sim/gpt-4o\n" in printed and "openai/gpt-4-turbo stays: it is not mapped\n" in printed
    # an architecture file too; what --map names is not in the order that --map-all follows
    again = ["import", str(new), "--map", "sim/gpt-4o=a/b", "--map-all", "c/d,e/f", "-o", str(new)]
    assert main(again) == 0
    assert load_architecture(str(new)).models == ("a/b", "c/d")
    with pytest.warns(match="a/b -> sim/gpt-4o"):
        assert Archon(str(new), "sim/gpt-4o,sim/gpt-4-turbo").architecture.models == ("sim/gpt-4o", "sim/gpt-4-turbo")


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("openai/gpt4o=a/b", "no component has 'openai/gpt4o'; did you mean 'openai/gpt-4o'?"),
        ("openai/gpt-4o", "OLD=NEW"),
        ("openai/gpt-4o=sim/pool", "OLD=NEW, each one model"),
        ("openai/gpt-4o=sim/gpt-9", "no simulated model"),
    ],
)
def test_import_refuses_a_wrong_map(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, problem: str
) -> None:
    (tmp_path / "old.json").write_text(json.dumps(OLD), encoding="utf-8")
    assert main(["import", str(tmp_path / "old.json"), "--map", option]) == 1
    printed = capsys.readouterr()
    assert problem in printed.err and not printed.out


def test_commands_that_take_models_take_maps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text("layers: [{generator: [a/x, a/y]}, {fuser: a/x}]", encoding="utf-8")
    words = [str(tmp_path / "mine.yaml"), "--map", "a/x=sim/gpt-4o", "--map-all", "sim/gpt-4-turbo"]
    for command in (["show"], ["plan"], ["validate"], ["ablate", "--dry-run"]):
        assert main([*command, *words]) == 0
        printed = capsys.readouterr()
        assert printed.err == "a/x -> sim/gpt-4o\na/y -> sim/gpt-4-turbo\n" and "a/x" not in printed.out


def test_plan_takes_the_lists(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", file, *(f"--{name}={value}" for name, value in LISTS.items())]) == 0
    assert all(model in capsys.readouterr().out for model in EXPECTED[2:3])
    assert main(["show", file, "--json", *(f"--{name}={value}" for name, value in LISTS.items())]) == 0
    assert tuple(json.loads(capsys.readouterr().out)["models"]) == EXPECTED
