"""What a search will take, before anything is paid: `archon search --dry-run`.

forecast(settings)["calls"]     # {"ranking": 400, "trials": 92000, "confirming": ..., "report": ..., "expected": ...}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from statistics import fmean
from typing import Any

from archon_eval.errors import SearchError
from archon_eval.search.config import SearchSettings
from archon_eval.search.confirm import CONFIRM_BUDGET_SHARE
from archon_eval.search.judging import forecast_judge_calls
from archon_eval.search.prepare import (
    PlannedArchitecture,
    describe_overflows,
    describe_split,
    plan_space,
    prepare_questions,
)
from archon_eval.search.trial import count_questions

EXPECTED_REUSE_SHARE = 0.5
"""Share of the trials' calls that the call store answers, roughly: measured in docs/search.md."""


@dataclass(frozen=True, slots=True)
class _Stages:
    """Calls expected of each stage, before sharing, and how many trials the budget is expected to pay for."""

    ranked: int
    """Evals that rank models and are paid."""
    ranking: float
    trials: int
    tried: float
    confirming: float
    report: float
    short: str
    """What the budget does not allow, or nothing."""

    @property
    def paid(self) -> float:
        """Calls of all stages, with what trials are expected to share."""
        return self.ranking + self.tried * (1 - EXPECTED_REUSE_SHARE) + self.confirming + self.report


def forecast(settings: SearchSettings, call_seconds: float = 5.0, workers: int = 1) -> dict[str, Any]:
    """Size, calls, dollars and hours expected; plain values, None for what is not known before.

    Args:
        call_seconds: what one model call takes. All questions of a trial are asked at once, so a trial takes as long as
            its longest chain of calls.

    Raises:
        SearchError: the search is not possible as asked.
    """
    if workers < 1 or not 0 < call_seconds < inf:
        raise SearchError(f"workers={workers}, call_seconds={call_seconds}: must be 1 or more, and above 0")
    splits, _, doors = prepare_questions(settings)
    options = plan_space(settings, settings.models, settings.fuser_models)
    questions = {part: count_questions(splits, part) for part in ("trial", "dev", "test")}
    turns = fmean(answers for parts in splits.values() for answers in parts["dev"].values())
    calls = sorted(turns * fmean(option.plan.calls) for option in options)
    dollars = [fmean(option.plan.dollars) for option in options if option.plan.dollars]
    per_call = turns * fmean(dollars) / fmean(calls) if len(dollars) == len(options) else None
    budget = min(settings.budget.calls, settings.budget.dollars / per_call if per_call else inf)
    stages = _estimate_stages(settings, options, questions, turns=turns, budget=budget)
    shown = min(stages.paid, budget)
    finalists = min(settings.finalists, ceil(min(settings.budget.trials, len(options))))
    chain = turns * fmean(option.plan.sequential for option in options) * call_seconds
    evals = stages.trials + finalists + 4 + stages.ranked
    answers = questions["dev"] * (stages.ranked + (finalists + 1) * settings.confirm_epochs) + 3 * questions["test"]
    unpriced = sorted({model for option in options for model in option.plan.unpriced})
    return {
        "architectures": len(options),
        "doors": {task: f"{choice.door} ({choice.reason})" for task, choice in doors.items()},
        "questions": questions,
        "dev_split": describe_split(settings, splits) or None,
        "calls_per_question": {"least": calls[0], "median": calls[len(calls) // 2], "most": calls[-1]},
        "calls": {
            "ranking": round(stages.ranking),
            "trials": round(stages.tried),
            "trials_paid_with_sharing": round(stages.tried * (1 - EXPECTED_REUSE_SHARE)),
            "confirming": round(stages.confirming),
            "report": round(stages.report),
            "expected": round(shown),
        },
        "budget": stages.short or None,
        "dollars": None if per_call is None else round(shown * per_call, 2),
        "dollars_unknown": f"no price of {', '.join(unpriced)} (--prices)" if unpriced else None,
        "hours": round(evals * chain / workers / 3600, 2),
        "answers_to_score": answers + stages.trials * questions["trial"],
        "context_windows": describe_overflows(options) or None,
        "judge_calls": forecast_judge_calls(
            settings, splits, ranked=stages.ranked, trials=stages.trials, finalists=finalists
        ),
        "assumed": f"{call_seconds:g} s per call, all questions of a trial at once, {EXPECTED_REUSE_SHARE:.0%} of "
        "trial calls shared, models as good as in the order given, tokens as `archon plan` estimates them",
    }


def _estimate_stages(
    settings: SearchSettings,
    options: Sequence[PlannedArchitecture],
    questions: Mapping[str, int],
    *,
    turns: float,
    budget: float,
) -> _Stages:
    """
    Args:
        turns: answers per question.
        budget: in calls.
    """
    models, mean = settings.models, turns * fmean(fmean(option.plan.calls) for option in options)
    trials = ceil(min(settings.budget.trials, len(options)))
    finalists = min(settings.finalists, trials)
    fusers = len(settings.fuser_models)
    ranked = 0 if settings.skip_ranking else len(models) + (fusers if fusers > 1 else 0)  # they share generators' calls
    ranking = turns * questions["dev"] * ranked
    confirm = settings.confirm_epochs * questions["dev"] * (finalists * mean + turns)
    report = kept = questions["test"] * (2 * mean + turns)
    if budget < inf:  # a trial must leave what the report may take at worst, up to half of the budget
        worst = turns * fmean(option.plan.calls[1] + option.plan.reasks for option in options)
        kept = min(questions["test"] * (2 * worst + turns), budget / 2)
        confirm = min(confirm, CONFIRM_BUDGET_SHARE * (budget - kept))
    per_trial = questions["trial"] * mean * (1 - EXPECTED_REUSE_SHARE)
    short = ""
    if ranking + trials * per_trial + confirm + kept > budget:
        fit = max(0, int((budget - ranking - confirm - kept) / per_trial))
        short = f"it is expected to pay for about {fit} of {trials} trials" if fit else "it may not pay for all stages"
        trials = max(1, fit)
    return _Stages(
        ranked=ranked,
        ranking=ranking,
        trials=trials,
        tried=trials * questions["trial"] * mean,
        confirming=confirm,
        report=report,
        short=short,
    )
