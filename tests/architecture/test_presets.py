"""Every preset loads, cites its source, and keeps the identity results are filed under."""

import pytest
import yaml

from archon_eval.architecture.load import list_presets, load_architecture

ABLATIONS = {
    "ensemble-fuser", "ensemble-critic-fuser", "ensemble-ranker", "ensemble-verifier", "ensemble-unit-tests",
    "ensemble-ranker-fuser", "ensemble-verifier-fuser", "ensemble-unit-tests-fuser",
    "ensemble-critic-verifier-fuser", "ensemble-critic-ranker-fuser",
}  # fmt: skip
CASCADES = {"cascade", "routed-cascade"}
SCORED = {"best-of-n-reward", "ensemble-pairwise"}
OTHERS = {
    "adaptive-consistency",
    "single",
    "best-of-n",
    "moa",
    "moa-lite",
    "figure-3",
    "general-purpose",
    "sample-unit-tests",
}


def test_the_papers_architectures_are_there() -> None:
    assert set(list_presets()) == ABLATIONS | OTHERS | SCORED | CASCADES


@pytest.mark.parametrize("name", list_presets())
def test_preset_says_what_it_is_and_where_it_is_from(name: str) -> None:
    preset = load_architecture(name)
    summary, source, *_ = preset.description.splitlines()
    assert preset.name == name
    assert summary.endswith(".") and len(summary) < 100
    assert source.startswith("Source: ")


@pytest.mark.parametrize("name", list_presets())
def test_preset_works_with_any_number_of_models_and_survives_writing(name: str) -> None:
    preset = load_architecture(name)
    assert load_architecture(yaml.safe_load(preset.to_yaml())) == preset
    for models in (["a/x"], ["a/x", "b/y", "c/z"], [f"m/{n}" for n in range(12)]):
        filled = preset.with_models(models)
        assert not filled.placeholders and set(filled.models) <= set(models)


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [("single", "4529d5ce605ec2b5"), ("moa-lite", "c321afde94fc411d"), ("figure-3", "b18ad430cc2ab658")],
)
def test_fingerprint_is_the_one_earlier_results_have(name: str, fingerprint: str) -> None:
    """Changes only with `spec.PROMPTS_VERSION`, or when a preset changes what it does."""
    assert load_architecture(name).fingerprint == fingerprint
