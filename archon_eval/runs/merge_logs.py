"""Puts the logs of an eval's parts together: one log, as Inspect writes it where the eval runs in one process.

    merge_logs(options, MergeRequest(...))       # options: Inspect's `TaskRunOptions` of the whole task

Samples are copied as they are, one at a time. Results are computed over all of them by Inspect's own function, with the
task's own scorers, metrics and reducers.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from inspect import signature
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

from archon_eval.errors import DataError

SAMPLE_NAME = "samples/{id}_epoch_{epoch}.json"
HEADER, SUMMARIES, JOURNAL = "header.json", "summaries.json", "_journal/summaries/"

SampleKey = tuple[str | int, int]
"""A sample's id and its epoch."""


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """What to put together."""

    start: str
    """The log of the look, which has the header."""
    parts: Sequence[str]
    """Logs of parts; of two that have an answer, the later one's counts."""
    location: str
    """Where the log goes, a path or an address."""
    status: str = "success"
    error: Mapping[str, Any] | None = None
    """Inspect's `EvalError`."""
    with_samples: bool = True


@dataclass(frozen=True, slots=True)
class PartSummary:
    """What a part's log says of one sample."""

    key: SampleKey
    error: str
    """Empty where it was answered."""
    plain: Mapping[str, Any]
    """As Inspect has it."""


def read_summaries(path: str | os.PathLike[str]) -> dict[SampleKey, PartSummary]:
    """The samples of a part's log, also of one whose process was killed.

    Raises:
        DataError: it is no log that can be read.
    """
    with _open_log(path) as file:
        names = file.namelist()
        if SUMMARIES in names:
            lists = [json.loads(file.read(SUMMARIES))]
        else:
            journal = [name for name in names if name.startswith(JOURNAL)]
            numbered = sorted(journal, key=lambda name: int(name[len(JOURNAL) :].partition(".")[0]))
            lists = [json.loads(file.read(name)) for name in numbered]
        found = [
            PartSummary((item["id"], item["epoch"]), item.get("error") or "", item) for items in lists for item in items
        ]
        there = set(names)
        return {each.key: each for each in found if _name_sample(each.key) in there}


def read_header(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """The header of a finished log, as plain JSON; empty of one that is not finished."""
    with _open_log(path) as file:
        return dict(json.loads(file.read(HEADER))) if HEADER in file.namelist() else {}


def read_sample_error(path: str | os.PathLike[str], key: SampleKey) -> Mapping[str, Any]:
    """Inspect's `EvalError` of a sample that failed."""
    with _open_log(path) as file:
        return dict(json.loads(file.read(_name_sample(key)))["error"])


@contextmanager
def _open_log(path: str | os.PathLike[str]) -> Iterator[ZipFile]:
    import inspect_ai.log  # noqa: F401  teaches ZipFile Inspect's compression

    try:
        with ZipFile(path) as file:
            yield file
    except (BadZipFile, OSError, ValueError, KeyError) as exc:
        raise DataError(f"{path}: no log that can be read: {exc}") from exc


def _name_sample(key: SampleKey) -> str:
    return SAMPLE_NAME.format(id=key[0], epoch=key[1])


def merge_logs(options: Any, request: MergeRequest) -> Any:
    """Write the log; returns its header.

    Args:
        options: Inspect's `TaskRunOptions` of the whole task.
        request: what to put together.

    Raises:
        DataError: a part's log cannot be read, or the log cannot be written.
    """
    from inspect_ai.log import EvalError, EvalLog, EvalStats, read_eval_log, write_eval_log

    with tempfile.TemporaryDirectory() as scratch:  # Inspect knows logs by their names
        start = read_eval_log(shutil.copyfile(request.start, f"{scratch}/start.eval"), header_only=True)
    epochs, ids = start.eval.config.epochs or 1, start.eval.dataset.sample_ids or ()
    keys = [(id, epoch) for epoch in range(1, epochs + 1) for id in ids]  # the order in which Inspect scores
    summaries = [read_summaries(part) for part in request.parts]
    places = {key: number for number, part in enumerate(summaries) for key in part}
    answered = [key for key in keys if key in places]
    results = _Results(options)
    with tempfile.TemporaryDirectory() as scratch:
        whole, head = Path(scratch) / "whole.eval", Path(scratch) / "head.eval"
        with ExitStack() as stack, ZipFile(whole, "w") as out:
            files = [stack.enter_context(_open_log(part)) for part in request.parts]
            for key in answered:
                name = _name_sample(key)
                data = files[places[key]].read(name)
                results.add(json.loads(data))
                if request.with_samples:
                    _write_member(out, name, data, files[places[key]].getinfo(name).compress_type)
        status, error = request.status, EvalError.model_validate(request.error) if request.error else None
        scores, reductions, failure = results.compute(len(keys))
        log = EvalLog(
            version=start.version,
            status="error" if failure and status == "success" else status,  # type: ignore[arg-type]
            eval=start.eval,
            plan=start.plan,
            stats=EvalStats(
                started_at=start.stats.started_at,
                completed_at=datetime.now(UTC).isoformat(timespec="seconds"),
                **_add_up_usage(request.parts, summaries),
            ),
            error=error or failure,
            samples=[],
        )
        log.results, log.reductions = scores, reductions  # as arguments they would be taken for JSON
        write_eval_log(log, str(head))
        with _open_log(head) as file, ZipFile(whole, "a") as out:
            plain = [summaries[places[key]][key].plain for key in answered] if request.with_samples else []
            for info in file.infolist():
                data = json.dumps(plain).encode() if info.filename == SUMMARIES else file.read(info)
                _write_member(out, info.filename, data, info.compress_type)
        deliver(whole, request.location)
    return log


class _Results:
    """The results of Inspect's own function, of samples as logs have them."""

    def __init__(self, options: Any) -> None:
        from archon_eval._inspect_compat import registry_unqualified_name, unique_scorer_name

        self._task = options.task
        self._scorers = list(self._task.scorer) if options.score and self._task.scorer is not None else []
        self._names: list[str] = []
        for scorer in self._scorers:
            self._names.append(unique_scorer_name(scorer, self._names))
        registered = [registry_unqualified_name(scorer) for scorer in self._scorers]
        self._registered = dict(zip(self._names, registered, strict=True))
        self._scores: list[dict[str, Any]] = []
        self._completed = 0

    def add(self, sample: Mapping[str, Any]) -> None:
        """One more sample; one that failed counts where it has scores all the same."""
        from inspect_ai.scorer import SampleScore, Score

        self._completed += not sample.get("error")
        if sample.get("error") and not sample.get("scores"):
            return
        self._scores.append(
            {
                name: SampleScore(
                    score=Score.model_validate(score),
                    sample_id=sample["id"],
                    sample_metadata=sample.get("metadata") or {},
                    scorer=self._registered.get(name),
                )
                for name, score in (sample.get("scores") or {}).items()
            }
        )

    def compute(self, samples: int) -> tuple[Any, Any, Any]:
        """Results, reductions, and the error of a metric in place of both."""
        from archon_eval._inspect_compat import eval_error, eval_results

        if not self._scores:
            return None, None, None
        more: dict[str, Any] = {
            "completed_samples": self._completed,
            "headline_metric": getattr(self._task, "headline_metric", None),
        }
        known = signature(eval_results).parameters
        try:
            results, reductions = eval_results(
                samples=samples,
                scores=self._scores,
                reducers=self._task.epochs_reducer,
                scorers=self._scorers or None,
                metrics=self._task.metrics,
                scorer_names=self._names if self._scorers else None,
                **{name: value for name, value in more.items() if name in known},
            )
        except Exception as exc:  # noqa: BLE001 (a metric's own code; as Inspect's own log, the log says so)
            return None, None, eval_error(exc, type(exc), exc, exc.__traceback__)
        return results, reductions, None


HISTORY = "connection_limit_history"
"""What Inspect's stats say of connections, in the versions that have it: each change of each shard's limit."""


def _add_up_usage(parts: Sequence[str], summaries: Sequence[Mapping[SampleKey, PartSummary]]) -> dict[str, Any]:
    """What models and roles used in all parts; of a part that was killed, in the samples that it kept."""
    from inspect_ai.model import ModelUsage

    totals: dict[str, dict[str, Any]] = {"model_usage": {}, "role_usage": {}}
    histories: list[Mapping[str, Any]] = []
    for part, samples in zip(parts, summaries, strict=True):
        header = read_header(part)
        histories += (header.get("stats") or {}).get(HISTORY) or []
        sources = [header["stats"]] if header else [summary.plain for summary in samples.values()]
        for source in sources:
            for kind, total in totals.items():
                for model, plain in (source.get(kind) or {}).items():
                    usage = ModelUsage.model_validate(plain)
                    total[model] = total[model] + usage if model in total else usage
    changes = sorted(histories, key=lambda change: str(change.get("timestamp")))
    return {**totals, HISTORY: changes} if changes else totals


def _write_member(out: ZipFile, name: str, data: bytes, compression: int) -> None:
    info = ZipInfo(name)
    info.compress_type = compression
    out.writestr(info, data)


def deliver(log: Path, location: str) -> None:
    """Bring a finished log to its place, where it appears as a whole."""
    from inspect_ai.log import read_eval_log, write_eval_log

    try:
        if not location.endswith(".eval"):
            write_eval_log(read_eval_log(str(log)), location)
        elif "://" in location:
            import fsspec

            with fsspec.open(location, "wb") as out, log.open("rb") as source:
                shutil.copyfileobj(source, out)
        else:
            place = Path(location)
            place.parent.mkdir(parents=True, exist_ok=True)
            hidden = place.with_name(f".{place.name}.new")
            shutil.copyfile(log, hidden)
            hidden.replace(place)
    except OSError as exc:
        raise DataError(f"cannot write the log {location}: {exc.strerror or exc}") from exc
