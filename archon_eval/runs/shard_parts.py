"""Which answers of a sharded eval are there, which are missing, and what is asked next.

folder = PartFolder(Path("logs/.shards/1f0c"))
plan = PartPlan(ids, epochs, folder.read_answered())
while part := plan.take(): ...
"""

import json
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, NamedTuple

from archon_eval.errors import DataError
from archon_eval.runs.merge_logs import PartSummary, SampleKey, read_summaries

SMALL_PART, LARGE_PART = 10, 100
"""Questions of a part: as many as Inspect answers at once by default, and as many as the log that is written anew with
every answer stays small for."""
PASSING_OPTIONS = (
    *("--max-connections", "--max-samples", "--max-subprocesses", "--max-sandboxes", "--max-retries", "--timeout"),
    *("--log-dir", "--log-level", "--display"),
)
"""Options with a value that do not change what is asked: with others an eval goes on where it was."""
SHARD_FOLDER, PART_SUFFIX = ".shards", ".part"
"""The folder beside a log, and the end of the names of logs in it, by which nobody takes them for logs of their own."""
CONTENT_SUFFIXES = (".py", ".yaml", ".yml", ".json", ".toml")
"""Files named on the command line that say what is asked, by their contents."""


class Part(NamedTuple):
    """Questions that one shard asks."""

    ids: tuple[str | int, ...]
    skip: tuple[SampleKey, ...]
    """Answers to these that are there already."""


class PartPlan:
    """Divides the missing answers: large parts first, then smaller ones, so that all shards end at about one time."""

    def __init__(self, ids: Sequence[str | int], epochs: int, answered: Collection[SampleKey]) -> None:
        self.answered, self.epochs, self.total = set(answered), epochs, len(ids) * epochs
        self._left = [id for id in ids if self._find_missing(id)]
        self._shards, self._smallest = 1, 1
        self.divide_among(1)

    def __len__(self) -> int:
        """Questions that are left."""
        return len(self._left)

    def divide_among(self, shards: int) -> None:
        """Choose the size of parts for so many shards."""
        self._shards, self._smallest = shards, min(SMALL_PART, -(-len(self._left) // shards))

    def _find_missing(self, id: str | int) -> list[int]:
        return [epoch for epoch in range(1, self.epochs + 1) if (id, epoch) not in self.answered]

    def take(self) -> Part | None:
        """The next part, of neighbours in the dataset's order; None when nothing is left."""
        if not self._left:
            return None
        size = min(LARGE_PART, max(self._smallest, -(-len(self._left) // (2 * self._shards))))
        ids, self._left = self._left[:size], self._left[size:]
        epochs = range(1, self.epochs + 1)
        return Part(tuple(ids), tuple((id, n) for id in ids for n in epochs if (id, n) in self.answered))

    def put_back(self, part: Part, answered: Collection[SampleKey]) -> None:
        """A part whose shard died: what it has not answered is asked first."""
        self.answered |= set(answered)
        self._left = [*(id for id in part.ids if self._find_missing(id)), *self._left]


class PartFolder:
    """The logs of parts, each in a folder of its own, by their numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def start(self) -> Path | None:
        """The log of the first look, which has the header, under the name of the final one."""
        return next((self.path / "start").glob(f"*{PART_SUFFIX}"), None)

    def keep_start(self, log: Path) -> Path:
        """Keep the log of the look; returns its place here."""
        place = self.path / "start" / f"{log.stem}.new"
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(log, place)
        return place.replace(place.with_suffix(PART_SUFFIX))

    def keep_digests(self, digests: Mapping[str | int, str]) -> None:
        """Keep what the samples are, by their ids."""
        (self.path / "samples.json").write_text(json.dumps(list(digests.items())), encoding="utf-8")

    def read_digests(self) -> dict[str | int, str]:
        """What the samples were; empty where nothing was begun."""
        file = self.path / "samples.json"
        return dict(json.loads(file.read_text("utf-8"))) if file.exists() else {}

    @property
    def ledger(self) -> Path:
        """What was spent of the eval's budgets."""
        return self.path / "budget.json"

    @property
    def speeds(self) -> Path:
        """How slow the hosts of programs are, as the first shard measured them."""
        return self.path / "speeds.json"

    def create_part(self) -> Path:
        """A folder for one more part."""
        number = max((int(part.name) for part in self._list_parts()), default=0) + 1
        folder = self.path / str(number)
        folder.mkdir(parents=True)
        return folder

    def list_logs(self) -> list[Path]:
        """The logs of parts that can be read, oldest first."""
        return [log for part in self._list_parts() if (log := find_log(part))]

    def read_answered(self) -> set[SampleKey]:
        """The answers that are there; a later part's word counts."""
        latest: dict[SampleKey, PartSummary] = {}
        for log in self.list_logs():
            latest |= read_summaries(log)
        return {key for key, summary in latest.items() if not summary.error}

    def _list_parts(self) -> list[Path]:
        if not self.path.is_dir():
            return []
        parts = [part for part in self.path.iterdir() if part.name.isdecimal() and part.is_dir()]
        return sorted(parts, key=lambda part: int(part.name))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """While this process works on it.

        Raises:
            DataError: another process does.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as file:
            if not _try_lock(file):
                raise DataError(f"{self.path}: the same command is running there; wait for it, or stop it")
            yield


def _try_lock(file: IO[str]) -> bool:
    """Whether this process has the lock now; where there are none, every process has."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def find_log(part: Path) -> Path | None:
    """The log in a part's folder that can be read; None where its shard died before the first answer."""
    for log in sorted([*part.glob(f"*{PART_SUFFIX}"), *part.glob("*.eval")]):
        try:
            read_summaries(log)
        except DataError:
            continue
        return log.replace(log.with_suffix(PART_SUFFIX))  # nobody writes there any more
    return None


def identify_command(words: Sequence[str]) -> str:
    """What equal commands have in common; options that do not change what is asked are left out, contents of files not.

    >>> identify_command(["a.py", "--limit", "5"]) == identify_command(["a.py", "--limit", "5", "--max-samples", "2"])
    True
    """
    digest, kept, skipped = sha256(str(Path.cwd()).encode()), list[str](), False
    for number, word in enumerate(words):
        name = word.partition("=")[0]
        is_budget = re.match(r"budget\s*=", word) and number and words[number - 1] in ("-S", "-M")
        if not skipped and name not in PASSING_OPTIONS and not is_budget:
            kept.append(word)
        skipped = name in PASSING_OPTIONS and "=" not in word and not skipped
    for word in kept:
        digest.update(f"{word}\0".encode("utf-8", "replace"))
        for text in (word, word.rpartition("=")[2], word.rpartition("@")[0]):
            path = Path(text)
            if path.suffix in CONTENT_SUFFIXES and len(text) < 1000 and path.is_file():
                digest.update(path.read_bytes())
                break
    return digest.hexdigest()[:16]


def describe_changes(digests: Mapping[str | int, str], expected: Mapping[str | int, str]) -> str:
    """Which of an eval's samples is another now; empty where none is."""
    changed = [id for id, digest in expected.items() if digests.get(id) != digest]
    return f"sample {changed[0]!r} is another now, and {len(changed) - 1} more" if changed else ""
