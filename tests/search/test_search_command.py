"""The real thing on the simulated pool: killed and resumed, on worker processes and on a Dask cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archon_eval.search.driver import search
from archon_eval.search.runners import dask, local
from archon_eval.search.settings import TaskSpec, load_settings
from archon_eval.search.worker import Job, WorkerLost, WorkerProcess

MODELS = "sim/gpt-4o,sim/qwen2-72b-instruct"
TASK = {"name": "archon_eval/math", "args": {"sample": True, "n": 25}}
SPACE = {"preset": "small", "generators": [1, 2], "layers": [0, 1], "evaluations": "none"}


def command(folder: Path, *more: str) -> list[str]:
    (folder.parent / "space.yaml").write_text(json.dumps(SPACE))
    words = ["search", "--task", "archon_eval/math", "-T", "sample=true", "-T", "n=25", "--models", MODELS]
    words += ["--space", str(folder.parent / "space.yaml"), "--trials", "3", "--finalists", "2", "-o", str(folder)]
    return [sys.executable, "-c", "from archon_eval.cli import main; raise SystemExit(main())", *words, *more]


def lines(folder: Path, kind: str) -> list[dict]:
    path = folder / "search.jsonl"
    raw = path.read_text() if path.exists() else ""
    found = [json.loads(line) for line in raw.splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in found if line["kind"] == kind]


def test_killed_and_resumed_pays_for_nothing_twice(tmp_path):
    folder = tmp_path / "out"
    process = subprocess.Popen(command(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 120
    while len(lines(folder, "result")) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[0]
    before = lines(folder, "result")
    assert len(before) >= 3, said
    done = subprocess.run(command(folder, "--json"), capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    after = lines(folder, "result")
    assert after[: len(before)] == before
    assert len({line["result"]["key"] for line in after}) == len(after)
    assert summary["trials"] == 3 and summary["calls_reused"] > 0
    import sqlite3

    # what was paid is what is stored: no call was paid for twice
    stored = sqlite3.connect(folder / "calls.db").execute("select count(*) from calls").fetchone()[0]
    assert summary["calls_paid"] >= stored > 0.9 * summary["calls_paid"]
    assert len(list((folder / "logs").glob("*.eval"))) >= len(after)


def test_dry_run_pays_nothing(tmp_path):
    done = subprocess.run(
        command(tmp_path / "out", "--dry-run", "--json"), capture_output=True, text=True, timeout=100, check=False
    )
    found = json.loads(done.stdout)
    assert found["architectures"] == 13 and found["questions"] == {"trial": 5, "dev": 5, "test": 20}
    assert found["dollars"] > 0 and found["hours"] > 0 and not (tmp_path / "out").exists()


def test_a_worker_that_dies_is_replaced(tmp_path):
    job = Job("k", {"layers": [{"generator": "sim/gpt-4o"}]}, TaskSpec("archon_eval/math", (("sample", True),)))
    job = Job(**{**{f: getattr(job, f) for f in job.__slots__}, "questions": ("alg-01",), "log_dir": str(tmp_path)})
    with WorkerProcess() as worker:
        assert worker.run(job).calls == 1
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(WorkerLost, match="ended with code -9"):
            worker.run(job)
        assert worker.run(job).scores.keys() == {"alg-01"}
    with local(1) as run:
        bad = Job("bad", {"layers": [{"fusor": "x"}]}, job.task, ("alg-01",), log_dir=str(tmp_path))
        assert "did you mean 'fuser'" in run(bad).result().error


def test_a_stopped_search_ends_its_workers_and_starts_no_others(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    job = Job("k", {"layers": [{"generator": "sim/gpt-4o"}]}, TaskSpec("slow.py@slow"), ("1",), log_dir=str(tmp_path))
    with local(1) as run, pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        future = run(job)
        deadline = time.monotonic() + 60
        while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert "the worker is closed" in future.result(timeout=0).error
    assert (tmp_path / "begun").read_text() == "x"


SLOW = """from time import sleep
from inspect_ai import Task, task

@task
def slow():
    with open("begun", "a") as stream: stream.write("x")
    sleep(600)
    return Task()
"""


@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_that_loses_a_worker(tmp_path):
    from distributed import LocalCluster

    settings = load_settings(
        {
            "tasks": [TASK],
            "models": MODELS,
            "space": SPACE,
            "budget": {"trials": 3},
            "finalists": 2,
            "given_order": True,
        }
    )
    killed = []

    def kill_one(progress):
        if progress.stage == "searching" and not killed:
            killed.append(next(iter(cluster.workers.values())).pid)
            os.kill(killed[0], signal.SIGKILL)

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        dask(cluster.scheduler_address) as run,
    ):
        found = search(settings, tmp_path / "dask", run, workers=2, watch=kill_one)
    with local(1) as run:
        serial = search(settings, tmp_path / "serial", run)
    assert killed and len(found.tried) == 3
    assert all(trial.performance is not None for _, trial in found.tried)
    # the same architecture with the same draws scores the same wherever it ran
    draws = {(o.architecture.fingerprint, t.key.split("/")[1]): t.scores for o, t in serial.tried}
    shared = [
        draws[key] == t.scores
        for o, t in found.tried
        if (key := (o.architecture.fingerprint, t.key.split("/")[1])) in draws
    ]
    assert shared and all(shared)
