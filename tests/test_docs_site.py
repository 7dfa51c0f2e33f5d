"""The documentation site builds without warnings, holds every page, and the commands of its own pages run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from archon_eval.cli import main

ROOT = Path(__file__).parents[1]
PAGES = ("start.md", "report.md", "export.md", "gate.md", "reproduce.md")
"""In this order, in one folder: later pages use the logs of the first."""
SAMPLES = sorted(
    f"benchmarks/{path.name}"
    for path in (ROOT / "docs" / "benchmarks").iterdir()
    if "$ inspect" in path.read_text("utf-8")
)
ELSEWHERE = (
    "architecture-file.md",
    "components.md",
    "cascades.md",
    "systems.md",
    "cli.md",
    "benchmarks.md",
    "benchmarks/code_contests.md",
)
"""Pages whose commands test_docs_cli.py runs."""
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(line: str) -> int:
    """A command's exit code, file patterns expanded; in this process, where other tests have imported Inspect."""
    found = [sorted(map(str, Path().glob(word))) if "*" in word else [word] for word in shlex.split(line)]
    words = [word for each in found for word in each]
    if words[0] == "archon":
        try:
            return main(words[1:])
        except SystemExit as exc:
            return int(exc.code or 0)
    from inspect_ai._cli.main import inspect

    assert words[0] == "inspect", line
    return int(inspect.main([*words[1:], "--display", "none"], standalone_mode=False) or 0)


def test_commands_of_the_pages_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = []
    for page in PAGES:
        for language, name, text in BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
            if name:
                Path(name).write_text(text, encoding="utf-8")
            for line in text.splitlines() if language == "console" else ():
                assert line.startswith("$ "), line
                assert run(line[2:]) == 0, f"{page}: {line}"
                ran.append(page)
    assert set(ran) == set(PAGES)
    assert Path("report.html").stat().st_size > 900_000 and Path("gate.xml").is_file()


@pytest.mark.parametrize("page", [*SAMPLES, "simulation.md"])
def test_the_simulated_evals_of_the_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inspect_ai._cli.main import inspect
    from inspect_ai.log import list_eval_logs, read_eval_log

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSPECT_LOG_DIR", str(tmp_path / "logs"))
    monkeypatch.setenv("INSPECT_DISPLAY", "none")
    lines = re.findall(r"^\$ inspect (eval .*)$", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE)
    for line in lines:
        inspect.main([*shlex.split(line), "--limit", "5"], standalone_mode=False)
    logs = [read_eval_log(log) for log in list_eval_logs(str(tmp_path / "logs"))]
    assert len(logs) == len(lines) and all(log.status == "success" and log.samples for log in logs)


def test_every_command_is_run_by_a_test_or_says_why_not() -> None:
    recipes = (ROOT / "tests" / "integrations" / "test_recipes.py").read_text(encoding="utf-8")
    run = {*PAGES, *ELSEWHERE, *SAMPLES, "simulation.md", *re.findall(r"follow\(\"([\w/.-]+)\"", recipes)}
    command = re.compile(r"^(?:archon|inspect|lm_eval|pip|make|python|export|vllm|ollama) ", re.MULTILINE)
    silent, unrun = [], []
    for path in sorted((ROOT / "docs").rglob("*.md")):
        page = path.relative_to(ROOT / "docs").as_posix()
        for _, language, text in re.findall(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```$", path.read_text("utf-8"), re.M | re.S):
            if re.search(r"^\$ ", text, re.MULTILINE) and page not in run:
                unrun.append(page)
            if language in ("", "text", "console", "bash", "sh") and command.search(text):
                first = text.splitlines()[0]
                if not re.match(r"# not run by .+: .+", first):
                    silent.append(f"{page}: {first}")
    assert (unrun, silent) == ([], [])


def test_the_front_page_and_the_navigation_lead_to_every_page() -> None:
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    front = re.findall(r"\]\(([\w/.-]+\.md)", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"))
    assert pages - set(front) == {"index.md"}
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert pages == set(re.findall(r": ([\w/.-]+\.md)$", text, re.MULTILINE))


def test_the_site_builds_and_every_page_is_in_it(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        str(ROOT / "mkdocs.yml"),
        "--site-dir",
        str(tmp_path),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//(?!squidfunk|inspect\.|github\.com)", html)


def test_the_action_of_the_gate_page_has_the_inputs_it_shows() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    page += (ROOT / "docs" / "recipes" / "github-gate.md").read_text(encoding="utf-8")
    steps: list[dict[str, Any]] = []
    for language, _, text in BLOCK.findall(page):
        shown = yaml.safe_load(text) if language == "yaml" else []
        steps += shown["jobs"]["gate"]["steps"] if isinstance(shown, dict) else shown
    given = [step["with"] for step in steps if "archon-gate" in step.get("uses", "")]
    assert len(given) == 2 and all(set(one) <= set(action["inputs"]) for one in given)
