"""The shards of one eval at work: each takes parts of the plan until nothing is left, or something ends the eval."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from archon_eval.errors import ArchonError, DataError, WorkerLostError
from archon_eval.models.shared_budget import LeaseLedger
from archon_eval.runs.child_process import LOG_GRACE_SECONDS
from archon_eval.runs.merge_logs import SampleKey, read_header, read_sample_error, read_summaries
from archon_eval.runs.progress import EvalProgress
from archon_eval.runs.shard_parts import Part, PartFolder, PartPlan, find_log
from archon_eval.runs.shard_worker import PartRequest

MAX_DEATHS = 3
"""How many times in a row the process of a shard may die before it has answered anything new."""
DOCKER_SANDBOXES = ("docker", "archon_docker")
"""Sandboxes of which Inspect runs twice as many at once as there are CPUs."""


class Shard(Protocol):
    """What runs parts: a process here, or one elsewhere."""

    def run(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """What came of a request. Raises `WorkerLostError`."""
        ...

    def send(self, message: Mapping[str, Any]) -> None:
        """Give it a message while it runs."""
        ...

    def interrupt(self) -> None:
        """End the part under way as Ctrl-C does, and run no other."""
        ...

    def stop(self) -> None:
        """End it."""
        ...

    def list_notes(self) -> list[str]:
        """What it had to say, after its end."""
        ...

    def close(self) -> None:
        """Release what is left of it."""
        ...


StartShard = Callable[[int, Callable[[Mapping[str, Any]], None]], Shard]
"""Starts a shard by its number, with a callback for its messages."""


@dataclass(frozen=True, slots=True)
class CrewOutcome:
    """How an eval ended, as its log is to say."""

    status: str = "success"
    error: Mapping[str, Any] | None = None
    """Inspect's `EvalError`."""


class ShardCrew:
    """Runs the plan; `start`, `wait` and `end` are for one thread, which is not one of the shards' own."""

    def __init__(
        self,
        spec: Mapping[str, Any],
        digests: Mapping[str | int, str],
        plan: PartPlan,
        folder: PartFolder,
        start_shard: StartShard,
        *,
        count: int,
        is_here: bool = True,
    ) -> None:
        """
        Args:
            spec: Inspect's `EvalSpec` of the whole eval.
            digests: sample id -> digest, as the look had them.
            plan: what is missing.
            folder: where logs of parts go.
            start_shard: starts a shard.
            count: of shards.
            is_here: whether they share this machine.
        """
        self._config, self._sandbox = spec["config"], (spec.get("sandbox") or {}).get("type")
        self._digests, self._plan, self._folder, self._start_shard = digests, plan, folder, start_shard
        self._count, self._is_here = count, is_here
        self._lock = threading.Lock()
        self._ledger = LeaseLedger(self._send_to_borrower, folder.ledger)
        self._shards: list[Shard] = []
        """Those that live."""
        self._borrowers: dict[int, str] = {}
        """Shard -> the part that it is at, which is what the ledger lends to."""
        self._asking: dict[str, Shard] = {}
        """Part -> the shard that asks it."""
        self._answered, self._failed = plan.answered, dict[SampleKey, Mapping[str, Any]]()
        self._under_way: dict[int, int] = {}
        """Answers of the part that a shard is at."""
        self._spent = EvalProgress()
        self._outcome: CrewOutcome | None = None
        self._crash: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self.notes: list[str] = []

    @property
    def progress(self) -> EvalProgress:
        """How far it is; calls and dollars are those of this run."""
        with self._lock:
            done = len(self._answered) + len(self._failed) + sum(self._under_way.values())
            spent = self._spent
            return EvalProgress(
                done=min(done, self._plan.total),
                total=self._plan.total,
                failed=spent.failed,
                calls=spent.calls,
                reused=spent.reused,
                dollars=spent.dollars,
            )

    def start(self) -> None:
        """Start as many shards as there are."""
        if len(self._plan):
            self._threads = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in range(self._count)]
        for thread in self._threads:
            thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether all have ended, after so many seconds at the latest."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def end(self, outcome: CrewOutcome) -> None:
        """Begin no part any more, and interrupt those under way."""
        with self._lock:
            if self._outcome is not None:
                return
            self._outcome = outcome
            shards = list(self._shards)
        for shard in shards:
            shard.interrupt()

    def wait_for_logs(self) -> None:
        """After `end`: give shards some seconds to write their logs."""
        self.wait(LOG_GRACE_SECONDS)

    def conclude(self) -> CrewOutcome:
        """How the eval ended.

        Raises:
            ArchonError: by a fault of a shard's.
        """
        if self._crash is not None:
            raise self._crash if isinstance(self._crash, ArchonError) else ArchonError(repr(self._crash))
        if self._outcome is not None:
            return self._outcome
        return CrewOutcome("error") if self._has_failed() else CrewOutcome()

    def stop(self) -> None:
        """End the shards that were started here."""
        with self._lock:
            shards, self._shards = self._shards, []
        for shard in shards:
            self._release(shard)

    def _release(self, shard: Shard) -> None:
        shard.stop()
        self.notes += shard.list_notes()
        shard.close()

    def _work(self, number: int) -> None:
        """The thread of a shard."""
        deaths, shard = 0, None
        try:
            while (part := self._take_part()) is not None:
                before = len(self._answered)
                try:
                    shard = shard or self._begin_shard(number)
                    self._run_part(part, number, shard)
                    deaths = 0
                except WorkerLostError as exc:
                    self._forget(shard)
                    shard, deaths = None, 0 if len(self._answered) > before else deaths + 1
                    if deaths == MAX_DEATHS:
                        raise ArchonError(f"{deaths} processes of a shard died one after the other; {exc}") from exc
                    self.notes.append(f"note: {exc}; what it had not answered is asked again")
                    with self._lock:
                        self._plan.put_back(part, self._answered)
        except BaseException as exc:  # noqa: BLE001 (the thread that waits for this one raises it)
            self._crash = self._crash or exc
            self.end(CrewOutcome("error"))

    def _take_part(self) -> Part | None:
        with self._lock:
            return None if self._outcome is not None else self._plan.take()

    def _begin_shard(self, number: int) -> Shard:
        shard = self._start_shard(number, lambda message: self._receive(number, message))
        with self._lock:
            self._shards.append(shard)
            ended = self._outcome is not None
        if ended:
            shard.interrupt()
        return shard

    def _forget(self, shard: Shard | None) -> None:
        if shard is not None:
            with self._lock:
                self._shards.remove(shard)
            self._release(shard)

    def _receive(self, number: int, message: Mapping[str, Any]) -> None:
        """What a shard says while it runs a part."""
        if "budget" in message:
            self._ledger.receive(self._borrowers[number], message)
        elif "total" not in (event := message["progress"]):
            with self._lock:
                self._spent = self._spent.add(EvalProgress(done=1, **event))
                self._under_way[number] = self._under_way.get(number, 0) + 1

    def _send_to_borrower(self, name: str, message: Mapping[str, Any]) -> None:
        if (shard := self._asking.get(name)) is not None:
            shard.send(message)

    def _run_part(self, part: Part, number: int, shard: Shard) -> None:
        """One part; whatever of it is answered is then known.

        Raises:
            WorkerLostError: the shard's process died.
        """
        with self._lock:
            place = self._folder.create_part()
            borrower = self._borrowers[number] = place.name
            self._asking[borrower] = shard
        given = self._config.get("fail_on_error")
        fails_at_once = (given is None or given is True) and not self._config.get("continue_on_fail")
        cpus = 2 * (os.cpu_count() or 1) if self._is_here and self._sandbox in DOCKER_SANDBOXES else None
        request = PartRequest(
            folder=str(place),
            ids=part.ids,
            digests=tuple(self._digests[id] for id in part.ids),
            skip=part.skip,
            shard=number,
            shards=self._count,
            sharers=self._count if self._is_here else 1,
            speeds=str(self._folder.speeds.absolute()) if self._is_here else "",
            max_sandboxes=cpus and max(1, cpus // self._count),
            fails_at_once=fails_at_once,
        )
        try:
            done = shard.run({"do": "run", **asdict(request)})
        finally:
            del self._asking[borrower]
            self._ledger.write_off(borrower)
            log = find_log(place)
            summaries = read_summaries(log) if log else {}
            with self._lock:
                self._under_way.pop(number, None)
                failed = {key: each for key, each in summaries.items() if each.error}
                self._answered |= summaries.keys() - failed.keys()
        epochs = range(1, self._plan.epochs + 1)
        missing = {(id, n) for id in part.ids for n in epochs} - self._answered - failed.keys()
        if missing and log is None and self._outcome is None:  # not even begun: the fault is the command's
            raise DataError(done["error"] or "a part of the eval has no log")
        header = read_header(log) if log else {}
        error = header.get("error") or {"message": done["error"], "traceback": "", "traceback_ansi": ""}
        with self._lock:
            if self._outcome is None and log is not None:
                self._failed |= {key: read_sample_error(log, key) for key in failed}
        if missing:
            self.end(CrewOutcome("error", error))
        elif failed and not self._config.get("continue_on_fail") and self._has_failed():
            self.end(CrewOutcome("error", next(iter(self._failed.values()))))

    def _has_failed(self) -> bool:
        """Whether more answers have failed than `--fail-on-error` lets pass."""
        failed, limit = len(self._failed), self._config.get("fail_on_error")
        if limit is False or not failed:
            return False
        if limit is None or limit is True:
            return True
        return bool(failed >= (limit * self._plan.total if limit < 1 else limit))
