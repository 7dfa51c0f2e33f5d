"""What a budget must pay for at least, and which architectures it can pay for to the end.

require_budget(settings, splits, facts)     # refused before anything is paid, with the smallest budget that can
space, note = restrict_space(space, settings, ledger, journal=journal, model="openai/gpt-4o", facts=facts)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf

from archon_eval.errors import SearchError
from archon_eval.search.budget import BudgetLedger
from archon_eval.search.config import SearchBudget, SearchSettings
from archon_eval.search.finalist_costs import END_BUDGET_SHARE, Amount, EndCosts, add, select_affordable
from archon_eval.search.journal import Journal
from archon_eval.search.prepare import PlannedArchitecture, PlannedSpace, plan_space
from archon_eval.search.ranking import list_ranking_requests
from archon_eval.search.task_facts import TaskFacts
from archon_eval.search.token_forecast import estimate_dollar_ratio
from archon_eval.search.trial import QuestionSplits


@dataclass(frozen=True, slots=True)
class MinimalBudget:
    """What a search takes at least, stage by stage, in calls and dollars."""

    ranking: Amount
    trial: Amount
    """Of the cheapest architecture that is more than one call."""
    confirming: Amount
    """It and the best single model, with one set of fresh draws."""
    report: Amount
    """The two and the controls at equal calls."""
    ranking_start: Amount
    """What must be left for the last ranking eval to begin."""

    dollar_ratio: float
    """What dollars are expected to be, against the plans' (`estimate_dollar_ratio`)."""

    @property
    def total(self) -> Amount:
        """The smallest budget that can pay for all of it."""
        whole = add(self.ranking, self.trial, self.confirming, self.report)
        return max(whole[0], self.ranking_start[0]), max(whole[1], self.ranking_start[1])

    def require(self, budget: SearchBudget) -> None:
        """
        Raises:
            SearchError: the budget cannot pay for ranking, one trial, its confirmation and the report; says which can.
        """
        for place, (name, given, words) in enumerate(
            (("calls", budget.calls, "{:,.0f}"), ("dollars", budget.dollars, "${:,.2f}"))
        ):
            needed = _round_up(self.total[place], name)
            if given >= needed:
                continue
            stages = (
                f"ranking ({words.format(self.ranking[place])})" if self.ranking[0] else "",
                f"one trial ({words.format(self.trial[place])})",
                f"its confirmation ({words.format(self.confirming[place])})",
                f"and the report ({words.format(self.report[place])})",
            )
            raise SearchError(
                f"budget {name}={given:g} cannot pay for {', '.join(filter(None, stages))}: the smallest that can is "
                f"{words.format(needed)}"
            )


def compute_minimal_budget(
    settings: SearchSettings,
    options: Sequence[PlannedArchitecture],
    splits: QuestionSplits,
    facts: Mapping[str, TaskFacts],
) -> MinimalBudget:
    """With models in the order given, as none is ranked yet; dollars as `forecast` estimates them."""
    ledger = BudgetLedger(settings.budget, splits)
    costs = EndCosts(settings, ledger, model=settings.models[0], facts=facts)
    ratio = estimate_dollar_ratio(settings, options, facts)
    several = [option for option in options if option.plan.calls[1] > 1] or options
    cheapest = min(several, key=costs.compute_end_cost)
    ranking, start = _compute_ranking_cost(settings, ledger)
    report = costs.compute_report_cost(cheapest)
    end = costs.compute_end_cost(cheapest)
    amounts = ranking, costs.compute_trial_cost(cheapest), (end[0] - report[0], end[1] - report[1]), report, start
    paid, tried, confirmed, reported, begun = ((calls, ratio * dollars) for calls, dollars in amounts)
    return MinimalBudget(paid, tried, confirmed, reported, begun, dollar_ratio=ratio)


def _compute_ranking_cost(settings: SearchSettings, ledger: BudgetLedger) -> tuple[Amount, Amount]:
    """What ranking takes, with what its evals share, and what must be there for its last one to begin."""
    paid: Amount = (0, 0)
    start: Amount = (0, 0)
    shares = dict(settings.solver_args).get("store_policy") != "off"
    for request, shared in list_ranking_requests(settings):
        calls, dollars = ledger.min_cost_to_start(request)
        start = max(start[0], paid[0] + calls), max(start[1], paid[1] + dollars)
        rest = 1 - shared / max(1, request.plan.calls[1]) if shares else 1.0
        paid = add(paid, (ceil(calls * rest), dollars * rest))
    return paid, start


def require_budget(settings: SearchSettings, splits: QuestionSplits, facts: Mapping[str, TaskFacts]) -> None:
    """
    Raises:
        SearchError: the budget cannot pay for ranking, one trial, its confirmation and the report; says which can.
    """
    budget = settings.budget
    if min(budget.calls, budget.dollars) == inf:
        return
    options = plan_space(settings, settings.models, settings.fuser_models)
    compute_minimal_budget(settings, options, splits, facts).require(budget)


def _round_up(amount: float, name: str) -> float:
    return ceil(amount) if name == "calls" else ceil(100 * amount) / 100


def restrict_space(
    space: PlannedSpace,
    settings: SearchSettings,
    ledger: BudgetLedger,
    *,
    journal: Journal,
    model: str,
    facts: Mapping[str, TaskFacts],
) -> tuple[PlannedSpace, str]:
    """The part of a space that the budget can try, confirm and report, and a note on what is left out.

    It depends on what ranking took and on the largest budget that the search has had, so that a search that goes on has
    at least the same.

    Args:
        model: the best single one.

    Raises:
        SearchError: nothing is left.
    """
    budget = settings.budget
    if min(budget.calls, budget.dollars) == inf:
        return space, ""
    lines = [(float(line["calls"]), float(line["dollars"])) for line in journal.list_entries("budget")]
    largest = max([*lines, (budget.calls, budget.dollars)])
    if largest not in lines:
        journal.add("budget", {"calls": budget.calls, "dollars": budget.dollars})
    ranked = ledger.select("rank/", replace(budget, calls=largest[0], dollars=largest[1]))
    left = ranked.remaining()
    costs = EndCosts(settings, ranked, model=model, facts=facts)
    kept = select_affordable(space.options, costs, left)
    if not kept:
        raise SearchError(
            "the budget allows no single trial with confirmation and report, after "
            f"{ranked.calls:,} calls for ranking: raise it"
        )
    if len(kept) == len(space.options):
        return space, ""
    fingerprints = {option.architecture.fingerprint for option in kept}
    places = [n for n, option in enumerate(space.options) if option.architecture.fingerprint in fingerprints]
    dearest = max(space.options, key=costs.compute_end_cost)
    calls, dollars = costs.compute_end_cost(dearest)
    enough = [f"calls={ranked.calls + calls / END_BUDGET_SHARE:.0f}"] if budget.calls < inf else []
    if budget.dollars < inf:
        enough.append(f"dollars={(ranked.dollars or 0.0) + dollars / END_BUDGET_SHARE:.2f}")
    note = (
        f"{len(space.options) - len(places):,} of {len(space.options):,} architectures are left out: to confirm one of "
        "them and to report it beside the controls at equal calls would take more than half of the budget; "
        f"{' and '.join(enough)} would be enough for all"
    )
    return space.select(places), note
