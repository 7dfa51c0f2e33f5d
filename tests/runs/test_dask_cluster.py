"""What becomes of calls when a cluster says what it seldom says."""

from concurrent.futures import Future
from typing import Any

import pytest

from archon_eval.errors import DataError, SearchError
from archon_eval.runs import dask_cluster
from archon_eval.runs.dask_cluster import DaskCluster, RemoteCall
from archon_eval.runs.worker_probe import probe


class FakeConnection:
    """A cluster of one worker, of which some answers are lost."""

    address = "tcp://nowhere:1"

    def __init__(self, address: str) -> None:
        self.probes: list[Any] = []

    def list_workers(self) -> dict[str, int]:
        return {"tcp://worker:1": 1}

    def probe(self, worker: str, packages: Any, is_lost: Any) -> dict[str, Any]:
        said = self.probes.pop(0)
        if isinstance(said, Exception):
            raise said
        return {**probe(packages), **said}

    def ask(self, worker: str, request: Any, is_lost: Any) -> dict[str, Any]:
        if request["do"] == "prepare":
            return {"instance": "1", "has_bundle": True}
        files = [("a.eval", 1, b"x")]
        return {"instance": "1", "has_bundle": True, "files": files, "folder": "f", "value": "said", "messages": []}

    def close(self) -> None:
        pass


def run(
    monkeypatch: pytest.MonkeyPatch, log_dir: str, *probes: Any, others_wait: float = 0.0
) -> tuple["Future[Any]", list[str]]:
    monkeypatch.setattr(dask_cluster, "DaskConnection", FakeConnection)
    monkeypatch.setattr(dask_cluster, "OTHERS_WAIT_SECONDS", others_wait)
    notes: list[str] = []
    with DaskCluster("tcp://nowhere:1", say=notes.append) as cluster:
        cluster._connection.probes += probes
        future = cluster.submit(RemoteCall("k", "m:f", {}, log_dir=log_dir))
        future.exception(timeout=120)
    return future, notes


def test_a_worker_whose_check_was_lost_is_checked_again(monkeypatch, tmp_path):
    lost = SearchError("the Dask cluster is lost")
    future, notes = run(monkeypatch, str(tmp_path), lost, lost, {"version": "0.0.1"})
    with pytest.raises(SearchError, match=r"no worker of .* can run this: .* it has archon-eval 0\.0\.1"):
        future.result()
    assert len(notes) == 1 and not [*tmp_path.iterdir()]
    assert run(monkeypatch, str(tmp_path), lost, {})[0].result() == "said"


def test_a_worker_that_lacked_something_for_a_while_is_asked_again(monkeypatch, tmp_path):
    monkeypatch.setattr(dask_cluster, "RECHECK_SECONDS", 0.0)
    lost, full = SearchError("the Dask cluster is lost"), {"problem": "its disk is full"}
    future, notes = run(monkeypatch, str(tmp_path), full, full, lost, {}, others_wait=100.0)
    assert future.result() == "said"
    assert ["gets no evals: its disk is full" in notes[0], "gets evals now" in notes[1]] == [True, True], notes
    assert len(notes) == 2, "said once, however often it was asked"


def test_a_log_that_cannot_be_written_is_said_with_its_place(monkeypatch, tmp_path):
    (tmp_path / "logs").touch()
    with pytest.raises(DataError, match=r"logs cannot be written to .*/logs: "):
        run(monkeypatch, str(tmp_path / "logs"), {})[0].result()
