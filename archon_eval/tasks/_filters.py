"""Sub-benchmarks as a choice: `-T subject=algebra`, `-T benchmark=GSM8k,DROP`, `-T part=free-form`.

A filter is a group of a task's options. The name of an option is the key of the samples' metadata that it looks at, and
one of `runs.read_log.GROUP_KEYS`, by which reports group questions (besides `level`):

    >>> samples = [Sample(input="1 + 1 = ?", id="a", metadata={"subject": "Algebra"})]
    >>> len(SubjectFilter(subject="Algebra").select("math", samples))
    1
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from inspect_ai.dataset import Sample

from archon_eval.errors import DataError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Filter:
    """No choice; what each filter below has besides its options.

    Raises:
        DataError: (select) a value that no sample has, or values that no sample has together.
    """

    def select(self, name: str, samples: Sequence[Sample]) -> list[Sample]:
        """The samples that have, under each option that is given, one of its values; in their order."""
        chosen, given = list(samples), []
        for key in (field.name for field in fields(self)):
            if (value := getattr(self, key)) is None:
                continue
            wanted = self._read_values(name, key, value, samples)
            given.append(f"{key}={','.join(sorted(wanted))}")
            chosen = [sample for sample in chosen if _get_value(sample, key) in wanted]
        if not chosen and given:
            raise DataError(f"{name}: no question has {' and '.join(given)}, though there are some for each alone")
        return chosen

    def _read_values(
        self, name: str, key: str, value: str | int | list[str] | list[int], samples: Sequence[Sample]
    ) -> set[str]:
        """The values of an option; a text with commas is several, unless it is a value as it stands."""
        legal = {found for sample in samples if (found := _get_value(sample, key)) is not None}
        if not legal:
            raise DataError(f"{name}: {key}={value}: no question says its {key}, so none can be chosen by it")
        if isinstance(value, list):
            wanted = [str(item).strip() for item in value]
        else:
            wanted = [str(value)] if str(value) in legal else [item.strip() for item in str(value).split(",")]
        if unknown := [item for item in wanted if item not in legal]:
            raise DataError(f"{name}: no question has {key}={unknown[0]!r}{did_you_mean(unknown[0], legal)}")
        if not wanted:
            raise DataError(f"{name}: {key} is an empty list{did_you_mean('', legal)}")
        return set(wanted)


@dataclass(frozen=True, kw_only=True)
class SubjectFilter(Filter):
    """Which subjects of a benchmark are asked."""

    subject: str | list[str] | None = None
    """One subject or several (`-T subject=algebra,geometry`), as the source writes them; all by default."""


@dataclass(frozen=True, kw_only=True)
class LevelFilter(SubjectFilter):
    """Which subjects and levels are asked."""

    level: str | int | list[str] | list[int] | None = None
    """One level or several (`-T level=4,5`), where the rows have one; all by default."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkFilter(Filter):
    """Which of the benchmarks in a mixture are asked."""

    part: str | None = None
    """`free-form` or `multiple-choice`; both by default."""
    benchmark: str | list[str] | None = None
    """One sub-benchmark or several (`-T benchmark=GSM8k,DROP`); all by default."""


@dataclass(frozen=True, kw_only=True)
class CategoryFilter(Filter):
    """Which categories of questions are asked."""

    category: str | list[str] | None = None
    """One category or several (`-T category=math,coding`); all by default."""


@dataclass(frozen=True, kw_only=True)
class DatasetFilter(Filter):
    """Which of the data sets that a benchmark was put together from are asked."""

    dataset: str | list[str] | None = None
    """One data set or several (`-T dataset=helpful_base,koala`); all by default."""


def _get_value(sample: Sample, key: str) -> str | None:
    """The value as `-T` gives it, as text; None where the sample says nothing."""
    value = (sample.metadata or {}).get(key)
    return None if value is None or value == "" else str(value)
