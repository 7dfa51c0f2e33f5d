"""Fixtures over the real daemon. Without one the tests are skipped, loudly; where CI=true or
ARCHON_REQUIRE_DOCKER=1 they fail instead."""

import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import anyio.from_thread
import pytest

from archon_eval.errors import SandboxError
from archon_eval.sandbox import AnyCase, ProgramRun, SandboxLimits, SandboxPool
from archon_eval.sandbox.image import build_image, connect

Run = Callable[..., ProgramRun]


@pytest.fixture(scope="session")
def client() -> Any:
    try:
        client = connect()
        build_image(client)
    except SandboxError as e:
        if os.environ.get("CI") == "true" or os.environ.get("ARCHON_REQUIRE_DOCKER") == "1":
            pytest.fail(f"Docker is required here: {e}")
        pytest.skip(f"NO DOCKER, the sandbox is not tested: {e}")
    return client


@pytest.fixture(scope="session")
def portal() -> Iterator[anyio.from_thread.BlockingPortal]:
    with anyio.from_thread.start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="session")
def pool(client: Any, portal: anyio.from_thread.BlockingPortal) -> Iterator[SandboxPool]:
    """One pool for the whole session, so that attacks meet the containers that earlier attacks have used."""
    with portal.wrap_async_context_manager(SandboxPool(workers=2, client=client)) as pool:
        yield pool


@pytest.fixture(scope="session")
def run(pool: SandboxPool, portal: anyio.from_thread.BlockingPortal) -> Run:
    """`run(program, cases, **options)`, blocking."""

    def call(
        program: str | bytes, cases: Sequence[AnyCase], limits: SandboxLimits | None = None, **options: Any
    ) -> ProgramRun:
        async def go() -> ProgramRun:
            return await pool.run(program, cases, limits=limits or SandboxLimits(time_limit=5), **options)

        return portal.call(go)

    return call


@pytest.fixture(scope="session")
def gather(pool: SandboxPool, portal: anyio.from_thread.BlockingPortal) -> Callable[..., list[Any]]:
    """Run coroutine functions of the pool at once; their results in order."""

    def call(*makers: Callable[[SandboxPool], Coroutine[Any, Any, Any]]) -> list[Any]:
        async def go() -> list[Any]:
            results: list[Any] = [None] * len(makers)

            async def one(i: int) -> None:
                results[i] = await makers[i](pool)

            async with anyio.create_task_group() as group:
                for i in range(len(makers)):
                    group.start_soon(one, i)
            return results

        return portal.call(go)

    return call
