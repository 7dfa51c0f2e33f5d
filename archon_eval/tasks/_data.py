"""What all benchmarks share: the options that choose rows, the split into dev and test, and the task.

Rows come from one of three places: the problems bundled with the package (`-T sample=true`), local files
(`-T data=PATH`) or the Hub at a pinned revision. A task turns rows into Inspect samples and hands them on:

    rows = selection.load_rows("math.jsonl", lambda: load_hub_rows(REPO, REVISION))
    return selection.build_task("math", [build_sample(row) for row in rows], math_answer())

Everything here is deterministic: the same rows give the same choice, in whatever order they arrive.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Solver, generate

from archon_eval.errors import DataError, did_you_mean
from archon_eval.tasks._rows import Row, load_bundled_rows, load_local_rows

SPLITS = ("all", "dev", "test")
DEV_SHARE = 0.2
"""The share of questions that a search may see (paper v6, section 4.1); the rest is for reporting."""


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
    """Number of questions to draw before the split; all by default, if the task has no default of its own."""
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

    def limit_official(self, size: int) -> "Selection":
        """The selection with `n` set to `size` where official rows are used and the user has not given `n`."""
        is_default = self.n is None and not self.sample and not self.data
        return replace(self, n=size) if is_default else self

    def build_task(
        self,
        name: str,
        samples: Sequence[Sample],
        scorer: Scorer,
        *,
        setup: Solver | None = None,
        solver: Solver | None = None,
    ) -> Task:
        """The task on the selected samples, answered by the model alone where no other solver is given."""
        dataset = build_dataset(name, samples, split=self.split, n=self.n, seed=self.seed)
        return Task(dataset=dataset, setup=setup, solver=solver or generate(), scorer=scorer, version=1)


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
    return _select_samples(samples, _rank_ids(samples, f"subsample {seed}")[:n])


def split_samples(samples: Sequence[Sample], split: str = "all", seed: int = 0) -> list[Sample]:
    """The dev fifth (exactly `round(0.2 n)` samples), the other four fifths (`test`), or all; in their order.

    A hash of its id decides on which side a sample falls, so the order of rows does not matter.

    Raises:
        DataError: an unknown split, or one without samples.
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

    A question is on the same side whatever `n` is, so that no draw's dev questions are in another's test.

    Raises:
        DataError: a missing or repeated id, or an empty split.
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
    subsample(samples, n, seed)  # raises for an impossible n, which its part below would accept
    dev, drawn = round(DEV_SHARE * n), []
    for side in ("dev", "test") if split == "all" else (split,):
        if size := dev if side == "dev" else n - dev:
            drawn += subsample(split_samples(samples, side, seed), size, seed)
    if not drawn:
        raise DataError(f"split={split}: empty, as n={n} is so small")
    return MemoryDataset(_select_samples(samples, (str(sample.id) for sample in drawn)), name=name)


def _hash_parts(*parts: str) -> str:
    return sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _rank_ids(samples: Sequence[Sample], salt: str) -> list[str]:
    return sorted((str(sample.id) for sample in samples), key=lambda id: _hash_parts(salt, id))


def _select_samples(samples: Sequence[Sample], ids: Iterable[str]) -> list[Sample]:
    chosen = set(ids)
    return [sample for sample in samples if str(sample.id) in chosen]
