"""Runs one eval in several processes at once, and leaves one log as Inspect writes it.

    outcome = run_sharded(["archon_eval/math", "--model", "sim/gpt-4o"], shards=4)
    outcome.log                      # read by `inspect view`, `inspect score` and `archon report` like any other

The words are those of `inspect eval`, which parses them itself in every process. One process loads the task and says
which questions there are. Each shard then asks some of them, all epochs of a question in one shard, and takes further
questions when it is done with these. Their logs lie in `.shards` beside the final log until that is whole, and the same
command goes on with what is missing.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

from archon_eval.errors import ArchonError, DataError, WorkerLostError
from archon_eval.runs.child_process import hide_secrets, join_words
from archon_eval.runs.merge_logs import MergeRequest, read_header
from archon_eval.runs.progress import EvalProgressCallback
from archon_eval.runs.run_eval import HOOKS_BANNER, NO_TASK_MESSAGE, suggest_task
from archon_eval.runs.shard_crew import CrewOutcome, Shard, ShardCrew, StartShard
from archon_eval.runs.shard_parts import SHARD_FOLDER, PartFolder, PartPlan, describe_changes, identify_command
from archon_eval.runs.shard_process import ShardProcess
from archon_eval.runs.shard_worker import SHARED_LIMITS

POLL_INTERVAL = 0.2
"""Seconds between two reports of progress."""
CONNECTIONS_NOTE = (
    "each of the {} shards has its own connections to a model, and learns by itself how many requests it takes: "
    "--max-connections limits all of them together"
)
CONTINUED_NOTE = "{} of {} answers are of an earlier run of the same command; remove {} before a run to begin anew"


@dataclass(frozen=True, slots=True)
class ShardedEval:
    """What came of a sharded eval."""

    log: str
    """Its path or address."""
    status: str
    """As the log has it: `success`, `error`, or `cancelled` after Ctrl-C."""
    error: str = ""
    """Why it is not `success`."""
    notes: tuple[str, ...] = ()
    """What the shards had to say, each once."""


def run_sharded(
    words: Sequence[str],
    *,
    shards: int,
    on_progress: EvalProgressCallback = lambda progress: None,
    seconds: float = inf,
    dask: str | None = None,
) -> ShardedEval:
    """Run the eval, or go on with one that the same command began.

    Args:
        words: of `inspect eval`, after these two.
        shards: processes at most.
        on_progress: called with how far it is, in this thread.
        seconds: how long it may take.
        dask: the address of the Dask cluster on whose workers the shards run; on this machine where it is None.

    Raises:
        ArchonError: the command is wrong, in its own words; the eval cannot be divided; no shard stays alive; or it
            took too long. What was answered by then is kept, and the same command goes on with it.
    """
    if shards < 1:
        raise DataError(f"shards={shards}: must be 1 or more")
    with ExitStack() as stack:
        stack.enter_context(_hide_secrets_in_errors(words))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        prepare = stack.enter_context(_connect(dask, words)) if dask else None
        keeper = _Keeper(words, scratch)
        stack.callback(keeper.stop)
        look = keeper.look()
        log_dir = look.given["log_dir"] or "logs"
        base = Path("logs") if "://" in log_dir else Path(log_dir)
        folder = PartFolder(base / SHARD_FOLDER / identify_command(words))
        stack.enter_context(folder.lock())
        header = _begin(folder, look)
        spec, answered = header["eval"], folder.read_answered()
        ids, epochs = spec["dataset"]["sample_ids"] or [], spec["config"].get("epochs") or 1
        plan = PartPlan(ids, epochs, answered)
        count, notes = _choose_count(shards, len(plan), look.given)
        notes += [f"note: {CONTINUED_NOTE.format(len(answered), plan.total, folder.path)}"] if answered else []
        plan.divide_among(count)
        start_shard = prepare(look.digests) if prepare else keeper.start_shard
        crew = ShardCrew(spec, look.digests, plan, folder, start_shard, count=count, is_here=not dask)
        stack.callback(crew.stop)
        outcome = _follow(crew, on_progress, time.monotonic() + seconds)
        crew.stop()
        log = _choose_location(log_dir, folder, look.given)
        merged = MergeRequest(
            start=str(folder.start),
            parts=[str(part) for part in folder.list_logs()],
            location=log,
            status=outcome.status,
            error=outcome.error,
            with_samples=spec["config"].get("log_samples") is not False,
        )
        done = keeper.merge(merged)
        if done["status"] == "success":
            shutil.rmtree(folder.path, ignore_errors=True)
            with suppress(OSError):
                folder.path.parent.rmdir()
        keeper.stop()
        said = [hide_secrets(note, words) for note in dict.fromkeys([*notes, *crew.notes, *keeper.notes])]
        return ShardedEval(log, done["status"], hide_secrets(done["error"], words), tuple(said))


@contextmanager
def _hide_secrets_in_errors(words: Sequence[str]) -> Iterator[None]:
    """Errors of shards may have what a task or a provider printed, and so what the words gave it."""
    try:
        yield
    except ArchonError as exc:
        exc.args = tuple(hide_secrets(arg, words) if isinstance(arg, str) else arg for arg in exc.args)
        exc.__cause__ = None
        raise


def _connect(
    dask: str, words: Sequence[str]
) -> AbstractContextManager[Callable[[Mapping[str | int, str]], StartShard]]:
    from archon_eval.runs.dask_shards import connect_shards

    return connect_shards(dask, words)


@dataclass(frozen=True, slots=True)
class _Look:
    """What a task has to ask, as one process saw that loaded it."""

    log: Path
    """Has no samples, but the header."""
    digests: Mapping[str | int, str]
    """Sample id -> digest."""
    given: Mapping[str, Any]
    """Options of the command, as Inspect parsed them."""


class _Keeper:
    """The process that loads the whole task: it looks first and merges last, and is a shard in between."""

    def __init__(self, words: Sequence[str], scratch: Path) -> None:
        self._words, self._scratch, self._looks = tuple(words), scratch, 0
        self._process: ShardProcess | None = None
        self._lent = False
        self.notes: list[str] = []

    def look(self) -> _Look:
        """
        Raises:
            ArchonError: the command is wrong, or the eval cannot be divided.
        """
        self._process = self._process or ShardProcess(self._words, lambda message: None)
        self._looks += 1
        folder = self._scratch / str(self._looks)
        try:
            done = self._process.run({"do": "look", "folder": str(folder)})
        except WorkerLostError as exc:
            done = {"error": str(exc)}
        if error := done.get("error"):
            self._process.stop()
            printed = f"{HOOKS_BANNER.sub('', self._process.read_printed())}\n{error}".strip()
            hint = suggest_task(self._words[0]) if self._words and NO_TASK_MESSAGE in printed else ""
            text = f"{join_words(['inspect', 'eval', *self._words])} failed{hint}:\n{printed}"
            raise ArchonError(hide_secrets(text, self._words))
        if refused := done["refused"]:
            raise DataError(refused)
        log = next(folder.glob("*.eval"))
        return _Look(log, dict(done["digests"]), done["given"])

    def start_shard(self, shard: int, on_message: Callable[[Mapping[str, Any]], None]) -> Shard:
        """A shard on this machine; the first one is this process itself."""
        if self._process is not None and not self._lent:
            self._lent = True
            self._process.on_message = on_message
            return _LentProcess(self._process)
        return ShardProcess(self._words, on_message)

    def merge(self, request: MergeRequest) -> Mapping[str, str]:
        """
        Raises:
            ArchonError: the logs cannot be put together.
        """
        if self._process is None or self._process.has_ended:
            self.stop()
            self.look()
        assert self._process is not None
        done = self._process.run({"do": "merge", **asdict(request)})
        if "log" not in done:
            raise ArchonError(f"the logs of the shards cannot be put together, and are kept: {done['error']}")
        return done

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.stop()
            self.notes += self._process.list_notes()
            self._process.close()
            self._process = None


class _LentProcess:
    """The keeper's process as a shard, which outlives the crew."""

    def __init__(self, process: ShardProcess) -> None:
        self.run, self.send, self.interrupt = process.run, process.send, process.interrupt

    def stop(self) -> None:
        pass

    def list_notes(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


def _begin(folder: PartFolder, look: _Look) -> Mapping[str, Any]:
    """The header of the eval: of the one that is continued, or a new one's.

    Raises:
        DataError: another task or other samples than those of the eval that is to be continued.
    """
    if folder.start is None:
        folder.keep_start(look.log)
    assert folder.start is not None
    header, now = read_header(folder.start)["eval"], read_header(look.log)["eval"]
    names = ("task", "task_version", "model", "solver", "model_base_url", "model_roles")
    changed = [name for name in names if header.get(name) != now.get(name)]
    known = set(header["dataset"]["sample_ids"] or ())
    why = f"its {changed[0].replace('_', ' ')} is another" if changed else ""
    if not why and not known <= look.digests.keys():
        why = f"it has no sample {min(known - look.digests.keys(), key=str)!r} now"
    counts = [len(spec["dataset"]["sample_ids"] or ()) for spec in (header, now)]  # a random choice may be another
    if not why and counts[0] != counts[1]:
        why = f"its {counts[0]} samples are {counts[1]} now"
    expected = folder.read_digests() or {id: look.digests[id] for id in known if id in look.digests}
    if why := why or describe_changes(look.digests, expected):
        raise DataError(
            f"{folder.path}: the same command began this eval, but since then {why}; remove that folder to begin anew"
        )
    folder.keep_digests(expected)
    return {"eval": header}


def _choose_count(shards: int, questions: int, given: Mapping[str, Any]) -> tuple[int, list[str]]:
    """How many shards there are use for, and what is to be said of that."""
    notes = []
    limits = {name: limit for name in SHARED_LIMITS if isinstance(limit := given[name], int)}
    for name, limit in limits.items():
        if limit < shards:
            notes.append(f"note: {limit} shards, as --{name.replace('_', '-')} is {limit} over all of them")
            shards = limit
    count = max(1, min(shards, questions))
    if count > 1 and "max_connections" not in limits:
        notes.append(f"note: {CONNECTIONS_NOTE.format(count)}")
    return count, notes


def _follow(crew: ShardCrew, on_progress: EvalProgressCallback, deadline: float) -> CrewOutcome:
    """Wait until all shards have ended, and tell how far they are.

    Raises:
        ArchonError: the time is over.
    """
    shown = None
    try:
        crew.start()
        while not crew.wait(POLL_INTERVAL):
            if (progress := crew.progress) != shown:
                on_progress(progress)
                shown = progress
            if time.monotonic() > deadline:
                crew.end(CrewOutcome("error"))
                crew.wait_for_logs()
                raise ArchonError(f"no end in time, {progress.done} of {progress.total} answered")
    except KeyboardInterrupt:
        crew.end(CrewOutcome("cancelled"))
        crew.wait_for_logs()
    if crew.progress != shown:
        on_progress(crew.progress)
    return crew.conclude()


def _choose_location(log_dir: str, folder: PartFolder, given: Mapping[str, Any]) -> str:
    assert folder.start is not None
    suffix = ".json" if given["log_format"] == "json" else ".eval"
    return f"{log_dir.rstrip('/')}/{folder.start.stem}{suffix}"
