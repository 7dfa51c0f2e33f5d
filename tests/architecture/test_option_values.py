"""Values of options as they are kept, and models that a component does not call."""

import pickle
from typing import Any

import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.architecture.option_values import FrozenMapping, freeze_value
from archon_eval.architecture.spec import Architecture, ComponentSpec
from archon_eval.components import CallContext, ComponentOption, ComponentType, ListComponent, State, model_option
from archon_eval.engine.plan import plan
from archon_eval.errors import ArchitectureError
from archon_eval.report.ablation import list_variants

HERE = __name__
GENERATE = {"generator": ["a/x", "a/y"]}


class Weighed(ListComponent):
    kind = ComponentType(
        "weighed",
        options={
            "weights": ComponentOption({}, "a mapping", lambda value: isinstance(value, dict)),
            "second": model_option(),
        },
        stand_in="vote",
    )

    async def run(self, state: State, ctx: CallContext) -> State:
        return state


def load(**own: Any) -> Architecture:
    return load_architecture({"layers": [GENERATE, {f"{HERE}:Weighed": {"model": "a/x", **own}}]})


def test_a_mapping_is_kept_so_that_it_can_be_hashed() -> None:
    weights = {"long": [1, {"of": 2}], "short": 0.5}
    found = load(weights=weights)
    assert plan(found).calls == (3, 3) and list_variants(found)
    spec = found.layers[1][0]
    assert spec.get_option("weights") == {"long": (1, {"of": 2}), "short": 0.5}
    assert hash(spec) == hash(load(weights=dict(reversed(weights.items()))).layers[1][0])
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert load_architecture(found.to_mapping()).fingerprint == found.fingerprint != load(weights={}).fingerprint
    assert found.to_mapping()["layers"][1][f"{HERE}:Weighed"][0]["weights"] == weights


def test_what_a_file_cannot_hold_is_refused() -> None:
    assert freeze_value({1: [2]}, "") == FrozenMapping({"1": (2,)})
    with pytest.raises(ArchitectureError, match="`weights` must be text, numbers, true/false, or lists or mappings"):
        load(weights={"of": object()})


def test_blanks_around_a_further_model_are_no_part_of_its_name() -> None:
    assert load(second=" a/x ").models == ("a/x", "a/y")
    assert load(second=" $2 ").with_models(["b/1", "b/2"]).models == ("a/x", "a/y", "b/2")


@pytest.mark.parametrize("own", ["a/x", {"model": "a/x"}, {"model": "$1", "top_k": 1}])
def test_a_component_that_calls_no_model_takes_none(own: Any) -> None:
    with pytest.raises(ArchitectureError, match="layer 2 is vote: it calls no model, leave `model` out"):
        load_architecture({"layers": [GENERATE, {"vote": own}]})
    with pytest.raises(ArchitectureError, match="leave `model` out"):
        Architecture("a", ((ComponentSpec("generator", "a/x"),), (ComponentSpec("vote", "a/x"),)))


def test_a_stand_in_that_calls_no_model_gets_none() -> None:
    changed = [variant.architecture for variant in list_variants(load())]
    assert ComponentSpec("vote") in [architecture.layers[-1][0] for architecture in changed]
