"""`models=`, `fusers=` and `judges=`: which component takes from which list, and that no list is lost in silence."""

from typing import Any

import pytest

from archon_eval._notes import ArchonNote
from archon_eval.architecture.load import load_architecture
from archon_eval.architecture.spec import Architecture
from archon_eval.engine.plan import plan
from archon_eval.errors import ArchitectureError

LAYERS: list[dict[str, Any]] = [
    {"generator": "$1..3"},
    {"critic": "$1"},
    {"ranker": "$2"},
    {"fuser": "$1..2"},
    {"unit_test_generator": "$1"},
    {"unit_test_evaluator": "$1"},
    {"fuser": "$1"},
]
MODELS, FUSERS, JUDGES = ["a/1", "a/2", "a/3"], ["f/1", "f/2"], ["j/1", "j/2"]


def load(*layers: dict[str, Any], **more: Any) -> Architecture:
    return load_architecture({"name": "mine", "layers": list(layers), **more})


def list_models(architecture: Architecture) -> list[list[str]]:
    return [[spec.model for spec in layer] for layer in architecture.layers]


def test_each_kind_takes_from_its_own_list_in_that_lists_order() -> None:
    filled = load(*LAYERS).with_models(MODELS, fusers=FUSERS, judges=JUDGES)
    assert list_models(filled) == [
        ["a/1", "a/2", "a/3"], ["j/1"], ["j/2"], ["f/1", "f/2"], ["j/1"], ["j/1"], ["f/1"],
    ]  # fmt: skip
    assert load_architecture({"name": "mine", "layers": LAYERS}, MODELS, fusers=FUSERS, judges=JUDGES) == filled


def test_without_lists_of_their_own_all_take_from_models() -> None:
    filled = load(*LAYERS).with_models(MODELS, judges=["j/1"])
    assert list_models(filled) == [
        ["a/1", "a/2", "a/3"], ["j/1"], ["j/1"], ["a/1", "a/2"], ["j/1"], ["j/1"], ["a/1"],
    ]  # fmt: skip


def test_all_means_all_of_the_components_own_list() -> None:
    filled = load({"generator": "$all"}, {"fuser": "$all"}).with_models(MODELS, fusers=FUSERS)
    assert list_models(filled) == [MODELS, FUSERS]


@pytest.mark.parametrize(
    ("layers", "lists", "why"),
    [
        ([{"generator": "o/x"}, {"fuser": "o/y"}], {"models": MODELS}, r"models= .*\(o/x, o/y; generator, fuser"),
        ([{"generator": "$1"}], {"models": MODELS, "fusers": FUSERS}, "fusers= .*no component of it fuses"),
        ([{"generator": "$1"}, {"fuser": "o/y"}], {"models": MODELS, "fusers": FUSERS}, r"fusers= .*\(o/y; fuser\)"),
        ([{"generator": "$1"}, {"fuser": "$1"}], {"models": MODELS, "judges": JUDGES}, "judges= .*no component"),
        ([{"generator": "o/x"}, {"fuser": "$1"}], {"models": MODELS, "fusers": FUSERS}, "models= .*all its places"),
        ([{"generator": "$1"}, {"fuser": "$1"}], {"fusers": FUSERS}, "has places for models"),
    ],
)  # fmt: skip
def test_a_list_that_nothing_takes_is_an_error(layers: Any, lists: Any, why: str) -> None:
    with pytest.raises(ArchitectureError, match=why):
        load(*layers).with_models(**lists)
    with pytest.raises(ArchitectureError, match=why):
        plan(load(*layers), **lists)


def test_an_imported_architectures_models_are_mapped_by_first_use_and_said() -> None:
    imported = load(
        {"generator": ["o/x", "o/y", "o/x"]}, {"ranker": "o/z"}, {"fuser": ["o/y", "o/w"]}, imported_from="old"
    )
    assert load_architecture(imported.to_mapping()) == imported
    with pytest.warns(ArchonNote, match=r"o/x -> a/1 .*\n.*o/y -> a/2 .*\n.*o/z -> a/3 .*\n.*o/w -> a/1 "):
        mapped = imported.with_models(MODELS)
    assert list_models(mapped) == [["a/1", "a/2", "a/1"], ["a/3"], ["a/2", "a/1"]]
    with pytest.warns(ArchonNote, match=r"o/y -> f/1 \(fusers\)\n.*o/w -> f/2 \(fusers\)"):
        mapped = imported.with_models(fusers=FUSERS)
    assert list_models(mapped) == [["o/x", "o/y", "o/x"], ["o/z"], ["f/1", "f/2"]]
    assert load({"generator": "o/x"}).fingerprint == load({"generator": "o/x"}, imported_from="old").fingerprint


def test_a_plan_says_which_list_is_too_short() -> None:
    found = load({"generator": "$1..4"}, {"fuser": "$3"})
    notes = plan(found, MODELS, fusers=FUSERS).notes
    assert [note[:37] for note in notes if "places" in note] == [
        "4 places for models, 3 named: the lis", "3 places for fusers, 2 named: the lis",
    ]  # fmt: skip
