"""`samples:` as a rule: what is legal, where it may stand, and what a plan makes of it."""

from itertools import product
from typing import Any

import pytest
import yaml

from archon_eval.architecture.load import load_architecture
from archon_eval.architecture.samples import compute_share, count_until_settled, is_settled, read_samples
from archon_eval.components import build_layer
from archon_eval.engine.mermaid import render_mermaid
from archon_eval.engine.plan import Plan, plan
from archon_eval.errors import ArchitectureError

SETTLED = {"min": 3, "max": 40, "stop": "settled"}
PASSES = {"min": 2, "max": 10, "stop": "passes"}


def build(samples: Any, *layers: Any) -> Any:
    return load_architecture({"layers": [{"generator": {"model": "a/x", "samples": samples}}, *layers]})


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ({"max": 4}, "needs `stop:`"),
        ({"stop": "settled"}, "needs `max:`"),
        ({**SETTLED, "stop": "setled"}, "`stop` must be settled or passes, not 'setled'"),
        ({**SETTLED, "most": 4}, "unknown key 'most'"),
        ({**SETTLED, "min": 41}, "`min` is 41, more than `max`, 40"),
        ({**SETTLED, "min": 0}, "`min` must be a whole number of at least 1, not 0"),
        ({**SETTLED, "max": True}, "`max` must be a whole number"),
        ({**SETTLED, "max": None}, "`max` must be a whole number"),
        ({**SETTLED, "confidence": 1}, "`confidence` must be a number between 0.5 and 1"),
        ({**SETTLED, "confidence": float("nan")}, "`confidence` must be a number between 0.5 and 1"),
        ({**SETTLED, "passes": 2}, "`passes` is of `stop: passes`, and this is `stop: settled`: leave it out"),
        ({**PASSES, "confidence": 0.9}, "`confidence` is of `stop: settled`"),
        ({**PASSES, "passes": 11}, "`passes` is 11, more than `max`, 10"),
        ("many", "must be a whole number of at least 1, or a mapping such as {min: 3"),
        (0, "must be a whole number of at least 1"),
    ],
)
def test_what_is_wrong_is_said_with_what_is_legal(samples: Any, words: str) -> None:
    with pytest.raises(ArchitectureError) as error:
        build(samples, {"vote": {}})
    assert "layer 1: generator: `samples`" in str(error.value) and words in str(error.value)


@pytest.mark.parametrize(
    ("samples", "layers", "words"),
    [
        (SETTLED, [], "`stop: settled` needs a vote on answers directly behind it (`vote`), and no layer is there"),
        (SETTLED, [{"ranker": "a/x"}, {"vote": {}}], "(`vote`), and layer 2 is ranker"),
        (
            SETTLED,
            [{"unit_test_generator": {"model": "a/x", "form": "input_output"}}, {"vote": {"by": "outputs"}}],
            "directly behind it (`vote`), and layer 2 is unit_test_generator",
        ),
        (PASSES, [{"vote": {}}], "(`verifier`, `unit_test_evaluator`), and layer 2 is vote"),
        (PASSES, [{"critic": "a/x"}, {"ranker": "a/x"}, {"verifier": "a/x"}], "and layer 2 is critic"),
        (
            PASSES,
            [{"unit_test_generator": "a/x"}, {"unit_test_evaluator": {"model": "a/x", "keep": "all"}}],
            "and layer 3 is unit_test_evaluator",
        ),
        ({**PASSES, "passes": 3}, [{"verifier": {"model": "a/x", "stop_after": 2}}], "until 3 passed, and layer 2"),
    ],
)
def test_a_rule_needs_what_decides_behind_it(samples: Any, layers: list[Any], words: str) -> None:
    with pytest.raises(ArchitectureError) as error:
        build(samples, *layers)
    assert "layer 1 is generator" in str(error.value) and words in str(error.value)


def test_generators_of_one_layer_have_one_rule() -> None:
    others = [{"model": "b/y", "samples": {**SETTLED, "confidence": 0.9}}, {"model": "a/x", "samples": SETTLED}]
    with pytest.raises(ArchitectureError, match="counted together, so `stop`, `confidence` and `passes` must agree"):
        load_architecture({"layers": [{"generator": others}, {"vote": {}}]})
    alike = [{"model": "b/y", "samples": {**SETTLED, "max": 5}}, {"model": "a/x", "samples": SETTLED}, "c/z"]
    planned = plan(load_architecture({"layers": [{"generator": alike}, {"vote": {}}]}))
    assert planned.calls == planned.layers[0].candidates == (3 + 3 + 1, 5 + 40 + 1)


def test_a_fuser_makes_a_fixed_number() -> None:
    with pytest.raises(ArchitectureError, match="fuser: `samples` must be a whole number of at least 1"):
        build(2, {"fuser": {"model": "a/x", "samples": SETTLED}}, {"vote": {}})


def test_the_file_is_written_back_and_equal_rules_have_one_fingerprint() -> None:
    written = build({"stop": "settled", "max": 40, "min": 3, "confidence": 0.95, "step": None}, {"vote": {}})
    assert load_architecture(yaml.safe_load(written.to_yaml())) == written
    assert written.to_mapping()["layers"][0]["generator"][0]["samples"] == SETTLED
    fingerprint = build(SETTLED, {"vote": {}}).fingerprint
    assert written.fingerprint == fingerprint
    others = [{**SETTLED, "min": 4}, {**SETTLED, "max": 41}, {**SETTLED, "confidence": 0.9}, {**SETTLED, "step": 1}, 40]
    assert len({fingerprint, *(build(other, {"vote": {}}).fingerprint for other in others)}) == 6


def test_plans_are_intervals_everywhere() -> None:
    planned = plan(build(SETTLED, {"vote": {"top_k": 1}}), prices=None)
    fixed: dict[int, Plan] = {n: plan(build(n, {"vote": {"top_k": 1}})) for n in (3, 40)}
    assert planned.calls == (3, 40) and planned.layers[0].candidates == (3, 40)
    assert planned.usage == (fixed[3].usage[0], fixed[40].usage[1])
    assert planned.to_mapping()["layers"][0]["fewest"] == (3,)
    assert "fewest" not in fixed[3].to_mapping()["layers"][0]
    assert "a/x × 3 to 40" in render_mermaid(planned)
    assert planned.notes[0] == (
        "layer 1 (generator) draws in rounds, from 3 to 40 candidates, "
        "until the vote behind it is settled (confidence 0.95)"
    )
    layers = build(SETTLED, {"vote": {}}).to_mapping()["layers"]
    dropping = plan(load_architecture({"on_error": "drop", "layers": layers}))
    assert dropping.layers[0].calls == (3, 40) and dropping.layers[0].candidates == (1, 40)


def test_a_chain_of_calls_counts_every_round_and_its_verdicts() -> None:
    assert plan(build({**SETTLED, "max": 10}, {"vote": {}})).sequential == 8  # 3, then one at a time
    assert plan(build({**SETTLED, "max": 10, "step": 4}, {"vote": {}})).sequential == 3
    # rounds of 2, 2, 4, 2, each with its generator's call and the verifier's two
    assert plan(build(PASSES, {"verifier": "a/x"})).sequential == 4 * (1 + 2)
    assert plan(build(2, {"verifier": "a/x"})).sequential == 1 + 2


def test_the_first_round_is_the_fewest_that_can_be_enough() -> None:
    def count(samples: Any, *layers: Any) -> Any:
        return build_layer(1, build(samples, *layers).layers[0])[0].candidate_range

    assert count({"max": 40, "stop": "settled"}, {"vote": {}}) == (4, 40)
    assert count({"max": 40, "stop": "settled", "confidence": 0.9}, {"vote": {}}) == (3, 40)
    assert count({"max": 3, "stop": "settled"}, {"vote": {}}) == (2, 3)  # the third cannot change it
    assert count({"max": 9, "stop": "passes", "passes": 2}, {"verifier": "a/x"}) == (2, 9)


def test_the_criterion_is_that_of_the_beta_distribution() -> None:
    from scipy.stats import beta

    for leader, second in product(range(0, 30, 3), range(0, 30, 4)):
        assert compute_share(leader, second) == pytest.approx(beta.sf(0.5, leader + 1, second + 1), abs=1e-12)


def test_votes_of_any_size_are_counted_quickly() -> None:
    from scipy.stats import beta

    for leader, second in ((300, 260), (5_000, 4_900), (10**9, 0)):
        assert compute_share(leader, second) == pytest.approx(beta.sf(0.5, leader + 1, second + 1), abs=1e-7)
    huge = {"max": 10**12, "stop": "settled"}
    assert plan(build(huge, {"vote": {}})).calls == (4, 10**12)
    assert plan(build({"max": 10**12, "stop": "passes"}, {"verifier": "a/x"})).calls[0] >= 1


def test_no_fewer_samples_can_settle_a_vote() -> None:
    samples = read_samples(SETTLED)
    assert not isinstance(samples, int)
    for leader, second, left in product(range(8), range(8), range(1, 30, 3)):
        if second <= leader and not is_settled(leader, second, left, samples):
            slow = next(n for n in range(1, left + 1) if n == left or is_settled(leader + n, second, left - n, samples))
            assert count_until_settled(leader, second, samples, left) == slow
