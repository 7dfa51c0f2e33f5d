"""What is to be known of a plan before paying, in sentences: fallbacks that may apply, limits that are raised."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from archon_eval.architecture.component_types import ModelList
from archon_eval.architecture.reasoning_models import is_reasoning_model
from archon_eval.architecture.samples import find_adaptive_samples
from archon_eval.architecture.spec import PLACEHOLDER, Architecture, choose_model_list, list_raised_limits
from archon_eval.components.component import Component

if TYPE_CHECKING:
    from archon_eval.engine.plan import LayerPlan


def collect_layer_notes(number: int, components: Sequence[Component]) -> tuple[str, ...]:
    """What a layer may do that a reader of a plan does not expect."""
    component, where, notes = components[0], f"layer {number} ({components[0].spec.kind})", []
    notes += describe_sources(number, components)
    notes += [f"{where} {text}" for text in dict.fromkeys(filter(None, map(_describe_rounds, components)))]
    if component.type.filters:
        notes.append(f"{where} may reject every candidate: then all go on, recorded as a fallback")
    if component.stop_after is not None:
        notes.append(f"{where} stops once {component.stop_after} passed: work on the others is cancelled")
    if any(component.spec.on_error == "drop" for component in components):
        notes.append(f"{where} goes on without calls that fail (on_error: drop), counted in the score's metadata")
    return tuple(notes)


def describe_sources(number: int, components: Sequence[Component]) -> list[str]:
    """What a layer sends to a source of scores that is no model."""
    where = f"layer {number} ({components[0].spec.kind})"
    scorers = [component.scorer for component in components if component.scorer is not None]
    return [f"{where} sends the question and the candidates {scorer.describe()}" for scorer in scorers]


def _describe_rounds(component: Component) -> str:
    """When a component that draws in rounds stops; empty for others."""
    samples = find_adaptive_samples(component.spec)
    if samples is None:
        return ""
    if samples.stop == "passes":
        until = f"{samples.passes} passed the filter behind it"
    else:
        until = f"the vote behind it is settled (confidence {samples.confidence:g})"
    return f"draws in rounds, from {samples.least} to {samples.most} candidates, until {until}"


def describe_end(last: "LayerPlan") -> tuple[str, ...]:
    """A sentence where several candidates reach the end."""
    most = last.candidates[1]
    return (f"up to {most} candidates reach the end: the first is the answer",) if most > 1 else ()


def describe_raised_limits(architecture: Architecture) -> list[str]:
    """A sentence on each model that reasons and has a larger limit on its replies, as nobody set one."""
    limits = {
        model: limit
        for layer in architecture.layers
        for spec in layer
        for model, limit in list_raised_limits(spec).items()
    }
    return [
        f"{model} {'thinks' if is_reasoning_model(model) else 'is asked to think'} before it answers, and its thoughts "
        f"count: its replies may take {limit:,} tokens where no `max_tokens` is set"
        for model, limit in limits.items()
    ]


def collect_placeholder_notes(architecture: Architecture, lists: Mapping[ModelList, Sequence[str]]) -> list[str]:
    matches = [match for name in architecture.placeholders if (match := PLACEHOLDER.fullmatch(name))]
    if any(match["all"] for match in matches) and not lists:
        return ["$all counts as one model until models are named"]
    places = dict.fromkeys(lists, 0)
    for spec in (spec for layer in architecture.layers for spec in layer):
        found = [match for model in spec.models if (match := PLACEHOLDER.fullmatch(model)) and match["first"]]
        name = choose_model_list(spec, lists)
        places[name] = max([places.get(name, 0), *(int(match["first"]) for match in found)])
    return [
        f"{places[name]} places for {name}, {len(names)} named: the list starts again, as further draws of the same"
        for name, names in lists.items()
        if len(names) < places[name]
    ]
