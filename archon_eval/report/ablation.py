"""What each layer and component of an architecture is worth: the same questions without it, or with a stand-in.

    for variant in list_variants(load_architecture("moa-lite", models)): print(variant.change)

Variants share the call store, so that what they have in common with the whole is answered from it, with the same draws.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archon_eval._files import write_whole
from archon_eval.architecture.component_types import describe_component, resolve_component_type
from archon_eval.architecture.spec import COMMON_OPTIONS, SETTING_NAMES, Architecture, ComponentSpec, Layer
from archon_eval.architecture.stages import Stage
from archon_eval.components import build_layer
from archon_eval.engine.engine import TOOLS_REFUSED, list_tool_obstacles
from archon_eval.engine.plan import plan
from archon_eval.errors import ArchitectureError, DataError, quote
from archon_eval.report.compare import RunComparison, bonferroni_confidence, compare_runs, dump_comparison, dump_costs
from archon_eval.report.report_data import format_interval
from archon_eval.runs.benchmark_run import MissingPolicy, Run
from archon_eval.runs.progress import EvalProgressCallback
from archon_eval.runs.read_log import read_run
from archon_eval.runs.run_eval import Eval
from archon_eval.runs.run_lm_eval import run_plan
from archon_eval.stats.estimates import Estimate


@dataclass(frozen=True, slots=True)
class AblationVariant:
    """The architecture with one thing changed."""

    change: str
    """`without layer 2 (critic)`."""
    architecture: Architecture


@dataclass(frozen=True, slots=True)
class AblationResult:
    """The eval of a change, compared with that of the whole architecture."""

    change: str
    run: Run
    pair: RunComparison
    """The whole architecture against the variant: positive differences are what the changed part is worth. At a
    confidence that holds for all changes together (Bonferroni)."""
    log: str

    @property
    def value(self) -> Estimate:
        """The part's worth, on the scale of the scores."""
        return self.pair.overall.paired.difference


def list_variants(whole: Architecture) -> list[AblationVariant]:
    """Every valid change of one layer or component, none twice.

    Layers are dropped (a unit test generator with its evaluator), components of a layer with several too, the whole
    layer of generators is replaced by as many draws of its first model, and a last component by its stand-in (a fuser
    and a ranker by each other, since both make one answer of several).
    """
    variants, seen = [], {whole.fingerprint}
    for change, layers, stages in _generate_changes_by_stage(whole):
        try:
            changed = replace(whole, name=f"{whole.name}, {change}", layers=layers, stages=stages)
            plan(changed)  # what a stage's rule measures may be gone
        except ArchitectureError:  # breaks a rule of construction, e.g. critiques that nobody would read
            continue
        if changed.fingerprint not in seen:
            seen.add(changed.fingerprint)
            variants.append(AblationVariant(change, changed))
    return variants


def _generate_changes_by_stage(
    whole: Architecture,
) -> Iterator[tuple[str, tuple[Layer, ...], tuple[Stage, ...]]]:
    """Changes of the layers of each stage; of a cascade also whole stages that are left out."""
    if not whole.stages:
        yield from ((change, layers, ()) for change, layers in _generate_changes(whole.layers))
        return
    spans = whole.spans
    for place, span in enumerate(spans):
        stages = whole.stages
        before, own = whole.layers[: span.first - 1], whole.layers[span.first - 1 : span.last]
        after = whole.layers[span.last :]
        for change, layers in _generate_changes(own):
            changed = replace(span.stage, depth=len(layers))
            kept = (*stages[:place], changed, *stages[place + 1 :])
            yield f"stage {span.stage.name}: {change}", (*before, *layers, *after), kept
        if whole.router is not None or len(stages) == 1:
            continue  # a router's stages are all there
        rest = [*stages[:place], *stages[place + 1 :]]
        if place == len(stages) - 1:  # the one before becomes the last, whose answer always stands
            rest[-1] = replace(rest[-1], has_rule=False, keep=False)
            yield f"without stage {span.stage.name}", whole.layers[: spans[place - 1].last], tuple(rest)
        else:
            end = span.last if span.rule is None else span.rule
            yield f"without stage {span.stage.name}", (*before, *whole.layers[end:]), tuple(rest)


def _generate_changes(layers: Sequence[Layer]) -> Iterator[tuple[str, tuple[Layer, ...]]]:
    for place, layer in enumerate(layers):
        before, after, where = tuple(layers[:place]), tuple(layers[place + 1 :]), f"layer {place + 1}"
        kind, described = layer[0].kind, describe_component(layer[0], where)
        if described.writes_tests:
            yield f"without {where} and {place + 2} (unit tests)", (*before, *after[1:])
        else:
            yield f"without {where} ({kind})", (*before, *after)
        for spec in dict.fromkeys(layer) if len(layer) > 1 else ():
            rest = list(layer)
            rest.remove(spec)
            count = layer.count(spec)
            name = f"{spec.model or spec.kind}{_format_differences(spec, layer)}"
            component = f"one of {count} {name}" if count > 1 else name
            yield f"{where} without {component}", (*before, tuple(rest), *after)
        if place == 0 and len({spec.model for spec in layer}) > 1:
            same = tuple(replace(spec, model=layer[0].model) for spec in layer)
            yield f"{where} with {layer[0].model} alone, as many draws", (same, *after)
        if not after and described.stand_in and len(layer) == 1:
            other = ComponentSpec(described.stand_in, settings=layer[0].settings, explicit=layer[0].explicit)
            if describe_component(other, where).needs_model:
                other = replace(other, model=layer[0].model)
            yield f"{where}: {other.kind} in place of the {kind}", (*before, (other,))


def _format_differences(spec: ComponentSpec, layer: Layer) -> str:
    """What tells a component from the others of its layer that have its model, in brackets; empty where none has."""
    alike = [other for other in layer if other != spec and other.model == spec.model]
    values, others = _collect_values(spec), list(map(_collect_values, alike))
    differing = [name for name in values if any(other[name] != values[name] for other in others)]
    return f" ({', '.join(f'{name}: {quote(str(values[name]), 60)[1:-1]}' for name in differing)})" if alike else ""


def _collect_values(spec: ComponentSpec) -> dict[str, Any]:
    """All that may differ between components of one kind, by the name it has in a file."""
    names = resolve_component_type(spec.kind, spec.kind).options
    settings = {name: value for name in SETTING_NAMES if name not in names for value in [getattr(spec.settings, name)]}
    options = {name: spec.get_option(name) for name in names}
    common = {name: getattr(spec, name) for name in COMMON_OPTIONS}
    return {**options, **settings, **common, "system": spec.system, "prompts": dict(spec.prompts)}


def run_ablation(
    whole: Architecture,
    changed: Sequence[AblationVariant],
    plan: Eval,
    *,
    folder: Path,
    on_eval: Callable[[str], EvalProgressCallback] = lambda change: lambda progress: None,
    scorer: str | None = None,
    missing: MissingPolicy = "error",
    metric: str | None = None,
) -> tuple[Run, list[AblationResult], list[str]]:
    """Run the whole and every variant, one after the other, with the call store `folder/calls.db`.

    Variants that cannot be asked with the tools that the task offers are left out: the last of the results has a
    sentence on each.

    Args:
        plan: task, door and further solver arguments; architecture and store are filled in here.
        on_eval: called with the change whose eval begins; returns the callback for that eval's progress.
        scorer, missing, metric: as for `read_run`.

    Raises:
        ArchonError: an eval that fails, or no variant that can be asked with the task's tools.
    """
    runs: list[Run] = []
    kept, left_out = list[AblationVariant](), list[str]()
    systems = [("the whole", whole), *((variant.change, variant.architecture) for variant in changed)]
    for number, (change, architecture) in enumerate(systems):
        file = folder / "variants" / f"{number:02}.yaml"
        try:
            write_whole(file, architecture.to_yaml())
        except OSError as exc:
            raise DataError(f"cannot write {file}: {exc.strerror or exc}") from exc
        solver_args = (f"architecture={file}", f"store={folder / 'calls.db'}", *plan.solver_args)
        log = run_plan(replace(plan, solver_args=solver_args), folder / "logs", on_eval(change))
        try:
            runs.append(read_run(log, scorer, missing, metric=metric))
        except DataError as exc:
            obstacles = _list_tool_obstacles(architecture) if runs and TOOLS_REFUSED in str(exc) else []
            if not obstacles:
                raise
            left_out.append(f"{change} is left out, as the task offers tools: {'; '.join(obstacles)}")
            continue
        if number:
            kept.append(changed[number - 1])
    if not kept:
        raise DataError(f"no change is left to compare: {'; '.join(left_out)}")
    confidence = bonferroni_confidence(len(kept))
    worth = [
        AblationResult(change=variant.change, run=run, pair=compare_runs(runs[0], run, confidence), log=run.log)
        for variant, run in zip(kept, runs[1:], strict=True)
    ]
    return runs[0], worth, left_out


def _list_tool_obstacles(architecture: Architecture) -> list[str]:
    return list_tool_obstacles([build_layer(number, layer) for number, layer in enumerate(architecture.layers, 1)])


def build_chart_rows(worth: Sequence[AblationResult]) -> list[dict[str, Any]]:
    """The rows of `charts.build_interval_chart`: points per change."""
    rows = []
    for result in worth:
        scale, value = result.pair.points, result.value
        low, high = (value.value if end is None else end for end in (value.low, value.high))
        row = {"label": result.change, "value": scale * value.value, "low": scale * low, "high": scale * high}
        rows.append({**row, "range": format_interval(value, scale, "+"), "text": result.pair.overall.explained_verdict})
    return rows


def dump_ablation(whole: Run, worth: Sequence[AblationResult], left_out: Sequence[str] = ()) -> Mapping[str, Any]:
    """Plain values for JSON."""
    changes = [{"change": result.change, "log": result.log, **dump_comparison(result.pair)} for result in worth]
    head = {"architecture": whole.name, "metric": whole.metric.name, "fingerprint": whole.fingerprint}
    return {
        "warnings": list(list_warnings(whole, worth)),
        **head,
        **dump_costs(whole),
        "changes": changes,
        "left_out": [*left_out],
    }


def list_warnings(whole: Run, worth: Sequence[AblationResult]) -> Iterator[str]:
    """Sentences on layers that never worked and on replies that were cut or lost, of the whole and of every change."""
    for change, run in (("the whole", whole), *((result.change, result.run) for result in worth)):
        yield from (f"{change}: {text}" for text in run.health.sentences)
