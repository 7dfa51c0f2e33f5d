"""What flows between layers while they run: slots that fill, lists of them, and the gate of a filter.

flow.put_slots(slots)                       # their number is known before any of them is filled
candidates = await flow.get_candidates()    # in the order of the slots, whatever the timing
"""

from collections.abc import Callable, Coroutine, Mapping
from contextlib import nullcontext
from typing import Any, Generic, TypeVar

import anyio

from archon_eval.types import Candidate, State

T = TypeVar("T")
SlotJob = Callable[[], Coroutine[Any, Any, None]]


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

    __slots__ = ("_filled", "_scope", "candidate", "upstream")

    def __init__(self, upstream: "CandidateSlot | None" = None, cancellable: bool = False) -> None:
        self.candidate: Candidate | None = None
        self._filled: _OneShotValue[Candidate | None] = _OneShotValue()
        self._scope = anyio.CancelScope() if cancellable else None
        self.upstream = upstream

    def fill(self, candidate: Candidate | None) -> None:
        if not self._filled.is_set:
            self.candidate = candidate
            self._filled.set(candidate)

    async def get(self) -> Candidate | None:
        return await self._filled.get()

    async def run_job(self, work: SlotJob) -> None:
        """Do what fills this slot; whatever becomes of it, the slot is filled at the end."""
        with self._scope or nullcontext():
            await work()
        self.fill(None)

    def cancel(self) -> None:
        """Stop the work on this candidate, here and upstream; an unfilled slot stays empty."""
        if self._scope is not None:
            self._scope.cancel()
        self.fill(None)
        if self.upstream is not None:
            self.upstream.cancel()


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
        slots = [CandidateSlot() for _ in state.candidates]
        for slot, candidate in zip(slots, state.candidates, strict=True):
            slot.fill(candidate)
        self.put_slots(slots)
        self.put_values(state.values)

    async def get_slots(self) -> list[CandidateSlot]:
        return await self._slots.get()

    async def get_values(self) -> Mapping[str, Any]:
        return await self._values.get()

    async def get_candidates(self) -> tuple[Candidate, ...]:
        candidates = [await slot.get() for slot in await self.get_slots()]
        return tuple(candidate for candidate in candidates if candidate is not None)


class FilterGate:
    """Knows when all candidates of a filter are judged, how many passed, and when enough did."""

    def __init__(self, slots: list[CandidateSlot], stop_after: int | None) -> None:
        self._slots, self._waiting, self._stop_after = slots, len(slots), stop_after
        self.passed = 0
        self.done = anyio.Event()
        if not slots:
            self.done.set()

    def report_verdict(self, slot: CandidateSlot, judged: Candidate | None, passes: bool) -> None:
        self._waiting -= 1
        if passes:
            self.passed += 1
            slot.fill(judged)
        if self._waiting == 0 or (self._stop_after is not None and self.passed >= self._stop_after):
            self.done.set()
            for other in self._slots if self._waiting else ():
                if other.candidate is None:
                    other.cancel()
