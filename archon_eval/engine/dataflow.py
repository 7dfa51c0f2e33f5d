"""What flows between layers while they run: slots that fill, lists of them, and the gate of a filter.

flow.put_slots(slots)                       # their number is known before any of them is filled
candidates = await flow.get_candidates()    # in the order of the slots, whatever the timing
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Generic, TypeVar

import anyio

from archon_eval.engine.job_window import Job
from archon_eval.types import Candidate, State

T = TypeVar("T")


class _OneShotValue(Generic[T]):
    """A value that is set once and may be waited for."""

    __slots__ = ("_event", "_value")

    def __init__(self) -> None:
        self._value: tuple[T] | None = None
        self._event: anyio.Event | None = None

    @property
    def is_set(self) -> bool:
        return self._value is not None

    def set(self, value: T) -> None:
        """The first value stands."""
        if self._value is None:
            self._value = (value,)
            if self._event is not None:
                self._event.set()

    async def get(self) -> T:
        while self._value is None:  # an event is made only where somebody has to wait: most never do
            self._event = self._event or anyio.Event()
            await self._event.wait()
        return self._value[0]


class CandidateSlot:
    """The place of one candidate: filled once, with a candidate or with None for none."""

    __slots__ = ("_filled", "_scope", "candidate", "on_fill", "upstream")

    def __init__(self, upstream: "CandidateSlot | None" = None, cancellable: bool = False) -> None:
        self.candidate: Candidate | None = None
        self._filled: _OneShotValue[Candidate | None] = _OneShotValue()
        self._scope = anyio.CancelScope() if cancellable else None
        self.upstream = upstream
        self.on_fill: Callable[[], None] | None = None
        """Is called when it is filled, of the layer that works on its candidate."""

    @property
    def is_filled(self) -> bool:
        return self._filled.is_set

    def fill(self, candidate: Candidate | None) -> None:
        """The first candidate stands."""
        if not self._filled.is_set:
            self.candidate = candidate
            self._filled.set(candidate)
            if self.on_fill is not None:
                self.on_fill()

    async def get(self) -> Candidate | None:
        return await self._filled.get()

    async def run_job(self, work: Job) -> None:
        """Do what fills this slot, sooner or later; nothing where it is filled already."""
        if not self.is_filled:
            with self._scope or nullcontext():
                await work()

    def cancel(self) -> None:
        """Stop the work on this candidate, here and upstream; an unfilled slot stays empty."""
        if self._scope is not None:
            self._scope.cancel()
        self.fill(None)
        if self.upstream is not None:
            self.upstream.cancel()


def fill_slots(candidates: Sequence[Candidate]) -> list[CandidateSlot]:
    """A slot for each candidate, filled."""
    slots = [CandidateSlot() for _ in candidates]
    for slot, candidate in zip(slots, candidates, strict=True):
        slot.fill(candidate)
    return slots


class LayerFlow:
    """What one layer hands to the next: slots as soon as their number is known, values when complete."""

    def __init__(self) -> None:
        self._slots: _OneShotValue[list[CandidateSlot]] = _OneShotValue()
        self._values: _OneShotValue[Mapping[str, Any]] = _OneShotValue()
        self.started: _OneShotValue[bool] = _OneShotValue()
        """Set when the layer that fills this flow begins, so that a transcript shows layers in order."""

    def put_slots(self, slots: list[CandidateSlot]) -> None:
        self._slots.set(slots)

    def put_values(self, values: Mapping[str, Any]) -> None:
        self._values.set(values)

    def put(self, state: State) -> None:
        """A finished state at once."""
        self.started.set(True)
        self.put_slots(fill_slots(state.candidates))
        self.put_values(state.values)

    async def get_slots(self) -> list[CandidateSlot]:
        return await self._slots.get()

    async def get_values(self) -> Mapping[str, Any]:
        return await self._values.get()

    async def get_candidates(self) -> tuple[Candidate, ...]:
        candidates = [await slot.get() for slot in await self.get_slots()]
        return tuple(candidate for candidate in candidates if candidate is not None)


class FilledSlots:
    """The places of slots in the order in which they are filled; those that are filled already come first.

    async for place in FilledSlots(slots): ...
    """

    def __init__(self, slots: Sequence[CandidateSlot]) -> None:
        """Has to be the only one over these slots."""
        self._left = len(slots)
        self._ready = deque(place for place, slot in enumerate(slots) if slot.is_filled)
        self._event: anyio.Event | None = None
        for place, slot in enumerate(slots):
            if not slot.is_filled:
                slot.on_fill = partial(self._report, place)

    def _report(self, place: int) -> None:
        self._ready.append(place)
        if self._event is not None:
            self._event.set()

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        if not self._left:
            raise StopAsyncIteration
        while not self._ready:
            self._event = anyio.Event()
            await self._event.wait()
            self._event = None
        self._left -= 1
        return self._ready.popleft()


class FilterGate:
    """Knows when all candidates of a filter are judged, how many passed, and when enough did.

    A candidate that does not pass waits here until it is known whether any does, since otherwise all go on.
    """

    def __init__(self, slots: list[CandidateSlot], stop_after: int | None) -> None:
        self._slots, self._waiting, self._stop_after = slots, len(slots), stop_after
        self._passed = 0
        self._failed: list[tuple[CandidateSlot, Candidate]] = []
        self._is_done = False

    def report_verdict(self, slot: CandidateSlot, judged: Candidate | None, passes: bool) -> None:
        """Takes a verdict; without a candidate there was nothing to judge."""
        if self._is_done:  # its slot was cancelled
            return
        self._waiting -= 1
        if passes:
            self._passed += 1
            slot.fill(judged)
        elif judged is None:
            slot.fill(None)
        else:
            self._failed.append((slot, judged))
        self._is_done = self._waiting == 0 or (self._stop_after is not None and self._passed >= self._stop_after)
        if self._is_done:
            for failed, candidate in self._failed:
                failed.fill(None if self._passed else candidate)
            self._failed.clear()
            for other in self._slots if self._waiting else ():
                if other.candidate is None:
                    other.cancel()
