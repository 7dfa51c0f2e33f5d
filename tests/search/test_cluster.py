"""A search on workers with which nothing is shared but the call store: other users, other folders, other machines."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes.dask_users import USERS, ClusterOfUsers

from archon_eval.errors import SearchError, WorkerLostError
from archon_eval.report.search_results import read_search
from archon_eval.runs.dask_cluster import DaskCluster, RemoteCall
from archon_eval.runs.eval_worker import EvalJob
from archon_eval.runs.executors import dask
from archon_eval.runs.file_bundle import BundleBuilder, FileBundle
from archon_eval.search.config import TaskSpec, load_settings
from archon_eval.search.loop import search

pytestmark = [pytest.mark.xdist_group("cluster"), pytest.mark.filterwarnings("ignore")]
MODELS = "sim/gpt-4o,sim/qwen2-72b-instruct"
SPACE = {"preset": "small", "generators": [1, 2], "layers": [0, 1], "evaluations": "none"}
TASK = """import os
from inspect_ai import Task, task
from archon_eval.tasks.math import math
from helper import read_lines

@task
def mine():
    assert os.getuid() == 0 or not os.path.exists(".env"), "a secret was sent"
    chosen = read_lines("chosen.txt")
    dataset = math(sample=True, n=25)
    return Task(dataset=[s for s in dataset.dataset if str(s.id) in chosen], scorer=dataset.scorer)
"""
HELPER = """from pathlib import Path

def read_lines(name):
    return (Path(__file__).parent / name).read_text().split()
"""


@pytest.fixture(scope="module")
def cluster():
    opened = ClusterOfUsers()
    opened.start_worker("one", USERS[0])
    opened.start_worker("two", USERS[1])
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shared_store(cluster):
    folder = cluster.folder / "shared"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    return str(folder / "calls.db")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The driver's folder, which no worker can read."""
    from archon_eval.tasks.math import math

    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o700)
    (tmp_path / "mine.py").write_text(TASK)
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "chosen.txt").write_text(" ".join(str(s.id) for s in math(sample=True, n=25).dataset))
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-not-to-be-sent")
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    return tmp_path


def command(cluster, store, *more):
    words = ["search", "--task", "mine.py@mine", "--models", MODELS, "--space", "space.json", "--trials", "3"]
    words += ["--finalists", "2", "--workers", "2", "-o", "out", "--dask", cluster.address, "--store", store]
    return [sys.executable, "-c", "from archon_eval.cli import main; raise SystemExit(main())", *words, *more]


def lines(folder: Path, kind: str) -> list[dict]:
    path = folder / "search.jsonl"
    raw = path.read_text() if path.exists() else ""
    found = [json.loads(line) for line in raw.splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in found if line["kind"] == kind]


def test_a_search_is_killed_and_resumed(cluster, shared_store, project):
    process = subprocess.Popen(
        command(cluster, shared_store), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 200
    while len(lines(project / "out", "result")) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[0]
    before = lines(project / "out", "result")
    assert len(before) >= 3, said
    assert "files (1 kB) go to the workers: chosen.txt, helper.py, mine.py" in said.replace("4 files (1", "files (1"), (
        said
    )
    done = subprocess.run(
        command(cluster, shared_store, "--json"), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    after = lines(project / "out", "result")
    assert after[: len(before)] == before
    assert all(line["result"]["log"].startswith("logs/") for line in after if line["result"]["scores"])
    assert {len(line["result"]["scores"]) for line in after} <= {5, 20}
    shown = read_search(project / "out")
    assert len(shown.runs) >= 2 and not shown.problems
    assert str(cluster.folder) not in (project / "out" / "search.jsonl").read_text()
