"""Search by a model that proposes the next architecture, as ADAS and AFlow do, over files instead of code.

    archon search --algorithm proposer --proposer openai/gpt-4o ...

The first trials are architectures of the user's space. From then on the model is shown the grammar, the rules and the
results, and writes a file. What cannot be tried is said to it, and it may write another. After `MAX_FAILURES` of these
in a row, and where proposing may take no more of the budget, an architecture of the space is tried in its place.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archon_eval.errors import ProposalError
from archon_eval.search.finalist_costs import EndCosts
from archon_eval.search.journal import Journal
from archon_eval.search.optimizer import Optimizer
from archon_eval.search.proposal_registry import ProposalRegistry
from archon_eval.search.proposals import render_layers
from archon_eval.search.proposer_prompt import REASK_PROMPT, TriedArchitecture, render_propose_prompt
from archon_eval.search.ranking import RankingResult
from archon_eval.search.scheduler import TrialScheduler, find_store
from archon_eval.search.space import Array, Configuration
from archon_eval.search.space_plans import PlannedSpace
from archon_eval.search.task_facts import TaskFacts
from archon_eval.types import Conversation, Message

INITIAL_TRIALS = 4
"""Architectures of the space that are tried first: of different cost, so that the first prompt shows what pays."""
MAX_FAILURES = 3
"""Replies in a row that hold nothing which can be tried, before an architecture of the space is taken."""
MAX_QUOTED_CHARS = 8_000
"""Characters of a reply that the model is shown when it is asked again."""


class ModelProposer(Optimizer):
    """Tries what a model proposes. One with a prompt of its own overrides `render_prompt`."""

    proposes = True

    def __init__(
        self,
        configurations: Sequence[Configuration],
        calls: Sequence[float],
        penalty: Array,
        seed: int,
        *,
        registry: ProposalRegistry,
    ) -> None:
        """
        Args:
            registry: asks for proposals, checks and keeps them.
        """
        super().__init__(configurations, penalty, seed)
        self._registry = registry
        self._outcomes: dict[int, float | None] = {}
        self._starts = self._choose_starts()
        self._files: dict[int, str] = {}

    @property
    def outcomes(self) -> Mapping[int, float | None]:
        return self._outcomes

    def tell(self, number: int, performance: float | None, draws: int = 1, **more: Any) -> None:
        self._outcomes[number] = performance

    def ask(self, pending: Mapping[int, int], draws: int = 1) -> int | None:
        known = {**dict.fromkeys(self._outcomes), **dict.fromkeys(pending)}
        if left := [number for number in self._registry.list_proposed() if number not in known]:
            return left[0]  # the process that proposed it came to no trial
        if starts := [number for number in self._starts if number not in known][: INITIAL_TRIALS - len(known)]:
            return starts[0]
        return self._propose(known)

    def _choose_starts(self) -> list[int]:
        """Of each part of the space, from the cheapest to the dearest, one at random."""
        count = self._registry.first
        by_calls = sorted(range(count), key=lambda number: (self._registry.space.calls[number], number))
        rng = np.random.default_rng([self._seed, 1])
        parts = np.array_split(np.array(by_calls), min(INITIAL_TRIALS, count))
        return [int(rng.choice(part)) for part in parts]

    def _propose(self, known: Mapping[int, Any]) -> int | None:
        messages: Conversation = (Message("user", self.render_prompt(self._list_tried(known))),)
        prompt, why = messages, ""
        for _ in range(MAX_FAILURES):
            if why := self._registry.find_obstacle():
                break
            reply = ""
            try:
                reply = self._registry.ask(prompt)
                return self._registry.submit(reply, known)
            except ProposalError as exc:
                why = str(exc)
                shown = reply[:MAX_QUOTED_CHARS].strip() or "(no text)"
                prompt = (*messages, Message("assistant", shown), Message("user", REASK_PROMPT.format(problem=exc)))
        else:
            why = f"{MAX_FAILURES} replies in a row could not be tried; the last: {why}"
        return self._fall_back(known, why)

    def _fall_back(self, known: Mapping[int, Any], why: str) -> int | None:
        """An architecture of the space, at random, that is none of those which are known."""
        options = self._registry.space.options
        taken = {options[number].architecture.fingerprint for number in known}
        for number in np.random.default_rng([self._seed, 2]).permutation(self._registry.first):
            if int(number) not in known and options[number].architecture.fingerprint not in taken:
                self._registry.record_fallback(why, options[number].configuration.key)
                return int(number)
        return None

    def render_prompt(self, tried: Sequence[TriedArchitecture]) -> str:
        """The prompt for the next architecture, a file of which the reply has to hold.

        Args:
            tried: in the order told, with those that are under way.
        """
        settings, rules = self._registry.settings, self._registry.rules
        weight, unit, tasks = settings.cost_weight, settings.cost_unit, [task.key for task in settings.tasks]
        goal = f"where one of {unit} per question takes {weight:g} off" if weight else "whatever it costs in the limits"
        return render_propose_prompt(tried, rules, tasks=tasks, goal=goal)

    def _list_tried(self, known: Mapping[int, Any]) -> list[TriedArchitecture]:
        options, calls = self._registry.space.options, self._registry.space.calls
        return [
            TriedArchitecture(
                options[number].architecture.name,
                self._render_file(number),
                self._weigh(number),
                calls[number],
                has_failed=number in self._outcomes,
            )
            for number in known
        ]

    def _render_file(self, number: int) -> str:
        if number not in self._files:
            self._files[number] = render_layers(self._registry.space.options[number].architecture)
        return self._files[number]

    def _weigh(self, number: int) -> float | None:
        performance = self._outcomes.get(number)
        if performance is None:
            return None
        return self._registry.settings.compute_objective(performance, float(self._registry.space.cost[number]))


def build_registry(
    scheduler: TrialScheduler,
    space: PlannedSpace,
    *,
    journal: Journal,
    ranking: RankingResult,
    facts: Mapping[str, TaskFacts],
    with_tools: Sequence[str] = (),
) -> ProposalRegistry:
    """The registry of a search, with what earlier processes of it had proposed."""
    settings, best = scheduler.settings, ranking.generators[0]
    return ProposalRegistry(
        settings,
        space,
        ledger=scheduler.ledger,
        journal=journal,
        costs=EndCosts(settings, scheduler.ledger, model=best, facts=facts),
        model=best,
        store=find_store(settings, scheduler.folder),
        models=ranking.generators,
        with_tools=with_tools,
    )
