"""Measures whether intervals keep their word: `python benchmarks/coverage.py [--quick] [--repeats 20000]` prints JSON.

Each family has cells (truth, number of questions, epochs, model of how difficulty is spread) with the coverage of the
stated 95%, the mean width, and both for the method before (`old_`: Wilson's or t, paired t, percentile bootstrap).
Right or wrong answers of one epoch are counted exactly, also on a fine grid of truths; the others are simulated.

`misses` lists cells below 93%, alarms above 5% where two systems are equal, intervals of zero width, and cells more
than 3% wider than before where the method before was right. It was right in a cell if it reached 94% of the stated 95%
there, and in all models at all truths of the family's that the cell's mean interval holds: an interval sees data, not
the truth, so it cannot be short on data that may come from a truth where short is wrong.

`alarms`: a verdict needs the permutation test, which is exact under exchange: of equal systems it finds at most 5%
significant, whatever the data (`alarms_at_most`). `rate` counts verdicts: over all data sets of right or wrong answers,
else over drawn ones and many exchanges of each.

lc: AlpacaEval's length-controlled win rate on simulated judgments, by the regression of the package alpaca-eval (left
out where it is not installed). Each replicate draws new instructions, answers and judgments, so the truth is the mean
over many. A regression takes a tenth of a second, so `coverage` is the share of the estimates' spread, taken as normal,
that the intervals' arms hold. The spread is that of the raw rate, which is known, times how much more the estimates
spread in the same replicates. --lc-repeats counts covered truths instead, for those who can wait.
"""

import argparse
import csv
import json
import math
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib.util import find_spec
from inspect import signature
from multiprocessing import get_context
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtr, ndtri, stdtrit
from scipy.stats import betabinom, binom

from archon_eval.stats.comparison import run_sign_test
from archon_eval.stats.estimates import compute_score_ends, estimate_mean, estimate_proportion, estimate_score
from archon_eval.stats.jackknife import GROUPS, assign_group, compare_jackknife, estimate_jackknife
from archon_eval.stats.length_control import (
    JudgedPair,
    compute_lc_leave_outs,
    compute_lc_win_rate,
    compute_least_stderr,
)

Array = NDArray[np.float64]
Ends = tuple[Array, Array]
Z = NormalDist().inv_cdf(0.975)
AIM, RIGHT, ALARMS, WIDER = 0.93, 0.94, 0.05, 1.03
TRUTHS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
SIZES = (10, 20, 40, 100, 200, 500)
EPOCHS = 4
EXCHANGES = 1000


# The methods before: kept here as the baseline.


def old_wilson(share: Array, n: int) -> Ends:
    centre, half = share + Z * Z / (2 * n), Z * np.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    return np.where(share > 0, (centre - half) / scale, 0.0), np.where(share < 1, (centre + half) / scale, 1.0)


def old_t(counts: Array, values: Array, n: int) -> Ends:
    mean = counts @ values / n
    spread = np.maximum(0.0, counts @ values**2 - n * mean**2)
    half = stdtrit(n - 1, 0.975) * np.sqrt(spread / (n - 1) / n)
    return mean - half, mean + half


def old_score(counts: Array, values: Array, n: int) -> Ends:
    """t within 0 to 1; Wilson's where all values are 0 or all 1."""
    low, high = old_t(counts, values, n)
    mean = counts @ values / n
    wilson, same = old_wilson(np.clip(mean, 0, 1), n), (mean < 1e-12) | (mean > 1 - 1e-12)
    return np.where(same, wilson[0], np.clip(low, 0, 1)), np.where(same, wilson[1], np.clip(high, 0, 1))


def old_bootstrap(counts: Array, sums: Array, weights: Array, draw: np.random.Generator) -> Ends:
    n, ends = int(counts[0].sum()), []
    for row in counts:
        seen = row > 0
        drawn = draw.multinomial(n, row[seen] / n, size=400)
        ends.append(np.quantile((drawn @ sums[seen]) / (drawn @ weights[seen]), [0.025, 0.975]))
    low, high = np.array(ends).T
    return low, high


# The methods now, over many data sets at once: each row of `counts` says how many questions have each value.


def new_score(counts: Array, values: Array, n: int, *, paired: bool = False) -> Ends:
    """`estimate_score`, or `compare_scores` of differences in -1 to 1."""
    scaled = (values + 1) / 2 if paired else values
    low, high = new_ratio(counts, scaled, np.ones(len(values)), n, paired=paired)
    if paired:
        return 2 * low - 1, 2 * high - 1
    binary = (counts[:, (scaled > 0) & (scaled < 1)] == 0).all(axis=1)
    lows, highs = tabulate_proportions(n)
    right = counts[:, -1].astype(int)
    return np.where(binary, lows[right], low), np.where(binary, highs[right], high)


def new_ratio(counts: Array, sums: Array, weights: Array, n: int, *, paired: bool = False) -> Ends:
    total, squared = counts @ weights, counts @ weights**2
    mean, size = counts @ sums / total, total**2 / squared
    residuals = (sums - mean[:, None] * weights) * (size / total)[:, None]
    residuals[np.abs(residuals) < 1e-12] = 0.0
    moments = [(counts * residuals**power).sum(axis=1) for power in (2, 3, 4)]
    return compute_score_ends(np.clip(mean, 0, 1), moments, size, n=n, confidence=0.95, paired=paired)


def new_ratio_pair(first: Array, second: Array) -> Ends:
    """`compare_scores` of games, one row per data set."""
    parts, loads, values = [], [], []
    for games in (first, second):
        sums, weights = SUMS[games], WEIGHTS[games]
        total = weights.sum(axis=1, keepdims=True)
        values.append(sums.sum(axis=1) / total[:, 0])
        parts.append((sums - values[-1][:, None] * weights) / total)
        loads.append(weights / total)
    size = 1 / (((loads[0] + loads[1]) / 2) ** 2).sum(axis=1)
    residuals = size[:, None] * (parts[0] - parts[1]) / 2
    moments = [(residuals**power).sum(axis=1) for power in (2, 3, 4)]
    middle = (values[0] - values[1] + 1) / 2
    low, high = compute_score_ends(middle, moments, size, n=first.shape[1], confidence=0.95, paired=True)
    return 2 * low - 1, 2 * high - 1


@cache
def tabulate_proportions(n: int) -> Ends:
    estimates = [estimate_proportion(k, n) for k in range(n + 1)]
    return tuple(np.array([getattr(e, end) for e in estimates]) for end in ("low", "high"))  # type: ignore[return-value]


# How cells are made.


def describe_cell(truth: float, new: Ends, old: Ends, weights: Array | None = None, **facts: Any) -> dict[str, Any]:
    """A cell's figures; weights are the data sets' probabilities, None if they were drawn."""

    def average(values: Array, number: int | None = None) -> float:
        if weights is None:
            return float(values[:number].mean())
        return float((weights * values).sum() / weights.sum())

    def cover(ends: Ends) -> Array:
        return ((ends[0] <= truth + 1e-12) & (truth - 1e-12 <= ends[1])).astype(float)

    widths = average(new[1] - new[0], len(old[0])), average(old[1] - old[0])
    return {
        "truth": round(truth, 6),
        **facts,
        "coverage": round(average(cover(new)), 4),
        "coverage_before": round(average(cover(old)), 4),
        "width": round(widths[0], 4),
        "width_ratio": round(widths[0] / widths[1], 3) if widths[1] > 1e-9 else None,
        "zero_widths": int((new[1] - new[0] <= 0).sum()),
        "_ends": (average(new[0]), average(new[1])),
    }


def finish_family(name: str, cells: list[dict[str, Any]], alarms: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """The family's summary, its misses and its cells."""
    misses = []
    for cell in cells:
        low, high = cell.pop("_ends")
        near = [
            other
            for other in cells
            if (other["n"], other.get("epochs")) == (cell["n"], cell.get("epochs")) and low <= other["truth"] <= high
        ]
        cell["right_before"] = all(other["coverage_before"] >= RIGHT for other in [cell, *near])
        wide = cell["width_ratio"] is not None and cell["width_ratio"] > WIDER and cell["right_before"]
        if cell["coverage"] < AIM or cell["zero_widths"] or wide:
            misses.append({"family": name, **cell})
    misses += [{"family": name, **alarm} for alarm in alarms if alarm["rate"] > ALARMS]
    ratios = [cell["width_ratio"] for cell in cells if cell["right_before"] and cell["width_ratio"] is not None]
    return {
        "cells": len(cells),
        "least_coverage": min(cell["coverage"] for cell in cells),
        "least_coverage_before": min(cell["coverage_before"] for cell in cells),
        "zero_widths": sum(cell["zero_widths"] for cell in cells),
        "greatest_width_ratio_where_right_before": max(ratios, default=None),
        "most_alarms": max((alarm["rate"] for alarm in alarms), default=None),
        "alarms_at_most": ALARMS if alarms else None,
        "misses": misses,
        "alarms": list(alarms),
        "table": cells,
    }


def measure_right_wrong(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """One epoch, exactly."""
    cells = []
    for n in sizes:
        right = np.arange(n + 1)
        new, old = tabulate_proportions(n), old_wilson(right / n, n)
        for truth in TRUTHS:
            chances = binom.pmf(right, n, truth)
            cells.append(describe_cell(truth, new, old, chances, n=n, epochs=1, model="any"))
    return cells


def measure_fine_grid(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """The least coverage over all truths from .5 to .995, also right beside the intervals' ends."""
    table = []
    for n in sizes:
        right = np.arange(n + 1)
        row: dict[str, Any] = {"n": n}
        for word, (low, high) in (("", tabulate_proportions(n)), ("_before", old_wilson(right / n, n))):
            ends = np.concatenate([low, high])
            ends = ends[(ends > 0.5) & (ends < 0.995)]
            truths = np.concatenate([np.linspace(0.5, 0.995, 991), ends - 1e-9, ends + 1e-9])
            covered = (low[:, None] <= truths) & (truths <= high[:, None])
            coverage = (covered * binom.pmf(right[:, None], n, truths)).sum(axis=0)
            row |= {
                f"least{word}": round(float(coverage.min()), 4),
                f"at{word}": round(float(truths[coverage.argmin()]), 4),
            }
        table.append(row)
    return table


def list_difficulties(truth: float) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """Models of difficulty: (share of the questions, chance that an epoch is right), with this mean."""
    yield "equally hard", [(1, truth)]
    yield "always right or always wrong", [(truth, 1), (1 - truth, 0)]
    hard = min(1.0, 2 * (1 - truth))
    yield "some a toss-up", [(hard, 1 - (1 - truth) / hard), (1 - hard, 1)]
    lost = 0.7 * (1 - truth)
    yield "few always wrong", [(lost, 0), (1 - lost, truth / (1 - lost))]


def measure_epochs(sizes: Sequence[int], repeats: int, draw: np.random.Generator) -> list[dict[str, Any]]:
    values, cells = np.arange(EPOCHS + 1) / EPOCHS, []
    right = np.arange(EPOCHS + 1)
    for n in sizes:
        for truth in TRUTHS:
            models = {
                name: sum(share * binom.pmf(right, EPOCHS, p) for share, p in classes)
                for name, classes in list_difficulties(truth)
            }
            models["beta"] = betabinom.pmf(right, EPOCHS, 2 * truth, 2 * (1 - truth))
            for name, chances in models.items():
                counts, weights = draw.multinomial(n, chances / chances.sum(), size=repeats), None
                if name == "always right or always wrong":  # can be counted
                    counts = np.zeros((n + 1, EPOCHS + 1), dtype=int)
                    counts[:, -1] = np.arange(n + 1)
                    counts[:, 0] = n - counts[:, -1]
                    weights = binom.pmf(counts[:, -1], n, truth)
                new, old = new_score(counts, values, n), old_score(counts, values, n)
                cells.append(describe_cell(truth, new, old, weights, n=n, epochs=EPOCHS, model=name))
    return cells


def measure_grades(sizes: Sequence[int], repeats: int, draw: np.random.Generator) -> list[dict[str, Any]]:
    """Values in tenths, by a beta distribution; of some, one in ten fails and gets nothing."""
    steps, cells = np.arange(11), []
    for n in sizes:
        for truth, strength, name in (
            *((t, 4.0, "wide") for t in (0.5, 0.7, 0.9, 0.95, 0.98, 0.99)),
            *((t, 30.0, "narrow") for t in (0.5, 0.7, 0.9)),
            *((t, 30.0, "few at zero") for t in (0.5, 0.7, 0.85)),
        ):
            lost = 0.1 if name == "few at zero" else 0.0
            mean = truth / (1 - lost)
            chances = (1 - lost) * betabinom.pmf(steps, 10, strength * mean, strength * (1 - mean))
            chances[0] += lost
            counts = draw.multinomial(n, chances / chances.sum(), size=repeats)
            new, old = new_score(counts, steps / 10, n), old_score(counts, steps / 10, n)
            cells.append(describe_cell(truth, new, old, n=n, epochs=1, model=name))
    return cells


FLIPS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5)


def measure_pairs(sizes: Sequence[int]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """One epoch, exactly: shares of questions won and lost. Where none is won, the second system is always right."""
    cells, alarms = [], []
    for n in sizes:
        most = min(n, int(n * 0.5 + 6 * math.sqrt(n)))
        grid = np.arange(most + 1)
        won, lost = (side.ravel() for side in np.meshgrid(grid, grid, indexing="ij"))
        possible = won + lost <= n
        won, lost = won[possible], lost[possible]
        counts = np.stack([lost, n - won - lost, won], axis=1)
        values = np.array([-1.0, 0.0, 1.0])
        new, old = new_score(counts, values, n, paired=True), old_t(counts, values, n)
        outside = np.flatnonzero((new[0] > 0) | (new[1] < 0))
        p: dict[tuple[int, int], float] = {}
        verdict = np.zeros(len(won))
        for place in outside:
            key = (int(min(won[place], lost[place])), int(won[place] + lost[place]))
            if key not in p:
                p[key] = run_sign_test(key[0], key[1] - key[0])
            verdict[place] = p[key] <= 0.05
        for wins in FLIPS:
            for losses in FLIPS:
                if not 0 < wins + losses <= 0.6 or losses > wins:
                    continue
                chances = multinomial_pmf(n, (losses, 1 - wins - losses, wins), counts)
                model = "one side always right" if losses == 0 else "both err"
                facts = {"n": n, "epochs": 1, "model": model, "wins": wins, "losses": losses}
                cells.append(describe_cell(wins - losses, new, old, chances, **facts))
                if wins == losses:
                    alarms.append(
                        {
                            "n": n,
                            "flips": wins + losses,
                            "rate": round(float((chances * verdict).sum()), 4),
                            "error": 0.0,
                        }
                    )
    return cells, alarms


def multinomial_pmf(n: int, shares: Sequence[float], counts: Array) -> Array:
    logs = gammaln(n + 1) - gammaln(counts + 1).sum(axis=1)
    for share, column in zip(shares, counts.T, strict=True):
        logs = logs + (column * math.log(share) if share > 0 else np.where(column > 0, -np.inf, 0.0))
    return np.exp(logs)


def list_pair_difficulties(first: float, second: float) -> Iterator[tuple[str, list[tuple[float, float, float]]]]:
    """(share of the questions, chances that an epoch of the first and of the second is right)."""
    yield "equally hard", [(1, first, second)]
    solved = min(first, second)
    only = [(abs(first - second), float(first > second), float(second > first))]
    yield "one solves what the other solves", [(solved, 1, 1), *only, (1 - max(first, second), 0, 0)]
    hard = min(1.0, 2 * max(1 - first, 1 - second))
    yield "some a toss-up", [(1 - hard, 1, 1), (hard, 1 - (1 - first) / hard, 1 - (1 - second) / hard)]
    lost, gone = 0.7 * (1 - first), 0.7 * (1 - second)
    rest = [first / (1 - lost), second / (1 - gone)]
    both = [((1 - lost) * (1 - gone), rest[0], rest[1]), (lost * (1 - gone), 0, rest[1])]
    yield "few always wrong", [*both, ((1 - lost) * gone, rest[0], 0), (lost * gone, 0, 0)]


def measure_epoch_pairs(
    sizes: Sequence[int], repeats: int, draw: np.random.Generator
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The mean of several epochs against another."""
    right, cells, alarms = np.arange(EPOCHS + 1), [], []
    values = np.arange(-EPOCHS, EPOCHS + 1) / EPOCHS
    pairs = [(0.5, 0.5), (0.7, 0.6), (0.9, 0.9), (0.95, 0.9), (0.98, 0.98), (0.995, 0.995), (0.995, 0.95)]
    for n in sizes:
        for first, second in [*pairs, (1.0, 0.9), (1.0, 0.97), (1.0, 0.99), (1.0, 0.995)]:
            for name, classes in list_pair_difficulties(first, second):
                joint = np.zeros(len(values))
                for share, one, other in classes:
                    outcomes = share * np.outer(binom.pmf(right, EPOCHS, one), binom.pmf(right, EPOCHS, other))
                    for k in range(-EPOCHS, EPOCHS + 1):
                        joint[k + EPOCHS] += np.trace(outcomes, -k)
                if joint[EPOCHS] > 1 - 1e-12:
                    continue  # the two never differ
                counts = draw.multinomial(n, joint / joint.sum(), size=repeats)
                new, old = new_score(counts, values, n, paired=True), old_t(counts, values, n)
                facts = {"n": n, "epochs": EPOCHS, "model": name, "pair": [first, second]}
                cells.append(describe_cell(first - second, new, old, **facts))
                if first == second:
                    rate, error = count_epoch_alarms(counts[: repeats // 50], values, draw)
                    facts = {"n": n, "pair": [first, second], "model": name}
                    alarms.append({**facts, "rate": rate, "error": error})
    return cells, alarms


def count_epoch_alarms(counts: Array, values: Array, draw: np.random.Generator) -> tuple[float, float]:
    """As `count_pair_alarms`, of values of which any number of questions have the same."""
    raised = values > 0
    sizes, rates = values[raised], []
    for row in counts:
        moved = row[raised] + row[~raised][EPOCHS - 1 :: -1]
        ups = list_exchanges(moved, draw)
        called = find_significant((2 * ups - moved) @ sizes)
        flipped = np.concatenate([(moved - ups)[:, ::-1], np.full((len(ups), 1), row[EPOCHS]), ups], axis=1)
        low, high = new_score(flipped[called], values, int(row.sum()), paired=True)
        rates.append(((low > 0) | (high < 0)).sum() / len(ups))
    return summarise_rates(rates)


def count_pair_alarms(first: Array, second: Array, draw: np.random.Generator) -> tuple[float, float]:
    """The share of verdicts between equal systems, and its standard error; games, one row per data set.

    Of equal systems every exchange per question is as likely. So each data set stands for `EXCHANGES` of its exchanges
    (for all, where there are fewer): each is compared with the others, as `compare_scores` compares what it is given.
    """
    rates = []
    for one, other in zip(first, second, strict=True):
        moved = np.flatnonzero(one != other)
        signs = 2 * list_exchanges(np.ones(len(moved), dtype=int), draw) - 1
        totals = []
        for column in (SUMS, WEIGHTS):
            swing = signs @ (column[one[moved]] - column[other[moved]])
            both = column[one].sum() + column[other].sum()
            totals += [both + swing, both - swing]
        called = np.flatnonzero(find_significant(totals[0] / totals[2] - totals[1] / totals[3]))
        if not len(called):
            rates.append(0.0)
            continue
        sides = [np.repeat(side[None], len(called), axis=0) for side in (one, other)]
        swapped = signs[called] < 0
        for side, own, instead in ((sides[0], one, other), (sides[1], other, one)):
            side[:, moved] = np.where(swapped, instead[moved], own[moved])
        low, high = new_ratio_pair(*sides)
        rates.append(((low > 0) | (high < 0)).sum() / len(signs))
    return summarise_rates(rates)


def list_exchanges(moved: Array, draw: np.random.Generator) -> Array:
    """How many of the questions that moved by each size moved up: all possibilities of few, else `EXCHANGES` drawn."""
    if moved.max(initial=0) <= 1 and moved.sum() <= math.log2(EXCHANGES):
        places = np.flatnonzero(moved)
        ups = np.zeros((1 << len(places), len(moved)), dtype=int)
        ups[:, places] = np.arange(len(ups))[:, None] >> np.arange(len(places)) & 1
        return ups
    return draw.binomial(moved, 0.5, size=(EXCHANGES, len(moved)))


def find_significant(differences: Array) -> Array:
    """Which of the exchanges the permutation test finds significant; exchanges that move nothing are none."""
    sizes = np.abs(differences)
    ranks = len(sizes) - np.searchsorted(np.sort(sizes), sizes * (1 - 1e-9) - 1e-12)
    significant: Array = (ranks <= ALARMS * len(sizes)) & (sizes > 1e-12)
    return significant


def summarise_rates(rates: Sequence[float]) -> tuple[float, float]:
    return round(float(np.mean(rates)), 4), round(float(np.std(rates)) / math.sqrt(len(rates)), 4)


VERDICTS = ((0.0, 3.0), (0.0, 1.0), (0.5, 1.0), (1.0, 1.0), (3.0, 3.0))
"""A>>B, A>B, A=B, B>A, B>>A: the sum of B's rows, and how many there are."""
GAMES = [(a[0] + b[0], a[1] + b[1]) for a in VERDICTS for b in VERDICTS]
SUMS, WEIGHTS = (np.array(column) for column in zip(*GAMES, strict=True))
JUDGES = {"decisive": (1.0, 0.3, 1.2), "alike": (0.3, 0.1, 0.8), "far apart": (2.0, 0.3, 1.5), "ties": (0.5, 1.0, 3.0)}
"""How much questions differ, and the strength of a win and of a clear win, in units of a game's chance."""


def make_games(strength: float, judge: str) -> Array:
    """Chances of the verdicts of both games of a question."""
    spread, win, clear = JUDGES[judge]
    level = strength + spread * ndtri((np.arange(61) + 0.5) / 61)
    cuts = np.array([-np.inf, -clear, -win, win, clear, np.inf])
    one = np.diff(ndtr(cuts - level[:, None]), axis=1)
    return (one[:, :, None] * one[:, None, :]).mean(axis=0).ravel()


@cache
def find_games(truth: float, judge: str) -> Array:
    """The games whose ratio of weighted rows is the truth."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        games = make_games(middle, judge)
        low, high = (middle, high) if games @ SUMS / (games @ WEIGHTS) < truth else (low, middle)
    return games / games.sum()


def measure_arena(sizes: Sequence[int], repeats: int, draw: np.random.Generator) -> list[dict[str, Any]]:
    cells = []
    for judge in JUDGES:
        for truth in (0.005, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995):  # below .5 is the mirror of above
            games = find_games(truth, judge)
            for n in sizes:
                counts = draw.multinomial(n, games, size=repeats)
                new = new_ratio(counts, SUMS, WEIGHTS, n)
                old = old_bootstrap(counts[: repeats // 12], SUMS, WEIGHTS, draw)
                cells.append(describe_cell(truth, new, old, n=n, epochs=1, model=judge))
    return cells


def measure_arena_pairs(
    sizes: Sequence[int], repeats: int, draw: np.random.Generator
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Two systems against one baseline: the method before had none for ratios, and took questions' means by t."""
    cells, alarms = [], []
    for judge in JUDGES:
        for first, second in (
            (0.5, 0.5),
            (0.9, 0.9),
            (0.8, 0.7),
            (0.98, 0.98),
            (0.995, 0.9),
            (0.995, 0.97),
            (0.998, 0.95),
        ):
            one, other = find_games(first, judge), find_games(second, judge)
            for n in sizes:
                drawn = [draw.choice(len(GAMES), size=(repeats, n), p=games) for games in (one, other)]
                d = SUMS[drawn[0]] / WEIGHTS[drawn[0]] - SUMS[drawn[1]] / WEIGHTS[drawn[1]]
                half = stdtrit(n - 1, 0.975) * d.std(axis=1, ddof=1) / math.sqrt(n)
                old = d.mean(axis=1) - half, d.mean(axis=1) + half
                new = new_ratio_pair(*drawn)
                cells.append(describe_cell(first - second, new, old, n=n, epochs=1, model=judge, pair=[first, second]))
                if first == second:
                    rate, error = count_pair_alarms(*(side[: repeats // 25] for side in drawn), draw)
                    facts = {"n": n, "pair": [first, second], "model": judge}
                    alarms.append({**facts, "rate": rate, "error": error})
    return cells, alarms


def measure_strata(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Two parts of half the metric each (right or wrong, one epoch), exactly; before: t's errors added in squares."""
    cells = []
    for n in sizes:
        each = n // 2
        right = np.arange(each + 1)

        @cache
        def estimate(a: int, b: int, each: int = each) -> tuple[float, float]:
            questions = {(s, i): (float(i < k), 1.0) for s, k in (("a", a), ("b", b)) for i in range(each)}
            result = estimate_score(questions, strata={q: q[0] for q in questions})
            assert result.low is not None and result.high is not None
            return result.low, result.high

        for one, other in ((0.5, 0.5), (0.9, 0.7), (0.9, 0.9), (0.98, 0.9), (0.98, 0.98), (0.995, 0.995)):
            joint = np.outer(binom.pmf(right, each, one), binom.pmf(right, each, other))
            a, b = np.nonzero(joint > 1e-5)
            pairs = [estimate(int(x), int(y)) for x, y in zip(a, b, strict=True)]
            new = np.array([low for low, _ in pairs]), np.array([high for _, high in pairs])
            shares = a / each, b / each
            half = stdtrit(2 * (each - 1), 0.975) * np.sqrt(sum(p * (1 - p) / (each - 1) / 4 for p in shares))
            middle = (shares[0] + shares[1]) / 2
            old = middle - half, middle + half
            truth = (one + other) / 2
            cells.append(describe_cell(truth, new, old, joint[a, b], n=n, epochs=1, model=f"{one} and {other}"))
    return cells


def list_extremes() -> list[dict[str, Any]]:
    """Arena-Hard at 0, 50 and 100%: every row a loss, a tie, a win. The bootstrap's interval was of zero width."""
    found = []
    for share in (0.0, 0.5, 1.0):
        for n in (10, 40, 500):
            result = estimate_score(dict.fromkeys(range(n), (2 * share, 2.0)))
            assert result.low is not None and result.high is not None
            found.append({"rate": share, "n": n, "low": round(result.low, 4), "high": round(result.high, 4)})
    return found


# The length-controlled win rate.


def simulate_judgments(file: Path, draw: np.random.Generator, strengths: Sequence[float]) -> list[list[JudgedPair]]:
    """805 instructions, answers and judgments of some systems; writes the calibration file that belongs to them."""
    n = 805
    difficulty, base = draw.normal(size=n), np.exp(draw.normal(7.4, 0.5, size=n))
    with file.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["index", "model", "preference", "std_delta_len", "instruction_difficulty", "not_gamed_baseline"])
        for name, shift in (("baseline_verbose", -0.8), ("baseline_concise", 0.8)):
            gap = shift + 0.6 * draw.normal(size=n)
            chance = 1 / (1 + np.exp(-(draw.normal(size=n) - np.tanh(gap))))
            for i in range(n):
                rows.writerow([i, name, chance[i], gap[i], difficulty[i], False])
    systems, shared = [], draw.normal(size=n)
    for strength in strengths:
        length = base * np.exp(draw.normal(0.15, 0.35, size=n))
        gap = (length - base) / (length - base).std()
        latent = strength + 0.8 * np.tanh(gap) + 0.5 * difficulty + shared + draw.normal(size=n)
        preference = 1 + 1 / (1 + np.exp(-2.5 * latent))
        systems.append([JudgedPair(i, float(preference[i]), round(base[i]), round(length[i])) for i in range(n)])
    return systems


def run_lc(n: int, jackknives: int, fits: int, draw: np.random.Generator) -> list[dict[str, Any]]:
    """Replicates of two systems on n instructions: each one's figures, some with intervals; the difference is third."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "df_gamed.csv"
        for number in range(fits + jackknives):
            systems = simulate_judgments(file, draw, (0.0, 1.2))
            chosen = sorted(draw.choice(805, size=n, replace=False).tolist())
            systems = [[rows[i] for i in chosen] for rows in systems]
            wins = [[100 * (row.preference - 1) for row in rows] for rows in systems]
            gaps = [a - b for a, b in zip(*wins, strict=True)]
            raw = [estimate_mean(values) for values in (*wins, gaps)]
            one: dict[str, Any] = {"raw": [e.value for e in raw], "raw_stderr": [e.stderr or 0.0 for e in raw]}
            if number < fits:
                rates = [compute_lc_win_rate(rows, file)["length_controlled_winrate"] for rows in systems]
            else:
                groups = [assign_group(f"question {i}") for i in chosen]
                sizes, own = Counter(groups), [compute_lc_leave_outs(rows, file, groups) for rows in systems]
                rates = [rate for rate, _ in own]
                pairs = [(rate / 100, e.value / 100) for rate, e in zip(rates, raw, strict=False)]
                used = [pairs[:1], pairs[1:], pairs]
                least = [compute_least_stderr(e.stderr, rows) for e, rows in zip(raw, used, strict=True)]
                one["estimates"] = [
                    estimate_jackknife(*own[0], sizes, bounds=(0, 100), least_stderr=least[0]),
                    estimate_jackknife(*own[1], sizes, bounds=(0, 100), least_stderr=least[1]),
                    compare_jackknife(*own, sizes, gaps, bounds=(0, 100), least_stderr=least[2]).difference,
                ]
                one["floors"] = least
            found.append(one | {"rates": [*rates, rates[0] - rates[1]]})
    return found


def finish_lc(replicates: dict[int, list[dict[str, Any]]], counted: bool) -> dict[str, Any]:
    """As `finish_family`, of number of instructions -> `run_lc`."""
    cells = []
    for n, found in replicates.items():
        rates, raw, raw_stderrs = (np.array([one[key] for one in found]) for key in ("rates", "raw", "raw_stderr"))
        intervals = [one for one in found if "estimates" in one]
        for place, name in enumerate(("first", "second", "difference")):
            truth, raw_stderr = float(rates[:, place].mean()), float(raw_stderrs[:, place].mean())
            to_raw = float(rates[:, place].std(ddof=1) / raw[:, place].std(ddof=1))
            estimates = [one["estimates"][place] for one in intervals]
            arms = np.array([(e.value - e.low, e.high - e.value) for e in estimates])
            stderrs = np.array([e.stderr for e in estimates])
            if counted:
                coverage = np.mean([e.low <= truth <= e.high for e in estimates])
            else:
                spread = to_raw * raw_stderr
                coverage = np.mean(ndtr(arms[:, 0] / spread) - ndtr(-arms[:, 1] / spread))
            cells.append(
                {
                    "n": n,
                    "of": name,
                    "truth": round(truth, 2),
                    "spread": round(to_raw * raw_stderr, 3),
                    "spread_to_raw": round(to_raw, 3),
                    "mean_stderr": round(float(stderrs.mean()), 3),
                    "raised_stderrs": sum(
                        bool(e.stderr == one["floors"][place]) for e, one in zip(estimates, intervals, strict=True)
                    ),
                    "coverage": round(float(coverage), 4),
                    "width": round(float(arms.sum(axis=1).mean()), 3),
                    "zero_widths": int((arms.sum(axis=1) <= 0).sum()),
                }
            )
    base = estimate_jackknife(
        50.0, dict.fromkeys(range(GROUPS), 50.0), dict.fromkeys(range(GROUPS), 40), bounds=(0, 100)
    )
    return {
        "cells": len(cells),
        "least_coverage": min(cell["coverage"] for cell in cells),
        "jackknives": {n: sum("estimates" in one for one in found) for n, found in replicates.items()},
        "replicates": {n: len(found) for n, found in replicates.items()},
        "baseline_against_itself": [base.low, base.high],
        "misses": [{"family": "lc", **cell} for cell in cells if cell["coverage"] < AIM or cell["zero_widths"]],
        "table": cells,
    }


# All families, on two processes.


def run_timed(function: Callable[..., Any], place: int, *args: Any) -> tuple[Any, float]:
    """The result and the CPU seconds it took; simulations get numbers of their own."""
    start = time.process_time()
    draws = [np.random.default_rng([0, place])] if "draw" in signature(function).parameters else []
    return function(*args, *draws), time.process_time() - start


def measure(quick: bool, repeats: int, lc_repeats: int | None) -> dict[str, Any]:
    """All families."""
    start = time.perf_counter()
    sizes = (10, 40, 200) if quick else SIZES
    repeats = min(repeats, 4000) if quick else repeats
    tasks: list[tuple[Any, ...]] = []
    has_lc = lc_repeats != 0 and find_spec("alpaca_eval") is not None
    if has_lc:  # first, as it takes longest
        jackknives, fits, parts = lc_repeats or (1 if quick else 6), 15 if quick else 30, 1 if quick else 3
        instructions = (161,) if quick else (805, 161)
        tasks += [(run_lc, n, -(-jackknives // parts), fits // parts) for n in instructions for _ in range(parts)]
    tasks += [
        (measure_arena_pairs, (10, 40) if quick else (10, 40, 200), repeats // 4),
        (measure_arena, [n for n in sizes if n != 20], repeats // 2),
        (measure_epoch_pairs, sizes, repeats),
        (measure_epochs, sizes, repeats),
        (measure_pairs, sizes),
        (measure_grades, sizes, repeats),
        (measure_strata, (20, 80) if quick else (20, 80, 400)),
        (measure_fine_grid, (10, 15, 27, 40) if quick else (*range(10, 41), 50, 75, 100, 161, 200, 300, 500)),
        (measure_right_wrong, sizes),
    ]
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # the processes share the cores
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(run_timed, task[0], place, *task[1:]) for place, task in enumerate(tasks)]
        timed = [future.result() for future in futures]
    results: dict[str, list[Any]] = {}
    seconds: dict[str, float] = {}
    for (function, *_), (result, taken) in zip(tasks, timed, strict=True):
        name = function.__name__.partition("_")[2]
        results.setdefault(name, []).append(result)
        seconds[name] = round(seconds.get(name, 0.0) + taken, 1)
    families = {
        "right_wrong": finish_family("right_wrong", *results["right_wrong"]),
        "epochs": finish_family("epochs", *results["epochs"]),
        "grades": finish_family("grades", *results["grades"]),
        "pairs": finish_family("pairs", *results["pairs"][0]),
        "epoch_pairs": finish_family("epoch_pairs", *results["epoch_pairs"][0]),
        "weighted_rows": finish_family("weighted_rows", *results["arena"]),
        "weighted_row_pairs": finish_family("weighted_row_pairs", *results["arena_pairs"][0]),
        "strata": finish_family("strata", *results["strata"]),
    }
    if has_lc:
        by_size: dict[int, list[dict[str, Any]]] = {}
        for (_, n, *_), part in zip(tasks, results["lc"], strict=False):
            by_size.setdefault(n, []).extend(part)
        families["lc"] = finish_lc(by_size, bool(lc_repeats))
    elif lc_repeats != 0:
        families["lc"] = {"left_out": "the package alpaca-eval is not installed"}
    [grid] = results["fine_grid"]
    misses = [miss for family in families.values() for miss in family.pop("misses", [])]
    misses += [{"family": "fine_grid", **row} for row in grid if row["least"] < AIM]
    summary = {name: {k: v for k, v in f.items() if k not in ("table", "alarms")} for name, f in families.items()}
    return {
        "misses": misses,
        "summary": summary,
        "fine_grid": {"least_coverage": min(row["least"] for row in grid), "table": grid},
        "arena_hard_extremes": list_extremes(),
        "repeats": repeats,
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": {"all": round(sum(seconds.values()), 1), **seconds},
        "families": {name: {k: f[k] for k in ("alarms", "table") if k in f} for name, f in families.items()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repeats")
    parser.add_argument("--repeats", type=int, default=20_000, help="simulated data sets of a cell")
    parser.add_argument("--lc-repeats", type=int, help="jackknives per number of instructions; 0 leaves lc out")
    options = parser.parse_args()
    print(json.dumps(measure(options.quick, options.repeats, options.lc_repeats), indent=1))
