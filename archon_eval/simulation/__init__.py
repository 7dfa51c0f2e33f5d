"""A simulated pool of models, `sim/NAME`, so that everything runs offline, fast and the same every time.

    >>> pool_names("math")[:2]    # ordered by strength on MATH; `sim/pool` stands for all of `pool_names()`
    ('sim/claude-3.5-sonnet', 'sim/gpt-4o')

Nothing here is a language model. Replies are drawn from published figures on how often twelve models were right
(`skills`). docs/simulation.md says what is modelled, what is assumed, and how far the outcome agrees with the papers.
"""

from archon_eval.simulation.skills import rank_models

__all__ = ["pool_names"]


def pool_names(family: str | None = None) -> tuple[str, ...]:
    """The models of the pool as Inspect names, strongest first: on one benchmark family, or averaged over all seven."""
    return tuple(f"sim/{name}" for name in rank_models(family))
