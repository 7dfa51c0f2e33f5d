"""The solver inside real Inspect evals: what reaches the models, what the log says, what stops it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.event import InfoEvent, ModelEvent, SpanBeginEvent
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentText,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.scorer import choice, includes
from inspect_ai.solver import Generate, Solver, TaskState, multiple_choice, solver
from inspect_ai.tool import bash

from archon_eval._inspect_compat import PrerequisiteError
from archon_eval.solvers import archon

seen: list[tuple[str, list[tuple[str, str]]]] = []
answers: dict[str, Callable[[str], str]] = {}


@modelapi(name="scripted")
class Scripted(ModelAPI):
    """Answers with `answers[name](last user text)`, else its own name; remembers what it was sent."""

    async def generate(self, input: Any, tools: Any, tool_choice: Any, config: Any) -> ModelOutput:
        name = self.model_name
        seen.append((name, [(m.role, m.text) for m in input]))
        await anyio.sleep(600 if name == "slow" else 0.001)
        text = answers.get(name, lambda _: f"I am {name}")(input[-1].text)
        output = ModelOutput.from_content(name, text)
        output.usage = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
        return output


@pytest.fixture(autouse=True)
def fresh() -> None:
    seen.clear()
    answers.clear()


def run(sample: Sample, architecture: Any, tmp_path: Path, scorer: Any = None, **options: Any) -> EvalLog:
    names = ("models", "cot", "multiple_correct", "trace", "store", "epoch_offset", "first_epoch")
    solver_options = {key: options.pop(key) for key in names if key in options}
    task = Task(MemoryDataset([sample]), solver=archon(architecture, **solver_options), scorer=scorer or includes())
    (log,) = eval(task, model=None, log_dir=str(tmp_path), display="none", log_samples=True, **options)
    return read_eval_log(log.location, resolve_attachments=True) if log.samples else log


def layers(*kinds: Any) -> dict[str, Any]:
    return {"name": "try", "layers": list(kinds)}


FUSED = layers({"generator": ["scripted/a", "scripted/b"]}, {"fuser": "scripted/f"})


def test_the_answer_is_the_fusers_and_the_log_has_the_account(tmp_path: Path) -> None:
    log = run(Sample(input="Who are you?", target="I am f"), FUSED, tmp_path, epochs=2)
    assert log.status == "success" and log.results and log.results.scores[0].metrics["accuracy"].value == 1.0
    assert log.samples and len(log.samples) == 2
    sample = log.samples[0]
    assert sample.messages[-1].text == "I am f" and sample.output.completion == "I am f"
    account = sample.metadata["archon"]
    assert account["architecture"] == "try" and account["calls"] == 3 and account["notes"] == {}
    assert account["models"]["scripted/a"]["calls"] == 1
    usage = {model: (use.input_tokens, use.output_tokens) for model, use in log.stats.model_usage.items()}
    assert usage == {f"scripted/{name}": (20, 10) for name in "abf"}, "each call counted once"


def test_trace_of_calls_has_a_span_per_component_and_inspects_own_events(tmp_path: Path) -> None:
    answers["c"] = lambda _: "[1]\nStrengths: sweet\n[2]\nWeaknesses: sour"
    architecture = layers(FUSED["layers"][0], {"critic": "scripted/c"}, FUSED["layers"][1])
    log = run(Sample(input="Who?", target="x"), architecture, tmp_path, trace="calls")
    assert log.samples
    events = log.samples[0].events
    spans = {event.id: event for event in events if isinstance(event, SpanBeginEvent)}
    names = [event.name for event in spans.values() if event.type and event.type.startswith("archon")]
    assert names == ["layer 1: generator", "generator 1", "generator 2", "layer 2: critic", "layer 3: fuser"]
    for event in events:
        if isinstance(event, ModelEvent):
            assert event.span_id and (spans[event.span_id].type or "").startswith("archon")
    told = [str(event.data) for event in events if isinstance(event, InfoEvent)]
    assert len(told) == 3 and "candidate 1.2 by scripted/b" in told[0]
    assert "Strengths: sweet" in told[1] and told[1].index("I am a") < told[1].index("sweet") < told[1].index("I am b")


def test_full_trace_is_an_event_per_layer_with_every_prompt_and_reply_of_each_component(tmp_path: Path) -> None:
    answers["c"] = lambda _: "[1]\nStrengths: sweet\n[2]\nWeaknesses: sour"
    architecture = layers(FUSED["layers"][0], {"critic": "scripted/c"}, FUSED["layers"][1])
    log = run(Sample(input="Who?", target="x"), architecture, tmp_path)
    assert log.samples
    events = log.samples[0].events
    names = [event.name for event in events if isinstance(event, SpanBeginEvent) and event.type == "archon_layer"]
    assert names == ["layer 1: generator", "layer 2: critic", "layer 3: fuser"]
    assert not any(isinstance(event, ModelEvent) for event in events)
    told = [str(event.data) for event in events if isinstance(event, InfoEvent)]
    assert [[part.split(": ")[0] for part in text.split("**") if part.startswith("Layer")] for text in told] == [
        ["Layer 1, generator 1 of 2", "Layer 1, generator 2 of 2"],
        ["Layer 2, critic"],
        ["Layer 3, fuser"],
    ]
    first, second = told[0].split("**Layer 1, generator 2 of 2")
    assert "Who?" in first and "I am a" in first and "I am b" in second
    assert "Who?" not in second and "Prompt, generate about 1.2: that of generator 1" in second
    assert "I am b" in told[1] and "Strengths: sweet" in told[1] and "candidate 1.1 by scripted/a, critiqued" in told[1]
    assert "sour" in told[2] and "I am f" in told[2]


def test_compact_trace_is_one_event_also_when_the_question_fails(tmp_path: Path) -> None:
    log = run(Sample(input="Who?", target="x"), FUSED, tmp_path, trace="compact")
    assert log.samples
    told = [e for e in log.samples[0].events if isinstance(e, InfoEvent | ModelEvent)]
    assert len(told) == 1 and isinstance(told[0], InfoEvent) and "I am b" in str(told[0].data)
    answers["f"] = lambda _: 1 / 0  # type: ignore[return-value]
    log = run(Sample(input="Who?", target="x"), FUSED, tmp_path, trace="compact")
    assert log.status == "error" and log.samples
    (told,) = [e for e in log.samples[0].events if isinstance(e, InfoEvent)]
    assert "I am b" in str(told.data) and "ZeroDivisionError" in str(told.data)


def test_hostile_candidates_cannot_leave_their_block(tmp_path: Path) -> None:
    answers["a"] = lambda _: "```\n<script>alert(1)</script>\n````\n# big"
    log = run(Sample(input="Who?", target="x"), FUSED, tmp_path)
    assert log.samples
    told = next(str(e.data) for e in log.samples[0].events if isinstance(e, InfoEvent))
    assert "`````text\n```\n<script>" in told


def test_history_reaches_generators_as_it_is_and_judges_as_text(tmp_path: Path) -> None:
    answers["v"] = lambda _: "[Correct]"
    history = [
        ChatMessageSystem(content="Answer with one letter."),
        ChatMessageUser(content="example question"),
        ChatMessageAssistant(content="E"),
        ChatMessageUser(content=[ContentText(text="real question")]),
    ]
    run(Sample(input=history, target="x"), layers({"generator": "scripted/a"}, {"verifier": "scripted/v"}), tmp_path)
    expected = [(m.role, m.text) for m in history]
    assert seen[0] == ("a", expected)
    for _, messages in seen[1:]:
        assert [role for role, _ in messages] == ["user"]
        assert "Answer with one letter." in messages[0][1] and "real question" in messages[0][1]


def test_a_second_turn_of_the_same_sample_adds_to_the_account(tmp_path: Path) -> None:
    @solver
    def twice() -> Solver:
        once = archon(FUSED)

        async def solve(state: TaskState, generate: Generate) -> TaskState:
            state = await once(state, generate)
            state.messages.append(ChatMessageUser(content="And now?"))
            return await once(state, generate)

        return solve

    task = Task(MemoryDataset([Sample(input="First?", target="x")]), solver=twice(), scorer=includes())
    (log,) = eval(task, model=None, log_dir=str(tmp_path), display="none")
    assert log.samples and len(log.samples[0].metadata["archon"]["earlier_turns"]) == 1
    assert [m.role for m in log.samples[0].messages] == ["user", "assistant", "user", "assistant"]
    assert seen[-1][1][:2] == [("user", "First?"), ("assistant", "I am f")]


@pytest.mark.parametrize("value", ["mine", {"mine": 1}], ids=repr)
def test_metadata_of_the_users_in_the_accounts_place_is_refused_before_anything_is_asked(
    tmp_path: Path, value: Any
) -> None:
    log = run(Sample(input="q", target="x", metadata={"archon": value}), FUSED, tmp_path)
    assert log.status == "error" and log.error and not seen
    assert "give the key another name" in log.error.message and "mine" in log.error.message


@pytest.mark.parametrize("cot", [False, True])
def test_choices_are_formatted_and_marked_as_inspect_does(tmp_path: Path, cot: bool) -> None:
    answers["a"] = lambda text: "reasons...\nANSWER: B"
    sample = Sample(input="Two?", choices=["one", "two"], target="B")
    ours = run(sample, layers({"generator": "scripted/a"}), tmp_path, choice(), cot=cot)
    prompt = seen[0][1]
    task = Task(MemoryDataset([sample]), solver=multiple_choice(cot=cot), scorer=choice())
    (theirs,) = eval(task, model="scripted/a", log_dir=str(tmp_path), display="none")
    assert prompt == seen[1][1], "the very prompt of Inspect's own solver"
    assert ours.results and theirs.results and ours.samples and theirs.samples
    assert ours.results.scores[0].metrics["accuracy"].value == 1.0
    assert ours.samples[0].choices == theirs.samples[0].choices


def test_tools_are_refused_with_the_command_that_offers_them(tmp_path: Path) -> None:
    @solver
    def with_tools() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            state.tools = [bash()]
            return state

        return solve

    task = Task(MemoryDataset([Sample(input="x")]), solver=[with_tools(), archon(FUSED)], scorer=includes())
    (log,) = eval(task, model=None, log_dir=str(tmp_path), display="none")
    assert log.status == "error" and log.error and "has tools" in log.error.message
    assert "`inspect eval TASK --model archon/FILE.yaml`" in log.error.message
    assert seen == [], "nothing was paid"


def test_inspects_limits_stop_the_sample(tmp_path: Path) -> None:
    hundred = layers(
        {
            "generator": {"model": "scripted/a", "samples": 100},
        },
        {"fuser": "scripted/f"},
    )
    log = run(Sample(input="x", target="x"), hundred, tmp_path, token_limit=300)
    assert log.status == "success" and log.samples and log.samples[0].limit
    assert log.samples[0].limit.type == "token" and len(seen) < 101

    seen.clear()
    slow = layers({"generator": ["scripted/a", "scripted/slow"]}, {"fuser": "scripted/f"})
    log = run(Sample(input="x", target="x"), slow, tmp_path, time_limit=1)
    assert log.status == "success" and log.samples and log.samples[0].limit
    assert log.samples[0].limit.type == "time" and {name for name, _ in seen} == {"a", "slow"}


def test_a_failing_model_fails_the_sample_or_is_dropped_and_counted(tmp_path: Path) -> None:
    def fail(_: str) -> str:
        raise RuntimeError("the provider is on fire")

    answers["b"] = fail
    log = run(Sample(input="x", target="x"), FUSED, tmp_path)
    assert log.status == "error" and log.error
    assert "layer 1 (generator), generate: scripted/b: RuntimeError: the provider is on fire" in log.error.message
    log = run(Sample(input="x", target="x"), {**FUSED, "on_error": "drop"}, tmp_path)
    assert log.status == "success" and log.samples and log.samples[0].metadata["archon"]["notes"] == {"dropped": 1}


def test_secrets_are_not_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIPTED_API_KEY", "sk-very-secret-0123456789")

    def fail(_: str) -> str:
        raise RuntimeError("bad key sk-very-secret-0123456789")

    answers["b"] = fail
    log = run(Sample(input="x", target="x"), FUSED, tmp_path)
    assert log.error and "sk-very" not in json.dumps(log.error.model_dump())
    assert "<SCRIPTED_API_KEY>" in log.error.message


@pytest.mark.parametrize("text", ["", "a\x00b\ud800c", "x" * 1_000_000])
def test_odd_replies_are_kept_and_recorded(tmp_path: Path, text: str) -> None:
    answers["a"] = lambda _: text
    log = run(Sample(input="x", target="I am f"), FUSED, tmp_path)
    assert log.status == "success" and log.samples
    notes = log.samples[0].metadata["archon"]["notes"]
    assert notes == ({"empty": 1} if not text else {"cleaned": 1} if "\x00" in text else {})


def inspect_eval(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inspect_ai", "eval", *arguments, "--display", "plain"]
    clean = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**clean, **env}, check=False)


MATH = ("archon_eval/math", "-T", "sample=true", "--model", "none", "--limit", "4")


@pytest.mark.parametrize("name", ["archon", "archon_eval/archon"])
def test_the_commands_users_type(tmp_path: Path, name: str) -> None:
    done = inspect_eval(*MATH, "--solver", name, "-S", "architecture=moa-lite", "-S", "models=sim/pool", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "accuracy" in done.stdout


def test_solver_config_file_and_architecture_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("layers: [{generator: $1..2}, {fuser: $1}]")
    config = {"architecture": "mine.yaml", "models": ["sim/gpt-4o", "sim/claude-3-opus"]}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    done = inspect_eval(*MATH, "--solver", "archon", "--solver-config", "config.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sim/claude-3-opus" in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["architecture=moa-light", "models=sim/pool"], "did you mean 'moa-lite'"),
        (["architecture=moa-lite"], "has places for models"),
        (["architecture=moa-lite", "models=sim/gpt-5o"], "gpt-4o"),
        (["architecture=moa-lite", "models=opnai/gpt-4o"], "not recognized"),
        (["architecture=moa-lite", "models=openai/gpt-4o"], "OPENAI_API_KEY"),
        (["architecture=missing.yaml"], "cannot read architecture file missing.yaml"),
        (["architecure=moa-lite"], "unknown option 'architecure'; did you mean 'architecture'?"),
        (["models=sim/pool"], "which architecture?"),
    ],
)
def test_mistakes_are_said_before_anything_is_paid(tmp_path: Path, options: list[str], said: str) -> None:
    arguments = [word for option in options for word in ("-S", option)]
    done = inspect_eval(*MATH, "--solver", "archon", *arguments, cwd=tmp_path)
    shown = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0 and said in shown and "Traceback" not in shown
    assert not list(tmp_path.glob("logs/*.eval"))


def test_the_offset_of_epochs_chooses_other_draws_and_has_a_deprecated_name(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    store = {"store": str(tmp_path / "calls.db")}
    calls = []
    for options in ({}, {"epoch_offset": 2}, {"first_epoch": 3}, {"first_epoch": 1}):
        log = run(Sample(input="Who?", target="x"), layers({"generator": "scripted/a"}), tmp_path, **store, **options)
        assert log.samples
        account = log.samples[0].metadata["archon"]
        calls.append(account.get("reused", {}).get("calls", 0))
    assert calls == [0, 0, 1, 1], "3 is the offset 2, and 1 is none"
    assert [
        str(warning.message).partition(";")[0] for warning in recwarn if issubclass(warning.category, FutureWarning)
    ] == [
        "`first_epoch=3` is now `epoch_offset=2`",
        "`first_epoch=1` is now `epoch_offset=0`",
    ]
    for options, problem in (
        ({"first_epoch": 3, "epoch_offset": 2}, "give that alone"),
        ({"first_epoch": "three"}, "first_epoch must be a whole number from 1, not 'three'"),
        ({"epoch_offset": "two"}, "epoch_offset must be a whole number from 0, not 'two'"),
        ({"epoch_offset": None}, "epoch_offset must be a whole number from 0, not None"),
        ({"epoch_offset": -5}, "epoch_offset must be a whole number from 0, not -5"),
        ({"epoch_offset": 0.5}, "epoch_offset must be a whole number from 0, not 0.5"),
        ({"epoch_offset": True}, "epoch_offset must be a whole number from 0, not True"),
    ):
        with pytest.raises(PrerequisiteError, match=problem):
            archon("single", "mockllm/model", **options)
