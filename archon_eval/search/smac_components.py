"""Our parts at SMAC3's extension points.

| SMAC3's | ours |
|---|---|
| model | `SurrogateModel`: a Gaussian process on features of architectures, trained on the run history's X and Y |
| acquisition function | `GainPerCall`: what a trial would teach by the calls that it still pays; \
`ImprovementPerCall`, `ProbabilityPerCall`, `UpperBound` |
| acquisition maximizer | `ExhaustiveMaximizer`: looks at every configuration of the list |
| initial design | `SpreadDesign`: each farthest from those before; `RandomDesign` |
| intensifier | `OneTrialIntensifier`: each configuration once; a trial's seed is its set of draws |
| run history encoder | `TrialEncoder`: a trial's draws and share of questions stand beside its configuration |
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ConfigSpace
import numpy as np
from scipy.stats import norm
from smac import Scenario
from smac.acquisition.function.abstract_acquisition_function import AbstractAcquisitionFunction
from smac.acquisition.maximizer.abstract_acquisition_maximizer import AbstractAcquisitionMaximizer
from smac.initial_design.abstract_initial_design import AbstractInitialDesign
from smac.intensifier.abstract_intensifier import AbstractIntensifier
from smac.model.abstract_model import AbstractModel
from smac.runhistory.dataclasses import TrialInfo, TrialKey, TrialValue
from smac.runhistory.encoder.encoder import RunHistoryEncoder
from smac.runhistory.enumerations import StatusType

from archon_eval.search.knowledge_gradient import LAST_DRAWS, TrialChoice, choose_by_gain
from archon_eval.search.optimizer import INITIAL_DESIGN_SIZE, SmacChoices
from archon_eval.search.smac_space import ListedSpace
from archon_eval.search.space import Array
from archon_eval.search.surrogate import Observation, Surrogate

_EXTRAS = {"share": 1.0, "last_draws": 1, "last_draw_variance": np.nan}
"""What a trial's additional information holds, with what it is where nothing is said."""


def _read_extras(said: Mapping[str, Any]) -> list[float]:
    return [said.get(name, default) for name, default in _EXTRAS.items()]


class TrialEncoder(RunHistoryEncoder):
    """Run history to X [trials, axes + 4]: vector, set of draws, share of questions, draws of the last layer and what
    one of them adds to the variance (NaN: unknown); and Y [trials, 1]: cost.

    A trial under way has the cost NaN, a failed one infinity.
    """

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario, considered_states=[StatusType.SUCCESS, StatusType.CRASHED, StatusType.RUNNING])

    def _build_matrix(
        self, trials: Mapping[TrialKey, TrialValue], store_statistics: bool = False
    ) -> tuple[Array, Array]:
        rows = [
            [*self.runhistory.get_config(key.config_id).get_array(), key.seed, *_read_extras(value.additional_info)]
            for key, value in trials.items()
        ]
        costs = [np.nan if value.status == StatusType.RUNNING else value.cost for value in trials.values()]
        return np.array(rows).reshape(len(rows), self._n_params + len(_EXTRAS) + 1), np.array(
            costs, dtype=float
        ).reshape(-1, 1)


class SurrogateModel(AbstractModel):
    """The surrogate of performance as a model of cost, which is minus performance: the penalty is known, not modelled.

    Trials under way count as if they came out as expected; failed ones do not count.
    """

    def __init__(self, listed: ListedSpace, rows: Array, seed: int) -> None:
        # SMAC3 counts the columns beside the configuration as features of an instance
        super().__init__(
            listed.space, instance_features={"trial": [1, *_EXTRAS.values()]}, pca_components=None, seed=seed
        )
        self._listed, self.surrogate = listed, Surrogate(rows)

    def read_trials(self, X: Array, Y: Array) -> list[Observation]:
        """The rows as observations; one under way has the value NaN, a failed one minus infinity."""
        places = self._listed.find_places(X[:, : self._n_hps])
        return [
            Observation(
                int(place),
                int(draws),
                -float(cost),
                share=float(share),
                last_draws=int(last_draws),
                last_draw_variance=None if np.isnan(variance) else float(variance),
            )
            for place, (draws, share, last_draws, variance), cost in zip(
                places, X[:, self._n_hps :], Y[:, 0], strict=True
            )
        ]

    def _train(self, X: Array, Y: Array) -> "SurrogateModel":
        trials = self.read_trials(X, Y)
        scored = [trial for trial in trials if np.isfinite(trial.value)]
        self.surrogate.fit(scored)
        if pending := [trial for trial in trials if np.isnan(trial.value)]:
            values = [self.surrogate.predict_score(trial.number, trial.draws) for trial in pending]
            self.surrogate.fit(scored, [replace(t, value=v) for t, v in zip(pending, values, strict=True)])
        return self

    def _predict(self, X: Array, covariance_type: str | None = "diagonal") -> tuple[Array, Array]:
        places = self._listed.find_places(X[:, : self._n_hps])
        variance = np.maximum(np.square(self.surrogate.deviation[places]), self._var_threshold)
        return -self.surrogate.mean[places].reshape(-1, 1), variance.reshape(-1, 1)

    def predict_marginalized(self, X: Array) -> tuple[Array, Array]:
        """Mean and variance over sets of draws, of which the posterior is free, so that nothing is to be summed up."""
        return self._predict(X)


class ImprovementPerCall(AbstractAcquisitionFunction):
    """Expected improvement of performance less the penalty for cost, divided by the square root of unpaid calls.

    Source of the improvement: D. Jones, M. Schonlau, W. Welch, Journal of Global Optimization 13, 1998. By the square
    root, not by the calls: by the calls themselves, cheap trials that teach little would always come first.
    """

    def __init__(self, listed: ListedSpace, penalty: Array, *, xi: float = 0.0) -> None:
        """
        Args:
            xi: what an improvement must bring over the best, in points of performance.
        """
        super().__init__()
        self._xi = xi
        self._listed = listed
        self.penalty = penalty
        """[configurations], in points of performance."""
        self.scale: Any = 1.0
        """[configurations] or one number: what the improvement is divided by."""
        self._tried: Array = np.empty((0, 0))

    def _update(self, **kwargs: Any) -> None:
        self._tried = kwargs["X"]

    def _predict_objective(self, X: Array) -> tuple[Any, Any]:
        assert self.model is not None
        mean, variance = self.model.predict_marginalized(X)
        return self.penalty[self._listed.find_places(X)] + mean.ravel(), np.sqrt(variance).ravel()

    def _compute(self, X: Array) -> Array:
        objective, deviation = self._predict_objective(X)
        value = self._score(objective, deviation)
        scale = np.broadcast_to(self.scale, len(self._listed.vectors))[self._listed.find_places(X)]
        return np.asarray(value / scale).reshape(-1, 1)

    def _score(self, objective: Any, deviation: Any) -> Any:
        """What each configuration is worth trying, before calls count."""
        gain = self._find_best() - self._xi - objective
        return gain * norm.cdf(gain / deviation) + deviation * norm.pdf(gain / deviation)

    def _find_best(self) -> float:
        """The best objective, as a cost, of what is tried, as the model sees it."""
        return float(self._predict_objective(self._tried)[0].min())


class ProbabilityPerCall(ImprovementPerCall):
    """Probability of an improvement by at least xi, by the square root of unpaid calls (v1 A.6.4)."""

    def _score(self, objective: Any, deviation: Any) -> Any:
        return norm.cdf((self._find_best() - self._xi - objective) / deviation)


class UpperBound(ImprovementPerCall):
    """Upper confidence bound: mean plus kappa deviations (v1 A.6.4). A bound is no gain, so calls do not divide it."""

    def __init__(self, listed: ListedSpace, penalty: Array, *, kappa: float) -> None:
        super().__init__(listed, penalty)
        self._kappa = kappa

    def _compute(self, X: Array) -> Array:
        objective, deviation = self._predict_objective(X)
        return np.asarray(self._kappa * deviation - objective).reshape(-1, 1)


class GainPerCall(ImprovementPerCall):
    """The knowledge gradient by the calls that a trial still pays, at its best set of draws and number of last draws.

    It needs no root: what a cheap trial cannot teach, because others with its draws have taught it, is not in its gain.
    """

    def __init__(self, listed: ListedSpace, penalty: Array, surrogate: Surrogate) -> None:
        super().__init__(listed, penalty)
        self._surrogate = surrogate
        self.open: Any = np.ones(len(listed.vectors), dtype=bool)
        """[configurations]: whether it may be tried."""
        self.unpaid: Mapping[int, Array] = {}
        """Of each set of draws that may be taken, the calls that a trial would pay [configurations]."""
        self.last_calls: Array = np.ones(len(listed.vectors))
        """[configurations]: calls of another draw of the last layer."""
        self.last_draws: Sequence[int] = LAST_DRAWS
        """Draws of the last layer to choose between."""
        self.choices: dict[int, TrialChoice] = {}
        """The best trial of each configuration that promises something, as computed last."""

    def _compute(self, X: Array) -> Array:
        with self._surrogate.limit_threads():
            found = choose_by_gain(
                self._surrogate,
                self.penalty,
                open=self.open,
                unpaid=self.unpaid,
                last_calls=self.last_calls,
                last_draws=self.last_draws,
            )
        self.choices = {choice.number: choice for choice in found}
        gains = np.full(len(self._listed.vectors), -1.0)
        gains[list(self.choices)] = [choice.gain for choice in self.choices.values()]
        return np.asarray(gains[self._listed.find_places(X)]).reshape(-1, 1)


def build_acquisition(
    listed: ListedSpace, penalty: Array, choices: SmacChoices, *, surrogate: Surrogate
) -> ImprovementPerCall:
    """The acquisition function that the settings name."""
    if choices.acquisition == "kg":
        return GainPerCall(listed, penalty, surrogate)
    if choices.acquisition == "ucb":
        return UpperBound(listed, penalty, kappa=choices.kappa)
    kind = ProbabilityPerCall if choices.acquisition == "pi" else ImprovementPerCall
    return kind(listed, penalty, xi=choices.xi)


class ExhaustiveMaximizer(AbstractAcquisitionMaximizer):
    """Exact: the untried configuration of the list with the largest acquisition value."""

    def __init__(self, listed: ListedSpace, seed: int) -> None:
        super().__init__(listed.space, challengers=1, seed=seed)
        self._listed = listed

    def _maximize(
        self, previous_configs: list[ConfigSpace.Configuration], n_points: int
    ) -> list[tuple[float, ConfigSpace.Configuration]]:
        assert self._acquisition_function is not None
        # by vectors: SMAC3's way through objects would build thousands of them at every ask
        values = self._acquisition_function._compute(self._listed.vectors).ravel()
        values[[self._listed.find_place(config) for config in previous_configs]] = -np.inf
        best = int(values.argmax())
        return [(float(values[best]), self._listed.get_configuration(best))]


class SpreadDesign(AbstractInitialDesign):
    """A seeded configuration, then always the one whose features are farthest from all before."""

    def __init__(
        self, scenario: Scenario, listed: ListedSpace, rows: Array, *, first: int, size: int = INITIAL_DESIGN_SIZE
    ) -> None:
        super().__init__(scenario, n_configs=min(size, len(rows)))
        self._listed, self._rows, self._first = listed, rows, first

    def _select_configurations(self) -> list[ConfigSpace.Configuration]:
        chosen = [self._first]
        apart = np.square(self._rows - self._rows[self._first]).sum(axis=1)
        while len(chosen) < self._n_configs:
            chosen.append(int(apart.argmax()))
            apart = np.minimum(apart, np.square(self._rows - self._rows[chosen[-1]]).sum(axis=1))
        return [self._listed.get_configuration(place) for place in chosen]


class RandomDesign(AbstractInitialDesign):
    """Configurations at random, as the papers begin (v6 A.4.2)."""

    def __init__(self, scenario: Scenario, listed: ListedSpace, *, order: Any, size: int = INITIAL_DESIGN_SIZE) -> None:
        """
        Args:
            order: all places, in a random order.
        """
        super().__init__(scenario, n_configs=min(size, len(order)))
        self._listed, self._chosen = listed, order[:size]

    def _select_configurations(self) -> list[ConfigSpace.Configuration]:
        return [self._listed.get_configuration(int(place)) for place in self._chosen]


class OneTrialIntensifier(AbstractIntensifier):
    """Each configuration is tried once; finalists are confirmed by the search itself."""

    uses_seeds = True
    uses_budgets = uses_instances = uses_cutoffs = False

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario, max_config_calls=1)
        self.choose_draws: Callable[[ConfigSpace.Configuration], int] = lambda config: 1
        """The set of draws that a configuration's trial takes: its seed."""

    def __iter__(self) -> Iterator[TrialInfo]:
        self.__post_init__()
        for config in self.config_generator:
            if not self.runhistory.has_config(config):  # as one that an earlier process left under way
                yield TrialInfo(config, seed=self.choose_draws(config))
