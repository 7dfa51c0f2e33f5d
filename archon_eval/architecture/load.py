"""From what a person wrote (file, preset name or mapping) to an Architecture, with errors that say where.

    load_architecture("moa-lite")                       # a preset
    load_architecture("my/critic-ranker-fuser.yaml")    # a file, YAML or JSON
    load_architecture({"layers": [{"generator": "openai/gpt-4o"}]})

The file's grammar: `name`, `description`, `layers`; and, for every component at once, generation settings
(`temperature: 0.7`), `on_error`, `reask` and `prompts` (by kind). A layer is a mapping with one key, its kind; the
value is a model, a mapping (`{model: ..., samples: 2}`) or a list of those.
"""

import json
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any
from unicodedata import category

import yaml

from archon_eval.architecture.component_types import ComponentType, describe_component, resolve_component_type
from archon_eval.architecture.prompts import extract_fields
from archon_eval.architecture.spec import (
    PLACEHOLDER,
    SETTING_NAMES,
    Architecture,
    ComponentSpec,
    GenerationSettings,
    Layer,
)
from archon_eval.errors import ArchitectureError, did_you_mean, quote

TOP_KEYS = ("name", "description", "layers", "settings", "prompts", "on_error", "reask")
COMPONENT_KEYS = ("model", "settings", "prompts", "on_error", "reask")
FILE_SUFFIXES = (".yaml", ".yml", ".json")

ArchitectureSource = str | os.PathLike[str] | Mapping[str, Any] | Architecture


def load_architecture(source: ArchitectureSource, models: Sequence[str] = ()) -> Architecture:
    """An Architecture from a file, a preset's name, a mapping or an Architecture.

    Args:
        source: path ending in .yaml, .yml or .json; or the name of a preset (`archon presets`); or a mapping.
        models: fill the placeholders `$1`, `$2..8`, `$all`, strongest first.

    Raises:
        ArchitectureError: unreadable, malformed, or against a rule of construction; says where and what is legal.
    """
    if isinstance(source, Architecture):
        found = source
    elif isinstance(source, Mapping):
        found = _parse_architecture(source, str(source.get("name", "unnamed")))
    else:
        text, where = _load_text(source)
        found = _parse_architecture(parse_text(text, where), Path(where).stem, where)
    return found.with_models(models) if models else found


def list_presets() -> list[str]:
    """The names of the architectures that ship with the package, sorted."""
    folder = resources.files("archon_eval.architecture.presets")
    return sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml"))


def read_file(path: Path) -> str:
    """The text of an architecture file; raises ArchitectureError when it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise ArchitectureError(f"cannot read architecture file {path}: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise ArchitectureError(f"architecture file {path} is not UTF-8 text (byte {exc.start})") from exc


def _load_text(source: str | os.PathLike[str]) -> tuple[str, str]:
    name = os.fspath(source)
    path = Path(name)
    try:
        if path.suffix.lower() in FILE_SUFFIXES or path.is_file():
            return read_file(path), name
    except ArchitectureError:
        raise
    except (OSError, ValueError) as exc:  # no path at all: too long, or with a NUL
        raise ArchitectureError(f"no architecture {quote(name, 80)}: {exc}") from None
    names = list_presets()
    if name in names:
        return (resources.files("archon_eval.architecture.presets") / f"{name}.yaml").read_text(encoding="utf-8"), name
    hint = did_you_mean(name, names)
    raise ArchitectureError(f"no architecture {name!r}: neither a file ({', '.join(FILE_SUFFIXES)}) nor a preset{hint}")


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice."""


def _construct_strict_mapping(
    loader: yaml.SafeLoader, node: yaml.MappingNode, deep: bool = False
) -> dict[Hashable, Any]:
    seen: dict[Hashable, Any] = {}
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *base`
            continue
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is no plain value", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is written twice", key_node.start_mark)
        seen[key] = None
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_strict_mapping)


def _reject_duplicate_keys(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ArchitectureError(f"key {key!r} is written twice")
        found[key] = value
    return found


def parse_text(text: str, where: str, what: str = "an architecture is a mapping with `layers`") -> Mapping[str, Any]:
    """YAML or JSON text as a mapping; duplicate keys and anything but a mapping (`what` says of what) are errors."""
    form = "JSON" if where.lower().endswith(".json") else "YAML"
    try:
        data = (
            json.loads(text, object_pairs_hook=_reject_duplicate_keys)
            if form == "JSON"
            else yaml.load(text, Loader=_StrictLoader)
        )
    except ArchitectureError as exc:
        raise ArchitectureError(f"{where}: {exc}") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise ArchitectureError(f"{where}: not readable as {form}: {exc}") from exc
    if not isinstance(data, Mapping):
        raise ArchitectureError(f"{where}: {what}, not {_describe_value(data)}")
    return data


def _parse_architecture(data: Mapping[str, Any], name: str, where: str = "architecture") -> Architecture:
    _check_keys(data, (*TOP_KEYS, *SETTING_NAMES), where)
    layers = data.get("layers")
    if not isinstance(layers, Sequence) or isinstance(layers, str) or not layers:
        raise ArchitectureError(
            f"{where}: `layers` must be a list of at least one layer, not {_describe_value(layers)}"
        )
    for key in ("name", "description"):
        if not isinstance(data.get(key, ""), str):
            raise ArchitectureError(f"{where}: `{key}` must be text, not {_describe_value(data[key])}")
    if any(category(character) == "Cc" for character in str(data.get("name", name))):
        raise ArchitectureError(f"{where}: `name` holds control characters: {quote(str(data.get('name', name)), 60)}")
    shared = {key: data[key] for key in ("settings", "on_error", "reask", *SETTING_NAMES) if key in data}
    prompts = _require_mapping(data.get("prompts", {}), f"{where}: `prompts`")
    used: set[str] = set()
    built = []
    for number, layer in enumerate(layers, 1):
        built.append(_parse_layer(layer, shared, prompts, f"{where}: layer {number}", used))
    if unused := sorted(set(map(str, prompts)) - used):
        hint = did_you_mean(unused[0], used)
        raise ArchitectureError(f"{where}: `prompts` names {unused[0]!r}, which no layer has{hint}")
    try:
        return Architecture(str(data.get("name", name)), tuple(built), str(data.get("description", "")))
    except ArchitectureError as exc:
        raise ArchitectureError(str(exc) if where == "architecture" else f"{where}: {exc}") from None


def _parse_layer(
    layer: Any, shared: Mapping[str, Any], prompts: Mapping[str, Any], where: str, used: set[str]
) -> tuple[ComponentSpec, ...]:
    data = _require_mapping(layer, where, "a mapping of one kind of component, e.g. {generator: openai/gpt-4o}")
    if len(data) != 1:
        kinds = ", ".join(map(str, data)) or "nothing"
        raise ArchitectureError(f"{where} holds {kinds}: one kind of component in a layer (rule 1)")
    name, value = next(iter(data.items()))
    kind = resolve_component_type(str(name), where)
    used.add(str(name))
    common = {**shared, **({"prompts": prompts[str(name)]} if str(name) in prompts else {})}
    items = value if isinstance(value, list | tuple) else [value]
    if not items:
        raise ArchitectureError(f"{where}: {name} has no component")
    found: list[ComponentSpec] = []
    for position, item in enumerate(items, 1):
        at = f"{where}: {name}" + (f" {position} of {len(items)}" if len(items) > 1 else "")
        own = {"model": item} if isinstance(item, str) else _require_mapping(item or {}, at, "a model or a mapping")
        found += _expand_placeholder(_parse_component(str(name), kind, own, common, at), at)
    return tuple(found)


def _parse_component(
    name: str, kind: ComponentType, own: Mapping[str, Any], common: Mapping[str, Any], where: str
) -> ComponentSpec:
    inline = tuple(key for key in SETTING_NAMES if key not in kind.options)
    _check_keys(own, (*COMPONENT_KEYS, *kind.options, *inline), where)
    model = own.get("model", "")
    if not isinstance(model, str):
        raise _create_model_error(where, model)
    settings = GenerationSettings()
    for layer in (common, own):
        given = {**_require_mapping(layer.get("settings", {}), f"{where}: `settings`")}
        given |= {key: layer[key] for key in (inline if layer is own else SETTING_NAMES) if key in layer}
        settings = _parse_settings(settings, given, where)
    options = []
    for key in (key for key in kind.options if key in own):
        option = kind.options[key]
        if not option.is_valid(own[key]):
            raise ArchitectureError(f"{where}: `{key}` must be {option.legal}, not {own[key]!r}")
        if own[key] != option.default:
            options.append((key, _freeze_value(own[key], f"{where}: `{key}`")))
    prompts = _parse_prompts(
        kind,
        {**_require_mapping(common.get("prompts", {}), where), **_require_mapping(own.get("prompts", {}), where)},
        where,
    )
    on_error = own.get("on_error", common.get("on_error", "fail"))
    if on_error not in ("fail", "drop"):
        raise ArchitectureError(f"{where}: `on_error` must be fail or drop, not {on_error!r}")
    reask = own.get("reask", common.get("reask", 2))
    if not isinstance(reask, int) or isinstance(reask, bool) or not 0 <= reask <= 10:
        raise ArchitectureError(f"{where}: `reask` must be a whole number from 0 to 10, not {reask!r}")
    spec = ComponentSpec(
        name,
        model.strip(),
        settings,
        options=tuple(sorted(options)),
        prompts=prompts,
        on_error=on_error,
        reask=reask,
    )
    if not spec.model and describe_component(spec, where).needs_model:
        raise _create_model_error(where, model)
    return spec


def _create_model_error(where: str, model: Any) -> ArchitectureError:
    return ArchitectureError(f"{where} needs `model:`, an Inspect model name such as openai/gpt-4o; got {model!r}")


def _freeze_value(value: Any, where: str) -> Any:
    """The value with tuples for lists, so that it cannot change; anything JSON does not know is an error."""
    if isinstance(value, list | tuple):
        return tuple(_freeze_value(item, where) for item in value)
    if isinstance(value, Mapping):
        return {str(key): _freeze_value(item, where) for key, item in value.items()}
    if not isinstance(value, str | int | float | bool | None):
        raise ArchitectureError(
            f"{where} must be text, numbers, true/false, or lists of them, not {_describe_value(value)}"
        )
    return value


def _expand_placeholder(spec: ComponentSpec, where: str) -> Layer:
    """`$2..8` becomes seven components, so that calls can be counted before the models are known."""
    if not spec.model.startswith("$"):
        return (spec,)
    match = PLACEHOLDER.fullmatch(spec.model)
    if not match or int(match["first"] or 1) == 0 or (match["last"] and int(match["last"]) < int(match["first"])):
        raise ArchitectureError(f"{where}: placeholder {spec.model!r} must be $1, $2..8 or $all")
    if not match["last"]:
        return (spec,)
    return tuple(replace(spec, model=f"${n}") for n in range(int(match["first"]), int(match["last"]) + 1))


NUMBER_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
}
REASONING_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
INT_MINIMUMS: Mapping[str, int] = {"max_tokens": 1, "top_k": 1, "seed": 0, "reasoning_tokens": 0}


def _parse_settings(base: GenerationSettings, given: Mapping[str, Any], where: str) -> GenerationSettings:
    _check_keys(given, SETTING_NAMES, f"{where}: `settings`")
    clean: dict[str, Any] = {}
    for key, value in given.items():
        if key == "stop":
            items = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else [None]
            if not all(isinstance(item, str) and item for item in items):
                raise ArchitectureError(f"{where}: `stop` must be text or a list of texts, none empty, not {value!r}")
            clean[key] = tuple(items)
        elif value is None:
            clean[key] = value
        elif key == "reasoning_effort":
            if value not in REASONING_EFFORTS:
                raise ArchitectureError(f"{where}: `{key}` is {value!r}{did_you_mean(str(value), REASONING_EFFORTS)}")
            clean[key] = value
        elif key in NUMBER_RANGES:
            low, high = NUMBER_RANGES[key]
            if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
                raise ArchitectureError(f"{where}: `{key}` must be a number from {low} to {high}, not {value!r}")
            clean[key] = float(value)
        elif not isinstance(value, int) or isinstance(value, bool) or value < INT_MINIMUMS.get(key, 0):
            raise ArchitectureError(
                f"{where}: `{key}` must be a whole number of at least {INT_MINIMUMS.get(key, 0)}, not {value!r}"
            )
        else:
            clean[key] = value
    return replace(base, **clean)


def _parse_prompts(kind: ComponentType, given: Mapping[str, Any], where: str) -> tuple[tuple[str, str], ...]:
    for name, text in given.items():
        if name not in kind.prompts:
            legal = did_you_mean(str(name), kind.prompts) if kind.prompts else "; it has none"
            raise ArchitectureError(f"{where}: {kind.name} has no prompt {name!r}{legal}")
        if not isinstance(text, str) or not text.strip():
            raise ArchitectureError(f"{where}: prompt {name!r} must be text, not {quote(str(text))}")
        prompt, used = kind.prompts[name], extract_fields(text)
        if missing := prompt.required - used:
            raise ArchitectureError(f"{where}: prompt {name!r} must use {{{'} and {'.join(sorted(missing))}}}")
        if unknown := used - prompt.required - prompt.optional:
            hint = did_you_mean(sorted(unknown)[0], prompt.required | prompt.optional)
            raise ArchitectureError(f"{where}: prompt {name!r} uses unknown field {{{sorted(unknown)[0]}}}{hint}")
    return tuple(sorted(given.items()))


def _check_keys(data: Mapping[str, Any], legal: Iterable[str], where: str) -> None:
    legal = tuple(legal)
    for key in data:
        if key not in legal:
            raise ArchitectureError(f"{where}: unknown key {key!r}{did_you_mean(str(key), legal)}")


def _require_mapping(value: Any, where: str, wanted: str = "a mapping") -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ArchitectureError(f"{where} must be {wanted}, not {_describe_value(value)}")
    return value


def _describe_value(value: Any) -> str:
    if value is None:
        return "nothing"
    names = {list: "a list", str: "text", int: "a number", float: "a number", bool: "true/false"}
    return f"{names.get(type(value), type(value).__name__)} ({quote(str(value), 60)})"
