"""The kinds of component: where each may stand, what may be set on it, which prompts it has.

One table serves the checks, the help texts and the plan, so that an option exists in one place only:

    COMPONENT_TYPES["ranker"].options["top_k"].default   # 5

A custom component is a class with a `kind: ComponentType` of its own, named in an architecture by its import path
(`my_package.voting:MajorityVote`) or by an entry point in the group `archon_eval.components`.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Literal

from archon_eval.errors import ArchitectureError, did_you_mean

ENTRY_POINT_GROUP = "archon_eval.components"
"""Entry-point group in which packages offer their own components by a short name."""


@dataclass(frozen=True, slots=True)
class ComponentOption:
    """One setting of a component: its default and what is legal."""

    default: Any
    legal: str
    """What a user may write, in words, for the error message."""
    is_valid: Callable[[Any], bool]


def int_option(default: int | None, least: int = 1) -> ComponentOption:
    """A whole number of at least `least`; a default of None makes it optional."""
    words = f"a whole number of at least {least}" + (" or null" if default is None else "")

    def ok(value: Any) -> bool:
        if value is None:
            return default is None
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    return ComponentOption(default, words, ok)


def bool_option(default: bool) -> ComponentOption:
    """true or false."""
    return ComponentOption(default, "true or false", lambda value: isinstance(value, bool))


def optional_word(word: str) -> ComponentOption:
    """A word, or nothing by default."""
    return ComponentOption(None, f"{word} or null", lambda value: value in (None, word))


def choice_option(default: str, *others: str) -> ComponentOption:
    """One of a few words."""
    words = (default, *others)
    return ComponentOption(default, " or ".join(words), lambda value: value in words)


@dataclass(frozen=True, slots=True)
class PromptFields:
    """The fields a prompt's wording may use, and those it must."""

    required: frozenset[str]
    optional: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ComponentType:
    """What the rules of construction need to know about a kind of component (v6 section 3.2, Table 4)."""

    name: str
    place: Literal["first", "later"] = "later"
    """`first`: only in the first layer; `later`: anywhere but there."""
    alone: bool = True
    """Whether it must be the only component of its layer."""
    options: Mapping[str, ComponentOption] = field(default_factory=dict)
    prompts: Mapping[str, PromptFields] = field(default_factory=dict)
    needs_model: bool = True
    """Whether it calls a model; not with the option `execute`, whatever is said here."""
    replaces: bool = False
    """Whether its output replaces the candidates (generator, fuser)."""
    filters: bool = False
    """Whether it may reject candidates; when it would reject all, all go on and the trail says so."""
    writes_critiques: bool = False


def _define_prompt(required: str, optional: str = "") -> PromptFields:
    return PromptFields(frozenset(required.split()), frozenset(optional.split()))


COMPONENT_TYPES: Mapping[str, ComponentType] = {
    kind.name: kind
    for kind in (
        ComponentType("generator", place="first", alone=False, replaces=True, options={"samples": int_option(1)}),
        ComponentType(
            "fuser",
            alone=False,
            replaces=True,
            options={
                "samples": int_option(1),
                "use_critiques": bool_option(True),
                "length_control": bool_option(False),
            },
            prompts={"fuse": _define_prompt("instruction candidates", "count")},
        ),
        ComponentType(
            "critic", writes_critiques=True, prompts={"critique": _define_prompt("instruction candidates", "count")}
        ),
        ComponentType(
            "ranker",
            options={"top_k": int_option(5), "use_critiques": bool_option(True)},
            prompts={"rank": _define_prompt("instruction candidates", "count example")},
        ),
        ComponentType(
            "verifier",
            filters=True,
            options={"stop_after": int_option(None)},
            prompts={
                "reason": _define_prompt("instruction candidate"),
                "verdict": _define_prompt("instruction candidate reasons"),
            },
        ),
        ComponentType(
            "unit_test_generator",
            options={"max_tests": int_option(10), "form": choice_option("statements", "input_output")},
            prompts={"tests": _define_prompt("instruction", "max_tests")},
        ),
        ComponentType(
            "unit_test_evaluator",
            filters=True,
            options={
                "keep": choice_option("passing", "all"),
                "top_k": int_option(None),
                "stop_after": int_option(None),
                "execute": optional_word("sandbox"),
            },
            prompts={"evaluate": _define_prompt("instruction candidate tests", "count")},
        ),
        ComponentType(
            "vote", needs_model=False, options={"by": choice_option("answer", "outputs"), "top_k": int_option(None)}
        ),
    )
}
"""The seven kinds of the papers and `vote`, by name."""


def load_component_class(name: str, where: str) -> Any:
    """The class behind a custom component's name: an entry point or `module:Class`."""
    try:
        if ":" in name:
            module, _, attribute = name.partition(":")
            found = getattr(importlib.import_module(module), attribute)
        else:
            offered = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
            if name not in offered:
                hint = did_you_mean(name, [*COMPONENT_TYPES, *offered])
                raise ArchitectureError(
                    f"{where}: unknown component {name!r}{hint}; a component of your own is written 'module:Class'"
                )
            found = offered[name].load()
    except ArchitectureError:
        raise
    except Exception as exc:  # whatever the component's own module does wrong when it is imported
        hint = " (is it installed, or its folder on PYTHONPATH?)" if isinstance(exc, ModuleNotFoundError) else ""
        said = f"{type(exc).__name__}: {exc}{hint}"
        raise ArchitectureError(f"{where}: cannot import component {name!r}: {said}") from exc
    if not isinstance(getattr(found, "kind", None), ComponentType):
        raise ArchitectureError(
            f"{where}: {name!r} is no component: it has no class attribute `kind` of type ComponentType"
        )
    return found


def resolve_component_type(name: str, where: str) -> ComponentType:
    """The kind of a built-in or custom component; raises ArchitectureError with the nearest legal name."""
    if name in COMPONENT_TYPES:
        return COMPONENT_TYPES[name]
    kind = load_component_class(name, where).kind
    assert isinstance(kind, ComponentType)
    return kind
