"""A Gaussian process over the features of architectures: what their performance probably is, tried or not.

    surrogate = Surrogate(compute_features(configurations, calls))
    surrogate.fit([Observation(3, 0, 0.62), Observation(141, 1, 0.71)])
    surrogate.mean, surrogate.deviation      # of every configuration, without the noise of a trial

A score is what the architecture is worth, plus what its set of draws adds to all that share it, plus what the set adds
to architectures like it (they share most of their calls, and so their luck), plus noise. Part of the noise is that of
the last layer: it is known where that was drawn several times, and falls with the number of draws. Kernel: Matern 5/2
with a length per feature. Lengths and variances are the most probable ones under weak priors, so that a few noisy
trials are not over-read. Fitting them again at every trial would cost more than it tells: see `REFIT_GROWTH`.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import log, sqrt
from typing import Any, NamedTuple

import numpy as np

from archon_eval.search.posterior import Kernel, Posterior
from archon_eval.search.space import Array

REFIT_GROWTH = 1.3
"""The kernel's parameters are fitted again when there are this many times the scores of the last time: at every score,
fitting would take most of an ask and change lengths by less than their uncertainty."""
MAX_FIT_SCORES = 200
"""Scores that the parameters are fitted to, spread over all: with more, time grows by the cube and they hardly move."""
JITTER = 1e-9
"""Keeps the covariance matrix positive definite where two rows of features are equal."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One score."""

    number: int
    """The configuration's place in the list."""
    draws: int
    """The set of draws it was answered with: what that brings by luck, it brings to all that share it."""
    value: float
    """Performance from 0 to 1."""
    share: float = 1.0
    """Of the questions that it is the mean of: fewer, more noise."""
    last_draws: int = 1
    """Draws of the last layer that it is the mean of."""
    last_draw_variance: float | None = None
    """What one draw of the last layer adds to the variance of the value; None where there was one draw."""


class _FitData(NamedTuple):
    """What the kernel's parameters are fitted to."""

    apart: Array
    """[scores, scores, features]: squared distances."""
    same: Array
    """[scores, scores]: 1 where the set of draws is the same."""
    spread: Array
    """[scores]: what the noise variance is multiplied by."""
    last: Array
    """[scores]: variance by the draws of the last layer, standardised."""
    y: Array
    """[scores], standardised."""


class Surrogate:
    """Posterior over a finite list of configurations."""

    def __init__(self, rows: Array) -> None:
        self._rows = rows
        self.mean: Array = np.zeros(len(rows))
        self.deviation: Array = np.ones(len(rows))
        self.draw_effects: dict[int, float] = {}
        """What each set of draws probably added to the scores made with it."""
        width = rows.shape[1]
        # log of: lengths, and of the variances of signal, noise, sets of draws, sets of draws by architecture
        self._prior = np.array([*[log(sqrt(width)) + 0.5] * width, 0.0, log(0.2), log(0.1), log(0.2)])
        self._spread = np.array([*[1.0] * width, 1.0, 1.5, 1.5, 1.5])
        self._last_fit: tuple[int, tuple[Observation, ...]] = (0, ())
        self._threads: Any = None
        self._fitted_to: tuple[Observation, ...] = ()
        self.centre, self.scale = 0.0, 1.0
        """What standardised values are: (value - centre) / scale."""
        self.last_noise = 0.0
        """Variance of a value by one draw of the last layer, standardised; 0 where it is not known apart."""
        self._parameters = self._prior
        self._weights: Array = np.zeros(0)
        self.posterior = Posterior(rows, self._make_kernel())
        """Of standardised values."""

    @property
    def noise(self) -> float:
        """Variance of a value that is neither its set's nor the last layer's, standardised."""
        return float(np.exp(self._parameters[-3]))

    def _make_kernel(self) -> Kernel:
        signal, _, common, local = np.exp(self._parameters[-4:])
        return Kernel(np.exp(self._parameters[:-4]), float(signal), common=float(common), local=float(local))

    def fit(self, seen: Sequence[Observation], expected: Sequence[Observation] = ()) -> None:
        """Learn from scores; the same scores in the same order give the same posterior.

        Args:
            expected: further scores that are only supposed; the kernel's parameters do not depend on them.
        """
        scores = (*seen, *expected)
        if self._last_fit == (len(seen), scores):
            return
        with self.limit_threads():
            self._fit(seen, scores)
        self._last_fit = (len(seen), scores)

    def limit_threads(self) -> AbstractContextManager[Any]:
        """One thread: matrices this small only lose by more, most of all beside other work."""
        if self._threads is None:
            from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

            self._threads = ThreadpoolController()
        limited: AbstractContextManager[Any] = self._threads.limit(limits=1)
        return limited

    def _fit(self, seen: Sequence[Observation], scores: Sequence[Observation]) -> None:
        first = tuple(seen[: _find_refit_size(len(seen))])
        if first != self._fitted_to or not self.posterior.count:
            self._learn_parameters(first)
        known = self.posterior
        known.keep([(score.number, score.draws) for score in scores])
        for score in scores[known.count :]:
            known.add(score.number, score.draws, self._compute_noise(score))
        y = (np.array([score.value for score in scores]) - self.centre) / self.scale
        solved = known.solve(y)
        self.mean = self.centre + self.scale * solved.mean
        self.deviation = self.scale * np.sqrt(np.maximum(known.compute_variance(), 1e-12))
        self._weights = solved.weights
        draws = np.array([score.draws for score in scores])
        common = known.kernel.common
        self.draw_effects = {
            int(each): float(self.scale * common * solved.weights[draws == each].sum()) for each in np.unique(draws)
        }

    def predict_score(self, number: int, draws: int) -> float:
        """What a trial is expected to score: the mean, and what the set of draws adds to such an architecture."""
        known = self.posterior
        near = known.kernel.correlate(self._rows[number : number + 1], self._rows[known.numbers])[0]
        shared = (known.draws == draws) * (known.kernel.common + known.kernel.local * near)
        return float(self.mean[number] + self.scale * (shared @ self._weights))

    def _compute_noise(self, score: Observation) -> float:
        return (self.noise + self.last_noise / score.last_draws) / score.share + JITTER

    def _learn_parameters(self, first: tuple[Observation, ...]) -> None:
        """Scale and kernel from these scores; the posterior begins anew."""
        values = np.array([score.value for score in first])
        self.centre, self.scale = (float(values.mean()), max(float(values.std()), 1e-3)) if len(first) else (0.0, 1.0)
        known = [variance for score in first if (variance := score.last_draw_variance) is not None]
        self.last_noise = float(np.mean(known)) / self.scale**2 if known else 0.0
        self._parameters = self._fit_parameters(first) if len(first) >= 3 else self._prior
        self._fitted_to = first
        self.posterior = Posterior(self._rows, self._make_kernel())

    def _fit_parameters(self, scores: Sequence[Observation]) -> Array:
        from scipy.optimize import minimize

        if len(scores) > MAX_FIT_SCORES:
            scores = [scores[place] for place in np.linspace(0, len(scores) - 1, MAX_FIT_SCORES).astype(int)]
        rows = self._rows[[score.number for score in scores]]
        draws = np.array([score.draws for score in scores])
        data = _FitData(
            apart=np.square(rows[:, None, :] - rows[None, :, :]),
            same=(draws[:, None] == draws[None, :]).astype(np.float64),
            spread=np.array([1 / score.share for score in scores]),
            last=np.array([self.last_noise / (score.share * score.last_draws) for score in scores]),
            y=(np.array([score.value for score in scores]) - self.centre) / self.scale,
        )
        fit = minimize(
            self._compute_loss,
            self._prior,
            (data,),
            method="L-BFGS-B",
            jac=True,
            bounds=[(mean - 4, mean + 4) for mean in self._prior],
            # a few steps come near enough to the most probable parameters, which few noisy scores leave vague anyway
            options={"maxiter": 40, "maxfun": 60},
        )
        return np.asarray(fit.x)

    def _compute_loss(self, theta: Array, data: _FitData) -> tuple[float, Array]:
        """Negative log posterior of the parameters, and its gradient."""
        apart, same, spread, last, y = data
        inverse = np.exp(-2 * theta[:-4])
        signal, noise, common, local = np.exp(theta[-4:])
        r = np.sqrt(5 * (apart @ inverse) + 1e-12)
        decay = np.exp(-r)
        k = (1 + r + r * r / 3) * decay
        amplitude = signal + local * same
        own = k * amplitude + common * same + np.diag(noise * spread + last + JITTER)
        off = (theta - self._prior) / self._spread
        try:
            lower = np.linalg.cholesky(own)
        except np.linalg.LinAlgError:
            return 1e10, off
        whole = np.linalg.inv(own)
        weights = whole @ y
        value = 0.5 * y @ weights + np.log(np.diag(lower)).sum() + 0.5 * off @ off
        outer = whole - np.outer(weights, weights)
        slope = outer * amplitude * (5 / 3) * (1 + r) * decay
        gradient = np.empty_like(theta)
        gradient[:-4] = 0.5 * (slope.reshape(-1) @ apart.reshape(len(y) ** 2, -1)) * inverse
        gradient[-4] = 0.5 * (outer * k).sum() * signal
        gradient[-3] = 0.5 * (np.diag(outer) * spread).sum() * noise
        gradient[-2] = 0.5 * (outer * same).sum() * common
        gradient[-1] = 0.5 * (outer * same * k).sum() * local
        return float(value), gradient + off / self._spread


def _find_refit_size(count: int) -> int:
    """The number of scores at which the parameters were last fitted; depends on the count alone."""
    size = min(count, 10)
    while (following := max(size + 1, int(size * REFIT_GROWTH))) <= count:
        size = following
    return size
