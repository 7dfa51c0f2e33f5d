"""What an architecture is: layers of components, immutable, checked when built, with a stable fingerprint.

    arch = load_architecture("moa-lite").with_models(["openai/gpt-4o", "anthropic/claude-3-5-sonnet-20240620"])
    arch.fingerprint        # "1f0c…", the same for the same behaviour whatever the name or the file's layout

The rules of construction are in `rules.py`, reading files is in `load.py`.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import yaml

from archon_eval._deprecated import RenamedMethod
from archon_eval.architecture.component_code import digest_component_code
from archon_eval.architecture.component_types import OverflowPolicy, find_version, resolve_component_type
from archon_eval.architecture.option_values import thaw_value
from archon_eval.architecture.rules import find_broken_rules
from archon_eval.errors import ArchitectureError

PROMPTS_VERSION = 2
"""Version of the built-in prompts and parsers; part of every fingerprint, since answers depend on it. A test fails when
one of them changes and this number does not."""

FIRST_NAMES: Mapping[str, str] = {"max_parse_retries": "reask"}
"""Renamed options: new name -> the name that fingerprints have."""

PLACEHOLDER = re.compile(r"\$(?:(?P<first>\d+)(?:\.\.(?P<last>\d+))?|(?P<all>all))")
"""`$1` the user's strongest model, `$2..8` a range, `$all` every one."""


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """Generation settings of one component; None leaves a setting to the provider.

    >>> GenerationSettings(temperature=0.0).dump_non_none()
    {'temperature': 0.0, 'max_tokens': 2048}
    """

    temperature: float | None = 0.7
    """The papers' default for every component."""
    max_tokens: int | None = 2048
    """Limit on the reply, in tokens."""
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    reasoning_tokens: int | None = None

    def dump_non_none(self) -> dict[str, Any]:
        """The settings that are set, as a plain mapping."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) not in (None, ())}


SETTING_NAMES = tuple(f.name for f in fields(GenerationSettings))
COMMON_OPTIONS = ("on_error", "max_parse_retries", "on_overflow")
"""Fields of `ComponentSpec` that a file may set on every component, or at its top for all of them."""


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """One component of a layer."""

    kind: str
    """A name of `BUILT_IN_COMPONENTS`, or a custom component's entry point or `module:Class`."""
    model: str = ""
    """An Inspect model name, or a placeholder (`$1`); empty for components that call none."""
    settings: GenerationSettings = GenerationSettings()
    options: tuple[tuple[str, Any], ...] = ()
    """What differs from the defaults, sorted by name; read with `get_option`."""
    prompts: tuple[tuple[str, str], ...] = ()
    """The user's own prompts by name; a prompt that is not here is the built-in one."""
    on_error: Literal["fail", "drop"] = "fail"
    """What a call that failed for good does: fail the question, or go on without it (counted)."""
    max_parse_retries: int = 2
    """How often a reply that cannot be parsed is asked for again before the fallback applies."""
    on_overflow: OverflowPolicy = "fail"
    """What happens when a prompt does not fit the model's context window: the call fails, or is made again without the
    longest candidate, or with the longest candidates shortened."""

    def get_option(self, name: str) -> Any:
        """An option's value, its default where it was not set.

        Raises:
            ArchitectureError: the component declares no option of this name.
        """
        options = resolve_component_type(self.kind, self.kind).options
        if name not in options:
            declared = ", ".join(options) or "none"
            raise ArchitectureError(f"{self.kind} reads option {name!r}, which it does not declare ({declared})")
        return dict(self.options).get(name, options[name].default)

    def get_prompt(self, name: str, default: str) -> str:
        """The user's own prompt of this name, or the built-in one."""
        return dict(self.prompts).get(name, default)

    @property
    def models(self) -> tuple[str, ...]:
        """Every model it may call, once: `model`, then those of its model options. Placeholders included."""
        further = (self.get_option(name) for name in self.model_options)
        return tuple(dict.fromkeys(model for model in (self.model, *further) if model))

    @property
    def model_options(self) -> tuple[str, ...]:
        """Names of the options that hold a further model."""
        options = resolve_component_type(self.kind, self.kind).options
        return tuple(name for name, option in options.items() if option.names_model)

    option = RenamedMethod("get_option")
    prompt = RenamedMethod("get_prompt")


Layer = tuple[ComponentSpec, ...]


@dataclass(frozen=True)
class Architecture:
    """Layers of components through which the candidates of one question pass."""

    name: str
    layers: tuple[Layer, ...]
    description: str = ""
    """What it is for, and the source it cites."""

    def __post_init__(self) -> None:
        problems = find_broken_rules(self.layers)
        if problems:
            listed = "\n".join(f"  - {problem}" for problem in problems)
            raise ArchitectureError(f"architecture {self.name!r} breaks the rules of construction:\n{listed}")

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over everything that changes an answer, the code of custom components among it: not the name,
        the description or the layout."""
        kinds = sorted({spec.kind for layer in self.layers for spec in layer})
        parts = [PROMPTS_VERSION, _restore_first_names(self.to_mapping()["layers"])]
        versions = {kind: find_version(kind) for kind in kinds}
        # what is as it was in the first version adds nothing, so that old fingerprints stay
        changed = {kind: version for kind, version in versions.items() if version > 1}
        more = [part for part in (digest_component_code(kinds), changed) if part]
        canonical = json.dumps([*parts, *more], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def models(self) -> tuple[str, ...]:
        """Every model named, once, in order of first use; placeholders included."""
        return tuple(dict.fromkeys(model for layer in self.layers for spec in layer for model in spec.models))

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The models that are still placeholders."""
        return tuple(model for model in self.models if PLACEHOLDER.fullmatch(model))

    def with_models(self, models: Sequence[str]) -> "Architecture":
        """The same architecture with its placeholders filled: `$1` is `models[0]`, the strongest.

        Fewer models than places: the list starts again from its first, and repeated places are further draws.
        """
        if not self.placeholders:
            return self
        if not models:
            raise ArchitectureError(
                f"architecture {self.name!r} has places for models ({', '.join(self.placeholders)}): "
                "name yours, strongest first, e.g. models=openai/gpt-4o,openai/gpt-4o-mini, or models=sim/pool for the "
                "simulated ones (with -S for --solver archon, with -M for --model archon/...)"
            )
        layers = tuple(
            tuple(filled for spec in layer for filled in _fill_placeholders(spec, models)) for layer in self.layers
        )
        return replace(self, layers=layers)

    def to_mapping(self) -> dict[str, Any]:
        """A plain mapping that `load_architecture` reads back to an equal architecture."""
        top: dict[str, Any] = {"name": self.name}
        if self.description:
            top["description"] = self.description
        top["layers"] = [{layer[0].kind: [_dump_component(spec) for spec in layer]} for layer in self.layers]
        return top

    def to_yaml(self) -> str:
        """The architecture as a file a person can edit; only what differs from the defaults is written."""
        return yaml.safe_dump(self.to_mapping(), sort_keys=False, allow_unicode=True, width=100)


def _restore_first_names(value: Any) -> Any:
    """A mapping's options under the names they had when fingerprints were first taken, so that a fingerprint stays."""
    if isinstance(value, Mapping):
        return {FIRST_NAMES.get(key, key): _restore_first_names(item) for key, item in value.items()}
    return [_restore_first_names(item) for item in value] if isinstance(value, list) else value


def _fill_placeholders(spec: ComponentSpec, models: Sequence[str]) -> list[ComponentSpec]:
    named = set(spec.model_options)
    options = tuple((key, _fill_model(value, models) if key in named else value) for key, value in spec.options)
    match = PLACEHOLDER.fullmatch(spec.model)
    chosen = models if match and match["all"] else [_fill_model(spec.model, models)]
    return [replace(spec, model=model, options=options) for model in chosen]


def _fill_model(name: Any, models: Sequence[str]) -> Any:
    match = PLACEHOLDER.fullmatch(name or "")
    return models[(int(match["first"]) - 1) % len(models)] if match and match["first"] else name


def _dump_component(spec: ComponentSpec) -> str | dict[str, Any]:
    plain = ComponentSpec(spec.kind)
    extra: dict[str, Any] = {k: thaw_value(v) for k, v in spec.options if v != plain.get_option(k)}
    for name in SETTING_NAMES:
        value = getattr(spec.settings, name)
        if value != getattr(plain.settings, name):
            target = (
                extra.setdefault("settings", {}) if name in resolve_component_type(spec.kind, "").options else extra
            )
            target[name] = list(value) if isinstance(value, tuple) else value
    for name in COMMON_OPTIONS:
        if getattr(spec, name) != getattr(plain, name):
            extra[name] = getattr(spec, name)
    if spec.prompts:
        extra["prompts"] = dict(spec.prompts)
    if not extra and spec.model:
        return spec.model
    return {**({"model": spec.model} if spec.model else {}), **extra}
