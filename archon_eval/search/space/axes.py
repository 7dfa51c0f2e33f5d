"""The axes of a space, and every configuration that their values allow.

>>> len(Space(layers=(1, 2, 3, 4), fusers=(2, 4, 6, 8, 10)).list_configurations(models=10))
17784
"""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from archon_eval.architecture.parse import parse_layers
from archon_eval.architecture.samples import AdaptiveSamples, Samples, dump_samples
from archon_eval.architecture.spec import Architecture
from archon_eval.errors import SearchError
from archon_eval.search.space.configuration import (
    AFTER_GENERATORS,
    BEFORE_FUSERS,
    BEFORE_LAST,
    END,
    Configuration,
    get_fields,
)
from archon_eval.search.space.layout import DEFAULT_MODEL, RANK, LayerBuilder, list_steps

EVALUATIONS = ("none", "verifier", "unit_tests", "executed_tests")
EVALUATION_PLACES = (BEFORE_LAST, AFTER_GENERATORS)
VOTES = ("none", BEFORE_LAST, END)
INSERT_PLACES = (AFTER_GENERATORS, BEFORE_FUSERS, BEFORE_LAST, END)


@dataclass(frozen=True, slots=True)
class Insert:
    """Layers of the user's own that an architecture may have; none of them under the name of a space without."""

    name: str
    place: str
    """One of `INSERT_PLACES`; empty for one without layers."""
    layers: str
    """As an architecture file has them, in JSON: `[{"vote": {"by": "outputs"}}]`."""

    def read_layers(self) -> list[Any]:
        """The layers as plain values."""
        return list(json.loads(self.layers))


@dataclass(frozen=True, slots=True)
class FirstStage:
    """A vote that is asked before the architecture, which is asked where its samples do not agree enough."""

    name: str
    model: str
    """A name or a rank; the last of the ranked generators where it is empty."""
    samples: int
    agreements: tuple[float, ...]
    """Thresholds to choose between; none of them under the name of a space without a cascade."""


@dataclass(frozen=True, slots=True)
class Space:
    """The axes; their product, less what is not valid, is the space."""

    generators: tuple[int, ...] = tuple(range(1, 11))
    samples: tuple[Samples, ...] = (1, 2, 3, 4, 5)
    """Numbers, or rules by which samples are drawn in rounds, where what decides stands behind the generators."""
    layers: tuple[int, ...] = (2, 3, 4)
    """Fusion layers; the last has one fuser, unless a vote stands behind it; 0 for none."""
    fusers: tuple[int, ...] = (2, 4, 6, 8)
    """Fusers per layer before the last."""
    critic_ranker: tuple[bool, ...] = (True,)
    evaluations: tuple[str, ...] = EVALUATIONS[:3]
    temperatures: tuple[float, ...] = (0.7,)
    max_candidates: int = 24
    """Most candidates that a critic, ranker or fuser may have to read at once."""
    judge: str = ""
    """The model that criticises, ranks, verifies and tests; empty for the best fuser (v6 Table 5)."""
    pools: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Named lists of models to choose between; without any, all models of the search are one pool."""
    evaluation_places: tuple[str, ...] = (BEFORE_LAST,)
    """Where the evaluation stands; v1 has unit tests `after_generators` for code."""
    tests: tuple[int, ...] = (0,)
    """Unit tests that are written, at most; 0 for the component's own number."""
    votes: tuple[str, ...] = ("none",)
    """Where a vote on the final answers stands; at the `end` it chooses the answer, in place of one last fuser."""
    inserts: tuple[Insert, ...] = ()
    """Layers of the user's own to choose between; one without layers is the choice of none."""
    prompts: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = ()
    """Named sets of prompts, (component, prompt, text), to choose between; an empty one is the built-in prompts."""
    proposers: tuple[tuple[int, ...], ...] = ()
    """Candidates of each ranked model, best first, beside the best `generators` (MoA, appendix F)."""
    roles: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Of roles (`ROLE_KINDS`) the models to choose between: names, ranks, or `default`."""
    cascades: tuple[FirstStage, ...] = ()
    """First stages in front of the architecture to choose between; one without thresholds is the choice of none."""

    @property
    def most_samples(self) -> int:
        """Candidates that one generator may make."""
        return max((each if isinstance(each, int) else each.most for each in self.samples), default=1)

    @property
    def named_models(self) -> tuple[str, ...]:
        """Models that roles and layers of the user's own name, once."""
        roles = [
            name for _, names in self.roles for name in names if name != DEFAULT_MODEL and not RANK.fullmatch(name)
        ]
        inserted = [
            model
            for insert in self.inserts
            for layer in parse_layers(insert.read_layers(), "inserts")
            for spec in layer
            for model in spec.models
            if not model.startswith("$")
        ]
        first = [each.model for each in self.cascades if each.model and not RANK.fullmatch(each.model)]
        return tuple(dict.fromkeys([*roles, *inserted, *first]))

    def list_configurations(self, models: int) -> list[Configuration]:
        """Every valid configuration for that many ranked models, in a fixed order.

        More generators than models would be further samples, which is another axis; more fusers than models are
        further draws of the best.
        """
        sizes = {name: len(members) for name, members in self.pools} or {"": models}
        inserts = [(insert.name, insert.place) if insert.read_layers() else () for insert in self.inserts]
        wordings = [(name, *sorted({kind for kind, _, _ in texts})) if texts else () for name, texts in self.prompts]
        choices = list(
            product(
                self.critic_ranker,
                self.evaluations,
                self.temperatures,
                self.evaluation_places,
                self.tests,
                self.votes,
                inserts or [()],
                wordings or [()],
                self._list_role_choices(),
                self._list_first_stages(),
            )
        )
        configurations: dict[Configuration, None] = {}
        for pool, size in sizes.items():
            for (cr, e, t, place, tests, vote, insert, wording, roles, first), count in product(choices, self.layers):
                for fusers, (g, s, p, rule) in product(self._list_stacks(count, vote), self._list_firsts(size)):
                    point = (g, s, fusers, cr, e, t, pool, place, tests, vote, insert, wording, p, roles, rule, first)
                    if (configuration := self._complete(Configuration(*point))) is not None:
                        configurations[configuration] = None
        self._check_rules_used(configurations)
        return sorted(configurations, key=get_fields)

    def _list_stacks(self, count: int, vote: str) -> list[tuple[int, ...]]:
        """Widths of so many fusion layers."""
        if not count:
            return [()]
        if vote == END:
            return list(product(self.fusers, repeat=count))
        return [(*inner, 1) for inner in product(self.fusers, repeat=count - 1)]

    def _check_rules_used(self, configurations: Collection[Configuration]) -> None:
        """Refuse a rule of `samples` that stands nowhere."""
        used = {configuration.sampling for configuration in configurations}
        for samples in self.samples:
            if isinstance(samples, AdaptiveSamples) and configurations and _dump_rule(samples) not in used:
                needed = {
                    "settled": "a vote directly behind the generators (`votes: [end]` with `layers: [0]` and "
                    "`critic_ranker: [false]`, or an insert)",
                    "passes": "an evaluation directly behind the generators (`evaluation_places: [after_generators]`)",
                }[samples.stop]
                raise SearchError(f"no architecture of the space can have `samples: {_dump_rule(samples)}`: {needed}")

    def _list_firsts(self, size: int) -> Iterator[tuple[int, int, tuple[int, ...], str]]:
        """Generators, samples, proposers and rule of sampling of every first layer that so many models allow."""
        for generators, samples in product(self.generators, self.samples):
            if generators <= size:
                most, rule = (samples, "") if isinstance(samples, int) else (samples.most, _dump_rule(samples))
                yield generators, most, (), rule
        for counts in self.proposers:
            if len(counts) <= size:
                yield sum(count > 0 for count in counts), 1, counts, ""

    def _list_role_choices(self) -> list[tuple[tuple[str, str], ...]]:
        names = [name for name, _ in self.roles]
        return [
            tuple(sorted((name, model) for name, model in zip(names, chosen, strict=True) if model != DEFAULT_MODEL))
            for chosen in product(*(models for _, models in self.roles))
        ]

    def _list_first_stages(self) -> list[tuple[tuple[str, float], ...]]:
        chosen: list[tuple[tuple[str, float], ...]] = []
        for each in self.cascades:
            chosen += [((each.name, agreement),) for agreement in each.agreements] or [()]
        return chosen or [()]

    def _complete(self, configuration: Configuration) -> Configuration | None:
        """The configuration without what makes no difference in it; None where it is not valid."""
        c = configuration
        more: dict[str, Any] = {}
        if not self._is_valid(c):
            return None
        if c.tests and c.evaluation not in ("unit_tests", "executed_tests"):
            more["tests"] = 0
        if c.evaluation_place != BEFORE_LAST and (
            c.evaluation == "none"
            or not c.fusers
            or (len(c.fusers) == 1 and not c.critic_ranker and c.vote != BEFORE_LAST)
        ):
            more["evaluation_place"] = BEFORE_LAST
        if c.roles:
            there = {step.role for step in list_steps(c)}
            more["roles"] = tuple(pair for pair in c.roles if pair[0] in there)
        return replace(c, **more) if more else c

    def _is_valid(self, configuration: Configuration) -> bool:
        c = configuration
        place = c.insert[1] if c.insert else ""
        if c.sampling and not self._can_stop(c):
            return False
        if not c.fusers and (c.vote == BEFORE_LAST or place in (BEFORE_FUSERS, BEFORE_LAST)):
            return False
        if c.vote == END and not c.fusers and (c.critic_ranker or c.candidates == 1):
            return False  # the ranker keeps one, or there is but one: nothing to vote on
        if c.fusers or c.critic_ranker:
            return c.candidates <= self.max_candidates
        # nothing reads them: without a verdict on each, the first candidate is the answer whatever the rest are
        return c.evaluation != "none" or c.candidates == 1 or c.vote == END or bool(place)

    def _can_stop(self, configuration: Configuration) -> bool:
        """Whether what ends its rule of sampling stands behind the generators; of the user's own layers, the first."""
        stop, kinds = json.loads(configuration.sampling)["stop"], [step.kind for step in list_steps(configuration)[1:]]
        if kinds[:1] == ["insert"]:
            layers = next(insert.read_layers() for insert in self.inserts if insert.name == configuration.insert[0])
            kinds = [str(kind) for layer in layers for kind in layer]
        wanted = ("vote",) if stop == "settled" else ("verifier", "unit_test_generator", "unit_test_evaluator")
        return bool(kinds) and kinds[0] in wanted

    def build_architecture(
        self, configuration: Configuration, generators: Sequence[str], fusers: Sequence[str]
    ) -> Architecture:
        """The configuration with models; both lists are ranked, best first, and cut to the configuration's pool.

        Raises:
            ArchitectureError: layers of the user's own break the rules of construction here.
            SearchError: a role wants a model by a rank that there is not.
        """
        return LayerBuilder(self, generators, fusers).build_architecture(configuration)


def _dump_rule(samples: AdaptiveSamples) -> str:
    return json.dumps(dump_samples(samples), sort_keys=True)
