"""The fast path sends what Inspect's own provider sends, and leaves to it whatever is not a plain success."""

import json
import math
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from fakes.server import FakeServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.model._generate_config import set_active_generate_config

from archon_eval.architecture.spec import GenerationSettings
from archon_eval.errors import ModelError
from archon_eval.models.call import Call, Reply
from archon_eval.models.inspect_client import InspectClient
from archon_eval.models.openai_direct import OpenAIDirect, create_direct_client
from archon_eval.types import Message

HI = (Message("user", "hi"),)
PLAIN = ["openai/gpt-4o", "openai/gpt-4o-mini-2024-07-18", "openai/gpt-4-turbo", "openai-api/vllm/llama-3.1-70b"]
OTHER = ["openai/o3-mini", "openai/gpt-5", "openai/gpt-4-vision-preview", "openai/some-unheard-of-model"]


@pytest.fixture(autouse=True)
def endpoints(fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "sk-fake-vllm-key")
    monkeypatch.setenv("VLLM_BASE_URL", fake_server.url)
    set_active_generate_config(GenerateConfig())


def ask(calls: list[Call], trace: str = "full", config: GenerateConfig | None = None) -> list[Reply | Exception]:
    """The replies to calls made at once, failures in their places."""
    found: dict[int, Reply | Exception] = {}

    async def main() -> None:
        set_active_generate_config(config or GenerateConfig(max_retries=2))
        caller = InspectClient({call.model for call in calls}, trace=trace)

        async def one(place: int, call: Call) -> None:
            try:
                found[place] = await caller(call)
            except ModelError as exc:
                found[place] = exc

        async with anyio.create_task_group() as group:
            for place, call in enumerate(calls):
                group.start_soon(one, place, call)

    anyio.run(main)
    return [found[place] for place in sorted(found)]


def wire(server: FakeServer) -> list[tuple[str, dict[str, Any], str]]:
    """Path, body and key of what was sent."""
    return [(one.path, one.body, one.headers["authorization"]) for one in server.requests]


MESSAGES = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text(max_size=60)), max_size=4).map(
    lambda found: (*(Message(role, text) for role, text in found), Message("user", "and?"))
)
SETTINGS = st.builds(
    GenerationSettings,
    temperature=st.sampled_from([None, 0.0, 0.7, 2.0]),
    max_tokens=st.sampled_from([None, 1, 2048]),
    top_p=st.sampled_from([None, 0.5]),
    top_k=st.sampled_from([None, 40]),
    seed=st.sampled_from([None, 7]),
    stop=st.sampled_from([(), ("\n\n", "END")]),
    frequency_penalty=st.sampled_from([None, 0.5]),
    presence_penalty=st.sampled_from([None, -0.5]),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(model=st.sampled_from(PLAIN), messages=MESSAGES, chosen=SETTINGS)
def test_the_body_on_the_wire_is_inspects_own(
    fake_server: FakeServer, model: str, messages: Any, chosen: GenerationSettings
) -> None:
    fake_server.reset()
    assert create_direct_client(get_model(model)) is not None
    call = Call(model, messages, chosen)
    ask([call])
    ask([call], trace="calls")
    first, second = wire(fake_server)
    assert first == second
    assert ["x-irid" in one.headers for one in fake_server.requests] == [False, True]


def test_the_fast_path_is_taken_and_shows_on_the_wire(fake_server: FakeServer) -> None:
    ask([Call("openai/gpt-4o", HI, GenerationSettings())])
    assert "x-irid" not in fake_server.requests[0].headers, "Inspect's own requests carry this header"
    ask([Call("openai/gpt-4o", HI, GenerationSettings())], trace="calls")
    assert "x-irid" in fake_server.requests[1].headers


@pytest.mark.parametrize("model", OTHER)
def test_models_with_a_way_of_their_own_are_left_to_inspect(model: str) -> None:
    assert create_direct_client(get_model(model)) is None


def test_model_arguments_and_proxies_are_left_to_inspect(monkeypatch: pytest.MonkeyPatch) -> None:
    assert create_direct_client(get_model("openai/gpt-4o", responses_api=True)) is None
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert create_direct_client(get_model("openai/gpt-4o")) is None


@pytest.mark.parametrize(
    "config",
    [
        {"system_message": "be brief"},
        {"logprobs": True},
        {"extra_body": {"a": 1}},
        {"extra_headers": {"x-a": "b"}},
        {"reasoning_effort": "low"},
        {"cache_prompt": True},
    ],
)
def test_configuration_it_does_not_understand_is_left_to_inspect(config: dict[str, Any]) -> None:
    async def main() -> None:
        model = get_model("openai/gpt-4o", config=GenerateConfig(**config))
        assert await OpenAIDirect(model)(Call("openai/gpt-4o", HI, GenerationSettings())) is None

    anyio.run(main)


@pytest.mark.parametrize("fault", ["500", "429", "reset", "refuse", "truncated", "html", "empty", "nested"])
def test_a_failed_attempt_is_inspects_to_mend(fake_server: FakeServer, fault: str) -> None:
    fake_server.script(fault)
    (reply,) = ask([Call("openai/gpt-4o", HI, GenerationSettings())])
    assert isinstance(reply, Reply) and reply.text.startswith("Answer of gpt-4o")
    assert len(fake_server.requests) == 2 and "x-irid" in fake_server.requests[1].headers


def test_retry_after_is_waited_for(fake_server: FakeServer) -> None:
    fake_server.retry_after = "0.3"
    fake_server.script("429")
    ask([Call("openai/gpt-4o", HI, GenerationSettings())])
    first, second = fake_server.requests
    assert second.started - first.started >= 0.3


@pytest.mark.parametrize("after", ["nan", "-5", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_retry_after_that_is_no_length_of_time_does_no_harm(fake_server: FakeServer, after: str) -> None:
    fake_server.retry_after = after
    fake_server.script("429")
    (reply,) = ask([Call("openai/gpt-4o", HI, GenerationSettings())])
    assert isinstance(reply, Reply) and len(fake_server.requests) == 2


@pytest.mark.parametrize("fault", ["400", "401", "400-context"])
def test_what_the_endpoint_rejects_ends_as_with_inspect(fake_server: FakeServer, fault: str) -> None:
    call = Call(f"openai/gpt-4o!{fault}", HI, GenerationSettings())
    (fast,), (stock,) = ask([call]), ask([call], trace="calls")
    assert isinstance(fast, ModelError) and isinstance(stock, ModelError)
    if fault == "400-context":
        assert str(fast) == str(stock) and "does not fit the model's context window: This model's maximum" in str(fast)
    else:
        assert f"injected {fault}" in str(fast)


@pytest.mark.parametrize("fault", ["filter", "length", "null", "no-usage", "201"])
def test_odd_successes_are_read_as_inspect_reads_them(fake_server: FakeServer, fault: str) -> None:
    fake_server.answer = lambda *_: "same"
    call = Call(f"openai/gpt-4o!{fault}", HI, GenerationSettings())
    (fast,), (stock,) = ask([call]), ask([call], trace="calls")
    assert isinstance(fast, Reply) and isinstance(stock, Reply)
    assert (fast.text, fast.stop_reason, fast.usage) == (stock.text, stock.stop_reason, stock.usage)
    assert len(fake_server.requests) == 2


@pytest.mark.parametrize("text", ["<think>hm</think>42", "a\x00b", "", "<thinking>no</thinking> 42"])
def test_texts_are_read_as_inspect_reads_them(fake_server: FakeServer, text: str) -> None:
    fake_server.answer = lambda *_: text
    call = Call("openai/gpt-4o", HI, GenerationSettings())
    (fast,), (stock,) = ask([call]), ask([call], trace="calls")
    assert isinstance(fast, Reply) and isinstance(stock, Reply)
    assert (fast.text, fast.cleaned, fast.usage) == (stock.text, stock.cleaned, stock.usage)


def test_draws_of_one_prompt_share_requests(fake_server: FakeServer) -> None:
    replies = ask([Call("openai/gpt-4o", HI, GenerationSettings(), draw) for draw in range(23)])
    assert sorted(one.body.get("n", 1) for one in fake_server.requests) == [3, 10, 10]
    texts = [reply.text for reply in replies if isinstance(reply, Reply)]
    assert len(set(texts)) == 23, "every draw has a reply of its own"
    usages = [reply.usage for reply in replies if isinstance(reply, Reply) and reply.usage]
    assert sum(usage.input_tokens for usage in usages) == 3 * len(fake_server.requests), (
        "the prompt is paid once per request"
    )
    assert sum(usage.output_tokens for usage in usages) == sum(3 + len(text) // 4 for text in texts)


def test_draws_with_a_seed_or_of_different_questions_are_sent_apart(fake_server: FakeServer) -> None:
    ask([Call("openai/gpt-4o", HI, GenerationSettings(seed=1), draw) for draw in range(3)])
    ask([Call("openai/gpt-4o", HI, GenerationSettings(), 0, question=question) for question in range(3)])
    assert [one.body.get("n", 1) for one in fake_server.requests] == [1] * 6


@pytest.mark.parametrize("fault", ["one-choice", "400-n"])
def test_an_endpoint_that_does_not_honour_n_is_asked_singly(fake_server: FakeServer, fault: str) -> None:
    model = f"openai/gpt-4o!{fault}"
    replies = ask([Call(model, HI, GenerationSettings(), draw) for draw in range(4)])
    assert len({reply.text for reply in replies if isinstance(reply, Reply)}) == 4
    assert fake_server.requests[0].body["n"] == 4
    assert all(one.body.get("n", 1) == 1 for one in fake_server.requests[1:])


def test_a_cancelled_draw_leaves_the_others_theirs(fake_server: FakeServer) -> None:
    fake_server.latency = 0.3
    found: list[str] = []

    async def main() -> None:
        caller = InspectClient(["openai/gpt-4o"], trace="full")

        async def one(draw: int, scope: anyio.CancelScope) -> None:
            with scope:
                found.append((await caller(Call("openai/gpt-4o", HI, GenerationSettings(), draw))).text)

        scopes = [anyio.CancelScope() for _ in range(3)]
        async with anyio.create_task_group() as group:
            for draw, scope in enumerate(scopes):
                group.start_soon(one, draw, scope)
            await anyio.sleep(0.1)
            scopes[0].cancel()

    anyio.run(main)
    assert len(set(found)) == 2


def test_connections_are_limited_as_inspect_limits_them(fake_server: FakeServer) -> None:
    fake_server.latency = 0.05
    calls = [Call("openai/gpt-4o", (Message("user", str(n)),), GenerationSettings()) for n in range(12)]
    ask(calls, config=GenerateConfig(max_connections=3))
    assert fake_server.most_in_flight == 3


def test_the_oldest_question_goes_first(fake_server: FakeServer) -> None:
    fake_server.latency = 0.02
    calls = [Call("openai/gpt-4o", (Message("user", str(n)),), GenerationSettings(), question=9 - n) for n in range(9)]
    ask(calls, config=GenerateConfig(max_connections=1))
    order = [int(one.body["messages"][0]["content"]) for one in fake_server.requests]
    assert order[1:] == sorted(order[1:], reverse=True)


def test_attempt_timeouts_are_kept(fake_server: FakeServer) -> None:
    fake_server.script("hang")

    async def main() -> None:
        model = get_model("openai/gpt-4o", config=GenerateConfig(attempt_timeout=1))
        with anyio.fail_after(10):
            assert await OpenAIDirect(model)(Call("openai/gpt-4o", HI, GenerationSettings())) is None

    anyio.run(main)


def test_keys_do_not_reach_messages(fake_server: FakeServer) -> None:
    (failed,) = ask([Call("openai/gpt-4o!401", HI, GenerationSettings())])
    assert isinstance(failed, ModelError) and "sk-fake-openai-key" not in str(failed)
    assert "sk-fake-openai-key" in json.dumps([one.headers for one in fake_server.requests])


def test_the_first_draw_cancelled_before_it_is_sent_leaves_the_others_theirs(fake_server: FakeServer) -> None:
    found: list[str] = []

    async def main() -> None:
        caller = InspectClient(["openai/gpt-4o"], trace="full")

        async def one(draw: int, scope: anyio.CancelScope) -> None:
            with scope:
                found.append((await caller(Call("openai/gpt-4o", HI, GenerationSettings(), draw))).text)

        scopes = [anyio.CancelScope() for _ in range(3)]
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                for draw, scope in enumerate(scopes):
                    group.start_soon(one, draw, scope)
                await anyio.lowlevel.checkpoint()
                scopes[0].cancel()

    anyio.run(main)
    assert len(set(found)) == 2


def mangled(server: FakeServer, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Completions without a part that the protocol calls required."""
    made = server._completion

    def without(*given: Any) -> Any:
        found = made(*given)
        if what == "total_tokens":
            del found["usage"][what]
        for choice in found["choices"]:
            choice.pop(what, None)
            if what == "a finite index":
                choice["index"] = math.inf
        return found

    monkeypatch.setattr(server, "_completion", without)


@pytest.mark.parametrize("what", ["index", "finish_reason"])
def test_choices_that_lack_a_part_are_read_and_paid_once(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    mangled(fake_server, monkeypatch, what)
    replies = ask([Call("openai/gpt-4o", HI, GenerationSettings(), draw) for draw in range(4)])
    assert len({reply.text for reply in replies if isinstance(reply, Reply)}) == 4
    assert [one.body.get("n") for one in fake_server.requests] == [4]


@pytest.mark.parametrize("what", ["total_tokens", "a finite index", "short headers"])
def test_an_endpoint_whose_replies_are_unreadable_is_left_to_inspect(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    mangled(fake_server, monkeypatch, what)
    fake_server.script("long-header" if what == "short headers" else "ok")

    async def main() -> None:
        fast = OpenAIDirect(get_model("openai/gpt-4o"))
        async with anyio.create_task_group() as group:
            for draw in range(3):
                group.start_soon(fast, Call("openai/gpt-4o", HI, GenerationSettings(), draw))
        assert await fast(Call("openai/gpt-4o", HI, GenerationSettings())) is None

    anyio.run(main)
    assert len(fake_server.requests) == 1


@pytest.mark.parametrize("fault", ["400-context", "empty"])
def test_a_failure_that_is_not_about_n_leaves_n_in_use(fake_server: FakeServer, fault: str) -> None:
    async def main() -> None:
        fast = OpenAIDirect(get_model("openai/gpt-4o"))
        for faults in ([fault] * 3, []):
            fake_server.script(*faults)
            async with anyio.create_task_group() as group:
                for draw in range(3):
                    group.start_soon(fast, Call("openai/gpt-4o", HI, GenerationSettings(), draw))
        assert fake_server.requests[-1].body["n"] == 3

    anyio.run(main)
