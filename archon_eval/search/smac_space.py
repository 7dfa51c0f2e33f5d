"""A list of configurations as SMAC3 sees it: a ConfigurationSpace of the axes, and the vector of each configuration.

    listed = ListedSpace(configurations, seed=0)
    listed.space                            # generators, samples, layers, width1, ... with conditions
    listed.find_places(listed.vectors[3:5]) # array([3, 4])

Importing SMAC3 takes seconds, so only its optimizers import this module, and only when they are built.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ConfigSpace
import numpy as np
from smac import Scenario

from archon_eval.search.space import Array, Configuration, extract_axes
from archon_eval.search.space.configuration import END

UNLIMITED_TRIALS = 1_000_000
"""SMAC3 wants a number; when to stop is the search's business."""


class ListedSpace:
    """The configurations that may be tried, of all that the axes' product has."""

    def __init__(self, configurations: Sequence[Configuration], seed: int) -> None:
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
        self._weights, codes = self._find_distinct_codes()
        self._order = codes.argsort()
        self._sorted_codes = codes[self._order]
        self._objects: dict[int, ConfigSpace.Configuration] = {}
        self._places: dict[bytes, int] = {}  # by vector

    def get_configuration(self, place: int) -> ConfigSpace.Configuration:
        """ConfigSpace's object of a configuration, always the same: equal ones may have different hashes."""
        if place not in self._objects:
            self._objects[place] = ConfigSpace.Configuration(self.space, vector=self.vectors[place])
        return self._objects[place]

    def find_place(self, config: ConfigSpace.Configuration) -> int:
        """Where a configuration is in the list; -1 for one that is not."""
        return self._find_vector(config.get_array())

    def _find_vector(self, vector: Array) -> int:
        if not self._places:
            self._places = {known.tobytes(): place for place, known in enumerate(self.vectors)}
        return self._places.get(vector.tobytes(), -1)

    def find_places(self, vectors: Array) -> Any:
        """Where vectors [n, axes] are in the list; -1 for those that are not."""
        if vectors is self.vectors:
            return np.arange(len(vectors))
        if len(vectors) == 1:  # SMAC3 asks for the trials one by one
            return np.array([self._find_vector(vectors[0])])
        codes = _encode(vectors, self._weights)
        nearest = self._order[np.searchsorted(self._sorted_codes, codes).clip(max=len(self._sorted_codes) - 1)]
        # by the code where to look, by the vector whether it is the one: others may have the same code
        same = (np.nan_to_num(self.vectors[nearest], nan=-1.0) == np.nan_to_num(vectors, nan=-1.0)).all(axis=1)
        return np.where(same, nearest, -1)

    def _find_distinct_codes(self) -> tuple[Any, Any]:
        """Weights with which every vector of the list has a code of its own, and the codes."""
        for seed in count():
            weights = np.random.default_rng(seed).integers(0, 2**63, self.vectors.shape[1], dtype=np.uint64)
            codes = _encode(self.vectors, weights)
            if len(np.unique(codes)) == len(codes):
                return weights, codes
        raise AssertionError  # never: equal vectors would be one configuration


def _encode(vectors: Array, weights: Any) -> Any:
    """A vector as one whole number of 64 bits: its indexes, -1 for NaN, by the weights, without what overflows."""
    return ((np.nan_to_num(vectors, nan=-1.0) + 1).astype(np.uint64) * weights).sum(axis=1, dtype=np.uint64)


def build_axes_space(points: Sequence[Mapping[str, Any]], seed: int) -> ConfigSpace.ConfigurationSpace:
    """The axes with more than one value: numbers are ordinal, words and flags categorical.

    The width of fusion layer n exists in stacks with more than n layers (the last layer has one fuser), and of n layers
    where a vote stands behind them.
    """
    values: dict[str, set[Any]] = {}
    for point in points:
        for name, value in point.items():
            values.setdefault(name, set()).add(value)
    space = ConfigSpace.ConfigurationSpace(seed=seed)
    axes = {name: _build_axis(name, sorted(legal)) for name, legal in values.items() if len(legal) > 1}
    space.add(list(axes.values()))
    for name, axis in axes.items():
        if name.startswith("width") and (condition := _build_width_condition(axis, axes, values, points)) is not None:
            space.add(condition)
    return space


def _build_width_condition(
    axis: Any, axes: Mapping[str, Any], values: Mapping[str, set[Any]], points: Sequence[Mapping[str, Any]]
) -> Any:
    """Where the axis exists; None for everywhere."""
    layer = int(axis.name.removeprefix("width"))
    deep = [layers for layers in sorted(values["layers"]) if layers > layer]
    with_vote = layer in values["layers"] and any(p["layers"] == layer and axis.name in p for p in points)
    without = any(axis.name not in point for point in points)
    if not without or ("layers" not in axes and "vote" not in axes):
        return None
    if not with_vote:
        return ConfigSpace.InCondition(axis, axes["layers"], deep)
    if "vote" not in axes:
        return ConfigSpace.InCondition(axis, axes["layers"], [layer, *deep])
    voted = ConfigSpace.EqualsCondition(axis, axes["vote"], END)
    if "layers" not in axes:
        return voted
    ends = ConfigSpace.AndConjunction(ConfigSpace.EqualsCondition(axis, axes["layers"], layer), voted)
    return ConfigSpace.OrConjunction(ConfigSpace.InCondition(axis, axes["layers"], deep), ends) if deep else ends


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
