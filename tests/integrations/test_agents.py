"""Inspect's own agents on `--model archon/...`: tools and images, on a loopback server."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fakes.replies import helpful, read_text
from fakes.server import FakeServer, Request
from inspect_ai import Task, eval
from inspect_ai.agent import react
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    ChatMessageUser,
    CompactionEdit,
    ContentImage,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    get_model,
)
from inspect_ai.scorer import includes
from inspect_ai.solver import basic_agent, generate, use_tools
from inspect_ai.tool import Tool, ToolCall, ToolFunction, ToolInfo, tool

from archon_eval.errors import ModelError
from archon_eval.integrations.python import Archon
from archon_eval.runs.account import parse_accounts
from archon_eval.runs.answer_usage import read_answer_usages

BEST = "layers: [{generator: {model: openai/gpt-4o, samples: 3}}, {ranker: {model: openai/gpt-4-turbo, top_k: 1}}]"
TEAM = (
    "layers: [{generator: [openai/gpt-4o, openai/gpt-4o-mini]}, {critic: openai/gpt-4-turbo}, "
    "{ranker: {model: openai/gpt-4-turbo, top_k: 2}}, {verifier: openai/gpt-4-turbo}]"
)
VOTE = "layers: [{generator: {model: openai/gpt-4o, samples: 3}}, {vote: {top_k: 1}}]"
FUSED = "layers: [{generator: [openai/gpt-4o, openai/gpt-4o-mini]}, {fuser: openai/gpt-4o}]"
ONE = "layers: [{generator: openai/gpt-4o}]"
IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5"
    "ErkJggg=="
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in {"best": BEST, "team": TEAM, "vote": VOTE, "fused": FUSED, "one": ONE}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def run(given: Task, model: str, **options: Any) -> EvalLog:
    log: EvalLog = eval(
        given, model=model, display="none", log_dir="logs", log_realtime=False, max_retries=1, **options
    )[0]
    return log


def one_sample(log: EvalLog) -> EvalSample:
    assert log.status == "success" and log.samples, log.error
    return log.samples[0]


@tool
def add() -> Tool:
    async def execute(a: int, b: int) -> str:
        """Adds two numbers.

        Args:
            a: the first.
            b: the second.
        """
        return f"the sum is {a + b}"

    return execute


def act(model: str, messages: list[dict[str, Any]], nonce: int) -> str:
    """Adds, then submits what came of it; the small model adds something else. Judges answer as they are asked."""
    if messages[-1]["role"] == "tool":
        found = read_text(messages[-1]["content"]).removeprefix("the sum is ")
        return f'CALL submit {{"answer": "{found}"}}'
    if read_text(messages[-1]["content"]) != "What is 2 + 2?":
        return helpful(model, messages, nonce)
    return f'I add.\nCALL add {{"a": 2, "b": {2 if model == "gpt-4o" else 3}}}'


@pytest.fixture
def acting(fake_server: FakeServer) -> FakeServer:
    fake_server.answer = act
    return fake_server


def arithmetic(solver: Any) -> Task:
    return Task(dataset=[Sample("What is 2 + 2?", target="4")], solver=solver, scorer=includes())


def sent_to(server: FakeServer, model: str) -> list[Request]:
    return [request for request in server.requests if request.body["model"] == model]


@pytest.mark.parametrize("agent", ["react", "basic"])
@pytest.mark.parametrize("name", ["best", "vote"])
def test_inspects_agents_run_on_architectures(folder: Path, acting: FakeServer, agent: str, name: str) -> None:
    solver = react(tools=[add()]) if agent == "react" else basic_agent(tools=[add()], max_messages=12)
    sample = one_sample(run(arithmetic(solver), f"archon/{name}.yaml"))
    assert sample.scores and sample.scores["includes"].value == "C"
    turns = [message for message in sample.messages if message.role == "assistant"]
    assert sample.output.completion == "4"
    assert turns[0].text == "I add." and turns[0].tool_calls and turns[0].tool_calls[0].arguments == {"a": 2, "b": 2}
    drawn = sent_to(acting, "gpt-4o")
    assert len(drawn) == 6 and all({"add", "submit"} == {t["function"]["name"] for t in r.body["tools"]} for r in drawn)
    last = drawn[-1].body["messages"]
    assert last[-2]["tool_calls"][0]["id"] == last[-1]["tool_call_id"] and last[-1]["role"] == "tool"


def test_judges_read_proposals_tools_and_results_as_text(folder: Path, acting: FakeServer) -> None:
    one_sample(run(arithmetic(react(tools=[add()])), "archon/best.yaml"))
    first, second = (request.body for request in sent_to(acting, "gpt-4-turbo"))
    assert "tools" not in first and len(first["messages"]) == 1
    shown = read_text(first["messages"][0]["content"])
    assert "I add.\n\nTool call: add(a=2, b=2)" in shown and "- add: Adds two numbers." in shown
    later = read_text(second["messages"][0]["content"])
    assert "(What has been done so far:)\nI add.\n\nTool call: add(a=2, b=2)\n\nResult of add:\nthe sum is 4" in later
    assert 'Tool call: submit(answer="4")' in later


def test_the_ranker_chooses_whose_proposal_is_executed(folder: Path, acting: FakeServer) -> None:
    # the loopback ranker puts the last first: the mini model's sum is the one that is executed
    sample = one_sample(run(arithmetic(react(tools=[add()])), "archon/team.yaml"))
    assert any(message.text == "the sum is 5" for message in sample.messages if message.role == "tool")
    assert sample.output.completion == "5"
    judges = [read_text(r.body["messages"][0]["content"]) for r in sent_to(acting, "gpt-4-turbo")]
    assert all("Tool call: " in prompt for prompt in judges)
    assert {"critic", "ranker", "verifier"} <= {
        layer.kind for account in parse_accounts(sample.output.metadata) for layer in account.layers
    }


def test_accounts_count_every_turn_of_an_agent(folder: Path, acting: FakeServer) -> None:
    log = run(arithmetic(react(tools=[add()])), "archon/best.yaml")
    (usage,) = read_answer_usages(log.location, log)
    assert len(usage.accounts) == 2 and usage.total.calls == len(acting.requests) == 8
    assert not usage.other and not usage.find_problems()
    assert usage.total.tokens == sum(use.total_tokens for use in log.stats.model_usage.values())


def test_an_architecture_that_writes_text_is_refused_before_any_call(folder: Path, acting: FakeServer) -> None:
    log = run(arithmetic([use_tools(add()), generate()]), "archon/fused.yaml")
    assert log.status == "error" and log.error
    assert "layer 2 (fuser): it writes a text of its own, and tool calls cannot be fused" in log.error.message
    assert "a ranker in its place chooses one" in log.error.message and "add are offered" in log.error.message
    assert "engine.py" not in log.error.traceback_ansi
    assert not acting.requests


def test_tools_that_may_not_be_called_are_no_obstacle(folder: Path, acting: FakeServer) -> None:
    sample = one_sample(run(arithmetic([use_tools(add(), tool_choice="none"), generate()]), "archon/fused.yaml"))
    assert sample.output.stop_reason == "stop" and not sample.output.message.tool_calls
    assert len(acting.requests) == 3


@pytest.mark.parametrize("name", ["best", "vote"])
def test_a_call_store_reuses_and_replays_an_agents_turns(
    folder: Path, acting: FakeServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turns(**options: Any) -> list[Any]:
        log = run(arithmetic(react(tools=[add()])), f"archon/{name}.yaml", model_args={"store": "calls.db", **options})
        messages = one_sample(log).messages
        return [(m.role, m.text, getattr(m, "tool_calls", None)) for m in messages]

    first = turns()
    paid = len(acting.requests)
    assert turns() == first and len(acting.requests) == paid
    monkeypatch.delenv("OPENAI_API_KEY")
    assert turns(store_policy="replay") == first and len(acting.requests) == paid


def offer(description: str = "Adds.") -> ToolInfo:
    return ToolInfo(name="add", description=description)


async def ask(name: str, messages: list[ChatMessage], tools: list[ToolInfo] | None = None, **options: Any) -> Any:
    choice = options.pop("tool_choice", None)
    model = get_model(f"archon/{name}.yaml", memoize=False, **options.pop("args", {}))
    return await model.generate(messages, tools or [], choice, config=GenerateConfig(**options))


async def test_another_offer_of_tools_is_another_call(folder: Path, acting: FakeServer) -> None:
    asked: list[ChatMessage] = [ChatMessageUser(content="What is 2 + 2?")]
    for tools in ([offer()], [offer()], [offer("Adds two.")], []):
        await ask("one", asked, tools, args={"store": "calls.db"})
    assert len(acting.requests) == 3
    await ask("one", asked, [offer()], tool_choice="any", args={"store": "calls.db"})
    assert len(acting.requests) == 4


async def test_choice_and_options_are_sent(folder: Path, acting: FakeServer) -> None:
    asked: list[ChatMessage] = [ChatMessageUser(content="What is 2 + 2?")]
    await ask("one", asked, [offer()], tool_choice=ToolFunction("add"), parallel_tool_calls=False)
    await ask("one", asked, [offer()], tool_choice="any")
    first, second = (request.body for request in acting.requests)
    assert first["tool_choice"] == {"type": "function", "function": {"name": "add"}}
    assert first["parallel_tool_calls"] is False and second["tool_choice"] == "required"


async def test_each_choice_is_a_proposal_of_its_own(folder: Path, fake_server: FakeServer) -> None:
    fake_server.answer = lambda model, messages, nonce: f'CALL add {{"a": {nonce}}}'
    output = await ask("vote", [ChatMessageUser(content="?")], [offer()], num_choices=2)
    assert len({choice.message.tool_calls[0].arguments["a"] for choice in output.choices}) == 2
    assert {choice.stop_reason for choice in output.choices} == {"tool_calls"}


@pytest.mark.parametrize(
    ("proposals", "chosen"),
    [
        (['CALL add {"a": 1, "b": 2}', 'CALL add {"b": 2, "a": 1}', "Done."], {"a": 1, "b": 2}),
        (['CALL add {"a": 1}', "The answer is 4.", "The answer is 4."], None),
        (['CALL add {"a": 1}', 'CALL add {"a": 2}', 'CALL add {"a": 2}'], {"a": 2}),
    ],
)
async def test_a_vote_counts_equal_proposals(
    folder: Path, fake_server: FakeServer, proposals: list[str], chosen: dict[str, int] | None
) -> None:
    waiting = iter(proposals)
    fake_server.answer = lambda *_: next(waiting)
    message = (await ask("vote", [ChatMessageUser(content="?")], [offer()])).choices[0].message
    assert (message.tool_calls[0].arguments if message.tool_calls else None) == chosen


async def test_arguments_that_are_no_json_go_to_the_harness_as_they_came(folder: Path, fake_server: FakeServer) -> None:
    fake_server.answer = lambda *_: 'CALL add {"a": 1'
    message = (await ask("best", [ChatMessageUser(content="?")], [offer()])).choices[0].message
    assert message.tool_calls and message.tool_calls[0].parse_error
    assert "(unreadable: " in read_text(fake_server.requests[-1].body["messages"][0]["content"])


async def test_thoughts_go_back_to_their_author_alone(folder: Path, fake_server: FakeServer) -> None:
    def think(completion: dict[str, Any]) -> dict[str, Any]:
        completion["choices"][0]["message"]["reasoning_content"] = "I should add."
        return completion

    fake_server.answer = lambda model, messages, nonce: (
        'CALL add {"a": 1}' if len(messages) == 1 and "Rank" not in messages[0]["content"]
        else helpful(model, messages, nonce)
    )  # fmt: skip
    fake_server.send(think, think)
    (folder / "two.yaml").write_text("layers: [{generator: [openai/gpt-4o, openai/gpt-4o-mini]}, {vote: {top_k: 1}}]")
    history: list[ChatMessage] = [ChatMessageUser(content="?")]
    turn = (await ask("two", history, [offer()])).choices[0].message
    assert turn.tool_calls and isinstance(turn.content, list) and isinstance(turn.content[0], ContentReasoning)
    result = ChatMessageTool(content="1", tool_call_id=turn.tool_calls[0].id, function="add")
    await ask("two", [*history, turn, result], [offer()])
    back = {r.body["model"]: r.body["messages"][1].get("reasoning_content") for r in fake_server.requests[2:]}
    assert back == {"gpt-4o": "I should add.", "gpt-4o-mini": None}


async def test_thoughts_of_others_turns_are_left_out(folder: Path, fake_server: FakeServer) -> None:
    thought = ContentReasoning(reasoning="secret", signature="s")
    turns: list[ChatMessage] = [
        ChatMessageUser(content="U1"),
        ChatMessageAssistant(content=[thought, ContentText(text="A1")]),
        ChatMessageUser(content="U2"),
    ]
    await ask("one", turns)
    assert [m["content"] for m in fake_server.requests[0].body["messages"]] == ["U1", "A1", "U2"]


def look() -> list[ChatMessage]:
    return [ChatMessageUser(content=[ContentText(text="What is it?"), ContentImage(image=IMAGE)])]


def test_images_reach_generators_and_judges_get_a_note(folder: Path, fake_server: FakeServer) -> None:
    task = Task(dataset=[Sample(look(), target="Answer")], solver=generate(), scorer=includes())
    sample = one_sample(run(task, "archon/best.yaml"))
    for request in sent_to(fake_server, "gpt-4o"):
        kinds = [part["type"] for part in request.body["messages"][0]["content"]]
        assert kinds == ["text", "image_url"]
        assert request.body["messages"][0]["content"][1]["image_url"]["url"] == IMAGE
    (judged,) = sent_to(fake_server, "gpt-4-turbo")
    assert "What is it?\n[image]" in judged.body["messages"][0]["content"] and IMAGE not in json.dumps(judged.body)
    assert parse_accounts(sample.output.metadata)[0].notes == {"unseen": 1}


def test_images_go_through_the_solver_too(folder: Path, fake_server: FakeServer) -> None:
    from archon_eval.solvers.archon import archon

    task = Task(dataset=[Sample(look(), target="Answer")], solver=archon("fused.yaml"), scorer=includes())
    sample = one_sample(run(task, "mockllm/model"))
    first, second, fused = (request.body["messages"][0]["content"] for request in fake_server.requests)
    assert [part["type"] for part in first] == [part["type"] for part in second] == ["text", "image_url"]
    assert "[image]" in fused
    assert sample.metadata["archon"]["notes"] == {"unseen": 1}


async def test_images_go_through_python_too(folder: Path, fake_server: FakeServer) -> None:
    answer = await Archon("fused.yaml").generate(look())
    assert answer.trail.counts == {"unseen": 1}
    assert [IMAGE in json.dumps(request.body) for request in fake_server.requests] == [True, True, False]


async def test_another_image_is_another_call(folder: Path, fake_server: FakeServer) -> None:
    for image in (IMAGE, IMAGE, IMAGE.replace("iVBOR", "iVBOS")):
        asked: list[ChatMessage] = [ChatMessageUser(content=[ContentText(text="?"), ContentImage(image=image)])]
        await ask("one", asked, args={"store": "calls.db"})
    assert len(fake_server.requests) == 2


async def test_an_image_in_a_tools_result_reaches_the_model(folder: Path, fake_server: FakeServer) -> None:
    history: list[ChatMessage] = [
        ChatMessageUser(content="Look."),
        ChatMessageAssistant(content="", tool_calls=[ToolCall("c1", "add", {})]),
        ChatMessageTool(content=[ContentImage(image=IMAGE)], tool_call_id="c1", function="add"),
    ]
    await ask("best", history, [offer()])
    assert IMAGE in json.dumps(sent_to(fake_server, "gpt-4o")[0].body["messages"])
    (judged,) = sent_to(fake_server, "gpt-4-turbo")
    assert "Result of add:\n[image]" in judged.body["messages"][0]["content"]


def attend(model: str, messages: list[dict[str, Any]], nonce: int) -> str:
    """Looks for the event, and says who comes."""
    last = read_text(messages[-1]["content"])
    if messages[-1]["role"] == "tool":
        guests = [one for one in re.findall(r"[\w.-]+@[\w.-]+\w", last) if "emma" not in one]
        return f"They are {' and '.join(dict.fromkeys(guests))}."
    if "Rank all" in last:
        return helpful(model, messages, nonce)
    return 'CALL search_calendar_events {"query": "Networking event", "date": "2024-05-26"}'


def dojo(*tasks: int) -> Task:
    pytest.importorskip("inspect_evals.agentdojo", reason="inspect-evals is not installed")
    from inspect_evals.agentdojo import agentdojo

    made: Task = agentdojo(
        workspace="workspace", with_injections=False, with_sandbox_tasks="no", user_task_ids=list(tasks)
    )
    return made


@pytest.mark.parametrize("name", ["best", "vote", "team"])
def test_agentdojo_is_solved_by_architectures_on_a_loopback_server(
    folder: Path, fake_server: FakeServer, name: str
) -> None:
    fake_server.answer = lambda model, messages, nonce: (
        helpful(model, messages, nonce) if model == "gpt-4-turbo" else attend(model, messages, nonce)
    )
    sample = one_sample(run(dojo(0), f"archon/{name}.yaml"))
    called = [call.function for m in sample.messages if m.role == "assistant" for call in m.tool_calls or ()]
    assert called == ["search_calendar_events"]
    assert sample.scores and [score.value for score in sample.scores.values()] == [{"utility": "C"}]


@pytest.mark.parametrize("architecture", ["best-of-n", "vote.yaml"])
def test_agentdojo_runs_on_the_simulated_pool(folder: Path, architecture: str) -> None:
    (folder / "vote.yaml").write_text("layers: [{generator: {model: $1, samples: 3}}, {vote: {top_k: 1}}]")
    log = run(dojo(0, 1, 2), f"archon/{architecture}", model_args={"models": "sim/gpt-4o,sim/gpt-4-turbo"})
    assert log.status == "success" and log.samples and len(log.samples) == 3, log.error
    for sample in log.samples:
        turns = [message for message in sample.messages if message.role == "assistant"]
        assert all(turn.tool_calls for turn in turns[:-1]) and len(turns) > 1
        assert not turns[-1].tool_calls and turns[-1].text.startswith("(Simulated")
        results = [message for message in sample.messages if message.role == "tool"]
        assert len(results) == len(turns) - 1
        assert not any(result.error and result.error.type == "parsing" for result in results)


def test_an_agent_that_broke_off_goes_on_from_the_call_store(folder: Path, acting: FakeServer) -> None:
    acting.script("ok", "ok", "ok", "ok", "400", "400", "400")  # the first turn with its ranking, then no more
    options: dict[str, Any] = {"model_args": {"store": "calls.db"}}
    log = run(arithmetic(react(tools=[add()])), "archon/best.yaml", **options)
    assert log.status == "error"
    acting.reset()
    sample = one_sample(run(arithmetic(react(tools=[add()])), "archon/best.yaml", **options))
    assert sample.output.completion == "4"
    assert [request.body["messages"][-1]["role"] for request in sent_to(acting, "gpt-4o")] == ["tool"] * 3


@pytest.mark.parametrize("agent", ["react", "basic"])
def test_a_history_that_does_not_fit_ends_an_agent_as_with_any_model(
    folder: Path, acting: FakeServer, agent: str
) -> None:
    acting.script("ok", "ok", "ok", "ok", "400-context", "ok", "ok")  # one of the three proposals of the second turn
    solver = react(tools=[add()]) if agent == "react" else basic_agent(tools=[add()])
    log = run(arithmetic(solver), "archon/best.yaml")
    sample = one_sample(log)
    assert sample.error is None and sample.scores and sample.scores["includes"].value == "I"
    assert sample.output.stop_reason == "model_length" and not sample.output.completion
    (usage,) = read_answer_usages(log.location, log)
    assert len(usage.accounts) == 2 and usage.accounts[1].usage.failed >= 1 and not usage.other


def test_an_agent_that_shortens_its_history_fetches_no_tokenizer(folder: Path, acting: FakeServer) -> None:
    solver = react(tools=[add()], compaction=CompactionEdit(threshold=100_000))
    assert one_sample(run(arithmetic(solver), "archon/best.yaml")).output.completion == "4"


async def test_without_tools_a_prompt_that_does_not_fit_is_an_error(folder: Path, fake_server: FakeServer) -> None:
    fake_server.script(*["400-context"] * 3)
    with pytest.raises(ModelError, match="context"):
        await ask("best", [ChatMessageUser(content="?")])


async def test_signed_thoughts_go_back_to_anthropic(folder: Path, fake_server: FakeServer) -> None:
    signed = {"type": "thinking", "thinking": "I should add.", "signature": "c2lnbmVk"}
    called = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}}
    fake_server.send(lambda message: message | {"content": [signed, called], "stop_reason": "tool_use"})
    name = "anthropic/claude-sonnet-4-5"
    (folder / "claude.yaml").write_text(f"layers: [{{generator: [{name}, openai/gpt-4o]}}, {{vote: {{top_k: 1}}}}]")
    (folder / "alone.yaml").write_text(f"layers: [{{generator: {name}}}]")
    history: list[ChatMessage] = [ChatMessageUser(content="?")]
    turn = (await ask("alone", history, [offer()])).choices[0].message
    assert turn.tool_calls and turn.tool_calls[0].arguments == {"a": 1}
    result = ChatMessageTool(content="1", tool_call_id="toolu_1", function="add")
    await ask("claude", [*history, turn, result], [offer()])
    back = {request.body["model"]: request.body["messages"][1] for request in fake_server.requests[1:]}
    blocks = back["claude-sonnet-4-5"]["content"]
    assert blocks[0] == signed and blocks[-1]["type"] == "tool_use"
    assert "signature" not in json.dumps(back["gpt-4o"]) and "I should add." not in json.dumps(back["gpt-4o"])
