"""One point of a space, and its value on every axis.

>>> Configuration(generators=10, samples=2, fusers=(8, 4, 1), evaluation="verifier").key
'g10x2-f8.4.1-cr-verifier'
>>> Configuration(4, proposers=(1, 1, 1, 3), fusers=(1,), critic_ranker=False, roles=(("fuser", "a/x"),)).key
'p1.1.1.3-f1-fuser=a/x'
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

BEFORE_LAST, AFTER_GENERATORS, BEFORE_FUSERS, END = "before_last", "after_generators", "before_fusers", "end"
ROLE_KINDS: Mapping[str, tuple[str, ...]] = {
    "generator": ("generator",),
    "critic": ("critic",),
    "ranker": ("ranker",),
    "verifier": ("verifier",),
    "unit_tests": ("unit_test_generator", "unit_test_evaluator"),
    "fuser": ("fuser",),
}
"""The roles that may have models of their own, and the components that are in each."""


@dataclass(frozen=True, slots=True, order=True)
class Configuration:
    """One point of a space."""

    generators: int
    """How many models generate: the best so many."""
    samples: int = 1
    """Candidates per generator."""
    fusers: tuple[int, ...] = (1,)
    """Fusers per fusion layer; the last layer has one, unless a vote stands behind it; empty for no fusion."""
    critic_ranker: bool = True
    """Whether a critic and a ranker (top 5) stand before each fusion layer."""
    evaluation: str = "none"
    """`none`, `verifier`, `unit_tests` (judged), or `executed_tests` (run in the sandbox)."""
    temperature: float = 0.7
    pool: str = ""
    """Which named pool of models; empty for all."""
    evaluation_place: str = BEFORE_LAST
    """Where the evaluation stands: `before_last` (the last fuser), or `after_generators`."""
    tests: int = 0
    """Unit tests that are written, at most; 0 for the component's own number (10)."""
    vote: str = "none"
    """`before_last` (the last fuser), or at the `end`."""
    insert: tuple[str, ...] = ()
    """(name, place) of layers of the user's own; empty for none."""
    prompts: tuple[str, ...] = ()
    """(name, components that it changes) of a set of prompts; empty for the built-in ones."""
    proposers: tuple[int, ...] = ()
    """Candidates of each ranked model, the best first (MoA, appendix F); empty for `samples` of the best ones."""
    roles: tuple[tuple[str, str], ...] = ()
    """(role, model) where a role has not the model that it has by default: a name, or a rank (`generator_2`)."""
    sampling: str = ""
    """The rule by which samples are drawn in rounds, in JSON as a file has it (`samples` is then its most); empty for
    all at once."""
    cascade: tuple[tuple[str, float], ...] = ()
    """(name, agreement) of the first stage of a cascade, whose last stage the rest of the configuration is; empty for
    none."""

    @property
    def candidates(self) -> int:
        """How many the first layer makes."""
        return sum(self.proposers) if self.proposers else self.generators * self.samples

    @property
    def inner_fusers(self) -> tuple[int, ...]:
        """Widths of the fusion layers whose width is an axis: all but the last, or all where a vote ends it."""
        return self.fusers if self.vote == END else self.fusers[:-1]

    @property
    def sampling_name(self) -> str:
        """The rule in a word: `settled_min3`; empty for none. Its `max` is `samples`."""
        rule = json.loads(self.sampling) if self.sampling else {}
        more = [f"{name}{value}" for name, value in rule.items() if name not in ("stop", "max")]
        return "_".join([rule["stop"], *more]) if rule else ""

    @property
    def key(self) -> str:
        """A short name: `open-g10x2-f8.4.1-cr-verifier-t0.7`; what has its default is left out."""
        first = f"p{'.'.join(map(str, self.proposers))}" if self.proposers else f"g{self.generators}x{self.samples}"
        parts = [
            *([self.pool] if self.pool else []),
            first,
            f"f{'.'.join(map(str, self.fusers)) or '0'}",
            *(["cr"] if self.critic_ranker else []),
            *([self.evaluation] if self.evaluation != "none" else []),
            *([f"n{self.tests}"] if self.tests else []),
            *(["early"] if self.evaluation_place != BEFORE_LAST else []),
            *([f"vote_{self.vote}"] if self.vote != "none" else []),
            *(["@".join(self.insert)] if self.insert else []),
            *([f"prompts={self.prompts[0]}"] if self.prompts else []),
            *(f"{role}={model}" for role, model in self.roles),
            *([self.sampling_name] if self.sampling else []),
            *(f"after_{name}@{agreement:g}" for name, agreement in self.cascade),
            *([f"t{self.temperature:g}"] if self.temperature != 0.7 else []),
        ]
        return "-".join(parts)


get_fields = attrgetter(*(field.name for field in fields(Configuration)))
"""A configuration's fields as a tuple, which sorts as the configuration does."""
_FIRST_AXES = ("generators", "samples", "fusers", "critic_ranker", "evaluation", "temperature", "pool")
"""Columns that every table of trials has."""


def extract_axes(configuration: Configuration) -> dict[str, Any]:
    """The value of every axis, each a number, a word or a flag; axes that a configuration does not have are missing.

    >>> extract_axes(Configuration(2, fusers=(4, 1)))["width1"]
    4
    """
    axes: dict[str, Any] = {
        "pool": configuration.pool,
        "generators": configuration.generators,
        "samples": configuration.samples,
        "layers": len(configuration.fusers),
        "critic_ranker": configuration.critic_ranker,
        "evaluation": configuration.evaluation,
        "temperature": configuration.temperature,
        "evaluation_place": configuration.evaluation_place,
        "tests": configuration.tests,
        "vote": configuration.vote,
        "insert": "@".join(configuration.insert),
        "prompts": configuration.prompts[0] if configuration.prompts else "",
        "proposers": ".".join(map(str, configuration.proposers)),
        "sampling": configuration.sampling_name,
        "cascade": ",".join(f"{name}@{agreement:g}" for name, agreement in configuration.cascade),
    }
    axes |= {f"width{layer}": width for layer, width in enumerate(configuration.inner_fusers, 1)}
    return (
        axes
        | {f"role_{role}": "default" for role in ROLE_KINDS}
        | {f"role_{role}": m for role, m in configuration.roles}
    )


def list_table_rows(configurations: Sequence[Configuration]) -> list[Mapping[str, Any]]:
    """Columns for a table of these configurations: the first axes, and of the others those that move."""
    points = [extract_axes(configuration) for configuration in configurations]
    names = dict.fromkeys(name for point in points for name in point)
    further = [
        name
        for name in names
        if name not in (*_FIRST_AXES, "layers") and not name.startswith("width")
        if len({point.get(name, "") for point in points}) > 1
    ]
    return [
        {
            **{name: getattr(configuration, name) for name in _FIRST_AXES},
            "fusers": ".".join(map(str, configuration.fusers)),
            **{name: point.get(name, "") for name in further},
        }
        for configuration, point in zip(configurations, points, strict=True)
    ]
