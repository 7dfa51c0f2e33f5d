"""SMAC3 by ask and tell with our parts (`smac_components`); the run history is the only record of trials."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

import ConfigSpace
import numpy as np
from smac import HyperparameterOptimizationFacade
from smac.random_design.probability_design import ProbabilityRandomDesign
from smac.runhistory.dataclasses import TrialInfo, TrialValue
from smac.runhistory.enumerations import StatusType

from archon_eval.search.optimizer import (
    DEFAULT_CHOICES,
    INITIAL_LAST_DRAWS,
    MAX_DRAW_SETS,
    Optimizer,
    SmacChoices,
    Suggestion,
)
from archon_eval.search.prefix_sharing import PaidCallTracker
from archon_eval.search.smac_components import (
    ExhaustiveMaximizer,
    GainPerCall,
    OneTrialIntensifier,
    RandomDesign,
    SpreadDesign,
    SurrogateModel,
    TrialEncoder,
    build_acquisition,
)
from archon_eval.search.smac_space import ListedSpace, temporary_scenario
from archon_eval.search.space import Array, Configuration, compute_features
from archon_eval.search.surrogate import Observation, Surrogate

FREE_CALLS = 1e-3
"""Calls per question below which a trial pays for none: sums of shares of calls are not exact."""


class SmacOptimizer(Optimizer):
    """SMAC3 with a Gaussian process on features, which looks at every configuration of the list."""

    def __init__(
        self,
        configurations: Sequence[Configuration],
        penalty: Array,
        seed: int,
        *,
        calls: Sequence[float],
        last_calls: Sequence[float] | None = None,
        choices: SmacChoices = DEFAULT_CHOICES,
    ) -> None:
        """
        Args:
            calls: expected calls per question of each configuration.
            last_calls: of these, those of its last layer; one where nothing is said.
            choices: initial design, acquisition, sets of draws and draws of the last layer.
        """
        super().__init__(configurations, penalty, seed)
        rows = compute_features(configurations, calls)
        self._paid_calls = PaidCallTracker(configurations, calls)
        self._answered_calls = PaidCallTracker(configurations, calls)
        """The same without what is under way or failed, which need not have paid for all of its calls."""
        self._listed = ListedSpace(configurations, seed)
        self._model = SurrogateModel(self._listed, rows, seed)
        self._choices, self._taken = choices, (1, 1)
        self._acquisition = build_acquisition(self._listed, penalty, choices, surrogate=self._model.surrogate)
        if isinstance(self._acquisition, GainPerCall):
            if last_calls is not None:
                self._acquisition.last_calls = np.array(last_calls)
            if choices.last_draws is not None:
                self._acquisition.last_draws = (choices.last_draws,)
        with temporary_scenario(self._listed.space, seed) as scenario:
            self._intensifier, self._encoder = OneTrialIntensifier(scenario), TrialEncoder(scenario)
            self._smac = HyperparameterOptimizationFacade(
                scenario,
                model=self._model,
                acquisition_function=self._acquisition,
                acquisition_maximizer=ExhaustiveMaximizer(self._listed, seed),
                initial_design=(
                    RandomDesign(scenario, self._listed, order=self._shuffle_order(), size=choices.initial_points)
                    if choices.initial_design == "random"
                    else SpreadDesign(
                        scenario,
                        self._listed,
                        rows,
                        first=int(self._shuffle_order()[0]),
                        size=choices.initial_points,
                    )
                ),
                random_design=ProbabilityRandomDesign(0.0),
                intensifier=self._intensifier,
                runhistory_encoder=self._encoder,
                config_selector=HyperparameterOptimizationFacade.get_config_selector(scenario, retrain_after=1),
                logging_level=False,
                overwrite=True,
            )
        self._intensifier.choose_draws = self._choose_draws
        self._history = self._smac.runhistory
        self._marked: set[tuple[int, int]] = set()
        self._answered: set[tuple[int, int]] = set()

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
        suggested = self.suggest(pending, draws)
        return None if suggested is None else suggested.number

    def suggest(self, pending: Mapping[int, int], draws: int = 1) -> Suggestion | None:
        for number, drawn in pending.items():
            config = self._listed.get_configuration(number)
            if not self._history.has_config(config):  # an earlier process asked for it
                self._history.add_running_trial(TrialInfo(config, seed=drawn))
        if len(self._history.get_configs()) == len(self._configurations):
            return None
        self._default_draws = draws
        self._prepare_acquisition(draws)
        number = self._listed.find_place(self._smac.ask().config)
        return Suggestion(number, *self._taken)

    def _choose_draws(self, config: ConfigSpace.Configuration) -> int:
        """The set of draws of what is tried next, as the acquisition function has it; of the initial design, in turn.

        There the last layer is drawn `INITIAL_LAST_DRAWS` times.
        """
        acquisition, times = self._acquisition, self._choices.last_draws or 1
        choice = None
        if isinstance(acquisition, GainPerCall):
            choice = acquisition.choices.get(self._listed.find_place(config))
            times = self._choices.last_draws or INITIAL_LAST_DRAWS
        if choice is None:
            self._taken = (self._default_draws, times)
        else:
            self._taken = (choice.draws, choice.last_draws)
        return self._taken[0]

    def _prepare_acquisition(self, draws: int) -> None:
        """Tell the acquisition function what each trial would have to pay for."""
        for place, drawn, value in self._iterate_history():
            if (place, drawn) not in self._marked and "fresh" not in value.additional_info:
                self._marked.add((place, drawn))
                self._paid_calls.mark_paid(place, drawn)
        acquisition = self._acquisition
        if not isinstance(acquisition, GainPerCall):
            acquisition.scale = np.sqrt(np.maximum(self._paid_calls.count_unpaid(draws), 1.0))
            return
        taken = {drawn for _, drawn in self._marked}
        if self._choices.draws is None:
            sets = range(1, min(MAX_DRAW_SETS, max(taken, default=0) + 1) + 1)
        else:
            sets = range(1, self._choices.draws + 1)
        acquisition.unpaid = {drawn: self._paid_calls.count_unpaid(drawn) for drawn in sets}
        acquisition.choices = {}
        acquisition.open = np.ones(len(self._configurations), dtype=bool)
        acquisition.open[[place for place, _, _ in self._iterate_history()]] = False

    def list_paid(self, draws: int) -> list[int]:
        if not isinstance(self._acquisition, GainPerCall):
            return []
        tried = set()
        for place, drawn, value in self._iterate_history():
            tried.add(place)
            known = (place, drawn) in self._answered or "fresh" in value.additional_info
            if value.status == StatusType.SUCCESS and not known:
                self._answered.add((place, drawn))
                self._answered_calls.mark_paid(place, drawn)
        free = np.flatnonzero(self._answered_calls.count_unpaid(draws) < FREE_CALLS)
        return [int(place) for place in free if place not in tried]

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
        if performance is None:
            value = TrialValue(cost=np.inf, status=StatusType.CRASHED)
        else:
            said = {"share": share, "last_draws": last_draws}
            said |= {} if last_draw_variance is None else {"last_draw_variance": last_draw_variance}
            value = TrialValue(cost=-performance, additional_info=said)
        self._tell_smac(number, draws, value)

    def tell_fresh_score(self, number: int, performance: float, draws: int, *, last_draws: int = 1) -> None:
        said = {"share": 1.0, "last_draws": last_draws, "fresh": True}
        self._tell_smac(number, draws, TrialValue(cost=-performance, additional_info=said))

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
            yield self._listed.find_place(self._history.get_config(key.config_id)), key.seed, value


class ParetoOptimizer(SmacOptimizer):
    """Another weight of cost at every ask, so that the whole front is looked for."""

    def __init__(
        self,
        configurations: Sequence[Configuration],
        cost: Array,
        seed: int,
        *,
        calls: Sequence[float],
        choices: SmacChoices = DEFAULT_CHOICES,
    ) -> None:
        # the front is looked for by improvements that calls do not divide
        super().__init__(
            configurations, np.zeros(len(cost)), seed, calls=calls, choices=replace(choices, acquisition="ei")
        )
        self._cost = (cost - cost.min()) / max(float(np.ptp(cost)), 1e-9)

    def _prepare_acquisition(self, draws: int) -> None:
        # one ask in three looks for the best at any cost, the others at up to all performance for the whole cost range;
        # the improvement is not divided by calls, or only the cheap end of the front would be looked at
        turn = len(self._history.get_configs())
        weight = float(np.random.default_rng([self._seed, turn]).uniform(-0.5, 1)) ** 3
        self._acquisition.penalty = max(0.0, weight) * self._cost
