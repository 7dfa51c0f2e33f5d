"""The forecast of a search before and after its models are ranked, which decides what most calls are of.

    forecasts = forecast_run(scheduler, space, journal=journal, generators=..., fusers=..., facts=facts)
    forecasts["before"]            # {"calls": 5210, "dollars": 3.1, "dollars_range": {"least": 0.4, "most": 20.5}}
    forecasts["after_ranking"]     # {"calls": 5180, "dollars": 9.8}; absent where models were not ranked

Before, any model may turn out best, so dollars have a range. After, the architectures are planned with the models in
their places, and ranking has shown how many tokens prompts and replies have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from archon_eval.engine.plan import plan
from archon_eval.errors import SearchError
from archon_eval.models.prices import load_prices
from archon_eval.search.config import SearchSettings
from archon_eval.search.forecast import forecast_stages, spread_dollars
from archon_eval.search.forecast_stages import StagePlanner
from archon_eval.search.journal import Journal
from archon_eval.search.minimal_budget import MinimalBudget
from archon_eval.search.prepare import PlannedSpace
from archon_eval.search.requests import build_single_model
from archon_eval.search.scheduler import TrialScheduler
from archon_eval.search.task_facts import TaskFacts
from archon_eval.search.token_forecast import DollarRates


def forecast_run(
    scheduler: TrialScheduler,
    space: PlannedSpace,
    *,
    journal: Journal,
    generators: Sequence[str],
    fusers: Sequence[str],
    facts: Mapping[str, TaskFacts],
) -> dict[str, Any]:
    """Both forecasts, as when the search first came here with this budget; empty where its trials had begun by then,
    as in a folder of an earlier version.

    Args:
        space: what the budget can try, planned with the models in their places.
        generators, fusers: as ranked, best first.
    """
    settings = scheduler.settings
    asked = f"{settings.budget.calls} {settings.budget.dollars} {settings.budget.trials} {settings.finalists}"
    for line in journal.list_entries("forecast"):
        if line["asked"] == asked:
            return dict(line["forecast"])
    if journal.list_entries("ask"):
        return {}
    try:
        affordable, stages, known = forecast_stages(settings, scheduler.splits, facts)
    except SearchError:  # a budget that pays for no further search goes on with what is there
        return {}
    total = stages.total
    forecasts: dict[str, Any] = {
        "before": _dump(total.calls, total.dollars) | {"dollars_range": spread_dollars(settings, affordable, known)}
    }
    if not settings.skip_ranking:
        ranked = replace(settings, models=tuple(generators), fusers=tuple(fusers) or settings.fusers)
        forecasts["after_ranking"] = _forecast_ranked(ranked, scheduler, space, facts)
    journal.add("forecast", {"asked": asked, "forecast": forecasts})
    return forecasts


def describe_forecasts(forecasts: Mapping[str, Any]) -> str:
    """A sentence on both; empty where models were not ranked."""
    after = forecasts.get("after_ranking")
    if after is None:
        return ""
    before = forecasts["before"]
    then = f"expected in all, now that models are ranked: {_format(after)}; before: {_format(before)}"
    spread = before["dollars_range"]
    return then + (f" (${spread['least']:,.2f} to ${spread['most']:,.2f})" if spread else "")


def _forecast_ranked(
    settings: SearchSettings, scheduler: TrialScheduler, space: PlannedSpace, facts: Mapping[str, TaskFacts]
) -> dict[str, Any]:
    """What ranking took, and what is expected of the other stages."""
    ranked = scheduler.ledger.select("rank/", settings.budget)
    spent = (float(ranked.calls), ranked.dollars or 0.0)
    least = MinimalBudget(spent, (0, 0), (0, 0), (0, 0), spent, dollar_ratio=1.0)
    rates = None if ranked.dollars is None else _compute_rates(settings, space, ranked.cost_ratio or 1.0)
    stages = StagePlanner(settings, space.options, scheduler.splits, rates).plan(
        least, call_seconds=1.0, workers=1, facts=facts
    )
    rest = [row.dollars for row in stages.rows[1:] if row.dollars is not None]
    dollars = spent[1] + sum(rest) if len(rest) == len(stages.rows) - 1 else None
    return _dump(spent[0] + sum(row.calls for row in stages.rows[1:]), dollars)


def _compute_rates(settings: SearchSettings, space: PlannedSpace, ratio: float) -> DollarRates | None:
    """Dollars of a call by the plans, times what ranking took against its plans."""
    single = plan(build_single_model(settings.models[0]), prices=load_prices(settings.prices)).dollars
    dollars = [fmean(option.plan.dollars) for option in space.options if option.plan.dollars is not None]
    calls = [fmean(option.plan.calls) for option in space.options]
    if single is None or len(dollars) < len(calls):
        return None
    return DollarRates(ratio * fmean(single), ratio * sum(dollars) / sum(calls))


def _dump(calls: float, dollars: float | None) -> dict[str, Any]:
    return {"calls": round(calls), "dollars": None if dollars is None else round(dollars, 2)}


def _format(figures: Mapping[str, Any]) -> str:
    dollars = figures["dollars"]
    return f"{figures['calls']:,} calls, {'dollars unknown' if dollars is None else f'${dollars:,.2f}'}"
