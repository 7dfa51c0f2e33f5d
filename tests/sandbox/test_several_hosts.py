"""One pool over several Docker daemons: spread, loss and return of one, equal verdicts, nothing left behind."""

import collections
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Target
from inspect_ai.util import SandboxUnavailableError
from second_daemon import SecondDaemon

from archon_eval.cli import main
from archon_eval.errors import SandboxError
from archon_eval.sandbox import Case, ProgramRun, ProgramVerdict, SandboxLimits, SandboxPool, hosts, pool, worker
from archon_eval.sandbox import pool_host as pool_host_module
from archon_eval.sandbox.container import LABEL, remove_orphans
from archon_eval.sandbox.image import build_on_hosts, check_docker, connect, get_default_image
from archon_eval.sandbox.pool_host import PoolHost
from archon_eval.sandbox.provider import ArchonDocker
from archon_eval.scorers.programs import programs

pytestmark = pytest.mark.xdist_group("second_daemon")
FIRST = hosts.DEFAULT_SOCKET
ABSENT = "unix:///nonexistent/docker.sock"
SLOW = "import time\nx = input()\ntime.sleep(.1)\nprint(x)"
CASES = [Case(b"%d" % i, b"%d" % i) for i in range(12)]


@pytest.fixture(scope="module")
def second(client: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondDaemon]:
    if obstacle := SecondDaemon.find_obstacle():
        if os.environ.get("CI") == "true" or os.environ.get("ARCHON_REQUIRE_DOCKER") == "1":
            pytest.fail(f"a second Docker daemon is required here: {obstacle}")
        pytest.skip(f"NO SECOND DOCKER DAEMON, several hosts are not tested: {obstacle}")
    with SecondDaemon(tmp_path_factory.mktemp("dockerd")) as daemon:
        done = build_on_hosts([FIRST, daemon.address])
        assert list(done.values()) == ["it is there", f"copied from {FIRST}"]
        yield daemon


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "_told_absent", set())


def list_containers(client: Any, pid: int | None = None) -> list[str]:
    owned = client.api.containers(all=True, filters={"label": LABEL})
    return [c["Id"] for c in owned if f":{pid or os.getpid()}:" in c["Labels"][LABEL]]


def run_programs(
    addresses: list[str], count: int, disturb: Callable[[SandboxPool], Awaitable[object]] | None = None, **options: Any
) -> list[ProgramRun]:
    """The same program so many times at once, one worker per host, while `disturb` runs."""
    results: list[ProgramRun] = []

    async def go() -> None:
        async with SandboxPool(1, hosts=addresses) as opened, anyio.create_task_group() as group:

            async def run_one() -> None:
                results.append(await opened.run(SLOW, CASES, **options))

            for _ in range(count):
                group.start_soon(run_one)
            if disturb:
                await disturb(opened)

    anyio.run(go)
    return results


def test_programs_spread_over_the_hosts_and_say_where_they_ran(second: SecondDaemon) -> None:
    results = run_programs([FIRST, f"{second.address} workers=1"], 6)
    ran = collections.Counter(result.host for result in results)
    assert all(result.passed and not result.absent_hosts for result in results)
    assert set(ran) == {FIRST, second.address} and min(ran.values()) >= 1, ran
    assert not list_containers(second.connect())


@pytest.mark.parametrize("blow", ["kill", "stop"])
def test_a_lost_host_loses_no_program_and_comes_back(
    blow: str, second: SecondDaemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed, or silent; its programs are run anew, with one warning; then it is back and has work again."""
    monkeypatch.setattr(pool, "RETRY_SECONDS", 0.5)
    monkeypatch.setattr(worker, "STALL", 1.0)
    monkeypatch.setattr(pool_host_module, "ANSWER_TIMEOUT", 3)
    again: list[ProgramRun] = []

    async def disturb(opened: SandboxPool) -> None:
        host = opened._hosts[1]
        while not host.running or not host.list_workers():
            await anyio.sleep(0.05)
        await anyio.sleep(0.5)
        await anyio.to_thread.run_sync(second.kill if blow == "kill" else lambda: second.send(signal.SIGSTOP))
        while host.fault is None:
            await anyio.sleep(0.05)
        if blow == "stop":
            second.send(signal.SIGCONT)
        else:
            await anyio.to_thread.run_sync(second.start)
        for _ in range(200):
            again.append(await opened.run("print(1)", [Case(b"", b"1")]))
            if host.fault is None:
                break
            await anyio.sleep(0.1)

    limits = SandboxLimits(time_limit=1)
    results = run_programs([FIRST, second.address], 4, disturb, limits=limits)
    assert all(result.passed for result in results + again)
    assert len({id(result) for result in results}) == 4
    assert not again[-1].absent_hosts, "it is back"
    lost = [record for record in caplog.records if "is lost" in record.getMessage()]
    assert len(lost) == 1 and second.address in lost[0].getMessage() and FIRST in lost[0].getMessage()
    assert f"{second.address} is back" in caplog.text
    assert not list_containers(second.connect()), "what it left behind is removed"


def test_with_all_hosts_lost_there_is_an_error_and_no_verdict(
    second: SecondDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "RETURN_SECONDS", 1.0)
    errors: list[str] = []

    async def go() -> None:
        async with SandboxPool(1, hosts=[second.address]) as opened:
            assert (await opened.run("print(1)", [Case(b"", b"1")])).passed
            second.kill()
            for _ in range(2):
                with pytest.raises(SandboxError) as error:
                    await opened.run("print(1)", [Case(b"", b"1")])
                errors.append(str(error.value))

    try:
        anyio.run(go)
    finally:
        second.start()
    assert all(second.address in error for error in errors)


def test_a_host_that_was_lost_for_a_moment_leaves_no_warm_container_behind(client: Any) -> None:
    async def go() -> None:
        async with SandboxPool(2, hosts=["local"]) as opened:
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(opened.run, SLOW, CASES[:1])
            opened._put_out_of_service(opened._hosts[0], "one request failed")
            assert (await opened.run(SLOW, CASES[:1])).passed
            assert len(list_containers(client)) == 1 + before

    before = len(list_containers(client))
    anyio.run(go)
    assert len(list_containers(client)) == before


def test_a_pool_that_opens_tries_a_lost_host_early_where_no_other_works(client: Any) -> None:
    async def go() -> None:
        opened = SandboxPool(1, hosts=["local", ABSENT])
        opened._hosts[0].retry_at = anyio.current_time() + 600
        async with opened:
            assert (await opened.run(SLOW, CASES[:1])).passed

    anyio.run(go)


def test_a_daemon_that_restarts_under_a_single_host_costs_no_sample(second: SecondDaemon) -> None:
    async def disturb(opened: SandboxPool) -> None:
        while not opened._hosts[0].running:
            await anyio.sleep(0.05)
        await anyio.sleep(0.5)
        await anyio.to_thread.run_sync(second.kill)
        await anyio.to_thread.run_sync(second.start)

    assert all(result.passed for result in run_programs([second.address], 2, disturb))


def test_a_host_absent_at_the_start_is_a_note_while_another_works(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.warns(FutureWarning, match=rf"without 1 of 2 Docker hosts: .*{ABSENT}.*archon sandbox doctor"):
        check_docker([FIRST, ABSENT])
    result = run_programs([ABSENT, FIRST], 1)[0]
    assert result.passed and result.host == FIRST and result.absent_hosts == (ABSENT,)
    assert ABSENT not in caplog.text, "it is said once"
    with pytest.raises(SandboxError, match=r"answers at unix:///nonexistent/docker.sock.*; and .*unix:///nor/docker"):
        check_docker([ABSENT, "unix:///nor/docker.sock"])
    with pytest.raises(SandboxError, match=r"answers at unix:///nonexistent/docker.sock.*; and .*unix:///nor/docker"):
        run_programs([ABSENT, "unix:///nor/docker.sock"], 1)


def test_the_scorer_marks_on_the_hosts_and_its_metadata_names_them(second: SecondDaemon) -> None:
    state: Any = SimpleNamespace(
        output=ModelOutput.from_content("m", "```python\nprint(int(input()) * 2)\n```"),
        metadata={"tests": [{"input": "2", "output": "4"}]},
    )

    async def go() -> Any:
        return await programs(docker_hosts=[second.address, ABSENT], workers=1, time_factor=1.0)(state, Target(""))

    score = anyio.run(go)
    assert score.value == "C" and score.metadata["docker_host"] == second.address
    assert score.metadata["absent_docker_hosts"] == [ABSENT]


def test_limits_follow_each_hosts_speed_so_that_verdicts_do_not(
    second: SecondDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fastest host shortens no limit; a program that takes as much longer as its host is slower passes on both."""
    slowdowns = {FIRST: 0.5, second.address: 1.25}
    monkeypatch.setattr(PoolHost, "measure_slowdown", lambda self: slowdowns[self.name])
    results = run_programs([FIRST, second.address], 6, time_factor="auto")
    assert {(result.host, result.time_factor) for result in results} == {(FIRST, 1.0), (second.address, 2.5)}

    async def go() -> list[ProgramVerdict]:
        verdicts = []
        for address in slowdowns:
            async with SandboxPool(1, hosts=[FIRST, second.address]) as opened:
                monkeypatch.setattr(opened, "_choose_host", lambda a=address: _find(opened, a))
                for share in (0.8, 1.3):
                    seconds = share * 0.3 * slowdowns[address] / slowdowns[FIRST]
                    program = f"import time\nwhile time.process_time() < {seconds}: pass\nprint(1)"
                    limits = SandboxLimits(time_limit=0.3)
                    run = await opened.run(program, [Case(b"", b"1")], limits=limits, time_factor="auto")
                    assert run.host == address
                    verdicts.append(run.verdict)
        return verdicts

    assert anyio.run(go) == [ProgramVerdict.ACCEPTED, ProgramVerdict.TIME_LIMIT] * 2


def _find(opened: SandboxPool, name: str) -> PoolHost:
    return next(host for host in opened._hosts if host.name == name)


def test_a_host_with_a_third_of_a_core_gives_the_same_verdict(second: SecondDaemon) -> None:
    """By the clock it takes longer than the clock's limit: waiting for a core does not count."""

    async def go() -> ProgramRun:
        async with SandboxPool(1, hosts=[second.address]) as opened:
            program = "import time\nwhile time.process_time() < .5: pass\nprint(1)"
            return await opened.run(program, [Case(b"", b"1")], limits=SandboxLimits(time_limit=0.7, wall_limit=1.0))

    result = anyio.run(go)
    assert result.passed and result.runs[0].wall > 1.0, result


HOST = textwrap.dedent("""
    import anyio
    from archon_eval.sandbox import Case, SandboxLimits, SandboxPool
    async def main():
        async with SandboxPool(1) as pool:
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(pool.run, "import time; time.sleep(100)", [Case(b"")])
                while sum(host.running for host in pool._hosts) < 2:
                    await anyio.sleep(.1)
                await anyio.sleep(3)
                print("running", flush=True)
    anyio.run(main)
""")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_on_any_host(number: int, client: Any, second: SecondDaemon) -> None:
    environment = {**os.environ, "ARCHON_DOCKER_HOSTS": f"{FIRST},{second.address}"}
    process = subprocess.Popen([sys.executable, "-c", HOST], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None and process.stdout.readline() == "running\n"
    clients = [connect(), second.connect()]
    assert [len(list_containers(other, process.pid)) for other in clients] == [1, 1]
    process.send_signal(number)
    process.communicate(timeout=60)
    if number == signal.SIGKILL:
        for other in clients:
            remove_orphans(other)
    assert [list_containers(other, process.pid) for other in clients] == [[], []]


def test_commands_take_a_file_of_hosts(
    second: SecondDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARCHON_DOCKER_HOSTS", "")
    (tmp_path / "hosts.txt").write_text(f"# ours\n{FIRST}  workers=2\n\n{second.address}  # the slow one\n")
    monkeypatch.chdir(tmp_path)
    assert main(["sandbox", "doctor", "--docker-hosts", "hosts.txt"]) == 0
    shown = capsys.readouterr().out
    assert f"{FIRST}:" in shown and f"{second.address}:" in shown and shown.count("a worker container starts") == 2
    assert os.environ["ARCHON_DOCKER_HOSTS"] == str(tmp_path / "hosts.txt"), "for evals that run elsewhere"
    assert [host.workers for host in hosts.get_docker_hosts()] == [2, None]


def test_build_gives_all_hosts_the_first_ones_image(second: SecondDaemon, caplog: pytest.LogCaptureFixture) -> None:
    """Another image under the same tag would make verdicts depend on the host: it is told, and mended by a build."""
    target, image = second.connect(), get_default_image()
    target.api.import_image_from_data(b"\0" * 10240, *image.split(":"))
    with pytest.warns(FutureWarning, match="do not have the same image"):
        check_docker([FIRST, second.address])

    async def go() -> None:
        for _ in range(2):
            async with opened:
                pass

    opened = SandboxPool(1, hosts=[FIRST, second.address])
    anyio.run(go)
    assert caplog.text.count("do not have the same image") == 1, "a pool says so too, of hosts that join late"
    assert build_on_hosts([FIRST, second.address])[second.address] == f"copied from {FIRST}"
    assert target.images.get(image).id == connect().images.get(image).id
    with pytest.raises(SandboxError, match=f"answers at {ABSENT}.*; {FIRST}: it is there"):
        build_on_hosts([FIRST, ABSENT])


def test_samples_containers_spread_and_a_sample_whose_host_is_lost_is_an_error(
    second: SecondDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inspect's provider: a container per sample, on the host with fewer; what its files were is lost with the host."""
    monkeypatch.setenv("ARCHON_DOCKER_HOSTS", f"{FIRST},{second.address}")

    async def go() -> None:
        await ArchonDocker.task_init("t", None)
        samples = [(await ArchonDocker.sample_init("t", None, {}))["default"] for _ in range(2)]
        mine = {sample.host.name: sample for sample in samples if isinstance(sample, ArchonDocker)}
        assert set(mine) == {FIRST, second.address}
        assert (await mine[second.address].connection()).command.startswith(f"docker -H {second.address} exec")
        second.kill()
        with pytest.raises(SandboxUnavailableError, match=second.address):
            await mine[second.address].exec(["true"])
        third = (await ArchonDocker.sample_init("t", None, {}))["default"]
        assert isinstance(third, ArchonDocker) and third.host.name == FIRST
        for sample in (*samples, third):
            await ArchonDocker.sample_cleanup("t", None, {"default": sample}, False)

    before = set(list_containers(connect()))  # the session's own pool keeps its warm
    try:
        anyio.run(go)
    finally:
        second.start()
    assert set(list_containers(connect())) <= before
