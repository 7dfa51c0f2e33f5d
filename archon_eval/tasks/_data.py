"""What all benchmarks share: the options that choose rows, the split into dev and test, and the task.

Rows come from one of three places: the problems bundled with the package (`-T sample=true`), local files
(`-T data=PATH`) or the Hub at a pinned revision. A task turns rows into Inspect samples and hands them on:

    rows = selection.load_rows("math.jsonl", lambda: load_hub_rows(REPO, REVISION))
    return selection.build_task("math", [build_sample(row) for row in rows], math_answer())

Everything here is deterministic: the same rows give the same choice, in whatever order they arrive. First each question
gets its side (dev or test) among all questions of the source, then a filter (`tasks._filters`) and `n` choose.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Solver, generate

from archon_eval._notes import show_note
from archon_eval.errors import DataError, did_you_mean
from archon_eval.tasks._filters import Filter
from archon_eval.tasks._rows import Row, load_bundled_rows, load_local_rows

SPLITS = ("all", "dev", "test")
DEV_SHARE = 0.2
"""The share of questions that a search may see (paper v6, section 4.1); the rest is for reporting."""
SIDE_KEY = "archon_split"
"""Metadata of every sample of this package's tasks: its side, `dev` or `test`, among all questions of its source."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which questions of a benchmark are asked; options of every task.

    Raises:
        DataError: (methods) a source that cannot be read, an unknown split, an impossible `n`.
    """

    split: str = "all"
    """`dev` (a fifth, for searching), `test` (the rest, for reporting) or `all`."""
    sample: bool = False
    """Use the questions bundled with the package; no network."""
    data: str | list[str] | None = None
    """A local file, or several (`-T data=a.jsonl,b.jsonl`); each task's docstring has the form of its rows."""
    n: int | None = None
    """Number of questions to draw, from those a filter leaves and before the split; all by default, if the task has no
    default of its own."""
    seed: int = 0
    """Changes the draw and the split."""

    def load_rows(self, bundled: str, load_official: Callable[[], list[Row]]) -> list[Row]:
        """The rows of the source that `sample` and `data` choose; the official ones if neither is given."""
        if self.sample and self.data:
            raise DataError(f"sample=true and data={self.data}: give one of them (bundled problems, or your own file)")
        if self.sample:
            return load_bundled_rows(bundled)
        paths = [self.data] if isinstance(self.data, str) else self.data or []
        return [row for path in paths for row in load_local_rows(path)] if self.data else load_official()

    def build_task(
        self,
        name: str,
        samples: Sequence[Sample],
        scorer: Scorer,
        *,
        where: Filter | None = None,
        official_size: int | None = None,
        dropped: Mapping[str, int] | None = None,
        notes: Sequence[str] = (),
        setup: Solver | None = None,
        solver: Solver | None = None,
    ) -> Task:
        """The task on the selected samples, answered by the model alone where no other solver is given.

        What the task leaves out or changes is said: in a note, and in the task's metadata, which a log keeps
        (`log.eval.metadata`): `rows` (in the source), `dropped` and `notes`.

        Args:
            where: which sub-benchmarks are asked; all where None.
            official_size: `n` where official rows are used and the user has not given it, or all that the filter
                leaves, if they are fewer.
            dropped: reason -> number of rows of the source that are not among `samples`.
            notes: what else the user should know, each a sentence.
        """
        n, counts = self.n, {reason: count for reason, count in (dropped or {}).items() if count}
        rows = len(samples) + sum(counts.values())
        chosen = list(select_samples(name, samples, where=where, seed=self.seed))
        if n is None and official_size is not None and not self.sample and not self.data:
            n = min(official_size, len(chosen))
        dataset = MemoryDataset(draw_samples(chosen, split=self.split, n=n, seed=self.seed), name=name)
        said = [f"{count} of {rows} rows are left out: {reason}" for reason, count in counts.items()] + [*notes]
        for note in said:
            show_note(f"{name}: {note}")
        metadata = {"rows": rows} | ({"dropped": counts} if counts else {}) | ({"notes": [*notes]} if notes else {})
        chain = solver or generate()
        return Task(dataset=dataset, setup=setup, solver=chain, scorer=scorer, metadata=metadata, version=1)


def make_stable_id(prefix: str, *parts: str) -> str:
    """An id that depends on the content alone, for rows that have none.

    >>> make_stable_id("math", "1 + 1 = ?")
    'math-02cf971fbe13'
    """
    return f"{prefix}-{_hash_parts(*parts)[:12]}"


def subsample(samples: Sequence[Sample], n: int, seed: int = 0) -> list[Sample]:
    """`n` samples chosen by a hash of their ids, in their order; a smaller `n` gives a part of a larger."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= len(samples):
        raise DataError(f"n={n!r}: must be a whole number from 1 to {len(samples)}, the number of samples there are")
    return _pick_samples(samples, _rank_ids(samples, f"subsample {seed}")[:n])


def find_dev_ids(samples: Sequence[Sample], seed: int = 0) -> set[str]:
    """The ids of the samples on the dev side.

    That is the side each sample names (`SIDE_KEY`), if all do. Otherwise a hash of its id decides on which side a
    sample falls, so the order of rows does not matter, and exactly `round(0.2 n)` of them are dev.
    """
    sides = [(sample.metadata or {}).get(SIDE_KEY) for sample in samples]
    if all(side in SPLITS[1:] for side in sides):
        return {str(sample.id) for sample, side in zip(samples, sides, strict=True) if side == "dev"}
    return set(_rank_ids(samples, f"split {seed}")[: round(DEV_SHARE * len(samples))])


def split_samples(samples: Sequence[Sample], split: str = "all", seed: int = 0) -> list[Sample]:
    """The dev fifth (see `find_dev_ids`), the other four fifths (`test`), or all; in their order.

    Raises:
        DataError: an unknown split, or one without samples.
    """
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r}{did_you_mean(str(split), SPLITS)}")
    if split == "all":
        return list(samples)
    dev = find_dev_ids(samples, seed)
    chosen = [sample for sample in samples if (str(sample.id) in dev) == (split == "dev")]
    if not chosen:
        raise DataError(f"split={split}: empty, as there are only {len(samples)} samples")
    return chosen


def select_samples(name: str, samples: Sequence[Sample], *, where: Filter | None = None, seed: int = 0) -> list[Sample]:
    """Copies of the samples that a filter leaves, each with its side (`SIDE_KEY`) in its metadata.

    The sides are decided among all samples, before the filter. So a question has one side, whatever part of the
    benchmark is asked: what a search on one subject has seen is never in the test split of the whole benchmark, nor the
    other way round. The price is that the dev split of a subject is about a fifth of it, not exactly.

    Raises:
        DataError: a missing or repeated id, or as the filter.
    """
    seen: set[str] = set()
    for sample in samples:
        if sample.id is None or str(sample.id) in seen:
            raise DataError(
                f"{name}: {'a sample has no id' if sample.id is None else f'id {sample.id!r} occurs twice'}"
            )
        seen.add(str(sample.id))
    dev = find_dev_ids(samples, seed)
    chosen = where.select(name, samples) if where else samples
    return [
        sample.model_copy(
            update={"metadata": {**(sample.metadata or {}), SIDE_KEY: "dev" if str(sample.id) in dev else "test"}}
        )
        for sample in chosen
    ]


def draw_samples(samples: Sequence[Sample], *, split: str = "all", n: int | None = None, seed: int = 0) -> list[Sample]:
    """The split of `n` of the samples (all if None), a fifth of them dev, or as near to it as the two sides allow.

    A question is on the same side whatever `n` is, so that no draw's dev questions are in another's test.

    Raises:
        DataError: an impossible `n`, or an empty split.
    """
    if n is None:
        return split_samples(samples, split, seed)
    subsample(samples, n, seed)  # raises for an impossible n, which its part below would accept
    most = len(find_dev_ids(samples, seed))
    dev, drawn = min(max(round(DEV_SHARE * n), n - len(samples) + most), most), []
    for side in ("dev", "test") if split == "all" else (split,):
        if size := dev if side == "dev" else n - dev:
            drawn += subsample(split_samples(samples, side, seed), size, seed)
    if not drawn:
        raise DataError(f"split={split}: empty, as n={n} is so small")
    return _pick_samples(samples, (str(sample.id) for sample in drawn))


def _hash_parts(*parts: str) -> str:
    return sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _rank_ids(samples: Sequence[Sample], salt: str) -> list[str]:
    return sorted((str(sample.id) for sample in samples), key=lambda id: _hash_parts(salt, id))


def _pick_samples(samples: Sequence[Sample], ids: Iterable[str]) -> list[Sample]:
    chosen = set(ids)
    return [sample for sample in samples if str(sample.id) in chosen]
