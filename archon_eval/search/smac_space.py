"""A list of configurations as SMAC3 sees it: a ConfigurationSpace of the axes, and the vector of each configuration.

    listed = ListedSpace(configurations, seed=0)
    listed.space                            # generators, samples, layers, width1, ... with conditions
    listed.find_places(listed.vectors[3:5]) # array([3, 4])

Importing SMAC3 takes seconds, so only its optimizers import this module, and only when they are built.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ConfigSpace
import numpy as np
from smac import Scenario

from archon_eval.errors import SearchError
from archon_eval.search.space import Array, Configuration

MAX_CODES = 2**53
"""Up to here floats hold every whole number."""
UNLIMITED_TRIALS = 1_000_000
"""SMAC3 wants a number; when to stop is the search's business."""


class ListedSpace:
    """The configurations that may be tried, of all that the axes' product has."""

    def __init__(self, configurations: Sequence[Configuration], seed: int) -> None:
        """
        Raises:
            SearchError: the axes have more combinations than there are codes to tell them apart.
        """
        points = [extract_axes(configuration) for configuration in configurations]
        self.space = build_axes_space(points, seed)
        indexes = {
            name: {value: float(axis.to_vector(value)) for value in {point[name] for point in points if name in point}}
            for name, axis in self.space.items()
        }
        self.vectors: Array = np.array(
            [[index.get(point.get(name), np.nan) for name, index in indexes.items()] for point in points]
        ).reshape(len(points), len(indexes))
        """[configurations, axes]: the index of each axis' value, NaN for an axis that a configuration does not have."""
        sizes = [len(index) + 1 for index in indexes.values()]
        if prod(sizes) > MAX_CODES:
            axes = ", ".join(f"{name} {len(index)}" for name, index in indexes.items())
            why = "too many combinations of values for SMAC"
            raise SearchError(f"the space has {why} ({axes}): leave some out, or take another algorithm")
        self._strides = np.array([float(prod(sizes[place + 1 :])) for place in range(len(sizes))])
        codes = self._encode(self.vectors)
        self._order = codes.argsort()
        self._sorted_codes = codes[self._order]
        self._objects: dict[int, ConfigSpace.Configuration] = {}

    def get_configuration(self, place: int) -> ConfigSpace.Configuration:
        """ConfigSpace's object of a configuration, always the same: equal ones may have different hashes."""
        if place not in self._objects:
            self._objects[place] = ConfigSpace.Configuration(self.space, vector=self.vectors[place])
        return self._objects[place]

    def find_places(self, vectors: Array) -> Any:
        """Where vectors [n, axes] are in the list; -1 for those that are not."""
        codes = self._encode(vectors)
        nearest = np.searchsorted(self._sorted_codes, codes).clip(max=len(self._sorted_codes) - 1)
        return np.where(self._sorted_codes[nearest] == codes, self._order[nearest], -1)

    def _encode(self, vectors: Array) -> Any:
        """A vector as one whole number: its indexes, -1 for NaN, are the digits."""
        return (np.nan_to_num(vectors, nan=-1.0) + 1) @ self._strides


def extract_axes(configuration: Configuration) -> dict[str, Any]:
    """The value of every axis; widths of layers that a configuration does not have are missing."""
    axes = {
        "pool": configuration.pool,
        "generators": configuration.generators,
        "samples": configuration.samples,
        "layers": len(configuration.fusers),
        "critic_ranker": configuration.critic_ranker,
        "evaluation": configuration.evaluation,
        "temperature": configuration.temperature,
    }
    return axes | {f"width{layer}": width for layer, width in enumerate(configuration.fusers[:-1], 1)}


def build_axes_space(points: Sequence[Mapping[str, Any]], seed: int) -> ConfigSpace.ConfigurationSpace:
    """The axes with more than one value: numbers are ordinal, words and flags categorical.

    The width of fusion layer n exists in stacks with more than n layers (the last layer has one fuser).
    """
    values: dict[str, set[Any]] = {}
    for point in points:
        for name, value in point.items():
            values.setdefault(name, set()).add(value)
    space = ConfigSpace.ConfigurationSpace(seed=seed)
    axes = {name: _build_axis(name, sorted(legal)) for name, legal in values.items() if len(legal) > 1}
    space.add(list(axes.values()))
    for name, axis in axes.items():
        if name.startswith("width") and "layers" in axes:
            deep = [layers for layers in sorted(values["layers"]) if layers > int(name.removeprefix("width"))]
            if len(deep) < len(values["layers"]):
                space.add(ConfigSpace.InCondition(axis, axes["layers"], deep))
    return space


def _build_axis(name: str, legal: list[Any]) -> Any:
    if isinstance(legal[0], str | bool):
        return ConfigSpace.CategoricalHyperparameter(name, legal)
    return ConfigSpace.OrdinalHyperparameter(name, legal)


@contextmanager
def temporary_scenario(space: ConfigSpace.ConfigurationSpace, seed: int) -> Iterator[Scenario]:
    """What SMAC3 is to do, without a limit. Build the facade within: it saves its state at once, into a folder that is
    gone afterwards; the search has a journal of its own."""
    with TemporaryDirectory(prefix="archon-smac-") as folder:
        yield Scenario(space, deterministic=True, n_trials=UNLIMITED_TRIALS, seed=seed, output_directory=Path(folder))
