"""From a configuration to layers: the steps that its architecture takes, and the components of each step.

>>> [step.kind for step in list_steps(Configuration(2, fusers=(4, 1), critic_ranker=False, vote="before_last"))]
['generator', 'fuser', 'vote', 'fuser']

What is known of an architecture without its models (`prefix_sharing`) follows from the steps, so that it holds for what
is built from them.
"""

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from archon_eval.architecture.component_types import ModelList
from archon_eval.architecture.option_values import freeze_value
from archon_eval.architecture.parse import parse_layers
from archon_eval.architecture.spec import Architecture, ComponentSpec, GenerationSettings, Layer, fill_layer
from archon_eval.architecture.stages import Stage
from archon_eval.errors import SearchError
from archon_eval.search.space.configuration import (
    AFTER_GENERATORS,
    BEFORE_FUSERS,
    BEFORE_LAST,
    END,
    ROLE_KINDS,
    Configuration,
)

if TYPE_CHECKING:
    from archon_eval.search.space.axes import Space

RANKER_TOP_K = 5
"""Candidates that a ranker keeps (v6 section 3.3)."""
DEFAULT_MODEL = "default"
"""What a role's list of models says for the model that it has without the axis."""
LAST_STAGE = "searched"
"""The stage of a cascade that the searched architecture is."""
_ROLES = {kind: role for role, kinds in ROLE_KINDS.items() for kind in kinds}
RANK = re.compile(r"(?:best_(?P<best>generator|fuser)|(?P<list>generator|fuser)_(?P<number>[1-9]\d*))")
"""A model by its rank: `best_fuser`, `generator_2`."""


class Step(NamedTuple):
    """One layer, without its models."""

    kind: str
    """The component's; `insert` for layers of the user's own."""
    width: int = 1
    """Fusers of a fusion layer."""
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def role(self) -> str:
        """The role that decides its model; empty for none."""
        return _ROLES.get(self.kind, "")


def list_steps(configuration: Configuration) -> list[Step]:
    """The layers of a configuration, in their order."""
    fusers = configuration.fusers
    ranked = [Step("critic"), Step("ranker", options=() if fusers else (("top_k", 1),))]
    ranked = ranked if configuration.critic_ranker else []
    evaluation = _list_evaluation_steps(configuration)
    name, place = configuration.insert or ("", "")
    insert = [Step("insert", options=(("name", name),))] if name else []
    steps = [Step("generator")]
    if configuration.evaluation_place == AFTER_GENERATORS:
        steps += evaluation
    if place == AFTER_GENERATORS:
        steps += insert
    for number, width in enumerate(fusers, 1):
        last = number == len(fusers)
        if last and configuration.vote == BEFORE_LAST:
            steps.append(Step("vote"))
        steps += ranked
        if last and configuration.evaluation_place == BEFORE_LAST:
            steps += evaluation
        if place == BEFORE_FUSERS or (last and place == BEFORE_LAST):
            steps += insert
        steps.append(Step("fuser", width))
    if not fusers:
        steps += [*(evaluation if configuration.evaluation_place == BEFORE_LAST else []), *ranked]
    if configuration.vote == END:
        steps.append(Step("vote", options=(("top_k", 1),)))
    return [*steps, *(insert if place == END else [])]


def _list_evaluation_steps(configuration: Configuration) -> list[Step]:
    if configuration.evaluation == "none":
        return []
    if configuration.evaluation == "verifier":
        return [Step("verifier")]
    executed = configuration.evaluation == "executed_tests"
    written = {"form": "input_output"} if executed else {}
    number = {"max_tests": configuration.tests} if configuration.tests else {}
    return [
        Step("unit_test_generator", options=tuple(sorted({**written, **number}.items()))),
        Step("unit_test_evaluator", options=(("execute", "sandbox"),) if executed else ()),
    ]


class LayerBuilder:
    """Builds the layers of a space's configurations, equal layers once."""

    def __init__(self, space: "Space", generators: Sequence[str], fusers: Sequence[str]) -> None:
        """
        Args:
            generators, fusers: ranked, best first.
        """
        self._space, self._generators, self._fusers = space, tuple(generators), tuple(fusers)
        self._members: dict[str, tuple[str, ...]] = dict(space.pools)
        # a temperature that was searched for is the architecture's own, the default one too
        self._explicit = frozenset({"temperature"} if len(space.temperatures) > 1 else ())
        self._prompts = dict(space.prompts)
        self._inserts = {insert.name: insert for insert in space.inserts}
        self._first_stages = {each.name: each for each in space.cascades}
        self._ranked: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._built: dict[Any, tuple[Layer, ...]] = {}
        self._layers: dict[Layer, Layer] = {}
        self._shapes: dict[int, Any] = {}
        self._checked: set[Any] = set()

    def build_layers(self, configuration: Configuration) -> tuple[Layer, ...]:
        """The layers; equal ones are the same object.

        Raises:
            SearchError: a role wants a model by a rank that there is not.
        """
        shared = (configuration.pool, configuration.temperature, configuration.prompts, configuration.roles)
        first = (configuration.generators, configuration.samples, configuration.proposers, configuration.sampling)
        layers = [*self._build_first_stage(configuration)] if configuration.cascade else []
        for step in list_steps(configuration):
            key = (shared, step, first if step.kind == "generator" else ())
            if key not in self._built:
                made = self._build_step(configuration, step)
                self._built[key] = tuple(self._layers.setdefault(layer, layer) for layer in made)
            layers += self._built[key]
        return tuple(layers)

    def _build_first_stage(self, configuration: Configuration) -> tuple[Layer, ...]:
        """The samples, the vote and the rule of the stage that is asked first."""
        [(name, agreement)] = configuration.cascade
        key = ("first stage", name, agreement, configuration.pool, configuration.temperature)
        if key not in self._built:
            first = self._first_stages[name]
            generators, fusers = self._rank_members(configuration.pool)
            model = _resolve_model(first.model, generators, fusers) if first.model else generators[-1]
            settings = GenerationSettings(temperature=configuration.temperature)
            made = (
                ComponentSpec(
                    "generator", model, settings, options=(("samples", first.samples),), explicit=self._explicit
                ),
                ComponentSpec("vote", options=(("top_k", 1),)),
                ComponentSpec("accept_agreement", options=(("threshold", agreement),)),
            )
            self._built[key] = tuple(self._layers.setdefault((spec,), (spec,)) for spec in made)
        return self._built[key]

    def build_architecture(self, configuration: Configuration) -> Architecture:
        """The configuration with models.

        Raises:
            ArchitectureError: layers of the user's own break the rules of construction here.
        """
        layers = self.build_layers(configuration)
        # the rules are about kinds and options: the first of a shape is checked for all
        shape = tuple(self._find_shape(layer) for layer in layers)
        stages: tuple[Stage, ...] = ()
        if configuration.cascade:
            stages = (Stage(configuration.cascade[0][0], 2, has_rule=True), Stage(LAST_STAGE, len(layers) - 3))
        if shape in self._checked:
            return Architecture.from_checked_layers(configuration.key, layers, stages)
        architecture = Architecture(configuration.key, layers, stages=stages)
        self._checked.add(shape)
        return architecture

    def _find_shape(self, layer: Layer) -> Any:
        if id(layer) not in self._shapes:  # `_layers` keeps it alive
            self._shapes[id(layer)] = (
                len(layer) > 1,
                tuple(sorted({repr((spec.kind, spec.options, bool(spec.model), spec.on_overflow)) for spec in layer})),
            )
        return self._shapes[id(layer)]

    def _build_step(self, configuration: Configuration, step: Step) -> Sequence[Layer]:
        generators, fusers = self._rank_members(configuration.pool)
        role = dict(configuration.roles).get(step.role, "")
        model = _resolve_model(role, generators, fusers) if role else ""
        judge = model or self._space.judge or fusers[0]
        if step.kind == "insert":
            layers = parse_layers(self._inserts[dict(step.options)["name"]].read_layers(), "inserts")
            given: dict[ModelList, Sequence[str]] = {"models": generators, "fusers": fusers, "judges": [judge]}
            return [fill_layer(layer, given) for layer in layers]
        if step.kind == "generator":
            counts = configuration.proposers or (configuration.samples,) * configuration.generators
            rule = freeze_value(json.loads(configuration.sampling), "samples") if configuration.sampling else None
            return [
                tuple(
                    self._build_spec(
                        configuration, "generator", model or name, samples=rule or (count if count > 1 else None)
                    )
                    for name, count in zip(generators, counts, strict=False)
                    if count
                )
            ]
        if step.kind == "fuser":
            names = [model or fusers[number % len(fusers)] for number in range(step.width)]
            return [tuple(self._build_spec(configuration, "fuser", name) for name in names)]
        options = dict(step.options)
        needs_model = step.kind != "vote" and "execute" not in options
        return [(self._build_spec(configuration, step.kind, judge if needs_model else "", **options),)]

    def _build_spec(self, configuration: Configuration, kind: str, model: str, **options: Any) -> ComponentSpec:
        given = {name: value for name, value in options.items() if value is not None}
        wordings = self._prompts[configuration.prompts[0]] if configuration.prompts else ()
        return ComponentSpec(
            kind,
            model,
            GenerationSettings(temperature=configuration.temperature),
            options=tuple(sorted(given.items())),
            prompts=tuple((name, text) for of, name, text in wordings if of == kind),
            explicit=self._explicit,
        )

    def _rank_members(self, pool: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Generators and fusers of a pool, best first."""
        if pool not in self._ranked:
            members = self._members.get(pool)
            generators = tuple(m for m in self._generators if members is None or m in members)
            fusers = tuple(m for m in self._fusers if members is None or m in members)
            self._ranked[pool] = generators, fusers or generators  # where none of the pool can fuse
        return self._ranked[pool]


def _resolve_model(name: str, generators: Sequence[str], fusers: Sequence[str]) -> str:
    """The model of a name or a rank."""
    if not (match := RANK.fullmatch(name)):
        return name
    ranked = generators if "generator" in (match["best"], match["list"]) else fusers
    number = int(match["number"] or 1)
    if number > len(ranked):
        raise SearchError(f"a role of the space wants {name}, and {len(ranked)} can be used: {', '.join(ranked)}")
    return ranked[number - 1]
