"""Runs the evals that a search asks for, remembers their results, and never spends more than the budget.

    scheduler = TrialScheduler(settings, folder, journal, run=run, splits=splits)
    [trial] = scheduler.run_all([TrialRequest("rank/generator/openai/gpt-4o", architecture, plan)])

A request is begun only when its calls and some re-asks fit into what is left. Its eval is held by the model layer to
its worst case, or to what is left where that is less.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import asdict, replace
from math import inf
from pathlib import Path
from typing import NamedTuple

from archon_eval._notes import show_note
from archon_eval.engine.engine import TOOLS_REFUSED
from archon_eval.errors import BudgetSpentError, SearchError, WorkerLostError
from archon_eval.models.store_address import is_server
from archon_eval.runs.door import DoorChoice
from archon_eval.runs.eval_worker import EvalJob, EvalResult
from archon_eval.runs.executors import SubmitEval
from archon_eval.runs.log_folder import make_relative
from archon_eval.search.budget import DOLLAR_SLACK, BudgetLedger, Reservation
from archon_eval.search.config import SearchSettings, TaskSpec
from archon_eval.search.earlier_results import SCORING_VERSION, list_results
from archon_eval.search.journal import Journal
from archon_eval.search.judging import JudgeCosts
from archon_eval.search.requests import build_from_layers
from archon_eval.search.task_facts import TaskFacts
from archon_eval.search.trial import QuestionSplits, Trial, TrialRequest, build_trial
from archon_eval.stats.metrics import Metric, is_mean

StepCallback = Callable[[int, int], None]
"""Told how many are done, of how many."""
MAX_ATTEMPTS = 3
"""How often an eval whose worker dies is run before its trial counts as failed."""
AGENT_TURNS = 10
"""Turns of an agent for which a trial's budget is reserved: nothing says how often it asks for one question."""
_PROBE_MODEL = "sim/gpt-4o"


def _has_ended_with_this_budget(journal: Journal) -> bool:
    """Whether an earlier session with the present one's budget came to its end."""
    last: object = None
    ended = []
    for line in journal.list_entries("session", "end"):
        if line["kind"] == "end":
            ended.append(last)
        else:
            last = line.get("budget")
    return last in ended


def _require_left(key: str, need: float, have: float, kept: float, words: str) -> None:
    """Raise BudgetSpentError where a request needs more than there is besides what is kept."""
    if need > have:
        later = f" besides {words.format(kept)} kept for the end" if kept else ""
        left = words.format(max(0.0, have))
        raise BudgetSpentError(f"{key} may take {words.format(need)}, and {left} are left{later}")


class _Running(NamedTuple):
    """An eval under way."""

    key: str
    request: TrialRequest
    task: TaskSpec
    keep: tuple[float, float]
    """Calls and dollars that it must leave."""


def find_store(settings: SearchSettings, folder: Path) -> str:
    """The path or address of the call store: the one that is named, else the folder's own."""
    named = dict(settings.solver_args).get("store")
    if named is None:
        return str(folder / "calls.db")
    return str(named) if is_server(str(named)) else str(Path(str(named)).absolute())


def is_replay(settings: SearchSettings) -> bool:
    """Whether evals only read the call store, so that nobody needs to write it."""
    return dict(settings.solver_args).get("store_policy") == "replay"


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
        facts: Mapping[str, TaskFacts] = {},
        log_dir: str | None = None,
    ) -> None:
        """
        Args:
            log_dir: where the logs of evals go, a path or an address; `folder/logs` where it is None.
            doors: task -> how architectures answer it; the solver's where it has none.
            facts: of each task, by which the winner's controls are chosen.

        Raises:
            SearchError: the journal is of another version, or the budget of judges cannot be held.
        """
        self.settings, self._folder, self._journal, self._submit = settings, folder, journal, run
        self._log_dir = log_dir or str(folder / "logs")
        self.splits, self.doors = splits, doors
        self._metrics: dict[str, Metric] = {}
        self._has_ended = _has_ended_with_this_budget(journal)
        self._noted: set[str] = set()
        self.notes: list[str] = []
        """What a reader of the result should know of the evals."""
        earlier = list_results(journal, folder, settings.tasks)
        # without any score, or with one that is no number, it is tried again by the next process: a key, a judge or a
        # scorer may have been mended
        self.results = {result.key: result for result in earlier if result.scores and not result.unscored}
        failed = [result for result in earlier if result.unscored or not result.scores]
        self._unscored = {result.key: result for result in failed if result.unscored}
        self.judging = JudgeCosts(settings, splits, facts=facts)
        if self.judging.is_limited and not earlier:
            self.judging.require_budget()
        self.ledger = BudgetLedger(settings.budget, splits, failed, judging=self.judging)
        planned = {line["key"]: float(line.get("planned_per_call", 0.0)) for line in journal.list_entries("start")}
        for result in self.results.values():
            self.ledger.record(result, planned.get(result.key, 0.0))
        self._restore_reservations()
        self._retry_keys = self.ledger.list_reserved()
        self._futures: dict[Future[EvalResult], _Running] = {}
        self._attempts: Counter[str] = Counter()

    @property
    def folder(self) -> Path:
        """The search's."""
        return self._folder

    def _restore_reservations(self) -> None:
        """What was begun and not finished, each time anew."""
        for line in self._journal.list_entries("start", "result"):
            if line["kind"] == "result":
                self.ledger.release(line["result"]["key"])
                continue
            self.ledger.reserve(line["key"], Reservation.from_line(line))

    def count_questions(self, request: TrialRequest) -> int:
        """Questions of all tasks that a request asks."""
        return sum(len(request.select_questions(self.splits, task.key)) for task in self.settings.tasks)

    def is_finished(self, key: str) -> bool:
        """Whether there are results of a request, by its key, for every task."""
        return all(f"{key}@{task.key}" in self.results for task in self.settings.tasks)

    def start(
        self,
        request: TrialRequest,
        keep: tuple[float, float] = (0, 0),
        keep_judging: tuple[float, float] | None = None,
    ) -> None:
        """Begin a request, leaving `keep` calls and dollars for later.

        Args:
            keep_judging: judges' calls and dollars to leave; None for what trials must leave to judge the end.

        Where they are not left for another attempt at evals with scores that were no numbers, it is finished at once
        with these.

        Raises:
            BudgetSpentError: what is left would not be enough.
        """
        tasks = [task for task in self.settings.tasks if f"{request.key}@{task.key}" not in self.results]
        if not tasks:
            return
        keys = [f"{request.key}@{task.key}" for task in tasks]
        try:
            free = self._check_budget(request, [task.key for task in tasks], keep)
            self._check_judging(request, [task.key for task in tasks], keep_judging)
        except BudgetSpentError:
            if self._unscored.keys() >= {*keys}:
                self.results.update({key: self._unscored[key] for key in keys})
                return
            raise
        if self._has_ended:
            self._note_more(request, [task.key for task in tasks])
        for task in tasks:
            self._start_task(request, task, free, tasks, keep=keep)

    def _start_task(
        self,
        request: TrialRequest,
        task: TaskSpec,
        free: tuple[float, float],
        tasks: Sequence[TaskSpec],
        *,
        keep: tuple[float, float],
    ) -> None:
        """Begin the eval of one of a request's tasks, which share what is free."""
        most = self.ledger.worst_case_cost(request, [each.key for each in tasks])
        worst, estimate = self.ledger.worst_case_cost(request, [task.key])
        calls = int(worst * min(1.0, free[0] / max(1, most[0])))
        dollars = min(DOLLAR_SLACK * estimate, free[1] / len(tasks))
        judging = self.judging.estimate_cost(request, [task.key]) if self.judging.is_limited else (0, 0.0)
        whole = calls >= self.ledger.count_worst_calls(request, [task.key])
        reservation = Reservation(calls, dollars, whole, judge_calls=judging[0], judge_dollars=judging[1])
        job = self._build_job(request, task, reservation)
        self._futures[self._submit(job)] = _Running(job.key, request, task, keep)

    def _note_more(self, request: TrialRequest, tasks: Sequence[str]) -> None:
        """Say, before it is paid, that a search which had ended asks more with the same budget: this version, or other
        settings, ask what the one that ended it did not. Of trials, the first alone is told."""
        stage = request.key.partition("/")[0]
        what = request.key if stage in ("confirm", "report") else stage
        if what in self._noted:
            return
        self._noted.add(what)
        calls, dollars = self.ledger.min_cost_to_start(request, tasks)
        price = f" and ${dollars:,.2f}" if dollars else ""
        note = (
            f"the search in {self._folder} had ended; now {request.key} is asked too, for about {calls:,.0f} calls"
            f"{price}, less what the call store has"
        )
        show_note(note)
        self.notes.append(note)

    def _check_budget(
        self, request: TrialRequest, tasks: Sequence[str], keep: tuple[float, float]
    ) -> tuple[float, float]:
        """Calls and dollars that a request's evals of these tasks may take together, when these are enough to begin."""
        keys = [f"{request.key}@{task}" for task in tasks]
        earlier = [reservation for key in keys if (reservation := self.ledger.get_reservation(key))]
        whole = [reservation for reservation in earlier if reservation.whole]
        calls, dollars = self.ledger.remaining()
        free = (
            calls + sum(reservation.calls for reservation in whole) - keep[0],
            dollars + sum(reservation.dollars for reservation in whole) - keep[1],
        )
        needed = self.ledger.min_cost_to_start(request, tasks)
        for need, have, kept, words in zip(needed, free, keep, ("{:,.0f} calls", "${:,.2f}"), strict=True):
            _require_left(request.key, need, have, kept, words)
        return free

    def _check_judging(self, request: TrialRequest, tasks: Sequence[str], keep: tuple[float, float] | None) -> None:
        """Require that judging a request's answers to these tasks fits into what is left for judges.

        Raises:
            BudgetSpentError: it does not.
        """
        if not self.judging.is_limited:
            return
        if keep is None:
            keep = self.judging.compute_end_reserve() if request.part == "trial" else (0, 0)
        earlier = [self.ledger.get_reservation(f"{request.key}@{task}") for task in tasks]
        again = [reservation for reservation in earlier if reservation is not None]
        left = self.ledger.remaining_judging()
        free = (
            left[0] + sum(reservation.judge_calls for reservation in again) - keep[0],
            left[1] + sum(reservation.judge_dollars for reservation in again) - keep[1],
        )
        needed = self.judging.estimate_cost(request, tasks)
        for need, have, kept, words in zip(
            needed, free, keep, ("{:,.0f} judge calls", "${:,.2f} for judges"), strict=True
        ):
            _require_left(request.key, need, have, kept, words)

    def _build_job(self, request: TrialRequest, task: TaskSpec, reservation: Reservation) -> EvalJob:
        """A task's eval, with what it may take reserved and in the journal."""
        key, budget = f"{request.key}@{task.key}", self.settings.budget
        planned = {"name": request.architecture.name, "planned_per_call": self.ledger.plan_per_call(request)}
        self._journal.add("start", {"key": key, **planned, **asdict(reservation)})
        self.ledger.reserve(key, reservation)
        door = self.doors[task.key].door if task.key in self.doors else "solver"
        overruled = (("replace_solver", True),) if self.settings.door == "solver" else ()
        return EvalJob(
            key=key,
            architecture=request.architecture.to_mapping(),
            task=task,
            questions=tuple(request.select_questions(self.splits, task.key)),
            epochs=request.epochs,
            first_epoch=request.first_epoch,
            last_draws=request.last_draws,
            max_calls=reservation.calls if budget.calls < inf else None,
            max_dollars=reservation.dollars if budget.dollars < inf else None,
            solver_args=(*overruled, *self.settings.solver_args, ("store", find_store(self.settings, self._folder))),
            model_roles=self.settings.model_roles,
            prices=self.settings.prices,
            log_dir=self._log_dir,
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
        jobs = {
            task.key: EvalJob(
                key=f"tools@{task.key}",
                architecture=architecture,
                task=task,
                questions=tuple(self.splits[task.key]["dev"])[:1],
                log_dir=str(self._folder / "probe"),
                door="model",
            )
            for task in asked
        }
        futures = {key: self._submit(job) for key, job in jobs.items()}
        results = {key: self._wait_for_probe(jobs[key], future) for key, future in futures.items()}
        offered = [
            key
            for key, result in results.items()
            if any(TOOLS_REFUSED in why for why in (result.error, *result.failed.values()))
        ]
        if asked:
            self._journal.add("tools", {"asked": [*results], "offered": offered})
        return tuple(offered)

    def _wait_for_probe(self, job: EvalJob, future: "Future[EvalResult]") -> EvalResult:
        """The result of an eval that costs nothing, begun again where its worker dies."""
        for _ in range(MAX_ATTEMPTS - 1):
            with suppress(WorkerLostError):
                return future.result()
            future = self._submit(job)
        return future.result()

    def count_running(self) -> int:
        """Requests under way."""
        return len({running.request.key for running in self._futures.values()})

    def wait_for_finished(self) -> list[TrialRequest]:
        """Wait until an eval is finished, and return the requests all of whose evals are."""
        if not self._futures:
            return []
        done, _ = wait(self._futures, return_when=FIRST_COMPLETED)
        requests = {}
        for future in done:
            running = self._futures.pop(future)
            try:
                result = future.result()
            except WorkerLostError as exc:
                error = self._restart(running, str(exc))
                if error is None:
                    continue
                result = EvalResult(running.key, error=error)
            self._store_result(running.key, running.request, result)
            requests[running.request.key] = running.request
        still = {running.request.key for running in self._futures.values()}
        return [request for key, request in requests.items() if key not in still]

    def _restart(self, running: _Running, why: str) -> str | None:
        """Run an eval whose worker died again; as after a kill of the search, what its calls stored was paid.

        Returns:
            Why it is not run again; None where it is.
        """
        key, request, task = running.key, running.request, running.task
        self._attempts[key] += 1
        if self._attempts[key] >= MAX_ATTEMPTS:
            return f"given up after {MAX_ATTEMPTS} attempts: {why}"
        try:
            free = self._check_budget(request, [task.key], running.keep)
            self._check_judging(request, [task.key], (0, 0))
        except BudgetSpentError as exc:
            return f"{why}, and the rest of the budget has no room for it: {exc}"
        self._retry_keys.add(key)
        self._start_task(request, task, free, [task], keep=running.keep)
        return None

    def _store_result(self, key: str, request: TrialRequest, result: EvalResult) -> None:
        if key in self._retry_keys:  # an earlier attempt began it, and what that stored was paid
            shared = result.reused if request.is_free else self.ledger.count_shared(request)
            result = result.count_reused_as_paid(shared)
        result = replace(self.ledger.settle(result, request), log=make_relative(result.log, self._folder))
        self._journal.add("result", {"result": asdict(result), "scoring": SCORING_VERSION})
        self.results[key] = result

    def run_all(
        self,
        requests: Sequence[TrialRequest],
        on_progress: StepCallback = lambda done, total: None,
        *,
        keep: tuple[float, float] = (0, 0),
        keep_judging: tuple[float, float] | None = None,
    ) -> list[Trial]:
        """Run the requests side by side and return their trials, in their order.

        One that does not fit beside the worst case of those under way waits for these: they may share calls.

        Args:
            keep: calls and dollars to leave for later.
            keep_judging: as `start` has it.

        Raises:
            BudgetSpentError: one does not fit; those begun are finished and kept.
        """
        try:
            for request in requests:
                self._start_when_free(request, keep, keep_judging)
        finally:
            on_progress(len(requests) - self.count_running(), len(requests))
            while self._futures:
                self.wait_for_finished()
                on_progress(len(requests) - self.count_running(), len(requests))
        return [self.build_trial(request) for request in requests]

    def _start_when_free(
        self, request: TrialRequest, keep: tuple[float, float], keep_judging: tuple[float, float] | None
    ) -> None:
        while True:
            try:
                return self.start(request, keep, keep_judging)
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
