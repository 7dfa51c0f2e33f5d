"""SMAC3 by ask and tell, with parts of our own at its extension points.

| SMAC3's | ours |
|---|---|
| model | `SurrogateModel`: a Gaussian process on features of architectures, trained on the run history's X and Y |
| acquisition function | `ImprovementPerCall`: improvement by the square root of the calls that a trial still pays |
| acquisition maximizer | `ExhaustiveMaximizer`: looks at every configuration of the list |
| initial design | `SpreadDesign`: each farthest from those before |
| intensifier | `OneTrialIntensifier`: each configuration once; a trial's seed is its set of draws |
| run history encoder | `TrialEncoder`: a trial's draws and share of questions stand beside its configuration |

The run history is the only record of trials.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import ConfigSpace
import numpy as np
from scipy.stats import norm
from smac import HyperparameterOptimizationFacade, Scenario
from smac.acquisition.function.abstract_acquisition_function import AbstractAcquisitionFunction
from smac.acquisition.maximizer.abstract_acquisition_maximizer import AbstractAcquisitionMaximizer
from smac.initial_design.abstract_initial_design import AbstractInitialDesign
from smac.intensifier.abstract_intensifier import AbstractIntensifier
from smac.model.abstract_model import AbstractModel
from smac.random_design.probability_design import ProbabilityRandomDesign
from smac.runhistory.dataclasses import TrialInfo, TrialKey, TrialValue
from smac.runhistory.encoder.encoder import RunHistoryEncoder
from smac.runhistory.enumerations import StatusType

from archon_eval.search.optimizer import INITIAL_DESIGN_SIZE, Optimizer
from archon_eval.search.prefix_sharing import PaidCallTracker
from archon_eval.search.smac_space import ListedSpace, temporary_scenario
from archon_eval.search.space import Array, Configuration, compute_features
from archon_eval.search.surrogate import Observation, Surrogate


class TrialEncoder(RunHistoryEncoder):
    """Run history to X [trials, axes + 2]: vector, set of draws, share of questions; and Y [trials, 1]: cost.

    A trial under way has the cost NaN, a failed one infinity.
    """

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario, considered_states=[StatusType.SUCCESS, StatusType.CRASHED, StatusType.RUNNING])

    def _build_matrix(
        self, trials: Mapping[TrialKey, TrialValue], store_statistics: bool = False
    ) -> tuple[Array, Array]:
        rows = [
            [*self.runhistory.get_config(key.config_id).get_array(), key.seed, value.additional_info.get("share", 1.0)]
            for key, value in trials.items()
        ]
        costs = [np.nan if value.status == StatusType.RUNNING else value.cost for value in trials.values()]
        return np.array(rows).reshape(len(rows), self._n_params + 2), np.array(costs, dtype=float).reshape(-1, 1)


class SurrogateModel(AbstractModel):
    """The surrogate of performance as a model of cost, which is minus performance: the penalty is known, not modelled.

    Trials under way count as if they came out as expected; failed ones do not count.
    """

    def __init__(self, listed: ListedSpace, rows: Array, seed: int) -> None:
        # SMAC3 counts the columns beside the configuration as features of an instance
        super().__init__(listed.space, instance_features={"trial": [1, 1.0]}, pca_components=None, seed=seed)
        self._listed, self.surrogate = listed, Surrogate(rows)

    def read_trials(self, X: Array, Y: Array) -> list[Observation]:
        """The rows as observations; one under way has the value NaN, a failed one minus infinity."""
        places = self._listed.find_places(X[:, : self._n_hps])
        return [
            Observation(int(place), int(draws), -float(cost), float(share))
            for place, (draws, share), cost in zip(places, X[:, self._n_hps :], Y[:, 0], strict=True)
        ]

    def _train(self, X: Array, Y: Array) -> "SurrogateModel":
        trials = self.read_trials(X, Y)
        scored = [trial for trial in trials if np.isfinite(trial.value)]
        self.surrogate.fit(scored)
        if pending := [trial for trial in trials if np.isnan(trial.value)]:
            mean, effects = self.surrogate.mean, self.surrogate.draw_effects
            values = [float(mean[trial.number]) + effects.get(trial.draws, 0.0) for trial in pending]
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

    def __init__(self, listed: ListedSpace, penalty: Array) -> None:
        super().__init__()
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
        best = self._predict_objective(self._tried)[0].min()
        objective, deviation = self._predict_objective(X)
        gain = best - objective
        improvement = gain * norm.cdf(gain / deviation) + deviation * norm.pdf(gain / deviation)
        scale = np.broadcast_to(self.scale, len(self._listed.vectors))[self._listed.find_places(X)]
        return np.asarray(improvement / scale).reshape(-1, 1)


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
        tried = np.array([config.get_array() for config in previous_configs])
        values[self._listed.find_places(tried)] = -np.inf
        best = int(values.argmax())
        return [(float(values[best]), self._listed.get_configuration(best))]


class SpreadDesign(AbstractInitialDesign):
    """A seeded configuration, then always the one whose features are farthest from all before."""

    def __init__(self, scenario: Scenario, listed: ListedSpace, rows: Array, *, first: int) -> None:
        super().__init__(scenario, n_configs=min(INITIAL_DESIGN_SIZE, len(rows)))
        self._listed, self._rows, self._first = listed, rows, first

    def _select_configurations(self) -> list[ConfigSpace.Configuration]:
        chosen = [self._first]
        apart = np.square(self._rows - self._rows[self._first]).sum(axis=1)
        while len(chosen) < self._n_configs:
            chosen.append(int(apart.argmax()))
            apart = np.minimum(apart, np.square(self._rows - self._rows[chosen[-1]]).sum(axis=1))
        return [self._listed.get_configuration(place) for place in chosen]


class OneTrialIntensifier(AbstractIntensifier):
    """Each configuration is tried once; finalists are confirmed by the search itself."""

    uses_seeds = True
    uses_budgets = uses_instances = uses_cutoffs = False

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario, max_config_calls=1)
        self.draws = 1
        """The set of draws that the next trial takes: its seed."""

    def __iter__(self) -> Iterator[TrialInfo]:
        self.__post_init__()
        for config in self.config_generator:
            if not self.runhistory.has_config(config):  # as one that an earlier process left under way
                yield TrialInfo(config, seed=self.draws)


class SmacOptimizer(Optimizer):
    """SMAC3 with the parts above."""

    def __init__(
        self, configurations: Sequence[Configuration], penalty: Array, seed: int, *, calls: Sequence[float]
    ) -> None:
        """
        Args:
            calls: expected calls per question of each configuration.
        """
        super().__init__(configurations, penalty, seed)
        rows = compute_features(configurations, calls)
        self._paid_calls = PaidCallTracker(configurations, calls)
        self._listed = ListedSpace(configurations, seed)
        self._model = SurrogateModel(self._listed, rows, seed)
        self._acquisition = ImprovementPerCall(self._listed, penalty)
        with temporary_scenario(self._listed.space, seed) as scenario:
            self._intensifier, self._encoder = OneTrialIntensifier(scenario), TrialEncoder(scenario)
            self._smac = HyperparameterOptimizationFacade(
                scenario,
                model=self._model,
                acquisition_function=self._acquisition,
                acquisition_maximizer=ExhaustiveMaximizer(self._listed, seed),
                initial_design=SpreadDesign(scenario, self._listed, rows, first=int(self._shuffle_order()[0])),
                random_design=ProbabilityRandomDesign(0.0),
                intensifier=self._intensifier,
                runhistory_encoder=self._encoder,
                config_selector=HyperparameterOptimizationFacade.get_config_selector(scenario, retrain_after=1),
                logging_level=False,
                overwrite=True,
            )
        self._history = self._smac.runhistory

    @property
    def surrogate(self) -> Surrogate:
        """The Gaussian process as it was trained last."""
        return self._model.surrogate

    @property
    def outcomes(self) -> Mapping[int, float | None]:
        return {
            place: None if value.status == StatusType.CRASHED else -cast(float, value.cost)
            for place, _, value in self._iterate_history()
            if value.status != StatusType.RUNNING and "fresh" not in value.additional_info
        }

    @property
    def observations(self) -> list[Observation]:
        """All scores, those of finalists on fresh draws too, in their order."""
        return self._model.read_trials(*self._read_scores())

    def ask(self, pending: Mapping[int, int], draws: int = 1) -> int | None:
        for number, drawn in pending.items():
            config = self._listed.get_configuration(number)
            if not self._history.has_config(config):  # an earlier process asked for it
                self._history.add_running_trial(TrialInfo(config, seed=drawn))
        if len(self._history.get_configs()) == len(self._configurations):
            return None
        self._intensifier.draws = draws
        self._prepare_acquisition(draws)
        return self._find_place(self._smac.ask().config)

    def _prepare_acquisition(self, draws: int) -> None:
        """Tell the acquisition function what each trial with these draws would have to pay for."""
        for place, drawn, _ in self._iterate_history():
            self._paid_calls.mark_paid(place, drawn)
        self._acquisition.scale = np.sqrt(np.maximum(self._paid_calls.count_unpaid(draws), 1.0))

    def tell(self, number: int, performance: float | None, draws: int = 1, *, share: float = 1.0) -> None:
        if performance is None:
            value = TrialValue(cost=np.inf, status=StatusType.CRASHED)
        else:
            value = TrialValue(cost=-performance, additional_info={"share": share})
        self._tell_smac(number, draws, value)

    def tell_fresh_score(self, number: int, performance: float, draws: int) -> None:
        self._tell_smac(number, draws, TrialValue(cost=-performance, additional_info={"share": 1.0, "fresh": True}))

    def _tell_smac(self, number: int, draws: int, value: TrialValue) -> None:
        self._smac.tell(TrialInfo(self._listed.get_configuration(number), seed=draws), value, save=False)

    def estimate(self) -> tuple[Array, Array] | None:
        X, Y = self._read_scores()
        if not len(X):
            return None
        self._model.train(X, Y)
        return self.surrogate.mean, self.surrogate.deviation

    def estimate_draw_effect(self, draws: int) -> float:
        return self.surrogate.draw_effects.get(draws, 0.0)

    def _read_scores(self) -> tuple[Array, Array]:
        X, Y = self._encoder.transform()
        scored = np.isfinite(Y[:, 0])
        return X[scored], Y[scored]

    def _iterate_history(self) -> Iterator[tuple[int, int, TrialValue]]:
        """Configuration, set of draws and value of every trial, in the order asked for or told."""
        for key, value in self._history.items():
            assert key.seed is not None
            yield self._find_place(self._history.get_config(key.config_id)), key.seed, value

    def _find_place(self, config: ConfigSpace.Configuration) -> int:
        return int(self._listed.find_places(config.get_array()[None])[0])


class ParetoOptimizer(SmacOptimizer):
    """Another weight of cost at every ask, so that the whole front is looked for."""

    def __init__(
        self, configurations: Sequence[Configuration], cost: Array, seed: int, *, calls: Sequence[float]
    ) -> None:
        super().__init__(configurations, np.zeros(len(cost)), seed, calls=calls)
        self._cost = (cost - cost.min()) / max(float(np.ptp(cost)), 1e-9)

    def _prepare_acquisition(self, draws: int) -> None:
        # one ask in three looks for the best at any cost, the others at up to all performance for the whole cost range;
        # the improvement is not divided by calls, or only the cheap end of the front would be looked at
        turn = len(self._history.get_configs())
        weight = float(np.random.default_rng([self._seed, turn]).uniform(-0.5, 1)) ** 3
        self._acquisition.penalty = max(0.0, weight) * self._cost
