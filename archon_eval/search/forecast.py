"""What a search will take, before anything is paid: `archon search --dry-run`.

forecast(settings)["calls"]     # {"ranking": 400, "trials": 92000, "confirming": ..., "report": ..., "expected": ...}
forecast(settings)["stages"]    # a row per stage: evals, calls, dollars, hours, answers to score
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from statistics import fmean
from typing import Any

from archon_eval.errors import SearchError
from archon_eval.search.budget import BudgetLedger
from archon_eval.search.config import SearchSettings
from archon_eval.search.finalist_costs import EndCosts, select_affordable
from archon_eval.search.forecast_stages import StageForecast, StageForecasts, StagePlanner
from archon_eval.search.judging import forecast_judge_calls
from archon_eval.search.minimal_budget import MinimalBudget, compute_minimal_budget
from archon_eval.search.prepare import (
    PlannedArchitecture,
    describe_overflows,
    describe_split,
    plan_space,
    prepare_questions,
)
from archon_eval.search.task_facts import TaskFacts
from archon_eval.search.token_forecast import DollarRates, assume_tokens, estimate_dollar_rates
from archon_eval.search.trial import QuestionSplits, count_questions

TOLERANCE = 1.5
"""By what factor calls, and dollars where it is known which models are the best, may differ from what is paid."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is known before anything is paid."""

    splits: QuestionSplits
    facts: Mapping[str, TaskFacts]
    options: Sequence[PlannedArchitecture]
    least: MinimalBudget
    rates: DollarRates | None


def forecast(settings: SearchSettings, call_seconds: float = 5.0, workers: int = 1) -> dict[str, Any]:
    """Size, calls, dollars and hours expected; plain values, None for what is not known before.

    Args:
        call_seconds: what one model call takes. All questions of a trial are asked at once, so a trial takes as long as
            its longest chain of calls.

    Raises:
        SearchError: the search is not possible as asked, or its budget cannot pay for it.
    """
    if workers < 1 or not 0 < call_seconds < inf:
        raise SearchError(f"workers={workers}, call_seconds={call_seconds}: must be 1 or more, and above 0")
    splits, _, doors, facts = prepare_questions(settings)
    affordable, stages, known = forecast_stages(settings, splits, facts, call_seconds=call_seconds, workers=workers)
    options, least = known.options, known.least
    questions = {part: count_questions(splits, part) for part in ("trial", "dev", "test")}
    turns = fmean(answers for parts in splits.values() for answers in parts["dev"].values())
    calls = sorted(turns * fmean(option.plan.calls) for option in options)
    unpriced = sorted({model for option in options for model in option.plan.unpriced})
    assumed = assume_tokens(settings, facts)
    return {
        "architectures": len(options),
        "affordable": len(affordable),
        "doors": {task: f"{choice.door} ({choice.reason})" for task, choice in doors.items()},
        "questions": questions,
        "dev_split": describe_split(settings, splits) or None,
        "calls_per_question": {"least": calls[0], "median": calls[len(calls) // 2], "most": calls[-1]},
        "calls": {
            "ranking": round(stages.ranking.calls),
            "trials": round(stages.unshared_trial_calls),
            "trials_paid_with_sharing": round(stages.trials.calls),
            "confirming": round(stages.confirming.calls),
            "report": round(stages.report.calls),
            "expected": round(stages.total.calls),
        },
        "stages": [_dump_stage(stage) for stage in (*stages.rows, stages.total)],
        "smallest_budget": {
            "calls": round(least.total[0]),
            "dollars": round(least.total[1], 2) if not unpriced else None,
        },
        "budget": stages.short or None,
        "informative_questions": _offer_informative(settings, stages),
        "dollars": None if stages.total.dollars is None else round(stages.total.dollars, 2),
        "dollars_range": spread_dollars(settings, affordable, known),
        "dollars_unknown": f"no price of {', '.join(unpriced)} (--prices)" if unpriced else None,
        "hours": round(stages.total.hours, 2),
        "answers_to_score": stages.total.answers,
        "context_windows": describe_overflows(options) or None,
        "judge_calls": forecast_judge_calls(
            settings, splits, facts, answers={row.stage: row.answers for row in stages.rows}
        ),
        "assumed": f"{call_seconds:g} s per call, all questions of a trial at once, {stages.reuse_share:.0%} of "
        f"trial calls shared, any model may be the best, questions of {assumed.query} tokens and answers of "
        f"{assumed.answer}",
    }


def forecast_stages(
    settings: SearchSettings,
    splits: QuestionSplits,
    facts: Mapping[str, TaskFacts],
    *,
    call_seconds: float = 5.0,
    workers: int = 1,
) -> tuple[Sequence[PlannedArchitecture], StageForecasts, _Prepared]:
    """The options that the budget can try, the stages, and what they are forecast from.

    Raises:
        SearchError: the budget cannot pay for it.
    """
    options = plan_space(settings, settings.models, settings.fuser_models)
    least = compute_minimal_budget(settings, options, splits, facts)
    least.require(settings.budget)
    known = _Prepared(splits, facts, options, least, estimate_dollar_rates(settings, options, facts))
    affordable = _select_affordable(settings, known)
    planner = StagePlanner(settings, affordable, splits, known.rates)
    return affordable, planner.plan(least, call_seconds=call_seconds, workers=workers, facts=facts), known


def _offer_informative(settings: SearchSettings, stages: StageForecasts) -> str | None:
    """What a search saves that asks only the questions which tell architectures apart; None where nothing."""
    now, trials = stages.trials.calls, stages.trials.evals
    if settings.questions == "informative" or stages.informative_calls >= now:
        return None
    if stages.informative_trials > trials:
        return f"--questions informative: about {stages.informative_trials} trials for the calls of these {trials}"
    saved = 1 - stages.informative_calls / now
    return f"--questions informative: these trials for about {stages.informative_calls:,.0f} calls, {saved:.0%} fewer"


def _select_affordable(settings: SearchSettings, known: _Prepared) -> Sequence[PlannedArchitecture]:
    """The part of the space that the budget can try and report, after what ranking is expected to take."""
    budget = settings.budget
    if min(budget.calls, budget.dollars) == inf:
        return known.options
    ranking, dollars = known.least.ranking
    left = budget.calls - ranking, (budget.dollars - dollars) / max(known.least.dollar_ratio, 1e-9)
    costs = EndCosts(settings, BudgetLedger(budget, known.splits), model=settings.models[0], facts=known.facts)
    return select_affordable(known.options, costs, left) or known.options


def spread_dollars(
    settings: SearchSettings, affordable: Sequence[PlannedArchitecture], known: _Prepared
) -> dict[str, float] | None:
    """What is paid if the cheapest model turns out best, and if the dearest; each by the `TOLERANCE` further out, and
    no more than the budget. None where a price is unknown."""
    if known.rates is None:
        return None
    ends: list[float] = []
    for rates in known.rates.ends:
        planner = StagePlanner(settings, affordable, known.splits, rates)
        dollars = planner.plan(known.least, call_seconds=1.0, workers=1, facts=known.facts).total.dollars
        if dollars is None:
            return None
        ends.append(dollars)
    most = min(TOLERANCE * max(ends), settings.budget.dollars)
    return {"least": round(min(ends) / TOLERANCE, 2), "most": round(most, 2)}


def _dump_stage(stage: StageForecast) -> dict[str, Any]:
    dollars = None if stage.dollars is None else round(stage.dollars, 2)
    rounded = replace(stage, calls=round(stage.calls), dollars=dollars, hours=round(stage.hours, 2))
    return {
        "stage": rounded.stage,
        "evals": rounded.evals,
        "calls": rounded.calls,
        "dollars": rounded.dollars,
        "hours": rounded.hours,
        "answers_to_score": rounded.answers,
    }
