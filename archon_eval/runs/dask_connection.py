"""Asks single workers of a Dask cluster, in such a way that their scheduler needs nothing of this package.

    connection = DaskConnection("tcp://10.0.0.1:8786")
    connection.list_workers()                          # address -> threads
    connection.ask(worker, {"do": "prepare", ...})     # see `archon_eval.runs.dask_worker`

What is sent is bytes and two built-in functions. A task that is bound to one worker waits for that worker for ever, so
whoever asks says when the worker is lost.
"""

import pickle
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from archon_eval.errors import SearchError, WorkerLostError
from archon_eval.runs import worker_probe

CONNECT_SECONDS = 20
POLL_SECONDS = 0.5
"""How often a waiting thread looks whether the worker is lost."""
LOST_SECONDS = 30.0
"""How long the scheduler may be away."""
_ANSWER = "__import__('archon_eval.runs.dask_worker', fromlist=['answer']).answer(request)"
_EXCHANGE = "__import__('archon_eval.runs.dask_worker', fromlist=['exchange']).exchange(request)"
_PROBE = "(lambda names: (exec(source, names), names['probe'](packages))[1])({})"


class DaskConnection:
    """A client of a scheduler."""

    def __init__(self, address: str) -> None:
        """
        Raises:
            SearchError: Dask is not installed, or there is no cluster at the address.
        """
        try:
            import distributed
            import distributed.versions
        except ImportError as exc:
            raise SearchError("a Dask cluster needs: pip install 'archon-eval[search]'") from exc
        connect: Callable[..., Any] = distributed.Client
        try:
            with warnings.catch_warnings():  # the check of each worker says which versions differ
                warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)
                self._client = connect(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as exc:
            raise SearchError(f"no Dask cluster at {address}: {exc}") from exc
        self.address, self._seen = address, time.monotonic()

    def list_workers(self) -> Mapping[str, int] | None:
        """Worker -> its threads; None where the scheduler does not answer for now.

        Raises:
            SearchError: it has not answered for LOST_SECONDS.
        """
        try:
            found: Mapping[str, int] = self._client.sync(self._client.scheduler.ncores, callback_timeout=10)
        except Exception as exc:  # whatever Dask raises: it may come back
            if time.monotonic() - self._seen > LOST_SECONDS:
                raise self._make_lost_error(exc) from exc
            return None
        self._seen = time.monotonic()
        return found

    def probe(self, worker: str, packages: tuple[str, ...], is_lost: Callable[[], bool]) -> dict[str, Any]:
        """What `archon_eval.runs.worker_probe.probe` says on a worker.

        Raises:
            WorkerLostError, SearchError: as `ask`.
        """
        source = Path(worker_probe.__file__).read_text(encoding="utf-8")
        said: dict[str, Any] = self._evaluate(worker, _PROBE, {"source": source, "packages": packages}, is_lost)
        return said

    def ask(self, worker: str, request: Mapping[str, Any], is_lost: Callable[[], bool]) -> dict[str, Any]:
        """A worker's reply to a request.

        Args:
            is_lost: whether the worker is known to be gone.

        Raises:
            WorkerLostError: the worker is lost, or says that what was asked for is.
            SearchError: the cluster is lost.
        """
        reply: dict[str, Any] = pickle.loads(
            self._evaluate(worker, _ANSWER, {"request": pickle.dumps(dict(request))}, is_lost)
        )
        if "lost" in reply:
            raise WorkerLostError(f"the Dask worker {worker}: {reply['lost']}")
        return reply

    def exchange(self, worker: str, request: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
        """What `archon_eval.runs.dask_worker.exchange` says on a worker, whose threads may all be at work; None where
        the call does not run there, or nothing was heard."""
        names = {"request": pickle.dumps(dict(request))}
        try:
            replies = self._client.run(eval, _EXCHANGE, names, workers=[worker], on_error="return")
        except Exception:  # noqa: BLE001 (Dask's own: whoever waits for the call hears of a lost worker)
            return None
        reply = replies.get(worker)
        return pickle.loads(reply) if isinstance(reply, bytes) else None

    def _evaluate(self, worker: str, expression: str, names: Mapping[str, Any], is_lost: Callable[[], bool]) -> Any:
        from distributed import KilledWorker

        future = self._client.submit(
            eval, expression, dict(names), key=f"archon-{uuid4().hex}", workers=[worker], pure=False
        )
        try:
            while True:
                with suppress(TimeoutError):
                    return future.result(timeout=POLL_SECONDS)
                if is_lost():
                    raise WorkerLostError(f"the Dask worker {worker} was lost")
        except (WorkerLostError, KilledWorker) as exc:
            raise WorkerLostError(str(exc)) from exc
        except CancelledError as exc:
            raise self._make_lost_error(exc) from exc
        except Exception as exc:  # Dask's own, on the way there or back
            if self._client.status != "running":
                raise self._make_lost_error(exc) from exc
            raise WorkerLostError(f"the Dask worker {worker}: {type(exc).__name__}: {exc}") from exc
        finally:
            with suppress(Exception):
                future.cancel()
                future.release()

    def _make_lost_error(self, exc: BaseException) -> SearchError:
        why = f"{type(exc).__name__} {exc}".strip()
        return SearchError(f"the Dask cluster is lost ({why}): with one, the same command goes on where it was")

    def close(self) -> None:
        """Disconnect; what still runs there is cancelled."""
        with suppress(Exception):  # a cluster that is gone
            self._client.close(timeout=5)
