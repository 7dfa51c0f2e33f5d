"""A Docker daemon behind a real ssh server: how it is refused, and how its loss looks, which is no `OSError`."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import paramiko
import pytest

from archon_eval.errors import SandboxError
from archon_eval.sandbox import Case, ProgramRun, SandboxPool, hosts
from archon_eval.sandbox.image import connect


class SshServer(paramiko.ServerInterface):
    """Lets anybody in, and connects every command with the local daemon, as `docker system dial-stdio` does."""

    def __init__(self) -> None:
        self.key = paramiko.ECDSAKey.generate()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._transports: list[paramiko.Transport] = []
        self.port = self._listener.getsockname()[1]
        self.address = f"ssh://me@127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._listener.close()
        for transport in self._transports:
            transport.close()

    def check_auth_none(self, username: str) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "none,publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        engine = socket.socket(socket.AF_UNIX)
        engine.connect(hosts.DEFAULT_SOCKET.removeprefix("unix://"))
        for source, target in ((channel, engine), (engine, channel)):
            threading.Thread(target=_copy, args=(source, target), daemon=True).start()
        return True

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                transport = paramiko.Transport(self._listener.accept()[0])
                transport.add_server_key(self.key)
                self._transports.append(transport)
                with contextlib.suppress(paramiko.SSHException, EOFError):
                    transport.start_server(server=self)


def _copy(source: Any, target: Any) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def server(client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SshServer]:
    """Its key is unknown; the user has one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(hosts, "_told_absent", set())
    (tmp_path / ".ssh").mkdir()
    paramiko.RSAKey.generate(2048).write_private_key_file(str(tmp_path / ".ssh" / "id_rsa"))
    server = SshServer()
    yield server
    server.stop()


def _trust(server: SshServer, home: Path) -> None:
    line = f"[127.0.0.1]:{server.port} {server.key.get_name()} {server.key.get_base64()}\n"
    (home / ".ssh" / "known_hosts").write_text(line)


def _run(addresses: list[str], server: SshServer | None = None) -> list[ProgramRun]:
    """Two programs at once; a server given stops when each host has one."""
    results: list[ProgramRun] = []

    async def go() -> None:
        async with SandboxPool(1, hosts=addresses) as pool, anyio.create_task_group() as group:

            async def run_one() -> None:
                results.append(await pool.run("import time\ntime.sleep(2)\nprint(1)", [Case(b"", b"1")]))

            for _ in range(2):
                group.start_soon(run_one)
            if server:
                while not all(host.running for host in pool._hosts):
                    await anyio.sleep(0.05)
                server.stop()

    anyio.run(go)
    return results


def test_a_server_whose_key_is_unknown_is_absent_and_says_why(server: SshServer) -> None:
    with pytest.raises(SandboxError, match=rf"no Docker daemon answers at ssh://127.0.0.1:{server.port} .*known_hosts"):
        connect(hosts.parse_docker_hosts(server.address)[0])
    assert {run.host for run in _run([server.address, "local"])} == {hosts.DockerHost().name}


def test_programs_run_over_ssh_and_anew_elsewhere_when_the_connection_is_lost(
    server: SshServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _trust(server, tmp_path)
    both = [server.address, "local"]
    shown = f"ssh://127.0.0.1:{server.port}"
    with contextlib.closing(connect(hosts.parse_docker_hosts(server.address)[0])) as remote:
        transport = remote.api._custom_adapter.ssh_client.get_transport()
        assert transport.channel_timeout < 600, "paramiko's own is an hour"
    assert {run.host for run in _run(both) if run.passed} == {shown, hosts.DockerHost().name}
    lost = _run(both, server)
    assert [run.passed for run in lost] == [True] * 2
    assert {run.host for run in lost} == {hosts.DockerHost().name}
    assert f"{shown} is lost" in caplog.text
