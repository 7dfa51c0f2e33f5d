"""Reads rows of a benchmark from files: JSON lines, JSON, CSV, each also gzipped. Errors name file and line."""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from archon_eval.errors import DataError, quote

FORMATS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz")


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a data set, with its place in the file for error messages."""

    location: str
    """Such as `problems.jsonl, line 3`."""
    values: Mapping[str, Any]
    """The record as read."""

    def get(self, key: str, default: Any = None) -> Any:
        """The value under `key`, or `default` where it is absent or null."""
        value = self.values.get(key)
        return default if value is None else value

    def require(self, key: str) -> Any:
        """The value under `key`; DataError names the place, the key and the nearest key present."""
        value = self.get(key)
        if value is None:
            present = [str(name) for name in self.values]
            near = get_close_matches(key, present, n=1, cutoff=0.5)
            hint = f" (is {near[0]!r} meant?)" if near and near[0] != key else ""
            raise DataError(f"{self.location}: no {key!r}{hint}; the keys here are: {', '.join(present)}")
        return value

    def require_text(self, key: str) -> str:
        """The non-blank text under `key`; DataError if it is missing, blank or not text. Numbers become text."""
        value = self.require(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{self.location}: {key!r} must be non-blank text, not {quote(repr(value), 80)}")
        return value


def load_bundled_rows(name: str) -> list[Row]:
    """The rows of a file in `archon_eval/samples`."""
    with files("archon_eval").joinpath("samples", name).open("r", encoding="utf-8") as stream:
        return list(_read_json_lines(name, stream))


def load_local_rows(path: str | Path) -> list[Row]:
    """The rows of a local file: JSON lines, JSON, or CSV with a header; each also gzipped.

    JSON is a list of objects, or an object of objects (MixEval's form), whose keys become the rows' `id`.

    Raises:
        DataError: no such file, no rows, or a file of another form.
    """
    file = Path(path).expanduser()
    suffixes = [s for s in FORMATS if file.name.lower().endswith(s)]
    if not suffixes:
        raise DataError(f"{path}: unknown kind of file (legal: {', '.join(FORMATS)})")
    if not file.is_file():
        siblings = (p.name for p in file.parent.iterdir()) if file.parent.is_dir() else ()
        near = get_close_matches(file.name, list(siblings), n=1, cutoff=0.5)
        raise DataError(f"{path}: no such file{f'; did you mean {near[0]!r}?' if near else ''}")
    opener: Callable[..., IO[str]] = gzip.open if suffixes[0].endswith(".gz") else open
    try:
        with opener(file, "rt", encoding="utf-8-sig", newline="") as stream:
            rows = list(_read_stream(suffixes[0], file.name, stream))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not rows:
        raise DataError(f"{path}: no rows")
    return rows


def _read_stream(suffix: str, name: str, stream: IO[str]) -> Iterator[Row]:
    """The rows of an open file; `name` is for their locations."""
    if suffix.startswith(".jsonl"):
        return _read_json_lines(name, stream)
    if suffix.startswith(".csv"):
        reader = csv.DictReader(stream)
        return (Row(f"{name}, line {reader.line_num}", values) for values in reader)
    try:
        records = json.load(stream)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{name}: not JSON: {error}") from error
    if isinstance(records, dict) and all(isinstance(record, dict) for record in records.values()):
        return (Row(f"{name}, record {key!r}", {"id": key, **record}) for key, record in records.items())
    if not isinstance(records, list):
        raise DataError(f"{name}: must be a list of objects, not {type(records).__name__}, or an object of records")
    return (_build_row(f"{name}, record {number}", values) for number, values in enumerate(records, 1))


def _read_json_lines(name: str, lines: Iterable[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{name}, line {number}: not JSON: {error}") from error
        yield _build_row(f"{name}, line {number}", values)


def _build_row(location: str, values: object) -> Row:
    if not isinstance(values, dict):
        raise DataError(f"{location}: must be an object with keys, not {quote(repr(values), 80)}")
    return Row(location, values)
