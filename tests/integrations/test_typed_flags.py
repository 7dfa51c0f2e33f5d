"""Settings typed by hand reach the wire, or are named in a warning; at both doors of Inspect, and in lm-eval."""

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.server import FakeServer
from inspect_ai import Task, eval, task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

from archon_eval._inspect_compat import find_typed_gen_kwargs
from archon_eval.errors import ModelError
from archon_eval.integrations.inspect_flags import (
    IGNORED_FIELDS,
    MODEL_DOOR_FIELDS,
    SENDING_FIELDS,
    SETTING_FIELDS,
    UNSUPPORTED_FIELDS,
    find_ignored_flags,
)
from archon_eval.integrations.lm_eval_model import ArchonLM
from archon_eval.runs.account import parse_accounts
from archon_eval.runs.read_log import read_run, read_runs
from archon_eval.solvers.archon import archon

WRITERS = "{generator: [openai/gpt-4o, openai/gpt-4o-mini]}"
PLAIN = f"layers: [{WRITERS}, {{ranker: openai/gpt-4-turbo}}, {{fuser: openai/gpt-4o}}]"
MIXED = f"layers: [{WRITERS}, {{ranker: {{model: openai/gpt-4-turbo, temperature: 0.3}}}}, {{fuser: openai/gpt-4o}}]"
DOORS = ("model", "solver")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@task
def plain(config: GenerateConfig | None = None) -> Task:
    return Task(
        dataset=[Sample("What is 2 + 2?", target="Answer")],
        solver=generate(),
        scorer=includes(),
        config=config or GenerateConfig(),
    )


def run(
    text: str, door: str, given: Task | None = None, trace: str = "full", **flags: Any
) -> tuple[EvalLog, list[str]]:
    """The log, and what was said."""
    Path("a.yaml").write_text(text)
    options: dict[str, Any] = {"model": "archon/a.yaml", "model_args": {"trace": trace}}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if door == "solver":
            options = {"model": "none", "solver": archon("a.yaml", trace=trace)}
        log = eval(given or plain(), display="none", log_dir="logs", log_realtime=False, **options, **flags)[0]
    assert log.status == "success", log.error
    return log, [str(warning.message) for warning in caught]


def account(log: EvalLog) -> dict[str, Any]:
    sample = (log.samples or [])[0]
    found = ({**sample.metadata} | {**(sample.output.metadata or {})})["archon"]
    assert isinstance(found, dict)
    return found


def sent(server: FakeServer, name: str) -> list[tuple[str, Any]]:
    other = {"max_tokens": "max_completion_tokens"}.get(name, name)
    return sorted((r.body["model"], r.body.get(name, r.body.get(other))) for r in server.requests)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("trace", ["full", "calls"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 0.0), ("temperature", 0.7), ("max_tokens", 64), ("top_p", 0.5), ("frequency_penalty", 0.25),
     ("presence_penalty", 0.5)],
)  # fmt: skip
def test_a_flag_holds_for_every_component_without_its_own(
    folder: Path, fake_server: FakeServer, door: str, trace: str, name: str, value: float
) -> None:
    log, said = run(PLAIN, door, trace=trace, **{name: value})
    assert [found for _, found in sent(fake_server, name)] == [value] * 4
    assert not [text for text in said if "has no effect" in text]
    changed = account(log).get("settings", [])
    assert [part["settings"] for part in changed] == [{name: value}] * (0 if value == 0.7 else 4)


@pytest.mark.parametrize("door", DOORS)
def test_a_component_keeps_what_its_file_says_and_the_flag_is_named(
    folder: Path, fake_server: FakeServer, door: str
) -> None:
    log, said = run(MIXED, door, temperature=0.0, max_tokens=64)
    assert dict(sent(fake_server, "temperature")) == {"gpt-4o": 0.0, "gpt-4o-mini": 0.0, "gpt-4-turbo": 0.3}
    assert {found for _, found in sent(fake_server, "max_tokens")} == {64}
    [text] = [text for text in said if "given by hand" in text]
    assert "temperature=0.0, given by hand, has no effect on layer 2 (ranker openai/gpt-4-turbo)" in text
    assert "whose file says 0.3" in text
    assert "max_tokens=64, given by hand, holds for layer 2 (ranker openai/gpt-4-turbo) too" in text
    used = {(part["layer"], part["component"]): part["settings"] for part in account(log)["settings"]}
    assert used == {
        (1, 1): {"temperature": 0.0, "max_tokens": 64},
        (1, 2): {"temperature": 0.0, "max_tokens": 64},
        (2, 1): {"max_tokens": 64},
        (3, 1): {"temperature": 0.0, "max_tokens": 64},
    }
    assert parse_accounts({"archon": account(log)})[0].settings[2]["settings"] == {"max_tokens": 64}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("written", ["temperature: 0.7\n", "settings: {temperature: 0.7}\n"])
def test_a_default_that_the_file_writes_down_is_its_own(
    folder: Path, fake_server: FakeServer, door: str, written: str
) -> None:
    _, said = run(written + PLAIN, door, temperature=0.0)
    assert {found for _, found in sent(fake_server, "temperature")} == {0.7}
    assert any("and layer 3" in text or "layer 3 (fuser" in text for text in said if "file says 0.7" in text)


@pytest.mark.parametrize("door", DOORS)
def test_what_a_task_sets_fills_nulls_and_is_named_where_it_does_not(
    folder: Path, fake_server: FakeServer, door: str
) -> None:
    config = GenerateConfig(temperature=0.0, max_tokens=99)
    log, said = run("max_tokens: null\n" + PLAIN, door, plain(config))
    assert {found for _, found in sent(fake_server, "temperature")} == {0.7}
    writers = {found for model, found in sent(fake_server, "max_tokens") if model != "gpt-4-turbo"}
    assert writers == {99}
    [text] = [text for text in said if "does not take the task's own" in text]
    assert "the task's own temperature=0.0: its components have temperature=0.7" in text
    assert "write `temperature: null`" in text and text.endswith("give --temperature 0.0")
    assert {json.dumps(part["settings"]) for part in account(log)["settings"]} == {'{"max_tokens": 99}'}


def test_a_flag_beats_the_task_and_a_call_of_the_task_beats_the_flag_only_at_null(
    folder: Path, fake_server: FakeServer
) -> None:
    given = plain(GenerateConfig(temperature=0.2, top_p=0.2))
    given.solver = generate(temperature=0.4, top_p=0.4)
    run(PLAIN, "model", given, temperature=0.6, top_p=0.6)
    assert {found for _, found in sent(fake_server, "temperature")} == {0.6}
    found = dict(sent(fake_server, "top_p"))  # null in the file, as it is by default: Inspect's own order
    assert found == {"gpt-4o": 0.4, "gpt-4o-mini": 0.4, "gpt-4-turbo": 0.6}


@pytest.mark.parametrize("door", DOORS)
def test_stop_texts_end_candidates_and_never_judges(folder: Path, fake_server: FakeServer, door: str) -> None:
    fake_server.answer = lambda *_: "[1] > [2] END more"
    log, _ = run(PLAIN, door, stop_seqs=["END"])
    assert all("stop" not in request.body for request in fake_server.requests)
    assert "more" not in fake_server.requests[-1].body["messages"][-1]["content"]
    assert (log.samples or [])[0].output.completion.rstrip() == "[1] > [2]"
    assert "fallback" not in account(log)["notes"]


async def test_a_component_of_ones_own_that_writes_texts_ends_them_too(
    folder: Path, fake_server: FakeServer, own_component: Callable[[str], dict[str, Any]]
) -> None:
    Path("own.yaml").write_text(json.dumps(own_component("said END more")))
    output = await get_model("archon/own.yaml").generate("Hello", config=GenerateConfig(stop_seqs=["END"]))
    assert output.completion == "said "


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("trace", ["full", "calls"])
def test_draws_of_one_prompt_have_seeds_of_their_own(
    folder: Path, fake_server: FakeServer, door: str, trace: str
) -> None:
    run("layers: [{generator: {model: openai/gpt-4o, samples: 3}}, {fuser: openai/gpt-4o-mini}]", door,
        trace=trace, seed=7, epochs=2)  # fmt: skip
    seeds = [seed for model, seed in sent(fake_server, "seed") if model == "gpt-4o"]
    assert seeds == [7, 8, 9, 1_000_007, 1_000_008, 1_000_009]
    assert [seed for model, seed in sent(fake_server, "seed") if model == "gpt-4o-mini"] == [7, 1_000_007]


@pytest.mark.parametrize("door", DOORS)
def test_equal_draws_are_warned_of(folder: Path, fake_server: FakeServer, door: str) -> None:
    text = "layers: [{generator: {model: openai/gpt-4o, samples: 3}}, {fuser: openai/gpt-4o}]"
    _, said = run(text, door, temperature=0.0)
    assert any("the 3 draws of openai/gpt-4o in layer 1 may be equal" in words for words in said)


@pytest.mark.parametrize("door", DOORS)
def test_reasoning_effort_reaches_a_model_that_reasons(folder: Path, fake_server: FakeServer, door: str) -> None:
    _, said = run("layers: [{generator: openai-api/openai/o3-mini}]", door, reasoning_effort="low")
    assert [(r.body["reasoning_effort"], r.body.get("max_tokens", r.body.get("max_completion_tokens")))
            for r in fake_server.requests] == [("low", 16_384)]  # fmt: skip
    assert any("thinks before it answers" in words and "16,384" in words for words in said)


def test_a_setting_that_the_provider_does_not_send_is_named(folder: Path, fake_server: FakeServer) -> None:
    _, said = run("layers: [{generator: openai/gpt-4o}]", "model", top_k=5)
    assert "top_k" not in fake_server.requests[0].body
    assert any("openai/gpt-4o: top_k has no effect" in words for words in said)


@pytest.mark.parametrize("door", DOORS)
def test_runs_with_and_without_a_flag_are_two_systems(folder: Path, fake_server: FakeServer, door: str) -> None:
    for flags in ({}, {"temperature": 0.0}, {"temperature": 0.0, "seed": 3}):
        run(PLAIN, door, **flags)
    runs = read_runs("logs")
    assert sorted(len(found.scored["1"]) for found in runs) == [1, 2]  # another seed is a further epoch
    assert len({found.fingerprint for found in runs}) == len({found.setup for found in runs}) == 2
    again, _ = run("temperature: 0\n" + PLAIN, door)
    written = read_run(str(again.location))
    assert written.fingerprint in {found.fingerprint for found in runs}  # the same behaviour
    assert all(layer.components for found in runs for layer in found.layers)


def test_a_replay_asks_anew_under_another_flag(folder: Path, fake_server: FakeServer) -> None:
    Path("one.yaml").write_text("layers: [{generator: openai/gpt-4o}]")
    for temperature in (None, 0.0, None, 0.0):
        flags = {} if temperature is None else {"temperature": temperature}
        eval(
            plain(), model="archon/one.yaml", model_args={"store": "calls.db"}, display="none", log_dir="logs", **flags
        )
    assert [found for _, found in sent(fake_server, "temperature")] == [0.0, 0.7]


def test_a_role_takes_the_settings_it_is_bound_with(folder: Path, fake_server: FakeServer) -> None:
    Path("one.yaml").write_text("layers: [{generator: openai/gpt-4o}]")
    role = get_model("archon/one.yaml", config=GenerateConfig(temperature=0.1))
    given = Task(dataset=[Sample("Hello")], solver=asks_grader())
    eval(given, model="none", model_roles={"grader": role}, temperature=0.9, display="none", log_dir="logs")
    assert sent(fake_server, "temperature") == [("gpt-4o", 0.1)]


def asks_grader() -> Any:
    from inspect_ai.solver import Generate, TaskState, solver

    @solver
    def ask() -> Any:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            await get_model(role="grader").generate("Hi")
            return state

        return solve

    return ask()


def test_every_field_of_inspects_generation_config_is_known() -> None:
    groups = [SETTING_FIELDS, UNSUPPORTED_FIELDS, SENDING_FIELDS, MODEL_DOOR_FIELDS, IGNORED_FIELDS]
    known = [name for group in groups for name in group]
    assert len(known) == len(set(known))
    assert set(GenerateConfig.model_fields) <= set(known), "a new field: say what becomes of it in inspect_flags.py"


@pytest.mark.parametrize("door", DOORS)
def test_flags_without_effect_are_named(folder: Path, fake_server: FakeServer, door: str) -> None:
    _, said = run(PLAIN, door, verbosity="low", best_of=2, max_connections=7)
    assert any("--best-of, --verbosity have no effect on the models of an architecture" in words for words in said)
    config = GenerateConfig(num_choices=2, system_message="Be brief.", timeout=5)
    assert find_ignored_flags(config, "model") == []
    assert "--system-message, --num-choices have" in find_ignored_flags(config, "solver")[0]


def test_flags_that_an_architecture_cannot_follow_are_refused(folder: Path, fake_server: FakeServer) -> None:
    Path("a.yaml").write_text(PLAIN)
    with pytest.raises(PrerequisiteError) as caught:
        get_model("archon/a.yaml", config=GenerateConfig(logprobs=True))
    assert "the command asks for log-probabilities (logprobs)" in str(caught.value.message)
    log = eval(plain(), model="none", solver=archon("a.yaml"), logprobs=True, display="none", log_dir="logs")[0]
    assert log.status == "error" and log.error and "log-probabilities" in log.error.message
    assert not fake_server.requests


TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

@task
def mine():
    return Task(dataset=[Sample("What is 2 + 2?", target="Answer")], solver=generate(), scorer=includes())
"""


@pytest.mark.parametrize("door", DOORS)
def test_the_stock_inspect_command(folder: Path, fake_server: FakeServer, door: str) -> None:
    (folder / "mine.py").write_text(TASK)
    (folder / "a.yaml").write_text(MIXED)
    model = (
        ["--model", "archon/a.yaml"]
        if door == "model"
        else ["--model", "none", "--solver", "archon", "-S", "architecture=a.yaml"]
    )
    flags = ["--temperature", "0", "--max-tokens", "640", "--seed", "5", "--top-p", "0.5", "--display", "plain"]
    command = [sys.executable, "-m", "inspect_ai", "eval", "mine.py", *model, *flags]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert dict(sent(fake_server, "temperature")) == {"gpt-4o": 0.0, "gpt-4o-mini": 0.0, "gpt-4-turbo": 0.3}
    for name, value in (("max_tokens", 640), ("seed", 5), ("top_p", 0.5)):
        assert {found for _, found in sent(fake_server, name)} == {value}
    said = " ".join((done.stdout + done.stderr).split())
    assert "temperature=0.0, given by hand, has no effect on layer 2 (ranker openai/gpt-4-turbo)" in said
    assert "no effect on the models" not in said


@pytest.fixture
def lm_task(folder: Path) -> Path:
    """The folder of a task of lm-eval's kind on a local row; its own YAML says temperature 0 and 256 tokens."""
    (folder / "rows.jsonl").write_text(json.dumps({"q": "What is 2 + 2?", "a": "4"}) + "\n")
    given: dict[str, Any] = {
        "task": "mine",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{q}}",
        "doc_to_target": "{{a}}",
        "generation_kwargs": {"until": ["STOP"], "do_sample": False, "temperature": 0.0, "max_gen_toks": 256},
        "metric_list": [{"metric": "exact_match"}],
    }
    (folder / "mine.yaml").write_text(json.dumps(given))
    return folder


def simple_evaluate(folder: Path, architecture: Any, **options: Any) -> dict[str, Any]:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    model = ArchonLM(architecture)
    found = simple_evaluate(model=model, tasks=["mine"], task_manager=manager, bootstrap_iters=0, **options)
    assert found is not None
    return dict(found)


@pytest.mark.parametrize("typed", ["temperature=0.2,max_gen_toks=64", {"temperature": 0.2, "max_gen_toks": 64}])
def test_gen_kwargs_typed_for_lm_eval_hold(
    lm_task: Path, fake_server: FakeServer, caplog: pytest.LogCaptureFixture, typed: Any
) -> None:
    ranker = {"ranker": {"model": "openai/gpt-4-turbo", "temperature": 0.3}}
    mixed = {"layers": [{"generator": ["openai/gpt-4o", "openai/gpt-4o-mini"]}, ranker, {"fuser": "openai/gpt-4o"}]}
    found = simple_evaluate(lm_task, mixed, gen_kwargs=typed)
    assert dict(sent(fake_server, "temperature")) == {"gpt-4o": 0.2, "gpt-4o-mini": 0.2, "gpt-4-turbo": 0.3}
    assert {value for _, value in sent(fake_server, "max_tokens")} == {64}
    said = [record.getMessage() for record in caplog.records]
    assert any("temperature=0.2, given by hand, has no effect on layer 2 (ranker" in text for text in said)
    assert not [text for text in said if "does not take the task's own" in text]
    settings = found["config"]["settings"]
    assert settings[0]["settings"] == {"temperature": 0.2, "max_tokens": 64}
    assert settings[2] == {"layer": 2, "component": 1, "model": "openai/gpt-4-turbo", "settings": {"max_tokens": 64}}


def test_what_an_lm_eval_task_says_itself_is_its_own_and_named(
    lm_task: Path, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    fake_server.answer = lambda *_: "4 STOP here"
    found = simple_evaluate(lm_task, {"max_tokens": None, "layers": [{"generator": "openai/gpt-4o"}]}, log_samples=True)
    assert sent(fake_server, "temperature") == [("gpt-4o", 0.7)] and sent(fake_server, "max_tokens") == [
        ("gpt-4o", 256)
    ]
    [text] = [r.getMessage() for r in caplog.records if "does not take the task's own" in r.getMessage()]
    assert "temperature=0.0: its components have temperature=0.7" in text
    assert text.endswith("or give --gen_kwargs temperature=0.0")
    assert found["samples"]["mine"][0]["resps"] == [["4 "]]
    assert found["config"]["settings"][0]["settings"] == {"max_tokens": 256}


def test_a_response_cache_of_other_gen_kwargs_is_refused(lm_task: Path, folder: Path, fake_server: FakeServer) -> None:
    """The task says temperature 0 itself: its requests are the same with and without the flag, and answers are not."""
    one, cache = {"layers": [{"generator": "openai/gpt-4o"}]}, str(folder / "cache")
    simple_evaluate(lm_task, one, use_cache=cache)
    with pytest.raises(ModelError, match="holds answers of architecture"):
        simple_evaluate(lm_task, one, use_cache=cache, gen_kwargs="temperature=0")
    assert sent(fake_server, "temperature") == [("gpt-4o", 0.7)]


def test_gen_kwargs_that_are_not_legal_are_refused_before_any_call(lm_task: Path, fake_server: FakeServer) -> None:
    for typed, words in (("temperature=9", "`temperature` must be a number"), ("max_gen_toks=few", "`max_tokens`")):
        with pytest.raises(Exception, match=f"--gen_kwargs: {words}"):
            simple_evaluate(lm_task, {"layers": [{"generator": "openai/gpt-4o"}]}, gen_kwargs=typed)
    assert not fake_server.requests and find_typed_gen_kwargs() is None


def test_the_stock_lm_eval_command(lm_task: Path, folder: Path, fake_server: FakeServer) -> None:
    (folder / "a.yaml").write_text(MIXED)
    command = [sys.executable, "-m", "lm_eval", "--model", "archon", "--model_args", "architecture=a.yaml,model=m"]
    command += ["--include_path", str(folder), "--tasks", "mine", "--output_path", "out"]
    command += ["--gen_kwargs", "temperature=0,max_gen_toks=640,seed=5"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert dict(sent(fake_server, "temperature")) == {"gpt-4o": 0.0, "gpt-4o-mini": 0.0, "gpt-4-turbo": 0.3}
    assert {value for _, value in sent(fake_server, "max_tokens")} == {640}
    assert {value for _, value in sent(fake_server, "seed")} == {5}
    assert "temperature=0.0, given by hand, has no effect on layer 2 (ranker openai/gpt-4-turbo)" in done.stderr
    written = json.loads(next((folder / "out").rglob("results_*.json")).read_text())
    assert written["config"]["settings"][0]["settings"] == {"temperature": 0.0, "max_tokens": 640, "seed": 5}


def test_a_flag_that_raises_a_limit_or_fills_a_window_is_said(folder: Path, fake_server: FakeServer) -> None:
    _, said = run(PLAIN, "model", reasoning_effort="high", max_tokens=60_000)
    assert any("layer 2 (ranker) can need up to" in text and "gpt-4-turbo" in text for text in said)
    assert not any("thinks before it answers" in text for text in said)  # the limit is the user's
    _, said = run("layers: [{generator: openai/gpt-4o}]", "model", reasoning_tokens=2000)
    assert any("18,384 tokens" in text for text in said)
    assert sorted(found for _, found in sent(fake_server, "max_tokens")) == [18_384, *[60_000] * 4]


@pytest.mark.parametrize("trace", ["full", "calls"])
def test_thoughts_of_an_unknown_model_that_are_cut_are_in_the_account(
    folder: Path, fake_server: FakeServer, trace: str
) -> None:
    fake_server.answer = lambda *_: "<think>Let me see, 2 and"
    fake_server.script("length")
    log, _ = run("layers: [{generator: openai/gpt-4o}]", "model", trace=trace)
    assert account(log)["notes"] == {"cut_thoughts": 1}
    [sentence] = read_run(str(log.location)).health.sentences[-1:]
    assert "within its thoughts (a larger `max_tokens` mends it)" in sentence
