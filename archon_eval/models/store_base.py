"""What every call store is and does, wherever it keeps its replies.

    with open_store("postgresql://ann@db.example/evals") as store:
        reply = await store.fetch(key) or await store.put(key, await caller(call))

A reply is committed before `put` returns: killing the process loses nothing that was handed on. Messages are kept as
digests only.
"""

import logging
import os
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, Self, TypeVar

import anyio

from archon_eval.models.call import Reply
from archon_eval.models.store_entry import CallKey, decode_verified, encode, hash_name

MAX_LOCK_WAIT = 600.0
"""Seconds to wait for the reply to a call that another process is sending, which may have been stopped."""
Row = tuple[Any, ...]
"""key, endpoint, settings, messages, epoch, draw, made, crc, reply: what is kept of a call."""
ProgressCallback = Callable[[int, int], None]
"""Called before every entry and at the end: how many are done, of how many."""
P = ParamSpec("P")
T = TypeVar("T")


def build_row(key: CallKey, reply: Reply) -> Row:
    """The row of a reply of now."""
    data = encode(reply)
    names = hash_name(key.endpoint), hash_name(key.settings)
    crc = zlib.crc32(key.digest + data)
    return (key.digest, *names, key.messages[:8], key.epoch, key.draw, int(time.time()), crc, data)


class Store(ABC):
    """An open store. Its calls may come from any thread; each waits for its own commit.

    What blocks the calling thread is a plain method; a client calls `fetch`, `fetch_all`, `lock_call`, `put` and, for
    the others, `call`.
    """

    address: str
    """As the user gave it, without a password."""
    read_only: bool
    damaged: int = 0
    """Entries met that failed their checksum; each was treated as not stored."""

    @abstractmethod
    def locate(self) -> str:
        """The address by which this process finds the store from wherever it goes."""

    def get(self, key: CallKey, failures: bool = False) -> Reply | None:
        """The stored reply; None when there is none or when it is damaged, which is logged and deletes the entry.

        With `failures` a call that failed for good has a reply too, which says why; only a replay asks for that.
        """
        return self._decode_row(key, self._find_row(key.digest), failures)

    async def fetch(self, key: CallKey) -> Reply | None:
        """`get` for the event loop."""
        return self.get(key)

    async def fetch_all(self, keys: Sequence[CallKey], failures: bool = False) -> list[Reply | None]:
        """`get` of several keys for the event loop."""
        return [self.get(key, failures) for key in keys]

    async def call(self, method: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """A method of this store, without keeping the event loop waiting."""
        return method(*args, **options)

    @abstractmethod
    async def put(self, key: CallKey, reply: Reply, replace: bool = False) -> Reply:
        """Commit a reply and return what is stored: the earlier one if another process was first, unless `replace`.

        Not interrupted by cancellation: a reply that was paid for is kept.

        Raises:
            StoreError: it could not be written, so it must not be handed on as if it were.
        """

    @asynccontextmanager
    async def lock_call(self, key: CallKey) -> AsyncIterator[Reply | None]:
        """Lock a call while it is sent, so that one of all processes sends it; yields what another has stored by then.

        A process that waits for another's reply looks for it now and then, and after MAX_LOCK_WAIT goes on without it.
        """
        pause, end = 0.02, time.monotonic() + MAX_LOCK_WAIT
        while not (acquired := await self._acquire(key.digest)) and time.monotonic() < end:
            await anyio.sleep(pause)
            pause = min(2 * pause, 0.5)
            if await self.fetch(key) is not None:
                break
        try:
            yield await self.fetch(key)
        finally:
            if acquired:
                self._release(key.digest)

    def list_endpoints(self, model: str) -> list[str]:
        """The recorded endpoints of a model, so that a replay needs neither its key nor its address."""
        return sorted(text for text in self._list_used_endpoints() if text.split(" ", 1)[0] == model)

    def describe_nearest(self, key: CallKey) -> str:
        """In words, how the nearest stored call differs from this one."""
        messages = key.messages[:8]
        row = self._find_nearest(
            {
                "messages": messages,
                "epoch": key.epoch,
                "draw": key.draw,
                "endpoint": hash_name(key.endpoint),
                "settings": hash_name(key.settings),
            }
        )
        if row is None:
            return "the recording is empty"
        pairs = [("model", key.endpoint, row[0]), ("settings", key.settings, row[1])]
        pairs += [("epoch", str(key.epoch), str(row[3])), ("draw", str(key.draw), str(row[4]))]
        differing = [f"{name} ({here} here, {there} recorded)" for name, here, there in pairs if here != there]
        if row[2] != messages:
            differing.insert(0, "messages")
        return f"the nearest recorded call differs in {', '.join(differing) or 'nothing but its damaged reply'}"

    def _decode_row(self, key: CallKey, found: tuple[int, bytes] | None, failures: bool = False) -> Reply | None:
        """The reply of what is under a key, see `get`."""
        if found is None:
            return None
        reply = decode_verified(key.digest, *found)
        if reply is None:
            self.damaged += 1
            logging.getLogger(__name__).warning(
                "a damaged entry in call store %s (draw %d of %s) counts as not stored",
                self.address,
                key.draw,
                key.endpoint,
            )
            if not self.read_only:
                self._delete_damaged(key.digest, *found)
        return reply if failures or reply is None or not reply.failure else None

    @abstractmethod
    def _find_row(self, digest: bytes) -> tuple[int, bytes] | None:
        """Checksum and reply under a key."""

    @abstractmethod
    def _delete_damaged(self, digest: bytes, crc: int, data: bytes) -> None:
        """Delete the entry of a key unless it has been replaced, be it by one with the same checksum."""

    @abstractmethod
    async def _acquire(self, digest: bytes) -> bool:
        """Lock a key; False where somebody else has it locked, who then has to be waited for."""

    @abstractmethod
    def _release(self, digest: bytes) -> None:
        """Let others lock the key."""

    @abstractmethod
    def _list_used_endpoints(self) -> list[str]:
        """The names of all endpoints that have entries."""

    @abstractmethod
    def _find_nearest(self, values: dict[str, Any]) -> Row | None:
        """Endpoint, settings, messages, epoch and draw of the entry that is most like these values."""

    @abstractmethod
    def count(self) -> int:
        """How many replies are stored."""

    # for looking after it (`store_admin`)

    @abstractmethod
    def check(self) -> list[str]:
        """What is wrong with the store as a whole; empty for nothing."""

    @abstractmethod
    def read_names(self) -> dict[bytes, str] | None:
        """The names of endpoints and settings by their hashes; None where they cannot be read."""

    @abstractmethod
    def read_rows(self, on_progress: ProgressCallback = lambda done, total: None) -> Iterator[Row | None]:
        """Every entry; None for one that cannot be read, or stands for all those of which nobody knows how many."""

    @abstractmethod
    def delete_rows(self, choose: Callable[[Row], bool]) -> int:
        """Delete the entries that are chosen and give their space back; how many.

        An entry that is replaced after it was chosen stays.
        """

    @abstractmethod
    def insert_rows(self, rows: Iterable[tuple[Sequence[str], Row]], *, replace: bool) -> int:
        """Add entries, each with the names it refers to, all of them or none; how many were new.

        An entry that is there stays, unless it is a failure or `replace` is set.
        """

    @abstractmethod
    def measure_size(self) -> int:
        """Bytes on disk."""

    def owns_file(self, path: str | os.PathLike[str]) -> bool:
        """Whether a file is part of the store, so that nothing may be written over it."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Close the store, which already has everything that was put; the end of the process does it too."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
