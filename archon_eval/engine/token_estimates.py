"""How many tokens a component's calls take, estimated from stated assumptions: the part of a plan that is not counted.

estimate_tokens(component, flow, TokenAssumptions(answer=800))   # (least, most) Usage of its calls in a layer
"""

from dataclasses import dataclass

from archon_eval.components.base import CandidateScorer, Component, CountRange
from archon_eval.models.call import Usage


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
    critiques: bool = False
    tests: int = 0
    candidates_at: int = 0
    """Sequential calls after which all candidates are there; `values_at` the same for tests and custom state."""
    values_at: int = 0


def estimate_tokens(component: Component, flow: PlanFlow, assumed: TokenAssumptions) -> tuple[Usage, Usage]:
    """Tokens of a component's calls for the candidates of the flow, least and most."""
    calls = component.count_calls(flow.candidates)
    per_unit = component.count_calls((1, 1))[1] if isinstance(component, CandidateScorer) else 1
    found = []
    for count, candidates in zip(calls, flow.candidates, strict=True):
        units = count // per_unit if per_unit else 0
        one = _estimate_unit(component, candidates, flow, assumed)
        found.append(Usage(units * one.input_tokens, units * one.output_tokens))
    return found[0], found[1]


def _estimate_unit(component: Component, candidates: int, flow: PlanFlow, a: TokenAssumptions) -> Usage:
    """Tokens of one call, or of all calls about one candidate for a judge."""
    kind, spec = component.spec.kind, component.spec
    critiques = flow.critiques and kind in ("ranker", "fuser") and spec.get_option("use_critiques")
    shown = candidates * (flow.answer + (a.critique if critiques else 0))
    asked, tests = a.wording + a.query, flow.tests * a.test
    match kind:
        case "generator":
            return Usage(a.query, cap_tokens(a.answer, component))
        case "critic":
            return Usage(asked + shown, cap_tokens(candidates * a.critique, component))
        case "ranker":
            return Usage(asked + shown, cap_tokens(candidates * a.rank, component))
        case "verifier":
            reasons = cap_tokens(a.reasons, component)
            return Usage(2 * (asked + flow.answer) + reasons, 2 * reasons)
        case "unit_test_generator":
            return Usage(asked, cap_tokens(int(spec.get_option("max_tests")) * a.test, component))
        case "unit_test_evaluator":
            return Usage(asked + flow.answer + tests, cap_tokens(flow.tests * a.verdict, component))
        case _:
            return Usage(asked + shown, cap_tokens(a.answer, component))


def cap_tokens(tokens: int, component: Component) -> int:
    """A reply's length, cut at the component's `max_tokens`."""
    limit = component.spec.settings.max_tokens
    return tokens if limit is None else min(tokens, limit)
