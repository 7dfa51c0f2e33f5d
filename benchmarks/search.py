"""How good searches are, and what they cost: ours, the papers' protocol, random, greedy and TPE on replayed tables.

    python benchmarks/search.py                                  # math and mixeval_hard, prints JSON
    python benchmarks/search.py --families all --tables DIR      # every family; tables are kept in DIR
    python benchmarks/search.py --methods racing                 # ours, with hopeless trials stopped half-way
    python benchmarks/search.py --methods smac-stock --seeds 3   # SMAC3's own facade takes seconds per trial

Each seed draws its own 100 dev questions from the population of the table; true performance is over all of it and over
draws that no search sees. A trial answers all dev questions once. Calls are counted as a call store would leave them to
be paid, except for the papers' protocol, in which nothing is shared.

`bounds` says what could be reached: by the best of all architectures on the dev questions, if each had answered them
with 25 sets of draws, or with 5; smoothed is the best by a quadratic function of their features.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from search_methods import BUDGETS, METHODS, Run
from search_tables import EPOCHS, FURTHER, Table, build
from threadpoolctl import threadpool_limits

from archon_eval.search.space import compute_features
from archon_eval.simulation.skills import FAMILIES

USUAL = ["ours", "papers", "random", "greedy", "tpe"]


def summarize_runs(table: Table, runs: list[Run]) -> dict[str, Any]:
    """Regret in points of true performance; nothing where a search has no choice yet."""
    best = table.truth.max()

    def compute_regret(pick: int) -> float:
        return float(100 * (best - table.truth[pick]))

    regrets, shares = {}, {}
    for budget in BUDGETS:
        budget_regrets = [compute_regret(run.picks[budget]) for run in runs if budget in run.picks]
        regrets[budget] = round(statistics.fmean(budget_regrets), 2) if len(budget_regrets) == len(runs) else None
        shares[budget] = round(sum(value <= 1 for value in budget_regrets) / len(runs), 2)
    final = [compute_regret(run.final) for run in runs]
    reached = []
    for run in runs:
        if compute_regret(run.final) <= 1:
            far = [budget for budget in BUDGETS if budget not in run.picks or compute_regret(run.picks[budget]) > 1]
            reached.append(next((b for b in BUDGETS if b > max(far, default=0)), run.spent))
    tried = [min(map(compute_regret, run.tried)) for run in runs]
    slow = [seconds for run in runs for seconds in run.overhead[150:]] or [s for run in runs for s in run.overhead]
    return {
        "seeds": len(runs),
        "regret_at": regrets,
        "share_within_1_point_at": shares,
        "final_regret": round(statistics.fmean(final), 2),
        "share_within_1_point": round(sum(value <= 1 for value in final) / len(final), 2),
        "calls_until_within_1_point": statistics.median(reached) if reached else None,
        "best_tried_regret": round(statistics.fmean(tried), 2),
        "calls": round(statistics.fmean(run.spent for run in runs)),
        "trials": round(statistics.fmean(run.trials for run in runs)),
        "stopped_half_way": round(statistics.fmean(run.stopped for run in runs)),
        "overhead_seconds_per_trial": round(statistics.fmean(slow), 3) if slow else None,
    }


def compute_bounds(table: Table, seeds: range) -> dict[str, Any]:
    """What the dev questions allow, were all 9,576 architectures to answer them: some 180 million calls for 5 draws."""
    truth = table.truth
    rows = compute_features(table.configurations, table.calls.tolist())
    width = rows.shape[1]
    pairs = [rows[:, i] * rows[:, j] for i in range(width) for j in range(i, width)]
    left, singular, _ = np.linalg.svd(np.column_stack([np.ones(len(rows)), rows, *pairs]), full_matrices=False)
    basis = left[:, singular > 1e-6 * singular[0]]
    regrets: dict[str, list[float]] = {"all_5_draws": [], "all_25_draws": [], "all_25_draws_smoothed": []}
    for seed in seeds:
        dev = Run(table, seed).dev
        few = table.right[:, dev].mean(axis=(0, 1)) / 255
        many = (EPOCHS * few + FURTHER * table.expected[dev].mean(axis=0, dtype=np.float64)) / (EPOCHS + FURTHER)
        for name, values in zip(regrets, (few, many, basis @ (basis.T @ many)), strict=True):
            regrets[name].append(float(100 * (truth.max() - truth[values.argmax()])))
    return {
        name: {
            "regret": round(statistics.fmean(values), 2),
            "share_within_1_point": round(sum(value <= 1 for value in values) / len(values), 2),
        }
        for name, values in regrets.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=5000)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--families", nargs="+", default=["math", "mixeval_hard"], choices=["all", *FAMILIES])
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=USUAL)
    parser.add_argument("--tables", type=Path, help="folder in which tables are kept")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    families = FAMILIES if "all" in options.families else options.families
    with ProcessPoolExecutor(options.workers) as pool:
        measured = list(pool.map(partial(measure_family, options=options), families))
    print(json.dumps(dict(zip(families, measured, strict=True)), indent=1))


def measure_family(family: str, options: Any) -> dict[str, Any]:
    with threadpool_limits(1):  # families run side by side
        return dict(measure(family, options))


def measure(family: str, options: Any) -> Iterator[tuple[str, Any]]:
    start = time.perf_counter()
    table, seeds = (
        build(family, options.questions, keep=options.tables),
        range(options.first_seed, options.first_seed + options.seeds),
    )
    truth = table.truth
    yield "best_true", round(float(truth.max()), 4)
    yield "within_1_point", int((truth > truth.max() - 0.01).sum())
    yield "single_true", round(float(table.single.mean()), 4)
    yield "table_seconds", round(time.perf_counter() - start, 1)
    yield "bounds", compute_bounds(table, seeds)
    for name in options.methods:
        if name == "tpe" and find_spec("optuna") is None:
            yield name, "left out: pip install optuna"
            continue
        method, shared = METHODS[name]
        start, runs = time.perf_counter(), []
        for seed in seeds:
            runs.append(Run(table, seed, shared))
            method(runs[-1])
        summary = {**summarize_runs(table, runs), "seconds": round(time.perf_counter() - start, 1)}
        print(f"{family} {name}: {summary}", file=sys.stderr)
        yield name, summary


if __name__ == "__main__":
    main()
