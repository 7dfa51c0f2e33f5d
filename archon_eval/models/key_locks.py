"""Which of the processes that share a call store is sending a call, so that equal calls at one moment are paid once.

    locks = KeyLocks(Path("calls.db"))
    if locks.acquire(key.digest):
        ...                             # send, store
        locks.release(key.digest)

A key's lock is a lock on one byte of an empty file, `calls.db-claims`. The system releases it when its owner ends,
however that happens, so there is nothing to expire and nothing to clear up.
"""

import errno
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: only clients that share an open store keep each other out
    fcntl = None  # type: ignore[assignment]


class KeyLocks:
    """The locks of one open store on the calls that it is about to send."""

    def __init__(self, store: Path) -> None:
        """`store` is the store's file, which has the same locks under all of its names."""
        real = store.resolve()
        self._store, self._path, self._file = real, real.with_name(f"{real.name}-claims"), -1
        self._held: set[bytes] = set()
        self._by_file = sys.platform == "linux" and hasattr(fcntl, "F_OFD_SETLK")
        """Whether locks are the open file's, so that stores of one process keep each other out too."""

    def acquire(self, digest: bytes) -> bool:
        """Lock a key; False where somebody else has it locked, who then has to be waited for.

        Raises:
            OSError: the file cannot be made or locked.
        """
        if digest in self._held:
            return False
        if fcntl is not None:
            if self._file < 0:
                self._file = self._open_file()
            try:
                self._lock(fcntl.F_WRLCK, digest)
            except OSError as exc:
                if exc.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                return False
        self._held.add(digest)
        return True

    def release(self, digest: bytes) -> None:
        """Let others lock the key."""
        self._held.discard(digest)
        if fcntl is not None and self._file >= 0:
            self._lock(fcntl.F_UNLCK, digest)

    def _open_file(self) -> int:
        """The file, for everybody who may write the store, as SQLite's own files beside it are."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with suppress(PermissionError):  # somebody else's, who has seen to it
            os.fchmod(file, self._store.stat().st_mode & 0o777)
        return file

    def _lock(self, kind: int, digest: bytes) -> None:
        start = int.from_bytes(digest[:8]) >> 2
        if self._by_file:
            try:
                fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, start, 1, 0))
                return
            except OSError as exc:
                if exc.errno != errno.EINVAL:  # a kernel that does not know them
                    raise
                self._by_file = False
        fcntl.lockf(self._file, fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB, 1, start)

    def close(self) -> None:
        """Release all keys."""
        self._held.clear()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
