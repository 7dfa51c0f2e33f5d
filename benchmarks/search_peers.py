"""Peers of the search at equal calls, on the tables of `search_tables.py`, with shared prefixes.

Each is a function `run_x(run)` that fills `run.picks`, `run.final` and `run.spent`, as those of `search_methods.py`.
None has a model of the space. All of them tell luck from skill with further draws, and use the calls that they may.
Their settings did best of some that were tried with seeds 7000 to 7015 of world 1.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from search_methods import BUDGETS, DEV, Run
from search_tables import EPOCHS, Table

CONFIRM_SHARE = 1 / 3
"""Of the budget: what random with confirmation gives to fresh draws."""
MAX_CONFIRMED = 20
"""Top dev scores that get fresh draws."""
ETA = 3
"""Successive halving keeps one of so many at each rung."""
RUNG_QUESTIONS = (20, 40, 100)
"""Dev questions of the first rungs of successive halving; later rungs ask all, with one more set of draws each."""
RACE_BLOCK = 10
"""Questions that a race asks between two tests."""
FIRST_TEST = 3
"""Blocks before a race's first test; irace takes 5 instances, of which a block here is ten."""
ALPHA = 0.05
"""Of the tests by which a race eliminates."""
ELITES = 5
RACES = 6
"""Races over which a budget is spread: about 2 + log2 of the number of axes, as irace does."""


class Calls:
    """What is paid by one peer: single questions of nodes, with what is shared counted once."""

    def __init__(self, run: Run) -> None:
        self.run, self.spent = run, 0
        self._seen: dict[tuple[int, int], Any] = {}

    def price(self, place: int, questions: Any, epoch: int) -> int:
        """Calls that answering `questions` (indices of dev questions) would still take."""
        return sum(calls * self._count_new(node, questions, epoch) for node, calls in self.run.table.nodes[place])

    def pay(self, place: int, questions: Any, epoch: int) -> Any:
        """The answers, right or wrong; calls are counted."""
        self.spent += self.price(place, questions, epoch)
        for node, _ in self.run.table.nodes[place]:
            self._mask(node, epoch)[questions] = True
        self.run.tried.setdefault(place, 0.0)
        return self.run.answers(place, epoch)[questions].astype(float)

    def _mask(self, node: int, epoch: int) -> Any:
        return self._seen.setdefault((node, epoch), np.zeros(DEV, dtype=bool))

    def _count_new(self, node: int, questions: Any, epoch: int) -> int:
        return int((~self._mask(node, epoch)[questions]).sum())


def spend_each_budget(search: Callable[[Run, int], tuple[int, int, int]], run: Run) -> None:
    """Run a peer that needs to know its budget beforehand once per budget."""
    for budget in BUDGETS:
        pick, spent, trials = search(run, budget)
        if spent <= budget:
            run.picks[budget] = pick
        run.final, run.spent, run.trials = pick, spent, trials


ALL = np.arange(DEV)


def run_random_confirmed(run: Run) -> None:
    """Random trials; the top dev scores get fresh draws with a third of the budget; the best fresh mean wins.

    Its trials are the same for every budget, so that a search is one line of trials that is stopped at each.
    """
    spend_each_budget(_search_random, run)


def _search_random(run: Run, budget: int) -> tuple[int, int, int]:
    calls, scores = Calls(run), dict[int, float]()
    for place in np.random.default_rng([run.seed, 11]).permutation(len(run.table.configurations)):
        if calls.spent + calls.price(int(place), ALL, 0) > (1 - CONFIRM_SHARE) * budget:
            break
        scores[int(place)] = float(calls.pay(int(place), ALL, 0).mean())
    best = sorted(scores, key=lambda place: -scores[place])[:MAX_CONFIRMED]
    fresh: dict[int, list[float]] = {}
    for epoch in range(1, EPOCHS):  # the best few again and again, as far as the money goes
        for place in best:
            if calls.spent + calls.price(place, ALL, epoch) > budget:
                break
            fresh.setdefault(place, []).append(float(calls.pay(place, ALL, epoch).mean()))
        best = sorted(fresh, key=lambda place: -np.mean(fresh[place]))[: max(2, len(best) // 2)]
    pick = max(fresh or scores, key=lambda place: float(np.mean((fresh or scores)[place])))
    return pick, calls.spent, len(scores)


def run_successive_halving(run: Run) -> None:
    """As many random configurations as the budget pays for; each rung keeps a third of them for more questions, then
    for more draws; the best mean of the last rung wins."""
    spend_each_budget(_halve, run)


def _halve(run: Run, budget: int) -> tuple[int, int, int]:
    order = [int(n) for n in np.random.default_rng([run.seed, 12]).permutation(len(run.table.configurations))]
    first = max(9, int(budget / (2 * RUNG_QUESTIONS[0] * float(np.mean(run.table.calls)))))
    low = next(n for n in (first, first // 2, first // 4, 9) if _halve_from(run, order[:n], budget))
    high = next((n for n in (2 * low, 4 * low) if not _halve_from(run, order[:n], budget)), 8 * low)
    while high - low > 0.03 * low:  # the largest number whose whole schedule the budget pays for, nearly
        middle = (low + high) // 2
        low, high = (middle, high) if _halve_from(run, order[:middle], budget) else (low, middle)
        if high - low <= 1:
            break
    found = _halve_from(run, order[:low], budget)
    assert found is not None
    return found


def _halve_from(run: Run, started: list[int], budget: int) -> tuple[int, int, int] | None:
    """None where the budget does not pay for it."""
    calls, alive = Calls(run), started
    answers: dict[int, list[float]] = {place: [] for place in started}
    asked, epoch = 0, 0
    shuffled = np.random.default_rng([run.seed, 13]).permutation(DEV)
    while True:
        rung = sum(asked >= size for size in RUNG_QUESTIONS)
        questions = shuffled[asked : RUNG_QUESTIONS[rung]] if rung < len(RUNG_QUESTIONS) else ALL
        epoch += rung >= len(RUNG_QUESTIONS)
        for place in alive:
            if calls.spent + calls.price(place, questions, epoch) > budget:
                return None
            answers[place] += calls.pay(place, questions, epoch).tolist()
        asked = min(DEV, asked + len(questions))
        ranked = sorted(alive, key=lambda place: -float(np.mean(answers[place])))
        if len(ranked) <= ETA or epoch == EPOCHS - 1:
            return ranked[0], calls.spent, len(started)
        alive = ranked[: max(1, len(ranked) // ETA)]


def run_irace(run: Run) -> None:
    """Races over blocks of questions: Friedman's test, then paired t-tests, eliminate; later races begin with the
    elites and with new configurations sampled around them, ever closer."""
    spend_each_budget(_race_repeatedly, run)


def _race_repeatedly(run: Run, budget: int) -> tuple[int, int, int]:
    rng = np.random.default_rng([run.seed, 14])
    calls, axes = Calls(run), _list_axes(run.table)
    instances = [(epoch, block) for epoch in range(EPOCHS) for block in rng.permutation(DEV // RACE_BLOCK)]
    results: dict[int, dict[int, float]] = {}
    elites: list[int] = []
    for number in range(RACES):
        until = calls.spent + (budget - calls.spent) / (RACES - number)
        # as irace: fewer candidates per race the more instances each of them will see
        mean_calls = float(np.mean(run.table.calls))
        many = int(max(8, (until - calls.spent) / (mean_calls * RACE_BLOCK * (FIRST_TEST + min(5, number)) * 0.75)))
        fresh = _sample_around(axes, elites, many - len(elites), number, rng, known=set(results))
        alive = _race([*elites, *fresh], instances, results, calls, limits=(until, budget))
        elites = alive[:ELITES]
    # what is left: the elites on what they were not asked yet, for as long as they cannot be told apart
    alive = _race(elites, instances, results, calls, limits=(budget, budget), to_the_end=True)
    return alive[0], calls.spent, len(results)


def _race(
    candidates: list[int],
    instances: list[tuple[int, int]],
    results: dict[int, dict[int, float]],
    calls: Calls,
    *,
    limits: tuple[float, float],
    to_the_end: bool = False,
) -> list[int]:
    """The survivors, best first; those with few instances behind the others come last."""
    alive = list(dict.fromkeys(candidates))
    for step, (epoch, block) in enumerate(instances):
        questions = np.arange(block * RACE_BLOCK, (block + 1) * RACE_BLOCK)
        for place in list(alive):
            known = results.setdefault(place, {})
            if step in known:
                continue
            most = limits[1] if step < FIRST_TEST else limits[0]
            if calls.spent + calls.price(place, questions, int(epoch)) > min(most, limits[1]):
                return _rank(alive, results)
            known[step] = float(calls.pay(place, questions, int(epoch)).mean())
        if step + 1 >= FIRST_TEST:
            alive = _eliminate(alive, results, step + 1)
        if len(alive) <= (1 if to_the_end else 2):
            break
    return _rank(alive, results)


def _rank(alive: list[int], results: dict[int, dict[int, float]]) -> list[int]:
    most = max((len(results.get(place, {})) for place in alive), default=0)
    full = [place for place in alive if len(results.get(place, {})) >= 0.5 * most and results.get(place)]
    return sorted(full, key=lambda place: -float(np.mean([*results[place].values()])))


def _eliminate(alive: list[int], results: dict[int, dict[int, float]], steps: int) -> list[int]:
    """Those that are not shown worse than the best: by Friedman's test, then each by a paired t-test."""
    from scipy import stats

    scores = np.array([[results[place][step] for step in range(steps)] for place in alive])
    if len(alive) < 2 or np.ptp(scores, axis=0).max() == 0:
        return alive
    if len(alive) > 2:
        ranks = stats.rankdata(scores, axis=0)
        spread = ((ranks - ranks.mean(axis=0)) ** 2).sum()
        chi2 = (len(alive) - 1) * ((ranks.sum(axis=1) - ranks.mean() * steps) ** 2).sum() / max(1e-12, spread)
        if stats.chi2.sf(chi2, len(alive) - 1) > ALPHA:
            return alive
    best = int(scores.mean(axis=1).argmax())
    kept = []
    for row, place in enumerate(alive):
        difference = scores[best] - scores[row]
        deviation = difference.std(ddof=1)
        t = difference.mean() / (deviation / np.sqrt(steps)) if deviation > 0 else 0.0
        if row == best or stats.t.sf(t, steps - 1) > ALPHA / 2:
            kept.append(place)
    return kept


def _list_axes(table: Table) -> Any:
    """[configuration, axis]: generators, samples, layers, widths, evaluation as numbers, each with a spread of 1."""
    evaluations = ("none", "verifier", "unit_tests")
    rows = [
        [c.generators, c.samples, len(c.fusers), *(*c.fusers[:-1], 0, 0)[:3], 5.0 * evaluations.index(c.evaluation)]
        for c in table.configurations
    ]
    axes = np.array(rows, dtype=float)
    return (axes - axes.mean(axis=0)) / np.maximum(1e-9, axes.std(axis=0))


def _sample_around(
    axes: Any, elites: list[int], count: int, race: int, rng: np.random.Generator, *, known: set[int]
) -> list[int]:
    """New configurations: uniform in the first race, then near an elite, the nearer the later the race."""
    free = np.array([place for place in range(len(axes)) if place not in known])
    if not elites:
        return [int(place) for place in rng.choice(free, min(count, len(free)), replace=False)]
    width = 0.9 * 0.7**race
    weights = np.arange(len(elites), 0, -1, dtype=float)  # better elites have more children
    chosen: list[int] = []
    for _ in range(max(0, count)):
        parent = elites[int(rng.choice(len(elites), p=weights / weights.sum()))]
        chance = np.exp(-np.square(axes[free] - axes[parent]).sum(axis=1) / (2 * width**2 * axes.shape[1] / 2))
        chance[np.isin(free, chosen)] = 0
        if chance.sum() <= 0:
            break
        chosen.append(int(rng.choice(free, p=chance / chance.sum())))
    return chosen


PEERS: dict[str, Callable[[Run], None]] = {
    "random-confirmed": run_random_confirmed,
    "successive-halving": run_successive_halving,
    "irace": run_irace,
}
