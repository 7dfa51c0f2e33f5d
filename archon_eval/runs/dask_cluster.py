"""Runs calls on a Dask cluster with which nothing is shared: files go there by value, and logs come back so.

    with DaskCluster("tcp://10.0.0.1:8786") as cluster:
        cluster.require(WorkerCheck("archon_eval.search.worker_check:list_missing", {...}))
        future = cluster.submit(RemoteCall("trial 1", "archon_eval.runs.eval_worker:answer_job", args, log_dir="logs"))

Every worker is checked before its first call. One that lacks something is named once, with what it lacks, and gets no
calls. Each call goes to one worker that is chosen here, so that a lost worker's calls are known to be lost: their
futures raise WorkerLostError, and whoever asked decides whether they may run again.
"""

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

from archon_eval._notes import show_note
from archon_eval.errors import ArchonError, DataError, SearchError, WorkerLostError
from archon_eval.runs.dask_connection import POLL_SECONDS, DaskConnection
from archon_eval.runs.dask_worker import CHUNK_BYTES, FOLDER_MARK, replace_texts
from archon_eval.runs.file_bundle import BUNDLE_MARK, FileBundle
from archon_eval.runs.log_folder import LogFolder, describe_failure
from archon_eval.runs.worker_probe import probe

WORKER_WAIT_SECONDS = 120.0
"""How long calls wait for a worker where there is none any more: a nanny starts another in seconds."""
OTHERS_WAIT_SECONDS = 5.0
"""How long they wait for another where none that is there can run them."""
RECHECK_SECONDS = 30.0
"""Seconds after which a worker that lacked something is asked again: a full disk, say, may be mended."""
CLOSE_SECONDS = 5.0
"""How long the end waits for workers to tidy up; they do it by themselves later."""
EXCHANGE_SECONDS = 0.2
"""Between two times that messages of a call are fetched."""
MAX_AT_ONCE = 1_000
"""Workers that are asked at once."""


class MessageBox:
    """Messages to and from a call while it runs; they take up to EXCHANGE_SECONDS."""

    def __init__(self, on_message: Callable[[Mapping[str, Any]], None]) -> None:
        """
        Args:
            on_message: called with what the call says, in one thread.
        """
        self.on_message = on_message
        self._outbox: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()

    def send(self, message: Mapping[str, Any]) -> None:
        """Tell the call, from any thread."""
        self._outbox.put(message)

    def take(self) -> list[Mapping[str, Any]]:
        """What is to be sent."""
        return [self._outbox.get() for _ in range(self._outbox.qsize())]


@dataclass(frozen=True)
class RemoteCall:
    """A function of this package that runs in a process of a worker."""

    key: str
    """For messages."""
    function: str
    """`module:name`; it takes a mapping and returns what JSON can hold."""
    args: Mapping[str, Any]
    """The mapping. `FOLDER_MARK` in a text is the call's own folder: files that it leaves there come back."""
    bundle: FileBundle = field(default_factory=FileBundle)
    """Unpacked in the folder in which the function runs."""
    log_dir: str = "logs"
    """The path or address where the files go that come back; what it returns names them there."""
    messages: MessageBox | None = None
    """Where it is to be told something while it runs, or to say something."""


@dataclass(frozen=True)
class WorkerCheck:
    """What every worker must pass."""

    function: str
    """As of a call; it returns a list of what is missing, in words."""
    args: Mapping[str, Any] = field(default_factory=dict)
    bundle: FileBundle = field(default_factory=FileBundle)
    packages: tuple[str, ...] = ()
    """Distributions whose versions are compared with those here."""


@dataclass(eq=False)
class _Worker:
    address: str
    slots: int
    state: Literal["new", "checking", "ready", "refused"] = "new"
    name: str = ""
    """Its host and address, once they are known."""
    instance: str = ""
    bundles: set[str] = field(default_factory=set)
    running: int = 0
    lost: bool = False
    next_check: float = math.inf
    """When one that was refused is asked again, by the monotonic clock."""


@dataclass(frozen=True, eq=False)
class _Submitted:
    call: RemoteCall
    future: "Future[Any]"

    def fail(self, error: Exception) -> None:
        with suppress(InvalidStateError):  # it was cancelled, or has ended
            self.future.set_exception(error)


class DaskCluster:
    """The workers at a scheduler's address. A worker runs as many calls at once as it has threads."""

    def __init__(self, address: str, *, say: Callable[[str], None] = show_note) -> None:
        """
        Args:
            address: such as tcp://10.0.0.1:8786.
            say: told what a user should know.

        Raises:
            SearchError: Dask is not installed, or there is no cluster.
        """
        self._connection, self._tell, self._driver = DaskConnection(address), say, uuid4().hex
        self.notes: list[str] = []
        """What was said."""
        self._checks: list[WorkerCheck] = []
        self._folders: dict[str, LogFolder] = {}
        # what follows is changed under the lock alone
        self._lock = threading.Condition()
        self._workers: dict[str, _Worker] = {}
        self._refused: dict[str, str] = {}
        self._waiting: list[_Submitted] = []
        self._usable, self._was_ready, self._closed = time.monotonic(), False, False
        self._threads = ThreadPoolExecutor(MAX_AT_ONCE, "archon-dask")
        self._dispatcher = threading.Thread(target=self._dispatch, daemon=True)
        self._dispatcher.start()

    def require(self, check: WorkerCheck) -> None:
        """Let only workers that pass a check run what is submitted; to be called before anything is."""
        self._checks.append(check)

    def submit(self, call: RemoteCall) -> "Future[Any]":
        """What the function returns.

        The future raises WorkerLostError when the worker died or began anew, SearchError when no worker can run it or
        the cluster is lost, and DataError when a log cannot be written.
        """
        submitted = _Submitted(call, Future())
        with self._lock:
            self._waiting.append(submitted)
            self._lock.notify_all()
        return submitted.future

    def close(self) -> None:
        """End what runs there, and leave nothing behind."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        self._dispatcher.join()
        for submitted in self._waiting:
            submitted.fail(WorkerLostError("the cluster was closed"))
        self._threads.shutdown(wait=True, cancel_futures=True)
        ends = time.monotonic() + CLOSE_SECONDS
        for worker in self._workers.values():
            if worker.instance:
                with suppress(WorkerLostError, SearchError):
                    self._connection.ask(
                        worker.address, self._build_request("release"), lambda: time.monotonic() > ends
                    )
        self._connection.close()

    def __enter__(self) -> "DaskCluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def say(self, text: str) -> None:
        """Tell the user something, once."""
        with self._lock:
            if text in self.notes:
                return
            self.notes.append(text)
        self._tell(text)

    def _dispatch(self) -> None:
        """Until the end: count the workers, check new ones, and give calls to those that are free."""
        while not self._closed:
            try:
                found = self._connection.list_workers()
            except SearchError as exc:
                self._fail_waiting(exc)
                found = {}
            with self._lock:
                if found is not None:
                    self._update_workers(found)
                problem = self._find_problem()
            if problem:
                self._fail_waiting(problem)
            until = time.monotonic() + POLL_SECONDS
            while not self._closed and (left := until - time.monotonic()) > 0:
                with self._lock:
                    self._assign()
                    self._lock.wait(left)

    def _update_workers(self, found: Mapping[str, int]) -> None:
        for address in self._workers.keys() - found.keys():
            self._workers.pop(address).lost = True
        for address in found.keys() - self._workers.keys():
            self._workers[address] = _Worker(address, max(1, found[address]))

    def _find_problem(self) -> SearchError | None:
        """Why what is waiting cannot run; None where it can, or may soon."""
        now, where = time.monotonic(), f"the Dask cluster at {self._connection.address}"
        if not self._waiting or any(worker.state != "refused" for worker in self._workers.values()):
            self._usable = now
            return None
        missing = not self._workers or self._was_ready
        if now - self._usable < (WORKER_WAIT_SECONDS if missing else OTHERS_WAIT_SECONDS):
            return None
        refused = "; ".join(f"{worker.name}: {self._refused[worker.address]}" for worker in self._workers.values())
        return SearchError(f"no worker of {where} can run this: {refused}" if refused else f"{where} has no worker")

    def _fail_waiting(self, error: Exception) -> None:
        with self._lock:
            failed, self._waiting = self._waiting, []
        for submitted in failed:
            submitted.fail(error)

    def _assign(self) -> None:
        if not self._waiting or self._closed:
            return
        for worker in self._workers.values():
            if worker.state == "new":
                worker.state = "checking"
                self._threads.submit(self._check, worker)
            elif worker.state == "refused" and time.monotonic() >= worker.next_check:
                worker.next_check = math.inf  # it stays refused meanwhile, so that nobody waits for it in vain
                self._threads.submit(self._check, worker)
            while self._waiting and worker.state == "ready" and worker.running < worker.slots:
                worker.running += 1
                self._threads.submit(self._run, worker, self._waiting.pop(0))

    def _check(self, worker: _Worker) -> None:
        """Find out whether a worker may get calls, and say it once if not; where that cannot be found out, later.

        One that lacked something is asked again now and then, and said to get calls once it lacks nothing.
        """
        reason = None
        try:
            reason = self._find_missing(worker)
        except WorkerLostError as exc:
            reason = None if worker.lost or self._closed else str(exc)
        except SearchError:  # the cluster is lost, which the dispatcher finds out, or it forgot what was asked
            pass
        except Exception as exc:  # noqa: BLE001 (a thread's exception would be lost)
            reason = f"{type(exc).__name__}: {exc}"
        if reason:
            self._refused[worker.address] = reason
            self.say(f"the Dask worker {worker.name} gets no evals: {reason}")
        with self._lock:
            was_refused, worker.next_check = worker.state == "refused", time.monotonic() + RECHECK_SECONDS
            if reason is None:  # without a word, so that the dispatcher looks again at its own pace
                worker.state = "refused" if was_refused else "new"
                return
            worker.state = "refused" if reason else "ready"
            self._was_ready |= not reason
            self._lock.notify_all()
        if was_refused and not reason:
            self.say(f"the Dask worker {worker.name} gets evals now: it has what it lacked")

    def _find_missing(self, worker: _Worker) -> str:
        """What a worker lacks; empty where it lacks nothing."""
        worker.name = worker.name or worker.address
        packages = ("inspect-ai", *(name for check in self._checks for name in check.packages))
        here: dict[str, Any] = probe(packages)  # type: ignore[no-untyped-call]
        said = self._connection.probe(worker.address, packages, self._tell_lost(worker))
        worker.name = f"{said['host']} ({worker.address})"
        if said.get("version", here["version"]) != here["version"]:
            return f"it has archon-eval {said['version']}, and here it is {here['version']}"
        if said["problem"]:
            return str(said["problem"])
        for other, own in list_differences(said, here):
            self.say(f"the Dask worker {worker.name} has {other}, and here {own}")
        for number, check in enumerate(self._checks):
            call = RemoteCall(f"check {number}", check.function, check.args, check.bundle)
            if missing := self._execute(worker, call):
                return "; ".join(missing)
        return ""

    def _run(self, worker: _Worker, submitted: _Submitted) -> None:
        try:
            value = self._execute(worker, submitted.call)
            with suppress(InvalidStateError):
                submitted.future.set_result(value)
        except WorkerLostError as exc:
            if not self._closed:
                self.say(f"{exc}, and {submitted.call.key} with it")
            submitted.fail(exc)
        except Exception as exc:  # noqa: BLE001 (whoever asked must hear of it)
            submitted.fail(exc)
        finally:
            with self._lock:
                worker.running -= 1
                self._lock.notify_all()

    def _execute(self, worker: _Worker, call: RemoteCall) -> Any:
        """What a call returns, with its files at their place."""
        while True:
            if call.bundle.digest not in worker.bundles:
                self._send_bundle(worker, call.bundle)
            id = uuid4().hex
            with self._exchange(worker, id, call.messages):
                reply = self._ask(
                    worker, "run", bundle=call.bundle.digest, function=call.function, args=dict(call.args), call=id
                )
            if reply["has_bundle"]:
                if call.messages is not None:
                    for message in reply["messages"]:
                        call.messages.on_message(message)
                return self._take_files(worker, call, reply)
            worker.bundles.clear()  # it was idle for long, and has tidied up

    @contextmanager
    def _exchange(self, worker: _Worker, id: str, box: MessageBox | None) -> Iterator[None]:
        """Within the context messages go to and fro."""
        if box is None:
            yield
            return
        ended = threading.Event()

        def run() -> None:
            kept: list[Mapping[str, Any]] = []
            while not ended.wait(EXCHANGE_SECONDS):
                kept += box.take()
                said = self._connection.exchange(worker.address, {"call": id, "messages": kept})
                if said is not None:
                    kept = []
                    for message in said:
                        box.on_message(message)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _send_bundle(self, worker: _Worker, bundle: FileBundle) -> None:
        for offset in range(0, len(bundle.data), CHUNK_BYTES):
            part, size = bundle.data[offset : offset + CHUNK_BYTES], len(bundle.data)
            self._ask(worker, "prepare", bundle=bundle.digest, data=part, offset=offset, size=size)
        worker.bundles.add(bundle.digest)

    def _take_files(self, worker: _Worker, call: RemoteCall, reply: Mapping[str, Any]) -> Any:
        names, whole = {}, True
        for name, size, start in reply["files"]:
            whole = whole and len(start) == size
            chunks = self._read_file(worker, reply["folder"], name, size=size, start=start)
            try:
                names[f"{FOLDER_MARK}/{name}"] = self._open_folder(call.log_dir).add(name, chunks)
            except ArchonError:
                raise
            except Exception as exc:  # whatever a file system of somebody else's raises
                raise DataError(describe_failure(call.log_dir, exc)) from exc
        if not whole:
            self._ask(worker, "read", folder=reply["folder"], name="")
        longest = sorted(names, key=len, reverse=True)
        # the bundle's folder there is the folder where the command was typed here
        return replace_texts(reply["value"], {mark: names[mark] for mark in longest} | {f"{BUNDLE_MARK}/": ""})

    def _read_file(self, worker: _Worker, folder: str, name: str, *, size: int, start: bytes) -> Iterator[bytes]:
        yield start
        had = len(start)
        while had < size:
            data = self._ask(worker, "read", folder=folder, name=name, offset=had)["data"]
            if not data:
                raise WorkerLostError(f"the Dask worker {worker.name}: {name} is shorter than it was")
            had += len(data)
            yield data

    def _open_folder(self, place: str) -> LogFolder:
        with self._lock:
            if place not in self._folders:
                self._folders[place] = LogFolder(place)
            return self._folders[place]

    def _ask(self, worker: _Worker, do: str, **more: Any) -> dict[str, Any]:
        request = {**self._build_request(do), **more, "instance": worker.instance}
        reply = self._connection.ask(worker.address, request, self._tell_lost(worker))
        worker.instance = str(reply["instance"])
        return reply

    def _build_request(self, do: str) -> dict[str, Any]:
        return {"do": do, "driver": self._driver}

    def _tell_lost(self, worker: _Worker) -> Callable[[], bool]:
        return lambda: worker.lost or self._closed


def list_differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is not the same on two machines by their probes, in words: `Python 3.11.2`, there and here."""
    versions = [{"Python": said["python"], **said["versions"]} for said in (there, here)]
    for name in versions[1]:
        pair = [known.get(name, "") for known in versions]
        if pair[0] != pair[1]:
            yield (
                (f"{name} {pair[0]}" if pair[0] else f"no {name}"),
                (f"it is {pair[1]}" if pair[1] else "there is none"),
            )
