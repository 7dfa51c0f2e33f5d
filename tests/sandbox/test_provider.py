"""Inspect's own conformance kit on `archon_docker`, and guarantees that the kit does not check."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from inspect_ai.util import OutputLimitExceededError, SandboxEnvironment
from inspect_ai.util._sandbox.environment import SandboxUnavailableError
from inspect_ai.util._sandbox.self_check import *  # noqa: F403 (its tests are collected here)

from archon_eval._inspect_compat import PrerequisiteError
from archon_eval.sandbox.provider import ArchonDocker, ArchonDockerConfig

IMPOSSIBLE = {"test_exec_as_user": "adds a user: the root file system is read-only and root has no capabilities"}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def shared_env(client: Any, anyio_backend: str) -> AsyncIterator[SandboxEnvironment]:
    environments = await ArchonDocker.sample_init("t", None, {})
    yield environments["default"]
    await ArchonDocker.sample_cleanup("t", None, environments, interrupted=False)


@pytest.fixture
def sandbox_env(request: pytest.FixtureRequest, shared_env: SandboxEnvironment) -> SandboxEnvironment:
    reason = IMPOSSIBLE.get(getattr(request.node, "originalname", ""))
    if reason:
        request.node.add_marker(pytest.mark.xfail(reason=reason, strict=True))
    return shared_env


pytestmark = pytest.mark.anyio


async def test_timeout_kills_the_whole_group(sandbox_env: SandboxEnvironment) -> None:
    """The kit looks with `ps`, which this image lacks."""
    with pytest.raises(TimeoutError):
        await sandbox_env.exec(["sh", "-c", "sleep 3141 & sleep 3141"], timeout=1)
    leftover = await sandbox_env.exec(["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"])
    assert "sleep 3141" not in leftover.stdout


async def test_an_agent_cannot_end_its_sandbox_by_a_signal(sandbox_env: SandboxEnvironment) -> None:
    for name in ("INT", "TERM", "HUP", "KILL"):
        await sandbox_env.exec(["sh", "-c", f"kill -{name} 1; sleep .3"])
    assert (await sandbox_env.exec(["echo", "alive"])).stdout == "alive\n"


async def test_it_is_hardened(sandbox_env: SandboxEnvironment) -> None:
    script = (
        "import os, socket\nstatus = open('/proc/self/status').read()\n"
        "print(os.getuid(), os.listdir('/sys/class/net'))\n"
        "print('CapEff:\\t0000000000000000' in status, 'NoNewPrivs:\\t1' in status)\n"
        "try: open('/etc/x', 'w')\nexcept OSError as e: print(e.strerror)"
    )
    result = await sandbox_env.exec(["python3", "-c", script])
    assert result.stdout == "1000 ['lo']\nTrue True\nRead-only file system\n", result


async def test_output_beyond_the_limit_is_an_error(sandbox_env: SandboxEnvironment) -> None:
    with pytest.raises(OutputLimitExceededError):
        await sandbox_env.exec(["python3", "-c", "while True: print('x' * 100000)"], timeout=30)


async def test_input_nobody_reads(sandbox_env: SandboxEnvironment) -> None:
    result = await sandbox_env.exec(["true"], input="x" * (5 << 20))
    assert result.success


async def test_missing_command_is_a_failure_not_an_exception(sandbox_env: SandboxEnvironment) -> None:
    result = await sandbox_env.exec(["no-such-command"])
    assert not result.success and result.returncode in (126, 127)


async def test_memory_is_limited(client: Any, anyio_backend: str) -> None:
    config = ArchonDockerConfig(memory_mib=128)
    environments = await ArchonDocker.sample_init("t", config, {})
    try:
        result = await environments["default"].exec(["python3", "-c", "x = bytearray(300 << 20)"])
        assert result.returncode == 137
        assert (await environments["default"].exec(["echo", "alive"])).success
    finally:
        await ArchonDocker.sample_cleanup("t", config, environments, interrupted=False)
    with pytest.raises(SandboxUnavailableError):
        await environments["default"].exec(["true"])


async def test_config() -> None:
    assert ArchonDocker.config_deserialize({"memory_mib": 64}) == ArchonDockerConfig(memory_mib=64)
    with pytest.raises(ValueError, match="memory"):
        ArchonDocker.config_deserialize({"memory": 64})
    with pytest.raises(PrerequisiteError, match="takes an ArchonDockerConfig"):
        await ArchonDocker.task_init("t", "compose.yaml")
