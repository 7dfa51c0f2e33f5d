"""A locale that is not UTF-8: files are UTF-8 all the same, and what cannot be shown is replaced."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.report.baseline import load_baseline

LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
TEXT = "name: café\ndescription: naïve ≥ 3\nlayers: [{generator: $1}, {fuser: $1}]\n"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "archon_eval.cli", *words],
        cwd=folder,
        env=os.environ | LOCALE,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    ["show FILE", "plan FILE --models sim/pool", "validate FILE", "presets", "import FILE --map $1=a/b -o new é.yaml"],
)
def test_commands_read_write_and_print(tmp_path: Path, words: str) -> None:
    (tmp_path / "ü.yaml").write_text(TEXT, encoding="utf-8")
    done = run(tmp_path, *("ü.yaml" if word == "FILE" else word for word in words.split(" ", 5)))
    assert done.returncode == 0 and done.stderr == (b"$1 -> a/b\n" if "import" in words else b"")
    assert done.stdout.isascii() and b"Traceback" not in done.stdout
    if "import" in words:
        assert load_architecture(str(tmp_path / "new é.yaml")).name == "café"


def test_an_eval_of_a_command(tmp_path: Path) -> None:
    (tmp_path / "ü.yaml").write_text(TEXT, encoding="utf-8")
    words = "--task archon_eval/math -T sample=true -T n=2 -S architecture=ü.yaml -S models=sim/gpt-4o --log-dir lögs"
    done = run(tmp_path, "gate", "--save-baseline", "--baseline", "bäse.json", *words.split())
    assert done.returncode == 0, done.stderr
    assert load_baseline(tmp_path / "bäse.json").name == "café"
    assert len(list((tmp_path / "lögs").glob("*.eval"))) == 1
