"""`make compat`: what it must not call fine."""

import sys
from pathlib import Path

import compat
import pytest


@pytest.fixture
def end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> compat.End:
    """An end whose environment is that of these tests."""
    monkeypatch.setattr(compat, "FOLDER", tmp_path)
    python = tmp_path / "mine" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return compat.End("mine", ())


def test_tests_that_do_not_run_are_no_success(end: compat.End) -> None:
    (problem,) = compat.run_tests(end, ("tests/no_such_test.py",), "0")
    assert problem.startswith("pytest did not run to its end (code 4)")


def test_an_environment_of_other_versions_is_not_kept(end: compat.End) -> None:
    have = compat.read_versions(end)["inspect-ai"]
    assert compat.is_installed(compat.End("mine", (f"inspect-ai=={have}", *compat.OLD_CLIENTS)))
    assert not compat.is_installed(compat.End("mine", ("inspect-ai==0.3.1",)))
    assert not compat.is_installed(compat.End("gone", ()))
