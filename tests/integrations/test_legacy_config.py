"""The original project's configs: all of the shared ones load or say why not, and nothing is dropped in silence."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from archon_eval.architecture.load import load_architecture
from archon_eval.architecture.spec import Architecture
from archon_eval.engine.plan import plan
from archon_eval.errors import ArchitectureError
from archon_eval.integrations.legacy_config import import_legacy

CONFIGS = Path(__file__).parents[3] / "shared" / "data" / "legacy_configs"
needs_data = pytest.mark.skipif(
    not CONFIGS.is_dir(), reason="shared data with the original project's configs is absent"
)

GPT = {"model": "gpt-4o", "model_type": "OpenAI_API", "temperature": 0.7, "max_tokens": 2048}


def generator(**more: Any) -> dict[str, Any]:
    return {"type": "generator", **GPT, "samples": 1, **more}


def imported(*layers: Any) -> tuple[Architecture, str]:
    found, notes = import_legacy({"name": "old", "layers": list(layers)}, "old.json")
    return found, "\n".join(notes)


@needs_data
def test_every_shared_config_loads_or_says_why() -> None:
    reasons: Counter[str] = Counter()
    loaded = 0
    for path in sorted(CONFIGS.glob("*.json")):
        try:
            found, notes = import_legacy(json.loads(path.read_text(encoding="utf-8")), path.stem)
        except ArchitectureError as exc:
            assert path.stem in str(exc)
            reasons[next(why for why in ("mixes", "no evaluator reads") if why in str(exc))] += 1
            continue
        loaded += 1
        assert load_architecture(yaml.safe_load(found.to_yaml())) == found
        assert all(notes) and len(notes) == len(set(notes))
    assert loaded == 109
    assert reasons == {"mixes": 1, "no evaluator reads": 9}


@needs_data
def test_no_key_of_the_shared_configs_goes_unmentioned() -> None:
    """Each key is either carried over by name or meaning, or there is a note about it."""
    carried = {"type", "model", "model_type", "temperature", "max_tokens"}
    for path in sorted(CONFIGS.glob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        try:
            _, notes = import_legacy(data, path.stem)
        except ArchitectureError:
            continue
        text = "\n".join(notes)
        for layer in data["layers"]:
            for entry in layer.get("models", [layer]) if isinstance(layer, dict) else layer:
                kind = entry["type"]
                own = {"generator": {"samples"}, "fuser": {"samples"}, "ranker": {"top_k"}}.get(kind, set())
                for key in set(entry) - carried - own:
                    assert f"`{key}" in text or (key == "length_control" and kind == "fuser"), (path.name, kind, key)


def test_models_get_inspects_providers() -> None:
    together = generator(model="Qwen/Qwen2-72B-Instruct", model_type="Together_API", samples=3, temperature=1.25)
    claude = generator(model="claude-3-opus-20240229", model_type="Anthropic_API")
    gemini = generator(model="gemini-1.5-pro-001", model_type="Google_API", max_tokens=8192)
    found, notes = imported([together, claude, gemini, generator(model="facebook/opt-125m", model_type="vLLM")])
    assert found.models == (
        "together/Qwen/Qwen2-72B-Instruct", "anthropic/claude-3-opus-20240229",
        "google/gemini-1.5-pro-001", "vllm/facebook/opt-125m",
    )  # fmt: skip
    first, second, third, _ = found.layers[0]
    assert first.get_option("samples") == 3 and first.settings.temperature == 1.25
    assert second.settings.max_tokens == 4096 and "4096 was sent" in notes
    assert third.settings.max_tokens == 8192


def test_o1_had_no_settings() -> None:
    found, notes = imported([generator(model="o1-mini-2024-09-12", no_system=True)])
    assert found.layers[0][0].settings.dump_non_none() == {}
    assert "o1 models" in notes and "`no_system`" in notes


def test_unit_tests_first_are_moved_and_first_pass_stops() -> None:
    tests = {"type": "unit_test_generator", **GPT, "samples": 1, "unit_test_cap": 5}
    evaluator = {
        "type": "unit_test_evaluator", **GPT, "samples": 1, "top_k": 1, "first_pass": True,
        "remove_unit_tests_from_prompt": True,
    }  # fmt: skip
    found, notes = imported([tests], [generator(samples=100, top_k=1)], [evaluator])
    assert [layer[0].kind for layer in found.layers] == ["generator", "unit_test_generator", "unit_test_evaluator"]
    assert found.layers[1][0].get_option("max_tests") == 5
    assert found.layers[2][0].get_option("stop_after") == 1
    for said in ("layer 1: unit tests are moved", "`first_pass` is `stop_after: 1`", "`top_k` had no effect"):
        assert said in notes
    del evaluator["first_pass"]
    found, notes = imported([tests], [generator(samples=100)], [{**evaluator, "top_k": 3}])
    assert found.layers[2][0].get_option("keep") == "all" and found.layers[2][0].get_option("top_k") == 3
    assert "random one" in notes


def test_tests_that_nobody_evaluates_are_refused_with_the_reason() -> None:
    with pytest.raises(ArchitectureError, match="no evaluator reads"):
        imported([{"type": "unit_test_generator", **GPT, "samples": 1}], [generator()], [{"type": "fuser", **GPT}])


def test_misspelt_keys_have_no_effect_and_a_note() -> None:
    critic = {"type": "critic", **GPT, "samples": 1}
    fuser = {"type": "fuser", **GPT, "samples": 2}
    found, notes = imported([generator()], [critic], [{**fuser, "length_contorl": True}])
    assert not found.layers[2][0].get_option("length_control")
    assert "`length_contorl` had no effect; it looks like `length_control` misspelt" in notes
    assert found.layers[2][0].get_option("samples") == 2 and "random one" in notes
    found, notes = imported([generator()], [critic], [{**fuser, "length_control": True}])
    assert found.layers[2][0].get_option("length_control")
    found, notes = imported([generator()], [{**fuser, "length_control": True}])
    assert not found.layers[1][0].get_option("length_control") and "`length_control` had no effect" in notes


def test_trees_flatten_and_their_branches_are_mentioned() -> None:
    tree = {"branches": 5, "models": [generator(checkpoint="")]}
    found, notes = imported(tree, {"branches": 1, "models": [{"type": "fuser", **GPT}]})
    assert len(found.layers) == 2 and len(found.layers[0]) == 1
    assert "`branches: 5`" in notes and "`checkpoint`" in notes
    alone, notes = imported(generator())
    assert len(alone.layers) == 1 and "not in a list" in notes


def test_ranker_keys() -> None:
    ranker = {"type": "ranker", **GPT, "top_k": 3, "use_critiques": False, "ranker_batch_size": 16}
    found, notes = imported([generator(samples=8)], [ranker], [{"type": "fuser", **GPT}])
    assert found.layers[1][0].get_option("top_k") == 3
    assert "`use_critiques` had no effect" in notes and "`ranker_batch_size` had no effect" in notes


def test_a_ranker_with_pairrm_compares_pairs() -> None:
    pairrm = {"type": "ranker", "model": "llm-blender/PairRM", "model_type": "", "ranker_batch_size": 16, "top_k": 3}
    found, notes = imported([generator(samples=8)], [{**pairrm, "temperature": 0.7}], [{"type": "fuser", **GPT}])
    compared = found.layers[1][0]
    assert (compared.kind, compared.model, compared.get_option("top_k")) == ("pairwise", "", 3)
    assert compared.get_option("function") == "archon_eval.models.pairrm:compare_answers"
    assert "pip install llm-blender" in notes and "`temperature` had no effect" in notes
    planned = plan(found)
    assert planned.layers[1].calls == (56, 56) and planned.layers[1].dollars == (0.0, 0.0)
    with pytest.raises(ArchitectureError, match="without `top_k`"):
        imported([generator(samples=8)], [{key: value for key, value in pairrm.items() if key != "top_k"}])
    with pytest.raises(ArchitectureError, match="can only rank"):
        imported([generator()], [{**pairrm, "type": "fuser"}])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "no list `layers`"),
        ({"layers": {}}, "no list `layers`"),
        ({"layers": ["x"]}, "layer 1 is not a list of components"),
        ({"layers": [[]]}, "layer 1 is not a list of components"),
        ({"layers": [[{"type": "oracle"}]]}, "'oracle'"),
        ({"layers": [[generator(model="")]]}, "without a model"),
        ({"layers": [[generator(model_type="tgi")]]}, "no provider"),
        ({"layers": [[generator(model_type=["x"])]]}, "no provider"),
        ({"layers": [[generator(samples=0)]]}, "`samples` must be"),
        ({"layers": [[generator(temperature="hot")]]}, "`temperature` must be"),
        ({"layers": [[{"type": "fuser", **GPT}]]}, "rule 2"),
        ({"layers": [[generator()], [{"type": "ranker", "top_k": 0, **GPT}]]}, "`top_k` must be"),
        ({"layers": [[generator(), {"type": "fuser", **GPT}]]}, "mixes generator and fuser"),
        ({"layers": [[generator()], [{"type": "critic", **GPT}]]}, "rule 3"),
    ],
)
def test_malformed_configs_say_what_is_wrong(data: Any, says: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        import_legacy(data, "old.json")
    assert says in str(caught.value) and "old.json" in str(caught.value)
