"""Runs each eval of a search in several workers at once, by its questions.

    submit = JobSplitter(run, shards=4)          # a `SubmitEval` in place of `run`
    submit(job).result()

The parts' logs become one, and the result is read from that, as from the log of one worker. A job's limits on calls and
dollars are divided by questions. A part that uses up its share is run again with what the others left; the call store,
which every search has, then has the replies that it had paid for.
"""

import shutil
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from archon_eval.errors import DataError
from archon_eval.models.usage_totals import sum_dollars
from archon_eval.runs.eval_worker import EvalJob, EvalResult, read_result, rename_log
from archon_eval.runs.executors import SubmitEval
from archon_eval.runs.log_folder import is_address, join_place
from archon_eval.runs.merge_logs import MergeRequest, merge_logs

_USED_UP = "is used up"
"""In the words of a `BudgetError`."""


class JobSplitter:
    """Divides jobs; one of fewer questions than shards has one part per question."""

    def __init__(self, submit: SubmitEval, shards: int) -> None:
        self._submit, self._shards = submit, shards

    def __call__(self, job: EvalJob) -> "Future[EvalResult]":
        """The job's result; the future raises what that of a part does."""
        parts = divide(job, self._shards)
        if len(parts) < 2:
            return self._submit(job)
        whole: Future[EvalResult] = Future()
        threading.Thread(target=self._run, args=(job, parts, whole), daemon=True).start()
        return whole

    def _run(self, job: EvalJob, parts: Sequence[EvalJob], whole: "Future[EvalResult]") -> None:
        folder = tempfile.mkdtemp(prefix="archon-parts-")
        try:
            running = [self._submit(replace(part, log_dir=folder)) for part in parts]
            errors = [error for future in running if (error := future.exception()) is not None]
            if errors:
                raise errors[0]
            results = [future.result() for future in running]
            whole.set_result(self._finish(job, parts, results, folder))
        except BaseException as exc:  # noqa: BLE001 (whoever asked must hear of it)
            whole.set_exception(exc)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _finish(self, job: EvalJob, parts: Sequence[EvalJob], results: list[EvalResult], folder: str) -> EvalResult:
        spent = [_measure_most(part, result) for part, result in zip(parts, results, strict=True)]
        paid = list(results)
        """With what all runs of a part have paid."""
        for number, part in enumerate(parts):
            first = results[number]
            calls, dollars = _find_left(job, spent)
            is_used_up = any(_USED_UP in why for why in first.failed.values())
            if not is_used_up or calls == 0 or dollars == 0:
                continue
            again = replace(part, key=f"{part.key} again", max_calls=calls, max_dollars=dollars, log_dir=folder)
            results[number] = self._submit(again).result()
            paid[number] = _count_both_runs(part, first, results[number])
            spent[number] = spent[number].add(_measure_most(again, results[number]))
        broken = next((result for result in results if not result.log), None)
        whole = broken if broken is not None else join_logs(job, [result.log for result in results])
        seconds = max(result.seconds for result in results)
        if broken is None and paid == results:
            return replace(whole, seconds=seconds)
        judge_calls, judge_reused = [result.judge_calls for result in paid], sum(result.judge_reused for result in paid)
        return replace(
            whole,
            key=job.key,
            calls=sum(result.calls for result in paid),
            reused=sum(result.reused for result in paid),
            dollars=sum_dollars(result.dollars for result in paid),
            judge_calls=None if None in judge_calls else sum(calls or 0 for calls in judge_calls),
            judge_dollars=sum_dollars(result.judge_dollars for result in paid),
            judge_reused=judge_reused,
            judge_unknown=next((result.judge_unknown for result in paid if result.judge_unknown), ""),
            seconds=seconds,
        )


def divide(job: EvalJob, shards: int) -> list[EvalJob]:
    """The job's parts, of every n-th question each, with their shares of its limits.

    >>> job = EvalJob("trial", {}, None, questions=(1, 2, 3, 4, 5), max_calls=11)
    >>> [(part.questions, part.max_calls) for part in divide(job, 2)]
    [((1, 3, 5), 6), ((2, 4), 5)]
    """
    total = len(job.questions)
    if job.task is not None and job.task.harness != "inspect":
        raise DataError(f"a task of lm-eval ({job.task.name}) runs in one process")
    groups = [job.questions[start::shards] for start in range(min(shards, total))]
    parts, before = [], 0
    for number, group in enumerate(groups, 1):
        after = before + len(group)
        calls = job.max_calls and job.max_calls * after // total - job.max_calls * before // total
        dollars = job.max_dollars and job.max_dollars * len(group) / total
        name = f"{job.key} part {number} of {len(groups)}"
        parts.append(replace(job, key=name, questions=group, max_calls=calls, max_dollars=dollars))
        before = after
    return [job] if any(part.max_calls == 0 for part in parts) else parts


class _Spent(NamedTuple):
    """The most that runs of a part may have taken."""

    calls: int
    dollars: float | None
    """None where it is unknown."""

    def add(self, other: "_Spent") -> "_Spent":
        return _Spent(self.calls + other.calls, sum_dollars((self.dollars, other.dollars)))


def _measure_most(part: EvalJob, result: EvalResult) -> _Spent:
    """What failed answers took is unknown, so a part with some has taken all that it might."""
    if not result.lost:
        return _Spent(result.calls, result.dollars)
    return _Spent(part.max_calls or 0, part.max_dollars)


def _find_left(job: EvalJob, spent: Sequence[_Spent]) -> tuple[int | None, float | None]:
    """Calls and dollars of a job's limits that are not spent; None where there is no limit."""
    dollars = sum_dollars(each.dollars for each in spent)
    return (
        None if job.max_calls is None else max(0, job.max_calls - sum(each.calls for each in spent)),
        None if job.max_dollars is None else 0.0 if dollars is None else max(0.0, job.max_dollars - dollars),
    )


def _count_both_runs(part: EvalJob, first: EvalResult, again: EvalResult) -> EvalResult:
    """The second run's result, with what the first had paid and the second found in the call store."""
    others = first.reused if part.max_calls is None else max(first.reused, again.reused - part.max_calls)
    both = again.count_reused_as_paid(others)
    if part.max_dollars is None or both.dollars is None or again.dollars is None:
        return both
    return replace(both, dollars=min(both.dollars, part.max_dollars + again.dollars))


def join_logs(job: EvalJob, logs: Sequence[str]) -> EvalResult:
    """The result of a job whose questions were asked in several evals; their logs become one in the job's folder.

    Raises:
        DataError: a log cannot be read, or the whole not written.
    """
    from inspect_ai.log import EvalLog, EvalStats, read_eval_log, write_eval_log

    task = _load_task(job)
    first = read_eval_log(logs[0], header_only=True)
    asked = {str(id) for id in job.questions}
    first.eval.dataset.sample_ids = [sample.id for sample in task.dataset if str(sample.id) in asked]
    first.eval.config.sample_id = [str(id) for id in job.questions]
    with tempfile.TemporaryDirectory() as scratch:
        start, place = Path(scratch) / "start.eval", join_place(job.log_dir, Path(logs[0]).name)
        began = EvalStats(started_at=first.stats.started_at)
        header = EvalLog(version=first.version, eval=first.eval, plan=first.plan, stats=began, samples=[])
        write_eval_log(header, str(start))
        merge_logs(SimpleNamespace(task=task, score=True), MergeRequest(str(start), logs, place))
    result = read_result(job, read_eval_log(place))
    return result if is_address(place) else replace(result, log=rename_log(place, job.key))


def _load_task(job: EvalJob) -> Any:
    from archon_eval._inspect_compat import load_task_spec

    return load_task_spec(job.task.name, dict(job.task.args))[0]
