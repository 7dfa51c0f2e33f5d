"""The interface of what chooses the next architecture; `optimizers.build_optimizer` makes one by its name.

`Optimizer` and `ListOptimizer` are public: an optimizer of a user's own (docs/optimizers.md) inherits from one of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from archon_eval.search.space import Array, Configuration

INITIAL_DESIGN_SIZE = 10
"""Configurations spread over the space that are tried first: a Gaussian process of fewer scores has no lengths to go
by, and more are worth less than its own choices (docs/search.md, Measured)."""

INITIAL_LAST_DRAWS = 2
"""Draws of the last layer of each of these where the search chooses them: its variance is known from then on."""
MAX_DRAW_SETS = 8
"""Sets of draws that trials may take where the search chooses: more were worth no more in benchmarks."""
FRESH_DRAWS = MAX_DRAW_SETS + 1
"""The first set of draws that no trial takes, unless a search was told to take more sets."""


class Suggestion(NamedTuple):
    """The trial that an optimizer would have next."""

    number: int
    """The configuration's place in the list."""
    draws: int
    """The set of draws, from 1."""
    last_draws: int = 1
    """Draws of the last layer."""


@dataclass(frozen=True, slots=True)
class SmacChoices:
    """What a user may choose of the search with SMAC3; the fields are those of `SearchSettings`."""

    initial_points: int = INITIAL_DESIGN_SIZE
    initial_design: str = "spread"
    acquisition: str = "kg"
    xi: float = 0.0
    kappa: float = 2.0
    draws: int | None = None
    last_draws: int | None = None


DEFAULT_CHOICES = SmacChoices()


class Optimizer(ABC):
    """Chooses from a list of configurations, by number, with ask and tell.

    An answer depends on the seed and on what was told alone, so a resumed search goes on as it would have: it tells a
    new optimizer all earlier trials, in their order, before it asks.
    """

    proposes: ClassVar[bool] = False
    """Whether it adds architectures to the space. It is then given a `registry` besides (`ProposalRegistry`), which
    checks them, keeps them in the journal and gives them numbers."""

    def __init__(self, configurations: Sequence[Configuration], penalty: Array, seed: int) -> None:
        """
        Args:
            penalty: what the objective takes off each configuration's performance for its cost.
        """
        self._configurations, self._penalty, self._seed = list(configurations), penalty, seed

    @property
    @abstractmethod
    def outcomes(self) -> Mapping[int, float | None]:
        """Performance of each configuration that was tried, in order; None for a trial that failed."""

    @abstractmethod
    def ask(self, pending: Mapping[int, int], draws: int = 1) -> int | None:
        """The configuration to try next, none that is tried or pending; None if none is left.

        Args:
            pending: configurations under way, with the set of draws of each.
            draws: the set of draws that the new trial takes.
        """

    def suggest(self, pending: Mapping[int, int], draws: int = 1) -> Suggestion | None:
        """The same with the set of draws and the draws of the last layer, where an optimizer chooses them: this one
        takes what it is given, and one."""
        number = self.ask(pending, draws)
        return None if number is None else Suggestion(number, draws)

    @abstractmethod
    def tell(
        self,
        number: int,
        performance: float | None,
        draws: int = 1,
        *,
        share: float = 1.0,
        last_draws: int = 1,
        last_draw_variance: float | None = None,
    ) -> None:
        """Report a trial. Later versions may tell more of it, by further keywords: take them as `**more`.

        Args:
            performance: from 0 to 1, cost not taken off; None when the trial failed.
            share: of the questions that have a score.
            last_draws: draws of the last layer that it is the mean of.
            last_draw_variance: what one of them adds to the variance of the performance; None where there was one.
        """

    def tell_fresh_score(  # noqa: B027 (no model to learn it)
        self, number: int, performance: float, draws: int, *, last_draws: int = 1
    ) -> None:
        """Report what a finalist scored with a set of draws that no trial took."""

    def list_paid(self, draws: int) -> list[int]:
        """Untried configurations all of whose calls earlier trials with this set of draws have paid: the cheaper
        beginnings of what was tried. Nothing where that is not known."""
        return []

    def estimate(self) -> tuple[Array, Array] | None:
        """Mean and deviation of every configuration's performance; None without a model or a score.

        Finalists are chosen by them. Without them the tried ones with the best scores are confirmed.

        Returns:
            Two arrays, [configurations], from 0 to 1, cost not taken off.
        """
        return None

    def estimate_draw_effect(self, draws: int) -> float:
        """What a set of draws probably added to every score made with it; 0 without a model."""
        return 0.0

    def _shuffle_order(self) -> Any:
        return np.random.default_rng(self._seed).permutation(len(self._configurations))


class ListOptimizer(Optimizer):
    """An optimizer that remembers outcomes by itself: `_choose` is all that it must have.

    >>> class LastFirst(ListOptimizer):
    ...     def _choose(self, free):
    ...         return int(free.nonzero()[0][-1])
    >>> optimizer = LastFirst([Configuration(1), Configuration(2)], penalty=np.zeros(2), seed=0)
    >>> optimizer.tell(1, 0.5)
    >>> optimizer.ask({}), optimizer.ask({0: 1})
    (0, None)
    """

    def __init__(self, configurations: Sequence[Configuration], penalty: Array, seed: int) -> None:
        super().__init__(configurations, penalty, seed)
        self._outcomes: dict[int, float | None] = {}

    @property
    def outcomes(self) -> Mapping[int, float | None]:
        return self._outcomes

    def ask(self, pending: Mapping[int, int], draws: int = 1) -> int | None:
        free = np.ones(len(self._configurations), dtype=bool)
        free[[*self._outcomes, *pending]] = False
        return self._choose(free) if free.any() else None

    @abstractmethod
    def _choose(self, free: Any) -> int:
        """One of the configurations for which `free` [configurations] is true; there is one."""

    def tell(self, number: int, performance: float | None, draws: int = 1, **more: Any) -> None:
        self._outcomes[number] = performance

    def _choose_at_random(self, free: Any) -> int:
        order = self._shuffle_order()
        return int(order[free[order]][0])
