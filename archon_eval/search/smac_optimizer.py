"""SMAC3 fitted to a finite list: our surrogate as its model, a maximiser that looks at every configuration.

SMAC3 keeps the runs, decides when a trial is finished and computes the improvement; the configuration space has one
whole number, the place in the list. Importing SMAC3 takes seconds, so only the search imports this file. The `dask` and
`smac` folders it would write are not: the search has a journal of its own.
"""

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ConfigSpace import (
    CategoricalHyperparameter,
    Configuration,
    ConfigurationSpace,
    EqualsCondition,
    Integer,
    OrConjunction,
    OrdinalHyperparameter,
)
from smac import HyperparameterOptimizationFacade, Scenario
from smac.acquisition.function import EI
from smac.acquisition.maximizer.abstract_acquisition_maximizer import AbstractAcquisitionMaximizer
from smac.initial_design.abstract_initial_design import AbstractInitialDesign
from smac.intensifier.intensifier import Intensifier
from smac.main.exceptions import ConfigurationSpaceExhaustedException
from smac.model.abstract_model import AbstractModel
from smac.random_design.probability_design import ProbabilityRandomDesign
from smac.runhistory.dataclasses import TrialInfo, TrialValue
from smac.runhistory.encoder.encoder import RunHistoryEncoder
from smac.runhistory.enumerations import StatusType

from archon_eval.search.optimizers import INITIAL_DESIGN_SIZE, Optimizer
from archon_eval.search.space import Array
from archon_eval.search.space import Configuration as Point

PosteriorFunction = Callable[[frozenset[int]], tuple[Array, Array]]
UNLIMITED_TRIALS = 1_000_000
FAILED_TRIAL_COST = 1.0
"""The cost told for a failed trial: as bad as a performance of -1."""


@dataclass
class AcquisitionInputs:
    """What the optimiser says before each ask."""

    free: Any = None
    """Which configurations may be chosen."""
    pending: frozenset[int] = frozenset()
    cost_scale: Any = 1.0
    """What the improvement by each is divided by."""


class SurrogateModel(AbstractModel):
    """Posterior of the whole list, computed once per training, looked up by place."""

    def __init__(
        self, space: ConfigurationSpace, size: int, predict: PosteriorFunction, parts: AcquisitionInputs
    ) -> None:
        super().__init__(space)
        self._size, self._compute_posterior, self._inputs = size, predict, parts
        self.posterior: tuple[Array, Array] | None = None

    def _train(self, X: Array, Y: Array) -> "SurrogateModel":
        self.posterior = self._compute_posterior(self._inputs.pending)
        return self

    def _predict(self, X: Array, covariance_type: str | None = "diagonal") -> tuple[Array, Array]:
        assert self.posterior is not None
        places = np.rint(X[:, 0] * (max(self._size, 2) - 1)).astype(int).clip(0, self._size - 1)
        mean, variance = self.posterior
        return mean[places].reshape(-1, 1), variance[places].reshape(-1, 1)


class ExhaustiveMaximizer(AbstractAcquisitionMaximizer):
    """Exact: the free configuration with the largest acquisition value."""

    def __init__(self, space: ConfigurationSpace, size: int, parts: AcquisitionInputs) -> None:
        super().__init__(space, challengers=1)
        self._rows = np.arange(size, dtype=np.float64).reshape(-1, 1) / (max(size, 2) - 1)
        self._inputs = parts

    def _compute_improvement(self, rows: Array) -> Array:
        assert self._acquisition_function is not None
        found: Array = self._acquisition_function._compute(rows)
        return found

    def _maximize(self, previous_configs: list[Configuration], n_points: int) -> list[tuple[float, Configuration]]:
        values = self._compute_improvement(self._rows).ravel() / self._inputs.cost_scale
        values = np.where(self._inputs.free, values, -np.inf)
        best = int(values.argmax())
        return [(float(values[best]), Configuration(self._configspace, {"number": best}))]


class FixedInitialDesign(AbstractInitialDesign):
    """The given configurations and no others."""

    def _select_configurations(self) -> list[Configuration]:
        return []


def _silence_smac() -> None:
    warnings.filterwarnings("ignore", module="smac.*")
    logging.getLogger("smac").setLevel(logging.CRITICAL)


def _build_scenario(space: ConfigurationSpace, seed: int) -> Scenario:
    _silence_smac()
    folder = tempfile.mkdtemp(prefix="archon-smac-")
    return Scenario(space, deterministic=True, n_trials=UNLIMITED_TRIALS, seed=seed, output_directory=Path(folder))


def build_facade(
    size: int, first: Sequence[int], seed: int, predict: PosteriorFunction
) -> tuple[Any, AcquisitionInputs]:
    """SMAC3 over `size` configurations, of which it tries `first` first; and what it is to be told before each ask."""
    space = ConfigurationSpace(seed=seed)
    space.add(Integer("number", (0, max(size, 2) - 1)))
    scenario, parts = _build_scenario(space, seed), AcquisitionInputs()
    starts = [Configuration(space, {"number": number}) for number in first]
    found = HyperparameterOptimizationFacade(
        scenario,
        model=SurrogateModel(space, size, predict, parts),
        acquisition_function=EI(),
        acquisition_maximizer=ExhaustiveMaximizer(space, size, parts),
        initial_design=FixedInitialDesign(scenario, n_configs=0, additional_configs=starts),
        random_design=ProbabilityRandomDesign(0.0),
        intensifier=Intensifier(scenario, max_config_calls=1),
        runhistory_encoder=RunHistoryEncoder(scenario),
        config_selector=HyperparameterOptimizationFacade.get_config_selector(scenario, retrain_after=1),
        logging_level=False,
        overwrite=True,
    )
    return found, parts


def tell_smac(smac: Any, info: Any, number: int, performance: float | None, penalty: float) -> None:
    """Tell SMAC3 what came of a trial, asked for or not."""
    if info is None:
        # SMAC3 draws one seed when it is first asked, and finds nothing to compare trials of several with
        seed = next((key.seed for key in smac.runhistory), 0)
        info = TrialInfo(Configuration(smac.scenario.configspace, {"number": number}), seed=seed)
    status = StatusType.SUCCESS if performance is not None else StatusType.CRASHED
    cost = FAILED_TRIAL_COST if performance is None else penalty - performance
    smac.tell(info, TrialValue(cost=cost, status=status), save=False)


class StockSmacOptimizer(Optimizer):
    """SMAC3's own facade for many hyperparameters (random forest, local search), on the axes, with conditions."""

    def __init__(self, configurations: Sequence[Point], penalty: Array, seed: int) -> None:
        super().__init__(configurations, penalty, seed)
        space = _build_axes_space([_extract_axes(point) for point in self._configurations], seed)
        self._names = set(space)
        self._places = {
            frozenset(self._filter_axes(_extract_axes(point))): place
            for place, point in enumerate(self._configurations)
        }
        scenario = _build_scenario(space, seed)
        kind = HyperparameterOptimizationFacade
        self._smac = kind(
            scenario,
            initial_design=kind.get_initial_design(scenario, n_configs=INITIAL_DESIGN_SIZE),
            intensifier=Intensifier(scenario, max_config_calls=1),
            config_selector=kind.get_config_selector(scenario, retrain_after=1),
            logging_level=False,
            overwrite=True,
        )
        self._asked: dict[int, Any] = {}

    def _filter_axes(self, axes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name, value in axes.items() if name in self._names)

    def _choose(self, free: Any, pending: frozenset[int], draws: int) -> int:
        for _ in range(100):
            try:
                info = self._smac.ask()
            except (ConfigurationSpaceExhaustedException, StopIteration):
                break
            place = self._places.get(frozenset(dict(info.config).items()))
            if place is not None and free[place]:
                self._asked[place] = info
                return place
            # not in the list, or tried before it was asked for: nothing is run for it
            value = None if place is None else self.outcomes.get(place)
            self._tell_facade(info, place or 0, value)
        order = self._shuffle_order()
        return int(order[free[order]][0])

    def tell(self, number: int, performance: float | None, draws: int = 1, share: float = 1.0) -> None:
        super().tell(number, performance, draws, share)
        if (info := self._asked.pop(number, None)) is not None:
            self._tell_facade(info, number, performance)

    def _tell_facade(self, info: Any, number: int, performance: float | None) -> None:
        cost = 0.0 if performance is None else float(self._penalty[number]) - performance
        self._smac.tell(info, TrialValue(cost=cost), save=False)


def _extract_axes(point: Point) -> dict[str, Any]:
    """The configuration as SMAC3 sees it; widths of layers that it does not have are not there."""
    found = {
        "pool": point.pool,
        "generators": point.generators,
        "samples": point.samples,
        "layers": len(point.fusers),
        "critic_ranker": int(point.critic_ranker),
        "evaluation": point.evaluation,
        "temperature": point.temperature,
    }
    return found | {f"fusers{place}": width for place, width in enumerate(point.fusers[:-1], 2)}


def _build_axes_space(rows: Sequence[Mapping[str, Any]], seed: int) -> ConfigurationSpace:
    """The axes with more than one value; the width of inner layer n belongs to stacks of n layers or more."""
    values: dict[str, set[Any]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, set()).add(value)
    space, made = ConfigurationSpace(seed=seed), {}
    for name, found in values.items():
        if len(found) > 1:
            ordered = sorted(found)
            of_words = isinstance(ordered[0], str)
            made[name] = CategoricalHyperparameter(name, ordered) if of_words else OrdinalHyperparameter(name, ordered)
    space.add(list(made.values()))
    for name, axis in made.items():
        if not name.startswith("fusers") or "layers" not in made:
            continue
        deep = [count for count in sorted(values["layers"]) if count >= int(name[6:])]
        if len(deep) < len(values["layers"]):
            terms = [EqualsCondition(axis, made["layers"], count) for count in deep]
            space.add(OrConjunction(*terms) if len(terms) > 1 else terms[0])
    return space
