"""Which architectures a search may try: axes, their combinations, and what tells one combination from another.

    >>> space = load_space("paper")  # or "my-space.yaml"; v6 section 3.3
    >>> len(space.list_configurations(models=10))
    9576

A configuration is a point on the axes; with models ranked as generators and as fusers it becomes an architecture:

    space.build_architecture(configuration, generators=("a", "b"), fusers=("b", "a"))
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archon_eval.architecture.load import parse_text
from archon_eval.architecture.spec import Architecture, ComponentSpec, GenerationSettings, Layer
from archon_eval.errors import ArchitectureError, SearchError, did_you_mean

Array = NDArray[np.float64]
EVALUATIONS = ("none", "verifier", "unit_tests")
RANKER_TOP_K = 5
"""Candidates that a ranker keeps (v6 section 3.3)."""


@dataclass(frozen=True, slots=True, order=True)
class Configuration:
    """One point of a space."""

    generators: int
    """How many models generate: the best so many."""
    samples: int = 1
    """Candidates per generator."""
    fusers: tuple[int, ...] = (1,)
    """Fusers per fusion layer; the last layer has one; empty for no fusion."""
    critic_ranker: bool = True
    """Whether a critic and a ranker (top 5) stand before each fusion layer."""
    evaluation: str = "none"
    """Before the last fuser: `none`, `verifier` or `unit_tests`."""
    temperature: float = 0.7
    pool: str = ""
    """Which named pool of models; empty for all."""

    @property
    def candidates(self) -> int:
        """How many the first layer makes."""
        return self.generators * self.samples

    @property
    def key(self) -> str:
        """A short name: `open-g10x2-f8.4.1-cr-verifier-t0.7`."""
        parts = [
            f"g{self.generators}x{self.samples}",
            f"f{'.'.join(map(str, self.fusers)) or '0'}",
            *(["cr"] if self.critic_ranker else []),
            *([self.evaluation] if self.evaluation != "none" else []),
            *([f"t{self.temperature:g}"] if self.temperature != 0.7 else []),
        ]
        return "-".join(([self.pool] if self.pool else []) + parts)


@dataclass(frozen=True, slots=True)
class Space:
    """The axes; their product, less what is not valid, is the space."""

    generators: tuple[int, ...] = tuple(range(1, 11))
    samples: tuple[int, ...] = (1, 2, 3, 4, 5)
    layers: tuple[int, ...] = (2, 3, 4)
    """Fusion layers; the last has one fuser; 0 for none."""
    fusers: tuple[int, ...] = (2, 4, 6, 8)
    """Fusers per layer before the last."""
    critic_ranker: tuple[bool, ...] = (True,)
    evaluations: tuple[str, ...] = EVALUATIONS
    temperatures: tuple[float, ...] = (0.7,)
    max_candidates: int = 24
    """Most candidates that a critic, ranker or fuser may have to read at once."""
    judge: str = ""
    """The model that criticises, ranks, verifies and tests; empty for the best fuser (v6 Table 5)."""
    pools: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Named lists of models to choose between; without any, all models of the search are one pool."""

    def list_configurations(self, models: int) -> list[Configuration]:
        """Every valid configuration for that many ranked models, in a fixed order.

        More generators than models would be further samples, which is another axis; more fusers than models are
        further draws of the best.
        """
        sizes = {name: len(members) for name, members in self.pools} or {"": models}
        configurations = []
        for pool, size in sizes.items():
            for count, (g, s, cr, e, t) in product(
                self.layers,
                product(self.generators, self.samples, self.critic_ranker, self.evaluations, self.temperatures),
            ):
                for inner in product(self.fusers, repeat=max(0, count - 1)):
                    fusers = (*inner, 1) if count else ()
                    configuration = Configuration(
                        generators=g,
                        samples=s,
                        fusers=fusers,
                        critic_ranker=cr,
                        evaluation=e,
                        temperature=t,
                        pool=pool,
                    )
                    if g <= size and self._is_valid(configuration):
                        configurations.append(configuration)
        return sorted(configurations)

    def _is_valid(self, configuration: Configuration) -> bool:
        read_together = bool(configuration.fusers) or configuration.critic_ranker
        if read_together:
            return configuration.candidates <= self.max_candidates
        # nothing reads them: without a verdict on each, the first candidate is the answer whatever the rest are
        return configuration.evaluation != "none" or configuration.candidates == 1

    def build_architecture(
        self, configuration: Configuration, generators: Sequence[str], fusers: Sequence[str]
    ) -> Architecture:
        """The configuration with models; both lists are ranked, best first, and cut to the configuration's pool."""
        members = dict(self.pools).get(configuration.pool)
        if members is not None:
            generators = [model for model in generators if model in members]
            fusers = [model for model in fusers if model in members]
        fusers = fusers or generators  # where none of the pool can fuse
        settings = GenerationSettings(temperature=configuration.temperature)
        # a temperature that was searched for is the architecture's own, the default one too
        explicit = frozenset({"temperature"} if len(self.temperatures) > 1 else ())
        judge = self.judge or fusers[0]

        def build_spec(kind: str, model: str = judge, **options: Any) -> ComponentSpec:
            return ComponentSpec(kind, model, settings, options=tuple(sorted(options.items())), explicit=explicit)

        ranked: list[Layer] = []
        if configuration.critic_ranker:
            ranked += [
                (build_spec("critic"),),
                (build_spec("ranker") if configuration.fusers else build_spec("ranker", top_k=1),),
            ]
        evaluation: list[Layer] = []
        if configuration.evaluation == "verifier":
            evaluation += [(build_spec("verifier"),)]
        if configuration.evaluation == "unit_tests":
            evaluation += [(build_spec("unit_test_generator"),), (build_spec("unit_test_evaluator"),)]
        sampled = {"samples": configuration.samples} if configuration.samples > 1 else {}
        first: Layer = tuple(
            build_spec("generator", model, **sampled) for model in generators[: configuration.generators]
        )
        layers = [first]
        for place, width in enumerate(configuration.fusers, 1):
            last = place == len(configuration.fusers)
            layers += [*ranked, *(evaluation if last else [])]
            layers.append(tuple(build_spec("fuser", fusers[n % len(fusers)]) for n in range(width)))
        if not configuration.fusers:
            layers += [*evaluation, *ranked]
        return Architecture(configuration.key, tuple(layers))


def compute_features(configurations: Sequence[Configuration], calls: Sequence[float]) -> Array:
    """A row of standardised features per configuration, in which similar architectures are near each other.

    Args:
        calls: expected calls per question of each.
    """
    pools = sorted({configuration.pool for configuration in configurations})
    rows = []
    for configuration, count in zip(configurations, calls, strict=True):
        inner = configuration.fusers[:-1]
        rows.append(
            [
                configuration.generators,
                log2(configuration.samples),
                log2(configuration.candidates),
                len(configuration.fusers),
                log2(1 + sum(inner)),
                log2(inner[0]) if inner else 0.0,
                log2(inner[-1]) if inner else 0.0,
                log2(inner[-1] / inner[0]) if inner else 0.0,
                log2(1 + count),
                float(configuration.critic_ranker),
                configuration.temperature,
                *(float(configuration.evaluation == name) for name in EVALUATIONS[1:]),
                *(float(configuration.pool == name) for name in pools[1:]),
            ]
        )
    table = np.array(rows, dtype=np.float64)
    spread = table.std(axis=0)
    moving = spread > 1e-9
    scaled: Array = (table[:, moving] - table[:, moving].mean(axis=0)) / spread[moving]
    return scaled if scaled.shape[1] else np.zeros((len(rows), 1))


PRESETS: Mapping[str, Space] = {
    "paper": Space(),
    "paper-v1": Space(evaluations=("none",)),
    "small": Space(
        generators=(1, 2, 4, 8),
        samples=(1, 2),
        layers=(0, 1, 2),
        fusers=(2, 4),
        critic_ranker=(True, False),
        evaluations=("none", "verifier"),
    ),
    "high-sample": Space(
        generators=(1, 2), samples=(1, 10, 100, 500, 1000), layers=(0, 1), fusers=(), critic_ranker=(False,)
    ),
}
"""`paper`: 9,576 of Archon v6; `paper-v1`: 3,192; `small`: for a first try; `high-sample`: code and maths (v6 A.4)."""

_INTEGER_AXES = ("generators", "samples", "layers", "fusers")


def load_space(source: str | Path | Mapping[str, Any]) -> Space:
    """A preset by name, a YAML file, or a mapping; `preset: NAME` in it is what the rest changes.

    Raises:
        SearchError: unreadable, an unknown key or a value that is not legal.
    """
    if isinstance(source, Mapping):
        return _parse_space(source, "space")
    if str(source) in PRESETS:
        return PRESETS[str(source)]
    path = Path(source)
    if not path.is_file():
        raise SearchError(
            f"no search space {str(source)!r}: neither a file nor a preset{did_you_mean(str(source), PRESETS)}"
        )
    try:
        what = "a space is a mapping, e.g. `preset: small`"
        return _parse_space(parse_text(path.read_text(encoding="utf-8"), str(path), what), str(path))
    except (OSError, UnicodeDecodeError, ArchitectureError) as exc:
        raise SearchError(f"search space {path}: {exc}") from exc


def _parse_space(data: Mapping[str, Any], where: str) -> Space:
    values = dict(data)
    base = load_space(str(values.pop("preset", "paper")))
    legal = [field.name for field in fields(Space)]
    changes: dict[str, Any] = {}
    problems = []
    for key, value in values.items():
        try:
            if key not in legal:
                raise SearchError(f"{where}: unknown key {key!r}{did_you_mean(str(key), [*legal, 'preset'])}")
            changes[key] = _parse_axis(str(key), value, where)
        except SearchError as exc:
            problems.append(str(exc))
    if problems:
        raise SearchError("; ".join(problems))
    return replace(base, **changes)


def _parse_axis(key: str, value: Any, where: str) -> Any:
    """The value of one key, or SearchError with what is legal."""
    if key == "max_candidates":
        return _check_items([value], lambda v: _is_int(v, 1), f"{where}: `{key}` must be a whole number from 1")[0]
    if key == "judge":
        return _check_items([value], lambda v: isinstance(v, str), f"{where}: `judge` must be a model's name")[0]
    if key == "pools":
        if not isinstance(value, Mapping) or not value:
            raise SearchError(f"{where}: `pools` must map names to lists of models, not {value!r}")
        names = f"{where}: a pool must be a list of model names"
        return tuple(
            (str(name), _check_items(members, lambda v: isinstance(v, str) and bool(v), names))
            for name, members in value.items()
        )
    items = value if isinstance(value, list | tuple) else [value]
    if key in _INTEGER_AXES:
        spread = [number for item in items for number in _expand_range(item)]
        least = 0 if key == "layers" else 1
        return _check_items(spread, lambda v: _is_int(v, least), f"{where}: `{key}` must be whole numbers or 1..10")
    if key == "critic_ranker":
        return _check_items(items, lambda v: isinstance(v, bool), f"{where}: `{key}` must be true, false or both")
    if key == "evaluations":
        return _check_items(items, lambda v: v in EVALUATIONS, f"{where}: `{key}` must be of {', '.join(EVALUATIONS)}")
    temperatures = f"{where}: `{key}` must be numbers from 0 to 2"
    return tuple(map(float, _check_items(items, lambda v: type(v) in (int, float) and 0 <= v <= 2, temperatures)))


def _is_int(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _expand_range(item: Any) -> list[Any]:
    """`1..10` as its numbers."""
    first, dots, last = str(item).partition("..")
    if dots and first.isdigit() and last.isdigit():
        return list(range(int(first), int(last) + 1))
    return [item]


def _check_items(values: Any, ok: Any, problem: str) -> tuple[Any, ...]:
    if not isinstance(values, list | tuple) or not all(ok(value) for value in values):
        raise SearchError(f"{problem}, not {values!r}")
    return tuple(dict.fromkeys(values))
