"""The product's `--algorithm proposer` on the tables of `search_tables.py`, with a simulated model that proposes.

The prompt, the reader of replies, the re-asks and the fallback are the product's. A table has the architectures of the
papers' space alone, so a proposal that is none of them is refused like one that breaks a rule. A fifth of each budget
is for finalists: the best ten dev scores, on two sets of fresh draws, of which the best mean is taken.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from search_methods import BUDGETS, DEV, FINALISTS, Run

from archon_eval.architecture.spec import Architecture
from archon_eval.search.confirm import CONFIRM_BUDGET_SHARE
from archon_eval.search.optimizer import MAX_DRAW_SETS
from archon_eval.search.proposals import ProposalError, ProposalRules, read_proposal, render_layers
from archon_eval.search.proposer import INITIAL_TRIALS, MAX_FAILURES
from archon_eval.search.proposer_prompt import REASK_PROMPT, TriedArchitecture, render_propose_prompt
from archon_eval.search.space import PRESETS, LayerBuilder
from archon_eval.simulation import skill_model
from archon_eval.simulation.questions import QuestionBank
from archon_eval.simulation.simulator import Simulator
from archon_eval.simulation.skills import list_models, rank_models
from archon_eval.types import Message

PROPOSER = "gpt-4o"
MAX_TRIALS = 400
CONFIRM_SETS = 2


@lru_cache(maxsize=2)
def index_space(family: str) -> tuple[dict[Any, int], tuple[Architecture, ...]]:
    """The place of every architecture of the papers' space, by what tells it from the others."""
    generators = [f"sim/{name}" for name in rank_models(family)]
    fusers = sorted(list_models(), key=lambda name: -skill_model.get_fusion_accuracy(name, family))
    builder = LayerBuilder(PRESETS["paper"], generators, [f"sim/{name}" for name in fusers])
    listed = PRESETS["paper"].list_configurations(10)
    built = tuple(builder.build_architecture(configuration) for configuration in listed)
    return {sign(architecture): place for place, architecture in enumerate(built)}, built


def sign(architecture: Architecture) -> Any:
    """What tells an architecture of the space from the others."""
    return tuple(tuple((spec.kind, spec.model, spec.options) for spec in layer) for layer in architecture.layers)


def run_proposer(run: Run) -> None:
    """Four architectures of different cost, then what the model proposes."""
    table = run.table
    places, built = index_space(table.family)
    simulator, rng = Simulator(QuestionBank([]), run.seed), np.random.default_rng([run.seed, 5])
    rules = ProposalRules(models=tuple(f"sim/{name}" for name in rank_models(table.family)), most_calls=10_000)
    by_calls = np.array_split(np.argsort(table.calls, kind="stable"), INITIAL_TRIALS)
    starts = [int(rng.choice(part)) for part in by_calls]
    budgets = list(BUDGETS)
    files: dict[int, str] = {}

    def propose() -> int:
        files.update({place: render_layers(built[place]) for place in run.tried if place not in files})
        tried = [
            TriedArchitecture(built[place].name, files[place], value, float(table.calls[place]))
            for place, value in run.tried.items()
        ]
        prompt = Message("user", render_propose_prompt(tried, rules, tasks=[table.family], goal="at any cost"))
        messages: tuple[Message, ...] = (prompt,)
        for _ in range(MAX_FAILURES):
            run.calls += 1
            reply = simulator.reply(PROPOSER, messages, draw=0, epoch=1).text
            try:
                place = places.get(sign(read_proposal(reply, rules).architecture))
                if place is None or place in run.tried:
                    raise ProposalError("it was tried" if place is not None else "it is not in the table")
                return place
            except ProposalError as exc:
                messages = (prompt, Message("assistant", reply), Message("user", REASK_PROMPT.format(problem=exc)))
        run.free += 1  # here: trials that nobody proposed
        return next(int(place) for place in rng.permutation(len(built)) if int(place) not in run.tried)

    for number in range(MAX_TRIALS):
        place = starts[number] if number < INITIAL_TRIALS else propose()
        before = dict(run.tried)
        run.trial(place, epoch=number % 3)
        run.trials += 1
        while budgets and run.calls > budgets[0] * (1 - CONFIRM_BUDGET_SHARE):
            budget = budgets.pop(0)
            if before:
                run.picks[budget] = run.final = confirm(run, before)
                run.spent = budget
        if not budgets:
            return


def confirm(run: Run, tried: dict[int, float]) -> int:
    """The finalist with the best mean on fresh draws."""
    finalists = sorted(tried, key=lambda place: -tried[place])[:FINALISTS]
    fresh = range(MAX_DRAW_SETS, MAX_DRAW_SETS + CONFIRM_SETS)
    means = {place: np.mean([run.draw(place, epoch)[0].sum() / DEV for epoch in fresh]) for place in finalists}
    return max(finalists, key=lambda place: float(means[place]))
