"""Work of a component that runs at once, its results in order; an error comes out alone and not in a group.

replies = await gather_results([partial(ctx.generate, "feedback", prompt, draw=draw) for draw in range(3)])
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

from archon_eval.errors import select_error

T = TypeVar("T")


async def gather_results(jobs: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """What each job returns, in the order of the jobs; the first error ends the others."""
    results: dict[int, T] = {}

    async def run(place: int, job: Callable[[], Awaitable[T]]) -> None:
        results[place] = await job()

    try:
        async with anyio.create_task_group() as group:
            for place, job in enumerate(jobs):
                group.start_soon(run, place, job)
    except BaseExceptionGroup as errors:
        raise select_error(errors) from None
    return [results[place] for place in range(len(jobs))]
