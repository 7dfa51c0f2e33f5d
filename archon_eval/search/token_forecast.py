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
    ends: "tuple[DollarRates, ...]" = ()
    """The same if models turn out the better the cheaper they are, and the better the dearer."""


def estimate_dollar_rates(
    settings: SearchSettings, options: Sequence[PlannedArchitecture], facts: Mapping[str, TaskFacts]
) -> DollarRates | None:
    """What a call costs by these assumptions; None where a price is unknown.

    Which model turns out best decides which one most calls are of. So every model is the first once, unless they are
    given in their order; the mean is the geometric one, from which a dear and a cheap outcome are equally far. The
    second and third place count as well: at the ends all models are in the order of their prices.
    """
    prices, assumed = load_prices(settings.prices), assume_tokens(settings, facts)
    space, memo, sampled = replace(settings.space, judge=settings.judge), PlanMemo(), _sample_options(options)

    def price_single(name: str) -> float | None:
        dollars = plan(build_single_model(name), (), assumed, prices=prices, memo=memo).dollars
        return None if dollars is None else fmean(dollars)

    def compute_rates(generators: Sequence[str], fusers: Sequence[str]) -> DollarRates | None:
        builder, dollars, calls = LayerBuilder(space, generators, fusers), 0.0, 0.0
        for option in sampled:
            each = plan(builder.build_architecture(option.configuration), (), assumed, prices=prices, memo=memo)
            if each.dollars is None:
                return None
            dollars += fmean(each.dollars)
            calls += fmean(each.calls)
        single = price_single(generators[0])
        return None if single is None else DollarRates(single, dollars / calls)

    pools = settings.models, settings.fuser_models
    if settings.skip_ranking:
        alone = compute_rates(*pools)
        return alone and alone._replace(ends=(alone, alone))
    singles = {name: price_single(name) for names in pools for name in names}
    dollars_of = {name: price for name, price in singles.items() if price is not None}
    if len(dollars_of) < len(singles):
        return None
    firsts = [compute_rates(*(_move_to_front(first, names) for names in pools)) for first in settings.models]
    ends = [
        compute_rates(*(sorted(names, key=dollars_of.__getitem__, reverse=dear) for names in pools))
        for dear in (False, True)
    ]
    known, bounds = [each for each in firsts if each is not None], tuple(each for each in ends if each is not None)
    if len(known) < len(firsts) or len(bounds) < len(ends):
        return None
    means = (_average([each.single for each in known]), _average([each.architecture for each in known]))
    return DollarRates(*means, ends=bounds)


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
