"""Which of the confirmed architectures is handed over: the cheapest that is not shown worse than the best.

    candidate = choose_candidate(finalists, deviations, settings)      # the held-out questions are asked of it
    if is_shown_better(candidate_trial, single_trial, settings): ...   # else the single model is the result

Two kinds of evidence count against a cheaper architecture: its answers to the dev questions with fresh draws, paired
with the best one's, and the surrogate's estimates, which know all trials. Either is enough. Choosing the cheapest of
many that pass makes it easy to pass by luck, so the bars are low: 90% one-sided, and one deviation.

Whether the architecture is better than the best single model is for the held-out questions to say: there are four
times as many, and no choice was made by them.
"""

from collections.abc import Mapping, Sequence

from archon_eval.runs.performance import compare_performance
from archon_eval.search.config import SearchSettings
from archon_eval.search.confirm import SINGLE, Confirmed
from archon_eval.search.trial import Trial
from archon_eval.stats.comparison import PairedComparison, decide_verdict, get_interval

WORSE_CONFIDENCE = 0.8
"""Of the two-sided interval of a difference that shows a cheaper architecture worse: 90% on the one side."""
WORSE_DEVIATIONS = 1.0
"""Of the surrogate: how far its estimate must be behind the best one's."""
BETTER_CONFIDENCE = 0.95
"""Of the interval that must show the winner better than the best single model."""


def choose_candidate(
    finalists: Sequence[Confirmed], deviations: Mapping[str, float], settings: SearchSettings
) -> Confirmed | None:
    """The architecture that the held-out questions are asked of.

    Where the best single model has the best estimate, that is the best of the others unless it is shown worse.

    Args:
        finalists: the best single model among them, best first.
        deviations: of the surrogate's estimates, by the finalists' keys; empty without one.

    Returns:
        None where all are shown worse than the best single model, or there are none.
    """
    single = next((finalist for finalist in finalists if _is_single(finalist)), None)
    others = [finalist for finalist in finalists if not _is_single(finalist)]
    if single is not None and others and finalists[0] is single:
        others = [other for other in others if not is_shown_worse(other, single, deviations, settings)]
        return others[0] if others else None
    if not others:
        return None
    best = others[0]
    cheaper = [other for other in others[1:] if other.trial.cost < best.trial.cost]
    for other in sorted(cheaper, key=lambda finalist: (finalist.trial.cost, -finalist.value)):
        if not is_shown_worse(other, best, deviations, settings):
            return other
    return best


def is_shown_worse(
    finalist: Confirmed, best: Confirmed, deviations: Mapping[str, float], settings: SearchSettings
) -> bool:
    """Whether a finalist's objective is shown to be below another's."""
    known = [deviations[each.key] for each in (finalist, best) if each.key in deviations]
    if known and best.value - finalist.value > WORSE_DEVIATIONS * max(known):
        return True
    paired = compare_performance(finalist.trial.parts, best.trial.parts, WORSE_CONFIDENCE)
    if paired is None:
        return False
    high = get_interval(paired)[1]
    return high is not None and high < settings.cost_weight * (finalist.trial.cost - best.trial.cost)


def compare_with_single(winner: Trial, single: Trial) -> PairedComparison | None:
    """The winner and the best single model on the held-out questions; None where not both have a score."""
    if winner.error or single.error:
        return None
    return compare_performance(winner.parts, single.parts, BETTER_CONFIDENCE)


def is_shown_better(winner: Trial, single: Trial, settings: SearchSettings) -> bool:
    """Whether the held-out questions show the winner better than the best single model, cost taken off."""
    paired = compare_with_single(winner, single)
    if paired is None or decide_verdict(paired) != "better":
        return False
    low = get_interval(paired)[0]
    return low is not None and low > settings.cost_weight * (winner.cost - single.cost)


def _is_single(finalist: Confirmed) -> bool:
    architecture = finalist.trial.architecture
    return finalist.key == SINGLE or (len(architecture.layers) == 1 and finalist.trial.calls <= 1)
