"""The prompt by which a model proposes the next architecture: the grammar, what may be used, and the results so far."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from archon_eval.architecture.component_types import resolve_component_type
from archon_eval.search.proposals import ProposalRules

MAX_SHOWN = 12
"""Architectures that a prompt shows with their results, the best and the newest; the others are a number."""
PROPOSE_PROMPT = """You design inference-time architectures: layers of components through which the candidate answers
to one question pass. They answer questions of: {tasks}. Propose the next architecture to try. It should
score higher than all that were tried, {goal}.

Grammar. A file is YAML with `layers`, a list. A layer is a mapping from one kind of component to a model, to a mapping
of settings (`{{model: NAME, temperature: 0.7}}`), or to a list of those.

Kinds of component, with their options:
{kinds}

Rules of construction:
- The first layer holds one or more of: {first}. No other layer holds one of these, except {anywhere}. Several
  generators are an ensemble.
- A layer has one kind of component. Only these may stand beside others of their kind: {beside}.
- A critic needs a ranker or a fuser behind it. A unit_test_generator stands directly before a unit_test_evaluator.
- The first candidate that leaves the last layer is the answer.
- At most {most_calls} model calls per question. {programs}

Models that may be used, best first: {models}

Tried so far, with performance from 0 to 1 and model calls per question, best first{left_out}:
{tried}

Change one of them, or combine two. Do not repeat one. Reply in this form:

Parent: the name of the architecture that yours changes
Why: what you expect of the change, in one or two sentences
```yaml
layers:
- ...
```"""
REASK_PROMPT = """This architecture cannot be tried: {problem}

Propose again, in the same form."""
KIND_PURPOSES: Mapping[str, str] = {
    "generator": "answers the question; each sample is a candidate",
    "fuser": "writes one answer from all candidates; several fusers make several candidates",
    "critic": "lists strengths and weaknesses of each candidate, for a ranker or a fuser behind it",
    "ranker": "orders the candidates and keeps the best `top_k`",
    "verifier": "gives reasons and a verdict for each candidate, and drops those it rejects",
    "unit_test_generator": "writes statements that a right answer fulfils",
    "unit_test_evaluator": "drops candidates that do not fulfil them",
    "vote": "keeps the candidates of the most common final answer; calls no model",
    "debate": "each place answers again, having seen all candidates; behind a layer that makes one for each place",
    "diversifier": "adds an answer found in another way than the candidates",
    "guided_generator": "writes guidance on the question, then answers with it",
    "model_ranker": "names the best candidate by its model; the others are dropped",
    "moderated_debate": "two sides argue, and a moderator decides whose answer is the candidate",
    "pairwise": "compares candidates two at a time, and keeps the `top_k` that win most",
    "programmer": "writes a program, runs it, and answers with what it prints",
    "refine": "reviews each candidate and rewrites it, up to `rounds` times",
    "reward": "scores each candidate, and keeps the `top_k` with the highest scores",
}
"""What the components do, in words; those that are not here are listed with their options alone."""


class TriedArchitecture(NamedTuple):
    """One of those that were tried, for the prompt."""

    name: str
    layers: str
    """As a file has them."""
    performance: float | None
    """None while it is under way, or where it failed."""
    calls: float
    has_failed: bool = False


def render_propose_prompt(
    tried: Sequence[TriedArchitecture],
    rules: ProposalRules,
    *,
    tasks: Sequence[str],
    goal: str,
) -> str:
    """
    Args:
        tried: in the order told.
        goal: what else counts, as the end of a sentence.
    """
    scored = [each for each in tried if each.performance is not None]
    best = sorted(scored, key=lambda each: -(each.performance or 0.0))
    shown = best[: MAX_SHOWN * 2 // 3]
    shown += [each for each in tried[::-1] if each not in shown][: MAX_SHOWN - len(shown)]
    ordered = sorted(shown, key=lambda each: -1.0 if each.performance is None else each.performance, reverse=True)
    left_out = len(tried) - len(ordered)
    described = {kind: resolve_component_type(kind, kind) for kind in rules.kinds}
    return PROPOSE_PROMPT.format(
        tasks=", ".join(tasks),
        goal=goal,
        kinds="\n".join(_describe_kind(kind) for kind in rules.kinds),
        first=", ".join(kind for kind, each in described.items() if each.place in ("first", "any")),
        anywhere=", ".join(kind for kind, each in described.items() if each.place == "any"),
        beside=", ".join(kind for kind, each in described.items() if not each.alone),
        most_calls=rules.most_calls,
        programs="" if rules.runs_programs else "Nothing may run programs.",
        models=", ".join(rules.models),
        left_out=f" ({left_out} worse ones are not shown)" if left_out else "",
        tried="\n".join(map(_render_tried, ordered)),
    )


def _render_tried(each: TriedArchitecture) -> str:
    if each.performance is not None:
        result = f'performance="{each.performance:.3f}"'
    else:
        result = f'result="{"failed" if each.has_failed else "under way"}"'
    return f'<tried name="{each.name}" {result} calls="{each.calls:.1f}">\n{each.layers.strip()}\n</tried>'


def _describe_kind(kind: str) -> str:
    described = resolve_component_type(kind, kind)
    options = "; ".join(f"{name}: {option.legal}" for name, option in described.options.items() if option.closed)
    purpose = f": {KIND_PURPOSES[kind]}" if kind in KIND_PURPOSES else ""
    model = "" if described.needs_model else " (no model)"
    return f"- {kind}{purpose}{model}{f' ({options})' if options else ''}"
