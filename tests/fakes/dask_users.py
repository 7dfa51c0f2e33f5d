"""A Dask cluster of real processes: a scheduler, and workers that are users of their own and share no folder.

Workers run a copy of this package with another Python environment's executable, because the users may read neither the
checkout nor, often, the environment that runs the tests.
"""

import os
import pwd
import shutil
import signal
import site
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import archon_eval

USERS = tuple(f"archon-{os.getpid()}-{number}" for number in (1, 2))
"""Of this run alone: another run's processes are none of its business."""


def give_up(reason: str) -> Any:
    """Skip on a user's machine, and fail in CI."""
    return (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


class ClusterOfUsers:
    """Started by `start`; `close` ends every process and removes what was made."""

    def __init__(self) -> None:
        if not hasattr(os, "getuid") or os.getuid() != 0 or not shutil.which("setpriv") or not shutil.which("useradd"):
            give_up("workers under users of their own need root, setpriv and useradd")
        self.folder = Path(tempfile.mkdtemp(prefix="archon-cluster-"))
        self.folder.chmod(0o755)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._made = [user for user in USERS if not _is_user(user)]
        for user in self._made:
            subprocess.run(["useradd", "--system", "--no-create-home", user], check=True)
        package = Path(archon_eval.__file__).parent
        shutil.copytree(package, self.folder / "code" / "archon_eval", ignore=shutil.ignore_patterns("__pycache__"))
        self.python = self._make_environment()
        self.address = self._start_scheduler()

    def _make_environment(self) -> str:
        """A Python that the users may run, with the packages of this one."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        for base in (os.path.realpath(sys.executable), f"/usr/local/bin/{version}", f"/usr/bin/{version}"):
            tried = [*self.become(USERS[0]), "sh", "-c", f"exec {base} -c 'import ssl, sqlite3'"]
            if Path(base).exists() and subprocess.run(tried, capture_output=True, check=False).returncode == 0:
                break
        else:
            give_up(f"no {version} that other users may run")
        home = self.folder / "python"
        subprocess.run([base, "-m", "venv", "--without-pip", "--symlinks", str(home)], check=True)
        places = [place for place in site.getsitepackages() if Path(place).is_dir()]
        (home / "lib" / version / "site-packages" / "all.pth").write_text("\n".join(places))
        python = str(home / "bin" / "python")
        tried = [*self.become(USERS[0]), "sh", "-c", f"exec {python} -c 'import distributed, inspect_ai'"]
        if subprocess.run(tried, capture_output=True, check=False, cwd="/").returncode != 0:
            give_up(f"the packages in {places} cannot be read by other users")
        return python

    @staticmethod
    def become(user: str) -> list[str]:
        """Words before a command that make it another user's."""
        return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--inh-caps=-all"]

    def _start_scheduler(self) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = ["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show"]
        empty = self.folder / "scheduler"
        empty.mkdir()
        (empty / "archon_eval").mkdir()  # without this package
        (empty / "archon_eval" / "__init__.py").write_text("raise ImportError('not for the scheduler')")
        self._start("scheduler", words, env={"PYTHONPATH": str(empty)}, words_before=[])
        return f"tcp://127.0.0.1:{port}"

    def start_worker(self, name: str, user: str = USERS[0], **env: str) -> subprocess.Popen[bytes]:
        """A worker with a folder of its own, that nobody else may read; returns when the scheduler knows it.

        Args:
            env: environment variables besides the few that all have.
        """
        home = self.folder / name
        if not home.exists():
            home.mkdir()
            shutil.chown(home, user, user)
            home.chmod(0o700)
        words = ["worker", self.address, "--nthreads", "1", "--no-dashboard", "--local-directory", str(home)]
        given = {"HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": str(self.folder / "code"), **env}
        process = self._start(name, words, env=given, words_before=self.become(user))
        self.wait_for(lambda: "Registered to" in self.read_log(name), f"worker {name}", name)
        return process

    def _start(self, name: str, words: list[str], *, env: dict[str, str], words_before: list[str]) -> Any:
        given = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__WORKER__DAEMON": "False", **env}
        python = self.python if words_before else sys.executable
        where = self.folder / name
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*words_before, python, "-m", "dask", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=given,
                cwd=where,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def read_log(self, name: str) -> str:
        """What a process printed."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for(self, is_true: Any, what: str, name: str = "scheduler", seconds: float = 120) -> None:
        """Wait until something is so, and fail with what a process printed if it does not come."""
        ends = time.monotonic() + seconds
        while not is_true():
            if time.monotonic() > ends:
                pytest.fail(f"{what} did not come about:\n{self.read_log(name)[-3000:]}")
            time.sleep(0.1)

    def list_processes(self, words: str) -> list[int]:
        """Processes of the users whose command line has these words."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, KeyError):
                owner = pwd.getpwuid(place.stat().st_uid).pw_name
                if owner in USERS and words in (place / "cmdline").read_bytes().decode().replace("\0", " "):
                    found.append(int(place.name))
        return found

    def stop(self, process: subprocess.Popen[bytes], *, hard: bool = False) -> None:
        """End a worker; hard: the nanny and the worker at once, as a power failure does."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL if hard else signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def close(self) -> None:
        for process in reversed(self._processes):
            self.stop(process)
        for pid in self.list_processes(str(self.folder)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for user in self._made:
            subprocess.run(["userdel", user], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
