"""A user's files as one value, which goes to machines that do not have them: what is sent, and what never is.

    builder = BundleBuilder(Path.cwd())
    name = builder.add_task("my_tasks.py@writing")     # as the task is called in the unpacked bundle
    bundle = builder.build()
    bundle.unpack(folder)                              # on the other machine; the command runs in `folder`

A task's file goes with the folder that it is in, because its modules and data are beside it. What looks like a secret
stays, as do hidden files, logs, call stores and what leads elsewhere by a link. A bundle has a limit in size: nobody
means to send a home folder.
"""

import ast
import io
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache, cached_property
from hashlib import sha256
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from archon_eval.errors import DataError
from archon_eval.models.store_file import is_store_file

MAX_BYTES = 64 * 2**20
"""Of all files, unpacked: a task with a sizeable data set. Larger data belongs on the machines, or in a data hub."""
MAX_FILES = 2_000
BUNDLE_MARK = "@@archon-bundle@@"
"""Stands for the folder of the unpacked bundle in values that need an absolute path."""
OUTSIDE = "_outside"
"""The bundle's folder for files that are not in the folder where the command was typed."""
MODULES = "_modules"
"""The bundle's folder for modules of components, to be put on PYTHONPATH."""
SECRET_NAMES = (
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.kdbx", "*.keytab", "*.env", "id_rsa*", "id_dsa*", "id_ecdsa*"),
    *("id_ed25519*", "*credential*", "*secret*", "*password*", "*passwd*", "*api_key*", "*api-key*", "*apikey*"),
    *("token", "token.*", "tokens.*", "*_token.*", "*-token.*", "service?account*.json", "kubeconfig*"),
)
_PRIVATE_KEY = b"PRIVATE KEY-----"
_SKIPPED_FOLDERS = ("__pycache__", "node_modules", "site-packages")
_SKIPPED_FILES = ("*.pyc", "*.eval", ".archon-*")
_PATH_NAMES = ("path", "dir", "folder")
"""Ends of an argument's name whose value may be a folder, though it is a plain word."""


@dataclass(frozen=True)
class FileBundle:
    """Files by their place in it."""

    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Relative POSIX path -> content."""
    left_out: tuple[str, ...] = ()
    """What lies beside these files and is not sent, with the reason."""

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over paths and contents."""
        digest = sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{len(name)} {name} {len(content)} ".encode() + content)
        return digest.hexdigest()[:16]

    @cached_property
    def data(self) -> bytes:
        """A ZIP archive, the same bytes for the same files."""
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(self.files.items()):
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        return stream.getvalue()

    def describe(self) -> str:
        """What is sent and what is not, in a sentence each; empty where there are no files at all."""
        if not self.files and not self.left_out:
            return ""
        size = sum(map(len, self.files.values()))
        words = f"{len(self.files)} files ({size / 1000:,.0f} kB) go to the workers: {_shorten(self.files)}"
        return words + (f"; these stay: {_shorten(self.left_out)}" if self.left_out else "")


def unpack(data: bytes, folder: Path) -> None:
    """Write the files of a bundle's archive into a folder."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)


def looks_secret(path: Path) -> bool:
    """Whether a file is one that nobody means to send: by its name, or a private key by its content."""
    if path.suffix == ".py":  # code about secrets is code
        return False
    if _has_secret_name(path):
        return True
    with path.open("rb") as stream:
        return _PRIVATE_KEY in stream.read(200)


def _has_secret_name(path: Path) -> bool:
    return any(fnmatch(path.name.lower(), pattern) for pattern in SECRET_NAMES)


def _explain_database(path: Path) -> str:
    """Why a file is not sent that is a call store, a database in use, or lies beside one; empty for another."""
    main = path
    for end in ("-claims", "-wal", "-shm"):
        main = main.with_name(main.name.removesuffix(end))
    beside = {end: main.with_name(main.name + end) for end in ("-claims", "-wal", "-shm")}
    if path == beside["-claims"] or beside["-claims"].exists() or (main.is_file() and is_store_file(main)):
        return "a call store"
    return "a database in use" if any(beside[end].exists() for end in ("-wal", "-shm")) else ""


class BundleBuilder:
    """Collects files. Relative paths in the folder where the command was typed stay as they are."""

    def __init__(self, start: Path) -> None:
        """
        Args:
            start: the folder from which relative paths are taken.
        """
        self._start = Path(os.path.realpath(start))
        self._files: dict[str, Path] = {}
        self._roots: dict[Path, int] = {}
        """Folders elsewhere, numbered: their names are nobody's business."""
        self._left_out: dict[str, None] = {}
        self._size = 0

    def build(self) -> FileBundle:
        """
        Raises:
            DataError: a file cannot be read.
        """
        try:
            files = {name: path.read_bytes() for name, path in sorted(self._files.items())}
        except OSError as exc:
            raise DataError(f"{exc.filename} cannot be sent to the workers: {exc.strerror}") from exc
        return FileBundle(files, tuple(sorted(self._left_out)))

    def add_task(self, name: str) -> str:
        """Add the file of a task with the folder around it.

        Args:
            name: `my_tasks.py@writing`; the name of a package's task adds nothing.

        Returns:
            The name in the unpacked bundle.

        Raises:
            DataError: the files are too many or too large.
        """
        file, at, chosen = name.partition("@")
        path = self._start / file
        if not path.is_file():
            return name
        path = Path(os.path.realpath(path))
        if self._is_too_wide(path.parent):
            self._add_file(path)
            self._left_out[f"all else in {path.parent}, which is no folder of its own"] = None
        else:
            self._add_folder(path.parent, of=path)
        return f"{self._place(path)}{at}{chosen}" if self._is_outside(path) or Path(file).is_absolute() else name

    def add_value(self, value: Any, name: str = "") -> Any:
        """Add the files and folders that an argument's value names.

        Args:
            value: text, or a list or mapping with text in it.
            name: of the argument: a plain word is taken for a folder only where the name says so (`include_path`).

        Returns:
            The value in the unpacked bundle: an absolute path has another beginning there.

        Raises:
            DataError: a file looks like a secret, or the files are too many or too large.
        """
        if isinstance(value, Mapping):
            return {key: self.add_value(item, str(key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.add_value(item, name) for item in value]
        if not isinstance(value, str) or not value or len(value) > 1000 or "\n" in value or "://" in value:
            return value
        prefix = "archon/" if value.startswith("archon/") else ""  # an architecture file as a model
        path = self._start / value.removeprefix(prefix)
        try:
            is_file, is_folder = path.is_file(), path.is_dir()
        except (OSError, ValueError):
            return value
        is_folder = is_folder and (os.sep in value or name.endswith(_PATH_NAMES)) and value.strip("./\\") != ""
        if not is_file and not is_folder:
            return value
        path = Path(os.path.realpath(path))
        if is_file:
            if path.name.startswith(".") or looks_secret(path):
                raise DataError(f"{name or value}: {value} looks like a secret, and is not sent to workers")
            self._add_file(path)
        else:
            self._add_folder(path, of=path)
        if self._is_outside(path) or Path(value.removeprefix(prefix)).is_absolute():
            return f"{prefix}{BUNDLE_MARK}/{self._place(path)}"
        return value

    def add_module(self, module: str) -> None:
        """Add the code of a component's module, and of the modules beside it that it imports, unless it is installed.

        Raises:
            DataError: the files are too many or too large.
        """
        waiting, seen = [module.partition(".")[0]], set[str]()
        while waiting:
            top = waiting.pop()
            if top in seen or top in sys.stdlib_module_names or top in _list_installed():
                continue
            seen.add(top)
            try:
                spec = find_spec(top)
            except (ImportError, ValueError):
                continue
            if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
                continue
            origin = Path(spec.origin)
            if spec.submodule_search_locations:
                files = [*self._list_folder(origin.parent, origin.parent)]
                base = origin.parent.parent
            else:
                files, base = [origin], origin.parent
            for path in files:
                self._add(f"{MODULES}/{path.relative_to(base).as_posix()}", path, of=origin)
            waiting += [name for path in files if path.suffix == ".py" for name in _list_imports(path)]

    def _add_file(self, path: Path) -> None:
        self._add(self._place(path), path, of=path)

    def _add_folder(self, folder: Path, *, of: Path) -> None:
        if self._is_too_wide(folder):
            raise DataError(
                f"{folder} is too much to send to workers: put what is needed into a folder of its own, and name that"
            )
        if self._is_outside(folder):
            self._roots.setdefault(folder, len(self._roots))
        for path in self._list_folder(folder, folder):
            self._add(self._place(path), path, of=of)

    def _add(self, place: str, path: Path, *, of: Path) -> None:
        if place in self._files:
            return
        self._files[place] = path
        self._size += path.stat().st_size
        if self._size > MAX_BYTES or len(self._files) > MAX_FILES:
            raise DataError(
                f"what goes to the workers with {of} has more than {MAX_BYTES // 2**20} MB or {MAX_FILES:,} files "
                f"(among them {path}): put the task with what it needs into a folder of its own, or install it with "
                "its data on the workers as a package"
            )

    def _list_folder(self, folder: Path, root: Path) -> Iterator[Path]:
        """The files in a folder that may be sent; notes those that may not."""
        for path in sorted(folder.iterdir()):
            if reason := self._explain_skipped(path, root):
                if reason != "generated":
                    self._left_out[f"{path.relative_to(root).as_posix()} ({reason})"] = None
            elif path.is_dir():
                yield from self._list_folder(path, root)
            else:
                yield path

    def _explain_skipped(self, path: Path, root: Path) -> str:
        """Why a path is not sent; empty where it is."""
        if path.is_symlink():
            end = Path(os.path.realpath(path))
            if not end.is_relative_to(root) or path.is_relative_to(end):  # out of the folder, or round in it
                return "leads elsewhere"
            if end != path and (reason := self._explain_end(end, root)):
                return reason
        if path.name in _SKIPPED_FOLDERS or any(fnmatch(path.name, pattern) for pattern in _SKIPPED_FILES):
            return "generated"
        if path.name.startswith("."):
            return "hidden"
        if path.is_dir():
            if _has_secret_name(path):
                return "looks like a secret"
            if (path / "search.jsonl").exists() or (path / "pyvenv.cfg").exists():
                return "a search" if (path / "search.jsonl").exists() else "a virtual environment"
            return ""
        if not path.is_file():
            return "no regular file"
        try:
            return _explain_database(path) or ("looks like a secret" if looks_secret(path) else "")
        except OSError:
            return "cannot be read"

    def _explain_end(self, end: Path, root: Path) -> str:
        """Why what a link leads to is not sent under its own name, or a folder on the way; empty where it is."""
        way = [end, *(parent for parent in end.parents if parent.is_relative_to(root) and parent != root)]
        return next(filter(None, (self._explain_skipped(each, root) for each in way)), "")

    def _is_too_wide(self, folder: Path) -> bool:
        """Whether a folder is the user's home or that of all temporary files, or holds one: nobody means to send it."""
        wide = (Path.home(), tempfile.gettempdir())
        return any(Path(os.path.realpath(each)).is_relative_to(folder) for each in wide)

    def _is_outside(self, path: Path) -> bool:
        return not path.is_relative_to(self._start)

    def _place(self, path: Path) -> str:
        """Where a file or folder is in the bundle."""
        if not self._is_outside(path):
            return path.relative_to(self._start).as_posix()
        parents = (path, *path.parents)
        root = next((parent for parent in parents if parent in self._roots), path.parent if path.is_file() else path)
        place = f"{OUTSIDE}/{self._roots.setdefault(root, len(self._roots))}"
        return f"{place}/{path.relative_to(root).as_posix()}" if path != root else place


@cache
def _list_installed() -> frozenset[str]:
    """Top-level modules of installed packages, which go to no worker: its own packages count."""
    return frozenset({*packages_distributions(), "archon_eval"})


def _list_imports(path: Path) -> Iterator[str]:
    """The top-level modules that a file imports by their full names."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _shorten(names: Mapping[str, Any] | tuple[str, ...]) -> str:
    listed = [*names]
    return ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")
