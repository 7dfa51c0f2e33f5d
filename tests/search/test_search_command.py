"""The real thing on the simulated pool: killed and resumed, on worker processes and on a Dask cluster."""

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from inspect_ai.log import read_eval_log

from archon_eval.cli import main
from archon_eval.errors import WorkerLostError
from archon_eval.runs.eval_worker import EvalJob
from archon_eval.runs.executors import dask, local
from archon_eval.runs.worker_process import WorkerProcess
from archon_eval.search.config import TaskSpec, load_settings
from archon_eval.search.loop import search

MODELS = "sim/gpt-4o,sim/qwen2-72b-instruct"
SPACE = {"preset": "small", "generators": [1, 2], "layers": [0, 1], "evaluations": "none"}


def command(folder: Path, *more: str) -> list[str]:
    """The search as a process."""
    code = "from archon_eval.cli import main; raise SystemExit(main())"
    return [sys.executable, "-c", code, *build_words(folder, *more)]


def build_words(folder: Path, *more: str) -> list[str]:
    (folder.parent / "space.yaml").write_text(json.dumps(SPACE))
    words = ["search", "--task", "archon_eval/math", "-T", "sample=true", "-T", "n=25", "--models", MODELS]
    words += ["--space", str(folder.parent / "space.yaml"), "--trials", "3", "--finalists", "2", "-o", str(folder)]
    return [*words, *more]


def lines(folder: Path, kind: str) -> list[dict]:
    path = folder / "search.jsonl"
    raw = path.read_text() if path.exists() else ""
    found = [json.loads(line) for line in raw.splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in found if line["kind"] == kind]


def stored(folder: Path) -> int:
    """Calls in the store."""
    path = folder / "calls.db"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as store, suppress(sqlite3.OperationalError):
        return store.execute("select count(*) from calls").fetchone()[0]
    return 0


def test_a_search_in_shards_finds_what_one_process_finds(tmp_path):
    summaries = []
    for name, more in (("sharded", ["--shards", "2"]), ("whole", ["--store", str(tmp_path / "sharded" / "calls.db")])):
        words = command(tmp_path / name, "--json", "--trial-questions", "6", *more)
        words[words.index("--trials") + 1] = "2"
        done = subprocess.run(words, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stderr
        summaries.append(json.loads(done.stdout))
    sharded, whole = summaries
    paid = {"calls_paid", "calls_reused", "dollars_paid", "forecast", "settings", "recommendation"}
    assert whole["calls_paid"] == 0 and sharded["calls_paid"] == stored(tmp_path / "sharded")
    assert sharded["calls_paid"] + sharded["calls_reused"] == whole["calls_reused"]
    assert {k: v for k, v in sharded.items() if k not in paid} == {k: v for k, v in whole.items() if k not in paid}
    logs = [read_eval_log(str(log)) for log in (tmp_path / "sharded" / "logs").rglob("*.eval")]
    assert {log.status for log in logs} == {"success"} and max(len(log.samples or ()) for log in logs) >= 6


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
    assert summary["trials"] - summary["free_trials"] == 3 and summary["calls_reused"] > 0
    # what was paid is what is stored: no call was paid for twice
    assert summary["calls_paid"] >= stored(folder) > 0.9 * summary["calls_paid"]
    assert len(list((folder / "logs").glob("*.eval"))) >= len(after)
    # equal searches write equal tables: no times, no random names
    rows = list(csv.DictReader((folder / "trials.csv").open()))
    logs = [row["log"] for row in rows]
    assert [name.split("-")[:2] for name in logs] == [["logs/search", str(n)] for n in range(summary["trials"])]
    assert {row["last_draws"] for row in rows if row["free"] == "False"} == {"2"}
    assert all(row["calls_paid"] == "0" and int(row["calls_reused"]) > 0 for row in rows if row["free"] == "True")
    assert all((folder / name).is_file() for name in logs)


def test_dry_run_pays_nothing(tmp_path, capsys):
    assert main(build_words(tmp_path / "out", "--dry-run", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["architectures"] == 13 and found["questions"] == {"trial": 5, "dev": 5, "test": 20}
    assert found["dollars"] > 0 and found["hours"] > 0 and not (tmp_path / "out").exists()


def test_the_forecast_in_words_and_what_is_missing(tmp_path, capsys):
    assert main(build_words(tmp_path / "out", "--dry-run")) == 0
    said = capsys.readouterr().out
    assert "architectures: 13\n" in said and "questions, dev: 5\n" in said
    (tmp_path / "mine.yaml").write_text("tasks: archon_eval/math")
    assert main(["search", str(tmp_path / "mine.yaml"), "-T", "sample=true", "--dry-run"]) == 1
    assert "--harness are for the tasks that --task names" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--workers", "0"), ("--call-seconds", "0"), ("--call-seconds", "nan")])
def test_a_forecast_of_no_workers_or_of_no_time(tmp_path, capsys, words):
    asked = "search --task archon_eval/math -T sample=true -T n=25 --models sim/gpt-4o --space small --dry-run"
    assert main([*asked.split(), "-o", str(tmp_path / "out"), *words]) == 1
    assert "must be 1 or more, and above 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- 1", "a search is a mapping with `tasks` and `models`, not a list"),
        ("tasks: archon_eval/math\nmodels: sim/gpt-4o\nbudget: 5", "`budget` must be a mapping, not 5"),
    ],
)
def test_a_search_file_of_another_form(tmp_path, capsys, text, says):
    (tmp_path / "mine.yaml").write_text(text)
    assert main(["search", str(tmp_path / "mine.yaml"), "--budget", "calls=4", "--dry-run"]) == 1
    assert says in capsys.readouterr().err


def test_a_worker_that_dies_is_replaced(tmp_path):
    job = EvalJob("k", {"layers": [{"generator": "sim/gpt-4o"}]}, TaskSpec("archon_eval/math", (("sample", True),)))
    job = EvalJob(**{**{f: getattr(job, f) for f in job.__slots__}, "questions": ("alg-01",), "log_dir": str(tmp_path)})
    with WorkerProcess() as worker:
        assert worker.run(job).calls == 1
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(WorkerLostError, match="ended with code -9"):
            worker.run(job)
        assert worker.run(job).scores.keys() == {"alg-01"}
    with local(1) as run:
        bad = EvalJob("bad", {"layers": [{"fusor": "x"}]}, job.task, ("alg-01",), log_dir=str(tmp_path))
        assert "did you mean 'fuser'" in run(bad).result().error


def test_a_stopped_search_ends_its_workers_and_starts_no_others(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    job = EvalJob(
        "k", {"layers": [{"generator": "sim/gpt-4o"}]}, TaskSpec("slow.py@slow"), ("1",), log_dir=str(tmp_path)
    )
    with local(1) as run, pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        future = run(job)
        deadline = time.monotonic() + 60
        while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    with pytest.raises(WorkerLostError, match=r"the worker is closed|ended with code -9"):
        future.result(timeout=0)
    assert (tmp_path / "begun").read_text() == "x"


SLOW = """from time import sleep
from inspect_ai import Task, task

@task
def slow():
    with open("begun", "a") as stream: stream.write("x")
    sleep(600)
    return Task()
"""


WAITING = """import asyncio, os
from inspect_ai import Task, task
from inspect_ai.scorer import accuracy, match, scorer
from archon_eval.tasks.math import math

@scorer(metrics=[accuracy()])
def waiting():
    marks = match()
    async def score(state, target):
        open(os.path.join(FOLDER, "waiting", str(os.getpid())), "w").close()
        while not os.path.exists(os.path.join(FOLDER, "killed")): await asyncio.sleep(0.05)
        return await marks(state, target)
    return score

@task
def waits():
    return Task(dataset=math(sample=True, n=25).dataset, scorer=waiting())
"""


@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_that_loses_a_worker(tmp_path, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.chdir(tmp_path)
    (tmp_path / "waiting").mkdir()
    (tmp_path / "waits.py").write_text(WAITING.replace("FOLDER", repr(str(tmp_path))))
    settings = load_settings(
        {
            "tasks": ["waits.py@waits"],
            "models": MODELS,
            "space": SPACE,
            "budget": {"trials": 3},
            "finalists": 2,
            "skip_ranking": True,
        }
    )
    killed = []

    def kill_one():
        """When both have paid for the calls of their first trial, and neither has its scores."""
        deadline, before = time.monotonic() + 200, 0
        while (had := stored(tmp_path / "dask")) == 0 or had != before or len(begun(tmp_path / "waiting")) < 2:
            before = had
            time.sleep(1)
            if time.monotonic() > deadline:
                break
        killed.append(had)
        os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
        (tmp_path / "killed").touch()

    def begun(folder):
        return list(folder.glob("*"))

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        dask(cluster.scheduler_address) as run,
    ):
        killer = threading.Thread(target=kill_one)
        killer.start()
        found = search(settings, tmp_path / "dask", run, workers=2)
        killer.join()
    with local(1) as run:
        serial = search(settings, tmp_path / "serial", run)
    assert killed and sum(not trial.is_free for _, trial in found.tried) == 3
    # what the dead worker had paid for counts as paid, though its second run found it in the store
    assert stored(tmp_path / "dask") <= found.ledger.calls
    assert any("was lost, and search/" in note for note in found.notes)
    assert all(trial.performance is not None for _, trial in found.tried)
    # the same architecture with the same draws scores the same wherever it ran

    def identify(option, trial):
        return option.architecture.fingerprint, trial.first_epoch, trial.last_draws

    draws = {identify(option, trial): trial.parts for option, trial in serial.tried}
    shared = [draws[key] == trial.parts for option, trial in found.tried if (key := identify(option, trial)) in draws]
    assert shared and all(shared)
