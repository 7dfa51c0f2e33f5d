"""How many tokens prompts and replies are taken to have before any is sent, by what is known of task and models.

    assumed = assume_tokens(settings, facts)     # TokenAssumptions(query=64, answer=190)

`archon plan` assumes a question of 200 tokens and an answer of 400. A search knows its questions' texts, and how long
the simulated models' answers are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, geometric_mean
from typing import NamedTuple

from archon_eval.components.token_estimates import TokenAssumptions
from archon_eval.engine.plan import PlanMemo, plan
from archon_eval.models.prices import load_prices
from archon_eval.search.config import SearchSettings
from archon_eval.search.prepare import PlannedArchitecture
from archon_eval.search.requests import build_single_model
from archon_eval.search.space import LayerBuilder
from archon_eval.search.task_facts import TaskFacts

SIMULATED = TokenAssumptions(answer=190, critique=60, reasons=120)
"""Replies of the simulated models, in the mean over the bundled questions."""
MAX_SAMPLED_OPTIONS = 20
"""Architectures, spread over the space by calls, of which the ratio of two plans is taken."""


def assume_tokens(settings: SearchSettings, facts: Mapping[str, TaskFacts]) -> TokenAssumptions:
    """Questions as long as the tasks' are; replies as simulated ones are, where all models are simulated."""
    models = (*settings.models, *settings.fuser_models, *filter(None, [settings.judge]))
    base = SIMULATED if all(model.startswith("sim/") for model in models) else TokenAssumptions()
    known = [fact.question_tokens for fact in facts.values() if fact.question_tokens is not None]
    return replace(base, query=max(1, round(fmean(known)))) if known else base


class DollarRates(NamedTuple):
    """Dollars of one call, in the mean over which model may be the best."""

    single: float
    """Of a question asked of the best single model."""
    architecture: float
    """Of an architecture's calls."""
    spread: tuple[float, float] = (1.0, 1.0)
    """What that is multiplied by if the cheapest or the dearest model turns out best."""


def estimate_dollar_rates(
    settings: SearchSettings, options: Sequence[PlannedArchitecture], facts: Mapping[str, TaskFacts]
) -> DollarRates | None:
    """What a call costs by these assumptions; None where a price is unknown.

    Which model turns out best decides which one most calls are of. So every model is the first once, unless they are
    given in their order; the mean is the geometric one, from which a dear and a cheap outcome are equally far.
    """
    prices, assumed = load_prices(settings.prices), assume_tokens(settings, facts)
    space = replace(settings.space, judge=settings.judge)
    firsts = settings.models[:1] if settings.skip_ranking else settings.models
    singles: list[float] = []
    rates: list[float] = []
    memo = PlanMemo()
    for first in firsts:
        generators, fusers = (_move_to_front(first, names) for names in (settings.models, settings.fuser_models))
        planned = plan(build_single_model(first), (), assumed, prices=prices, memo=memo)
        builder = LayerBuilder(space, generators, fusers)
        dollars = calls = 0.0
        for option in _sample_options(options):
            each = plan(builder.build_architecture(option.configuration), (), assumed, prices=prices, memo=memo)
            if each.dollars is None or planned.dollars is None:
                return None
            dollars += fmean(each.dollars)
            calls += fmean(each.calls)
        assert planned.dollars is not None
        singles.append(fmean(planned.dollars))
        rates.append(dollars / calls)
    mean = _average(rates)
    return DollarRates(_average(singles), mean, (min(rates) / mean, max(rates) / mean) if mean else (1.0, 1.0))


def _average(values: Sequence[float]) -> float:
    return geometric_mean(values) if all(value > 0 for value in values) else fmean(values)


def _move_to_front(first: str, names: Sequence[str]) -> tuple[str, ...]:
    return (first, *(name for name in names if name != first)) if first in names else tuple(names)


def _sample_options(options: Sequence[PlannedArchitecture]) -> Sequence[PlannedArchitecture]:
    ordered = sorted(options, key=lambda option: option.plan.calls)
    return ordered[:: max(1, len(ordered) // MAX_SAMPLED_OPTIONS)]


def estimate_dollar_ratio(
    settings: SearchSettings, options: Sequence[PlannedArchitecture], facts: Mapping[str, TaskFacts]
) -> float:
    """What architectures of the space cost by these assumptions, against their plans; 1 where prices are unknown."""
    prices, assumed = load_prices(settings.prices), assume_tokens(settings, facts)
    ratios = []
    for option in _sample_options(options):
        if option.plan.dollars and (dollars := plan(option.architecture, (), assumed, prices=prices).dollars):
            ratios.append(fmean(dollars) / fmean(option.plan.dollars))
    return fmean(ratios) if ratios else 1.0
