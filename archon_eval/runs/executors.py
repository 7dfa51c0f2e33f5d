"""Where evals run: worker processes on this machine, or an existing Dask cluster.

    with local(workers=2) as run:
        future = run(job)          # a concurrent.futures.Future of an EvalResult

A worker that dies takes nothing with it: its job is run again, and what it had paid for is in the call store.
"""

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from archon_eval.errors import SearchError, WorkerLostError
from archon_eval.runs.eval_worker import EvalJob, EvalResult
from archon_eval.runs.worker_process import WorkerProcess

MAX_ATTEMPTS = 3
"""How often a job whose worker dies is run before the trial counts as failed."""

SubmitEval = Callable[[EvalJob], "Future[EvalResult]"]


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
            return run_with_retries(worker, job)
        finally:
            idle.put(worker)

    pool = ThreadPoolExecutor(workers)
    try:
        yield lambda job: pool.submit(run, job)
    finally:
        for worker in workers_started:
            worker.close()
        pool.shutdown(wait=True, cancel_futures=True)


def run_with_retries(worker: WorkerProcess, job: EvalJob) -> EvalResult:
    """The job's result, from a new process if one dies; calls of a process that died count as paid."""
    why = ""
    for number in range(MAX_ATTEMPTS):
        try:
            result = worker.run(job)
        except WorkerLostError as exc:
            why = str(exc)
            continue
        return result.count_reused_as_paid() if number else result
    return EvalResult(job.key, error=f"given up after {MAX_ATTEMPTS} attempts: {why}")


@contextmanager
def dask(address: str) -> Iterator[SubmitEval]:
    """Runs jobs on the Dask cluster at an address such as tcp://10.0.0.1:8786; use one thread per worker.

    The cluster's workers need this package, the same keys, and a file system on which the search's folder is the same.

    Raises:
        SearchError: Dask is not installed, or there is no cluster at the address.
    """
    try:
        import distributed
    except ImportError as exc:
        raise SearchError("a Dask cluster needs: pip install 'archon-eval[search]'") from exc
    try:
        client: Any = distributed.Client(address, timeout=20, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as exc:
        raise SearchError(f"no Dask cluster at {address}: {exc}") from exc
    try:
        executor = client.get_executor(pure=False, retries=MAX_ATTEMPTS - 1)
        yield lambda job: _convert_dask_future(job, executor.submit(run_on_dask, job))
    finally:
        client.close()


def _convert_dask_future(job: EvalJob, future: "Future[EvalResult]") -> "Future[EvalResult]":
    """A job that Dask gives up because its workers keep dying has failed; without a cluster the search ends."""
    from distributed import KilledWorker

    converted: Future[EvalResult] = Future()

    def convert(future: "Future[EvalResult]") -> None:
        try:
            converted.set_result(future.result())
        except KilledWorker as exc:
            converted.set_result(EvalResult(job.key, error=f"given up by Dask: {exc}"))
        except Exception as exc:  # noqa: BLE001 (whatever it is, the search must hear of it)
            why = f"{type(exc).__name__} {exc}".strip()
            converted.set_exception(
                SearchError(f"the Dask cluster is lost ({why}): with one, the same command goes on where it was")
            )

    future.add_done_callback(convert)
    return converted


def run_on_dask(job: EvalJob) -> EvalResult:
    """The job in the warm process of the Dask worker this runs on, which ends with it."""
    from distributed import get_worker

    holder: Any = get_worker()
    worker = holder.__dict__.setdefault("archon_search_process", WorkerProcess())
    assert isinstance(worker, WorkerProcess)
    return account_for_crash(job, lambda: run_with_retries(worker, job))


def account_for_crash(job: EvalJob, run: Callable[[], EvalResult]) -> EvalResult:
    """The result of a run; reused calls count as paid when a worker died in the middle of the job before.

    A mark beside the logs, which every worker sees, says that the job is under way.
    """
    mark = Path(job.log_dir) / f".begun-{sha256(job.key.encode()).hexdigest()[:16]}"
    mark.parent.mkdir(parents=True, exist_ok=True)
    died = mark.exists()
    mark.touch()
    result = run()
    mark.unlink(missing_ok=True)
    return result.count_reused_as_paid() if died else result
