"""Whether a search that may stop early should: the best trial has hardly risen for long enough.

The papers stop where two trials in a row differ by less than epsilon (v6 A.4.2). Two noisy scores do so early by
chance, so here the best of all is compared with the best of `patience` trials ago.
"""

from collections.abc import Mapping
from itertools import accumulate

from archon_eval.search.config import SearchSettings
from archon_eval.search.space import Array


def explain_convergence(settings: SearchSettings, performances: Mapping[int, float | None], cost: Array) -> str:
    """A sentence on why the search stops; empty where it goes on.

    Args:
        performances: of each configuration that was tried, by its number, in the order told; None for a failed trial.
        cost: of each configuration, in the objective's unit.
    """
    epsilon, patience = settings.budget.epsilon, settings.budget.patience
    scores = [
        settings.compute_objective(performance, float(cost[number]))
        for number, performance in performances.items()
        if performance is not None
    ]
    if epsilon is None or len(scores) < settings.initial_points + patience:
        return ""
    best = list(accumulate(scores, max))
    rise = best[-1] - best[-1 - patience]
    if rise >= epsilon:
        return ""
    return (
        f"the search stopped after {len(scores)} trials: in the last {patience} the best objective rose by {rise:.4g}, "
        f"less than epsilon={epsilon:g}"
    )
