"""One hardened container and the framed stream to the runner inside it (blocking; used from worker threads).

    with contextlib.closing(Container(client, image, memory=1 << 30)) as container:
        container.send(b"P", b"print(1)")
        kind, payload = container.receive(timeout=30)

The container ends by itself when the stream does, so that even a killed host leaves nothing running. `remove_orphans`
removes the containers that such a host left behind.
"""

import contextlib
import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archon_eval.errors import ContainerLostError, HostLostError
from archon_eval.sandbox.guest import bundle, wire
from archon_eval.sandbox.hosts import explain_loss, list_engine_errors

LABEL = "org.archon-eval.sandbox"
MEMORY_OVERHEAD = 128 << 20
"""Bytes of the container's memory limit on top of the programs': supervisor, zygote, input and output files."""
START_TIMEOUT = 30.0
"""Seconds for a container to greet, and for a frame to be taken: a start takes 0.3 s, on a busy machine several."""
WAIT_TIMEOUT = 5
"""Seconds for the engine to notice that a container has ended."""
EXTRA_PROCESSES = 32
"""Processes of the container besides the program's own: supervisor, zygote, and children that are just ending."""
RECEIVE_SIZE = 1 << 18
"""Bytes read at once from the engine's stream."""
ERROR_TAIL = 1000
"""Bytes of the runner's stderr that an error message quotes."""
_UID_RANGE = (20_000, 60_000)
"""Users of the programs, two per container: beyond those of an image, below `nobody` (65534)."""
ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONINTMAXSTRDIGITS": "0", "HOME": "/", "MALLOC_ARENA_MAX": "2"}
"""No hash randomisation, so that verdicts repeat; integers of any length print; two malloc arenas, so that many threads
fit in the address space."""
STREAM_HEADER = struct.Struct("!B3xI")
"""The engine's multiplexed stream: stream number (1 stdout, 2 stderr), three empty bytes, length."""


def build_host_options(memory: int, processes: int) -> dict[str, Any]:
    """docker-py's host options shared by every container of this package."""
    return {
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "ipc_mode": "none",
        "mem_limit": memory,
        "memswap_limit": memory,
        "pids_limit": processes,
        "log_config": {"Type": "none", "Config": {}},
    }


def get_owner_label() -> str:
    """This process, told apart from a later one with the same number: `host:boot:pid:start:namespace`."""
    return ":".join([socket.gethostname(), *_read_identity(os.getpid()), _read_pid_namespace()])


def _is_orphaned(label: str, running: bool) -> bool:
    """The owner was on this host and is gone. A running container of another boot may be a namesake host's.

    Where the owner may live unseen (another process namespace, a hidden /proc), it counts as alive.
    """
    host, *identity = label.split(":")
    if host != socket.gethostname() or len(identity) != 4 or not identity[1].isdigit():
        return False
    namespace = identity.pop()
    if identity[0] != _read_identity(os.getpid())[0]:
        return not running
    if namespace != _read_pid_namespace():
        return False
    current = _read_identity(int(identity[1]))
    return not current or (current[2] != "" and current != identity)


def _read_pid_namespace() -> str:
    """The number of this process's namespace of process numbers; empty where there is none."""
    try:
        return "".join(filter(str.isdigit, os.readlink("/proc/self/ns/pid")))  # noqa: PTH115
    except OSError:
        return ""


def _read_identity(pid: int) -> list[str]:
    """`[boot, pid, start]` where /proc says so, else `["", pid, ""]`; an empty list when there is no such process."""
    try:
        start = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), str(pid), start]
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return []
    except OSError:
        pass
    return ["", str(pid), ""]


def remove_ended(client: Any) -> None:
    """Remove this process's own containers that have ended, e.g. with a daemon that has come back since."""
    import docker

    for entry in client.api.containers(all=True, filters={"label": f"{LABEL}={get_owner_label()}"}):
        if entry.get("State") in ("exited", "dead"):
            with contextlib.suppress(docker.errors.APIError):
                client.api.remove_container(entry["Id"], force=True)


def remove_orphans(client: Any, everything: bool = False) -> int:
    """Remove containers whose owner on this host is gone (`everything`: all of this package's).

    Returns:
        How many were removed.
    """
    import docker

    removed = 0
    for entry in client.api.containers(all=True, filters={"label": LABEL}):
        owner, running = str(entry.get("Labels", {}).get(LABEL, "")), entry.get("State") not in ("exited", "dead")
        if everything or _is_orphaned(owner, running):
            try:
                client.api.remove_container(entry["Id"], force=True)
                removed += 1
            except docker.errors.APIError:
                pass  # another process was faster
    return removed


def pop_records(received: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take the complete records (stream, data) of the engine's multiplexed stream out of the bytes received.

    >>> received = bytearray(STREAM_HEADER.pack(1, 2) + b"ok" + STREAM_HEADER.pack(2, 9) + b"par")
    >>> list(pop_records(received)), len(received)
    ([(1, b'ok')], 11)
    """
    while len(received) >= STREAM_HEADER.size:
        stream, length = STREAM_HEADER.unpack_from(received)
        if len(received) < STREAM_HEADER.size + length:
            return
        yield stream, bytes(received[STREAM_HEADER.size : STREAM_HEADER.size + length])
        del received[: STREAM_HEADER.size + length]


class ContainerHandle:
    """A started container whose first process lives as long as the attached stream; removed by `close`."""

    def __init__(
        self, client: Any, image: str, command: list[str], *, options: dict[str, Any], user: str, **config: Any
    ) -> None:
        """Create, attach and start a container.

        Args:
            client: docker-py's client.
            image: the image's tag.
            command: the first process.
            options: docker-py's host options.
            user: `uid:gid` of the first process.
            config: further arguments of docker-py's `create_container`.

        Raises:
            HostLostError: the engine refuses or does not answer.
        """
        self._api = client.api
        self._closed = threading.Event()
        self.socket: Any = None
        try:
            with explain_loss(f"a sandbox container could not be started from {image!r}"):
                self.id: str = self._api.create_container(
                    image,
                    command,
                    user=user,
                    stdin_open=True,
                    labels={LABEL: get_owner_label()},
                    host_config=self._api.create_host_config(**options),
                    network_disabled=True,
                    **config | {"environment": {"LANG": "C.UTF-8"} | config["environment"]},
                )["Id"]
                streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
                self._attachment = self._api.attach_socket(self.id, params=streams)
                self.socket = getattr(self._attachment, "_sock", self._attachment)
                self._api.start(self.id)
        except HostLostError:
            self.close()
            raise

    def check_oom_killed(self) -> bool:
        """Whether the engine says that the memory limit killed the container's first process.

        Raises:
            HostLostError: the engine says nothing, so that it may be the host that is gone.
        """
        import docker

        with contextlib.suppress(*list_engine_errors()):  # it may be alive, and wedged
            self._api.wait(self.id, timeout=WAIT_TIMEOUT)
        with explain_loss("the Docker daemon went away"):
            try:
                return bool(self._api.inspect_container(self.id)["State"].get("OOMKilled"))
            except docker.errors.NotFound:
                return False

    def disconnect(self) -> None:
        """Break the stream from any thread."""
        with contextlib.suppress(OSError, AttributeError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self, *, remove: bool = True) -> None:
        """Remove the container; safe to call twice.

        Args:
            remove: false where the daemon is known to be gone: only the stream is closed, with which a container ends.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        self.disconnect()
        for end in (self.socket, getattr(self, "_attachment", None)):
            if end is not None:
                end.close()
        if remove and hasattr(self, "id"):
            # already gone; or the daemon is, then `remove_orphans` finds the container later
            with contextlib.suppress(*list_engine_errors()):
                self._api.remove_container(self.id, force=True, v=True)


class Container:
    """A started worker container; `ContainerLostError` from every method that meets its end."""

    def __init__(self, client: Any, image: str, memory: int) -> None:
        """Start a container and wait for its runner's greeting.

        Args:
            client: docker-py's client.
            image: the image's tag.
            memory: bytes that its programs may use together.

        Raises:
            HostLostError: no container starts, or its runner does not.
        """
        self._bytes, self._frames, self._errors = bytearray(), bytearray(), bytearray()
        uid = random.SystemRandom().randrange(*_UID_RANGE, 2)
        options = build_host_options(memory + MEMORY_OVERHEAD, wire.MAX_PROCESSES + EXTRA_PROCESSES) | {
            "cap_add": ["SETUID", "SETGID"]
        }
        command = ["python3", "-c", bundle(), str(uid)]
        self._handle = ContainerHandle(client, image, command, options=options, user="0:0", environment=ENVIRONMENT)
        self.id = self._handle.id
        try:
            kind, _ = self.receive(START_TIMEOUT)
        except ContainerLostError as e:
            self.close()
            raise HostLostError(f"the sandbox's runner did not start in {image!r}: {e}") from e
        assert kind == b"H", kind

    def send(self, kind: bytes, payload: bytes) -> None:
        """One frame to the wire."""
        try:
            self._handle.socket.settimeout(START_TIMEOUT)
            self._handle.socket.sendall(wire.FRAME.pack(kind, len(payload)) + payload)
        except (OSError, ValueError) as e:
            raise ContainerLostError(str(e)) from e

    def receive(self, timeout: float) -> tuple[bytes, bytes]:
        """The next frame from the runner; `timeout` seconds without any byte count as a stall."""
        while True:
            if len(self._frames) >= wire.FRAME.size:
                kind, length = wire.FRAME.unpack_from(self._frames)
                end = wire.FRAME.size + length
                if len(self._frames) >= end:
                    payload = bytes(self._frames[wire.FRAME.size : end])
                    del self._frames[:end]
                    return kind, payload
            self._read_stream(timeout)

    def _read_stream(self, timeout: float) -> None:
        """Read from the engine and sort its stdout and stderr records."""
        try:
            self._handle.socket.settimeout(timeout)
            data = self._handle.socket.recv(RECEIVE_SIZE)
        except (OSError, ValueError) as e:
            raise ContainerLostError(str(e)) from e
        if not data:
            raise ContainerLostError(bytes(self._errors[-ERROR_TAIL:]).decode(errors="replace") or "the stream ended")
        self._bytes += data
        for stream, record in pop_records(self._bytes):
            target = self._frames if stream == 1 else self._errors
            target += record

    def check_oom_killed(self) -> bool:
        """As `ContainerHandle.check_oom_killed`."""
        return self._handle.check_oom_killed()

    def disconnect(self) -> None:
        """Break the stream from any thread: the runner ends, a blocked `receive` raises."""
        self._handle.disconnect()

    def close(self, *, remove: bool = True) -> None:
        """As `ContainerHandle.close`."""
        self._handle.close(remove=remove)
