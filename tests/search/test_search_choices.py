"""What a user may choose of the search itself: design, acquisition, stop, limits, and the units of cost."""

import numpy as np
import pytest
import yaml

from archon_eval.architecture.load import load_architecture
from archon_eval.cli import main
from archon_eval.engine.plan import plan
from archon_eval.errors import SandboxError, SearchError
from archon_eval.models.prices import load_prices
from archon_eval.search.config import load_settings
from archon_eval.search.convergence import explain_convergence
from archon_eval.search.loop import search
from archon_eval.search.optimizer import SmacChoices
from archon_eval.search.optimizers import build_optimizer
from archon_eval.search.prepare import PlannedSpace, plan_space, prepare_questions
from archon_eval.search.space import PRESETS

OPEN = ("sim/llama-3.1-405b-instruct", "sim/llama-3.1-8b-instruct", "sim/qwen2-72b-instruct")
LISTED = PRESETS["paper-v1"].list_configurations(10)
TASK = {"name": "archon_eval/math", "args": {"sample": True}}


def settings(**more):
    return load_settings({"tasks": [TASK], "models": list(OPEN), "space": "small", **more})


def run(trials, seed=0, **choices):
    calls = [c.candidates + sum(c.fusers) for c in LISTED]
    true = np.array([0.5 + 0.03 * c.generators - 0.002 * c.generators**2 - 0.01 * c.samples for c in LISTED])
    optimizer = build_optimizer(
        "smac", LISTED, calls, penalty=np.zeros(len(LISTED)), seed=seed, choices=SmacChoices(**choices)
    )
    for _ in range(trials):
        place = optimizer.ask({})
        optimizer.tell(place, float(true[place]))
    return list(optimizer.outcomes), true


def test_the_number_and_the_kind_of_the_first_architectures():
    spread, _ = run(12)
    fewer, _ = run(12, initial_points=5)
    assert fewer[:5] == spread[:5] and fewer[5:] != spread[5:]
    chance, _ = run(6, initial_design="random")
    order = np.random.default_rng(0).permutation(len(LISTED))
    assert chance == order[:6].tolist() != spread[:6]


@pytest.mark.parametrize("choices", [{"acquisition": "pi"}, {"acquisition": "ucb"}, {"acquisition": "ei", "xi": 0.05}])
def test_every_acquisition_climbs_and_chooses_by_itself(choices):
    asked, true = run(30, **choices)
    assert len(set(asked)) == 30 and asked != run(30)[0]
    assert true[asked[10:]].mean() > true.mean() + true.std() / 2


def test_a_wide_bound_explores_more_than_a_narrow_one():
    narrow, true = run(30, acquisition="ucb", kappa=0.0)
    wide, _ = run(30, acquisition="ucb", kappa=30.0)
    assert true[narrow[10:]].mean() > true[wide[10:]].mean()


def test_a_search_stops_where_the_best_hardly_rises():
    chosen = settings(budget={"epsilon": 0.01, "patience": 4}, initial_points=3)
    rising = dict(enumerate([0.1, None, 0.2, 0.3, 0.305, 0.2, 0.309, 0.3]))
    cost = np.zeros(20)
    assert not explain_convergence(chosen, dict(list(rising.items())[:7]), cost)
    said = explain_convergence(chosen, rising, cost)
    assert said.startswith(
        "the search stopped after 7 trials that were paid: in the last 4 the best objective rose by 0.009"
    )
    assert not explain_convergence(settings(initial_points=3), rising, cost)
    # cost counts: what is dearer by as much is no rise
    dear = settings(budget={"epsilon": 0.01, "patience": 4}, initial_points=3, cost_weight=0.1)
    later = {number: 0.1 * number for number in range(8)}
    assert not explain_convergence(chosen, later, np.arange(20.0))
    assert explain_convergence(dear, later, np.arange(20.0))


def test_trials_that_cost_nothing_raise_the_best_and_are_not_counted():
    chosen = settings(budget={"epsilon": 0.01, "patience": 2}, initial_points=2)
    cost, free = np.zeros(20), {2, 3, 4, 6}
    paid = {0: 0.3, 1: 0.3, 5: 0.3}
    tried = dict(sorted({**paid, 2: 0.3, 3: 0.3, 4: 0.3, 6: 0.3}.items()))
    assert explain_convergence(chosen, tried, cost) and not explain_convergence(chosen, tried, cost, free)
    said = explain_convergence(chosen, {**tried, 7: 0.3}, cost, free)
    assert said.startswith("the search stopped after 4 trials that were paid: in the last 2")
    assert not explain_convergence(chosen, {**tried, 6: 0.4, 7: 0.3}, cost, free), "a free one is a rise too"


def test_the_loop_ends_by_it_with_a_note(tmp_path, fake_run):
    fake_run.chance = lambda job: 0.7
    chosen = settings(budget={"trials": 40, "epsilon": 0.5, "patience": 3}, initial_points=4, algorithm="random")
    result = search(chosen, tmp_path / "out", fake_run)
    assert len(result.tried) == 7
    assert sum("less than epsilon=0.5" in note for note in result.notes) == 1


def test_old_folders_resume_and_new_choices_are_another_search():
    """The digests are those of the version before these settings."""
    plain = load_settings({"tasks": "archon_eval/math", "models": ["a/x", "b/y"]})
    assert plain.identity == "c3ec566e2d5679bd"
    told = {"preset": "paper", "temperatures": [0.3, 0.7]}
    old = {"tasks": "archon_eval/math", "models": ["a/x", "b/y"], "space": told, "limits": {"calls": 30}, "seed": 3}
    assert load_settings({**old, "budget": {"calls": 100}, "algorithm": "greedy"}).identity == "60fdcad832b9518f"
    base = settings()
    assert settings(budget={"epsilon": 0.1, "patience": 3}).identity == base.identity  # a budget may change
    for change in (
        {"initial_points": 11},
        {"initial_design": "random"},
        {"acquisition": "ucb"},
        {"xi": 0.01},
        {"kappa": 1.0},
        {"limits": {"context": True}},
        {"limits": {"tflops": 5.0}},
        {"space": {"preset": "small", "votes": ["none", "end"]}},
    ):
        assert settings(**change).identity != base.identity, change


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"acquisition": "eu"}, "unknown acquisition 'eu'"),
        ({"initial_design": "sobol"}, "unknown initial design 'sobol'"),
        ({"initial_points": 0}, "must be 1 or more"),
        ({"algorithm": "random", "acquisition": "pi"}, "acquisition=pi: only algorithm smac has it"),
        ({"pareto": True, "acquisition": "pi"}, "with pareto it is ei"),
        ({"pareto": True, "budget": {"epsilon": 0.1}}, "epsilon is about one best architecture"),
        ({"budget": {"epsilon": -1.0}}, "must be 0 or more"),
        ({"limits": {"context": "yes"}}, "must be true or false"),
        ({"cost_unit": "flops"}, "unknown cost unit 'flops'"),
    ],
)
def test_choices_that_are_not_legal_are_refused(data, said):
    with pytest.raises(SearchError, match=said):
        settings(**data)


def test_operations_are_twice_the_active_parameters_per_token():
    architecture = load_architecture({"layers": [{"generator": ["sim/llama-3.1-8b-instruct", "sim/gpt-4o"]}]})
    assert plan(architecture).flops is None and plan(architecture).unsized == ("sim/gpt-4o",)
    alone = plan(load_architecture({"layers": [{"generator": "sim/llama-3.1-8b-instruct"}]}))
    tokens = alone.usage[1].input_tokens + alone.usage[1].output_tokens
    assert alone.flops == (2 * 8e9 * tokens,) * 2
    assert load_prices().get_active_parameters("together/microsoft/WizardLM-2-8x22B") == 39


def test_operations_as_a_limit_and_as_cost():
    whole = plan_space(settings(), OPEN, OPEN)
    amounts = sorted(option.plan.flops[1] / 1e12 for option in whole)
    limit = amounts[len(amounts) // 2]
    left = plan_space(settings(limits={"tflops": limit}), OPEN, OPEN)
    assert 0 < len(left) < len(whole) and max(option.plan.flops[1] for option in left) <= limit * 1e12
    space = PlannedSpace.build(settings(cost_unit="tflops"), OPEN, OPEN, turns=2.0)
    assert space.cost[5] == pytest.approx(2 * np.mean(whole[5].plan.flops) / 1e12)
    space = PlannedSpace.build(settings(cost_unit="latency"), OPEN, OPEN, turns=1.0)
    assert space.cost[5] == whole[5].plan.sequential


@pytest.mark.parametrize("more", [{"cost_unit": "tflops"}, {"limits": {"tflops": 9}}])
def test_unknown_sizes_are_an_error_before_anything_is_asked(more, tmp_path):
    with pytest.raises(SearchError, match=r"needs the active parameters of sim/gpt-4o: name it in a price file"):
        prepare_questions(settings(models=["sim/gpt-4o", OPEN[0]], **more))
    prices = tmp_path / "sizes.yaml"
    prices.write_text(yaml.safe_dump({"prices": [{"models": "sim/gpt-4o", "active_parameters": 100}]}))
    assert prepare_questions(settings(models=["sim/gpt-4o", OPEN[0]], prices=str(prices), **more))


@pytest.mark.parametrize(
    "data",
    [
        {"roles": {"critic": ["default", "best_fuser", "x/own"]}},
        {"inserts": {"own": {"place": "after_generators", "layers": [{"fuser": ["$1", "x/own"]}]}}},
    ],
)
def test_models_that_only_the_space_names_need_a_price_too(data):
    with pytest.raises(SearchError, match="a limit in dollars needs a price of x/own: name it"):
        prepare_questions(settings(space={"preset": "small", **data}, limits={"dollars": 1}))


def test_the_trials_cost_is_in_the_same_unit(tmp_path, fake_run):
    result = search(settings(cost_unit="latency", budget={"trials": 2}), tmp_path / "out", fake_run)
    assert [trial.cost for _, trial in result.tried] == [option.plan.sequential for option, _ in result.tried]


def test_context_windows_as_a_limit(tmp_path):
    prices = tmp_path / "windows.yaml"
    windows = [{"models": "small/*", "context": 9000}, {"models": "large/*", "context": "unlimited"}]
    prices.write_text(yaml.safe_dump({"prices": windows}))
    models = ["small/a", "large/b"]
    given = {"models": models, "prices": str(prices), "space": {"preset": "small", "evaluations": "none"}}
    whole = plan_space(settings(**given), models, models)
    fitting = plan_space(settings(**given, limits={"context": True}), models, models)
    assert [o.configuration for o in fitting] == [o.configuration for o in whole if not o.plan.warnings]
    assert 0 < len(fitting) < len(whole)
    with pytest.raises(SearchError, match="the limit `context` needs the context window of un/known"):
        prepare_questions(settings(**{**given, "models": ["un/known"]}, limits={"context": True}))


@pytest.mark.parametrize(
    "data",
    [
        {"evaluations": ["none", "executed_tests"]},
        {"inserts": {"none": [], "agreed": {"place": "end", "layers": [{"vote": {"by": "outputs"}}]}}},
    ],
)
def test_without_a_sandbox_nothing_is_paid_for_a_space_that_needs_one(data, tmp_path, monkeypatch, fake_run):
    def refuse():
        raise SandboxError("no Docker: see `archon sandbox doctor`")

    monkeypatch.setattr("archon_eval.sandbox.image.check_docker", refuse)
    with pytest.raises(SandboxError, match="sandbox doctor"):
        search(settings(space={"preset": "small", **data}), tmp_path / "out", fake_run)
    assert not fake_run.jobs and not (tmp_path / "out").exists()


def test_similar_architectures_are_built_and_planned_once(monkeypatch):
    """What a space of 100,000 architectures rests on: the work goes with distinct layers, not with architectures."""
    built, planned = [], []
    from archon_eval.engine import plan as module

    build, part = module.build_layer, module._plan_layer
    monkeypatch.setattr(module, "build_layer", lambda *given: built.append(given) or build(*given))
    monkeypatch.setattr(module, "_plan_layer", lambda *given, **more: planned.append(given) or part(*given, **more))
    options = plan_space(settings(space="paper"), OPEN, OPEN)
    assert len(options) > 3000
    assert len(built) < 200 and len(planned) < 600


def test_options_of_the_command(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "archon_eval.search.forecast.forecast", lambda settings, *_: seen.append(settings) or {"stages": []}
    )
    words = "search --task archon_eval/math --models sim/pool --dry-run --acquisition pi --xi 0.02 --kappa 1.5"
    words += " --initial-points 30 --initial-design random --epsilon 0.01 --patience 7 --max-tflops 50 --fit-context"
    assert main([*words.split(), "--cost-unit", "latency", "--space", "paper-text"]) == 0
    [found] = seen
    names = ("acquisition", "xi", "kappa", "initial_points", "initial_design", "cost_unit")
    assert [getattr(found, name) for name in names] == ["pi", 0.02, 1.5, 30, "random", "latency"]
    assert (found.limits.tflops, found.limits.context) == (50, True)
    assert (found.budget.epsilon, found.budget.patience, found.budget.trials) == (0.01, 7, 100)
    assert found.space == PRESETS["paper-text"]
