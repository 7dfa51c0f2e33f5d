"""A Gaussian process over the features of architectures: what their performance probably is, tried or not.

    surrogate = Surrogate(compute_features(configurations, calls))
    surrogate.fit([Observation(3, 0, 0.62), Observation(141, 1, 0.71)])
    surrogate.mean, surrogate.deviation      # of every configuration, without the noise of a trial

A score is what the architecture is worth, plus what its set of draws adds to all that share it, plus noise. Kernel:
Matern 5/2 with a length per feature. Lengths and variances are the most probable ones under weak priors, so that a few
noisy trials are not over-read. Fitting them again at every trial would cost more than it tells: see `REFIT_GROWTH`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Any, NamedTuple

import numpy as np

from archon_eval.search.space import Array

REFIT_GROWTH = 1.3
"""The kernel's parameters are fitted again when there are this many times the scores of the last time: at every score,
fitting would take most of an ask and change lengths by less than their uncertainty."""
_JITTER = 1e-9
"""Keeps the covariance matrix positive definite where two rows of features are equal."""
_MEAN_PRIOR_VARIANCE = 9.0
"""Prior variance of the mean of all, of standardised scores."""


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


class _FitData(NamedTuple):
    """What the kernel's parameters are fitted to."""

    apart: Array
    """[scores, scores, features]: squared distances."""
    same: Array
    """[scores, scores]: 1 where the set of draws is the same."""
    spread: Array
    """[scores]: what the noise variance is multiplied by."""
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
        # log of: lengths, signal variance, noise variance, variance of sets of draws (of standardised values)
        self._prior = np.array([*[log(sqrt(width)) + 0.5] * width, 0.0, log(0.3), log(0.1)])
        self._spread = np.array([*[1.0] * width, 1.0, 1.5, 1.5])
        self._parameter_cache: tuple[tuple[Observation, ...], Array] = ((), self._prior)
        self._last_fit: tuple[int, tuple[Observation, ...]] = (0, ())
        self._threads: Any = None
        self._covariance_cache: tuple[bytes, list[int], Array] = (b"", [], np.empty((0, len(rows))))

    def fit(self, seen: Sequence[Observation], expected: Sequence[Observation] = ()) -> None:
        """Learn from scores; the same scores in the same order give the same posterior.

        Args:
            expected: further scores that are only supposed; the kernel's parameters do not depend on them.
        """
        scores = (*seen, *expected)
        if self._last_fit == (len(seen), scores):
            return
        if self._threads is None:
            from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

            self._threads = ThreadpoolController()
        with self._threads.limit(limits=1):  # matrices this small only lose by threads, most of all beside other work
            self._fit(seen, scores)
        self._last_fit = (len(seen), scores)

    def _fit(self, seen: Sequence[Observation], scores: Sequence[Observation]) -> None:
        first = tuple(seen[: _find_refit_size(len(seen))])
        known = np.array([score.value for score in first])
        centre, scale = (known.mean(), max(known.std(), 1e-3)) if len(known) else (0.0, 1.0)
        if self._parameter_cache[0] != first:
            self._parameter_cache = (first, self._fit_parameters(first, (known - centre) / scale))
        theta = self._parameter_cache[1]
        signal, noise, common = np.exp(theta[-3:])
        numbers = [score.number for score in scores]
        between = self._compute_covariances(numbers, np.exp(theta[:-3]), signal)
        same = _match_draws(scores)
        own = between[:, numbers] + common * same + np.diag(noise * _compute_noise_scales(scores) + _JITTER)
        half = np.linalg.inv(np.linalg.cholesky(own))
        inverse = half.T @ half
        y = (np.array([score.value for score in scores]) - centre) / scale
        weight = inverse.sum(axis=1)
        middle = float(weight @ y) / (float(weight.sum()) + 1 / _MEAN_PRIOR_VARIANCE)
        weights = inverse @ (y - middle)
        self.mean = centre + scale * (middle + between.T @ weights)
        explained = half @ between
        self.deviation = scale * np.sqrt(np.maximum(signal - np.einsum("ij,ij->j", explained, explained), 1e-12))
        shifts = scale * common * (same @ weights)
        self.draw_effects = {score.draws: float(shift) for score, shift in zip(scores, shifts, strict=True)}

    def _compute_covariances(self, numbers: list[int], lengths: Array, signal: float) -> Array:
        """Covariances of the scored configurations with all; rows are kept while the parameters stay."""
        cached, kept, rows = self._covariance_cache
        parameters = lengths.tobytes() + np.float64(signal).tobytes()
        if cached != parameters:
            kept, rows = [], rows[:0]
        shared = next((n for n, (a, b) in enumerate(zip(kept, numbers, strict=False)) if a != b), len(kept))
        shared = min(shared, len(numbers))
        if new := numbers[shared:]:
            scaled = self._rows / lengths
            # one by one, so that the last digit does not depend on how many are new
            more = [signal * compute_matern(np.square(scaled - scaled[number]).sum(axis=1)) for number in new]
            rows = np.concatenate([rows[:shared], np.array(more)])
        self._covariance_cache = (parameters, list(numbers), rows[: len(numbers)])
        return self._covariance_cache[2]

    def _fit_parameters(self, scores: Sequence[Observation], y: Array) -> Array:
        from scipy.optimize import minimize

        if len(y) < 3:
            return self._prior
        rows = self._rows[[score.number for score in scores]]
        apart = np.square(rows[:, None, :] - rows[None, :, :])
        data = _FitData(apart, _match_draws(scores), _compute_noise_scales(scores), y=y)
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
        apart, same, spread, y = data
        inverse = np.exp(-2 * theta[:-3])
        signal, noise, common = np.exp(theta[-3:])
        r = np.sqrt(5 * (apart @ inverse) + 1e-12)
        decay = np.exp(-r)
        k = signal * (1 + r + r * r / 3) * decay
        own = k + common * same + np.diag(noise * spread + _JITTER)
        off = (theta - self._prior) / self._spread
        try:
            lower = np.linalg.cholesky(own)
        except np.linalg.LinAlgError:
            return 1e10, off
        whole = np.linalg.inv(own)
        weights = whole @ y
        value = 0.5 * y @ weights + np.log(np.diag(lower)).sum() + 0.5 * off @ off
        outer = whole - np.outer(weights, weights)
        slope = outer * (signal * (5 / 3) * (1 + r) * decay)
        gradient = np.empty_like(theta)
        gradient[:-3] = 0.5 * (slope.reshape(-1) @ apart.reshape(len(y) ** 2, -1)) * inverse
        gradient[-3] = 0.5 * (outer * k).sum()
        gradient[-2] = 0.5 * (np.diag(outer) * spread).sum() * noise
        gradient[-1] = 0.5 * (outer * same).sum() * common
        return float(value), gradient + off / self._spread


def _find_refit_size(count: int) -> int:
    """The number of scores at which the parameters were last fitted; depends on the count alone."""
    size = min(count, 10)
    while (following := max(size + 1, int(size * REFIT_GROWTH))) <= count:
        size = following
    return size


def _match_draws(scores: Sequence[Observation]) -> Any:
    draws = np.array([score.draws for score in scores])
    return (draws[:, None] == draws[None, :]).astype(np.float64)


def _compute_noise_scales(scores: Sequence[Observation]) -> Array:
    return np.array([1 / score.share for score in scores])


def compute_matern(squares: Array) -> Array:
    """Correlation at squared distances, in lengths: Matern 5/2."""
    r = np.sqrt(5 * squares)
    covariance: Array = (1 + r + r * r / 3) * np.exp(-r)
    return covariance
