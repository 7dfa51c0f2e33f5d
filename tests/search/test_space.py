"""The spaces: their published sizes, their architectures against the plan, and what is refused."""

import pytest

from archon_eval.engine.plan import plan
from archon_eval.errors import SearchError
from archon_eval.search.config import load_settings
from archon_eval.search.prepare import plan_space
from archon_eval.search.space import PRESETS, Configuration, compute_features, load_space

MODELS = tuple(f"mockllm/m{n}" for n in range(12))


def settings(**more):
    return load_settings({"tasks": "archon_eval/math", "models": list(MODELS), **more})


def test_published_sizes():
    assert len(PRESETS["paper"].list_configurations(12)) == 9576
    assert len(PRESETS["paper-v1"].list_configurations(10)) == 3192


def test_fewer_models_leave_fewer_generators():
    assert {c.generators for c in PRESETS["paper"].list_configurations(3)} == {1, 2, 3}
    assert {c.generators for c in PRESETS["paper"].list_configurations(1)} == {1}


def test_calls_follow_the_papers_formula():
    space = PRESETS["paper"]
    for one in space.list_configurations(12)[::479]:
        planned = plan(space.build_architecture(one, MODELS, MODELS))
        calls, left = one.candidates, one.candidates
        for width in one.fusers:
            calls, left = calls + 2 + width, width if width > 1 else left
        last = min(5, one.fusers[-2])
        calls -= one.candidates == 1  # nothing to rank
        calls += {"none": 0, "verifier": 2 * last, "unit_tests": 1 + last}[one.evaluation]
        assert planned.calls[1] == calls, one.key


def test_models_by_rank_role_and_pool():
    space = load_space({"generators": 2, "samples": 1, "fusers": 2, "layers": 2, "pools": {"low": ["c", "d", "b"]}})
    one = next(c for c in space.list_configurations(4) if c.evaluation == "none")
    built = space.build_architecture(one, ("a", "b", "c", "d"), ("d", "c", "b", "a"))
    assert [[s.model for s in layer] for layer in built.layers if layer[0].kind in ("generator", "fuser")] == [
        ["b", "c"],
        ["d", "c"],
        ["d"],
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_gives_distinct_architectures(name):
    space = PRESETS[name]
    listed = space.list_configurations(12)[:: 1 if name in ("small", "high-sample") else 97]
    prints = {space.build_architecture(one, MODELS, MODELS).fingerprint for one in listed}
    assert len(prints) == len(listed) > 10
    assert len({one.key for one in listed}) == len(listed)


def test_without_fusion_something_must_choose():
    space = load_space({"preset": "high-sample"})
    assert all(c.candidates == 1 or c.evaluation != "none" for c in space.list_configurations(2) if not c.fusers)
    assert any(c.candidates == 1000 for c in space.list_configurations(2))


def test_features_are_finite_and_tell_configurations_apart():
    listed = PRESETS["paper"].list_configurations(12)
    rows = compute_features(listed, [c.candidates for c in listed])
    assert rows.shape[0] == 9576
    assert abs(rows.mean(axis=0)).max() < 1e-9
    assert compute_features([Configuration(1)], [1]).shape == (1, 1)


def test_limits_say_which_excludes_everything():
    with pytest.raises(SearchError, match=r"exclude all \d+ architectures.*output_tokens at most 10 excludes"):
        plan_space(settings(space="small", limits={"output_tokens": 10}, models=MODELS[:1]), MODELS[:1], MODELS[:1])
    kept = plan_space(settings(space="small", limits={"calls": 9}), MODELS, MODELS)
    assert kept and all(option.plan.calls[1] <= 9 for option in kept)
    with pytest.raises(SearchError, match="price of mockllm/m0"):
        plan_space(settings(space="small", limits={"dollars": 1}), MODELS, MODELS)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"generator": 3}, "did you mean 'generators'"),
        ({"fusers": [0]}, "whole numbers"),
        ({"samples": "1..x"}, "whole numbers"),
        ({"critic_ranker": "maybe"}, "true, false or both"),
        ({"evaluations": ["tests"]}, "unit_tests"),
        ({"temperatures": 3}, "0 to 2"),
        ({"pools": {}}, "map names"),
        ({"preset": "papers"}, "did you mean 'paper'"),
        ({"judge": 3}, "model's name"),
    ],
)
def test_bad_spaces_are_refused(data, said):
    with pytest.raises(SearchError, match=said):
        load_space(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"models": []}, "no model"),
        ({"models": "a,a"}, "twice"),
        ({"tasks": []}, "no task"),
        ({"tasks": [{"name": "t", "args": {"split": "dev"}}]}, "split itself"),
        ({"tasks": [{"name": "t", "weight": 0}]}, "weight"),
        ({"algorithm": "smack"}, "did you mean 'smac'"),
        ({"budget": {"calls": -1}}, "above 0"),
        ({"budget": {"call": 1}}, "did you mean 'calls'"),
        ({"limits": {"calls": "many"}}, "must be a number"),
        ({"cost_unit": "euro"}, "unknown cost unit"),
        ({"space": {"pools": {"x": ["nobody"]}}}, "none of the models"),
        ({"finalists": 0}, "1 or more"),
    ],
)
def test_bad_settings_are_refused(data, said):
    with pytest.raises(SearchError, match=said):
        settings(**data)


def test_budget_and_finalists_may_change_between_runs():
    first = settings(budget={"calls": 10})
    assert first.identity == settings(budget={"trials": 3}, finalists=2).identity
    assert first.identity != settings(seed=1).identity
