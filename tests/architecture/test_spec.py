"""Rules of construction, identity, immutability, placeholders, and writing what was read."""

import os
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from archon_eval.architecture.load import load_architecture
from archon_eval.architecture.parse import REASONING_EFFORTS
from archon_eval.architecture.rules import find_broken_rules
from archon_eval.architecture.spec import Architecture, ComponentSpec, GenerationSettings
from archon_eval.components.vote import Vote
from archon_eval.errors import ArchitectureError

OWN_CODE = """
from dataclasses import replace
from archon_eval.components import ComponentType, ListComponent

class First(ListComponent):
    kind = ComponentType("first", needs_model=False)

    async def run(self, state, ctx):
        return replace(state, candidates=state.candidates[:{keep}])
"""
G = {"generator": ["a/x", "b/x"]}
T = {"unit_test_generator": "a/x"}


def load(*layers: Any, **top: Any) -> Architecture:
    return load_architecture({"layers": list(layers), **top})


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([{"generator": "a/x", "fuser": "a/x"}], ["layer 1", "generator, fuser", "rule 1"]),
        ([G, {"generator": "a/x"}], ["layer 2 is generator", "rule 2"]),
        ([{"fuser": "a/x"}], ["layer 1 is fuser", "rule 2"]),
        ([{"ranker": "a/x"}, {"fuser": "a/x"}], ["layer 1 is ranker", "rule 2"]),
        ([G, {"critic": "a/x"}], ["layer 2 is critic", "no later ranker or fuser", "rule 3"]),
        ([G, {"critic": "a/x"}, {"verifier": "a/x"}], ["layer 2 is critic", "rule 3"]),
        (
            [G, {"critic": "a/x"}, {"fuser": {"model": "a/x", "use_critiques": False}}, {"ranker": "a/x"}],
            ["layer 2 is critic", "replaced before any use", "rule 3"],
        ),
        ([G, {"critic": "a/x"}, {"critic": "a/x"}, {"fuser": "a/x"}], ["layer 2 is critic", "rule 3"]),
        ([G, {"ranker": ["a/x", "b/x"]}], ["layer 2 has 2 components of kind ranker", "rule 4"]),
        ([G, {"critic": ["a/x", "b/x"]}, {"fuser": "a/x"}], ["layer 2 has 2", "rule 4"]),
        ([G, {"unit_test_evaluator": "a/x"}], ["layer 2 is unit_test_evaluator", "rule 6"]),
        ([G, {"unit_test_generator": "a/x"}], ["layer 2 is unit_test_generator", "rule 6"]),
        (
            [G, {"unit_test_generator": "a/x"}, {"ranker": "a/x"}, {"unit_test_evaluator": "a/x"}],
            ["layer 2 is unit_test_generator", "layer 4 is unit_test_evaluator", "rule 6"],
        ),
        (
            [G, T, {"unit_test_evaluator": {"model": "a/x", "keep": "all", "stop_after": 1}}],
            ["layer 3", "`stop_after`"],
        ),
    ],
)  # fmt: skip
def test_every_broken_rule_names_its_layer_and_says_why(layers: list[Any], says: list[str]) -> None:
    with pytest.raises(ArchitectureError) as caught:
        load(*layers)
    for words in says:
        assert words in str(caught.value)


def test_all_broken_rules_are_told_at_once() -> None:
    with pytest.raises(ArchitectureError) as caught:
        load({"fuser": "a/x"}, {"generator": "a/x"}, {"critic": "a/x"})
    assert str(caught.value).count("\n  - ") == 3


def test_rules_hold_for_architectures_built_in_python() -> None:
    spec = ComponentSpec("fuser", "a/x")
    with pytest.raises(ArchitectureError, match="rule 2"):
        Architecture("mine", ((spec,),))
    with pytest.raises(ArchitectureError, match="rule 1"):
        Architecture("mine", ((ComponentSpec("generator", "a/x"), spec),))
    assert find_broken_rules(()) and find_broken_rules([()])
    assert find_broken_rules([(ComponentSpec("generator", "a/x"),)]) == []


@pytest.mark.parametrize(
    "layers",
    [
        [G, {"critic": "a/x"}, {"verifier": "a/x"}, {"fuser": "a/x"}],
        [G, {"critic": "a/x"}, {"ranker": "a/x"}],
        [G, {"critic": "a/x"}, {"ranker": {"model": "a/x", "use_critiques": False}}, {"fuser": "a/x"}],
        [G, {"fuser": ["a/x", "b/x"]}, {"verifier": "a/x"}, T, {"unit_test_evaluator": "a/x"}],
    ],
)  # fmt: skip
def test_what_the_rules_allow(layers: list[Any]) -> None:
    load(*layers)


def test_fingerprint_depends_on_behaviour_alone() -> None:
    base = load({"generator": [{"model": "a/x", "samples": 2}]}, {"ranker": "b/y"}, name="one").fingerprint
    explicit = {
        "model": "b/y",
        "top_k": 5,
        "use_critiques": True,
        "temperature": 0.7,
        "max_tokens": 2048,
        "max_parse_retries": 2,
    }
    same = load(
        {"generator": {"samples": 2, "model": "a/x", "on_error": "fail"}},
        {"ranker": explicit},
        name="two",
        description="something else",
        temperature=0.7,
    )
    assert same.fingerprint == base
    assert load_architecture(yaml.safe_load(same.to_yaml())).fingerprint == base


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.6}, {"samples": 3}, {"model": "a/z"}, {"on_error": "drop"}, {"max_parse_retries": 1},
        {"seed": 7}, {"max_tokens": None}, {"stop": ["\n"]},
    ],
)  # fmt: skip
def test_fingerprint_changes_with_behaviour(change: dict[str, Any]) -> None:
    plain = {"model": "a/x", "samples": 2}
    assert load({"generator": {**plain, **change}}).fingerprint != load({"generator": plain}).fingerprint


def test_fingerprint_covers_the_code_of_a_custom_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    fingerprints = []
    for number, keep in enumerate((1, 1, 2)):
        (tmp_path / "own_code.py").write_text(OWN_CODE.format(keep=keep))
        monkeypatch.delitem(sys.modules, "own_code", raising=False)
        os.utime(tmp_path / "own_code.py", (number, number))  # or the compiled module of before is taken
        fingerprints.append(load(G, {"own_code:First": {}}).fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_order_of_components_matters_and_wording_too() -> None:
    assert load({"generator": ["a/x", "b/y"]}).fingerprint != load({"generator": ["b/y", "a/x"]}).fingerprint
    fuser = {"model": "a/x", "prompts": {"fuse": "Merge {candidates} for {instruction}."}}
    assert load(G, {"fuser": fuser}).fingerprint != load(G, {"fuser": "a/x"}).fingerprint


def test_immutable_and_hashable() -> None:
    found = load(G, {"fuser": "a/x"})
    with pytest.raises(FrozenInstanceError):
        found.name = "other"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        found.layers[0][0].model = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        found.layers[0][0] = found.layers[1][0]  # type: ignore[index]
    assert {found: 1}[load(G, {"fuser": "a/x"})] == 1


def test_placeholders_fill_in_order_of_strength_and_start_again() -> None:
    found = load({"generator": ["$1..4", "own/model"]}, {"fuser": "$2"})
    assert found.placeholders == ("$1", "$2", "$3", "$4")
    filled = found.with_models(["a/1", "b/2", "c/3"])
    assert [spec.model for spec in filled.layers[0]] == ["a/1", "b/2", "c/3", "a/1", "own/model"]
    assert filled.layers[1][0].model == "b/2" and filled.placeholders == ()
    assert filled.with_models() is filled
    with pytest.raises(ArchitectureError, match=r"models= changes nothing .*own/model.*archon import FILE --map"):
        filled.with_models(["z/9"])
    assert [s.model for s in load({"generator": "$all"}).with_models(["a/1", "b/2"]).layers[0]] == ["a/1", "b/2"]
    with pytest.raises(ArchitectureError, match=r"sim/pool"):
        found.with_models([])
    with pytest.raises(ArchitectureError, match="rule 4"):
        load(G, {"ranker": "$all"}).with_models(["a/1", "b/2"])


models = st.sampled_from(["openai/gpt-4o", "$1", "$12", "$all", "together/Qwen/Qwen2-72B-Instruct"])
text = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)
common = {
    "temperature": st.one_of(st.none(), st.floats(0, 2)),
    "max_tokens": st.one_of(st.none(), st.integers(1, 10**6)),
    "top_p": st.floats(0, 1),
    "stop": st.lists(text.filter(bool), max_size=2),
    "seed": st.integers(0, 2**31),
    "reasoning_effort": st.sampled_from(REASONING_EFFORTS),
    "on_error": st.sampled_from(["fail", "drop"]),
    "max_parse_retries": st.integers(0, 10),
}
overflow = st.sampled_from(["fail", "truncate", "drop_longest"])


def component(**options: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"model": models}, optional={**common, **options})


sampling_k = st.fixed_dictionaries({}, optional={"top_k": st.integers(1, 100)})
architectures = st.fixed_dictionaries(
    {
        "name": text,
        "description": text,
        "layers": st.tuples(
            st.fixed_dictionaries(
                {"generator": st.lists(component(samples=st.integers(1, 9)), min_size=1, max_size=3)}
            ),
            st.fixed_dictionaries(
                {"critic": component(prompts=st.just({"critique": "{instruction}: {candidates} é"}))}
            ),
            st.fixed_dictionaries(
                {"ranker": component(top_k=st.integers(1, 9), settings=sampling_k, on_overflow=overflow)}
            ),
            st.fixed_dictionaries(
                {
                    "fuser": st.lists(
                        component(length_control=st.booleans(), on_overflow=overflow), min_size=1, max_size=3
                    )
                }
            ),
            st.fixed_dictionaries({"verifier": component(stop_after=st.one_of(st.none(), st.integers(1, 5)))}),
            st.fixed_dictionaries({"unit_test_generator": component(max_tests=st.integers(1, 20))}),
            st.fixed_dictionaries({"unit_test_evaluator": component(keep=st.sampled_from(["passing", "all"]))}),
        ).map(list),
    }
)


@settings(max_examples=60, deadline=None)
@given(architectures)
def test_what_is_written_reads_back_equal(data: dict[str, Any]) -> None:
    found = load_architecture(data)
    again = load_architecture(yaml.safe_load(found.to_yaml()))
    assert again == found and again.fingerprint == found.fingerprint
    assert load_architecture(found.to_mapping()) == found


def test_files_say_only_what_differs() -> None:
    found = load(
        {"generator": [{"model": "a/x", "samples": 1}, {"model": "b/x", "temperature": 0.7}]},
        {"ranker": {"model": "a/x", "top_k": 3}},
    )
    assert yaml.safe_load(found.to_yaml())["layers"] == [
        {"generator": ["a/x", {"model": "b/x", "temperature": 0.7}]},  # what was written is kept: no flag changes it
        {"ranker": [{"model": "a/x", "top_k": 3}]},
    ]
    assert GenerationSettings(temperature=0.0).dump_non_none() == {"temperature": 0.0, "max_tokens": 2048}


def test_a_vote_that_reads_otherwise_than_before_has_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [{"generator": {"model": "a", "samples": 3}}, {"vote": {}}]
    before = load_architecture({"layers": layers}).fingerprint
    monkeypatch.setattr(Vote, "kind", replace(Vote.kind, version=Vote.kind.version + 1))
    assert load_architecture({"layers": layers}).fingerprint != before
    plain = {"layers": layers[:1]}
    assert load_architecture(plain).fingerprint == load_architecture(plain).fingerprint
