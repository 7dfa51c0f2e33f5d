"""The grammar of a cascade, which an architecture file has in place of `layers`.

    cascade:
      - name: vote
        layers: [{generator: {model: $3, samples: 5}}, {vote: {top_k: 1}}]
        accept: {agreement: 0.8}
      - {name: strong, architecture: single, models: [$1]}

A stage has `layers`, or the name or file of an `architecture`, with `models` for its places. `accept` is one rule by
its name: a number is its threshold, a model's name its model, a mapping everything about it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archon_eval.architecture.component_types import BUILT_IN_COMPONENTS, resolve_component_type
from archon_eval.architecture.option_values import describe_value
from archon_eval.architecture.routing import parse_rows
from archon_eval.architecture.spec import PLACEHOLDER, RULE_PREFIX, Layer
from archon_eval.architecture.stages import ROUTER, Stage, list_targets
from archon_eval.errors import ArchitectureError, did_you_mean

if TYPE_CHECKING:
    from archon_eval.architecture.parse import LayerParser

STAGE_KEYS = ("name", "description", "layers", "architecture", "models", "accept", "keep")
CASCADE_KEYS = ("cascade", "router", "measure_only")
"""Keys of a file's top that only a cascade has."""
RULES = tuple(sorted(kind.removeprefix(RULE_PREFIX) for kind in BUILT_IN_COMPONENTS if kind.startswith(RULE_PREFIX)))
"""The names of the rules that `accept` may have."""
TUNE = "tune"
"""What stands for a threshold that `archon tune` is to find, and for rows that it is to learn."""
ACCEPT_FORM = "`accept` is one rule and its threshold, such as {agreement: 0.8}"


@dataclass(frozen=True, slots=True)
class ParsedCascade:
    """What a file's cascade comes to."""

    layers: tuple[Layer, ...]
    stages: tuple[Stage, ...]


def parse_cascade(data: Mapping[str, Any], where: str, parser: "LayerParser") -> ParsedCascade:
    """The layers and stages of a mapping with `cascade`.

    Args:
        parser: parses layers and components; keeps what is wrong with them.
    """
    items = data["cascade"]
    layers: list[Layer] = []
    stages: list[Stage] = []
    if not isinstance(items, Sequence) or isinstance(items, str) or not items:
        what = f"`cascade` must be a list of at least one stage, not {describe_value(items)}"
        parser.problems.found.append((("cascade",), f"{where}: {what}"))
        items = ()
    for number, item in enumerate(items, 1):
        with parser.problems.collect("cascade", number - 1):
            stage, own = _parse_stage(item, number, where, parser)
            stages.append(stage)
            layers += own
    if "router" in data:
        with parser.problems.collect("router"):
            layers.insert(0, _parse_router(data["router"], stages, where, parser))
    return ParsedCascade(tuple(layers), tuple(stages))


def _parse_stage(item: Any, number: int, where: str, parser: "LayerParser") -> tuple[Stage, list[Layer]]:
    at = f"{where}: stage {number}"
    if not isinstance(item, Mapping):
        raise ArchitectureError(f"{at} must be a mapping with `name` and `layers`, not {describe_value(item)}")
    parser.problems.check_keys(item, STAGE_KEYS, at, ("cascade", number - 1))
    for key, kind, legal in (("name", str, "text"), ("description", str, "text"), ("keep", bool, "true or false")):
        if key in item and not isinstance(item[key], kind):
            raise ArchitectureError(f"{at}: `{key}` must be {legal}, not {describe_value(item[key])}")
    name = str(item.get("name", f"stage-{number}"))
    at = f"{where}: stage {name}"
    if ("layers" in item) == ("architecture" in item):
        raise ArchitectureError(f"{at} needs `layers`, or an `architecture` by its name or file, and not both")
    if "architecture" in item:
        own = _load_stage(item, at, parser)
    else:
        if "models" in item:
            raise ArchitectureError(f"{at}: `models` are for the places of an `architecture`; name them in its layers")
        own = parser.parse_layers(item["layers"], at, ("cascade", number - 1, "layers"))
    depth = len(own)
    if "accept" in item:
        own.append(_parse_accept(item["accept"], at, ("cascade", number - 1, "accept"), parser))
    stage = Stage(
        name,
        depth,
        has_rule="accept" in item,
        keep=bool(item.get("keep", False)),
        description=str(item.get("description", "")),
    )
    return stage, own


def _load_stage(item: Mapping[str, Any], at: str, parser: "LayerParser") -> list[Layer]:
    """The layers of the architecture that a stage names."""
    from archon_eval.architecture.load import load_architecture

    source = item["architecture"]
    if not isinstance(source, str):
        raise ArchitectureError(f"{at}: `architecture` must be a preset's name or a file, not {describe_value(source)}")
    if parser.is_stage:
        raise ArchitectureError(f"{at}: an architecture that is a stage cannot be a cascade itself")
    if parser.shared or parser.prompts:
        names = ", ".join(f"`{name}`" for name in [*parser.shared, *(["prompts"] if parser.prompts else [])])
        raise ArchitectureError(
            f"{at} is the architecture {source!r}, for which {names} at the top of this file would not hold: write "
            "them on the components, or the stage's layers in this file"
        )
    try:
        loaded = load_architecture(_locate_source(source, parser.folder), is_stage=True)
    except ArchitectureError as exc:
        raise ArchitectureError(f"{at}: {exc}") from None
    models = _parse_models(item["models"], at) if "models" in item else []
    if models and not loaded.placeholders:
        raise ArchitectureError(f"{at}: `models` changes nothing in {source!r}, which names its models itself")
    return list((loaded.with_models(models) if models else loaded).layers)


def _locate_source(source: str, folder: Path) -> str:
    """A preset's name as it is, a file from the folder of the file that names it."""
    path = folder / source
    is_path = "/" in source or path.suffix.lower() in (".yaml", ".yml", ".json")
    return str(path) if is_path and path.is_file() else source


def _parse_models(given: Any, at: str) -> list[str]:
    """Models for the places of a stage; `$2..4` are three places of the cascade itself."""
    items = [given] if isinstance(given, str) else given
    if not isinstance(items, list | tuple) or not items or not all(isinstance(item, str) and item for item in items):
        raise ArchitectureError(f"{at}: `models` must be a list of models or places, such as [$1, openai/gpt-4o]")
    models: list[str] = []
    for item in items:
        match = PLACEHOLDER.fullmatch(item)
        if item.startswith("$") and (not match or match["all"] or int(match["first"]) == 0):
            raise ArchitectureError(f"{at}: `models` has {item!r}: a place is $1, $2, ... or a range such as $2..4")
        if match and match["last"]:
            models += [f"${number}" for number in range(int(match["first"]), int(match["last"]) + 1)]
        else:
            models.append(item)
    return models


def _parse_accept(given: Any, at: str, path: tuple[Any, ...], parser: "LayerParser") -> Layer:
    """The rule's component, in a layer of its own."""
    if isinstance(given, str):
        given = {given: {}}
    if not isinstance(given, Mapping) or len(given) != 1:
        raise ArchitectureError(f"{at}: {ACCEPT_FORM}, not {describe_value(given)}")
    [(name, value)] = given.items()
    if name not in RULES:
        raise ArchitectureError(f"{at}: `accept` has an unknown rule {name!r}{did_you_mean(str(name), RULES)}")
    kind = f"{RULE_PREFIX}{name}"
    if isinstance(value, Mapping):
        own = {key: None if key == "threshold" and each == TUNE else each for key, each in value.items()}
    elif value is None or value == TUNE:
        own = {}
    elif isinstance(value, bool) or not isinstance(value, int | float | str) or _is_misplaced(kind, value):
        raise ArchitectureError(f"{at}: {ACCEPT_FORM}, not {name}: {describe_value(value)}")
    elif isinstance(value, str):
        own = {"function" if name == "function" else "model": value}
    else:
        own = {"threshold": value}
    return (parser.parse_component(kind, own, f"{at}: accept {name}", (*path, name)),)


def _is_misplaced(kind: str, value: float | str) -> bool:
    """Whether it is a text where the rule takes a threshold alone, as `80%`."""
    described = resolve_component_type(kind, kind)
    return isinstance(value, str) and not described.needs_model and "function" not in described.options


def _parse_router(given: Any, stages: Sequence[Stage], where: str, parser: "LayerParser") -> Layer:
    at = f"{where}: router"
    if not isinstance(given, Mapping):
        raise ArchitectureError(f"{at} must be a mapping, such as {{model: $1}}, not {describe_value(given)}")
    own, targets = dict(given), list_targets(stages)
    if "table" in own:
        if "rows" in own:
            raise ArchitectureError(f"{at} has `rows` and a `table` of rows: leave one out")
        own["rows"] = _read_table(own.pop("table"), at, parser.folder)
    if own.get("rows") == TUNE:
        del own["rows"]
    if "rows" in own:
        own["rows"] = parse_rows(own["rows"], at)
    if "stages" in own:
        raise ArchitectureError(f"{at}: `stages` are those of the cascade: leave it out")
    own.setdefault("default", targets[0] if targets else "")
    own["stages"] = {stage.name: stage.description for stage in stages if stage.name in targets}
    return (parser.parse_component(ROUTER, own, at, ("router",)),)


def _read_table(given: Any, at: str, folder: Path) -> Any:
    """The rows of a JSON file that `archon tune` wrote."""
    if not isinstance(given, str):
        raise ArchitectureError(f"{at}: `table` must be a JSON file, not {describe_value(given)}")
    try:
        table = json.loads((folder / given).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ArchitectureError(f"{at}: cannot read table {given}: {exc}") from None
    if not isinstance(table, Mapping) or "rows" not in table:
        raise ArchitectureError(f"{at}: table {given} has no `rows`: it is none that `archon tune` wrote")
    return table["rows"]


def list_named_components(data: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The kinds that a mapping names, each with what is written about one of its components: layers, those of a
    cascade's stages, and their rules. None of them is looked at."""
    stages = _list_stages(data)
    named: list[tuple[str, Any]] = []
    for layers in (each.get("layers") for each in (data, *stages)):
        for layer in layers if isinstance(layers, list | tuple) else ():
            named += [(str(kind), value) for kind, value in layer.items()] if isinstance(layer, Mapping) else []
    for accept in (stage.get("accept") for stage in stages):
        for name, value in accept.items() if isinstance(accept, Mapping) else ():
            function = {"function": value} if name == "function" and isinstance(value, str) else value
            named.append((f"{RULE_PREFIX}{name}", function))
    found = [(kind, value if isinstance(value, list | tuple) else [value]) for kind, value in named]
    return [(kind, entry if isinstance(entry, Mapping) else {}) for kind, entries in found for entry in entries]


def _list_stages(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    items = data.get("cascade")
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list | tuple) else []


def list_stage_sources(data: Mapping[str, Any], folder: Path) -> list[str]:
    """The names and files of the architectures that are stages of a mapping's cascade."""
    sources = [stage["architecture"] for stage in _list_stages(data) if isinstance(stage.get("architecture"), str)]
    return [_locate_source(source, folder) for source in sources]
