"""The axis `cascades`: a vote in front of the architecture of the space, with its agreement to choose between."""

from typing import Any

import numpy as np
import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.engine.plan import plan
from archon_eval.errors import SearchError
from archon_eval.search.config import load_settings
from archon_eval.search.prefix_sharing import CallGrouper
from archon_eval.search.space import compute_features, list_table_rows, load_space
from archon_eval.search.space_plans import plan_space

MODELS = ("m/a", "m/b", "m/c")
SMALL = {"preset": "small", "generators": [1, 2], "samples": 1, "layers": [0, 1], "critic_ranker": False}
AXIS = {"none": {}, "vote": {"samples": 5, "agreement": [0.6, 0.8]}}


def space(**more: Any) -> Any:
    return load_space({**SMALL, "evaluations": "none", "cascades": AXIS, **more})


def test_a_cascade_stands_in_front_of_every_architecture() -> None:
    listed = space().list_configurations(3)
    plain = load_space({**SMALL, "evaluations": "none"}).list_configurations(3)
    assert len(listed) == 3 * len(plain) and set(plain) < set(listed)
    [one] = [each for each in listed if each.key == "g2x1-f1-after_vote@0.8"]
    built = space().build_architecture(one, MODELS, ("m/b", "m/a", "m/c"))
    assert [layer[0].kind for layer in built.layers] == ["generator", "vote", "accept_agreement", "generator", "fuser"]
    assert built.layers[0][0].model == "m/c" and built.layers[0][0].get_option("samples") == 5
    assert plan(built).calls == (5, 8) and load_architecture(built.to_mapping()).fingerprint == built.fingerprint
    named = space(cascades={"v": {"model": "generator_2", "agreement": 1}}).list_configurations(3)[0]
    other = space(cascades={"v": {"model": "generator_2", "agreement": 1}}).build_architecture(named, MODELS, MODELS)
    assert other.layers[0][0].model == "m/b"


def test_the_surrogate_and_tables_see_the_axis() -> None:
    listed = space().list_configurations(3)
    features = compute_features(listed, [1.0] * len(listed))
    assert len(np.unique(features, axis=0)) == len(listed)
    assert {row["cascade"] for row in list_table_rows(listed)} == {"", "vote@0.6", "vote@0.8"}


def test_planned_spaces_have_intervals_and_calls_of_last_stages_are_nobody_elses() -> None:
    settings = load_settings(
        {
            "tasks": "archon_eval/math",
            "models": ",".join(MODELS),
            "limits": {"calls": 7},
            "space": {**SMALL, "cascades": AXIS},
        }
    )
    planned = plan_space(settings, MODELS, MODELS)
    assert planned and all(each.plan.calls[1] <= 7 for each in planned)
    assert any(each.architecture.stages for each in planned)
    grouper, keys = CallGrouper(), {}
    for each in space().list_configurations(3):
        keys[each.key] = {key for key, _ in grouper.group(each, 8.0)}
    assert not keys["g2x1-f1"] & keys["g2x1-f1-after_vote@0.8"]
    assert not keys["g2x1-f1-after_vote@0.6"] & keys["g2x1-f1-after_vote@0.8"]


@pytest.mark.parametrize(
    ("axis", "problem"),
    [
        ({"vote": {"agreement": [1.5]}}, "above 0 and up to 1"),
        ({"vote": {"agreement": 1, "samples": 1}}, "a whole number from 2"),
        ({"vote": {"agremeent": 1}}, "must map names"),
        ({"searched": {"agreement": 1}}, "must be a word"),
        ({"vote": {"agreement": 1, "model": "cheap"}}, "a rank such as generator_4"),
    ],
)
def test_an_axis_that_cannot_be_is_refused(axis: dict[str, Any], problem: str) -> None:
    with pytest.raises(SearchError, match=problem):
        space(cascades=axis)


def test_a_search_without_the_axis_is_the_search_that_it_was() -> None:
    settings = {"tasks": "archon_eval/math", "models": "a/x,a/y", "space": "small"}
    with_axis = load_settings({**settings, "space": {"preset": "small", "cascades": AXIS}})
    assert load_settings(settings).identity == load_settings({**settings, "space": {"preset": "small"}}).identity
    assert load_settings(settings).identity != with_axis.identity
