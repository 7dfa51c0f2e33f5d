"""The documentation site builds without warnings, holds every page, and the commands of its own pages run."""

import os
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
PAGES = ("start.md", "report.md", "gate.md", "reproduce.md")
"""In this order, in one folder: later pages use the logs of the first."""
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(line: str) -> int:
    """A command's exit code, file patterns expanded: `archon` in this process, others in their own."""
    found = [sorted(map(str, Path().glob(word))) if "*" in word else [word] for word in shlex.split(line)]
    words = [word for each in found for word in each]
    if words[0] == "archon":
        try:
            return main(words[1:])
        except SystemExit as exc:
            return int(exc.code or 0)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return subprocess.run([*words, "--display", "none"], env={**os.environ, "PATH": path}, check=False).returncode


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


def test_the_site_builds_and_every_page_is_in_it(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--config-file",
        str(ROOT / "mkdocs.yml"),
        "--site-dir",
        str(tmp_path),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # pages may point to files of the repository, which are not on the site
    outside = re.compile(r"contains a link '(?:\.\./)+([^'#]+)'|unrecognized relative link '(?:\.\./)+([^'#]+)'")
    warnings = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    broken = [w for w in warnings if not ((m := outside.search(w)) and (ROOT / (m[1] or m[2])).exists())]
    assert broken == []
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
