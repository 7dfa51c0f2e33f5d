"""A warm process that evaluates: it runs jobs one after the other, and ends when its parent does.

    with WorkerProcess() as worker:                    # from any thread
        worker.run(job)
        worker.call("archon_eval.runs.eval_worker:answer_job", asdict(job))

Everything that a process paid for is in the call store, so a job whose process died may be run again.
"""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from archon_eval.errors import WorkerLostError
from archon_eval.runs.child_process import ChildProcess
from archon_eval.runs.eval_worker import EvalJob, EvalResult

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

    def call(self, function: str, args: Mapping[str, Any]) -> Any:
        """What a function returns that runs in the process, in its main thread.

        Args:
            function: `module:name` of a function of this package; it takes a mapping and returns what JSON can hold.
            args: the mapping, of what JSON can hold.

        Raises:
            WorkerLostError: the process died, and the next call starts a new one; or the worker is closed.
        """
        with self._request_lock:
            process = self._ensure_started()
            if line := process.ask(json.dumps({"function": function, "args": args})):
                return json.loads(line)
            reason = process.describe_end()
            self._discard()
            raise WorkerLostError(f"a worker process {reason}")

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
        """End the process for good, also in the middle of an eval."""
        with self._start_lock:
            self._closed = True
            if self._process is not None:
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
