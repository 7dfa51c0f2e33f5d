"""What an architecture is: layers of components, immutable, checked when built, with a stable fingerprint.

    arch = load_architecture("moa-lite").with_models(["openai/gpt-4o", "anthropic/claude-3-5-sonnet-20240620"])
    arch.fingerprint        # "1f0c…", the same for the same behaviour whatever the name or the file's layout

The rules of construction are in `rules.py`, reading files is in `load.py`.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import yaml

from archon_eval._deprecated import RenamedMethod
from archon_eval._notes import show_note
from archon_eval.architecture.component_code import digest_component_code
from archon_eval.architecture.component_types import (
    ModelList,
    OverflowPolicy,
    find_version,
    list_named_models,
    map_named_models,
    resolve_component_type,
)
from archon_eval.architecture.option_values import thaw_value
from archon_eval.architecture.reasoning_models import is_reasoning_model
from archon_eval.architecture.rules import find_broken_rules
from archon_eval.architecture.stages import ROUTER, Stage, StageSpan, find_broken_stage_rules, locate_stages
from archon_eval.errors import ArchitectureError

PROMPTS_VERSION = 2
"""Version of the built-in prompts and parsers; part of every fingerprint, since answers depend on it. A test fails when
one of them changes and this number does not."""

FIRST_NAMES: Mapping[str, str] = {"max_parse_retries": "reask"}
"""Renamed options: new name -> the name that fingerprints have."""

RULE_PREFIX = "accept_"
"""How the kinds of the components begin that a stage names under `accept`."""
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
DEFAULT_SETTINGS: Mapping[str, Any] = {name: getattr(GenerationSettings(), name) for name in SETTING_NAMES}
NO_SETTINGS = GenerationSettings(temperature=None, max_tokens=None)
"""Nothing set at all."""
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
    system: str = ""
    """A system message of the user's own, with the fields of `system_prompts.list_system_fields`; empty for none."""
    on_error: Literal["fail", "drop"] = "fail"
    """What a call that failed for good does: fail the question, or go on without it (counted)."""
    max_parse_retries: int = 2
    """How often a reply that cannot be parsed is asked for again before the fallback applies."""
    on_overflow: OverflowPolicy = "fail"
    """What happens when a prompt does not fit the model's context window: the call fails, or is made again without the
    longest candidate, or with the longest candidates shortened."""
    explicit: frozenset[str] = frozenset()
    """Names of settings that were written down though they are at their defaults (`temperature: 0.7`)."""

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

    @property
    def own_settings(self) -> frozenset[str]:
        """Names of the settings that it sets itself, so that no flag changes them; a null leaves a setting open.

        >>> sorted(ComponentSpec("generator", "a/x", GenerationSettings(0.2, max_tokens=None)).own_settings)
        ['temperature']
        """
        values = {name: getattr(self.settings, name) for name in SETTING_NAMES}
        return frozenset(
            name
            for name, value in values.items()
            if value not in (None, ()) and (name in self.explicit or value != DEFAULT_SETTINGS[name])
        )

    def get_prompt(self, name: str, default: str) -> str:
        """The user's own prompt of this name, or the built-in one."""
        return dict(self.prompts).get(name, default)

    @property
    def models(self) -> tuple[str, ...]:
        """Every model it may call, once: `model`, then those of its model options. Placeholders included."""
        options, given = resolve_component_type(self.kind, self.kind).options, dict(self.options)
        values = (given.get(name, option.default) for name, option in options.items() if option.names_model)
        further = (model for value in values for model in list_named_models(value))
        return tuple(dict.fromkeys(model for model in (self.model, *further) if model))

    @property
    def model_options(self) -> tuple[str, ...]:
        """Names of the options that hold further models."""
        options = resolve_component_type(self.kind, self.kind).options
        return tuple(name for name, option in options.items() if option.names_model)

    @property
    def named_code(self) -> tuple[str, ...]:
        """The functions, solvers and agents that its options name."""
        options = resolve_component_type(self.kind, self.kind).options
        return tuple(value for name, value in self.options if value and options[name].read_code)

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
    imported_from: str = ""
    """The original project's config that it comes from; its models stand for others in the order of their first use.
    Empty for any other architecture."""
    stages: tuple[Stage, ...] = ()
    """Of a cascade; empty for an architecture whose layers all work on every question."""
    measure_only: bool = False
    """Whether the rules of its stages only measure: every stage is asked, and the answer is the last one's."""

    def __post_init__(self) -> None:
        if self.stages:
            problems = find_broken_stage_rules(self.layers, self.stages, self.measure_only)
        else:
            problems = find_broken_rules(self.layers)
        if problems:
            listed = "\n".join(f"  - {problem}" for problem in problems)
            raise ArchitectureError(f"architecture {self.name!r} breaks the rules of construction:\n{listed}")

    @classmethod
    def from_checked_layers(
        cls, name: str, layers: tuple[Layer, ...], stages: tuple[Stage, ...] = ()
    ) -> "Architecture":
        """An architecture of layers that are known to keep the rules of construction: for spaces of many thousands, in
        which checking each would take most of the time."""
        made = object.__new__(cls)
        rest = (("description", ""), ("imported_from", ""), ("stages", stages), ("measure_only", False))
        for field, value in (("name", name), ("layers", layers), *rest):
            object.__setattr__(made, field, value)
        return made

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over everything that changes an answer, the code of custom components among it: not the name,
        the description or the layout."""
        kinds = sorted({spec.kind for layer in self.layers for spec in layer})
        parts = [PROMPTS_VERSION, _restore_first_names(self._dump_layers(with_explicit=False))]
        versions = {kind: find_version(kind) for kind in kinds}
        # what is as it was in the first version adds nothing, so that old fingerprints stay
        changed = {kind: version for kind, version in versions.items() if version > 1}
        limits = [[list_raised_limits(spec) for spec in layer] for layer in self.layers]
        raised = {"reply_limits": limits} if any(map(any, limits)) else {}
        named = [digest for layer in self.layers for spec in layer if (digest := _digest_named_code(spec))]
        more: list[Any] = [part for part in (digest_component_code(kinds), changed, raised, named) if part]
        if self.stages:
            stages = [(stage.depth, stage.has_rule, stage.keep) for stage in self.stages]
            more.append({"stages": stages, "measure_only": self.measure_only})
        if self.router is not None:  # its rows name stages, and a model reads what they are good for
            more.append({"router": dict(self.router.get_option("stages"))})
        canonical = json.dumps([*parts, *more], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def router(self) -> ComponentSpec | None:
        """The component that chooses the stage which is asked first; None where it is always the first."""
        return self.layers[0][0] if self.stages and self.layers[0][0].kind == ROUTER else None

    @property
    def spans(self) -> tuple[StageSpan, ...]:
        """Where the stages of a cascade stand among the layers; one without a name for any other architecture."""
        stages = self.stages or (Stage("", len(self.layers)),)
        return locate_stages(stages, has_router=self.router is not None)

    @property
    def models(self) -> tuple[str, ...]:
        """Every model named, once, in order of first use; placeholders included."""
        return tuple(dict.fromkeys(model for layer in self.layers for spec in layer for model in spec.models))

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The models that are still placeholders."""
        return tuple(model for model in self.models if PLACEHOLDER.fullmatch(model))

    def with_models(
        self, models: Sequence[str] = (), *, fusers: Sequence[str] = (), judges: Sequence[str] = ()
    ) -> "Architecture":
        """The same architecture with its placeholders filled: `$1` is `models[0]`, the strongest.

        Fewer models than places: the list starts again from its first, and repeated places are further draws. An
        imported architecture has no placeholders: the first model that it uses becomes `models[0]`, and so on.

        Args:
            fusers: fill the places of components that fuse, in this order; `models` where it is empty.
            judges: the same for components that judge candidates or write tests.

        Raises:
            ArchitectureError: a list that no component takes, or places without a list.
        """
        lists: dict[ModelList, Sequence[str]] = {"models": models, "fusers": fusers, "judges": judges}
        given = {name: names for name, names in lists.items() if names}
        specs = [spec for layer in self.layers for spec in layer]
        is_mapped = bool(given and self.imported_from and not self.placeholders)
        taking = [spec for spec in specs if spec.models and (is_mapped or _has_place(spec))]
        taken = {choose_model_list(spec, given) for spec in taking}
        for name in given:
            if name not in taken:
                raise ArchitectureError(self._explain_unused(name))
        if is_mapped:
            return self._map_by_use(given)
        if self.placeholders and not taken <= given.keys():
            raise ArchitectureError(
                f"architecture {self.name!r} has places for models ({', '.join(self.placeholders)}): "
                "name yours, strongest first, e.g. models=openai/gpt-4o,openai/gpt-4o-mini, or models=sim/pool for the "
                "simulated ones (with -S for --solver archon, with -M for --model archon/...)"
            )
        if not given:
            return self

        return replace(self, layers=tuple(fill_layer(layer, given) for layer in self.layers))

    def rename_models(self, names: Mapping[str, str]) -> "Architecture":
        """The same architecture with other models: old name -> new name; those that are not named stay."""
        layers = tuple(tuple(_rename_models(spec, names) for spec in layer) for layer in self.layers)
        return replace(self, layers=layers)

    def _map_by_use(self, given: Mapping[ModelList, Sequence[str]]) -> "Architecture":
        renamed: dict[ModelList, dict[str, str]] = {name: {} for name in given}

        def rename(spec: ComponentSpec) -> ComponentSpec:
            if (name := choose_model_list(spec, given)) not in given:
                return spec
            for model in spec.models:
                renamed[name].setdefault(model, given[name][len(renamed[name]) % len(given[name])])
            return _rename_models(spec, renamed[name])

        mapped = replace(self, layers=tuple(tuple(map(rename, layer)) for layer in self.layers))
        rows = [f"  {old} -> {new} ({name})" for name, names in renamed.items() for old, new in names.items()]
        show_note("\n".join([f"{self.name} is imported: its models, in the order of their first use, become", *rows]))
        return mapped

    def _explain_unused(self, name: ModelList) -> str:
        """Why nothing takes a list of models, and what to do."""
        if name == "models" and self.placeholders:
            return f"models= changes nothing in architecture {self.name!r}: all its places take fusers= or judges="
        kinds = dict.fromkeys(
            spec.kind
            for layer in self.layers
            for spec in layer
            if spec.models and (name == "models" or resolve_component_type(spec.kind, spec.kind).model_list == name)
        )
        who = {"models": "calls a model", "fusers": "fuses", "judges": "judges"}[name]
        if not kinds:
            return f"{name}= changes nothing in architecture {self.name!r}: no component of it {who}"
        fixed = [model for model in self.models if not PLACEHOLDER.fullmatch(model)]
        return (
            f"{name}= changes nothing in architecture {self.name!r}: its file names the models itself "
            f"({', '.join(fixed)}; {', '.join(kinds)}). Write $1, $2, ... there instead, or make a file with other "
            "models: archon import FILE --map OLD=NEW -o NEW_FILE"
        )

    def to_mapping(self) -> dict[str, Any]:
        """A plain mapping that `load_architecture` reads back to an equal architecture."""
        top: dict[str, Any] = {"name": self.name}
        if self.description:
            top["description"] = self.description
        if self.imported_from:
            top["imported_from"] = self.imported_from
        layers = self._dump_layers(with_explicit=True)
        if not self.stages:
            return {**top, "layers": layers}
        if self.measure_only:
            top["measure_only"] = True
        router = layers[0][ROUTER][0] if self.router is not None else None
        if router is not None:
            top["router"] = _to_option_mapping(router)
        top["cascade"] = [_dump_stage(span, layers) for span in self.spans]
        return top

    def _dump_layers(self, *, with_explicit: bool) -> list[dict[str, Any]]:
        """The layers as a file has them; without explicit settings, what is at its default is left out."""
        return [
            {
                layer[0].kind: [
                    _dump_component(spec if with_explicit else replace(spec, explicit=frozenset())) for spec in layer
                ]
            }
            for layer in self.layers
        ]

    def to_yaml(self) -> str:
        """The architecture as a file a person can edit; what was not set and is at its default is not written."""
        return yaml.safe_dump(self.to_mapping(), sort_keys=False, allow_unicode=True, width=100)


REASONING_MAX_TOKENS = 16_384
"""Limit on the reply of a model that reasons, where none is set: providers count its thoughts with its answer."""


def is_reasoning(model: str, settings: GenerationSettings) -> bool:
    """Whether a model thinks before it answers, as far as its name and its settings tell."""
    if settings.reasoning_effort == "none" or model.startswith("sim/"):
        return False
    return settings.reasoning_effort is not None or bool(settings.reasoning_tokens) or is_reasoning_model(model)


def choose_settings(spec: ComponentSpec, model: str | None = None) -> GenerationSettings:
    """The settings with which a component calls a model (None: its first): a model that reasons gets a larger limit
    on its reply, `REASONING_MAX_TOKENS` and its `reasoning_tokens`, where nobody set one."""
    settings, called = spec.settings, spec.model if model is None else model
    if settings.max_tokens is None or not is_reasoning(called, settings) or "max_tokens" in spec.own_settings:
        return settings
    return replace(settings, max_tokens=REASONING_MAX_TOKENS + (settings.reasoning_tokens or 0))


def find_reply_limit(spec: ComponentSpec) -> int | None:
    """Tokens of a component's reply at most, whichever of its models writes it; None for no limit."""
    limits = [choose_settings(spec, model).max_tokens for model in spec.models or ("",)]
    known = [limit for limit in limits if limit is not None]
    return max(known) if len(known) == len(limits) else None


def list_raised_limits(spec: ComponentSpec) -> dict[str, int]:
    """The limits of `choose_settings` on replies of models that reason, by model; empty where it raises none."""
    limits = {model: choose_settings(spec, model).max_tokens for model in spec.models}
    return {model: limit for model, limit in limits.items() if limit is not None and limit != spec.settings.max_tokens}


def _digest_named_code(spec: ComponentSpec) -> str:
    """16 hexadecimal digits over the code that a component's options name; empty where they name none."""
    options = resolve_component_type(spec.kind, spec.kind).options
    sources = [read(value) for name, value in spec.options if value and (read := options[name].read_code)]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()[:16] if sources else ""


def _restore_first_names(value: Any) -> Any:
    """A mapping's options under the names they had when fingerprints were first taken, so that a fingerprint stays."""
    if isinstance(value, Mapping):
        return {FIRST_NAMES.get(key, key): _restore_first_names(item) for key, item in value.items()}
    return [_restore_first_names(item) for item in value] if isinstance(value, list) else value


def _has_place(spec: ComponentSpec) -> bool:
    return any(PLACEHOLDER.fullmatch(model) for model in spec.models)


def choose_model_list(spec: ComponentSpec, given: Collection[ModelList]) -> ModelList:
    """Which list fills a component's places: its own kind's where that is given."""
    own = resolve_component_type(spec.kind, spec.kind).model_list
    return own if own in given else "models"


def _rename_models(spec: ComponentSpec, names: Mapping[str, str]) -> ComponentSpec:
    named = set(spec.model_options)
    options = tuple(
        (key, map_named_models(value, lambda name: names.get(name, name)) if key in named else value)
        for key, value in spec.options
    )
    return replace(spec, model=names.get(spec.model, spec.model), options=options)


def fill_layer(layer: Layer, given: Mapping[ModelList, Sequence[str]]) -> Layer:
    """A layer with its placeholders filled from the lists, which have what its components need."""
    return tuple(
        new
        for spec in layer
        for new in (_fill_placeholders(spec, given[choose_model_list(spec, given)]) if _has_place(spec) else [spec])
    )


def _fill_placeholders(spec: ComponentSpec, models: Sequence[str]) -> list[ComponentSpec]:
    named = set(spec.model_options)
    options = tuple(
        (key, map_named_models(value, lambda name: _fill_model(name, models)) if key in named else value)
        for key, value in spec.options
    )
    match = PLACEHOLDER.fullmatch(spec.model)
    chosen = models if match and match["all"] else [_fill_model(spec.model, models)]
    return [replace(spec, model=model, options=options) for model in chosen]


def _fill_model(name: Any, models: Sequence[str]) -> Any:
    match = PLACEHOLDER.fullmatch(name or "")
    return models[(int(match["first"]) - 1) % len(models)] if match and match["first"] else name


def _dump_stage(span: StageSpan, layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A stage as a file has it."""
    stage = span.stage
    plain: dict[str, Any] = {"name": stage.name}
    if stage.description:
        plain["description"] = stage.description
    plain["layers"] = list(layers[span.first - 1 : span.last])
    if span.rule is not None:
        [(kind, [rule])] = layers[span.rule - 1].items()
        plain["accept"] = {kind.removeprefix(RULE_PREFIX): _to_option_mapping(rule)}
    return {**plain, "keep": True} if stage.keep else plain


def _list_derived(kind: str) -> list[str]:
    return [name for name, option in resolve_component_type(kind, kind).options.items() if option.is_derived]


def _to_option_mapping(dumped: str | dict[str, Any]) -> dict[str, Any]:
    return {"model": dumped} if isinstance(dumped, str) else dumped


def _dump_component(spec: ComponentSpec) -> str | dict[str, Any]:
    plain = ComponentSpec(spec.kind)
    extra: dict[str, Any] = {
        k: thaw_value(v) for k, v in spec.options if v != plain.get_option(k) and k not in _list_derived(spec.kind)
    }
    for name in SETTING_NAMES:
        value = getattr(spec.settings, name)
        if value != getattr(plain.settings, name) or name in spec.explicit:
            target = (
                extra.setdefault("settings", {}) if name in resolve_component_type(spec.kind, "").options else extra
            )
            target[name] = list(value) if isinstance(value, tuple) else value
    for name in COMMON_OPTIONS:
        if getattr(spec, name) != getattr(plain, name):
            extra[name] = getattr(spec, name)
    if spec.system:
        extra["system"] = spec.system
    if spec.prompts:
        extra["prompts"] = dict(spec.prompts)
    if not extra and spec.model:
        return spec.model
    return {**({"model": spec.model} if spec.model else {}), **extra}
