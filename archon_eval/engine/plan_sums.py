"""Sums of what a plan's components and layers take: tokens, and what follows from them by model."""

from collections.abc import Callable, Mapping, Sequence

from archon_eval.models.call import Usage


def sum_models(tokens: Mapping[str, Usage]) -> Usage:
    """Tokens of all models together."""
    return sum(tokens.values(), Usage())


def compute_by_model(
    models: Sequence[str],
    least: Mapping[str, Usage],
    most: Mapping[str, Usage],
    compute: Callable[[str, Usage], float | None],
) -> tuple[float, float] | None:
    """What one component's calls cost; None when that is unknown of one of the models it may call."""
    costs = []
    for model in dict.fromkeys((*models, *most)):
        low, high = (compute(model, usage.get(model, Usage())) for usage in (least, most))
        costs.append(None if low is None or high is None else (low, high))
    return sum_known(costs)


def sum_known(costs: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
    """Least with least and most with most; None where one is unknown."""
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs):
        return None
    return sum((low for low, _ in known), 0.0), sum((high for _, high in known), 0.0)


def sum_usage(ranges: Sequence[tuple[Usage, Usage]]) -> tuple[Usage, Usage]:
    """Least with least and most with most."""
    least, most = (
        Usage(sum(pair[end].input_tokens for pair in ranges), sum(pair[end].output_tokens for pair in ranges))
        for end in (0, 1)
    )
    return least, most
