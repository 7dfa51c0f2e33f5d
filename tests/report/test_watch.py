"""`archon report OUT --watch`: the page follows a search that runs, for several viewers, and ends with it."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.report_inputs import HOSTILE, write_search
from fakes.search_journals import FakeJournal

from archon_eval.cli import main
from archon_eval.errors import DataError
from archon_eval.report.watch import WatchedSearch, WatchServer
from archon_eval.runs.search_journal import JournalReader

ARCHON = [sys.executable, "-c", "from archon_eval.cli import main; raise SystemExit(main())"]
SEARCH = "search --task archon_eval/math -T sample=true -T n=25 --models sim/gpt-4o,sim/qwen2-72b-instruct"
SPACE = {"preset": "small", "generators": [1, 2], "layers": [0, 1], "evaluations": "none"}


def ask(server: WatchServer, path: str, host: str = "", method: str = "GET") -> tuple[int, str, dict[str, str]]:
    address = re.sub("^http://|/$", "", server.url)
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, path, headers={"Host": host or address})
        reply = connection.getresponse()
        return reply.status, reply.read().decode(), dict(reply.getheaders())
    finally:
        connection.close()


def ask_state(server: WatchServer, version: int = 0, viewer: str = "one") -> dict[str, Any]:
    status, text, _ = ask(server, f"/state?version={version}&viewer={viewer}")
    assert status == 200
    state: dict[str, Any] = json.loads(text)
    return state


def wait_until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found
    return found


def finish(journal: FakeJournal) -> None:
    """The search ends, and its files are written."""
    journal.add("end", at=1_800_000_100.0)
    for file in write_search(journal.folder.with_name("files"), 8).iterdir():
        file.rename(journal.folder / file.name)
        os.utime(journal.folder / file.name)


def test_the_state_follows_the_journal_for_every_viewer(tmp_path: Path) -> None:
    watched = WatchedSearch(tmp_path / "out")
    with WatchServer(watched) as server:
        watched.refresh()
        assert "Nothing is there yet." in ask(server, "/")[1]
        journal = FakeJournal(tmp_path / "out")
        journal.begin()
        journal.report("ranking models")
        journal.trial(14, "g1x1-f0")
        version = watched.refresh().version
        first, second = ask_state(server, viewer="one"), ask_state(server, viewer="two")
        assert first == second and first["version"] == version and "searching, 1 of 40" in first["content"]
        assert {*first["charts"]} == {"search1-convergence", "search1-cost"}
        assert ask_state(server, version) == {"version": version, "finished": False}
        assert watched.refresh().version == version  # nothing is new
        with journal.path.open("ab") as stream:
            stream.write(b'{"kind": "progress", "at": 18')
        assert "searching, 1 of 40" in ask_state(server)["content"] and watched.refresh().version == version
        journal.path.write_bytes(journal.path.read_bytes().rpartition(b"\n")[0] + b"\n")
        journal.add("stop", at=1.0, why="interrupted")
        watched.refresh()
        assert "interrupted. The same command goes on where it was." in ask_state(server)["content"]
        journal.begin()
        finish(journal)
        assert watched.refresh().finished
        for viewer in ("one", "two"):
            assert ask_state(server, version, viewer)["finished"] and not server._viewers.all_have_it
        for _ in range(2):
            page = ask(server, "/")[1]
        assert "8 of 9576 architectures tried" in page and "/state" not in page
        server.wait_for_viewers()


def test_only_the_page_is_served_and_only_under_its_own_name(tmp_path: Path) -> None:
    FakeJournal(tmp_path).begin()
    watched = WatchedSearch(tmp_path)
    watched.refresh()
    with WatchServer(watched) as server:
        port = server.url.rstrip("/").rpartition(":")[2]
        assert server.url == f"http://127.0.0.1:{port}/"
        status, _, headers = ask(server, "/")
        assert status == 200 and "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store" and headers["X-Content-Type-Options"] == "nosniff"
        assert ask(server, "/", host=f"localhost:{port}")[0] == 200
        for host in ("example.com", f"example.com:{port}", "127.0.0.1", f"127.0.0.1.example.com:{port}"):
            status, text, _ = ask(server, "/state?version=0&viewer=x", host=host)
            assert status == 403 and "content" not in text
        for path in ("/search.jsonl", "/../search.jsonl", "//etc/passwd", "/state/", "/index.html"):
            status, text, _ = ask(server, path)
            assert status == 404 and len(text) < 30
        assert ask(server, "/", method="POST")[0] == 501
        with pytest.raises(DataError, match=f"--port {port}: .*in use"):
            WatchServer(watched, int(port))


def test_an_earlier_end_is_none_of_a_search_that_goes_on(tmp_path: Path) -> None:
    journal = FakeJournal(tmp_path / "out")
    journal.begin()
    finish(journal)
    assert WatchedSearch(tmp_path / "out").refresh().finished
    journal.begin()  # with a larger budget, say
    watched = WatchedSearch(tmp_path / "out")
    assert not watched.refresh().finished
    journal.add("end", at=1.0)
    later = journal.path.stat().st_mtime_ns + 1
    os.utime(journal.path, ns=(later, later))
    assert not watched.refresh().finished  # its files are still those of before
    os.utime(tmp_path / "out" / "summary.json", ns=(later + 1, later + 1))
    assert watched.refresh().finished


def test_a_page_in_a_browser_renews_itself_and_becomes_the_report(browser: Any, tmp_path: Path) -> None:
    journal = FakeJournal(tmp_path / "out")
    journal.begin()
    watched = WatchedSearch(tmp_path / "out")
    watched.refresh()

    def read_page(script: str) -> Any:
        return browser.execute_script(f"return {script}")

    with WatchServer(watched) as server:
        browser.get_log("browser")
        browser.get(server.url)
        wait_until(lambda: read_page("document.getElementById('live').textContent") == "This page follows the search.")
        journal.trial(14, "g1x1-f0")
        for number in range(20):
            journal.trial(number % 15, f"g2x{number}-f1")
        watched.refresh()
        wait_until(lambda: read_page("document.body.dataset.drawn") == "2")
        assert "searching (21 of 40)" in read_page("document.querySelector('.big').textContent")
        assert len(browser.find_elements("css selector", "#search1-convergence .mark-symbol path")) >= 21
        browser.execute_script("document.querySelector('details').open = true; window.stays = 1")
        browser.find_elements("css selector", "#search1-convergence .vega-bindings input")[1].click()
        journal.trial(18, HOSTILE, notes=(HOSTILE,))
        watched.refresh()
        wait_until(lambda: "searching (22 of 40)" in read_page("document.querySelector('.big').textContent"))
        wait_until(lambda: len(browser.find_elements("css selector", "#search1-convergence svg")) == 1)
        assert read_page("[window.stays, document.querySelector('details').open]") == [1, True]
        wait_until(
            lambda: (
                read_page("[...document.querySelectorAll('#search1-convergence input')].map(e => e.checked)")
                == [False, True]
            )
        )
        assert read_page("[window.hacked, document.querySelectorAll('img, [onload]').length]") == [None, 0]
        finish(journal)
        watched.refresh()
        wait_until(lambda: "8 of 9576 architectures tried" in read_page("document.body.textContent"))
        server.wait_for_viewers()
        assert read_page("document.getElementById('live')") is None
    assert browser.get_log("browser") == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a", "b"], "--watch follows one search, and 2 paths are given"),
        (["a", "--table"], "leave out --table"),
        (["a", "--format", "md"], "leave out --table, --by-part and --format"),
        (["a", "-o", "x.html", "--port", "80"], "leave one out"),
        (["a", "--port", "70000"], "--port 70000: must be from 0"),
        (["file"], "not a file"),
        (["full"], "there is no search.jsonl; --watch takes the folder of one"),
        (["none/there/out"], "no such folder, and none that it could be in"),
    ],
)
def test_what_cannot_be_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.eval").write_text("")
    assert main(["report", *words, "--watch"]) == 1
    assert says in capsys.readouterr().err


def test_a_port_is_for_a_page_that_is_watched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path), "--port", "80"]) == 1
    assert "--port is for --watch" in capsys.readouterr().err


@pytest.mark.parametrize("to_file", [True, False])
def test_a_search_that_has_ended_is_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], to_file: bool
) -> None:
    folder, page = write_search(tmp_path / "out", 8), tmp_path / "r.html"  # of an earlier version: no session lines
    assert main(["report", str(folder), "--watch", *(["-o", str(page)] if to_file else [])]) == 0
    assert "has ended" in capsys.readouterr().out
    assert page.exists() is to_file
    if to_file:
        text = page.read_text(encoding="utf-8")
        assert "8 of 9576 architectures tried" in text and 'http-equiv="refresh"' not in text


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ctrl_c_ends_it_cleanly(tmp_path: Path, name: str) -> None:
    process = subprocess.Popen(
        [*ARCHON, "report", str(tmp_path / "out"), "--watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # or a background job's is ignored
    )
    assert process.stdout
    line = process.stdout.readline()  # the folder is not there yet
    assert re.match(r"http://127\.0\.0\.1:\d+/ follows the search in ", line)
    process.send_signal(signal.Signals[name])
    out, said = process.communicate(timeout=120)
    assert process.returncode == 0 and not out
    assert said == "archon: no longer watching; the search itself goes on\n"


def test_a_real_search_that_is_killed_and_goes_on(tmp_path: Path) -> None:
    """Two real commands beside each other: the page is there from the first eval on, and is the report at the end."""
    folder, page = tmp_path / "out", tmp_path / "page.html"
    (tmp_path / "space.yaml").write_text(json.dumps(SPACE))
    command = [*ARCHON, *SEARCH.split(), "--space", str(tmp_path / "space.yaml"), "--trials", "2", "--finalists", "1"]
    command += ["--confirm-epochs", "1", "-o", str(folder)]
    watch = subprocess.Popen(
        [*ARCHON, "report", str(folder), "--watch", "-o", str(page)], stdout=subprocess.PIPE, text=True
    )
    search = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def has_tried() -> bool:
        reader = JournalReader(folder / "search.jsonl")
        return any(line.get("result", {}).get("key", "").startswith("search/0/") for line in reader.read_new())

    def shows(text: str) -> bool:
        return page.exists() and text in page.read_text(encoding="utf-8")

    try:
        wait_until(lambda: has_tried() or search.poll() is not None)
        search.kill()
        search.wait()
        wait_until(lambda: shows("The same command goes on where it was."))
        assert main(["report", str(folder), "-o", str(tmp_path / "r.json")]) == 0
        report = json.loads((tmp_path / "r.json").read_text())
        labels = {system["label"] for bench in report["benches"] for system in bench["systems"]}
        assert {"sim/gpt-4o", "sim/gpt-4o as fuser", "sim/qwen2-72b-instruct"} <= labels
        names = {trial["name"] for trial in report["searches"][0]["trials"]}
        assert names and names <= labels and all(name.startswith("g") for name in names)
        assert len(report["searches"][0]["ranking"]) == 2
        subprocess.run(command, check=True, capture_output=True, timeout=200)
        out, _ = watch.communicate(timeout=60)
        assert watch.returncode == 0 and "has ended" in out
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["trials"] - summary["free_trials"] == 2
        assert shows(f"{summary['trials']} of 13 architectures tried") and not shows('http-equiv="refresh"')
    finally:
        for process in (search, watch):
            process.kill()
            process.wait()


def test_threads_of_the_server_are_gone_afterwards(tmp_path: Path) -> None:
    before = threading.active_count()
    watched = WatchedSearch(tmp_path)
    watched.refresh()
    with WatchServer(watched) as server:
        assert ask(server, "/")[0] == 200
    assert threading.active_count() == before
