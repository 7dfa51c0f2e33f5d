"""Writes training data of finished evals as lines of JSON, and as a folder that `datasets` loads.

report = export_rows([Path("logs")], ExportOptions("preferences"), Path("pairs.jsonl"))
report.rows, report.left_out
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any, Literal

from archon_eval._files import open_whole
from archon_eval.errors import DataError, did_you_mean
from archon_eval.export.answers import AnswerLog, collect_sides, open_logs, read_questions
from archon_eval.export.rows import SCORE, Row, RowFilter, build_conversations, build_pairs
from archon_eval.export.splits import HELD_OUT

RowKind = Literal["sft", "preferences"]
NO_CANDIDATES = (
    "run the same eval again with trace=full (the default); with its call store (store=PATH store_policy=replay) that "
    "pays for nothing"
)
_DATASET_MARK = "dataset_info.json"
"""A file by which a folder is known as one that `datasets` wrote."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is exported."""

    kind: RowKind
    wanted: RowFilter = field(default_factory=RowFilter)
    scorer: str | None = None
    include_held_out: bool = False


@dataclass(slots=True)
class ExportReport:
    """What came of it."""

    logs: int = 0
    rows: int = 0
    questions: int = 0
    """Those that have a row."""
    held_out: int = 0
    """Questions that were refused because they are held out, or exported although they are."""
    unsplit: int = 0
    """Questions of which no log says on which side they are."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Why answers or pairs make no row -> how many."""
    sources: Counter[str] = field(default_factory=Counter)
    """Source -> pairs, before any is left out."""
    problems: list[str] = field(default_factory=list)
    """Logs that are no use, and why."""
    notes: list[str] = field(default_factory=list)

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "logs": self.logs,
            "rows": self.rows,
            "questions": self.questions,
            "held_out_questions": self.held_out,
            "questions_without_split": self.unsplit,
            "left_out": dict(self.left_out.most_common()),
            "pairs_by_source": dict(self.sources.most_common()),
            "problems": self.problems,
            "notes": self.notes,
        }


def export_rows(
    paths: Sequence[Path],
    options: ExportOptions,
    output: Path | None = None,
    *,
    dataset: Path | None = None,
    on_question: Callable[[int, int], None] = lambda done, total: None,
) -> ExportReport:
    """Write the rows of logs; without a place to write to, count them.

    Args:
        output: a file of lines of JSON, which is there when it is whole.
        dataset: a folder for `datasets.load_from_disk`; one that `datasets` wrote is replaced.
        on_question: called with how many questions are done, and of how many.

    Raises:
        DataError: no log that can be read, no row, or a place that cannot be written to.
    """
    if dataset is not None:
        _check_dataset(dataset)
    report = ExportReport()
    logs = open_logs(paths, scorer=options.scorer, problems=report.problems)
    if not logs:
        raise DataError(f"no log that can be read: {'; '.join(report.problems[:3])}")
    report.logs = len(logs)
    rows = _iterate_rows(logs, options, report, on_question)
    if output is None and dataset is None:
        for _ in rows:
            pass
        _finish(logs, options, report)
        return report
    with TemporaryDirectory(prefix="archon-export-") as scratch:
        file = output or Path(scratch) / "rows.jsonl"
        try:
            with open_whole(file) as stream:
                for row in rows:
                    text = json.dumps(row, ensure_ascii=False, allow_nan=False)
                    stream.write(text.encode("utf-8", "replace") + b"\n")
                _finish(logs, options, report)  # raises without rows, so that no empty file is left
            if dataset is not None:
                _write_dataset(file, dataset, Path(scratch), options)
        except OSError as exc:
            raise DataError(f"cannot write {exc.filename or file}: {exc.strerror or exc}") from exc
    return report


def _iterate_rows(
    logs: Sequence[AnswerLog], options: ExportOptions, report: ExportReport, on_question: Callable[[int, int], None]
) -> Iterator[Row]:
    sides = collect_sides(logs)
    report.unsplit = sum(not side for side in sides.values())
    report.held_out = sum(side == HELD_OUT for side in sides.values())
    asked = sides if options.include_held_out else {key: side for key, side in sides.items() if side != HELD_OUT}
    for done, question in enumerate(read_questions(logs, asked), 1):
        if options.kind == "sft":
            rows = build_conversations(question, options.wanted, report.left_out)
        else:
            rows = build_pairs(question, options.wanted, report.left_out, report.sources)
        report.rows += len(rows)
        report.questions += bool(rows)
        yield from rows
        on_question(done, len(asked))


def _finish(logs: Sequence[AnswerLog], options: ExportOptions, report: ExportReport) -> None:
    """What a reader must know of the rows; DataError where there are none."""
    if options.kind == "preferences":
        traces = {log.trace for log in logs if log.trace == "compact"}
        if traces:
            names = [log.name for log in logs if log.trace == "compact"]
            report.notes.append(
                f"{len(names)} logs, such as {names[0]}, hold no candidates, because of trace=compact: {NO_CANDIDATES}"
            )
        if unknown := [source for source in options.wanted.by if source not in report.sources]:
            have = ", ".join(report.sources) or "none"
            hint = did_you_mean(unknown[0], report.sources)
            report.notes.append(f"no pair by {unknown[0]}{hint} in these logs, which have pairs by: {have}")
        if not set(report.sources) - {SCORE} and not traces and any(log.trace for log in logs):
            report.notes.append(
                "no component of these architectures compared candidates, or an earlier version wrote the logs: then "
                f"{NO_CANDIDATES}"
            )
    if report.rows:
        return
    if report.held_out and not options.include_held_out:
        report.notes.insert(0, f"{report.held_out} questions are held out (--include-held-out exports them)")
    reasons = [f"{count} {reason}" for reason, count in report.left_out.most_common() if count]
    raise DataError("nothing to export: " + "; ".join([*report.notes, *reasons] or ["these logs hold no answers"]))


def _check_dataset(folder: Path) -> None:
    """Refuse, before anything is read, a folder that holds something else, or to write one without `datasets`."""
    if find_spec("datasets") is None:
        raise DataError("--dataset needs the package datasets: pip install 'archon-eval[hub]'")
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: no folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _DATASET_MARK).is_file():
        raise DataError(f"{folder}: the folder holds something else than a data set; name another")


def _write_dataset(rows: Path, folder: Path, scratch: Path, options: ExportOptions) -> None:
    """The rows as a folder of `datasets`; it is there when it is whole."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.{token_hex(4)}.part")
    try:
        features = _build_features(options)
        loaded = Dataset.from_json(str(rows), features=features, cache_dir=str(scratch / "cache"))
        loaded.save_to_disk(str(part))
        if folder.exists():
            old = folder.with_name(f".{folder.name}.{token_hex(4)}.old")
            folder.replace(old)
            part.replace(folder)
            shutil.rmtree(old)
        else:
            part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _build_features(options: ExportOptions) -> Any:
    """The columns, of one form whatever rows there are."""
    from datasets import Features, List, Value

    text, number = Value("string"), Value("float64")
    plain = {"role": text, "content": text}
    turns = List({**plain, "thinking": text} if options.wanted.with_thoughts else plain)
    origin = {
        **{"log": text, "epoch": Value("int64"), "architecture": text, "fingerprint": text},
        **{"models": List(text), "candidate": text},
    }
    question = {"task": text, "question": text, "split": text}
    if options.kind == "sft":
        found = {**question, **origin, "scorer": text, "score": number, "why": text}
        return Features({"messages": turns, "provenance": found})
    found = {**question, "sources": List(text), "why": text, "chosen": origin, "rejected": origin}
    return Features({"prompt": List(plain), "chosen": turns, "rejected": turns, "provenance": found})
