"""Shards on a cluster's workers, users with folders of their own, leave one log and share one budget."""

import os
import signal
from pathlib import Path

import pytest
from fakes.dask_users import USERS, ClusterOfUsers
from inspect_ai.log import read_eval_log

from archon_eval.errors import DataError
from archon_eval.runs.sharded_eval import run_sharded

pytestmark = [pytest.mark.xdist_group("cluster"), pytest.mark.filterwarnings("ignore")]
TASK = """import os
from inspect_ai import Task, task
from archon_eval.tasks.math import math
from beside import LIMIT

@task
def mine():
    whole = math(sample=True)
    return Task(dataset=list(whole.dataset)[:LIMIT], scorer=whole.scorer)
"""


@pytest.fixture(scope="module")
def cluster():
    opened = ClusterOfUsers()
    for name, user in zip(("one", "two"), USERS, strict=True):
        opened.start_worker(name, user)
    yield opened
    opened.close()


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.py").write_text(TASK)
    (tmp_path / "tasks" / "beside.py").write_text("LIMIT = 24\n")
    (tmp_path / "single.yaml").write_text("name: mine\nlayers: [{generator: sim/gpt-4o}]\n")
    monkeypatch.chdir(tmp_path)
    solver = ("--model", "none", "--solver", "archon", "-S", "architecture=single.yaml", "--no-fail-on-error")
    return ["tasks/mine.py@mine", *solver, "--log-dir", "logs"]


def test_shards_on_workers_share_a_budget_also_when_one_is_killed(cluster, words: list[str]) -> None:
    killed: list[int] = []

    def kill_once(progress) -> None:
        if progress.done and not killed:
            killed.extend(cluster.list_processes("archon_eval.runs.worker_loop")[:1])
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    limited = [*words, "--epochs", "2", "-S", "budget=eval.calls=30"]
    done = run_sharded(limited, shards=2, dask=cluster.address, on_progress=kill_once)
    log = read_eval_log(done.log)
    answered = [sample for sample in log.samples or () if sample.error is None]
    assert killed and log.status == "success" and len(log.samples or ()) == 48
    # what the killed process was lent counts as spent, and its answers went with it
    assert 0 < len(answered) <= 30
    assert all("is used up" in sample.error.message for sample in log.samples or () if sample.error)
    assert any("asked again" in note for note in done.notes)


def test_a_store_that_is_a_file_is_refused_for_workers(words: list[str]) -> None:
    with pytest.raises(DataError, match=r"store=calls\.db: workers of a cluster share no file"):
        run_sharded([*words, "-S", "store=calls.db"], shards=2, dask="tcp://127.0.0.1:1")
