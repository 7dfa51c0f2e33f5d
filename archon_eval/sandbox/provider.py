"""Inspect's sandbox interface over the same hardened containers, without Compose: `sandbox="archon_docker"`.

    Task(dataset=..., solver=[use_tools(bash())], sandbox=("archon_docker", ArchonDockerConfig(memory_mib=4096)))

Of several hosts (`ARCHON_DOCKER_HOSTS`) a sample gets the one with the fewest containers for its `workers`; a sample
whose host is lost ends with an error, since its files are lost with it.

One container per sample: no network, read-only root, no capabilities, not root; `/work` (the working directory) and
`/tmp` are in memory and count towards the memory limit. A container ends with the process that started it.
"""

import errno
import os
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, overload

import anyio.to_thread
from inspect_ai.util import (
    ExecResult,
    OutputLimitExceededError,
    SandboxConnection,
    SandboxEnvironment,
    SandboxEnvironmentConfigType,
    SandboxEnvironmentLimits,
    SandboxUnavailableError,
    sandboxenv,
)
from pydantic import BaseModel, ConfigDict

from archon_eval._inspect_compat import make_prerequisite_error
from archon_eval.errors import SandboxError
from archon_eval.sandbox.container import ContainerHandle, build_host_options, remove_orphans
from archon_eval.sandbox.exec_stream import receive_output, send_input
from archon_eval.sandbox.hosts import DockerHost, explain_loss, get_docker_hosts, list_engine_errors, remove_user_info
from archon_eval.sandbox.image import check_docker, connect, describe_faults, get_default_image

WORKING_DIR = "/work"
USER = "1000:1000"
INIT_SCRIPT = """
import os, signal
def reap(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]: pass
    except ChildProcessError: pass
signal.signal(signal.SIGCHLD, reap)
signal.signal(signal.SIGINT, signal.SIG_IGN)
while os.read(0, 1): pass
"""
"""The first process: takes in orphans, ignores interrupts, ends with the stream from the host."""
WRITE_SCRIPT = 'mkdir -p -- "$(dirname -- "$1")" && cat > "$1"'
FILE_ERRORS = {
    "No such file": (FileNotFoundError, errno.ENOENT),
    "Not a directory": (FileNotFoundError, errno.ENOENT),
    "File name too long": (FileNotFoundError, errno.ENOENT),
    "s a directory": (IsADirectoryError, errno.EISDIR),
    "ermission denied": (PermissionError, errno.EACCES),
    "Read-only file system": (PermissionError, errno.EROFS),
}
"""The error that Inspect expects, by a part of the shell's message."""
WRITE_OUTPUT_LIMIT = 10_000
"""Bytes of messages read from the command that writes a file."""
ENGINE_GRACE = 10
"""Seconds beyond a command's timeout after which a silent engine counts as gone."""
KILLED, NOT_EXECUTABLE = 137, 126
"""Exit codes of a command that SIGKILL ended, and of one that could not be started."""
AVOID_SECONDS = 60.0
"""For how long a host that could start no container is asked last."""
_load, _load_lock = Counter[str](), threading.Lock()
"""Containers of samples of this process, by the host's name."""
_failed_until: dict[str, float] = {}
"""Until when a host is asked last (`time.monotonic`, seconds), by its name."""


class ArchonDockerConfig(BaseModel, frozen=True):
    """Resources of a sample's container."""

    model_config = ConfigDict(extra="forbid")

    image: str | None = None
    """An image with `python3`, `sh` and coreutils; by default the sandbox's own."""
    memory_mib: int = 2048
    """Memory of all its processes and files together."""
    processes: int = 256
    """Processes and threads at once."""


@dataclass(frozen=True, slots=True)
class _ExecOutput:
    code: int
    stdout: bytes
    stderr: bytes
    truncated: bool
    """An output stream was longer than the limit; reading stopped there."""
    silent: bool
    """The engine sent nothing beyond the timeout."""


@sandboxenv(name="archon_docker")
class ArchonDocker(SandboxEnvironment):
    """One sample's container."""

    def __init__(self, client: Any, handle: ContainerHandle, host: DockerHost) -> None:
        super().__init__()
        self.host = host
        self._client, self._api = client, client.api
        self._handle = handle

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        """Run a command in `/work` (or `cwd`); at the timeout its process group is killed. Never retried."""
        stdin = input.encode() if isinstance(input, str) else input
        timed = ["/usr/bin/timeout", "-s", "KILL", str(timeout), *cmd] if timeout else cmd
        limit = SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE
        started = time.monotonic()
        ended = await self._run_command(timed, stdin, limit, cwd=cwd, env=env, user=user, timeout=timeout)
        if timeout and (ended.silent or (ended.code == KILLED and time.monotonic() - started >= timeout)):
            raise TimeoutError(f"command timed out after {timeout} s: {cmd[:3]}")
        stdout, stderr = ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace")
        if ended.truncated:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, stdout + stderr)
        if ended.code == NOT_EXECUTABLE and "permission denied" in (stdout + stderr).lower():
            raise PermissionError(errno.EACCES, "Permission denied.", cmd[0])
        return ExecResult(ended.code == 0, ended.code, stdout, stderr)

    async def write_file(self, file: str, contents: str | bytes) -> None:
        """Write a file, its directories made where they are missing."""
        data = contents.encode() if isinstance(contents, str) else contents
        ended = await self._run_command(["/bin/sh", "-c", WRITE_SCRIPT, "sh", file], data, WRITE_OUTPUT_LIMIT)
        if ended.code:
            _raise_file_error(ended.stderr.decode(errors="replace"), file)

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...
    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...
    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        """Read a file whole; `OutputLimitExceededError` beyond Inspect's limit."""
        ended = await self._run_command(["/bin/cat", "--", file], None, SandboxEnvironmentLimits.MAX_READ_FILE_SIZE)
        if ended.truncated:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None)
        if ended.code:
            _raise_file_error(ended.stderr.decode(errors="replace"), file)
        return ended.stdout.decode() if text else ended.stdout

    async def connection(self, *, user: str | None = None) -> SandboxConnection:
        """The command by which a user looks inside."""
        option = f" -u {user}" if user else ""
        where = f" -H {self.host.name}" if self.host.address else ""
        command = f"docker{where} exec -it{option} {self._handle.id} sh"
        return SandboxConnection(type="archon_docker", command=command, container=self._handle.id)

    async def _run_command(
        self,
        cmd: list[str],
        stdin: bytes | None,
        limit: int,
        *,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
    ) -> _ExecOutput:
        directory = os.path.join(WORKING_DIR, cwd) if cwd else WORKING_DIR  # noqa: PTH118 (a path inside the container)
        request = {"environment": env or {}, "workdir": directory, "user": user or USER}
        return await anyio.to_thread.run_sync(
            lambda: self._exchange(cmd, stdin, limit, timeout=timeout, request=request), abandon_on_cancel=True
        )

    def _exchange(
        self, cmd: list[str], stdin: bytes | None, limit: int, *, timeout: int | None, request: dict[str, Any]
    ) -> _ExecOutput:
        """One exec over the engine's hijacked socket; input is sent beside the reading: neither waits for the other."""
        import docker

        gone = f"the Docker host {self.host.name} is gone, and the sample's files with it"
        try:
            run = self._api.exec_create(self._handle.id, cmd, stdin=stdin is not None, **request)["Id"]
            connection = self._api.exec_start(run, socket=True)
        except docker.errors.APIError as e:
            text = remove_user_info(str(e.explanation or e))
            if "is not running" in text or isinstance(e, docker.errors.NotFound):
                raise SandboxUnavailableError(f"the sandbox's container is gone: {text}") from None
            return _ExecOutput(NOT_EXECUTABLE, b"", stderr=text.encode(), truncated=False, silent=False)
        except list_engine_errors() as e:
            raise SandboxUnavailableError(f"{gone}: {remove_user_info(str(e))}") from None
        link = getattr(connection, "_sock", connection)
        # Bytes that came with the response's headers are in docker-py's buffered reader, no longer in the socket.
        read = connection._response.raw._fp.fp.read1 if hasattr(connection, "_response") else link.recv
        if stdin is not None:
            threading.Thread(target=send_input, args=(link, stdin), daemon=True).start()
        try:
            link.settimeout(timeout + ENGINE_GRACE if timeout else None)
            streams, truncated, silent = receive_output(read, limit)
            code = self._api.exec_inspect(run)["ExitCode"]
        except list_engine_errors() as e:
            raise SandboxUnavailableError(f"{gone}: {remove_user_info(str(e))}") from None
        finally:
            link.close()
            connection.close()
        return _ExecOutput(
            code=-1 if code is None else code,
            stdout=bytes(streams[1]),
            stderr=bytes(streams[2]),
            truncated=truncated,
            silent=silent,
        )

    def _close(self) -> None:
        """Remove the container and end the connection, which over ssh is a process on the host."""
        self._handle.close()
        self._client.close()

    @classmethod
    def default_concurrency(cls) -> int | None:
        """Containers at once, over all hosts; a host's CPUs are not known here, so this machine's stand for them."""
        return sum(host.workers or 2 * (os.cpu_count() or 1) for host in get_docker_hosts())

    @classmethod
    def config_deserialize(cls, config: dict[str, Any]) -> BaseModel:
        """A config from a log."""
        return ArchonDockerConfig.model_validate(config)

    @classmethod
    async def task_init(cls, task_name: str, config: SandboxEnvironmentConfigType | None) -> None:
        """Check daemon and image before the first sample; remove containers of dead owners."""
        try:
            image = _parse_config(config).image or get_default_image()
            await anyio.to_thread.run_sync(lambda: check_docker(image=image, orphans=True))
        except SandboxError as exc:
            raise make_prerequisite_error(f"--sandbox archon_docker: {exc}") from None

    @classmethod
    async def sample_init(
        cls, task_name: str, config: SandboxEnvironmentConfigType | None, metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        """Start the sample's container."""
        return {"default": await anyio.to_thread.run_sync(_start_container, _parse_config(config))}

    @classmethod
    async def sample_cleanup(
        cls,
        task_name: str,
        config: SandboxEnvironmentConfigType | None,
        environments: dict[str, SandboxEnvironment],
        interrupted: bool,
    ) -> None:
        """Remove the sample's container."""
        with anyio.CancelScope(shield=True):
            for environment in environments.values():
                if isinstance(environment, ArchonDocker):
                    await anyio.to_thread.run_sync(environment._close)
                    with _load_lock:
                        _load[environment.host.name] -= 1

    @classmethod
    async def cli_cleanup(cls, id: str | None) -> None:
        """`inspect sandbox cleanup archon_docker`: every container of this package, or one."""
        await anyio.to_thread.run_sync(_clean_up, id)


def _parse_config(config: SandboxEnvironmentConfigType | None) -> ArchonDockerConfig:
    if config is None or isinstance(config, ArchonDockerConfig):
        return config or ArchonDockerConfig()
    raise SandboxError(f"archon_docker takes an ArchonDockerConfig and no file, got {config!r}")


def _clean_up(id: str | None) -> None:
    """Remove everything, or one container, on all hosts; `SandboxError` at the end where one does not answer."""
    import docker

    faults, found = dict[str, str](), 0
    for host in get_docker_hosts():
        try:
            with closing(connect(host)) as client, explain_loss(f"the Docker daemon at {host.name} fails"):
                if id is None:
                    remove_orphans(client, True)
                    continue
                with suppress(docker.errors.NotFound):
                    client.api.remove_container(id, force=True)
                    found += 1
        except SandboxError as e:
            faults[host.name] = str(e)
    if faults and not found:
        raise SandboxError(describe_faults(faults))
    if id is not None and not found:
        raise SandboxError(f"no Docker host has a container {id}")


def _start_container(config: ArchonDockerConfig) -> ArchonDocker:
    """On the host with the fewest containers for its workers; on another where that cannot."""
    faults = dict[str, str]()
    with _load_lock:
        order = sorted(get_docker_hosts(), key=lambda host: _load[host.name] / (host.workers or os.cpu_count() or 1))
        order.sort(key=lambda host: _failed_until.get(host.name, 0.0) > time.monotonic())
        _load[order[0].name] += 1
    for host in order:
        try:
            environment = _start_on(host, config)
        except SandboxError as e:
            faults[host.name] = str(e)
            _failed_until[host.name] = time.monotonic() + AVOID_SECONDS
            continue
        with _load_lock:
            _load[order[0].name] -= 1
            _load[host.name] += 1
        return environment
    with _load_lock:
        _load[order[0].name] -= 1
    raise SandboxError(describe_faults(faults))


def _start_on(host: DockerHost, config: ArchonDockerConfig) -> ArchonDocker:
    client = connect(host)
    mount = f"rw,exec,nosuid,nodev,uid=1000,gid=1000,size={config.memory_mib}m"
    options = build_host_options(config.memory_mib << 20, config.processes)
    options |= {"tmpfs": {WORKING_DIR: mount, "/tmp": mount}, "ipc_mode": "private"}
    home = {"HOME": WORKING_DIR}
    image = config.image or get_default_image()
    try:
        handle = ContainerHandle(
            client,
            image,
            ["python3", "-c", INIT_SCRIPT],
            options=options,
            user=USER,
            environment=home,
            working_dir=WORKING_DIR,
        )
    except SandboxError:
        client.close()
        raise
    return ArchonDocker(client, handle, host)


def _raise_file_error(message: str, file: str) -> NoReturn:
    for text, (kind, number) in FILE_ERRORS.items():
        if text in message:
            raise kind(number, os.strerror(number), file)
    raise SandboxError(f"{file!r} in the sandbox: {message[-500:]}")
