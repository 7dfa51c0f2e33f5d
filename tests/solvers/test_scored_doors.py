"""Sources of scores behind the doors: refused before anything is paid, kept in the log, replayed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.score_server import ScoreServer
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample

from archon_eval import Archon
from archon_eval._inspect_compat import PrerequisiteError
from archon_eval.integrations.build import build_engine
from archon_eval.runs.account import parse_accounts
from archon_eval.solvers import archon

POOL = ["sim/gpt-4o", "sim/gpt-4-turbo"]


@pytest.fixture
def server() -> Iterator[ScoreServer]:
    with ScoreServer() as running:
        yield running


def rewarded(server: ScoreServer, **options: Any) -> dict[str, Any]:
    reward = {"endpoint": server.url("rerank"), "served_model": "bge", **options}
    return {"name": "rewarded", "layers": [{"generator": ["$1", "$2"]}, {"reward": reward}]}


@pytest.mark.parametrize("reused", [False, True])
def test_an_eval_has_scores_in_its_account_and_transcript(server: ScoreServer, tmp_path: Path, reused: bool) -> None:
    options: dict[str, Any] = {"store": str(tmp_path / "calls.db")} if reused else {}
    runs = 2 if reused else 1
    for run in range(runs):
        solver = archon(architecture=rewarded(server, dollars=0.5), models=POOL, **options)
        task = Task(dataset=MemoryDataset([Sample("What is 2 + 2?")]), solver=solver)
        [log] = eval(task, model=None, log_dir=str(tmp_path), display="none")
        assert log.status == "success" and log.samples
        (account,) = parse_accounts(log.samples[0].metadata)
        scores = account.models["endpoint/bge"]
        assert (scores.calls, scores.input_tokens, scores.dollars) == (2, 20, 1.0)
        # both models say the same of an unknown question: with a store, one score
        assert scores.reused_calls == (2 if run else int(reused)) and account.usage.calls == 4
        assert any("reward: " in text for text in log.samples[0].attachments.values())
    assert len(server.bodies) in (1, 2)


def test_what_would_stop_it_later_is_said_at_once(server: ScoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(PrerequisiteError, match=r"variable NO_SUCH_KEY \(`key_variable`\) is not set"):
        build_engine(rewarded(server, key_variable="NO_SUCH_KEY"), POOL)
    with pytest.raises(PrerequisiteError, match="cannot be reached"):
        build_engine(rewarded(server, endpoint="http://127.0.0.1:9/rerank"), POOL)
    with pytest.raises(PrerequisiteError, match="price of a score of endpoint/bge is unknown: write `dollars:`"):
        build_engine(rewarded(server), POOL, budget="eval.dollars=1")
    build_engine(rewarded(server, dollars=0), POOL, budget="eval.dollars=1")
    assert not server.bodies


def test_a_dollar_budget_counts_scores(server: ScoreServer) -> None:
    poor = Archon(rewarded(server, dollars=0.6), models=POOL, budget="question.dollars=1")
    with pytest.raises(Exception, match=r"limit of \$1 is used up"):
        poor.generate_sync("What is 2 + 2?")
    rich = Archon(rewarded(server, dollars=0.25), models=POOL, budget="question.dollars=1")
    answer = rich.generate_sync("What is 2 + 2?")
    assert answer.cost is not None and 0.5 <= answer.cost < 0.6


def test_a_replay_needs_neither_server_nor_key(server: ScoreServer, tmp_path: Path) -> None:
    store = str(tmp_path / "calls.db")
    first = Archon(rewarded(server), models=POOL, store=store).generate_sync("What is 2 + 2?")
    away = rewarded(server, endpoint="http://127.0.0.1:9/rerank", key_variable="NO_SUCH_KEY")
    again = Archon(away, models=POOL, store=store, store_policy="replay").generate_sync("What is 2 + 2?")
    assert (again.text, again.candidates) == (first.text, first.candidates) and len(server.bodies) == 1
