"""A text-classification pipeline as a source of scores: with a module of its interface, and on request the real one."""

import os
import sys
from types import ModuleType
from typing import Any

import anyio
import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.components import build_component
from archon_eval.engine.engine import Engine
from archon_eval.engine.trace import Answer
from archon_eval.errors import ModelError
from archon_eval.models.call import Call, Reply
from archon_eval.models.client import ModelClient
from archon_eval.models.pairrm import compare_answers
from archon_eval.models.score_function import ScorePipeline
from archon_eval.types import Message

REAL = os.environ.get("ARCHON_TEST_PIPELINE", "")
"""A text-classification model with one label, to test the real pipeline with (it is downloaded)."""


class Named:
    """A sender whose models answer as many x as their numbers say."""

    async def __call__(self, call: Call) -> Reply:
        return Reply("x" * int(call.model[2:]))

    def get_call_identity(self, call: Call) -> tuple[str, str]:
        return f"{call.model} at nowhere", ""


def answer(layer: dict[str, Any]) -> Answer:
    layers = [{"generator": ["a/2", "a/5", "a/3"]}, layer]
    engine = Engine(load_architecture({"name": "x", "layers": layers}), ModelClient(Named()))
    return anyio.run(engine.run, (Message("user", "Why?"),))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the pipeline is asked: a module of the interface of transformers, whose only label is the length."""
    calls: list[Any] = []

    def make(task: str, model: str) -> Any:
        calls.append((task, model))
        if model == "x/none":
            raise OSError("x/none is no model of the hub")

        def classify(texts: list[Any], **options: Any) -> list[Any]:
            calls.append((texts, options))
            lengths = [len(text["text_pair"] if isinstance(text, dict) else text) / 100 for text in texts]
            if model == "x/two-labels":
                return [[{"label": "GOOD", "score": each}, {"label": "BAD", "score": 1 - each}] for each in lengths]
            return [[{"label": "LABEL_0", "score": each}] for each in lengths]

        return classify

    module = ModuleType("transformers")
    module.pipeline = make  # type: ignore[attr-defined]
    module.__spec__ = type(sys.__spec__)("transformers", None)
    monkeypatch.setitem(sys.modules, "transformers", module)
    return calls


def test_a_pipeline_is_loaded_once_and_gets_a_batch_of_pairs(asked: list[Any]) -> None:
    found = answer({"reward": {"pipeline": "x/reward", "top_k": 3}})
    assert [c.text for c in found.candidates] == ["xxxxx", "xxx", "xx"]
    assert asked[0] == ("text-classification", "x/reward") and len(asked) == 2
    texts, options = asked[1]
    assert texts[1] == {"text": "Why?", "text_pair": "xxxxx"} and options["function_to_apply"] == "none"
    assert {step.model for step in found.trail.steps if step.kind == "reward"} == {"pipeline/x/reward"}


def test_a_label_is_chosen_and_must_be_where_there_are_several(asked: list[Any]) -> None:
    found = answer({"reward": {"pipeline": "x/two-labels", "label": "BAD"}})
    assert found.text == "xx" and "function_to_apply" not in asked[1][1]
    with pytest.raises(ModelError, match="which label's score counts: 'GOOD, BAD'"):
        answer({"reward": {"pipeline": "x/two-labels"}})


def test_a_pipeline_of_pairs_gets_one_text(asked: list[Any]) -> None:
    wording = {"input": "{first}|{second}"}
    found = answer({"pairwise": {"pipeline": "x/two-labels", "label": "GOOD", "prompts": wording, "top_k": 3}})
    assert asked[1][0][:2] == ["xx|xxxxx", "xxxxx|xx"] and len(asked[1][0]) == 6
    assert found.text == "xx"  # all below a half: whoever stood second, in both orders


def test_a_model_that_cannot_be_loaded_is_a_failed_call(asked: list[Any]) -> None:
    with pytest.raises(ModelError, match="pipeline/x/none failed: OSError: x/none is no model"):
        answer({"reward": {"pipeline": "x/none"}})


def test_what_is_not_installed_is_said_before_anything_is_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archon_eval.models.score_function.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'archon-eval\[rewards\]'"):
        ScorePipeline("x/reward").check_requirements()
    monkeypatch.setattr("archon_eval.models.pairrm.find_spec", lambda name: None)
    pairrm = {"function": "archon_eval.models.pairrm:compare_answers", "batch": True}
    architecture = load_architecture({"layers": [{"generator": "a/x"}, {"pairwise": pairrm}]})
    scorer = build_component(architecture.layers[1][0], "layer 2").scorer
    assert scorer is not None
    with pytest.raises(ModelError, match="pip install llm-blender"):
        scorer.check_requirements()


def test_pairrm_compares_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[Any] = []

    class Blender:
        def loadranker(self, name: str) -> None:
            compared.append(name)

        def compare(self, questions: Any, firsts: Any, seconds: Any, return_logits: bool) -> list[float]:
            compared.append((questions[0], len(firsts), return_logits))
            return [float(len(a) - len(b)) for a, b in zip(firsts, seconds, strict=True)]

    module = ModuleType("llm_blender")
    module.Blender = Blender  # type: ignore[attr-defined]
    module.__spec__ = type(sys.__spec__)("llm_blender", None)
    monkeypatch.setitem(sys.modules, "llm_blender", module)
    vars(compare_answers).pop("_blender", None)
    found = answer({"pairwise": {"function": "archon_eval.models.pairrm:compare_answers", "batch": True}})
    vars(compare_answers).pop("_blender", None)
    assert found.text == "xxxxx" and compared == ["llm-blender/PairRM", ("Why?", 6, True)]


@pytest.mark.skipif(not REAL, reason="ARCHON_TEST_PIPELINE names no model to download")
def test_the_real_pipeline_scores() -> None:
    found = answer({"reward": {"pipeline": REAL, "top_k": 3}})
    assert all("reward" in candidate.values for candidate in found.candidates)
