"""The rules of construction: which component may stand where (Archon v6, section 3.2 and Table 4).

    find_broken_rules(layers)    # ["layer 1 is fuser: the first layer holds generators (rule 2)"]

The rules know components only by what their classes say of themselves (`ComponentType`).
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from archon_eval.architecture.component_types import (
    ComponentType,
    describe_component,
    list_overflow_policies,
    load_component_class,
    resolve_component_type,
)
from archon_eval.architecture.samples import AdaptiveSamples, find_adaptive_samples
from archon_eval.errors import ArchitectureError

if TYPE_CHECKING:
    from archon_eval.architecture.spec import ComponentSpec, Layer


def find_broken_rules(layers: "Sequence[Layer]", *, continues: bool = False, is_rule: bool = False) -> list[str]:
    """Every rule that the layers break, each naming its layer; empty when all hold.

    Args:
        continues: whether candidates come in, so that the first layer makes something of them.
        is_rule: whether this is the one layer that decides if a stage's answer stands.
    """
    if not layers:
        return ["there is no layer; the first holds one or more generators"]
    problems: list[str] = []
    types: list[list[ComponentType]] = []
    for number, layer in enumerate(layers, 1):
        if not layer:
            return [f"layer {number} is empty"]
        names = list(dict.fromkeys(spec.kind for spec in layer))
        if len(names) > 1:
            problems.append(f"layer {number} mixes {' and '.join(names)}: one kind of component in a layer (rule 1)")
        types.append([describe_component(spec, f"layer {number}") for spec in layer])
    for number, layer in enumerate(layers, 1):
        problems += _check_rule_placement(layer) if is_rule else _check_placement(number, layer, continues)
    firsts = [described[0] for described in types]
    problems += _check_models(layers, types)
    if is_rule:
        return problems
    problems += [*_check_carried(layers), *_check_sampling(layers, firsts)]
    return [*problems, *_check_critiques(types), *_check_tests(firsts), *_check_test_forms(firsts)]


def _check_rule_placement(layer: "Layer") -> list[str]:
    conflicts = [problem for spec in layer for problem in (*_find_conflicts(spec, 1), *_check_overflow(spec, 1))]
    return [*dict.fromkeys(conflicts)]


def _check_placement(number: int, layer: "Layer", continues: bool) -> list[str]:
    kind = resolve_component_type(layer[0].kind, f"layer {number}")
    problems = []
    if kind.place in ("rule", "router"):
        word = "a stage's `accept`" if kind.place == "rule" else "a cascade's `router`"
        return [f"layer {number} is {kind.name}: it is written as {word}, and is no layer by itself"]
    if kind.adds and not kind.alone:
        problems.append(f"layer {number} is {kind.name}: what adds candidates stands alone in its layer (`alone`)")
    if kind.place == "first" and number > 1:
        problems.append(f"layer {number} is {kind.name}: it may stand only in the first layer (rule 2)")
    if kind.place == "first" and number == 1 and continues:
        problems.append(
            f"layer 1 is {kind.name}: it drops the candidates that the stage before keeps; leave out `keep` there, or "
            "begin with a layer that reads candidates"
        )
    if kind.place == "later" and number == 1 and not continues:
        problems.append(f"layer 1 is {kind.name}: the first layer holds generators (rule 2)")
    if kind.alone and len(layer) > 1:
        problems.append(f"layer {number} has {len(layer)} components of kind {kind.name}: it stands alone (rule 4)")
    conflicts = [
        problem for spec in layer for problem in (*_find_conflicts(spec, number), *_check_overflow(spec, number))
    ]
    return [*problems, *(f"layer {number} is {kind.name}: {problem}" for problem in dict.fromkeys(conflicts))]


def _find_conflicts(spec: "ComponentSpec", number: int) -> Sequence[str]:
    try:
        return tuple(load_component_class(spec.kind, f"layer {number}").check_options(spec))
    except ArchitectureError:
        raise
    except Exception as exc:  # whatever a component's own function does wrong
        problem = f"{type(exc).__name__}: {exc}"
        raise ArchitectureError(f"layer {number}: check_options of {spec.kind!r} fails: {problem}") from exc


def _check_overflow(spec: "ComponentSpec", number: int) -> Sequence[str]:
    legal = list_overflow_policies(spec, f"layer {number}")
    if spec.on_overflow in legal:
        return ()
    why = "its prompts show one candidate" if len(legal) > 1 else "no prompt of it shows candidates"
    return [f"{why}, so `on_overflow` must be {' or '.join(legal)}, not {spec.on_overflow}"]


def _check_models(layers: "Sequence[Layer]", types: Sequence[Sequence[ComponentType]]) -> list[str]:
    problems = [
        f"{_describe_place(number, described)}: it calls no model, leave `model` out"
        for number, (layer, layer_types) in enumerate(zip(layers, types, strict=True), 1)
        for spec, described in zip(layer, layer_types, strict=True)
        if spec.model and not described.needs_model
    ]
    problems += [
        f"{_describe_place(number, described)}: it calls no model, leave `system` out"
        for number, (layer, layer_types) in enumerate(zip(layers, types, strict=True), 1)
        for spec, described in zip(layer, layer_types, strict=True)
        if spec.system and not described.needs_model
    ]
    return list(dict.fromkeys(problems))


def _check_carried(layers: "Sequence[Layer]") -> list[str]:
    problems = [
        find_carry_problem(layers[number - 2], layer, number, f"layer {number - 1}")
        for number, layer in enumerate(layers[1:], 2)
    ]
    return [problem for problem in problems if problem]


def find_carry_problem(before: "Layer", layer: "Layer", number: int, place: str) -> str:
    """Why a layer cannot carry on the candidates of the one before it, if that is what it does; empty where it can.

    Args:
        place: where the one before stands, in words.
    """
    described = describe_component(layer[0], f"layer {number}")
    if not described.carries_on:
        return ""
    makers = [describe_component(spec, place) for spec in before]
    generate = all(load_component_class(spec.kind, spec.kind).replaces_candidates for spec in before)
    if not generate or not all(maker.replaces for maker in makers):
        return (
            f"layer {number} is {described.name}: it carries on the candidates of the layer before it, one a place, "
            f"and {place} ({makers[0].name}) makes none"
        )
    made, carried = _count_made(before, place), _count_made(layer, f"layer {number}")
    if made is None or carried is None or made == carried:
        return ""
    return (
        f"layer {number} is {described.name} with {carried} {'place' if carried == 1 else 'places'}, and {place} makes "
        f"{made} {'candidate' if made == 1 else 'candidates'}: it needs one place for each (a model each, or `samples`)"
    )


def _count_made(layer: "Layer", where: str) -> int | None:
    """Candidates that a layer makes; None while it is not known of how many models it consists."""
    if any(spec.model == "$all" for spec in layer):
        return None
    total = 0
    for spec in layer:
        try:
            total += load_component_class(spec.kind, where)(spec).candidate_count
        except ArchitectureError:
            raise
        except Exception as exc:  # whatever a class of a user's own does wrong
            problem = f"{type(exc).__name__}: {exc}"
            raise ArchitectureError(f"{where}: {spec.kind!r} cannot be built: {problem}") from exc
    return total


def _describe_place(number: int, described: ComponentType) -> str:
    setting = f" with {described.runs_programs}" if described.runs_programs else ""
    return f"layer {number} is {described.name}{setting}"


def _check_critiques(types: Sequence[Sequence[ComponentType]]) -> list[str]:
    problems = []
    for number, (writer, *_) in enumerate(types, 1):
        if not writer.writes_critiques:
            continue
        for later in types[number:]:
            if any(described.reads_critiques is not False for described in later):
                break
            if later[0].replaces or later[0].writes_critiques:
                problems.append(f"layer {number} is {writer.name}: its critiques are replaced before any use (rule 3)")
                break
        else:
            problems.append(f"layer {number} is {writer.name}: no later ranker or fuser uses its critiques (rule 3)")
    return problems


def _check_tests(types: Sequence[ComponentType]) -> list[str]:
    problems = []
    neighbours = zip([None, *types[:-1]], types, [*types[1:], None], strict=True)
    for number, (before, described, after) in enumerate(neighbours, 1):
        where = f"layer {number} is {described.name}"
        if described.follows_tests and (before is None or before.writes_tests == ""):
            problems.append(f"{where}: no unit_test_generator directly before it (rule 6)")
        if described.writes_tests and (after is None or after.reads_tests == ""):
            problems.append(f"{where}: no unit_test_evaluator directly after it (rule 6)")
    return problems


def _check_test_forms(types: Sequence[ComponentType]) -> list[str]:
    """Tests that are inputs with outputs are run, and nothing else is."""
    problems = []
    form = ""
    for number, described in enumerate(types, 1):
        form = described.writes_tests or form
        where = _describe_place(number, described)
        if described.reads_tests == "input_output" and form != "input_output":
            problems.append(f"{where}: the unit_test_generator before it needs `form: input_output`")
        if described.reads_tests == "statements" and form == "input_output":
            problems.append(f"{where}: tests of `form: input_output` are run, not judged: it needs `execute: sandbox`")
    return problems


def _check_sampling(layers: "Sequence[Layer]", types: Sequence[ComponentType]) -> list[str]:
    """Sampling in rounds needs what decides when it is enough, and one rule for a layer."""
    problems = []
    for number, layer in enumerate(layers, 1):
        rules = {samples.rule: samples for spec in layer if (samples := find_adaptive_samples(spec))}
        where = f"layer {number} is {types[number - 1].name}"
        if len(rules) > 1:
            why = "its candidates are counted together, so `stop`, `confidence` and `passes` must agree"
            problems.append(f"{where}: {why}")
        for samples in rules.values():
            problems += [f"{where}: {why}" for why in _check_stop_rule(samples, number, layers, types)]
    return problems


def _check_stop_rule(
    samples: AdaptiveSamples, number: int, layers: "Sequence[Layer]", types: Sequence[ComponentType]
) -> Iterator[str]:
    """What is wrong with what stands behind layer `number`."""
    behind = number if samples.stop == "settled" else _find_next_on_the_way(layers, number)
    described = types[behind] if behind < len(types) else None
    found = f"layer {behind + 1} is {described.name}" if described else "no layer is there"
    if samples.stop == "settled":
        if not (described and described.groups_candidates):
            yield f"`stop: settled` needs a vote on answers directly behind it (`vote`), and {found}"
        return
    if not (described and described.filters and _reads_one(layers[behind])):
        filters = "`verifier`, `unit_test_evaluator`"
        yield f"`stop: passes` needs a filter as the next that works on candidates ({filters}), and {found}"
    elif (most := dict(layers[behind][0].options).get("stop_after", samples.passes)) < samples.passes:
        yield f"it draws until {samples.passes} passed, and {found} with `stop_after: {most}`"


def _find_next_on_the_way(layers: "Sequence[Layer]", number: int) -> int:
    """The index of the next layer behind layer `number` that does not stand beside the candidates' way."""
    while number < len(layers) and load_component_class(layers[number][0].kind, f"layer {number + 1}").beside:
        number += 1
    return number


def _reads_one(layer: "Layer") -> bool:
    return bool(load_component_class(layer[0].kind, layer[0].kind).candidates_read == "one")
