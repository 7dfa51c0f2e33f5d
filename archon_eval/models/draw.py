"""Which sample of a prompt is being asked for: a context variable, so that the request does not change.

A real provider draws afresh each time; the simulated pool reads this so that the i-th sample is the same in every run:

    with set_draw(draw=3, epoch=1):
        await model.generate(messages)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current_draw: ContextVar[tuple[int, int] | None] = ContextVar("archon_draw", default=None)


@contextmanager
def set_draw(draw: int, epoch: int) -> Iterator[None]:
    """Calls made inside are this draw (from 0) of this epoch (from 1).

    >>> with set_draw(draw=3, epoch=1):
    ...     current_draw()
    (3, 1)
    """
    token = _current_draw.set((draw, epoch))
    try:
        yield
    finally:
        _current_draw.reset(token)


def current_draw() -> tuple[int, int] | None:
    """(draw, epoch) of the call under way, or None when it was not made by an architecture."""
    return _current_draw.get()
