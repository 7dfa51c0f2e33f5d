"""SMAC3's own facade for many hyperparameters, to compare with: random forest and local search on the same axes."""

from collections.abc import Sequence
from typing import Any

from smac import HyperparameterOptimizationFacade
from smac.intensifier.intensifier import Intensifier
from smac.main.exceptions import ConfigurationSpaceExhaustedException
from smac.runhistory.dataclasses import TrialInfo, TrialValue

from archon_eval.search.optimizer import INITIAL_DESIGN_SIZE, ListOptimizer
from archon_eval.search.smac_space import ListedSpace, temporary_scenario
from archon_eval.search.space import Array, Configuration

MAX_REFUSALS = 100
"""So many configurations in a row that are not in the list, or tried, and one is drawn at random."""


class StockSmacOptimizer(ListOptimizer):
    """The facade as it comes. What it asks for and was tried before it asked, it is told from the outcomes."""

    def __init__(
        self,
        configurations: Sequence[Configuration],
        penalty: Array,
        seed: int,
        *,
        initial_points: int = INITIAL_DESIGN_SIZE,
    ) -> None:
        super().__init__(configurations, penalty, seed)
        self._listed = ListedSpace(configurations, seed)
        kind = HyperparameterOptimizationFacade
        with temporary_scenario(self._listed.space, seed) as scenario:
            self._smac = kind(
                scenario,
                initial_design=kind.get_initial_design(scenario, n_configs=initial_points),
                intensifier=Intensifier(scenario, max_config_calls=1),
                config_selector=kind.get_config_selector(scenario, retrain_after=1),
                logging_level=False,
                overwrite=True,
            )
        self._asked: dict[int, TrialInfo] = {}

    def _choose(self, free: Any) -> int:
        for _ in range(MAX_REFUSALS):
            try:
                info = self._smac.ask()
            except (ConfigurationSpaceExhaustedException, StopIteration):
                break
            [place] = map(int, self._listed.find_places(info.config.get_array()[None]))
            if place >= 0 and free[place]:
                self._asked[place] = info
                return place
            self._tell_facade(info, place, self._outcomes.get(place))
        return self._choose_at_random(free)

    def tell(self, number: int, performance: float | None, draws: int = 1, **more: Any) -> None:
        super().tell(number, performance, draws, **more)
        if (info := self._asked.pop(number, None)) is not None:
            self._tell_facade(info, number, performance)

    def _tell_facade(self, info: TrialInfo, number: int, performance: float | None) -> None:
        # as bad as a performance of 0 where there is none: it failed, is under way, or is not in the list
        cost = 0.0 if performance is None else float(self._penalty[number]) - performance
        self._smac.tell(info, TrialValue(cost=cost), save=False)
