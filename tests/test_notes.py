"""Notes: a line of its own in a command, a warning at the user's line in Python."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from archon_eval._notes import ArchonNote, print_notes_plainly, show_note
from archon_eval.architecture.load import load_architecture
from archon_eval.scorers.arena_hard import arena_hard

OLD = "name: old\nlayers:\n  - generator: {model: sim/gpt-4o, reask: 1}\n  - fuser: {model: sim/gpt-4o, reask: 1}\n"
RENAMED = "note: `reask` is now `max_parse_retries`; the old name goes with the next release\n"


def run_archon(*arguments: str, folder: Path) -> Any:
    command = [sys.executable, "-W", "error::FutureWarning", "-m", "archon_eval.cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)


def test_a_command_prints_a_note_as_one_line_once_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(OLD, encoding="utf-8")
    (tmp_path / "single").write_text(OLD, encoding="utf-8")
    renamed = run_archon("plan", "old.yaml", folder=tmp_path)
    assert (renamed.returncode, renamed.stderr) == (0, RENAMED)
    preset = run_archon("plan", "single", "--models", "sim/gpt-4o", folder=tmp_path)
    note = "note: 'single' is the preset; for the file of this name write './single'\n"
    assert (preset.returncode, preset.stderr) == (0, note)


def test_the_process_of_an_eval_prints_a_note_as_one_line_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(OLD, encoding="utf-8")
    command = [sys.executable, "-W", "error::FutureWarning", "-m", "archon_eval.runs.eval_process", "progress.jsonl"]
    command += ["eval", "archon_eval/math", "-T", "sample=true", "-T", "n=2", "--display", "none", "--log-dir", "logs"]
    command += ["--solver", "archon", "-S", "architecture=old.yaml"]
    reading, writing = os.pipe()  # its standard input, whose end would end it
    try:
        done = subprocess.run(command, cwd=tmp_path, stdin=reading, capture_output=True, text=True, timeout=100)
    finally:
        os.close(reading)
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, RENAMED)


def test_inspects_own_command_prints_a_note_as_one_line(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(OLD, encoding="utf-8")
    words = ["eval", "archon_eval/math", "-T", "sample=true", "-T", "n=1", "--display", "none", "--log-dir", "logs"]
    command = [sys.executable, "-m", "inspect_ai", *words, "--model", "archon/old.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and RENAMED in done.stderr and "ArchonNote" not in done.stderr


def test_in_python_a_note_is_a_warning_at_the_users_line(tmp_path: Path) -> None:
    for tell in (
        lambda: show_note("x"),
        lambda: arena_hard(stored="only"),
        lambda: load_architecture({"reask": 1, "layers": [{"generator": "a/x"}]}),
    ):
        with pytest.warns(FutureWarning) as caught:
            tell()
        assert [(warning.category, warning.filename) for warning in caught] == [(ArchonNote, __file__)]


def test_only_notes_are_printed_plainly_and_only_within_the_context(capsys: pytest.CaptureFixture[str]) -> None:
    before = warnings.showwarning
    with pytest.warns(UserWarning, match="other"), print_notes_plainly():
        show_note("red \x1b[31m")
        warnings.warn("other", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "note: red \ufffd[31m\n" and warnings.showwarning is before
