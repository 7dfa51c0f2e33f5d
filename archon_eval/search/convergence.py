"""Whether a search that may stop early should: the best trial has hardly risen for long enough.

Trials all of whose calls others have paid count for the best, and not as trials: dozens of them may follow one that was
paid, and say nothing of how long the search looked for better.

The papers stop where two trials in a row differ by less than epsilon (v6 A.4.2). Two noisy scores do so early by
chance, so here the best of all is compared with the best of `patience` trials ago.
"""

from collections.abc import Container, Mapping

from archon_eval.search.config import SearchSettings
from archon_eval.search.space import Array


def explain_convergence(
    settings: SearchSettings, performances: Mapping[int, float | None], cost: Array, free: Container[int] = ()
) -> str:
    """A sentence on why the search stops; empty where it goes on.

    Args:
        performances: of each configuration that was tried, by its number, in the order told; None for a failed trial.
        cost: of each configuration, in the objective's unit.
        free: the configurations whose trials cost nothing.
    """
    epsilon, patience = settings.budget.epsilon, settings.budget.patience
    best: list[float] = []
    """The best objective by the end of each trial that was paid, with the free ones that came of it."""
    for number, performance in performances.items():
        if performance is None:
            continue
        value = settings.compute_objective(performance, float(cost[number]))
        if number in free and best:
            best[-1] = max(best[-1], value)
        elif number not in free:
            best.append(max([value, *best[-1:]]))
    if epsilon is None or len(best) < settings.initial_points + patience:
        return ""
    rise = best[-1] - best[-1 - patience]
    if rise >= epsilon:
        return ""
    return (
        f"the search stopped after {len(best)} trials that were paid: in the last {patience} the best objective rose "
        f"by {rise:.4g}, less than epsilon={epsilon:g}"
    )
