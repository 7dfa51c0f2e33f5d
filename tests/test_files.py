"""A file that cannot be written whole is not there, and what was there before is."""

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from archon_eval._files import append_whole, write_whole
from archon_eval.cli import main
from archon_eval.errors import DataError
from archon_eval.report.ci_output import write_file

LIMIT = 1000
LONG = "x" * (LIMIT + 1)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file of this process may be longer than LIMIT; a write stops there, as on a full disk."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("old", [None, "old"])
def test_a_full_disk_leaves_no_half_file(tmp_path: Path, small_disk: None, old: str | None) -> None:
    path = tmp_path / "report.html"
    if old:
        path.write_text(old)
    with pytest.raises(OSError):
        write_whole(path, LONG)
    assert [file.name for file in tmp_path.iterdir()] == (["report.html"] if old else [])
    assert not old or path.read_text() == old
    with pytest.raises(DataError, match=r"cannot write .*report"):
        write_file(path, LONG)
    write_whole(path, LONG[:LIMIT])
    assert path.read_text() == LONG[:LIMIT] and len(list(tmp_path.iterdir())) == 1


def test_an_addition_is_whole_or_not_there(tmp_path: Path, small_disk: None) -> None:
    path = tmp_path / "new" / "summary.md"
    append_whole(path, "first\n")
    with pytest.raises(OSError):
        append_whole(path, LONG)
    append_whole(path, "second\n")
    assert path.read_text() == "first\nsecond\n"


def test_commands_leave_none_either(tmp_path: Path, small_disk: None, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(f"name: {'n' * 500}\ndescription: {'d' * 450}\nlayers: [{{generator: a/b}}]\n")
    new = tmp_path / "new.yaml"
    assert main(["import", str(tmp_path / "mine.yaml"), "--map", f"a/b=c/{'d' * 200}", "-o", str(new)]) == 1
    assert f"archon: cannot write {new}" in capsys.readouterr().err and not new.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["mine.yaml"]


def test_links_modes_and_devices(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to(real)
    write_whole(link, "new")
    assert link.is_symlink() and real.read_text() == "new" and real.stat().st_mode & 0o777 == 0o600
    write_whole(os.devnull, "gone")
    assert not Path(os.devnull).is_file()
