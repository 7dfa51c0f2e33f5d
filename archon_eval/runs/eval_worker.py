"""Runs one eval of an architecture from a program, as a job: the questions, their scores, and what the calls took.

    result = run_job(job)                       # in this process, from its main thread only

Inspect's evals cannot run in threads, and the first in a process takes seconds to start: see `WorkerProcess`.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from glob import escape
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from archon_eval.errors import ArchonError, DataError
from archon_eval.models.prices import load_prices
from archon_eval.models.usage_totals import UsageTotals
from archon_eval.runs.account import QuestionAccount
from archon_eval.runs.answer_usage import read_answer_usages
from archon_eval.runs.door import Door
from archon_eval.runs.judge_usage import read_judge_usage
from archon_eval.runs.layer_health import RunHealth
from archon_eval.runs.log_folder import LogFolder, is_address
from archon_eval.runs.metrics import choose_metric, find_declaration, find_declaring_scorer
from archon_eval.runs.read_log import measure_seconds, open_log
from archon_eval.runs.records import AnswerRecord, build_records, choose_scorer
from archon_eval.stats.metrics import ScoredAnswer

MAX_SAMPLES = 200
"""Questions that are asked at once at most; connections limit the calls."""
SEARCH_TAG = "archon search"
"""A tag of the logs of a search's evals; the other one is the job's key."""


class TaskReference(Protocol):
    """A benchmark with its parameters."""

    @property
    def name(self) -> str:
        """As Inspect finds it: `archon_eval/math`, `my_tasks.py@name`."""
        ...

    @property
    def args(self) -> tuple[tuple[str, Any], ...]:
        """Task parameters (`-T`)."""
        ...

    @property
    def scorer(self) -> str | None:
        """Which scorer counts; None for the first."""
        ...

    @property
    def metric(self) -> str | None:
        """Which of its metrics counts; None for the benchmark's own."""
        ...

    @property
    def harness(self) -> str:
        """Whose task it is: `inspect` or `lm-eval`."""
        ...


@dataclass(frozen=True, slots=True)
class EvalTask:
    """The benchmark of a job that was read from JSON."""

    name: str
    args: tuple[tuple[str, Any], ...] = ()
    scorer: str | None = None
    metric: str | None = None
    harness: str = "inspect"


@dataclass(frozen=True, slots=True)
class EvalJob:
    """One eval."""

    key: str
    """Stage, number and task, unique in the search: `search/7/archon_eval/math`."""
    architecture: Mapping[str, Any] | None
    """As `load_architecture` reads it; None only to look at the task's questions."""
    task: TaskReference
    questions: tuple[str | int, ...] = ()
    epochs: int = 1
    """Sets of draws with which each question is asked."""
    first_epoch: int = 1
    """The epoch whose draws the first set is; equal calls of equal epochs are shared by the call store."""
    last_draws: int = 1
    """Answers with each set of draws: they share all layers before the last that asks a model, and are epochs of the
    harness, those of the first set first."""
    max_calls: int | None = None
    """Hard limit on paid calls of the eval."""
    max_dollars: float | None = None
    solver_args: tuple[tuple[str, Any], ...] = ()
    model_roles: tuple[tuple[str, str], ...] = ()
    prices: str | None = None
    log_dir: str = "logs"
    door: Door = "solver"
    """How the architecture answers; `solver_args` are then those of the model."""

    def __post_init__(self) -> None:
        for name in ("epochs", "first_epoch", "last_draws"):
            if type(value := getattr(self, name)) is not int or value < 1:
                raise DataError(f"eval {self.key}: {name} must be a whole number from 1, not {value!r}")


@dataclass(frozen=True)
class EvalResult:
    """What came of an eval."""

    key: str
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Question -> epoch of the harness -> score, on the task's own scale. Questions without a score are not here."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Question -> why one of its answers failed, by an error of a call, say, so that there was nothing to score."""
    calls: int = 0
    """Model calls paid for."""
    reused: int = 0
    """Calls answered from the call store."""
    tokens: int = 0
    """Of all calls, reused ones too."""
    dollars: float | None = 0.0
    """Paid; None where a price or a usage is unknown."""
    cost: float | None = 0.0
    """Dollars of all calls, reused ones too: what the architecture costs."""
    seconds: float = 0.0
    """From the eval's start to its end."""
    log: str = ""
    """Its path."""
    error: str = ""
    """Why there is no result at all."""
    lost: int = 0
    """Answers whose calls are unknown, because they failed before their account was complete."""
    judges: int = 0
    """Tokens of models in roles, e.g. a judge; not in `tokens`."""
    judge_calls: int | None = None
    """Calls of judges that were paid, in no other count; None where they are unknown."""
    judge_dollars: float | None = None
    """Dollars of these; None where they are unknown."""
    judge_reused: int = 0
    """Judges' replies that the call store had."""
    judge_unknown: str = ""
    """Why one of the two is None; empty also where an earlier version did not count them, or there is no log."""
    scorer: str = ""
    """Whose scores these are; empty in records of earlier versions."""
    declared_by: str = ""
    """The scorer of `archon_eval.runs.metrics.DECLARED` that declares the metric; empty where none does."""
    metric: str = ""
    """The name of the figure that counts; empty in records of earlier versions, whose figure is the mean of scores."""
    details: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Question -> epoch -> `weight` and `facts` of its score, where the metric reads more than the score."""
    unscored: Mapping[str, str] = field(default_factory=dict)
    """Question -> which scorer gave which value that is no number for one of its answers."""
    health: Mapping[str, Any] = field(default_factory=dict)
    """What `RunHealth.from_metadata` reads: which layers worked. Empty where it was not counted."""

    def count_reused_as_paid(self, shared: int = 0) -> "EvalResult":
        """The result of an eval that a lost attempt had begun: what it found in the call store, that one had paid.

        Args:
            shared: calls that other evals had paid for.
        """
        shared = min(self.reused, shared)
        paid = self.calls + self.reused - shared
        own = paid / max(1, self.calls + self.reused)
        calls, dollars, unknown = self.judge_calls, self.judge_dollars, self.judge_unknown
        if self.judge_reused and calls is not None:
            if calls and dollars is not None:
                dollars *= (calls + self.judge_reused) / calls
            elif dollars is not None:
                dollars, unknown = None, "what judges' replies took that a lost attempt had paid"
            calls += self.judge_reused
        return replace(
            self,
            calls=paid,
            reused=shared,
            dollars=None if self.cost is None else max(self.dollars or 0.0, own * self.cost),
            judge_calls=calls,
            judge_dollars=dollars,
            judge_reused=0,
            judge_unknown=unknown,
        )

    @cached_property
    def answers(self) -> dict[str, dict[int, ScoredAnswer]]:
        """Question -> epoch -> scored answer, by question, so that sums do not depend on the way here."""
        return {
            question: {
                int(epoch): ScoredAnswer(value, **self.details.get(question, {}).get(epoch, {}))
                for epoch, value in by_epoch.items()
            }
            for question, by_epoch in sorted(self.scores.items())
        }


def run_job(job: EvalJob) -> EvalResult:
    """The eval, in this process; everything that goes wrong with it is in the result."""
    if is_address(job.log_dir):
        return _run_with_remote_logs(job)
    if job.task.harness == "lm-eval":
        from archon_eval.integrations.lm_eval_job import run_lm_eval_job

        return run_lm_eval_job(job)
    from inspect_ai import eval as inspect_eval

    from archon_eval._inspect_compat import PrerequisiteError, get_error_text

    limits = {"calls": job.max_calls, "dollars": job.max_dollars}
    budget = {name: value for name, value in limits.items() if value is not None}
    args = {"architecture": dict(job.architecture or {}), "epoch_offset": job.first_epoch - 1, **dict(job.solver_args)}
    args |= {"last_draws": job.last_draws} if job.last_draws > 1 else {}
    args |= {"budget": {"eval": budget}} if budget else {}
    args |= {"prices": job.prices} if job.prices else {}
    epochs = job.epochs * job.last_draws
    try:
        logs = inspect_eval(
            job.task.name,
            **_build_answerer(job, args),
            model_roles=dict(job.model_roles) or None,
            task_args=dict(job.task.args),
            sample_id=[escape(str(question)) for question in job.questions],
            epochs=epochs,
            fail_on_error=False,
            max_samples=min(MAX_SAMPLES, len(job.questions) * epochs),
            display="none",
            log_dir=job.log_dir,
            log_realtime=False,
            score_display=False,
            tags=[SEARCH_TAG, job.key],
        )
    except (ArchonError, PrerequisiteError, ValueError, TypeError, LookupError, OSError, RuntimeError) as exc:
        return EvalResult(job.key, error=f"{type(exc).__name__}: {get_error_text(exc)}")
    try:
        result = read_result(job, logs[0])
    except DataError as exc:  # it was paid for, and its log is all there is of it
        result = EvalResult(job.key, log=logs[0].location, error=f"{type(exc).__name__}: {exc}")
    return replace(result, log=rename_log(result.log, job.key))


def _run_with_remote_logs(job: EvalJob) -> EvalResult:
    """The eval with logs in a folder of its own, which go to the address whole."""
    with TemporaryDirectory(prefix="archon-logs-") as folder:
        result = run_job(replace(job, log_dir=folder))
        try:
            places = LogFolder(job.log_dir).add_all(Path(folder))
        except Exception as exc:  # noqa: BLE001 (whatever a file system raises: it was paid for)
            error = f"{type(exc).__name__}: {exc}" if not result.error else result.error
            return replace(result, scores={}, log="", error=error)
        return replace(result, log=places.get(os.path.relpath(result.log, folder), "") if result.log else "")


def _build_answerer(job: EvalJob, args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of Inspect's `eval` by which the architecture answers.

    Raises:
        PrerequisiteError: one of its own arguments is wrong.
    """
    if job.door == "model":
        from inspect_ai.model import GenerateConfig, get_model

        name = (job.architecture or {}).get("name") or "architecture"
        connections = GenerateConfig(max_connections=MAX_SAMPLES)  # its models have their own limits
        # of its own for each eval: it holds the eval's budget
        return {"model": get_model(f"archon/{name}", config=connections, memoize=False, **args)}
    from archon_eval.solvers.archon import archon

    return {"model": None, "solver": archon(**args)}


def read_result(job: EvalJob, log: Any) -> EvalResult:
    """The result of a job's log, also of one that broke off.

    A score that is no number is never left out: its question is among the unscored ones.

    Raises:
        DataError: an account in the log cannot be read.
    """
    if log.status != "success" and not log.samples:
        return EvalResult(job.key, log=log.location, error=str(log.error.message if log.error else log.status))
    samples = log.samples or ()
    scores: dict[str, dict[str, float]] = {}
    details: dict[str, dict[str, dict[str, Any]]] = {}
    failed: dict[str, str] = {}
    unscored: dict[str, str] = {}
    usages: list[UsageTotals] = []
    turns: list[QuestionAccount] = []
    scorer = choose_scorer(samples, job.task.scorer)
    records = build_records(samples, scorer, find_declaration(log, scorer))
    for record, accounts in zip(records, _read_accounts(job, log, records), strict=True):
        if accounts and not record.failed:
            usages.append(UsageTotals.add_up(account.usage for account in accounts))
        turns += accounts
        if record.answer is None:
            (failed if record.failed else unscored)[record.question] = record.problem[:500]
        else:
            answer, epoch = record.answer, str(record.epoch)
            scores.setdefault(record.question, {})[epoch] = answer.value
            if answer.weight != 1 or answer.facts:
                facts = {"weight": answer.weight, "facts": dict(answer.facts)}
                details.setdefault(record.question, {})[epoch] = facts
    usage, judging = UsageTotals.add_up(usages), read_judge_usage(samples, load_prices(job.prices))
    answers = {q: [ScoredAnswer(v, **details.get(q, {}).get(e, {})) for e, v in by.items()] for q, by in scores.items()}
    metric = choose_metric(log, scorer, answers, job.task.metric).metric.name if answers else ""
    return EvalResult(
        key=job.key,
        scores=scores,
        failed=failed,
        unscored=unscored,
        scorer=scorer,
        error=_find_failed_figures(log),
        declared_by=find_declaring_scorer(log, scorer),
        metric=metric,
        details=details,
        calls=usage.paid_calls,
        reused=usage.reused_calls,
        tokens=usage.tokens,
        dollars=usage.paid_dollars,
        cost=usage.dollars,
        seconds=measure_seconds(log),
        log=log.location,
        lost=len(samples) - len(usages),
        judges=sum(used.total_tokens for used in log.stats.role_usage.values()),
        judge_calls=judging.calls,
        judge_dollars=judging.dollars,
        judge_reused=judging.reused,
        judge_unknown=judging.unknown,
        health=RunHealth.from_accounts(turns).to_metadata() if turns else {},
    )


def _read_accounts(job: EvalJob, log: Any, records: Sequence[AnswerRecord]) -> list[tuple[QuestionAccount, ...]]:
    """The accounts of every answer; through the model's door a task may have asked several times for one."""
    if job.door == "solver":
        return [record.accounts for record in records]
    return [usage.accounts for usage in read_answer_usages(log.location, log)]


def _find_failed_figures(log: Any) -> str:
    """Why an eval failed after all of its answers were scored, in its metrics; empty where it did not."""
    if log.status != "error" or log.results is not None or not all(sample.scores for sample in log.samples or ()):
        return ""
    why = str(log.error.message) if log.error else "no reason given"
    return f"the figures of the eval could not be computed: {why}"


def reread_scores(result: EvalResult, path: Path, task: TaskReference | None = None) -> EvalResult:
    """A result with its scores as this version reads them from its log; what was paid stays as it was counted.

    Raises:
        DataError: the log cannot be read.
    """
    again = read_result(EvalJob(result.key, None, task or EvalTask("")), open_log(path))
    names = ("scores", "failed", "unscored", "scorer", "declared_by", "metric", "details")
    return replace(result, **{name: getattr(again, name) for name in names})


def rename_log(log: str, key: str) -> str:
    """The log's path with the name of its trial, which equal searches share; as it was where that is taken."""
    words = re.sub(r"[^\w.]+", "-", key, flags=re.ASCII).strip("-")[:100]
    path = Path(log)
    named = path.with_name(f"{words}-{sha256(key.encode()).hexdigest()[:6]}{path.suffix}")
    if named.exists():  # of an earlier attempt
        return log
    return str(path.rename(named))


def parse_job(plain: Mapping[str, Any]) -> EvalJob:
    """A job from its plain mapping."""

    def to_pairs(items: Any) -> tuple[Any, ...]:
        return tuple((name, value) for name, value in items)

    task = EvalTask(
        plain["task"]["name"],
        to_pairs(plain["task"]["args"]),
        plain["task"].get("scorer"),
        plain["task"].get("metric"),
        plain["task"].get("harness", "inspect"),
    )
    changes = {"task": task, "questions": tuple(plain["questions"])}
    changes |= {name: to_pairs(plain[name]) for name in ("solver_args", "model_roles")}
    return EvalJob(**{**plain, **changes})


def answer_job(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a plain mapping's job, as a plain mapping."""
    return asdict(run_job(parse_job(plain)))
