"""Ask and tell: nothing twice, the same for a seed, resumable, and better than chance on a landscape."""

import logging
import warnings

import numpy as np
import pytest

from archon_eval.search.config import ALGORITHMS
from archon_eval.search.optimizers import build_optimizer
from archon_eval.search.prefix_sharing import PaidCallTracker
from archon_eval.search.space import PRESETS, Configuration, compute_features, load_space
from archon_eval.search.surrogate import Observation, Surrogate

SMALL = load_space({"preset": "small", "samples": 1, "generators": [1, 2]}).list_configurations(2)
TINY = load_space({"preset": "small", "samples": 1, "generators": 1, "layers": 2}).list_configurations(1)
PAPER = PRESETS["paper-v1"].list_configurations(10)


def made(algorithm, listed, seed=0, **more):
    return build_optimizer(
        algorithm,
        listed,
        [c.candidates + sum(c.fusers) for c in listed],
        penalty=np.zeros(len(listed)),
        seed=seed,
        **more,
    )


def landscape(listed):
    return np.array([0.5 + 0.03 * c.generators - 0.002 * c.generators**2 - 0.01 * c.samples for c in listed])


def ran(algorithm, listed, trials, seed=0):
    optimiser, true = made(algorithm, listed, seed), landscape(listed)
    noise = np.random.default_rng(seed)
    for _ in range(trials):
        place = optimiser.ask({})
        if place is None:
            break
        optimiser.tell(place, float(true[place] + 0.01 * noise.normal()))
    return optimiser


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_configuration_once_until_none_is_left(algorithm):
    listed = TINY if algorithm == "smac-stock" else SMALL  # a second per ask
    optimiser = ran(algorithm, listed, len(listed) + 5)
    assert sorted(optimiser.outcomes) == list(range(len(listed)))
    assert optimiser.ask({}) is None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_same_seed_asks_the_same(algorithm):
    trials = 4 if algorithm == "smac-stock" else 14
    assert list(ran(algorithm, PAPER, trials).outcomes.items()) == list(ran(algorithm, PAPER, trials).outcomes.items())
    assert list(ran(algorithm, PAPER, 4).outcomes) != list(ran(algorithm, PAPER, 4, seed=1).outcomes)


@pytest.mark.parametrize("algorithm", ["smac", "random", "greedy"])
def test_a_resumed_search_asks_what_it_would_have(algorithm):
    whole = list(ran(algorithm, PAPER, 20).outcomes.items())
    resumed = made(algorithm, PAPER)
    for place, value in whole[:15]:
        resumed.tell(place, value)
    for place, value in whole[15:]:
        assert resumed.ask({}) == place
        resumed.tell(place, value)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pending_and_failed_trials_are_not_asked_again(algorithm):
    listed = TINY if algorithm == "smac-stock" else SMALL
    optimiser = made(algorithm, listed)
    seen = set()
    for _ in range(len(listed) // 2):
        first = optimiser.ask({})
        second = optimiser.ask({first: 1})
        assert first != second and not {first, second} & seen
        seen |= {first, second}
        optimiser.tell(first, None)
        optimiser.tell(second, 0.5)


def test_the_surrogate_finds_the_top_in_few_trials():
    true = landscape(PAPER)
    for seed in range(3):
        optimiser = ran("smac", PAPER, 25, seed)
        mean, deviation = optimiser.estimate()
        assert true.max() - true[int(mean.argmax())] < 0.01
        assert (deviation > 0).all()
        # better than what chance has tried by then
        assert np.corrcoef(mean, true)[0, 1] > 0.8


def test_cost_in_the_objective_moves_the_choice():
    calls = [c.candidates + sum(c.fusers) for c in PAPER]
    penalty = 0.02 * np.array(calls, dtype=float)
    optimiser, true = build_optimizer("smac", PAPER, calls, penalty=penalty), landscape(PAPER)
    for _ in range(20):
        place = optimiser.ask({})
        optimiser.tell(place, float(true[place]))
    late = list(optimiser.outcomes)[-5:]
    assert np.mean([calls[p] for p in late]) < np.mean(calls) / 2


def test_pareto_asks_for_cheap_and_for_good():
    cost = np.array([c.candidates + sum(c.fusers) for c in PAPER], dtype=float)
    optimiser, true = made("smac", PAPER, pareto=cost), landscape(PAPER)
    for _ in range(30):
        place = optimiser.ask({})
        optimiser.tell(place, float(true[place]))
    asked = [cost[p] for p in list(optimiser.outcomes)[10:]]
    assert min(asked) < np.quantile(cost, 0.1)
    assert max(asked) >= np.quantile(cost, 0.5)


def test_the_surrogate_survives_constant_and_tiny_data():
    rows = np.random.default_rng(0).normal(size=(50, 4))
    surrogate = Surrogate(rows)
    for tried in ([1], [1, 2], list(range(12))):
        surrogate.fit([Observation(number, 1, 0.5) for number in tried])
        assert np.isfinite(surrogate.mean).all() and (surrogate.deviation > 0).all()
    assert abs(surrogate.mean - 0.5).max() < 1e-6


def test_what_a_set_of_draws_gave_to_all_is_not_an_architectures_own():
    true, noise, seen = landscape(PAPER), np.random.default_rng(0), []
    for turn, place in enumerate(noise.permutation(len(PAPER))[:60]):
        lucky = 0.1 if turn % 2 else 0.0
        seen.append(Observation(int(place), turn % 2, float(true[place] + lucky + 0.01 * noise.normal())))
    surrogate = Surrogate(compute_features(PAPER, [1.0] * len(PAPER)))
    surrogate.fit(seen)
    assert surrogate.draw_effects[1] - surrogate.draw_effects[0] == pytest.approx(0.1, abs=0.01)
    assert np.corrcoef(surrogate.mean, true)[0, 1] > 0.95


def test_a_score_of_few_questions_counts_less():
    rows = np.linspace(-1, 1, 9)[:, None]
    seen = [Observation(n, 0, 0.5 + 0.02 * n) for n in range(8)]
    whole, part, without = Surrogate(rows), Surrogate(rows), Surrogate(rows)
    without.fit(seen)
    whole.fit(seen, [Observation(8, 0, 0.9)])
    part.fit(seen, [Observation(8, 0, 0.9, share=0.2)])
    assert without.mean[8] < part.mean[8] < whole.mean[8]
    assert whole.deviation[8] < part.deviation[8] < without.deviation[8]


def test_the_posterior_depends_on_the_scores_alone():
    rows = compute_features(PAPER, [1.0] * len(PAPER))
    seen = [Observation(7 * n % len(PAPER), n % 3, 0.5 + 0.01 * (n % 5)) for n in range(30)]
    grown, fresh = Surrogate(rows), Surrogate(rows)
    for count in range(1, 31):
        grown.fit(seen[:count], [Observation(5, 0, 0.4)] if count % 2 else [])
    fresh.fit(seen)
    assert (grown.mean == fresh.mean).all() and (grown.deviation == fresh.deviation).all()


def test_of_equal_promise_the_cheaper_trial_comes_first():
    listed = PAPER
    optimiser, other = made("smac", listed), made("smac", listed)
    other._prepare_acquisition = lambda draws: None
    calls = {}
    for one in (optimiser, other):
        paid = PaidCallTracker(listed, [c.candidates + sum(c.fusers) for c in listed])
        calls[one] = 0.0
        for _ in range(30):
            place = one.ask({})
            calls[one] += paid.count_unpaid(1)[place]
            paid.mark_paid(place, 1)
            one.tell(place, 0.5)
    assert calls[optimiser] < calls[other]


def test_the_run_history_is_the_record_of_trials():
    optimiser, copy = ran("smac", PAPER, 12), made("smac", PAPER)
    failed, partial, fresh = (place for place in range(20, 23) if place not in optimiser.outcomes)
    optimiser.tell(failed, None, 2)
    optimiser.tell(partial, 0.25, 3, share=0.5)
    optimiser.tell_fresh_score(fresh, 0.75, 4)
    history = optimiser._smac.runhistory
    assert history.finished == 15 and history.running == 0
    assert list(optimiser.outcomes.items())[12:] == [(failed, None), (partial, 0.25)]
    assert optimiser.observations[-2:] == [Observation(partial, 3, 0.25, 0.5), Observation(fresh, 4, 0.75)]
    for one in optimiser.observations[:-1]:
        copy.tell(one.number, one.value, one.draws, share=one.share)
    copy.tell_fresh_score(fresh, 0.75, 4)
    assert all((a == b).all() for a, b in zip(copy.estimate(), optimiser.estimate(), strict=True))


def test_the_model_learns_from_the_costs_that_smac_gives_it():
    optimiser = ran("smac", PAPER, 12)
    X, Y = optimiser._encoder.transform()
    assert X.shape == (12, len(optimiser._listed.space) + 4) and set(X[:, -4]) == {1}
    model, probe = optimiser._model, optimiser._listed.vectors[[5, 900, 3000]]
    before = model.train(X, Y).predict_marginalized(probe)[0]
    assert model.train(X, Y + 0.25).predict_marginalized(probe)[0] == pytest.approx(before + 0.25)
    assert model.predict(X)[0] == pytest.approx(model.predict_marginalized(X[:, :-4])[0])
    pending = np.vstack([Y[:-1], [[np.nan]]])  # as expected, so that only doubt about it falls
    less = model.train(X[:-1], Y[:-1]).predict_marginalized(X[-1:, :-4])
    more = model.train(X, pending).predict_marginalized(X[-1:, :-4])
    assert more[0] == pytest.approx(less[0], abs=1e-3) and more[1] < less[1]
    failed = model.train(X, np.vstack([Y[:-1], [[np.inf]]])).predict_marginalized(X[-1:, :-4])
    assert failed[0] == less[0] and failed[1] == less[1]


@pytest.mark.parametrize("name", ["paper", "small", "high-sample"])
def test_the_configuration_space_has_every_configuration_and_knows_no_other(name):
    from archon_eval.search.smac_space import ListedSpace
    from archon_eval.search.space import extract_axes

    listed = PRESETS[name].list_configurations(10)
    space = ListedSpace(listed, 0)
    assert (space.find_places(space.vectors) == np.arange(len(listed))).all()
    for place in range(0, len(listed), 97):
        config = space.get_configuration(place)
        config.check_valid_configuration()
        assert dict(config).items() <= extract_axes(listed[place]).items()
    half = ListedSpace(listed[::2], 0)
    assert (half.find_places(half.vectors[1:]) == np.arange(1, len(half.vectors))).all()
    everything = {tuple(np.nan_to_num(vector, nan=-1)) for vector in half.vectors}
    sampled = [config.get_array() for config in half.space.sample_configuration(200)]
    inside = [tuple(np.nan_to_num(vector, nan=-1)) in everything for vector in sampled]
    assert [place >= 0 for place in half.find_places(np.array(sampled))] == inside and not all(inside)


def test_widths_depend_on_layers():
    from archon_eval.search.smac_space import ListedSpace

    space = ListedSpace(PRESETS["small"].list_configurations(8), 0).space
    assert set(space) == {"generators", "samples", "layers", "width1", "critic_ranker", "evaluation"}
    [condition] = space.conditions
    assert (condition.child.name, condition.parent.name, list(condition.values)) == ("width1", "layers", [2])


@pytest.mark.parametrize("algorithm", ["smac", "smac-stock"])
def test_building_and_asking_leave_nothing_in_any_folder_and_the_process_as_it_was(algorithm, tmp_path, monkeypatch):
    for name in ("temporary", "current"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    before = logging.getLogger("smac").level, logging.getLogger().level, list(warnings.filters)
    ran(algorithm, TINY, 3)
    assert [*tmp_path.iterdir()] and not [*(tmp_path / "temporary").iterdir(), *(tmp_path / "current").iterdir()]
    assert (logging.getLogger("smac").level, logging.getLogger().level, list(warnings.filters)) == before


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_space_of_one_architecture(algorithm):
    optimiser = made(algorithm, TINY[:1])
    assert optimiser.ask({}) == 0
    assert optimiser.ask({0: 1}) is None
    optimiser.tell(0, 0.5)
    assert optimiser.ask({}) is None


def test_more_workers_than_first_configurations_before_any_score():
    optimiser, pending = made("smac", PAPER), {}
    for _ in range(14):
        pending[optimiser.ask(pending)] = 1
    assert len(pending) == 14 and optimiser.estimate() is None


def test_what_an_earlier_process_left_under_way_is_not_asked_again():
    whole = list(ran("smac", PAPER, 14).outcomes.items())
    resumed = made("smac", PAPER)
    for place, value in whole[:8]:
        resumed.tell(place, value)
    left = {whole[8][0]: 2, whole[12][0]: 3}
    asked = [resumed.ask(left) for _ in range(6)]
    assert asked[0] == whole[9][0] and not {*asked} & {*left} and len({*asked}) == 6


def test_a_space_of_any_number_of_combinations_is_told_apart():
    """40 layers of two widths each, or not there: 3**40 combinations are more than a float holds."""
    from archon_eval.search.smac_space import ListedSpace

    listed = [Configuration(1, fusers=(*widths, 1)) for widths in ((1,) * 40, (2,) * 40, (1,) * 39 + (2,), (2, 1))]
    space = ListedSpace(listed, 0)
    assert space.find_places(space.vectors.copy()).tolist() == [0, 1, 2, 3]
    others = space.vectors[[0, 1]].copy()
    others[:, list(space.space).index("width40")] = [1, 0]
    assert space.find_places(others).tolist() == [2, -1]
