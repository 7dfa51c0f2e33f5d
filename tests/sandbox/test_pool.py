"""The pool when containers, callers and hosts die."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from archon_eval.errors import SandboxError
from archon_eval.sandbox import CallCase, Case, ProgramVerdict, SandboxLimits, SandboxPool, worker
from archon_eval.sandbox import container as container_module
from archon_eval.sandbox.container import LABEL, Container, _is_orphaned, get_owner_label, remove_orphans
from archon_eval.sandbox.image import connect, get_default_image, require_image

SLOW = "import time\nx = input()\ntime.sleep(.05)\nprint(x)"


def make_cases(n: int) -> list[Case]:
    return [Case(b"%d" % i, b"%d" % i) for i in range(n)]


def list_containers(client: Any, pid: int | None = None, *, running: bool = False) -> set[str]:
    """Ids of this package's containers that `pid` (default: this process) owns; `running`: of those that run."""
    owned = client.api.containers(all=not running, filters={"label": LABEL})
    return {c["Id"] for c in owned if f":{pid or os.getpid()}:" in c["Labels"][LABEL]}


@pytest.fixture
def others(client: Any) -> set[str]:
    """Containers that were there before: the session's own pool keeps its warm."""
    return list_containers(client)


def wait_for(condition: Callable[[], object], event: str) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail(f"never happened: {event}")


def run_in_pool(client: Any, body: Callable[[SandboxPool], Any], workers: int = 1) -> Any:
    async def go() -> Any:
        async with SandboxPool(workers, client=client) as pool:
            return await body(pool)

    return anyio.run(go)


@pytest.mark.parametrize("blow", ["kill", "pause"])
def test_a_dead_or_wedged_container_loses_nothing(
    blow: str, client: Any, others: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(pool: SandboxPool) -> Any:
        results: list[Any] = []

        async def job() -> None:
            results.append(await pool.run(SLOW, make_cases(30), limits=SandboxLimits(time_limit=1)))

        async with anyio.create_task_group() as group:
            group.start_soon(job)
            await anyio.sleep(0.8)
            (only,) = list_containers(client) - others
            await anyio.to_thread.run_sync(getattr(client.api, blow), only)
        return results[0]

    monkeypatch.setattr(worker, "STALL", 1.0)
    result = run_in_pool(client, body)
    assert result.passed and len(result.runs) == 30
    assert list_containers(client) == others


def test_a_program_that_always_kills_its_container_fails(
    client: Any, others: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the verdict itself, after three more tries; the tests around it are not touched."""
    started: list[Container] = []
    original, init = Container.send, Container.__init__

    def send(self: Container, kind: bytes, payload: bytes) -> None:
        original(self, kind, payload)
        if kind == b"T" and payload.endswith(b"deadly"):
            client.api.kill(self.id)

    monkeypatch.setattr(Container, "send", send)
    monkeypatch.setattr(Container, "__init__", lambda self, *a: (started.append(self), init(self, *a))[1])
    tests = [Case(b"1", b"1"), Case(b"deadly", b"deadly"), Case(b"3", b"3")]

    async def body(pool: SandboxPool) -> Any:
        return await pool.run(SLOW, tests, stop_at_first_failure=False)

    result = run_in_pool(client, body)
    assert [r.verdict for r in result.runs] == [
        ProgramVerdict.ACCEPTED,
        ProgramVerdict.RUNTIME_ERROR,
        ProgramVerdict.ACCEPTED,
    ]
    assert 3 <= len(started) <= 8 and list_containers(client) == others


def test_a_cancelled_run_frees_its_worker(client: Any, others: set[str]) -> None:
    async def body(pool: SandboxPool) -> Any:
        with anyio.move_on_after(0.7) as scope:
            await pool.run("import time; time.sleep(60)", make_cases(1), limits=SandboxLimits(time_limit=100))
        assert scope.cancelled_caught
        return await pool.run(SLOW, make_cases(3))

    begun = time.monotonic()
    assert run_in_pool(client, body).passed
    assert time.monotonic() - begun < 30
    wait_for(lambda: list_containers(client) == others, "the cancelled worker's container is removed")


def test_an_error_in_the_body_cleans_up(client: Any, others: set[str]) -> None:
    async def body(pool: SandboxPool) -> None:
        await pool.run(SLOW, make_cases(1))
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        run_in_pool(client, body)
    assert list_containers(client) == others


def test_cancelled_runs_and_broken_tests_leave_no_containers_in_an_open_pool(client: Any, others: set[str]) -> None:
    async def body(pool: SandboxPool) -> Any:
        for _ in range(3):
            with anyio.move_on_after(0.7):
                await pool.run("import time; time.sleep(60)", make_cases(1), limits=SandboxLimits(time_limit=100))
            assert list_containers(client) == others
        for _ in range(3):
            with pytest.raises(SandboxError, match="tests themselves"):
                await pool.run("def f(): pass", [CallCase("assert f( ==", ("f",)), *make_cases(20)])
            assert (await pool.run(SLOW, make_cases(2))).passed
        assert len(list_containers(client) - others) == 1, "the worker was used again"
        return True

    assert run_in_pool(client, body)


def test_a_pool_that_is_not_open_says_so(client: Any) -> None:
    pool = SandboxPool(1, client=client)
    with pytest.raises(SandboxError, match="async with SandboxPool"):
        anyio.run(pool.run, "print(1)", make_cases(1))


def test_an_owner_that_cannot_be_seen_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another namespace of process numbers, a /proc that hides other users' processes; a dead owner does not."""
    host, boot, pid, start, namespace = get_owner_label().split(":")
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert not _is_orphaned(get_owner_label(), True)
    assert _is_orphaned(f"{host}:{boot}:{gone.pid}:{start}:{namespace}", True)
    assert _is_orphaned(f"{host}:{boot}:{pid}:1:{namespace}", True), "the number was given to another process"
    assert not _is_orphaned(f"{host}:{boot}:{gone.pid}:{start}:77", True)
    assert not _is_orphaned(f"another:{boot}:{gone.pid}:{start}:{namespace}", True)
    assert not _is_orphaned(f"{host}:other-boot:{gone.pid}:{start}:{namespace}", True)
    assert _is_orphaned(f"{host}:other-boot:{gone.pid}:{start}:{namespace}", False)
    identity = container_module._read_identity
    hidden = {os.getpid(): identity(os.getpid())}
    monkeypatch.setattr(container_module, "_read_identity", lambda number: hidden.get(number, ["", str(number), ""]))
    assert not _is_orphaned(f"{host}:{boot}:{gone.pid}:{start}:{namespace}", True)


HOST = textwrap.dedent("""
    import anyio
    from archon_eval.sandbox import Case, SandboxLimits, SandboxPool
    async def main():
        async with SandboxPool(2) as pool:
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(pool.run, "import time; time.sleep(100)", [Case(b"")])
                await anyio.sleep(1)
                print("running", flush=True)
    anyio.run(main)
""")


def start_host() -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOST], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "running\n"
    return process


def test_ctrl_c_leaves_nothing(client: Any) -> None:
    process = start_host()
    assert len(list_containers(client, process.pid)) == 2
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert list_containers(client, process.pid) == set()


def test_after_kill_9_containers_end_and_the_next_owner_removes_them(client: Any) -> None:
    process = start_host()
    mine = list_containers(client, process.pid)
    assert len(mine) == 2
    assert remove_orphans(client) == 0, "the owner lives"
    process.kill()
    process.communicate(timeout=60)
    wait_for(lambda: not list_containers(client, process.pid, running=True), "containers end")
    remove_orphans(client)  # unless a pool that another test began meanwhile was the next owner
    assert list_containers(client, process.pid) == set()


def test_a_missing_daemon_is_an_error_that_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(SandboxError, match=r"no Docker daemon answers at unix:///nonexistent.*archon sandbox doctor"):
        connect()


def test_a_missing_image_is_an_error_that_says_what_to_type(client: Any) -> None:
    with pytest.raises(SandboxError, match="archon sandbox build"):
        require_image(client, "archon-sandbox:absent")
    require_image(client, get_default_image())


def test_hardening_as_the_engine_sees_it(client: Any) -> None:
    container = Container(client, get_default_image(), 1 << 28)
    try:
        state = client.api.inspect_container(container.id)
    finally:
        container.close()
    host_config = state["HostConfig"]
    assert host_config["NetworkMode"] == "none" and host_config["ReadonlyRootfs"] and not host_config["Privileged"]
    assert host_config["CapDrop"] == ["ALL"] and sorted(host_config["CapAdd"]) == ["SETGID", "SETUID"]
    assert host_config["SecurityOpt"] == ["no-new-privileges"] and host_config["IpcMode"] == "none"
    assert host_config["PidsLimit"] and host_config["Memory"] == host_config["MemorySwap"] == (1 << 28) + (128 << 20)
    assert not host_config["Binds"] and not state["Mounts"] and not host_config.get("Tmpfs")


def forward_port(target: str) -> socket.socket:
    """A loopback TCP port that leads to a Unix socket, half-closes included."""
    listener = socket.create_server(("127.0.0.1", 0))

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(target)
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=copy, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener


def test_a_remote_daemon(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """DOCKER_HOST over TCP: attach, large frames, a replaced container."""
    if "DOCKER_HOST" in os.environ:
        pytest.skip("DOCKER_HOST is set: there may be no local socket to forward")
    with forward_port("/var/run/docker.sock") as listener:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{listener.getsockname()[1]}")

        async def body(pool: SandboxPool) -> Any:
            echo = "import sys; sys.stdout.write(sys.stdin.read())"
            return await pool.run(echo, [Case(b"x" * (1 << 20), b"x" * (1 << 20))] * 4)

        assert run_in_pool(connect(), body).passed
