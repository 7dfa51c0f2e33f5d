"""The seven components of the papers, and a few beyond them, a file each: build the prompt, parse the reply, run."""

from collections.abc import Mapping

from archon_eval.architecture.component_types import load_component_class
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.components.base import Component
from archon_eval.components.critic import Critic
from archon_eval.components.executed_tests import IOTestEvaluator, IOTestGenerator
from archon_eval.components.fuser import Fuser
from archon_eval.components.generator import Generator
from archon_eval.components.ranker import Ranker
from archon_eval.components.unit_tests import UnitTestEvaluator, UnitTestGenerator
from archon_eval.components.verifier import Verifier
from archon_eval.components.vote import Vote
from archon_eval.errors import ArchitectureError

_BUILT_IN = (Generator, Fuser, Critic, Ranker, Verifier, UnitTestGenerator, UnitTestEvaluator, Vote)
_VARIANTS: Mapping[tuple[str, str, str], type[Component]] = {
    ("unit_test_generator", "form", "input_output"): IOTestGenerator,
    ("unit_test_evaluator", "execute", "sandbox"): IOTestEvaluator,
}
"""Classes that an option (kind, name, value) puts in the place of the usual one."""


def build_component(spec: ComponentSpec, where: str) -> Component:
    """The component a spec describes; raises ArchitectureError for a custom class that is no Component."""
    for (kind, name, value), variant in _VARIANTS.items():
        if spec.kind == kind and spec.get_option(name) == value:
            return variant(spec)
    for cls in _BUILT_IN:
        if cls.kind.name == spec.kind:
            return cls(spec)
    found = load_component_class(spec.kind, where)
    if not (isinstance(found, type) and issubclass(found, Component)):
        raise ArchitectureError(
            f"{where}: {spec.kind!r} does not subclass "
            "CandidateGenerator, CandidateScorer, ListComponent or ContextComponent"
        )
    return found(spec)
