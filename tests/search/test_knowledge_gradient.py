"""What a trial teaches: the posterior score by score, and the draws that the next trial takes."""

import numpy as np
import pytest

from archon_eval.search.knowledge_gradient import choose_by_gain
from archon_eval.search.posterior import MEAN_PRIOR_VARIANCE, Kernel, Posterior
from archon_eval.search.surrogate import Observation, Surrogate

ROWS = np.random.default_rng(1).normal(size=(40, 3))
KERNEL = Kernel(np.array([1.0, 2.0, 3.0]), signal=1.5, common=0.3, local=0.4)
SCORES = [(0, 1, 0.2), (7, 2, 0.1), (7, 1, 0.2), (21, 1, 0.3), (30, 2, 0.1)]


def build_dense():
    """Covariances by their definition: of all scores, and of scores with configurations."""
    near = KERNEL.correlate(ROWS, ROWS)
    numbers, draws = [s[0] for s in SCORES], np.array([s[1] for s in SCORES])
    same = draws[:, None] == draws[None, :]
    worth = MEAN_PRIOR_VARIANCE + KERNEL.signal * near
    own = worth[np.ix_(numbers, numbers)] + same * (KERNEL.common + KERNEL.local * near[np.ix_(numbers, numbers)])
    return near, worth, own + np.diag([s[2] for s in SCORES]), numbers, draws


def grow():
    posterior = Posterior(ROWS, KERNEL)
    for number, draws, noise in SCORES:
        posterior.add(number, draws, noise)
    return posterior


def test_a_posterior_grown_by_scores_is_that_of_all_of_them():
    _, worth, own, numbers, _ = build_dense()
    posterior, y = grow(), np.array([0.5, -0.2, 0.1, 1.0, -1.0])
    explained = np.linalg.solve(own, worth[numbers])
    assert posterior.solve(y).mean == pytest.approx(explained.T @ y)
    assert posterior.solve(y).weights == pytest.approx(np.linalg.solve(own, y))
    covariance = worth - worth[numbers].T @ explained
    assert posterior.compute_variance() == pytest.approx(np.diag(covariance))
    some, others = np.array([3, 7, 21]), np.array([30, 2])
    assert posterior.compute_covariances(some, others) == pytest.approx(covariance[np.ix_(some, others)])


def test_what_a_set_of_draws_adds_is_known_from_its_scores():
    near, worth, own, numbers, draws = build_dense()
    some, others = np.array([3, 7, 21]), np.array([30, 2])
    found = list(grow().compute_draw_covariances(some, others, [1, 2, 3]))
    for one, (covariance, variance) in zip((1, 2, 3), found, strict=True):
        added = (draws == one)[:, None] * (KERNEL.common + KERNEL.local * near[np.ix_(numbers, others)])
        expected = -worth[np.ix_(numbers, some)].T @ np.linalg.solve(own, added)
        assert covariance == pytest.approx(expected)
        prior = KERNEL.common + KERNEL.local
        assert variance == pytest.approx(prior - np.einsum("ij,ij->j", added, np.linalg.solve(own, added)))
    assert not found[2][0].any()  # no score has the third set


def test_what_differs_is_forgotten_and_the_rest_kept():
    posterior = grow()
    posterior.keep([(0, 1), (7, 2), (8, 1)])
    assert posterior.count == 2
    posterior.add(7, 1, 0.2)
    whole = grow()
    whole.keep([(number, draws) for number, draws, _ in SCORES[:3]])
    assert posterior.solve(np.ones(3)).mean == pytest.approx(whole.solve(np.ones(3)).mean)


def choose(seen, **more):
    surrogate = Surrogate(ROWS)
    surrogate.fit(seen)
    given = {"open": np.ones(40, dtype=bool), "unpaid": {1: np.full(40, 10.0)}, "last_calls": np.ones(40), **more}
    found = choose_by_gain(surrogate, np.zeros(40), **given)
    return max(found, key=lambda choice: choice.gain)


def make_seen(last=None, *, lucky=0.0):
    draw = np.random.default_rng(5)
    return [
        Observation(
            n,
            1 + n % 2,
            0.5 + 0.02 * float(ROWS[n, 0]) + lucky * (n % 2) + 0.03 * float(draw.normal()),
            last_draws=2 if last else 1,
            last_draw_variance=last,
        )
        for n in range(24)
    ]


def test_a_noisy_last_layer_is_drawn_often_and_one_without_noise_once():
    assert choose(make_seen(last=0.05**2)).last_draws == 4
    assert choose(make_seen(last=1e-9)).last_draws == 1
    assert choose(make_seen(last=0.01**2), last_calls=np.full(40, 100.0)).last_draws == 1  # where a draw costs much


def test_a_set_of_draws_that_is_paid_is_taken_before_a_new_one_that_tells_the_same():
    calls = {1: np.full(40, 2.0), 2: np.full(40, 10.0), 3: np.full(40, 10.0)}
    assert choose(make_seen(), unpaid=calls).draws == 1


def test_only_what_is_open_is_chosen():
    free = np.zeros(40, dtype=bool)
    free[[31, 33]] = True
    assert choose(make_seen(), open=free).number in (31, 33)


def test_a_trial_is_expected_to_have_the_luck_of_its_draws():
    surrogate = Surrogate(ROWS)
    surrogate.fit(make_seen(lucky=0.1))
    one, other = surrogate.predict_score(35, 2), surrogate.predict_score(35, 1)
    assert one - other == pytest.approx(0.1, abs=0.03)
    assert surrogate.predict_score(35, 9) == pytest.approx(surrogate.mean[35])
