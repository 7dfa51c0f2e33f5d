"""Evaluates one architecture on one benchmark as a full Inspect eval, in a process of its own.

    result = run_job(job)                              # in this process, from its main thread only
    with WorkerProcess() as worker: worker.run(job)    # from any thread: evals run one after the other over there

Inspect's evals cannot run in threads, and the first in a process takes seconds to start; so a worker stays warm. It
ends when its parent does, whatever ends that, and everything it paid for is in the call store.
"""

import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from glob import escape
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import IO, Any

from archon_eval.errors import ArchonError, WorkerLostError
from archon_eval.search.config import TaskSpec

MAX_SAMPLES = 200
"""Questions that are asked at once at most; connections limit the calls."""


@dataclass(frozen=True, slots=True)
class EvalJob:
    """One eval."""

    key: str
    """Stage, number and task, unique in the search: `search/7/archon_eval/math`."""
    architecture: Mapping[str, Any] | None
    """As `load_architecture` reads it; None only to look at the task's questions."""
    task: TaskSpec
    questions: tuple[str | int, ...] = ()
    epochs: int = 1
    """Repetitions of each question."""
    first_epoch: int = 1
    """Whose draws the first repetition takes; equal calls of equal epochs are shared through the call store."""
    max_calls: int | None = None
    """Hard limit on paid calls of the eval."""
    max_dollars: float | None = None
    solver_args: tuple[tuple[str, Any], ...] = ()
    model_roles: tuple[tuple[str, str], ...] = ()
    prices: str | None = None
    log_dir: str = "logs"


@dataclass(frozen=True, slots=True)
class EvalResult:
    """What an eval said."""

    key: str
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Question -> epoch -> score, on the task's own scale. Questions without a score are not here."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Question -> why it has no score."""
    calls: int = 0
    """Model calls paid for."""
    reused: int = 0
    """Calls answered from the call store."""
    tokens: int = 0
    """Of all calls, reused ones too: what the architecture takes, whoever paid."""
    dollars: float | None = 0.0
    """Paid; None where a price or a usage is unknown."""
    cost: float | None = 0.0
    """Dollars of all calls, reused ones too: what the architecture costs."""
    seconds: float = 0.0
    log: str = ""
    error: str = ""
    """Why there is no result at all."""
    lost: int = 0
    """Answers that failed before they could give account of their calls."""
    judges: int = 0
    """Tokens of models in roles, e.g. a judge; neither in `tokens` nor in a budget."""


def run_job(job: EvalJob) -> EvalResult:
    """The eval, in this process; everything that goes wrong with it is in the result."""
    from inspect_ai import eval as inspect_eval

    from archon_eval._inspect_compat import PrerequisiteError, get_error_text
    from archon_eval.solvers.archon import archon

    budget = {"calls": job.max_calls, "dollars": job.max_dollars}
    given = {name: value for name, value in budget.items() if value is not None}
    args = {"architecture": dict(job.architecture or {}), **dict(job.solver_args)}
    args |= {"budget": {"eval": given}} if given else {}
    args |= {"prices": job.prices} if job.prices else {}
    try:
        logs = inspect_eval(
            job.task.name,
            model=None,
            model_roles=dict(job.model_roles) or None,
            task_args=dict(job.task.args),
            solver=archon(first_epoch=job.first_epoch, **args),
            sample_id=[escape(str(question)) for question in job.questions],
            epochs=job.epochs,
            fail_on_error=False,
            max_samples=min(MAX_SAMPLES, len(job.questions) * job.epochs),
            display="none",
            log_dir=job.log_dir,
            log_realtime=False,
            score_display=False,
            tags=["archon search", job.key],
        )
    except (ArchonError, PrerequisiteError, ValueError, TypeError, LookupError, OSError, RuntimeError) as exc:
        return EvalResult(job.key, error=f"{type(exc).__name__}: {get_error_text(exc)}")
    result = read_log(job, logs[0])
    return replace(result, log=_rename_log(result.log, job.key))


def read_log(job: EvalJob, log: Any) -> EvalResult:
    """The result of a finished eval's log."""
    from datetime import datetime

    from inspect_ai.scorer import value_to_float

    if log.status != "success" and not log.samples:
        return EvalResult(job.key, log=log.location, error=str(log.error.message if log.error else log.status))
    scores: dict[str, dict[str, float]] = {}
    failed: dict[str, str] = {}
    totals, again = _Totals(), _Totals()
    to_float = value_to_float()
    lost = 0
    for sample in log.samples or ():
        last = {} if sample.error else (sample.metadata or {}).get("archon", {})
        lost += not last
        for account in (*last.get("earlier_turns", ()), *([last] if last else ())):
            totals.add(account)
            again.add(account.get("reused", {}))
        value = next(iter((sample.scores or {}).values())).value if sample.scores else None
        if sample.error or not isinstance(value, str | int | float | bool):
            why = sample.error.message if sample.error else f"no single score, but {value!r}"
            failed[str(sample.id)] = str(why)[:500]
        elif not isfinite(number := to_float(value)):
            failed[str(sample.id)] = "unscored"
        else:
            scores.setdefault(str(sample.id), {})[str(sample.epoch)] = number
    seconds = 0.0
    if log.stats.started_at and log.stats.completed_at:
        took = datetime.fromisoformat(log.stats.completed_at) - datetime.fromisoformat(log.stats.started_at)
        seconds = took.total_seconds()
    paid = None if totals.dollars is None or again.dollars is None else max(0.0, totals.dollars - again.dollars)
    calls = totals.calls - again.calls
    judges = sum(usage.total_tokens for usage in log.stats.role_usage.values())
    return EvalResult(
        job.key,
        scores,
        failed,
        calls,
        again.calls,
        totals.tokens,
        paid,
        totals.dollars,
        seconds,
        log.location,
        lost=lost,
        judges=judges,
    )


def _rename_log(log: str, key: str) -> str:
    """The log's path with the name of its trial, which equal searches share; as it was where that is taken."""
    words = re.sub(r"[^\w.]+", "-", key, flags=re.ASCII).strip("-")[:100]
    path = Path(log)
    named = path.with_name(f"{words}-{sha256(key.encode()).hexdigest()[:6]}{path.suffix}")
    if named.exists():  # of an earlier attempt
        return log
    return str(path.rename(named))


@dataclass(slots=True)
class _Totals:
    """Sums over questions' accounts."""

    calls: int = 0
    tokens: int = 0
    dollars: float | None = 0.0

    def add(self, account: Mapping[str, Any]) -> None:
        self.calls += account.get("calls", 0)
        self.tokens += account.get("input_tokens", 0) + account.get("output_tokens", 0)
        more = account.get("dollars", 0.0)
        self.dollars = None if self.dollars is None or more is None else self.dollars + more


class WorkerProcess:
    """A warm process that runs jobs one after the other; `run` may be called from any thread, and waits its turn."""

    def __init__(self) -> None:
        self._request_lock, self._start_lock = threading.Lock(), threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] | None = None
        self._closed = False

    def run(self, job: EvalJob) -> EvalResult:
        """
        Raises:
            WorkerLostError: the process died, and the next job starts a new one; or the worker is closed.
        """
        return EvalResult(**self._send_request(asdict(job)))

    def _send_request(self, question: Mapping[str, Any]) -> dict[str, Any]:
        with self._request_lock:
            process = self._ensure_started()
            assert process.stdin and process.stdout
            try:
                process.stdin.write(json.dumps(question) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except BrokenPipeError:
                line = ""
            if not line.endswith("\n"):
                raise WorkerLostError(self._collect_exit_error())
            return dict(json.loads(line))

    def _ensure_started(self) -> "subprocess.Popen[str]":
        with self._start_lock:
            if self._closed:
                raise WorkerLostError("the worker is closed")
            if self._process is None:
                self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "archon_eval.search.trial_worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    text=True,
                    encoding="utf-8",
                    start_new_session=True,  # Ctrl-C reaches the search alone, which then ends its workers
                )
            return self._process

    def _collect_exit_error(self) -> str:
        process, errors = self._process, self._errors
        assert process and errors
        code = process.wait()
        errors.seek(0)
        said = errors.read()[-500:].decode(errors="replace").strip()
        self._reap()
        return f"a worker process ended with code {code}{': ' + said if said else ''}"

    def close(self) -> None:
        """End the process for good, also in the middle of an eval."""
        with self._start_lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()
        with self._request_lock:  # whoever waits for an answer has heard of the end
            self._reap()

    def _reap(self) -> None:
        with self._start_lock:
            if self._process is not None:
                self._process.wait()
                with suppress(BrokenPipeError):  # a question that it did not take
                    for stream in (self._process.stdout, self._errors, self._process.stdin):
                        if stream:
                            stream.close()
                self._process = None

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def parse_job(plain: Mapping[str, Any]) -> EvalJob:
    """A job from its plain mapping."""

    def pairs(items: Any) -> tuple[Any, ...]:
        return tuple((name, value) for name, value in items)

    task = dict(plain["task"])
    spec = TaskSpec(**{**task, "args": pairs(task["args"]), "scale": tuple(task["scale"])})
    changes = {"task": spec, "questions": tuple(plain["questions"])}
    changes |= {name: pairs(plain[name]) for name in ("solver_args", "model_roles")}
    return EvalJob(**{**plain, **changes})


def main() -> None:
    """Answer lines on stdin until it ends; what evals print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lines: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(1)  # the parent is gone: whatever is under way is nobody's any more

    threading.Thread(target=listen, daemon=True).start()
    while True:
        result = run_job(parse_job(json.loads(lines.get())))
        answers.write(json.dumps(asdict(result)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
