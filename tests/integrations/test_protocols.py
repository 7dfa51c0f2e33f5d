"""Faults on the wire, through the real openai and anthropic packages: each is retried, recorded or fails as stated.

`fault` fails always, `faultx1` on the first request only. All cases run at once, since retries wait for seconds.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from unittest.mock import patch

import pytest
from fakes.server import FakeServer
from inspect_ai.model._model import _models

from archon_eval import Archon
from archon_eval.errors import ModelError
from archon_eval.integrations.python import PricedAnswer

pytestmark = pytest.mark.xdist_group("protocols")  # one run of all cases

ANSWERED, FAILED = "", "layer 1 (generator), generate: "
"""How a case ends: an answer, perhaps with a note; or an error that names the place."""

BOTH = {
    "429x1": (ANSWERED, 2),
    "500x1": (ANSWERED, 2),
    "503x1": (ANSWERED, 2),
    "resetx1": (ANSWERED, 2),
    "refusex1": (ANSWERED, 2),
    "slow": (ANSWERED, 1),
    "length": ("truncated", 1),
    "filter": ("filtered", 1),
    "null": ("empty", 1),
    "400": (FAILED + "{model}: BadRequestError: Error code: 400", 1),
    "401": (FAILED + "{model}: AuthenticationError: Error code: 401", 1),
    "truncated": (FAILED + "{model}: JSONDecodeError", 1),
    "html": (FAILED + "{model}: ", 1),
}
"""By fault: the outcome, and how many requests there were."""
OPENAI = BOTH | {"empty": (FAILED + "{model}: |no choice in it", 2), "no-usage": (ANSWERED, 1)}
"""After `|` stands what else an error says. A success without a choice is asked for once more."""
ANTHROPIC = BOTH | {"empty": ("empty", 1)}
FAST = OPENAI | {
    # the fast path leaves whatever is no plain success to Inspect's provider: a request more
    **{fault: (OPENAI[fault][0], 2) for fault in ("400", "401", "truncated", "html", "empty")},
    "truncatedx1": (ANSWERED, 2),
}
CASES = {
    f"{provider}/{model}!{fault}": (trace, *expected)
    for provider, model, trace, table in (
        ("openai", "gpt-4o", "calls", OPENAI),
        ("openai", "gpt-4-turbo", "full", FAST),
        ("anthropic", "claude-3-5-sonnet-20240620", "calls", ANTHROPIC),
    )
    for fault, expected in table.items()
}


@dataclass
class Seen:
    answers: dict[str, PricedAnswer | ModelError]
    requests: Counter[str]


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    with FakeServer(slow=0.5) as server, patch.dict(
        os.environ,
        OPENAI_API_KEY="sk-fake-openai-key",
        OPENAI_BASE_URL=server.url,
        ANTHROPIC_API_KEY="sk-fake-anthropic-key",
        ANTHROPIC_BASE_URL=server.anthropic_url,
    ):  # fmt: skip
        _models.clear()
        answers: dict[str, PricedAnswer | ModelError] = {}

        async def ask(model: str, trace: str) -> None:
            archon = Archon({"layers": [{"generator": model}]}, max_retries=1, trace=trace)
            try:
                answers[model] = await archon.generate("Hello")
            except ModelError as exc:
                answers[model] = exc

        async def all_at_once() -> None:
            await asyncio.gather(*(ask(model, trace) for model, (trace, _, _) in CASES.items()))

        asyncio.run(all_at_once())
        yield Seen(answers, Counter(request.body["model"] for request in server.requests))


@pytest.mark.parametrize("model", CASES)
def test_each_fault_ends_as_stated(seen: Seen, model: str) -> None:
    _, expected, requests = CASES[model]
    found = seen.answers[model]
    if expected.startswith(FAILED):
        assert isinstance(found, ModelError), found
        start, _, said = expected.format(model=model).partition("|")
        assert str(found).startswith(start) and said in str(found)
        assert "sk-fake" not in str(found)
    else:
        assert isinstance(found, PricedAnswer), found
        assert found.trail.counts == ({expected: 1} if expected else {})
        assert bool(found.text) == (expected != "empty")
        assert bool(found.usage.output_tokens) == ("no-usage" not in model)
    assert seen.requests[model.split("/")[1]] == requests


def test_retries_have_an_end(fake_server: FakeServer) -> None:
    with pytest.raises(ModelError, match="gave up after 2 attempts: HTTP 429"):
        Archon({"layers": [{"generator": "openai/gpt-4o!429"}]}, max_retries=1).generate_sync("Hello")


def test_what_is_dropped_is_recorded_and_the_rest_answers(fake_server: FakeServer) -> None:
    layers = [{"generator": ["openai/gpt-4o", "openai/gpt-4o!400"]}, {"fuser": "openai/gpt-4o"}]
    answer = Archon({"on_error": "drop", "layers": layers}).generate_sync("Hello")
    assert answer.trail.counts == {"dropped": 1} and answer.cost is not None
    assert [layer.candidates[0].model for layer in answer.trail.layers] == ["openai/gpt-4o", "openai/gpt-4o"]
