"""Which calls of an architecture earlier trials have paid for already: architectures share all up to where they differ.

>>> configurations = [Configuration(generators=2), Configuration(generators=3)]
>>> tracker = PaidCallTracker(configurations, calls=[5.0, 6.0])
>>> tracker.mark_paid(0, draws=1)
>>> tracker.count_unpaid(draws=1).tolist()  # a third generator, then critic, ranker and fuser on other candidates
[0.0, 4.0]

What a call's prompt depends on follows from the steps that the architecture is built from (`space.list_steps`): a
generator's on nothing before it, nor tests'; a verdict's on one candidate; everything else's on all that stands before.
"""

import json
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from archon_eval.architecture.samples import AdaptiveSamples, read_samples
from archon_eval.search.space import RANKER_TOP_K, Array, Configuration, Step, list_steps
from archon_eval.search.space.layout import RANK

CallGroup = tuple[Any, float]
"""(key, calls per question): equal keys are the same calls."""


class _Flow(NamedTuple):
    """What reaches a step."""

    prefix: int
    """Stands for everything before it."""
    candidates: tuple[Any, ...] | None
    """The call that made each, in any order; None where it is not known which there are."""
    least: int
    most: int
    """How many."""


class CallGrouper:
    """Tells the calls of configurations in groups, under the same keys where they are the same calls."""

    def __init__(self) -> None:
        self._prefixes: dict[Any, int] = {}

    def group(self, configuration: Configuration, calls: float) -> list[CallGroup]:
        """What a configuration's calls are.

        Args:
            calls: of the whole, from its plan: what the known steps do not take is that of layers of the user's own,
                without these of the evaluation.
        """
        # what a cascade's last stage asks depends on which answers its rule lets stand, so it is shared with no other
        base = self._intern(configuration.pool, configuration.temperature, *configuration.cascade)
        roles = dict(configuration.roles)
        groups: list[CallGroup] = []
        evaluation: list[CallGroup] = []
        inserted: list[Any] = []
        flow = _Flow(base, None, 0, 0)
        tests: tuple[Any, ...] = ()
        for step in list_steps(configuration):
            model = (roles.get(step.role, ""), _find_prompts(configuration, step))
            key = (flow.prefix, step.kind, step.options, model)
            prefix = self._intern(*key, step.width)
            expected = (flow.least + flow.most) / 2
            if step.kind == "generator":
                makes = tuple(_list_generator_calls(configuration, base, *model))
                if configuration.sampling:  # how many are drawn is not known, so nothing else counts on them
                    makes = tuple((*call, configuration.sampling) for call in makes)
                    drawn = _estimate_drawn(configuration, len(makes))
                    groups += [(call, drawn) for call in makes]
                    flow = _Flow(self._intern(base, makes), None, 1, len(makes))
                else:
                    groups += [(call, 1.0) for call in makes]
                    flow = _Flow(self._intern(base, makes), makes, len(makes), len(makes))
            elif step.kind == "fuser":
                makes = tuple((*key, number) for number in range(step.width))
                groups += [(call, 1.0) for call in makes]
                flow = _Flow(prefix, makes, step.width, step.width)
            elif step.kind == "critic":
                groups.append((key, 1.0))
                flow = flow._replace(prefix=prefix)
            elif step.kind == "ranker":
                groups.append((key, ((flow.least > 1) + (flow.most > 1)) / 2))  # no ranking of one
                flow = _keep_best(flow._replace(prefix=prefix), dict(step.options).get("top_k", RANKER_TOP_K))
            elif step.kind == "unit_test_generator":
                tests = (base, step.kind, step.options, model)
                groups.append((tests, 1.0))
                flow = flow._replace(prefix=prefix)
            elif step.kind == "insert":
                inserted.append(key)
                flow = _Flow(prefix, None, 1, max(1, flow.most))
            else:
                per_candidate = _count_verdict_calls(step)
                if flow.candidates is None:
                    evaluation.append((key, per_candidate * expected))
                else:
                    about = (base, step.kind, model, tests)
                    evaluation += [((*about, candidate), per_candidate) for candidate in flow.candidates]
                flow = _Flow(prefix, None, 1, flow.most)
        return groups + _share_rest(flow.prefix, calls - sum(count for _, count in groups), evaluation, inserted)

    def _intern(self, *parts: Any) -> int:
        """A number in place of nested parts, which are long to compare."""
        return self._prefixes.setdefault(parts, len(self._prefixes))


def group_calls(configuration: Configuration, calls: float) -> list[CallGroup]:
    """The calls of one configuration in groups; keys can be compared within one `CallGrouper` only."""
    return CallGrouper().group(configuration, calls)


def _find_prompts(configuration: Configuration, step: Step) -> str:
    """The set of prompts, where it changes those of the step."""
    name, *kinds = configuration.prompts or ("",)
    return name if step.kind in (*kinds, "insert") else ""


def _list_generator_calls(configuration: Configuration, base: int, model: str, prompts: str) -> Iterator[Any]:
    """The call that makes each candidate: the n-th sample of a model, by its rank where it has one."""
    counts = configuration.proposers or (configuration.samples,) * configuration.generators
    if model:
        match = RANK.fullmatch(model)
        generator = match and "generator" in (match["best"], match["list"])
        who: Any = int(match["number"] or 1) - 1 if match and generator else model
        counts = (sum(counts),)
    for rank, count in enumerate(counts):
        for sample in range(count):
            yield (base, prompts, who if model else rank, sample)


def _estimate_drawn(configuration: Configuration, most: int) -> float:
    """The share of its samples that an architecture draws which draws in rounds: the middle of its plan."""
    samples = read_samples(json.loads(configuration.sampling))
    least = samples.least if isinstance(samples, AdaptiveSamples) else most
    return (least * configuration.generators + most) / 2 / most


def _count_verdict_calls(step: Step) -> float:
    """Calls per candidate of what judges each by itself."""
    if step.kind == "verifier":
        return 2.0
    return 1.0 if step.kind == "unit_test_evaluator" and not step.options else 0.0  # what is run calls no model


def _keep_best(flow: _Flow, top_k: int) -> _Flow:
    """Behind a ranker: where all are kept, their order alone is new."""
    if flow.most <= top_k:
        return flow
    return _Flow(flow.prefix, None, min(flow.least, top_k), top_k)


def _share_rest(prefix: int, rest: float, evaluation: Sequence[CallGroup], inserted: Sequence[Any]) -> list[CallGroup]:
    """The groups of steps whose number of calls only the plan knows."""
    if inserted:
        left = max(0.0, rest - sum(count for _, count in evaluation))
        return [*evaluation, *((key, left / len(inserted)) for key in inserted)]
    if total := sum(count for _, count in evaluation):
        scale = max(0.0, rest) / total
        return [(key, count * scale) for key, count in evaluation]
    return [((prefix, "rest"), rest)] if rest > 0 else []


class CallIndex:
    """Which groups of calls each of a list of configurations has, and which configurations have a group."""

    def __init__(self, configurations: Sequence[Configuration], calls: Sequence[float]) -> None:
        numbers: dict[Any, int] = {}
        grouper, ids, counts, starts = CallGrouper(), array("q"), array("d"), array("q", [0])
        for configuration, whole in zip(configurations, calls, strict=True):
            for key, count in grouper.group(configuration, whole):
                ids.append(numbers.setdefault(key, len(numbers)))
                counts.append(count)
            starts.append(len(ids))
        self._ids, self._starts = np.array(ids, dtype=np.int32), np.array(starts)
        counted = np.array(counts, dtype=np.float32)
        self.size = len(numbers)
        """How many groups there are."""
        self.whole: Array = np.add.reduceat(counted, self._starts[:-1], dtype=np.float64)
        """[configurations]: calls per question."""
        order = np.argsort(self._ids, kind="stable")
        owners = np.repeat(np.arange(len(self.whole), dtype=np.int32), np.diff(self._starts))
        self._owners, self._owned = owners[order], counted[order]
        self._groups = np.searchsorted(self._ids[order], np.arange(len(numbers) + 1))

    def list_groups(self, number: int) -> Any:
        """A configuration's groups."""
        return np.unique(self._ids[self._starts[number] : self._starts[number + 1]])

    def list_owners(self, group: int) -> tuple[Any, Any]:
        """The configurations that have a group, and the calls that it is of each."""
        part = slice(self._groups[group], self._groups[group + 1])
        return self._owners[part], self._owned[part]


@lru_cache(maxsize=2)
def index_calls(configurations: tuple[Configuration, ...], calls: tuple[float, ...]) -> CallIndex:
    """The index of a list; a space of thousands takes seconds, and several parts of a search want it."""
    return CallIndex(configurations, calls)


class PaidCallTracker:
    """Keeps account for a list of configurations; the call store is what really answers."""

    def __init__(self, configurations: Sequence[Configuration], calls: Sequence[float]) -> None:
        self._index = index_calls(tuple(configurations), tuple(calls))
        self._paid: dict[int, Any] = {}
        self._unpaid: dict[int, Array] = {}

    def count_unpaid(self, draws: int) -> Array:
        """Calls per question that each configuration would still take with a set of draws."""
        return np.maximum(self._unpaid.get(draws, self._index.whole), 0.0)

    def mark_paid(self, number: int, draws: int) -> None:
        """The configuration is tried with these draws."""
        paid = self._paid.setdefault(draws, np.zeros(self._index.size, dtype=bool))
        unpaid = self._unpaid.setdefault(draws, self._index.whole.copy())
        for group in self._index.list_groups(number):
            if not paid[group]:
                owners, calls = self._index.list_owners(group)
                np.subtract.at(unpaid, owners, calls)
                paid[group] = True
