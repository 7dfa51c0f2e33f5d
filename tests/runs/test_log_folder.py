"""Logs in a folder, and at an address of an object server."""

import pytest

from archon_eval.errors import DataError
from archon_eval.runs.log_folder import LogFolder, describe_source, fetch_log, hide_user, is_address, make_relative


@pytest.mark.parametrize("place", ["{tmp}/logs", "memory://bucket/logs"])
def test_files_are_whole_or_not_there(tmp_path, place):
    folder = LogFolder(place.format(tmp=tmp_path))
    folder.check()
    assert not list(tmp_path.iterdir())
    first, second = folder.add("a/b.eval", [b"one", b"two"]), folder.add("a/b.eval", [b"other"])
    assert first == f"{folder.place}/a/b.eval" and second == f"{folder.place}/a/b-2.eval"

    def broken():
        yield b"half"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        folder.add("half.eval", broken())
    assert folder.add("half.eval", [b"whole"]).endswith("/half.eval")
    if is_address(place):
        copy = fetch_log(first)
        assert copy.read_bytes() == b"onetwo" and copy.name == "b.eval" and describe_source(copy) == first
    else:
        assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
            "b-2.eval",
            "b.eval",
            "half.eval",
        ]


def test_the_files_of_one_run_of_lm_eval_are_fetched_together(tmp_path):
    date = "2026-01-02T03-04-05.678901"
    for name in (f"samples_t_{date}.jsonl", f"results_{date}.json", "results_2025-01-02T03-04-05.678901.json"):
        (tmp_path / name).write_text(name)
    places = LogFolder("memory://lm/logs").add_all(tmp_path)
    copy = fetch_log(places[f"samples_t_{date}.jsonl"])
    assert sorted(path.name for path in copy.parent.iterdir()) == [f"results_{date}.json", f"samples_t_{date}.jsonl"]


def test_what_cannot_be_used_is_said_without_passwords(tmp_path):
    with pytest.raises(DataError, match=r"nosuch://host/x cannot be used: ValueError"):
        LogFolder("nosuch://user@host/x")
    with pytest.raises(DataError, match=r"ftp://host/x: an address may hold no password") as caught:
        LogFolder("ftp://user:hun@ter2@host/x")
    assert "ter2" not in str(caught.value)
    with pytest.raises(DataError, match=r"memory://none/such\.eval cannot be read: FileNotFoundError"):
        fetch_log("memory://none/such.eval")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="logs cannot be written to"):
        LogFolder(tmp_path / "file" / "logs").check()
    assert hide_user("s3://me:pw@bucket/x") == "s3://bucket/x" == hide_user("s3://me:p@w@bucket/x")


def test_logs_are_named_as_from_the_folder(tmp_path):
    assert make_relative(str(tmp_path / "logs" / "a.eval"), tmp_path) == "logs/a.eval"
    assert make_relative("s3://b/a.eval", tmp_path) == "s3://b/a.eval"
    assert make_relative("/elsewhere/a.eval", tmp_path) == "/elsewhere/a.eval" and make_relative("", tmp_path) == ""
