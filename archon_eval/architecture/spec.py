"""What an architecture is: layers of components, immutable, checked when built, with a stable fingerprint.

    arch = load_architecture("moa-lite").with_models(["openai/gpt-4o", "anthropic/claude-3-5-sonnet-20240620"])
    arch.fingerprint        # "1f0c…", the same for the same behaviour whatever the name or the file's layout

Rules of construction: Archon v6, section 3.2 and Table 4. Reading files is in `loading.py`.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import yaml

from archon_eval.architecture.component_types import COMPONENT_TYPES, ComponentType, resolve_component_type
from archon_eval.errors import ArchitectureError

PROMPTS_VERSION = 1
"""Version of the built-in prompt wordings and parsers; part of every fingerprint, since answers depend on it."""

PLACEHOLDER = re.compile(r"\$(?:(?P<first>\d+)(?:\.\.(?P<last>\d+))?|(?P<all>all))")
"""`$1` the user's strongest model, `$2..8` a range, `$all` every one."""


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """Generation settings of one component; None leaves a setting to the provider."""

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


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """One component of a layer."""

    kind: str
    """A name of `kinds.KINDS`, or a custom component's entry point or `module:Class`."""
    model: str = ""
    """An Inspect model name, or a placeholder (`$1`); empty for custom components that call none."""
    settings: GenerationSettings = GenerationSettings()
    options: tuple[tuple[str, Any], ...] = ()
    """What differs from the defaults, sorted by name; read with `get_option`."""
    prompts: tuple[tuple[str, str], ...] = ()
    """Own wording by prompt name; a prompt that is not here has the built-in wording."""
    on_error: Literal["fail", "drop"] = "fail"
    """What a call that failed for good does: fail the question, or go on without it (counted)."""
    reask: int = 2
    """How often a reply that cannot be parsed is asked for again before the fallback applies."""

    def get_option(self, name: str) -> Any:
        """An option's value, its default where it was not set."""
        return dict(self.options).get(name, resolve_component_type(self.kind, self.kind).options[name].default)

    def get_prompt(self, name: str, default: str) -> str:
        """The user's wording of a prompt, or the built-in one."""
        return dict(self.prompts).get(name, default)


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
        """16 hex digits over everything that changes an answer: not the name, the description or the layout."""
        canonical = json.dumps([PROMPTS_VERSION, self.to_mapping()["layers"]], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def models(self) -> tuple[str, ...]:
        """Every model named, once, in order of first use; placeholders included."""
        return tuple(dict.fromkeys(spec.model for layer in self.layers for spec in layer if spec.model))

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
            tuple(spec for given in layer for spec in _fill_placeholders(given, models)) for layer in self.layers
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


def _fill_placeholders(spec: ComponentSpec, models: Sequence[str]) -> list[ComponentSpec]:
    match = PLACEHOLDER.fullmatch(spec.model)
    if not match:
        return [spec]
    if match["all"]:
        return [replace(spec, model=model) for model in models]
    return [replace(spec, model=models[(int(match["first"]) - 1) % len(models)])]


def _thaw_value(value: Any) -> Any:
    """Lists for tuples, as a file is written."""
    if isinstance(value, Mapping):
        return {key: _thaw_value(item) for key, item in value.items()}
    return [_thaw_value(item) for item in value] if isinstance(value, tuple) else value


def _dump_component(spec: ComponentSpec) -> str | dict[str, Any]:
    plain = ComponentSpec(spec.kind)
    extra: dict[str, Any] = {k: _thaw_value(v) for k, v in spec.options if v != plain.get_option(k)}
    for name in SETTING_NAMES:
        value = getattr(spec.settings, name)
        if value != getattr(plain.settings, name):
            target = (
                extra.setdefault("settings", {}) if name in resolve_component_type(spec.kind, "").options else extra
            )
            target[name] = list(value) if isinstance(value, tuple) else value
    for name in ("on_error", "reask"):
        if getattr(spec, name) != getattr(plain, name):
            extra[name] = getattr(spec, name)
    if spec.prompts:
        extra["prompts"] = dict(spec.prompts)
    if not extra and spec.model:
        return spec.model
    return {**({"model": spec.model} if spec.model else {}), **extra}


def find_broken_rules(layers: Sequence[Layer]) -> list[str]:
    """Every rule of construction the layers break, each naming its layer; empty when all hold."""
    if not layers:
        return ["there is no layer; the first holds one or more generators"]
    problems: list[str] = []
    kinds: list[ComponentType] = []
    for number, layer in enumerate(layers, 1):
        if not layer:
            return [f"layer {number} is empty"]
        names = list(dict.fromkeys(spec.kind for spec in layer))
        if len(names) > 1:
            problems.append(f"layer {number} mixes {' and '.join(names)}: one kind of component in a layer (rule 1)")
        kinds.append(resolve_component_type(names[0], f"layer {number}"))
    for number, (layer, kind) in enumerate(zip(layers, kinds, strict=True), 1):
        problems += _check_placement(number, layer, kind)
    problems += _check_critiques(layers, kinds)
    problems += _check_tests(layers, kinds)
    problems += _check_programs(layers, kinds)
    return problems


def _check_placement(number: int, layer: Layer, kind: ComponentType) -> list[str]:
    found = []
    if kind.place == "first" and number > 1:
        found.append(f"layer {number} is {kind.name}: it may stand only in the first layer (rule 2)")
    if kind.place == "later" and number == 1:
        found.append(f"layer 1 is {kind.name}: the first layer holds generators (rule 2)")
    if kind.alone and len(layer) > 1:
        found.append(f"layer {number} has {len(layer)} components of kind {kind.name}: it stands alone (rule 4)")
    options = dict(layer[0].options)
    if "stop_after" in options and ("top_k" in options or options.get("keep") == "all" or "execute" in options):
        found.append(
            f"layer {number} is {kind.name}: `stop_after` cancels work that `top_k`, `keep: all` and `execute` must see"
        )
    return found


def _uses_critiques(layer: Layer) -> bool:
    return layer[0].kind in ("ranker", "fuser") and any(spec.get_option("use_critiques") for spec in layer)


def _check_critiques(layers: Sequence[Layer], kinds: Sequence[ComponentType]) -> list[str]:
    found = []
    for index, kind in enumerate(kinds):
        if not kind.writes_critiques:
            continue
        for layer, later in zip(layers[index + 1 :], kinds[index + 1 :], strict=True):
            if _uses_critiques(layer) or _is_custom(later):
                break
            if later.replaces or later.writes_critiques:
                found.append(f"layer {index + 1} is critic: its critiques are replaced before any use (rule 3)")
                break
        else:
            found.append(f"layer {index + 1} is critic: no later ranker or fuser uses its critiques (rule 3)")
    return found


def _is_custom(kind: ComponentType) -> bool:
    return COMPONENT_TYPES.get(kind.name) is not kind


def _check_tests(layers: Sequence[Layer], kinds: Sequence[ComponentType]) -> list[str]:
    found = []
    makes, reads = "unit_test_generator", "unit_test_evaluator"
    for index, kind in enumerate(kinds):
        before = kinds[index - 1] if index else None
        after = kinds[index + 1] if index + 1 < len(kinds) else None
        if kind.name == reads and not (before and (before.name == makes or _is_custom(before))):
            found.append(f"layer {index + 1} is {reads}: no {makes} directly before it (rule 6)")
        read = after and (after.name == reads or _is_custom(after) or _get_execution_option(layers[index + 1]))
        if kind.name == makes and not read:
            found.append(f"layer {index + 1} is {makes}: no {reads} directly after it (rule 6)")
    return found


def _get_execution_option(layer: Layer) -> str:
    """The option that makes a component run programs, as a user writes it; empty if it does not."""
    wanted = {"unit_test_evaluator": ("execute", "sandbox"), "vote": ("by", "outputs")}.get(layer[0].kind)
    return f"`{wanted[0]}: {wanted[1]}`" if wanted and layer[0].get_option(wanted[0]) == wanted[1] else ""


def _check_programs(layers: Sequence[Layer], kinds: Sequence[ComponentType]) -> list[str]:
    """Tests that are inputs with outputs are run, and nothing else is."""
    found = []
    runnable = False
    for number, (layer, kind) in enumerate(zip(layers, kinds, strict=True), 1):
        executes, where = _get_execution_option(layer), f"layer {number} is {kind.name}"
        if kind.name == "unit_test_generator":
            runnable = layer[0].get_option("form") == "input_output"
        if executes and layer[0].model:
            found.append(f"{where} with {executes}: it calls no model, leave `model` out")
        if executes and not runnable:
            found.append(f"{where} with {executes}: the unit_test_generator before it needs `form: input_output`")
        if kind.name == "unit_test_evaluator" and runnable and not executes:
            found.append(f"{where}: tests of `form: input_output` are run, not judged: it needs `execute: sandbox`")
    return found
