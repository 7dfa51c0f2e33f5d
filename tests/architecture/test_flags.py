"""Who wins, a flag or a file; and how long the replies of models that reason may be."""

from dataclasses import replace

import pytest
import yaml

from archon_eval.architecture.flags import apply_flags, find_flag_problems, list_changed_settings
from archon_eval.architecture.load import load_architecture
from archon_eval.architecture.reasoning_models import is_reasoning_model
from archon_eval.architecture.spec import (
    NO_SETTINGS,
    Architecture,
    ComponentSpec,
    GenerationSettings,
    choose_settings,
    find_reply_limit,
)
from archon_eval.engine.plan import plan
from archon_eval.integrations.legacy_config import import_legacy
from archon_eval.models.budget import estimate_worst_case
from archon_eval.models.call import Call
from archon_eval.report.ablation import list_variants
from archon_eval.search.space import Configuration, Space
from archon_eval.types import Message

TYPED = replace(NO_SETTINGS, temperature=0.1, max_tokens=64)


def load(text: str) -> Architecture:
    return load_architecture(yaml.safe_load(text))


def used(architecture: Architecture) -> list[tuple[float | None, int | None]]:
    flagged = apply_flags(architecture, TYPED)
    return [(s.settings.temperature, s.settings.max_tokens) for layer in flagged.layers for s in layer]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("layers: [{generator: a/x}]", [(0.1, 64)]),
        ("temperature: 0.7\nlayers: [{generator: a/x}]", [(0.7, 64)]),
        ("temperature: null\nlayers: [{generator: a/x}]", [(0.1, 64)]),
        ("temperature: 0.3\nlayers: [{generator: {model: a/x, temperature: 0.7}}]", [(0.7, 64)]),
        ("temperature: 0.7\nlayers: [{generator: {model: a/x, temperature: null}}]", [(0.1, 64)]),
        ("settings: {max_tokens: 2048}\nlayers: [{generator: a/x}]", [(0.1, 2048)]),
        ("layers: [{generator: [a/x, {model: b/y, max_tokens: 9}]}]", [(0.1, 64), (0.1, 9)]),
    ],
)
def test_what_a_file_sets_is_its_own_also_after_it_was_written_anew(
    text: str, expected: list[tuple[float | None, int | None]]
) -> None:
    found = load(text)
    assert used(found) == expected
    assert used(load(found.to_yaml())) == expected == used(load_architecture(found.to_mapping()))


def test_settings_given_in_python_are_a_components_own() -> None:
    spec = ComponentSpec("generator", "a/x", GenerationSettings(temperature=0.2))
    assert used(Architecture("mine", ((spec,),))) == [(0.2, 64)]


def test_a_flag_makes_the_system_that_a_file_with_its_value_is() -> None:
    plain, written = (
        load("layers: [{generator: a/x}]"),
        load("temperature: 0.1\nmax_tokens: 64\nlayers: [{generator: a/x}]"),
    )
    assert apply_flags(plain, TYPED).fingerprint == written.fingerprint != plain.fingerprint
    assert apply_flags(plain, NO_SETTINGS) is plain
    assert list_changed_settings(plain, apply_flags(plain, TYPED)) == [
        {"layer": 1, "component": 1, "model": "a/x", "settings": {"temperature": 0.1, "max_tokens": 64}}
    ]


def test_every_variant_of_an_ablation_keeps_what_is_its_own() -> None:
    whole = load("temperature: 0.7\nlayers: [{generator: [a/x, b/y]}, {critic: a/x}, {ranker: a/x}, {fuser: a/x}]")
    for variant in list_variants(whole):
        assert {temperature for temperature, _ in used(variant.architecture)} == {0.7}, variant


def test_a_temperature_that_a_search_chose_is_the_architectures_own() -> None:
    configuration = Configuration(
        generators=1, samples=1, fusers=(), critic_ranker=False, evaluation="none", temperature=0.7
    )
    chosen = Space(temperatures=(0.3, 0.7)).build_architecture(configuration, ["a/x"], ["a/x"])
    fixed = Space().build_architecture(configuration, ["a/x"], ["a/x"])
    assert (used(chosen), used(fixed)) == ([(0.7, 64)], [(0.1, 64)])
    assert chosen.fingerprint == fixed.fingerprint


def test_what_an_imported_file_sets_is_its_own() -> None:
    entry = {"type": "generator", "model": "gpt-4o", "model_type": "OpenAI_API", "temperature": 0.7, "max_tokens": 2048}
    imported, _ = import_legacy({"layers": [[entry]]}, "old")
    assert used(imported) == [(0.7, 2048)]


def test_many_places_are_named_shortly() -> None:
    files = load("temperature: 0.5\nlayers: [{generator: [a/1, a/2, a/3, a/4, a/5, a/6]}, {fuser: a/1}]")
    [text] = find_flag_problems(files, replace(NO_SETTINGS, temperature=0.1))
    assert text == (
        "temperature=0.1, given by hand, has no effect on layer 1 (generator a/1), layer 1 (generator a/2), "
        "layer 1 (generator a/3) and 4 more, whose file says 0.5"
    )


def test_a_flag_for_thoughts_names_the_models_that_may_not_have_any() -> None:
    """Inspect's provider for OpenAI leaves `reasoning_effort` out for gpt-4o without a word."""
    text = "layers: [{generator: [openai/o3-mini, openai/gpt-4o, {model: a/own, reasoning_effort: high}]}]"
    found = load(text)
    assert find_flag_problems(found, replace(NO_SETTINGS, reasoning_effort="low")) == [
        "reasoning_effort=low, given by hand, has no effect on layer 1 (generator a/own), whose file says high",
        "reasoning_effort=low, given by hand, may have no effect on openai/gpt-4o, not known to think before it "
        "answers",
    ]
    assert find_flag_problems(found, replace(NO_SETTINGS, reasoning_tokens=100)) == [
        "reasoning_tokens=100, given by hand, may have no effect on openai/gpt-4o and a/own, not known to think before "
        "they answer"
    ]
    assert not find_flag_problems(load("layers: [{generator: a/b}]"), replace(NO_SETTINGS, reasoning_effort="none"))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("openai/o1", True), ("openai/o3-mini", True), ("openai/gpt-5-mini", True), ("openai/gpt-5-chat-latest", False),
        ("openai/gpt-4o", False), ("together/deepseek-ai/DeepSeek-R1", True), ("deepseek/deepseek-reasoner", True),
        ("deepseek/deepseek-chat", False), ("google/gemini-2.5-flash", True), ("google/gemini-1.5-pro", False),
        ("together/Qwen/QwQ-32B", True), ("vllm/Qwen/Qwen3-8B", True), ("vllm/Qwen/Qwen3-30B-A3B-Instruct-2507", False),
        ("vllm/Qwen/Qwen-32B", False), ("anthropic/claude-3-5-sonnet-20240620", False),
        ("mistral/magistral-small", True), ("grok/grok-4-fast-non-reasoning", False),
        ("anthropic/claude-opus-4-7", True), ("together/openai/gpt-oss-20b", True),
    ],
)  # fmt: skip
def test_families_of_models_that_reason(model: str, expected: bool) -> None:
    assert is_reasoning_model(model) is expected


@pytest.mark.parametrize(
    ("component", "limit"),
    [
        ("{model: openai/o3-mini}", 16_384),
        ("{model: openai/o3-mini, max_tokens: 2048}", 2048),
        ("{model: openai/o3-mini, max_tokens: null}", None),
        ("{model: openai/gpt-4o}", 2048),
        ("{model: sim/o3-mini}", 2048),
        ("{model: anthropic/claude-sonnet-4-0, reasoning_tokens: 4000}", 20_384),
        ("{model: anthropic/claude-sonnet-4-0}", 2048),
        ("{model: openai/gpt-5, reasoning_effort: none}", 2048),
    ],
)
def test_the_limit_on_a_reply_leaves_room_for_thoughts_unless_it_was_set(component: str, limit: int | None) -> None:
    found = load(f"layers: [{{generator: {component}}}]")
    spec = found.layers[0][0]
    assert choose_settings(spec).max_tokens == find_reply_limit(spec) == limit
    notes = [note for note in plan(found).notes if "before it answers, and its thoughts count" in note]
    assert len(notes) == (limit is not None and limit > 2048)
    if limit is not None:
        call = Call(spec.model, (Message("user", "Hi"),), choose_settings(spec))
        assert estimate_worst_case(call, None).output_tokens == limit


def test_the_raised_limit_is_part_of_the_fingerprint() -> None:
    plain, written = (
        load("layers: [{generator: openai/o3-mini}]"),
        "layers: [{generator: {model: openai/o3-mini, max_tokens: %d}}]",
    )
    assert len({plain.fingerprint, load(written % 2048).fingerprint, load(written % 64).fingerprint}) == 3
    assert load("layers: [{generator: openai/gpt-4o}]").fingerprint == load(
        "max_tokens: 2048\nlayers: [{generator: openai/gpt-4o}]"
    ).fingerprint  # fmt: skip
