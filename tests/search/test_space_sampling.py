"""Rules of sampling on the samples axis of a space."""

from typing import Any

import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.engine.plan import plan
from archon_eval.errors import SearchError
from archon_eval.search.prefix_sharing import group_calls
from archon_eval.search.space import compute_features, extract_axes, load_space

RULE = {"min": 3, "max": 40, "stop": "settled"}
PLAIN = {"generators": [1, 2], "samples": [1, 5, RULE], "layers": [0, 1], "critic_ranker": [True, False],
         "evaluations": ["none", "verifier"], "votes": ["none", "end"]}  # fmt: skip


def space(**axes: Any) -> Any:
    return load_space({**PLAIN, **axes})


def test_a_rule_stands_only_where_a_vote_is_directly_behind() -> None:
    loaded = space()
    found = [each for each in loaded.list_configurations(models=2) if each.sampling]
    assert [each.key for each in found] == ["g1x40-f0-vote_end-settled_min3", "g2x40-f0-vote_end-settled_min3"]
    made = loaded.build_architecture(found[1], ["a/x", "b/y"], ["a/x"])
    again = load_architecture(made.to_mapping())
    assert again == made and plan(made).calls == (6, 80)
    assert made.to_mapping()["layers"][0]["generator"][0]["samples"] == RULE
    assert extract_axes(found[0])["sampling"] == "settled_min3"


def test_spaces_without_a_rule_are_as_they_were() -> None:
    plain = space(samples=[1, 5]).list_configurations(models=2)
    assert [each for each in space().list_configurations(models=2) if not each.sampling] == plain


def test_a_rule_of_passes_wants_the_evaluation_behind_the_generators() -> None:
    rule = {"max": 9, "stop": "passes"}
    with pytest.raises(SearchError, match="an evaluation directly behind the generators"):
        space(samples=[1, rule], evaluations=["none"]).list_configurations(models=2)
    early = space(samples=[1, rule], evaluation_places=["after_generators"], layers=[0, 1])
    found = [each for each in early.list_configurations(models=2) if each.sampling]
    assert found and all(each.evaluation == "verifier" for each in found)
    for each in found:
        load_architecture(early.build_architecture(each, ["a/x", "b/y"], ["a/x"]).to_mapping())


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([{"min": 3, "stop": "settled"}], "`samples` needs `max:`"),
        ([0], "`samples` must be whole numbers or 1..10, not [0]"),
        (["many"], "`samples` must be whole numbers or 1..10, or rules such as {min: 3"),
    ],
)
def test_bad_values_say_what_is_legal(samples: Any, words: str) -> None:
    with pytest.raises(SearchError) as error:
        space(samples=samples)
    assert words in str(error.value)


def test_a_rule_of_which_no_architecture_can_make_use_is_an_error() -> None:
    with pytest.raises(SearchError, match=r"no architecture of the space can have `samples: .*a vote directly behind"):
        space(votes=["none"]).list_configurations(models=2)


def test_features_and_shared_calls_know_the_rule() -> None:
    found = space().list_configurations(models=2)
    [rule] = [each for each in found if each.sampling and each.generators == 1]
    [fixed] = [each for each in space(samples=[40], max_candidates=40).list_configurations(models=1)
               if each.vote == "end" and not each.fusers and each.evaluation == "none"]  # fmt: skip
    assert len({tuple(row) for row in compute_features([fixed, rule], [40.0, 21.5]).tolist()}) == 2
    assert sum(count for _, count in group_calls(rule, 21.5)) == pytest.approx(21.5)
