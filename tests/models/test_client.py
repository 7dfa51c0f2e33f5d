"""The stack in real evals against a loopback server: what is sent, what is reused, what is counted."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from fakes.server import FakeServer
from inspect_ai import Task, eval
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog, Transcript
from inspect_ai.model import GenerateConfig, ModelCost, ModelInfo, get_model, set_model_cost, set_model_info
from inspect_ai.model._generate_config import set_active_generate_config
from inspect_ai.model._model import _models, init_active_model
from inspect_ai.scorer import includes

from archon_eval.architecture.spec import GenerationSettings
from archon_eval.errors import BudgetError, DataError, ModelError, StoreError
from archon_eval.models.call import Call, Reply
from archon_eval.models.client import build_client
from archon_eval.models.conversion import describe_endpoint, redact
from archon_eval.models.open_store import open_store
from archon_eval.models.store import CallStore
from archon_eval.models.store_admin import compute_stats, export, import_, verify
from archon_eval.solvers.archon import archon
from archon_eval.types import Message

A, B = "openai/gpt-4o", "openai/gpt-4-turbo"
PAIR = {"name": "pair", "layers": [{"generator": [A, B]}, {"fuser": A}]}
CALL = Call(A, (Message("user", "hi"),), GenerationSettings())


@pytest.fixture(autouse=True)
def no_store(fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARCHON_STORE", raising=False)


def run(
    tmp_path: Path,
    architecture: Any = PAIR,
    questions: int = 3,
    epochs: int = 1,
    limits: dict[str, Any] | None = None,
    **options: Any,
) -> EvalLog:
    samples = [Sample(input=f"Question {n}?", target="Answer", id=n) for n in range(questions)]
    task = Task(MemoryDataset(samples), solver=archon(architecture, **options), scorer=includes(), **(limits or {}))
    (log,) = eval(task, model=None, epochs=epochs, display="none", log_dir=str(tmp_path / "logs"))
    return log


def accounts(log: EvalLog) -> list[dict[str, Any]]:
    return [sample.metadata["archon"] for sample in log.samples or []]


def sent(server: FakeServer) -> int:
    return sum(int(one.body.get("n") or 1) for one in server.requests)


@pytest.mark.parametrize("trace", ["full", "compact", "calls"])
def test_totals_equal_inspects_own_and_reused_calls_are_apart(
    tmp_path: Path, fake_server: FakeServer, trace: str, address: str
) -> None:
    for again in (False, True):
        log = run(tmp_path, store=address, trace=trace, epochs=2)
        assert log.status == "success"
        for model, use in {} if again else log.stats.model_usage.items():
            mine = [account["models"][model] for account in accounts(log)]
            assert use.input_tokens == sum(one["input_tokens"] for one in mine) > 0
            assert use.output_tokens == sum(one["output_tokens"] for one in mine) > 0
        for account in accounts(log):
            assert account["calls"] == 3 and account["dollars"] > 0
            assert account.get("reused", {}).get("calls", 0) == (3 if again else 0)
            assert sum(layer["calls"] for layer in account["layers"]) == 3
            assert [part["model"] for part in account["layers"][0]["components"]] == [A, B]
        assert sum(use.total_tokens for use in log.stats.model_usage.values()) == 0 if again else True
    assert sent(fake_server) == 3 * 2 * 3, "three calls, two epochs, three questions, once"


def test_ten_samples_extend_five_and_a_shared_prefix_shares_its_draws(
    tmp_path: Path, fake_server: FakeServer, address: str
) -> None:
    def sampled(count: int, *more: Any) -> dict[str, Any]:
        return {"name": "s", "layers": [{"generator": {"model": A, "samples": count}}, *more]}

    given = {"store": address, "questions": 1}
    run(tmp_path, sampled(5), **given)
    assert sent(fake_server) == 5
    run(tmp_path, sampled(10), **given)
    assert sent(fake_server) == 10
    run(tmp_path, sampled(10, {"fuser": B}), **given)
    assert sent(fake_server) == 11
    run(tmp_path, {"name": "other", "layers": [{"generator": [A, A, B]}]}, **given)
    assert sent(fake_server) == 12, "two components with the same model are two draws"


def test_record_sends_everything_once_and_replaces(tmp_path: Path, fake_server: FakeServer, address: str) -> None:
    given = {"store": address, "questions": 1}
    run(tmp_path, **given)
    first = accounts(run(tmp_path, **given))
    log = run(tmp_path, **given, store_policy="record")
    assert sent(fake_server) == 6 and "reused" not in accounts(log)[0] and first[0]["reused"]["calls"] == 3
    assert log.samples
    replayed = run(tmp_path, **given, store_policy="replay")
    assert replayed.samples and replayed.samples[0].output.completion == log.samples[0].output.completion


REPLAY = """
import json, sys
sys.path[:0] = {path!r}
from test_client import PAIR, run, accounts
from pathlib import Path
log = run(Path(sys.argv[1]), store=sys.argv[2], store_policy="replay")
answers = [sample.output.completion for sample in log.samples]
used = [[account["calls"], account["models"]] for account in accounts(log)]
print(json.dumps([log.status, log.results.scores[0].metrics["accuracy"].value, answers, used]))
"""


def test_replay_needs_no_key_and_no_network(tmp_path: Path, fake_server: FakeServer, address: str) -> None:
    store = address
    log = run(tmp_path, store=store)
    before = len(fake_server.requests)
    keyless = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "ANTHROPIC"))}
    here = Path(__file__).parent
    program = REPLAY.format(path=[str(here), str(here.parent)])
    command = [sys.executable, "-c", program, str(tmp_path), store]
    shown = subprocess.run(command, env=keyless, capture_output=True, text=True, check=True).stdout
    status, accuracy, answers, used = json.loads(shown)
    again = run(tmp_path, store=store, store_policy="replay")
    assert len(fake_server.requests) == before
    assert status == again.status == "success" and log.samples and again.samples and log.results
    for same in (log, again):
        assert answers == [sample.output.completion for sample in same.samples or []]
    assert accuracy == log.results.scores[0].metrics["accuracy"].value == 1.0
    assert used == [[account["calls"], account["models"]] for account in accounts(again)]


def test_seconds_of_a_replay_are_the_recorded_ones(tmp_path: Path, fake_server: FakeServer, address: str) -> None:
    fake_server.latency = 0.2
    run(tmp_path, store=address, questions=1)
    first, second = (accounts(run(tmp_path, store=address, questions=1, store_policy="replay")) for _ in range(2))
    assert first == second
    layers = [layer["seconds"] for layer in first[0]["layers"]]
    assert min(layers) >= 0.2 and first[0]["seconds"] == pytest.approx(sum(layers), abs=0.002)
    generators = [part["seconds"] for part in first[0]["layers"][0]["components"]]
    assert layers[0] == max(generators) < sum(generators), "they were asked at once"


def test_replay_fails_closed_and_names_what_differs(tmp_path: Path, fake_server: FakeServer, address: str) -> None:
    store = address
    run(tmp_path, store=store)
    fake_server.reset()
    hot = {"name": "hot", "layers": [{"generator": {"model": A, "temperature": 1.0}}]}
    log = run(tmp_path, hot, store=store, store_policy="replay")
    assert log.status == "error" and log.error and not fake_server.requests
    assert '"temperature": 1.0' in log.error.message and '"temperature": 0.7' in log.error.message
    other = run(tmp_path, {"name": "o", "layers": [{"generator": "openai/other"}]}, store=store, store_policy="replay")
    assert other.error and "model (openai/other here" in other.error.message


def test_calls_that_were_cancelled_are_cancelled_in_a_replay_too(
    tmp_path: Path, fake_server: FakeServer, address: str
) -> None:
    store, slow = address, f"{A}!slow"
    first_pass = {"layers": [{"generator": [slow, A]}, {"verifier": {"model": A, "stop_after": 1}}, {"fuser": A}]}
    live = run(tmp_path, first_pass, questions=2, store=store)
    with open_store(store) as opened:
        assert opened.list_endpoints(slow) == [], "what was cancelled was not stored"
    logs = [run(tmp_path, first_pass, questions=2, store=store, store_policy="replay") for _ in range(2)]
    for log in logs:
        assert log.status == live.status == "success", log.error
        for replayed, sample in zip(log.samples or [], live.samples or [], strict=True):
            assert replayed.output.completion == sample.output.completion
            assert replayed.metadata["archon"]["notes"] == sample.metadata["archon"]["notes"] == {"cancelled": 1}
    assert accounts(logs[0]) == accounts(logs[1])
    other = {"layers": [{"generator": [slow, A]}, {"verifier": {"model": B, "stop_after": 1}}, {"fuser": A}]}
    log = run(tmp_path, other, questions=1, store=store, store_policy="replay")
    assert log.error and "not in the recording" in log.error.message, "what is needed and missing is still an error"


def test_calls_that_failed_for_good_fail_in_a_replay_too_and_are_sent_again_by_others(
    tmp_path: Path, fake_server: FakeServer, address: str
) -> None:
    store, broken = address, f"{A}!400x2"  # the fast path, then Inspect's, is refused
    loose = {"layers": [{"generator": [{"model": broken, "on_error": "drop"}, A]}, {"fuser": A}]}
    live = run(tmp_path, loose, questions=1, store=store)
    replayed = run(tmp_path, loose, questions=1, store=store, store_policy="replay")
    for log in (live, replayed):
        assert log.status == "success" and accounts(log)[0]["notes"] == {"dropped": 1} and log.samples
        assert accounts(log)[0]["failed"] == 1 and accounts(log)[0]["calls"] == 2
    assert live.samples and replayed.samples
    assert live.samples[0].output.completion == replayed.samples[0].output.completion
    with open_store(store) as opened:
        assert opened.count() == 2 and compute_stats(opened).failures == 1 and verify(opened) == []
        assert export(opened, tmp_path / "all.jsonl") == (3, 0)
    with open_store(tmp_path / "copy.db") as copy:
        import_(copy, tmp_path / "all.jsonl")
    copied = run(tmp_path, loose, questions=1, store=str(tmp_path / "copy.db"), store_policy="replay")
    assert accounts(copied) == accounts(replayed)
    again = run(tmp_path, loose, questions=1, store=store)
    assert accounts(again)[0]["notes"] == {} and accounts(again)[0]["calls"] == 3, "it was sent again, and answered"
    assert accounts(run(tmp_path, loose, questions=1, store=store, store_policy="replay"))[0]["notes"] == {}


def test_what_fails_when_it_is_recorded_again_fails_in_its_replay(tmp_path: Path, fake_server: FakeServer) -> None:
    loose, given = {"layers": [{"generator": [{"model": A, "on_error": "drop"}, B]}]}, {"store": str(tmp_path / "c.db")}
    run(tmp_path, loose, questions=1, store_policy="record", **given)
    fake_server.script("401", "ok", "401")  # A's, by the fast path and by Inspect
    again = run(tmp_path, loose, questions=1, store_policy="record", **given)
    replayed = run(tmp_path, loose, questions=1, store_policy="replay", **given)
    for log in (again, replayed):
        assert log.samples and accounts(log)[0]["notes"] == {"dropped": 1}
        assert f"Answer of {B.partition('/')[2]}" in log.samples[0].output.completion


def test_what_the_harness_adds_is_part_of_the_key(fake_server: FakeServer, address: str) -> None:
    """With the eval's own model, Inspect adds its configuration (`--top-p`, `--system-message`) to every call."""

    async def main() -> None:
        caller = build_client([A], store=address)
        for top_p in (0.9, 0.9, 0.5):
            init_active_model(get_model(A), GenerateConfig(top_p=top_p, max_retries=1))
            await caller(CALL)

    anyio.run(main)
    assert [request.body.get("top_p") for request in fake_server.requests] == [0.9, 0.5]


def test_options_of_an_eval_are_for_its_own_model_not_for_one_of_that_name_in_an_architecture(
    tmp_path: Path, fake_server: FakeServer, address: str
) -> None:
    """Flags of the command hold in the architecture; a system message is for the eval's own model."""
    for options, calls in (({}, 3), ({"system_message": "Be brief."}, 3), ({"top_p": 0.5}, 6)):
        samples = [Sample(input="Question?", target="Answer")]
        task = Task(MemoryDataset(samples), solver=archon(PAIR, store=address), scorer=includes())
        (log,) = eval(task, model=A, display="none", log_dir=str(tmp_path / "logs"), **options)  # type: ignore[arg-type]
        assert log.status == "success" and sent(fake_server) == calls
    assert ["top_p" in one.body for one in fake_server.requests] == [False] * 3 + [True] * 3
    assert all(message["role"] != "system" for one in fake_server.requests for message in one.body["messages"])


def test_what_the_harness_adds_may_be_secret_and_is_not_stored(
    tmp_path: Path, fake_server: FakeServer, address: str
) -> None:
    async def main() -> None:
        caller = build_client([A], store=address)
        for key in ("hush-1", "hush-1", "hush-2"):
            config = GenerateConfig(system_message=f"say {key}", extra_headers={"x-key": key}, max_retries=1)
            init_active_model(get_model(A), config)
            await caller(CALL)

    anyio.run(main)
    assert len(fake_server.requests) == 2
    assert all(b"hush" not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_rejected_request_is_not_quoted(tmp_path: Path, fake_server: FakeServer, address: str) -> None:
    async def main() -> None:
        caller = build_client([A], store=address)
        config = GenerateConfig(system_message="hush", extra_headers={"x-key": "hush"}, max_retries=0)
        init_active_model(get_model(A), config)
        fake_server.script("400", "400")
        with pytest.raises(ModelError, match="injected 400") as failed:
            await caller(Call(A, (Message("user", "hush"),), GenerationSettings()))
        assert "hush" not in str(failed.value)

    anyio.run(main)
    assert all(b"hush" not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_secret_that_begins_with_another_is_left_out_altogether(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("A_KEY", "project-1"), ("B_KEY", "project-1-hush"), ("C_KEY", "project-1")):
        monkeypatch.setenv(name, value)
    assert redact("refused: project-1-hush") == "refused: <B_KEY>"


def test_a_replay_does_not_choose_between_endpoints(
    tmp_path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    store, single = address, {"layers": [{"generator": A}]}
    assert run(tmp_path, single, questions=1, store=store).status == "success"
    with FakeServer(answer=lambda *_: "something else") as other:
        monkeypatch.setenv("OPENAI_BASE_URL", other.url)
        _models.clear()
        assert run(tmp_path, single, questions=1, store=store).status == "success" and sent(other) == 1
    log = run(tmp_path, single, questions=1, store=store, store_policy="replay")
    assert log.error and "from several endpoints" in log.error.message and other.url in log.error.message


def ask(caller: Any, *calls: Call) -> list[Reply | Exception]:
    found: list[Reply | Exception] = []

    async def one(call: Call) -> None:
        try:
            found.append(await caller(call))
        except (ModelError, StoreError, BudgetError) as exc:
            found.append(exc)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for call in calls:
                group.start_soon(one, call)

    anyio.run(main)
    return found


def test_equal_calls_under_way_are_sent_once(fake_server: FakeServer, address: str) -> None:
    fake_server.latency = 0.05
    caller = build_client([A], store=address)
    replies = [reply for reply in ask(caller, *[CALL] * 5) if isinstance(reply, Reply)]
    assert len(fake_server.requests) == 1 and len({reply.text for reply in replies}) == 1
    assert sorted(reply.reused for reply in replies) == [False, True, True, True, True]


def test_one_failure_is_not_the_others(fake_server: FakeServer, address: str) -> None:
    model = f"{A}!401x2"
    caller = build_client([model], store=address)
    found = ask(caller, *[Call(model, CALL.messages, CALL.settings)] * 3)
    assert [type(one) for one in found].count(ModelError) == 1
    assert all(isinstance(one, Reply) for one in found if not isinstance(one, ModelError))


@pytest.mark.parametrize("trace", ["full", "calls"])
@pytest.mark.parametrize("limit", ["token_limit", "cost_limit", "turn_limit"])
def test_a_reply_that_trips_a_limit_of_inspect_was_paid_and_is_kept(
    tmp_path: Path, fake_server: FakeServer, limit: str, trace: str, address: str
) -> None:
    samples = 4 if trace == "full" else 1  # with `n` all arrive together; else a limit cancels what is under way
    store = address
    draws = {"layers": [{"generator": {"model": A, "samples": samples}}, {"fuser": A}]}
    set_model_info("none/none", ModelInfo())
    for model in (A, "none/none"):
        set_model_cost(model, ModelCost(input=1e6, output=1e6, input_cache_write=0, input_cache_read=0))
    most: dict[str, Any] = {limit: 1 if limit == "turn_limit" else 5}
    log = run(tmp_path, draws, questions=1, store=store, trace=trace, limits=most)
    assert log.samples and log.samples[0].limit and log.samples[0].limit.type == limit.removesuffix("_limit")
    paid = sent(fake_server)
    with open_store(store) as opened:
        assert opened.count() == paid > 0
    log = run(tmp_path, draws, questions=1, store=store, trace=trace)
    assert log.status == "success" and sent(fake_server) == samples + 1


def test_an_endpoint_that_gives_fewer_draws_than_asked_for_counts_as_so_many_turns(
    tmp_path: Path, fake_server: FakeServer
) -> None:
    draws = {"layers": [{"generator": {"model": f"{A}!one-choice", "samples": 4}}]}
    log = run(tmp_path, draws, questions=1, limits={"turn_limit": 4})
    assert log.samples and log.samples[0].limit is None and log.samples[0].metadata["archon"]["calls"] == 4
    assert [one.body.get("n", 1) for one in fake_server.requests] == [4, 1, 1, 1]


def test_the_budget_of_an_eval_ends_it_with_what_was_done(
    tmp_path: Path, fake_server: FakeServer, address: str
) -> None:
    store = address
    log = run(tmp_path, questions=4, store=store, budget="eval.calls=7")
    assert log.status == "error" and log.error and "the eval's limit of 7 calls is used up" in log.error.message
    assert sent(fake_server) == 7
    with open_store(store) as opened:
        assert opened.count() == 7
    again = run(tmp_path, questions=4, store=store, budget={"eval": {"calls": 5}})
    assert again.status == "success" and sent(fake_server) == 12, "reused calls cost no budget"


def test_the_budget_of_a_question_is_its_own(tmp_path: Path, fake_server: FakeServer) -> None:
    assert run(tmp_path, budget="question.calls=3").status == "success"
    log = run(tmp_path, budget="question.calls=2")
    assert log.error and "the question's limit of 2 calls" in log.error.message
    assert run(tmp_path, budget="question.dollars=0.5 eval.dollars=2").status == "success"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"store_policy": "reuse"}, "needs a store"),
        ({"store": "x.db", "store_policy": "reus"}, "did you mean 'reuse'"),
        ({"trace": "ful"}, "did you mean 'full'"),
        (
            {"budget": "eval.dollars=1", "architecture": {"layers": [{"generator": "openai/who"}]}},
            "price of openai/who",
        ),
        (
            {"budget": "eval.dollars=1", "architecture": {"layers": [{"generator": {"model": A, "max_tokens": None}}]}},
            "no max_tokens",
        ),
        ({"prices": "/no/such/file"}, "cannot read price file"),
        ({"store": "/proc/none/calls.db"}, "cannot open call store"),
    ],
)
def test_wrong_options_are_said_before_anything_is_paid(
    options: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_server: FakeServer
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PrerequisiteError, match=said):
        archon(options.pop("architecture", PAIR), **options)
    assert not fake_server.requests


def test_the_environment_names_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHON_STORE", str(tmp_path / "mine.db"))
    assert build_client([A]).policy == "reuse" and (tmp_path / "mine.db").exists()
    assert build_client([A], policy="off").store is None


def test_prices_of_the_user_go_first_and_unknown_is_not_zero(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text(f"prices: [{{models: {A}, input: 1000000, output: 0}}]")
    log = run(tmp_path, questions=1, prices=str(prices))
    account = accounts(log)[0]
    assert account["models"][A]["dollars"] == account["models"][A]["input_tokens"]
    unknown = {"name": "u", "layers": [{"generator": [A, "openai/gpt-4-who"]}, {"fuser": A}]}
    account = accounts(run(tmp_path, unknown, questions=1))[0]
    assert account["dollars"] is None or account["models"]["openai/gpt-4-who"]["dollars"] is not None
    with pytest.raises(DataError):
        build_client([A], prices=tmp_path / "absent.yaml")


@pytest.mark.parametrize("trace", ["full", "calls"])
def test_a_reply_from_inspects_cache_is_reused_and_costs_no_budget(
    tmp_path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch, trace: str
) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))

    async def main() -> list[Reply]:
        set_active_generate_config(GenerateConfig(cache=True))
        caller = build_client([A], budget="eval.calls=2", trace=trace)
        return [await caller(CALL), await caller(CALL), await caller(CALL)]

    first, *others = anyio.run(main)
    assert not first.reused and all(reply.reused and reply.text == first.text for reply in others)
    assert sent(fake_server) == 1


def test_vllm_has_one_endpoint_before_and_after_its_first_call(
    tmp_path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inspect's provider finds or starts its server at the first call, and has no client before."""
    monkeypatch.setenv("VLLM_BASE_URL", fake_server.url)
    model = "vllm/llama-one-endpoint"
    caller = build_client([model], store=tmp_path / "calls.db")
    first, second = (
        Call(model, CALL.messages, GenerationSettings(temperature=temperature)) for temperature in (0.1, 0.2)
    )
    (one,) = ask(caller, first)
    (two,) = ask(build_client([model], store=tmp_path / "calls.db"), first)
    (three,) = ask(caller, second)
    assert isinstance(one, Reply) and two == replace(one, reused=True, seconds=round(one.seconds, 3))
    assert isinstance(three, Reply) and len(fake_server.requests) == 2
    assert CallStore(tmp_path / "calls.db").list_endpoints(model) == [f"{model} at {fake_server.url}"]
    monkeypatch.delenv("VLLM_BASE_URL")
    assert describe_endpoint(model, get_model(model)) == model, "the port of a server of its own says nothing"


def test_what_a_base_url_carries_besides_the_address_is_not_stored(
    tmp_path: Path, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://me:hush@localhost/v1?api-key=SECRET#too")
    where = describe_endpoint(A, get_model(A))
    assert where.startswith(f"{A} at http://localhost/v1") and "SECRET" not in where and "hush" not in where


def test_events_that_no_log_has_are_not_in_the_buffer_of_the_sample_either(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[str] = []
    original = Transcript._notify_subscribers

    def record(self: Transcript, event: Any) -> None:
        told.append(event.event)
        original(self, event)

    monkeypatch.setattr(Transcript, "_notify_subscribers", record)
    for trace in ("full", "calls"):
        told.clear()
        solver = archon({"name": "single", "layers": [{"generator": "$1"}]}, ["sim/gpt-4o"], trace=trace)
        task = Task(MemoryDataset([Sample(input="What is 2 + 2?")]), solver=solver)
        [log] = eval(task, model=None, display="none", log_dir=str(tmp_path))
        assert log.status == "success"
        assert ("model" in told) is (trace == "calls")
