"""Runs the evals a search orders, remembers their results, and never spends more than the budget.

    evaluations = TrialScheduler(settings, folder, journal, run, parts)
    [trial] = evaluations.run_all([TrialRequest("rank/generator/openai/gpt-4o", architecture, plan)])

An order is begun only when its calls and some re-asks fit into what is left, and its eval is held to its worst case, or
to what is left where that is less, by the model layer.
Calls nobody could account for (of a question that failed, or that a died process had stored) count as paid; those on
their way when a process was killed, at most as many as its connections, are in no account.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict, dataclass, field, replace
from math import ceil, fsum, inf
from pathlib import Path
from statistics import fmean

from archon_eval.architecture.spec import Architecture
from archon_eval.engine.plan import Plan
from archon_eval.errors import BudgetSpentError, SearchError
from archon_eval.search.config import SearchSettings
from archon_eval.search.executors import SubmitEval
from archon_eval.search.journal import Journal
from archon_eval.search.trial_worker import EvalJob, EvalResult

MAX_FAILED_SHARE = 0.1
"""A trial with a larger share of questions without a score is a failed trial."""

DOLLAR_SLACK = 4.0
"""Dollars are estimated, not known, before: an eval may take so many times the estimate, if that much is left."""

RESERVED_REASK_SHARE = 0.25
"""Of all re-asks that there may be: what must fit into the budget before an eval begins."""

QuestionSplits = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Task -> `build_trial`, `dev` and `test` -> question ids, with how many answers each asks for."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One architecture's answers to some questions of every task."""

    key: str
    architecture: Architecture
    results: tuple[EvalResult, ...]
    """One per task."""
    performance: float | None
    """Weighted mean of the tasks' normalised scores; None if it failed."""
    scores: Mapping[str, float]
    """Question -> normalised score, mean over the epochs that count."""
    calls: float
    """Per question, whoever paid."""
    cost: float
    """Per question, in the objective's unit."""
    by_epoch: Mapping[int, float] = field(default_factory=dict)
    """Performance with each set of draws (1 for the order's first) that every task has scores of."""
    error: str = ""

    @property
    def paid(self) -> int:
        """Calls paid for."""
        return sum(result.calls for result in self.results)

    @property
    def reused(self) -> int:
        return sum(result.reused for result in self.results)


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """A trial that is wanted."""

    key: str
    architecture: Architecture
    plan: Plan
    part: str = "dev"
    """`build_trial` (what trials answer), `dev`, or `test`."""
    epochs: int = 1
    first_epoch: int = 1
    """Whose draws it takes first; others' than those by which it was chosen."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What an eval that was begun may take."""

    calls: int
    dollars: float
    whole: bool
    """Whether that is its worst case, which it and another attempt at it do not exceed together."""


class TrialScheduler:
    """Runs orders, remembers results, and never spends more than the budget."""

    def __init__(
        self, settings: SearchSettings, folder: Path, journal: Journal, run: SubmitEval, parts: QuestionSplits
    ) -> None:
        self.settings, self._folder, self._journal, self._submit = settings, folder, journal, run
        self._splits = parts
        try:
            earlier = [EvalResult(**line["result"]) for line in journal.list_entries("result")]
        except (KeyError, TypeError) as exc:
            why = f"it was written by another version ({exc}): finish it with that one, or choose another -o"
            raise SearchError(f"{journal.path}: {why}") from exc
        # an eval without any score is tried again by the next process: a key or a judge may have been mended
        self._failed_results = [result for result in earlier if not result.scores]
        self.results = {result.key: result for result in earlier if result.scores}
        self._reservations: dict[str, Reservation] = {}
        for line in journal.list_entries("start", "result"):  # begun and not finished, each time anew
            if line["kind"] == "start":
                held = Reservation(int(line["calls"]), float(line["dollars"]), bool(line.get("whole", True)))
                self._reserve(line["key"], held)
            else:
                self._reservations.pop(line["result"]["key"], None)
        self._retry_keys = set(self._reservations)
        self._futures: dict[Future[EvalResult], tuple[str, TrialRequest]] = {}

    @property
    def calls(self) -> int:
        """Paid so far."""
        return sum(result.calls for result in (*self.results.values(), *self._failed_results))

    @property
    def reused(self) -> int:
        return sum(result.reused for result in self.results.values())

    @property
    def failed(self) -> int:
        """Questions without a score."""
        return sum(len(result.failed) for result in (*self.results.values(), *self._failed_results))

    @property
    def judges(self) -> int:
        """Tokens of models in roles, which no budget holds."""
        return sum(result.judges for result in (*self.results.values(), *self._failed_results))

    @property
    def dollars(self) -> float | None:
        known = [result.dollars for result in (*self.results.values(), *self._failed_results)]
        return None if None in known else fsum(d for d in known if d is not None)

    def count_questions(self, order: TrialRequest) -> int:
        """Questions of all tasks that the order asks."""
        return sum(len(parts[order.part]) for parts in self._splits.values())

    @property
    def turns(self) -> float:
        """Answers per dev question, in the mean."""
        return fmean(answers for parts in self._splits.values() for answers in parts["dev"].values())

    def count_answers(self, order: TrialRequest) -> int:
        """Answers that these ask for: as many as questions, where none has further turns."""
        return sum(sum(parts[order.part].values()) for parts in self._splits.values())

    def worst_case_cost(self, order: TrialRequest, answers: int | None = None) -> tuple[int, float]:
        """Calls it can take at most, re-asks included, and the dollars these may cost by the plan's estimate."""
        return self._estimate_cost(order, 1.0, answers)

    def min_cost_to_start(self, order: TrialRequest, answers: int | None = None) -> tuple[int, float]:
        """Calls and estimated dollars that must be left before it begins: with few re-asks it takes no more."""
        return self._estimate_cost(order, RESERVED_REASK_SHARE, answers)

    def _estimate_cost(self, order: TrialRequest, reasked: float, answers: int | None) -> tuple[int, float]:
        times = (self.count_answers(order) if answers is None else answers) * order.epochs
        calls = ceil(times * (order.plan.calls[1] + reasked * order.plan.reasks))
        per_call = order.plan.dollars[1] / max(1, order.plan.calls[1]) if order.plan.dollars else 0.0
        return calls, calls * per_call

    def remaining(self) -> tuple[float, float]:
        """Calls and dollars that are neither spent nor held by what is under way."""
        calls, dollars = (
            sum(one.calls for one in self._reservations.values()),
            sum(one.dollars for one in self._reservations.values()),
        )
        budget = self.settings.budget
        return budget.calls - self.calls - calls, budget.dollars - (self.dollars or 0.0) - dollars

    def start(self, order: TrialRequest, keep: tuple[float, float] = (0, 0)) -> None:
        """Begin an order, leaving `keep` calls and dollars for later.

        Raises:
            BudgetSpentError: what is left would not be enough.
        """
        budget, wanted = self.settings.budget, []
        for task in self.settings.tasks:
            key, questions = f"{order.key}@{task.key}", self._splits[task.key][order.part]
            if key not in self.results:
                wanted.append((task, key, questions, sum(questions.values())))
        if not wanted:  # all of it is finished
            return
        again = [held for _, key, *_ in wanted if (held := self._reservations.get(key)) and held.whole]
        begun = sum(held.calls for held in again), sum(held.dollars for held in again)
        answers = sum(one[3] for one in wanted)
        most, needed = self.worst_case_cost(order, answers), self.min_cost_to_start(order, answers)
        free = [left + begun[n] - keep[n] for n, left in enumerate(self.remaining())]
        for n, words in enumerate(("{:,.0f} calls", "${:,.2f}")):
            if needed[n] > free[n]:
                later = f" besides {words.format(keep[n])} kept for the end" if keep[n] else ""
                have = words.format(max(0.0, free[n]))
                raise BudgetSpentError(f"{order.key} may take {words.format(needed[n])}, and {have} are left{later}")
        for task, key, questions, mine in wanted:
            worst, estimate = self.worst_case_cost(order, mine)
            calls = int(worst * min(1.0, free[0] / max(1, most[0])))
            dollars = min(DOLLAR_SLACK * estimate, free[1] / len(wanted))
            job = EvalJob(
                key,
                order.architecture.to_mapping(),
                task,
                tuple(questions),
                order.epochs,
                order.first_epoch,
                calls if budget.calls < inf else None,
                dollars if budget.dollars < inf else None,
                (("store", str(self._folder / "calls.db")), *self.settings.solver_args),
                self.settings.model_roles,
                self.settings.prices,
                str(self._folder / "logs"),
            )
            held = Reservation(calls, dollars, calls == worst)
            self._journal.add("start", {"key": key, **asdict(held)})
            self._reserve(key, held)
            self._futures[self._submit(job)] = (key, order)

    def _reserve(self, key: str, held: Reservation) -> None:
        # what an earlier process paid for it is in the call store, so that both together take what one may at worst
        if before := self._reservations.get(key):
            whole = held.whole or before.whole
            calls, dollars = (before.calls, held.calls), (before.dollars, held.dollars)
            held = (
                Reservation(max(calls), max(dollars), True) if whole else Reservation(sum(calls), sum(dollars), False)
            )
        self._reservations[key] = held

    def count_running(self) -> int:
        return len({order.key for _, order in self._futures.values()})

    def wait_for_finished(self) -> list[TrialRequest]:
        """Wait until something is finished; the orders all of whose evals are."""
        if not self._futures:
            return []
        done, _ = wait(self._futures, return_when=FIRST_COMPLETED)
        orders = {}
        for future in done:
            key, order = self._futures.pop(future)
            self._store_result(key, order, future.result())
            orders[order.key] = order
        waiting = {order.key for _, order in self._futures.values()}
        return [order for key, order in orders.items() if key not in waiting]

    def _store_result(self, key: str, order: TrialRequest, result: EvalResult) -> None:
        """Journal a result; calls nobody accounted for count as paid."""
        if key in self._retry_keys:  # an earlier process began it, and what it stored was paid
            result = replace(result, calls=result.calls + result.reused, reused=0, dollars=result.cost)
        held = self._reservations.pop(key)
        calls, dollars = held.calls, held.dollars
        if result.failed or result.error:
            turns = max(answers for parts in self._splits.values() for answers in parts[order.part].values())
            per_question = turns * (order.plan.calls[1] + order.plan.reasks)
            lost = calls if result.error else min(calls, result.calls + result.lost * per_question)
            lost = max(lost, result.calls)
            known = None if result.dollars is None else max(result.dollars, dollars * lost / max(1, calls))
            result = replace(result, calls=lost, dollars=known)
        self._journal.add("result", {"result": asdict(result)})
        self.results[key] = result

    def run_all(
        self, orders: Sequence[TrialRequest], watch: Callable[[int, int], None] = lambda done, total: None
    ) -> list[Trial]:
        """SubmitEval the orders side by side and return what came out, in their order.

        Args:
            watch: told how many are done, of how many.

        Raises:
            BudgetSpentError: one does not fit; those begun are finished and kept.
        """
        try:
            for order in orders:
                self.start(order)
        finally:
            watch(len(orders) - self.count_running(), len(orders))
            while self._futures:
                self.wait_for_finished()
                watch(len(orders) - self.count_running(), len(orders))
        return [self.build_trial(order) for order in orders]

    def build_trial(self, order: TrialRequest) -> Trial:
        """What came of a finished order."""
        results = tuple(self.results[f"{order.key}@{task.key}"] for task in self.settings.tasks)
        scores: dict[str, float] = {}
        performance = weight = 0.0
        epochs: list[dict[int, float]] = []
        error = next((result.error for result in results if result.error), "")
        for task, result in zip(self.settings.tasks, results, strict=True):
            asked = self._splits[task.key][order.part]
            mine = {}
            drawn: dict[int, list[float]] = {}
            for question, given in sorted(result.scores.items()):
                counted = {int(epoch): task.normalize(score) for epoch, score in given.items()}
                mine[f"{task.key}/{question}"] = fmean(counted.values())
                for epoch, score in counted.items():
                    drawn.setdefault(epoch, []).append(score)
            epochs.append({epoch: task.weight * fmean(each) for epoch, each in drawn.items()})
            missing = len(asked) - len(mine)
            if not error and (missing > MAX_FAILED_SHARE * len(asked) or not mine):
                why = next(iter(result.failed.values()), "no score")
                error = f"{missing} of {len(asked)} questions have no score: {why}"
            if mine:
                performance += task.weight * fmean(mine.values())
                weight += task.weight
            scores |= mine
        times = max(1, self.count_questions(order) * order.epochs)
        calls = sum(result.calls + result.reused for result in results) / times
        tokens = sum(result.tokens for result in results) / times
        costs = [result.cost for result in results]
        dollars = None if None in costs else sum(cost for cost in costs if cost is not None) / times
        cost = self.settings.compute_cost(calls, tokens, dollars) if not error else 0.0
        value = performance / weight if weight and not error else None
        common = sorted(set.intersection(*map(set, epochs)))
        by_epoch = {epoch: sum(each[epoch] for each in epochs) / weight for epoch in common}
        return Trial(order.key, order.architecture, results, value, scores, calls, cost, by_epoch, error)
