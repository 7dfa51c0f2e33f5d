"""What every benchmark shares: where rows come from, which of them are used, and the 20/80 split.

Rows come from one of three places: the problems bundled with the package (`-T sample=true`), a local file
(`-T data=PATH`) or the Hub at a pinned revision. A task turns rows into Inspect samples and hands them on:

    rows = load_rows(sample=sample, data=data, bundled="math.jsonl", hub=lambda: load_hub_rows(REPO, REVISION))
    return build_task("math", [to_sample(row) for row in rows], math_answer(), split=split, n=n, seed=seed)

Everything here is deterministic: the same rows give the same choice, in whatever order they arrive.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Solver, generate

from archon_eval.errors import DataError, did_you_mean, quote

SPLITS = ("all", "dev", "test")
DEV_SHARE = 0.2
"""The share of questions that a search may see (paper v6, section 4.1); the rest is for reporting."""
FORMATS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz")


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a data set, which knows where it stands so that errors can say so."""

    location: str
    """For messages: `problems.jsonl, line 3`."""
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


def load_rows(*, sample: bool, data: str | None, bundled: str, hub: Callable[[], list[Row]]) -> list[Row]:
    """The rows of the source that the task parameters `sample` and `data` choose; the Hub if neither is given."""
    if sample and data:
        raise DataError(f"sample=true and data={data}: give one of them (bundled problems, or your own file)")
    if sample:
        return load_bundled_rows(bundled)
    return load_local_rows(data) if data else hub()


def load_bundled_rows(name: str) -> list[Row]:
    """The rows of a file in `archon_eval/samples`."""
    with files("archon_eval").joinpath("samples", name).open("r", encoding="utf-8") as stream:
        return list(_read_json_lines(name, stream))


def load_local_rows(path: str | Path) -> list[Row]:
    """The rows of a local file: JSON lines, a JSON list of objects, or CSV with a header; each also gzipped."""
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


def load_hub_rows(repo: str, revision: str, *, config: str | None = None, split: str = "test") -> list[Row]:
    """The rows of a Hub data set at a commit hash; needs `datasets`, and the network the first time.

    DataError names the ways to run without either.
    """
    offline = "or run without the Hub: -T sample=true (bundled problems) or -T data=PATH (your own file)"
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise DataError(f"{repo}: reading the Hub needs `pip install 'archon-eval[hub]'`; {offline}") from error
    place = f"{repo}@{revision[:7]}" + (f"/{config}" if config else "")
    try:
        table = load_dataset(repo, config, split=split, revision=revision)
    except Exception as error:
        raise DataError(f"{place}: the Hub did not give it ({error}); try again {offline}") from error
    return [Row(f"{place}, row {index}", values) for index, values in enumerate(table)]


def make_stable_id(prefix: str, *parts: str) -> str:
    """An id that depends on the content alone, for rows that carry none: `math-3f9a0c61b2d4`."""
    return f"{prefix}-{_hash_parts(*parts)[:12]}"


def subsample(samples: Sequence[Sample], n: int, seed: int = 0) -> list[Sample]:
    """`n` samples chosen by a hash of their ids, in their given order; a smaller `n` gives a part of a larger one's."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= len(samples):
        raise DataError(f"n={n!r}: must be a whole number from 1 to {len(samples)}, the number of samples there are")
    return _select_samples(samples, _rank_ids(samples, f"subsample {seed}")[:n])


def split_samples(samples: Sequence[Sample], split: str = "all", seed: int = 0) -> list[Sample]:
    """The dev fifth (exactly `round(0.2 n)` samples), the other four fifths (`test`), or all; in their given order.

    Which side a sample falls on is decided by a hash of its id, so the order of rows does not matter.
    """
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r}{did_you_mean(str(split), SPLITS)}")
    if split == "all":
        return list(samples)
    dev = set(_rank_ids(samples, f"split {seed}")[: round(DEV_SHARE * len(samples))])
    chosen = [sample for sample in samples if (str(sample.id) in dev) == (split == "dev")]
    if not chosen:
        raise DataError(f"split={split}: empty, as there are only {len(samples)} samples")
    return chosen


def build_dataset(
    name: str, samples: Sequence[Sample], *, split: str = "all", n: int | None = None, seed: int = 0
) -> MemoryDataset:
    """An Inspect data set: the split of `n` of the samples (all if None), a fifth of them dev.

    DataError on a repeated id.

    A question is on the same side whatever `n` is, so that no draw's dev questions are in another's test.
    """
    seen: set[str] = set()
    for sample in samples:
        if sample.id is None or str(sample.id) in seen:
            raise DataError(
                f"{name}: {'a sample has no id' if sample.id is None else f'id {sample.id!r} occurs twice'}"
            )
        seen.add(str(sample.id))
    if n is None:
        return MemoryDataset(split_samples(samples, split, seed), name=name)
    subsample(samples, n, seed)  # says what n may be
    dev, drawn = round(DEV_SHARE * n), []
    for side in ("dev", "test") if split == "all" else (split,):
        if size := dev if side == "dev" else n - dev:
            drawn += subsample(split_samples(samples, side, seed), size, seed)
    if not drawn:
        raise DataError(f"split={split}: empty, as n={n} is so small")
    return MemoryDataset(_select_samples(samples, (str(sample.id) for sample in drawn)), name=name)


def build_task(
    name: str,
    samples: Sequence[Sample],
    scorer: Scorer,
    *,
    split: str,
    n: int | None,
    seed: int,
    setup: Solver | None = None,
    solver: Solver | None = None,
) -> Task:
    """The task of a `build_dataset`, answered by the model alone where no other solver is given."""
    questions = build_dataset(name, samples, split=split, n=n, seed=seed)
    return Task(dataset=questions, setup=setup, solver=solver or generate(), scorer=scorer, version=1)


def _hash_parts(*parts: str) -> str:
    return sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _rank_ids(samples: Sequence[Sample], salt: str) -> list[str]:
    return sorted((str(sample.id) for sample in samples), key=lambda id: _hash_parts(salt, id))


def _select_samples(samples: Sequence[Sample], ids: Iterable[str]) -> list[Sample]:
    chosen = set(ids)
    return [sample for sample in samples if str(sample.id) in chosen]


def _read_stream(suffix: str, name: str, stream: IO[str]) -> Iterator[Row]:
    if suffix.startswith(".jsonl"):
        return _read_json_lines(name, stream)
    if suffix.startswith(".csv"):
        reader = csv.DictReader(stream)
        return (Row(f"{name}, line {reader.line_num}", values) for values in reader)
    try:
        records = json.load(stream)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{name}: not JSON: {error}") from error
    if not isinstance(records, list):
        raise DataError(f"{name}: must be a list of objects, not {type(records).__name__}")
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


def _build_row(where: str, values: object) -> Row:
    if not isinstance(values, dict):
        raise DataError(f"{where}: must be an object with keys, not {quote(repr(values), 80)}")
    return Row(where, values)
