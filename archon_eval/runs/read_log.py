"""Reads finished evals, any log of Inspect or of lm-eval; calls, layers and notes are there where an architecture
answered.

run = read_run("logs/2026-11-20_math.eval")
runs = read_runs("logs")
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from archon_eval.errors import DataError
from archon_eval.models.usage_totals import UsageTotals
from archon_eval.runs.account import QuestionAccount
from archon_eval.runs.answer_usage import AnswerUsage, read_answer_usages
from archon_eval.runs.benchmark_run import BenchmarkQuestion, MissingPolicy, Run, merge_runs
from archon_eval.runs.judges import collect_judges, has_live_judgments, hash_setup
from archon_eval.runs.layer_health import RETRIED, RunHealth
from archon_eval.runs.log_folder import describe_source
from archon_eval.runs.metrics import Declaration, choose_metric, find_declaration
from archon_eval.runs.prompts import join_epochs
from archon_eval.runs.read_lm_eval import (
    find_lm_eval_logs,
    is_lm_eval_file,
    is_results_file,
    list_samples,
    read_lm_eval_run,
)
from archon_eval.runs.records import AnswerRecord, build_records, check_scorer, choose_scorer
from archon_eval.runs.shard_parts import SHARD_FOLDER
from archon_eval.runs.stage_usage import summarize_stages
from archon_eval.runs.usage import average_usages, reload_architecture, summarize_layers
from archon_eval.stats.metrics import ScoredAnswer

GROUP_KEYS = ("benchmark", "subject", "category", "part", "dataset")
"""Sample metadata that names a sub-benchmark; the first that a task has counts."""


def find_logs(path: str | os.PathLike[str]) -> list[Path]:
    """The logs at a path: a file, or all in a folder and the folders in it, oldest first.

    A log is Inspect's, or the samples of a task of lm-eval; lm-eval's results stand for those of all of their tasks.

    Raises:
        DataError: nothing is there, or no log.
    """
    place = Path(path)
    if place.is_file():
        return list_samples(place) if is_results_file(place) else [place]
    if not place.is_dir():
        near = get_close_matches(place.name, [neighbour.name for neighbour in place.parent.glob("*")], n=1)
        hint = f"; did you mean {place.with_name(near[0])}?" if near else ""
        raise DataError(f"{place}: no such log or folder of logs{hint}")
    files = (file for suffix in ("*.eval", "*_*_*.json") for file in place.rglob(suffix))
    logs = sorted(file for file in files if SHARD_FOLDER not in file.relative_to(place).parts)
    logs = [log for log in logs if not is_lm_eval_file(log)] + find_lm_eval_logs(place)
    if not logs:
        raise DataError(f"{place}: no Inspect log (*.eval) and no results of lm-eval (results_*.json) in this folder")
    return logs


def has_logs(path: str | os.PathLike[str]) -> bool:
    """Whether there is a log at a path."""
    try:
        return bool(find_logs(path))
    except DataError:
        return False


def find_single_log(path: str | os.PathLike[str]) -> Path:
    """The log at a path: a file, or the one in a folder.

    Raises:
        DataError: nothing is there, or several.
    """
    logs = find_logs(path)
    if len(logs) > 1:
        raise DataError(f"{path}: {len(logs)} logs; name one, such as {logs[-1]}")
    return logs[0]


def read_runs(
    path: str | os.PathLike[str],
    scorer: str | None = None,
    missing: MissingPolicy = "error",
    *,
    metric: str | None = None,
    ignore_prompts: bool = False,
    problems: list[str] | None = None,
    seen: set[Path] | None = None,
    names: Mapping[Path, str] = {},
    on_log: Callable[[], None] = lambda: None,
) -> list[Run]:
    """The runs at a path, by task and name; logs of one system become one run where `merge_alike` says so.

    Args:
        ignore_prompts: as for `read_run`.
        problems: gets the reason for each log in a folder that cannot be used and is left out; None makes it an error.
        seen: files that were read before and are passed over; gets those that are read now.
        names: resolved path of a log -> the name of its run, where it is not the log's own.
        on_log: called before each log is read.

    Raises:
        DataError: as `find_logs` and `read_run`.
    """
    runs: list[Run] = []
    for file in find_logs(path):
        on_log()
        if seen is not None:
            if file.resolve() in seen:
                continue
            seen.add(file.resolve())
        try:
            run = read_run(file, scorer, missing, metric=metric, ignore_prompts=ignore_prompts)
            runs.append(replace(run, name=names.get(file.resolve(), run.name)))
        except DataError as exc:
            if problems is None or not Path(path).is_dir():
                raise
            problems.append(str(exc))
    return sorted(merge_alike(runs), key=identify_system)


def identify_system(run: Run) -> tuple[Any, ...]:
    """What logs have in common that are further epochs of one run: the task, the system and the judges."""
    return (run.task, run.name, run.fingerprint, run.setup, run.judges)


def merge_alike(runs: Sequence[Run]) -> list[Run]:
    """Runs of one system as one run with more epochs, where they are scored alike and of the same questions.

    One that has only some of the questions is joined too, and `Run.merge_note` says so. Runs that overlap in part or
    not at all stay apart, as do those of another version, scorer or judge; the later one's note says why.
    """
    merged: dict[int, Run] = {}  # by the place of the first of its logs
    for place in sorted(range(len(runs)), key=lambda place: -len(runs[place].questions)):  # then no order matters
        run, reasons = runs[place], list[str]()
        for first, other in merged.items():
            if identify_system(run) != identify_system(other):
                continue
            if not (why := _explain_separation(other, run)):
                del merged[first]
                merged[min(first, place)] = merge_runs(other, run)
                break
            reasons.append(f"Not joined with {other.source}, which is of the same system: {why}.")
        else:
            new = [reason for reason in reasons if reason not in run.merge_note]
            merged[place] = replace(run, merge_note=" ".join(filter(None, [run.merge_note, *new])))
    return [merged[place] for place in sorted(merged)]


def _explain_separation(larger: Run, other: Run) -> str:
    """Why two runs of a system are no epochs of one run; empty where they are."""
    shared = len(larger.questions.keys() & other.questions.keys())
    if shared < len(other.questions):
        return (
            f"its questions are {len(larger.questions)} and these {len(other.questions)}, of which both have "
            f"{shared or 'none'}"
        )
    return larger.find_incompatibility(other)


def read_run(
    path: str | os.PathLike[str],
    scorer: str | None = None,
    missing: MissingPolicy = "error",
    *,
    metric: str | None = None,
    ignore_prompts: bool = False,
) -> Run:
    """One finished log.

    Args:
        path: of Inspect's log, or of a file of lm-eval (see `archon_eval.runs.read_lm_eval`).
        scorer: which of several scorers counts, `NAME` or `NAME/KEY` for one that gives several values.
        missing: what a sample without a score does: error, drop its question, or count as zero. A score that is no
            number never counts as zero: there it is an error.
        metric: which of the scorer's metrics counts; None for the benchmark's own (`archon_eval.runs.metrics`).
        ignore_prompts: whether it may be compared with a run that was asked with other prompts.

    Raises:
        DataError: an unreadable or unfinished log, a damaged account, no such scorer or metric, or scores missing;
            names the log.
    """
    if is_lm_eval_file(Path(path)):
        run = read_lm_eval_run(path, scorer, missing, metric=metric)
        return replace(run, ignores_prompts=ignore_prompts)
    log, samples = _open_finished_log(path)
    chosen = choose_scorer(samples, scorer)
    declaration = find_declaration(log, chosen)
    try:
        check_scorer(samples, chosen)
        records = build_records(samples, chosen, declaration)
        usages = read_answer_usages(path, log)
    except DataError as exc:
        raise DataError(f"{path}: {exc}") from exc
    problems = {record.question: record.problem for record in records if record.problem}
    if problems and missing == "error":
        question, why = next(iter(problems.items()))
        raise DataError(
            f"{path}: {len(problems)} of {len({record.question for record in records})} questions have no score; "
            f"{question}: {why} (--missing drop leaves them out, --missing zero counts them as wrong)"
        )
    if missing == "zero" and (found := next((record for record in records if record.unreadable), None)):
        raise DataError(
            f"{path}: {found.question}: {found.problem}, which --missing zero does not count as wrong "
            "(--missing drop leaves the question out)"
        )
    try:
        scored = _collect_answers(samples, records, missing, declaration=declaration)
        choice = choose_metric(log, chosen, scored, metric)
    except DataError as exc:
        raise DataError(f"{path}: {exc}") from exc
    turns = [account for usage in usages for account in usage.accounts]
    average = average_usages([usage for usage, record in zip(usages, records, strict=True) if not record.failed])
    last = turns[-1] if turns else None
    fingerprint = last.fingerprint if last else ""
    group = next((key for key in GROUP_KEYS if all((s.metadata or {}).get(key) for s in samples)), "")
    return Run(
        name=(last.architecture if last else "") or _name_system(log),
        task=str(log.eval.task),
        scorer=chosen,
        questions=_build_questions(samples, usages, group),
        scored=scored,
        metric=choice.metric,
        headline=choice.headline,
        metric_note=choice.note,
        missing=problems,
        answers={str(sample.id): sample.output.completion for sample in reversed(samples) if sample.output.choices},
        cost=average.cost,
        unknown_costs=average.unknown_costs,
        cost_by_model=average.cost_by_model,
        usage=UsageTotals.add_up(usage.total for usage in usages),
        seconds=measure_seconds(log),
        layers=summarize_layers(
            [account for account in turns if account.fingerprint == fingerprint],
            reload_architecture(log, fingerprint),
            questions=sum(any(a.fingerprint == fingerprint for a in usage.accounts) for usage in usages),
        ),
        stages=summarize_stages(account for account in turns if account.fingerprint == fingerprint),
        notes=_count_notes(turns, records),
        judges=collect_judges(log, samples, chosen),
        judged_anew=has_live_judgments(log, samples, chosen),
        version=str(log.eval.task_version),
        fingerprint=fingerprint,
        setup=hash_setup(log),
        log=describe_source(path),
        health=_collect_health(usages),
        ignores_prompts=ignore_prompts,
    )


def _collect_health(usages: Sequence[AnswerUsage]) -> RunHealth:
    """Of all architectures in the log, and of the replies of all other models that the log's events show."""
    health = RunHealth.from_accounts(account for usage in usages for account in usage.accounts)
    notes = sum((Counter(usage.notes) for usage in usages), Counter({RETRIED: sum(u.retried for u in usages)}))
    other = UsageTotals.add_up(totals for usage in usages for totals in usage.other.values())
    return health.merge(RunHealth(replies=other.calls, notes=+notes))


def _count_notes(turns: Sequence[QuestionAccount], records: Sequence[AnswerRecord]) -> dict[str, int]:
    """The notes of the accounts, and `answer STATUS` for answers that the scorer could not read."""
    counts = sum((Counter(account.notes) for account in turns), Counter[str]())
    return dict(counts + Counter(f"answer {record.status}" for record in records if record.status))


def _collect_answers(
    samples: Sequence[Any], records: Sequence[AnswerRecord], missing: MissingPolicy, *, declaration: Declaration
) -> dict[str, tuple[ScoredAnswer, ...]]:
    """Question -> answer of each epoch; a question that lacks one counts as the policy says."""
    answers: dict[str, list[ScoredAnswer]] = {}
    lacking = set[str]()
    for sample, record in zip(samples, records, strict=True):
        answer = record.answer
        if answer is None and missing == "zero":
            try:
                answer = declaration.build_lost_answer(sample.metadata or {})
            except DataError as exc:
                raise DataError(f"{record.question}: {exc}; --missing drop leaves the question out") from exc
        if answer is None:
            lacking.add(record.question)
        else:
            answers.setdefault(record.question, []).append(answer)
    return {question: tuple(values) for question, values in answers.items() if question not in lacking}


def measure_seconds(log: Any) -> float:
    """From an eval's start to its end; 0 where the log does not say."""
    start, end = log.stats.started_at, log.stats.completed_at
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() if start and end else 0.0


def open_log(path: str | os.PathLike[str]) -> Any:
    """A log as Inspect has it, without events and messages, finished or not.

    Raises:
        DataError: it is not there or damaged.
    """
    from inspect_ai.log import read_eval_log

    try:
        log = read_eval_log(str(path), exclude_fields={"events", "events_data", "store", "timelines", "messages"})
    except Exception as exc:  # a damaged log fails in any layer: zip, zstd, zlib, JSON, schema
        raise DataError(f"{path}: not readable as an Inspect log: {type(exc).__name__}: {exc}") from exc
    return log


def read_architecture_name(path: str | os.PathLike[str]) -> str:
    """The name of the architecture that a log's header has; empty where it has none.

    Raises:
        DataError: it is not there or damaged.
    """
    from inspect_ai.log import read_eval_log

    try:
        header = read_eval_log(str(path), header_only=True).eval
        given = (header.solver_args or header.model_args or {}).get("architecture")
    except Exception as exc:  # as in `open_log`
        raise DataError(f"{path}: not readable as an Inspect log: {type(exc).__name__}: {exc}") from exc
    return str(given.get("name", "")) if isinstance(given, dict) else ""


def _open_finished_log(path: str | os.PathLike[str]) -> tuple[Any, list[Any]]:
    log = open_log(path)
    if log.status != "success":
        raise DataError(f"{path}: the eval did not finish (status {log.status}): {_find_first_error(log)}")
    if not log.samples:
        raise DataError(f"{path}: no samples in this log")
    return log, list(log.samples)


def _find_first_error(log: Any) -> str:
    """Why it did not finish; samples that were only cancelled with it say nothing."""
    errors = [error.message for error in (log.error, *(sample.error for sample in log.samples or ())) if error]
    return str(next((message for message in errors if "Cancelled" not in message), "no reason given"))


def _build_questions(samples: Sequence[Any], usages: Sequence[AnswerUsage], group: str) -> dict[str, BenchmarkQuestion]:
    questions = {str(sample.id): _build_question(sample, group) for sample in samples}
    prompts: dict[str, list[tuple[str, ...]]] = {}
    for sample, usage in zip(samples, usages, strict=True):
        if not sample.error:
            prompts.setdefault(str(sample.id), []).append(usage.prompt)
    return {id: replace(question, prompt=join_epochs(prompts.get(id, ()))) for id, question in questions.items()}


def _build_question(sample: Any, group: str) -> BenchmarkQuestion:
    text = sample.input if isinstance(sample.input, str) else "\n\n".join(f"{m.role}: {m.text}" for m in sample.input)
    choices = [f"({chr(65 + number)}) {choice}" for number, choice in enumerate(sample.choices or ())]
    target = sample.target if isinstance(sample.target, str) else " | ".join(sample.target)
    return BenchmarkQuestion("\n".join([text, *choices]), target, str(sample.metadata[group]) if group else "")


def _name_system(log: Any) -> str:
    """The model, with the solver around it, where no architecture gives its name."""
    solver = "" if log.eval.solver in (None, "generate") else f", {log.eval.solver}"
    return f"{log.eval.model}{solver}" if log.eval.model != "none/none" else str(log.eval.solver)
