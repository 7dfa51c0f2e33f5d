"""How far a trial's score may be from what its architecture is worth: of the questions' luck, and of the draws'.

    estimate_value(trial, (0.71, 0.004))        # (0.71, 0.061): 20 questions say no more

The surrogate compares architectures on the same questions, so its own deviation knows nothing of the questions that a
trial was not asked. With one or two trials it knows nothing of the draws either.
"""

from math import hypot
from statistics import NormalDist

from archon_eval.runs.performance import estimate_performance
from archon_eval.search.trial import Trial

CONFIDENCE = 0.95


def compute_sampling_deviation(trial: Trial) -> float | None:
    """The standard error of a trial's score over questions and draws, as its interval has it; None where it is unknown.

    Half the interval's width in normal deviations: unlike the standard error itself it is above zero where all
    questions have the same score.
    """
    estimate = None if trial.error else estimate_performance(trial.parts, CONFIDENCE)
    if estimate is None or estimate.low is None or estimate.high is None:
        return None
    return (estimate.high - estimate.low) / (2 * NormalDist().inv_cdf((1 + CONFIDENCE) / 2))


def estimate_value(trial: Trial, surrogate: tuple[float, float] | None = None) -> tuple[float | None, float | None]:
    """A trial's performance and its deviation: the surrogate's, widened by the trial's own sampling error.

    Args:
        surrogate: its mean and deviation of the architecture; None without one.

    Returns:
        The surrogate's mean, or the trial's score without one; and the deviation, None where it is unknown.
    """
    own = compute_sampling_deviation(trial)
    if surrogate is None:
        return trial.performance, own
    mean, deviation = surrogate
    return mean, None if own is None else hypot(deviation, own)
