"""The search stage: ask the optimizer, evaluate, tell it, until the budget for trials is spent."""

import time
from typing import NamedTuple, NoReturn

from archon_eval.errors import BudgetSpentError, SearchError
from archon_eval.search.confirm import Confirmation
from archon_eval.search.convergence import explain_convergence
from archon_eval.search.deviations import estimate_value
from archon_eval.search.informative import InformativeQuestions
from archon_eval.search.journal import Journal
from archon_eval.search.optimizer import Optimizer
from archon_eval.search.prepare import PlannedSpace
from archon_eval.search.progress import ProgressReporter
from archon_eval.search.scheduler import TrialScheduler
from archon_eval.search.trial import Trial, TrialRequest

DRAW_SETS_IN_TURN = 3
"""Sets of draws where neither the user nor the optimizer chooses them."""
MAX_INITIAL_FAILURES = 5
"""So many failed trials before the first that succeeds end a search: a key or a judge is wrong, not an architecture."""


class _TrialPlan(NamedTuple):
    """How an architecture is to be tried."""

    draws: int
    """The set of draws."""
    last_draws: int = 1
    phase: int = 0
    """Of the questions that it asks."""
    is_free: bool = False
    """Whether other trials have paid for all of its calls, so that it counts as no trial of the budget."""


class TrialLoop:
    """Trials of one process, after those that earlier processes left in the journal."""

    def __init__(
        self,
        scheduler: TrialScheduler,
        space: PlannedSpace,
        optimizer: Optimizer,
        *,
        confirmation: Confirmation,
        journal: Journal,
        progress: ProgressReporter,
        workers: int,
        began: float,
    ) -> None:
        """
        Args:
            began: when the search did in this process, by `time.monotonic`.
        """
        self._settings, self._scheduler, self._space, self._optimizer = scheduler.settings, scheduler, space, optimizer
        self._confirmation, self._journal, self._progress = confirmation, journal, progress
        self._workers, self._began, self._is_replaying = workers, began, False
        self._asked, self._free = 0, 0
        self._tried: dict[int, Trial] = {}
        self._chosen: list[Trial] = []
        """Those that the optimizer chose, in the order told; the others were paid for by these."""
        self._questions = InformativeQuestions(self._settings, scheduler.splits, journal)
        self._plans: dict[str, _TrialPlan] = {}
        """By the key of the request."""
        self._open: list[tuple[int, TrialRequest]] = []
        """Asked for, and not yet begun by this process."""
        self._pending: dict[str, tuple[int, TrialRequest]] = {}
        self._pace: tuple[float, int, int] | None = None
        """When this process had its first trial to run, and how many were tried and calls paid by then."""
        self._reserved_calls = 0.0
        """Calls that the last trial had to leave for the end."""
        self._spent = ""
        """Why the budget allows no more."""

    def run(self) -> dict[int, Trial]:
        """Every trial by its configuration's number, in order.

        Raises:
            SearchError: the budget allows none, or the first ones or all fail.
        """
        self._progress.report("searching", total=self._max_trials)
        self._replay_journal()
        self._pace = (time.monotonic(), len(self._chosen), self._scheduler.ledger.calls)
        while True:
            self._start_trials()
            if not self._pending:
                self._require_success()
                return self._tried
            for request in self._scheduler.wait_for_finished():
                self._record_trial(*self._pending.pop(request.key))

    @property
    def has_more(self) -> bool:
        """Whether there are trials that were not tried, the budget's number of them among these."""
        return self._count_chosen() < self._settings.budget.trials and len(self._tried) < len(self._space.options)

    def _replay_journal(self) -> None:
        """Tell the optimizer what earlier processes found out; what they left under way is open."""
        self._is_replaying = True
        asked = self._journal.list_entries("ask")
        self._asked, self._free = len(asked), sum(line.get("free", False) for line in asked)
        options = self._space.options if asked else ()  # the fingerprints of a large space take a minute
        numbers = {option.architecture.fingerprint: number for number, option in enumerate(options)}
        for line in asked:
            number = numbers.get(line["fingerprint"])
            if number is None:  # models are ranked otherwise than when it was asked for
                note = f"trial {line['number']} is left out: its architecture is no longer in the space"
                self._progress.notes.append(note)
                continue
            plan = _TrialPlan(
                line.get("draws") or self._pick_draw_set(line["number"]),
                line.get("last_draws", 1),
                phase=line.get("phase", 0),
                is_free=line.get("free", False),
            )
            request = self._build_request(line["number"], number, plan)
            if self._scheduler.is_finished(request.key):
                self._record_trial(number, request)
            else:
                self._open.append((number, request))
        self._is_replaying = False
        for trial in list(self._tried.values()):
            if trial.performance is not None:
                self._open_paid_trials(self._plans[trial.key].draws)

    def _start_trials(self) -> None:
        """Keep as many trials under way as there are workers, while the budget allows it."""
        while not self._spent and len(self._pending) < self._workers:
            if not self._open and not self._ask():
                return
            number, request = self._open[0]
            reserve = self._confirmation.compute_reserve(self._optimizer, self._tried, number)
            self._reserved_calls = reserve[0]
            try:
                self._scheduler.start(request, reserve)
            except BudgetSpentError as exc:
                if not self._pending:  # or what these do not need of their worst case is free again
                    self._spent = str(exc)
                return
            self._open.pop(0)
            if self._scheduler.is_finished(request.key):
                self._record_trial(number, request)
            else:
                self._pending[request.key] = (number, request)

    def _ask(self) -> bool:
        """Open the next trial; whether there is one."""
        if self._count_chosen() >= self._settings.budget.trials or self._is_out_of_time() or self._has_converged():
            return False
        pending = {number: request.first_epoch for number, request in self._pending.values()}
        suggested = self._optimizer.suggest(pending, self._pick_draw_set(self._count_chosen()))
        if suggested is None:
            return False
        plan = _TrialPlan(suggested.draws, suggested.last_draws, phase=self._questions.phase)
        self._open_trial(suggested.number, plan)
        return True

    def _open_trial(self, number: int, plan: "_TrialPlan") -> None:
        """Write down that a trial is asked for, and have it begin when it can."""
        option = self._space.options[number]
        said = {"number": self._asked, "draws": plan.draws, "last_draws": plan.last_draws, "phase": plan.phase}
        named = {"fingerprint": option.architecture.fingerprint, "name": option.configuration.key}
        self._journal.add("ask", {**said, **named, "free": plan.is_free})
        self._open.append((number, self._build_request(self._asked, number, plan)))
        self._asked += 1
        self._free += plan.is_free

    def _count_chosen(self) -> int:
        """Trials that the optimizer chose, those under way too."""
        return self._asked - self._free

    def _open_paid_trials(self, draws: int) -> None:
        """Have architectures tried all of whose calls are paid: their scores cost nothing where no judge gives them."""
        results = self._scheduler.results.values()
        if any(result.judges or result.judge_calls or result.judge_reused for result in results):
            return
        known = {*self._tried, *(number for number, _ in self._open), *(number for number, _ in self._pending.values())}
        for number in self._optimizer.list_paid(draws):
            if number not in known:
                self._open_trial(number, _TrialPlan(draws, phase=self._questions.phase, is_free=True))

    def _has_converged(self) -> bool:
        performances = {number: trial.performance for number, trial in self._tried.items()}
        free = {number for number, trial in self._tried.items() if self._plans[trial.key].is_free}
        if not (why := explain_convergence(self._settings, performances, self._space.cost, free)):
            return False
        if why not in self._progress.notes:
            self._progress.notes.append(why)
        return True

    def _build_request(self, asked: int, number: int, plan: "_TrialPlan") -> TrialRequest:
        option = self._space.options[number]
        request = TrialRequest(
            key=f"search/{asked}/{option.architecture.fingerprint[:6]}",
            architecture=option.architecture,
            plan=option.plan,
            part="trial",
            first_epoch=plan.draws,
            last_draws=plan.last_draws,
            is_free=plan.is_free,
            questions=self._questions.list_asked(plan.phase),
            shared_calls=option.plan.calls[1] if plan.is_free else 0,
        )
        self._plans[request.key] = plan
        return request

    def _pick_draw_set(self, asked: int) -> int:
        """Trials whose set of draws nothing chooses take the sets in turn."""
        return 1 + asked % (self._settings.draws or DRAW_SETS_IN_TURN)

    def _record_trial(self, number: int, request: TrialRequest) -> None:
        plan = self._plans[request.key]
        answered = self._scheduler.build_trial(request)
        trial = self._tried[number] = self._questions.complete(answered, plan.phase)
        share = answered.questions / self._scheduler.count_questions(request)
        variance = answered.last_draw_variance
        self._optimizer.tell(
            number,
            trial.performance,
            request.first_epoch,
            share=share or 1.0,
            last_draws=plan.last_draws,
            last_draw_variance=None if variance is None else variance * answered.questions / trial.questions**2,
        )
        name = f"{request.key} ({self._space.options[number].configuration.key})"
        if trial.performance is None:
            self._progress.notes.append(f"{name} failed: {trial.error}")
        elif trial.note:
            self._progress.notes.append(f"{name}: {trial.note}")
        failed = sum(tried.performance is None for tried in self._tried.values())
        if trial.is_unscored and failed == len(self._tried):  # another architecture will not mend a scorer
            self._stop(f"a scorer gives no numbers: {trial.error}")
        if failed == len(self._tried) >= MAX_INITIAL_FAILURES:
            self._stop(f"the first {MAX_INITIAL_FAILURES} trials failed; the last: {trial.error}")
        if not plan.is_free:
            self._chosen.append(trial)
            if left := self._questions.drop(self._chosen):
                self._progress.notes.append(
                    f"{left} dev questions tell architectures apart no more after {len(self._chosen)} trials: later "
                    "trials do not ask them, and finalists do"
                )
        if trial.performance is not None and not self._is_replaying:
            self._open_paid_trials(request.first_epoch)
        self._report_incumbent()

    def _stop(self, why: str) -> NoReturn:
        """End the search, with what is under way in the journal."""
        while self._scheduler.count_running():
            self._scheduler.wait_for_finished()
        raise SearchError(why)

    def _report_incumbent(self) -> None:
        best = self._confirmation.rank_by_lower_bound(self._optimizer, self._tried, caution=0)[:1]
        estimate = self._optimizer.estimate()
        value = deviation = None
        if best:
            known = (float(estimate[0][best[0]]), float(estimate[1][best[0]])) if estimate else None
            value, deviation = estimate_value(self._tried[best[0]], known)
        self._progress.report(
            "searching",
            done=len(self._chosen),
            total=self._max_trials,
            trials=len(self._tried),
            options=len(self._space.options),
            incumbent=self._space.options[best[0]].configuration.key if best else "",
            value=value,
            deviation=deviation,
            seconds_left=self._estimate_seconds_left(),
        )

    def _estimate_seconds_left(self) -> float | None:
        """At this process's pace, until all are tried or the calls or the time for trials are spent."""
        tried, ledger = len(self._chosen), self._scheduler.ledger
        if self._pace is None or tried == self._pace[1]:
            return None
        since, before, paid_before = self._pace
        took, new, paid = time.monotonic() - since, tried - before, ledger.calls - paid_before
        calls = max(0.0, ledger.remaining()[0] - self._reserved_calls)
        time_left = self._settings.budget.seconds - (time.monotonic() - self._began)
        return max(0.0, min(took / new * (self._max_trials - tried), took / max(1, paid) * calls, time_left))

    @property
    def _max_trials(self) -> int:
        """As many as there may be, without those that cost nothing."""
        return int(min(self._settings.budget.trials, len(self._space.options) - self._free))

    def _require_success(self) -> None:
        if any(trial.performance is not None for trial in self._tried.values()):
            return
        if self._tried:
            raise SearchError(f"all {len(self._tried)} trials failed; the last: {[*self._tried.values()][-1].error}")
        late = "its seconds were over before the first" if self._is_out_of_time() else ""
        why = f" ({self._spent or late})" if self._spent or late else ""
        raise SearchError(f"the budget allows no single trial with confirmation and report{why}: raise it")

    def _is_out_of_time(self) -> bool:
        return time.monotonic() - self._began > self._settings.budget.seconds
