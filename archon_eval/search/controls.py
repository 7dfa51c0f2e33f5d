"""What the same calls bring without a search: best of n and majority vote of the best single model.

    controls = ControlBuilder(settings, "openai/gpt-4o", facts)
    controls.build(calls=12)        # {"best-of-n": 11 samples and a ranker, "majority": 12 samples and a vote}

The winner is measured against them on the held-out questions, at equal calls. They are asked one after the other, and
share their samples through the call store.
"""

from collections.abc import Mapping
from typing import NamedTuple

from archon_eval.architecture.spec import Architecture
from archon_eval.engine.plan import plan
from archon_eval.models.prices import load_prices
from archon_eval.search.config import SearchSettings
from archon_eval.search.requests import build_from_layers
from archon_eval.search.task_facts import TaskFacts

BEST_OF_N = "best-of-n"
MAJORITY = "majority"
MIN_SAMPLES = 2
"""Fewest samples between which a ranker can choose."""
MIN_VOTES = 3
"""Fewest samples of which two can outvote one; of two that differ, the first would be the answer."""


class Control(NamedTuple):
    """What is asked beside the winner."""

    architecture: Architecture
    shared_calls: int
    """Per question, how many of its calls the controls before it, or the single model, have paid for."""


def count_controls(facts: Mapping[str, TaskFacts]) -> int:
    """How many controls a winner of these tasks has at most."""
    return 1 if any(fact.vote_obstacle for fact in facts.values()) else 2


class ControlBuilder:
    """Builds the controls of one search for any number of calls."""

    def __init__(self, settings: SearchSettings, model: str, facts: Mapping[str, TaskFacts]) -> None:
        """
        Args:
            model: the best single one.
            facts: of each task.
        """
        self._settings, self._model = settings, model
        self._prices = load_prices(settings.prices)
        self._obstacles = {task: fact.vote_obstacle for task, fact in facts.items() if fact.vote_obstacle}
        shares = dict(settings.solver_args).get("store_policy") != "off"
        self._shared_share = 1 if shares else 0
        self._has_many_samples = settings.space.most_samples > settings.space.max_candidates

    def build(self, calls: int, winner: str = "") -> dict[str, Control]:
        """The controls of an architecture that makes so many calls; none for a single call.

        Best of n has one sample fewer, for the ranker's call, and at least `MIN_SAMPLES`; majority has as many samples
        as calls, where the tasks' answers can be voted on.

        Args:
            winner: the architecture's fingerprint; it is no control of its own.
        """
        if calls < MIN_SAMPLES:
            return {}
        samples = self._choose_ranked_samples(calls)
        controls, ranked = {}, self._build_ranked(samples)
        if ranked.fingerprint != winner:
            controls[BEST_OF_N] = Control(ranked, self._shared_share)
        if calls >= MIN_VOTES and not self._obstacles:
            name = f"{self._model} x {calls}, majority"
            voted = build_from_layers(name, self._sample(calls), {"vote": {"top_k": 1}})
            if voted.fingerprint != winner:
                shared = min(samples, calls) if BEST_OF_N in controls else 1
                controls[MAJORITY] = Control(voted, self._shared_share * shared)
        return controls

    def list_notes(self, calls: int, winner: str = "") -> list[str]:
        """Which controls of an architecture with so many calls are left out or smaller, and why."""
        if calls < MIN_SAMPLES:
            return ["no best of n and no majority: with one call they are the single model"]
        own = [name for name, each in self.build(calls).items() if each.architecture.fingerprint == winner]
        notes = [f"no {name} beside the architecture that was chosen: it is that itself" for name in own]
        if (samples := self._choose_ranked_samples(calls)) < calls - 1:
            why = "the model's context window holds no more" if self._has_many_samples else "`max_candidates`"
            notes.append(f"best of n has {samples} samples of {calls - 1} at equal calls: a ranker reads all at once")
            notes[-1] += f" ({why})"
        if self._obstacles:
            task, why = next(iter(self._obstacles.items()))
            notes.append(f"no majority of equal calls: {task} cannot be voted on, as {why}")
        elif calls < MIN_VOTES:
            notes.append(f"no majority of equal calls: of {calls} answers none outvotes another")
        return notes

    def _choose_ranked_samples(self, calls: int) -> int:
        """As many as a ranker may read: `max_candidates`, or what its model's context window holds where the space
        itself has more samples than that."""
        most, least = max(MIN_SAMPLES, calls - 1), min(calls - 1, self._settings.space.max_candidates)
        least = max(MIN_SAMPLES, least)
        if not self._has_many_samples or most == least:
            return least
        while most > least:  # the most that fits, by halving
            middle = (most + least + 1) // 2
            planned = plan(self._build_ranked(middle), prices=self._prices)
            if planned.warnings or planned.unknown_windows:
                most = middle - 1
            else:
                least = middle
        return least

    def _build_ranked(self, samples: int) -> Architecture:
        name = f"{self._model} x {samples}, ranked"
        return build_from_layers(name, self._sample(samples), {"ranker": {"model": self._model, "top_k": 1}})

    def _sample(self, samples: int) -> dict[str, object]:
        return {"generator": {"model": self._model, "samples": samples}}
