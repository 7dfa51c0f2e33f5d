"""Follows a running search as a page: written to a file again and again, or served to browsers on this machine.

    watched = WatchedSearch(Path("out"))
    while not watched.refresh().finished: ...
    with WatchServer(watched, port=0) as server:
        print(server.url)

The server answers for two paths, the page and its state, and for nothing else. It listens on the loopback address, and
refuses requests that name another host, so that no page from elsewhere can read it through a name of its own.
"""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from archon_eval.errors import DataError
from archon_eval.report.html.page import PageContent, render_content, render_page
from archon_eval.report.report_data import ReportData, read_report_data
from archon_eval.report.search_follower import SearchFollower
from archon_eval.report.search_results import build_unfinished_search, is_search
from archon_eval.runs.search_journal import JOURNAL_NAME

ADDRESS = "127.0.0.1"
VIEWER_SECONDS = 10.0
"""A viewer who has not asked for so long has gone: a page asks every 1.5 seconds."""
LINGER_SECONDS = 30.0
"""How long the finished report waits for viewers to load it."""
REFRESH_SECONDS = 5
"""How often a browser reads a page again that is written to a file."""
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; img-src data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class WatchState:
    """What the page shows by now; it is rendered once, however many look at it."""

    version: int
    """It rises with each change."""
    data: ReportData
    finished: bool = False
    """Whether the search has ended; `data` is then its whole report."""
    stage: str = ""
    trials: int = 0
    max_trials: float | None = None

    @cached_property
    def content(self) -> PageContent:
        """For a page that is open already."""
        return render_content(self.data)

    @cached_property
    def page(self) -> str:
        """The page as it is served."""
        return render_page(self.data, live_version=None if self.finished else self.version)


class WatchedSearch:
    """A search's folder, and the page that shows it."""

    def __init__(self, folder: Path, read_options: Mapping[str, Any] = {}) -> None:
        """
        Args:
            read_options: of `read_report_data`, for the report at the end.
        """
        self.folder, self._read_options = folder, read_options
        self._follower = SearchFollower(folder)
        self._shown = ""
        self.state = WatchState(0, ReportData((), ()))

    def refresh(self) -> WatchState:
        """Look whether anything is new, and what is to be shown now.

        Raises:
            DataError: the search has ended, and its files cannot be read.
        """
        if self.state.finished:
            return self.state
        changed = self._follower.update()
        process, version = self._follower.find_state(), self.state.version + 1
        if self._has_finished(process):
            self.state = WatchState(version, read_report_data([self.folder], **self._read_options), finished=True)
        elif changed or process != self._shown:
            progress = self._follower.build_progress()
            search = build_unfinished_search(self.folder, progress)
            data = ReportData((), (search,), search.problems)
            trials = progress.chosen_trials
            stage = progress.stage if process == "running" else f"{process}, {progress.stage or 'nothing yet'}"
            self.state = WatchState(version, data, stage=stage, trials=trials, max_trials=progress.max_trials)
        self._shown = process
        return self.state

    def _has_finished(self, process: str) -> bool:
        """Whether the files of the end are there, and not those of an earlier end after which the search went on."""
        if not is_search(self.folder):
            return False
        if process != "ended":
            return not self._follower.says_how_it_ends
        summary, journal = self.folder / "summary.json", self.folder / JOURNAL_NAME
        return summary.stat().st_mtime_ns >= journal.stat().st_mtime_ns

    def render_file(self) -> str:
        """The page for a file, which a browser reads again while the search runs."""
        return render_page(self.state.data, refresh_seconds=0 if self.state.finished else REFRESH_SECONDS)


def check_folder(folder: Path) -> None:
    """
    Raises:
        DataError: no search is there, nor can one begin there.
    """
    if folder.is_dir():
        if not (folder / JOURNAL_NAME).exists() and not is_search(folder) and any(folder.iterdir()):
            raise DataError(f"{folder}: no search: there is no {JOURNAL_NAME}; --watch takes the folder of one (-o)")
    elif folder.exists():
        raise DataError(f"{folder}: --watch takes the folder of a search (its -o), not a file")
    elif not folder.absolute().parent.is_dir():
        raise DataError(f"{folder}: no such folder, and none that it could be in: --watch takes the folder of a search")


@dataclass
class _Viewers:
    """Who looks at the page, to let all of them have the report before the server ends."""

    seen: dict[str, float] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    loads: int = 0
    """Times that the finished report was sent."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, viewer: str, finished: bool) -> None:
        with self.lock:
            now = time.monotonic()
            self.seen = {name: at for name, at in self.seen.items() if now - at < VIEWER_SECONDS}
            self.seen[viewer] = now
            if finished:
                self.told.add(viewer)

    @property
    def all_have_it(self) -> bool:
        with self.lock:
            now = time.monotonic()
            active = {name for name, at in self.seen.items() if now - at < VIEWER_SECONDS}
            return active <= self.told and self.loads >= len(self.told)


class WatchServer:
    """Serves the page of a watched search while it is open."""

    def __init__(self, watched: WatchedSearch, port: int = 0) -> None:
        """
        Args:
            port: 0 for a free one.

        Raises:
            DataError: the port cannot be had.
        """
        self._watched, self._viewers = watched, _Viewers()
        try:
            self._server = _Server((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as exc:
            raise DataError(
                f"--port {port}: {getattr(exc, 'strerror', None) or exc}; leave it out for a free port"
            ) from exc
        self._server.watched, self._server.viewers = watched, self._viewers
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for_viewers(self) -> None:
        """Return when everyone who looks has the finished report, or has had long enough for it."""
        deadline = time.monotonic() + LINGER_SECONDS
        while not self._viewers.all_have_it and time.monotonic() < deadline:
            time.sleep(0.1)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    """The end waits for replies that are being sent; each has a time limit."""
    watched: WatchedSearch
    viewers: _Viewers

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A viewer who went away is no error to speak of."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5
    server_version, sys_version = "archon", ""

    def do_GET(self) -> None:
        port = self.server.server_address[1]
        ending = "" if port == 80 else f":{port}"  # a browser leaves the usual one out
        if self.headers.get("Host", "") not in {name + ending for name in (ADDRESS, "localhost")}:
            self._send(403, "text/plain", f"this page is http://{ADDRESS}:{port}/\n")
            return
        url, state = urlsplit(self.path), self.server.watched.state
        if url.path == "/":
            self._send(
                200, "text/html", render_page(state.data, live_version=None if state.finished else state.version)
            )
            self.server.viewers.loads += state.finished
        elif url.path == "/state":
            asked = {name: values[0] for name, values in parse_qs(url.query).items()}
            self._send(200, "application/json", json.dumps(_dump_state(state, asked.get("version", ""))))
            self.server.viewers.note(asked.get("viewer", ""), state.finished)
        else:
            self._send(404, "text/plain", "there is only /\n")

    def _send(self, code: int, kind: str, text: str) -> None:
        content = text.encode("utf-8", "replace")
        self.send_response(code)
        for name, value in (
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(content))),
            ("Content-Security-Policy", _POLICY),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are nobody's news."""


def _dump_state(state: WatchState, known: str) -> dict[str, Any]:
    """What a page needs that shows the version `known`."""
    if state.finished or known == str(state.version):
        return {"version": state.version, "finished": state.finished}
    content = {"title": state.content.title, "content": state.content.html, "charts": state.content.charts}
    return {"version": state.version, "finished": False, **content}
