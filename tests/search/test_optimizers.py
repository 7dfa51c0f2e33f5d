"""Ask and tell: nothing twice, the same for a seed, resumable, and better than chance on a landscape."""

import numpy as np
import pytest

from archon_eval.search.config import ALGORITHMS
from archon_eval.search.optimizers import build_optimizer
from archon_eval.search.prefix_sharing import PaidCallTracker
from archon_eval.search.space import PRESETS, compute_features, load_space
from archon_eval.search.surrogate import Observation, Surrogate

SMALL = load_space({"preset": "small", "samples": 1, "generators": [1, 2]}).list_configurations(2)
TINY = load_space({"preset": "small", "samples": 1, "generators": 1, "layers": 2}).list_configurations(1)
PAPER = PRESETS["paper-v1"].list_configurations(10)


def made(algorithm, listed, seed=0, **more):
    return build_optimizer(
        algorithm, listed, [c.candidates + sum(c.fusers) for c in listed], np.zeros(len(listed)), seed, **more
    )


def landscape(listed):
    return np.array([0.5 + 0.03 * c.generators - 0.002 * c.generators**2 - 0.01 * c.samples for c in listed])


def ran(algorithm, listed, trials, seed=0, pending=frozenset()):
    optimiser, true = made(algorithm, listed, seed), landscape(listed)
    noise = np.random.default_rng(seed)
    for _ in range(trials):
        place = optimiser.ask(pending)
        if place is None:
            break
        optimiser.tell(place, float(true[place] + 0.01 * noise.normal()))
    return optimiser


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_configuration_once_until_none_is_left(algorithm):
    listed = TINY if algorithm == "smac-stock" else SMALL  # a second per ask
    optimiser = ran(algorithm, listed, len(listed) + 5)
    assert sorted(optimiser.outcomes) == list(range(len(listed)))
    assert optimiser.ask(frozenset()) is None


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
        assert resumed.ask(frozenset()) == place
        resumed.tell(place, value)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pending_and_failed_trials_are_not_asked_again(algorithm):
    listed = TINY if algorithm == "smac-stock" else SMALL
    optimiser = made(algorithm, listed)
    seen = set()
    for _ in range(len(listed) // 2):
        first = optimiser.ask(frozenset())
        second = optimiser.ask(frozenset({first}))
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
    optimiser, true = build_optimizer("smac", PAPER, calls, penalty), landscape(PAPER)
    for _ in range(20):
        place = optimiser.ask(frozenset())
        optimiser.tell(place, float(true[place]))
    late = list(optimiser.outcomes)[-5:]
    assert np.mean([calls[p] for p in late]) < np.mean(calls) / 2


def test_pareto_asks_for_cheap_and_for_good():
    cost = np.array([c.candidates + sum(c.fusers) for c in PAPER], dtype=float)
    optimiser, true = made("smac", PAPER, pareto=cost), landscape(PAPER)
    for _ in range(30):
        place = optimiser.ask(frozenset())
        optimiser.tell(place, float(true[place]))
    asked = [cost[p] for p in list(optimiser.outcomes)[10:]]
    assert min(asked) < np.quantile(cost, 0.1)
    assert max(asked) > np.quantile(cost, 0.5)


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
    other._compute_cost_scale = lambda draws: 1.0
    calls = {}
    for one in (optimiser, other):
        paid = PaidCallTracker(listed, [c.candidates + sum(c.fusers) for c in listed])
        calls[one] = 0.0
        for _ in range(30):
            place = one.ask(frozenset())
            calls[one] += paid.count_unpaid(1)[place]
            paid.mark_paid(place, 1)
            one.tell(place, 0.5)
    assert calls[optimiser] < calls[other]
