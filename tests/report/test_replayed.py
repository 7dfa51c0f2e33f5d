"""Two replays of one recording, at other times, in other folders, otherwise concurrent: the same bytes come out."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.server import FakeServer
from fakes.stores import Stores

from archon_eval.models.open_store import open_store
from archon_eval.models.store_admin import export, import_

BENCH = """
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

@task
def bench():
    samples = [Sample(input=f"Is {n} even?", target="yes" if n % 2 == 0 else "no", id=n) for n in range(6)]
    return Task(MemoryDataset(samples), solver=generate(), scorer=includes())
"""
ARCHITECTURES = {
    "pair": "layers: [{generator: [openai/gpt-4o-a, {model: openai/gpt-4o-b, samples: 3}]}, {fuser: openai/gpt-4o-a}]",
    "twin": "layers: [{generator: [openai/gpt-4o-b, {model: openai/gpt-4o-a, samples: 3}]}, {fuser: openai/gpt-4o-a}]",
}
"""Of equal cost, so that only their names can order them."""


COMMANDS = """
import json, sys
from contextlib import redirect_stdout
from archon_eval.cli import main
for number, words in enumerate(json.loads(sys.argv[1])):
    with open(f"{number} {words[0]}.txt", "w") as said, redirect_stdout(said):
        assert main(words) in (0, 2), words
"""


def process(folder: Path, *words: str, **env: str) -> None:
    """Run Python in a folder."""
    done = subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def run(folder: Path, logs: str, *words: str, store: str = "calls.db", **env: str) -> None:
    """One `inspect eval` of both architectures."""
    models = ",".join(f"archon/{name}.yaml" for name in ARCHITECTURES)
    fixed = ("--model", models, "-M", f"store={store}", "--epochs", "2", "--display", "none", "--log-dir", logs)
    process(folder, "-m", "inspect_ai", "eval", "bench.py", *fixed, *words, **env)


def reports(folder: Path, logs: str, **env: str) -> dict[str, bytes]:
    """Every form in which the package says something about the logs, by a process of its own."""
    out, base = folder / f"of-{logs}", ("--baseline", str(folder / "base.json"))
    out.mkdir()
    files = sorted((folder / logs).iterdir(), key=_architecture)
    pair, twin = map(str, files)
    forms = [["report", str(folder / logs), "-o", f"report.{form}"] for form in ("html", "md", "json", "png")]
    commands = [
        *([*words, "--cost", "seconds"] for words in forms),
        ["compare", pair, twin],
        ["compare", pair, twin, "--json"],
        ["gate", pair, *base, "--junit", "gate.xml", "--json"],
        ["gate", twin, *base, "--summary", "gate.md"],
    ]
    process(out, "-c", COMMANDS, json.dumps(commands), **env)
    return {file.name: file.read_bytes() for file in sorted(out.iterdir())}


def _architecture(log: Path) -> str:
    from inspect_ai.log import read_eval_log

    return read_eval_log(str(log), header_only=True).eval.model.split("/")[-1].removesuffix(".yaml")


def answer(model: str, messages: list[dict[str, Any]], nonce: int) -> str:
    """A guess, after a while."""
    time.sleep(random.uniform(0, 0.01))
    return random.choice(["yes", "no"]) + f", says draw {nonce}"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a benchmark, two architectures, a recording of both and a baseline of the recorded run."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "bench.py").write_text(BENCH)
    for name, text in ARCHITECTURES.items():
        (folder / f"{name}.yaml").write_text(f"name: {name}\n{text}\n")
    with FakeServer(answer=answer) as server:
        run(folder, "live", **plain(), OPENAI_API_KEY="sk-fake-key", OPENAI_BASE_URL=server.url)
        assert server.requests
    live = next(log for log in (folder / "live").iterdir() if _architecture(log) == "pair")
    process(folder, "-m", "archon_eval.cli", "gate", str(live), "--baseline", "base.json", "--save-baseline", **plain())
    return folder


@pytest.fixture
def server_store(postgres_server: str, tmp_path: Path) -> Iterator[str]:
    places = Stores(tmp_path, postgres_server)
    yield places.new()
    places.close()


def plain() -> dict[str, str]:
    """The environment without any provider's key or address."""
    gone = ("OPENAI", "ANTHROPIC", "ARCHON", "INSPECT", "GITHUB")
    return {name: value for name, value in os.environ.items() if not name.startswith(gone)}


def test_reports_of_replays_are_the_same_bytes(recorded: Path, server_store: str) -> None:
    """One replays the file, the other what was moved from it to a server."""
    replay = ("-M", "store_policy=replay")
    with open_store(recorded / "calls.db", read_only=True) as file, open_store(server_store) as server:
        export(file, recorded / "calls.jsonl")
        assert import_(server, recorded / "calls.jsonl") == file.count()
    run(recorded, "one", *replay, "--max-samples", "1", "--max-connections", "1", "--max-tasks", "1", **plain())
    other = (*replay, "--max-samples", "20", "--log-format", "json", "--max-tasks", "2")
    run(recorded, "other-name", *other, store=server_store, **plain())
    first, second = reports(recorded, "one", **plain()), reports(recorded, "other-name", **plain())
    assert len(first) == 14 and first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert b"seconds" in first["report.json"] and b'"seconds": 0.0' not in first["report.json"]
