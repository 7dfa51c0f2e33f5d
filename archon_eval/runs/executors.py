"""Where evals run: worker processes on this machine, or an existing Dask cluster.

    with local(workers=2) as run:
        future = run(job)          # a concurrent.futures.Future of an EvalResult

A worker that dies takes nothing with it: the future raises WorkerLostError, and what the eval had paid for is in the
call store. Whoever knows the budget runs the job again.
"""

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from archon_eval.errors import ArchitectureError, SearchError
from archon_eval.runs.dask_cluster import DaskCluster, RemoteCall, WorkerCheck
from archon_eval.runs.dask_worker import FOLDER_MARK
from archon_eval.runs.eval_worker import EvalJob, EvalResult
from archon_eval.runs.file_bundle import FileBundle
from archon_eval.runs.job_files import list_modules, pack_job
from archon_eval.runs.worker_process import ANSWER_JOB, WorkerProcess

SubmitEval = Callable[[EvalJob], "Future[EvalResult]"]
"""Runs a job. The future raises WorkerLostError where its worker died in the middle, and SearchError where no worker
can run it."""


@contextmanager
def local(workers: int = 1) -> Iterator[SubmitEval]:
    """Runs jobs in that many warm processes of this machine."""
    if workers < 1:
        raise SearchError(f"workers={workers}: must be 1 or more")
    idle: queue.SimpleQueue[WorkerProcess] = queue.SimpleQueue()
    workers_started = [WorkerProcess() for _ in range(workers)]
    for worker in workers_started:
        idle.put(worker)

    def run(job: EvalJob) -> EvalResult:
        worker = idle.get()
        try:
            return worker.run(job)
        finally:
            idle.put(worker)

    pool = ThreadPoolExecutor(workers)
    try:
        yield lambda job: pool.submit(run, job)
    finally:
        for worker in workers_started:
            worker.close()
        pool.shutdown(wait=True, cancel_futures=True)


class DaskExecutor:
    """Runs jobs on a cluster; a `SubmitEval`. Tasks, components and further files go to the workers by value."""

    def __init__(self, cluster: DaskCluster) -> None:
        self.cluster = cluster
        self._start = Path.cwd()
        self._packed: dict[str, tuple[EvalJob, FileBundle]] = {}
        self._described: set[str] = set()

    def __call__(self, job: EvalJob) -> "Future[EvalResult]":
        """The job's result, whose log is in the job's `log_dir` here.

        Raises:
            DataError: a file that the job needs cannot be sent.
        """
        packed, bundle = self.pack(job)
        args = asdict(replace(packed, log_dir=FOLDER_MARK))
        plain = self.cluster.submit(RemoteCall(job.key, ANSWER_JOB, args, bundle, job.log_dir))
        result: Future[EvalResult] = Future()

        def convert(done: "Future[dict[str, object]]") -> None:
            if (error := done.exception()) is not None:
                result.set_exception(error)
            else:
                result.set_result(EvalResult(**done.result()))  # type: ignore[arg-type]

        plain.add_done_callback(convert)
        return result

    def require(self, check: WorkerCheck) -> None:
        """Let only workers that pass a check run jobs; to be called before the first."""
        self.cluster.require(check)

    def pack(self, job: EvalJob) -> tuple[EvalJob, FileBundle]:
        """The job for a worker, with its files as they were when one of its kind was first sent.

        Raises:
            DataError: a file cannot be sent.
        """
        try:
            modules = sorted({*list_modules(job.architecture or {})})
        except ArchitectureError:  # the job's result will say so
            modules = []
        kind = repr((job.task, job.solver_args, job.model_roles, job.prices, modules))
        if kind not in self._packed:
            packed, bundle = pack_job(job, self._start, modules)
            if bundle.digest not in self._described and (words := bundle.describe()):
                self.cluster.say(words)
            self._described.add(bundle.digest)
            self._packed[kind] = packed, bundle
        known, bundle = self._packed[kind]
        changed = {name: getattr(known, name) for name in ("task", "solver_args", "model_roles", "prices")}
        return replace(job, **changed), bundle


@contextmanager
def dask(address: str) -> Iterator[DaskExecutor]:
    """Runs jobs on the Dask cluster at an address such as tcp://10.0.0.1:8786, as many at once on a worker as it has
    threads. The cluster's workers need this package and the keys; nothing is shared with them but a call store.

    Raises:
        SearchError: Dask is not installed, or there is no cluster at the address.
    """
    with DaskCluster(address) as cluster:
        yield DaskExecutor(cluster)
