"""The lm-eval model itself: settings, chats, repeats, the response cache, interruptions, and what it refuses."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.server import FakeServer
from lm_eval import simple_evaluate
from lm_eval.api.model import CachingLM
from lm_eval.tasks import TaskManager

from archon_eval.architecture.spec import GenerationSettings
from archon_eval.engine.trace import Trace, TraceStep
from archon_eval.errors import ArchitectureError, ModelError
from archon_eval.integrations.lm_eval_model import ArchonLM, parse_gen_kwargs, to_conversation
from archon_eval.integrations.lm_eval_tasks import find_generative_variants
from archon_eval.models.call import Reply, Usage
from archon_eval.types import Message

ONE = {"layers": [{"generator": "openai/gpt-4o"}]}
DRAWN = {"layers": [{"generator": "drawn/x"}]}
OPEN = {"temperature": None, "max_tokens": None, **ONE}


def request(text: str, repeats: int = 1, task: str = "t", **given: Any) -> SimpleNamespace:
    return SimpleNamespace(args=(text, given), repeats=repeats, task_name=task)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, GenerationSettings(temperature=None, max_tokens=None)),
        ({"until": "\n\n", "max_gen_toks": 9}, GenerationSettings(temperature=None, max_tokens=9, stop=("\n\n",))),
        (
            {"until": ["a"], "stop": "b", "do_sample": False},
            GenerationSettings(temperature=0.0, max_tokens=None, stop=("a", "b")),
        ),
        (
            {"do_sample": True, "temperature": 0.8, "top_p": 0.9},
            GenerationSettings(temperature=0.8, max_tokens=None, top_p=0.9),
        ),
        ({"max_tokens": 5, "max_gen_toks": 7, "nonsense": 1}, GenerationSettings(temperature=None, max_tokens=7)),
    ],
)
def test_generation_kwargs_as_settings(given: dict[str, Any], expected: GenerationSettings) -> None:
    assert parse_gen_kwargs(given) == expected


def test_settings_and_stops_of_a_task_hold_where_the_architecture_leaves_them_open(fake_server: FakeServer) -> None:
    given: dict[str, Any] = {"until": [", draw"], "max_gen_toks": 50, "temperature": 0.3, "do_sample": True}
    own, left = ArchonLM(ONE).generate_until([request("a", **given)]), ArchonLM(OPEN).generate_until(
        [request("a", **given)]
    )  # fmt: skip
    assert own[0].startswith("Answer of gpt-4o to ") and "draw" not in own[0] + left[0]
    sent = [(r.body["temperature"], r.body.get("max_tokens", r.body.get("max_completion_tokens")))
            for r in fake_server.requests]  # fmt: skip
    assert sent == [(0.7, 2048), (0.3, 50)]


def test_an_answer_ends_at_until_behind_its_thoughts_and_its_leading_white_space(fake_server: FakeServer) -> None:
    fake_server.answer = lambda *_: "<think>First.\n\nThen.</think>\n\n42\n\nQuestion: and"
    assert ArchonLM(ONE).generate_until([request("a", until=["\n\n"], max_gen_toks=50)]) == ["42"]
    assert "stop" not in fake_server.requests[0].body


def test_candidates_inside_an_architecture_end_at_until_too(fake_server: FakeServer) -> None:
    fake_server.answer = lambda *_: "42\nQuestion: and"
    layers = [{"generator": {"model": "openai/gpt-4o", "samples": 2}}, {"fuser": "openai/gpt-4o"}]
    ArchonLM({"name": "two", "layers": layers}).generate_until([request("a", until=["Question:"], max_gen_toks=50)])
    read = fake_server.requests[-1].body["messages"][-1]["content"]
    assert "42" in read and "Question: and" not in read


def test_a_chat_survives_its_way_through_lm_eval(fake_server: FakeServer) -> None:
    lm = ArchonLM(ONE)
    turns = [{"role": "system", "content": "S"}, {"role": "user", "content": "ü"}]
    chat = lm.apply_chat_template(turns)
    assert to_conversation(chat) == (Message("system", "S"), Message("user", "ü"))
    assert to_conversation(str(chat)) == (Message("user", json.dumps(turns, ensure_ascii=False)),)


def test_repeats_of_one_request_are_draws_of_their_own() -> None:
    drawn = request("a", repeats=3)
    answers = ArchonLM(DRAWN).generate_until([drawn, drawn, drawn, request("b")])
    assert len(set(answers[:3])) == 3 and answers[0] == answers[3]


def test_repeats_with_a_seed_have_seeds_of_their_own(fake_server: FakeServer) -> None:
    drawn = request("a", repeats=2, seed=3, do_sample=True)
    ArchonLM(ONE).generate_until([drawn, drawn])
    assert {r.body["seed"] for r in fake_server.requests} == {3, 1003}


def test_no_more_questions_at_once_than_asked_for(fake_server: FakeServer) -> None:
    fake_server.latency = 0.02
    lm = ArchonLM(ONE, num_concurrent=3, batch_size="auto", device="cpu")
    answers = lm.generate_until([request(f"q{n}") for n in range(20)])
    assert fake_server.most_in_flight == 3 and len(set(answers)) == 20
    found = lm.get_model_info()
    assert found["calls"] == 20 and found["models"]["openai/gpt-4o"]["output_tokens"] > 20 and found["dollars"] > 0


def test_tokens_that_no_provider_reported_are_unknown_not_zero(fake_server: FakeServer) -> None:
    def count(*replies: Reply | None) -> None:
        steps = [TraceStep(1, "k", 1, "openai/gpt-4o", "g", "1.1", 0, (), reply) for reply in replies]
        lm._count(Trace(layers=(), steps=tuple(steps)))

    lm = ArchonLM(ONE)
    count(Reply("a", usage=Usage(10, 5), dollars=0.25), Reply("a", usage=Usage(10, 5), dollars=0.5, reused=True), None)
    found = lm.get_model_info()
    assert (found["calls"], found["calls_without_usage"], found["dollars"]) == (2, 0, 0.25)
    count(Reply("b"))
    found = lm.get_model_info()
    assert (found["calls"], found["calls_without_usage"], found["dollars"]) == (3, 1, None)
    counts = {"calls": 3, "input_tokens": 20, "output_tokens": 10, "reused": 1, "calls_without_usage": 1}
    assert found["models"] == {"openai/gpt-4o": counts}


def test_settings_without_effect_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    ArchonLM(DRAWN).generate_until([request("a", num_beams=4), request("b", num_beams=4)])
    assert [r.getMessage() for r in caplog.records if "without effect" in r.getMessage()] == [
        "generation settings without effect on model archon: num_beams"
    ]


def test_the_cache_never_serves_another_architecture(fake_server: FakeServer, tmp_path: Path) -> None:
    path = str(tmp_path / "cache.db")

    def cached(architecture: Any) -> Any:
        return CachingLM(ArchonLM(architecture), path)

    first = cached(ONE).generate_until([request("a")])
    again = cached(ONE)
    assert again.generate_until([request("a"), request("b")])[0] == first[0]
    assert len(fake_server.requests) == 2
    with pytest.raises(ModelError, match=r"holds answers of architecture [0-9a-f]{16}, and this is"):
        cached({"layers": [{"generator": "openai/gpt-4-turbo"}]})


def test_the_cache_never_serves_what_older_code_of_a_component_answered(
    fake_server: FakeServer, tmp_path: Path, own_component: Callable[[str], dict[str, Any]]
) -> None:
    path = str(tmp_path / "cache.db")
    for _ in range(2):
        CachingLM(ArchonLM(own_component("first")), path).generate_until([request("a")])
    assert len(fake_server.requests) == 1
    with pytest.raises(
        ModelError, match=r"holds answers of architecture ([0-9a-f]{16}), and this is architecture (?!\1)[0-9a-f]{16}:"
    ):
        CachingLM(ArchonLM(own_component("second")), path)


def test_a_cache_of_another_model_is_refused(tmp_path: Path) -> None:
    from sqlitedict import SqliteDict

    path = str(tmp_path / "cache.db")
    with SqliteDict(path, autocommit=True) as other:
        other["ab12"] = "an answer of something else"
    with pytest.raises(ModelError, match="holds answers of another model"):
        CachingLM(ArchonLM(DRAWN), path)


def test_repeats_are_not_mixed_up_with_a_cache(tmp_path: Path) -> None:
    lm = CachingLM(ArchonLM(DRAWN), str(tmp_path / "cache.db"))
    with pytest.raises(ModelError, match="asks each question 3 times"):
        lm.generate_until([request("a", repeats=3)])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"models": "sim/pool"}, "which architecture"),
        ({"architecture": "moa-light"}, "did you mean 'moa-lite'"),
        ({"architecture": ONE, "modles": "a"}, "unknown argument 'modles'; did you mean 'models'"),
        ({"architecture": ONE, "num_concurrent": 0}, "must be at least 1"),
        ({"architecture": ONE, "max_connections": 0}, "max_connections must be a whole number of at least 1"),
        ({"architecture": ONE, "store": 5}, "store must be the path or address of a call store"),
        ({"architecture": "single", "models": "nosuch/x+openai/gpt-4o"}, "model 'nosuch/x' cannot be used"),
        ({"architecture": "single"}, "models=sim/pool for the simulated ones"),
    ],
)
def test_mistakes_in_model_args(fake_server: FakeServer, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ArchitectureError, match=said):
        ArchonLM(**given)


def test_models_on_the_command_line_are_joined_by_plus(fake_server: FakeServer) -> None:
    lm = ArchonLM.create_from_arg_string("architecture=moa-lite,models=openai/gpt-4o+openai/gpt-4-turbo,model=x")
    assert lm.get_model_info()["architecture"]["layers"][0]["generator"][1] == "openai/gpt-4-turbo"


def test_likelihoods_are_refused_with_the_names_of_tasks_that_generate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "choose.yaml").write_text(
        "task: arc_challenge\ndataset_path: json\ndataset_kwargs: {data_files: {test: data.jsonl}}\n"
        "output_type: multiple_choice\ntest_split: test\ndoc_to_text: q\ndoc_to_choice: c\ndoc_to_target: 0\n"
    )
    (tmp_path / "data.jsonl").write_text(json.dumps({"q": "2 + 2?", "c": ["4", "5"]}) + "\n")
    monkeypatch.chdir(tmp_path)
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    with pytest.raises(NotImplementedError) as caught:
        simple_evaluate(ArchonLM(DRAWN), tasks=["arc_challenge"], task_manager=manager, bootstrap_iters=0)
    assert "arc_challenge: an architecture answers with text" in str(caught.value)
    assert "generate text: arc_challenge_chat" in str(caught.value)


def test_generative_variants_are_those_of_the_family() -> None:
    assert find_generative_variants("truthfulqa_mc1") == ["truthfulqa_gen"]
    assert find_generative_variants("hellaswag") == find_generative_variants("nosuch") == []


INTERRUPTED = """
import sys
from types import SimpleNamespace
from lm_eval.api.model import CachingLM
from archon_eval.integrations.lm_eval_model import ArchonLM
lm = CachingLM(ArchonLM({"layers": [{"generator": "openai/gpt-4o"}]}, num_concurrent=2), sys.argv[1])
requests = [SimpleNamespace(args=(f"q{n}", {}), repeats=1, task_name="t") for n in range(int(sys.argv[2]))]
print(len(lm.generate_until(requests)))
"""


def test_what_was_answered_before_an_interruption_is_not_asked_again(fake_server: FakeServer, tmp_path: Path) -> None:
    fake_server.latency = 0.05
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "cache.db")]

    def interruptible() -> None:  # whoever runs the tests in the background has SIGINT ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen([*command, "100"], stderr=subprocess.PIPE, text=True, preexec_fn=interruptible)
    while len(fake_server.requests) < 9 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    # of the requests sent, at most the two under way were lost
    answered = [r.body["messages"][0]["content"] for r in fake_server.requests][:-2]
    fake_server.reset()
    done = subprocess.run([*command, "20"], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "20", done.stderr
    again = {r.body["messages"][0]["content"] for r in fake_server.requests}
    assert not again & set(answered[:-2]) and len(again) >= 5
