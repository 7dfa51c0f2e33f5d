"""A search on workers with which nothing is shared but the call store: other users, other folders, other machines."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path

import pytest
from fakes.dask_users import USERS, ClusterOfUsers

from archon_eval.errors import WorkerLostError
from archon_eval.report.search_results import read_search
from archon_eval.runs.dask_cluster import DaskCluster, RemoteCall
from archon_eval.runs.dask_worker import FOLDER_MARK
from archon_eval.runs.file_bundle import FileBundle

pytestmark = [pytest.mark.xdist_group("cluster"), pytest.mark.filterwarnings("ignore")]
MODELS = "sim/gpt-4o,sim/qwen2-72b-instruct"
SPACE = {"preset": "small", "generators": [1, 2], "layers": [0, 1], "evaluations": "none"}
PASSWORD = "hunter2-of-the-cluster"
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
def shared_store(postgres_server):
    """A database of a user with a password, which no address holds: workers and driver have it in PGPASSWORD."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    port, name = conninfo_to_dict(postgres_server)["port"], f"archon_cluster_{os.getpid()}"
    with psycopg.connect(postgres_server, autocommit=True) as db:
        db.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'".encode())
        db.execute(f"CREATE DATABASE {name} OWNER {name}".encode())
        yield f"postgresql://{name}@127.0.0.1:{port}/{name}"
        db.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        db.execute(f"DROP ROLE IF EXISTS {name}".encode())


@pytest.fixture(scope="module")
def cluster():
    opened = ClusterOfUsers()
    opened.start_worker("one", USERS[0], PGPASSWORD=PASSWORD)
    opened.start_worker("two", USERS[1], PGPASSWORD=PASSWORD)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def bucket():
    """An object server on this machine, for the driver alone; its variables in the environment."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    variables["AWS_SECRET_ACCESS_KEY"] = "not-to-be-sent"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        import boto3

        boto3.client("s3").create_bucket(Bucket="evals")
        yield "s3://evals"
    server.stop()


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
    words = ["search", "--task", "mine.py@mine", "--models", MODELS, "--space", "space.json", "--trials", "2"]
    words += ["--finalists", "2", "--workers", "2", "-o", "out", "--dask", cluster.address, "--store", store]
    return [sys.executable, "-c", "from archon_eval.cli import main; raise SystemExit(main())", *words, *more]


def lines(folder: Path, kind: str) -> list[dict]:
    path = folder / "search.jsonl"
    raw = path.read_text() if path.exists() else ""
    found = [json.loads(line) for line in raw.splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in found if line["kind"] == kind]


def run_command(words):
    return subprocess.run(words, capture_output=True, text=True, timeout=400, check=False)


def count_stored(store):
    import psycopg

    with psycopg.connect(store, password=PASSWORD) as db:
        return db.execute("select count(*) from archon_calls").fetchone()[0]


def read_all(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_search_is_killed_and_resumed_with_logs_on_an_object_server(cluster, shared_store, bucket, project):
    words = command(cluster, shared_store, "--log-dir", f"{bucket}/logs")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 300
    while len(lines(project / "out", "result")) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[0]
    before = lines(project / "out", "result")
    assert len(before) >= 3, said
    assert "4 files (1 kB) go to the workers: chosen.txt, helper.py, mine.py, space.json; these stay: .env" in said
    idle = set(cluster.list_processes("worker_loop"))  # of the killed driver, for two minutes
    folders = {*cluster.folder.glob("*/*/*/archon-*")}
    done = run_command([*words, "--json"])
    assert done.returncode == 0, done.stderr
    summary, after = json.loads(done.stdout), lines(project / "out", "result")
    assert after[: len(before)] == before
    assert len({line["result"]["key"] for line in after}) == len(after)
    # what was paid is what is stored: no call was paid for twice, on whichever machine
    assert summary["calls_paid"] >= count_stored(shared_store) > 0.9 * summary["calls_paid"]
    assert (
        all(line["result"]["log"].startswith(f"{bucket}/logs/") for line in after)
        and not (project / "out/logs").exists()
    )
    shown = read_search(project / "out")
    assert len(shown.runs) >= 2 and not shown.problems
    assert all(run.log.startswith(f"{bucket}/logs/report-") for run in shown.runs)
    # on this machine alone it comes to the same
    local = [word for word in words if word not in ("--dask", cluster.address, "--store", shared_store)]
    local = [*local[: local.index("--log-dir")], "-o", "local", "--json"]
    alone = json.loads(run_command(local).stdout)
    assert alone["winner"] == summary["winner"] and alone["held_out"]["winner"] == summary["held_out"]["winner"]
    for secret in (PASSWORD, "not-to-be-sent", str(cluster.folder)):
        assert secret.encode() not in read_all(project / "out") and secret not in said + done.stdout + done.stderr
    # the end leaves nothing on the workers
    assert idle >= {*cluster.list_processes("worker_loop")}
    assert folders and folders >= {*cluster.folder.glob("*/*/*/archon-*")}


def test_workers_that_lack_something_are_named_and_get_nothing(cluster, shared_store, project, monkeypatch):
    for name, code in (("broken", "raise ImportError('no such package')"), ("old", "__version__ = '0.0.1'")):
        package = cluster.folder / f"{name}-code" / "archon_eval"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(code)
    started = [
        cluster.start_worker("without", USERS[0], PYTHONPATH=str(cluster.folder / "broken-code")),
        cluster.start_worker("older", USERS[1], PYTHONPATH=str(cluster.folder / "old-code")),
        cluster.start_worker("keyless", USERS[1]),  # for the store it has no password
    ]
    try:
        done = run_command(command(cluster, shared_store, "--json"))
    finally:
        for process in started:
            cluster.stop(process)
    assert done.returncode == 0, done.stderr
    notes = " ".join(json.loads(done.stdout)["notes"])
    for said in (done.stderr, notes):
        assert said.count("gets no evals") == 3
        assert "archon-eval cannot be imported there (ImportError: no such package)" in said
        assert "gets no evals: it has archon-eval 0.0.1, and here it is" in said
        assert "password" in said and PASSWORD not in said
    # of an equal search all calls are in the store
    assert json.loads(done.stdout)["calls_paid"] == 0


def test_a_cluster_of_which_no_worker_can_run_it_ends_before_anything_is_paid(cluster, project):
    words = [word.replace(MODELS, "openai/gpt-4o-mini,openai/gpt-4o") for word in command(cluster, "calls.db")]
    done = run_command(words)
    assert done.returncode == 1 and "no worker of the Dask cluster at" in done.stderr
    assert "OPENAI_API_KEY" in done.stderr and "sk-not-to-be-sent" not in done.stderr
    assert f"the call store {project}/calls.db is not there" in done.stderr
    assert "with --store postgresql://user@host/database" in done.stderr
    assert not lines(project / "out", "result") and not [*project.glob(".archon-seen-*")]


WAITS = """import os, tempfile, time
from pathlib import Path

def wait(args):
    (Path(tempfile.gettempdir()) / f"waiting-{os.getpid()}").touch()
    time.sleep(600)

def write_files(args):
    folder = Path(args["folder"])
    (folder / "deep").mkdir()
    (folder / "deep" / "large.bin").write_bytes(bytes(range(256)) * 150_000)
    (folder / "small.txt").write_text("small")
    return {"files": [f"{folder}/deep/large.bin", f"{folder}/small.txt"], "said": str(folder)}
"""


def count_waiting(cluster):
    """Calls of `wait` under way on all workers."""
    pids = [path.name.removeprefix("waiting-") for path in cluster.folder.glob("*/waiting-*")]
    return sum(Path("/proc", pid).exists() for pid in pids)


def test_large_files_come_back_in_parts_and_a_lost_worker_is_said(cluster, tmp_path):
    bundle, said = FileBundle({"_modules/waits.py": WAITS.encode()}), []
    with DaskCluster(cluster.address, say=said.append) as opened:
        call = RemoteCall("files", "waits:write_files", {"folder": FOLDER_MARK}, bundle, str(tmp_path / "logs"))
        value = opened.submit(call).result(timeout=300)
        assert value["files"] == [str(tmp_path / "logs/deep/large.bin"), str(tmp_path / "logs/small.txt")]
        assert (tmp_path / "logs/deep/large.bin").read_bytes() == bytes(range(256)) * 150_000
        assert value["said"] == FOLDER_MARK
        one = cluster.start_worker("short-lived")
        waiting = [opened.submit(RemoteCall(f"wait {n}", "waits:wait", {}, bundle)) for n in range(3)]
        cluster.wait_for(lambda: count_waiting(cluster) == 3, "three calls under way")
        cluster.stop(one, hard=True)
        done, _ = wait(waiting, timeout=300, return_when=FIRST_COMPLETED)
        assert len(done) == 1
        with pytest.raises(WorkerLostError, match=r"the Dask worker .* was lost"):
            done.pop().result()
    cluster.wait_for(lambda: count_waiting(cluster) == 0, "the end of the calls, which closing brings")
    assert any("was lost, and wait" in text for text in said)


def test_what_a_killed_driver_had_under_way_ends(cluster, tmp_path):
    (tmp_path / "waits.py").write_text(WAITS)
    code = f"""from pathlib import Path
from archon_eval.runs.dask_cluster import DaskCluster, RemoteCall
from archon_eval.runs.file_bundle import FileBundle
bundle = FileBundle({{"_modules/waits.py": Path("waits.py").read_bytes()}})
with DaskCluster({cluster.address!r}) as opened:
    opened.submit(RemoteCall("wait", "waits:wait", {{}}, bundle)).result()
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    cluster.wait_for(lambda: count_waiting(cluster) == 1, "a call under way")
    process.kill()
    process.wait()
    cluster.wait_for(lambda: count_waiting(cluster) == 0, "the end of the call")
