"""`--model archon/...`: tasks that know nothing of architectures, on real clients and a loopback server."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.server import FakeServer, tokens
from inspect_ai import Task, eval, task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)
from inspect_ai.scorer import includes, model_graded_qa
from inspect_ai.solver import Generate, Solver, TaskState, generate, prompt_template, solver, system_message

TWO = "layers: [{generator: [openai/gpt-4o, openai/gpt-4o-mini]}, {fuser: openai/gpt-4o}]"
ONE = "layers: [{generator: openai/gpt-4o}]"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def run(given: Task, model: str | Model, **options: Any) -> EvalLog:
    return eval(given, model=model, display="none", log_dir="logs", log_realtime=False, max_retries=1, **options)[0]


def samples(log: EvalLog) -> list[EvalSample]:
    assert log.status == "success" and log.samples, log.error
    return log.samples


def prompts(server: FakeServer) -> list[list[dict[str, Any]]]:
    return [request.body["messages"] for request in server.requests]


@task
def stock() -> Task:
    return Task(
        dataset=[Sample("What is 2 + 2?", target="Answer of")],
        solver=[system_message("Be brief."), prompt_template("Think.\n\n{prompt}"), generate()],
        scorer=includes(),
    )


def test_a_task_that_prompts_in_its_solver_runs_unchanged(folder: Path, fake_server: FakeServer) -> None:
    (folder / "two.yaml").write_text(TWO)
    log = run(stock(), "archon/two.yaml", model_args={"trace": "calls"})
    sample = samples(log)[0]
    asked = {"role": "user", "content": "Think.\n\nWhat is 2 + 2?"}
    assert all({"role": "system", "content": "Be brief."} in prompt for prompt in prompts(fake_server))
    assert [prompt[-1] == asked for prompt in prompts(fake_server)] == [True, True, False]
    assert sample.output.completion.startswith("Answer of gpt-4o ")
    assert sample.scores and sample.scores["includes"].value == "C"
    assert sample.output.metadata and sample.output.metadata["archon"]["calls"] == 3
    # every inner call is an event of its own, inside a span of its layer; tokens are counted once
    calls = [event for event in sample.events if event.event == "model"]
    assert sorted(event.model for event in calls) == [
        "archon/two.yaml", "openai/gpt-4o", "openai/gpt-4o", "openai/gpt-4o-mini",
    ]  # fmt: skip
    assert {"layer 1: generator", "layer 2: fuser"} <= {e.name for e in sample.events if e.event == "span_begin"}
    assert set(log.stats.model_usage) == {"openai/gpt-4o", "openai/gpt-4o-mini"}


def test_what_the_layers_did_is_in_the_transcript(folder: Path, fake_server: FakeServer) -> None:
    (folder / "two.yaml").write_text(TWO)
    log = run(stock(), "archon/two.yaml")
    shown = "".join(samples(log)[0].attachments.values())
    assert "generator 2 of 2: openai/gpt-4o-mini" in shown and "fuser: openai/gpt-4o" in shown
    wire = [text for r in fake_server.requests for text in (*(m["content"] for m in r.body["messages"]), *r.texts)]
    assert sum(use.total_tokens for use in log.stats.model_usage.values()) == sum(map(tokens, wire))


def test_a_preset_takes_models_as_the_solver_does(folder: Path, fake_server: FakeServer) -> None:
    sample = samples(run(stock(), "archon/moa-lite", model_args={"models": ["openai/gpt-4o", "openai/gpt-4o-mini"]}))[0]
    assert sample.output.metadata and sample.output.metadata["archon"]["calls"] == 7


def test_settings_of_the_architecture_win_and_null_leaves_them_to_the_task(
    folder: Path, fake_server: FakeServer
) -> None:
    (folder / "own.yaml").write_text(ONE)
    (folder / "open.yaml").write_text(f"temperature: null\nmax_tokens: null\n{ONE}")
    given = stock()
    given.config = GenerateConfig(temperature=0.1, max_tokens=77)
    for name in ("own", "open"):
        run(given, f"archon/{name}.yaml")
    sent = [(r.body["temperature"], r.body.get("max_tokens", r.body.get("max_completion_tokens")))
            for r in fake_server.requests]  # fmt: skip
    assert sent == [(0.7, 2048), (0.1, 77)]


def test_judging_components_keep_their_own_settings(folder: Path, fake_server: FakeServer) -> None:
    layers = "{generator: [openai/gpt-4o, openai/gpt-4o-mini]}, {ranker: openai/gpt-4-turbo}, {fuser: openai/gpt-4o}"
    (folder / "a.yaml").write_text(f"temperature: null\nlayers: [{layers}]")
    given = stock()
    given.config = GenerateConfig(temperature=0.2)
    run(given, "archon/a.yaml")
    sent = {r.body["model"]: r.body.get("temperature") for r in fake_server.requests}
    assert sent == {"gpt-4o": 0.2, "gpt-4o-mini": 0.2, "gpt-4-turbo": None}


async def test_stop_sequences_end_answers_and_are_not_sent(folder: Path, fake_server: FakeServer) -> None:
    (folder / "one.yaml").write_text(ONE)
    config = GenerateConfig(stop_seqs=[", draw", "of"])
    output = await get_model("archon/one.yaml").generate("Hello", config=config)
    assert output.completion == "Answer " and "stop" not in fake_server.requests[0].body


async def test_each_choice_is_a_run_of_its_own(folder: Path, fake_server: FakeServer) -> None:
    (folder / "two.yaml").write_text(TWO)
    output = await get_model("archon/two.yaml").generate("Hello", config=GenerateConfig(num_choices=3))
    assert len({choice.message.text for choice in output.choices}) == 3
    assert len(fake_server.requests) == 9
    assert [account["calls"] for account in (output.metadata or {})["archon"]] == [3, 3, 3]


@solver
def chooses(count: int) -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        return await generate(state, num_choices=count)

    return solve


def test_choices_stay_apart_under_inspects_cache_and_a_seed(folder: Path, fake_server: FakeServer) -> None:
    (folder / "one.yaml").write_text(ONE)
    log = run(Task(dataset=[Sample("Hello")], solver=chooses(3)), "archon/one.yaml", cache=True, seed=5)
    assert len({choice.message.text for choice in samples(log)[0].output.choices}) == 3
    assert {request.body["seed"] for request in fake_server.requests} == {5, 1005, 2005}


def test_the_call_store_is_an_option_as_with_the_solver(folder: Path, fake_server: FakeServer) -> None:
    (folder / "two.yaml").write_text(TWO)
    options = {"store": "calls.db", "trace": "compact"}
    first, again = (samples(run(stock(), "archon/two.yaml", model_args=options))[0] for _ in range(2))
    assert first.output.completion == again.output.completion and len(fake_server.requests) == 3
    assert (again.output.metadata or {})["archon"]["reused"]["calls"] == 3


@solver
def asks(times: int) -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        outputs = [await get_model().generate(state.input_text) for _ in range(times)]
        state.metadata["answers"] = [output.completion for output in outputs]
        return state

    return solve


def test_draws_of_choices_epochs_and_repeated_questions_are_all_different(folder: Path) -> None:
    """Seen by a provider that tells its draw: none may come twice, since the simulated pool and the store replay it."""
    (folder / "drawn.yaml").write_text("layers: [{generator: {model: drawn/x, samples: 2}}, {fuser: drawn/x}]")
    log = run(Task(dataset=[Sample("Hello")], solver=asks(3)), "archon/drawn.yaml", epochs=2)
    seen = [answer for sample in samples(log) for answer in sample.metadata["answers"]]
    assert len(set(seen)) == 6
    assert {"(0, 1)", "(0, 2)"} < set(seen)


def test_inspects_cache_replays_the_same_architecture_but_never_an_edited_one(
    folder: Path, fake_server: FakeServer
) -> None:

    def loaded() -> Model:
        return get_model("archon/one.yaml", memoize=False)  # as in a new process

    path = folder / "one.yaml"
    path.write_text(ONE)
    first = samples(run(stock(), loaded(), cache=True))[0].output.completion
    again = samples(run(stock(), loaded(), cache=True))[0].output.completion
    assert (first, len(fake_server.requests)) == (again, 1)
    path.write_text(ONE.replace("gpt-4o", "gpt-4o-mini"))
    edited = samples(run(stock(), loaded(), cache=True))[0].output.completion
    assert edited.startswith("Answer of gpt-4o-mini") and len(fake_server.requests) == 2


def test_inspects_cache_does_not_replay_what_older_code_of_a_component_answered(
    folder: Path, fake_server: FakeServer, own_component: Callable[[str], dict[str, Any]]
) -> None:
    said = []
    for text in ("first", "first", "second", "first"):
        (folder / "own.yaml").write_text(json.dumps(own_component(text)))
        model = get_model("archon/own.yaml", memoize=False)
        said.append(samples(run(stock(), model, cache=True))[0].output.completion)
    assert said == ["first", "first", "second", "first"]


@pytest.mark.parametrize("config", [GenerateConfig(logprobs=True)])
async def test_what_an_architecture_cannot_give_is_refused(
    folder: Path, fake_server: FakeServer, config: GenerateConfig
) -> None:
    (folder / "one.yaml").write_text(ONE)
    with pytest.raises(Exception, match="the task asks for log-probabilities"):
        await get_model("archon/one.yaml").generate("Hello", config=config)


def test_an_architecture_as_grader(folder: Path, fake_server: FakeServer) -> None:
    (folder / "two.yaml").write_text(TWO)
    graded = Task(dataset=[Sample("2 + 2?", target="4")], solver=generate(), scorer=model_graded_qa())
    log = run(graded, "drawn/x", model_roles={"grader": "archon/two.yaml"})
    sample = samples(log)[0]
    events = [event for event in sample.events if event.event == "model"]
    assert [event.role for event in events if event.model == "archon/two.yaml"] == ["grader"]
    assert len(fake_server.requests) == 3


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("archon/moa-light", {}, "did you mean 'moa-lite'"),
        ("archon/moa-lite", {}, "has places for models"),
        ("archon/moa-lite", {"modles": "openai/gpt-4o"}, "unknown option 'modles'; did you mean 'models'"),
        ("archon/moa-lite", {"models": "nosuch/x"}, "model 'nosuch/x' cannot be used"),
        ("archon/moa-lite", {"models": "openai/gpt-4o", "base_url": "http://x"}, "no address or key of its own"),
    ],
)
def test_mistakes_are_said_before_any_call(folder: Path, model: str, options: Any, said: str) -> None:
    with pytest.raises(PrerequisiteError) as caught:
        get_model(model, **options)
    assert said in str(caught.value.message)


async def test_history_goes_to_the_generators_as_it_is(folder: Path, fake_server: FakeServer) -> None:
    (folder / "one.yaml").write_text(ONE)
    turns: list[ChatMessage] = [
        ChatMessageSystem(content="S"),
        ChatMessageUser(content="U1"),
        ModelOutput.from_content("m", "A1").message,
        ChatMessageUser(content="U2"),
    ]
    await get_model("archon/one.yaml").generate(turns)
    sent = [(message["role"], message["content"]) for message in prompts(fake_server)[0]]
    assert sent == [("system", "S"), ("user", "U1"), ("assistant", "A1"), ("user", "U2")]


@pytest.mark.parametrize(("fault", "reason"), [("length", "max_tokens"), ("filter", "content_filter"), ("ok", "stop")])
async def test_why_the_final_answer_stopped_is_passed_on(
    folder: Path, fake_server: FakeServer, fault: str, reason: str
) -> None:
    (folder / "two.yaml").write_text(TWO)
    fake_server.script("ok", "ok", fault)
    assert (await get_model("archon/two.yaml").generate("Hello")).stop_reason == reason
