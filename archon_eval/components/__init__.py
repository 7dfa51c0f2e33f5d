"""The seven components of the papers, and a few beyond them, a file each; and what an author of components needs.

from archon_eval.components import CallContext, CandidateScorer, ComponentType, int_option, make_user_prompt
"""

from archon_eval.architecture.component_checks import SHAPES
from archon_eval.architecture.component_types import (
    ComponentOption,
    ComponentType,
    PromptFields,
    bool_option,
    choice_option,
    define_prompt,
    int_option,
    load_component_class,
    model_option,
    optional_word,
)
from archon_eval.architecture.samples import AdaptiveSamples, samples_option
from archon_eval.architecture.spec import ComponentSpec, Layer
from archon_eval.components.base import (
    CandidateGenerator,
    CandidateScorer,
    ContextComponent,
    ListComponent,
)
from archon_eval.components.call_context import CallContext
from archon_eval.components.component import Component
from archon_eval.components.prompt_parts import format_candidates, make_user_prompt
from archon_eval.components.token_estimates import CountRange, Workload
from archon_eval.errors import ArchitectureError, ArchonError, ParseError
from archon_eval.types import Candidate, Conversation, Message, State

__all__ = [
    "AdaptiveSamples",
    "CallContext",
    "Candidate",
    "CandidateGenerator",
    "CandidateScorer",
    "Component",
    "ComponentOption",
    "ComponentSpec",
    "ComponentType",
    "ContextComponent",
    "Conversation",
    "CountRange",
    "ListComponent",
    "Message",
    "ParseError",
    "PromptFields",
    "State",
    "Workload",
    "bool_option",
    "build_component",
    "build_layer",
    "choice_option",
    "define_prompt",
    "format_candidates",
    "int_option",
    "make_user_prompt",
    "model_option",
    "optional_word",
    "samples_option",
]


def build_component(spec: ComponentSpec, where: str) -> Component:
    """The component a spec describes.

    Raises:
        ArchitectureError: its class is no Component, or cannot be built; begins with `where`.
    """
    component = load_component_class(spec.kind, where)
    if not issubclass(component, Component):
        raise ArchitectureError(f"{where}: {spec.kind!r} does not subclass {SHAPES}")
    try:
        built: Component = component(spec)
        count: object = built.candidate_count
    except ArchonError:
        raise
    except Exception as exc:  # whatever a class of a user's own does wrong
        raise ArchitectureError(f"{where}: {spec.kind!r} cannot be built: {type(exc).__name__}: {exc}") from exc
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ArchitectureError(f"{where}: candidate_count of {spec.kind!r} must be a whole number, not {count!r}")
    return built


def build_layer(number: int, layer: Layer) -> list[Component]:
    """The components of a layer; errors name its number."""
    return [build_component(spec, f"layer {number}") for spec in layer]
