"""Reads Inspect's logs: any will do; calls, layers and notes are there where an architecture answered.

run = read_run("logs/2026-11-20_math.eval")
runs = read_runs("logs")
"""

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from statistics import fmean
from typing import Any

from archon_eval.architecture.spec import Architecture
from archon_eval.errors import ArchonError, DataError, did_you_mean
from archon_eval.runs.judges import collect_judges, has_live_judgments, hash_setup
from archon_eval.runs.run import COST_NAMES, BenchmarkQuestion, LayerUsage, MissingPolicy, Run

GROUP_KEYS = ("benchmark", "subject", "category", "part", "dataset")
"""Sample metadata that names a sub-benchmark; the first that a task has counts."""
LETTER_VALUES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}


def find_logs(path: str | os.PathLike[str]) -> list[Path]:
    """The logs at a path: a file, or all in a folder and the folders in it, oldest first.

    Raises:
        DataError: nothing is there, or no log.
    """
    place = Path(path)
    if place.is_file():
        return [place]
    if not place.is_dir():
        near = get_close_matches(place.name, [one.name for one in place.parent.glob("*")], n=1)
        hint = f"; did you mean {place.with_name(near[0])}?" if near else ""
        raise DataError(f"{place}: no such log or folder of logs{hint}")
    found = sorted(file for suffix in ("*.eval", "*_*_*.json") for file in place.rglob(suffix))
    if not found:
        raise DataError(f"{place}: no Inspect log (*.eval) in this folder")
    return found


def find_single_log(path: str | os.PathLike[str]) -> Path:
    """The log at a path: a file, or the one in a folder.

    Raises:
        DataError: nothing is there, or several.
    """
    found = find_logs(path)
    if len(found) > 1:
        raise DataError(f"{path}: {len(found)} logs; name one, such as {found[-1]}")
    return found[0]


def read_runs(
    path: str | os.PathLike[str],
    scorer: str | None = None,
    missing: MissingPolicy = "error",
    problems: list[str] | None = None,
    watch: Callable[[], None] = lambda: None,
) -> list[Run]:
    """The runs at a path, by task and name; logs of one system, judged alike, become one run with more epochs.

    Args:
        problems: told of the logs in a folder that cannot be used, which are then left out; None makes them errors.
        watch: told before each log is read.

    Raises:
        DataError: as `find_logs` and `read_run`.
    """
    found: dict[tuple[str, str, str, str, tuple[str, ...]], Run] = {}
    for file in find_logs(path):
        watch()
        try:
            run = read_run(file, scorer, missing)
            key = (run.task, run.name, run.fingerprint, run.setup, run.judges)
            found[key] = _merge_runs(found[key], run) if key in found else run
        except DataError as exc:
            if problems is None or file == Path(path):
                raise
            problems.append(str(exc))
    return [found[key] for key in sorted(found)]


def _merge_runs(first: Run, second: Run) -> Run:
    """More epochs of the same system; figures weighted by the number of answers.

    Raises:
        DataError: the two are scored or asked differently.
    """
    if why := first.incompatibility(second):
        raise DataError(f"{first.log} and {second.log}: the same system, but {why}")
    counts = [sum(map(len, run.scores.values())) for run in (first, second)]

    def mixed(name: str) -> float | None:
        a, b = first.cost[name], second.cost[name]
        return None if a is None or b is None else (a * counts[0] + b * counts[1]) / max(1, sum(counts))

    scores = {**first.scores}
    for question, each in second.scores.items():
        scores[question] = (*scores.get(question, ()), *each)
    lost = ((run, question) for run in (first, second) for question in run.missing)
    missing = {q: run.missing[q] for run, q in lost if q in run.scores or q not in scores}  # zeros, or still without
    return replace(
        first,
        questions={**second.questions, **first.questions},
        scores=scores,
        missing=missing,
        answers={**second.answers, **first.answers},
        cost={name: mixed(name) for name in COST_NAMES},
        calls=first.calls + second.calls,
        reused=first.reused + second.reused,
        paid=None if first.paid is None or second.paid is None else first.paid + second.paid,
        notes=dict(Counter(first.notes) + Counter(second.notes)),
        judged_anew=first.judged_anew or second.judged_anew,
        log=f"{first.log} {second.log}",
    )


def read_run(path: str | os.PathLike[str], scorer: str | None = None, missing: MissingPolicy = "error") -> Run:
    """One finished log.

    Args:
        scorer: which of several scorers counts, `NAME` or `NAME/KEY` for one that gives several values.
        missing: what a sample without a score does: error, drop its question, or count as zero.

    Raises:
        DataError: an unreadable or unfinished log, no such scorer, or scores missing.
    """
    log, samples = _read_log(path)
    names = list(dict.fromkeys(name for sample in samples for name in sample.scores or {}))
    chosen = scorer or next(iter(names), "")
    scores: dict[str, list[float]] = {}
    problems: dict[str, str] = {}
    for sample in samples:
        value, why = _convert_score(sample, chosen, names)
        if value is None:
            problems[str(sample.id)] = why
        if value is not None or missing == "zero":
            scores.setdefault(str(sample.id), []).append(value or 0.0)
    if problems and missing != "zero":
        if missing == "error":
            question, why = next(iter(problems.items()))
            raise DataError(
                f"{path}: {len(problems)} of {len({s.id for s in samples})} questions have no score; "
                f"{question}: {why} (--missing drop leaves them out, --missing zero counts them as wrong)"
            )
        scores = {question: each for question, each in scores.items() if question not in problems}
    accounts = [found for sample in samples if (found := get_accounts(sample))]
    group = next((key for key in GROUP_KEYS if all((s.metadata or {}).get(key) for s in samples)), "")
    last = accounts[-1][-1] if accounts else {}
    turns = [account for each in accounts for account in each]
    again = [account.get("reused", {}) for account in turns]
    dollars = [one.get("dollars", 0.0) for one in (*turns, *again)]
    return Run(
        name=_choose_name(log, last),
        task=str(log.eval.task),
        scorer=chosen,
        questions={str(sample.id): _build_question(sample, group) for sample in samples},
        scores={question: tuple(each) for question, each in scores.items()},
        missing=problems,
        answers={str(sample.id): sample.output.completion for sample in reversed(samples) if sample.output.choices},
        cost=_average_cost(samples, str(log.eval.model)),
        calls=sum(account.get("calls", 0) for account in turns),
        reused=sum(one.get("calls", 0) for one in again),
        paid=None if None in dollars else sum(dollars[: len(turns)]) - sum(dollars[len(turns) :]),
        layers=_summarize_layers(turns, _reload_architecture(log, last)),
        notes=dict(sum((Counter(account.get("notes", {})) for account in turns), Counter[str]())),
        judges=collect_judges(log, samples, chosen),
        judged_anew=has_live_judgments(log, samples, chosen),
        version=str(log.eval.task_version),
        fingerprint=str(last.get("fingerprint", "")),
        setup=hash_setup(log),
        log=str(path),
    )


def _read_log(path: str | os.PathLike[str]) -> tuple[Any, list[Any]]:
    from inspect_ai.log import read_eval_log

    try:
        log = read_eval_log(str(path), exclude_fields={"events", "events_data", "store", "timelines", "messages"})
    except Exception as exc:  # a damaged log fails in any layer: zip, zstd, zlib, JSON, schema
        raise DataError(f"{path}: not readable as an Inspect log: {type(exc).__name__}: {exc}") from exc
    if log.status != "success":
        raise DataError(f"{path}: the eval did not finish (status {log.status}): {_find_first_error(log)}")
    if not log.samples:
        raise DataError(f"{path}: no samples in this log")
    return log, list(log.samples)


def _find_first_error(log: Any) -> str:
    """Why it did not finish; samples that were only cancelled with it say nothing."""
    errors = [one.message for one in (log.error, *(sample.error for sample in log.samples or ())) if one]
    return str(next((message for message in errors if "Cancelled" not in message), "no reason given"))


def _convert_score(sample: Any, scorer: str, names: Sequence[str]) -> tuple[float | None, str]:
    """A sample's score as a number, or why there is none."""
    if sample.error:
        return None, str(sample.error.message)
    name, _, key = scorer.partition("/") if scorer not in names else (scorer, "", "")
    if name not in names:
        raise DataError(
            f"no scorer {name!r}{did_you_mean(name, names)}" if name else f"{sample.id}: nothing was scored"
        )
    score = (sample.scores or {}).get(name)
    if score is None:
        return None, f"no score by {name}"
    value = score.value
    if isinstance(value, Mapping):
        if key not in value:
            raise DataError(f"scorer {name} gives several values; name one{did_you_mean(key, map(str, value))}")
        value = value[key]
    if isinstance(value, str):
        value = LETTER_VALUES.get(value, value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None, f"{value!r} is no number"
    return (number, "") if math.isfinite(number) else (None, "not a finite number")


def _build_question(sample: Any, group: str) -> BenchmarkQuestion:
    text = sample.input if isinstance(sample.input, str) else "\n\n".join(f"{m.role}: {m.text}" for m in sample.input)
    parts = [text, *(f"({chr(65 + i)}) {choice}" for i, choice in enumerate(sample.choices or ()))]
    target = sample.target if isinstance(sample.target, str) else " | ".join(sample.target)
    return BenchmarkQuestion("\n".join(parts), target, str(sample.metadata[group]) if group else "")


def get_accounts(sample: Any) -> list[dict[str, Any]]:
    """The accounts of a sample, one per turn; empty where no architecture answered."""
    last = (sample.metadata or {}).get("archon") or (sample.output.metadata or {}).get("archon") or []
    if isinstance(last, Mapping):
        return [*last.get("earlier_turns", ()), dict(last)]
    return list(last)


def _average_cost(samples: Iterable[Any], model: str) -> dict[str, float | None]:
    from archon_eval.models.call import Usage
    from archon_eval.models.prices import load_prices

    prices, found = load_prices(), list[dict[str, float | None]]()
    for sample in samples:
        if accounts := get_accounts(sample):
            dollars = [account.get("dollars") for account in accounts]
            one: dict[str, float | None] = {
                "dollars": None if None in dollars else sum(d for d in dollars if d is not None),
                "tokens": float(sum(_count_tokens(account) for account in accounts)),
                "calls": float(sum(account.get("calls", 0) for account in accounts)),
                "seconds": float(sum(account.get("seconds", 0.0) for account in accounts)),
            }
        else:
            use = (sample.model_usage or {}).get(model)
            usage = Usage(use.input_tokens, use.output_tokens) if use else None
            tokens = float(use.input_tokens + use.output_tokens) if use else None
            one = {
                "dollars": prices.compute_cost(model, usage),
                "tokens": tokens,
                "calls": None,
                "seconds": sample.working_time,
            }
        if not sample.error:
            found.append(one)
    return {name: _average([one[name] for one in found]) for name in COST_NAMES}


def _count_tokens(account: Mapping[str, Any]) -> int:
    return int(account.get("input_tokens", 0) + account.get("output_tokens", 0))


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _summarize_layers(
    accounts: Sequence[Mapping[str, Any]], architecture: Architecture | None
) -> tuple[LayerUsage, ...]:
    found = []
    for number in range(max((len(account.get("layers", ())) for account in accounts), default=0)):
        each = [account["layers"][number] for account in accounts if len(account.get("layers", ())) > number]
        models = tuple(str(part["model"]) for part in each[0].get("components", ()))
        if architecture is not None:
            layer = [spec for spec in architecture.layers[number] if spec.model]
            models = tuple(s.model for s in layer for _ in range(dict(s.options).get("samples", 1)))
        calls, candidates = (fmean(one.get(key, 0) for one in each) for key in ("calls", "candidates"))
        dollars = _average([one.get("dollars") for one in each])
        found.append(LayerUsage(each[0]["kind"], models, candidates, calls, fmean(map(_count_tokens, each)), dollars))
    return tuple(found)


def _reload_architecture(log: Any, account: Mapping[str, Any]) -> Architecture | None:
    """The architecture that answered, where the log's own words still lead to the same one."""
    from archon_eval.architecture.load import load_architecture
    from archon_eval.integrations.model_names import parse_model_names

    given = log.eval.solver_args or log.eval.model_args or {}
    source = given.get("architecture") or str(log.eval.model).removeprefix("archon/")
    try:
        found = load_architecture(source, parse_model_names(given.get("models")))
    except (ArchonError, OSError):
        return None
    return found if found.fingerprint == account.get("fingerprint") else None


def _choose_name(log: Any, account: Mapping[str, Any]) -> str:
    around = "" if log.eval.solver in (None, "generate") else f", {log.eval.solver}"
    plain = f"{log.eval.model}{around}" if log.eval.model != "none/none" else log.eval.solver
    return str(account.get("architecture") or plain)
