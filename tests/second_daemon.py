"""A second Docker daemon on this machine, with a state of its own, that tests may kill.

    with SecondDaemon(folder) as daemon:
        SandboxPool(hosts=["local", daemon.address])

All its containers share less than a core, so that it is slow by the clock and as fast as the other one in CPU seconds.
"""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from archon_eval.errors import SandboxError
from archon_eval.sandbox.hosts import DockerHost
from archon_eval.sandbox.image import connect

NAMESPACES = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Of the network, since a daemon without a bridge removes that of the other one; of processes and mounts, which all end
with the daemon."""
CORE_SHARE = 0.3
"""Of a core, for all containers of the daemon together."""
_GROUPS = {"cpu/{}/cpu.cfs_quota_us": "{quota}", "{}/cpu.max": "{quota} 100000"}
"""The file of a control group that holds its share of a core, for both versions, and its content."""


class SecondDaemon:
    """The daemon, while the block lasts; `start` after `kill` begins it again with the same state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"unix://{folder}/docker.sock"
        self.group = f"archon-test-{os.getpid()}"

    @staticmethod
    def find_obstacle() -> str:
        """Why there can be no second daemon here; empty where there can."""
        if os.environ.get("DOCKER_HOST"):
            return "DOCKER_HOST is set: the daemon may be on another machine"
        missing = [program for program in ("dockerd", "unshare") if not shutil.which(program)]
        if missing or os.geteuid() != 0:
            return f"{missing[0]} is not installed" if missing else "only root can start a daemon"
        return ""

    def __enter__(self) -> Self:
        self._limit_cores()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        for root in ("cpu/{}", "{}"):
            with suppress(OSError):
                Path("/sys/fs/cgroup", root.format(self.group)).rmdir()

    def start(self) -> None:
        """Start it and wait until it answers."""
        for name in ("pid", "exec/containerd/containerd.pid"):
            (self.folder / name).unlink(missing_ok=True)
        options = [
            *(f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec", f"--pidfile={self.folder}/pid"),
            *("-H", self.address, "--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"),
            f"--cgroup-parent=/{self.group}",
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*NAMESPACES, "dockerd", *options], stdout=log, stderr=log, start_new_session=True
            )
        for _ in range(600):
            with suppress(SandboxError):
                self.connect().close()
                return
            time.sleep(0.1)
        raise AssertionError(f"no second daemon: {(self.folder / 'log').read_text()[-1000:]}")

    def connect(self) -> Any:
        """docker-py's client for it."""
        return connect(DockerHost(self.address))

    def send(self, number: int) -> None:
        """Send it a signal, such as SIGSTOP, with which it falls silent."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """As a machine that loses its power: daemon, containers and all."""
        self.send(signal.SIGKILL)
        self.process.wait()

    def _limit_cores(self) -> None:
        for name, content in _GROUPS.items():
            path = Path("/sys/fs/cgroup", name.format(self.group))
            with suppress(OSError):
                path.parent.mkdir()
                path.write_text(content.format(quota=int(100_000 * CORE_SHARE)))
