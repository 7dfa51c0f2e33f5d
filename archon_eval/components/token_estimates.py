"""How many tokens a component's calls take, estimated from stated assumptions: the part of a plan that is not counted.

component.estimate_tokens(Workload(candidates=8, calls=1, answer=400))    # {"openai/gpt-4o": Usage(3520, 400)}
"""

from collections.abc import Sequence
from dataclasses import dataclass

from archon_eval.architecture.spec import ComponentSpec, find_reply_limit

NO_LIMIT = 10**12
"""Tokens of a reply that no `max_tokens` limits."""
CountRange = tuple[int, int]
"""The least and the most of something, both included."""


@dataclass(frozen=True, slots=True)
class TokenAssumptions:
    """Tokens that the estimates are made of; every reply is also bounded by its component's `max_tokens`."""

    query: int = 200
    """The conversation."""
    answer: int = 400
    """A generated or fused candidate."""
    wording: int = 120
    """The fixed text of a component's prompt."""
    critique: int = 100
    """One candidate's critique."""
    reasons: int = 250
    """The verifier's reasons, and its deliberation before the verdict."""
    test: int = 20
    """One unit test."""
    verdict: int = 50
    """The evaluator's reasoning and verdict on one test."""
    rank: int = 5
    """One identifier of a ranking."""


@dataclass(frozen=True, slots=True)
class PlanFlow:
    """What a plan carries from layer to layer."""

    candidates: CountRange = (0, 0)
    answer: int = 0
    """Tokens of one candidate."""
    critiques: bool = False
    """Whether the candidates have critiques."""
    tests: int = 0
    """Unit tests in the state, at most."""
    longest_answer: int = 0
    """Tokens of one candidate at most, by the `max_tokens` of who writes it; so are the next two."""
    longest_critiques: int = 0
    """Tokens of all critiques together."""
    longest_tests: int = 0
    """Tokens of all unit tests together."""
    candidates_at: int = 0
    """Sequential calls after which all candidates are there."""
    values_at: int = 0
    """Sequential calls after which tests and custom state are there."""
    rounds: int = 1
    """Rounds at most in which candidates come, each of which waits for the verdicts on those before."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What a component has to do for one question."""

    candidates: int
    """How many come in."""
    calls: int
    """Model calls it makes for them, re-asks apart."""
    answer: int = 0
    """Tokens of one candidate."""
    critiques: bool = False
    """Whether the candidates have critiques."""
    tests: int = 0
    """Unit tests in the state."""
    assumed: TokenAssumptions = TokenAssumptions()


def cap_tokens(tokens: int, spec: ComponentSpec) -> int:
    """A reply's length, cut at the component's `max_tokens`."""
    limit = find_reply_limit(spec)
    return tokens if limit is None else min(tokens, limit)


def split_calls(calls: int, models: Sequence[str]) -> dict[str, int]:
    """Calls shared evenly by the models, the first ones getting what is left over; empty without calls.

    >>> split_calls(5, ["a/x", "b/y"])
    {'a/x': 3, 'b/y': 2}
    """
    share, rest = divmod(calls, len(models) or 1)
    return {model: share + (place < rest) for place, model in enumerate(models) if share + (place < rest)}


def sum_ranges(ranges: Sequence[CountRange]) -> CountRange:
    """Least with least and most with most."""
    return sum(least for least, _ in ranges), sum(most for _, most in ranges)
