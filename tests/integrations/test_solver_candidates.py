"""Inspect's solvers and agents as producers of candidates: calls, draws, records and ends, on a loopback server."""

from pathlib import Path
from typing import Any

import pytest
from fakes.server import FakeServer
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import Model
from inspect_ai.scorer import includes

from archon_eval import Archon
from archon_eval.architecture.load import load_architecture
from archon_eval.engine.plan import plan
from archon_eval.errors import ArchitectureError, ArchonError, ModelError, SolverError
from archon_eval.runs.account import QuestionAccount, parse_accounts
from archon_eval.solvers.archon import archon

MODEL = "openai/gpt-4o"
JUDGED = {"ranker": {"model": "openai/gpt-4-turbo", "top_k": 1}}


def act(model: str, messages: list[dict[str, Any]], nonce: int) -> str:
    """Adds, then submits what came of it; other questions get a text that names the model and the draw."""
    last = messages[-1]
    if last["role"] == "tool":
        found = str(last["content"]).rpartition("is ")[2]
        return f'CALL submit {{"answer": "{found}"}}'
    if "Rank all" in str(last["content"]):
        return "[2] > [1]"
    if str(last["content"]) == "What is 2 + 2?" and any("submit" in str(turn["content"]) for turn in messages[:-1]):
        return 'I add.\nCALL add {"a": 2, "b": 2}'
    return f"{model} says {nonce}"


@pytest.fixture
def server(fake_server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    monkeypatch.chdir(tmp_path)
    fake_server.answer = act
    return fake_server


def generator(solver: str, *, kind: str = "solver", **options: Any) -> dict[str, Any]:
    named = {"model": MODEL, kind: f"fakes.solvers:{solver}", **options}
    return {"generator": {name: value for name, value in named.items() if value is not None}}


def ask(*layers: dict[str, Any], **options: Any) -> Any:
    return Archon({"layers": list(layers)}, **options).generate_sync("What is 2 + 2?")


def run(*layers: dict[str, Any], **options: Any) -> EvalLog:
    given = Task(dataset=[Sample("What is 2 + 2?", target="4", id="q")], scorer=includes())
    used = archon(architecture={"name": "own", "layers": list(layers)}, **options)
    log: EvalLog = eval(given, solver=used, model="none", display="none", log_dir="logs", log_realtime=False)[0]
    return log


def one_sample(log: EvalLog) -> EvalSample:
    assert log.status == "success" and log.samples, log.error
    return log.samples[0]


def read_account(log: EvalLog) -> QuestionAccount:
    (account,) = parse_accounts(one_sample(log).metadata)
    return account


def read_error(log: EvalLog) -> str:
    assert log.status == "error" and log.error
    return log.error.message


@pytest.mark.parametrize(("name", "kind"), [("adder", "agent"), ("adder", "solver"), ("basic", "solver")])
def test_inspects_agents_make_candidates_with_their_tools(server: FakeServer, name: str, kind: str) -> None:
    log = run(generator(name, kind=kind, samples=2), JUDGED)
    account, sample = read_account(log), one_sample(log)
    assert sample.output.completion == "4" and sample.scores and sample.scores["includes"].value == "C"
    assert [layer.usage.calls for layer in account.layers] == [4, 1] and account.layers[0].candidates == 2
    assert len(server.requests) == account.usage.calls == 5
    assert account.layers[0].outcomes[0].count == 2 and not account.layers[0].outcomes[0].problems
    tools = [event for event in sample.events if event.event == "tool"]
    assert [event.function for event in tools].count("add") == 2
    spans = {event.id: event for event in sample.events if event.event == "span_begin"}
    shown = [event for event in sample.events if event.event == "model"]
    assert (len(shown) == 4 and {spans[event.span_id].type for event in shown if event.span_id} >= {"agent"}) or shown

    def above(id: str | None) -> list[str]:
        return [] if id is None else [spans[id].type or "", *above(spans[id].parent_id)]

    assert all({"archon_solver", "archon_layer"} <= {*above(event.span_id)} for event in [*tools, *shown])
    assert f"from {name}" in f"{sample.events} {sample.attachments}"


def test_an_agent_of_inspects_own_by_its_name(server: FakeServer) -> None:
    server.answer = lambda model, messages, nonce: 'CALL submit {"answer": "four"}'
    answer = ask({"generator": {"agent": "inspect_ai/react", "model": MODEL, "args": {"prompt": "Submit at once."}}})
    assert answer.text == "four" and len(server.requests) == 1
    assert server.requests[0].body["messages"][0]["content"].startswith("Submit at once.")


def test_a_debate_of_two_models_beside_a_plain_one(server: FakeServer) -> None:
    debate = generator("debate", roles={"opponent": "openai/gpt-4o-mini"}, samples=2)["generator"]
    log = run({"generator": [debate, MODEL]}, JUDGED)
    account = read_account(log)
    assert {model: usage.calls for model, usage in account.models.items()} == {
        MODEL: 3,
        "openai/gpt-4o-mini": 2,
        "openai/gpt-4-turbo": 1,
    }
    assert [part.usage.calls for part in account.layers[0].components] == [2, 2, 1]
    assert account.usage.input_tokens == sum(u.input_tokens for u in account.models.values()) > 0
    assert one_sample(log).metadata.get("seen") is None, "a solver's state is its own"
    texts = [request.body["messages"][-1]["content"] for request in server.requests]
    assert sum(str(text).startswith("Another says: gpt-4o says") for text in texts) == 2


def test_the_target_is_not_shown_to_a_solver(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import fakes.solvers as own
    from inspect_ai.solver import Generate, Solver, TaskState, solver

    seen: list[tuple[str, list[str], Any]] = []

    @solver
    def looking() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            seen.append((state.target.text, [message.text for message in state.messages], state.sample_id))
            return await generate(state)

        return solve

    monkeypatch.setattr(own, "looking", looking, raising=False)
    run(generator("looking"))
    assert seen == [("", ["What is 2 + 2?"], "q")]


def test_settings_are_the_components_then_the_models_then_the_calls(server: FakeServer) -> None:
    ask(generator("captured", model=MODEL, max_tokens=77))
    (sent,) = (request.body for request in server.requests)
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"]) == (0.1, 0.5, 77)
    server.reset()
    ask(generator("forking", temperature=0.4))
    assert sorted(request.body["temperature"] for request in server.requests) == [0.2, 0.4]


def test_choices_are_draws_and_tools_run(server: FakeServer) -> None:
    answer = ask(generator("several"))
    assert answer.text == "3 texts, 0 messages"
    assert [step.draw for step in answer.trail.steps] == [0, 1_000_000, 2_000_000]


@pytest.mark.parametrize("at_once", [False, True])
def test_equal_calls_are_other_draws_and_each_is_found_again(server: FakeServer, at_once: bool, tmp_path: Path) -> None:
    layers = generator("repeating", args={"times": 3, "at_once": at_once}, samples=2)
    first = ask(layers, store=str(tmp_path / "calls.db"))
    sent = len(server.requests)
    assert sent <= 6 and all(len({*candidate.text.split(" | ")}) == 3 for candidate in first.candidates)
    assert {step.draw for step in first.trail.steps} == {n * 1_000_000 + draw for n in range(3) for draw in (0, 1)}
    again = ask(layers, store=str(tmp_path / "calls.db"))
    replayed = ask(layers, store=str(tmp_path / "calls.db"), store_policy="replay")
    assert len(server.requests) == sent and again.cost == replayed.cost == 0
    assert [[c.text for c in answer.candidates] for answer in (again, replayed)] == [
        [c.text for c in first.candidates]
    ] * 2


def test_a_replay_needs_no_key(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = generator("debate", roles={"opponent": "openai/gpt-4o-mini"})
    first = ask(layers, store=str(tmp_path / "calls.db"))
    from archon_eval._inspect_compat import forget_models

    forget_models()
    monkeypatch.delenv("OPENAI_API_KEY")
    assert ask(layers, store=str(tmp_path / "calls.db"), store_policy="replay").text == first.text


def test_seeds_of_equal_calls_differ(server: FakeServer) -> None:
    ask(generator("repeating", samples=2, seed=7))
    seeds = [request.body["seed"] for request in server.requests]
    assert len({*seeds}) == 6 and {7, 8} <= {*seeds} and all(0 <= seed < 2**31 for seed in seeds)


def test_each_candidate_has_a_store_of_its_own(server: FakeServer) -> None:
    assert [c.text for c in ask(generator("keeping", samples=3)).candidates] == ["found nothing"] * 3


def test_a_budget_ends_a_solver_that_takes_it_for_a_passing_error(server: FakeServer) -> None:
    with pytest.raises(ArchonError, match="limit of 4 calls is used up"):
        ask(generator("endless", args={"catches": True}), budget="question.calls=4")
    assert len(server.requests) == 4


LIMITS = [
    ({"call_limit": 3}, {}, 3),
    ({"call_limit": 3}, {"catches": True}, 3),
    ({"message_limit": 4}, {}, 3),
    ({"token_limit": 40}, {}, 3),
]


@pytest.mark.parametrize(("limit", "args", "calls"), LIMITS)
def test_a_solver_that_never_ends_is_ended(
    server: FakeServer, limit: dict[str, int], args: dict[str, bool], calls: int
) -> None:
    answer = ask(generator("endless", **limit, args=args))
    assert 1 <= len(server.requests) <= calls and answer.text.startswith("gpt-4o says")
    assert answer.trail.counts == {"limited": 1} and answer.candidates[0].cut
    (note,) = answer.trail.notes
    assert next(iter(limit)) in note.detail
    (outcome,) = answer.trail.outcomes
    assert outcome.problems == {"limited": 1}


def test_a_solver_that_only_waits_is_ended_by_its_time(server: FakeServer) -> None:
    waiting = generator("endless", args={"waits": True}, time_limit=1, on_error="drop")["generator"]
    answer = ask({"generator": [waiting, MODEL]})
    assert len(answer.candidates) == 1 and answer.trail.counts == {"limited": 1}
    with pytest.raises(ModelError, match=r"ended without a text, by its `time_limit` \(1 seconds\) \(candidate 1.1\)"):
        ask(generator("endless", args={"waits": True}, time_limit=1))


def test_a_limit_of_the_sample_passes(server: FakeServer) -> None:
    given = Task(dataset=[Sample("What is 2 + 2?", target="4")], scorer=includes())
    used = archon(architecture={"layers": [generator("endless", args={"catches": True})]})
    log = eval(given, solver=used, model="none", display="none", log_dir="logs", log_realtime=False, message_limit=5)[0]
    sample = one_sample(log)
    assert sample.limit and sample.limit.type == "message" and len(server.requests) == 4


def test_without_a_text_a_candidate_is_dropped_or_an_error(server: FakeServer) -> None:
    with pytest.raises(ModelError, match=r"solver 'fakes.solvers:mute' ended without a text \(candidate 1.1\)"):
        ask(generator("mute"))
    mute = generator("mute", on_error="drop")["generator"]
    answer = ask({"generator": [mute, MODEL]})
    assert [c.id for c in answer.candidates] == ["1.2"] and answer.trail.counts == {"no_answer": 1}
    assert answer.trail.outcomes[-1].problems == {"no_answer": 1} or answer.trail.outcomes[0].problems


def test_a_call_that_fails_obeys_on_error(server: FakeServer) -> None:
    broken = {"model": "openai/gpt-4o!500", "solver": "fakes.solvers:debate", "roles": {"opponent": MODEL}}
    with pytest.raises(ModelError, match=r"layer 1 \(generator\), debate: openai/gpt-4o!500"):
        ask({"generator": broken}, max_retries=0)
    answer = ask({"generator": [{**broken, "on_error": "drop"}, MODEL]}, max_retries=0)
    assert [c.id for c in answer.candidates] == ["1.2"] and answer.trail.counts == {"dropped": 1}
    assert [step.problem != "" for step in answer.trail.steps if step.nested] == [True]


def test_a_fault_of_the_solver_names_it_and_its_line(server: FakeServer) -> None:
    with pytest.raises(
        SolverError,
        match=r"'fakes.solvers:failing' failed \(candidate 1.1\): ValueError: the plan is empty \(solvers.py, line",
    ):
        ask(generator("failing", on_error="drop"))
    with pytest.raises(SolverError, match="it must return a TaskState, and returned NoneType"):
        ask(generator("forgetful"))


def test_a_model_that_is_not_listed_is_refused_before_it_is_paid(server: FakeServer) -> None:
    with pytest.raises(
        ArchitectureError,
        match=r"'fakes.solvers:debate': it calls openai/gpt-4-turbo, which the component does not list "
        r"\(openai/gpt-4o\): add it to `models: \[...\]`",
    ):
        ask(generator("debate", args={"opponent": "openai/gpt-4-turbo"}, on_error="drop"))
    assert [request.body["model"] for request in server.requests] == ["gpt-4o"]
    listed = generator("debate", args={"opponent": "openai/gpt-4-turbo"}, models=["openai/gpt-4-turbo"])
    assert ask(listed).text.startswith("gpt-4-turbo says")


def test_a_solver_cannot_hide_that_it_called_another_model(server: FakeServer) -> None:
    with pytest.raises(ArchitectureError, match="it calls openai/unlisted"):
        ask(generator("swallowing"))
    assert len(server.requests) == 1


def test_no_model_at_all_says_what_to_write(server: FakeServer) -> None:
    with pytest.raises(ArchitectureError, match=r"`get_model\(\)`, and the component has none: write `model: ...`"):
        ask(generator("mute", model=None))
    assert not server.requests


def test_a_model_at_another_address_and_settings_that_no_call_has_are_refused(server: FakeServer) -> None:
    with pytest.raises(
        ArchitectureError, match=r"it calls openai/gpt-4o at http://127.0.0.1:9/v1.*model of this name is"
    ):
        ask(generator("elsewhere"))
    with pytest.raises(ArchitectureError, match="it sets logprobs on a call"):
        ask(generator("picky"))
    assert not server.requests


BAD = [
    ({"solver": "nowhere/debate"}, "there is no solver 'nowhere/debate': no package 'nowhere' with one is installed"),
    ({"solver": "inspect_ai/generat"}, "did you mean 'inspect_ai/generate'"),
    ({"agent": "inspect_ai/generate"}, "there is no agent 'inspect_ai/generate'"),
    ({"agent": "fakes.solvers:debate"}, "is no agent: it is an @solver"),
    ({"solver": "missing.py@debate"}, "no file missing.py"),
    ({"solver": "missing_package.agents:debate"}, "No module named 'missing_package'.*installed, or its folder"),
    ({"solver": "fakes.solvers:nothing"}, "there is no solver 'fakes.solvers:nothing'; a name is"),
    ({"solver": "fakes.solvers:undecorated"}, "no function of this name has the decorator @solver or @agent"),
    ({"solver": "fakes.solvers:debate", "args": {"round": 2}}, "`args` has 'round'; did you mean 'rounds'"),
    ({"solver": "fakes.solvers:debate", "agent": "inspect_ai/react"}, "`solver` and `agent` are two names"),
    ({"args": {"rounds": 2}}, "`args` is an option of a solver: give `solver` or `agent` too"),
    ({"solver": "fakes.solvers:debate", "call_limit": 0}, "`call_limit` must be a whole number of at least 1"),
    ({"solver": "fakes.solvers:debate", "models": "openai/x"}, "`models` must be a list of Inspect model names"),
    ({"solver": "fakes.solvers:debate", "roles": {"a": "$0"}}, "placeholder '\\$0' must be"),
    ({"solver": "fakes.solvers:debate", "sandbox": "docker"}, "`sandbox` must be auto or required or none"),
]


@pytest.mark.parametrize(("options", "problem"), BAD)
def test_what_cannot_run_is_refused_when_the_file_is_read(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArchitectureError, match=problem):
        load_architecture({"layers": [{"generator": {"model": MODEL, **options}}]})


def test_without_a_sandbox_what_needs_one_is_refused_before_a_call(server: FakeServer) -> None:
    writing = generator("writing", sandbox="required")["generator"]
    with pytest.raises(ArchonError, match=r"`sandbox: required`, and only the samples of an `inspect eval` have one"):
        ask({"generator": [MODEL, writing]})
    assert "the task has none: `--sandbox docker`" in read_error(run({"generator": [MODEL, writing]}))
    assert not server.requests


def test_tools_of_a_harness_are_refused(server: FakeServer) -> None:
    from archon_eval.components import build_layer
    from archon_eval.engine.engine import list_tool_obstacles

    layers = load_architecture({"layers": [generator("mute")]}).layers
    assert list_tool_obstacles([build_layer(1, layers[0])]) == [
        "layer 1 (generator): solver 'fakes.solvers:mute' answers with a text, after tool calls of its own"
    ]


def test_models_and_roles_are_placeholders_that_are_filled_and_renamed() -> None:
    layer = generator("debate", model="$1", models=["$2"], roles={"opponent": "$3", "panel": ["$1", "$2"]})
    loaded = load_architecture({"layers": [layer]})
    assert loaded.models == loaded.placeholders == ("$1", "$2", "$3")
    filled = loaded.with_models(["a/x", "b/y", "c/z"])
    assert filled.models == ("a/x", "b/y", "c/z")
    assert load_architecture(filled.to_mapping()) == filled
    assert filled.to_mapping()["layers"][0]["generator"][0]["roles"] == {"opponent": "c/z", "panel": ["a/x", "b/y"]}
    assert filled.rename_models({"c/z": "d/w"}).models == ("a/x", "b/y", "d/w")


def test_a_fingerprint_covers_the_code_and_the_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "from inspect_ai.solver import generate, solver\n\n@solver\ndef mine(n=1):\n    return generate()\n"

    def take(text: str, **options: Any) -> str:
        (tmp_path / "own_agents.py").write_text(text)
        layer = {"generator": {"model": MODEL, "solver": "own_agents.py@mine", **options}}
        return load_architecture({"layers": [layer]}).fingerprint

    first = take(text)
    assert take(text) == first and take(f"{text}# more\n") != first
    assert len({first, take(text, args={"n": 2}), take(text, models=["a/x"]), take(text, call_limit=5)}) == 4


def test_a_log_does_not_have_a_solver_imported(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import archon_eval.architecture.solver_source as source
    from archon_eval.runs.usage import reload_architecture

    log = run(generator("debate", roles={"opponent": MODEL}))
    fingerprint = read_account(log).fingerprint
    monkeypatch.setattr(source, "_find_factory", lambda *_: pytest.fail("it was imported"))
    assert reload_architecture(log, fingerprint) is None


def test_a_plan_is_an_interval_by_the_limits() -> None:
    debate = generator("debate", roles={"opponent": "openai/gpt-4o-mini"}, samples=3, call_limit=10)["generator"]
    planned = plan(load_architecture({"layers": [{"generator": [debate, MODEL]}, JUDGED]}))
    assert planned.calls == (3 + 1 + 1, 30 + 1 + 1)
    least, most = planned.layers[0].usage
    assert least.output_tokens == 4 * 400 and most.input_tokens > 10 * least.input_tokens
    assert planned.dollars and planned.dollars[0] < planned.dollars[1]
    assert any("1 call at least and 10 at most" in note for note in planned.notes)
    small = {**debate, "token_limit": 3000}
    limited = plan(load_architecture({"layers": [{"generator": small}]})).usage[1]
    assert 8900 <= limited.input_tokens + limited.output_tokens <= 9100


def test_inspects_own_methods_are_back_when_no_solver_runs(server: FakeServer) -> None:
    own = Model.generate
    ask(generator("mute", on_error="drop")["generator"] and generator("debate", roles={"opponent": MODEL}))
    assert Model.generate is own


@pytest.mark.parametrize("trace", ["compact", "calls"])
def test_other_traces_show_as_much_as_they_promise(server: FakeServer, trace: str) -> None:
    sample = one_sample(run(generator("adder", kind="agent", samples=2), JUDGED, trace=trace))
    kinds = [event.event for event in sample.events]
    assert kinds.count("model") == (0 if trace == "compact" else 5)
    assert kinds.count("tool") == (0 if trace == "compact" else 4)


def test_as_a_model_of_a_task(server: FakeServer, tmp_path: Path) -> None:
    import yaml

    (tmp_path / "own.yaml").write_text(
        yaml.safe_dump({"layers": [generator("adder", kind="agent", samples=2), JUDGED]})
    )
    given = Task(dataset=[Sample("What is 2 + 2?", target="4")], scorer=includes())
    log = eval(given, model="archon/own.yaml", display="none", log_dir="logs", log_realtime=False)[0]
    sample = one_sample(log)
    assert sample.output.completion == "4" and sample.scores and sample.scores["includes"].value == "C"
    assert sample.output.metadata and sample.output.metadata["archon"]["calls"] == 5


def test_choices_and_later_turns_reach_a_solver_as_a_conversation(server: FakeServer) -> None:
    from inspect_ai.scorer import choice

    server.answer = lambda model, messages, nonce: "ANSWER: B"
    asked = Sample("Which?", choices=["one", "two"], target="B")
    turns = Sample("First?", target="x", metadata={"turns": ["First?", "Second?"]})
    used = archon(architecture={"layers": [generator("debate", roles={"opponent": MODEL}, samples=2)]})
    for sample, scored in ((asked, choice()), (turns, includes())):
        log = eval(
            Task(dataset=[sample], scorer=scored),
            solver=used,
            model="none",
            display="none",
            log_dir="logs",
            log_realtime=False,
        )[0]
        done = one_sample(log)
        if sample is asked:
            assert done.scores and done.scores["choice"].value == "C"
            assert "B) two" in str(server.requests[0].body["messages"])
    last = server.requests[-1].body["messages"]
    assert [turn["role"] for turn in last][:3] == ["user", "assistant", "user"] and last[2]["content"] == "Second?"


def test_a_plan_and_a_diagram_name_the_solver() -> None:
    from archon_eval.engine.mermaid import render_mermaid

    debate = generator("debate", roles={"opponent": "openai/gpt-4o-mini"}, samples=3)["generator"]
    planned = plan(load_architecture({"layers": [{"generator": [debate, MODEL]}, JUDGED]}))
    assert planned.layers[0].components == ((f"debate ({MODEL}, openai/gpt-4o-mini)", 3), (MODEL, 1))
    assert f"debate ({MODEL}, openai/gpt-4o-mini) × 3" in render_mermaid(planned)
    assert planned.unpriced == ()


def test_a_plan_beside_what_was_measured(
    server: FakeServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import yaml

    from archon_eval.cli import main

    layers = [generator("adder", kind="agent", samples=2), JUDGED]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"name": "own", "layers": layers}))
    assert main(["plan", "own.yaml", "--measured", "logs"]) != 0 and "no such log or folder" in capsys.readouterr().err
    run(*layers)
    assert main(["plan", "own.yaml", "--measured", "logs"]) == 0
    printed = capsys.readouterr().out
    assert "Measured in 1 answer (logs/" in printed and "generator  4.0 (4)" in printed
    assert main(["plan", "moa-lite", "--models", MODEL, "--measured", "logs"]) != 0
    assert "no answer of this architecture" in capsys.readouterr().err


def test_what_a_solver_leaves_running_asks_no_model(server: FakeServer) -> None:
    generator_of = generator("leaving")
    first = {"name": "first", "layers": [generator_of], "accept": {"function": f"{__name__}:never"}}
    stages = [first, {"name": "second", "layers": [generator_of]}]
    answer = Archon({"cascade": stages}).generate_sync("Why?")
    assert "has ended, so a task that it left running asks no model" in answer.text and len(server.requests) == 1


def never(state: Any) -> bool:
    return False
