"""What runs on a worker of a Dask cluster: it unpacks files, and runs calls in warm processes of its own.

The driver (`archon_eval.runs.dask_cluster`) sends requests as bytes to `answer`, and gets bytes back, so that the
scheduler needs nothing of this package. Everything is in private temporary folders, which go at the driver's end, and
some time after that of a driver that was killed.
"""

import os
import pickle
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from archon_eval.errors import WorkerLostError
from archon_eval.runs.file_bundle import BUNDLE_MARK, MODULES, unpack
from archon_eval.runs.worker_process import WorkerProcess

FOLDER_MARK = "@@archon-folder@@"
"""Stands for a call's own folder in what goes to it and comes from it. Files that it leaves there go to the driver."""
CHUNK_BYTES = 16 * 2**20
"""Of files, in one reply."""
IDLE_SECONDS = 120.0
"""After so long without a request the processes and folders of a driver go; they are made anew if it comes back."""
POLL_SECONDS = 0.5
INSTANCE = uuid4().hex
"""Of this process: a worker that begins anew at the same address is another."""


@dataclass
class _Session:
    """What one driver has here."""

    folder: Path
    bundles: dict[str, Path] = field(default_factory=dict)
    """Digest -> the folder of the unpacked bundle."""
    idle: dict[str, list[WorkerProcess]] = field(default_factory=dict)
    """Digest -> warm processes without work."""
    busy: int = 0
    used: float = field(default_factory=time.monotonic)

    def close(self) -> None:
        for process in (process for idle in self.idle.values() for process in idle):
            process.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class _Mailbox:
    """Messages of a call that runs."""

    process: WorkerProcess
    outgoing: list[Mapping[str, Any]] = field(default_factory=list)


_SESSIONS: dict[str, _Session] = {}
_MAILBOXES: dict[str, _Mailbox] = {}
"""Call -> its messages."""
_LOCK = threading.Lock()


def answer(request: bytes) -> bytes:
    """Answer one request of a driver: a pickled mapping with `do`, `driver` and what that takes.

    The reply is pickled too. Its `lost` says why the work must be done anew, here or elsewhere.
    """
    asked = pickle.loads(request)
    if (asked.get("instance") or INSTANCE) != INSTANCE:
        return pickle.dumps({"lost": "it began anew"})
    try:
        reply = _ACTIONS[asked["do"]](asked)
    except Exception as exc:  # noqa: BLE001 (a full disk, say: the driver must hear of it)
        reply = {"lost": f"{type(exc).__name__}: {exc}"}
    return pickle.dumps({"instance": INSTANCE, **reply})


def exchange(request: bytes) -> bytes:
    """Give messages to a call that runs here and take those that it has sent since; on the worker's own thread."""
    asked = pickle.loads(request)
    mailbox = _MAILBOXES.get(asked["call"])
    if mailbox is None:  # it has not begun, or has ended: its reply has the rest
        return pickle.dumps(None)
    for message in asked["messages"]:
        mailbox.process.send(message)
    count = len(mailbox.outgoing)
    taken = mailbox.outgoing[:count]
    del mailbox.outgoing[:count]
    return pickle.dumps(taken)


def _prepare(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Whether the bundle is here; its archive comes in several parts."""
    digest = asked["bundle"]
    with _use_session(asked["driver"]) as session:
        if digest not in session.bundles and asked["data"]:
            part = session.folder / f"{digest}.part"
            with part.open("r+b" if asked["offset"] else "wb") as stream:
                stream.seek(asked["offset"])
                stream.write(asked["data"])
            if part.stat().st_size == asked["size"]:
                folder = Path(tempfile.mkdtemp(prefix="bundle-", dir=session.folder))
                unpack(part.read_bytes(), folder)
                part.unlink()
                session.bundles[digest] = folder
        return {"has_bundle": digest in session.bundles}


def _run(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a call returned, and the first bytes of the files that it left."""
    with _use_session(asked["driver"]) as session:
        bundle = session.bundles.get(asked["bundle"])
        if bundle is None:
            return {"has_bundle": False}
        folder = Path(tempfile.mkdtemp(prefix="call-", dir=session.folder))
        args = replace_texts(asked["args"], {BUNDLE_MARK: str(bundle), FOLDER_MARK: str(folder)})
        try:
            with _use_process(session, asked["bundle"], bundle) as process, _end_when_unwanted(process):
                mailbox = _MAILBOXES[asked["call"]] = _Mailbox(process)
                value = process.call(asked["function"], args, mailbox.outgoing.append)
        except WorkerLostError as exc:
            shutil.rmtree(folder, ignore_errors=True)
            return {"lost": str(exc)}
        finally:
            _MAILBOXES.pop(asked["call"], None)
        files, left = [], CHUNK_BYTES
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            with path.open("rb") as stream:
                start = stream.read(left)
            left -= len(start)
            files.append((path.relative_to(folder).as_posix(), path.stat().st_size, start))
        value = replace_texts(value, {str(folder): FOLDER_MARK, str(bundle): BUNDLE_MARK})
        if sum(size for _, size, _ in files) == CHUNK_BYTES - left:
            shutil.rmtree(folder, ignore_errors=True)
        more = {"messages": mailbox.outgoing, "files": files, "folder": folder.name}
        return {"has_bundle": True, "value": value, **more}


def _read(asked: Mapping[str, Any]) -> dict[str, Any]:
    """More bytes of a file that a call left; without a name the call's folder is removed."""
    with _use_session(asked["driver"]) as session:
        folder = session.folder / asked["folder"]
        if not asked["name"]:
            shutil.rmtree(folder, ignore_errors=True)
            return {}
        try:
            with (folder / asked["name"]).open("rb") as stream:
                stream.seek(asked["offset"])
                return {"data": stream.read(CHUNK_BYTES)}
        except OSError as exc:
            return {"lost": str(exc)}


def _release(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The driver is at its end."""
    with _LOCK:
        session = _SESSIONS.pop(asked["driver"], None)
    if session:
        session.close()
    return {}


_ACTIONS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "prepare": _prepare,
    "run": _run,
    "read": _read,
    "release": _release,
}


@contextmanager
def _use_session(driver: str) -> Iterator[_Session]:
    from distributed import get_worker

    parent = str(get_worker().local_directory)  # Dask removes it when the worker ends, also after a kill
    with _LOCK:
        if driver not in _SESSIONS:
            if not _SESSIONS:
                threading.Thread(target=_remove_idle, daemon=True).start()
            _SESSIONS[driver] = _Session(Path(tempfile.mkdtemp(prefix="archon-", dir=parent)))
        session = _SESSIONS[driver]
        session.busy += 1
    try:
        yield session
    finally:
        with _LOCK:
            session.busy -= 1
            session.used = time.monotonic()


def _remove_idle() -> None:
    """Close the sessions of drivers that ask for nothing any more; ends with the last."""
    while True:
        time.sleep(IDLE_SECONDS / 10)
        with _LOCK:
            old = [
                driver
                for driver, session in _SESSIONS.items()
                if not session.busy and time.monotonic() - session.used > IDLE_SECONDS
            ]
            closing = [_SESSIONS.pop(driver) for driver in old]
            is_last = not _SESSIONS
        for session in closing:
            session.close()
        if is_last:
            return


@contextmanager
def _use_process(session: _Session, digest: str, bundle: Path) -> Iterator[WorkerProcess]:
    """A warm process that runs in the folder of the bundle; one that was closed is not used again."""
    with _LOCK:
        idle = session.idle.setdefault(digest, [])
        process = idle.pop() if idle else WorkerProcess(bundle, _build_environment(bundle))
    yield process
    with _LOCK:
        idle.append(process)


def _build_environment(bundle: Path) -> dict[str, str]:
    """PYTHONPATH with the bundle's modules before the worker's own, which may begin in the worker's folder."""
    modules = [str(bundle / MODULES)] if (bundle / MODULES).is_dir() else []
    own = [str(Path(place).absolute()) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    return {"PYTHONPATH": os.pathsep.join([*modules, *own])} if modules or own else {}


@contextmanager
def _end_when_unwanted(process: WorkerProcess) -> Iterator[None]:
    """Within the context the process is ended when nobody waits for the running Dask task any more.

    A driver that was killed wants nothing, and what its eval would go on to call is paid.
    """
    from distributed import get_worker

    worker: Any = get_worker()
    key, finished = worker.get_current_task(), threading.Event()

    def watch() -> None:
        while not finished.wait(POLL_SECONDS):
            state = getattr(worker.state.tasks.get(key), "state", "released")
            if state not in ("executing", "long-running"):
                process.close()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


def replace_texts(value: Any, names: Mapping[str, str]) -> Any:
    """The value with each of these texts replaced wherever it is in a text."""
    if isinstance(value, str):
        for old, new in names.items():
            value = value.replace(old, new)
        return value
    if isinstance(value, Mapping):
        return {key: replace_texts(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_texts(item, names) for item in value]
    return value
