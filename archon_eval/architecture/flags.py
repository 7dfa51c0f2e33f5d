"""Settings that a user typed by hand (`--temperature 0`), and what an architecture's file says.

    flagged = apply_flags(architecture, GenerationSettings(temperature=0.0, max_tokens=None))
    find_flag_problems(architecture, flags)
    # ["temperature=0.0, given by hand, has no effect on layer 2 (ranker openai/gpt-4o), whose file says 0.3"]

A flag holds for every component that does not set its own, those that judge among them. Stop texts are no settings in
this: they end candidates, wherever they come from, and the replies of judging components never.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from archon_eval.architecture.component_types import describe_component
from archon_eval.architecture.reasoning_models import is_reasoning_model
from archon_eval.architecture.samples import AdaptiveSamples, read_samples
from archon_eval.architecture.spec import (
    DEFAULT_SETTINGS,
    SETTING_NAMES,
    Architecture,
    ComponentSpec,
    GenerationSettings,
    choose_settings,
)
from archon_eval.errors import ArchitectureError

FLAG_NAMES = tuple(name for name in SETTING_NAMES if name != "stop")


def list_flags(flags: GenerationSettings) -> dict[str, Any]:
    """The settings that were given, stop texts apart."""
    return {name: value for name, value in flags.dump_non_none().items() if name != "stop"}


def apply_flags(architecture: Architecture, flags: GenerationSettings) -> Architecture:
    """The architecture with the flags on every component that does not set its own."""
    given = list_flags(flags)
    if not given:
        return architecture
    return replace(
        architecture, layers=tuple(tuple(_apply(spec, given) for spec in layer) for layer in architecture.layers)
    )


def _apply(spec: ComponentSpec, given: Mapping[str, Any]) -> ComponentSpec:
    return set_settings(spec, {name: value for name, value in given.items() if name not in spec.own_settings})


def set_settings(spec: ComponentSpec, values: Mapping[str, Any]) -> ComponentSpec:
    """The component with settings that count as its own."""
    explicit = spec.explicit | {name for name, value in values.items() if value == DEFAULT_SETTINGS[name]}
    return replace(spec, settings=replace(spec.settings, **values), explicit=explicit)


def find_flag_problems(architecture: Architecture, flags: GenerationSettings) -> list[str]:
    """A sentence on every flag that has no effect on a component, or one that the user may not expect."""
    given, problems = list_flags(flags), list[str]()
    for name, value in given.items():
        own: dict[Any, list[str]] = {}
        for spec, where in _iterate_components(architecture):
            if name in spec.own_settings and getattr(spec.settings, name) != value:
                own.setdefault(getattr(spec.settings, name), []).append(where)
        problems += [
            f"{name}={value}, given by hand, has no effect on {_join(places)}, whose file says {other}"
            for other, places in own.items()
        ]
    problems += _find_flags_for_thoughts(architecture, given)
    if given.get("temperature") == 0:
        problems += _find_equal_draws(apply_flags(architecture, flags))
    if (limit := given.get("max_tokens")) is not None:
        judging = [
            where
            for spec, where in _iterate_components(architecture)
            if not describe_component(spec, where).replaces
            and spec.models
            and "max_tokens" not in spec.own_settings
            and limit < (choose_settings(spec).max_tokens or 0)
        ]
        if judging:
            problems.append(
                f"max_tokens={limit}, given by hand, holds for {_join(judging)} too: a verdict or ranking that is cut "
                "cannot be read"
            )
    return problems


def _find_flags_for_thoughts(architecture: Architecture, given: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on models that are not known to reason and so may not take such a flag: some providers leave it out and
    do not say so."""
    for name, value in given.items():
        if name not in ("reasoning_effort", "reasoning_tokens") or value == "none":
            continue
        models = [
            model
            for spec, _ in _iterate_components(architecture)
            for model in spec.models
            if name not in spec.own_settings and not is_reasoning_model(model)
        ]
        if models:
            yield (
                f"{name}={value}, given by hand, may have no effect on {_join(models)}, not known to think before "
                f"{'they answer' if len(set(models)) > 1 else 'it answers'}"
            )


def _find_equal_draws(flagged: Architecture) -> list[str]:
    problems = []
    for number, layer in enumerate(flagged.layers, 1):
        draws: dict[str, int] = {}
        for spec in layer:
            if describe_component(spec, "").replaces and spec.settings.temperature == 0 and spec.settings.seed is None:
                samples = dict(spec.options).get("samples", 1)
                count = _count_samples(samples)
                draws[spec.model] = draws.get(spec.model, 0) + count
        problems += [
            f"with temperature=0, given by hand, the {count} draws of {model} in layer {number} may be equal"
            for model, count in draws.items()
            if count > 1
        ]
    return problems


def _count_samples(samples: Any) -> int:
    """Of an option `samples`, which a component of a user's own may have with another meaning; 1 where it has."""
    try:
        read = read_samples(samples)
    except ArchitectureError:
        return 1
    return read.most if isinstance(read, AdaptiveSamples) else read


def list_changed_settings(own: Architecture, used: Architecture) -> list[dict[str, Any]]:
    """What was really used where it is not what the file says: per component its layer, place, model and settings.

    A larger limit on the replies of a model that reasons is among them.
    """
    changed = []
    for number, (before, after) in enumerate(zip(own.layers, used.layers, strict=True), 1):
        for place, (old, new) in enumerate(zip(before, after, strict=True), 1):
            settings = choose_settings(new)
            values = {
                name: value
                for name in SETTING_NAMES
                if (value := getattr(settings, name)) != getattr(old.settings, name)
            }
            if values:
                changed.append({"layer": number, "component": place, "model": new.model, "settings": values})
    return changed


def _iterate_components(architecture: Architecture) -> Iterator[tuple[ComponentSpec, str]]:
    for number, layer in enumerate(architecture.layers, 1):
        for spec in layer:
            yield spec, f"layer {number} ({spec.kind}{f' {spec.model}' if spec.model else ''})"


def _join(places: list[str]) -> str:
    unique = list(dict.fromkeys(places))
    shown = unique if len(unique) <= 4 else [*unique[:3], f"{len(unique) - 3} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
