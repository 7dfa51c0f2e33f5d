"""Chooses the thresholds of a cascade and the rows of its router from what every stage did on the same questions.

    fitted = fit_cascade(stages, limits=[0.01])
    fitted.thresholds, fitted.score, fitted.costs

Nothing is asked for this: what a cascade would have answered with other thresholds follows from the stages' scores,
what their rules measured, and what each took.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archon_eval.architecture.routing import FEATURES
from archon_eval.errors import SearchError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
MAX_COMBINATIONS = 20_000
"""Combinations of thresholds that are tried: a second or two."""
MAX_CUTS = 12
"""Values of a feature at which a row may divide the questions: few, since a dev split is small."""
MAX_ROWS = 2
"""Rows of a learnt table, for the same reason."""
MIN_GAIN = 1e-9
MIN_SAVING = 0.02
"""Share of the cost that a row must save where it brings no better score."""


@dataclass(frozen=True)
class StageRecord:
    """What one stage did on n answers, whether it would have been asked for them or not."""

    name: str
    scores: Floats
    """Shape (n,): what its answer is worth."""
    costs: Floats
    """Shape (n, units): what its layers took."""
    rule_costs: Floats
    """Shape (n, units): what its rule took."""
    measured: Floats
    """Shape (n,): what its rule measured; NaN where it could not, or there is no rule."""
    has_rule: bool = False
    threshold: float | None = None
    """Of a rule that cannot be tuned, or is not to be."""
    droppable: bool = True
    """Whether it may be left out of the cascade."""


@dataclass(frozen=True)
class FittedCascade:
    """The best that was found, and what it does on the questions by which it was found."""

    thresholds: Mapping[str, float]
    """Stage -> its threshold; infinite for one that is left out, as its answer never stands."""
    rows: Sequence[Mapping[str, Any]] = ()
    default: str = ""
    """The stage that is asked first where no row holds."""
    score: float = 0.0
    costs: tuple[float, ...] = ()
    """Mean per answer, one per unit."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Stage -> the share of answers that are its own."""


@dataclass(frozen=True)
class Start:
    """Where each answer begins."""

    first: Integers
    """Shape (n,): the place of the stage that is asked first."""
    only: bool = False
    """Whether that is the only one."""
    costs: Floats | None = None
    """Shape (n, units): what choosing it took; None for nothing."""


def simulate(
    stages: Sequence[StageRecord], thresholds: Sequence[float], start: Start
) -> tuple[Floats, Floats, Integers]:
    """Score, costs and the place of the answering stage of each answer.

    Args:
        thresholds: one per stage; the last one's does not count. A stage with an infinite one is passed over.
    """
    first, only, n = start.first, start.only, len(start.first)
    scores = np.zeros(n)
    costs = np.zeros((n, stages[0].costs.shape[1])) if start.costs is None else start.costs.copy()
    places, done = np.full(n, -1), np.zeros(n, dtype=bool)
    for place, (stage, threshold) in enumerate(zip(stages, thresholds, strict=True)):
        is_last = only or place == len(stages) - 1
        if threshold == inf and not is_last:
            continue
        asked = ~done & (first == place if only else first <= place)
        costs[asked] += stage.costs[asked]
        stands = asked.copy()
        if not is_last:
            costs[asked] += stage.rule_costs[asked]
            with np.errstate(invalid="ignore"):
                stands &= stage.measured >= threshold
        scores[stands] = stage.scores[stands]
        places[stands] = place
        done |= stands
    return scores, costs, places


def fit_cascade(
    stages: Sequence[StageRecord],
    limits: Sequence[float],
    *,
    start: Start | None = None,
    features: Sequence[Mapping[str, float]] | None = None,
    targets: Sequence[str] = (),
) -> FittedCascade:
    """The thresholds, and with `features` the rows, with the best score within the limits; of equal ones the cheapest.

    Args:
        limits: most that an answer may cost in the mean, one per unit.
        start: which stage a router chose for each answer; None for the first stage. Where rows are learnt, only
            `only` of it counts.
        features: of each answer's question, from which rows are learnt; None learns none.
        targets: the stages that rows may name.

    Raises:
        SearchError: nothing is within the limits; says what the cheapest costs.
    """
    n = len(stages[0].scores)
    names = [stage.name for stage in stages]
    begin = start or Start(np.zeros(n, dtype=np.int64))
    defaults = [names.index(name) for name in targets] if features is not None and begin.only else [0]
    best: FittedCascade | None = None
    cheapest: tuple[float, ...] | None = None
    for default in defaults:
        chosen = begin if features is None else Start(np.full(n, default), begin.only)
        found, least = _fit_thresholds(stages, limits, chosen)
        cheapest = least if cheapest is None else min(cheapest, least)
        if found is None:
            continue
        candidate = _describe(stages, found, chosen, default=names[default])
        if features is not None:
            candidate = _learn_rows(stages, candidate, limits, only=begin.only, features=features, targets=targets)
        if best is None or _is_better(candidate, best):
            best = candidate
    if best is None:
        least_cost = ", ".join(f"{cost:.4g}" for cost in cheapest or ())
        asked = ", ".join(f"{limit:g}" for limit in limits)
        raise SearchError(
            f"no threshold keeps the cascade within {asked} per question: on the dev questions the cheapest takes "
            f"{least_cost}. Raise the limit, or put a cheaper stage first"
        )
    return best


def _fit_thresholds(
    stages: Sequence[StageRecord], limits: Sequence[float], start: Start
) -> tuple[tuple[float, ...] | None, tuple[float, ...]]:
    """The best thresholds within the limits, None where none are; and the least costs of any."""
    options = _list_options(stages, only=start.only)
    best: tuple[float, ...] | None = None
    best_score, best_cost, least = -inf, inf, (inf,) * len(limits)
    for thresholds in product(*options):
        scores, costs, _ = simulate(stages, thresholds, start)
        score, means = float(scores.mean()), tuple(map(float, costs.mean(axis=0)))
        least = min(least, means)
        if any(mean > limit * (1 + 1e-9) for mean, limit in zip(means, limits, strict=True)):
            continue
        if score > best_score + MIN_GAIN or (score > best_score - MIN_GAIN and means[0] < best_cost - 1e-15):
            best, best_score, best_cost = thresholds, score, means[0]
    return best, least


def _list_options(stages: Sequence[StageRecord], *, only: bool) -> list[tuple[float, ...]]:
    """The thresholds of each stage that are tried: what its rule measured, and `never` where it may be left out."""
    tuned = [stage for stage in stages[:-1] if stage.has_rule and stage.threshold is None and not only]
    most = max(2, int(MAX_COMBINATIONS ** (1 / max(1, len(tuned)))) - 1)
    options: list[tuple[float, ...]] = []
    for place, stage in enumerate(stages):
        if only or place == len(stages) - 1:
            options.append((0.0,))
        elif stage.threshold is not None or not stage.has_rule:
            fixed = 0.0 if stage.threshold is None else stage.threshold
            options.append((fixed, inf) if stage.droppable else (fixed,))
        else:
            values = np.unique(stage.measured[~np.isnan(stage.measured)])
            if len(values) > most:
                values = np.unique(np.quantile(values, np.linspace(0, 1, most), method="nearest"))
            own = tuple(map(float, values))
            options.append((*own, inf) if stage.droppable or not own else own)
    return options


def _describe(
    stages: Sequence[StageRecord],
    thresholds: Sequence[float],
    start: Start,
    *,
    default: str,
    rows: Sequence[Mapping[str, Any]] = (),
) -> FittedCascade:
    scores, costs, places = simulate(stages, thresholds, start)
    return FittedCascade(
        thresholds={stage.name: value for stage, value in zip(stages, thresholds, strict=True)},
        rows=tuple(rows),
        default=default,
        score=float(scores.mean()),
        costs=tuple(map(float, costs.mean(axis=0))),
        shares={stage.name: float((places == place).mean()) for place, stage in enumerate(stages)},
    )


def _is_better(one: FittedCascade, other: FittedCascade) -> bool:
    if abs(one.score - other.score) > MIN_GAIN:
        return one.score > other.score
    return one.costs[0] < other.costs[0]


def _learn_rows(
    stages: Sequence[StageRecord],
    start: FittedCascade,
    limits: Sequence[float],
    *,
    only: bool,
    features: Sequence[Mapping[str, float]],
    targets: Sequence[str],
) -> FittedCascade:
    """Rows one after the other, as long as each brings score or saves cost; thresholds stay."""
    best, names = start, [stage.name for stage in stages]
    table = {name: np.array([each[name] for each in features]) for name in FEATURES}
    thresholds = [start.thresholds[name] for name in names]
    left = np.ones(len(features), dtype=bool)  # no row holds yet
    first = np.full(len(features), names.index(start.default))
    for _ in range(MAX_ROWS):
        found: tuple[FittedCascade, Integers, NDArray[np.bool_]] | None = None
        for name, values in table.items():
            for when, holds in _list_conditions(name, values):
                for target in targets:
                    place = names.index(target)
                    if (thresholds[place] == inf and place < len(names) - 1) or not (holds & left).any():
                        continue
                    chosen = np.where(holds & left, place, first)
                    rows = (*best.rows, {"when": when, "stage": target})
                    made = _describe(stages, thresholds, Start(chosen, only), default=start.default, rows=rows)
                    fits = all(cost <= limit * (1 + 1e-9) for cost, limit in zip(made.costs, limits, strict=True))
                    if fits and (found is None or _is_better(made, found[0])):
                        found = made, chosen, left & ~holds
        if found is None or not _is_worth_a_row(found[0], best):
            break
        best, first, left = found
    return best


def _list_conditions(name: str, values: Floats) -> list[tuple[dict[str, dict[str, float]], NDArray[np.bool_]]]:
    """Conditions on one feature that divide the questions."""
    distinct = np.unique(values)
    if len(distinct) < 2:
        return []
    cuts = distinct[:-1]
    if len(cuts) > MAX_CUTS:
        cuts = np.unique(np.quantile(cuts, np.linspace(0, 1, MAX_CUTS), method="nearest"))
    made = []
    for cut in map(float, cuts):
        above = float(distinct[distinct > cut][0])
        made.append(({name: {"max": cut}}, values <= cut))
        made.append(({name: {"min": above}}, values >= above))
    return made


def _is_worth_a_row(made: FittedCascade, before: FittedCascade) -> bool:
    if made.score > before.score + MIN_GAIN:
        return True
    return made.score > before.score - MIN_GAIN and made.costs[0] < (1 - MIN_SAVING) * before.costs[0]
