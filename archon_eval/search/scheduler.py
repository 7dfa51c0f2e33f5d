"""Runs the evals that a search asks for, remembers their results, and never spends more than the budget.

    scheduler = TrialScheduler(settings, folder, journal, run=run, splits=splits)
    [trial] = scheduler.run_all([TrialRequest("rank/generator/openai/gpt-4o", architecture, plan)])

A request is begun only when its calls and some re-asks fit into what is left. Its eval is held by the model layer to
its worst case, or to what is left where that is less.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict, replace
from math import inf
from pathlib import Path

from archon_eval.engine.engine import TOOLS_REFUSED
from archon_eval.errors import BudgetSpentError, SearchError
from archon_eval.runs.door import DoorChoice
from archon_eval.runs.eval_worker import EvalJob, EvalResult
from archon_eval.search.budget import DOLLAR_SLACK, BudgetLedger, Reservation, plan_per_call
from archon_eval.search.config import SearchSettings, TaskSpec
from archon_eval.search.earlier_results import SCORING_VERSION, list_results
from archon_eval.search.executors import SubmitEval
from archon_eval.search.journal import Journal
from archon_eval.search.requests import build_from_layers
from archon_eval.search.trial import QuestionSplits, Trial, TrialRequest, build_trial, count_questions
from archon_eval.stats.metrics import Metric, is_mean

StepCallback = Callable[[int, int], None]
"""Told how many are done, of how many."""
AGENT_TURNS = 10
"""Turns of an agent for which a trial's budget is reserved: nothing says how often it asks for one question."""
_PROBE_MODEL = "sim/gpt-4o"


class TrialScheduler:
    """Begins requests, waits for them, and keeps results."""

    def __init__(
        self,
        settings: SearchSettings,
        folder: Path,
        journal: Journal,
        *,
        run: SubmitEval,
        splits: QuestionSplits,
        doors: Mapping[str, DoorChoice] = {},
    ) -> None:
        """
        Args:
            doors: task -> how architectures answer it; the solver's where it has none.

        Raises:
            SearchError: the journal is of another version.
        """
        self.settings, self._folder, self._journal, self._submit = settings, folder, journal, run
        self.splits, self.doors = splits, doors
        self._metrics: dict[str, Metric] = {}
        earlier = list_results(journal, folder, settings.tasks)
        # without any score, or with one that is no number, it is tried again by the next process: a key, a judge or a
        # scorer may have been mended
        self.results = {result.key: result for result in earlier if result.scores and not result.unscored}
        failed = [result for result in earlier if result.unscored or not result.scores]
        self._unscored = {result.key: result for result in failed if result.unscored}
        self.ledger = BudgetLedger(settings.budget, splits, failed)
        planned = {line["key"]: float(line.get("planned_per_call", 0.0)) for line in journal.list_entries("start")}
        for result in self.results.values():
            self.ledger.record(result, planned.get(result.key, 0.0))
        self._restore_reservations()
        self._retry_keys = self.ledger.list_reserved()
        self._futures: dict[Future[EvalResult], tuple[str, TrialRequest]] = {}

    def _restore_reservations(self) -> None:
        """What was begun and not finished, each time anew."""
        for line in self._journal.list_entries("start", "result"):
            if line["kind"] == "result":
                self.ledger.release(line["result"]["key"])
                continue
            calls, dollars = int(line["calls"]), float(line["dollars"])
            self.ledger.reserve(line["key"], Reservation(calls, dollars, whole=bool(line.get("whole", True))))

    def count_questions(self, request: TrialRequest) -> int:
        """Questions of all tasks that a request asks."""
        return count_questions(self.splits, request.part)

    def is_finished(self, key: str) -> bool:
        """Whether there are results of a request, by its key, for every task."""
        return all(f"{key}@{task.key}" in self.results for task in self.settings.tasks)

    def start(self, request: TrialRequest, keep: tuple[float, float] = (0, 0)) -> None:
        """Begin a request, leaving `keep` calls and dollars for later.

        Where they are not left for another attempt at evals with scores that were no numbers, it is finished at once
        with these.

        Raises:
            BudgetSpentError: what is left would not be enough.
        """
        tasks = [task for task in self.settings.tasks if f"{request.key}@{task.key}" not in self.results]
        if not tasks:
            return
        answers = {task.key: sum(self.splits[task.key][request.part].values()) for task in tasks}
        keys = [f"{request.key}@{task.key}" for task in tasks]
        try:
            free = self._check_budget(request, keys, keep, answers=answers)
        except BudgetSpentError:
            if self._unscored.keys() >= {*keys}:
                self.results.update({key: self._unscored[key] for key in keys})
                return
            raise
        most = self.ledger.worst_case_cost(request, sum(answers.values()))
        for task in tasks:
            worst, estimate = self.ledger.worst_case_cost(request, answers[task.key])
            calls = int(worst * min(1.0, free[0] / max(1, most[0])))
            dollars = min(DOLLAR_SLACK * estimate, free[1] / len(tasks))
            whole = calls >= self.ledger.count_worst_calls(request, answers[task.key])
            job = self._build_job(request, task, Reservation(calls, dollars, whole=whole))
            self._futures[self._submit(job)] = (job.key, request)

    def _check_budget(
        self, request: TrialRequest, keys: Sequence[str], keep: tuple[float, float], *, answers: dict[str, int]
    ) -> tuple[float, float]:
        """Calls and dollars that the evals `keys` of a request may take together, when these are enough to begin."""
        earlier = [reservation for key in keys if (reservation := self.ledger.get_reservation(key))]
        whole = [reservation for reservation in earlier if reservation.whole]
        calls, dollars = self.ledger.remaining()
        free = (
            calls + sum(reservation.calls for reservation in whole) - keep[0],
            dollars + sum(reservation.dollars for reservation in whole) - keep[1],
        )
        needed = self.ledger.min_cost_to_start(request, sum(answers.values()))
        for need, have, kept, words in zip(needed, free, keep, ("{:,.0f} calls", "${:,.2f}"), strict=True):
            if need > have:
                later = f" besides {words.format(kept)} kept for the end" if kept else ""
                left = words.format(max(0.0, have))
                raise BudgetSpentError(f"{request.key} may take {words.format(need)}, and {left} are left{later}")
        return free

    def _build_job(self, request: TrialRequest, task: TaskSpec, reservation: Reservation) -> EvalJob:
        """A task's eval, with what it may take reserved and in the journal."""
        key, budget = f"{request.key}@{task.key}", self.settings.budget
        self._journal.add("start", {"key": key, **asdict(reservation), "planned_per_call": plan_per_call(request)})
        self.ledger.reserve(key, reservation)
        door = self.doors[task.key].door if task.key in self.doors else "solver"
        overruled = (("replace_solver", True),) if self.settings.door == "solver" else ()
        return EvalJob(
            key=key,
            architecture=request.architecture.to_mapping(),
            task=task,
            questions=tuple(self.splits[task.key][request.part]),
            epochs=request.epochs,
            first_epoch=request.first_epoch,
            max_calls=reservation.calls if budget.calls < inf else None,
            max_dollars=reservation.dollars if budget.dollars < inf else None,
            solver_args=(("store", str(self._folder / "calls.db")), *overruled, *self.settings.solver_args),
            model_roles=self.settings.model_roles,
            prices=self.settings.prices,
            log_dir=str(self._folder / "logs"),
            door=door,
        )

    def find_tools(self) -> tuple[str, ...]:
        """The tasks that offer tools, of those whose own solver asks the architecture.

        Each is asked one question by an architecture of simulated models that cannot be asked with tools: where it is
        refused, there are some. No call is paid. From then on a question of these takes as many answers as an agent
        may have turns.
        """
        offered = self._find_tools()
        for key in offered:
            parts = {
                part: {id: max(answers, AGENT_TURNS) for id, answers in asked.items()}
                for part, asked in self.splits[key].items()
            }
            self.splits = {**self.splits, key: parts}
        self.ledger.splits = self.splits
        return offered

    def _find_tools(self) -> tuple[str, ...]:
        asked = [task for task in self.settings.tasks if task.harness == "inspect"]
        asked = [task for task in asked if task.key in self.doors and self.doors[task.key].door == "model"]
        for line in self._journal.list_entries("tools"):
            if line["asked"] == [task.key for task in asked]:
                return tuple(line["offered"])
        architecture = build_from_layers("tools", {"generator": _PROBE_MODEL}, {"fuser": _PROBE_MODEL}).to_mapping()
        futures = {
            task.key: self._submit(
                EvalJob(
                    key=f"tools@{task.key}",
                    architecture=architecture,
                    task=task,
                    questions=tuple(self.splits[task.key]["dev"])[:1],
                    log_dir=str(self._folder / "probe"),
                    door="model",
                )
            )
            for task in asked
        }
        results = {key: future.result() for key, future in futures.items()}
        offered = [
            key
            for key, result in results.items()
            if any(TOOLS_REFUSED in why for why in (result.error, *result.failed.values()))
        ]
        if asked:
            self._journal.add("tools", {"asked": [*results], "offered": offered})
        return tuple(offered)

    def count_running(self) -> int:
        """Requests under way."""
        return len({request.key for _, request in self._futures.values()})

    def wait_for_finished(self) -> list[TrialRequest]:
        """Wait until an eval is finished, and return the requests all of whose evals are."""
        if not self._futures:
            return []
        done, _ = wait(self._futures, return_when=FIRST_COMPLETED)
        requests = {}
        for future in done:
            key, request = self._futures.pop(future)
            self._store_result(key, request, future.result())
            requests[request.key] = request
        running = {request.key for _, request in self._futures.values()}
        return [request for key, request in requests.items() if key not in running]

    def _store_result(self, key: str, request: TrialRequest, result: EvalResult) -> None:
        if key in self._retry_keys:  # an earlier process began it, and what it stored was paid
            shared = min(result.reused, int(request.shared_calls * self.ledger.count_answers(request) * request.epochs))
            own = (result.calls + result.reused - shared) / max(1, result.calls + result.reused)
            dollars = None if result.cost is None else max(result.dollars or 0.0, own * result.cost)
            calls = result.calls + result.reused - shared
            result = replace(result, calls=calls, reused=shared, dollars=dollars)
        result = self.ledger.settle(result, request)
        self._journal.add("result", {"result": asdict(result), "scoring": SCORING_VERSION})
        self.results[key] = result

    def run_all(
        self,
        requests: Sequence[TrialRequest],
        on_progress: StepCallback = lambda done, total: None,
        *,
        keep: tuple[float, float] = (0, 0),
    ) -> list[Trial]:
        """Run the requests side by side and return their trials, in their order.

        One that does not fit beside the worst case of those under way waits for these: they may share calls.

        Args:
            keep: calls and dollars to leave for later.

        Raises:
            BudgetSpentError: one does not fit; those begun are finished and kept.
        """
        try:
            for request in requests:
                self._start_when_free(request, keep)
        finally:
            on_progress(len(requests) - self.count_running(), len(requests))
            while self._futures:
                self.wait_for_finished()
                on_progress(len(requests) - self.count_running(), len(requests))
        return [self.build_trial(request) for request in requests]

    def _start_when_free(self, request: TrialRequest, keep: tuple[float, float]) -> None:
        while True:
            try:
                return self.start(request, keep)
            except BudgetSpentError:
                if not self._futures:
                    raise
                self.wait_for_finished()

    def build_trial(self, request: TrialRequest) -> Trial:
        """The trial of a finished request.

        Raises:
            SearchError: its figures are by another metric than those of the trials before it.
        """
        results = [self.results[f"{request.key}@{task.key}"] for task in self.settings.tasks]
        trial = build_trial(request, results, self.settings, splits=self.splits)
        for part in trial.parts if not trial.error else ():
            known = self._metrics.setdefault(part.task.key, part.metric) if part.answers else part.metric
            if known.name != part.metric.name and not (is_mean(known) and is_mean(part.metric)):
                raise SearchError(
                    f"{request.key}: {part.task.key} is scored by {part.metric.name}, and in the trials before it by "
                    f"{known.name}: bring their logs back, or choose another -o"
                )
        return trial
