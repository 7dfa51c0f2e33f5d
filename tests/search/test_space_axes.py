"""The axes beyond the papers' own: what each builds, what it is called, and what the surrogate sees of it."""

import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import yaml

from archon_eval.errors import SearchError
from archon_eval.search.config import load_settings
from archon_eval.search.space import PRESETS, Configuration, compute_features, list_table_rows, load_space
from archon_eval.search.space_plans import PlannedSpace, plan_space, survey_space

MODELS = ("m/a", "m/b", "m/c", "m/d")
FUSERS = ("m/d", "m/c", "m/b", "m/a")


def build(data, **axes):
    """The architecture of the one configuration with these axes."""
    space = load_space({"preset": "small", "generators": 2, "samples": 1, "evaluations": "none", **data})
    listed = space.list_configurations(len(MODELS))
    [one] = [c for c in listed if all(getattr(c, name) == value for name, value in axes.items())]
    return one, space.build_architecture(one, MODELS, FUSERS)


def kinds(architecture):
    return [layer[0].kind for layer in architecture.layers]


def digest(text):
    return sha256(text).hexdigest()[:16]


@pytest.mark.parametrize(
    ("name", "keys", "features"),
    [
        ("paper", "25c02769e4816f4a", "9d0809ffb5e49d84"),
        ("paper-v1", "a4801db0ef596048", "0029dee68caacd3d"),
        ("small", "d222eca3604f31e1", "b19eaaf7fd659237"),
        ("high-sample", "4c1d7d8a70eee286", "9cfdd996f4f9c1be"),
    ],
)
def test_presets_and_their_features_are_those_that_the_search_was_tuned_on(name, keys, features):
    listed = PRESETS[name].list_configurations(10)
    calls = [c.candidates + sum(c.fusers) * (2 if c.critic_ranker else 1) + (c.evaluation != "none") for c in listed]
    assert digest("\n".join(c.key for c in listed).encode()) == keys
    assert digest((np.round(compute_features(listed, calls), 6) + 0.0).tobytes()) == features


def test_the_space_of_the_papers_text():
    listed = PRESETS["paper-text"].list_configurations(10)
    assert len(listed) == 38 * (1 + 5 + 25 + 125) * 3 == 17_784
    assert set(PRESETS["paper"].list_configurations(10)) < set(listed)
    assert {len(c.fusers) for c in listed} == {1, 2, 3, 4}


def test_votes():
    one, built = build({"votes": ["none", "before_last"]}, vote="before_last", fusers=(4, 1), critic_ranker=True)
    assert kinds(built) == ["generator", "critic", "ranker", "fuser", "vote", "critic", "ranker", "fuser"]
    assert one.key == "g2x1-f4.1-cr-vote_before_last"
    one, built = build({"votes": "end"}, fusers=(2, 4), critic_ranker=False)
    assert kinds(built) == ["generator", "fuser", "fuser", "vote"]
    assert [len(layer) for layer in built.layers] == [2, 2, 4, 1]
    assert built.layers[-1][0].get_option("top_k") == 1 and built.layers[-1][0].model == ""
    _, built = build({"votes": "end"}, fusers=())
    assert kinds(built) == ["generator", "vote"]
    space = load_space({"preset": "small", "votes": "before_last", "layers": [0, 1]})
    assert all(c.fusers for c in space.list_configurations(4))


def test_executed_tests_their_number_and_their_place():
    data = {"evaluations": ["none", "executed_tests"], "tests": [3, 5], "evaluation_places": "after_generators"}
    one, built = build(data, evaluation="executed_tests", tests=5, fusers=(4, 1), critic_ranker=True)
    assert kinds(built)[:3] == ["generator", "unit_test_generator", "unit_test_evaluator"]
    (writer,), (runner,) = built.layers[1:3]
    assert (writer.get_option("form"), writer.get_option("max_tests")) == ("input_output", 5)
    assert (runner.get_option("execute"), runner.model) == ("sandbox", "")
    assert one.key == "g2x1-f4.1-cr-executed_tests-n5-early"
    # without tests their number makes no difference, without fusers their place
    listed = load_space({"preset": "small", **data}).list_configurations(4)
    assert {c.tests for c in listed if c.evaluation == "none"} == {0}
    assert {c.evaluation_place for c in listed if not c.fusers} == {"before_last"}
    assert len(listed) == len(set(listed))


def test_layers_of_ones_own():
    data = {
        "inserts": {"none": [], "redo": {"place": "before_last", "layers": [{"fuser": ["$1", "$2"]}, {"vote": {}}]}}
    }
    one, built = build(data, insert=("redo", "before_last"), fusers=(4, 1), critic_ranker=False)
    assert kinds(built) == ["generator", "fuser", "fuser", "vote", "fuser"]
    assert [spec.model for spec in built.layers[2]] == ["m/d", "m/c"]
    assert one.key == "g2x1-f4.1-redo@before_last"
    _, built = build(data, insert=(), fusers=(4, 1), critic_ranker=False)
    assert kinds(built) == ["generator", "fuser", "fuser"]
    assert load_settings({"tasks": "t", "models": MODELS, "space": data}).identity


def test_layers_of_ones_own_that_break_the_rules_leave_the_space_with_a_note():
    again = {"critics": {"place": "end", "layers": [{"critic": "$1"}]}, "none": []}
    settings = load_settings({"tasks": "t", "models": MODELS, "space": {"preset": "small", "inserts": again}})
    options, [note] = survey_space(settings, MODELS, FUSERS)
    assert options and not any(option.configuration.insert for option in options)
    assert "no later ranker or fuser uses its critiques (rule 3)" in note
    only = load_settings({"tasks": "t", "models": MODELS, "space": {"inserts": {"critics": again["critics"]}}})
    with pytest.raises(SearchError, match="break the rules of construction"):
        plan_space(only, MODELS, FUSERS)
    assert PlannedSpace.build(settings, MODELS, FUSERS, turns=1.0).notes == (note,)


def test_prompts_of_ones_own():
    fuse = "{instruction} {candidates}"
    data = {"prompts": {"built-in": {}, "short": {"fuser": {"fuse": fuse}}}}
    one, built = build(data, prompts=("short", "fuser"), fusers=(1,), critic_ranker=False)
    assert built.layers[1][0].get_prompt("fuse", "") == fuse and not built.layers[0][0].prompts
    assert one.key == "g2x1-f1-prompts=short"


def test_models_by_role():
    data = {
        "roles": {
            "critic": ["default", "best_generator"],
            "ranker": "fuser_2",
            "fuser": ["default", "x/own"],
            "generator": ["default", "generator_3"],
        }
    }
    roles = (("critic", "best_generator"), ("fuser", "x/own"), ("generator", "generator_3"), ("ranker", "fuser_2"))
    one, built = build(data, roles=roles, fusers=(2, 1), critic_ranker=True)
    assert [[spec.model for spec in layer] for layer in built.layers[:4]] == [
        ["m/c", "m/c"],
        ["m/a"],
        ["m/c"],
        ["x/own", "x/own"],
    ]
    assert one.key == "g2x1-f2.1-cr-critic=best_generator-fuser=x/own-generator=generator_3-ranker=fuser_2"
    # a role that nobody has makes no difference
    listed = load_space({"preset": "small", **data}).list_configurations(4)
    assert not [c for c in listed if not c.critic_ranker and "critic" in dict(c.roles)]
    with pytest.raises(SearchError, match="ranker: fuser_2, and there are 1 to rank"):
        load_settings({"tasks": "t", "models": MODELS, "fusers": "m/a", "space": data})
    with pytest.raises(SearchError, match="wants fuser_2, and 1 can be used"):
        load_space({"preset": "small", **data}).build_architecture(one, MODELS, MODELS[:1])


def test_proposers_beside_the_best():
    data = {"proposers": [[1, 0, 3], [2, 0]], "generators": [1, 2]}
    one, built = build(data, proposers=(1, 0, 3), fusers=(1,), critic_ranker=False)
    assert [(spec.model, spec.get_option("samples")) for spec in built.layers[0]] == [("m/a", 1), ("m/c", 3)]
    assert (one.candidates, one.generators, one.key) == (4, 2, "p1.0.3-f1")
    listed = load_space({"preset": "small", **data}).list_configurations(2)
    assert {c.proposers for c in listed} == {(), (2,)}  # for two models there is no third
    spread = load_space({"proposers": {"models": 3, "times": "0..2", "candidates": 3}}).proposers
    assert sorted(spread) == [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 1, 1), (1, 2), (2, 0, 1), (2, 1)]
    only = load_space({"preset": "small", "generators": [], "proposers": [[1, 1]]}).list_configurations(3)
    assert only and all(c.proposers for c in only)


def test_the_space_of_the_documentation():
    page = (Path(__file__).parents[2] / "docs" / "search.md").read_text(encoding="utf-8")
    [text] = re.findall(r'^```yaml title="my-space.yaml"\n(.*?)^```$', page, re.M | re.S)
    space = load_space(yaml.safe_load(text))
    listed = space.list_configurations(len(MODELS))
    assert len({c.key for c in listed}) == len(listed) > 1000
    options = plan_space(load_settings({"tasks": "t", "models": MODELS, "space": space}), MODELS, FUSERS)
    assert {c.vote for c in listed} == {"none", "end"} and len(options) < len(listed)


def test_equal_architectures_are_one_option():
    data = {"preset": "small", "roles": {"critic": ["default", "best_fuser"]}, "proposers": [[1, 1]]}
    options = plan_space(load_settings({"tasks": "t", "models": MODELS, "space": data}), MODELS, FUSERS)
    prints = [option.architecture.fingerprint for option in options]
    assert (
        len(set(prints))
        == len(prints)
        == len(plan_space(load_settings({"tasks": "t", "models": MODELS, "space": "small"}), MODELS, FUSERS))
    )
    assert [option.architecture.name for option in options] == [option.configuration.key for option in options]


def test_every_axis_that_moves_is_a_feature_and_a_column():
    plain = Configuration(2, 2, (4, 1))
    others = [
        Configuration(2, 2, (4, 1), vote="before_last"),
        Configuration(2, 2, (4, 1), evaluation="executed_tests", tests=5),
        Configuration(2, 2, (4, 1), evaluation="executed_tests", evaluation_place="after_generators"),
        Configuration(2, 2, (4, 1), insert=("x", "end")),
        Configuration(2, 2, (4, 1), prompts=("short", "fuser")),
        Configuration(2, 1, (4, 1), proposers=(3, 1)),
        Configuration(2, 2, (4, 1), roles=(("critic", "m/a"),)),
    ]
    rows = compute_features([plain, *others], [10.0] * 8)
    assert len(np.unique(rows, axis=0)) == 8
    columns = list_table_rows([plain, *others])
    assert set(columns[0]) > {"vote", "tests", "evaluation_place", "insert", "prompts", "proposers", "role_critic"}
    assert set(list_table_rows([plain])[0]) == {
        "generators",
        "samples",
        "fusers",
        "critic_ranker",
        "evaluation",
        "temperature",
        "pool",
    }
    assert columns[6]["proposers"] == "3.1" and columns[7]["role_critic"] == "m/a"


def test_proposers_that_share_more_are_nearer():
    listed = [Configuration(2, 1, (1,), proposers=p) for p in ((3, 1), (2, 1), (1, 0, 0, 3))]
    rows = compute_features(listed, [5.0] * 3)
    assert np.square(rows[0] - rows[1]).sum() < np.square(rows[0] - rows[2]).sum()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"votes": "first"}, "of none, before_last, end"),
        ({"evaluations": "run"}, "executed_tests"),
        ({"tests": 0}, "whole numbers"),
        ({"evaluation_places": "end"}, "before_last, after_generators"),
        ({"inserts": {"x": {"place": "nowhere", "layers": [{"vote": {}}]}}}, "unknown place 'nowhere'"),
        ({"inserts": {"x": [{"vote": {}}]}}, "must map names to"),
        ({"inserts": {"x": {"place": "end", "layers": [{"vot": {}}]}}}, "insert 'x': layer 1: unknown component 'vot'"),
        ({"prompts": {"x": {"fuser": {"fuze": "a"}}}}, "did you mean 'fuse'"),
        ({"prompts": {"x": {"fuser": {"fuse": "a"}}}}, "must use"),
        ({"prompts": []}, "must map names"),
        ({"roles": {"criticc": "m/a"}}, "did you mean 'critic'"),
        ({"roles": {"critic": ["best"]}}, "must be of a model's name, default, best_generator"),
        ({"proposers": [[0, 0]]}, "how often each ranked model proposes"),
        ({"proposers": {"models": 3}}, "must have models, times, candidates"),
        ({"proposers": {"models": 12, "times": "0..3", "candidates": 3}}, "more than 100,000 combinations"),
        ({"proposers": {"models": 2, "times": "0..1", "candidates": 9}}, "no combination has"),
    ],
)
def test_bad_axes_are_refused(data, said):
    with pytest.raises(SearchError, match=said):
        load_space(data)
