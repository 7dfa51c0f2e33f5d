"""Runs one eval of an architecture on chosen documents of a task of lm-eval, as a job of a search's worker.

    result = run_lm_eval_job(job)               # as `archon_eval.runs.eval_worker.run_job` does for tasks of Inspect

Each repetition is a whole run of lm-eval with draws of its own, at least of the last layer. An answer that fails is
empty for lm-eval, and its document has no score in the results that are written and in the job's.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from lm_eval import simple_evaluate
from lm_eval.loggers import EvaluationTracker

from archon_eval.errors import ArchonError, DataError
from archon_eval.integrations.build import note_unshared_draws
from archon_eval.integrations.lm_eval_model import ArchonLM
from archon_eval.integrations.lm_eval_tasks import find_manager
from archon_eval.models.call import Caller
from archon_eval.models.usage_totals import UsageTotals
from archon_eval.runs.account import AnswerDraws
from archon_eval.runs.eval_worker import EvalJob, EvalResult
from archon_eval.runs.layer_health import RunHealth
from archon_eval.runs.read_lm_eval import list_samples, read_lm_eval_run
from archon_eval.runs.run_lm_eval import parse_task_options
from archon_eval.runs.task_account import FAILED_KEY, TaskAccount

TASK_LOADING_OPTIONS = ("include_path", "limit")
"""Options of a task that are not `simple_evaluate`'s, or not for a run on chosen documents."""

DRAWS_KEY = "archon_draws"
"""Where the results of one draw of the last layer say in their `config` which it is."""


class TrialLM(ArchonLM):
    """An architecture whose failed answers fail alone, with draws from a given epoch on."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.epoch_offset = 0
        self._failed: dict[int, str] = {}
        """A request's `doc_id` -> why its answer failed."""

    def start_epoch(self, draws: AnswerDraws) -> None:
        """Forget the answers so far, and take other draws."""
        self.epoch_offset, self.last_draw = draws.epoch - 1, draws.last_draw
        self._failed.clear()
        self._accounts.clear()

    @property
    def caller(self) -> Caller:
        """What is under its calls."""
        return self._runner.engines.engine.caller

    async def _answer(self, request: Any, epoch: int) -> str:
        try:
            return await super()._answer(request, epoch + self.epoch_offset)
        except Exception as exc:  # noqa: BLE001  a component of a user's may fail in any way; it fails alone
            self._failed[request.doc_id] = str(exc)[:500] or type(exc).__name__
            return ""

    def list_failed(self, questions: Sequence[int]) -> dict[str, str]:
        """Document -> why its answer failed.

        Args:
            questions: numbers of the chosen documents, in ascending order: a request has the place among them as its
                `doc_id`, not the number.
        """
        return {str(questions[place]): why for place, why in sorted(self._failed.items())}

    def sum_accounts(self) -> TaskAccount | None:
        """What the answers since `start_epoch` took; None where none came about."""
        every = [account for accounts in self._accounts.values() for account in accounts]
        return TaskAccount.from_accounts(every, self._runner.architecture) if every else None


def load_task(name: str, include_path: str | None) -> Any:
    """A task with its data.

    Raises:
        Exception: whatever lm-eval or the task's own code raises.
    """
    (task,) = _flatten(find_manager(name, include_path).load_task_or_group(name))
    return task


def _flatten(loaded: Mapping[Any, Any]) -> list[Any]:
    return [task for value in loaded.values() for task in (_flatten(value) if isinstance(value, Mapping) else [value])]


def run_lm_eval_job(job: EvalJob) -> EvalResult:
    """The eval, in this process; everything that goes wrong with it is in the result."""
    limits = {"calls": job.max_calls, "dollars": job.max_dollars}
    budget = {name: value for name, value in limits.items() if value is not None}
    arguments = {"architecture": dict(job.architecture or {}), **dict(job.solver_args)}
    arguments |= {"budget": {"eval": budget}} if budget else {}
    arguments |= {"prices": job.prices} if job.prices else {}
    parts: list[EvalResult] = []
    try:
        lm = TrialLM(**arguments)
        note_unshared_draws(f"eval {job.key}", lm.caller, job.last_draws)
        for epoch in range(1, job.epochs * job.last_draws + 1):
            lm.start_epoch(draws := AnswerDraws.from_epoch(epoch, job.first_epoch - 1, job.last_draws))
            parts.append(_run_epoch(job, lm, epoch, draws=draws))
    except (ArchonError, ValueError, TypeError, LookupError, OSError, RuntimeError, AssertionError) as exc:
        result = _join_epochs(job, parts)
        return replace(result, scores={}, error=f"{type(exc).__name__}: {exc}")
    return _join_epochs(job, parts)


def _run_epoch(job: EvalJob, lm: TrialLM, epoch: int, *, draws: AnswerDraws) -> EvalResult:
    options = parse_task_options(job.task.args, job.task.name)
    manager = find_manager(job.task.name, options.get("include_path"))
    # in their order: lm-eval gives the documents of a list in another order each other's numbers
    questions = sorted(int(question) for question in job.questions)
    words = re.sub(r"[^\w]+", "-", f"{job.key}-{epoch}", flags=re.ASCII).strip("-")[:100]
    tracker = EvaluationTracker(str(Path(job.log_dir) / f"{words}-{sha256(job.key.encode()).hexdigest()[:6]}.json"))
    found = simple_evaluate(
        model=lm,
        tasks=[job.task.name],
        samples={job.task.name: questions},
        task_manager=manager,
        evaluation_tracker=tracker,
        log_samples=True,
        bootstrap_iters=0,
        **{"fewshot_as_multiturn": False}
        | {name: value for name, value in options.items() if name not in TASK_LOADING_OPTIONS},
    )
    assert found is not None  # it is of the first process of one
    account = lm.sum_accounts()
    usage = account.usage if account else UsageTotals()
    failed = lm.list_failed(questions)
    result = EvalResult(
        key=job.key,
        failed=failed,
        calls=usage.paid_calls,
        reused=usage.reused_calls,
        tokens=usage.tokens,
        dollars=usage.paid_dollars,
        cost=usage.dollars,
        lost=len(failed),
        judge_calls=0,
        judge_dollars=0.0,
        health=account.health.to_metadata() if account else {},
    )
    if len(failed) == len(questions):
        return result
    samples = found.pop("samples")
    found["config"] |= {"model": "archon", "model_args": {"model": "archon"}, FAILED_KEY: {job.task.name: failed}}
    found["config"] |= {DRAWS_KEY: asdict(draws)} if job.last_draws > 1 else {}
    tracker.save_results_aggregated(results=found, samples=samples)
    tracker.save_results_samples(task_name=job.task.name, samples=samples[job.task.name])
    results = sorted(Path(job.log_dir).glob(f"*_{tracker.date_id}.json"))
    log = list_samples(results[0])[0] if results else None
    if log is None or log.suffix != ".jsonl":
        return replace(result, error=f"the results could not be written to {job.log_dir}")
    try:
        run = read_lm_eval_run(log, job.task.scorer, "drop", metric=job.task.metric)
    except DataError as exc:  # it was paid for
        return replace(result, log=str(log), error=f"{type(exc).__name__}: {exc}")
    return replace(
        result,
        scores={question: {str(epoch): answers[0].value} for question, answers in run.scored.items()},
        unscored={question: why for question, why in run.missing.items() if question not in failed},
        scorer=run.scorer,
        metric=run.metric.name,
        seconds=run.seconds,
        log=str(log),
    )


def _join_epochs(job: EvalJob, parts: list[EvalResult]) -> EvalResult:
    """The epochs' results as one; its log is the first's."""
    if not parts:
        return EvalResult(job.key)
    scores: dict[str, dict[str, float]] = {}
    for part in parts:
        for question, by_epoch in part.scores.items():
            scores.setdefault(question, {}).update(by_epoch)
    dollars, cost = ([getattr(part, name) for part in parts] for name in ("dollars", "cost"))
    health = RunHealth().merge(*(RunHealth.from_metadata(part.health) for part in parts))
    return replace(
        parts[0],
        scores=scores,
        failed={question: why for part in parts for question, why in part.failed.items()},
        unscored={question: why for part in parts for question, why in part.unscored.items()},
        calls=sum(part.calls for part in parts),
        reused=sum(part.reused for part in parts),
        tokens=sum(part.tokens for part in parts),
        dollars=None if None in dollars else sum(dollars),
        cost=None if None in cost else sum(cost),
        seconds=sum(part.seconds for part in parts),
        lost=sum(part.lost for part in parts),
        error=next((part.error for part in parts if part.error), ""),
        scorer=next((part.scorer for part in parts if part.scorer), ""),
        metric=next((part.metric for part in parts if part.metric), ""),
        log=next((part.log for part in parts if part.log), ""),
        health=health.to_metadata(),
    )
