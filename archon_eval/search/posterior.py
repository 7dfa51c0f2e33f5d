"""What scores say of a finite list of configurations under a fixed kernel, score by score.

    posterior = Posterior(rows, Kernel(lengths, signal=1.0, common=0.1, local=0.2))
    posterior.add(3, draws=1, noise=0.2)
    posterior.solve(np.array([0.4])).mean         # [configurations]

A further score costs one row: the Cholesky factor of the scores' covariances grows by a row, and so does what each
score tells of each configuration. Values are standardised; the mean of all has a wide prior of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from archon_eval.search.space import Array

MEAN_PRIOR_VARIANCE = 9.0
"""Prior variance of the mean of all."""
MAX_EXACT_ROWS = 20_000
"""Longer lists are kept in single precision: half the memory, and errors far below those of any score."""

GROWTH = 64
"""Scores for which there is room at first, and more each time."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """Covariances of scores: of architectures, of all scores of a set of draws, and of a set's luck by architecture."""

    lengths: Array
    """[features]."""
    signal: float
    common: float
    local: float

    def correlate(self, rows: Array, others: Array) -> Array:
        """Correlations [rows, others] of architectures."""
        a, b = rows / self.lengths, others / self.lengths
        squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)[None, :] - 2 * (a @ b.T)
        return compute_matern(np.maximum(squares, 0.0))


class Solved(NamedTuple):
    """The posterior of given values."""

    mean: Array
    """[configurations]."""
    weights: Array
    """[scores]: the inverse covariance times the values."""


class Posterior:
    """Grows by a score at a time."""

    def __init__(self, rows: Array, kernel: Kernel) -> None:
        self.kernel, self._rows = kernel, rows
        self._type = np.float64 if len(rows) <= MAX_EXACT_ROWS else np.float32
        self._told: Any = np.zeros((GROWTH, len(rows)), dtype=self._type)
        self._factor = np.zeros((GROWTH, GROWTH))
        self._scores: list[tuple[int, int]] = []

    @property
    def count(self) -> int:
        """Scores so far."""
        return len(self._scores)

    @property
    def told(self) -> Any:
        """[scores, configurations]: what each score tells that those before it do not."""
        return self._told[: self.count]

    @property
    def factor(self) -> Array:
        """[scores, scores]: lower Cholesky factor of the scores' covariances."""
        return self._factor[: self.count, : self.count]

    @property
    def numbers(self) -> list[int]:
        """The configuration of each score."""
        return [number for number, _ in self._scores]

    @property
    def draws(self) -> Any:
        """[scores]: the set of draws of each."""
        return np.array([draws for _, draws in self._scores], dtype=int)

    def keep(self, scores: Sequence[tuple[int, int]]) -> None:
        """Forget what does not begin as these configurations and sets of draws do."""
        same = next((n for n, (a, b) in enumerate(zip(self._scores, scores, strict=False)) if a != b), len(scores))
        del self._scores[same:]

    def add(self, number: int, draws: int, noise: float) -> None:
        """A score of a configuration with a set of draws.

        Args:
            noise: its own variance.
        """
        count, kernel = self.count, self.kernel
        if count == len(self._factor):
            self._grow()
        near = kernel.correlate(self._rows[number : number + 1], self._rows)[0]
        row = MEAN_PRIOR_VARIANCE + kernel.signal * near
        own = MEAN_PRIOR_VARIANCE + kernel.signal + kernel.common + kernel.local + noise
        if count:
            same = self.draws == draws
            with_others = row[self.numbers] + same * (kernel.common + kernel.local * near[self.numbers])
            known = solve_triangular(self.factor, with_others, lower=True, check_finite=False)
            row = row - known.astype(self._type) @ self.told
            own -= float(known @ known)
            self._factor[count, :count] = known
        root = np.sqrt(max(own, noise, 1e-12))
        self._factor[count, count] = root
        self._told[count] = row / root
        self._scores.append((number, draws))

    def _grow(self) -> None:
        size = len(self._factor) + GROWTH
        factor = np.zeros((size, size))
        factor[: self.count, : self.count] = self.factor
        self._factor = factor
        self._told.resize((size, len(self._rows)), refcheck=False)  # in place: it may be most of the memory there is

    def solve(self, values: Array) -> Solved:
        """The posterior mean of every configuration.

        Args:
            values: [scores].
        """
        if not self.count:
            return Solved(np.zeros(len(self._rows)), np.zeros(0))
        half = solve_triangular(self.factor, values, lower=True, check_finite=False)
        weights = solve_triangular(self.factor, half, lower=True, trans="T", check_finite=False)
        return Solved((half.astype(self._type) @ self.told).astype(np.float64), weights)

    def compute_variance(self) -> Array:
        """[configurations]: of what each is worth, without noise."""
        prior = MEAN_PRIOR_VARIANCE + self.kernel.signal
        told = self.told
        return np.asarray(prior - np.einsum("ij,ij->j", told, told, dtype=np.float64))

    def compute_covariances(self, numbers: Array, others: Array) -> Array:
        """[numbers, others]: of what these configurations are worth."""
        told, about = self.told[:, numbers].astype(np.float64), self.told[:, others].astype(np.float64)
        near = self.kernel.correlate(self._rows[numbers], self._rows[others])
        return np.asarray(MEAN_PRIOR_VARIANCE + self.kernel.signal * near - told.T @ about)

    def compute_draw_covariances(
        self, numbers: Array, others: Array, draws: Sequence[int]
    ) -> Iterator[tuple[Array, Array]]:
        """For each set of draws: covariances of what `numbers` are worth with what the set adds to `others` [numbers,
        others], and the variance of that [others]."""
        own, kernel = self.kernel.common + self.kernel.local, self.kernel
        told = np.ascontiguousarray(self.told[:, numbers], dtype=np.float64)
        near = kernel.common + kernel.local * kernel.correlate(self._rows[self.numbers], self._rows[others])
        same = self.draws[:, None] == np.array(draws)[None, :]
        # all sets at once: one solution of many columns takes a fraction of many of few
        added = (same[:, :, None] * near[:, None, :]).reshape(self.count, -1)
        known = solve_triangular(self.factor, added, lower=True, check_finite=False)
        for place in range(len(draws)):
            part = known[:, place * len(others) : (place + 1) * len(others)]
            yield -told.T @ part, own - np.square(part).sum(axis=0)


def compute_matern(squares: Array) -> Array:
    """Correlation at squared distances, in lengths: Matern 5/2."""
    r = np.sqrt(5 * squares)
    covariance: Array = (1 + r + r * r / 3) * np.exp(-r)
    return covariance
