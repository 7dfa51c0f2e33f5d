"""Candidates of a solver in containers of their own: the winner's files are scored, and no container is left."""

from pathlib import Path
from typing import Any

import pytest
from fakes.server import FakeServer
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer
from inspect_ai.solver import TaskState
from inspect_ai.util import sandbox

from archon_eval.sandbox import provider
from archon_eval.sandbox.provider import ArchonDocker
from archon_eval.solvers.archon import archon


@scorer(metrics=[accuracy()])
def reads_answer() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        found = (await sandbox().exec(["cat", "answer.txt"])).stdout
        return Score(value=state.output.completion in found, answer=found)

    return score


def test_the_winners_container_is_scored(
    client: Any, fake_server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_server.answer = lambda model, messages, nonce: "[2] > [1]" if "turbo" in model else f"draw {nonce // 1000}"
    monkeypatch.chdir(tmp_path)
    closed: list[ArchonDocker] = []
    close = ArchonDocker._close
    monkeypatch.setattr(ArchonDocker, "_close", lambda self: (closed.append(self), close(self)))
    start, started = provider._start_container, list[ArchonDocker]()

    def count_started(*args: Any) -> ArchonDocker:
        started.append(start(*args))
        return started[-1]

    monkeypatch.setattr(provider, "_start_container", count_started)
    writing = {"model": "openai/gpt-4o", "solver": "fakes.solvers:writing", "samples": 2}
    layers = [{"generator": writing}, {"ranker": {"model": "openai/gpt-4-turbo", "top_k": 1}}]
    task = Task(
        [Sample("Which?", target="x", files={"given.txt": "given: "})], scorer=reads_answer(), sandbox="archon_docker"
    )
    (log,) = eval(
        task, solver=archon({"layers": layers}), model="none", display="none", log_dir="logs", max_sandboxes=2
    )
    assert log.status == "success" and log.samples and log.samples[0].scores, log.error
    score = log.samples[0].scores["reads_answer"]
    assert score.value and score.answer and score.answer.startswith("given: draw")
    assert len(started) == 3 and {*map(id, started)} == {*map(id, closed)}
