"""Every preset loads, cites its source, and keeps the identity results are filed under."""

import re

import pytest
import yaml

from archon_eval.architecture.load import list_presets, load_architecture
from archon_eval.architecture.presets import PRESET_GROUPS
from archon_eval.engine.plan import plan

ABLATIONS = {
    "ensemble-fuser", "ensemble-critic-fuser", "ensemble-ranker", "ensemble-verifier", "ensemble-unit-tests",
    "ensemble-ranker-fuser", "ensemble-verifier-fuser", "ensemble-unit-tests-fuser",
    "ensemble-critic-verifier-fuser", "ensemble-critic-ranker-fuser",
}  # fmt: skip
OTHERS = {
    "cascade",
    "routed-cascade",
    "best-of-n-reward",
    "ensemble-pairwise",
    "adaptive-consistency",
    "single",
    "best-of-n",
    "moa",
    "moa-lite",
    "figure-3",
    "general-purpose",
    "sample-unit-tests",
}
CALLS = {
    "self-consistency": (40, 40), "self-refine": (2, 9), "reasoning-model": (1, 1),
    "debate": (9, 9), "moderated-debate": (3, 9), "reconcile": (3, 12),
    "llm-ranker": (7, 7), "moa": (19, 19), "moa-lite": (7, 7), "moa-gpt-4o": (19, 19), "moa-single-proposer": (7, 7),
    "self-moa": (7, 7),
    "adas-chain-of-thought": (1, 1), "adas-self-consistency": (5, 5), "adas-self-refine": (2, 11),
    "adas-debate": (7, 7), "adas-step-back": (2, 2), "adas-quality-diversity": (5, 5), "adas-dynamic-roles": (2, 2),
    "aflow-math": (7, 10), "aflow-code": (7, 8),
    "figure-14": (39, 39), "figure-15": (39, 39), "figure-16": (34, 34),
    "v1-figure-9": (19, 19), "v1-figure-10": (47, 49), "v1-figure-11": (20, 20), "v1-figure-12": (201, 201),
}  # fmt: skip
"""Calls per question of the systems that the papers compare with, as their sources count them."""


def test_the_papers_architectures_are_there() -> None:
    assert set(list_presets()) >= ABLATIONS | OTHERS | CALLS.keys()


@pytest.mark.parametrize("name", CALLS)
def test_a_system_takes_the_calls_that_its_source_counts(name: str) -> None:
    assert plan(load_architecture(name)).calls == CALLS[name]


def test_every_group_lists_presets_that_are_there() -> None:
    listed = [name for names in PRESET_GROUPS.values() for name in names]
    assert set(listed) <= set(list_presets()) and len(set(listed)) == len(listed)


def test_moa_is_as_published() -> None:
    """The answers stand in the system message, and the query is the user turn (MoA, Table 1)."""
    moa, lite = load_architecture("moa"), load_architecture("moa-lite")
    for layer in (*moa.layers[1:], *lite.layers[1:]):
        assert all("{candidates}" in spec.system and spec.prompts == (("fuse", "{instruction}"),) for spec in layer)
    assert (moa.layers[-1][0].model, lite.layers[-1][0].model) == ("$1", "$2")


@pytest.mark.parametrize("name", list_presets())
def test_preset_says_what_it_is_and_where_it_is_from(name: str) -> None:
    preset = load_architecture(name)
    summary, source, *_ = preset.description.splitlines()
    assert preset.name == name
    assert summary.endswith(".") and len(summary) < 100
    assert re.match(r"Source: [A-Z].*\((?:.*, )?(?:[A-Z]{4} )?20\d\d\)", source)


@pytest.mark.parametrize("name", list_presets())
def test_preset_works_with_any_number_of_models_and_survives_writing(name: str) -> None:
    preset = load_architecture(name)
    assert load_architecture(yaml.safe_load(preset.to_yaml())) == preset
    for models in (["a/x"], ["a/x", "b/y", "c/z"], [f"m/{n}" for n in range(12)]):
        filled = preset.with_models(models)
        assert not filled.placeholders and set(filled.models) <= set(models)


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [("single", "4529d5ce605ec2b5"), ("moa-lite", "6ea5982cd24cbf66"), ("figure-3", "b18ad430cc2ab658")],
)
def test_fingerprint_is_the_one_earlier_results_have(name: str, fingerprint: str) -> None:
    """Changes only with `spec.PROMPTS_VERSION`, or when a preset changes what it does."""
    assert load_architecture(name).fingerprint == fingerprint
