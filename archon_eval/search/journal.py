"""What a search has found out, as lines that are only ever added: after kill -9 nothing finished is lost.

    journal = Journal(folder)
    journal.add("result", {...})           # on disk when this returns
    journal.list_entries("result")         # what was added, also by an earlier process

A line cut short by a crash can only be the last; it is dropped when the journal is opened again.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from archon_eval.errors import SearchError


class Journal:
    """One search's folder; a lock keeps a second process out."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            SearchError: the folder cannot be written, is in use, or its journal is damaged before its last line.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path = folder / "search.jsonl"
            self._stream = self.path.open("a+b")
            _lock_file(self._stream.fileno())
            self._stream.seek(0)
            raw = self._stream.read()
        except BlockingIOError:
            raise SearchError(f"{folder}: another search is running there; wait for it or choose another -o") from None
        except OSError as exc:
            raise SearchError(f"{folder} cannot be used: {exc}") from exc
        whole = raw[: raw.rfind(b"\n") + 1]
        self._stream.truncate(len(whole))
        self._lines: list[tuple[str, dict[str, Any]]] = []
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                self._lines.append((str((read := json.loads(line))["kind"]), read))
            except (ValueError, KeyError, TypeError) as exc:
                raise SearchError(f"{self.path}, line {number} is damaged ({exc}): restore it or remove it") from exc

    def add(self, kind: str, values: Mapping[str, Any]) -> None:
        """Write one line, and return when it is on disk.

        Raises:
            SearchError: it cannot be written.
        """
        line = {"kind": kind, **values}
        try:
            self._stream.write(json.dumps(line, sort_keys=True).encode() + b"\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as exc:
            why = f"{self.path} cannot be written ({exc}): make room, and the same command goes on where it was"
            raise SearchError(why) from exc
        self._lines.append((kind, line))

    def list_entries(self, *kinds: str) -> list[dict[str, Any]]:
        """All lines of these kinds, oldest first."""
        return [line for kind, line in self._lines if kind in kinds]

    def close(self) -> None:
        """Let another process have it."""
        with suppress(OSError):  # a line that could not be written was told
            self._stream.close()


def find_start(folder: Path) -> Path | None:
    """The working directory in which the search of a folder began; None where there is none, or nothing says so."""
    with suppress(OSError, ValueError, KeyError, TypeError), (folder / "search.jsonl").open(encoding="utf-8") as stream:
        return Path(json.loads(stream.readline())["start"])
    return None


def _lock_file(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # no advisory locks on this system
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
