"""From a mapping, as a file or a person wrote it, to an Architecture, with errors that say where.

The grammar: `name`, `description`, `layers`; and, for every component at once, generation settings
(`temperature: 0.7`), `on_error`, `on_overflow`, `max_parse_retries` and `prompts` (by kind). A layer is a mapping with
one key, its kind; the value is a model, a mapping (`{model: ..., samples: 2}`) or a list of those.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from unicodedata import category

from archon_eval._deprecated import move_renamed_option
from archon_eval.architecture.component_types import (
    OVERFLOW_POLICIES,
    ComponentOption,
    ComponentType,
    describe_component,
    list_overflow_policies,
    resolve_component_type,
)
from archon_eval.architecture.option_values import describe_value, freeze_value
from archon_eval.architecture.prompts import extract_fields
from archon_eval.architecture.spec import (
    COMMON_OPTIONS,
    DEFAULT_SETTINGS,
    PLACEHOLDER,
    SETTING_NAMES,
    Architecture,
    ComponentSpec,
    GenerationSettings,
    Layer,
)
from archon_eval.errors import ArchitectureError, ArchonError, did_you_mean, quote

TOP_KEYS = ("name", "description", "layers", "settings", "prompts", *COMMON_OPTIONS)
COMPONENT_KEYS = ("model", "settings", "prompts", *COMMON_OPTIONS)
NUMBER_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
}
REASONING_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
INT_MINIMUMS: Mapping[str, int] = {"max_tokens": 1, "top_k": 1, "seed": 0, "reasoning_tokens": 0}


def parse_architecture(data: Mapping[str, Any], name: str, where: str = "architecture") -> Architecture:
    """The architecture of a mapping.

    Args:
        name: its name where the mapping has none.
        where: what errors begin with.

    Raises:
        ArchitectureError: malformed, or against a rule of construction; says where and what is legal.
    """
    data = _rename_options(data, where)
    _check_keys(data, (*TOP_KEYS, *SETTING_NAMES), where)
    layers = data.get("layers")
    if not isinstance(layers, Sequence) or isinstance(layers, str) or not layers:
        raise ArchitectureError(f"{where}: `layers` must be a list of at least one layer, not {describe_value(layers)}")
    for key in ("name", "description"):
        if not isinstance(data.get(key, ""), str):
            raise ArchitectureError(f"{where}: `{key}` must be text, not {describe_value(data[key])}")
    if any(category(character) == "Cc" for character in str(data.get("name", name))):
        raise ArchitectureError(f"{where}: `name` holds control characters: {quote(str(data.get('name', name)), 60)}")
    shared = {key: data[key] for key in ("settings", *COMMON_OPTIONS, *SETTING_NAMES) if key in data}
    prompts = _require_mapping(data.get("prompts", {}), f"{where}: `prompts`")
    used: set[str] = set()
    built = []
    for number, layer in enumerate(layers, 1):
        built.append(_parse_layer(layer, shared, prompts, where=f"{where}: layer {number}", used=used))
    if unused := sorted(set(map(str, prompts)) - used):
        hint = did_you_mean(unused[0], used)
        raise ArchitectureError(f"{where}: `prompts` names {unused[0]!r}, which no layer has{hint}")
    try:
        return Architecture(str(data.get("name", name)), tuple(built), str(data.get("description", "")))
    except ArchitectureError as exc:
        raise ArchitectureError(str(exc) if where == "architecture" else f"{where}: {exc}") from None


def _rename_options(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    values = dict(data)
    try:
        move_renamed_option(values, "reask", "max_parse_retries")
    except ArchonError as exc:
        raise ArchitectureError(f"{where}: {exc}") from None
    return values


def _parse_layer(
    layer: Any, shared: Mapping[str, Any], prompts: Mapping[str, Any], *, where: str, used: set[str]
) -> Layer:
    """A layer's components; adds the name of their kind to `used`."""
    data = _require_mapping(layer, where, "a mapping of one kind of component, e.g. {generator: openai/gpt-4o}")
    if len(data) != 1:
        kinds = ", ".join(map(str, data)) or "nothing"
        raise ArchitectureError(f"{where} holds {kinds}: one kind of component in a layer (rule 1)")
    name, value = next((str(key), value) for key, value in data.items())
    resolve_component_type(name, where)
    used.add(name)
    common = {**shared, **({"prompts": prompts[name]} if name in prompts else {})}
    items = value if isinstance(value, list | tuple) else [value]
    if not items:
        raise ArchitectureError(f"{where}: {name} has no component")
    specs: list[ComponentSpec] = []
    for position, item in enumerate(items, 1):
        at = f"{where}: {name}" + (f" {position} of {len(items)}" if len(items) > 1 else "")
        own = (
            {"model": item}
            if isinstance(item, str)
            else _require_mapping({} if item is None else item, at, "a model or a mapping")
        )
        specs += _expand_placeholder(_parse_component(name, own, common, where=at), at)
    return tuple(specs)


def _parse_component(name: str, own: Mapping[str, Any], common: Mapping[str, Any], *, where: str) -> ComponentSpec:
    """One component.

    Args:
        own: what is written on it.
        common: what holds for every component that does not set its own.
    """
    kind = resolve_component_type(name, where)
    inline = tuple(key for key in SETTING_NAMES if key not in kind.options)
    own = _rename_options(own, where)
    _check_keys(own, (*COMPONENT_KEYS, *kind.options, *inline), where)
    model = own.get("model", "")
    settings, given = GenerationSettings(), set[str]()
    for source, keys in ((common, SETTING_NAMES), (own, inline)):
        values = {**_require_mapping(source.get("settings", {}), f"{where}: `settings`")}
        values |= {key: source[key] for key in keys if key in source}
        settings = parse_settings(settings, values, f"{where}: `settings`", where)
        given |= values.keys()
    options = _parse_options(kind, own, where)
    wordings = [_require_mapping(source.get("prompts", {}), where) for source in (common, own)]
    prompts = _parse_prompts(kind, {**wordings[0], **wordings[1]}, where)
    on_error = own.get("on_error", common.get("on_error", "fail"))
    if on_error not in ("fail", "drop"):
        raise ArchitectureError(f"{where}: `on_error` must be fail or drop, not {on_error!r}")
    retries = own.get("max_parse_retries", common.get("max_parse_retries", 2))
    if not isinstance(retries, int) or isinstance(retries, bool) or not 0 <= retries <= 10:
        raise ArchitectureError(f"{where}: `max_parse_retries` must be a whole number from 0 to 10, not {retries!r}")
    overflow = own.get("on_overflow", common.get("on_overflow", "fail"))
    if overflow not in OVERFLOW_POLICIES:
        raise ArchitectureError(f"{where}: `on_overflow` must be {' or '.join(OVERFLOW_POLICIES)}, not {overflow!r}")
    model_name = model.strip() if isinstance(model, str) else ""
    spec = ComponentSpec(
        name,
        model_name,
        settings,
        options=options,
        prompts=prompts,
        on_error=on_error,
        max_parse_retries=retries,
        on_overflow=overflow,
        explicit=frozenset(key for key in given if getattr(settings, key) == DEFAULT_SETTINGS[key] not in (None, ())),
    )
    if "on_overflow" not in own and overflow not in list_overflow_policies(spec, where):
        spec = replace(spec, on_overflow="fail")  # what stands at the top is for the components that have a use for it
    if not isinstance(model, str) or (not model_name and describe_component(spec, where).needs_model):
        raise ArchitectureError(f"{where} needs `model:`, an Inspect model name such as openai/gpt-4o; got {model!r}")
    return spec


def _parse_options(kind: ComponentType, own: Mapping[str, Any], where: str) -> tuple[tuple[str, Any], ...]:
    """The options that differ from their defaults, sorted by name."""
    options = {}
    for key, option in kind.options.items():
        if key not in own:
            continue
        value, at = own[key], f"{where}: `{key}`"
        if not _is_valid(option, value, at):
            raise ArchitectureError(f"{at} must be {option.legal}, not {value!r}")
        if option.names_model and value is not None:
            value = value.strip()
            _check_further_model(value, at)
        if value != option.default:
            options[key] = freeze_value(value, at)
    return tuple(sorted(options.items()))


def _is_valid(option: ComponentOption, value: Any, where: str) -> bool:
    try:
        return bool(option.is_valid(value))
    except Exception as exc:  # whatever a component's own function does wrong
        raise ArchitectureError(
            f"{where} cannot be checked, {value!r} makes the component's own check fail: {type(exc).__name__}: {exc}"
        ) from exc


def _check_further_model(model: str, where: str) -> None:
    match = PLACEHOLDER.fullmatch(model)
    if model.startswith("$") and not (match and match["first"] and int(match["first"]) and not match["last"]):
        raise ArchitectureError(f"{where} is one model: placeholder {model!r} must be $1, $2, ...")


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


def parse_settings(
    base: GenerationSettings, values: Mapping[str, Any], block: str, where: str = ""
) -> GenerationSettings:
    """The settings with some of them given anew.

    Args:
        block: what an error about an unknown name begins with.
        where: what other errors begin with; as `block` where it is empty.

    Raises:
        ArchitectureError: a name or a value that is not legal; says what is.
    """
    _check_keys(values, SETTING_NAMES, block)
    where = where or block
    clean: dict[str, Any] = {}
    for key, value in values.items():
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


def _parse_prompts(kind: ComponentType, wordings: Mapping[str, Any], where: str) -> tuple[tuple[str, str], ...]:
    for name, text in wordings.items():
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
    return tuple(sorted(wordings.items()))


def _check_keys(data: Mapping[str, Any], legal: Iterable[str], where: str) -> None:
    legal = tuple(legal)
    for key in data:
        if key not in legal:
            raise ArchitectureError(f"{where}: unknown key {key!r}{did_you_mean(str(key), legal)}")


def _require_mapping(value: Any, where: str, wanted: str = "a mapping") -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ArchitectureError(f"{where} must be {wanted}, not {describe_value(value)}")
    return value
