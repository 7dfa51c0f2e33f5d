"""From what a person wrote (file, preset name or mapping) to an Architecture, with errors that say where.

    load_architecture("moa-lite")                       # a preset
    load_architecture("my/critic-ranker-fuser.yaml")    # a file, YAML or JSON
    load_architecture({"layers": [{"generator": "openai/gpt-4o"}]})

Reads files and presets; `parse.py` has the grammar.
"""

import json
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from archon_eval._notes import show_note
from archon_eval.architecture.component_types import BUILT_IN_COMPONENTS, resolve_component_type
from archon_eval.architecture.option_values import describe_value
from archon_eval.architecture.parse import parse_architecture
from archon_eval.architecture.parse_cascade import list_named_components, list_stage_sources
from archon_eval.architecture.spec import Architecture
from archon_eval.errors import ArchitectureError, did_you_mean, quote

FILE_SUFFIXES = (".yaml", ".yml", ".json")

ArchitectureSource = str | os.PathLike[str] | Mapping[str, Any] | Architecture


def load_architecture(
    source: ArchitectureSource,
    models: Sequence[str] = (),
    *,
    fusers: Sequence[str] = (),
    judges: Sequence[str] = (),
    is_stage: bool = False,
) -> Architecture:
    """An Architecture from a file, a preset's name, a mapping or an Architecture.

    Args:
        source: the name of a preset (`archon presets`); or a file, by a path that ends in .yaml, .yml or .json or has a
            separator (`./single`); or a mapping. A preset's name means the preset also where a file is called so.
        models, fusers, judges: fill the placeholders `$1`, `$2..8`, `$all`, strongest first, as in
            `Architecture.with_models`; without any of them the placeholders stay.
        is_stage: whether it is to be a stage of a cascade, and so cannot be a cascade itself.

    Raises:
        ArchitectureError: unreadable, malformed, or against a rule of construction; says where and what is legal.
    """
    if isinstance(source, Architecture):
        loaded = source
    elif isinstance(source, Mapping):
        loaded = parse_architecture(source, str(source.get("name", "unnamed")), is_stage=is_stage)
    else:
        text, where = _load_text(source)
        folder = Path(where).parent
        loaded = parse_architecture(
            parse_text(text, where), Path(where).stem, where, text, folder=folder, is_stage=is_stage
        )
    return loaded.with_models(models, fusers=fusers, judges=judges) if models or fusers or judges else loaded


def list_named_code(source: ArchitectureSource) -> set[str]:
    """The components, functions, solvers and agents that are not this package's and that a file, a preset, a mapping or
    an Architecture names; imports none of them.

    Raises:
        ArchitectureError: unreadable.
    """
    if isinstance(source, Architecture):
        source = source.to_mapping()
    data = source if isinstance(source, Mapping) else parse_text(*_load_text(source))
    named = list_named_components(data)
    for stage in list_stage_sources(data, Path() if isinstance(source, Mapping) else Path(source).parent):
        named += list_named_components(parse_text(*_load_text(stage)))  # a stage is no cascade itself
    own = {kind for kind, _ in named} - BUILT_IN_COMPONENTS.keys()
    for kind, entry in named:
        options = {} if kind in own else resolve_component_type(kind, kind).options
        own |= {str(entry[name]) for name, option in options.items() if option.read_code and entry.get(name)}
    return {name for name in own if name.partition(".")[0] != "archon_eval"}


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
    """The text of a file or a preset, and what it was called."""
    name = os.fspath(source)
    path = Path(name)
    presets = list_presets()
    try:
        is_preset = isinstance(source, str) and name in presets
        if is_preset and path.is_file():
            show_note(f"{name!r} is the preset; for the file of this name write './{name}'")
        elif path.suffix.lower() in FILE_SUFFIXES or path.is_file():
            return read_file(path), name
    except ArchitectureError:
        raise
    except (OSError, ValueError) as exc:  # no path at all: too long, or with a NUL
        raise ArchitectureError(f"no architecture {quote(name, 80)}: {exc}") from None
    if is_preset:
        return (resources.files("archon_eval.architecture.presets") / f"{name}.yaml").read_text(encoding="utf-8"), name
    hint = did_you_mean(name, presets)
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
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        if key in mapping:
            raise ArchitectureError(f"key {key!r} is written twice")
        mapping[key] = value
    return mapping


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
        raise ArchitectureError(f"{where}: {what}, not {describe_value(data)}")
    return data
