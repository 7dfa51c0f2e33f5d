"""Every door, every component, faults and replays with a real model on a real llama.cpp server.

What a protocol promises must hold. The model is small, so nothing here asks whether its answers are good.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.llama import CONTEXT, SLOTS, RealServer, Relay, require_real_model, wait_until
from inspect_ai._cli.main import inspect as inspect_command
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model._model import _models

import archon_eval
from archon_eval import Archon
from archon_eval.components.fuser import FUSE_PROMPT
from archon_eval.components.prompt_parts import strip_echo
from archon_eval.errors import ModelError
from archon_eval.models.store import CallStore
from archon_eval.runs.account import QuestionAccount, read_accounts

pytestmark = pytest.mark.xdist_group("real_model")  # one server for all

MODEL = "openai-api/llama/SmolLM2-135M-Instruct"
EXAMPLES = Path(__file__).parents[2] / "examples" / "lm_eval"
EASY = f"archon_eval/gsm8k -T data={Path(archon_eval.__file__).parent / 'samples' / 'easy.jsonl'}"
OVERLONG = "Read this carefully. " * (CONTEXT // 3)
"""More tokens than the server's context has."""


@pytest.fixture(scope="module")
def server() -> Iterator[RealServer]:
    require_real_model()
    with RealServer() as found:
        yield found


@pytest.fixture
def relay(server: RealServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """A record of its own for each test, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSPECT_LOG_DIR", str(tmp_path / "logs"))
    monkeypatch.setenv("INSPECT_DISPLAY", "none")
    with Relay(server.address) as found:
        monkeypatch.setenv("LLAMA_BASE_URL", found.url)
        monkeypatch.setenv("LLAMA_API_KEY", "none")
        yield found


def build(*layers: Any, max_tokens: int = 12, **settings: Any) -> dict[str, Any]:
    return {"max_tokens": max_tokens, "max_parse_retries": 1, **settings, "layers": list(layers)}


def write(name: str, architecture: dict[str, Any]) -> str:
    Path(name).write_text(json.dumps(architecture))
    return name


def run_inspect(line: str) -> EvalLog:
    """The log of `inspect eval LINE`."""
    before = set(Path("logs").glob("*.eval"))
    inspect_command.main(["eval", *shlex.split(line)], standalone_mode=False)
    (new,) = set(Path("logs").glob("*.eval")) - before
    return read_eval_log(str(new))


def read_log_accounts(log: EvalLog) -> list[QuestionAccount]:
    return [account for sample in log.samples or () for account in read_accounts(sample)]


def check_counts(relay: Relay, calls: int, input_tokens: int, output_tokens: int) -> None:
    """What somebody counted is what the server gave."""
    assert (calls, input_tokens, output_tokens) == (relay.choices, relay.input_tokens, relay.output_tokens)


def check_accounts(relay: Relay, accounts: list[QuestionAccount]) -> None:
    usages = [account.usage for account in accounts]
    check_counts(
        relay,
        sum(usage.calls for usage in usages),
        sum(usage.input_tokens for usage in usages),
        sum(usage.output_tokens for usage in usages),
    )
    assert all(usage.calls_without_usage == usage.failed == 0 and usage.dollars is None for usage in usages)


def read_fused(relay: Relay) -> set[str]:
    """The fuser's answers; such a model repeats parts of its prompt, which are taken off."""
    texts = [request.texts[0] for request in relay.requests if not request.body.get("n")]
    return {strip_echo(text, FUSE_PROMPT)[0] for text in texts}


def test_the_solver(relay: Relay) -> None:
    """Draws go out in one request; calls and tokens are those of the server's replies."""
    architecture = write("a.yaml", build({"generator": {"model": MODEL, "samples": 3}}, {"fuser": MODEL}))
    log = run_inspect(f"{EASY} --limit 2 --model none --solver archon -S architecture={architecture}")
    accounts = read_log_accounts(log)
    assert log.status == "success" and [account.usage.calls for account in accounts] == [4, 4]
    check_accounts(relay, accounts)
    assert sorted(int(request.body.get("n") or 1) for request in relay.requests) == [1, 1, 3, 3]
    assert all(len(reply["choices"]) in (1, 3) for reply in relay.replies)
    assert log.stats.model_usage[MODEL].output_tokens == relay.output_tokens
    assert {sample.output.completion for sample in log.samples or ()} == read_fused(relay)


def test_the_model_door(relay: Relay) -> None:
    """The task's own prompt reaches the model; the account goes with the output."""
    architecture = write("a.yaml", build({"generator": {"model": MODEL, "samples": 2}}, {"vote": {"top_k": 1}}))
    log = run_inspect(f"{EASY} --limit 2 --model archon/{architecture}")
    accounts = read_log_accounts(log)
    assert log.status == "success" and len(accounts) == 2
    check_accounts(relay, accounts)
    assert {request.body["n"] for request in relay.requests} == {2}
    given = {text for request in relay.requests for text in request.texts}
    assert {sample.output.completion for sample in log.samples or ()} <= given


def test_stock_lm_eval(relay: Relay) -> None:
    architecture = write("a.yaml", build({"generator": {"model": MODEL, "samples": 2}}, {"fuser": MODEL}))
    command = [
        *(sys.executable, "-m", "lm_eval", "--model", "archon", "--apply_chat_template"),
        *("--model_args", f"model=real,architecture={architecture}", "--include_path", str(EXAMPLES)),
        *("--tasks", "math_sample", "--limit", "2", "--output_path", "out", "--log_samples"),
    ]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(Path("hf").absolute())}
    done = subprocess.run(command, env={**os.environ, **offline}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = Path("out").rglob("results_*.json")
    found = json.loads(results.read_text())["config"]
    usage = found["models"][MODEL]
    assert found["calls"] == usage["calls"] == 6 and found["dollars"] is None
    check_counts(relay, usage["calls"], usage["input_tokens"], usage["output_tokens"])
    (samples,) = Path("out").rglob("samples_math_sample_*.jsonl")
    answers = {json.loads(line)["resps"][0][0] for line in samples.read_text().splitlines()}
    assert answers == read_fused(relay)


def test_plain_python_takes_more_draws_than_the_server_gives_at_once(relay: Relay) -> None:
    """The server refuses such an `n`; the draws come all the same, and each is paid once."""
    count = SLOTS + 1
    archon = Archon(build({"generator": {"model": MODEL, "samples": count}}, max_tokens=8), max_retries=1)
    answer = archon.generate_sync("Name an animal.")
    assert len(answer.candidates) == count == relay.choices and answer.cost is None
    check_counts(relay, count, answer.usage.input_tokens, answer.usage.output_tokens)
    assert sorted(candidate.text for candidate in answer.candidates) == sorted(
        text for request in relay.requests for text in request.texts
    )


TESTS_PROMPT = "{instruction}\n\nNo, write a numbered list of three fruits."
"""Even this model writes this list, so that there is something to evaluate by."""


def test_every_component(relay: Relay) -> None:
    """Whatever such a model replies, each layer does its work or says that it fell back."""
    tests = {"prompts": {"tests": TESTS_PROMPT}}
    architecture = build(
        {"generator": {"model": MODEL, "samples": 2}},
        {"unit_test_generator": {**tests, "model": MODEL, "max_tests": 2, "max_tokens": 24, "max_parse_retries": 4}},
        {"unit_test_evaluator": {"model": MODEL, "keep": "all"}},
        {"verifier": MODEL},
        {"critic": MODEL},
        {"ranker": {"model": MODEL, "top_k": 2}},
        {"vote": {}},
        {"fuser": MODEL},
        max_tokens=16,
    )
    archon = Archon(architecture)
    answer = archon.generate_sync("What is 2 + 3?")
    check_counts(
        relay,
        sum(step.reply is not None for step in answer.trail.steps),
        answer.usage.input_tokens,
        answer.usage.output_tokens,
    )
    kinds = [next(iter(layer)) for layer in architecture["layers"]]
    assert [layer.kind for layer in answer.trail.layers] == kinds
    survivors = [len(layer.candidates) for layer in answer.trail.layers]
    alone = {"vote"} | ({"ranker"} if survivors[kinds.index("ranker") - 1] == 1 else set())  # they call no model
    tests_layer = kinds.index("unit_test_generator") + 1
    if any(note.what == "fallback" and note.layer == tests_layer for note in answer.trail.notes):
        alone.add("unit_test_evaluator")  # there are no tests to judge by
    assert {step.kind for step in answer.trail.steps} == set(kinds) - alone
    assert answer.text in relay.requests[-1].texts[0]
    sent = [message.content for step in answer.trail.steps for message in step.messages[-1:]]
    assert sorted(set(sent)) == sorted({request.body["messages"][-1]["content"] for request in relay.requests})
    problems = sum(sum(outcome.problems.values()) for outcome in answer.trail.outcomes)
    assert answer.trail.counts.get("fallback", 0) <= problems


def test_a_judges_log_probabilities(relay: Relay) -> None:
    """AlpacaEval's judge is graded by what the server says of its first token."""
    write("a.yaml", build({"generator": MODEL}))
    Path("judge.txt").write_text(
        "<|im_start|>system\nYou repeat letters.\n<|im_end|>\n<|im_start|>user\n"
        "{instruction} {output_1} {output_2}\nRepeat this one letter and nothing else: M\n<|im_end|>\n"
    )
    log = run_inspect(
        "archon_eval/alpaca_eval -T sample=true -T judge_prompts=judge.txt --limit 1 --model none --solver archon "
        "-S architecture=a.yaml --model-role judge=openai-api/llama/judge"
    )
    assert log.status == "success" and log.samples
    ((score,),) = [(sample.scores or {}).values() for sample in log.samples]
    assert score.metadata is not None and score.metadata["graded_by"] == "log probabilities"
    asked = [reply for request, reply in zip(relay.requests, relay.replies, strict=True) if is_judge(request.body)]
    top = asked[-1]["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    (judgment,) = score.metadata["judgments"]
    assert judgment["replies"][-1]["top_logprobs"] == [[each["token"], each["logprob"]] for each in top]
    assert 0 < float(score.value) < 1 or {each["token"] for each in top} & {"m", "M"} == {"M"}
    (account,) = read_log_accounts(log)
    assert account.usage.calls == sum(not is_judge(request.body) for request in relay.requests) == 1


def is_judge(body: dict[str, Any]) -> bool:
    return bool(body["model"] == "judge")


def test_a_context_overflow_is_a_failed_call(relay: Relay) -> None:
    """It is no reply: the same question is asked again, as it must be when the limit was raised."""
    archon = Archon(build({"generator": MODEL}), store="calls.db", max_retries=1)
    sent = []
    for _ in range(2):
        with pytest.raises(ModelError, match="exceeds the available context size"):
            archon.generate_sync(OVERLONG)
        sent.append(len(relay.refusals))
    assert 0 < sent[0] < sent[1] == len(relay.requests) and relay.choices == 0
    assert {each["error"]["type"] for each in relay.refusals} == {"exceed_context_size_error"}


def test_a_context_overflow_that_is_dropped_is_in_the_account(relay: Relay) -> None:
    """The critic alone reads too much: the answers go on without it, and the account says so."""
    wording = {"critique": OVERLONG + "{instruction} {candidates}"}
    critic = {"model": MODEL, "on_error": "drop", "prompts": wording}
    write("a.yaml", build({"generator": {"model": MODEL, "samples": 2}}, {"critic": critic}, {"fuser": MODEL}))
    log = run_inspect(f"{EASY} --limit 1 --model none --solver archon -S architecture=a.yaml --max-retries 1")
    assert log.status == "success"
    (account,) = read_log_accounts(log)
    assert account.usage.failed == 1 and account.notes.get("dropped") == 1
    assert account.layers[1].usage.calls == 0 and account.usage.calls == relay.choices == 3
    assert not any("exceed" in message["content"] for request in relay.requests for message in request.body["messages"])


def test_stop_after_ends_what_the_server_writes(relay: Relay, server: RealServer) -> None:
    """The long answer is given up in the middle when the short one has passed."""
    relay.extra, relay.streams = {"ignore_eos": True}, True
    limit = CONTEXT - 100
    wording = {
        "reason": "Say why. {instruction} {candidate}",
        "verdict": "{instruction} {candidate} {reasons} Reply with this word: [Correct]",
    }
    verifier = {"model": MODEL, "stop_after": 1, "max_parse_retries": 0, "prompts": wording}
    generators = [{"model": MODEL, "max_tokens": 4}, {"model": MODEL, "max_tokens": limit}]
    archon = Archon(build({"generator": generators}, {"verifier": verifier}, max_tokens=8))
    before = server.count_steps()
    answer = archon.generate_sync("Count from 1 to 1000.")
    assert len(answer.candidates) == 1 and answer.trail.counts["cancelled"] == 1
    assert relay.choices == 3 == sum(step.reply is not None for step in answer.trail.steps)
    wait_until(lambda: relay.under_way == 0 and server.is_idle())
    (given_up,) = (request for request in relay.requests if not request.answered)
    assert given_up.body["max_tokens"] == limit
    assert server.count_steps() - before < limit, "the server wrote the whole answer"
    check_counts(relay, 3, answer.usage.input_tokens, answer.usage.output_tokens)


BENCH = """
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import includes

@task
def bench():
    samples = [Sample(input=f"Name {n} animals.", target="a", id=n) for n in range(3)]
    return Task(MemoryDataset(samples), scorer=includes())
"""
CALLS = 3 * 3
BENCH_LINE = "bench.py --model none --solver archon -S architecture=a.yaml -S store=calls.db --max-connections 1"


def start_bench() -> "subprocess.Popen[str]":
    """An eval in a process of its own: two draws and a fuser on each of three questions, with a call store."""
    Path("bench.py").write_text(BENCH)
    write("a.yaml", build({"generator": {"model": MODEL, "samples": 2}}, {"fuser": MODEL}, max_tokens=6))
    return subprocess.Popen(
        [sys.executable, "-m", "inspect_ai", "eval", *shlex.split(BENCH_LINE)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # or a background job's is ignored
    )


def count_stored() -> int:
    if not Path("calls.db").exists():
        return 0
    with CallStore(Path("calls.db"), read_only=True) as store:
        return store.count()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_ended_eval_goes_on_where_it_was_and_can_be_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    """Ctrl-C or kill -9, the same command again, and once more with the server gone: a server of its own."""
    require_real_model()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSPECT_LOG_DIR", str(tmp_path / "logs"))
    monkeypatch.setenv("INSPECT_DISPLAY", "none")
    monkeypatch.setenv("LLAMA_API_KEY", "none")
    with RealServer() as server, Relay(server.address) as relay:
        monkeypatch.setenv("LLAMA_BASE_URL", relay.url)
        with start_bench() as process:
            try:
                wait_until(lambda: relay.choices >= 3, process)
                relay.hold()  # what comes in from now on stays under way
                wait_until(lambda: relay.under_way > 0 == relay.forwarded and count_stored() == relay.choices, process)
                process.send_signal(how)
                said = process.communicate(timeout=240)[0]
            finally:
                process.kill()
        assert how != signal.SIGKILL or process.returncode == -signal.SIGKILL, said
        (ended,) = Path("logs").glob("*.eval")
        assert how != signal.SIGINT or read_eval_log(str(ended), header_only=True).status == "cancelled"
        kept = count_stored()
        assert 3 <= kept == relay.choices < CALLS
        wait_until(lambda: relay.under_way == 0)
        relay.release()
        relay.reset()
        paid = run_inspect(BENCH_LINE)
        assert relay.choices == CALLS - kept and count_stored() == CALLS
        check_counts(relay, *count_paid(paid))
    _models.clear()  # a replay needs no server, nor a model that was looked up
    replayed = run_inspect(f"{BENCH_LINE} -S store_policy=replay")
    assert dump_results(replayed) == dump_results(paid)
    assert sum(account.usage.reused_calls for account in read_log_accounts(replayed)) == CALLS


def count_paid(log: EvalLog) -> tuple[int, int, int]:
    usages = [account.usage for account in read_log_accounts(log)]
    parts = [(usage, usage.reused) for usage in usages]
    return (
        sum(usage.paid_calls for usage in usages),
        sum(usage.input_tokens - (reused.input_tokens if reused else 0) for usage, reused in parts),
        sum(usage.output_tokens - (reused.output_tokens if reused else 0) for usage, reused in parts),
    )


def dump_results(log: EvalLog) -> str:
    """Answers and scores, as text."""
    assert log.results
    scores = {name: metric.value for score in log.results.scores for name, metric in score.metrics.items()}
    answers = [
        (sample.id, sample.output.completion, [score.value for score in (sample.scores or {}).values()])
        for sample in log.samples or ()
    ]
    return json.dumps([scores, sorted(answers)])
