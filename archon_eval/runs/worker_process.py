"""A warm process that evaluates: it runs jobs one after the other, and ends when its parent does.

    with WorkerProcess() as worker:                    # from any thread
        worker.run(job)
        worker.call("archon_eval.runs.eval_worker:answer_job", asdict(job))

Everything that a process paid for is in the call store, so a job whose process died may be run again.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from archon_eval.errors import WorkerLostError
from archon_eval.runs.child_process import ChildProcess
from archon_eval.runs.eval_worker import EvalJob, EvalResult
from archon_eval.runs.worker_loop import END_SECONDS

ANSWER_JOB = "archon_eval.runs.eval_worker:answer_job"


class WorkerProcess:
    """Runs jobs in a process of its own; `run` may be called from any thread, and waits its turn."""

    def __init__(self, folder: str | os.PathLike[str] | None = None, env: Mapping[str, str] | None = None) -> None:
        """
        Args:
            folder: the working directory of the process, where it is not this one's.
            env: environment variables besides this process's.
        """
        self._folder, self._env = folder, env
        self._request_lock, self._start_lock = threading.Lock(), threading.Lock()
        self._process: ChildProcess | None = None
        self._closed = False

    def run(self, job: EvalJob) -> EvalResult:
        """The eval's result.

        Raises:
            WorkerLostError: as `call`.
        """
        return EvalResult(**self.call(ANSWER_JOB, asdict(job)))

    def call(
        self,
        function: str,
        args: Mapping[str, Any],
        on_message: Callable[[Mapping[str, Any]], None] = lambda message: None,
    ) -> Any:
        """What a function returns that runs in the process, in its main thread.

        Args:
            function: `module:name` of a function of this package; it takes a mapping and returns what JSON can hold.
            args: the mapping, of what JSON can hold.
            on_message: called with what the function sends meanwhile (`worker_loop.CHANNEL`).

        Raises:
            WorkerLostError: the process died, and the next call starts a new one; or the worker is closed.
        """
        with self._request_lock:
            process = self._ensure_started()
            line = process.ask(json.dumps({"function": function, "args": args}))
            while line:
                if "value" in (reply := json.loads(line)):
                    return reply["value"]
                on_message(reply["message"])
                line = process.read_line()
            reason = process.describe_end()
            self._discard()
            raise WorkerLostError(f"a worker process {reason}")

    def send(self, message: Mapping[str, Any]) -> None:
        """Tell the function that runs in the process, from any thread."""
        if (process := self._process) is not None:
            process.send(json.dumps({"message": message}))

    def _ensure_started(self) -> ChildProcess:
        with self._start_lock:
            if self._closed:
                raise WorkerLostError("the worker is closed")
            if self._process is None:
                self._process = ChildProcess(
                    ["-P", "-m", "archon_eval.runs.worker_loop"], replies=True, env=self._env, folder=self._folder
                )
            return self._process

    def close(self) -> None:
        """End the process for good, also in the middle of an eval; one that does nothing closes what it has open."""
        with self._start_lock:
            self._closed = True
            if self._process is not None:
                if self._request_lock.acquire(blocking=False):
                    try:
                        self._process.stop(END_SECONDS)
                    finally:
                        self._request_lock.release()
                self._process.kill()
        with self._request_lock:  # whoever waits for an answer has heard of the end
            self._discard()

    def _discard(self) -> None:
        with self._start_lock:
            if self._process is not None:
                self._process.close()
                self._process = None

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
