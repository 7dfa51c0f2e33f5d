"""Where logs are kept: a folder of this machine, or an address such as `s3://bucket/logs` that fsspec knows.

folder = LogFolder("s3://bucket/logs")
folder.check()                                       # before anything is paid
address = folder.add("trial-1.eval", [content])      # whole, or not there
path = fetch_log(address)                            # a copy on this machine
"""

import atexit
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha256
from itertools import chain, count
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import Any

from archon_eval.errors import DataError

_CHUNK_BYTES = 16 * 2**20
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_USER_INFO = re.compile(r"(://)[^/\s]*@")
_PASSWORD = re.compile(r"://[^/@]*:[^/]*@")
_LOG_SUFFIXES = (".eval", ".json", ".jsonl")
_LM_EVAL_DATE = re.compile(r"_\d{4}-\d\d-\d\dT[\d.-]+(?=\.jsonl?$)")
"""What lm-eval's files of one run have in common."""


def is_address(place: str | os.PathLike[str]) -> bool:
    """Whether it is an address, and no path.

    >>> is_address("s3://bucket/logs"), is_address("logs"), is_address("C:\\\\logs")
    (True, False, False)
    """
    return isinstance(place, str) and bool(_ADDRESS.match(place))


def join_place(folder: str | os.PathLike[str], name: str) -> str:
    """The path or address of a name in a folder."""
    return f"{os.fspath(folder).rstrip('/')}/{name}" if is_address(folder) else str(Path(folder) / name)


def make_relative(log: str, folder: Path) -> str:
    """The path of a log as from a folder, where it is in that; an address, and any other path, as it is."""
    path, top = Path(log).absolute(), folder.absolute()
    return str(path.relative_to(top)) if log and not is_address(log) and path.is_relative_to(top) else log


class LogFolder:
    """Takes whole files."""

    def __init__(self, place: str | os.PathLike[str]) -> None:
        """
        Args:
            place: a path, or an address.

        Raises:
            DataError: fsspec does not know the address, what it needs is not installed, or a password is in it.
        """
        self.place = os.fspath(place)
        if is_address(self.place) and _PASSWORD.search(self.place):
            raise DataError(
                f"{hide_user(self.place)}: an address may hold no password, because it would be in results and process "
                "lists: fsspec has it from the environment or its configuration"
            )
        self._system: Any = None
        self._root, self._lock, self._taken = self.place, threading.Lock(), set[str]()
        if is_address(self.place):
            self._system, self._root = _find_system(self.place)

    def check(self) -> None:
        """Write something, and remove it, with the folder if that was not there.

        Raises:
            DataError: it cannot be written.
        """
        was_there = self._system is not None or Path(self._root).exists()
        try:
            name = f".archon-{token_hex(4)}"
            self.add(name, [b"archon"])
            if self._system is None:
                Path(self._root, name).unlink()
                if not was_there:
                    Path(self._root).rmdir()
            else:
                self._system.rm_file(f"{self._root}/{name}")
        except Exception as exc:  # whatever a file system of somebody else's raises
            raise DataError(describe_failure(self.place, exc)) from exc

    def add(self, name: str, chunks: Iterable[bytes]) -> str:
        """Keep a file; it is there when all of it is. Where the name is taken, it gets a number besides.

        Args:
            name: relative, with `/`.

        Returns:
            Its path or address.

        Raises:
            OSError: it cannot be written; what a file system of somebody else's raises besides.
        """
        with self._lock:
            target = self._choose_free(name)
            self._taken.add(target)
        try:
            if self._system is None:
                self._write_file(Path(self._root, target), chunks)
            else:
                self._upload(f"{self._root}/{target}", chunks)
        finally:
            self._taken.discard(target)
        return join_place(self.place, target)

    def _upload(self, target: str, chunks: Iterable[bytes]) -> None:
        with tempfile.TemporaryFile() as copy:  # what breaks off on the way here is never sent
            copy.writelines(chunks)
            copy.seek(0)
            with self._lock, self._system.transaction, self._system.open(target, "wb") as stream:
                shutil.copyfileobj(copy, stream, _CHUNK_BYTES)

    def add_all(self, source: Path) -> dict[str, str]:
        """Keep all files of a folder of this machine; relative name -> path or address.

        Raises:
            OSError: as `add`.
        """
        files = sorted(path for path in source.rglob("*") if path.is_file())
        return {(name := path.relative_to(source).as_posix()): self.add(name, _read_chunks(path)) for path in files}

    def _write_file(self, path: Path, chunks: Iterable[bytes]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name[:100]}.{token_hex(4)}.part")
        try:
            with part.open("wb") as stream:
                stream.writelines(chunks)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _choose_free(self, name: str) -> str:
        suffix = PurePosixPath(name).suffix
        names = (f"{name.removesuffix(suffix)}-{number}{suffix}" for number in count(2))
        return next(each for each in chain([name], names) if not self._exists(each))

    def _exists(self, name: str) -> bool:
        if name in self._taken:
            return True
        if self._system is None:
            return Path(self._root, name).exists()
        return bool(self._system.exists(f"{self._root}/{name}"))


@cache
def fetch_log(address: str) -> Path:
    """A copy of a log on this machine, for this process; of lm-eval's files the others of their run lie beside it.

    Raises:
        DataError: it cannot be read.
    """
    system, path = _find_system(address)
    folder = _make_copy_folder() / sha256(address.encode()).hexdigest()[:16]
    folder.mkdir(exist_ok=True)
    copy = folder / path.rpartition("/")[2]
    try:
        wanted = [path]
        if date := _LM_EVAL_DATE.search(path):
            wanted += [each for each in system.ls(path.rpartition("/")[0], detail=False) if date[0] in each]
        for each in dict.fromkeys(wanted):
            system.get_file(each, str(folder / each.rpartition("/")[2]))
    except Exception as exc:  # as above
        raise DataError(f"{hide_user(address)} cannot be read: {_describe(exc)}") from exc
    _SOURCES[copy] = address
    return copy


def parse_place(text: str) -> str | Path:
    """What a user named: a path, or an address as it is, of which a path would lose a slash.

    >>> parse_place("s3://bucket/logs"), parse_place("logs/") == Path("logs")
    ('s3://bucket/logs', True)
    """
    return text if is_address(text) else Path(text)


@cache
def fetch_logs(place: str | Path) -> Path:
    """The path of a log or of a folder of logs on this machine; of an address a copy, for this process.

    Raises:
        DataError: nothing is at the address, or it cannot be read.
    """
    if not isinstance(place, str):
        return place
    system, root = _find_system(place)
    try:
        if not system.isdir(root):
            return fetch_log(place)
        names = [PurePosixPath(name).relative_to(root) for name in map(str, system.find(root))]
        logs = [name for name in names if name.suffix in _LOG_SUFFIXES and ".." not in name.parts]
        folder = _make_copy_folder() / sha256(place.encode()).hexdigest()[:16] / PurePosixPath(root).name
        for name in logs:
            copy = folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(f"{root}/{name}", str(copy))
            _SOURCES[copy] = join_place(place, str(name))
    except DataError:
        raise
    except Exception as exc:  # whatever a file system of somebody else's raises
        raise DataError(f"{hide_user(place)} cannot be read: {_describe(exc)}") from exc
    if not logs:
        raise DataError(f"{hide_user(place)}: no log there ({', '.join(_LOG_SUFFIXES)})")
    return folder


def describe_source(path: str | os.PathLike[str]) -> str:
    """The path of a log, or the address of which it is a copy."""
    return hide_user(_SOURCES.get(Path(path), os.fspath(path)))


def describe_failure(place: str, exc: Exception) -> str:
    """That no log can be written to a place, and why."""
    return f"logs cannot be written to {hide_user(place)}: {_describe(exc)}"


def hide_user(address: str) -> str:
    """An address without a user's name and password."""
    return _USER_INFO.sub(r"\1", address)


_SOURCES: dict[Path, str] = {}


def _read_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


@cache
def _make_copy_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="archon-logs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _find_system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path there.

    Raises:
        DataError: fsspec does not know it, or what it needs is not installed.
    """
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(address)
    except (ImportError, ValueError, OSError) as exc:
        raise DataError(f"{hide_user(address)} cannot be used: {_describe(exc)}") from exc
    return system, str(path).rstrip("/")


def _describe(exc: Exception) -> str:
    return hide_user(f"{type(exc).__name__}: {exc}")
