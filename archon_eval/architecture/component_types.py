"""What a component says of itself before it is built: where it may stand, its options, its prompts, what it reads.

>>> resolve_component_type("ranker", "layer 2").options["top_k"].default
5

Every component is a class with a `kind: ComponentType`. An architecture names it by a built-in name, by its import path
(`my_package.voting:MajorityVote`), or by an entry point in the group `archon_eval.components`. All three are resolved
the same way, when they are first needed.
"""

import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from archon_eval.architecture.option_values import FrozenMapping
from archon_eval.architecture.user_code import check_user_code
from archon_eval.errors import ArchitectureError, did_you_mean

if TYPE_CHECKING:
    from archon_eval.architecture.spec import ComponentSpec

BUILT_IN_COMPONENTS: Mapping[str, str] = {
    "generator": "archon_eval.components.generator:Generator",
    "fuser": "archon_eval.components.fuser:Fuser",
    "critic": "archon_eval.components.critic:Critic",
    "ranker": "archon_eval.components.ranker:Ranker",
    "verifier": "archon_eval.components.verifier:Verifier",
    "unit_test_generator": "archon_eval.components.unit_tests:UnitTestGenerator",
    "unit_test_evaluator": "archon_eval.components.unit_tests:UnitTestEvaluator",
    "vote": "archon_eval.components.vote:Vote",
    "debate": "archon_eval.components.debate:Debate",
    "moderated_debate": "archon_eval.components.moderated_debate:ModeratedDebate",
    "refine": "archon_eval.components.refine:Refine",
    "guided_generator": "archon_eval.components.guided_generator:GuidedGenerator",
    "diversifier": "archon_eval.components.diversifier:Diversifier",
    "programmer": "archon_eval.components.programmer:Programmer",
    "model_ranker": "archon_eval.components.model_ranker:ModelRanker",
    "reward": "archon_eval.components.reward:Reward",
    "pairwise": "archon_eval.components.pairwise:Pairwise",
    "accept_agreement": "archon_eval.components.accept_agreement:AcceptAgreement",
    "accept_function": "archon_eval.components.accept_function:AcceptFunction",
    "accept_judge": "archon_eval.components.accept_judge:AcceptJudge",
    "accept_reward": "archon_eval.components.accept_reward:AcceptReward",
    "accept_tests": "archon_eval.components.accept_tests:AcceptTests",
    "accept_verifier": "archon_eval.components.accept_verifier:AcceptVerifier",
    "router": "archon_eval.components.router:Router",
}
"""Import paths of the seven kinds of the papers and of those beyond them, by the name that an architecture uses.
`accept_NAME` is the rule that a cascade's stage writes as `accept: {NAME: ...}`."""
ENTRY_POINT_GROUP = "archon_eval.components"
"""Entry-point group in which packages offer their own components by a short name."""

ComponentPlace = Literal["first", "later", "any", "rule", "router"]
ModelList = Literal["models", "fusers", "judges"]
"""The lists of models that a user may name."""
OverflowPolicy = Literal["fail", "truncate", "drop_longest"]
OVERFLOW_POLICIES: tuple[OverflowPolicy, ...] = get_args(OverflowPolicy)


@dataclass(frozen=True, slots=True)
class ComponentOption:
    """One setting of a component: its default and what is legal."""

    default: Any
    legal: str
    """What a user may write, in words, for the error message."""
    is_valid: Callable[[Any], bool]
    always_shown: bool = False
    """Whether `archon show` lists it also where it has its default."""
    names_model: bool = False
    """Whether its value is a model that the component calls besides `model`, or a list or a mapping of such."""
    read: Callable[[Any], Any] | None = None
    """The value as it is kept, the same for values that mean the same; raises ArchitectureError where it is not legal,
    with words that are read behind the option's name. None keeps what `is_valid` accepts."""
    closed: bool = False
    """Whether its values are numbers, flags, models and words of a list, so that text which a model wrote may set it:
    none of them names a file, an address or code."""
    read_code: Callable[[str], str] | None = None
    """The source of the code that its value names, which is part of the fingerprint; None where it names none."""
    is_derived: bool = False
    """Whether it follows from the rest of a file, so that no file has it and no table shows it."""


def int_option(default: int | None, least: int = 1, *, always_shown: bool = False) -> ComponentOption:
    """A whole number of at least `least`; a default of None makes it optional."""
    legal = f"a whole number of at least {least}" + (" or null" if default is None else "")

    def is_valid(value: Any) -> bool:
        if value is None:
            return default is None
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    return ComponentOption(default, legal, is_valid, always_shown=always_shown, closed=True)


def bool_option(default: bool) -> ComponentOption:
    """true or false."""
    return ComponentOption(default, "true or false", lambda value: isinstance(value, bool), closed=True)


def optional_word(word: str) -> ComponentOption:
    """A word, or nothing by default."""
    return ComponentOption(None, f"{word} or null", lambda value: value in (None, word), closed=True)


def choice_option(default: str, *others: str, always_shown: bool = False) -> ComponentOption:
    """One of a few words."""
    words = (default, *others)
    return ComponentOption(
        default, " or ".join(words), lambda value: value in words, always_shown=always_shown, closed=True
    )


def mapping_option() -> ComponentOption:
    """Names and values of a user's own; none by default."""
    legal = "a mapping of names to values"
    return ComponentOption(
        FrozenMapping({}), legal, lambda value: isinstance(value, Mapping) and all(map(_is_name, value))
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def model_option() -> ComponentOption:
    """A further model that the component calls, as `ctx.generate(..., model=...)`; none by default.

    It is looked up, priced and part of the fingerprint like `model`, and a placeholder (`$2`) in it is filled.
    """

    def is_valid(value: Any) -> bool:
        return value is None or _is_model_name(value)

    return ComponentOption(None, "an Inspect model name or null", is_valid, names_model=True, closed=True)


def models_option() -> ComponentOption:
    """Further models that the component calls, any number of them; none by default. Each is as with `model_option`."""

    def is_valid(value: Any) -> bool:
        return isinstance(value, list | tuple) and all(map(_is_model_name, value))

    return ComponentOption((), "a list of Inspect model names", is_valid, names_model=True, closed=True)


def roles_option() -> ComponentOption:
    """Further models that the component calls, by the role in which it does; none by default."""

    def is_valid(value: Any) -> bool:
        if not isinstance(value, Mapping):
            return False
        named = [name for names in value.values() for name in (names if isinstance(names, list | tuple) else [names])]
        return all(map(_is_model_name, named)) and all(isinstance(role, str) and role for role in value)

    legal = "a mapping of roles to Inspect model names"
    return ComponentOption(FrozenMapping({}), legal, is_valid, names_model=True, closed=True)


def _is_model_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def list_named_models(value: Any) -> tuple[str, ...]:
    """The models in the value of an option that names some.

    >>> list_named_models({"grader": "$2", "panel": ["a/x", "b/y"]})
    ('$2', 'a/x', 'b/y')
    """
    if isinstance(value, str):
        return (value,)
    items = value.values() if isinstance(value, Mapping) else value or ()
    return tuple(name for item in items for name in list_named_models(item))


def map_named_models(value: Any, change: Callable[[str], str]) -> Any:
    """The value of an option that names models, with each of them changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return FrozenMapping({key: map_named_models(item, change) for key, item in value.items()})
    return value if value is None else tuple(map_named_models(item, change) for item in value)


def text_option(legal: str, pattern: str = r".*\S.*") -> ComponentOption:
    """A text that matches a pattern as a whole, or null (the default); `legal` says so in words."""

    def is_valid(value: Any) -> bool:
        return value is None or (isinstance(value, str) and re.fullmatch(pattern, value) is not None)

    return ComponentOption(None, f"{legal} or null", is_valid)


def number_option(
    default: float | None,
    least: float = -math.inf,
    most: float = math.inf,
    *,
    is_optional: bool = False,
    always_shown: bool = False,
) -> ComponentOption:
    """A finite number from `least` to `most`; a default of None, or `is_optional`, makes null legal too."""
    ends = (
        ("" if least == -math.inf else f" of at least {least:g}")
        if most == math.inf
        else f" from {least:g} to {most:g}"
    )
    takes_null = is_optional or default is None

    def is_valid(value: Any) -> bool:
        if value is None:
            return takes_null
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and math.isfinite(value) and least <= value <= most

    legal = f"a number{ends}" + (" or null" if takes_null else "")
    return ComponentOption(default, legal, is_valid, always_shown=always_shown, closed=True)


def threshold_option(low: float, high: float, default: float | None = None) -> ComponentOption:
    """A number from `low` to `high` that a rule decides by; null where it is to be found (`archon tune`)."""
    return number_option(default, low, high, is_optional=True, always_shown=True)


def function_option() -> ComponentOption:
    """A Python function that the component calls, `module:function`; none by default."""
    option = text_option("a function as module:function", r"[^\s:]+:[^\s:]+")
    return replace(option, read_code=_read_function_source)


def _read_function_source(path: str) -> str:
    from archon_eval.architecture.component_code import read_function_source  # it needs the types of this module

    return read_function_source(path)


@dataclass(frozen=True, slots=True)
class PromptFields:
    """The fields a prompt must use, and those it may."""

    required: frozenset[str]
    optional: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ComponentType:
    """What is known of a component without building it (Archon v6, section 3.2 and Table 4).

    None where a component does not say (`reads_critiques`, `reads_tests`, `writes_tests`): the rules of construction
    then take it that it may, and a plan that it does not.
    """

    name: str
    place: ComponentPlace = "later"
    """`first`: only in the first layer; `later`: anywhere but there; `any`: in both."""
    alone: bool = True
    """Whether it must be the only component of its layer."""
    options: Mapping[str, ComponentOption] = field(default_factory=dict)
    prompts: Mapping[str, PromptFields] = field(default_factory=dict)
    needs_model: bool = True
    """Whether it calls a model."""
    replaces: bool = False
    """Whether its output replaces the candidates; a `CandidateGenerator`'s does, whatever is said here, unless it
    `adds`."""
    adds: bool = False
    """Whether the candidates that a `CandidateGenerator` makes join those that come in. It stands alone in a layer."""
    carries_on: bool = False
    """Whether the candidate that it makes in a place is the next version of the one that came in there: behind a layer
    of as many, made by components in the same order."""
    filters: bool = False
    """Whether it may reject candidates; when it would reject all, all go on and the trace says so."""
    groups_candidates: bool = False
    """Whether it chooses the most common answer and, with `list_ballots`, says what each candidate votes for: then
    generators directly before it may draw until that is settled (`stop: settled`)."""
    writes_critiques: bool = False
    reads_critiques: bool | None = None
    """Whether its prompts show the candidates' critiques."""
    writes_tests: str | None = None
    """The form of the unit tests it leaves in the state (`statements`, `input_output`); empty for none."""
    reads_tests: str | None = None
    """The form of the unit tests it works with; empty for none."""
    follows_tests: bool = False
    """Whether it must stand directly behind the layer that writes the tests."""
    runs_programs: str = ""
    """The setting with which it runs candidates' programs, as a user writes it; empty where it runs none."""
    version: int = 1
    """Raised when the component itself reads replies, or orders candidates, otherwise than before; part of the
    fingerprint of architectures that have it. What all components share has PROMPTS_VERSION."""
    stand_in: str = ""
    """The component that takes its place at the end of an architecture in an ablation; empty for none."""

    @property
    def writes_answers(self) -> bool:
        """Whether its replies become candidates, so that they are given what a task sets for answers."""
        return self.replaces or self.adds

    @property
    def model_list(self) -> ModelList:
        """Which of the user's lists fills its places: what may stand first generates; of the others, what writes
        candidates fuses, and everything else judges them."""
        if self.place != "later":
            return "models"
        return "fusers" if self.writes_answers else "judges"


def define_prompt(required: str, optional: str = "") -> PromptFields:
    """A prompt's fields from their names, separated by spaces."""
    return PromptFields(frozenset(required.split()), frozenset(optional.split()))


def load_component_class(name: str, where: str) -> Any:
    """The class behind a component's name: built in, an entry point, or `module:Class`.

    Raises:
        ArchitectureError: there is none, it cannot be imported, or it is no component; begins with `where`.
    """
    if name in BUILT_IN_COMPONENTS:
        return _load_attribute(BUILT_IN_COMPONENTS[name])
    check_user_code(name, where)
    try:
        component = _import_attribute(name) if ":" in name else _find_entry_point(name, where).load()
    except ArchitectureError:
        raise
    except Exception as exc:  # whatever the component's own module does wrong when it is imported
        hint = " (is it installed, or its folder on PYTHONPATH?)" if isinstance(exc, ModuleNotFoundError) else ""
        problem = f"{type(exc).__name__}: {exc}{hint}"
        raise ArchitectureError(f"{where}: cannot import component {name!r}: {problem}") from exc
    from archon_eval.architecture.component_checks import find_class_problem  # it needs the types of this module

    if problem := find_class_problem(component):
        raise ArchitectureError(f"{where}: {name!r} {problem}")
    return component


def load_function(path: str, where: str) -> Callable[..., Any]:
    """The function behind `module:function`.

    Raises:
        ArchitectureError: it cannot be imported, or cannot be called; begins with `where`.
    """
    check_user_code(path, where)
    try:
        function = _import_attribute(path)
    except Exception as exc:  # whatever the function's own module does wrong when it is imported
        hint = " (is it installed, or its folder on PYTHONPATH?)" if isinstance(exc, ModuleNotFoundError) else ""
        problem = f"{type(exc).__name__}: {exc}{hint}"
        raise ArchitectureError(f"{where}: cannot import function {path!r}: {problem}") from exc
    if not callable(function):
        raise ArchitectureError(f"{where}: {path!r} is no function, but {type(function).__name__}")
    return cast(Callable[..., Any], function)


def _import_attribute(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


_load_attribute = cache(_import_attribute)  # only for what is built in: a module of a user's own may be loaded again


def _find_entry_point(name: str, where: str) -> Any:
    offered = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in offered:
        hint = did_you_mean(name, [*list_layer_kinds(), *offered])
        raise ArchitectureError(
            f"{where}: unknown component {name!r}{hint}; a component of your own is written 'module:Class'"
        )
    return offered[name]


def list_layer_kinds() -> list[str]:
    """The built-in components that a layer may have: not those that decide between the stages of a cascade."""
    kinds = {name: resolve_component_type(name, name) for name in BUILT_IN_COMPONENTS}
    return [name for name, kind in kinds.items() if kind.place not in ("rule", "router")]


def find_imported_class(name: str) -> Any:
    """The class behind a component's name, or None where that would import a module: a name out of a log may be
    anything."""
    if name in BUILT_IN_COMPONENTS:
        return load_component_class(name, name)
    paths = [name, *(point.value for point in entry_points(group=ENTRY_POINT_GROUP) if point.name == name)]
    module, _, attribute = paths[-1].partition(":")
    return getattr(sys.modules.get(module), attribute, None) if attribute else None


def resolve_component_type(name: str, where: str) -> ComponentType:
    """The `kind` of a component's class; raises ArchitectureError with the nearest legal name."""
    component = load_component_class(name, where)
    return _complete_type(component, component.kind)


def describe_component(spec: "ComponentSpec", where: str) -> ComponentType:
    """The type of a spec's component, with what its options change."""
    return describe_class(load_component_class(spec.kind, where), spec, where)


def describe_class(component: Any, spec: "ComponentSpec", where: str) -> ComponentType:
    """The type of a component's class, with what the options of a spec change.

    Raises:
        ArchitectureError: the class's `describe_type` fails, or returns something else; begins with `where`.
    """
    try:
        described = component.describe_type(spec)
    except ArchitectureError:
        raise
    except Exception as exc:
        raise ArchitectureError(f"{where}: describe_type of {spec.kind!r} fails: {type(exc).__name__}: {exc}") from exc
    if not isinstance(described, ComponentType):
        raise ArchitectureError(
            f"{where}: describe_type of {spec.kind!r} must return a ComponentType, not {type(described).__name__}"
        )
    return _complete_type(component, described)


def list_overflow_policies(spec: "ComponentSpec", where: str) -> tuple[OverflowPolicy, ...]:
    """The values that `on_overflow` may have on a component, by how many candidates one of its prompts shows."""
    described = describe_component(spec, where)
    reads = getattr(load_component_class(spec.kind, where), "candidates_read", "none")
    if not described.needs_model or described.place == "first" or reads == "none":
        return OVERFLOW_POLICIES[:1]
    return OVERFLOW_POLICIES[:2] if reads == "one" else OVERFLOW_POLICIES


def find_version(name: str) -> int:
    """The version of a component: the highest that its class, or a class it inherits from, states."""
    classes = load_component_class(name, name).__mro__
    kinds = [kind for cls in classes if isinstance(kind := vars(cls).get("kind"), ComponentType)]
    return max((kind.version for kind in kinds), default=1)


def _complete_type(component: Any, described: ComponentType) -> ComponentType:
    """The type with what follows from the class's shape."""
    if getattr(component, "replaces_candidates", False) and not described.replaces and not described.adds:
        return replace(described, replaces=True)
    return described
