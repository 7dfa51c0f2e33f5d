"""Architectures that a model proposed: read from its reply, checked, and told apart from what was tried.

    rules = ProposalRules(models=("openai/gpt-4o",), most_calls=60)
    proposal = read_proposal(reply, rules)      # ProposalError says what is wrong, for the model to mend

What a model writes is not to be trusted. Its text is never imported, opened or run: only components that are built in,
or that the user's space names, and of these only options whose values are numbers, flags, models or words of a list.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from archon_eval.architecture.component_types import describe_component, list_layer_kinds, resolve_component_type
from archon_eval.architecture.load import parse_text
from archon_eval.architecture.parse import parse_architecture
from archon_eval.architecture.spec import COMMON_OPTIONS, SETTING_NAMES, Architecture
from archon_eval.errors import ArchitectureError, ProposalError, did_you_mean, quote

MAX_REPLY_CHARS = 100_000
"""Characters of a reply that are looked at."""
MAX_FILE_CHARS = 20_000
"""Characters of a proposed file: a hundred components with prompts of their own."""
MAX_WHY_CHARS = 1_000
"""Characters that are kept of the reasons for a proposal."""
MAX_LAYERS, MAX_COMPONENTS = 16, 200
"""Of a proposed file; planning and drawing it takes time for each."""
MAX_DEPTH = 20
"""How deep lists and mappings of a proposed file lie in one another."""
_FENCE = re.compile(r"^```[^`\n]*$", re.M)
_PARENT = re.compile(r"^[^\w\n]{0,20}parent[^\w\n]{0,9}:\s{0,9}[`*\"']{0,9}([\w.@=,/-]+)", re.I | re.M)
_WHY = re.compile(r"^[^\w\n]{0,20}why[^\w\n]{0,9}:\s{0,9}(.+?)(?=\n[ \t]*\n|\Z)", re.I | re.M | re.S)


@dataclass(frozen=True, slots=True)
class ProposalRules:
    """What a proposal may have."""

    models: tuple[str, ...]
    most_calls: int
    """Model calls per question, at most."""
    own_kinds: frozenset[str] = frozenset()
    """Components of the user's own, by the names under which the space has them."""
    runs_programs: bool = False
    """Whether candidates' programs may be run, as the user's space does."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names that a layer may have; without programs, not those that do nothing else."""
        built_in = [
            name
            for name in list_layer_kinds()
            if self.runs_programs or not resolve_component_type(name, name).runs_programs
        ]
        return tuple(sorted({*built_in, *self.own_kinds}))


@dataclass(frozen=True, slots=True)
class Proposal:
    """An architecture as it was proposed."""

    architecture: Architecture
    parent: str
    """The name of the one that it says it changes; empty where it names none."""
    why: str
    """Its author's reasons."""


def read_proposal(reply: str, rules: ProposalRules, name: str = "proposal") -> Proposal:
    """The last file of a reply, with what is said of it.

    Raises:
        ProposalError: there is none, or it is not legal; says all that is wrong.
    """
    parts = _FENCE.split(reply[:MAX_REPLY_CHARS])  # what is said, a file, what is said, ...
    if len(parts) < 3:
        raise ProposalError("there is no file: write it between a line ```yaml and a line ```")
    file = parts[(len(parts) - 1) // 2 * 2 - 1]
    said = "\n\n".join(parts[0::2])
    parent, why = _PARENT.search(said), _WHY.search(said)
    return Proposal(
        parse_proposed_file(file, rules, name),
        parent=parent[1] if parent else "",
        why="".join(filter(str.isprintable, " ".join((why[1] if why else "").split())))[:MAX_WHY_CHARS],
    )


def parse_proposed_file(text: str, rules: ProposalRules, name: str) -> Architecture:
    """The architecture of a file that a model wrote.

    Raises:
        ProposalError: it is not legal.
    """
    if len(text) > MAX_FILE_CHARS:
        raise ProposalError(f"the file has {len(text):,} characters, more than {MAX_FILE_CHARS:,}")
    try:
        _refuse_yaml_features(text)
        data = parse_text(text, "the file")
        check_proposed(data, rules)
        architecture = parse_architecture({"layers": data["layers"]}, name, "the file", text)
    except ArchitectureError as exc:
        raise ProposalError(str(exc)) from None
    for number, layer in enumerate(architecture.layers, 1):
        for spec in layer:
            described = describe_component(spec, f"layer {number}")
            if described.runs_programs and not rules.runs_programs:
                what = f"layer {number}: {spec.kind} with {described.runs_programs}"
                raise ProposalError(f"{what} runs programs, which this search's space does not")
    return architecture


def check_proposed(data: Mapping[str, Any], rules: ProposalRules) -> None:
    """Refuse what a proposal may not have, before anything of it is looked up.

    Raises:
        ProposalError: all that it has.
    """
    if problems := list(dict.fromkeys(_find_problems(data, rules))):
        raise ProposalError("; ".join(problems))


def _refuse_yaml_features(text: str) -> None:
    """Refuse anchors, which make a short text a huge one, tags, which name types, and what lies too deep to be read."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ProposalError(f"lists and mappings of the file lie more than {MAX_DEPTH} deep in one another")
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise ProposalError("the file has an anchor or an alias (& or *): write values out")
            if tag := getattr(event, "tag", None):
                raise ProposalError(f"the file has a tag ({quote(str(tag), 60)}): leave it out")
    except ProposalError:
        raise
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        raise ProposalError(f"the file is not readable as YAML: {quote(' '.join(str(exc).split()), 300)}") from None


def _find_problems(data: Mapping[str, Any], rules: ProposalRules) -> Iterator[str]:
    for key in data:
        if key not in ("name", "description", "layers"):
            yield f"unknown key {quote(str(key), 60)}: a proposal has `layers` alone"
    layers = data.get("layers")
    if not isinstance(layers, list) or not layers:
        yield "`layers` must be a list of at least one layer"
        return
    if len(layers) > MAX_LAYERS:
        yield f"there are {len(layers)} layers, more than {MAX_LAYERS}"
        return
    components = 0
    for number, layer in enumerate(layers, 1):
        where = f"layer {number}"
        if not isinstance(layer, Mapping) or len(layer) != 1:
            yield f"{where} must be a mapping with one kind of component, e.g. `fuser: MODEL`"
            continue
        [(kind, value)] = layer.items()
        if kind not in rules.kinds:
            shown = quote(str(kind), 60)
            yield f"{where}: component {shown} may not be used{did_you_mean(str(kind), rules.kinds)}"
            continue
        items = value if isinstance(value, list) else [value]
        components += len(items)
        for item in items:
            yield from _find_component_problems(f"{where} ({kind})", str(kind), item, rules)
    if components > MAX_COMPONENTS:
        yield f"there are {components} components, more than {MAX_COMPONENTS}"


def _find_component_problems(where: str, kind: str, item: Any, rules: ProposalRules) -> Iterator[str]:
    if isinstance(item, str):
        yield from _find_model_problem(where, item, rules)
    if isinstance(item, str) or item is None:
        return
    if not isinstance(item, Mapping):
        yield f"{where}: a component must be a model or a mapping"
        return
    options = resolve_component_type(kind, where).options  # built in, or named by the user: nothing new is imported
    legal = ("model", "settings", "prompts", *SETTING_NAMES, *COMMON_OPTIONS)
    closed = [name for name, option in options.items() if option.closed]
    for key, value in item.items():
        if key in options and key not in closed:
            yield f"{where}: option {key!r} may not be set by a proposal"
        elif key not in closed and key not in legal:
            yield f"{where}: unknown key {quote(str(key), 60)}{did_you_mean(str(key), [*closed, *legal])}"
        elif (key == "model" or (key in options and options[key].names_model)) and value is not None:
            yield from _find_model_problem(where, value, rules)


def _find_model_problem(where: str, model: Any, rules: ProposalRules) -> Iterator[str]:
    if not isinstance(model, str) or model.strip() not in rules.models:
        allowed = ", ".join(rules.models)
        yield f"{where}: model {quote(str(model), 80)} is none of those that may be used ({allowed})"


def render_changes(before: Architecture | None, after: Architecture) -> list[str]:
    """The lines of the file that a proposal takes out (`- `) and puts in (`+ `)."""
    old, new = (_list_lines(each) if each else [] for each in (before, after))
    return [line[0] + " " + line[2:].strip() for line in difflib.ndiff(old, new) if line[0] in "+-"]


def find_nearest(after: Architecture, tried: Sequence[Architecture]) -> Architecture | None:
    """The one that differs from it in the fewest lines; the first of several."""
    return min(tried, key=lambda before: len(render_changes(before, after)), default=None)


def _list_lines(architecture: Architecture) -> list[str]:
    return render_layers(architecture).splitlines()


def render_layers(architecture: Architecture) -> str:
    """The layers as a file has them, short: a model alone where nothing else is set."""
    layers = []
    for layer in architecture.to_mapping()["layers"]:
        [(kind, items)] = layer.items()
        layers.append({kind: items[0] if len(items) == 1 else items})
    return str(
        yaml.safe_dump({"layers": layers}, sort_keys=False, allow_unicode=True, width=100_000, default_flow_style=None)
    )
