"""Endpoints that take no connections: given up after a while, with their name, and for all calls at once."""

import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model._model import _models
from inspect_ai.scorer import includes

from archon_eval.models import outage as outage_module
from archon_eval.models.outage import Outage, is_refused
from archon_eval.runs.eval_worker import EvalJob, EvalTask, run_job
from archon_eval.solvers.archon import archon

MODEL = "openai-api/gone/some-model"


@pytest.fixture
def closed_port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A port of this machine on which nobody listens, as the endpoint of `MODEL`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    monkeypatch.setenv("GONE_API_KEY", "sk-gone")
    monkeypatch.setenv("GONE_BASE_URL", f"http://127.0.0.1:{port}/v1")
    _models.clear()
    return port


def test_a_searchs_eval_of_an_endpoint_that_is_not_there_ends_with_its_name(
    closed_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its worker runs it: Inspect alone would ask again without an end."""
    monkeypatch.setattr(outage_module, "NEW_SECONDS", 1.0)
    job = EvalJob(
        key="rank/x@math",
        architecture={"name": "one", "layers": [{"generator": [MODEL]}]},
        task=EvalTask("archon_eval/math", (("sample", True),)),
        questions=("alg-01",),
        log_dir=str(tmp_path / "logs"),
    )
    result = run_job(job)
    said = f"{result.error} {list(result.failed.values())}"
    assert f"{MODEL} at http://127.0.0.1:{closed_port}/v1/ takes no connections, for" in said, said
    assert not result.scores


def test_calls_after_the_end_of_patience_do_not_wait_for_themselves(
    closed_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage_module, "NEW_SECONDS", 1.0)
    tried: list[bool] = []
    is_over = Outage.is_over
    monkeypatch.setattr(Outage, "is_over", lambda self, error: tried.append(over := is_over(self, error)) or over)
    asked = Task(
        MemoryDataset([Sample(input=f"{n}?", target="1", id=n) for n in range(2)]),
        solver=archon({"name": "one", "layers": [{"generator": [MODEL]}]}),
        scorer=includes(),
    )
    options: dict[str, Any] = {"display": "none", "log_dir": str(tmp_path / "logs"), "fail_on_error": False}
    (log,) = eval(asked, model=None, max_samples=1, **options)
    messages = [sample.error.message for sample in log.samples or [] if sample.error]
    assert len(messages) == 2 and all("takes no connections" in message for message in messages)
    assert False in tried, "it was asked again"
    after = tried[tried.index(True) :]
    assert all(after), "and then no more, by the second question neither"


def test_patience_is_longer_with_an_endpoint_that_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(outage_module.time, "monotonic", lambda: now[0])
    outage, refused = Outage(), ConnectionRefusedError()
    assert not outage.is_over(refused)
    now[0] = 59.0
    assert not outage.is_over(refused) and not outage.is_over(TimeoutError()), "it took a connection"
    assert not outage.is_over(refused)
    now[0] = 119.0
    assert outage.is_over(refused)
    outage.note_answer()
    assert not outage.is_over(refused)
    now[0] += 299.0
    assert not outage.is_over(refused)
    now[0] += 1.0
    assert outage.is_over(refused)


def test_an_address_that_swallows_connections_takes_none_and_one_that_is_slow_does() -> None:
    """As behind a firewall: a queue of connections that is full, on a port of this machine."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        client = stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", trust_env=False)
        )
        with pytest.raises(httpx.ReadTimeout) as slow:
            client.get("/", timeout=httpx.Timeout(None, read=0.1))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        with pytest.raises(httpx.ConnectTimeout) as swallowed:
            client.get("/", timeout=httpx.Timeout(None, connect=0.5))
    assert not is_refused(slow.value) and is_refused(swallowed.value) and is_refused(socket.gaierror())
