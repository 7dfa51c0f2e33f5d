"""How good searches are, and what they cost: ours and its peers on replayed tables of the simulated pool.

    python benchmarks/search.py                                  # four families, prints JSON
    python benchmarks/search.py --families all --tables DIR      # every family; tables are kept in DIR
    python benchmarks/search.py --markdown tables.md             # the tables of docs/search.md besides
    python benchmarks/search.py --methods smac-stock --seeds 3   # SMAC3's own facade takes seconds per trial

Each seed draws its own 100 dev questions from the population of the table; true performance is over all of it and over
draws that no search sees. A trial answers all dev questions once (`ours`), or those that tell architectures apart
(`informative`). Calls are counted as a call store would leave them to be paid, except for the papers' protocol, in
which nothing is shared. `--world` is the seed of questions and models: what tuned the search were worlds 0 and 1.

`bounds` says what could be reached: by the best of all architectures on the dev questions, if each had answered them
with 36 sets of draws, or with 12; smoothed is the best by a quadratic function of their features.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from search_methods import BUDGETS, METHODS, Run
from search_peers import PEERS
from search_proposer import run_proposer
from search_tables import EPOCHS, FURTHER, Table, build
from threadpoolctl import threadpool_limits

from archon_eval.simulation.skills import FAMILIES

ALL_METHODS = {**METHODS, **{name: (method, True) for name, method in PEERS.items()}, "proposer": (run_proposer, True)}
FOUR = ["math", "mixeval_hard", "mt_bench", "code_contests"]
USUAL = ["ours", "informative", *PEERS, "greedy", "tpe", "proposer", "papers"]


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
        "tried_for_nothing": round(statistics.fmean(run.free for run in runs)),
        "questions_asked_at_the_end": round(statistics.fmean(run.asked for run in runs)),
        "overhead_seconds_per_trial": round(statistics.fmean(slow), 3) if slow else None,
    }


def compute_bounds(table: Table, seeds: range) -> dict[str, Any]:
    """What the dev questions allow, were all architectures to answer them: 430 million calls for 12 sets of draws."""
    truth = table.truth
    rows = table.features
    width = rows.shape[1]
    pairs = [rows[:, i] * rows[:, j] for i in range(width) for j in range(i, width)]
    left, singular, _ = np.linalg.svd(np.column_stack([np.ones(len(rows)), rows, *pairs]), full_matrices=False)
    basis = left[:, singular > 1e-6 * singular[0]]
    regrets: dict[str, list[float]] = {"all_12_draws": [], "all_36_draws": [], "all_36_draws_smoothed": []}
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
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--first-seed", type=int, default=20_000)
    parser.add_argument("--world", type=int, default=2, help="seed of questions and models (default %(default)s)")
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--families", nargs="+", default=FOUR, choices=["all", *FAMILIES])
    parser.add_argument("--methods", nargs="*", choices=ALL_METHODS, default=USUAL)
    parser.add_argument("--tables", type=Path, help="folder in which tables are kept")
    parser.add_argument("--markdown", type=Path, help="file for the tables of docs/search.md")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    families = FAMILIES if "all" in options.families else options.families
    found = {}
    with TemporaryDirectory() as folder, ProcessPoolExecutor(options.workers) as pool:
        options.tables = options.tables or Path(folder)
        for family in families:
            found[family] = dict(measure(family, options, pool))
    print(json.dumps(found, indent=1))
    if options.markdown:
        options.markdown.write_text("\n\n".join(format_table(*each) for each in found.items()) + "\n")


def measure(family: str, options: Any, pool: ProcessPoolExecutor) -> Iterator[tuple[str, Any]]:
    start = time.perf_counter()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    table = load_table(family, options.questions, options.world, options.tables)
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
        start = time.perf_counter()
        search = partial(run_one, name, family, options.questions, options.world, options.tables)
        runs = list(pool.map(search, seeds))
        summary = {**summarize_runs(table, runs), "seconds": round(time.perf_counter() - start, 1)}
        print(f"{family} {name}: {summary}", file=sys.stderr, flush=True)
        yield name, summary


@lru_cache(maxsize=1)
def load_table(family: str, questions: int, world: int, folder: Path) -> Table:
    """A table, once per process."""
    return build(family, questions, world, keep=folder)


def run_one(name: str, family: str, questions: int, world: int, folder: Path, seed: int) -> Run:
    """One search, without the table that it ran on."""
    method, shared = ALL_METHODS[name]
    run = Run(load_table(family, questions, world, folder), seed, shared)
    with threadpool_limits(1):  # searches run side by side
        method(run)
    run.forget_table()
    return run


NAMES = {
    "ours": "`archon search`",
    "informative": "`archon search --questions informative`",
    "papers": "papers' protocol",
    "proposer": "`archon search --algorithm proposer`, simulated model",
    "random-confirmed": "random, with confirmation",
    "irace": "irace-like racing",
    "tpe": "TPE (Optuna)",
    "smac-stock": "SMAC3's own facade",
}


def format_table(family: str, measured: dict[str, Any]) -> str:
    """A family's methods as a Markdown table."""
    heads = ["searches", "calls in all", "trials", "regret at 50,000", "at 100,000", "at the end"]
    heads += ["within 1 point at 50,000", "at 100,000", "at the end"]
    lines = [f"| {family} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name, row in measured.items():
        if isinstance(row, dict) and "final_regret" in row:
            regrets = [row["regret_at"][budget] for budget in (50_000, 100_000)]
            shares = [row["share_within_1_point_at"][budget] for budget in (50_000, 100_000)]
            cells = [str(row["seeds"]), f"{row['calls']:,}", str(row["trials"])]
            cells += ["" if value is None else f"{value:.2f}" for value in (*regrets, row["final_regret"])]
            cells += [f"{value:.0%}" for value in (*shares, row["share_within_1_point"])]
            lines.append(f"| {NAMES.get(name, name.replace('-', ' '))} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
