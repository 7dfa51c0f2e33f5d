"""`archon show | plan | validate | import | presets`: architectures without calling a model."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, TypedDict

from archon_eval._files import write_whole
from archon_eval.architecture.component_types import resolve_component_type
from archon_eval.architecture.load import list_presets, load_architecture, parse_text, read_file
from archon_eval.architecture.option_values import thaw_value
from archon_eval.architecture.spec import COMMON_OPTIONS, SETTING_NAMES, Architecture, ComponentSpec
from archon_eval.architecture.stages import StageSpan
from archon_eval.cli.commands import add_command
from archon_eval.cli.tables import create_table, print_table
from archon_eval.engine.mermaid import render_mermaid
from archon_eval.engine.plan import LayerPlan, Plan, format_range, plan
from archon_eval.errors import ArchitectureError, did_you_mean
from archon_eval.models.prices import load_prices
from archon_eval.simulation.model_names import parse_model_names

ARCHITECTURE_HELP = "a preset's name (`archon presets`) or a YAML or JSON file"
PLAN_FOOTNOTE = """
Per question. Re-asks: at most so many calls more, for replies that cannot be read. Done after: calls that wait for
each other, from the question on. Tokens and dollars are estimates."""
MODEL_LISTS = {
    "models": "fill $1, $2, ... with these, strongest first, separated by commas; sim/pool for the simulated ones",
    "fusers": "the same for components that fuse, best fuser first (default: --models)",
    "judges": "the same for components that judge candidates or write tests (default: --models)",
}


class ModelLists(TypedDict):
    """Keywords of `load_architecture` and `plan`."""

    models: tuple[str, ...]
    fusers: tuple[str, ...]
    judges: tuple[str, ...]


def add(commands: Any) -> None:
    """Add this group's commands."""
    show = add_command(commands, "show", "what an architecture consists of", run=_show)
    show.add_argument("architecture", help=ARCHITECTURE_HELP)
    add_model_options(show)
    form = show.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--yaml", action="store_true", help="as a file to edit")
    form.add_argument("--mermaid", action="store_true", help="as a Mermaid flowchart")

    planned = add_command(commands, "plan", "calls, tokens, dollars and critical path of one question", run=_plan)
    planned.add_argument("architecture", help=ARCHITECTURE_HELP)
    add_model_options(planned)
    planned.add_argument("--prices", metavar="FILE", help="your own prices, before the package's table")
    planned.add_argument("--json", action="store_true", help="as JSON")

    validate = add_command(commands, "validate", "check architecture files against the rules", run=_validate)
    validate.add_argument("architectures", nargs="+", metavar="architecture", help=ARCHITECTURE_HELP)
    add_model_options(validate)
    validate.add_argument("--prices", metavar="FILE", help="your own prices and context windows")

    imported = add_command(commands, "import", "convert a config of the original Archon project", run=_import)
    imported.add_argument("file", type=Path, help="its JSON config; or an architecture file, to give it other models")
    imported.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the YAML here, not to stdout")
    _add_map_options(imported)

    presets = add_command(commands, "presets", "the architectures that ship with the package", run=_list_presets)
    presets.add_argument("--json", action="store_true", help="as JSON")


def add_model_options(command: argparse.ArgumentParser) -> None:
    """The options that name the models of an architecture; `load_mapped` and `parse_model_options` read them."""
    for name, text in MODEL_LISTS.items():
        command.add_argument(f"--{name}", help=text)
    _add_map_options(command)


def _add_map_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--map", action="append", default=[], metavar="OLD=NEW", help="a model in another's place")
    command.add_argument(
        "--map-all", metavar="MODELS", help="models for all others, in the order of their first use; or sim/pool"
    )


def parse_model_options(options: argparse.Namespace) -> ModelLists:
    """The lists of models that the options name."""
    models, fusers, judges = (parse_model_names(getattr(options, name), f"--{name}") for name in MODEL_LISTS)
    return ModelLists(models=models, fusers=fusers, judges=judges)


def _show(options: argparse.Namespace) -> int:
    architecture = load_architecture(load_mapped(options.architecture, options), **parse_model_options(options))
    if options.yaml:
        print(architecture.to_yaml(), end="")
    elif options.mermaid:
        print(render_mermaid(plan(architecture)))
    elif options.json:
        _print_json(
            {**architecture.to_mapping(), "fingerprint": architecture.fingerprint, "models": architecture.models}
        )
    else:
        _print_header(architecture)
        rows = create_table("layer", "component", "models", "settings", numbers="layer")
        stages = {span.first: span for span in architecture.spans} if architecture.stages else {}
        for number, layer in enumerate(architecture.layers, 1):
            if span := stages.get(number):
                rows.add_row("", f"stage {span.stage.name}", "", _describe_stage(span), style="bold")
            alike: dict[str, list[str]] = {}
            for spec in layer:
                alike.setdefault(_format_settings(spec), []).append(spec.model or "-")
            for place, (settings, models) in enumerate(alike.items()):
                where = (str(number), layer[0].kind) if place == 0 else ("", "")
                rows.add_row(*where, ", ".join(models), settings)
        print_table(rows)
    return 0


def _describe_stage(span: StageSpan) -> str:
    kept = "its candidates are kept for the next stage" if span.stage.keep else ""
    return "; ".join(filter(None, [span.stage.description.strip(), kept]))


def _print_header(architecture: Architecture) -> None:
    print(f"{architecture.name}  (fingerprint {architecture.fingerprint})")
    if architecture.description:
        print(architecture.description.rstrip())
    print()


def _format_settings(spec: ComponentSpec) -> str:
    """The options that matter, and every setting that differs from the defaults, as written in a file."""
    plain = ComponentSpec(spec.kind)
    options = resolve_component_type(spec.kind, "").options
    values = {name: spec.get_option(name) for name in options if not options[name].is_derived}
    shown = {
        name: value
        for name, value in values.items()
        if value != options[name].default or (options[name].always_shown and value not in (None, ""))
    }
    for name in SETTING_NAMES:
        if (value := getattr(spec.settings, name)) != getattr(plain.settings, name) or name in spec.explicit:
            shown[name] = value
    for name in COMMON_OPTIONS:
        if (value := getattr(spec, name)) != getattr(plain, name):
            shown[name] = value
    own = [f"own wording of {name}" for name, _ in spec.prompts]
    return ", ".join([*(f"{name}: {json.dumps(thaw_value(value))}" for name, value in shown.items()), *own])


def _plan(options: argparse.Namespace) -> int:
    prices = load_prices(options.prices)
    planned = plan(load_mapped(options.architecture, options), prices=prices, **parse_model_options(options))
    if options.json:
        _print_json(planned.to_mapping())
        return 0
    _print_header(planned.architecture)
    columns = (
        "layer",
        "component",
        "models",
        "calls",
        "re-asks",
        "candidates",
        "done after",
        "tokens in",
        "tokens out",
    )
    rows = create_table(
        *columns, "dollars", numbers="layer,calls,re-asks,candidates,done after,tokens in,tokens out,dollars"
    )
    stage = ""
    for layer in planned.layers:
        if layer.stage != stage:
            stage = layer.stage
            rows.add_row("", f"stage {stage}", *[""] * 8, style="bold")
        rows.add_row(*_format_layer_row(layer))
    rows.add_row(
        "", "total", "", *_format_counts(planned), "", str(planned.sequential), *_format_costs(planned), style="bold"
    )
    print_table(rows)
    print(PLAN_FOOTNOTE)
    if planned.unpriced:
        then = "name models with --models" if planned.architecture.placeholders else "give yours with --prices FILE"
        then += ", that of a score with `dollars` in the file" if planned.sources else ""
        print(f"Price unknown: {', '.join(planned.unpriced)} (table {planned.prices}; {then})")
    if planned.unknown_windows:
        models = ", ".join(planned.unknown_windows)
        print(f"Context window unknown: {models} (table {planned.prices}; give it as `context` with --prices FILE)")
    for warning in planned.warnings:
        print(f"Warning: {warning}")
    for note in planned.notes:
        print(f"Note: {note}")
    return 0


def _format_layer_row(layer: LayerPlan) -> tuple[str, ...]:
    counts = layer.count_by_model()
    models = ", ".join(
        f"{model} x {format_range(count)}" if count[1] > 1 else model for model, count in counts.items() if model
    )
    left = (str(layer.number), layer.kind, models or "-", *_format_counts(layer))
    return (*left, format_range(layer.candidates), str(layer.finished), *_format_costs(layer))


def _format_counts(planned: LayerPlan | Plan) -> tuple[str, str]:
    return format_range(planned.calls), str(planned.reasks or "-")


def _format_costs(planned: LayerPlan | Plan) -> tuple[str, str, str]:
    least, most = planned.usage
    dollars = "unknown" if planned.dollars is None else format_range(planned.dollars, ".4f")
    inputs = format_range((least.input_tokens, most.input_tokens))
    return inputs, format_range((least.output_tokens, most.output_tokens)), dollars


def _validate(options: argparse.Namespace) -> int:
    bad, prices, models = 0, load_prices(options.prices), parse_model_options(options)
    for name in options.architectures:
        try:
            architecture = load_mapped(name, options)
            planned = plan(architecture, prices=prices, **models)  # a custom component that cannot be built shows here
            stages = f"{len(architecture.stages)} stages, " if architecture.stages else ""
            print(f"{name}: fine ({stages}{len(architecture.layers)} layers, fingerprint {architecture.fingerprint})")
            for warning in planned.warnings:
                print(f"Warning: {name}: {warning}")
            for source in planned.sources:
                print(f"Note: {name}: {source}")
        except ArchitectureError as exc:
            bad += 1
            print(f"archon: {exc}", file=sys.stderr)
    return 1 if bad else 0


def _import(options: argparse.Namespace) -> int:
    from archon_eval.integrations.legacy_config import import_legacy, is_legacy

    data, notes = parse_text(read_file(options.file), str(options.file)), list[str]()
    if is_legacy(data):
        architecture, notes = import_legacy(data, options.file.stem)
    else:
        architecture = load_architecture(os.fspath(options.file))
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    architecture = _map_models(architecture, options)
    if options.output is None:
        print(architecture.to_yaml(), end="")
        return 0
    try:
        write_whole(options.output, architecture.to_yaml())
    except OSError as exc:
        raise ArchitectureError(f"cannot write {options.output}: {exc.strerror or exc}") from exc
    return 0


def load_mapped(source: str, options: argparse.Namespace) -> Architecture:
    """The architecture of a command, with the models that `--map` and `--map-all` give it; its places stay."""
    return _map_models(load_architecture(source), options)


def _map_models(architecture: Architecture, options: argparse.Namespace) -> Architecture:
    """The architecture with other models: `OLD=NEW`, and a list for the rest in the order of their first use; says on
    stderr which model became which."""
    names: dict[str, str] = {}
    others = parse_model_names(options.map_all, "--map-all")
    for pair in options.map:
        old, equals, new = pair.partition("=")
        if not equals or not new.strip() or len(chosen := parse_model_names(new, f"--map {pair}: the new model")) != 1:
            raise ArchitectureError(f"--map {pair}: must be OLD=NEW, each one model")
        if old not in architecture.models:
            raise ArchitectureError(f"--map {pair}: no component has {old!r}{did_you_mean(old, architecture.models)}")
        if old in names:
            raise ArchitectureError(f"--map {pair}: {old} is mapped twice")
        names[old] = chosen[0]
    rest = [model for model in architecture.models if model not in names]
    for place, old in enumerate(rest if others else ()):
        names[old] = others[place % len(others)]
    for old in architecture.models if names else ():
        print(f"{old} -> {names[old]}" if old in names else f"{old} stays: it is not mapped", file=sys.stderr)
    return architecture.rename_models(names)


def _list_presets(options: argparse.Namespace) -> int:
    plans = [plan(load_architecture(name)) for name in list_presets()]
    plans.sort(key=lambda planned: (planned.calls[1], planned.architecture.name))
    if options.json:
        _print_json([planned.to_mapping() | {"description": planned.architecture.description} for planned in plans])
        return 0
    rows = create_table("preset", "calls", "what it is", numbers="calls")
    for planned in plans:
        rows.add_row(
            planned.architecture.name, format_range(planned.calls), planned.architecture.description.split("\n")[0]
        )
    print_table(rows)
    return 0


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
