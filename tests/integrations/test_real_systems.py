"""The components of the other systems with a real model on a real server: each ends as it should."""

from collections.abc import Iterator
from typing import Any

import pytest
from fakes.llama import RealServer, require_real_model

from archon_eval import Archon
from archon_eval.architecture.load import load_architecture
from archon_eval.engine.plan import plan

pytestmark = pytest.mark.xdist_group("real_model")  # one server at a time

MODEL = "openai-api/llama/SmolLM2-135M-Instruct"
AGENTS = {"model": MODEL, "samples": 2, "confidence": True}
SYSTEMS: dict[str, list[Any]] = {
    "a debate with confidences": [
        {"debate": AGENTS},
        {"debate": AGENTS},
        {"vote": {"top_k": 1, "weight": "confidence"}},
    ],
    "a moderated debate": [{"moderated_debate": {"model": MODEL, "rounds": 1}}],
    "guidance, another answer, a choice, a revision": [
        {"guided_generator": {"model": MODEL, "system": "You are a teacher."}},
        {"diversifier": MODEL},
        {"model_ranker": MODEL},
        {"refine": {"model": MODEL, "rounds": 1}},
    ],
}


@pytest.fixture(scope="module")
def server() -> Iterator[RealServer]:
    require_real_model()
    with RealServer() as found:
        yield found


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_answers(server: RealServer, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("LLAMA_BASE_URL", f"{server.address}/v1")
    monkeypatch.setenv("LLAMA_API_KEY", "none")
    mapping = {"name": name, "max_tokens": 8, "max_parse_retries": 1, "layers": SYSTEMS[name]}
    answer = Archon(mapping).generate_sync("What is 2 + 2? Answer with a number.")
    least, most = plan(load_architecture(mapping)).calls
    asked_again = sum(note.what == "reask" for note in answer.trail.notes)
    assert least <= len(answer.trail.steps) - asked_again <= most
    assert answer.candidates and not any(step.problem for step in answer.trail.steps)
