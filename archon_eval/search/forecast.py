"""What a search will take, before anything is paid: `archon search --dry-run`.

forecast(settings)["calls"]     # {"ranking": 1320, "trials": 92000, "confirming": ..., "report": ..., "budget": inf}
"""

from math import inf
from statistics import fmean
from typing import Any

from archon_eval.search.preparation import options, prepare
from archon_eval.search.settings import Settings

SHARED = 0.5
"""Share of the trials' calls that the call store answers, roughly: measured in docs/search.md."""


def forecast(settings: Settings, call_seconds: float = 5.0, workers: int = 1) -> dict[str, Any]:
    """Size, calls, dollars and hours expected; plain values.

    Args:
        call_seconds: what one model call takes. All questions of a trial are asked at once, so a trial takes as long as
            its longest chain of calls.

    Raises:
        SearchError: the search is not possible as asked.
    """
    parts, _ = prepare(settings)
    models = settings.models
    found = options(settings, models, models)
    questions = {part: sum(len(each[part]) for each in parts.values()) for part in ("trial", "dev", "test")}
    turns = fmean(answers for each in parts.values() for answers in each["dev"].values())
    calls = sorted(turns * fmean(option.plan.calls) for option in found)
    dollars = [fmean(option.plan.dollars) for option in found if option.plan.dollars]
    trials = min(settings.budget.trials, len(found))
    mean = fmean(calls)
    per_answer = 0 if settings.given_order else 3 * len(models) + min(10, len(models))
    ranking = round(turns * questions["dev"] * per_answer)
    tried = trials * questions["trial"] * mean if trials < inf else inf
    confirm = settings.finalists * settings.confirm_epochs * questions["dev"] * mean
    report = questions["test"] * (2 * mean + turns)
    total = ranking + tried * (1 - SHARED) + confirm + report
    chain = turns * fmean(option.plan.sequential for option in found) * call_seconds
    evals = trials + settings.finalists + 3 + (0 if settings.given_order else 2 * len(models))
    per_call = turns * fmean(dollars) / mean if len(dollars) == len(found) else None
    shown = min(total, settings.budget.calls)
    return {
        "architectures": len(found),
        "questions": questions,
        "calls_per_question": {"least": calls[0], "median": calls[len(calls) // 2], "most": calls[-1]},
        "calls": {
            "ranking": ranking,
            "trials": None if tried == inf else round(tried),
            "trials_paid_with_sharing": None if tried == inf else round(tried * (1 - SHARED)),
            "confirming": round(confirm),
            "report": round(report),
            "expected": None if shown == inf else round(shown),
        },
        "dollars": None if per_call is None or shown == inf else round(shown * per_call, 2),
        "hours": None if evals == inf else round(evals * chain / workers / 3600, 2),
        "assumed": f"{call_seconds:g} s per call, all questions of a trial at once, {SHARED:.0%} of trial calls shared",
    }
