"""How Docker hosts are written, and what a message shows of them."""

import contextlib
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from archon_eval.errors import DataError, SandboxError
from archon_eval.sandbox import SandboxPool
from archon_eval.sandbox.calibration import choose_scale
from archon_eval.sandbox.doctor import diagnose
from archon_eval.sandbox.hosts import DockerHost, get_docker_hosts, parse_docker_hosts
from archon_eval.sandbox.image import build_on_hosts, check_docker, connect
from archon_eval.tasks._programs import ProgramOptions


def test_hosts_from_text_lists_files_and_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    two = (DockerHost("unix:///a"), DockerHost("tcp://big:2376", 16))
    assert parse_docker_hosts("unix:///a, tcp://big:2376 workers=16") == two
    assert parse_docker_hosts(["unix:///a", "tcp://big:2376 workers=16"]) == two
    path = tmp_path / "hosts"
    path.write_text("# all of them\nunix:///a # here\n\ntcp://big:2376   workers=16\n")
    assert parse_docker_hosts(str(path)) == parse_docker_hosts(path) == two
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    assert get_docker_hosts() == (DockerHost(),) and get_docker_hosts()[0].name == "unix:///var/run/docker.sock"
    monkeypatch.setenv("ARCHON_DOCKER_HOSTS", "local workers=3,unix:///a")
    assert get_docker_hosts() == (DockerHost(None, 3), DockerHost("unix:///a"))
    assert get_docker_hosts("unix:///b") == (DockerHost("unix:///b"),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tpc://h:1", r"docker_hosts: tpc://h:1: unknown kind of address 'tpc'; did you mean 'tcp'"),
        ("tcp://h", "the port is missing"),
        ("tcp://h:99999", "[Pp]ort out of range"),
        ("unix://run/docker.sock", "whole path after three slashes"),
        ("unix:///a,big", "big: no address such as"),
        ("unix:///a workers=none", "workers=none: must be a whole number from 1"),
        ("unix:///a workers=0", "workers=0: must be"),
        ("unix:///a wrokers=2", "unknown option 'wrokers'; did you mean 'workers'"),
        ("unix:///a,unix:///a", "unix:///a is there twice"),
        (
            "hosts.txt",
            r"'hosts.txt' is no address \(unix://, tcp://, ssh://...\), and no file can be read there: No such",
        ),
        (",://", "unknown kind of address"),
        (7, "must be addresses or the path of a file, not '7'"),
    ],
)
def test_mistakes_say_where_and_what_is_legal(text: Any, said: str) -> None:
    with pytest.raises(SandboxError, match=said):
        parse_docker_hosts(text)


def test_a_mistake_in_a_file_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("unix:///a\ntcp://b\n")
    with pytest.raises(SandboxError, match=r"hosts, line 2: tcp://b: the port is missing"):
        parse_docker_hosts(path)
    path.write_text("# none\n")
    with pytest.raises(SandboxError, match="there is no address in"):
        parse_docker_hosts(path)


def test_no_message_shows_the_user() -> None:
    host = parse_docker_hosts("tcp://me@127.0.0.1:9")[0]
    assert host.name == "tcp://127.0.0.1:9"
    with pytest.raises(SandboxError, match=r"no Docker daemon answers at tcp://127.0.0.1:9 \(.*refused") as error:
        connect(host)
    assert "me@" not in str(error.value) and error.value.__cause__ is None
    with pytest.raises(SandboxError) as error:
        parse_docker_hosts("tcp://me@127.0.0.1:9 worker=1,tcp://me@127.0.0.1:9")
    assert "me@" not in str(error.value)


@pytest.mark.parametrize(
    "address",
    [
        "tcp://me:hunter2@127.0.0.1:9",
        "tcp://me:hunter2@x@127.0.0.1:9",
        "tcp://me:hunter2/x@127.0.0.1:9",
        "ssh://me:hunter2@127.0.0.1",
    ],
)
def test_a_password_is_refused_and_not_shown(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """docker-py takes none; and Inspect logs a task's options."""
    told: list[str] = []
    with pytest.raises(SandboxError, match=r"docker_hosts: .*takes no password") as error:
        parse_docker_hosts(["unix:///a", address])
    told.append(str(error.value))
    with pytest.raises(DataError, match="takes no password") as refused:
        ProgramOptions(docker_hosts=["unix:///a", address])
    told.append(str(refused.value))
    (tmp_path / "hosts").write_text(address)
    with pytest.raises(SandboxError, match=r"hosts, line 1: .*takes no password") as error:
        parse_docker_hosts(str(tmp_path / "hosts"))
    told.append(str(error.value))
    if address.count("@") == 1 and "/x" not in address:  # as docker-py reads it
        monkeypatch.setenv("DOCKER_HOST", address)
        with pytest.raises(SandboxError, match=r"no Docker daemon answers at .*takes no password") as error:
            connect()
        told.append(str(error.value))
    assert not any(part in text for text in told for part in ("hunter2", "x@", "me:")), told


def test_hosts_without_docker_are_refused() -> None:
    with pytest.raises(DataError, match="docker_hosts need sandbox=docker"):
        ProgramOptions(docker_hosts="unix:///a", sandbox="local")


@contextlib.contextmanager
def serve_engine(version: str, other: str = "200 OK") -> Iterator[str]:
    """The place (`127.0.0.1:PORT`) of an engine that tells its version, and has one answer to all else."""

    def answer(link: socket.socket) -> None:
        with contextlib.suppress(OSError), link:
            while request := link.recv(65536):
                told = b"/version" in request or b"/_ping" in request
                body = b'{"ApiVersion": "%s"}' % version.encode() if told else b"OK"
                kind = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
                link.sendall(b"HTTP/1.1 %s\r\n" % (b"200 OK" if told else other.encode()) + kind + body)

    def accept(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_an_engine_that_is_too_old_is_named() -> None:
    with (
        serve_engine("1.31") as place,
        pytest.raises(SandboxError, match=r"too old: its API is 1.31, the sandbox needs 1.32 \(Docker 17.11\)"),
    ):
        connect(DockerHost(f"tcp://{place}"))


@pytest.mark.parametrize("ask", [check_docker, build_on_hosts, lambda hosts: connect_pool(hosts)])
def test_an_engine_that_fails_is_named_without_the_user(ask: Callable[[str], object]) -> None:
    """docker-py's own error has the address whole, in its text and in its traceback's."""
    with serve_engine("1.41", "500 Broken") as place:
        with pytest.raises(SandboxError, match="500 Server Error") as error:
            ask(f"tcp://me@{place}")
        told = "".join(traceback.format_exception(error.value))
        assert place in told and f"me@{place}" not in told
        found = diagnose(DockerHost(f"tcp://me@{place}"))
        assert not found[-1].ok and place in found[-1].subject and "me@" not in found[-1].subject


def connect_pool(addresses: str) -> None:
    async def go() -> None:
        async with SandboxPool(hosts=addresses):
            pass

    anyio.run(go)


def test_the_fastest_machine_sets_the_scale() -> None:
    assert choose_scale([1.3]) == 1.0 and choose_scale([3.0, 2.0]) == 1.0
    assert choose_scale([0.5]) * 0.5 == 1.0
    assert [slowdown * choose_scale([0.8, 0.4]) for slowdown in (0.8, 0.4)] == [2.0, 1.0]
