"""From a mapping, as a file or a person wrote it, to an Architecture, with errors that say where.

The grammar: `name`, `description`, `imported_from`, `layers`, or a `cascade` (`parse_cascade.py`); and, for every
component at once, generation settings (`temperature: 0.7`), `on_error`, `on_overflow`, `max_parse_retries` and
`prompts` (by kind). A layer is a mapping with one key, its kind; the value is a model, a mapping
(`{model: ..., samples: 2}`) or a list of those.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unicodedata import category

from archon_eval._deprecated import move_renamed_option
from archon_eval.architecture.component_types import (
    OVERFLOW_POLICIES,
    ComponentOption,
    ComponentType,
    describe_component,
    list_named_models,
    list_overflow_policies,
    map_named_models,
    resolve_component_type,
)
from archon_eval.architecture.file_lines import FilePath, Lines, find_line, find_lines
from archon_eval.architecture.option_values import describe_value, freeze_value
from archon_eval.architecture.parse_cascade import ParsedCascade, list_named_components, parse_cascade
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
from archon_eval.architecture.system_prompts import parse_system_message
from archon_eval.errors import ArchitectureError, ArchonError, did_you_mean, quote

TOP_KEYS = (
    *("name", "description", "imported_from", "layers", "cascade", "router", "measure_only"),
    *("settings", "prompts", *COMMON_OPTIONS),
)
COMPONENT_KEYS = ("model", "settings", "system", "prompts", *COMMON_OPTIONS)
NUMBER_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
}
REASONING_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
COMMON_DEFAULTS: Mapping[str, Any] = {"on_error": "fail", "max_parse_retries": 2, "on_overflow": "fail"}
INT_MINIMUMS: Mapping[str, int] = {"max_tokens": 1, "top_k": 1, "seed": 0, "reasoning_tokens": 0}


class _Problems:
    """What is wrong with a file: all of it, each with the path to where it is."""

    def __init__(self) -> None:
        self.found: list[tuple[FilePath, str]] = []

    @contextmanager
    def collect(self, *path: str | int) -> Iterator[None]:
        """Keep the error that ends the context, if one does."""
        try:
            yield
        except ArchitectureError as exc:
            self.found.append((path, str(exc)))

    def check_keys(self, data: Mapping[str, Any], legal: Iterable[str], where: str, path: FilePath = ()) -> None:
        """Keep an error for each key that is not legal."""
        legal = tuple(legal)
        for key in data:
            if key not in legal:
                self.found.append(((*path, str(key)), f"{where}: unknown key {key!r}{did_you_mean(str(key), legal)}"))

    def raise_all(self, where: str, text: str) -> None:
        """Raise all that was kept as one error, in the order of the lines.

        Args:
            where: what each message begins with; its line is added there.
            text: of the file.
        """
        if not self.found:
            return
        lines, told = find_lines(text) if text else {}, dict[FilePath, str]()
        for number, (path, message) in enumerate(self.found):  # what stands at the top is wrong in every component
            told.setdefault((*path, number) if path[:1] in ((), ("layers",), ("cascade",)) else path, message)
        located = sorted(
            ((find_line(path, lines), message) for path, message in told.items()), key=lambda pair: pair[0]
        )
        raise ArchitectureError(
            "\n".join(
                f"{where}, line {line}{message[len(where) :]}" if line and message.startswith(where) else message
                for line, message in dict.fromkeys(located)
            )
        )


@dataclass(frozen=True, slots=True)
class LayerParser:
    """Parses the layers and components of one file, for a cascade's stages too."""

    problems: _Problems
    """Gets what is wrong."""
    shared: Mapping[str, Any]
    """What holds for every component that does not set its own."""
    prompts: Mapping[str, Any]
    """By kind."""
    used: set[str]
    """Gets the kinds."""
    folder: Path
    """Of the file, from which paths in it are taken."""
    is_stage: bool = False
    """Whether the file is a stage of another's cascade."""

    def parse_layers(self, layers: Any, where: str, path: FilePath = ("layers",)) -> list[Layer]:
        """A list of layers; those that are wrong are kept among the problems."""
        if not isinstance(layers, Sequence) or isinstance(layers, str) or not layers:
            what = f"`layers` must be a list of at least one layer, not {describe_value(layers)}"
            self.problems.found.append((path, f"{where}: {what}"))
            return []
        built: list[Layer] = []
        for number, layer in enumerate(layers, 1):
            at: FilePath = (*path, number - 1)
            with self.problems.collect(*at):
                place = f"{where}: layer {number}"
                parsed = _parse_layer(
                    layer, self.shared, self.prompts, where=place, used=self.used, problems=self.problems, path=at
                )
                built.append(parsed)
        return built

    def parse_component(self, kind: str, own: Mapping[str, Any], where: str, path: FilePath) -> ComponentSpec:
        """One component that is no layer's: a rule, a router."""
        self.used.add(kind)
        common = {**self.shared, **({"prompts": self.prompts[kind]} if kind in self.prompts else {})}
        return _parse_component(kind, own, common, where=where, problems=self.problems, path=path)


def parse_architecture(
    data: Mapping[str, Any],
    name: str,
    where: str = "architecture",
    text: str = "",
    *,
    folder: Path = Path(),
    is_stage: bool = False,
) -> Architecture:
    """The architecture of a mapping.

    Args:
        name: its name where the mapping has none.
        where: what errors begin with.
        text: of the file that the mapping comes from, for the lines of errors.
        folder: of that file, from which paths in it are taken.
        is_stage: whether it is a stage of another's cascade, and so cannot be one.

    Raises:
        ArchitectureError: malformed, all that is; or against rules of construction, all that it breaks. Each says
            where, in which line, and what is legal.
    """
    problems = _Problems()
    with problems.collect():
        data = _rename_options(data, where)
    problems.check_keys(data, (*TOP_KEYS, *SETTING_NAMES), where)
    for key in ("name", "description", "imported_from"):
        with problems.collect(key):
            if not isinstance(data.get(key, ""), str):
                raise ArchitectureError(f"{where}: `{key}` must be text, not {describe_value(data[key])}")
    with problems.collect("name"):
        if any(category(character) == "Cc" for character in str(data.get("name", name))):
            shown = quote(str(data.get("name", name)), 60)
            raise ArchitectureError(f"{where}: `name` holds control characters: {shown}")
    shared = {key: data[key] for key in ("settings", *COMMON_OPTIONS, *SETTING_NAMES) if key in data}
    prompts: Mapping[str, Any] = {}
    with problems.collect("prompts"):
        prompts = _require_mapping(data.get("prompts", {}), f"{where}: `prompts`")
    used: set[str] = set()
    parser = LayerParser(problems, shared, prompts, used, folder, is_stage)
    cascade: ParsedCascade | None = None
    if "cascade" in data:
        if "layers" in data:
            problems.found.append((("layers",), f"{where} has `layers` and a `cascade`: leave one out"))
        if is_stage:
            problems.found.append(
                (("cascade",), f"{where}: an architecture that is a stage cannot be a cascade itself")
            )
        else:
            cascade = parse_cascade(data, where, parser)
            built = list(cascade.layers)
    else:
        for key in (key for key in ("router", "measure_only") if key in data):
            problems.found.append(((key,), f"{where}: `{key}` is for a `cascade`, and there is none"))
    if type(data.get("measure_only", False)) is not bool:
        problems.found.append((("measure_only",), f"{where}: `measure_only` must be true or false"))
    if cascade is None:
        built = parser.parse_layers(data.get("layers"), where)
    # a layer that is wrong elsewhere has its kind's prompts all the same
    named = {kind for kind, _ in list_named_components(data)} if problems.found else set()
    unused = sorted(set(map(str, prompts)) - used - named)
    for kind in unused:
        text_of_hint = f"`prompts` names {kind!r}, which no layer has{did_you_mean(kind, used | named)}"
        problems.found.append((("prompts", kind), f"{where}: {text_of_hint}"))
    problems.raise_all(where, text)
    try:
        return Architecture(
            str(data.get("name", name)),
            tuple(built),
            description=str(data.get("description", "")),
            imported_from=str(data.get("imported_from", "")),
            stages=cascade.stages if cascade else (),
            measure_only=bool(data.get("measure_only", False)),
        )
    except ArchitectureError as exc:
        broken = _add_lines(str(exc), find_lines(text) if text else {})
        raise ArchitectureError(broken if where == "architecture" else f"{where}: {broken}") from None


def parse_layers(data: Sequence[Any], where: str) -> tuple[Layer, ...]:
    """Layers that are to stand within an architecture, as a file has them; the rules of construction are not checked.

    Raises:
        ArchitectureError: malformed, all that is; says in which layer and what is legal.
    """
    problems = _Problems()
    built = LayerParser(problems, {}, {}, set(), Path()).parse_layers(data, where) if data else []
    problems.raise_all(where, "")
    return tuple(built)


def check_prompts(prompts: Any, where: str) -> None:
    """Check prompts by component, as they stand at the top of an architecture file.

    Raises:
        ArchitectureError: no component or prompt of this name, or a field that is missing or unknown.
    """
    for kind, texts in _require_mapping(prompts, f"{where}: `prompts`").items():
        described = resolve_component_type(str(kind), where)
        for name, text in _require_mapping(texts, f"{where}: prompts of {kind}").items():
            _check_prompt(described, name, text, where)


def _add_lines(broken: str, lines: Lines) -> str:
    """The list of broken rules with the line of each layer that one begins with."""

    def add(found: re.Match[str]) -> str:
        line = find_line(("layers", int(found[1]) - 1), lines)
        return f"  - line {line}: layer {found[1]}" if line else found[0]

    return re.sub(r"^  - layer (\d+)", add, broken, flags=re.MULTILINE)


def _rename_options(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    values = dict(data)
    try:
        move_renamed_option(values, "reask", "max_parse_retries")
    except ArchonError as exc:
        raise ArchitectureError(f"{where}: {exc}") from None
    return values


def _parse_layer(
    layer: Any,
    shared: Mapping[str, Any],
    prompts: Mapping[str, Any],
    *,
    where: str,
    used: set[str],
    problems: _Problems,
    path: FilePath,
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
        place: FilePath = (*path, name, *([position - 1] if items is value else []))
        with problems.collect(*place):
            own = (
                {"model": item}
                if isinstance(item, str)
                else _require_mapping({} if item is None else item, at, "a model or a mapping")
            )
            spec = _parse_component(name, own, common, where=at, problems=problems, path=place)
            specs += _expand_placeholder(spec, at)
    return tuple(specs)


def _parse_component(
    name: str, own: Mapping[str, Any], common: Mapping[str, Any], *, where: str, problems: _Problems, path: FilePath
) -> ComponentSpec:
    """One component; what is wrong with it is kept, and its default taken instead.

    Args:
        own: what is written on it.
        common: what holds for every component that does not set its own.
    """
    kind = resolve_component_type(name, where)
    inline = tuple(key for key in SETTING_NAMES if key not in kind.options)
    own = _rename_options(own, where)
    problems.check_keys(own, (*COMPONENT_KEYS, *kind.options, *inline), where, path)
    model = own.get("model", "")
    settings, given = GenerationSettings(), set[str]()
    for source, keys, at in ((common, SETTING_NAMES, ()), (own, inline, path)):
        values: Mapping[str, Any] = {}
        with problems.collect(*at, "settings"):
            values = _require_mapping(source.get("settings", {}), f"{where}: `settings`")
        problems.check_keys(values, SETTING_NAMES, f"{where}: `settings`", (*at, "settings"))
        direct = {key: source[key] for key in keys if key in source}
        for key, value in {**{key: values[key] for key in values if key in SETTING_NAMES}, **direct}.items():
            with problems.collect(*at, *(() if key in direct else ("settings",)), key):
                settings = replace(settings, **{key: _parse_setting(key, value, where)})
                given.add(key)
    options = _parse_options(kind, own, where, problems=problems, path=path)
    system = ""
    with problems.collect(*path, "system"):
        system = parse_system_message(name, own.get("system"), where)
    prompts: dict[str, str] = {}
    for source, at in ((common, ("prompts", name)), (own, (*path, "prompts"))):
        with problems.collect(*at):
            for prompt, wording in _require_mapping(source.get("prompts", {}), where).items():
                with problems.collect(*at, str(prompt)):
                    _check_prompt(kind, prompt, wording, where, shown=extract_fields(system))
                prompts[prompt] = wording
    chosen = {option: own.get(option, common.get(option, default)) for option, default in COMMON_DEFAULTS.items()}
    for option, value in chosen.items():
        with problems.collect(*(path if option in own else ()), option):
            _check_common_option(option, value, where)
    model_name = model.strip() if isinstance(model, str) else ""
    if problems.found:
        chosen = dict(COMMON_DEFAULTS)
    spec = ComponentSpec(
        name,
        model_name,
        settings,
        options=options,
        prompts=tuple(sorted(prompts.items())),
        system=system,
        explicit=frozenset(key for key in given if getattr(settings, key) == DEFAULT_SETTINGS[key] not in (None, ())),
        **chosen,
    )
    if "on_overflow" not in own and spec.on_overflow not in list_overflow_policies(spec, where):
        spec = replace(spec, on_overflow="fail")  # what stands at the top is for the components that have a use for it
    if not isinstance(model, str) or (not model_name and describe_component(spec, where).needs_model):
        raise ArchitectureError(f"{where} needs `model:`, an Inspect model name such as openai/gpt-4o; got {model!r}")
    return spec


def _check_common_option(option: str, value: Any, where: str) -> None:
    if option == "on_error" and value not in ("fail", "drop"):
        raise ArchitectureError(f"{where}: `on_error` must be fail or drop, not {value!r}")
    is_count = isinstance(value, int) and not isinstance(value, bool)
    if option == "max_parse_retries" and not (is_count and 0 <= value <= 10):
        raise ArchitectureError(f"{where}: `max_parse_retries` must be a whole number from 0 to 10, not {value!r}")
    if option == "on_overflow" and value not in OVERFLOW_POLICIES:
        raise ArchitectureError(f"{where}: `on_overflow` must be {' or '.join(OVERFLOW_POLICIES)}, not {value!r}")


def _parse_options(
    kind: ComponentType, own: Mapping[str, Any], where: str, *, problems: _Problems, path: FilePath
) -> tuple[tuple[str, Any], ...]:
    """The options that differ from their defaults, sorted by name."""
    options = {}
    for key, option in kind.options.items():
        if key not in own:
            continue
        value, at = own[key], f"{where}: `{key}`"
        with problems.collect(*path, key):
            if not _is_valid(option, value, at):
                raise ArchitectureError(f"{at} must be {option.legal}, not {value!r}")
            if option.read is not None:
                value = _read_option(option.read, value, at)
            if option.names_model:
                value = map_named_models(value, str.strip)
                for model in list_named_models(value):
                    _check_further_model(model, at)
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


def _read_option(read: Callable[[Any], Any], value: Any, where: str) -> Any:
    try:
        return read(value)
    except ArchitectureError as exc:
        raise ArchitectureError(f"{where}{exc}") from None


def _check_further_model(model: str, where: str) -> None:
    match = PLACEHOLDER.fullmatch(model)
    if model.startswith("$") and not (match and match["first"] and int(match["first"]) and not match["last"]):
        raise ArchitectureError(f"{where} names one model each: placeholder {model!r} must be $1, $2, ...")


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


def parse_settings(base: GenerationSettings, values: Mapping[str, Any], where: str) -> GenerationSettings:
    """The settings with some of them given anew.

    Raises:
        ArchitectureError: a name or a value that is not legal; says what is.
    """
    for key in values:
        if key not in SETTING_NAMES:
            raise ArchitectureError(f"{where}: unknown key {key!r}{did_you_mean(str(key), SETTING_NAMES)}")
    return replace(base, **{key: _parse_setting(key, value, where) for key, value in values.items()})


def _parse_setting(key: str, value: Any, where: str) -> Any:
    """The value of a generation setting; raises ArchitectureError where it is not legal."""
    if key == "stop":
        items = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else [None]
        if not all(isinstance(item, str) and item for item in items):
            raise ArchitectureError(f"{where}: `stop` must be text or a list of texts, none empty, not {value!r}")
        return tuple(items)
    if value is None:
        return None
    if key == "reasoning_effort":
        if value not in REASONING_EFFORTS:
            raise ArchitectureError(f"{where}: `{key}` is {value!r}{did_you_mean(str(value), REASONING_EFFORTS)}")
        return value
    if key in NUMBER_RANGES:
        low, high = NUMBER_RANGES[key]
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise ArchitectureError(f"{where}: `{key}` must be a number from {low} to {high}, not {value!r}")
        return float(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < INT_MINIMUMS.get(key, 0):
        raise ArchitectureError(
            f"{where}: `{key}` must be a whole number of at least {INT_MINIMUMS.get(key, 0)}, not {value!r}"
        )
    return value


def _check_prompt(kind: ComponentType, name: str, text: Any, where: str, shown: Collection[str] = frozenset()) -> None:
    """Raises ArchitectureError for a prompt that is not legal; what the system message shows may be left out."""
    if name not in kind.prompts:
        legal = did_you_mean(str(name), kind.prompts) if kind.prompts else "; it has none"
        raise ArchitectureError(f"{where}: {kind.name} has no prompt {name!r}{legal}")
    if not isinstance(text, str) or not text.strip():
        raise ArchitectureError(f"{where}: prompt {name!r} must be text, not {quote(str(text))}")
    prompt, used = kind.prompts[name], extract_fields(text)
    if missing := prompt.required - used - set(shown):
        raise ArchitectureError(f"{where}: prompt {name!r} must use {{{'} and {'.join(sorted(missing))}}}")
    if unknown := used - prompt.required - prompt.optional:
        hint = did_you_mean(sorted(unknown)[0], prompt.required | prompt.optional)
        raise ArchitectureError(f"{where}: prompt {name!r} uses unknown field {{{sorted(unknown)[0]}}}{hint}")


def _require_mapping(value: Any, where: str, wanted: str = "a mapping") -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ArchitectureError(f"{where} must be {wanted}, not {describe_value(value)}")
    return value
