"""What the documentation shows works: its files load, and its `$ archon` lines exit with 0."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from archon_eval.architecture.load import load_architecture
from archon_eval.cli import main

DOCS = Path(__file__).parents[1] / "docs"
PAGES = (
    "architecture-file.md",
    "components.md",
    "cascades.md",
    "cli.md",
    "benchmarks.md",
    "benchmarks/code_contests.md",
)
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[tuple[str, str, str]]:
    """(language, file name or empty, text) of a page's fenced blocks."""
    return [(m[1], m[2] or "", m[3]) for m in BLOCK.finditer((DOCS / page).read_text(encoding="utf-8"))]


def run(line: str) -> int:
    """A command's exit code: in this process, or in a shell when it sets an environment variable first."""
    if not line.startswith("archon "):
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return subprocess.run(line, shell=True, env={**os.environ, "PATH": path}, check=False).returncode
    try:
        return main(shlex.split(line)[1:])
    except SystemExit as exc:
        return int(exc.code or 0)


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_the_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = 0
    for language, name, text in blocks(page):
        if name:
            Path(name).write_text(text, encoding="utf-8")
        for line in text.splitlines() if language == "console" else ():
            if re.match(r"\$ (\w+=\S+ )?archon ", line):
                assert run(line[2:]) == 0, line
                ran += 1
    assert ran


@pytest.mark.parametrize("page", PAGES)
def test_architectures_of_the_page_load(page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for language, name, text in blocks(page):
        if name.endswith(".py"):
            (tmp_path / name).write_text(text, encoding="utf-8")
        if language == "yaml" and "layers:" in text:
            load_architecture(yaml.safe_load(text))


def test_the_assumptions_of_the_page_are_those_of_the_code() -> None:
    from archon_eval.components.token_estimates import TokenAssumptions

    text = " ".join((DOCS / "cli.md").read_text(encoding="utf-8").split())
    a = TokenAssumptions()
    for said in (
        f"a question of {a.query} tokens, answers of {a.answer}, {a.wording} tokens of wording per prompt",
        f"{a.critique} per critique, {a.reasons} for a verifier's reasons",
        f"{a.test} per unit test, {a.verdict} per verdict on one, {a.rank} per identifier",
    ):
        assert said in text
